"""The Compare tab's routes: what they answer, whom they refuse, that nothing outside is served."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_comparison
from page_server import Truth, TruthModels
from scipy.stats import binomtest
from small_store import hold
from test_page_fills import Client

from forgetme import compare, jobs
from forgetme.compare import saved, votes
from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError
from forgetme.store import Store

NAME = "cat-1"
KEYS = [key for key, *_ in small_comparison.COLUMNS]
OUTSIDE = "f" * 16  # a picture that lies beside the comparison, and must stay there


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one comparison and one run; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("compare") / "store"
    with Store(folder) as store:
        small_comparison.make(store, NAME, count=6, size=64)
        small_comparison.add_run(store)
        (store.folder / "comparisons" / "cache").mkdir()
        (store.folder / "comparisons" / "cache" / "table.json").write_text("{}")
        (store.folder / f"{OUTSIDE}.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def review(made: Path, tmp_path: Path) -> Iterator[Review]:
    shutil.copytree(made, tmp_path / "store")
    with Store(tmp_path / "store") as store:
        yield Review(store, TruthModels(Truth()), by="ann")


@pytest.fixture
def client(review: Review) -> Client:
    return Client(review)


@pytest.fixture
def team(review: Review) -> dict[str, Client]:
    for role in ("viewer", "curator", "lead"):
        review.store.people.add(role, role, "correct horse")
    nobody = Client(review)
    signed_in = {role: Client(review, role, of=nobody) for role in ("viewer", "curator", "lead")}
    return signed_in | {"nobody": nobody}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are written down; no process is started."""
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])


def folder_of(client: Client) -> Path:
    return client.review.store.folder / "comparisons" / NAME


def table_of(client: Client) -> dict:
    return json.loads((folder_of(client) / "table.json").read_text(encoding="utf-8"))


def sha_of(path: str) -> str:
    return path.removeprefix("pictures/").removesuffix(".png")


def asked(**more) -> dict:
    return {"name": "cat-2", "concept": "cat", "runs": [], "columns": ["own"], **more}


# ---------------------------------------------------------------- reading


def test_comparisons_are_listed_and_the_cache_is_none(client):
    found = client.get("comparisons").json()
    assert [one["name"] for one in found["comparisons"]] == [NAME]
    assert (found["comparisons"][0]["rows"], found["comparisons"][0]["columns"]) == (6, 5)
    assert found["comparisons"][0]["trouble"] is None


def test_a_comparison_comes_whole_with_the_states_of_its_samples(client):
    found = client.get(f"comparisons/{NAME}").json()
    assert found["table"] == table_of(client)
    ids = [row["sample"] for row in found["table"]["rows"]]
    assert found["states"] == dict.fromkeys(ids, "accepted")
    assert found["reports"] == ["html", "csv", "tex"]


def test_numbers_that_json_does_not_know_become_null(client):
    path = folder_of(client) / "table.json"
    table = table_of(client)
    table["cells"]["own"][0]["scores"]["outer_psnr"] = float("inf")
    path.write_text(json.dumps(table), encoding="utf-8")
    found = client.get(f"comparisons/{NAME}").json()
    assert found["table"]["cells"]["own"][0]["scores"]["outer_psnr"] is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 1}'])
def test_a_table_that_cannot_be_read_says_what_to_do(client, text):
    (folder_of(client) / "table.json").write_text(text, encoding="utf-8")
    (line,) = client.get("comparisons").json()["comparisons"]
    assert "make it again" in line["trouble"]
    answer = client.get(f"comparisons/{NAME}")
    assert answer.status_code == 404
    assert answer.json()["words"] == line["trouble"]


def test_a_picture_is_served_as_it_is_and_for_ever(client):
    path = table_of(client)["cells"]["own"][0]["picture"]
    answer = client.http.get(f"/forgetme/comparison/{NAME}/{sha_of(path)}.png")
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert hashlib.sha256(answer.content).hexdigest().startswith(sha_of(path))


@pytest.mark.parametrize("kind", ["html", "csv", "tex"])
def test_reports_are_downloads_and_never_pages_of_ours(client, kind):
    answer = client.http.get(f"/forgetme/comparison/{NAME}/report.{kind}")
    assert answer.headers["content-disposition"] == f'attachment; filename="{NAME}.{kind}"'
    assert answer.content == (folder_of(client) / saved.REPORTS[kind]).read_bytes()


# ---------------------------------------------------------------- nothing outside


