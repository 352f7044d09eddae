"""A curator's acts: what each one leaves in the store, and what the worker makes of heavy ones."""

from __future__ import annotations

import io
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from forgetme.curate.fills import is_better
from forgetme.curate.review import Review
from forgetme.curate.suggest import BACKDROPS
from forgetme.curate.worker import Worker
from forgetme.errors import ForgetmeError, StaleVersionError, VerifierError
from forgetme.record import masks
from forgetme.record.images import read_image, read_mask
from forgetme.record.sample import FillSettings
from forgetme.record.strokes import Stroke
from forgetme.scenes import BACKGROUNDS


@pytest.fixture
def review(store, truth, drawn):
    for path in sorted((drawn / "original").iterdir()):
        store.import_image(
            read_image(path), name=path.stem, concept="cat", by="ann", source=str(path)
        )
    return Review(store, truth.models, by="ann")


@pytest.fixture
def ids(review):
    return [row.id for row in review.store.samples()]


@pytest.fixture
def cat(drawn):
    """The first scene's true mask, and a pixel in it."""
    mask = read_mask(min((drawn / "mask").iterdir()))
    ys, xs = np.nonzero(masks.erode(mask, 3))
    return mask, [float(xs[0]), float(ys[0])]


def kinds(review, sample_id):
    return [event.kind for event in review.store.events(sample_id)]


# ---------------------------------------------------------------- the machine's part


def test_prepare_proposes_and_fills_with_one_event_each(review, ids):
    row = review.prepare(ids[0])
    assert (row.state, row.chosen, row.picked_try) == ("prepared", 0, 0)
    assert kinds(review, ids[0]) == ["imported", "proposed", "filled"]
    assert review.store.events(ids[0])[-1].by == "ann"


def test_prepare_again_changes_nothing(review, ids):
    version = review.prepare(ids[0]).version
    assert review.prepare(ids[0]).version == version


def test_prepare_leaves_a_mask_alone_that_a_hand_is_editing(review, ids, cat):
    review.prepare(ids[0])
    row = review.click(ids[0], [[*cat[1], 1]])
    assert review.prepare(ids[0]).version == row.version


def test_prepare_of_a_decided_sample_changes_nothing(review, ids):
    version = review.reject(ids[0]).version
    assert review.prepare(ids[0]).version == version


def test_fill_adds_a_picked_try_with_its_scores_and_thresholds(review, ids):
    review.prepare(ids[0])
    row = review.fill(ids[0])
    assert (len(row.tries), row.picked_try) == (1, 0)  # LaMa would paint the very same again
    other = replace(review.settings, fill=replace(review.settings.fill, dilate_px=9))
    row = replace(review, settings=other).fill(ids[0])
    assert len(row.tries) == 2
    assert row.picked_try == int(is_better(row.tries[1], row.tries[0]))
    assert row.tries[1]["scores"]["thresholds"] == asdict(review.settings.thresholds)
    assert row.tries[1]["scores"]["words"]


def test_fill_without_a_mask_says_what_to_do(review, ids, truth):
    truth.truth.says = False
    review.prepare(ids[0])
    with pytest.raises(ForgetmeError, match="Click the cat"):
        review.fill(ids[0])


def test_refine_keeps_the_earlier_tries_and_records_the_prompt(review, ids):
    review.prepare(ids[0])
    row = review.refine(ids[0], FillSettings(prompt="sand", seed=3))
    assert [one["kind"] for one in row.tries] == ["filled", "refined"]
    assert row.picked_try == int(is_better(row.tries[1], row.tries[0]))
    assert (row.tries[1]["settings"]["prompt"], row.tries[1]["settings"]["seed"]) == ("sand", 3)


