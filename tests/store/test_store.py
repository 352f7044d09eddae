"""The event store: log, projection, versions, undo, leases, Table 1, migrations; both databases."""

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_store import (
    accept,
    add,
    filled,
    hold,
    leave,
    picture,
    prepare,
    proposal,
    proposed,
    square,
    step,
)
from sqlalchemy import inspect, text

from forgetme.errors import ForgetmeError, StaleVersionError, StoreVersionError
from forgetme.store import Store, safe_stem
from forgetme.store.database import Database, url_of
from forgetme.store.migrate import migrate
from forgetme.store.project import project
from forgetme.store.schema import metadata

pytest_plugins = ["small_postgres"]


@pytest.fixture
def store(place):
    """An empty store on each kind of database."""
    with Store(**place) as store:
        yield store


ODD = ['a "cat"', "chat 🐈‍⬛", "../../etc/passwd", "it's; DROP TABLE event;--", "猫%_", "nul\0"]


# Import


def test_store_import_is_idempotent_by_pixels_and_concept(store):
    first = add(store, 1, name="beach")
    assert add(store, 1, name="other") == first
    assert add(store, 1, name="beach", concept="dog").id != first.id
    assert [row.concept for row in store.samples()] == ["cat", "dog"]
    assert len(store.events()) == 2


def test_store_gives_a_sample_the_same_id_in_every_store(store, tmp_path):
    with Store(tmp_path / "other") as other:
        add(other, 7)
        assert add(other, 1).id == add(store, 1).id


def test_store_keeps_the_imported_pixels_exactly(store):
    row = add(store, 1)
    assert np.array_equal(store.get_image(row.image_sha), picture(1))
    assert (row.width, row.height, row.state, row.version) == (24, 20, "new", 1)
    assert store.blob_path(row.image_sha).is_file()


def test_store_names_are_unique_stems_within_a_concept(store):
    names = [add(store, seed, name=name).name for seed, name in enumerate(
        ["beach.png", "beach", "Beach.JPG", "v1.5", "../x", "beach"] + ["beach"] * 9
    )]  # fmt: skip
    assert names[:6] == ["beach", "beach-2", "Beach-3", "v1.5", "_x", "beach-4"]
    assert len({name.casefold() for name in names}) == len(names)
    assert add(store, 50, name="beach", concept="dog").name == "beach"


@pytest.mark.parametrize("concept", ODD)
def test_store_takes_any_text_as_a_concept(store, concept):
    row = accept(store, add(store, 1, concept=concept, name=concept))
    kept = concept.replace("\0", "\\x00")
    assert store.concepts() == [kept]
    assert store.counts(concept)["accepted"] == 1
    assert [one.id for one in store.samples(concept=concept)] == [row.id]
    assert store.table1()[0].concept == kept
    assert store.check() == []


def test_store_takes_text_that_is_no_unicode(store):
    row = store.import_image(
        picture(1), name="caf\udce9.png", concept="cat", by="a\udce9", source="/caf\udce9.png"
    )
    row = step(store, row, "commented", {"text": "nul \0 and \udce9"})
    assert row == store.sample(row.id)
    assert row.source == "/caf\\udce9.png"
    assert row.comment == "nul \\x00 and \\udce9"


@pytest.mark.parametrize("concept", ["", "  ", "x" * 300])
def test_store_refuses_a_concept_that_is_none(store, concept):
    with pytest.raises(ForgetmeError, match="1 to 200"):
        add(store, 1, concept=concept)


def test_store_keeps_a_broken_file_as_a_row_with_its_error(store):
    known = {"name": "b.jpg", "concept": "cat", "by": "policy", "source": "/photos/b.jpg"}
    row = store.import_broken(**known, error="truncated JPEG")
    assert (row.state, row.error, row.image_sha) == ("broken", "truncated JPEG", None)
    assert store.import_broken(**known, error="again") == row
    with pytest.raises(ValueError, match="truncated JPEG"):
        step(store, row, "proposed", proposed())
    assert step(store, row, "rejected").state == "rejected"


def test_store_heals_a_broken_sample_when_its_file_becomes_readable(store):
    known = {"name": "b.jpg", "concept": "cat", "by": "policy", "source": "/photos/b.jpg"}
    broken = store.import_broken(**known, error="truncated JPEG")
    row = store.import_image(picture(1), **known)
    assert (row.id, row.name, row.state, row.error) == (broken.id, "b", "new", None)
    assert store.import_image(picture(1), **known) == row
    assert store.sources("cat") == {"/photos/b.jpg": "new"}
    assert prepare(store, row).state == "prepared"
    assert store.check() == []


def test_store_refuses_an_image_that_is_not_rgb(store):
    with pytest.raises(ValueError, match="HxWx3 uint8"):
        store.import_image(square(), name="x", concept="cat", by="ann")


# Events and what they do


def test_store_walks_over_all_samples_few_at_a_time(store, monkeypatch):
    monkeypatch.setattr("forgetme.store.store.WALKED", 2)
    names = [add(store, number, name=f"n{number}").name for number in range(5)]
    asked, samples = [], store.samples
    monkeypatch.setattr(store, "samples", lambda **more: asked.append(more) or samples(**more))
    assert [row.name for row in store.walk("cat")] == names
    assert [row.proposals for row in store.walk("cat", light=False)] == [[]] * 5
    assert {more["limit"] for more in asked} == {2}
    assert list(store.walk("no such")) == []


