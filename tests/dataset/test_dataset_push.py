"""Pushing, by the real client of the Hub, to a server that speaks its protocol and its faults."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hub_server import READ_TOKEN, TOKEN, HubServer
from huggingface_hub import constants
from huggingface_hub.utils import _http
from small_store import accept, add, picture

from forgetme.dataset import PushConflictError, push
from forgetme.dataset import hub as hub_module
from forgetme.dataset.atomic_folder import MARKER
from forgetme.dataset.card import BEGIN, END
from forgetme.errors import ForgetmeError
from forgetme.record.images import array_sha
from forgetme.store import Store

REPO = "ann/cats"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # this server is on this machine
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(_http, "time", SimpleNamespace(**vars(time) | {"sleep": lambda _: None}))
    with HubServer() as server:
        yield server


@pytest.fixture
def waits(monkeypatch):
    asked = []
    monkeypatch.setattr(hub_module, "sleep", asked.append)
    return asked


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """A closed store of six accepted samples, for copies."""
    folder = tmp_path_factory.mktemp("six") / "store"
    with Store(folder) as store:
        for seed in range(6):
            accept(store, add(store, seed, concept=("cat", "dog")[seed % 2]))
    return folder


@pytest.fixture
def filled_store(six, tmp_path):
    with Store(shutil.copytree(six, tmp_path / "six")) as store:
        yield store


def send(store, server, **options):
    options = {"token": TOKEN, "endpoint": server.url, **options}
    return push(store, options.pop("repo", REPO), **options)


def head(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


# ------------------------------------------------------------------------------ what arrives


def test_push_makes_a_private_repository_with_everything_in_one_commit(filled_store, server):
    report = send(filled_store, server)
    repo = server.repos[REPO]
    assert (repo.private, report.private, len(repo.commits)) == (True, True, 2)
    assert (repo.head.oid, repo.head.title) == (report.commit, "6 quadruples")
    sent = set(repo.head.files) - {".gitattributes", MARKER}
    assert sent == set(report.files)
    assert {name.split("-")[0] for name in sent} == {
        "README.md", *(f"data/{split}" for split, count in report.by_split.items() if count)
    }  # fmt: skip
    assert (report.exported, report.by_concept) == (6, {"cat": 3, "dog": 3})
    assert all(repo.head.files[name].lfs for name in sent if name.endswith(".parquet"))
    assert not list(filled_store.folder.glob("cache/push-*"))


def test_a_pushed_dataset_is_loaded_with_the_same_pixels(filled_store, server, tmp_path):
    report = send(filled_store, server)
    code = f"""
import datasets, hashlib, json, numpy as np
from forgetme.record.images import array_sha
from forgetme.store import Store
loaded = datasets.load_dataset({REPO!r})
found = {{}}
for split, part in loaded.items():
    for line in part:
        layers = ("original", "foreground", "background", "mask")
        assert line["split"] == split
        found[line["id"]] = [array_sha(np.asarray(line[layer])) for layer in layers]
