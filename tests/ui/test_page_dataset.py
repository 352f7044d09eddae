"""The Dataset tab: numbers, filter, pictures, audit trail, exports, and who is refused what."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace

import gradio as gr
import numpy as np
import pandas as pd
import pytest
import small_store
from dataset_page import CATS, DOGS, DataPage, fill, serving, twin, wait_for
from gradio_client import Client
from PIL import Image
from test_signin import asks

from forgetme import jobs
from forgetme.dataset import as_jobs, export, split_of, store_folders
from forgetme.errors import ForgetmeError
from forgetme.record.images import read_image
from forgetme.store import Store
from forgetme.ui import dataset_views as views
from forgetme.ui.data import PAGE, Filter, Known, Range, cards, filtered, histogram
from forgetme.ui.pictures import QUAD_GAP
from forgetme.ui.trail import words

EXPORT = "Export, push, import"
CLIP_OF_ALL = 0.8  # what small_store proposes


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPage]:
    """The page on a filled store; tests only add to it."""
    folder = tmp_path_factory.mktemp("dataset") / "store"
    fill(folder)
    with Store(folder) as store, serving(store) as page:
        yield page


def named(page: DataPage, name: str):
    return next(row for row in page.store.samples(limit=None) if row.name == name)


def pictures(told: dict) -> list[str]:
    """Returns the names below the pictures of the gallery."""
    return [one["caption"].split(" · ")[0] for one in told["fm-gallery"].value]


def clicked(value: object, **more: object) -> gr.SelectData:
    """Returns what Gradio tells of a click."""
    return gr.SelectData(None, {"value": value, "index": [0, 0], **more})


# ------------------------------ numbers


def test_table_is_the_stores_table_1_with_the_sum_weighted_by_what_was_selected(page) -> None:
    stats = page.store.table1()
    assert page.do("table1") == [asdict(line) for line in stats]
    lines = {line[0]: line[1:] for line in page.look()["fm-table1"].value["data"]}
    cat, dog = (next(one for one in stats if one.concept == name) for name in ("cat", "dog"))
    assert lines["cat"][:3] == [str(cat.images), str(cat.selected),
                                f"{100 * cat.selected / cat.images:.1f} %"]  # fmt: skip
    assert lines["dog"][3:7] == [f"{dog.mean_d:.2f}", f"{dog.mean_s:.2f}", "0", str(DOGS)]
    both = [one for one in stats if one.selected]
    mean = np.average([one.mean_d for one in both], weights=[one.selected for one in both])
    assert lines["All"][3] == f"{mean:.2f}"
    mixed = [cat, replace(dog, variant="another")]
    assert views.table(mixed)[0][4:6] == ["–", "–"], "unlike variants have no common mean"


def test_a_press_whose_answer_was_lost_is_made_good_by_the_next_look(page: DataPage) -> None:
    assert not page.look()["fm-publish-side"].visible
    assert page.look(fm_dataset_mode=EXPORT)["fm-publish-side"].visible


def test_known_scores_have_every_sample_with_its_split(page: DataPage) -> None:
    _, table = Known(page.store).now()
    lines = {line.id: line for line in table.itertuples()}
    for sample in page.store.samples(limit=None, light=True):
        if sample.twin_of:
            assert sample.id not in lines, "a second copy is no part of the dataset"
            continue
        line = lines[sample.id]
        assert (line.concept, line.state, line.split) == (
            sample.concept, sample.state, split_of(sample)
        )  # fmt: skip
        assert line.low == bool(sample.low)
        clip = None if sample.state in ("new", "broken") else CLIP_OF_ALL
        for value, wanted in (
            (line.d, sample.score_d),
            (line.s, sample.score_s),
            (line.clip, clip),
        ):
            assert (None if np.isnan(value) else value) == wanted


def test_scores_after_a_look_are_only_what_changed_since(tmp_path, monkeypatch) -> None:
    with Store(tmp_path / "store") as store:
        found = store.queries.scores()
        assert (found.upto, found.whole, found.lines) == (0, True, [])
        small_store.accept(store, small_store.add(store, 1, name="first"))
        known, read = Known(store), store.queries.scores
        upto, before = known.now()
        told = []
        monkeypatch.setattr(
            store.queries, "scores", lambda after: told.append(read(after)) or told[-1]
        )
        assert known.now()[1] is before
        row = small_store.accept(store, small_store.add(store, 300, name="later"), d=0.25)
        after = known.now()[1]
        assert [[one.id for one in one.lines] for one in told] == [[], [row.id]]
        assert after["id"].tolist() == [before["id"][0], row.id], "in the order of import"
        assert after["d"].tolist()[-1] == 0.25
        known._upto = 10**9  # a backup was brought back
        assert known.now()[1]["id"].tolist() == after["id"].tolist()
        assert told[-1].whole


def test_scores_leave_second_copies_out(page: DataPage) -> None:
    copy = twin(page.store, named(page, "cat_3"))
    assert copy.id not in Known(page.store).now()[1]["id"].tolist()


# ------------------------------ the filter


CATS_D = np.arange(CATS) / CATS
DOGS_S = np.arange(DOGS) / DOGS


def test_filter_lets_through_what_lies_in_all_its_ranges(page: DataPage) -> None:
    _, table = Known(page.store).now()
    whole = filtered(table, Filter())
    cats = filtered(table, Filter(concept="cat", d=Range(0.2, 0.5)))
    wanted = [f"cat_{at}" for at in range(CATS) if 0.2 <= CATS_D[at] < 0.5]
    assert [page.store.sample(one).name for one in cats.ids] == wanted
    assert (cats.of, cats.total) == (whole.total, whole.of - DOGS)
    dogs = filtered(table, Filter(s=Range(0.5, 0.7)))
    assert len(dogs.ids) == ((DOGS_S >= 0.5) & (DOGS_S < 0.7)).sum() == 4
    assert filtered(table, Filter(s=Range(0.5, 0.7), d=Range(None, 0.5))).ids == []
    assert sum(filtered(table, Filter(split=one)).total == whole.total for one in whole.splits) == 3
    parts = [filtered(table, Filter(split=one)).ids for one in whole.splits]
    assert [len(one) for one in parts] == list(whole.splits.values())
    assert sum(map(len, parts)) == len(whole.ids)
    some = table.assign(low=table["d"] < 0.3)
    low = filtered(some, Filter(low=True))
    assert len(low.ids) == (CATS_D < 0.3).sum()
    every = filtered(table, Filter(show="all states"))
    assert len(every.ids) == len(table)
    assert every.missing["d"] == table["d"].isna().sum() > 0
    assert {
        page.store.sample(one).state for one in filtered(table, Filter(show="to review")).ids
    } == {"new"}


@pytest.mark.parametrize(("order", "measure", "sign"), [
    ("lowest D first", "score_d", 1), ("highest S first", "score_s", -1),
    ("highest CLIP first", "clip_score", -1),
])  # fmt: skip
def test_order_puts_those_without_a_score_last(page: DataPage, order, measure, sign) -> None:
    found = filtered(Known(page.store).now()[1], Filter(show="all states", order=order))
    values = [getattr(page.store.sample(one), measure) for one in found.ids]
    there = [one for one in values if one is not None]
    assert values == [
        *sorted(there, key=lambda one: sign * one),
        *[None] * (len(values) - len(there)),
    ]


def test_histogram_counts_each_value_in_its_bin_and_what_is_left_out_apart() -> None:
    values = pd.Series([0.0, 0.024, 0.5, 0.99, 1.0, None])
    inside = pd.Series([True, False, True, True, True, False])
    drawn = histogram(values, inside)
    counts = drawn.pivot(index="score", columns="part", values="pictures")
    expected, _ = np.histogram(values[inside], bins=40, range=(0, 1))
    assert counts["shown"].tolist() == expected.tolist()
    assert counts["left out"].tolist() == [1, *[0] * 39]
    nothing = histogram(pd.Series(dtype=float), pd.Series(dtype=bool))
    assert nothing.dtypes.tolist() == drawn.dtypes.tolist(), "a chart begins with typed columns"


@pytest.mark.parametrize(("brush", "ends"), [
    ((0.213, 0.487), (0.2, 0.5)), ((0.487, 0.213), (0.2, 0.5)), ((0.2, 0.5), (0.2, 0.5)),
    ((-0.4, 1.7), (0, 1)), ((0.3, 0.3), (0.3, 0.325)), ((1.0, 1.2), (0.975, 1)),
])  # fmt: skip
def test_brush_takes_whole_bins(page: DataPage, brush, ends) -> None:
    assert page.do("brush", clicked(None, index=list(brush))) == pytest.approx(ends)


def test_tab_says_what_is_filtered_and_what_an_empty_gallery_means(
    page: DataPage, tmp_path
) -> None:
    plain = page.look()
    assert not plain["fm-data-clear"].visible
    assert "filtered" not in plain["fm-data-count"]
    told = page.look(fm_data_concept="cat", fm_d_from=0.2, fm_d_to=0.5, fm_data_low=True)
    words = str(told["fm-data-count"])
    assert "cat, low only, a range of Entangled-D" in words
    assert f"of {len(filtered(Known(page.store).now()[1], Filter()).ids)} accepted shown" in words
    assert told["fm-data-clear"].visible
    assert "low below 0.35" in plain["fm-words-d"]
    empty = page.look(fm_clip_from=0.9)
    assert "No picture passes this filter" in empty["fm-data-empty"]
    assert not empty["fm-gallery"].visible
    assert "Nothing is flagged" in page.look(fm_data_show="flagged")["fm-data-empty"]
    assert views.nothing(False, Filter()).startswith("There are no images yet")
    assert "Press A" in views.nothing(True, Filter())
    for wrong in ({"fm_d_from": 7}, {"fm_data_split": "half"}, {"fm_data_concept": "x" * 999}):
        with pytest.raises(gr.Error, match="Correct it"):
            page.look(**wrong)


def test_press_on_a_line_of_the_table_filters_by_its_first_cell_and_again_does_not(page) -> None:
    press = lambda before, name: page.do(  # noqa: E731
        "pick_concept", before, clicked("40", row_value=[name, "42"])
    )
    assert press("", "dog") == "dog"
    assert press("cat", "dog") == "dog"
    assert press("dog", "dog") == press("dog", "All") == ""


def test_timer_sets_only_what_is_new(tmp_path) -> None:
    with Store(tmp_path / "store") as store:
        small_store.accept(store, small_store.add(store, 1, name="first"))
        with serving(store) as page:
            tick = page.event("look", "fm-gallery")
            states = [part for part in tick.inputs if isinstance(part, gr.State)]
            held = {part: part.value for part in tick.inputs}
            first = tick.fn(asks(page.client), held)
            held |= {part: first[part] for part in states if part in first}
            again = tick.fn(asks(page.client), held)
            assert [part for part in again if not isinstance(part, gr.State)] == []
            small_store.accept(store, small_store.add(store, 2, name="second"))
            later = tick.fn(asks(page.client), held)
            set_now = {part.elem_id for part in later if part.elem_id}
            assert {"fm-table1", "fm-gallery", "fm-data-count"} <= set_now
            assert "fm-sample" not in set_now, "what a person may be reading stays"
            chosen = {"fm-data-concept", "fm-d-from", "fm-d-to", "fm-data-order", "fm-data-show"}
            values = {part.elem_id: getattr(told, "constructor_args", {}).get("value", "no")
                      for part, told in later.items() if part.elem_id in chosen}  # fmt: skip
            assert set(values.values()) <= {"no"}, "what a person chose is never set"


# ------------------------------ samples


def test_gallery_shows_a_page_of_samples_and_a_click_tells_which_by_its_address(page) -> None:
    told = page.look()
    every = filtered(Known(page.store).now()[1], Filter()).ids
    assert pictures(told) == [page.store.sample(one).name for one in every[:PAGE]]
    assert told["fm-page-after"].interactive
    second = page.look(states=(1,))
    assert pictures(second) == [page.store.sample(one).name for one in every[PAGE : 2 * PAGE]]
    assert pictures(page.look(states=(99,)))[-1] == page.store.sample(every[-1]).name
    shown = told["fm-gallery"].value[3]
    address, caption = shown["image"]["url"], shown["caption"]
    row = page.store.sample(every[3])
    scores = f"D {row.score_d:.2f} S {row.score_s:.2f}"
    assert caption == f"{row.name} · {scores} · {split_of(row)}"
    (card,) = cards(page.store, [named(page, "cat_3").id])
    assert "low: D" in views.caption(card | {"low": True})
    assert "flagged" in views.caption(card | {"state": "flagged"})
    picked = page.do("pick", clicked({"image": {"url": address}, "caption": "another"}))
    assert picked == row.id
    for value in (None, "x", {"image": {"url": "http://x/?sample=../etc"}}, {"image": None}):
        assert page.do("pick", clicked(value)) == ""


def test_small_picture_has_original_and_foreground_above_background_and_mask(page) -> None:
    row = named(page, "cat_5")
    shas = (row.image_sha, row.mask_sha, row.tries[0]["image_sha"])
    answer = page.client.get(f"/forgetme/quad/{'/'.join(shas)}.png")
    assert answer.headers["cache-control"].endswith("immutable")
    drawn = np.asarray(Image.open(io.BytesIO(answer.content)))
    side = (drawn.shape[0] - QUAD_GAP) // 2
    original = page.store.get_image(row.image_sha)
    height, width = original.shape[:2]
    y, x = (side - height) // 2, (side - width) // 2
    near, far = slice(y, y + height), slice(side + QUAD_GAP + y, side + QUAD_GAP + y + height)
    left, right = slice(x, x + width), slice(side + QUAD_GAP + x, side + QUAD_GAP + x + width)
    np.testing.assert_array_equal(drawn[near, left, :3], original)
    np.testing.assert_array_equal(drawn[far, left, :3], page.store.get_image(shas[2]))
    mask = drawn[far, right, 0]
    assert 0 < (mask > 0).mean() < 1
    np.testing.assert_array_equal(drawn[near, right, 3], mask)
    np.testing.assert_array_equal(drawn[near, right, :3], original)
    fresh = page.client.get(f"/forgetme/quad/{row.image_sha}/none/none.png")
    assert np.asarray(Image.open(io.BytesIO(fresh.content)))[far, :, 3].max() == 0
    assert page.client.get(f"/forgetme/quad/{'e' * 64}/none/none.png").status_code == 404
    assert page.client.get(f"/forgetme/quad/{row.image_sha}/x/none.png").status_code == 422


def test_sample_is_shown_large_with_what_made_it_and_its_place(page: DataPage) -> None:
    every = filtered(Known(page.store).now()[1], Filter()).ids
    large = page.event("look_large", "fm-sample")
    row = page.store.sample(every[PAGE])
    told = page.ask(large, states=(0, row.id))
    words = str(told["fm-sample"])
    assert f"{PAGE + 1} of {len(every)}" in words
    assert f"?view=all&amp;sample={row.id}" in words, "a link to the Curate tab"
    for expected in (row.name, "sand", "accepted by", f"D {row.score_d:.2f}", "lama-small"):
        assert expected in words
    sources = re.findall('src="([^"]+)"', words)
    assert len(sources) == 4
    for source in sources:
        assert page.client.get("/" + source).status_code == 200
    step = page.event("step")
    back = list(page.ask(step, states=(0, row.id)).values())
    assert back == [every[PAGE - 1], 0], "the page before is turned to"
    other = page.ask(large, states=(0, named(page, "rejected").id))
    assert "not among those shown" in other["fm-sample"]
    assert not other["fm-sample-after"].interactive
    fresh = page.ask(large, states=(0, named(page, "fresh").id))
    assert str(fresh["fm-sample"]).count("none yet") == 3
    with pytest.raises(gr.Error, match="no sample"):
        page.ask(large, states=(0, "f" * 16))


# ------------------------------ audit trail


def test_trail_is_newest_first_and_goes_back_without_gaps(page: DataPage) -> None:
    expected = [one.id for one in page.store.events()][::-1]
    first = page.do("audit_trail", "", "", "", None, 10)
    second = page.do("audit_trail", "", "", "", first["events"][-1]["id"], 10)
    assert first["more"]
    assert [one["id"] for one in first["events"] + second["events"]] == expected[:20]
    told = page.ask(page.event("look", "fm-trail"), fm_dataset_mode="Audit trail")
    shown = [int(line[0]) for line in told["fm-trail"].value["data"]]
    assert shown == expected[:100]
    assert told["fm-trail-more"].visible
    lines = next(value for part, value in told.items() if isinstance(value, list))
    more = page.ask(page.event("older", "fm-trail"), states=(lines,))
    assert [int(line[0]) for line in more["fm-trail"].value["data"]] == expected[:200]
    older = next(value for part, value in more.items() if isinstance(value, list))
    again = page.ask(page.event("look", "fm-trail"), states=(older,), fm_dataset_mode="Audit trail")
    assert "fm-trail" not in again, "what was asked for beyond the first page stays"


def test_trail_filters_by_person_kind_and_sample_and_its_files_do_too(page: DataPage) -> None:
    found = page.do("audit_trail", "ben", "rejected")
    assert [(one["name"], one["words"]) for one in found["events"]] == [("rejected", "only a paw")]
    assert {"ann", "ben", "policy"} <= set(found["people"])
    sample = named(page, "cat_2")
    mine = page.do("audit_trail", "", "", sample.id)["events"]
    assert [one["kind"] for one in mine] == ["accepted", "filled", "proposed", "imported"]
    told = page.ask(
        page.event("look", "fm-trail"),
        fm_dataset_mode="Audit trail",
        fm_trail_by="ben",
        fm_trail_kind="accepted",
    )
    assert all(line[2] == "ben" for line in told["fm-trail"].value["data"])
    lines = list(csv.DictReader(io.StringIO(page.client.get("/" + told["fm-trail-csv"].link).text)))
    assert len(lines) == len(told["fm-trail"].value["data"]) == DOGS
    assert {(line["by"], line["kind"]) for line in lines} == {("ben", "accepted")}


def test_press_on_an_event_shows_its_sample_by_the_events_number(page: DataPage) -> None:
    event = page.store.events(named(page, "cat_7").id)[1]
    pick = lambda *cells: page.do("pick_event", clicked("x", row_value=cells))  # noqa: E731
    assert pick(str(event.id), "…") == event.sample_id
    for wrong in ("0", "x", "-1", str(10**8), str(10**30)):
        assert pick(wrong) == ""


def test_trail_refuses_an_unknown_kind(page: DataPage) -> None:
    with pytest.raises(gr.Error, match="Correct it"):
        page.do("audit_trail", "", "drop table")
    assert page.get("trail/file", params={"kind": "drop", "format": "csv"}).status_code == 422


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
    form = page.event("begin_export")
    given = {"fm_export_name": "cats-1", "fm_export_concept": "cat"}
    page.ask(form, **given)
    told = page.ask(page.event("look", "fm-exports"), fm_dataset_mode=EXPORT)
    assert "export cats-1 (folders)" in told["fm-export-jobs"]
    job = finished(page, "export")
    assert (job.state, job.by, job.error) == ("done", "ann", None)
    (entry,) = [one for one in page.do("published")["exports"] if one["name"] == "cats-1"]
    assert entry["format"] == "folders"
    told = page.ask(
        page.event("look", "fm-exports"), fm_dataset_mode=EXPORT, fm_export_name="cats-1"
    )
    assert 'href="forgetme/api/data/exports/cats-1.zip"' in told["fm-exports"]
    assert f"{job.result['exported']} quadruples. Load it" in told["fm-export-jobs"]
    assert "Takes the place" in told["fm-export-words"]
    assert not told["fm-export-stop"].visible

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
    look, told = page.event("look", "fm-push-token"), []
    for token, private, dry in ((None, True, False), (None, True, True), ("hf_x", False, False)):
        monkeypatch.setattr("huggingface_hub.get_token", lambda token=token: token)
        shown = page.ask(look, fm_dataset_mode=EXPORT, fm_push_private=private, fm_push_dry_run=dry)
        button = shown["fm-push"]
        told.append((button.value, button.interactive, "No access token" in shown["fm-push-token"]))
    assert told == [("push, private", False, True), ("try it out", True, True),
                    ("push, public", True, False)]  # fmt: skip
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(gr.Error, match="HF_TOKEN"):
        page.do("push_dataset", {"repo": "ann/cats"})
    with pytest.raises(gr.Error, match="Say which repository"):
        page.ask(page.event("begin_push"))
    assert not [job for job in jobs.list(page.store) if job.kind == "push"]


def test_push_as_dry_run_shows_the_card_and_needs_no_token(page: DataPage, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    body = {"repo": "ann/cats", "dry_run": True, "license": "cc-by-4.0", "shares": "70/20/10"}
    page.ask(page.event("begin_push"), **{f"fm_push_{name}": one for name, one in body.items()})
    job = finished(page, "push")
    assert (job.state, job.trouble) == ("done", None)
    assert job.result["dry_run"] is True
    assert "license: cc-by-4.0" in job.result["card"]
    assert job.arguments == body | {"private": True, "concept": None}
    told = page.ask(page.event("look", "fm-push-jobs"), fm_dataset_mode=EXPORT)["fm-push-jobs"]
    assert "Nothing was sent." in told
    assert "license: cc-by-4.0" in told, "the card can be read"


@pytest.mark.parametrize(
    "repo", ["cats", "ann/cats/more", "../cats", "https://huggingface.co/ann/cats", "ann/"]
)
def test_push_refuses_what_is_no_repository(page: DataPage, repo: str) -> None:
    with pytest.raises(gr.Error, match="Correct it"):
        page.do("push_dataset", {"repo": repo, "dry_run": True})


@pytest.mark.parametrize("format", ["folders", "parquet"])
def test_import_takes_a_folder_that_lies_in_the_store(page: DataPage, tmp_path, format) -> None:
    name, bird = f"birds-{format}", f"bird_{format}"
    with Store(tmp_path / "other") as other:
        small_store.accept(other, small_store.add(other, 400, name=bird, concept=format))
        export(other, store_folders.imports_folder(page.store) / name, format)
    found = page.do("published")
    assert name in found["imports"]
    look, words = page.do("tell_folder", name)
    assert look == format
    assert words
    page.ask(page.event("begin_import"), fm_import_name=name, fm_import_format=look)
    assert finished(page, "import").state == "done"
    row = named(page, bird)
    assert (row.state, row.decided_by, row.concept) == ("accepted", "ann", format)
    told = page.ask(page.event("look", "fm-import-jobs"), fm_dataset_mode=EXPORT)
    assert "1 imported, 0 there already" in told["fm-import-jobs"]


def test_jobs_tell_how_far_they_are_and_the_oldest_open_one_is_stopped(
    page: DataPage, monkeypatch
) -> None:
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])  # written down, not begun
    for name in ("first", "second"):
        page.do("export_dataset", {"name": name})
    look = page.event("look", "fm-export-jobs")
    told = page.ask(look, fm_dataset_mode=EXPORT)
    words = str(told["fm-export-jobs"])
    assert words.index("export second") < words.index("export first")
    assert "waits for its turn" in words
    assert told["fm-export-stop"].visible
    ids = {part._id: value for part, value in told.items() if isinstance(part, gr.State)}
    stopped = next(one for one in jobs.list(page.store) if one.arguments["name"] == "first")
    assert stopped.id in ids.values()
    page.do("stop_one", stopped.id)
    assert jobs.get(page.store, stopped.id).state == "stopped"
    second = next(one for one in jobs.list(page.store) if one.arguments["name"] == "second")
    page.do("stop_one", second.id)
    assert (
        "an earlier export of this name is untouched"
        in page.ask(look, fm_dataset_mode=EXPORT)["fm-export-jobs"]
    )


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
    with pytest.raises(gr.Error, match="train"):
        page.do("export_dataset", {"name": "x", "format": "coco", "shares": shares})


@pytest.mark.parametrize("name", ["../evil", "", "con", "a/b", ".x"])
def test_name_that_is_a_path_is_refused_in_words(page: DataPage, name: str) -> None:
    with pytest.raises(gr.Error, match="pattern|a name has|Field required"):
        page.ask(page.event("begin_export"), fm_export_name=name)


def test_a_foreign_page_cannot_send_a_dataset(page: DataPage) -> None:
    path = "/forgetme/api/data/imports/upload?name=x.zip"
    assert page.client.post(path, content=b"x").status_code == 403


def test_viewers_look_and_only_leads_export_push_and_audit(tmp_path) -> None:
    with Store(tmp_path / "store") as store:
        small_store.accept(store, small_store.add(store, 1, name="only"))
        for name in ("viewer", "curator", "lead"):
            store.people.add(f"{name}-1", role=name, password="a long password")
        with serving(store) as page:
            with pytest.raises(gr.Error, match="Sign in"):
                page.look()
            for name in ("viewer", "curator"):
                client = page.sign_in(f"{name}-1")
                told = page.look(by=client)
                assert pictures(told) == ["only"]
                assert "need the role lead" in told["fm-dataset-words"].value
                assert told["fm-dataset-words"].visible
                assert not told["fm-dataset-mode"].visible
                shown = list(page.do("show_mode", "Audit trail", by=client).values())
                assert [one.visible for one in shown] == [True, True, False, False]
                for part, mode in (("fm-trail", "Audit trail"), ("fm-exports", EXPORT)):
                    assert part not in page.ask(
                        page.event("look", part), client, fm_dataset_mode=mode
                    )
                for path in ("trail/file?format=csv", "exports/x.zip"):
                    assert client.get(f"/forgetme/api/data/{path}").status_code == 403, path
                for act, values in (
                    ("export_dataset", [{"name": "x"}]), ("push_dataset", [{"repo": "a/b"}]),
                    ("import_dataset", [{"name": "x", "format": "coco"}]), ("published", []),
                    ("audit_trail", []), ("older", [{}]), ("stop_one", ["0" * 16]),
                    ("begin_export", [{}]), ("pick_event", []),
                ):  # fmt: skip
                    with pytest.raises(gr.Error, match="needs the role lead"):
                        page.do(act, *values, by=client)
            lead = page.sign_in("lead-1")
            assert page.do("audit_trail", by=lead)["events"]
            assert page.look(by=lead)["fm-dataset-mode"].visible
            assert "fm-trail" in page.ask(
                page.event("look", "fm-trail"), fm_dataset_mode="Audit trail", by=lead
            )
        assert jobs.list(store) == []


def test_a_program_finds_samples_and_exports_them(page: DataPage) -> None:
    client = Client(page.url, verbose=False)
    found = client.predict({"concept": "cat", "d": {"least": 0.2, "below": 0.5}, "order":
                            "highest D first"}, api_name="/find_samples")  # fmt: skip
    assert found["total"] == 12
    assert found["samples"][0]["name"] == "cat_19"
    assert found["samples"][0]["split"] == split_of(named(page, "cat_19"))
    assert client.predict(api_name="/table1")[0]["concept"] == "cat"
    job = client.predict({"name": "by-program", "format": "coco"}, api_name="/export_dataset")
    wait_for(lambda: jobs.get(page.store, job["id"]).state in jobs.ENDED, seconds=300)
    assert "by-program" in [one["name"] for one in client.predict(api_name="/published")["exports"]]
