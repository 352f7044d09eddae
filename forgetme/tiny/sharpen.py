"""Sharpens the autoencoder of the bundled diffusion model, which errors in pixels leave dull."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from forgetme.tiny import backbone
from forgetme.tiny.bank import SceneBank
from forgetme.tiny.loop import TrainSettings, autocast, fit

SETTINGS = TrainSettings(steps=2400, batch=12, lr=1e-3, warmup=50, weight_decay=0.0, ema=0.995)
CROP = 64  # px a side of what it learns on, at whole latents
CELL = 8  # px a latent
NOISE = 0.1  # of a latent's deviation, at most: a denoiser's latents are not exact either
TIE = 0.1  # weight of the latents' drift, so that a U-Net of the old ones need learn little anew
CRITIC = 0.12  # share of the schedule after which the critic is heard
PUSH = 0.35  # of the critic, relative to the rest of the loss


def critic() -> nn.Sequential:
    """Tells pieces of real pictures from decoded ones: (B, 3, H, W) to (B, 1, H/4, W/4)."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(24, 48, 4, 2, 1),
        nn.GroupNorm(4, 48),
        nn.LeakyReLU(0.2),
        nn.Conv2d(48, 96, 3, 1, 1),
        nn.GroupNorm(4, 96),
        nn.LeakyReLU(0.2),
        nn.Conv2d(96, 1, 3, 1, 1),
    )


def sharpen(
    vae: AutoencoderKL,
    bank: SceneBank,
    to_unit: Callable[[np.ndarray], torch.Tensor],
    work: Path,
    *,
    seed: int,
    device: str,
    minutes: float | None,
) -> AutoencoderKL:
    """Trains an autoencoder on with features of ImageNet's backbone and a critic of its own.

    Args:
        vae: the autoencoder, its scaling factor set; it is not changed.
        bank: drawn scenes.
        to_unit: turns (N, H, W, 3) uint8 into what the autoencoder takes.
        work: the run's folder.
        seed: of crops, noise and the critic.
        device: "cpu" or "cuda".
        minutes: stop early after this long.

    Returns:
        The sharper one, with latents close to those before.

    Raises:
        MissingModelError: the backbone's package is absent.

    **Source**: Esser et al. 2021, VQGAN: the critic's weight by the ratio of gradients at the last
    layer; Zhang et al. 2018, LPIPS: distance of normalised features, here of EfficientNet-Lite0.
    """
    settings = TrainSettings(**{**SETTINGS.__dict__, "seed": seed, "device": device})
    torch.manual_seed(seed)
    before = deepcopy(vae).eval().requires_grad_(False).to(device)
    net = backbone.lite0().requires_grad_(False).to(device, memory_format=torch.channels_last)
    both = nn.ModuleDict({"vae": deepcopy(vae), "critic": critic()})
    both.to(memory_format=torch.channels_last)
    model, judge = both["vae"], both["critic"]
    last, spread = model.decoder.conv_out.weight, NOISE / vae.config.scaling_factor

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step
        pixels = to_unit(np.stack([_crop(bank, rng) for _ in range(settings.batch)]))
        pixels = pixels.to(device, memory_format=torch.channels_last)
        with autocast(device):
            latent = model.encode(pixels).latent_dist.mean
            with torch.no_grad():
                old = before.encode(pixels).latent_dist.mean
            noise = torch.randn_like(latent) * torch.rand(len(latent), 1, 1, 1, device=device)
            picture = model.decode(latent + spread * noise).sample
            alike = [
                (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1)
                for a, b in zip(_features(net, pixels), _features(net, picture), strict=True)
            ]
            real, made = judge(pixels), judge(picture.detach())
        picture = picture.float()
        off = picture - pixels
        edges = sum((picture.diff(dim=d) - pixels.diff(dim=d)).abs().mean() for d in (2, 3))
        like = sum(one.mean() for one in alike) / len(alike)
        plain = off.abs().mean() + 2 * off.square().mean() + 0.25 * edges + 0.25 * like
        drift = ((latent.float() - old.float()) * vae.config.scaling_factor).square().mean()
        fooled = F.relu(1 - real.float()).mean() + F.relu(1 + made.float()).mean()
        loss = plain + TIE * drift + 0.5 * fooled
        if done >= CRITIC:
            still = {name: value.detach() for name, value in judge.named_parameters()}
            with autocast(device):
                push = -torch.func.functional_call(judge, still, picture).float().mean()
            ours, its = (
                torch.autograd.grad(one, last, retain_graph=True)[0].norm() for one in (plain, push)
            )
            share = PUSH * min(1.0, (done - CRITIC) / 0.08)
            loss = loss + share * (ours / (its + 1e-6)).clamp(max=10).detach() * push
        rmse = off.square().mean().item() ** 0.5 / 2
        return loss, {"rmse": round(rmse, 4), "features": round(like.item(), 4)}

    both = fit(both, loss_fn, settings, work, minutes=minutes)
    return both["vae"]


def _features(net: nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The backbone's maps at strides 2, 4, 8 and 16 of pictures in [-1, 1]."""
    maps = [net.bn1(net.conv_stem(pixels))]
    for place, block in enumerate(net.blocks[:5]):
        pixels = block(maps[0] if place == 0 else pixels)
        if place in (1, 2, 4):
            maps.append(pixels)
    return maps


def _crop(bank: SceneBank, rng: np.random.Generator) -> np.ndarray:
    """A quarter of a picture, of two the one with more in it, mirrored or not."""
    some = []
    for row in rng.integers(0, len(bank.images), 2):
        image = bank.images[row]
        y, x = CELL * rng.integers(0, (image.shape[0] - CROP) // CELL + 1, 2)
        some.append(image[y : y + CROP, x : x + CROP])
    best = max(
        some, key=lambda one: float(np.abs(np.diff(one[::2, ::2].astype(int), axis=0)).mean())
    )
    return best[:, :: -1 if rng.random() < 0.5 else 1]
