"""Presets and overrides: which weights are read, when, and what is said when they are absent."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from small_models import save_diffusion, save_lama

from forgetme.errors import MissingModelError
from forgetme.stages import weights
from forgetme.stages.models import PRESETS, load_models
from forgetme.stages.sam import build_sam
from forgetme.stages.weights import PublishedFile

ROOT = Path(__file__).parents[2]
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
MASK = np.zeros((64, 64), bool)
MASK[20:40, 20:40] = True

SAM_CONFIG = {
    "image_size": 64,
    "patch_size": 16,
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "global_attn_indexes": [0],
    "window_size": 0,
    "prompt_embed_dim": 32,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "decoder_mlp_dim": 32,
    "iou_head_hidden_dim": 16,
    "mask_in_chans": 4,
}
CLIP_CONFIG = {
    "model": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    },
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "templates": ["a photo of a {}."],
    "vocabulary": ["cat", "dog"],
}


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    """A folder of bundled weights: the real classes, smaller still and untrained."""
    folder = tmp_path_factory.mktemp("assets")
    torch.manual_seed(0)
    save_file(build_sam(SAM_CONFIG).state_dict(), folder / "segmenter.safetensors")
    (folder / "segmenter.json").write_text(json.dumps(SAM_CONFIG))
    save_file(open_clip.CLIP(**CLIP_CONFIG["model"]).state_dict(), folder / "ranker.safetensors")
    (folder / "ranker.json").write_text(json.dumps(CLIP_CONFIG))
    save_lama(folder / "filler.pt")
    save_diffusion(folder / "diffusion")
    return folder


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


class TestTiny:
    def test_every_stage_works_and_signs_with_its_weights(self, assets):
        models = load_models("tiny", device="cpu", assets=assets)
        assert models.problems() == {}
        sha = weights.file_sha256(assets / "filler.pt")[:8]
        assert models.inpainter.made_by == f"tiny/filler@{sha}"
        assert models.segmenter.made_by.startswith("tiny/segmenter@")
        assert models.ranker.made_by.startswith("tiny/ranker@")
        assert models.diffusion.made_by.startswith("tiny/diffusion@")
        assert models.verifier.made_by == "clip"
        found = models.segmenter.click(IMAGE, np.array([[30, 30]]), np.array([1]))
        for proposal in found:
            assert models.ranker(IMAGE, [proposal], "cat").shape == (1,)
            assert models.verifier(IMAGE, proposal, "cat").made_by == "clip"
        filled = models.inpainter(IMAGE, MASK)
        np.testing.assert_array_equal(filled[~MASK], IMAGE[~MASK])
        painted = models.diffusion.inpaint(IMAGE, MASK, "cat", seed=0, steps=1)
        np.testing.assert_array_equal(painted[~MASK], IMAGE[~MASK])

    @pytest.mark.parametrize(
        ("stage", "command"),
        [
            ("segmenter", "tiny train segmenter"),
            ("ranker", "tiny train ranker"),
            ("verifier", "tiny train ranker"),
            ("inpainter", "tiny train filler"),
            ("diffusion", "tiny train diffusion"),
        ],
    )
    def test_missing_weights_name_the_command(self, tmp_path, stage, command):
        models = load_models("tiny", assets=tmp_path)
        with pytest.raises(MissingModelError, match=f"python -m forgetme {command}"):
            getattr(models, stage)
        assert command in models.problems()[stage]

    def test_a_stage_that_failed_is_tried_again(self, tmp_path):
        models = load_models("tiny", device="cpu", assets=tmp_path)
        with pytest.raises(MissingModelError):
            models.inpainter  # noqa: B018 (the property loads)
        save_lama(tmp_path / "filler.pt")
        assert models.inpainter(IMAGE, MASK).shape == IMAGE.shape

    def test_the_bundled_folder_is_the_one_beside_the_package(self, tmp_path):
        load_models("tiny")  # reads nothing yet
        code = "import sys; from forgetme.stages.models import load_models; load_models()\n"
        code += "heavy = {'torch', 'diffusers', 'open_clip', 'transformers'} & set(sys.modules)\n"
        code += "assert not heavy, heavy"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


class TestLazyLoading:
    def test_many_threads_get_one_model(self, assets):
        models = load_models("tiny", device="cpu", assets=assets)
        start, got = threading.Barrier(8), []

        def ask():
            start.wait()
            got.append(models.inpainter)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 8
        assert len({id(model) for model in got}) == 1

    def test_a_model_asked_for_while_another_is_loaded_is_there_all_the_same(self):
        """The libraries put themselves together on first use, and no two threads may watch."""
        code = """
