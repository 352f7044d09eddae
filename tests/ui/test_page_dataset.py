"""The Dataset tab's routes over real HTTP: numbers, cards, audit trail, exports, and refusals."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pytest
import small_store
from dataset_page import CATS, DOGS, DataPage, fill, serving, twin, wait_for

from forgetme import jobs
from forgetme.dataset import as_jobs, export, split_of, store_folders
from forgetme.errors import ForgetmeError
from forgetme.record.images import read_image
from forgetme.store import Store
from forgetme.ui.trail import words

CLIP_OF_ALL = 0.8  # what small_store proposes


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPage]:
    """The page on a filled store; tests only add to it."""
    folder = tmp_path_factory.mktemp("dataset") / "store"
    fill(folder)
    with Store(folder) as store, serving(store) as page:
        yield page


def scores(page: DataPage, after: int = 0) -> dict:
    return page.get("scores", params={"after": after}).json()


def named(page: DataPage, name: str):
    return next(row for row in page.store.samples(limit=None) if row.name == name)


# ------------------------------ numbers


def test_table_is_the_stores_table_1(page: DataPage) -> None:
    lines = page.get("table").json()
    assert lines == [asdict(line) for line in page.store.table1()]
    cat = next(line for line in lines if line["concept"] == "cat")
    assert (cat["selected"], cat["human"], cat["rejected"]) == (CATS, CATS, 1)


def test_scores_have_every_sample_with_its_split(page: DataPage) -> None:
    body = scores(page)
    assert body["whole"] is True
    rows = {row[0]: row for row in body["rows"]}
    for sample in page.store.samples(limit=None, light=True):
        _, concept, state, split, low, d, s, clip = rows[sample.id]
        assert body["concepts"][concept] == sample.concept
        assert body["states"][state] == sample.state
        assert body["splits"][split] == split_of(sample)
        assert (d, s, bool(low)) == (sample.score_d, sample.score_s, bool(sample.low))
        assert clip == (None if sample.state in ("new", "broken") else CLIP_OF_ALL)


def test_scores_after_a_read_are_only_what_changed_since(page: DataPage) -> None:
    upto = scores(page)["upto"]
    assert scores(page, upto)["rows"] == []
    row = small_store.accept(page.store, small_store.add(page.store, 300, name="later"), d=0.25)
    news = scores(page, upto)
    assert [one[0] for one in news["rows"]] == [row.id]
    assert (news["whole"], news["rows"][0][5]) == (False, 0.25)
    assert news["upto"] > upto


def test_scores_of_a_store_that_went_back_are_read_anew(page: DataPage) -> None:
    body = scores(page, 10**9)
    assert body["whole"] is True
    assert len(body["rows"]) > CATS + DOGS


def test_scores_of_an_empty_store_are_whole(tmp_path) -> None:
    with Store(tmp_path / "store") as store:
        found = store.queries.scores()
    assert (found.upto, found.whole, found.lines) == (0, True, [])


def test_scores_leave_second_copies_out(page: DataPage) -> None:
    copy = twin(page.store, named(page, "cat_3"))
    assert copy.id not in [row[0] for row in scores(page)["rows"]]


def test_cards_name_all_pictures_in_the_order_asked_for(page: DataPage) -> None:
    rows = [named(page, name) for name in ("dog_2", "cat_1", "fresh")]
    ids = [*(row.id for row in rows), "f" * 16]
    cards, reverse = (
        page.get("cards", params={"ids": ",".join(order)}).json() for order in (ids, ids[::-1])
    )
    assert [card["name"] for card in cards] == ["dog_2", "cat_1", "fresh"]
    assert reverse == cards[::-1]
    dog, _, fresh = cards
    assert dog["background_sha"] == rows[0].tries[0]["image_sha"]
    assert (dog["mask_sha"], dog["split"]) == (rows[0].mask_sha, split_of(rows[0]))
    assert (fresh["background_sha"], fresh["mask_sha"]) == (None, None)


@pytest.mark.parametrize("ids", ["", "1", "../etc", "f" * 15, ",".join(["f" * 16] * 65)])
def test_cards_refuse_what_is_no_list_of_ids(page: DataPage, ids: str) -> None:
    assert page.get("cards", params={"ids": ids}).status_code == 422


# ------------------------------ audit trail


def test_trail_is_newest_first_and_pages_without_gaps(page: DataPage) -> None:
    first = page.get("trail", params={"limit": 10}).json()
    assert first["more"] is True
    before = first["events"][-1]["id"]
    second = page.get("trail", params={"limit": 10, "before": before}).json()
    ids = [one["id"] for one in first["events"] + second["events"]]
    expected = [one.id for one in page.store.events()][::-1][:20]
    assert ids == expected


def test_trail_filters_by_person_kind_and_sample(page: DataPage) -> None:
    found = page.get("trail", params={"by": "ben", "kind": "rejected"}).json()
    assert [(one["name"], one["words"]) for one in found["events"]] == [("rejected", "only a paw")]
    assert {"ann", "ben", "policy"} <= set(found["people"])
    sample = named(page, "cat_2")
    mine = page.get("trail", params={"sample": sample.id}).json()["events"]
    assert [one["kind"] for one in mine] == ["accepted", "filled", "proposed", "imported"]


def test_trail_refuses_an_unknown_kind(page: DataPage) -> None:
    assert page.get("trail", params={"kind": "drop table"}).status_code == 422


def test_words_say_what_an_event_did(page: DataPage) -> None:
    said = {one.kind: words(one) for one in page.store.events(named(page, "dog_4").id)}
    assert said["proposed"] == "2 masks, took number 1"
    assert said["filled"] == "lama-small · D 0.80 · S 0.20 · “sand”"
    assert said["accepted"] == "by the batch policy"


def test_trail_as_jsonl_is_the_whole_log_without_the_masks(page: DataPage) -> None:
    answer = page.get("trail/file", params={"format": "jsonl"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["id"] for line in lines] == [one.id for one in page.store.events()]
    assert "attachment" in answer.headers["content-disposition"]
    proposed = next(line for line in lines if line["kind"] == "proposed")
    assert proposed["payload"]["proposals"][0]["score"] == CLIP_OF_ALL
    assert '"rle"' not in answer.text


def test_trail_as_csv_has_no_cell_that_a_spreadsheet_would_run(page: DataPage) -> None:
    row = small_store.prepare(page.store, small_store.add(page.store, 301, name="formula"))
    evil = '=HYPERLINK("http://example.org")'
    small_store.step(page.store, row, "flagged", {"reason": "odd"}, by=evil)
    text = page.get("trail/file", params={"format": "csv", "sample": row.id}).text
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["kind"] for line in lines] == ["imported", "proposed", "filled", "flagged"]
    assert lines[-1]["by"] == "'" + evil
    assert json.loads(lines[-1]["payload"]) == {"reason": "odd"}


# ------------------------------ exports


def finished(page: DataPage, kind: str) -> jobs.Job:
    """Waits for the last job of a kind and returns it."""

    def last() -> jobs.Job:
        return next(job for job in jobs.list(page.store) if job.kind == kind)

    wait_for(lambda: last().state in jobs.ENDED, seconds=300)
    return last()


def test_export_runs_as_a_job_and_comes_back_as_zip_with_the_same_pixels(page: DataPage) -> None:
    answer = page.post("exports", {"name": "cats-1", "format": "folders", "concept": "cat"})
    assert answer.status_code == 202, answer.text
    job = finished(page, "export")
    assert (job.state, job.by, job.error) == ("done", "ann", None)
    (entry,) = [one for one in page.get("publish").json()["exports"] if one["name"] == "cats-1"]
    assert entry["format"] == "folders"

    secret = page.store.folder.parent / "secret.txt"
    secret.write_text("not for you")
    folder = store_folders.export_path(page.store, "cats-1")
    (folder / "link.txt").symlink_to(secret)
    (folder / "laid-beside.txt").write_text("not of the export")
    packed = zipfile.ZipFile(io.BytesIO(page.get("exports/cats-1.zip").content))
    assert packed.testzip() is None
    names = packed.namelist()
    assert len(names) == entry["files"] == 4 * job.result["exported"] + 1
    assert not [name for name in names if "link" in name or "laid" in name]
    row = named(page, "cat_5")
    original = read_image(packed.read("cats-1/original/cat_5.png"))
    np.testing.assert_array_equal(original, page.store.get_image(row.image_sha))


class Asked:
    """A job as an errand sees it, which is asked to stop after some steps."""

    by = "ann"

    def __init__(self, stop_after: int) -> None:
        self.stop_after, self.steps = stop_after, []

    @property
    def should_stop(self) -> bool:
        return len(self.steps) >= self.stop_after

    def step(self, done: int, total: int | None = None, words: str = "") -> None:
        self.steps.append((done, total))


def test_stopped_export_leaves_the_earlier_one_as_it_was(tmp_path) -> None:
    with Store(tmp_path / "store") as store:
        for seed in range(4):
            small_store.accept(store, small_store.add(store, seed))
        job = Asked(stop_after=99)
        report = as_jobs.export_job(store, job, name="same", format="folders")
        assert (report["exported"], job.steps[-1]) == (4, (4, 4))
        before = store_folders.saved_export(store, "same")
        small_store.accept(store, small_store.add(store, 9))
        with pytest.raises(KeyboardInterrupt):
            as_jobs.export_job(store, Asked(stop_after=2), name="same", format="folders")
        assert store_folders.saved_exports(store) == [before]
        assert [one.name for one in store_folders.exports_folder(store).iterdir()] == ["same"]


def test_push_says_beforehand_that_the_token_is_missing(page: DataPage, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert page.get("publish").json()["token"] is False
    answer = page.post("push", {"repo": "ann/cats"})
    assert answer.status_code == 400
    assert "HF_TOKEN" in answer.json()["words"]
    assert not [job for job in jobs.list(page.store) if job.kind == "push"]


def test_push_as_dry_run_shows_the_card_and_needs_no_token(page: DataPage, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    body = {"repo": "ann/cats", "dry_run": True, "license": "cc-by-4.0", "shares": "70/20/10"}
    assert page.post("push", body).status_code == 202
    job = finished(page, "push")
    assert (job.state, job.trouble) == ("done", None)
    assert job.result["dry_run"] is True
    assert "license: cc-by-4.0" in job.result["card"]
    assert job.arguments == body | {"private": True, "concept": None}


@pytest.mark.parametrize(
    "repo", ["cats", "ann/cats/more", "../cats", "https://huggingface.co/ann/cats", "ann/"]
)
def test_push_refuses_what_is_no_repository(page: DataPage, repo: str) -> None:
    assert page.post("push", {"repo": repo, "dry_run": True}).status_code == 422


def test_import_takes_a_folder_that_lies_in_the_store(page: DataPage, tmp_path) -> None:
    with Store(tmp_path / "other") as other:
        small_store.accept(other, small_store.add(other, 400, name="bird_1", concept="bird"))
        export(other, store_folders.imports_folder(page.store) / "birds", "folders")
    assert page.get("publish").json()["imports"] == ["birds"]
    assert page.post("imports", {"name": "birds", "format": "folders"}).status_code == 202
    assert finished(page, "import").state == "done"
    row = named(page, "bird_1")
    assert (row.state, row.decided_by, row.concept) == ("accepted", "ann", "bird")


# ------------------------------ refusals


def test_a_linked_folder_is_no_export(page: DataPage, tmp_path) -> None:
    real = tmp_path / "elsewhere"
    export(page.store, real, "folders", concept="dog")
    store_folders.exports_folder(page.store).mkdir(exist_ok=True)
    (store_folders.exports_folder(page.store) / "linked").symlink_to(real)
    assert "linked" not in [one.name for one in store_folders.saved_exports(page.store)]
    with pytest.raises(ForgetmeError, match="no export 'linked'"):
        store_folders.saved_export(page.store, "linked")


def test_an_export_marker_cannot_name_files_outside(page: DataPage) -> None:
    secret = page.store.folder.parent / "private.txt"
    secret.write_text("not for you")
    folder = store_folders.export_path(page.store, "forged")
    folder.mkdir(parents=True)
    (folder / "fine.txt").write_text("fine")
    files = ["../../../private.txt", str(secret), "fine.txt"]
    (folder / ".forgetme-export.json").write_text(json.dumps({"format": "x", "files": files}))
    packed = zipfile.ZipFile(io.BytesIO(page.get("exports/forged.zip").content))
    assert packed.namelist() == ["forged/fine.txt"]


@pytest.mark.parametrize("shares", ["80/10", "a/b/c", "90/20/10", "-10/100/10"])
def test_splits_that_do_not_add_up_are_refused(page: DataPage, shares: str) -> None:
    answer = page.post("exports", {"name": "x", "format": "coco", "shares": shares})
    assert answer.status_code == 422
    assert "train" in answer.json()["words"]


def test_a_foreign_page_cannot_ask_for_an_export(page: DataPage) -> None:
    body = {"name": "x", "format": "folders"}
    assert page.client.post("/forgetme/api/data/exports", json=body).status_code == 403


def test_viewers_look_and_only_leads_export_push_and_audit(tmp_path) -> None:
    with Store(tmp_path / "store") as store:
        small_store.accept(store, small_store.add(store, 1))
        for name in ("viewer", "curator", "lead"):
            store.people.add(f"{name}-1", role=name, password="a long password")
        with serving(store) as page:
            assert page.get("table").status_code == 401
            lead_only = ["publish", "trail", "trail/file?format=csv", "exports/x.zip"]
            for name in ("viewer", "curator"):
                client = page.sign_in(f"{name}-1")
                assert client.get("/forgetme/api/data/table").status_code == 200
                for path in lead_only:
                    assert client.get(f"/forgetme/api/data/{path}").status_code == 403, path
                for path, body in (
                    ("exports", {"name": "x", "format": "folders"}),
                    ("push", {"repo": "a/b", "dry_run": True}),
                    ("imports", {"name": "x", "format": "folders"}),
                ):
                    answer = client.post(f"/forgetme/api/data/{path}", json=body)
                    assert answer.status_code == 403, path
            lead = page.sign_in("lead-1")
            assert lead.get("/forgetme/api/data/trail").status_code == 200
            assert lead.get("/forgetme/api/data/publish").status_code == 200
        assert jobs.list(store) == []
