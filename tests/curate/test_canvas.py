"""Drawing on masks: strokes and polygons pixel by pixel, and what each act leaves in the store."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from forgetme.curate import mask_edits
from forgetme.curate.review import Review
from forgetme.errors import EmptyRegionError, ForgetmeError, StaleVersionError
from forgetme.record import masks
from forgetme.record.images import read_image
from forgetme.record.strokes import Stroke, fill_polygon, paint

places = st.tuples(
    st.floats(-8, 24, allow_nan=False, width=32), st.floats(-8, 24, allow_nan=False, width=32)
)
SHAPE = (14, 17)

# ------------------------------ the brush


def covered(points, radius: float, shape=SHAPE) -> np.ndarray:
    """A stroke by its definition: a line of pixels, then every pixel within the radius of one."""
    line = {(math.floor(x), math.floor(y)) for x, y in points[:1]}
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        start, end = (math.floor(x0), math.floor(y0)), (math.floor(x1), math.floor(y1))
        assert (
            start[0] == end[0]
            or start[1] == end[1]
            or (abs(start[0] - end[0]) == abs(start[1] - end[1]))
        )  # the lines whose pixels need no choice
        steps = max(abs(start[0] - end[0]), abs(start[1] - end[1]), 1)
        for k in range(steps + 1):
            line.add(tuple(s + round(k * (e - s) / steps) for s, e in zip(start, end, strict=True)))
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.any([(xx - x) ** 2 + (yy - y) ** 2 <= radius**2 for x, y in line], axis=0)


@given(places, st.sampled_from([(1, 0), (0, 1), (1, 1), (1, -1)]), st.integers(0, 12),
       st.integers(0, 12).map(lambda n: n / 2))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_stroke_covers_exactly_what_is_within_its_radius(start, step, length, radius):
    x, y = math.floor(start[0]) + 0.25, math.floor(start[1]) + 0.75
    points = ((x, y), (x + step[0] * length, y + step[1] * length))
    drawn = paint(np.zeros(SHAPE, bool), [Stroke("add", radius, points)])
    assert np.array_equal(drawn, covered(points, radius))


@given(st.lists(places, min_size=1, max_size=6), st.floats(0, 6, width=32))
@example([(0.0, 19.0), (-4.0, -2.0)], 1.0)  # cut at the picture's border
@settings(max_examples=200, deadline=None)
def test_a_stroke_is_never_a_pixel_off_the_way_of_the_brush(points, radius):
    drawn = paint(np.zeros(SHAPE, bool), [Stroke("add", radius, tuple(points))])
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    away = np.full(SHAPE, np.inf)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[-1]], strict=True):
        along = (x1 - x0, y1 - y0)
        square = along[0] ** 2 + along[1] ** 2 or 1.0
        t = np.clip(((xx - x0) * along[0] + (yy - y0) * along[1]) / square, 0, 1)
        away = np.minimum(away, np.hypot(xx - x0 - t * along[0], yy - y0 - t * along[1]))
    slack = math.sqrt(2)  # half a pixel each way: of a point, and of the line
    assert drawn[away <= radius - slack].all()
    assert not drawn[away > radius + slack].any()


def test_strokes_act_in_their_order_and_leave_the_mask_given_alone():
    mask = np.zeros((20, 30), bool)
    add = Stroke("add", 4, ((5, 5), (25, 5)))
    erase = Stroke("erase", 2, ((15, 5),))
    both, other = paint(mask, [add, erase]), paint(mask, [erase, add])
    assert not both[5, 15]
    assert other[5, 15]
    assert (
        both.sum() == paint(mask, [add]).sum() - paint(mask, [Stroke("add", 2, ((15, 5),))]).sum()
    )
    assert not mask.any()


def test_a_brush_beyond_the_border_reaches_in_as_far_as_its_radius():
    drawn = paint(np.zeros((10, 10), bool), [Stroke("add", 3, ((-2, 4.5),))])
    assert drawn.any(axis=0).tolist() == [True, True] + [False] * 8
    assert not paint(np.zeros((10, 10), bool), [Stroke("add", 3, ((900, 900),))]).any()


@pytest.mark.parametrize(
    "arguments",
    [
        ("paint", 2, ((1, 1),)),
        ("add", -1, ((1, 1),)),
        ("add", float("nan"), ((1, 1),)),
        ("add", 2, ()),
        ("add", 2, ((1, float("inf")),)),
        ("add", 2, ((1, 2, 3),)),
    ],
)
def test_impossible_strokes_are_refused(arguments):
    with pytest.raises(ValueError, match=r"mode|radius|points"):
        Stroke(*arguments)


# ------------------------------ the polygon


def winding(corners, x: float, y: float) -> int:
    """How often a polygon winds around a place: by the angles that its edges turn through."""
    total = 0.0
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        a, b = complex(x0 - x, y0 - y), complex(x1 - x, y1 - y)
        total += math.atan2((a.conjugate() * b).imag, (a.conjugate() * b).real)
    return round(total / (2 * math.pi))


corner = st.tuples(*[st.integers(-40, 80).map(lambda n: n / 4 + 0.1)] * 2)  # never on a centre


@given(st.lists(corner, min_size=3, max_size=7))
@settings(max_examples=150, deadline=None)
def test_a_polygon_holds_the_pixels_whose_centres_it_winds_around(corners):
    drawn = fill_polygon(np.zeros(SHAPE, bool), corners, "add")
    for y in range(SHAPE[0]):
        for x in range(SHAPE[1]):
            edge = min(distance_to_edge(corners, x + 0.5, y + 0.5))
            if edge > 1e-6:
                assert drawn[y, x] == (winding(corners, x + 0.5, y + 0.5) != 0)


def distance_to_edge(corners, x, y):
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        dx, dy = x1 - x0, y1 - y0
        t = min(1, max(0, ((x - x0) * dx + (y - y0) * dy) / ((dx * dx + dy * dy) or 1)))
        yield math.hypot(x - x0 - t * dx, y - y0 - t * dy)


def test_a_polygon_adds_or_cuts_and_neighbours_share_no_pixel():
    blank = np.zeros((10, 10), bool)
    left = fill_polygon(blank, [(1, 1), (5.5, 1), (5.5, 9), (1, 9)], "add")
    right = fill_polygon(blank, [(5.5, 1), (9, 1), (9, 9), (5.5, 9)], "add")
    assert not (left & right).any()
    assert (left | right).sum() == 8 * 8
    assert np.array_equal(
        fill_polygon(left | right, [(5.5, 0), (10, 0), (10, 10), (5.5, 10)], "erase"), left
    )


@pytest.mark.parametrize("points", [[], [(1, 1), (2, 2)], [(1, 1), (2, 2), (math.nan, 1)], "abc"])
def test_no_polygon_is_refused(points):
    with pytest.raises(ValueError, match="points must be"):
        fill_polygon(np.zeros((4, 4), bool), points, "add")


# ------------------------------ smoothing and outlines


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.7, 1.0, 2.0]))
@settings(max_examples=40, deadline=None)
def test_smooth_is_the_majority_of_a_gaussian(seed, sigma):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.random((40, 50)), 2) > 0.5
    if not mask.any():
        return
    reach = 4 * math.ceil(sigma)
    soft = ndimage.gaussian_filter(mask.astype(float), sigma, mode="nearest", radius=reach)
    clear = np.abs(soft - 0.5) > 1e-4
    assert np.array_equal(masks.smooth(mask, sigma)[clear], (soft > 0.5)[clear])


def test_smooth_drops_specks_and_teeth_and_keeps_straight_edges():
    mask = np.zeros((40, 40), bool)
    mask[:, 20:] = True
    teeth = mask.copy()
    teeth[10::7, 19] = True
    teeth[5, 5] = True
    assert np.array_equal(masks.smooth(teeth, 2), mask)
    assert not masks.smooth(np.zeros((5, 5), bool), 1).any()
    assert masks.smooth(np.ones((5, 5), bool), 1).all()
    with pytest.raises(ValueError, match="more than 0"):
        masks.smooth(mask, 0)


def test_a_coarser_outline_has_fewer_points_and_stays_near():
    yy, xx = np.mgrid[:400, :400]
    disc = (xx - 200) ** 2 + (yy - 200) ** 2 < 150**2
    fine, coarse = masks.outline(disc), masks.outline(disc, 0.75)
    assert len(coarse[0]) < len(fine[0]) / 3
    away = masks.distance_to(masks.dilate(disc, 0) & ~masks.erode(disc, 1))
    assert max(away[y, x] for x, y in coarse[0]) <= 1
    again = fill_polygon(np.zeros_like(disc), [(x + 0.5, y + 0.5) for x, y in coarse[0]], "add")
    assert masks.iou(again, disc) > 0.98


@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=200, deadline=None)
def test_the_outline_of_run_lengths_is_that_of_the_mask(mask):
    assert masks.rle_outline(masks.rle_encode(mask)) == masks.outline(mask)


# ------------------------------ acts


@pytest.fixture
def review(store, truth, drawn):
    for path in sorted((drawn / "original").iterdir()):
        store.import_image(
            read_image(path), name=path.stem, concept="cat", by="ann", source=str(path)
        )
    return Review(store, truth.models, by="ann")


@pytest.fixture
def sample(review):
    """A prepared sample's id, and its mask."""
    row = review.prepare(review.store.samples()[0].id)
    return row.id, review.mask(row)


