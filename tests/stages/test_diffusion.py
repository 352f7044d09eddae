"""The painter by prompt: real diffusers pipelines of random weights, saved and loaded."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from small_models import save_diffusion

from forgetme.errors import MissingModelError
from forgetme.stages.diffusion import Diffusion
from forgetme.stages.tokenizer import build_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_diffusion(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture(scope="module")
def inpaint_folder(tmp_path_factory):
    return save_diffusion(tmp_path_factory.mktemp("models") / "inpaint", in_channels=9)


@pytest.fixture(scope="module")
def plain(folder):
    return Diffusion(folder, made_by="small")


@pytest.fixture(scope="module")
def nine(inpaint_folder):
    return Diffusion(inpaint_folder)


@pytest.fixture(params=["plain", "nine"])
def painter(request):
    return request.getfixturevalue(request.param)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box_mask(height, width, x, y, w, h):
    mask = np.zeros((height, width), bool)
    mask[y : y + h, x : x + w] = True
    return mask


class TestInpaint:
    @pytest.mark.parametrize("size", [(64, 64), (97, 131), (40, 300), (300, 40), (17, 23)])
    def test_only_the_masked_pixels_change_at_any_size(self, painter, size):
        image, mask = noise(*size), box_mask(*size, size[1] // 3, size[0] // 3, 9, 9)
        painted = painter.inpaint(image, mask, "a photo of a meadow", seed=1, steps=2)
        assert painted.shape == image.shape
        assert painted.dtype == np.uint8
        np.testing.assert_array_equal(painted[~mask], image[~mask])
        assert (painted[mask] != image[mask]).mean() > 0.9

    def test_a_large_hole_at_the_border_is_painted_to_its_corner(self, plain):
        image = np.zeros((200, 150, 3), np.uint8)
        mask = box_mask(200, 150, 0, 0, 120, 170)
        painted = plain.inpaint(image, mask, "beach", seed=1, steps=2)
        assert painted[0, 0].any()  # a rim is blended; the image's own border is no rim
        np.testing.assert_array_equal(painted[~mask], 0)

    def test_every_latent_cell_that_a_hole_touches_is_painted(self, plain, monkeypatch):
        seen = {}
        run = plain._inpaint.__class__.__call__

        def spy(pipe, *args, **settings):
            seen["mask"] = np.asarray(settings["mask_image"])
            return run(pipe, *args, **settings)

        monkeypatch.setattr(plain._inpaint.__class__, "__call__", spy)
        plain.inpaint(noise(64, 64), box_mask(64, 64, 7, 15, 10, 2), "", seed=0, steps=1)
        expected = np.zeros((64, 64), np.uint8)
        expected[8:24, 0:24] = 255
        np.testing.assert_array_equal(seen["mask"], expected)

    def test_a_mask_over_everything_paints_everything(self, plain):
        image = noise(64, 64)
        painted = plain.inpaint(image, np.ones((64, 64), bool), "beach", seed=1, steps=2)
        assert (painted != image).mean() > 0.9

    def test_an_empty_mask_gives_a_copy(self, plain):
        image = noise(64, 64)
        painted = plain.inpaint(image, np.zeros((64, 64), bool), "beach", seed=1)
        np.testing.assert_array_equal(painted, image)
        assert painted is not image

    def test_the_same_seed_gives_the_same_picture_and_another_does_not(self, painter):
        image, mask = noise(64, 64), box_mask(64, 64, 10, 10, 30, 30)
        first, again, other = (
            painter.inpaint(image, mask, "street", seed=s, steps=2) for s in (5, 5, 6)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_prompt_and_negative_prompt_matter(self, plain):
        image, mask = noise(64, 64), box_mask(64, 64, 10, 10, 30, 30)
        paints = [
            plain.inpaint(image, mask, prompt, seed=5, steps=2, negative_prompt=negative)
            for prompt, negative in (("street", ""), ("", ""), ("street", "cat"))
        ]
        assert (paints[0] != paints[1]).any()
        assert (paints[0] != paints[2]).any()

    def test_less_strength_stays_closer_to_what_is_there(self, plain):
        image, mask = np.full((64, 64, 3), 120, np.uint8), box_mask(64, 64, 8, 8, 48, 48)
        reports = []
        plain.inpaint(
            image, mask, "", seed=0, steps=10, strength=0.5, progress=lambda *s: reports.append(s)
        )
        assert reports == [(i, 5) for i in range(1, 6)]

    def test_progress_counts_every_step(self, painter):
        reports = []
        painter.inpaint(
            noise(64, 64),
            box_mask(64, 64, 8, 8, 20, 20),
            "",
            seed=0,
            steps=3,
            progress=lambda *step: reports.append(step),
        )
        assert reports == [(1, 3), (2, 3), (3, 3)]

    def test_an_exception_from_progress_stops_the_run_and_the_next_one_works(self, plain):
        image, mask = noise(64, 64), box_mask(64, 64, 8, 8, 20, 20)

        def stop(done, total):
            raise KeyboardInterrupt

        expected = plain.inpaint(image, mask, "", seed=0, steps=3)
        with pytest.raises(KeyboardInterrupt):
            plain.inpaint(image, mask, "", seed=0, steps=3, progress=stop)
        np.testing.assert_array_equal(plain.inpaint(image, mask, "", seed=0, steps=3), expected)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"strength": 0.0}, "strength must be above 0"),
            ({"strength": 1.5}, "strength must be above 0"),
            ({"steps": 0}, "at least 1"),
            ({"steps": 4, "strength": 0.2}, "raise either"),
            ({"guidance": -1.0}, "guidance"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, plain, settings, words):
        with pytest.raises(ValueError, match=words):
            plain.inpaint(noise(64, 64), box_mask(64, 64, 8, 8, 9, 9), "", seed=0, **settings)

    def test_a_mask_of_another_size_is_refused(self, plain):
        with pytest.raises(ValueError, match="64x64"):
            plain.inpaint(noise(64, 64), np.zeros((8, 8), bool), "", seed=0)

    def test_guidance_of_one_runs_without_the_negative_half(self, plain):
        image, mask = noise(64, 64), box_mask(64, 64, 8, 8, 20, 20)
        a, b = (
            plain.inpaint(image, mask, "cat", seed=0, steps=2, guidance=1.0, negative_prompt=n)
            for n in ("", "dog")
        )
        np.testing.assert_array_equal(a, b)

    def test_another_folder_can_do_the_inpainting(self, folder, inpaint_folder, nine):
        both = Diffusion(folder, inpaint_folder=inpaint_folder)
        image, mask = noise(64, 64), box_mask(64, 64, 8, 8, 20, 20)
        assert both.pipe.unet.config.in_channels == 4
        np.testing.assert_array_equal(
            both.inpaint(image, mask, "cat", seed=0, steps=2),
            nine.inpaint(image, mask, "cat", seed=0, steps=2),
        )


class TestGenerate:
    def test_draws_a_picture_of_the_models_own_size(self, painter):
        drawn = painter.generate("a photo of a cat", seed=3, steps=2)
        assert drawn.shape == (64, 64, 3)
        assert drawn.dtype == np.uint8
        np.testing.assert_array_equal(drawn, painter.generate("a photo of a cat", seed=3, steps=2))

    def test_draws_at_another_size(self, painter):
        assert painter.generate("", seed=3, steps=2, size=96).shape == (96, 96, 3)

    def test_an_impossible_size_is_refused(self, plain):
        with pytest.raises(ValueError, match="multiple of 8, got 60"):
            plain.generate("cat", seed=0, size=60)

    def test_calls_from_several_threads_do_not_disturb_each_other(self, plain):
        alone = [plain.generate("cat", seed=s, steps=3) for s in range(3)]
        together = [None] * 3

        def draw(seed):
            together[seed] = plain.generate("cat", seed=seed, steps=3)

        threads = [threading.Thread(target=draw, args=(s,)) for s in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(together, alone)

    def test_another_process_draws_the_same_picture(self, plain, folder):
        code = (
            f"import hashlib, sys, torch; torch.set_num_threads({torch.get_num_threads()})\n"
            "from forgetme.stages.diffusion import Diffusion\n"
            "drawn = Diffusion(sys.argv[1]).generate('cat', seed=7, steps=2)\n"
            "print(hashlib.sha256(drawn.tobytes()).hexdigest())"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        here = hashlib.sha256(plain.generate("cat", seed=7, steps=2).tobytes()).hexdigest()
        assert run.stdout.split() == [here], run.stderr
        assert run.stderr == ""  # no progress bars, no warnings


class TestRedraw:
    @pytest.mark.parametrize("size", [(64, 64), (50, 131), (131, 50)])
    def test_keeps_the_size_and_repeats_by_seed(self, plain, size):
        image = noise(*size)
        drawn = plain.redraw(image, "cat", seed=0, steps=4, strength=0.5)
        assert drawn.shape == image.shape
        np.testing.assert_array_equal(
            drawn, plain.redraw(image, "cat", seed=0, steps=4, strength=0.5)
        )

    def test_an_inpainting_network_is_refused(self, nine):
        with pytest.raises(ValueError, match="plain checkpoint"):
            nine.redraw(noise(64, 64), "cat", seed=0)


class TestLoading:
    def test_an_absent_folder_is_named(self, tmp_path):
        with pytest.raises(MissingModelError, match="model_index.json is missing"):
            Diffusion(tmp_path / "nothing")

    def test_a_folder_without_weights_is_named(self, folder, tmp_path):
        (tmp_path / "model_index.json").write_bytes((folder / "model_index.json").read_bytes())
        with pytest.raises(MissingModelError, match="cannot be loaded"):
            Diffusion(tmp_path)

    def test_half_precision_files_as_published_are_read(self, tmp_path):
        save_diffusion(tmp_path / "half", variant="fp16")
        assert Diffusion(tmp_path / "half").generate("cat", seed=0, steps=1).shape == (64, 64, 3)

    def test_weights_in_several_files_are_read(self, plain, tmp_path):
        plain.pipe.save_pretrained(tmp_path, max_shard_size="100KB")
        assert not (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").exists()
        picture = Diffusion(tmp_path).generate("cat", seed=0, steps=1)
        assert np.array_equal(picture, plain.generate("cat", seed=0, steps=1))

    def test_an_adapter_loaded_into_the_pipeline_acts_when_inpainting(self, folder, tmp_path):
        from diffusers import StableDiffusionPipeline
        from peft import LoraConfig, get_peft_model_state_dict

        painter = Diffusion(folder)
        image, mask = noise(64, 64), box_mask(64, 64, 8, 8, 40, 40)
        before = painter.inpaint(image, mask, "cat", seed=0, steps=2)
        unet = Diffusion(folder).pipe.unet
        unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
        StableDiffusionPipeline.save_lora_weights(
            tmp_path, unet_lora_layers=get_peft_model_state_dict(unet)
        )
        painter.pipe.load_lora_weights(tmp_path, adapter_name="forget")
        after = painter.inpaint(image, mask, "cat", seed=0, steps=2)
        assert (before != after).any()


class TestTokenizer:
    TEXTS = (
        "a photo of a cat",
        "<cat>",
        "it's the mushroom's house on a snowy beach at night",
        "ein Flügel, 1234, 'quoted' 🐈 ../x",
        "",
    )

    def test_ids_are_those_of_clip(self):
        tokenizer, clip = build_tokenizer(), SimpleTokenizer()
        assert tokenizer(self.TEXTS[0]).input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
        for text in self.TEXTS:
            assert tokenizer(text).input_ids == [49406, *clip.encode(text), 49407]
        assert len(tokenizer) == 49408

    def test_the_words_of_a_small_vocabulary_are_single_tokens(self):
        words = ["cat", "mushroom", "hot", "qzxjvw", "aaaa", "aaaaa", "bananaphone", "flügel"]
        tokenizer = build_tokenizer(words, context_length=20)
        assert len(tokenizer) < 600
        assert tokenizer.model_max_length == 20
        for word in words:
            assert len(tokenizer(word).input_ids) == 3, word

    def test_words_may_be_given_as_phrases(self):
        tokenizer = build_tokenizer(["a photo of a cat"])
        assert len(tokenizer("a cat photo of of").input_ids) == 7

    def test_unknown_text_still_has_tokens_of_its_own(self):
        tokenizer = build_tokenizer(["cat"])
        ids = tokenizer("zebra 🐕").input_ids
        assert tokenizer.unk_token_id not in ids[1:-1]
        assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["zebra", "🐕"]

    def test_it_survives_saving(self, tmp_path):
        from transformers import CLIPTokenizer

        tokenizer = build_tokenizer(["cat", "dog"], context_length=12)
        tokenizer.save_pretrained(tmp_path)
        loaded = CLIPTokenizer.from_pretrained(tmp_path)
        assert loaded.model_max_length == 12
        assert loaded("a cat and zebra").input_ids == tokenizer("a cat and zebra").input_ids
