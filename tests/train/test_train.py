"""Unlearning runs on a small Stable Diffusion of random weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from safetensors.torch import load_file
from small_models import save_diffusion
from train_base import base, fresh, items

from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.train import (
    METHODS,
    RunSettings,
    Wardrobe,
    check,
    items_of_folder,
    items_of_store,
    probe,
    read_patch,
    train,
)
from forgetme.train.cost import seconds_left, units
from forgetme.train.data import fingerprint, square
from forgetme.train.method import Batch
from forgetme.train.model import Base
from forgetme.train.params import choose
from forgetme.train.quick import quick

__all__ = ["base", "fresh", "items"]

CAT = RunSettings("lora", "cat", steps=4, lr=1e-2, batch=2, rank=2, probe_every=0, save_every=2)
KEEP = {"keep": ("dog",), "retain_pictures": 2}


def weights_of(unet: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in unet.state_dict().items()}


def picture_of(pipe) -> np.ndarray:
    generator = torch.Generator().manual_seed(3)
    return pipe(
        "a photo of a cat", num_inference_steps=3, generator=generator, output_type="np"
    ).images


def batch_of(seed: int = 0, size: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn((5, size, 4, 8, 8), generator=generator)
    t, retain_t = torch.randint(0, 1000, (2, size), generator=generator)
    prompts = ["a dog", "a boat", "a dog"][:size]
    return Batch(
        z[0], z[1], t, z[2], z[3], prompts, retain_t, z[4], generator, ["a photo of a cat"] * size
    )


def text_states(pipe, prompts: list[str]) -> torch.Tensor:
    ids = pipe.tokenizer(
        prompts, padding="max_length", max_length=16, truncation=True, return_tensors="pt"
    ).input_ids
    return pipe.text_encoder(ids)[0]


def noised(pipe, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Written anew from the schedule's definition: scaled_linear betas."""
    config = pipe.scheduler.config
    betas = np.linspace(config.beta_start**0.5, config.beta_end**0.5, 1000) ** 2
    a = torch.tensor(np.cumprod(1 - betas), dtype=torch.float32)[t].view(-1, 1, 1, 1)
    return a.sqrt() * z + (1 - a).sqrt() * eps


# ------------------------------------------------------------------ losses


def test_lora_is_the_denoising_loss_on_backgrounds_with_one_prompt(fresh) -> None:
    pipe, batch = fresh(), batch_of()
    terms = METHODS["lora"].loss(METHODS["lora"].context(Base(pipe), CAT), batch)
    with torch.no_grad():
        z_t = noised(pipe, batch.background, batch.eps, batch.t)
        text = text_states(pipe, ["a photo of a cat"] * 3)
        guess = pipe.unet(z_t, batch.t, encoder_hidden_states=text).sample
    assert list(terms) == ["forget"]
    assert terms["forget"].item() == pytest.approx(
        ((guess - batch.eps) ** 2).mean().item(), rel=1e-5
    )


@pytest.mark.parametrize("trains", ["lora", "kv"])
def test_lora_may_stay_with_the_frozen_model_on_other_prompts(fresh, trains) -> None:
    pipe, batch = fresh(), batch_of()
    settings = replace(CAT, trains=trains, options={"retain": 2.0})
    context = METHODS["lora"].context(Base(pipe), settings)
    choose(Base(pipe), settings)
    with torch.no_grad():
        pipe.unet.conv_out.bias += 0.5  # the student has moved by 0.5; the teacher has not
        if trains == "lora":
            pipe.unet.conv_out.bias -= 0.5  # a LoRA's teacher is the model without it
            for name, value in pipe.unet.named_parameters():
                value += 0.1 * ("lora_B" in name)
        terms = METHODS["lora"].loss(context, batch)
        z_r = noised(pipe, batch.retain, batch.retain_eps, batch.retain_t)
        text = text_states(pipe, batch.retain_prompts)
        moved, was = (one(z_r, batch.retain_t, text).sample for one in (pipe.unet, fresh().unet))
    expected = 2.0 * ((moved - was) ** 2).mean().item()
    assert expected > 0.01
    assert terms["retain"].item() == pytest.approx(expected, rel=1e-4)