def last(review, sample_id):
    event = review.store.events(sample_id)[-1]
    return event.kind, event.payload.get("how")


def test_painting_records_one_event_with_the_exact_mask_and_drops_the_tries(review, sample):
    sample_id, before = sample
    drawn = [Stroke("add", 3, ((4, 4), (20, 4)))]
    row = review.paint(sample_id, drawn)
    assert np.array_equal(review.mask(row), paint(before, drawn))
    assert (row.chosen, row.tries, review.points(row)) == (None, [], [])
    assert last(review, sample_id) == ("mask_edited", "brush")
    review.paint(sample_id, [Stroke("erase", 3, ((4, 4), (20, 4)))])
    assert last(review, sample_id) == ("mask_edited", "erase")


def test_painting_begins_a_mask_where_there_is_none_and_erasing_needs_one(review):
    row = review.store.samples()[0]
    with pytest.raises(ForgetmeError, match="no mask to erase"):
        review.paint(row.id, [Stroke("erase", 3, ((4, 4),))])
    after = review.paint(row.id, [Stroke("add", 3, ((40, 40),))])
    assert review.mask(after).sum() == 29  # a disc of radius 3


def test_what_changes_nothing_is_no_step(review, sample):
    sample_id, _ = sample
    version = review.store.sample(sample_id).version
    review.paint(sample_id, [Stroke("erase", 0, ((0, 0),))])  # not in the mask
    review.keep_largest(sample_id)
    review.keep_largest(sample_id)
    assert review.store.sample(sample_id).version <= version + 1