def test_store_walks_a_sample_from_new_to_accepted(store):
    row = add(store, 1)
    row = step(store, row, "proposed", proposed(), by="policy")
    assert (row.state, row.chosen) == ("prepared", 0)
    assert np.array_equal(store.get_mask(row.mask_sha), square(4))
    row = step(store, row, "filled", filled(store, row))
    assert (row.picked_try, row.score_d, row.score_s, row.variant) == (0, 0.5, 0.75, "paper")
    row = step(store, row, "accepted", {"how": "human"})
    assert (row.state, row.decided_by, row.decided_how) == ("accepted", "ann", "human")
    assert row == store.sample(row.id)
    kinds = [event.kind for event in store.events(row.id)]
    assert kinds == ["imported", "proposed", "filled", "accepted"]
    assert [event.version for event in store.events(row.id)] == [1, 2, 3, 4]


def test_store_waits_for_a_human_when_no_mask_was_confirmed(store):
    row = step(store, add(store, 1), "proposed", proposed(chosen=None))
    assert (row.state, row.chosen, row.mask_sha) == ("waiting", None, None)
    row = step(store, row, "chosen", {"index": 1})
    assert (row.state, row.chosen) == ("prepared", 1)
    assert np.array_equal(store.get_mask(row.mask_sha), square(5))


@pytest.mark.parametrize("kind", ["chosen", "mask_edited", "proposed"])
def test_store_sets_the_tries_of_another_mask_aside_until_it_comes_back(store, kind):
    row = prepare(store, add(store, 1), d=0.4)
    row = step(store, row, "refined", filled(store, row, seed=5, d=0.6))
    had = row = step(store, row, "chosen", {"try": 0})
    payload = {
        "chosen": {"index": 1},
        "mask_edited": {"mask_sha": store.put_image(square(8)), "how": "points", "points": []},
        "proposed": proposed(chosen=1),
    }[kind]
    row = step(store, row, kind, payload)
    assert (row.tries, row.picked_try, row.score_d, row.low) == ([], None, None, None)
    assert row.chosen == {"chosen": 1, "mask_edited": None, "proposed": 1}[kind]
    late = filled(store, had, seed=7) | {"made_for": had.mask_sha, "pick": False}
    row = step(store, row, "refined", late)  # begun before the mask was changed
    assert (row.tries, row.picked_try) == ([], None)
    row = step(store, row, "filled", filled(store, row, seed=8, d=0.9))
    row = step(store, row, "mask_edited", {"mask_sha": had.mask_sha, "how": "undo"})
    wanted = [*(one["image_sha"] for one in had.tries), late["image_sha"]]
    assert [one["image_sha"] for one in row.tries] == wanted
    assert (row.picked_try, row.score_d) == (0, 0.4)
    row = step(store, row, "chosen", {"try": 1})
    assert (row.picked_try, row.score_d) == (1, 0.6)
    assert store.rebuild() == 1
    assert store.sample(row.id) == row


def test_store_of_before_tries_came_back_picks_the_try_that_was_meant(store):
    row = prepare(store, add(store, 1), d=0.4)
    other = {"mask_sha": store.put_image(square(8)), "how": "brush"}
    first = row.mask_sha
    row = step(store, step(store, row, "mask_edited", other), "mask_edited", {"mask_sha": first})
    row = step(store, row, "filled", filled(store, row, seed=5, d=0.6))
    row = step(store, row, "filled", filled(store, row, seed=6, d=0.7))
    row = step(store, row, "chosen", {"try": 0})
    assert row.score_d == 0.4  # as the page shows them: the one that came back is the first
    with store._database.write() as connection:  # as it was written: a number among the new ones
        old = "UPDATE event SET digest = NULL, payload = '{\"try\": 0}' WHERE kind = 'chosen'"
        connection.execute(text(old))
    store.rebuild()
    assert (store.sample(row.id).score_d, len(store.sample(row.id).tries)) == (0.6, 3)


def test_store_keeps_all_tries_and_picks_the_last_unless_told(store):
    row = prepare(store, add(store, 1), d=0.4)
    row = step(store, row, "refined", filled(store, row, seed=5, d=0.6))
    assert (row.picked_try, row.score_d) == (1, 0.6)
    row = step(store, row, "refined", filled(store, row, seed=6, d=0.7) | {"pick": False})
    assert (row.picked_try, len(row.tries)) == (1, 3)
    row = step(store, row, "chosen", {"try": 0})
    assert (row.picked_try, row.score_d, row.mask_sha is None) == (0, 0.4, False)
    assert [one["kind"] for one in row.tries] == ["filled", "refined", "refined"]


def test_store_takes_up_a_decided_sample_again_when_it_is_worked_on(store):
    row = accept(store, add(store, 1))
    for kind, payload in [
        ("chosen", {"try": 0}),
        ("refined", filled(store, row, seed=5)),
        ("chosen", {"index": 1}),
        ("proposed", proposed(chosen=None)),
    ]:
        row = step(store, step(store, row, "flagged"), kind, payload)
        state = "waiting" if kind == "proposed" else "prepared"
        assert (row.state, row.decided_by, row.decided_event) == (state, None, None)


