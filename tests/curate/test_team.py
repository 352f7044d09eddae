"""Second opinions and how far they agree, reviews, who did what, and two people at one sample."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_store import accept, add, filled, prepare, proposal, proposed, square, step

from forgetme.curate import team
from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError, StaleVersionError
from forgetme.stages.models import Models
from forgetme.store import SampleRow, Store

WORDS = ("accepted", "rejected", "flagged")


def review(store: Store, by: str) -> Review:
    return Review(store, Models, by=by)  # no act here asks a model


def copies(store: Store, seed: int, *said: tuple[str, str], tops: tuple[int, ...] = ()) -> None:
    """Adds an image and its twins, each decided by somebody: (who, what)."""
    first = add(store, seed)
    image = store.get_image(first.image_sha)
    about = {"name": "copy", "concept": "cat", "by": "lea", "twin_of": first.id}
    rows = [first, *(store.import_image(image, **about) for _ in said[1:])]
    for index, (row, (by, kind)) in enumerate(zip(rows, said, strict=True)):
        row = step(store, row, "proposed", proposed(), by="policy")
        if tops:
            sha = store.put_image(square(tops[index]))
            row = step(store, row, "mask_edited", {"mask_sha": sha, "how": "brush"}, by=by)
        row = step(store, row, "filled", filled(store, row), by="policy")
        step(store, row, kind, {"how": "human"} if kind == "accepted" else {}, by=by)


# ------------------------------ agreement: against references written in another way


def cohen_by_table(pairs: list[tuple[str, str]]) -> float:
    """From the table of counts: (p_o - p_e) / (1 - p_e)."""
    table = np.zeros((len(WORDS), len(WORDS)))
    for a, b in pairs:
        table[WORDS.index(a), WORDS.index(b)] += 1
    table /= table.sum()
    chance = table.sum(axis=1) @ table.sum(axis=0)
    return (np.trace(table) - chance) / (1 - chance)


def fleiss_by_pairs(ratings: list[list[str]]) -> float:
    """From all ordered pairs of opinions on an image, counted one by one."""
    agree = np.mean([np.mean([a == b for a, b in permutations(one, 2)]) for one in ratings])
    everything = [word for one in ratings for word in one]
    chance = sum((everything.count(word) / len(everything)) ** 2 for word in WORDS)
    return (agree - chance) / (1 - chance)


WORD = st.sampled_from(WORDS)


@given(st.lists(st.tuples(WORD, WORD), min_size=1, max_size=40))
def test_cohen_kappa_is_that_of_the_table(pairs):
    found = team.cohen_kappa(pairs)
    if len({word for pair in pairs for word in pair}) == 1:
        assert found is None
    else:
        assert found == pytest.approx(cohen_by_table(pairs))


@given(st.lists(st.lists(WORD, min_size=2, max_size=5), min_size=1, max_size=20))
def test_fleiss_kappa_is_that_of_all_pairs(ratings):
    found = team.fleiss_kappa([*ratings, ["accepted"]])  # one opinion tells nothing
    if len({word for one in ratings for word in one}) == 1:
        assert found is None
    else:
        assert found == pytest.approx(fleiss_by_pairs(ratings))


def test_cohen_kappa_of_a_published_example():
    # Two readers of 50 grant proposals: 20 both yes, 15 both no, 5 and 10 differ.
    pairs = [("y", "y")] * 20 + [("n", "n")] * 15 + [("y", "n")] * 5 + [("n", "y")] * 10
    assert team.cohen_kappa(pairs) == pytest.approx(0.4)


def test_fleiss_kappa_of_a_published_example():
    # Fleiss (1971) as worked out in textbooks: 10 subjects, 14 raters, 5 categories.
    table = """0 0 0 0 14 / 0 2 6 4 2 / 0 0 3 5 6 / 0 3 9 2 0 / 2 2 8 1 1
               / 7 7 0 0 0 / 3 2 6 3 0 / 2 5 3 2 2 / 6 5 2 1 0 / 0 2 2 3 7"""
    ratings = [
        [word for word, count in zip("abcde", row.split(), strict=True) for _ in range(int(count))]
        for row in table.split("/")
    ]
    assert team.fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)


def test_agreement_compares_decisions_and_masks(store):
    copies(store, 1, ("ann", "accepted"), ("ben", "accepted"), tops=(4, 7))
    copies(store, 2, ("ann", "accepted"), ("ben", "rejected"))
    copies(store, 3, ("ann", "rejected"), ("ben", "rejected"))
    copies(store, 4, ("ann", "skipped"), ("ben", "rejected"))
    found = team.agreement(store)
    assert (found.copied, found.compared) == (4, 3), "skipping is no opinion"
    (pair,) = found.pairs
    said = [("accepted", "accepted"), ("accepted", "rejected"), ("rejected", "rejected")]
    assert (pair.first, pair.second, pair.images, pair.same) == ("ann", "ben", 3, 2)
    assert pair.kappa == pytest.approx(cohen_by_table(said))
    assert found.kappa == pytest.approx(fleiss_by_pairs([list(one) for one in said]))
    assert pair.mask_iou == found.mask_iou == pytest.approx(3 / 9)  # 6 rows each, 3 in common
    (disputed,) = found.disputed
    assert {row.state for row in disputed} == {"accepted", "rejected"}


def test_agreement_leaves_the_policy_out(store):
    copies(store, 1, ("ann", "accepted"), ("ben", "rejected"))
    row = add(store, 2)
    twin = store.import_image(
        store.get_image(row.image_sha), name="copy", concept="cat", by="lea", twin_of=row.id
    )
    accept(store, row, how="policy", by="policy")
    step(store, twin, "rejected", {}, by="ann")
    assert team.agreement(store).compared == 1


# ------------------------------ second opinions


def test_overlap_copies_a_share_once_and_for_good(store):
    rows = [add(store, seed) for seed in range(60)]
    first = team.overlap(store, share=0.3, copies=2, by="lea")
    assert 6 <= first.images == first.added <= 32, "about 18 of 60"
    chosen = {group[0].id for group in store.queries.copies()}
    assert team.overlap(store, share=0.3, copies=2, by="lea").added == 0
    assert team.overlap(store, share=0.3, copies=3, by="lea").added == first.images
    team.overlap(store, share=0.6, copies=2, by="lea")
    assert chosen < {group[0].id for group in store.queries.copies()}, "a larger share keeps them"
    assert {len(group) for group in store.queries.copies()} == {2, 3}
    assert {row.id for row in rows} > chosen


def test_overlap_starts_with_the_machine_s_answer_and_not_with_a_person_s(store):
    row = step(store, add(store, 1), "proposed", proposed(3, chosen=1), by="policy")
    row = step(store, row, "chosen", {"index": 2}, by="ann")
    row = step(store, row, "filled", filled(store, row), by="policy")
    step(store, row, "accepted", {"how": "human"}, by="ann")
    team.overlap(store, share=1, copies=2, by="lea")
    ((_, twin),) = store.queries.copies()
    twin = store.sample(twin.id)
    assert (twin.state, twin.chosen, twin.decided_by, twin.tries) == ("prepared", 1, None, [])
    assert twin.proposals == [proposal(4 + index) for index in range(3)]
    assert twin.image_sha == row.image_sha


@pytest.mark.parametrize(("share", "many"), [(0, 2), (1.1, 2), (0.5, 1), (0.5, 6)])
def test_overlap_out_of_range_is_refused(store, share, many):
    with pytest.raises(ForgetmeError, match="at most 1, and copies 2 to 5"):
        team.overlap(store, share=share, copies=many, by="lea")


# ------------------------------ reviews and who did what


def test_review_approves_or_returns_with_a_word_why(store):
    good, bad = accept(store, add(store, 1)), accept(store, add(store, 2))
    assert [row.id for row in store.queries.to_review()[0]] == [good.id, bad.id]
    done = team.approve(review(store, "lea"), good.id, seen=good.version)
    assert (done.reviewed, done.reviewed_by, done.state) == ("approved", "lea", "accepted")
    with pytest.raises(ForgetmeError, match="few words"):
        team.give_back(review(store, "lea"), bad.id, "  ", seen=bad.version)
    back = team.give_back(review(store, "lea"), bad.id, "the tail", seen=bad.version)
    assert (back.state, back.decided_by, back.comment) == ("prepared", None, "the tail")
    assert store.queries.to_review() == ([], 0)


def test_review_of_what_changed_meanwhile_is_refused(store):
    row = accept(store, add(store, 1))
    step(store, row, "commented", {"text": "wait"})
    with pytest.raises(StaleVersionError):
        team.approve(review(store, "lea"), row.id, seen=row.version)


def test_shares_tell_who_did_what(store):
    first = accept(store, add(store, 1), by="ann")
    accept(store, add(store, 2), by="ben")
    step(store, add(store, 3), "rejected", {}, by="ben")
    accept(store, add(store, 4), how="policy", by="policy")
    copies(store, 5, ("ann", "flagged"), ("ben", "flagged"))
    team.give_back(review(store, "lea"), first.id, "look again", seen=first.version)
    ann, ben = team.shares(store, team.agreement(store))
    assert (ann.by, ann.accepted, ann.flagged, ann.returned) == ("ann", 0, 1, 1)
    assert (ben.by, ben.accepted, ben.rejected, ben.flagged) == ("ben", 1, 1, 1)
    assert (ann.low_percent, ben.low_percent) == (None, 0.0)
    assert ann.same_percent == ben.same_percent == 100
    assert ben.per_minute > 0
    assert ben.last == store.events()[-2].at


def test_pace_leaves_pauses_out():
    assert team.pace([0, 10, 20, 4000, 4010]) == 6.0
    assert team.pace([0, 4000]) is None
    assert team.pace([7]) is None


def test_comments_come_newest_first_with_the_sample_s_name(store):
    row = accept(store, add(store, 1, name="beach"))
    row = step(store, row, "commented", {"text": "nice"}, by="ben")
    team.give_back(review(store, "lea"), row.id, "the tail", seen=row.version)
    found = [(event.by, event.payload["text"], name) for event, name, _ in store.queries.comments()]
    assert found == [("lea", "the tail", "beach"), ("ben", "nice", "beach")]


# ------------------------------ two people at one sample


def both(store: Store) -> tuple[SampleRow, SampleRow]:
    """What ann saw, and what is there after ben drew another mask, filled and rejected it."""
    seen = prepare(store, add(store, 1))
    sha = store.put_image(square(9))
    row = step(store, seen, "mask_edited", {"mask_sha": sha, "how": "brush"}, by="ben")
    row = step(store, row, "filled", filled(store, row, seed=3), by="policy")
    return seen, step(store, row, "rejected", {"reason": "blurred"}, by="ben")


def test_keeping_mine_brings_my_mask_and_background_back(store):
    seen, theirs = both(store)
    kept = team.keep_mine(review(store, "ann"), seen.id, seen.version, seen=theirs.version)
    assert np.array_equal(store.get_mask(kept.mask_sha), store.get_mask(seen.mask_sha))
    assert kept.tries[kept.picked_try]["image_sha"] == seen.tries[0]["image_sha"]
    assert (kept.score_d, kept.state, kept.decided_by) == (seen.score_d, "prepared", None)
    done = store.append(
        kept.id, "accepted", {"how": "human"}, by="ann", expected_version=kept.version
    )
    assert done.state == "accepted"


def test_keeping_mine_overwrites_nothing_of_theirs(store):
    seen, theirs = both(store)
    before = store.events(seen.id)
    kept = team.keep_mine(review(store, "ann"), seen.id, seen.version, seen=theirs.version)
    assert store.events(seen.id)[: len(before)] == before
    back = team.keep_mine(review(store, "ben"), seen.id, theirs.version, seen=kept.version)
    assert back.mask_sha == theirs.mask_sha
    assert store.check() == []


def test_keeping_mine_picks_my_background_again_where_it_still_is(store):
    seen = prepare(store, add(store, 1))
    row = step(store, seen, "refined", filled(store, seen, seed=3), by="ben")
    row = step(store, row, "rejected", {}, by="ben")
    kept = team.keep_mine(review(store, "ann"), seen.id, seen.version, seen=row.version)
    assert (kept.state, kept.picked_try, len(kept.tries)) == ("prepared", 0, 2)
    assert kept.version == row.version + 1, "nothing is made twice"


def test_keeping_mine_after_one_more_change_is_refused(store):
    seen, theirs = both(store)
    step(store, theirs, "commented", {"text": "wait"}, by="ben")
    with pytest.raises(StaleVersionError):
        team.keep_mine(review(store, "ann"), seen.id, seen.version, seen=theirs.version)


def test_keeping_a_version_that_is_none_is_refused(store):
    _, theirs = both(store)
    for version in (0, theirs.version + 1):
        with pytest.raises(ForgetmeError, match="has the versions 1 to"):
            team.keep_mine(review(store, "ann"), theirs.id, version, seen=theirs.version)
    with pytest.raises(ForgetmeError, match="no mask"):
        team.keep_mine(review(store, "ann"), theirs.id, 1, seen=theirs.version)


def test_changes_tell_what_the_other_did(store):
    seen, theirs = both(store)
    found = [(one.by, one.words) for one in team.changes(store, seen.id, seen.version)]
    assert found == [
        ("ben", "changed the mask (brush)"),
        ("policy", "filled the hole"),
        ("ben", "rejected it: blurred"),
    ]
    assert team.row_at(store, seen.id, seen.version) == seen