def test_tries_come_back_with_their_mask_after_a_stroke_and_undo(review, ids):
    review.prepare(ids[0])
    for seed in (1, 2):
        had = review.refine(ids[0], FillSettings(prompt="sand", seed=seed))
    row = review.paint(ids[0], [Stroke("add", 3, ((100.0, 100.0),))])
    assert (row.tries, row.picked_try) == ([], None)
    review.fill(ids[0])
    row = review.undo_mask(ids[0])
    events = [one["event"] for one in had.tries]
    assert ([one["event"] for one in row.tries], row.picked_try) == (events, had.picked_try)
    assert len(review.redo_mask(ids[0]).tries) == 1


def test_refine_starts_from_the_picked_try(review, ids, truth):
    review.prepare(ids[0])
    row = review.refine(ids[0], FillSettings(prompt="sand", seed=1))
    row = review.pick_try(ids[0], 1)
    background = review.store.get_image(row.tries[1]["image_sha"])
    review.refine(ids[0], FillSettings(prompt="sand", strength=0.5))
    assert np.array_equal(truth.truth.painted[1]["image"], background)


def test_refine_without_a_prompt_takes_the_best_suggestion_and_records_it(review, ids):
    review.prepare(ids[0])
    row = review.refine(ids[0], FillSettings(prompt="  "))
    assert row.tries[1]["settings"]["prompt"] == review.suggestions(ids[0])[0] != ""


def test_suggestions_are_prompts_for_places_in_order_of_likelihood(review, ids, truth):
    assert set(BACKGROUNDS) == set(BACKDROPS)
    favourite = list(BACKDROPS).index("lake")
    review.prepare(ids[0])
    assert len(review.suggestions(ids[0], 3)) == 3
    truth.models.ranker.probabilities = lambda images, labels: np.eye(len(labels))[[favourite]]
    assert review.suggestions(ids[0])[0] == "an empty lake"


def test_refine_defaults_name_the_concept_as_what_not_to_paint(review, ids):
    review.prepare(ids[0])
    defaults = review.refine_defaults(ids[0])
    assert defaults.negative_prompt == "cat"
    assert defaults.prompt == review.suggestions(ids[0])[0]


# ---------------------------------------------------------------- masks


def test_choose_makes_a_proposal_the_mask_and_drops_the_tries(review, ids):
    row = review.choose(review.prepare(ids[0]).id, 1)
    assert (row.chosen, row.tries, row.picked_try) == (1, [], None)
    assert np.array_equal(review.mask(row), masks.rle_decode(row.proposals[1]["rle"]))


def test_choose_of_a_card_that_is_not_there_changes_nothing(review, ids):
    version = review.prepare(ids[0]).version
    for index in (3, -1):
        with pytest.raises(ForgetmeError, match="there are 3"):
            review.choose(ids[0], index)
    assert review.store.sample(ids[0]).version == version


def test_click_makes_the_best_mask_from_all_points_and_does_not_fill(review, ids, truth, cat):
    mask, middle = cat
    row = review.click(ids[0], [[*middle, 1], [1, 1, 0]])
    assert np.array_equal(review.mask(row), mask)
    assert (row.state, row.chosen, row.tries) == ("prepared", None, [])
    assert truth.truth.clicked[0][:2] == ([middle, [1.0, 1.0]], [1, 0])
    assert review.points(row) == [[*middle, 1], [1.0, 1.0, 0]]
    assert kinds(review, ids[0]) == ["imported", "mask_edited"]


def test_only_clicks_that_mend_a_mask_are_given_it(review, ids, truth, cat):
    mask, middle = cat
    review.prepare(ids[0])
    review.click(ids[0], [[*middle, 1]])
    assert truth.truth.clicked[-1][2] is None
    review.click(ids[0], [[*middle, 1], [1, 1, 0]])
    assert np.array_equal(truth.truth.clicked[-1][2], mask)


def test_a_click_off_the_object_needs_a_mask_to_cut_from(review, ids):
    with pytest.raises(ForgetmeError, match="click the cat first"):
        review.click(ids[0], [[1, 1, 0]])