def test_store_leaves_a_decision_alone_when_a_try_is_only_kept(store):
    row = accept(store, add(store, 1))
    row = step(store, row, "refined", filled(store, row, seed=5) | {"pick": False})
    assert (row.state, row.picked_try, len(row.tries)) == ("accepted", 0, 2)


def test_store_keeps_the_state_when_somebody_comments(store):
    row = accept(store, add(store, 1))
    row = step(store, row, "commented", {"text": "nice"}, by="bob")
    assert (row.state, row.comment, row.decided_by) == ("accepted", "nice", "ann")


@pytest.mark.parametrize(
    ("kind", "payload", "match"),
    [
        ("accepted", {"how": "human"}, "needs a mask and a picked try"),
        ("filled", None, "needs a mask"),
        ("chosen", {"index": 0}, "there are 0"),
        ("chosen", {"try": 0}, "there are 0"),
        ("chosen", {}, "needs index"),
        ("proposed", {"proposals": []}, "needs chosen"),
        ("proposed", {"proposals": [], "chosen": 3}, "there are 0"),
        ("praised", {}, "unknown event kind 'praised'; known: imported"),
        ("imported", {}, "import_image"),
        ("undone", {"event": 1}, "no decision"),
        ("undone", {}, "no decision"),
        ("rejected", {"how": "robot"}, "'human' or 'policy'"),
        ("commented", {"text": float("nan")}, "plain JSON"),
        ("commented", {"text": np.float32(1)}, "plain JSON"),
    ],
)
def test_store_refuses_an_event_that_does_not_fit_and_changes_nothing(store, kind, payload, match):
    row = add(store, 1)
    if payload is None:
        prepared = step(store, add(store, 2), "proposed", proposed())
        payload = filled(store, prepared)
    before = len(store.events())
    with pytest.raises(ValueError, match=match):
        step(store, row, kind, payload)
    assert store.sample(row.id) == row
    assert len(store.events()) == before


def test_store_names_no_image_that_it_does_not_have(store):
    row = step(store, add(store, 1), "proposed", proposed())
    for key in ("image_sha", "mask_sha"):
        with pytest.raises(ForgetmeError, match="no image"):
            step(store, row, "filled", filled(store, row) | {key: "0" * 64})
    assert store.sample(row.id) == row


def test_store_refuses_a_mask_of_another_size(store):
    row = add(store, 1)
    with pytest.raises(ValueError, match="20x24, got 10x10"):
        step(store, row, "mask_edited", {"mask_sha": store.put_image(np.ones((10, 10), bool))})
    wrong = proposal() | {"rle": {"size": [10, 10], "counts": [0, 100]}}
    with pytest.raises(ValueError, match="20x24, got 10x10"):
        step(store, row, "proposed", {"proposals": [wrong], "chosen": 0})


def test_store_refuses_a_stale_write_and_shows_both_versions(store):
    seen = prepare(store, add(store, 1))
    theirs = step(store, seen, "rejected", by="bob")
    with pytest.raises(StaleVersionError, match="you saw version 3, it is at version 4") as caught:
        step(store, seen, "accepted", {"how": "human"})
    assert (caught.value.mine, caught.value.theirs) == (3, theirs)
    assert store.sample(seen.id) == theirs


def test_store_names_an_unknown_sample(store):
    with pytest.raises(ForgetmeError, match="no sample 'nobody'"):
        store.sample("nobody")


# Undo


def test_store_undo_takes_back_the_last_decision_of_this_curator(store):
    first = accept(store, add(store, 1))
    second = step(store, add(store, 2), "skipped")
    other = step(store, add(store, 3), "rejected", by="bob")
    assert (store.undo("ann").id, store.sample(second.id).state) == (second.id, "new")
    undone = store.undo("ann")
    assert (undone.id, undone.state, undone.decided_by) == (first.id, "prepared", None)
    assert undone.tries == first.tries
    assert store.undo("ann") is None
    assert store.sample(other.id) == other
    assert [event.kind for event in store.events(first.id)][-2:] == ["accepted", "undone"]


def test_store_undo_of_a_sample_takes_back_whoever_decided_it(store):
    row = accept(store, add(store, 1), by="bob")
    add(store, 2)
    assert store.undo("ann", sample_id=row.id).state == "prepared"
    assert store.undo("ann", sample_id=row.id) is None
    assert store.events(row.id)[-1].by == "ann"


def test_store_undo_brings_back_the_decision_before(store):
    row = accept(store, add(store, 1))
    row = step(store, row, "flagged", {"reason": "dark"})
    row = store.undo("ann")
    assert (row.state, row.decided_how) == ("accepted", "human")
    assert store.undo("ann").state == "prepared"
    assert store.check() == []


def test_store_undo_keeps_work_that_came_after_the_decision(store):
    row = step(store, prepare(store, add(store, 1)), "skipped")
    row = step(store, row, "commented", {"text": "later"}, by="bob")
    row = store.undo("ann")
    assert (row.state, row.comment) == ("prepared", "later")


def test_store_undone_event_is_taken_once(store):
    row = accept(store, add(store, 1))
    event = row.decided_event
    row = step(store, row, "undone", {"event": event})
    assert row.state == "prepared"
    with pytest.raises(ValueError, match="no decision"):
        step(store, row, "undone", {"event": event})