def test_random_labelling_is_its_equation(fresh) -> None:
    pipe, batch = fresh(), batch_of()
    settings = replace(CAT, method="rl", anchor="a meadow", options={"alpha": 0.5})
    terms = METHODS["rl"].loss(METHODS["rl"].context(Base(pipe), settings), batch)
    with torch.no_grad():
        z_t = noised(pipe, batch.original, batch.eps, batch.t)

        def guess(z: torch.Tensor, t: torch.Tensor, prompts: list[str]) -> torch.Tensor:
            return pipe.unet(z, t, encoder_hidden_states=text_states(pipe, prompts)).sample

        right = guess(z_t, batch.t, ["a photo of a cat"] * 3)
        wrong = guess(z_t, batch.t, ["a meadow"] * 3)
        z_r = noised(pipe, batch.retain, batch.retain_eps, batch.retain_t)
        kept = guess(z_r, batch.retain_t, batch.retain_prompts)
    assert terms["forget"].item() == pytest.approx(((right - wrong) ** 2).mean().item(), rel=1e-5)
    expected = 0.5 * ((kept - batch.retain_eps) ** 2).mean().item()
    assert terms["retain"].item() == pytest.approx(expected, rel=1e-5)
    stays = replace(settings, trains="kv", options={"alpha": 0.0, "retain": 3.0})
    context = METHODS["rl"].context(Base(pipe), stays)
    with torch.no_grad():
        pipe.unet.conv_out.bias += 0.5  # moves every answer by 0.5; the frozen model stays
        terms = METHODS["rl"].loss(context, batch)
    assert terms["retain"].item() == pytest.approx(3.0 * 0.5**2, rel=1e-4)


@pytest.mark.parametrize(
    ("anchor", "keep", "wanted"),
    [("", ("dog", "boat"), "a photo of a dog"), ("", (), ""), ("a boat", ("dog",), "a boat")],
)
def test_the_first_to_keep_takes_the_place_unless_another_is_named(
    fresh, anchor, keep, wanted
) -> None:
    settings = replace(CAT, method="rl", anchor=anchor, keep=keep)
    assert METHODS["rl"].context(Base(fresh()), settings).anchor == wanted


def test_random_labelling_stops_the_gradient_of_the_wrong_label(fresh) -> None:
    pipe, batch = fresh(), batch_of()
    settings = replace(CAT, method="rl", anchor="a photo of a cat")
    terms = METHODS["rl"].loss(METHODS["rl"].context(Base(pipe), settings), batch)
    assert terms["forget"].item() == 0  # the anchor is the concept's own prompt
    terms = METHODS["rl"].loss(
        METHODS["rl"].context(Base(pipe), replace(settings, anchor="a boat")), batch
    )
    grad = torch.autograd.grad(terms["forget"], pipe.unet.conv_out.weight)[0]
    z_t = noised(pipe, batch.original, batch.eps, batch.t)
    with torch.no_grad():
        wrong = pipe.unet(z_t, batch.t, text_states(pipe, ["a boat"] * 3)).sample
    right = pipe.unet(z_t, batch.t, text_states(pipe, ["a photo of a cat"] * 3)).sample
    by_hand = torch.autograd.grad(((right - wrong) ** 2).mean(), pipe.unet.conv_out.weight)[0]
    assert torch.allclose(grad, by_hand, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("eta", "prompt"), [(-1.0, "a photo of a cat"), (1.0, " "), (0.3, " ")])
def test_esd_is_at_rest_where_its_target_is_the_models_own_answer(fresh, eta, prompt) -> None:
    pipe = fresh()
    settings = replace(
        CAT, method="esd", trains="full", prompt=prompt, options={"eta": eta, "draw_steps": 4}
    )
    batch = replace(batch_of(), prompts=[prompt] * 3)
    terms = METHODS["esd"].loss(METHODS["esd"].context(Base(pipe), settings), batch)
    assert terms["forget"].item() == pytest.approx(0, abs=1e-9)