def test_a_click_where_nothing_is_found_changes_nothing(review, ids):
    row = review.prepare(ids[0])
    with pytest.raises(ForgetmeError, match="nearer the middle"):
        review.click(ids[0], [[1, 1, 1]])
    assert review.store.sample(ids[0]) == row


@pytest.mark.parametrize(
    "points",
    [
        [],
        [[1, 2]],
        [[1, 2, 3]],
        [[-1, 2, 1]],
        [[1, 128, 1]],
        [[float("nan"), 1, 1]],
        [["a", 1, 1]],
        [[1, 2, 1]] * 1000,
        "abc",
        None,
        [[1, 2, 1], [1, 2]],
    ],
)
def test_points_that_are_none_are_refused_in_words(review, ids, points):
    with pytest.raises(ForgetmeError, match="click"):
        review.click(ids[0], points)


def test_the_real_segmenter_answers_clicks_through_review(review, ids, models):
    real = replace(review, models=models)
    row = real.click(ids[0], [[60, 60, 1], [2, 2, 0]])
    assert real.mask(row).any()


def test_grow_and_shrink_move_the_edge_and_keep_the_points(review, ids, cat):
    mask, middle = cat
    review.click(ids[0], [[*middle, 1]])
    row = review.grow(ids[0], 3)
    assert np.array_equal(review.mask(row), masks.dilate(mask, 3))
    row = review.grow(ids[0], -5)
    assert np.array_equal(review.mask(row), masks.erode(masks.dilate(mask, 3), 5))
    assert review.points(row) == [[*middle, 1]]


def test_growing_over_everything_or_shrinking_to_nothing_is_refused(review, ids):
    row = review.prepare(ids[0])
    with pytest.raises(ForgetmeError, match="whole image"):
        review.grow(ids[0], 500)
    with pytest.raises(ForgetmeError, match="empty"):
        review.grow(ids[0], -500)
    assert review.store.sample(ids[0]).version == row.version


def test_fill_holes_closes_what_the_mask_encloses(review, ids):
    ring = np.zeros((128, 128), bool)
    ring[20:80, 20:80] = True
    ring[40:60, 40:60] = False
    row = review.store.sample(ids[0])
    review.store.append(
        row.id, "mask_edited", {"mask_sha": review.store.put_image(ring)}, by="ann",
        expected_version=row.version,
    )  # fmt: skip
    assert review.mask(review.fill_holes(ids[0])).sum() == 60 * 60


def test_undo_and_redo_walk_the_masks_and_bring_back_cards_and_points(review, ids, cat):
    mask, middle = cat
    start = review.prepare(ids[0])
    assert review.can_undo_mask(start) == (False, False)
    review.choose(ids[0], 1)
    review.click(ids[0], [[*middle, 1]])
    grown = review.grow(ids[0], 4)
    row = review.undo_mask(ids[0])
    assert np.array_equal(review.mask(row), mask)
    assert review.points(row) == [[*middle, 1]]
    row = review.undo_mask(ids[0])
    assert row.chosen == 1
    row = review.undo_mask(ids[0])
    assert row.chosen == 0
    assert review.can_undo_mask(row) == (False, True)
    with pytest.raises(ForgetmeError, match="no earlier mask"):
        review.undo_mask(ids[0])
    for _ in range(3):
        row = review.redo_mask(ids[0])
    assert row.mask_sha == grown.mask_sha
    with pytest.raises(ForgetmeError, match="no later mask"):
        review.redo_mask(ids[0])


def test_a_new_edit_after_an_undo_drops_what_was_undone(review, ids, cat):
    review.prepare(ids[0])
    review.click(ids[0], [[*cat[1], 1]])
    review.undo_mask(ids[0])
    row = review.grow(ids[0], 2)
    assert review.can_undo_mask(row) == (True, False)
    assert review.undo_mask(ids[0]).chosen == 0


def test_undo_back_to_no_mask_waits_for_the_human_again(review, ids, truth, cat):
    truth.truth.says = False
    review.prepare(ids[0])
    review.click(ids[0], [[*cat[1], 1]])
    row = review.undo_mask(ids[0])
    assert (row.state, row.mask_sha) == ("waiting", None)


