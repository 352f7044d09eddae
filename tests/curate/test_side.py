"""The side story: where a foreground goes, what shows along its edge, the sample that is kept."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from forgetme.curate import pipeline, side_story
from forgetme.curate.review import Review
from forgetme.curate.side_story import Backdrop, Place
from forgetme.dataset import split_of
from forgetme.errors import ForgetmeError
from forgetme.record import masks
from forgetme.record.merge import blend, merge
from forgetme.record.sample import Layers
from forgetme.record.seam import MARGIN_PX, seam
from forgetme.scenes import render_scene

CENTRE = (slice(24, 40), slice(24, 40))


@pytest.fixture
def rows(store, drawn, truth):
    """Two prepared samples."""
    from forgetme.record.images import read_image

    made = []
    for path in sorted((drawn / "original").iterdir())[:2]:
        fresh = store.import_image(read_image(path), name=path.stem, concept="cat", by="ann")
        made.append(pipeline.prepare(store, fresh, truth.models, by="ann"))
    return made


@pytest.fixture
def behind(rows, store):
    return side_story.backdrop(store, rows[0], "sample", rows[1].id)


# ---------------------------------------------------------------- what shows along the edge


def squares(inner, around, under, *, grown=0, feather_px=2, method="feather"):
    """A square of one colour, cut out of another with some of it, put on a third."""
    image = np.full((64, 64, 3), around, np.uint8)
    image[CENTRE] = inner
    mask = np.zeros((64, 64), bool)
    mask[CENTRE] = True
    mask = masks.dilate(mask, grown)
    background = np.full((64, 64, 3), under, np.uint8)
    foreground = Layers.cut(image, image, mask).foreground
    merged = blend(
        foreground, background, mask, feather_px=feather_px, method=method, margin_px=MARGIN_PX
    )
    return seam(merged, background)


def test_an_exact_cut_shows_no_seam():
    assert squares((200, 40, 40), (40, 200, 40), (40, 40, 200)).score == 1


def test_a_cut_with_old_surroundings_shows_all_around():
    found = squares((200, 40, 40), (40, 200, 40), (40, 40, 200), grown=3, feather_px=0)
    assert found.score < 0.05
    assert (found.shows <= found.rim).all()


def test_old_surroundings_that_are_like_the_new_ones_show_no_seam():
    green = (40, 200, 40)
    assert squares((200, 40, 40), green, green, grown=3, feather_px=0).score == 1


def test_poisson_takes_the_old_surroundings_colour_away():
    colours = ((200, 40, 40), (40, 200, 40), (60, 60, 160))
    hard = squares(*colours, grown=3, feather_px=0)
    assert squares(*colours, grown=3, feather_px=0, method="poisson").score > hard.score + 0.5


def test_a_third_colour_along_the_edge_is_an_outline_and_no_seam():
    image = np.full((64, 64, 3), (40, 200, 40), np.uint8)
    image[22:42, 22:42] = (0, 0, 0)
    image[CENTRE] = (230, 60, 60)
    mask = np.zeros((64, 64), bool)
    mask[22:42, 22:42] = True
    background = np.full((64, 64, 3), (40, 40, 200), np.uint8)
    foreground = Layers.cut(image, image, mask).foreground
    assert seam(blend(foreground, background, mask, margin_px=MARGIN_PX), background).score > 0.8


@pytest.mark.parametrize("seed", [101, 103])
def test_drawn_objects_show_less_with_their_true_mask_than_with_a_wide_one(seed):
    scene, other = render_scene(seed, concept="cat"), render_scene(seed + 800, concept="boat")
    scores = []
    for mask in (scene.mask, masks.dilate(scene.mask, 6)):
        foreground = Layers.cut(scene.image, scene.image, mask).foreground
        merged = blend(foreground, other.background, mask, margin_px=MARGIN_PX)
        scores.append(seam(merged, other.background).score)
    assert scores[0] > scores[1] + 0.2


def test_the_words_say_what_to_do_only_where_a_seam_shows():
    clean = squares((200, 40, 40), (40, 200, 40), (40, 40, 200))
    assert clean.words() == "nothing of the old surroundings was found along the edge"
    assert "feather more" in replace(clean, score=0.8).words()
    assert replace(clean, score=0.8).words().startswith("a little")
    assert replace(clean, score=0.5).words().startswith("much")


@pytest.mark.parametrize("full", [False, True])
def test_nothing_and_everything_have_no_seam(full):
    mask = np.full((32, 32), full)
    image = np.zeros((32, 32, 3), np.uint8)
    merged = blend(Layers.cut(image, image, mask).foreground, image, mask, margin_px=MARGIN_PX)
    assert seam(merged, image).score == 1


# ---------------------------------------------------------------- putting it together


def test_a_composed_picture_is_the_merge_at_full_resolution(rows, store, behind):
    place = Place(x=-9, y=4, feather_px=3)
    image, mask = store.get_image(rows[0].image_sha), store.get_mask(rows[0].mask_sha)
    expected = merge(
        Layers.cut(image, image, mask).foreground, store.get_image(behind.sha), mask,
        offset_xy=(-9, 4), feather_px=3,
    )  # fmt: skip
    assert np.array_equal(side_story.compose(store, rows[0], behind, place).image, expected)


def test_a_preview_is_the_same_picture_smaller(rows, store, behind):
    place = Place(x=-8, y=8, scale=0.75)
    whole = side_story.compose(store, rows[0], behind, place)
    small = side_story.compose(store, rows[0], behind, place, side=64)
    assert small.image.shape == (64, 64, 3)
    shrunk = np.asarray(Image.fromarray(whole.image).resize((64, 64), Image.Resampling.BOX))
    assert np.abs(shrunk.astype(int) - small.image).mean() < 4
    halved = whole.mask[::2, ::2]
    assert (halved & small.mask).sum() / (halved | small.mask).sum() > 0.8


def test_pictures_of_a_composed_one_open_and_mark_the_edge(rows, store, behind):
    made = side_story.compose(store, rows[0], behind, Place())
    assert Image.open(io.BytesIO(side_story.preview_bytes(made))).format == "JPEG"
    edge = np.asarray(Image.open(io.BytesIO(side_story.seam_bytes(made))))
    assert (edge[..., 3] > 0)[made.seam.rim].all()
    assert not edge[~masks.dilate(made.seam.rim, 1)].any()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(x=5000), "outside the picture"),
        (Place(scale=0.0), "size must be"),
        (Place(scale=float("nan")), "size must be"),
        (Place(scale=99.0), "size must be"),
        (Place(feather_px=-1), "soft edge"),
        (Place(feather_px=999), "soft edge"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(rows, store, behind, place, words):
    with pytest.raises(ForgetmeError, match=words):
        side_story.compose(store, rows[0], behind, place)


def test_backdrops_are_the_samples_with_a_background(rows, store, picture):
    store.import_image(picture, name="bare", concept="cat", by="ann")
    assert [row.id for row in side_story.backdrops(store)[0]] == [row.id for row in rows]
    first, more = side_story.backdrops(store, limit=1)
    rest, end = side_story.backdrops(store, offset=more, limit=5)
    assert ([row.id for row in [*first, *rest]], end) == ([row.id for row in rows], None)


def test_a_sample_without_background_is_no_backdrop(rows, store, picture):
    bare = store.import_image(picture, name="bare", concept="cat", by="ann")
    with pytest.raises(ForgetmeError, match="no background yet"):
        side_story.backdrop(store, rows[0], "sample", bare.id)
    with pytest.raises(ForgetmeError, match="no mask yet"):
        side_story.compose(store, bare, side_story.backdrop(store, rows[0], "own"), Place())


def test_only_colour_pictures_of_the_store_are_backgrounds(rows, store):
    with pytest.raises(ForgetmeError, match="colour picture"):
        side_story.backdrop(store, rows[0], "uploaded", rows[0].mask_sha)
    with pytest.raises(ForgetmeError):
        side_story.backdrop(store, rows[0], "uploaded", "0" * 64)
    with pytest.raises(ValueError, match="64 hex digits"):
        side_story.backdrop(store, rows[0], "uploaded", "../../etc/passwd")


# ---------------------------------------------------------------- the sample that is kept


def test_a_saved_one_is_a_filled_sample_with_its_lineage(rows, store, behind):
    made = side_story.save(store, rows[0], behind, Place(x=6), by="ben")
    composed = side_story.compose(store, rows[0], behind, Place(x=6))
    assert np.array_equal(store.get_image(made.image_sha), composed.image)
    assert np.array_equal(store.get_mask(made.mask_sha), composed.mask)
    assert (made.state, made.picked_try, made.concept) == ("prepared", 0, "cat")
    assert made.tries[0]["image_sha"] == behind.sha
    assert made.tries[0]["outside"]["changed"] == 0
    lineage = made.lineage
    assert (lineage["foreground"], lineage["background"]) == (rows[0].id, rows[1].id)
    assert lineage["place"] == {
        "x": 6, "y": 0, "scale": 1.0, "feather_px": 2, "method": "feather",
    }  # fmt: skip
    assert lineage["photo_sha"] == rows[0].image_sha
    assert split_of(made) == split_of(rows[0])
    further = side_story.save(
        store, made, behind, Place(x=2), by="ben"
    )  # of a merged one, the same
    assert further.lineage["photo_sha"] == rows[0].image_sha
    assert {event.by for event in store.events(made.id)} == {"ben"}
    assert store.check() == []


def test_a_saved_one_can_be_accepted_as_it_is(rows, store, behind, truth):
    made = side_story.save(store, rows[0], behind, Place(x=6), by="ben")
    assert Review(store, truth.models, by="ben").accept(made.id).state == "accepted"


def test_on_its_own_background_the_saved_mask_moves_with_the_object(rows, store):
    own = side_story.backdrop(store, rows[0], "own")
    made = side_story.save(store, rows[0], own, Place(x=10, y=-6), by="ben")
    before = masks.box_xywh(store.get_mask(rows[0].mask_sha))
    after = masks.box_xywh(store.get_mask(made.mask_sha))
    assert (after[0] - before[0], after[1] - before[1]) == (10, -6)
    assert made.lineage["background"] == rows[0].id


def test_an_uploaded_background_of_another_size_is_called_uploaded(rows, store, picture):
    behind = side_story.backdrop(store, rows[0], "uploaded", store.put_image(picture))
    made = side_story.save(store, rows[0], behind, Place(), by="ben")
    assert (made.height, made.width) == picture.shape[:2]
    assert (made.lineage["background"], made.lineage["background_sha"]) == ("uploaded", behind.sha)


def test_saving_twice_is_one_sample_and_keeps_what_was_decided(rows, store, behind, truth):
    made = side_story.save(store, rows[0], behind, Place(x=6), by="ben")
    Review(store, truth.models, by="ben").reject(made.id)
    again = side_story.save(store, rows[0], behind, Place(x=6), by="ann")
    assert (again.id, again.state, len(store.samples())) == (made.id, "rejected", 3)


def test_what_was_cut_short_is_finished_by_saving_again(rows, store, behind, monkeypatch):
    with monkeypatch.context() as cut:
        cut.setattr(side_story.fills, "record_try", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            side_story.save(store, rows[0], behind, Place(x=6), by="ben")
    made = side_story.save(store, rows[0], behind, Place(x=6), by="ben")
    assert (made.picked_try, len(store.samples())) == (0, 3)


def test_what_was_rejected_before_it_was_finished_stays_rejected(
    rows, store, behind, truth, monkeypatch
):
    with monkeypatch.context() as cut:
        cut.setattr(side_story.fills, "record_try", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            side_story.save(store, rows[0], behind, Place(x=6), by="ben")
    Review(store, truth.models, by="ann").reject(store.samples()[-1].id)
    assert side_story.save(store, rows[0], behind, Place(x=6), by="ben").state == "rejected"


def test_the_original_itself_is_not_saved_again(rows, store):
    original = Backdrop(rows[0].image_sha, "uploaded", "the original")
    with pytest.raises(ForgetmeError, match="itself"):
        side_story.save(store, rows[0], original, Place(), by="ben")
    assert store.sample(rows[0].id).version == rows[0].version