@pytest.mark.parametrize(
    "path",
    [
        f"comparison/../{OUTSIDE}.png",
        f"comparison/..%2F..%2Fstore/{OUTSIDE}.png",
        f"comparison/%2e%2e/{OUTSIDE}.png",
        f"comparison/{NAME}/..%2F..%2F..%2F{OUTSIDE}.png",
        f"comparison/{NAME}/{OUTSIDE}.png",
        f"comparison/{NAME}/table.png",
        f"comparison/{NAME}/report.json",
        "comparison/cache/report.html",
        f"comparison/CAT-1/{OUTSIDE}.png",
        "api/comparisons/..",
        "api/comparisons/cache",
        "api/comparisons/no-such",
        "api/comparisons/..%2F..%2Fruns",
    ],
)
def test_a_name_is_never_a_path(client, path):
    answer = client.http.get(f"/forgetme/{path}", follow_redirects=False)
    assert answer.status_code in (400, 404, 422)
    assert b"secret" not in answer.content


def test_a_link_out_of_the_comparison_is_not_followed(client):
    store = client.review.store
    pictures = folder_of(client) / "pictures"
    (pictures / f"{OUTSIDE}.png").symlink_to(store.folder / f"{OUTSIDE}.png")
    (store.folder / "comparisons" / "linked").symlink_to(folder_of(client))
    path = table_of(client)["rows"][0]["original"]
    for name, sha in ((NAME, OUTSIDE), ("linked", sha_of(path))):
        answer = client.http.get(f"/forgetme/comparison/{name}/{sha}.png")
        assert answer.status_code == 404
    assert [one["name"] for one in client.get("comparisons").json()["comparisons"]] == [NAME]


