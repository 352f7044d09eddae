"""Every method on every family that it is for: trained, saved, worn and taken off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_base import base, fresh, items
from train_families import FAMILIES

from forgetme.errors import ForgetmeError
from forgetme.train import METHODS, RunSettings, Wardrobe, check, train
from forgetme.train.batches import draw_batch, make_latents
from forgetme.train.model import base_of, core_of
from forgetme.train.notes import weights_of_pipe

__all__ = ["base", "fresh", "items"]

CAT = RunSettings(
    "rl", "cat", steps=2, lr=1e-2, batch=2, rank=2, probe_every=0, save_every=0,
    keep=("dog",), retain_pictures=2, trains="kv",
)  # fmt: skip
FEW = {"draw_steps": 3, "attack_steps": 2, "inversion": 2, "words": 2}
PAIRS = [(name, family) for name, one in METHODS.items() for family in one.bases]


def settings_of(name: str, family: str = "sd") -> RunSettings:
    """The method's first weights, or LoRA where the family has no others, in few steps."""
    method = METHODS[name]
    trains = "lora" if family == "sd3" and "lora" in method.trains else method.trains[0]
    options = {key: FEW[key] for key in method.options if key in FEW}
    steps = CAT.steps if method.loss else 0
    return replace(CAT, method=name, trains=trains, steps=steps, options=options)


def pipe_of(family: str, fresh):  # noqa: ANN201
    return fresh() if family == "sd" else FAMILIES[family]()


def picture_of(pipe, prompt: str = "a photo of a cat") -> np.ndarray:
    generator = torch.Generator().manual_seed(3)
    drawn = pipe(
        prompt, num_inference_steps=2, generator=generator, output_type="latent", height=64,
        width=64,
    )  # fmt: skip
    return drawn.images.float().numpy()


def weights_of(pipe) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in weights_of_pipe(pipe).items()}


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_a_method_is_trained_worn_and_taken_off(name, family, fresh, items, tmp_path) -> None:
    if family == "sd3" and name == "uce":
        settings = replace(settings_of(name, family), trains="kv")
    settings = settings_of(name, family)
    pipe = pipe_of(family, fresh)
    pictures = (
        items if METHODS[name].needs_with(settings.options) & {"original", "background"} else []
    )
    patch = train(pipe, pictures, settings, tmp_path).patch
    trained, other = picture_of(pipe), pipe_of(family, fresh)
    before, plain = weights_of(other), picture_of(other)
    assert np.abs(trained - plain).max() > 1e-4
    wardrobe = Wardrobe(other)
    wardrobe.wear(patch)
    assert np.abs(picture_of(other) - trained).max() < 1e-3
    wardrobe.take_off()
    after = weights_of(other)
    assert all(torch.equal(after[one], value) for one, value in before.items())
    assert np.array_equal(picture_of(other), plain)


def test_what_a_base_cannot_take_is_refused_with_the_reason(items, tmp_path: Path) -> None:
    for name in ("fmn", "speed"):
        with pytest.raises(ForgetmeError, match=f"{name} is not defined for StableDiffusion3"):
            train(FAMILIES["sd3"](), items, settings_of(name), tmp_path / name)
        assert not (tmp_path / name).exists()
    settings = replace(settings_of("esd"), trains="cross-attention")
    with pytest.raises(ForgetmeError, match="no weights of the kind cross-attention"):
        train(FAMILIES["sd3"](), items, settings, tmp_path / "esd")


def test_sdxl_is_told_sizes_and_a_summary_and_flow_goes_straight() -> None:
    xl, flow = base_of(FAMILIES["sdxl"]()), base_of(FAMILIES["sd3"]())
    told = xl.text(["a photo of a cat", ""])
    assert told["encoder_hidden_states"].shape == (2, 16, 40)
    assert told["text_embeds"].shape == (2, 24)
    assert not told["encoder_hidden_states"][1].any()  # as the pipeline draws without a prompt
    assert told["time_ids"].tolist() == [[64, 64, 0, 0, 64, 64]] * 2
    z, eps, t = torch.ones(2, 4, 8, 8), torch.full((2, 4, 8, 8), 3.0), torch.tensor([0, 999])
    levels = [3 * s / (1 + 2 * s) for s in (0.001, 1.0)]  # the shift of 3
    near = flow.noise(z, eps, t)[:, 0, 0, 0].tolist()
    assert near == pytest.approx([1 + 2 * one for one in levels], abs=1e-5)
    assert flow.target(z, eps, t)[0, 0, 0, 0] == 2
    seen = []
    core_of(flow.pipe).register_forward_pre_hook(
        lambda m, a, k: seen.append(k["timestep"]), with_kwargs=True
    )
    flow.call(flow.core, z, t, flow.text(["a cat", "a dog"]))
    assert seen[0].tolist() == pytest.approx([1000 * one for one in levels], abs=1e-2)
    pixels = [np.zeros((64, 64, 3), np.uint8)]
    half = base_of(FAMILIES["sdxl"]())
    half.pipe.vae.to(torch.float16)
    assert torch.isfinite(half.encode(pixels)).all()
    assert half.pipe.vae.dtype == torch.float16
    assert torch.allclose(half.encode(pixels), xl.encode(pixels), atol=1e-2)


