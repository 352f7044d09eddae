"""Stores that older versions wrote open with all they hold: what was derived, and what was not."""

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from small_store import step

from forgetme.store import Store
from forgetme.store.schema import SCHEMA

OLD = Path(__file__).parent / "old"  # whole stores as SQL, written by the versions themselves


@pytest.mark.parametrize("version", ["0001", "0006", "0007"])
def test_an_old_store_opens_with_all_it_holds_and_goes_on(tmp_path, version):
    wanted = [json.loads(line) for line in (OLD / "rows.jsonl").read_text("utf-8").splitlines()]
    with closing(sqlite3.connect(tmp_path / "store.db")) as database:
        database.executescript((OLD / f"{version}.sql").read_text(encoding="utf-8"))
        count = database.execute("SELECT count(*) FROM event").fetchone()[0]
    with Store(tmp_path) as store:
        assert len(list((tmp_path / "backups").glob("*.db"))) == (version != SCHEMA)
        assert [asdict(row) for row in store.samples(limit=None)] == wanted
        assert len(store.events()) == count == sum(row["version"] for row in wanted)
        assert {row.state for row in store.samples(limit=None)} == {row["state"] for row in wanted}
        assert store.rebuild() == len(wanted)
        assert [asdict(row) for row in store.samples(limit=None)] == wanted
        assert [one for one in store.check() if "missing" not in one] == []  # images were left out
        skipped = next(row for row in store.samples() if row.state == "skipped")
        assert step(store, skipped, "commented", {"text": "goes on"}).comment == "goes on"
        people = store.people
        if version == "0001":  # knew no people
            assert not people.any()
            return
        assert [(one.name, one.role, one.origin) for one in people.list()] == [
            ("ann", "lead", "local"),
            ("bob", "curator", "huggingface"),
        ]
        assert people.check_password("ann", "a long password").name == "ann"
        assert people.preference("ann", "keys") == {"accept": "y"}
        (job,) = store.jobs.rows()
        assert (job.kind, job.arguments, job.outcome) == ("export", {"format": "coco"}, "done")
    with closing(sqlite3.connect(tmp_path / "store.db")) as database:
        assert database.execute("SELECT person FROM session").fetchall() == [("ann",)]
        assert database.execute("SELECT model FROM look").fetchall() == [("clip-small",)]
