"""Options of the commands whose models may run on a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from forgetme.curate.ray_cluster import Cluster

Engine = Literal["none", "ray"]
WORKER_BYTES = {"tiny": 2 * 2**30, "full": 16 * 2**30}  # what one takes with its models

EngineOption = Annotated[
    Engine, typer.Option(help="ray: models on workers, of a cluster or of this machine.")
]
AddressOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Of Ray's head. [default: this machine]")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Workers of Ray. [default: a GPU each, or by memory]")
]
ShardsOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Results of Ray. [default: beside the store]")
]


def cluster_of(
    engine: Engine,
    address: str | None,
    workers: int | None,
    shards: Path | None,
    *,
    preset: str,
    device: str | None,
) -> Cluster | None:
    """Returns where the work is done; None: here, in this process."""
    given = {"--address": address, "--workers": workers, "--shards": shards}
    if engine == "none":
        if odd := next((name for name, value in given.items() if value is not None), None):
            raise typer.BadParameter(f"{odd} goes with --engine ray; add it, or leave {odd} out")
        return None
    from forgetme.curate.ray_cluster import Cluster

    return Cluster(
        address,
        workers,
        worker_bytes=WORKER_BYTES[preset],
        gpus=0 if device == "cpu" else None,
        shards=shards,
    )