def test_store_lists_the_last_decisions_in_force(store):
    rows = [step(store, add(store, seed), "skipped") for seed in range(4)]
    step(store, add(store, 9), "skipped", by="bob")
    store.undo("ann", sample_id=rows[3].id)
    recent = store.recent_decisions("ann", n=2)
    assert [(one.sample_id, one.kind) for one in recent] == [
        (rows[2].id, "skipped"),
        (rows[1].id, "skipped"),
    ]


# Reviews by a lead


def test_store_approval_stays_with_the_decision_it_was_given_to(store):
    row = accept(store, add(store, 1))
    assert (row.reviewed, row.decided_at) == (None, row.updated_at)
    row = step(store, row, "reviewed", {"verdict": "approved", "text": ""}, by="lea")
    assert (row.state, row.reviewed, row.reviewed_by) == ("accepted", "approved", "lea")
    assert row.decided_by == "ann"
    assert step(store, row, "flagged").reviewed is None
    row = store.undo("ann")
    assert (row.state, row.reviewed) == ("accepted", "approved")
    row = store.undo("ann")
    assert (row.state, row.reviewed, row.reviewed_by, row.decided_at) == (
        "prepared", None, None, None,
    )  # fmt: skip
    assert store.check() == []


def test_store_return_takes_the_decision_away_and_says_why(store):
    row = accept(store, add(store, 1))
    row = step(store, row, "reviewed", {"verdict": "returned", "text": "an ear is left"}, by="lea")
    assert (row.state, row.decided_by, row.decided_event) == ("prepared", None, None)
    assert (row.reviewed, row.reviewed_by, row.comment) == ("returned", "lea", "an ear is left")
    row = step(store, row, "chosen", {"index": 1})
    assert row.reviewed == "returned"
    row = step(store, row, "skipped")
    assert (row.reviewed, row.reviewed_by) == (None, None)


@pytest.mark.parametrize(
    ("made", "state"), [("new", "new"), ("unsure", "waiting"), ("broken", "broken")]
)
def test_store_return_goes_back_to_where_the_sample_was(store, made, state):
    if made == "broken":
        row = store.import_broken(name="b", concept="cat", by="policy", error="empty")
    else:
        row = add(store, 1)
    if made == "unsure":
        row = step(store, row, "proposed", proposed(chosen=None))
    row = step(store, step(store, row, "rejected"), "reviewed", {"verdict": "returned"})
    assert row.state == state


@pytest.mark.parametrize("verdict", ["approved", "returned"])
def test_store_reviews_only_what_is_decided(store, verdict):
    row = prepare(store, add(store, 1))
    with pytest.raises(ValueError, match="nothing to review"):
        step(store, row, "reviewed", {"verdict": verdict})
    with pytest.raises(ValueError, match="'approved' or 'returned', got 'nice'"):
        step(store, step(store, row, "skipped"), "reviewed", {"verdict": "nice"})


# What the queue sorts by


def boxed(score: float, box: list[int], *, yes: bool | None = None, sure: float = 1.0) -> dict:
    verdict = None if yes is None else {"yes": yes, "confidence": sure, "reason": "", "made_by": ""}
    return proposal() | {"score": score, "box_xywh": box, "verdict": verdict, "predicted_iou": 0.7}


def test_store_margin_is_to_the_best_other_object(store):
    whole, head, rival = [0, 0, 10, 10], [2, 2, 4, 4], [12, 0, 8, 10]
    masks = [boxed(0.9, whole), boxed(0.85, head), boxed(0.3, rival), boxed(0.2, rival)]
    row = step(store, add(store, 1), "proposed", {"proposals": masks, "chosen": 0})
    assert row.clip_margin == pytest.approx(0.6)
    row = step(store, row, "chosen", {"index": 2})
    assert (row.clip_score, row.clip_margin) == (0.3, pytest.approx(0.6))
    alone = {"proposals": masks[:2], "chosen": 1}
    row = step(store, row, "proposed", alone)
    assert (row.clip_score, row.clip_margin) == (0.85, None)


@pytest.mark.parametrize(
    ("score", "yes", "sure", "disagreement"),
    [(0.9, None, 0, 0.2), (0.7, True, 0.7, 0.0), (0.7, False, 0.9, 0.6), (0.1, True, 1.0, 0.9)],
)
def test_store_disagreement_is_the_spread_of_the_three_opinions(
    store, score, yes, sure, disagreement
):
    one = boxed(score, [0, 0, 5, 5], yes=yes, sure=sure)
    row = step(store, add(store, 1), "proposed", {"proposals": [one], "chosen": None})
    assert row.disagreement == pytest.approx(disagreement)
    assert row.verdict == {None: None, True: "yes", False: "no"}[yes]


def test_store_signals_of_a_hand_made_mask_are_those_of_the_best_proposal(store):
    row = step(store, add(store, 1), "proposed", proposed() | {"novelty": 0.25})
    mask = {"mask_sha": store.put_image(square(8)), "how": "points", "points": []}
    row = step(store, row, "mask_edited", mask)
    assert (row.chosen, row.clip_score, row.verdict, row.novelty) == (None, 0.8, "yes", 0.25)
    row = step(store, row, "proposed", {"proposals": [], "chosen": None})
    assert (row.clip_score, row.clip_margin, row.verdict, row.disagreement) == (None,) * 4
    assert row.novelty == 0.25