def test_velocity_is_what_a_v_prediction_model_learns(fresh, items, tmp_path: Path) -> None:
    pipe = fresh()
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    base = base_of(pipe)
    z, eps, t = torch.ones(1, 4, 8, 8), torch.full((1, 4, 8, 8), 2.0), torch.tensor([500])
    a = base.schedule.alphas_cumprod[500]
    assert base.target(z, eps, t)[0, 0, 0, 0].item() == pytest.approx(
        float(a**0.5 * 2 - (1 - a) ** 0.5), abs=1e-5
    )
    assert train(pipe, items, settings_of("lora"), tmp_path).finished


# ------------------------------------------------------------------ what a method promises


def context(name: str, fresh, items, tmp_path: Path, **changes):  # noqa: ANN003, ANN201
    """A method's context and a batch, with weights chosen and set up."""
    from forgetme.train.params import choose

    settings = replace(settings_of(name), **changes)
    model, method = base_of(fresh()), METHODS[name]
    ctx = method.context(model, settings)
    needs = method.needs_with(settings.options)
    data = make_latents(model, needs, items, settings, tmp_path, "key")
    ctx.chosen = choose(model, settings)
    torch.manual_seed(0)
    if method.setup:
        method.setup(ctx, data)
    return ctx, draw_batch(data, settings, 0, model, slice(None))


def test_salun_moves_half_of_the_weights_and_no_other(fresh, items, tmp_path: Path) -> None:
    patch = train(fresh(), items, settings_of("salun"), tmp_path).patch
    moved = load_file(patch.file)
    count = sum(int((value != 0).sum()) for value in moved.values())
    whole = sum(p.numel() for p in fresh().unet.parameters())
    assert 0.3 * whole < count <= 0.5 * whole + 1
    full = replace(settings_of("salun"), options={"share": 1.0})
    rl = replace(full, method="rl", options={})
    ours, theirs = (
        load_file(train(fresh(), items, one, tmp_path / one.method).patch.file)
        for one in (full, rl)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_loreun_without_weights_is_random_labelling(fresh, items, tmp_path: Path) -> None:
    ctx, batch = context("loreun", fresh, items, tmp_path, options={"eta_f": 0.0, "eta_r": 0.0})
    plain, _ = context("rl", fresh, items, tmp_path)
    ours, theirs = METHODS["loreun"].loss(ctx, batch), METHODS["rl"].loss(plain, batch)
    for name in ("forget", "retain"):
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=1e-5)
    ctx, batch = context("loreun", fresh, items, tmp_path, options={"eta_f": 50.0})
    assert METHODS["loreun"].loss(ctx, batch)["forget"].item() != ours["forget"].item()
    with pytest.raises(ForgetmeError, match="--batch 2 or more"):
        check(replace(settings_of("loreun"), batch=1), items)


def test_fmn_looks_away_at_the_objects_pixels(fresh, items, tmp_path: Path) -> None:
    ctx, batch = context("fmn", fresh, items, tmp_path, options={"inversion": 0.0})
    whole = METHODS["fmn"].loss(ctx, replace(batch, mask=torch.ones_like(batch.mask)))["forget"]
    inside = METHODS["fmn"].loss(ctx, batch)["forget"]
    assert 0 < inside < whole
    places = ctx.state["a photo of a cat"].nonzero().flatten().tolist()
    ids = ctx.tokens("a photo of a cat")
    assert places == [5, 6]  # the word, and the first end of text: what follows is padding
    assert ids[6] == ids[7] == ctx.base.pipe.tokenizer.eos_token_id
    with pytest.raises(ForgetmeError, match="does not hold the tokens of 'dog'"):
        ctx.positions("a photo of a cat", "dog")
    settings = replace(settings_of("fmn"), steps=8, options={})
    train(fresh(), items, settings, tmp_path / "run")
    import json

    losses = [json.loads(line)["forget"] for line in (tmp_path / "run" / "log.jsonl").open()]
    assert losses[-1] < losses[0]