def test_a_store_behind_a_link_serves_its_pictures(review, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with Store(tmp_path / "link") as store:
        table = saved.read_table(store, NAME)
        assert saved.picture_path(store, NAME, sha_of(table["rows"][0]["original"])).is_file()


# ---------------------------------------------------------------- who may what


def test_roles_hold_for_raw_requests(team, written):
    table = table_of(team["nobody"])
    sample = table["rows"][0]["sample"]
    picture = f"/forgetme/comparison/{NAME}/{sha_of(table['rows'][0]['original'])}.png"
    reads = ["comparisons", f"comparisons/{NAME}", f"comparisons/{NAME}/votes", "compare/form"]
    for path in reads:
        assert team["nobody"].get(path).status_code == 401
        assert team["viewer"].get(path).status_code == 200
    for path in (picture, f"/forgetme/comparison/{NAME}/report.html"):
        assert team["nobody"].http.get(path).status_code == 401
        assert team["viewer"].http.get(path).status_code == 200
    vote = {"row": 0, "left": "own", "right": "clipaway", "choice": "a"}
    curators = [
        (f"comparisons/{NAME}/samples/{sample}/back", {"column": "own"}),
        (f"comparisons/{NAME}/samples/{sample}/undo", {"column": "own"}),
        (f"comparisons/{NAME}/votes", vote),
    ]
    for path, body in curators:
        assert team["nobody"].post(path, body).status_code == 401
        assert team["viewer"].post(path, body).status_code == 403
        assert team["curator"].post(path, body).status_code == 200
    assert team["nobody"].post("comparisons", asked()).status_code == 401
    assert team["curator"].post("comparisons", asked()).status_code == 403
    assert team["lead"].post("comparisons", asked()).status_code == 202


def test_changes_need_the_mark_of_our_own_page(client):
    body = {"row": 0, "left": "own", "right": "clipaway", "choice": "a"}
    answer = client.http.post(f"/forgetme/api/comparisons/{NAME}/votes", json=body)
    assert answer.status_code == 403
    assert not (folder_of(client) / votes.VOTES).exists()


# ---------------------------------------------------------------- a new comparison


def test_the_form_offers_what_there_is(client):
    form = client.get("compare/form").json()
    assert form["concepts"] == {"cat": 6}
    assert [(one["name"], one["method"]) for one in form["runs"]] == [("cat-lora", "lora")]
    assert list(form["columns"]) == list(compare.COLUMNS)
    assert set(KEYS) < set(form["columns"])


def test_starting_writes_a_job_with_what_was_asked(client, written):
    body = asked(runs=["cat-lora"], columns=["own", "lora-inpaint"], limit=9, seed=3, sweep=True)
    job = client.post("comparisons", body).json()
    assert (job["kind"], job["state"]) == ("compare", "queued")
    arguments = jobs.get(client.review.store, job["id"]).arguments
    assert arguments == body | {"preset": "tiny", "verifier": None}
    (listed,) = client.get("comparisons").json()["jobs"]
    assert (listed["id"], listed["name"]) == (job["id"], "cat-2")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": NAME}, "already"),
        ({"name": "cache"}, "already"),
        ({"name": "../evil"}, "name"),
        ({"name": "Cat"}, "name"),
        ({"concept": "dog"}, "No accepted sample"),
        ({"runs": ["no-such"]}, "No patch"),
        ({"runs": ["../runs"]}, "runs"),
        ({"runs": ["cat-lora", "cat-lora"]}, "once"),
        ({"columns": []}, "columns"),
        ({"columns": ["lora-inpaint"]}, "Choose a run"),
        ({"columns": ["magic"]}, "columns"),
        ({"sweep": True}, "Choose a run"),
        ({"limit": 0}, "limit"),
        ({"limit": "9"}, "limit"),
        ({"seed": -1}, "seed"),
        ({"out": "/etc"}, "out"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(client, written, more, words):
    answer = client.post("comparisons", asked(**more))
    assert answer.status_code in (400, 422)
    assert words in answer.json()["words"]
    assert client.get("comparisons").json()["jobs"] == []


# ---------------------------------------------------------------- back to the queue


def test_a_bad_picture_flags_its_sample_with_a_comment_and_undo_takes_both_back(client):
    store = client.review.store
    sample = table_of(client)["rows"][1]["sample"]
    client.review.comment(sample, "mind the tail")
    path = f"comparisons/{NAME}/samples/{sample}/"
    answer = client.post(path + "back", {"column": "clipaway"}).json()
    assert answer["sample"]["state"] == "flagged"
    row = store.sample(sample)
    assert (row.state, row.decided_by) == ("flagged", "ann")
    assert row.comment.startswith("mind the tail\n")
    assert NAME in row.comment
    assert "CLIPAway" in row.comment
    assert (
        client.post(path + "undo", {"column": "clipaway"}).json()["sample"]["state"] == "accepted"
    )
    assert (store.sample(sample).state, store.sample(sample).comment) == (
        "accepted",
        "mind the tail",
    )


def test_two_bad_pictures_of_a_sample_are_undone_one_by_one(client):
    store = client.review.store
    sample = table_of(client)["rows"][0]["sample"]
    path = f"comparisons/{NAME}/samples/{sample}/"
    for column in ("own", "clipaway", "clipaway"):
        client.post(path + "back", {"column": column})
    assert store.sample(sample).comment.count("\n") == 1  # a double press is one line
    client.post(path + "undo", {"column": "clipaway"})
    assert store.sample(sample).state == "flagged"
    assert "CLIPAway" not in store.sample(sample).comment
    client.post(path + "undo", {"column": "own"})
    assert (store.sample(sample).state, store.sample(sample).comment) == ("accepted", "")


def test_only_samples_and_columns_of_the_comparison_come_back(client):
    store = client.review.store
    other = store.import_image(small_comparison.scenes_of(7, 64)[6].image, name="other",
                               concept="cat", by="ann", source="")  # fmt: skip
    mine = table_of(client)["rows"][0]["sample"]
    for sample, column in ((other.id, "own"), (mine, "magic"), ("0" * 16, "own")):
        answer = client.post(f"comparisons/{NAME}/samples/{sample}/back", {"column": column})
        assert answer.status_code == 400
    assert store.sample(other.id).state == "new"
    assert store.sample(mine).state == "accepted"


def test_what_somebody_decided_meanwhile_is_not_undone(client):
    sample = table_of(client)["rows"][0]["sample"]
    path = f"comparisons/{NAME}/samples/{sample}/"
    client.post(path + "back", {"column": "own"})
    client.review.reject(sample)
    answer = client.post(path + "undo", {"column": "own"})
    assert answer.status_code == 409
    assert client.review.store.sample(sample).state == "rejected"


def test_a_sample_that_somebody_holds_stays(team):
    store = team["nobody"].review.store
    sample = table_of(team["nobody"])["rows"][0]["sample"]
    hold(store, sample, "lead")
    answer = team["curator"].post(f"comparisons/{NAME}/samples/{sample}/back", {"column": "own"})
    assert answer.status_code in (403, 409, 423)
    assert store.sample(sample).state == "accepted"


# ---------------------------------------------------------------- votes


def voted(client: Client, choice: str = "a", **query) -> dict:
    """Gives the next vote; returns the ballot."""
    given = client.get(f"comparisons/{NAME}/votes", **query).json()["ballot"]
    body = {"row": given["row"], "left": given["a"], "right": given["b"], "choice": choice}
    assert client.post(f"comparisons/{NAME}/votes", body).status_code == 200
    return given


def test_every_pair_of_different_pictures_is_dealt_once(client):
    cells = table_of(client)["cells"]
    expected = {
        (row, *sorted((one, other)))
        for row in range(6)
        for k, one in enumerate(KEYS)
        for other in KEYS[k + 1 :]
        if cells[one][row]["picture"] != cells[other][row]["picture"]
        and cells[one][row]["picture"]
        and cells[other][row]["picture"]
    }
    assert 0 < len(expected) < 60  # one cell has failed
    remaining = client.get(f"comparisons/{NAME}/votes").json()["remaining"]
    dealt = [voted(client, "skip") for _ in range(remaining)]
    assert {(one["row"], *sorted((one["a"], one["b"]))) for one in dealt} == expected
    assert len(dealt) == len(expected)
    assert client.get(f"comparisons/{NAME}/votes").json()["ballot"] is None


def test_sides_are_mixed_and_differ_between_people():
    table = {
        "made": "now",
        "columns": [{"key": "x"}, {"key": "y"}],
        "rows": [{}] * 400,
        "cells": {key: [{"picture": key + str(row)} for row in range(400)] for key in "xy"},
    }
    sides = {
        by: [votes.ballot(table, row, "x", "y", by).a for row in range(400)]
        for by in ("ann", "ben")
    }
    for line in sides.values():  # as a fair coin: within four standard deviations
        assert abs(Counter(line)["x"] - 200) < 40
    alike = sum(one == other for one, other in zip(*sides.values(), strict=True))
    assert abs(alike - 200) < 40


def test_the_tally_counts_by_column_whatever_side_it_was_on(client):
    rows = client.get(f"comparisons/{NAME}/votes", left="own", right="lora-inpaint").json()
    assert rows["remaining"] == 6
    for k in range(6):
        query = {"left": "own", "right": "lora-inpaint"}
        given = client.get(f"comparisons/{NAME}/votes", **query).json()["ballot"]
        winner = "own" if k < 4 else "lora-inpaint"
        voted(client, "a" if given["a"] == winner else "b", **query)
    (line,) = client.get(f"comparisons/{NAME}/votes").json()["tally"]
    assert (line["left"], line["right"]) == ("own", "lora-inpaint")
    assert (line["won"], line["lost"], line["ties"], line["people"]) == (4, 2, 0, 1)
    reference = binomtest(4, 6).proportion_ci(method="wilson")
    assert line["rate"] == pytest.approx(4 / 6)
    assert (line["low"], line["high"]) == pytest.approx((reference.low, reference.high))


def test_a_vote_can_be_taken_back_and_the_last_one_counts(client):
    query = {"left": "own", "right": "clipaway"}
    given = voted(client, "a", **query)
    body = {"row": given["row"], "left": given["b"], "right": given["a"]}
    client.post(f"comparisons/{NAME}/votes", {**body, "choice": "tie"})
    (line,) = client.get(f"comparisons/{NAME}/votes").json()["tally"]
    assert (line["won"] + line["lost"], line["ties"], line["rate"]) == (0, 1, None)
    client.post(f"comparisons/{NAME}/votes", {**body, "choice": "back"})
    again = client.get(f"comparisons/{NAME}/votes", **query).json()
    assert (again["tally"], again["ballot"]) == ([], given)


def test_votes_are_whole_lines_that_outlive_a_torn_one(client):
    voted(client, "a")
    path = folder_of(client) / votes.VOTES
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"by": "ann", "row"')  # killed within its line
    voted(client, "b")
    assert path.read_bytes().startswith(whole)
    assert [one.choice for one in votes.read_votes(folder_of(client))] == ["a", "b"]


@pytest.mark.parametrize(
    "more",
    [
        {"choice": "c"},
        {"row": 99},
        {"row": -1},
        {"left": "clipaway"},
        {"right": "magic"},
        {"right": "../own"},
        {"by": "ben"},
    ],
)
def test_a_vote_that_makes_no_sense_is_refused(client, more):
    body = {"row": 0, "left": "own", "right": "clipaway", "choice": "a", **more}
    answer = client.post(f"comparisons/{NAME}/votes", body)
    assert answer.status_code in (400, 422)
    assert answer.json()["words"]
    assert votes.read_votes(folder_of(client)) == []


def test_people_vote_for_themselves(team):
    for name in ("curator", "lead"):
        voted(team[name], "a")
    found = votes.read_votes(folder_of(team["nobody"]))
    assert sorted(one.by for one in found) == ["curator", "lead"]
    mine = team["curator"].get(f"comparisons/{NAME}/votes").json()["mine"]
    assert [one["by"] for one in mine] == ["curator"]


def test_a_failed_cell_has_no_ballot():
    table = {
        "made": "now",
        "columns": [{"key": "x"}, {"key": "y"}],
        "rows": [{}],
        "cells": {"x": [{"picture": "p"}], "y": [{"picture": None}]},
    }
    assert votes.deal(table, [], "ann") == (None, 0)
    with pytest.raises(ForgetmeError, match="no two different pictures"):
        votes.ballot(table, 0, "x", "y", "ann")