def test_erasing_all_leaves_no_mask_and_can_be_undone(review, sample):
    sample_id, before = sample
    row = review.paint(sample_id, [Stroke("erase", 300, ((64, 64),))])
    assert (row.state, row.mask_sha) == ("waiting", None)
    assert np.array_equal(review.mask(review.undo_mask(sample_id)), before)


def test_a_mask_of_the_whole_image_is_refused(review, sample):
    with pytest.raises(EmptyRegionError, match="whole image"):
        review.paint(sample[0], [Stroke("add", 300, ((64, 64),))])


def test_a_polygon_adds_and_cuts(review, sample):
    sample_id, before = sample
    corners = [(2, 2), (30, 2), (30, 30), (2, 30)]
    row = review.polygon(sample_id, corners, "add")
    assert np.array_equal(review.mask(row), fill_polygon(before, corners, "add"))
    assert last(review, sample_id) == ("mask_edited", "polygon")
    row = review.polygon(sample_id, corners, "erase")
    assert not review.mask(row)[2:30, 2:30].any()


def test_keep_largest_and_smooth_act_on_the_current_mask(review, sample):
    sample_id, before = sample
    review.paint(sample_id, [Stroke("add", 4, ((8, 8),))])
    spotted = review.mask(review.store.sample(sample_id))
    row = review.smooth(sample_id, 2)
    assert np.array_equal(review.mask(row), masks.smooth(spotted, 2))
    row = review.keep_largest(sample_id)
    assert np.array_equal(review.mask(row), masks.largest_part(masks.smooth(spotted, 2)))
    assert last(review, sample_id) == ("mask_edited", "largest")
    review.paint(sample_id, [Stroke("erase", 300, ((64, 64),))])
    review.paint(sample_id, [Stroke("add", 0, ((8, 8),))])
    with pytest.raises(EmptyRegionError, match="too small"):
        review.smooth(sample_id, 5)