import sys, threading, time
from diffusers import DDIMScheduler  # what the page has imported when it is built
from forgetme.stages.models import load_models
models, wrong = load_models("tiny", device="cpu"), []
def ask(stage):
    try:
        getattr(models, stage)
    except Exception as error:
        wrong.append(f"{stage}: {error!r}")
ranker = threading.Thread(target=ask, args=["ranker"])
ranker.start()
while "transformers" not in sys.modules:
    time.sleep(0.001)
ask("diffusion")
ranker.join()
assert not wrong, wrong
"""
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr

    def test_the_verifier_shares_the_ranker(self, assets):
        models = load_models("tiny", device="cpu", assets=assets)
        assert models.verifier.ranker is models.ranker


class TestFull:
    def test_missing_downloads_name_the_command(self, tmp_path):
        models = load_models("full", cache=tmp_path)
        with pytest.raises(MissingModelError, match="doctor --download sam-vit-h"):
            models.segmenter  # noqa: B018
        with pytest.raises(MissingModelError, match="doctor --download ViT-L-14-quickgelu/openai"):
            models.ranker  # noqa: B018
        with pytest.raises(MissingModelError, match="doctor --download big-lama"):
            models.inpainter  # noqa: B018
        with pytest.raises(MissingModelError, match="doctor --download sd15"):
            models.diffusion  # noqa: B018
        with pytest.raises(MissingModelError, match="set OPENAI_API_KEY"):
            models.verifier  # noqa: B018
        assert set(models.problems()) == set(PRESETS["full"])

    def test_the_key_is_read_once_and_never_shown(self, tmp_path, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        models = load_models("full", cache=tmp_path)
        monkeypatch.delenv("OPENAI_API_KEY")
        assert models.verifier.made_by == "gpt-4o"
        assert "sk-secret" not in repr(models)
        assert "verifier" not in models.problems()

    def test_a_server_of_ones_own_needs_no_key(self, tmp_path):
        models = load_models(
            verifier="openai/llava", base_url="http://127.0.0.1:9/v1", cache=tmp_path
        )
        assert models.verifier.made_by == "llava"

    def test_a_published_sam_and_clip_are_read_from_copies_of_ones_own(self, tmp_path):
        torch.manual_seed(0)
        torch.save(sam_model_registry["vit_b"]().state_dict(), tmp_path / "sam.pth")
        clip = open_clip.create_model("ViT-B-32-quickgelu")
        save_file(clip.state_dict(), tmp_path / "clip.safetensors")
        models = load_models(
            "full",
            device="cpu",
            segmenter=f"sam-vit-b={tmp_path / 'sam.pth'}",
            ranker=f"ViT-B-32={tmp_path / 'clip.safetensors'}",
            verifier="clip",
        )
        sha = weights.file_sha256(tmp_path / "sam.pth")[:8]
        assert models.segmenter.made_by == f"sam-vit-b@{sha}"
        assert models.ranker.made_by.startswith("ViT-B-32-quickgelu/openai@")
        assert models.ranker.probabilities([IMAGE], ["cat", "dog"]).shape == (1, 2)
        for file in tmp_path.iterdir():
            file.unlink()  # 1 GB that pytest would keep for three runs

    def test_downloaded_weights_are_checked_and_used(self, tmp_path, monkeypatch):
        path = save_lama(tmp_path / "source.pt")
        home = tmp_path / "cache" / "big-lama"
        home.mkdir(parents=True)
        (home / "big-lama.pt").write_bytes(path.read_bytes())
        sha = weights.file_sha256(path)
        size = path.stat().st_size
        (home / "complete.json").write_text(json.dumps([["big-lama.pt", size, sha]]))
        models = load_models("full", device="cpu", cache=tmp_path / "cache")
        assert models.inpainter.made_by == f"big-lama@{sha[:8]}"
        assert models.inpainter.scale == 1024

        (home / "big-lama.pt").write_bytes(bytes(size))
        with pytest.raises(MissingModelError, match="damaged"):
            load_models("full", device="cpu", cache=tmp_path / "cache").inpainter  # noqa: B018


class TestOverrides:
    def test_a_callable_is_the_stage(self, assets):
        def white(image, mask, *, pad=0.5):
            return np.where(mask[..., None], np.uint8(255), image)

        models = load_models("tiny", inpainter=white, assets=assets)
        assert models.inpainter is white
        assert models.names["inpainter"] == "custom"

    def test_paths_of_ones_own(self, assets, tmp_path):
        models = load_models(
            "full",
            device="cpu",
            cache=tmp_path,
            segmenter=assets / "segmenter.safetensors",
            ranker=str(assets / "ranker.safetensors"),
            verifier="clip",
            inpainter=assets / "filler.pt",
            diffusion=assets / "diffusion",
        )
        assert models.problems() == {}
        assert models.segmenter.made_by.startswith("segmenter@")
        assert models.ranker.made_by.startswith("ranker@")
        assert models.inpainter.made_by.startswith("filler@")
        assert models.diffusion.made_by.startswith("diffusion@")

    def test_one_folder_draws_and_another_inpaints(self, assets, tmp_path):
        save_diffusion(tmp_path / "nine", in_channels=9)
        models = load_models(device="cpu", assets=assets, diffusion=f"tiny+{tmp_path / 'nine'}")
        assert models.diffusion.pipe.unet.config.in_channels == 4
        assert models.diffusion.made_by.count("@") == 2
        assert "+nine@" in models.diffusion.made_by

    def test_short_names_stand_for_the_published_weights(self):
        names = load_models(ranker="ViT-B-32", verifier="openai").names
        assert names["ranker"] == "ViT-B-32-quickgelu/openai"
        assert names["verifier"] == "gpt-4o"

    @pytest.mark.parametrize("stage", list(PRESETS["tiny"]))
    def test_an_unknown_name_lists_the_known_ones(self, stage):
        known = "clip, gpt-4o" if stage == "verifier" else "known: tiny"
        with pytest.raises(ValueError, match=known):
            load_models(**{stage: "nonesuch"})

    def test_an_unknown_preset_lists_the_known_ones(self):
        with pytest.raises(ValueError, match="known: tiny, full"):
            load_models("huge")

    def test_a_sam_file_of_unclear_kind_is_asked_about(self):
        with pytest.raises(ValueError, match="sam-vit-b=mine.pth"):
            load_models(segmenter="mine.pth")

    def test_an_absent_path_is_named(self):
        models = load_models(segmenter="./gone/sam_vit_b_01ec64.pth")
        with pytest.raises(MissingModelError, match="sam_vit_b_01ec64.pth"):
            models.segmenter  # noqa: B018


def test_the_names_of_the_presets_are_all_downloadable_or_bundled():
    known = set(weights.PUBLISHED) | {"tiny", "clip", "gpt-4o"}
    for preset in PRESETS.values():
        for name in preset.values():
            assert set(name.split("+")) <= known
    assert isinstance(weights.PUBLISHED["big-lama"], PublishedFile)
