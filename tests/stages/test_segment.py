"""Proposals and clicks, with real Segment Anything classes."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from disc_models import SAM_CONFIG, disc_sam, disc_segmenter, draw, one_thread
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

from forgetme.errors import MissingModelError
from forgetme.record.files import bundled
from forgetme.record.masks import box_xywh, dilate, iou
from forgetme.scenes import render_scene
from forgetme.stages.edges import Guide
from forgetme.stages.grid_decoder import decode_clicks
from forgetme.stages.proposals import ProposalSettings, enlarge, merged, plausible
from forgetme.stages.sam import read_own
from forgetme.stages.segment import (
    Segmenter,
    build_sam,
    load_sam,
    load_tiny_sam,
    mask_logits,
)

NO_POINTS = (np.zeros((0, 2)), np.zeros(0))


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    """Small models are faster so."""
    with one_thread():
        yield


@pytest.fixture
def picture():
    """A 64x64 picture of one disc, and the disc."""
    image, (disc,) = draw(("lime", 40, 34, 13))
    return image, disc


def test_many_clicks_are_decoded_as_the_vendors_decoder_does(picture):
    sam = disc_sam()
    predictor = SamPredictor(sam)
    predictor.set_image(picture[0])
    points = torch.tensor([[[3.0, 60.0]], [[40.0, 34.0]], [[20.0, 20.0]]])
    labels = torch.ones(3, 1, dtype=torch.int)
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=None, masks=None)
        low, iou = sam.mask_decoder(
            image_embeddings=predictor.features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        least = iou.flatten().sort().values[3:5].mean().item()  # between two: four are too poor
        some, some_iou = decode_clicks(sam, predictor.features, sparse, dense, least)
    torch.testing.assert_close(some, low[iou > least], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(some_iou, iou[iou > least])
    assert len(some) == 5


@pytest.mark.bundled
def test_the_bundled_segmenter_proposes_what_the_vendors_generator_finds():
    sam, _ = read_own(bundled("tiny"))
    image = render_scene(7, concept="cat", size=192).image
    limits = {"points_per_side": 4, "pred_iou_thresh": 0.7, "stability_score_thresh": 0.7}
    found = Segmenter(sam, "tiny", ProposalSettings(**limits))(image)
    theirs = [
        one["segmentation"] for one in SamAutomaticMaskGenerator(sam, **limits).generate(image)
    ]
    assert found
    assert all(max(iou(one.mask, other) for other in theirs) > 0.95 for one in found)


class TestProposals:
    def test_the_object_is_among_them(self, picture):
        image, disc = picture
        proposals = disc_segmenter()(image)
        best = max(proposals, key=lambda p: iou(p.mask, disc))
        assert iou(best.mask, disc) > 0.85
        assert best.mask.dtype == bool
        assert best.box_xywh == box_xywh(best.mask)
        assert best.predicted_iou > 0.6
        assert 0.6 <= best.stability_score <= 1
        assert best.made_by == "disc-sam"

    @pytest.mark.parametrize(
        ("shape_hw", "scale"), [((192, 192), 3), ((144, 192), 3), ((32, 32), 0.5)]
    )
    def test_masks_have_the_size_of_any_image(self, shape_hw, scale):
        image, (disc,) = draw(("plum", 30 * scale, 24 * scale, 14 * scale), shape_hw=shape_hw)
        proposals = disc_segmenter(min_side=4)(image)
        assert max(iou(p.mask, disc) for p in proposals) > 0.75

    def test_they_are_what_the_vendors_generator_finds(self, picture):
        image, _ = picture
        generator = SamAutomaticMaskGenerator(
            disc_sam(),
            points_per_side=8,
            pred_iou_thresh=0.6,
            stability_score_thresh=0.6,
            box_nms_thresh=0.7,
        )
        theirs = [record["segmentation"] for record in generator.generate(image)]
        ours = [p.mask for p in disc_segmenter(min_side=0, min_area=0, max_area=1)(image)]
        assert len(ours) == len(theirs) > 0
        for mask in theirs:
            assert max(iou(mask, other) for other in ours) > 0.95

    def test_they_come_best_first_and_no_more_than_asked_for(self, picture):
        loose = {"pred_iou_thresh": -9, "stability_score_thresh": 0, "box_nms_thresh": 1.0}
        proposals = disc_segmenter(**loose, mask_nms_thresh=1.0)(picture[0])
        quality = [p.predicted_iou for p in proposals]
        assert len(quality) > 3
        assert quality == sorted(quality, reverse=True)
        few = disc_segmenter(**loose, mask_nms_thresh=1.0, max_proposals=3)(picture[0])
        assert [p.predicted_iou for p in few] == quality[:3]

    def test_near_duplicates_are_one(self, picture):
        loose = {"stability_score_thresh": 0, "box_nms_thresh": 1.0}
        many = disc_segmenter(**loose, mask_nms_thresh=1.0)(picture[0])
        distinct = disc_segmenter(**loose, mask_nms_thresh=0.8)(picture[0])
        assert 0 < len(distinct) < len(many)
        for i, p in enumerate(distinct):
            assert all(iou(p.mask, other.mask) < 0.9 for other in distinct[:i])

    def test_a_kept_mask_is_the_mean_of_its_near_duplicates(self):
        low = torch.full((4, 8, 8), -1.0)
        low[0, 2:6, 2:6] = 3  # kept
        low[1, 2:6, 2:5] = 1  # 12 of 16 pixels in common: 0.75
        low[2, 2:6, 2:4] = 9  # 8 of 16: another object
        low[3, 0, 0] = 5  # kept, alone
        mean = merged(low, torch.tensor([0, 3]), 0.0, 0.7)
        expected = low[[0, 3]].clone()
        expected[0, 2:6, 2:5], expected[0, 2:6, 5] = (3 + 1) / 2, (3 - 1) / 2
        assert torch.allclose(mean, expected)
        assert torch.equal(merged(low, torch.tensor([0, 3]), 0.0, 1.0), low[[0, 3]])

    @pytest.mark.parametrize("size", [(300, 401), (64, 48), (20, 31)])
    def test_masks_are_enlarged_as_torch_interpolates(self, size):
        smooth = torch.nn.functional.avg_pool2d(
            torch.randn(4, 60, 64, generator=torch.Generator().manual_seed(0)), 9, 1, 4
        )
        smooth[1, :, :40] = smooth[2, 9:] = -1  # at a side; at the top
        smooth[3] = -1  # nothing
        whole = torch.nn.functional.interpolate(smooth[None], size, mode="bilinear")[0] > 0
        assert whole[:3].flatten(1).any(1).all()
        assert (enlarge(smooth, size) != whole.numpy()).mean() < 1e-4  # rounding

    @pytest.mark.parametrize("shape_hw", [(192, 192), (144, 192)])
    def test_snapped_masks_fit_the_object_better(self, shape_hw):
        image, (disc,) = draw(("plum", 90, 72, 42), shape_hw=shape_hw)
        plain, snapped = (
            max(iou(p.mask, disc) for p in disc_segmenter(min_side=4, snap_radius=radius)(image))
            for radius in (0, 6)
        )
        assert snapped > plain
        assert snapped > 0.9

    def test_what_depends_on_the_image_alone_is_computed_once_an_image(self, monkeypatch):
        made = []

        class Counted(Guide):
            def __init__(self, image, *more):
                made.append(image.shape)
                super().__init__(image, *more)

        monkeypatch.setattr("forgetme.stages.segment.Guide", Counted)
        segmenter = disc_segmenter(min_side=4, snap_radius=4)
        for shape in ((64, 64), (64, 64), (48, 64)):
            image, _ = draw(("plum", 40, 34, 12), shape_hw=shape)
            segmenter.click(image, [[40, 34]], [1])
        assert len(made) == 2

    @pytest.mark.parametrize(
        "limits", [{"min_area": 0.3}, {"max_area": 0.05}, {"pred_iou_thresh": 1.5}]
    )
    def test_masks_outside_the_limits_are_dropped(self, picture, limits):
        assert disc_segmenter(**limits)(picture[0]) == []

    @pytest.mark.parametrize(("size", "smallest"), [(1024, 16), (256, 16), (64, 4)])
    def test_small_masks_are_dropped_and_small_images_may_have_smaller_ones(self, size, smallest):
        mask = np.zeros((size, size), bool)
        mask[10 : 10 + smallest, 9:11] = True  # the longer side counts
        assert _plausible(mask, min_area=0)
        mask[10] = False
        assert not _plausible(mask, min_area=0)

    def test_a_mask_along_three_borders_is_background(self):
        mask = np.ones((64, 64), bool)
        mask[20:, 16:48] = False
        mask[50:] = False  # an arch: left, top and right
        assert not _plausible(mask)
        mask[:, 48:] = False  # left and top only
        assert _plausible(mask)

    def test_an_object_that_just_reaches_three_borders_stays(self):
        mask = np.zeros((64, 64), bool)
        mask[20:, 8:56] = True  # stands on the bottom
        mask[30:33] = True  # a thin stick to both sides
        assert _plausible(mask)


def _plausible(mask: np.ndarray, **limits: float) -> bool:
    masks = torch.from_numpy(mask)[None]
    return bool(plausible(masks, mask.shape, ProposalSettings(**limits))[0])


class TestCleaning:
    def test_specks_and_holes_below_the_limit_go_and_others_stay(self):
        low = torch.full((1, 32, 32), -5.0)
        low[0, 8:24, 8:24] = 5
        low[0, 12:14, 12:14] = -5  # hole of 4
        low[0, 2, 2] = 5  # speck of 1
        low[0, 28:31, 26:30] = 5  # a part of 12
        clean = disc_segmenter(min_mask_region_area=20)._clean(low)  # 20 px of 64 = 5 px of 32
        expected = low.clone()
        expected[0, 12:14, 12:14] = 5
        expected[0, 2, 2] = -5
        assert torch.equal(clean, expected)


class TestClicks:
    def test_one_click_gives_the_object_and_alternatives(self, picture):
        image, disc = picture
        found = disc_segmenter().click(image, [[40, 34]], [1])
        assert 1 <= len(found) <= 3
        assert iou(found[0].mask, disc) > 0.85
        assert [p.predicted_iou for p in found] == sorted(
            (p.predicted_iou for p in found), reverse=True
        )

    def test_more_prompts_give_one_answer(self, picture):
        image, disc = picture
        segmenter = disc_segmenter()
        assert len(segmenter.click(image, [[40, 34], [2, 2]], [1, 0])) == 1
        assert len(segmenter.click(image, *NO_POINTS, box_xywh=(27, 21, 27, 27))) == 1
        assert len(segmenter.click(image, [[40, 34]], [1], mask=disc)) == 1

    @pytest.mark.parametrize("shape_hw", [(64, 64), (144, 192)])
    def test_any_mask_can_be_refined(self, shape_hw):
        scale = shape_hw[1] / 64
        image, (disc,) = draw(("cherry", 34 * scale, 24 * scale, 12 * scale), shape_hw=shape_hw)
        drawn = dilate(disc, 2)
        found = disc_segmenter().click(image, *NO_POINTS, mask=drawn)
        assert iou(found[0].mask, disc) > 0.75

    def test_points_are_in_the_pixels_of_the_image(self):
        image, (disc,) = draw(("cherry", 60, 130, 36), shape_hw=(192, 192))
        seen = []
        segmenter = disc_segmenter()
        hook = segmenter.sam.prompt_encoder.register_forward_hook(
            lambda module, args, kwargs, out: seen.append(kwargs["points"][0]), with_kwargs=True
        )
        segmenter.click(image, [[60, 129]], [1])
        hook.remove()
        assert seen[0].tolist() == [[[20.0, 43.0]]]

    def test_labels_reach_the_model(self, picture):
        segmenter = disc_segmenter()
        points = [[40, 34], [10, 10]]
        a = segmenter.click(picture[0], points, [1, 1])[0]
        b = segmenter.click(picture[0], points, [1, 0])[0]
        assert a.predicted_iou != b.predicted_iou

    def test_an_empty_previous_mask_counts_as_none(self, picture):
        segmenter = disc_segmenter()
        nothing = np.zeros((64, 64), bool)
        a = segmenter.click(picture[0], [[40, 34]], [1], mask=nothing)
        b = segmenter.click(picture[0], [[40, 34]], [1])
        assert [p.predicted_iou for p in a] == [p.predicted_iou for p in b]

    @pytest.mark.parametrize(
        ("points", "labels", "options", "message"),
        [
            ([[64, 3]], [1], {}, "inside the 64x64"),
            ([[-1, 3]], [1], {}, "inside the 64x64"),
            ([[3, 3]], [2], {}, "labels must be 1"),
            ([[3, 3]], [1, 0], {}, "one label"),
            ([], [], {}, "at least one point"),
            ([], [], {"box_xywh": (60, 0, 10, 5)}, "box_xywh must lie inside"),
            ([[3, 3]], [1], {"mask": np.ones((5, 5), bool)}, "mask must be HxW bool"),
        ],
    )
    def test_impossible_prompts_are_refused(self, picture, points, labels, options, message):
        with pytest.raises(ValueError, match=message):
            disc_segmenter().click(picture[0], points, labels, **options)

    def test_an_image_of_another_kind_is_refused(self):
        with pytest.raises(ValueError, match="HxWx3 uint8"):
            disc_segmenter()(np.zeros((8, 8), np.uint8))


class TestEmbeddings:
    def test_an_image_is_encoded_once_whoever_asks(self, picture):
        segmenter, count = _counting(disc_segmenter())
        segmenter(picture[0])
        segmenter.click(picture[0], [[40, 34]], [1])
        segmenter.click(picture[0].copy(), [[20, 34]], [1])
        assert count() == 1
        other = picture[0].copy()
        other[0, 0, 0] ^= 1
        segmenter.click(other, [[40, 34]], [1])
        assert count() == 2

    def test_the_longest_unused_one_goes_first(self, picture):
        image = picture[0]
        images = [np.roll(image, k, axis=1) for k in range(3)]
        segmenter, count = _counting(
            Segmenter(disc_sam(), "disc-sam", ProposalSettings(), keep_images=2)
        )
        for i in (0, 1, 0, 2, 0):  # 2 drives out 1, not 0
            segmenter.click(images[i], [[40, 34]], [1])
        assert count() == 3
        segmenter.click(images[1], [[40, 34]], [1])
        assert count() == 4

    def test_a_click_on_a_kept_image_does_not_wait_for_another_to_be_encoded(self, picture):
        segmenter = disc_segmenter()
        segmenter.click(picture[0], [[40, 34]], [1])
        started, go_on = threading.Event(), threading.Event()

        def encode_slowly(*_):
            started.set()
            assert go_on.wait(30)

        hook = segmenter.sam.image_encoder.register_forward_pre_hook(encode_slowly)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(segmenter.click, np.roll(picture[0], 5, axis=1), [[40, 34]], [1])
            try:
                assert started.wait(30)
                assert segmenter.click(picture[0], [[40, 34]], [1])
                assert not other.done()
            finally:
                go_on.set()
                hook.remove()
            assert other.result()

    def test_threads_get_the_answers_of_their_own_images(self):
        cases = [draw(("lime", x, 32, 12)) for x in (16, 30, 46)] * 8
        segmenter, count = _counting(disc_segmenter())

        def overlap(case):
            image, (disc,) = case
            x, y, width, height = box_xywh(disc)
            found = segmenter.click(image, [[x + width // 2, y + height // 2]], [1])
            return iou(found[0].mask, disc)

        with ThreadPoolExecutor(8) as pool:
            overlaps = list(pool.map(overlap, cases))
        assert min(overlaps) > 0.75
        assert count() == 3


def _counting(segmenter):
    """Counts the encoder's calls from here on."""
    calls = []
    encoder = segmenter.sam.image_encoder
    encoder._forward_hooks.clear()
    encoder.register_forward_hook(lambda *_: calls.append(1))
    return segmenter, lambda: len(calls)