def test_store_verdict_asked_later_changes_what_the_queue_sorts_by(store):
    row = step(store, add(store, 1), "proposed", proposed(1, None))
    answered = row.proposals[0] | {"verdict": {"yes": False, "confidence": 1.0}}
    row = step(store, row, "proposed", {"proposals": [answered], "chosen": None, "asked": 0})
    assert (row.verdict, row.disagreement) == ("no", pytest.approx(0.9))


# Twins and lineage


def test_store_twin_is_one_more_copy_of_an_image(store):
    first = add(store, 1, name="beach")
    known = {"name": "beach", "concept": "cat", "by": "lea", "twin_of": first.id}
    twins = [store.import_image(picture(1), **known) for _ in range(2)]
    assert len({first.id, *(one.id for one in twins)}) == 3
    assert [(one.twin_of, one.twin_number) for one in twins] == [(first.id, 2), (first.id, 3)]
    assert [one.name for one in twins] == ["beach-2", "beach-3"]
    assert add(store, 1) == first
    for wrong in ({"twin_of": twins[0].id}, {"concept": "dog"}):
        with pytest.raises(ValueError, match="copy of an original"):
            store.import_image(picture(1), **known | wrong)
    with pytest.raises(ValueError, match="must have the same image"):
        store.import_image(picture(2), **known)
    live = store.samples()
    store.rebuild()
    assert store.samples() == live
    assert store.import_image(picture(1), **known).twin_number == 4


def test_store_table1_counts_an_image_once_whatever_its_twins(store):
    first = accept(store, add(store, 1))
    twin = store.import_image(picture(1), name="b", concept="cat", by="lea", twin_of=first.id)
    step(store, prepare(store, twin), "accepted", {"how": "human"}, by="bob")
    (line,) = store.table1()
    assert (line.images, line.selected, line.human) == (1, 1, 1)
    assert store.sources("cat") == {first.source: "accepted"}


def test_store_keeps_where_a_merged_sample_comes_from(store):
    lineage = {"foreground": "0" * 16, "background": "uploaded", "place": {"x": 3, "y": 4}}
    row = store.import_image(picture(3), name="m", concept="cat", by="ann", lineage=lineage)
    assert store.sample(row.id).lineage == lineage
    assert add(store, 1).lineage is None


# Lists, counts, Table 1


def test_store_lists_samples_in_the_order_of_import(store):
    rows = [add(store, seed, concept="cat" if seed % 2 else "dog") for seed in range(7)]
    step(store, rows[4], "skipped")
    assert [one.id for one in store.samples()] == [one.id for one in rows]
    assert [one.id for one in store.samples(offset=2, limit=3)] == [one.id for one in rows[2:5]]
    assert [one.id for one in store.samples(concept="dog", state="new")] == [
        rows[0].id,
        rows[2].id,
        rows[6].id,
    ]
    assert len(store.samples(state=["new", "skipped"], limit=None)) == 7
    assert store.concepts() == ["dog", "cat"]


def test_store_light_rows_lack_only_what_is_bulky(store):
    row = prepare(store, add(store, 1))
    (light,) = store.samples(light=True)
    assert (light.proposals, light.other_tries) == (None, None)
    assert light == row.__class__(**{**row.__dict__, "proposals": None, "other_tries": None})


def test_store_counts_every_state(store):
    step(store, add(store, 1), "skipped")
    add(store, 2, concept="dog")
    counts = store.counts()
    assert (counts["new"], counts["skipped"], counts["accepted"], len(counts)) == (1, 1, 0, 9)
    assert sum(store.counts("dog").values()) == 1


def test_store_events_can_be_followed(store):
    row = add(store, 1)
    seen = store.events()[-1].id
    add(store, 2)
    step(store, row, "skipped")
    assert [one.kind for one in store.events(after=seen)] == ["imported", "skipped"]
    assert [one.kind for one in store.events(after=seen, limit=1)] == ["imported"]
    assert [one.kind for one in store.events(row.id, after=seen)] == ["skipped"]


def test_store_table1_counts_as_the_paper_does(store):
    accept(store, add(store, 1), d=0.4, s=0.6)
    accept(store, add(store, 2), d=0.6, s=0.8, how="policy", by="policy")
    step(store, prepare(store, add(store, 3), d=0.0, s=0.0), "rejected")
    step(store, add(store, 4), "proposed", proposed(chosen=None))
    store.import_broken(name="b", concept="cat", by="policy", error="empty")
    add(store, 6, concept="dog")
    cat, dog = store.table1()
    assert (cat.concept, cat.images, cat.selected, cat.success_percent) == ("cat", 5, 2, 40.0)
    assert (cat.mean_d, cat.mean_s) == (pytest.approx(0.5), pytest.approx(0.7))
    assert cat.variant == "paper"
    assert (cat.human, cat.policy, cat.rejected, cat.waiting, cat.broken) == (1, 1, 1, 1, 1)
    assert (dog.images, dog.selected, dog.mean_d, dog.new) == (1, 0, None, 1)


def test_store_table1_never_averages_two_variants(store):
    accept(store, add(store, 1))
    row = step(store, add(store, 2), "proposed", proposed())
    released = filled(store, row)
    released["scores"]["d"]["variant"] = "released"
    step(store, step(store, row, "filled", released), "accepted", {"how": "human"})
    (line,) = store.table1()
    assert (line.selected, line.variant, line.mean_d, line.mean_s) == (2, "mixed", None, None)


