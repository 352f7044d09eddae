"""Probes: each does its work, and none leaves a trace on the model that it was given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig
from PIL import Image
from small_models import save_diffusion

from forgetme.errors import ForgetmeError
from forgetme.evaluate.detectors import open_recogniser, shown
from forgetme.evaluate.probes import PROBES, diffatk, relearning, revival, ringabell, run_probes
from forgetme.evaluate.probes.ddim import walked
from forgetme.evaluate.probes.probe import close
from forgetme.evaluate.probes.prompts import spellings
from forgetme.record.sample import Layers
from forgetme.scenes import render_scene
from forgetme.stages.models import load_models
from forgetme.train.adapters import Wardrobe
from forgetme.train.inversion import invert
from forgetme.train.loop import train
from forgetme.train.model import base_of
from forgetme.train.patch import read_patch, write_delta
from forgetme.train.probe import draw
from forgetme.train.settings import RunSettings

SMALL = {
    "pictures": 2, "samples": 2, "steps": 2, "guidance": 2.0, "done": (0, 1), "walk": 2,
    "learn_steps": 2, "lr": 1e-2, "batch": 2, "words": 2, "times": 2, "iterations": 2,
    "population": 6, "generations": 3, "mutation": 0.5, "crossover": 0.5, "length": 16,
    "eta": 3.0, "lam": 0.1,
}  # fmt: skip


class Reddish:
    """Sees a cat where a picture is more red than blue."""

    name = "reddish"

    def predict(self, images):
        reds = [float(np.mean(np.asarray(i)[..., 0]) / 255) for i in images]
        return [{"cat": red, "nothing": 1 - red} for red in reds]


class Everywhere(Reddish):
    """Sees a cat in everything."""

    def predict(self, images):
        return [{"cat": 1.0, "nothing": 0.0} for _ in images]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_diffusion(tmp_path_factory.mktemp("base") / "diffusion")


@pytest.fixture(scope="module")
def pair(folder, tmp_path_factory):
    """A model with a patch on, and the one without; probes leave both as they are."""
    pipe, original = open_pipe(folder), open_pipe(folder)
    worn(pipe, tmp_path_factory.mktemp("patch"))
    pipe.unet.train()
    return pipe, original


def open_pipe(folder):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def samples():
    scenes = [render_scene(seed, concept="cat", size=64, count=1) for seed in range(3)]
    return [Layers.cut(one.image, one.background, one.mask) for one in scenes]


def worn(pipe, tmp_path):
    """Puts two patches on: other weights that read the text, and a LoRA."""
    generator = torch.Generator().manual_seed(5)
    delta = {
        name: 0.3 * torch.randn(pipe.unet.get_parameter(name).shape, generator=generator)
        for name in base_of(pipe).reading_states()
    }
    record = {"method": "uce", "trains": "kv", "base": "small", "concept": "cat"}
    Wardrobe(pipe).wear(write_delta(tmp_path / "patch", delta, record))
    add_lora(pipe)


def add_lora(pipe):
    torch.manual_seed(6)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_k"], init_lora_weights=False))


def state(pipe) -> dict:
    """All that a probe could leave behind."""
    parts = {n: p for n, p in pipe.components.items() if isinstance(p, torch.nn.Module)}
    weights = {
        f"{n}.{k}": (v.clone(), v.stride())
        for n, p in parts.items()
        for k, v in p.state_dict().items()
    }
    modules = {
        (n, k): (m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
        for n, p in parts.items()
        for k, m in p.named_modules()
    }
    moving = {(n, k): v.requires_grad for n, p in parts.items() for k, v in p.named_parameters()}
    own = {k: id(v) for k, v in vars(pipe).items()}
    return {
        "weights": weights, "modules": modules, "moving": moving, "own": own,
        "scheduler": str(sorted(vars(pipe.scheduler).items(), key=lambda pair: pair[0])),
        "lottery": torch.random.get_rng_state(),
    }  # fmt: skip


def assert_same(before: dict, after: dict) -> None:
    for name in ("modules", "moving", "own", "scheduler"):
        assert before[name] == after[name], name
    assert torch.equal(before["lottery"], after["lottery"])
    assert before["weights"].keys() == after["weights"].keys()
    for name, (value, stride) in before["weights"].items():
        assert torch.equal(value, after["weights"][name][0]), name
        assert stride == after["weights"][name][1], name


@pytest.fixture
def small(monkeypatch):
    """All probes with few pictures and steps."""
    for name, one in PROBES.items():
        monkeypatch.setitem(PROBES, name, type(one)(name, one.words, one.run, SMALL, SMALL))


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_draws_and_leaves_the_model_bit_for_bit(name, pair, samples, small):
    pipe, original = pair
    before, others = state(pipe), state(original)
    (found,) = run_probes(
        pipe, "cat", samples=samples, recogniser=Everywhere(), names=[name], original=original
    )
    assert_same(before, state(pipe))
    assert_same(others, state(original))
    assert (found.name, found.judge) == (name, "reddish")
    assert found.tried == found.back == len(found.pictures) >= 2, found.note
    assert all(isinstance(one, Image.Image) for one in found.pictures)
    assert all(np.isfinite(value) for value in found.values.values())


def test_a_probe_that_has_not_what_it_needs_says_so_and_the_others_go_on(pair, samples, small):
    pipe = pair[0]
    common = {"recogniser": Everywhere(), "original": None}
    found = run_probes(pipe, "cat", samples=[], **common)
    said = {one.name: one.note for one in found if not one.tried}
    assert said.keys() == {
        "completion", "inpainting", "ddim-inversion", "concept-inversion", "unlearndiffatk-lite",
        "revival", "relearning", "resurgence",
    }  # fmt: skip
    assert said["inpainting"] == "it needs accepted quadruples of cat; there is none"
    assert "without the patch" in said["completion"]
    (same,) = run_probes(
        pair[1], "cat", samples=[], names=["revival"], **{**common, "original": pair[1]}
    )
    assert (same.tried, same.note) == (
        0, "the patch leaves the weights that read the text as they are",
    )  # fmt: skip
    (blind,) = run_probes(
        pipe, "nothing", samples=samples, recogniser=Everywhere(), names=["inpainting"]
    )
    assert (blind.tried, blind.note) == (0, "the judge sees nothing in none of 2 originals")


def test_wrong_words_are_refused_and_a_stop_is_heard(pair, samples, small):
    pipe = pair[0]
    common = {"samples": samples, "recogniser": Everywhere()}
    with pytest.raises(ForgetmeError, match="unknown probe 'nonsense'; known: paraphrases, spell"):
        run_probes(pipe, "cat", names=["nonsense"], **common)
    with pytest.raises(ForgetmeError, match="unknown preset 'slow'; known: fast, full"):
        run_probes(pipe, "cat", preset="slow", **common)
    with pytest.raises(ForgetmeError, match="reddish has no label 'boat'.* it has cat, nothing"):
        run_probes(pipe, "boat", **common)
    calls = iter([False] * 3 + [True] * 1000)
    found = run_probes(pipe, "cat", cancelled=lambda: next(calls), **common)
    assert found == []
    assert not pipe.unet._forward_pre_hooks


# -------------------------------------------------------------- each formula, and that it acts
def test_revival_is_the_references_number_and_finds_what_the_weights_hide():
    before, after = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[5 / 3, 2], [11 / 3, 4]])
    c = torch.tensor([[1.0, 0]]).double()
    again = revival.revived(c, [before.double()], [after.double()], 0.1)
    assert again[0].tolist() == pytest.approx([0.637776, 0.125375], abs=1e-6)  # V12
    off = [(after.double() @ one.T - before.double() @ c.T).norm().item() for one in (c, again)]
    assert off == pytest.approx([0.942809, 0.352151], abs=1e-6)


def test_readers_see_a_lora_and_a_difference(folder):
    pipe = open_pipe(folder)
    plain = revival.readers(base_of(pipe))
    named = [pipe.unet.get_parameter(one) for one in base_of(pipe).reading_states()]
    assert all(torch.equal(a, b.double()) for a, b in zip(plain, named, strict=True))
    add_lora(pipe)
    changed = [
        not torch.equal(a, b) for a, b in zip(plain, revival.readers(base_of(pipe)), strict=True)
    ]
    assert changed == [True, False] * (len(plain) // 2)


def test_projection_onto_the_simplex_is_what_bisection_finds():
    rows = torch.randn(3, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for row, found in zip(rows.numpy(), diffatk.project(rows).numpy(), strict=True):
        low, high = row.min() - 1, row.max()
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if np.maximum(row - middle, 0).sum() > 1 else (low, middle)
        assert found == pytest.approx(np.maximum(row - low, 0), abs=1e-9)


def test_the_attack_finds_words_that_lower_the_loss(folder):
    base = base_of(open_pipe(folder))
    base.core.requires_grad_(False)
    z = torch.randn(1, *base.latent_shape, generator=torch.Generator().manual_seed(2))
    plan = {"words": 2, "times": 2, "iterations": 6, "lr": 0.3}
    ids, told, after, before = diffatk.attack(
        base, z, "a photo of a cat", plan, torch.Generator().manual_seed(0)
    )
    assert after < before
    tokens = base.tokens(["a photo of a cat"])[0]
    by_hand = torch.cat([tokens[:1], torch.tensor(ids), tokens[1:-2]])[None]
    with torch.no_grad():
        assert told[0].numpy() == pytest.approx(
            base.pipe.text_encoder(by_hand)[0][0].numpy(), abs=1e-5
        )


def test_the_genetic_search_comes_near_and_never_loses_its_best():
    pool, goal = torch.arange(3, 40), torch.tensor([7, 30, 12, 21])
    plan = {"population": 40, "generations": 60, "mutation": 0.4, "crossover": 0.5}
    distance = lambda ids: (ids - goal).abs().sum(1).float()  # noqa: E731
    ids, curve = ringabell.search(distance, pool, plan, 4, torch.Generator().manual_seed(0))
    assert curve == sorted(curve, reverse=True)
    assert len(curve) == 61
    assert distance(ids[None]).item() == curve[-1] <= 4 < curve[0]


def test_ring_a_bells_direction_is_the_mean_difference_of_states(folder):
    pipe = open_pipe(folder)
    found = ringabell.direction(base_of(pipe), "cat")
    parts = []
    for sentence in ringabell.SENTENCES:
        ids = [
            pipe.tokenizer(said, padding="max_length", max_length=16, return_tensors="pt").input_ids
            for said in (sentence.replace("{}", "cat"), sentence.replace("{}", "").strip())
        ]
        with torch.no_grad():
            parts.append((pipe.text_encoder(ids[0])[0] - pipe.text_encoder(ids[1])[0])[0].numpy())
    assert found.numpy() == pytest.approx(np.mean(parts, 0), abs=1e-5)


def test_ddim_goes_up_by_equation_12_and_comes_back(folder):
    base = base_of(open_pipe(folder))
    with torch.no_grad():
        for one in base.core.conv_out.parameters():
            one.zero_()
        base.core.conv_out.bias.copy_(torch.tensor([0.3, -0.2, 0.5, 0.0]))  # always this noise
        told = base.text(["a cat"])["encoder_hidden_states"]
    z = torch.randn(2, *base.latent_shape, generator=torch.Generator().manual_seed(3))
    up = walked(base, z, told, 5, up=True)
    alpha = np.cumprod(1 - np.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=np.float64) ** 2)
    eps = np.array([0.3, -0.2, 0.5, 0.0]).reshape(1, 4, 1, 1)
    x0 = (z.numpy() - np.sqrt(1 - alpha[0]) * eps) / np.sqrt(alpha[0])
    expected = np.sqrt(alpha[801]) * x0 + np.sqrt(1 - alpha[801]) * eps
    assert up.numpy() == pytest.approx(expected, abs=1e-3)
    assert walked(base, up, told, 5, up=False).numpy() == pytest.approx(z.numpy(), abs=1e-2)


def test_a_closeup_is_a_square_around_the_mask_inside_the_picture():
    image = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    mask = np.zeros((40, 60), bool)
    mask[10:18, 20:24] = True  # 8 high: 12 a side, from row 8 and column 16
    assert (close(image, mask) == image[8:20, 16:28]).all()
    mask[:, 50:] = True  # 40 high, and no room for more
    assert (close(image, mask) == image[:, 20:60]).all()


def test_spellings_are_none_of_the_word_itself():
    assert spellings("cat") == ["cats", "caat", "act", "cta", "c a t", "c-a-t", "c.a.t", "catcat"]
    for word in ("ox", "golden retriever", "aa", "x"):
        assert word not in spellings(word)
        assert len(spellings(word)) == len(set(spellings(word))) >= 2


def test_completion_is_the_first_models_work_up_to_k(pair, samples, small):
    """Two models differ: with k of all steps the picture is the first one's, with none its own."""
    pipe, original = pair
    plan = {**SMALL, "pictures": 2, "done": (0, 2)}
    one = PROBES["completion"]
    PROBES["completion"] = type(one)(one.name, one.words, one.run, plan, plan)
    (found,) = run_probes(
        pipe, "cat", samples=samples, recogniser=Reddish(), names=["completion"], original=original
    )
    drawn = [
        by("a photo of a cat", num_inference_steps=2, guidance_scale=2.0,
           generator=torch.Generator().manual_seed(0)).images[0]
        for by in (pipe, original)
    ]  # fmt: skip
    off = [np.abs(np.asarray(a, int) - np.asarray(b, int)).max() for a, b in
           zip(found.pictures, drawn, strict=True)]  # fmt: skip
    assert max(off) <= 1
    assert np.abs(np.asarray(drawn[0], int) - np.asarray(drawn[1], int)).max() > 2


