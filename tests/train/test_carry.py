"""Patches that travel: gates, LoRA for other programs, pipelines, stacks, several concepts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from test_lab import CAT, picture_of, settings_of, weights_of
from train_base import base, fresh, items
from train_families import FAMILIES

from forgetme.errors import ForgetmeError
from forgetme.train import RunSettings, Wardrobe, check, read_patch, train
from forgetme.train.batches import draw_batch, make_latents
from forgetme.train.carry import deltas, export_lora, fuse, lora_of, stack
from forgetme.train.gate import Gate
from forgetme.train.m_score import m_score
from forgetme.train.model import base_of
from forgetme.train.patch import write_delta
from forgetme.train.prompt_file import read_prompts, write_prompts

__all__ = ["base", "fresh", "items"]

KV = replace(CAT, trains="kv", anchor="a photo of a dog", options={"alpha": 0.0, "retain": 1.0})


def drawn(pipe) -> list[np.ndarray]:  # noqa: ANN001
    return [picture_of(pipe, one) for one in ("a photo of a cat", "a meadow at night")]


@pytest.mark.parametrize("trains", ["kv", "lora", "text-encoder"])
def test_behind_a_gate_a_prompt_without_the_concept_gets_the_untouched_model(
    fresh, items, tmp_path: Path, trains: str
) -> None:
    settings = replace(KV, trains=trains)
    if trains == "text-encoder":
        settings = replace(settings_of("advunlearn"), lr=0.1)
    patch = train(fresh(), items, settings, tmp_path).patch
    pipe = fresh()
    plain, wardrobe = drawn(pipe), Wardrobe(pipe)
    wardrobe.wear(patch)
    open_ = drawn(pipe)
    assert not any(np.array_equal(*pair) for pair in zip(plain, open_, strict=True))
    wardrobe.wear(patch, gate=True)
    cat, meadow = drawn(pipe)
    assert np.array_equal(meadow, plain[1])  # bit for bit
    assert np.allclose(cat, open_[0], atol=1e-5)  # all its tokens are there: the gate is wide open
    with pytest.raises(ForgetmeError, match="draw 'a meadow at night' by itself"):
        pipe(["a cat", "a meadow at night"], num_inference_steps=1)
    wardrobe.take_off()
    assert "encode_prompt" not in vars(pipe)
    assert all(np.array_equal(*pair) for pair in zip(plain, drawn(pipe), strict=True))


def test_a_gate_is_shut_for_what_must_stay_and_needs_a_concept(fresh, tmp_path: Path) -> None:
    pipe = fresh()
    record = {"method": "rl", "trains": "kv", "base": "", "concept": "cat", "keep": ["dog"]}
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"
    some = {name: torch.ones(32, 32)}
    gate = Gate(pipe, write_delta(tmp_path / "one", some, record))
    assert [gate(one) for one in ("a cat", "a photo of a dog", "dog", "")] == [1, 0, 0, 0]
    nothing = write_delta(tmp_path / "two", some, {**record, "concept": ""})
    with pytest.raises(ForgetmeError, match="names no concept"):
        Wardrobe(pipe).wear(nothing, gate=True)


def test_a_gate_reads_both_text_encoders_of_sdxl(tmp_path: Path) -> None:
    pipe = FAMILIES["sdxl"]()
    patch = train(pipe, [], settings_of("uce", "sdxl"), tmp_path).patch
    other = FAMILIES["sdxl"]()
    plain, wardrobe = drawn(other), Wardrobe(other)
    wardrobe.wear(patch, gate=True)
    cat, meadow = drawn(other)
    assert np.array_equal(meadow, plain[1])
    assert not np.array_equal(cat, plain[0])


# ------------------------------------------------------------------ other programs


def test_singular_values_give_the_best_lora_and_its_error() -> None:
    torch.manual_seed(0)
    u, v = torch.randn(6, 2), torch.randn(2, 5)
    found = {"a.weight": u @ v, "b.weight": torch.randn(4, 3, 3, 3), "c.bias": torch.ones(2)}
    layers, error = lora_of({"a.weight": u @ v}, 2, "unet")
    assert error == pytest.approx(0, abs=1e-6)
    both = layers["unet.a.lora_B.weight"] @ layers["unet.a.lora_A.weight"]
    assert torch.allclose(both, u @ v, atol=1e-5)
    layers, error = lora_of(found, 1, "unet")
    assert layers["unet.a.lora_A.weight"].shape == (1, 5)
    assert layers["unet.b.lora_A.weight"].shape == (1, 3, 3, 3)
    assert layers["unet.b.lora_B.weight"].shape == (4, 1, 1, 1)
    total = sum(float(one.square().sum()) for one in found.values())
    lost = sum(
        float(np.square(np.linalg.svd(one.flatten(1).numpy())[1][1:]).sum())
        for one in (found["a.weight"], found["b.weight"])
    )
    assert error == pytest.approx(((lost + 2) / total) ** 0.5, rel=1e-4)


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_an_exported_patch_goes_through_diffusers_own_loader(
    fresh, tmp_path: Path, form: str, family: str
) -> None:
    make = fresh if family == "sd" else FAMILIES[family]
    patch = train(make(), [], settings_of("uce", family), tmp_path / "run").patch
    out = tmp_path / ("lora.safetensors" if form == "kohya" else "lora")
    assert export_lora(patch, out, rank=64, form=form) < 1e-5  # of full rank: all of it
    worn, other = make(), make()
    Wardrobe(worn).wear(patch)
    plain = picture_of(other)
    other.load_lora_weights(str(out))
    assert np.abs(picture_of(other) - picture_of(worn)).max() < 1e-3
    assert np.abs(picture_of(other) - plain).max() > 1e-3
    names = list(load_file(out if out.is_file() else out / "pytorch_lora_weights.safetensors"))
    start = "lora_unet_down_blocks_0_attentions_0_" if form == "kohya" else "unet.down_blocks.0."
    assert any(name.startswith(start) for name in names)
    with pytest.raises(ForgetmeError, match="is there already"):
        export_lora(patch, out, form=form)


def test_a_text_encoders_patch_is_exported_with_its_own_names(fresh, tmp_path: Path) -> None:
    patch = train(fresh(), [], replace(settings_of("advunlearn"), lr=0.1), tmp_path / "run").patch
    assert all(name.startswith("text_encoder.") for name in load_file(patch.file))
    error = export_lora(patch, tmp_path / "lora", rank=64)
    assert 0 < error < 1  # embeddings and norms are no LoRA
    pipe = fresh()
    plain = picture_of(pipe)
    pipe.load_lora_weights(str(tmp_path / "lora"))
    assert np.abs(picture_of(pipe) - plain).max() > 1e-3


@pytest.mark.parametrize("trains", ["kv", "lora"])
def test_a_fused_pipeline_draws_as_one_that_wears_the_patch(
    fresh, items, tmp_path: Path, trains: str
) -> None:
    patch = train(fresh(), items, replace(KV, trains=trains), tmp_path / "run").patch
    worn = fresh()
    Wardrobe(worn).wear(patch, 0.5)
    fuse(fresh(), [(patch, 0.5)], tmp_path / "whole")
    other = StableDiffusionPipeline.from_pretrained(tmp_path / "whole", safety_checker=None)
    assert np.abs(picture_of(other) - picture_of(worn)).max() < 1e-3
    with pytest.raises(ForgetmeError, match="name another folder"):
        fuse(fresh(), [(patch, 0.5)], tmp_path / "whole")


def test_a_stack_is_the_sum_of_its_patches(fresh, items, tmp_path: Path) -> None:
    one = train(fresh(), items, KV, tmp_path / "cat").patch
    dog = replace(settings_of("uce"), concept="dog", keep=("boat",))
    two = train(fresh(), [], dog, tmp_path / "dog").patch
    both = stack([(one, 0.5), (two, 1.0)], tmp_path / "both")
    assert read_patch(tmp_path / "both").concepts == ("cat", "dog")
    assert both.record["keep"] == ["boat"]  # the dog is not kept any more
    first, second, found = deltas(one), deltas(two), deltas(both)
    assert all(torch.allclose(v, 0.5 * first[n] + second[n], atol=1e-6) for n, v in found.items())
    apart, together = fresh(), fresh()
    wardrobe = Wardrobe(apart)
    wardrobe.wear(one, 0.5)
    wardrobe.wear(two)
    Wardrobe(together).wear(both)
    assert np.allclose(picture_of(apart), picture_of(together), rtol=1e-2, atol=1e-2)
    other = write_delta(tmp_path / "odd", found, {**one.record, "base": "another"})
    with pytest.raises(ForgetmeError, match="several models"):
        stack([(one, 1.0), (other, 1.0)], tmp_path / "no")
    assert not (tmp_path / "no").exists()


# ------------------------------------------------------------------ several concepts


def test_each_picture_of_several_concepts_answers_its_own_prompt(fresh, items, tmp_path) -> None:
    two = [replace(one, concept=name) for one, name in zip(items, ("cat", "Dogs") * 2, strict=True)]
    settings = replace(CAT, also=("dog",), keep=("boat",), batch=4)
    check(settings, two)
    assert settings.target_prompts == ("a photo of a cat", "a photo of a dog")
    model = base_of(fresh())
    data = make_latents(model, {"original"}, two, settings, tmp_path, "key")
    assert data.targets == ["a photo of a cat", "a photo of a dog"] * 2
    batch = draw_batch(data, settings, 0, model, slice(1, 4))
    rows = [
        int(np.argmin([(z - one).abs().sum() for z in data.original])) for one in batch.original
    ]
    assert batch.prompts == [data.targets[row] for row in rows]
    assert RunSettings.of(json.loads(json.dumps(settings.record()))) == settings
    with pytest.raises(ForgetmeError, match="learns from pictures of dog"):
        check(settings, items)  # all cats
    with pytest.raises(ForgetmeError, match="is a picture of boat, not of cat, dog"):
        check(settings, [*two, replace(items[0], concept="boat")])
    custom = replace(settings, prompt="a drawing of a cat")
    assert custom.target_prompts[1] == "a drawing of a dog"
    with pytest.raises(ValueError, match="does not hold 'cat'"):
        replace(settings, prompt="a drawing")


def test_a_run_goes_on_from_what_another_has_forgotten(fresh, items, tmp_path: Path) -> None:
    first = train(fresh(), [], settings_of("uce"), tmp_path / "cat").patch
    settings = replace(settings_of("esd"), concept="boat", trains="kv")
    pipe = fresh()
    second = train(pipe, [], settings, tmp_path / "boat", wearing=[(first, 1.0)]).patch
    assert second.record["wears"] == [[first.name, first.digest, 1.0]]
    other = fresh()
    wardrobe = Wardrobe(other)
    wardrobe.wear(first)
    wardrobe.wear(second)
    for name, value in weights_of(pipe).items():
        assert torch.allclose(value, weights_of(other)[name], atol=1e-5), name
    alone = train(fresh(), [], settings, tmp_path / "alone").patch
    assert not all(
        torch.equal(value, deltas(alone).get(name, value)) for name, value in deltas(second).items()
    )
    with pytest.raises(ForgetmeError, match="other wears"):
        train(fresh(), [], settings, tmp_path / "boat", wearing=[(first, 0.5)])


# ------------------------------------------------------------------ prompt files


def test_prompt_files_of_leco_and_kohya_are_read_and_written(tmp_path: Path) -> None:
    yaml = tmp_path / "leco.yaml"
    yaml.write_text(
        '- target: "a cat"\n  positive: "a cat"\n  neutral: "a room"\n  guidance_scale: 1.5\n'
        "- {target: a dog, neutral: a room, guidance_scale: 1.5}\n"
    )
    found = read_prompts(yaml)
    assert (found.targets, found.neutral, found.eta) == (("a cat", "a dog"), "a room", 1.5)
    settings = RunSettings(
        "esd", found.targets[0], also=found.targets[1:], prompt=found.targets[0],
        anchor=found.neutral, options={"eta": found.eta},
    )  # fmt: skip
    write_prompts(tmp_path / "kohya.toml", settings)
    assert read_prompts(tmp_path / "kohya.toml") == found
    assert "[[prompts]]" in (tmp_path / "kohya.toml").read_text()
    for text, words in (
        ("- {target: a cat, action: enhance, positive: a dog}", "steers by the target itself"),
        ("- {target: a cat}\n- {target: a dog, guidance_scale: 2}", "make a run of each"),
        ("- {neutral: a cat}", "no prompt file"),
        ("[]", "has no entry"),
        ("- {target: [", "no YAML"),
    ):
        yaml.write_text(text)
        with pytest.raises(ForgetmeError, match=words):
            read_prompts(yaml)
    yaml.write_text("- {target: a cat, action: enhance}")
    assert read_prompts(yaml).eta == -1


def test_a_damaged_patch_is_refused_before_it_is_exported(fresh, tmp_path: Path) -> None:
    patch = train(fresh(), [], settings_of("uce"), tmp_path / "run").patch
    save_file({"conv_in.bias": torch.zeros(16)}, patch.file)
    for act in (lambda: export_lora(patch, tmp_path / "out"), lambda: deltas(patch)):
        with pytest.raises(ForgetmeError, match="cannot be read"):
            act()
    assert not (tmp_path / "out").exists()


def test_an_m_score_inverts_before_and_after_and_leaves_the_model(fresh, tmp_path: Path) -> None:
    patch = train(fresh(), [], settings_of("uce"), tmp_path / "run").patch
    pipe = fresh()
    before, plain = weights_of(pipe), picture_of(pipe)
    found = m_score(pipe, patch, torch.randn(2, 4, 8, 8), seeds=(0,), steps=4, words=2)
    assert found.before != found.after
    assert found.loss_before != found.loss_after
    assert -1 <= found.after <= 1
    assert all(torch.equal(value, before[name]) for name, value in weights_of(pipe).items())
    assert np.array_equal(picture_of(pipe), plain)