# Leases


def test_store_lease_holds_until_it_expires_or_is_given_back(store):
    row = add(store, 1)
    assert hold(store, row.id, "ann")
    assert hold(store, row.id, "ann")
    assert not hold(store, row.id, "bob")
    leave(store, row.id, "bob")
    assert not hold(store, row.id, "bob")
    leave(store, row.id, "ann")
    assert hold(store, row.id, "bob", seconds=0)
    assert hold(store, row.id, "ann")


def test_store_decision_gives_the_lease_back(store):
    row = add(store, 1)
    hold(store, row.id, "ann")
    step(store, row, "skipped")
    store.undo("ann")
    assert store.holds.of([row.id]) == {}


TAKER = """
import sys
from forgetme.store import Filter, Store
location, blobs, by = sys.argv[1:]
with Store(location, blobs=blobs) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while free := store.queue.page(Filter(held="free"), limit=3).lines:
        for line in free:
            if not store.holds.take([line.id], by):
                print(line.id)
"""


def test_store_two_processes_never_get_the_same_sample(store, place):
    ids = {add(store, seed).id for seed in range(40)}
    blobs = place.get("blobs") or Path(place["location"]) / "blobs"
    command = [sys.executable, "-c", TAKER, str(place["location"]), str(blobs)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    takers = [subprocess.Popen([*command, name], **pipes) for name in ("ann", "bob", "cem")]
    for taker in takers:
        assert taker.stdout.readline() == "ready\n"
    for taker in takers:
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [line for taker in takers for line in taker.communicate()[0].split()]
    assert Counter(taken) == Counter(ids)


# Threads


def test_store_is_safe_among_threads(store):
    row = add(store, 0)
    wins, errors = [], []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                add(store, 100 + turn)
                seen = store.sample(row.id)
                try:
                    payload = {"text": f"{number}.{turn}"}
                    wins.append(step(store, seen, "commented", payload).version)
                except StaleVersionError:
                    store.counts()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(wins) == list(range(2, len(wins) + 2))
    assert store.sample(row.id).version == len(wins) + 1
    assert sum(store.counts().values()) == 11
    assert store.check() == []


# The projection


ACTS = st.sampled_from(
    ["proposed", "unsure", "chosen", "edited", "cleared", "filled", "kept", "try", "accepted",
     "rejected", "skipped", "flagged", "commented", "undo", "stale", "new_proposed",
     "approved", "returned"]
)  # fmt: skip


def act(store: Store, row, what: str, number: int):
    """Does one thing to a sample, where it fits."""
    mask = store.put_image(square(2 + number))
    kind, payload = {
        "proposed": lambda: ("proposed", proposed(3, number)),
        "new_proposed": lambda: ("proposed", proposed(1, 0) | {"novelty": number / 3}),
        "approved": lambda: ("reviewed", {"verdict": "approved"}),
        "returned": lambda: ("reviewed", {"verdict": "returned", "text": f"again {number}"}),
        "unsure": lambda: ("proposed", proposed(2, None)),
        "chosen": lambda: ("chosen", {"index": number}),
        "edited": lambda: ("mask_edited", {"mask_sha": mask, "how": "grow"}),
        "cleared": lambda: ("mask_edited", {"mask_sha": None, "how": "clear"}),
        "filled": lambda: ("filled", filled(store, row, d=number / 7)),
        "kept": lambda: ("refined", filled(store, row) | {"pick": False}),
        "try": lambda: ("chosen", {"try": number}),
        "accepted": lambda: ("accepted", {"how": "policy"}),
        "commented": lambda: ("commented", {"text": f"{number}"}),
    }.get(what, lambda: (what, {}))()
    return step(store, row, kind, payload, by=f"curator {number}")


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("fold") / "store") as store:
        yield store


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=st.lists(st.tuples(ACTS, st.integers(0, 2)), max_size=14), data=st.data())
def test_store_rebuild_gives_exactly_the_live_rows(long_lived, acts, data):
    store = long_lived
    row = add(store, sum(store.counts().values()))
    for what, number in acts:
        before = store.sample(row.id)
        try:
            if what == "undo":
                store.undo("x", sample_id=row.id)
            elif what == "stale":
                store.append(row.id, "skipped", {}, by="x", expected_version=before.version + 1)
            else:
                act(store, before, what, number)
        except (ValueError, TypeError, StaleVersionError):  # TypeError: no mask to fill
            assert store.sample(row.id) == before
    live = store.samples(limit=None)
    assert project(store.events(row.id)) == store.sample(row.id)
    assert store.rebuild() == len(live)
    assert store.samples(limit=None) == live


def test_store_rebuild_mends_rows_that_differ_from_their_events(store):
    row = accept(store, add(store, 1))
    other = add(store, 2)
    with store._database.write() as connection:
        connection.execute(text("UPDATE sample SET state = 'rejected' WHERE seq = 1"))
        connection.execute(text("DELETE FROM sample WHERE seq > 1"))
    assert len(store.check()) == 2
    assert all("run rebuild" in problem for problem in store.check())
    assert store.rebuild() == 2
    assert (store.sample(row.id), store.sample(other.id)) == (row, other)
    assert store.check() == []


