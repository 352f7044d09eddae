"""The commands export and import, as people call them."""

import json

import numpy as np
import pytest
from small_store import accept, add, square
from test_dataset_formats import content, quadruple_files
from typer.testing import CliRunner

from forgetme.cli import app
from forgetme.dataset import exports, imports
from forgetme.store import Store


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def location(tmp_path):
    with Store(tmp_path / "mine") as store:
        for seed in range(3):
            accept(store, add(store, seed))
    return tmp_path / "mine"


@pytest.mark.parametrize("name", exports)
def test_what_is_exported_is_imported_by_the_same_name(location, tmp_path, name):
    done = run("export", "--store", location, tmp_path / "out", "--format", name, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["exported"] == 3
    done = run("import", "--store", tmp_path / "new", tmp_path / "out", "--format", name, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["imported"] == 3
    again = run("import", "--store", tmp_path / "new", tmp_path / "out", "--format", name)
    assert "0 samples" in again.stdout
    assert "3 were there already" in again.stdout
    run("export", "--store", tmp_path / "new", tmp_path / "again", "--format", name)
    assert content(tmp_path / "again") == content(tmp_path / "out")


def test_the_commands_know_every_format():
    import typing

    from forgetme.cli.data import Format, ImportFormat

    assert set(typing.get_args(Format)) == set(exports)
    assert set(typing.get_args(ImportFormat)) == set(imports)


def test_split_and_shard_size_are_options(location, tmp_path):
    done = run(
        "export", "--store", location, tmp_path / "out", "--format", "webdataset",
        "--split", "0/0/100", "--shard-mb", 1,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out" / "data").iterdir()] == ["test-00000.tar"]
    wrong = run("export", "--store", location, tmp_path / "out", "--split", "50/50/50")
    assert wrong.exit_code == 2
    assert "add up to 1" in wrong.stderr


def test_an_import_of_which_nothing_fits_exits_1_and_says_why(tmp_path):
    quadruple_files(tmp_path / "a", "x", 1, mask=np.zeros_like(square()))
    result = run("import", "--store", tmp_path / "s", tmp_path / "a", "--concept", "cat")
    assert result.exit_code == 1
    assert "not taken: x: its mask is empty" in result.stderr
    quadruple_files(tmp_path / "a", "y", 2)
    result = run("import", "--store", tmp_path / "s", tmp_path / "a", "--concept", "cat")
    assert result.exit_code == 0
    assert result.stdout.startswith("1 samples")
    assert "not taken: x" in result.stderr


def test_an_import_of_what_is_not_there_is_one_line(tmp_path):
    result = run("import", "--store", tmp_path / "s", tmp_path / "nothing")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "is not there" in result.stderr