print(json.dumps([found, {{split: part.num_rows for split, part in loaded.items()}}]))
"""
    environment = {
        **os.environ, "HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.getcwd(),
    }  # fmt: skip
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, counts = json.loads(done.stdout.splitlines()[-1])
    assert counts == {split: count for split, count in report.by_split.items() if count}
    rows = filled_store.samples(limit=None)
    assert found.keys() == {row.id for row in rows}
    for row in rows:
        original, mask = filled_store.get_image(row.image_sha), filled_store.get_image(row.mask_sha)
        background = row.tries[0]["image_sha"]
        foreground = array_sha(np.dstack([original, mask]))
        assert found[row.id] == [row.image_sha, foreground, background, row.mask_sha]


def test_the_card_says_what_the_hub_and_people_want_to_know(filled_store, server):
    report = send(filled_store, server, license="cc-by-4.0")
    card = server.repos[REPO].head.files["README.md"].data.decode()
    assert card == report.card
    data = head(card)
    assert data["license"] == "cc-by-4.0"
    assert data["size_categories"] == ["n<1K"]
    assert "image-segmentation" in data["task_categories"]
    assert "machine-unlearning" in data["tags"]
    (config,) = data["configs"]
    splits = [split for split, count in report.by_split.items() if count]
    assert [one["split"] for one in config["data_files"]] == splits
    info = data["dataset_info"]
    assert info["features"][0] == {"name": "original", "dtype": "image"}
    assert {"name": "seed", "dtype": "int64"} in info["features"]
    assert {one["name"]: one["num_examples"] for one in info["splits"]} == {
        split: report.by_split[split] for split in splits
    }
    shards = [size for name, size in report.files.items() if name.endswith(".parquet")]
    assert info["download_size"] == sum(shards)
    assert "| cat | 3 | 3 | 100.00 % | 0.5000 | 0.7500 | paper | 3 | 0 |" in card
    assert "sam-small (6)" in card
    assert "lama-small (6)" in card
    assert "6 by people, 0 by the policy" in card
    assert "6 of 6 were made with the small bundled models" in card
    assert f'load_dataset("{REPO}")' in card


def test_a_users_own_configs_stay(filled_store, server):
    send(filled_store, server)
    readme = server.repos[REPO].head.files["README.md"].data.decode()
    text = readme.partition("---\n")[2].partition("---\n")[2]
    data = head(readme)
    data["configs"][0]["default"] = True
    data["configs"][0]["data_files"].append({"split": "extra", "path": "extra/*"})
    mine = {"config_name": "masks", "data_files": [{"split": "train", "path": "masks/*"}]}
    data["configs"].append(mine)
    info = {"config_name": "masks", "features": [{"name": "mask", "dtype": "image"}]}
    ours = data["dataset_info"]
    data["dataset_info"] = [{"config_name": "default", **ours}, info]
    readme = f"---\n{yaml.safe_dump(data)}---\n{text}"
    server.write(REPO, "mine", {"README.md": readme.encode()})
    for _ in range(2):  # again and again
        data = head(send(filled_store, server).card)
        default, other = data["configs"]
        assert other == mine
        assert default["default"] is True
        splits = [one["split"] for one in default["data_files"]]
        assert splits[-1] == "extra"
        assert len(splits) == len(set(splits)) > 1
        assert data["dataset_info"] == [{"config_name": "default", **ours}, info]


def test_a_licence_that_the_hub_does_not_know_is_told_in_its_words(filled_store, server, waits):
    with pytest.raises(ForgetmeError, match='refuses what was sent.*"license" must be one of'):
        send(filled_store, server, license="none-such")
    assert server.repos[REPO].head.title == "initial commit"


def test_a_card_without_a_licence_says_so(filled_store, server):
    report = send(filled_store, server)
    assert head(report.card)["license"] == "unknown"
    assert "No licence was stated" in report.card


def test_a_source_is_published_without_folders_and_secrets(store, server):
    sources = {
        1: "/home/ann/secret plans/a.png",
        2: "https://bob:pw@host.example/pic/b.png?X-Signature=s3cret#x",
        3: r"C:\Users\ann\c.png",
    }
    for seed, source in sources.items():
        row = store.import_image(
            picture(seed), name=f"p{seed}", concept="cat", by="ann", source=source
        )
        accept(store, row)
    send(store, server)
    import io

    import pyarrow.parquet as pq

    files = server.repos[REPO].head.files
    tables = [pq.read_table(io.BytesIO(f.data)) for n, f in files.items() if n.endswith("parquet")]
    found = {source for table in tables for source in table["source"].to_pylist()}
    assert found == {"a.png", "https://host.example/pic/b.png", "c.png"}
    assert not any(
        b"s3cret" in file.data or b"secret plans" in file.data for file in files.values()
    )


# ------------------------------------------------------------------------------ again


def test_pushing_again_sends_nothing_and_makes_no_commit(filled_store, server):
    first = send(filled_store, server)
    sent = list(server.uploads)
    again = send(filled_store, server)
    assert (first.changed, again.changed) == (True, False)
    assert again.commit == first.commit
    assert server.uploads == sent
    assert len(server.repos[REPO].commits) == 2


def test_pushing_more_replaces_the_shards_of_the_earlier_push(filled_store, server):
    send(filled_store, server, shard_bytes=4000)
    before = {n for n in server.repos[REPO].head.files if n.startswith("data/")}
    accept(filled_store, add(filled_store, 50))
    accept(filled_store, add(filled_store, 51))
    report = send(filled_store, server, shard_bytes=4000)
    after = {n for n in server.repos[REPO].head.files if n.startswith("data/")}
    assert after == {name for name in report.files if name != "README.md"}
    assert set(report.removed) == before - after != set()
    assert server.repos[REPO].head.title == "8 quadruples"


def test_what_people_added_to_the_card_stays(filled_store, server):
    send(filled_store, server)
    card = server.repos[REPO].head.files["README.md"].data.decode()
    card = card.replace("license: unknown", "license: mit\nlanguage:\n- en")
    card = card.replace(BEGIN, f"# About us\n\n{BEGIN}") + "\n## Thanks\n"
    server.write(REPO, "better card", {"README.md": card.encode()})
    accept(filled_store, add(filled_store, 50))
    report = send(filled_store, server)
    data = head(report.card)
    assert (data["license"], data["language"]) == ("mit", ["en"])
    text = report.card
    assert text.index("# About us") < text.index(BEGIN) < text.index(END) < text.index("## Thanks")
    assert text.count(BEGIN) == 1
    assert "7 quadruples" in text


def test_a_card_with_a_damaged_head_is_not_written_over(filled_store, server):
    server.make(REPO, private=True, files={"README.md": b"---\na: [\n---\n# mine\n"})
    with pytest.raises(ForgetmeError, match="damaged head"):
        send(filled_store, server)
    assert len(server.repos[REPO].commits) == 1


def test_data_of_another_maker_is_not_mixed_with_ours(filled_store, server):
    server.make(REPO, private=True, files={"data/train-00000.parquet": b"other"})
    with pytest.raises(ForgetmeError, match="no push of ForgetMe"):
        send(filled_store, server)
    assert len(server.repos[REPO].commits) == 1
    assert server.uploads == []


def test_a_marker_of_nonsense_deletes_nothing(filled_store, server):
    for number, marker in enumerate((b"[", b"{}", b'{"files": 3}', b'["files"]')):
        name = f"ann/n{number}"
        server.make(name, private=True, files={MARKER: marker, "notes.txt": b"keep"})
        assert send(filled_store, server, repo=name).removed == ()
        assert server.repos[name].head.files["notes.txt"].data == b"keep"


# ------------------------------------------------------------------------------ private, public


def test_public_only_when_told(filled_store, server):
    assert send(filled_store, server, private=False).private is False
    assert server.repos[REPO].private is False


def test_a_private_push_to_a_public_repository_is_refused(filled_store, server):
    server.make(REPO, private=False)
    with pytest.raises(ForgetmeError, match="is public"):
        send(filled_store, server)
    assert server.uploads == []
    assert len(server.repos[REPO].commits) == 1


def test_a_dry_run_asks_nothing_of_the_hub(filled_store, server):
    report = send(filled_store, server, token=None, dry_run=True)
    assert server.asked == []
    assert (report.dry_run, report.commit, report.exported) == (True, None, 6)
    assert "README.md" in report.files
    assert head(report.card)["configs"]
    real = send(filled_store, server)
    assert real.files == report.files
    assert real.card == report.card


# ------------------------------------------------------------------------------ faults


def test_a_concurrent_writer_is_noticed_and_not_written_over(filled_store, server, waits):
    send(filled_store, server)
    accept(filled_store, add(filled_store, 50))
    server.before["commit"] = lambda: server.write(REPO, "bob was here", {"bob.txt": b"hi"})
    with pytest.raises(PushConflictError, match="somebody else changed ann/cats") as raised:
        send(filled_store, server)
    repo = server.repos[REPO]
    assert repo.head.title == "bob was here"
    assert repo.head.oid[:8] in str(raised.value)
    assert send(filled_store, server).exported == 7
    assert repo.head.files["bob.txt"].data == b"hi"


def test_a_commit_beside_another_one_is_tried_again(filled_store, server, waits):
    """409: the Hub works on another commit, which may be to another branch."""
    server.fail("commit", status=409, message="another commit is in progress")
    report = send(filled_store, server)
    assert (waits, server.repos[REPO].head.oid) == ([1.0], report.commit)


@pytest.mark.parametrize(
    "step", ["info", "create", "preupload", "batch", "put", "commit", "resolve"]
)
@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 503}, {"status": 429}], ids=str)
def test_a_passing_fault_is_passed(filled_store, server, waits, step, fault):
    server.fail(step, **fault)
    if step == "resolve":
        server.make(REPO, private=True, files={"README.md": b"---\nlicense: mit\n---\n# mine\n"})
    report = send(filled_store, server)
    assert not server.faults[step]
    repo = server.repos[REPO]
    assert (repo.head.oid, len(repo.commits)) == (report.commit, 2)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(filled_store, server, waits):
    server.fail("commit", drop=True, after=True)
    report = send(filled_store, server)
    assert len(server.repos[REPO].commits) == 2
    assert report.commit == server.repos[REPO].head.oid
    assert report.changed


def test_a_repository_whose_making_is_not_answered_is_used(filled_store, server, waits):
    server.fail("create", drop=True, after=True)
    send(filled_store, server)
    assert len(server.repos[REPO].commits) == 2


def test_what_was_uploaded_before_the_line_broke_is_not_uploaded_again(filled_store, server, waits):
    server.fail("commit", times=hub_module.TRIES, drop=True)
    with pytest.raises(ForgetmeError, match="the line to the Hub broke 5 times"):
        send(filled_store, server)
    sent = list(server.uploads)
    assert sent
    assert server.repos[REPO].head.title == "initial commit"
    send(filled_store, server)
    assert server.uploads == sent


def test_an_upload_that_breaks_off_is_resumed_at_the_file(filled_store, server, waits):
    seen = []

    def stop(done, total, words):
        seen.append(words)
        if words.startswith("uploaded data/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(filled_store, server, on_progress=stop, shard_bytes=4000)
    assert len(server.uploads) == 1
    assert not list(filled_store.folder.glob("cache/push-*"))
    report = send(filled_store, server, shard_bytes=4000)
    shards = [name for name in report.files if name.endswith(".parquet")]
    assert len(shards) > 1
    assert len(server.uploads) == len(set(server.uploads)) == len(shards)


def test_the_hub_is_given_the_time_it_asks_for(filled_store, server, waits):
    server.fail("commit", status=429, headers={"Retry-After": "7"})
    send(filled_store, server)
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("step", "fault", "words"),
    [
        ("commit", {"status": 429, "times": 9}, "asks to wait"),
        ("commit", {"status": 500, "times": 9}, "answered 500"),
        ("commit", {"status": 413}, "--shard-mb"),
        ("commit", {"status": 403, "message": "storage is full"}, "storage is full"),
        ("info", {"drop": True, "times": 9}, "line to the Hub broke"),
        ("put", {"status": 503, "times": 9}, "answered 503"),
    ],
)
def test_a_lasting_fault_is_told_in_words(filled_store, server, waits, step, fault, words):
    server.fail(step, **fault)
    with pytest.raises(ForgetmeError, match=words) as raised:
        send(filled_store, server)
    assert TOKEN not in str(raised.value)
    assert all(repo.head.title == "initial commit" for repo in server.repos.values())


@pytest.mark.parametrize(
    ("token", "repo", "words"),
    [
        ("hf_wrong", REPO, "does not accept the token"),
        (READ_TOKEN, REPO, "may not write"),
        (TOKEN, "bob/cats", "may not write to bob/cats"),
        (None, REPO, "HF_TOKEN"),
        ("", REPO, "HF_TOKEN"),
    ],
)
def test_a_token_that_may_not_is_told_in_words(filled_store, server, waits, token, repo, words):
    with pytest.raises(ForgetmeError, match=words) as raised:
        send(filled_store, server, token=token, repo=repo)
    assert not token or token not in str(raised.value)
    assert server.uploads == []


@pytest.mark.parametrize(
    "repo", ["cats", "a/b/c", "../etc", "ann/..", "ann/a b", "", "ann/" + "x" * 99]
)
def test_a_name_that_is_none_is_refused_before_anything_is_sent(filled_store, server, repo):
    with pytest.raises(ForgetmeError, match="user/name"):
        send(filled_store, server, repo=repo)
    assert server.asked == []


def test_a_token_that_may_not_is_told_before_the_long_work(filled_store, server):
    told = []
    with pytest.raises(ForgetmeError, match="does not accept the token"):
        send(filled_store, server, token="hf_wrong", on_progress=lambda *one: told.append(one))
    assert told == []


def test_progress_is_told_for_samples_and_then_for_files(filled_store, server):
    told = []
    report = send(filled_store, server, on_progress=lambda *one: told.append(one))
    files = len(report.files) + 1  # the marker
    assert [one[:2] for one in told] == [
        *((n, 6) for n in range(1, 7)), *((n, files) for n in range(1, files + 1))
    ]  # fmt: skip
    assert told[0][2] == "read beach_0"
    assert told[-1][2] == f"uploaded {MARKER}"


def test_nothing_accepted_is_told(store, server):
    add(store, 1)
    with pytest.raises(ForgetmeError, match="accept some, then push"):
        send(store, server)
    assert server.asked == []


# ------------------------------------------------------------------------------ the token


def test_the_token_is_in_no_log_event_file_or_report(filled_store, server, caplog, waits):
    caplog.set_level(logging.DEBUG)
    server.fail("commit", drop=True)
    report = send(filled_store, server)
    assert any(who == f"Bearer {TOKEN}" for _, _, who in server.asked)
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(report)
    assert TOKEN not in repr(filled_store.events())
    assert not any(TOKEN.encode() in f.data for f in server.repos[REPO].head.files.values())
    assert not any(TOKEN in path for _, path, _ in server.asked)


def test_large_files_are_sent_without_the_token(filled_store, server):
    """Storage is another server than the Hub: it gets signed addresses, never the token."""
    send(filled_store, server)
    assert {who for step, _, who in server.asked if step == "put"} == {None}


# ------------------------------------------------------------------------------ the command


def test_the_command_pushes_with_the_token_of_the_environment(filled_store, server, monkeypatch):
    from typer.testing import CliRunner

    from forgetme.cli import app

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    arguments = ["push", "--store", str(filled_store.folder), REPO]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "dataset_info" in dry.stdout
    assert server.asked == []
    done = CliRunner().invoke(app, [*arguments, "--json", "--license", "mit", "--split", "100/0/0"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["commit"] == server.repos[REPO].head.oid
    assert report["by_split"] == {"train": 6, "validation": 0, "test": 0}
    assert server.repos[REPO].private
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    wrong = CliRunner().invoke(app, arguments)
    assert wrong.exit_code == 1
    assert "does not accept the token" in wrong.stderr
    assert "hf_wrong" not in wrong.output
    assert CliRunner().invoke(app, [*arguments, "--split", "1/2"]).exit_code == 2
