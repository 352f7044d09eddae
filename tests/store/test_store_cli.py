"""`python -m forgetme store`: damage is named, mended from the events, and copied away."""

import sqlite3
from contextlib import closing

import pytest
from small_store import accept, add
from typer.testing import CliRunner

from forgetme import cli
from forgetme.store import Store


def run(*arguments: object):
    return CliRunner().invoke(cli.app, ["store", *(str(one) for one in arguments)])


@pytest.fixture
def place(tmp_path):
    with Store(tmp_path / "cats") as store:
        accept(store, add(store, 1))
        add(store, 2)
    return tmp_path / "cats"


def test_a_sound_store_passes(place):
    done = run("check", "--store", place)
    assert done.exit_code == 0
    assert "fit their events" in done.stdout


def test_a_row_that_differs_is_named_and_rebuilt(place):
    with closing(sqlite3.connect(place / "store.db")) as connection, connection:
        connection.execute("UPDATE sample SET state = 'rejected' WHERE state = 'accepted'")
    damaged = run("check", "--store", place)
    assert damaged.exit_code == 1
    assert "differs from its events; run rebuild" in damaged.stdout
    assert run("rebuild", "--store", place).stdout.startswith("2 samples")
    assert run("check", "--store", place).exit_code == 0


def test_a_lost_image_is_named(place):
    with Store(place) as store:
        accepted = next(iter(store.samples(state="accepted")))
        store.blob_path(accepted.image_sha).unlink()
    damaged = run("check", "--store", place)
    assert damaged.exit_code == 1
    assert accepted.image_sha in damaged.stdout


def test_a_backup_is_a_whole_store_and_never_overwrites(place, tmp_path):
    assert run("backup", "--store", place, tmp_path / "copy").exit_code == 0
    with Store(place) as store, Store(tmp_path / "copy") as copy:
        assert [row for row in copy.samples()] == [row for row in store.samples()]
        assert copy.check() == []
    again = run("backup", "--store", place, tmp_path / "copy")
    assert again.exit_code == 1
    assert "is not empty" in str(again.exception) + again.output
