"""Ranking, with real open_clip models."""

from __future__ import annotations

import json
import logging

import numpy as np
import open_clip
import pytest
import torch
from disc_models import CLIP_CONFIG, VOCABULARY, disc_clip, disc_ranker, draw, one_thread
from safetensors.torch import save_file

from forgetme.errors import MissingModelError
from forgetme.record.masks import box_xywh
from forgetme.record.sample import Proposal
from forgetme.stages.rank import (
    DISTRACTORS,
    GREY,
    Ranker,
    crop_views,
    load_clip,
    load_tiny_clip,
)


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    """Small models are faster so."""
    with one_thread():
        yield


def proposal(mask: np.ndarray, predicted_iou: float = 0.9) -> Proposal:
    return Proposal(mask, box_xywh(mask), predicted_iou, 0.9, "test")


@pytest.fixture(scope="module")
def scene():
    """A picture of a cherry and a lime, and proposals for cherry, lime and ground."""
    image, (cherry, lime) = draw(("cherry", 18, 30, 10), ("lime", 46, 34, 12))
    return image, [proposal(mask) for mask in (cherry, lime, ~(cherry | lime))]


class TestScores:
    @pytest.mark.parametrize(("concept", "winner"), [("cherry", 0), ("lime", 1), ("ground", 2)])
    def test_the_mask_that_holds_the_concept_wins(self, scene, concept, winner):
        image, proposals = scene
        scores = disc_ranker()(image, proposals, concept)
        assert scores.shape == (3,)
        assert scores[winner] > 0.9
        assert np.delete(scores, winner).max() < 0.1

    def test_a_batch_gives_what_one_at_a_time_gives(self, scene):
        image, proposals = scene
        ranker = disc_ranker()
        alone = [ranker(image, [p], "cherry")[0] for p in proposals]
        assert ranker(image, proposals, "cherry") == pytest.approx(alone, abs=1e-5)

    def test_a_score_is_the_mean_of_both_views(self, scene):
        image, proposals = scene
        ranker, labels = disc_ranker(), disc_ranker().labels("owl")
        blurred, grey = crop_views(image, [p.mask for p in proposals], ranker.resolution)
        each = [ranker.probabilities(list(views), labels)[:, 0] for views in (blurred, grey)]
        assert np.abs(each[0] - each[1]).max() > 1e-4  # the views differ
        assert ranker(image, proposals, "owl") == pytest.approx(np.mean(each, 0), abs=1e-6)

    def test_all_masks_go_through_the_model_together(self, scene):
        image, proposals = scene
        ranker, batches = disc_ranker(), []
        hook = ranker.model.visual.register_forward_pre_hook(
            lambda _, args: batches.append(len(args[0]))
        )
        ranker(image, proposals * 8, "cherry")
        hook.remove()
        assert batches == [48]  # two views of each

    def test_no_masks_give_no_scores(self, scene):
        assert disc_ranker()(scene[0], [], "cherry").shape == (0,)

    @pytest.mark.parametrize("concept", ["<cherry>", "  cherry\n", "Cherry"])
    def test_the_way_a_concept_is_written_does_not_matter(self, scene, concept):
        image, proposals = scene
        ranker = disc_ranker()
        expected = ranker(image, proposals, "cherry")
        assert ranker(image, proposals, concept) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("concept", ['a "cat"', "{}", "{0}", "🐱‍👤", "../cat", "x" * 5000])
    def test_any_concept_can_be_ranked(self, scene, concept):
        image, proposals = scene
        scores = disc_ranker()(image, proposals, concept)
        assert np.isfinite(scores).all()
        assert ((scores >= 0) & (scores <= 1)).all()

    @pytest.mark.parametrize("concept", ["", "  ", "<>"])
    def test_a_concept_without_a_name_is_refused(self, scene, concept):
        with pytest.raises(ValueError, match="needs a name"):
            disc_ranker()(*scene, concept)

    def test_an_empty_mask_is_refused(self, scene):
        nothing = proposal(np.zeros((64, 64), bool))
        with pytest.raises(ValueError, match="empty mask"):
            disc_ranker()(scene[0], [nothing], "cherry")

    def test_a_mask_of_another_size_is_refused(self, scene):
        with pytest.raises(ValueError, match="resize_mask"):
            disc_ranker()(scene[0], [proposal(np.ones((8, 8), bool))], "cherry")