def test_a_box_asks_the_segmenter_with_whole_pixels_inside_the_image(review, sample, truth):
    asked = {}

    def click(image, points_xy, labels, *, mask=None, box_xywh=None):
        asked.update(points=len(points_xy), box=box_xywh, mask=mask)
        return [] if box_xywh[2] < 20 else [truth.truth(image)[2]]

    truth.models.segmenter.click = click
    row = review.box(sample[0], [-5.5, 10.2, 60, 300])
    assert asked == {"points": 0, "box": (0, 10, 55, 118), "mask": None}
    assert last(review, row.id) == ("mask_edited", "box")
    with pytest.raises(ForgetmeError, match="closely around the cat"):
        review.box(row.id, [3, 3, 10, 10])
    for wrong in ([1, 2, 3], [1, 2, 0, 5], [math.nan, 0, 9, 9], [500, 500, 9, 9], None):
        with pytest.raises(ForgetmeError, match="a box must be"):
            review.box(row.id, wrong)


def test_a_single_click_mends_a_drawn_or_imported_mask(review, sample, truth):
    sample_id, _ = sample
    mask = np.zeros((128, 128), bool)
    mask[90:110, 90:110] = True
    row = review.store.sample(sample_id)
    payload = {"mask_sha": review.store.put_image(mask), "how": "import"}
    review.store.append(row.id, "mask_edited", payload, by="x", expected_version=row.version)
    ys, xs = np.nonzero(truth.truth.mask(review.store.get_image(row.image_sha)))
    row = review.click(sample_id, [[float(xs[0]), float(ys[0]), 1]])
    assert truth.truth.clicked[0][2] is not None  # the mask went along
    after = review.mask(row)
    assert after[mask].all()  # the answer forgot it, so the part was added instead
    assert after[ys[0], xs[0]]


def test_mend_false_asks_anew_and_true_mends_a_proposal(review, sample, truth):
    sample_id, before = sample
    ys, xs = np.nonzero(before)
    inside = [float(xs[0]), float(ys[0]), 1]
    review.click(sample_id, [inside], True)
    assert np.array_equal(truth.truth.clicked[-1][2], before)
    review.click(sample_id, [inside], False)
    assert truth.truth.clicked[-1][2] is None


def test_a_point_off_the_object_is_off_it_whatever_the_model_says(review, sample, truth):
    sample_id, before = sample
    part = np.zeros_like(before)
    ys, xs = np.nonzero(before)
    part[: ys[0] + 3] = before[: ys[0] + 3]

    def click(image, points_xy, labels, *, mask=None, box_xywh=None):
        return [truth_proposal(part if mask is None else before)]

    from truth_models import proposal as truth_proposal

    truth.models.segmenter.click = click
    row = review.click(sample_id, [[float(xs[0]), float(ys[0]), 0]], True)
    after = review.mask(row)
    assert not after[ys[0], xs[0]]
    assert not (after & ~before).any()
    assert after[before & ~part].all()  # what does not lie there stays


def test_acts_on_an_older_version_change_nothing(review, sample):
    sample_id, _ = sample
    version = review.store.sample(sample_id).version
    review.comment(sample_id, "look")
    for act, argument in (
        (review.paint, [Stroke("add", 3, ((4, 4),))]),
        (review.polygon, [(1, 1), (9, 1), (9, 9)]),
        (review.box, [1, 1, 50, 50]),
        (review.smooth, 2),
    ):
        with pytest.raises(StaleVersionError):
            act(sample_id, argument, seen=version)


def test_a_stroke_does_not_read_old_events_again(review, sample, monkeypatch):
    sample_id, _ = sample
    review.points(review.store.sample(sample_id))
    read = []
    events = type(review.store).events

    def counted(store, sample_id=None, *, after=0, limit=None):
        found = events(store, sample_id, after=after, limit=limit)
        read.extend(found)
        return found

    monkeypatch.setattr(type(review.store), "events", counted)
    review.paint(sample_id, [Stroke("add", 3, ((4, 4),))])
    assert review.can_undo_mask(review.store.sample(sample_id)) == (True, False)
    assert [event.kind for event in read] == ["mask_edited"]


def test_histories_forget_the_oldest_and_read_them_again(review, sample):
    pasts = mask_edits.Pasts(keep=1)
    for row in review.store.samples():
        pasts.get(review.store, row.id)
    assert pasts.get(review.store, sample[0]) == mask_edits.Pasts().get(review.store, sample[0])
