"""What the loop offers a method, with methods made for the test on a small Stable Diffusion."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_base import base, fresh, items

from forgetme.errors import ForgetmeError
from forgetme.record.images import read_mask
from forgetme.train import METHODS, Probe, RunSettings, check, train
from forgetme.train.batches import make_latents
from forgetme.train.model import Base, base_of
from forgetme.train.quick import quick

__all__ = ["base", "fresh", "items"]

RL = METHODS["rl"]
TOY = RunSettings(
    "toy", "cat", steps=3, lr=1e-2, batch=2, probe_every=0, save_every=1, trains="kv",
    keep=("dog",), retain_pictures=2,
)  # fmt: skip


def difference(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "patch" / "patch.safetensors")


def alike(a: Path, b: Path) -> bool:
    ours, theirs = difference(a), difference(b)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_the_loop_is_these_lines(fresh, items, tmp_path: Path) -> None:
    """Random labelling by hand, from the same latents: seeds, order, loss and Adam."""
    settings = replace(TOY, method="rl", clip=0.0, options={"alpha": 0.5})
    train(fresh(), items, settings, tmp_path)
    pipe = fresh()
    z = load_file(next((tmp_path / "latents").glob("original-*.safetensors")))["z"]
    kept = load_file(next((tmp_path / "latents").glob("retain-*.safetensors")))["z"]
    texts = {
        words: pipe.text_encoder(
            pipe.tokenizer([words], padding="max_length", max_length=16, return_tensors="pt")
            .input_ids
        )[0].detach()
        for words in ("a photo of a cat", "a photo of a dog", "a dog")
    }  # fmt: skip
    alphas = pipe.scheduler.alphas_cumprod
    pipe.unet.requires_grad_(False)
    moved = {n: p for n, p in pipe.unet.named_parameters() if ".to_k" in n or ".to_v" in n}
    moved = {n: p.requires_grad_() for n, p in moved.items() if "attn2" in n}
    before = {n: p.detach().clone() for n, p in moved.items()}
    adam = torch.optim.Adam(moved.values(), lr=settings.lr)

    def noisy(z, eps, t):
        a = alphas[t].view(-1, 1, 1, 1)
        return a**0.5 * z + (1 - a) ** 0.5 * eps

    def asked(z_t, t, prompts):
        return pipe.unet(z_t, t, torch.cat([texts[one] for one in prompts])).sample

    mse = torch.nn.functional.mse_loss
    with quick(pipe.unet):  # the loop's memory layout, which rounds in its own way
        for step in range(3):
            generator = torch.Generator().manual_seed(64 * step)
            rows = torch.randint(len(z), (2,), generator=generator)
            retain_rows = torch.randint(len(kept), (2,), generator=generator)
            t, retain_t = torch.randint(1000, (2, 2), generator=generator)
            eps, retain_eps = torch.randn((2, 2, 4, 8, 8), generator=generator)
            z_t, r_t = noisy(z[rows], eps, t), noisy(kept[retain_rows], retain_eps, retain_t)
            with torch.no_grad():
                wrong = asked(z_t, t, ["a photo of a dog"] * 2)
            forget = mse(asked(z_t, t, ["a photo of a cat"] * 2), wrong)
            names = [("a photo of a dog", "a dog")[int(row)] for row in retain_rows]
            loss = forget + 0.5 * mse(asked(r_t, retain_t, names), retain_eps)
            adam.zero_grad()
            loss.backward()
            adam.step()
    found = difference(tmp_path)
    assert found.keys() == moved.keys()
    for name, value in found.items():  # Adam makes steps of 0.01 of whatever is not nothing
        expected = moved[name].detach() - before[name]
        assert (value - expected).abs().mean() < 1e-5, name
        assert value.abs().mean() > 1e-3


def test_a_gradient_mask_is_one_line(fresh, items, tmp_path: Path, monkeypatch) -> None:
    """All ones is random labelling to the bit, all zeros moves nothing."""

    def mask(value: float) -> Callable:
        def setup(ctx, data) -> None:
            ctx.mask = {n: torch.full_like(p, value) for n, p in ctx.chosen.items()}

        return setup

    for name, value in (("ones", 1.0), ("zeros", 0.0)):
        monkeypatch.setitem(METHODS, "toy", replace(RL, name="toy", setup=mask(value)))
        train(fresh(), items, TOY, tmp_path / name)
    train(fresh(), items, replace(TOY, method="rl"), tmp_path / "rl")
    assert alike(tmp_path / "ones", tmp_path / "rl")
    assert any(value.any() for value in difference(tmp_path / "rl").values())
    assert difference(tmp_path / "zeros") == {}


def test_what_setup_saw_is_seen_again_when_a_run_goes_on(
    fresh, items, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(METHODS, "toy", replace(METHODS["salun"], name="toy"))
    train(fresh(), items, TOY, tmp_path / "whole")
    asked: Iterator[bool] = iter([False, True])
    train(fresh(), items, TOY, tmp_path / "parts", stop=lambda: next(asked))
    train(fresh(), items, TOY, tmp_path / "parts")
    assert alike(tmp_path / "whole", tmp_path / "parts")
    moved = sum(int((value != 0).sum()) for value in difference(tmp_path / "whole").values())
    unet = fresh().unet
    may = sum(unet.get_parameter(name).numel() for name in Base(fresh()).reading_states())
    assert 0.3 * may < moved <= 0.5 * may


def test_a_closed_form_takes_no_step(fresh, items, tmp_path: Path, monkeypatch) -> None:
    def halve(ctx, data) -> dict[str, torch.Tensor]:
        return {name: 0.5 * parameter.detach() for name, parameter in ctx.chosen.items()}

    def probing(pipe, step: int) -> Probe:
        weight = next(p for n, p in pipe.unet.named_parameters() if "attn2.to_v" in n)
        return Probe(step, float(weight.abs().mean()), None, {}, 1)

    toy = replace(METHODS["esd"], name="toy", loss=None, solve=halve)
    monkeypatch.setitem(METHODS, "toy", toy)
    settings = replace(TOY, steps=0)
    pipe = fresh()
    result = train(pipe, [], settings, tmp_path, probing=probing)
    assert result.finished
    for name, value in difference(tmp_path).items():
        now = pipe.unet.state_dict()[name]
        assert torch.allclose(value, -now, atol=1e-6)  # half of what it was has gone
    first, last = result.probes
    assert (first.step, last.step) == (0, 1)
    assert last.forget == pytest.approx(first.forget / 2)
    again = train(fresh(), [], settings, tmp_path, probing=probing)  # --resume does it again
    assert [one.step for one in again.probes] == [1]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert [row["step"] for row in rows] == [0, 1]
    with pytest.raises(ForgetmeError, match="esd learns step by step"):
        check(replace(settings, method="esd"), [])


def test_a_method_refuses_what_it_cannot_work_with(items, monkeypatch) -> None:
    def least_two(settings: RunSettings) -> None:
        if settings.batch < 2:
            raise ForgetmeError("toy compares the pictures of a batch; take --batch 2 or more")

    monkeypatch.setitem(METHODS, "toy", replace(RL, name="toy", check=least_two))
    check(TOY, items)
    with pytest.raises(ForgetmeError, match="--batch 2 or more"):
        check(replace(TOY, batch=1), items)


def test_masks_come_with_the_batch(fresh, items, tmp_path: Path, monkeypatch) -> None:
    base = Base(fresh())
    data = make_latents(base, {"mask"}, items, replace(TOY, keep=()), tmp_path, "key")
    truth = read_mask(items[0].mask)  # 128 px; 8 places of 16 px a side
    blocks = truth.reshape(8, 16, 8, 16).mean((1, 3))
    assert np.abs(data.mask[0, 0].numpy() - blocks).max() < 0.02
    assert len(data.original) == len(data.background) == 0
    seen = []

    def loss(ctx, batch):
        seen.append(batch.mask.shape)
        return RL.loss(ctx, batch)

    toy = replace(RL, name="toy", loss=loss, needs=RL.needs | {"mask"})
    monkeypatch.setitem(METHODS, "toy", toy)
    train(fresh(), items, replace(TOY, steps=1), tmp_path / "run")
    assert seen == [(2, 1, 8, 8)]


@pytest.mark.parametrize("trains", ["kv", "lora"])
def test_attention_is_captured_and_given_back(fresh, trains: str) -> None:
    from forgetme.train.params import choose

    pipe = fresh()
    settings = replace(TOY, method="lora", trains=trains)
    ctx = METHODS["lora"].context(Base(pipe), settings)
    choose(ctx.base, settings)
    before = {name: type(one) for name, one in pipe.unet.attn_processors.items()}
    z, t = torch.randn(2, 4, 8, 8), torch.tensor([10, 700])
    plain = ctx.student(z, t, ctx.prompts[0])
    with ctx.attention() as maps:
        found = ctx.student(z, t, ctx.prompts[0])
    assert torch.allclose(found, plain, atol=1e-5)
    assert {name: type(one) for name, one in pipe.unet.attn_processors.items()} == before
    layers = [name for name, _ in pipe.unet.named_modules() if name.endswith("attn2")]
    assert sorted(maps) == sorted(layers)
    for one in maps.values():
        assert (one.shape[0], one.shape[-1]) == (2, len(ctx.tokens(ctx.prompts[0])))
        assert torch.allclose(one.sum(-1), torch.ones(one.shape[:-1]), atol=1e-5)
    place = ctx.tokens(ctx.prompts[0]).index(pipe.tokenizer("cat").input_ids[1])
    sum(one[..., place].square().sum() for one in maps.values()).sqrt().backward()
    assert any(p.grad is not None and p.grad.any() for p in pipe.unet.parameters())
    pipe.unet.enable_gradient_checkpointing()
    with pytest.raises(ForgetmeError, match="leave it out"), ctx.attention():
        pass


def test_latents_are_shifted_and_scaled_as_the_model_has_them(fresh) -> None:
    base = Base(fresh())
    images = [np.full((64, 64, 3), 90, np.uint8)]
    plain = base.encode(images)
    base.pipe.vae.register_to_config(shift_factor=0.25)
    moved = base.encode(images)
    factor = base.pipe.vae.config.scaling_factor
    assert torch.allclose(moved, plain - 0.25 * factor, atol=1e-6)


def test_a_pipeline_of_another_family_is_refused_by_name(fresh) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler

    assert base_of(fresh()).latent_shape == (4, 8, 8)
    other = DDPMPipeline(fresh().unet, DDPMScheduler())
    with pytest.raises(ForgetmeError, match="DDPMPipeline cannot be trained here"):
        base_of(other)