class TestLabels:
    def test_a_model_with_a_vocabulary_has_its_other_words_as_distractors(self):
        assert disc_ranker().labels("<Lime>") == ["Lime", "cherry", "plum", "ground"]

    def test_a_model_that_knows_all_words_has_the_general_ones(self):
        ranker = Ranker(disc_clip(), "clip", context_length=8)
        assert ranker.labels("tree") == ["tree", *(w for w in DISTRACTORS if w != "tree")]
        assert ranker.knows("anything")

    def test_a_word_never_taught_is_said_so(self, scene, caplog):
        ranker = disc_ranker()
        assert ranker.knows("lime")
        assert not ranker.knows("unicorn")
        with caplog.at_level(logging.WARNING):
            ranker(*scene, "unicorn")
        assert "never taught 'unicorn'" in caplog.text


class TestWholePictures:
    def test_zero_shot_names_what_is_there(self):
        images = [draw((name, 30, 30, 18))[0] for name in ("plum", "cherry")]
        chances = disc_ranker().probabilities(images, VOCABULARY)
        assert chances.shape == (2, 4)
        assert chances.sum(1) == pytest.approx([1, 1])
        assert chances.argmax(1).tolist() == [2, 0]

    def test_a_wide_picture_is_padded_and_not_squashed(self):
        wide = np.random.default_rng(0).integers(0, 255, (20, 60, 3), np.uint8)
        padded = np.full((60, 60, 3), GREY, np.uint8)
        padded[20:40] = wide
        ranker = disc_ranker()
        assert ranker.embed_images([wide]) == pytest.approx(ranker.embed_images([padded]), abs=1e-5)

    def test_embeddings_have_length_one(self):
        ranker = disc_ranker()
        image = draw(("plum", 30, 30, 18))[0]
        for embedded in (ranker.embed_images([image, image]), ranker.embed_texts(["a", "a plum"])):
            assert embedded.shape == (2, 16)
            assert np.linalg.norm(embedded, axis=1) == pytest.approx([1, 1], abs=1e-5)

    def test_other_templates_are_averaged(self):
        ranker = disc_ranker()
        image = [draw(("plum", 30, 30, 18))[0]]
        words = ["lime", "plum"]
        one, other = ("the {}", "{} here")
        assert not np.allclose(
            ranker.probabilities(image, words, [one]),
            ranker.probabilities(image, words, [one, other]),
        )


class TestCrops:
    def test_the_mask_stays_sharp_and_its_surroundings_are_blurred_or_grey(self):
        rng = np.random.default_rng(0)
        image = rng.integers(0, 255, (64, 64, 3), np.uint8)
        mask = np.zeros((64, 64), bool)
        mask[16:48, 16:48] = True  # with its context: 12..52, the crop's own size
        blurred, grey = crop_views(image, [mask], 40)[:, 0].astype(int)
        window = image[12:52, 12:52].astype(int)
        for view in (blurred, grey):
            assert np.abs(view[5:35, 5:35] - window[5:35, 5:35]).max() <= 1
        assert (grey[:3] == GREY).all()
        assert (grey[:, -3:] == GREY).all()
        assert 0 < blurred[:3].std() < 0.2 * window[:3].std()

    def test_nothing_far_from_the_mask_matters(self):
        image, (mask,) = draw(("plum", 40, 60, 8), shape_hw=(90, 130))
        other = image.copy()
        other[:, 70:] = 255
        assert np.array_equal(crop_views(image, [mask], 32), crop_views(other, [mask], 32))

    def test_a_mask_at_the_corner_is_padded_with_grey(self):
        image, (mask,) = draw(("plum", 0, 0, 10))
        views = crop_views(image, [mask], 32)[:, 0]
        assert (np.abs(views[1, 0].astype(int) - GREY) <= 1).all()
        assert np.abs(views[0, 9, 9].astype(int) - (90, 80, 220)).max() <= 3

    def test_a_shape_keeps_its_proportions(self):
        image, _ = draw(("plum", 32, 32, 5))
        mask = np.zeros((64, 64), bool)
        mask[30:34, 12:52] = True  # 4 high, 40 wide
        grey = crop_views(image, [mask], 50)[1, 0]
        inside = (np.abs(grey.astype(int) - GREY) > 8).any(2)
        assert box_xywh(inside)[2:] == pytest.approx((40, 4), abs=2)

    def test_many_large_masks_are_cut_from_a_large_photo(self):
        image = np.zeros((900, 1200, 3), np.uint8)
        masks = [np.ones((900, 1200), bool)] * 3
        assert crop_views(image, masks, 32).shape == (2, 3, 32, 32, 3)