def test_ca_and_frozen_targets_rest_where_the_anchor_is_the_prompt(fresh, items, tmp_path) -> None:
    same = {"anchor": "a photo of a cat"}
    ctx, batch = context("ca", fresh, items, tmp_path, **same)
    assert METHODS["ca"].loss(ctx, batch)["forget"].item() == 0
    noise, _ = context("ca", fresh, items, tmp_path, options={"target": "noise"})
    z_t = noise.add_noise(batch.drawn, batch.eps, batch.t)
    guess = noise.student(z_t, batch.t, "a photo of a cat")
    found = METHODS["ca"].loss(noise, batch)["forget"].item()
    assert found == pytest.approx((guess - batch.eps).square().mean().item(), rel=1e-5)
    own, masked = context("ca", fresh, items, tmp_path, options={"pictures": "original"})
    assert masked.drawn is None
    assert METHODS["ca"].loss(own, masked)["forget"].item() > 0
    frozen = {**same, "options": {"target": "frozen", "alpha": 0.0}, "trains": "lora"}
    ctx, batch = context("rl", fresh, items, tmp_path, **frozen)
    assert METHODS["rl"].loss(ctx, batch)["forget"].item() == pytest.approx(0, abs=1e-12)
    for name, value in ctx.base.core.named_parameters():
        if "lora_B" in name:
            value.data += 0.1
    assert METHODS["rl"].loss(ctx, batch)["forget"].item() > 1e-6  # its only pull goes back


def test_spare_gives_lora_to_the_layers_that_the_concept_moves(fresh, items, tmp_path) -> None:
    options = {"target": "frozen", "modules": 0.5}
    settings = replace(settings_of("rl"), trains="lora", options=options)
    half = load_file(train(fresh(), items, settings, tmp_path / "half").patch.file)
    dense = replace(settings, options={"target": "frozen"})
    whole = load_file(train(fresh(), items, dense, tmp_path / "whole").patch.file)
    assert len(half) == len(whole) / 2
    pipe = fresh()
    pipe.load_lora_weights(half)
    with pytest.raises(ForgetmeError, match="with --trains lora"):
        check(replace(settings, trains="kv"), items)


def test_closed_forms_keep_what_must_stay_and_move_the_concept(fresh, tmp_path: Path) -> None:
    def said(pipe, prompt: str) -> torch.Tensor:
        """What the values of a cross-attention layer make of the prompt's last word."""
        model = base_of(pipe)
        name = next(one for one in model.reading_states() if one.endswith("to_v.weight"))
        place = model.tokens([prompt])[0].tolist().index(pipe.tokenizer.eos_token_id) - 1
        state = model.text([prompt])["encoder_hidden_states"][0, place]
        return (weights_of_pipe(pipe)[name] @ state).detach()

    cat, dog = "cat", "dog"
    plain = fresh()
    way = (said(plain, dog) - said(plain, cat)).norm()
    for name, options in (
        ("uce", {"erase": 1000.0, "keep": 1000.0}),
        ("rece", {"erase": 1000.0, "keep": 1000.0, "round_keep": 1000.0}),
        ("speed", {"strength": 1e6, "bound": 1e-3, "augment": 0.0}),
    ):
        pipe, settings = fresh(), replace(settings_of(name), anchor=dog, keep=(dog,))
        train(pipe, [], replace(settings, options=options), tmp_path / name)
        near = 1.0 if name == "rece" else 0.1  # it has another state to take along
        assert (said(pipe, cat) - said(plain, dog)).norm() < near * way, name
        assert (said(pipe, dog) - said(plain, dog)).norm() < 0.05 * way, name
    with pytest.raises(ForgetmeError, match="name some with --keep"):
        check(replace(settings_of("speed"), keep=(), anchor=dog), [])
    with pytest.raises(ForgetmeError, match="steps must be 0"):
        check(replace(settings_of("uce"), steps=3), [])


def test_a_slider_is_a_dial(fresh, items, tmp_path: Path) -> None:
    patch = train(fresh(), items, settings_of("slider"), tmp_path).patch
    pipe = fresh()
    plain, wardrobe, found = picture_of(pipe), Wardrobe(pipe), {}
    for scale in (-1.0, 0.0, 1.0):
        wardrobe.wear(patch, scale)
        found[scale] = picture_of(pipe)
    assert np.abs(found[0.0] - plain).max() == 0
    assert ((found[1.0] - plain) * (found[-1.0] - plain)).sum() < 0  # to opposite sides
    lora = train(fresh(), items, settings_of("lora"), tmp_path / "lora").patch
    with pytest.raises(ValueError, match="between 0 and 1"):
        wardrobe.wear(lora, -1.0)


def test_an_adversary_finds_what_the_model_answers_as_before(fresh, items, tmp_path) -> None:
    from forgetme.train.inversion import text_with
    from forgetme.train.methods import advunlearn

    options = {"attack_steps": 30, "attack_lr": 0.1, "draw_steps": 3}
    ctx, batch = context("advunlearn", fresh, items, tmp_path, trains="lora", options=options)
    for name, value in ctx.base.core.named_parameters():
        if "lora_B" in name:
            value.data += 0.1 * torch.randn(value.shape)
    prompt, wanted = "x a photo of a cat", ctx.teacher(batch.eps, batch.t, "a photo of a cat")

    def error(steps: int) -> float:
        ctx._options["attack_steps"] = steps
        rows = advunlearn.attack(ctx, prompt, batch.eps, batch.t, wanted, 0)
        told = text_with(ctx.base, prompt, rows, 2)
        return ctx.mse(ctx.base.call(ctx.core, batch.eps, batch.t, told), wanted).item()

    assert error(30) < error(0)