class TestMaskLogits:
    @pytest.mark.parametrize("shape_hw", [(64, 64), (300, 200), (20, 40)])
    def test_they_lie_where_the_image_lies(self, shape_hw):
        _, (disc,) = draw(("lime", shape_hw[1] * 0.6, shape_hw[0] * 0.4, 8), shape_hw=shape_hw)
        logits = mask_logits(disc, 64)
        assert logits.shape == (1, 64, 64)
        height, width = (round(n * 64 / max(shape_hw)) for n in shape_hw)
        ys, xs = np.nonzero(logits[0] > 0)
        at = (ys.mean() / height, xs.mean() / width)
        assert at == pytest.approx((0.4, 0.6), abs=0.03)
        assert (logits[0, height:] < 0).all()
        assert (logits[0, :, width:] < 0).all()


class TestLoading:
    def test_a_small_model_comes_back_from_its_two_files(self, tmp_path, picture):
        weights = {k: v.half() for k, v in disc_sam().state_dict().items()}
        save_file(weights, tmp_path / "segmenter.safetensors")
        config = SAM_CONFIG | {"name": "my-sam", "max_proposals": 7}
        (tmp_path / "segmenter.json").write_text(json.dumps(config))
        for path in (tmp_path, tmp_path / "segmenter.safetensors"):
            segmenter = load_tiny_sam(path)
            assert iou(segmenter.click(picture[0], [[40, 34]], [1])[0].mask, picture[1]) > 0.85
        assert segmenter.made_by == "my-sam"
        assert segmenter.settings.max_proposals == 7
        assert segmenter.settings.points_per_side == 8

    def test_missing_files_name_the_way_out(self, tmp_path):
        with pytest.raises(MissingModelError, match=r"no segmenter\.safetensors .* doctor"):
            load_tiny_sam(tmp_path)
        save_file({"a": torch.zeros(1)}, tmp_path / "segmenter.safetensors")
        with pytest.raises(MissingModelError, match=r"no segmenter\.json"):
            load_tiny_sam(tmp_path)
        with pytest.raises(MissingModelError, match=r"no sam_vit_b\.pth .* doctor"):
            load_sam("vit_b", tmp_path)

    def test_weights_of_another_model_are_refused(self, tmp_path):
        other = build_sam(SAM_CONFIG | {"embed_dim": 32})
        save_file(other.state_dict(), tmp_path / "segmenter.safetensors")
        (tmp_path / "segmenter.json").write_text(json.dumps(SAM_CONFIG))
        with pytest.raises(MissingModelError, match=r"as segmenter\.json describes it"):
            load_tiny_sam(tmp_path)

    def test_a_truncated_file_is_refused(self, tmp_path):
        path = tmp_path / "segmenter.safetensors"
        save_file(disc_sam().state_dict(), path)
        path.write_bytes(path.read_bytes()[:1000])
        (tmp_path / "segmenter.json").write_text(json.dumps(SAM_CONFIG))
        with pytest.raises(MissingModelError, match="get the file again"):
            load_tiny_sam(tmp_path)
        checkpoint = tmp_path / "sam.pth"
        checkpoint.write_bytes(b"\x80\x02not a checkpoint")
        with pytest.raises(MissingModelError, match="get the file again"):
            load_sam("vit_b", checkpoint)

    def test_code_in_a_checkpoint_is_never_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"weights": Evil()}, tmp_path / "sam.pth")
        with pytest.raises(MissingModelError):
            load_sam("vit_b", tmp_path / "sam.pth")
        assert not (tmp_path / "ran").exists()

    def test_an_unknown_kind_lists_the_known_ones(self, tmp_path):
        with pytest.raises(ValueError, match="vit_b, vit_l, vit_h"):
            load_sam("vit_x", tmp_path)

    def test_a_published_vit_b_checkpoint_answers_a_click(self, tmp_path):
        torch.manual_seed(0)
        torch.save(sam_model_registry["vit_b"]().state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
        segmenter = load_sam("vit_b", tmp_path / "sam_vit_b_01ec64.pth")
        assert segmenter.made_by == "sam-vit-b"
        assert segmenter.settings.stability_score_thresh == 0.92
        image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
        # of random weights one block says as much as twelve, in a tenth of the time
        segmenter.sam.image_encoder.blocks = segmenter.sam.image_encoder.blocks[:1]
        segmenter.sam.mask_threshold = -1e6  # random weights see nothing: let all be mask
        found = segmenter.click(image, [[60, 40]], [1])
        assert len(found) == 3
        assert found[0].mask.shape == (90, 120)
        assert found[0].mask.all()