def test_esd_steers_away_from_the_frozen_model(fresh) -> None:
    pipe, batch = fresh(), batch_of()
    settings = replace(CAT, method="esd", trains="full", options={"eta": 2.0, "draw_steps": 4})
    context = METHODS["esd"].context(Base(pipe), settings)
    frozen = fresh().unet
    with torch.no_grad():
        pipe.unet.conv_out.bias += 0.5  # the student has moved; the teacher has not
    x_t, t = context.partly_drawn(replace(batch, generator=torch.Generator().manual_seed(1)))
    terms = METHODS["esd"].loss(context, replace(batch, generator=torch.Generator().manual_seed(1)))
    cat, null = (text_states(pipe, [p] * 3) for p in ("a photo of a cat", ""))
    with torch.no_grad():
        e_null, e_cat = (frozen(x_t, t, one).sample for one in (null, cat))
        target = e_null - 2.0 * (e_cat - e_null)
        expected = ((pipe.unet(x_t, t, cat).sample - target) ** 2).mean().item()
    assert terms["forget"].item() == pytest.approx(expected, rel=1e-4)


def test_esd_learns_at_every_noise_level(fresh) -> None:
    settings = replace(CAT, method="esd", trains="full", options={"draw_steps": 4})
    context = METHODS["esd"].context(Base(fresh()), settings)
    levels = set()
    for seed in range(40):
        _, t = context.partly_drawn(batch_of(seed, 1))
        levels.add(int(t[0]))
    assert len(levels) == 4
    assert 0 in levels


# ------------------------------------------------------------------ the loop