def test_store_rebuild_removes_what_killed_writers_left(store):
    row = accept(store, add(store, 1))
    image = store.blob_path(row.image_sha)
    old, young = image.with_name(".00ff.tmp"), image.with_name(".11ff.tmp")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    store.rebuild()
    assert (old.exists(), young.exists(), image.is_file()) == (False, True, True)


def test_store_check_names_lost_events_and_images(store):
    row = accept(store, add(store, 1))
    store.blob_path(row.mask_sha).unlink()
    with store._database.write() as connection:
        connection.execute(text("DELETE FROM event WHERE version = 2"))
    problems = " ".join(store.check())
    assert "events are missing" in problems
    add(store, 2)
    sha = store.samples()[1].image_sha
    store.blob_path(sha).write_bytes(b"torn")
    assert f"{sha}.png is damaged" in " ".join(store.check())


def test_store_check_names_rows_without_events(store):
    add(store, 1)
    with store._database.write() as connection:
        connection.execute(text("DELETE FROM event"))
    assert "has no events" in store.check()[0]


# Opening, versions, backups


def test_store_reopens_with_all_it_had(place):
    with Store(**place) as store:
        row = accept(store, add(store, 1))
        hold(store, row.id, "ann")
    with Store(**place) as store:
        assert store.sample(row.id) == row
        assert not hold(store, row.id, "bob")
        assert store.check() == []


def test_store_makes_its_commits_durable(tmp_path):
    with Store(tmp_path) as store, store._database.read() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) == 60_000


def test_store_uses_an_index_for_every_list(tmp_path):
    with Store(tmp_path) as store, store._database.read() as connection:
        for where, order in [
            ("1 = 1", "seq"),
            ("concept = 'cat'", "seq"),
            ("state = 'new'", "seq"),
            ("concept = 'cat' AND state = 'new'", "seq"),
            ("decided_by = 'ann'", "decided_event DESC"),
        ]:
            query = f"EXPLAIN QUERY PLAN SELECT name FROM sample WHERE {where} ORDER BY {order}"
            plan = " ".join(line[3] for line in connection.execute(text(query)))
            assert "USING INDEX" in plan
            assert "TEMP B-TREE" not in plan
        group = "EXPLAIN QUERY PLAN SELECT state, count(*) FROM sample GROUP BY state"
        assert "COVERING INDEX" in connection.execute(text(group)).one()[3]


FIRST = [
    *(
        f"DROP TABLE {name}"
        for name in ("person", "session", "preference", "job", "wanted", "look")
    ),
    *(f"DROP INDEX {name}" for name in ("event_actor", "event_kind")),
    "ALTER TABLE event DROP COLUMN digest",
    "DROP TABLE sample",
    "CREATE TABLE sample (id VARCHAR(16) PRIMARY KEY, tries JSON)",
]


def make_older(database: Database, version: str = "0001") -> None:
    """Takes the tables back to what the first version had; or only says another version."""
    with database.write() as connection:
        for statement in FIRST if version == "0001" else ():
            connection.execute(text(statement))
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))


@pytest.fixture
def old(place) -> Iterator[Database]:
    """The database of a store at `place` that has one accepted and one waiting sample."""
    with Store(**place) as store:
        accept(store, add(store, 1))
        step(store, add(store, 2), "proposed", proposed(chosen=None))
    database = Database(url_of(place["location"]))
    yield database
    database.close()


def test_store_of_the_first_version_is_copied_and_brought_to_this_one(place, old, tmp_path):
    with Store(**place) as store:
        rows, events = store.samples(), store.events()
    make_older(old)
    backup = migrate(old, tmp_path / "backups")
    assert migrate(old, tmp_path / "backups") is None
    if old.is_sqlite:
        with closing(sqlite3.connect(backup)) as before:
            assert before.execute("SELECT * FROM alembic_version").fetchall() == [("0001",)]
            assert before.execute("SELECT count(*) FROM event").fetchone() == (6,)
    else:
        lines = [json.loads(line) for line in backup.read_text().splitlines()]
        kept = [line["row"]["kind"] for line in lines if line["table"] == "event"]
        assert kept == [event.kind for event in events]
    with old.read() as connection:
        there = inspect(connection)
        for table in metadata.sorted_tables:
            names = [one["name"] for one in there.get_columns(table.name)]
            assert sorted(names) == sorted(table.c.keys())
            assert {one["name"] for one in there.get_indexes(table.name)} >= {
                one.name for one in table.indexes
            }
    with Store(**place) as store:
        assert (store.samples(), store.events()) == (rows, events)
        assert rows[0].clip_score == 0.8
        assert store.check() == []
        assert store.people.add("ann", "lead", "a long password").name == "ann"