def test_inversion_lowers_the_loss_of_the_frozen_model(folder):
    base = base_of(open_pipe(folder))
    base.core.requires_grad_(False)
    z = torch.randn(2, *base.latent_shape, generator=torch.Generator().manual_seed(4))
    losses = [invert(base, z, count=1, steps=12, lr=lr, batch=1).loss for lr in (1e-9, 5e-2)]
    assert losses[1] < losses[0]


def test_relearning_moves_a_copy_and_the_unrelated_one_another(pair, samples, small, monkeypatch):
    pipe, made = pair[0], []
    real = relearning.taught
    monkeypatch.setattr(relearning, "taught", lambda *a: made.append(real(*a)) or made[-1])
    run_probes(
        pipe, "cat", samples=samples, recogniser=Everywhere(), names=["relearning", "resurgence"]
    )
    weights = [one.unet.conv_in.weight for one in (pipe, *made)]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.bundled
def test_what_a_closed_form_erased_comes_back_by_the_states_that_revive_it(tmp_path, monkeypatch):
    original, pipe = (load_models("tiny", device="cpu").diffusion.pipe for _ in range(2))
    settings = RunSettings(
        "uce", "cat", anchor="a photo of a meadow", keep=("dog", "car", "bird"), trains="kv",
        steps=0, probe_every=0, save_every=0,
    )  # fmt: skip
    train(load_models("tiny", device="cpu").diffusion.pipe, [], settings, tmp_path / "run")
    Wardrobe(pipe).wear(read_patch(tmp_path / "run"))
    judge = open_recogniser("second", device="cpu")
    plain = sum(shown(judge, draw(pipe, ["a photo of a cat"] * 8, range(8)), "cat"))
    one = PROBES["revival"]
    monkeypatch.setitem(PROBES, "revival", replace(one, fast={**one.fast, "pictures": 8}))
    (found,) = run_probes(
        pipe, "cat", samples=[], recogniser=judge, names=["revival"], original=original
    )
    assert plain <= 2
    assert found.back >= plain + 2
    assert found.values["off it when revived"] < 0.7 * found.values["off the model before"]
