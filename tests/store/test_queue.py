"""The queue of the store: filters, orders, pages that miss nothing, twins; both databases."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_store import (
    accept,
    add,
    filled,
    hold,
    picture,
    prepare,
    proposal,
    proposed,
    square,
    step,
)
from sqlalchemy import text

from forgetme.store import Filter, SampleRow, Store
from forgetme.store.filters import ORDERS, RANGES, narrowed, order_by
from forgetme.store.queue import QueueLine
from forgetme.store.schema import sample

pytest_plugins = ["small_postgres"]

UNHELD = {"fair_to": None, "held": None}


@pytest.fixture
def store(place):
    """An empty store on each kind of database."""
    with Store(**place) as store:
        yield store


def names(store: Store, where: Filter | None = None, **more) -> list[str]:
    return [line.name for line in store.queue.page(where, **more).lines]


def scored(store: Store, seed: int, *, score: float, rival: float = 0.1, yes: bool = True, **more):
    """A sample whose best mask has this score, and another object the other."""
    verdict = {"yes": yes, "confidence": 1.0, "reason": "", "made_by": "clip"}
    best = proposal(4) | {"score": score, "verdict": verdict}
    other = proposal(12) | {"score": rival, "box_xywh": [5, 14, 6, 4]}
    payload = {"proposals": [best, other], "chosen": 0 if yes else None}
    return step(store, add(store, seed, name=f"s{seed}"), "proposed", payload | more)


# Filters


def test_queue_shows_everything_in_the_order_of_import_by_default(store):
    rows = [add(store, seed) for seed in (3, 1, 2)]
    assert names(store) == [row.name for row in rows]
    assert store.queue.count() == 3
    assert Filter().is_open
    assert not Filter(low=False).is_open


def test_queue_filters_by_state_concept_and_part_of_a_name(store):
    add(store, 1, name="Beach_1")
    prepare(store, add(store, 2, name="beach 50%"))
    step(store, add(store, 3, name="forest", concept="dog"), "skipped")
    assert names(store, Filter(state=("new",))) == ["Beach_1"]
    assert names(store, Filter(state=("new", "prepared"))) == ["Beach_1", "beach 50%"]
    assert names(store, Filter(concept="dog")) == ["forest"]
    assert names(store, Filter(text="BEACH")) == ["Beach_1", "beach 50%"]
    assert names(store, Filter(text="50%")) == ["beach 50%"]
    assert names(store, Filter(text="_")) == ["Beach_1"]
    assert names(store, Filter(text="%e")) == []


def test_queue_filters_by_who_decided_and_how(store):
    accept(store, add(store, 1, name="anns"))
    accept(store, add(store, 2, name="machines"), how="policy", by="policy")
    step(store, add(store, 3, name="bens"), "rejected", by="ben")
    assert names(store, Filter(curator="ann")) == ["anns"]
    assert names(store, Filter(how="human")) == ["anns", "bens"]
    assert names(store, Filter(how="policy")) == ["machines"]
    assert store.queue.deciders() == ["ann", "ben", "policy"]


def test_queue_filters_by_verdict_and_by_low(store):
    scored(store, 1, score=0.9)
    scored(store, 2, score=0.4, yes=False)
    add(store, 3, name="unasked")
    row = step(store, add(store, 4, name="low"), "proposed", proposed())
    made = filled(store, row)
    made["scores"]["low"] = True
    step(store, row, "filled", made)
    assert names(store, Filter(verdict="yes")) == ["s1", "low"]
    assert names(store, Filter(verdict="no")) == ["s2"]
    assert names(store, Filter(verdict="none")) == ["unasked"]
    assert names(store, Filter(low=True)) == ["low"]
    assert names(store, Filter(low=False)) == []


def test_queue_filters_by_ranges_with_both_ends_included(store):
    for seed, score in enumerate((0.2, 0.5, 0.9)):
        scored(store, seed, score=score, rival=0.1, novelty=score)
    add(store, 9, name="unscored")
    assert names(store, Filter(clip=(0.5, None))) == ["s1", "s2"]
    assert names(store, Filter(clip=(None, 0.5))) == ["s0", "s1"]
    assert names(store, Filter(novelty=(0.5, 0.5))) == ["s1"]
    assert names(store, Filter(margin=(0.0, 0.11))) == ["s0"]
    assert names(store, Filter(disagreement=(None, 0.2))) == ["s2"]
    assert names(store, Filter(clip=(0.5, None), novelty=(None, 0.6))) == ["s1"]


def test_queue_filters_by_review_and_shows_who_reviewed(store):
    row = accept(store, add(store, 1, name="good"))
    step(store, row, "reviewed", {"verdict": "approved"}, by="lea")
    row = accept(store, add(store, 2, name="bad"))
    step(store, row, "reviewed", {"verdict": "returned", "text": "an ear"}, by="lea")
    add(store, 3, name="open")
    assert names(store, Filter(reviewed="approved")) == ["good"]
    assert names(store, Filter(reviewed="returned")) == ["bad"]
    assert names(store, Filter(reviewed="none")) == ["open"]
    line = store.queue.page(Filter(reviewed="returned")).lines[0]
    assert (line.reviewed_by, line.comment, line.state) == ("lea", "an ear", "prepared")


def test_queue_tells_who_holds_a_sample_until_the_hold_expires(store):
    rows = [add(store, seed, name=f"s{seed}") for seed in range(3)]
    hold(store, rows[0].id, "ben")
    hold(store, rows[1].id, "cem", seconds=0)
    assert [line.held_by for line in store.queue.page().lines] == ["ben", None, None]
    assert names(store, Filter(held="held")) == ["s0"]
    assert names(store, Filter(held="free")) == ["s1", "s2"]
    assert [one.held_by for one in store.queue.lines([rows[2].id, rows[0].id])] == [None, "ben"]


def test_queue_keeps_the_other_copies_from_who_decided_one(store):
    first = add(store, 1, name="beach")
    known = {"name": "beach", "concept": "cat", "by": "lea", "twin_of": first.id}
    twins = [store.import_image(picture(1), **known) for _ in range(2)]
    other = add(store, 2, name="other")
    every = {first.id, twins[0].id, twins[1].id, other.id}

    def fair(by: str) -> set[str]:
        return {line.id for line in store.queue.page(Filter(fair_to=by)).lines}

    assert fair("ann") == every
    step(store, twins[0], "skipped", by="ann")
    assert fair("ann") == {twins[0].id, other.id}
    assert fair("ben") == every
    step(store, first, "skipped", by="ben")
    assert fair("ben") == {first.id, other.id}
    store.undo("ann", sample_id=twins[0].id)
    assert fair("ann") == every
    assert names(store, Filter(originals=True)) == ["beach", "other"]


def test_nobody_holds_another_copy_of_what_they_decided(store):
    first = add(store, 1)
    twin = store.import_image(picture(1), name="b", concept="cat", by="lea", twin_of=first.id)
    step(store, first, "skipped", by="ann")
    assert not hold(store, twin.id, "ann")
    assert hold(store, twin.id, "ben")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"state": ("done",)}, "state must be one of new, .*got 'done'"),
        ({"verdict": "maybe"}, "verdict must be one of yes, no, none"),
        ({"reviewed": "good"}, "reviewed must be one of approved"),
        ({"held": "ann"}, "held must be one of free, held"),
        ({"how": "robot"}, "how must be one of human, policy"),
        ({"d": (0.9, 0.1)}, "d must go from low to high, got 0.9 to 0.1"),
        ({"clip": (math.nan, 1.0)}, "clip must go from low to high"),
    ],
)
def test_filter_refuses_what_no_sample_can_match(wrong, match):
    with pytest.raises(ValueError, match=match):
        Filter(**wrong)


# Orders and pages


def test_queue_puts_samples_without_the_value_last_in_both_directions(store):
    for seed, score in enumerate((0.5, 0.9, 0.2)):
        scored(store, seed, score=score, rival=0.1)
    add(store, 9, name="unscored")
    assert names(store, order="margin") == ["s2", "s0", "s1", "unscored"]
    assert names(store, order="-margin") == ["s1", "s0", "s2", "unscored"]
    assert names(store, order="-import") == ["unscored", "s2", "s1", "s0"]
    assert [row.name for row in store.samples(order="-clip", limit=2, light=True)] == ["s1", "s0"]
    assert [row.name for row in store.samples(where=Filter(clip=(0.5, None)))] == ["s0", "s1"]
    with pytest.raises(ValueError, match="order must be one of import, .*got 'size'"):
        store.queue.page(order="-size")


@pytest.mark.parametrize("order", [sign + name for name in ORDERS for sign in ("", "-")])
def test_queue_pages_together_are_the_whole_in_every_order(store, order):
    for seed in range(9):
        if seed % 3 == 0:
            step(store, add(store, seed, name=f"s{8 - seed}"), "skipped")
        else:  # two of each score, so that ties are cut by a page's end
            scored(store, seed, score=0.1 * (seed // 3), novelty=0.5)
    whole = names(store, order=order)
    pages = [store.queue.page(order=order, limit=2)]
    while pages[-1].more:
        pages.append(store.queue.page(order=order, start=pages[-1].end, limit=2))
    found = [line.name for page in pages for line in page.lines]
    assert (found, len(pages)) == (whole, 5)
    assert len(set(found)) == 9


def test_queue_page_after_a_decided_line_neither_repeats_nor_misses_one(store):
    rows = [add(store, seed, name=f"s{seed}") for seed in range(6)]
    where = Filter(state=("new",))
    first = store.queue.page(where, limit=2)
    for row in rows[:3]:
        step(store, row, "skipped")
    later = store.queue.page(where, start=first.end, limit=2)
    assert [line.name for line in later.lines] == ["s3", "s4"]
    assert later.more
    last = store.queue.page(where, start=later.end)
    assert ([line.name for line in last.lines], last.more) == (["s5"], False)
    end = store.queue.page(where, start=last.end)
    assert (end.lines, end.end, end.more) == ([], None, False)


def test_queue_lines_say_what_the_rows_say(store):
    accept(store, add(store, 1))
    scored(store, 2, score=0.4)
    store.import_broken(name="b", concept="cat", by="policy", error="empty")
    rows = store.samples()
    for line, row in zip(store.queue.page().lines, rows, strict=True):
        for one in fields(QueueLine):
            if one.name != "held_by":
                assert getattr(line, one.name) == getattr(row, one.name), one.name
    ids = [rows[2].id, "0" * 16, rows[0].id]
    assert [line.id for line in store.queue.lines(ids)] == [rows[2].id, rows[0].id]


# Against an independent reading of every filter


def lets_through(where: Filter, row: SampleRow) -> bool:
    """The filter in plain Python."""
    columns = {"clip": "clip_score", "margin": "clip_margin", "d": "score_d", "s": "score_s"}
    for name in RANGES:
        low, high = getattr(where, name) or (None, None)
        value = getattr(row, columns.get(name, name))
        if (low is not None or high is not None) and value is None:
            return False
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    plain = [
        not where.state or row.state in where.state,
        where.concept is None or row.concept == where.concept,
        where.curator is None or row.decided_by == where.curator,
        where.how is None or row.decided_how == where.how,
        where.low is None or row.low is where.low,
        where.verdict is None or (row.verdict or "none") == where.verdict,
        where.reviewed is None or (row.reviewed or "none") == where.reviewed,
        not where.text or where.text in row.name,
        not where.originals or row.twin_of is None,
    ]
    return all(plain)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Thirty samples of all kinds."""
    with Store(tmp_path_factory.mktemp("mixed") / "store") as store:
        for seed in range(30):
            concept = "cat" if seed % 2 else "dog"
            if seed % 5 == 0:
                row = add(store, seed, name=f"s{seed}", concept=concept)
            elif seed % 5 < 3:
                row = scored(store, seed, score=seed / 30, yes=seed % 3 > 0, novelty=seed / 40)
            else:
                row = accept(store, add(store, seed, concept=concept), d=seed / 30, s=seed / 31)
            if seed % 7 == 0:
                row = step(store, row, "flagged", by="ben")
            if row.decided_event and seed % 4 == 0:
                step(store, row, "reviewed", {"verdict": "approved"}, by="lea")
        yield store, store.samples(limit=None)