@pytest.mark.parametrize("fails", ["derive", "seal"])
def test_store_stays_as_it_was_where_it_cannot_be_brought_to_this_version(
    place, old, tmp_path, monkeypatch, fails
):
    make_older(old)
    with old.write() as connection:
        connection.execute(text(
            "INSERT INTO event (at, actor, sample_id, kind, payload, version) "
            "VALUES ('2026', 'ann', '0123456789abcdef', 'accepted', '{}', 1)"
        ))  # fmt: skip
    match = "0123456789abcdef do not fit.*bring back a backup"
    if fails == "seal":
        match = "division"
        monkeypatch.setattr("forgetme.store.audit.seal", lambda _: 1 / 0)
    with pytest.raises((ForgetmeError, ZeroDivisionError), match=match):
        Store(**place)
    monkeypatch.undo()
    with old.write() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0001"
        assert connection.scalar(text("SELECT count(*) FROM event")) == 7
        assert "digest" not in {one["name"] for one in inspect(connection).get_columns("event")}
        connection.execute(text("DELETE FROM event WHERE at = '2026'"))
    with Store(**place) as store:
        assert len(store.samples()) == 2


def test_store_of_a_newer_version_is_refused_and_left_alone(place, old):
    make_older(old, "9999")
    with pytest.raises(StoreVersionError, match="newer ForgetMe.*9999.*pip install -U forgetme"):
        Store(**place)
    with old.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_store_opened_by_many_at_once_is_made_once(place):
    stores, errors = [], []

    def open_store() -> None:
        try:
            stores.append(Store(**place))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_store) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    add(stores[0], 1)
    assert [len(store.events()) for store in stores] == [1] * 6
    for store in stores:
        store.close()


def test_store_backup_is_a_whole_store(store, tmp_path):
    row = accept(store, add(store, 1))
    store.backup(tmp_path / "copy")
    shutil.rmtree(store.blob_path(row.image_sha).parent)
    with Store(tmp_path / "copy") as copy:
        assert copy.sample(row.id) == row
        assert copy.events() == store.events()
        assert copy.check() == []
        assert step(copy, row, "commented", {"text": "goes on"}).version == row.version + 1
    with pytest.raises(ForgetmeError, match="not empty"):
        store.backup(tmp_path / "copy")


def test_store_at_a_file_says_so(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ForgetmeError, match="a store is a folder"):
            Store(place)


def test_store_that_is_no_database_says_so(tmp_path):
    (tmp_path / "store.db").write_text("not a database, only some text " * 40)
    with pytest.raises(ForgetmeError, match="no store or is damaged"):
        Store(tmp_path)


def test_store_leaves_a_foreign_database_alone(tmp_path):
    foreign = sqlite3.connect(tmp_path / "store.db")
    foreign.execute("CREATE TABLE diary (page)")
    foreign.commit()
    foreign.close()
    with pytest.raises(ForgetmeError, match="other tables .diary."):
        Store(tmp_path)


@pytest.mark.parametrize("url", ["mysql://root:secret@h/d", "://", "s3://bucket"])
def test_store_knows_only_folders_and_postgresql(url):
    with pytest.raises(ForgetmeError, match="a store is a folder or postgresql://") as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_store_hides_the_password_of_an_unreachable_server(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(ForgetmeError, match="check that the server runs") as caught:
        Store(f"postgresql://ann:secret@/x?host={tmp_path}", blobs=tmp_path)
    assert "secret" not in str(caught.value)


def test_store_on_postgresql_asks_for_a_folder_of_images():
    pytest.importorskip("psycopg")
    with pytest.raises(ForgetmeError, match="blobs=DIR"):
        Store("postgresql://ann@localhost/x")


@pytest.mark.postgres
def test_a_database_that_is_not_utf8_is_refused_with_the_command_that_makes_one(cluster, tmp_path):
    for encoding in ("SQL_ASCII", "LATIN1"):
        name = f"store_{encoding.lower()}"
        at = ["--host", str(cluster.folder), "--username", "forgetme", "--template", "template0"]
        cluster.run("createdb", *at, "--encoding", encoding, "--locale", "C", name)
        url = cluster.url.replace("/postgres?", f"/{name}?")
        with pytest.raises(ForgetmeError, match=f"is {encoding}, .*needs UTF-8") as caught:
            Store(url, blobs=tmp_path / "blobs")
        command, *arguments = shlex.split(str(caught.value).rpartition(": ")[2])
        assert arguments[-1] == f"{name}-utf8"
        cluster.run(command, *at[:4], *arguments)  # what the message says makes a right one
        with Store(url.replace(name, f"{name}-utf8"), blobs=tmp_path / encoding) as store:
            image = np.zeros((16, 16, 3), np.uint8)
            row = store.import_image(image, name="a", concept="кіт 猫", by="Åsa")
            assert store.sample(row.id).concept == "кіт 猫"
            assert store.events()[0].by == "Åsa"


# Names


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("beach_018", "beach_018"),
        ("plage d'été 🏖", "plage d'été 🏖"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "_"),
        ("", "_"),
        (".hidden", "hidden"),
        ("a/b\\c:d*e?f\"g<h>i|j", "a_b_c_d_e_f_g_h_i_j"),
        ("tab\there\0", "tab_here_"),
        ("CON", "_CON"),
        ("com1.tar", "_com1.tar"),
        ("ends. ", "ends"),
    ],
)  # fmt: skip
def test_safe_stem(name, stem):
    assert safe_stem(name) == stem


@given(st.text(st.characters(exclude_categories=[]), max_size=300))
def test_safe_stem_is_always_one_name_inside_the_folder(tmp_path_factory, name):
    stem = safe_stem(name)
    assert 1 <= len(stem.encode()) <= 121
    assert Path("folder", stem).parent == Path("folder")
    assert not stem.startswith(".")
    assert safe_stem(stem) == stem