class TestLoading:
    def test_a_small_model_comes_back_from_its_two_files(self, tmp_path, scene):
        save_file(
            {k: v.half() for k, v in disc_clip().state_dict().items()},
            tmp_path / "ranker.safetensors",
        )
        config = {
            "model": CLIP_CONFIG,
            "mean": open_clip.OPENAI_DATASET_MEAN,
            "std": open_clip.OPENAI_DATASET_STD,
            "templates": ["a {}"],
            "vocabulary": VOCABULARY,
        }
        (tmp_path / "ranker.json").write_text(json.dumps(config))
        ranker = load_tiny_clip(tmp_path)
        assert ranker.made_by == "tiny-clip"
        assert ranker(*scene, "lime") == pytest.approx(disc_ranker()(*scene, "lime"), abs=0.02)

    def test_a_resnet_is_made_faster_and_stays_the_same(self, tmp_path):
        config = CLIP_CONFIG | {
            "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}
        }
        torch.manual_seed(0)
        model = open_clip.CLIP(**config)
        images = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), np.uint8)
        plain = Ranker(model, "plain", context_length=8)
        plain.embed_images(images)  # in training mode: the batch norms learn something
        model.eval()
        save_file(model.state_dict(), tmp_path / "ranker.safetensors")
        options = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
        options |= {"templates": ["a {}"], "vocabulary": VOCABULARY}
        (tmp_path / "ranker.json").write_text(json.dumps({"model": config} | options))
        loaded = load_tiny_clip(tmp_path)
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in loaded.model.modules())
        assert loaded.embed_images(images) == pytest.approx(plain.embed_images(images), abs=1e-4)

    def test_missing_and_damaged_files_name_the_way_out(self, tmp_path):
        with pytest.raises(MissingModelError, match=r"no ranker\.safetensors .* doctor"):
            load_tiny_clip(tmp_path)
        (tmp_path / "ranker.safetensors").write_bytes(b"nothing")
        (tmp_path / "ranker.json").write_text(json.dumps({"model": CLIP_CONFIG}))
        with pytest.raises(MissingModelError, match="get the file again"):
            load_tiny_clip(tmp_path)
        with pytest.raises(MissingModelError, match=r"no open_clip_model\.safetensors .* doctor"):
            load_clip("ViT-B-32", tmp_path)

    def test_an_unknown_name_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="unknown CLIP 'ViT-B-33'"):
            load_clip("ViT-B-33", tmp_path)

    def test_a_published_vit_b_32_ranks_and_openai_means_quickgelu(self, tmp_path, scene):
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32-quickgelu")
        path = tmp_path / "open_clip_model.safetensors"
        save_file({k: v.half() for k, v in model.state_dict().items()}, path)
        ranker = load_clip("ViT-B-32/openai", path)
        assert ranker.made_by == "ViT-B-32-quickgelu/openai"
        assert ranker.resolution == 224
        image = np.random.default_rng(0).integers(0, 255, (50, 40, 3), np.uint8)
        with torch.no_grad():
            pixels = torch.from_numpy(ranker._squares([image])).permute(0, 3, 1, 2) / 255
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in _openai_statistics())
            # weights are rounded to half in the file, and so compared loosely
            expected = model.eval().encode_image((pixels - mean) / std, normalize=True).numpy()
        assert (ranker.embed_images([image]) * expected).sum() > 0.9999
        scores = ranker(*scene, "cat")
        assert scores.shape == (3,)
        assert (scores > 0).all()


def _openai_statistics() -> tuple[list[float], list[float]]:
    return [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