_ends = st.none() | st.floats(0, 1)
_ranges = st.none() | st.tuples(_ends, _ends).filter(
    lambda ends: None in ends or ends[0] <= ends[1]
)
FILTERS = st.builds(
    Filter,
    state=st.lists(st.sampled_from(["new", "prepared", "waiting", "accepted"])).map(tuple),
    concept=st.none() | st.sampled_from(["cat", "dog", "boat"]),
    curator=st.none() | st.sampled_from(["ann", "ben"]),
    how=st.none() | st.sampled_from(["human", "policy"]),
    verdict=st.none() | st.sampled_from(["yes", "no", "none"]),
    low=st.none() | st.booleans(),
    reviewed=st.none() | st.sampled_from(["approved", "none"]),
    text=st.none() | st.sampled_from(["s1", "beach", "_"]),
    originals=st.booleans(),
    **dict.fromkeys(RANGES, _ranges),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(where=FILTERS, order=st.sampled_from(ORDERS), down=st.booleans(), alone=st.booleans())
def test_queue_filters_as_plain_python_does(mixed, where, order, down, alone):
    store, rows = mixed
    if alone:  # a filter of a single field, since many together let nothing through
        set_ones = [one.name for one in fields(Filter) if getattr(where, one.name) != one.default]
        where = replace(Filter(), **{name: getattr(where, name) for name in set_ones[:1]})
    wanted = {row.id for row in rows if lets_through(where, row)}
    page = store.queue.page(where, order=("-" if down else "") + order)
    assert {line.id for line in page.lines} == wanted
    assert store.queue.count(where) == len(wanted)


# Speed: what the queue reads


def test_queue_finds_its_page_in_an_index_alone(tmp_path):
    """The wide lines, with their proposals, are read for the shown page only."""
    filters = [Filter(**{name: (0.1, 0.9)}) for name in RANGES]
    filters += [Filter(low=True), Filter(verdict="no"), Filter(curator="ann"), Filter(text="x")]
    filters += [Filter(concept="cat"), Filter(state=("new", "prepared")), Filter(reviewed="none")]
    filters += [Filter(concept="cat", low=True, reviewed="none", d=(0, 1)), Filter(how="human")]
    with Store(tmp_path) as store, store._database.read() as connection:
        for where in filters:
            for order in ("import", "-margin", "decided", "name"):
                query = narrowed(sample.select().with_only_columns(sample.c.id), where)
                query = query.order_by(*order_by(order, sorted_anew=True)).limit(200)
                words = query.compile(connection, compile_kwargs={"literal_binds": True})
                plan = connection.execute(text(f"EXPLAIN QUERY PLAN {words}"))
                lines = [line[3] for line in plan if " sample" in line[3]]
                assert all("COVERING INDEX" in line for line in lines), (where, order, lines)


# Novelty


def test_novelty_is_the_distance_to_the_nearest_earlier_image(store):
    rows = [add(store, seed) for seed in range(4)]
    dog = add(store, 9, concept="dog")
    right, up = np.array([2.0, 0.0]), np.array([0.0, 1.0])
    assert store.looks.novelty(rows[0], right, "clip") == 1.0
    assert store.looks.novelty(rows[1], up, "clip") == pytest.approx(1.0, abs=1e-3)
    assert store.looks.novelty(rows[2], right + 2 * up, "clip") == pytest.approx(0.293, abs=1e-3)
    assert store.looks.novelty(rows[3], -up - right, "clip") == 1.0
    assert store.looks.novelty(dog, up, "clip") == 1.0
    assert store.looks.novelty(rows[3], right, "other") == 1.0
    assert store.looks.novelty(rows[0], right, "clip") == 1.0  # asked again: nothing was before
    with pytest.raises(ValueError, match="finite and not 0"):
        store.looks.novelty(rows[0], 0 * up, "clip")


def test_novelty_of_a_copy_is_that_of_its_image(store):
    first = add(store, 1)
    twin = store.import_image(picture(1), name="b", concept="cat", by="lea", twin_of=first.id)
    assert store.looks.novelty(first, np.ones(3), "clip") == 1.0
    assert store.looks.novelty(twin, np.ones(3), "clip") == 1.0


def test_masks_that_a_dataset_brought_are_filled_those_that_a_hand_edits_are_not(store):
    """One photo is new; of two imported masks one is edited since."""
    rows = [add(store, seed) for seed in range(3)]
    for row in rows[:2]:
        brought = {"mask_sha": store.put_image(square()), "how": "imported"}
        step(store, row, "mask_edited", brought, by="import")
    edited = {"mask_sha": store.put_image(square(7)), "how": "brush"}
    step(store, store.sample(rows[1].id), "mask_edited", edited)
    assert [store.queue.is_brought(row.id) for row in rows] == [True, False, False]
    assert store.queue.to_prepare(ready=1, limit=9) == []  # the edited one is ready enough
    assert store.queue.to_prepare(ready=3, limit=9) == [rows[0].id, rows[2].id]
    row = store.sample(rows[0].id)
    step(store, row, "filled", filled(store, row), by="machine")
    assert not store.queue.is_brought(row.id)
    assert store.queue.to_prepare(ready=3, limit=9) == [rows[2].id]
