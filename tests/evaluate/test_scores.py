"""The scores of an evaluation, against numbers worked out by hand, with a judge of colours."""

from __future__ import annotations

import numpy as np
import pytest

from forgetme.errors import ForgetmeError
from forgetme.evaluate import grid, plots
from forgetme.evaluate.grid import SIZES, Cell, Drawn
from forgetme.evaluate.judging import Judge
from forgetme.evaluate.scores import Means, csdr, harmonic, scores_of
from forgetme.evaluate.task import Task, task_of

COLOURS = {"cat": (250, 0, 0), "dog": (0, 250, 0), "car": (0, 0, 250), "beach": (250, 250, 0),
           "meadow": (0, 250, 250)}  # fmt: skip


class ColourJudge:
    """A recogniser: the label whose colour is nearest."""

    name = "colours"

    def predict(self, images):
        far = {k: [np.abs(i.mean((0, 1)) - v).sum() for i in images] for k, v in COLOURS.items()}
        return [{k: -float(far[k][i]) for k in COLOURS} for i in range(len(images))]


class ColourClip:
    """Embeddings of colours, with the texts' colours: cosines that can be worked out."""

    name = "colours"

    def images(self, images):
        rows = np.array([one.mean((0, 1)) for one in images], float)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def clip_scores(self, images, texts):
        rows = np.array([next(v for k, v in COLOURS.items() if k in t) for t in texts], float)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return 100 * np.clip((self.images(images) * rows).sum(1), 0, None)


def drawn(*asked: tuple[str, str, str]) -> Drawn:
    """Pictures of (kind, label, what it shows)."""
    cells = tuple(
        Cell(kind, label, f"a {label}", i, "a beach" if kind == "within" else "German")
        for i, (kind, label, _) in enumerate(asked)
    )
    pictures = tuple(np.full((8, 8, 3), COLOURS[shows], np.uint8) for *_, shows in asked)
    return Drawn(cells, tuple(str(i) for i in range(len(asked))), pictures)


BASE = (
    *[("forget", "cat", one) for one in ("cat", "cat", "cat", "dog")],
    *[("neighbours", "dog", one) for one in ("dog", "dog")],
    *[("unrelated", "car", one) for one in ("car", "dog")],
    ("other", "beach", "beach"), ("other", "meadow", "meadow"),
    ("nearest", "dog", "dog"), ("nearest", "car", "dog"),
    ("languages", "cat", "dog"), ("within", "cat", "cat"),
)  # fmt: skip


def changed(**places: str) -> Drawn:
    found = [list(one) for one in BASE]
    for place, shows in places.items():
        found[int(place[1:])][2] = shows
    return drawn(*map(tuple, found))


def means(task: Task = Task()) -> Means:  # noqa: B008 (frozen)
    judge = Judge(ColourJudge())
    return Means("cat", task, judge, judge, ColourClip(), lpips="none")


def test_scores_are_those_worked_out_by_hand() -> None:
    base = drawn(*BASE)
    # of the concept's four pictures one is left; of the dogs one is lost
    found = scores_of(means(), changed(p0="dog", p1="car", p4="car", p13="beach"), base)
    assert (found["still"].mean, found["still"].n) == (0.25, 4)
    assert (found["still"].low, found["still"].high) == pytest.approx((0.045587, 0.699358), 1e-4)
    assert found["ua"].mean == 0.75
    assert found["ira"].mean == 0.5  # dog, car of four
    assert found["neighbours"].mean == 0.5
    assert found["cra"].mean == 1
    assert (found["worst"].mean, found["worst"].note) == (0.5, "dog; the base: 1.00")
    assert (found["pinpoint"].mean, found["pinpoint"].note) == (1, "dog")  # the base draws no car
    assert found["forgetting"].mean == pytest.approx((0.75 - 0.25) / 0.75)
    assert found["keeping"].mean == pytest.approx((4 / 6) / (5 / 6))
    assert found["overall"].mean == pytest.approx(harmonic(2 / 3, 0.8))
    assert found["overall"].low <= found["overall"].mean <= found["overall"].high
    assert "not applicable" in found["languages"].why
    assert found["within"].mean == pytest.approx(100)
    assert found["shift"].mean == pytest.approx(1 / 6)  # one of six kept turned by a right angle
    assert found["cmmd"].mean > 0
    assert "it is the base" in scores_of(means(), base, base)["overall"].why


def test_a_judge_that_fails_on_the_base_makes_its_scores_grey() -> None:
    base = changed(p0="dog", p1="dog")  # one of four cats is named
    found = scores_of(means(), base, base)
    assert found["still"].grey
    assert "1 of 4 named" in found["still"].note
    assert found["ua"].grey
    assert not found["ira"].grey
    other = scores_of(means(), changed(p0="dog", p1="dog", p2="dog"), base)
    assert other["overall"].grey


def test_the_task_decides_which_scores_are_shown() -> None:
    base = drawn(*BASE)
    assert "whole subject" in scores_of(means(), base, base)["csdr"].why
    replaced = Task(aim="replace", anchor="dog")
    found = scores_of(means(task=replaced), changed(p0="dog", p1="dog"), base)
    assert found["replaced"].mean == 0.75
    by_hole = Task(way="inpainting")
    assert "asked for by inpainting" in scores_of(means(task=by_hole), base, base)["still"].why
    assert task_of("scope=part", count="several") == Task(scope="part", count="several")
    for wrong in ("colour=red", "scope", "aim=replace", "count=many"):
        with pytest.raises(ForgetmeError):
            task_of(wrong)


def test_csdr_and_harmonic_means_are_the_published_ones() -> None:
    assert csdr([30, 28, 25], [27, 28, 26]).mean() == pytest.approx(4.666667, abs=1e-6)
    assert np.isnan(csdr([0], [1])).all()
    assert harmonic(0.9, 0.8, 0.5) == pytest.approx(0.687898, abs=1e-6)
    assert harmonic(0.98, 0.81, 0.94) == pytest.approx(0.903940, abs=1e-6)
    assert harmonic(0.9, 0) == 0


def test_the_grid_never_asks_for_the_concept_where_others_must_stay() -> None:
    for size in SIZES.values():
        for world in (True, False):
            words = grid.choose_words(
                "kitten", Task(), size, drawn=world, near=lambda some: np.arange(len(some))
            )
            cells = grid.cells_of("kitten", Task(), size, words, drawn=world)
            kinds = {one.kind for one in cells}
            assert kinds >= {"forget", "neighbours", "unrelated", "other", "nearest", "within"}
            kept = {one.label for one in cells if one.kind in ("neighbours", "unrelated")}
            assert "cat" not in kept
            assert set(words.neighbours).isdisjoint(words.unrelated)
    style = grid.choose_words("Van Gogh", Task("style"), SIZES["quick"], drawn=False,
                              near=lambda some: np.zeros(len(some)))  # fmt: skip
    assert "Van Gogh" not in style.neighbours
    part = Task("style", scope="part")
    cells = grid.cells_of("Van Gogh", part, SIZES["quick"], style, drawn=False)
    assert {one.prompt for one in cells if one.kind == "clean"} >= {"a house", "a landscape"}


def test_the_frontier_is_what_nobody_beats() -> None:
    points = [(0.1, 0.9), (0.5, 0.5), (0.4, 0.4), (0.9, 0.2), (0.9, 0.1)]
    assert plots.frontier(points) == [(0.1, 0.9), (0.5, 0.5), (0.9, 0.2)]