def test_fills_and_comments_are_no_steps_of_the_mask(review, ids):
    review.prepare(ids[0])
    review.fill(ids[0])
    review.pick_try(ids[0], 0)
    row = review.comment(ids[0], "fine")
    assert review.can_undo_mask(row) == (False, False)


def test_clear_mask_goes_back_to_the_last_card_or_to_nothing(review, ids, truth, cat):
    review.prepare(ids[0])
    review.choose(ids[0], 1)
    review.click(ids[0], [[*cat[1], 1]])
    review.grow(ids[0], 2)
    row = review.clear_mask(ids[0])
    assert row.chosen == 1
    assert review.points(row) == []
    truth.truth.says = False
    review.prepare(ids[1])
    ys, xs = np.nonzero(truth.truth.mask(review.store.get_image(row.image_sha)))
    other = truth.truth.mask(review.store.get_image(review.store.sample(ids[1]).image_sha))
    ys, xs = np.nonzero(other)
    review.click(ids[1], [[float(xs[0]), float(ys[0]), 1]])
    assert review.clear_mask(ids[1]).mask_sha is None


def test_outline_is_in_pixels_of_the_original(review, ids, cat):
    row = review.click(ids[0], [[*cat[1], 1]])
    polygon = max(review.outline(row), key=len)
    x, y, w, h = masks.box_xywh(cat[0])
    assert all(x <= px < x + w and y <= py < y + h for px, py in polygon)
    assert review.outline(review.store.sample(ids[1])) == []


# ---------------------------------------------------------------- the verifier


def test_asking_the_verifier_writes_its_answer_on_the_card(review, ids):
    review.prepare(ids[0])
    row = review.ask_verifier(ids[0], 2)
    assert row.proposals[2]["verdict"]["yes"] is False
    assert row.proposals[1]["verdict"] is None
    assert row.proposals[0]["verdict"]["yes"] is True


def test_asking_about_another_card_keeps_the_mask_and_its_tries(review, ids):
    before = review.prepare(ids[0])
    row = review.ask_verifier(ids[0], 2)
    assert (row.mask_sha, row.chosen, row.tries, row.picked_try) == (
        before.mask_sha,
        before.chosen,
        before.tries,
        before.picked_try,
    )
    assert review.can_undo_mask(row) == (False, False)


def test_asking_keeps_a_mask_edited_by_hand(review, ids, cat):
    review.prepare(ids[0])
    before = review.click(ids[0], [[*cat[1], 1]])
    row = review.ask_verifier(ids[0], 2)
    assert (row.mask_sha, row.chosen) == (before.mask_sha, None)
    assert review.points(row) == [[*cat[1], 1]]


def test_a_no_to_every_question_ends_the_note_that_there_was_no_answer(review, ids, truth):
    truth.truth.silent = True
    row = review.prepare(ids[0])
    truth.truth.silent, truth.truth.says = False, False
    for index in range(len(row.proposals)):
        assert "did not answer" in review.note(row)
        row = review.ask_verifier(ids[0], index)
    assert "No mask was confirmed" in review.note(row)


def test_a_yes_is_chosen_where_there_was_no_mask(review, ids, truth):
    truth.truth.silent = True
    row = review.prepare(ids[0])
    assert row.state == "waiting"
    assert "no answer in 20 s" in review.note(row)
    with pytest.raises(VerifierError, match="Ask again"):
        review.ask_verifier(ids[0], 0)
    truth.truth.silent = False
    row = review.ask_verifier(ids[0], 0)
    assert (row.state, row.chosen) == ("prepared", 0)
    assert review.note(row) == ""
    assert review.can_undo_mask(row) == (True, False)


# ---------------------------------------------------------------- decisions