def test_training_brings_the_loss_down(fresh, items, tmp_path: Path) -> None:
    settings = replace(CAT, steps=40, trains="full", lr=3e-3, save_every=0)
    train(fresh(), items, settings, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").open()]
    assert len(losses) == 40
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


@pytest.mark.parametrize(
    ("method", "trains"), [("lora", "lora"), ("esd", "kv"), ("rl", "cross-attention")]
)
def test_a_stopped_run_goes_on_to_the_same_weights(fresh, items, tmp_path, method, trains) -> None:
    settings = replace(CAT, method=method, trains=trains, **KEEP)
    if method == "esd":
        settings = replace(settings, options={"draw_steps": 3})
    whole = train(fresh(), items, settings, tmp_path / "whole")
    asked: Iterator[bool] = iter([False, True])
    part = train(fresh(), items, settings, tmp_path / "parts", stop=lambda: next(asked))
    assert (part.step, part.finished) == (2, False)
    rest = train(fresh(), items, settings, tmp_path / "parts")
    assert (rest.step, rest.finished) == (4, True)
    ours, theirs = (
        load_file(next(result.patch.folder.glob("*.safetensors"))) for result in (whole, rest)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(value.any() for value in ours.values())


@pytest.mark.parametrize(
    ("trains", "moves"),
    [
        ("kv", lambda n: "attn2.to_k" in n or "attn2.to_v" in n),
        ("cross-attention", lambda n: "attn2" in n),
        ("no-cross-attention", lambda n: "attn2" not in n),
        ("full", lambda n: True),
    ],
)
def test_only_the_chosen_weights_move(fresh, items, tmp_path, trains, moves) -> None:
    pipe = fresh()
    before = weights_of(pipe.unet)
    settings = replace(CAT, method="rl", trains=trains, steps=2, anchor="a boat", **KEEP)
    train(pipe, items, settings, tmp_path)
    moved = {n for n, value in pipe.unet.state_dict().items() if not torch.equal(value, before[n])}
    assert moved
    assert all(moves(name) for name in moved)
    if trains == "no-cross-attention":
        assert not any(name.startswith(("conv_out", "time_embedding")) for name in moved)


def test_accumulated_batches_are_one_larger_batch(fresh, items, tmp_path: Path) -> None:
    pipe = fresh()
    settings = replace(CAT, trains="full", steps=1, accumulate=2, clip=0.0)
    train(pipe, items, settings, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert len(rows) == 1
    one = replace(settings, accumulate=1)
    train(fresh(), items, one, tmp_path / "one")
    first = json.loads((tmp_path / "one" / "log.jsonl").read_text())
    assert rows[0]["loss"] != first["loss"]  # a second batch was in it


def test_checkpointing_saves_memory_not_results(fresh, items, tmp_path: Path) -> None:
    settings = replace(CAT, trains="kv", steps=2)
    plain = train(fresh(), items, settings, tmp_path / "plain")
    spare = replace(settings, gradient_checkpointing=True)
    spared = train(fresh(), items, spare, tmp_path / "spared")
    ours, theirs = (load_file(r.patch.folder / "patch.safetensors") for r in (plain, spared))
    assert all(torch.allclose(ours[n], theirs[n], atol=1e-6) for n in ours)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_keeps_the_weights_float32(fresh, items, tmp_path, precision) -> None:
    result = train(fresh(), items, replace(CAT, precision=precision), tmp_path / "run")
    plain = train(fresh(), items, CAT, tmp_path / "plain")
    losses = [
        json.loads(line)["loss"] for r in (result, plain) for line in _log_of(r.patch.folder.parent)
    ]
    assert losses[0] != losses[4]
    assert losses[0] == pytest.approx(losses[4], rel=0.05)
    tensors = load_file(result.patch.folder / "pytorch_lora_weights.safetensors")
    assert {value.dtype for value in tensors.values()} == {torch.float32}
    assert any(value.any() for name, value in tensors.items() if "lora_B" in name or "up" in name)


def test_a_run_in_half_precision_goes_on_with_the_scale_of_its_loss(fresh, items, tmp_path) -> None:
    settings = replace(CAT, precision="fp16", trains="kv")
    whole = train(fresh(), items, settings, tmp_path / "whole")
    asked: Iterator[bool] = iter([False, True])
    train(fresh(), items, settings, tmp_path / "parts", stop=lambda: next(asked))
    with safe_open(tmp_path / "parts" / "checkpoint.safetensors", "pt") as file:
        assert json.loads(file.metadata()["scaler"])["scale"] > 0
    rest = train(fresh(), items, settings, tmp_path / "parts")
    ours, theirs = (load_file(r.patch.folder / "patch.safetensors") for r in (whole, rest))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def _log_of(folder: Path) -> list[str]:
    return (folder / "log.jsonl").read_text().splitlines()


def test_a_loss_that_is_no_number_ends_the_run(fresh, items, tmp_path: Path) -> None:
    pipe = fresh()
    with torch.no_grad():
        pipe.unet.conv_out.bias[0] = float("nan")
    with pytest.raises(ForgetmeError, match="nan at step 0"):
        train(pipe, items, CAT, tmp_path)


def test_probes_are_logged_with_the_steps(fresh, items, tmp_path: Path) -> None:
    def probing(pipe, step: int):
        return probe(pipe, sees("cat"), "cat", ("dog",), step=step, n=2, pictures=tmp_path / "p")

    result = train(fresh(), items, replace(CAT, probe_every=2), tmp_path / "run", probing=probing)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    assert [row["step"] for row in rows if "probe" in row] == [0, 2, 4]
    assert [one.step for one in result.probes] == [0, 2, 4]
    assert (result.probes[0].forget, result.probes[0].retain) == (1.0, 0.0)
    assert (tmp_path / "p" / "000004 cat.png").is_file()


def test_a_picture_of_a_probe_is_never_there_by_halves(fresh, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "replace", lambda *_: 1 / 0)  # killed before the last moment
    with pytest.raises(ZeroDivisionError):
        probe(fresh(), sees("cat"), "cat", (), step=4, n=1, pictures=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_time_left_is_that_of_the_latest_steps_and_of_the_probes_to_come() -> None:
    bare = replace(CAT, steps=100, probe_every=0, keep=("dog", "bird"))
    slow_start = [(step, 50.0 + 2 * step) for step in range(31, 41)]  # 2 s a step, after 50 s
    assert seconds_left(bare, 0, slow_start, 40) == pytest.approx(120)
    a_step = units(bare, 0, first=40, last=41)
    probes = units(bare, 8, first=40) - units(bare, 0, first=40)
    left = seconds_left(bare, 8, slow_start, 40)
    assert left == pytest.approx(120 + 2 * probes / a_step)
    assert seconds_left(bare, 8, slow_start, 100) == pytest.approx(2 * probes / a_step)
    assert seconds_left(bare, 8, slow_start[:1], 40) is None


def test_a_picture_of_nothing_shows_no_concept(fresh) -> None:
    found = probe(fresh(), sees("meadow"), "cat", ("dog",), step=0, n=2)
    assert (found.forget, found.retain) == (0.0, 0.0)


def sees(answer: str) -> Callable:
    def recognise(pictures, labels):
        return np.array([[float(label == answer) for label in labels] for _ in pictures])

    return recognise


# ------------------------------------------------------------------ patches


def test_a_lora_patch_loads_into_a_plain_pipeline(fresh, items, tmp_path: Path) -> None:
    pipe = fresh()
    result = train(pipe, items, CAT, tmp_path)
    trained = picture_of(pipe)
    other = fresh()
    plain = picture_of(other)
    other.load_lora_weights(str(result.patch.folder))
    assert np.abs(picture_of(other) - trained).max() < 1e-5
    assert np.abs(plain - trained).max() > 1e-3


def test_a_difference_patch_gives_the_trained_weights(fresh, items, tmp_path: Path) -> None:
    pipe = fresh()
    result = train(pipe, items, replace(CAT, trains="kv"), tmp_path)
    other = fresh()
    Wardrobe(other).wear(result.patch)
    for name, value in pipe.unet.state_dict().items():
        assert torch.allclose(value, other.unet.state_dict()[name], atol=1e-7), name


@pytest.mark.parametrize("trains", ["lora", "kv"])
def test_a_patch_comes_off_without_a_trace(fresh, items, tmp_path: Path, trains: str) -> None:
    patch = train(fresh(), items, replace(CAT, trains=trains), tmp_path).patch
    pipe = fresh()
    before, plain = weights_of(pipe.unet), picture_of(pipe)
    wardrobe = Wardrobe(pipe)
    wardrobe.wear(patch, 0.5)
    half = picture_of(pipe)
    wardrobe.wear(patch, 1.0)
    assert wardrobe.worn == {patch.name: 1.0}
    assert not np.array_equal(picture_of(pipe), half)
    wardrobe.wear(patch, 0.0)
    assert np.abs(picture_of(pipe) - plain).max() < 1e-5
    wardrobe.take_off()
    after = pipe.unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_owners_lora_is_left_alone(fresh, items, tmp_path: Path) -> None:
    """Its name, its scale, and whether it is active; a patch acts beside it."""
    mine = train(fresh(), items, replace(CAT, seed=3), tmp_path / "mine").patch
    ours = train(fresh(), items, CAT, tmp_path / "ours").patch
    strong = {
        name: 30 * value
        for name, value in load_file(mine.folder / "pytorch_lora_weights.safetensors").items()
    }
    pipe = fresh()
    plain = picture_of(pipe)
    pipe.load_lora_weights(strong, adapter_name="mine")
    pipe.set_adapters(["mine"], [0.5])
    before = picture_of(pipe)
    assert np.abs(before - plain).max() > 1e-3
    wardrobe = Wardrobe(pipe)
    wardrobe.wear(ours)
    assert pipe.get_active_adapters() == ["mine", ours.name]
    both = picture_of(pipe)
    wardrobe.wear(ours, 0.0)
    assert np.abs(picture_of(pipe) - before).max() < 1e-5
    wardrobe.take_off()
    assert pipe.get_list_adapters() == {"unet": ["mine"]}
    assert pipe.get_active_adapters() == ["mine"]
    assert np.array_equal(picture_of(pipe), before)
    for layer in pipe.unet.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_adapter([])  # switched off by its owner
    wardrobe.wear(ours)
    assert pipe.get_active_adapters() == [ours.name]
    assert not np.array_equal(picture_of(pipe), both)
    wardrobe.take_off()
    assert pipe.get_active_adapters() == []
    assert np.array_equal(picture_of(pipe), plain)


def test_patches_of_both_kinds_stack(fresh, items, tmp_path: Path) -> None:
    one = train(fresh(), items, replace(CAT, trains="kv"), tmp_path / "one").patch
    two = train(fresh(), items, replace(CAT, trains="kv", seed=1), tmp_path / "two").patch
    lora = train(fresh(), items, CAT, tmp_path / "lora").patch
    pipe = fresh()
    before = weights_of(pipe.unet)
    wardrobe = Wardrobe(pipe)
    wardrobe.wear(one, 0.5)
    wardrobe.wear(lora)
    wardrobe.wear(two, 0.25)
    deltas = [load_file(patch.folder / "patch.safetensors") for patch in (one, two)]
    now = {n.replace(".base_layer.", "."): p for n, p in pipe.unet.named_parameters()}
    for name in deltas[0]:
        expected = before[name] + 0.5 * deltas[0][name] + 0.25 * deltas[1][name]
        assert torch.allclose(now[name], expected, atol=1e-7)
    wardrobe.take_off(one)
    assert set(wardrobe.worn) == {lora.name, two.name}
    wardrobe.take_off()
    assert all(torch.equal(value, before[n]) for n, value in pipe.unet.state_dict().items())


def test_a_patch_of_another_model_is_refused(fresh, items, tmp_path: Path) -> None:
    patch = train(fresh(), items, replace(CAT, trains="kv"), tmp_path / "run").patch
    from diffusers import StableDiffusionPipeline

    other = StableDiffusionPipeline.from_pretrained(
        save_diffusion(tmp_path / "other", in_channels=4), safety_checker=None
    )
    other.unet.down_blocks[0].attentions = torch.nn.ModuleList()
    with pytest.raises(ForgetmeError, match="was made for"):
        Wardrobe(other).wear(patch)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Wardrobe(fresh()).wear(patch, 1.5)
    with pytest.raises(MissingModelError, match="train METHOD"):
        read_patch(tmp_path / "nothing")


def test_the_record_names_what_made_the_patch(fresh, items, tmp_path: Path) -> None:
    train(fresh(), items, CAT, tmp_path, base="small")
    record = json.loads((tmp_path / "patch" / "patch.json").read_text())
    assert record["base"] == "small"
    assert record["data"] == fingerprint(items)
    assert (record["method"], record["seed"], record["steps_done"]) == ("lora", 0, 4)
    assert set(record["versions"]) == {"forgetme", "torch", "python"}


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trains": "no-cross-attention"}, "lora cannot train no-cross-attention; it can: lora"),
        ({"options": {"eta": 1.0}}, "lora has no option eta"),
        ({"method": "rl"}, "something that must stay"),
        ({"options": {"retain": 1.0}}, "something that must stay"),
    ],
)
def test_impossible_pairs_are_refused_with_the_reason(items, changes: dict, words: str) -> None:
    with pytest.raises(ForgetmeError, match=words):
        check(replace(CAT, **changes), items)


def test_a_method_that_needs_pictures_says_so() -> None:
    with pytest.raises(ForgetmeError, match="learns from pictures of cat"):
        check(CAT, [])
    check(replace(CAT, method="esd"), [])  # needs none


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": -1}, "steps must be at least 0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"trains": "vae"}, "unknown weights to train"),
        ({"precision": "int8"}, "unknown precision"),
        ({"keep": ("cat",)}, "forgotten and kept"),
    ],
)
def test_settings_that_no_run_can_have_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(CAT, **changes)


