"""A private PostgreSQL server for tests, and the two places where a store may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.postgres import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(durable=False)
    yield cluster
    cluster.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict:
    """Where a new store may be, as the arguments of Store."""
    if request.param == "sqlite":
        return {"location": tmp_path / "store"}
    cluster = request.getfixturevalue("cluster")
    cluster.empty()
    return {"location": cluster.url, "blobs": tmp_path / "store" / "blobs"}