def test_accept_needs_a_mask_and_a_fill_of_that_mask(review, ids, truth, cat):
    truth.truth.says = False
    review.prepare(ids[0])
    with pytest.raises(ForgetmeError, match="no mask yet"):
        review.accept(ids[0])
    review.click(ids[0], [[*cat[1], 1]])
    with pytest.raises(ForgetmeError, match="not filled"):
        review.accept(ids[0])
    review.fill(ids[0])
    row = review.accept(ids[0])
    assert (row.state, row.decided_by, row.decided_how) == ("accepted", "ann", "human")


def test_accept_after_the_mask_changed_needs_a_new_fill(review, ids):
    review.prepare(ids[0])
    review.grow(ids[0], 2)
    with pytest.raises(ForgetmeError, match="not filled"):
        review.accept(ids[0])


def test_a_broken_image_can_only_be_rejected(review):
    row = review.store.import_broken(name="bad", concept="cat", by="ann", error="0 bytes")
    for act in (review.accept, lambda one: review.click(one, [[1, 1, 1]])):
        with pytest.raises(ForgetmeError, match="cannot be read"):
            act(row.id)
    assert review.reject(row.id).state == "rejected"


def test_a_double_press_decides_once(review, ids):
    review.prepare(ids[0])
    first = review.accept(ids[0])
    assert review.accept(ids[0]).version == first.version


@pytest.mark.parametrize("act", ["reject", "flag"])
def test_another_reason_for_the_same_decision_is_in_the_log(review, ids, act):
    decide = getattr(review, act)
    decide(ids[0])
    decide(ids[0], "no cat in it")
    last = decide(ids[0], "the cat is a drawing")
    again = [decide(ids[0], " the cat is a drawing "), decide(ids[0])]  # nothing new
    assert [row.version for row in again] == [last.version] * 2
    reasons = [event.payload.get("reason") for event in review.store.events(ids[0])[-3:]]
    assert reasons == [None, "no cat in it", "the cat is a drawing"]
    assert review.undo().version == last.version + 1
    assert review.store.sample(ids[0]).decided_by == "ann"  # the decision before stands again


@pytest.mark.parametrize(
    ("act", "state"), [("reject", "rejected"), ("skip", "skipped"), ("flag", "flagged")]
)
def test_decisions_record_who_made_them_and_can_be_undone(review, ids, act, state):
    before = review.prepare(ids[0])
    row = getattr(review, act)(ids[0])
    assert (row.state, row.decided_by) == (state, "ann")
    undone = review.undo()
    assert (undone.id, undone.state) == (ids[0], before.state)
    assert review.undo() is None


def test_undo_takes_back_only_ones_own_decision(review, ids):
    review.reject(ids[0])
    bob = replace(review, by="bob")
    assert bob.undo() is None
    assert review.store.sample(ids[0]).state == "rejected"
    assert bob.undo(ids[0]).state == "new"


def test_reasons_and_comments_are_kept(review, ids):
    review.reject(ids[0], reason="  two cats ")
    assert review.store.events(ids[0])[-1].payload["reason"] == "two cats"
    assert review.comment(ids[0], " look again ").comment == "look again"


def test_pick_try_picks_an_earlier_fill(review, ids):
    review.prepare(ids[0])
    review.refine(ids[0], FillSettings(prompt="sand"))
    row = review.pick_try(ids[0], 0)
    assert row.picked_try == 0
    with pytest.raises(ForgetmeError, match="there are 2"):
        review.pick_try(ids[0], 2)


@pytest.mark.parametrize(
    "act",
    [
        lambda review, one, seen: review.choose(one, 1, seen=seen),
        lambda review, one, seen: review.accept(one, seen=seen),
        lambda review, one, seen: review.reject(one, seen=seen),
        lambda review, one, seen: review.grow(one, 2, seen=seen),
        lambda review, one, seen: review.fill(one, seen=seen),
        lambda review, one, seen: review.comment(one, "x", seen=seen),
    ],
)
def test_an_act_on_a_version_that_is_past_is_refused_with_both(review, ids, act):
    seen = review.prepare(ids[0]).version
    now = replace(review, by="bob").choose(ids[0], 1)
    with pytest.raises(StaleVersionError) as caught:
        act(review, ids[0], seen)
    assert caught.value.mine == seen
    assert caught.value.theirs.version == now.version
    assert review.store.sample(ids[0]) == now