def test_a_folder_of_another_run_is_refused(fresh, items, tmp_path: Path) -> None:
    train(fresh(), items, replace(CAT, steps=1), tmp_path)
    with pytest.raises(ForgetmeError, match="other lr"):
        train(fresh(), items, replace(CAT, lr=1e-3), tmp_path)


def test_unknown_methods_are_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: lora, rl, salun"):
        check(replace(CAT, method="magic"), [])


# ------------------------------------------------------------------ data


def test_a_folder_gives_its_quadruples_with_captions(drawn: Path) -> None:
    items = items_of_folder(drawn)
    assert len(items) == 4
    assert all("cat" in item.caption for item in items)
    assert [item.original.stem for item in items] == [item.mask.stem for item in items]


def test_a_folder_without_layers_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ForgetmeError, match="no folder original/"):
        items_of_folder(tmp_path)


def test_a_store_without_accepted_samples_says_so(store) -> None:
    with pytest.raises(ForgetmeError, match="no accepted sample of 'cat'"):
        items_of_store(store, "cat")


def test_the_fingerprint_is_of_pixels(items) -> None:
    assert fingerprint(items) == fingerprint(list(items))
    assert fingerprint(items) != fingerprint(items[:-1])
    swapped = replace(items[0], background=items[1].background)
    assert fingerprint(items) != fingerprint([swapped, *items[1:]])


def test_pictures_are_cut_square_from_the_middle() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    assert (square(wide, 5) == 255).all()


def test_the_layout_for_quick_steps_is_taken_back(fresh) -> None:
    unet = fresh().unet
    was = {name: (value.clone(), value.stride()) for name, value in unet.named_parameters()}
    with quick(unet):
        assert unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        assert not unet.conv_in.weight.is_contiguous()
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()
    for name, value in unet.named_parameters():
        assert value.stride() == was[name][1]
        assert torch.equal(value, was[name][0])