# ---------------------------------------------------------------- pictures


def decode(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_pictures_are_exact(review, ids):
    row = review.prepare(ids[0])
    layers = review.layers(row)
    assert np.array_equal(decode(review.picture(row, "original")), layers.original)
    assert np.array_equal(decode(review.picture(row, "foreground")), layers.foreground)
    assert np.array_equal(decode(review.picture(row, "background")), layers.background)
    assert np.array_equal(decode(review.picture(row, "mask")) > 0, layers.mask)
    merged = decode(review.picture(row, "merged")).astype(int)
    assert np.abs(merged - layers.original)[masks.erode(layers.mask, 3)].max() == 0


def test_a_thumbnail_keeps_the_proportions_and_a_card_shows_its_mask(review, ids):
    row = review.prepare(ids[0])
    assert decode(review.picture(row, "original", side=32)).shape == (32, 32, 3)
    card = decode(review.picture(row, "proposal", index=0))
    box = row.proposals[0]["box_xywh"]
    assert card.shape[0] >= box[3]
    assert card.shape[0] < 128 or card.shape[1] < 128
    other = decode(review.picture(row, "background", index=0))
    assert np.array_equal(other, review.layers(row).background)


def test_a_picture_that_is_not_there_yet_says_so(review, ids):
    row = review.store.sample(ids[0])
    for what in ("mask", "foreground", "background", "merged"):
        with pytest.raises(ForgetmeError, match=f"no {what} yet"):
            review.picture(row, what)
    with pytest.raises(ValueError, match="known"):
        review.picture(row, "frame")


# ---------------------------------------------------------------- the worker


@pytest.fixture
def worker(review):
    worker = Worker(review, ahead=0).start()
    yield worker
    assert worker.stop(timeout=60)


def test_the_worker_prepares_ahead_of_the_curator_and_no_further(review, ids):
    worker = Worker(review, ahead=2).start()
    assert worker.wait(60)
    assert [row.state for row in review.store.samples()] == ["prepared", "prepared", "new", "new"]
    assert review.store.events(ids[0])[-1].by == "machine"
    review.accept(ids[0])
    worker.focus("cat")
    assert worker.wait(60)
    assert [row.state for row in review.store.samples()] == [
        "accepted",
        "prepared",
        "prepared",
        "new",
    ]
    assert worker.stop(timeout=60)


def test_the_worker_prepares_the_concept_in_focus(review, drawn):
    image = read_image(min((drawn / "original").iterdir()))
    review.store.import_image(image, name="other", concept="dog", by="ann")  # the last in line
    worker = Worker(review, ahead=1)
    worker.focus("dog")
    worker.start()
    assert worker.wait(60)
    assert review.store.counts("dog")["prepared"] == 1
    assert review.store.counts("cat")["new"] == 4
    assert worker.stop(timeout=60)


def test_jobs_end_as_events_of_who_asked(review, ids, worker):
    worker.submit("prepare", ids[0], by="bob")
    assert worker.wait(60)
    worker.submit("refine", ids[0], by="eve", fill_settings=FillSettings(prompt="sand"))
    assert worker.wait(60)
    assert [event.by for event in review.store.events(ids[0])] == ["ann", "bob", "bob", "eve"]
    status = worker.status()
    assert (status.running, status.queued, status.errors, status.done) == (None, (), {}, 2)


def test_an_error_is_kept_in_words_and_the_worker_goes_on(review, ids, worker, truth):
    def fails(*_):
        raise RuntimeError("out of memory")

    mask, truth.truth.mask = truth.truth.mask, fails
    worker.submit("prepare", ids[0], by="ann")
    worker.submit("fill", ids[1], by="ann")
    assert worker.wait(60)
    errors = worker.status().errors
    assert "out of memory" in errors[ids[0]].words
    assert "Try again" in errors[ids[0]].words
    assert "Click the cat" in errors[ids[1]].words
    assert "Traceback" not in errors[ids[0]].words
    truth.truth.mask = mask
    worker.submit("prepare", ids[0], by="ann")
    assert worker.wait(60)
    assert ids[0] not in worker.status().errors
    assert review.store.sample(ids[0]).state == "prepared"


def test_a_sample_that_failed_is_not_prepared_over_and_over(review, ids, truth):
    truth.truth.mask = None  # not callable: fails
    worker = Worker(review, ahead=9).start()
    assert worker.wait(60)
    assert truth.truth.calls == len(ids)
    assert set(worker.status().errors) == set(ids)
    assert worker.stop(timeout=60)


def test_urgent_jobs_go_first_and_a_repeated_one_runs_once(review, ids, truth):
    gate = threading.Event()
    order = []
    mask = truth.truth.mask

    def slow(image):
        assert gate.wait(60)
        order.append(review.store.samples()[len(order)].id)
        return mask(image)

    truth.truth.mask = slow
    worker = Worker(review, ahead=0).start()
    worker.submit("prepare", ids[0], by="ann")
    while worker.status().running is None:
        pass
    worker.submit("prepare", ids[1], by="ann", urgent=False)
    worker.submit("prepare", ids[2], by="ann", urgent=False)
    worker.submit("prepare", ids[2], by="ann")
    worker.submit("prepare", ids[3], by="ann")
    status = worker.status()
    assert status.running.sample_id == ids[0]
    assert [job.sample_id for job in status.queued] == [ids[2], ids[3], ids[1]]
    assert (worker.busy(ids[0]), worker.busy(ids[1]), worker.busy("x")) == (
        "prepare",
        "prepare",
        None,
    )
    gate.set()
    assert worker.wait(60)
    assert worker.status().done == 4
    assert worker.stop(timeout=60)


def test_people_take_turns_so_that_no_batch_holds_up_anothers_click(review, ids):
    worker = Worker(review, ahead=0)  # not started: what waits, waits
    for number, by in enumerate(["ann", "ann", "ann", "bob"]):
        worker.submit("prepare", ids[number], by=by)
    worker.submit("fill", ids[0], by="eve", urgent=False)
    assert [job.by for job in worker.status().queued] == ["ann", "bob", "ann", "ann", "eve"]
    worker.start()
    assert worker.wait(60)
    events = [event.by for event in review.store.events() if event.kind == "proposed"]
    assert events == ["ann", "bob", "ann", "ann"]
    assert worker.stop(timeout=60)


def test_stop_finishes_the_running_job_and_drops_the_rest(review, ids, truth):
    gate, mask = threading.Event(), truth.truth.mask
    truth.truth.mask = lambda image: gate.wait(60) and mask(image)
    worker = Worker(review, ahead=9).start()
    while worker.status().running is None:
        pass
    worker.submit("prepare", ids[3], by="ann")
    assert not worker.stop(timeout=0.01)
    gate.set()
    assert worker.stop(timeout=60)
    states = [row.state for row in review.store.samples()]
    assert states.count("prepared") == 1
    with pytest.raises(ForgetmeError, match="stopping"):
        worker.submit("fill", ids[0], by="ann")


def test_a_human_who_was_quicker_is_no_error(review, ids, worker, truth):
    mask = truth.truth.mask

    def meanwhile(image):
        truth.truth.mask = mask
        review.reject(ids[0])
        return mask(image)

    truth.truth.mask = meanwhile
    worker.submit("prepare", ids[0], by="machine")
    assert worker.wait(60)
    assert worker.status().errors == {}
    assert review.store.sample(ids[0]).state == "rejected"


def test_unknown_jobs_are_refused(worker, ids):
    with pytest.raises(ValueError, match="known: prepare"):
        worker.submit("accept", ids[0], by="ann")
