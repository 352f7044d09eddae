"""Trains the bundled diffusion model: a small Stable Diffusion of the drawn world."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from transformers import CLIPTextConfig, CLIPTextModel

from forgetme.scenes import BACKGROUNDS, CONCEPTS
from forgetme.stages.tokenizer import build_tokenizer
from forgetme.tiny.bank import TRAIN_SEED, SceneBank, scene_bank
from forgetme.tiny.loop import TrainSettings, autocast, fit
from forgetme.tiny.sharpen import sharpen

SIZE = 128  # pixels a side of a generated picture
LATENT = SIZE // 8
CROP = 64  # the autoencoder is convolutional, so it learns on quarter pictures
CONTEXT = 16  # tokens of a prompt
OBJECTS = (1, 1, 0, 1, 2)  # objects of scene i: mostly one, for a clear link of word and shape
SHOWN = (*CONCEPTS, "cat", "cat", "dog", "bird", "airplane", "mushroom")  # hard ones more often
VAE_SETTINGS = TrainSettings(steps=2000, batch=16, lr=1.5e-3, warmup=100, weight_decay=0.0)
SETTINGS = TrainSettings(steps=7600, batch=32, lr=6e-4, warmup=200, ema=0.999)
UNCONDITIONAL = 0.1  # share of captions dropped, for classifier-free guidance
NEAR = 0.68  # share of close-ups, which a prompt that only names an object is about
NEAR_SEED = TRAIN_SEED + 700_000
MIN_SNR = 5.0
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


def build_vae() -> AutoencoderKL:
    """The autoencoder: 128 px to 16x16x4, few channels where the picture is large."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,  # many channels a group: the norm must not wash colours out
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


@torch.no_grad()
def start_as_averages(vae: AutoencoderKL) -> None:
    """Sets the first weights so that the latent is the mean colour of its 8x8 pixels.

    From random weights the first thousand steps only find that out. Colours travel in channels
    0-2 and, negated, in 3-5: silu(x) - silu(-x) = x, so nothing is lost at the non-linear ends.
    All residual branches start at zero.
    """
    colours = range(3)
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.zero_()
            module.conv2.bias.zero_()
            if module.conv_shortcut is not None:
                _pass(module.conv_shortcut, torch.ones(1, 1))
        elif isinstance(module, Downsample2D):
            _pass(module.conv, torch.tensor([[0.25, 0.25, 0], [0.25, 0.25, 0], [0, 0, 0]]))
        elif isinstance(module, Upsample2D):
            tent = torch.tensor([0.25, 0.5, 0.25])
            _pass(module.conv, torch.outer(tent, tent))
    for conv in (vae.encoder.conv_in, vae.decoder.conv_in):
        conv.weight[:6], conv.bias[:6] = 0, 0
        for i in colours:
            conv.weight[i, i, 1, 1], conv.weight[i + 3, i, 1, 1] = 1, -1
    for conv, gain in ((vae.encoder.conv_out, 1.0), (vae.decoder.conv_out, 0.4)):
        conv.weight[:3], conv.bias[:3] = 0, 0
        for i in colours:
            conv.weight[i, i, 1, 1], conv.weight[i, i + 3, 1, 1] = gain, -gain
    vae.quant_conv.weight[:4] = torch.eye(8)[:4, :, None, None]
    vae.quant_conv.weight[4:] *= 0.1
    vae.quant_conv.bias[:4], vae.quant_conv.bias[4:] = 0, -6  # hardly any noise
    vae.post_quant_conv.weight[:] = torch.eye(4)[..., None, None]
    vae.post_quant_conv.bias[:] = 0


def _pass(conv: torch.nn.Conv2d, kernel: torch.Tensor) -> None:
    """Lets channels 0-5 through a convolution, each filtered by one kernel."""
    conv.weight[:6], conv.bias[:6] = 0, 0
    for i in range(6):
        conv.weight[i, i] = kernel


def build_unet() -> UNet2DConditionModel:
    """The denoiser on 16x16x4 latents; it attends to the prompt at 8x8 and 4x4."""
    return UNet2DConditionModel(
        sample_size=LATENT,
        block_out_channels=(64, 128, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        norm_num_groups=8,
        attention_head_dim=4,  # heads, in diffusers' naming
    )


def build_text(tokenizer) -> CLIPTextModel:  # noqa: ANN001 (transformers is typed at run time)
    """The text encoder for a tokenizer."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        projection_dim=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def to_unit(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def close_ups(bank: SceneBank, seed: int) -> np.ndarray:
    """Windows around the main objects of scenes, (N, SIZE, SIZE, 3) uint8.

    An object that fills the picture is learned in a tenth of the steps, and can be named when it
    is drawn: in a whole scene it has a handful of latents.
    """
    pictures = np.empty((len(bank.images), SIZE, SIZE, 3), np.uint8)
    for row, image in enumerate(bank.images):
        rng = np.random.default_rng((seed, row))
        ys, xs = np.nonzero(bank.ids[row] == 1)
        side = len(image)
        if not len(ys):  # hidden: the whole scene
            ys = xs = np.array([0, side - 1])
        longest = max(np.ptp(xs), np.ptp(ys)) + 1
        edge = int(min(side, max(side // 4, longest * rng.uniform(1.2, 1.7))))
        y, x = (_start(int(v.min()), int(v.max()), edge, side, rng) for v in (ys, xs))
        how = cv2.INTER_AREA if edge > SIZE else cv2.INTER_CUBIC
        window = image[y : y + edge, x : x + edge]
        pictures[row] = cv2.resize(window, (SIZE, SIZE), interpolation=how)
    return pictures


def _start(first: int, last: int, edge: int, side: int, rng: np.random.Generator) -> int:
    """Where a window begins that holds pixels first..last, about in its middle."""
    middle = (first + last + 1 - edge) / 2 + 0.12 * edge * rng.uniform(-1, 1)
    bounds = sorted((max(0, last + 1 - edge), min(first, side - edge)))
    return int(np.clip(middle, *bounds))


def train(
    out: Path,
    work: Path,
    *,
    photos: Path | None = None,
    settings: TrainSettings = SETTINGS,
    minutes: float | None = None,
    scenes: int = 12000,
    near: int = 5400,
    start: Path | None = None,
) -> dict[str, int]:
    """Trains the autoencoder, then the U-Net with its text encoder; writes `diffusion/` to `out`.

    With `start` all of them go on from the weights there, the autoencoder to become sharper only.

    Args:
        out: the folder of bundled weights.
        work: scene bank, checkpoints and logs.
        photos: unused; the model draws the drawn world only.
        settings: schedule of the U-Net; its seed and device hold for the autoencoder too.
        minutes: stop early after this long; call again to go on.
        scenes: size of the scene bank.
        near: size of the bank of close-ups.
        start: folder of bundled weights to begin with; None = fresh ones.

    Returns:
        Number of parameters by part.

    Raises:
        MissingModelError: the package of the backbone that sharpens is absent.
        ValueError: the weights to go on from were taught other words.
    """
    del photos
    bank = scene_bank(work / "scenes128", scenes, size=SIZE, objects=OBJECTS, concepts=SHOWN)
    alone = scene_bank(work / "near", near, objects=(1,), concepts=SHOWN, first_seed=NEAR_SEED)
    run = {"seed": settings.seed, "device": settings.device, "minutes": minutes}
    before = None
    if start is not None:
        before = StableDiffusionPipeline.from_pretrained(
            start / "diffusion", dtype=torch.float32, local_files_only=True, safety_checker=None
        )
        vae = build_vae()  # a loaded one would write the path that it is from into its config
        vae.load_state_dict(before.vae.state_dict())
        vae.register_to_config(scaling_factor=before.vae.config.scaling_factor)
    else:
        vae = train_vae(bank, work, **run)
    vae = sharpen(vae, bank, to_unit, work / "sharpened", **run)
    model, tokenizer = train_unet(bank, alone, vae, work, settings, minutes=minutes, before=before)
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model["text"],
        tokenizer=tokenizer,
        unet=model["unet"],
        scheduler=DPMSolverMultistepScheduler(**SCHEDULE, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16)
    pipe.text_encoder.float()  # transformers would open it as float16, diffusers the rest as 32
    pipe.save_pretrained(out / "diffusion", max_shard_size="15MB")
    size = sum(p.numel() for p in vae.parameters())
    count = {"sharpened": size} if start is not None else {"vae": size, "sharpened": size}
    return {**count, "unet": sum(p.numel() for p in model.parameters())}


def train_vae(
    bank: SceneBank, work: Path, *, seed: int, device: str, minutes: float | None
) -> AutoencoderKL:
    """Trains the autoencoder on quarter pictures and sets its scaling factor."""
    settings = TrainSettings(**{**VAE_SETTINGS.__dict__, "seed": seed, "device": device})
    torch.manual_seed(seed)
    vae = build_vae().to(memory_format=torch.channels_last)
    start_as_averages(vae)

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step
        rows = rng.integers(0, len(bank.images), settings.batch)
        xs, ys = rng.integers(0, SIZE - CROP + 1, (2, settings.batch))
        crops = [
            bank.images[r, y : y + CROP, x : x + CROP] for r, x, y in zip(rows, xs, ys, strict=True)
        ]
        pixels = to_unit(np.stack(crops)).to(device, memory_format=torch.channels_last)
        if rng.random() < 0.5:
            pixels = pixels.flip(3)
        with autocast(device):
            latent = vae.encode(pixels).latent_dist
            picture = vae.decode(latent.sample()).sample
        picture = picture.float()
        plain = (picture - pixels).abs().mean()
        square = ((picture - pixels) ** 2).mean()
        edges = sum((picture.diff(dim=d) - pixels.diff(dim=d)).abs().mean() for d in (2, 3))
        kl = latent.kl().mean() / (latent.mean.shape[1] * latent.mean.shape[2] ** 2)
        # squares first: absolute errors of edges would hold an unsure picture flat
        sharp = max(0.0, 2 * done - 1)
        loss = 10 * square + plain + 0.5 * sharp * edges + 1e-5 * kl
        return loss, {"rmse": round(square.item() ** 0.5 / 2, 4)}

    vae = fit(vae, loss_fn, settings, work / "vae", minutes=minutes)
    with torch.no_grad(), autocast(device):
        sample = to_unit(bank.images[:128]).to(device, memory_format=torch.channels_last)
        std = vae.encode(sample).latent_dist.mean.float().std().item()
    vae.register_to_config(scaling_factor=round(1 / std, 4))
    return vae


@torch.no_grad()
def encode(images: np.ndarray, vae: AutoencoderKL, device: str) -> torch.Tensor:
    """Latents (2N, 4, 16, 16) float16 of all pictures, then of all mirrored ones, scaled."""
    parts = []
    for flip in (False, True):
        for i in range(0, len(images), 64):
            pixels = to_unit(images[i : i + 64]).to(device, memory_format=torch.channels_last)
            with autocast(device):
                mean = vae.encode(pixels.flip(3) if flip else pixels).latent_dist.mean
            parts.append((mean.float() * vae.config.scaling_factor).half().cpu())
    return torch.cat(parts)


def train_unet(
    bank: SceneBank,
    alone: SceneBank,
    vae: AutoencoderKL,
    work: Path,
    settings: TrainSettings,
    *,
    minutes: float | None,
    before: StableDiffusionPipeline | None = None,
) -> tuple[torch.nn.ModuleDict, object]:
    """Trains U-Net and text encoder together on cached latents, noise prediction, min-SNR weights.

    They are fresh, or those of `before`. Scenes of `bank` are whole and have
    their captions; those of `alone` are close-ups, and the caption names the object only.

    **Source**: Ho et al. 2020 (ε-prediction); Hang et al. 2023, min-SNR-γ with γ = 5.
    """
    device = settings.device
    words = {w for text in bank.captions for w in text.lower().replace(",", " ").split()}
    known = [*sorted(words), *CONCEPTS, *BACKGROUNDS, "empty", "photo"]
    tokenizer = build_tokenizer(known, CONTEXT)
    ids = tokenizer(
        ["", *bank.captions, *(f"a photo of a {CONCEPTS[k]}" for k in alone.concepts[:, 0])],
        padding="max_length",
        max_length=CONTEXT,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    whole = near = torch.zeros(0)  # encoded at the first step: a finished run has none
    torch.manual_seed(settings.seed)
    model = torch.nn.ModuleDict({"unet": build_unet(), "text": build_text(tokenizer)})
    if before is not None:
        if before.tokenizer.get_vocab() != tokenizer.get_vocab():
            raise ValueError("the weights to go on from know other words; leave start out")
        model["unet"].load_state_dict(before.unet.state_dict())
        model["text"].load_state_dict(before.text_encoder.state_dict())
    model["unet"].to(memory_format=torch.channels_last)
    betas = torch.linspace(
        SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, SCHEDULE["num_train_timesteps"]
    )
    alpha_bar = torch.cumprod(1 - betas**2, 0).to(device)
    weight = (MIN_SNR * (1 - alpha_bar) / alpha_bar).clamp(max=1.0)  # min(snr, 5) / snr

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        nonlocal whole, near
        del step, done
        if not len(whole):
            whole = encode(bank.images, vae, device)
            near = encode(close_ups(alone, settings.seed), vae, device)
        rows, others = (
            torch.from_numpy(rng.integers(0, len(z), settings.batch)) for z in (whole, near)
        )
        close = torch.from_numpy(rng.random(settings.batch) < NEAR)
        z = torch.where(close.view(-1, 1, 1, 1), near[others], whole[rows])
        z = z.float().to(device)  # (B, 4, 16, 16)
        first = 1 + len(bank.images)  # the caption of the first close-up
        caption = torch.where(close, first + others % len(alone.images), rows % (first - 1) + 1)
        dropped = torch.from_numpy(rng.random(settings.batch) < UNCONDITIONAL)
        caption = torch.where(dropped, 0, caption)
        t = torch.from_numpy(rng.integers(0, len(alpha_bar), settings.batch)).to(device)
        eps = torch.randn(z.shape).to(device)
        a = alpha_bar[t].view(-1, 1, 1, 1)
        z_t = (a.sqrt() * z + (1 - a).sqrt() * eps).to(memory_format=torch.channels_last)
        with autocast(device):
            prompt = model["text"](ids[caption].to(device)).last_hidden_state  # (B, 16, 128)
            guess = model["unet"](z_t, t, encoder_hidden_states=prompt).sample
        error = ((guess.float() - eps) ** 2).mean((1, 2, 3))
        return (weight[t] * error).mean(), {"mse": round(error.mean().item(), 4)}

    return fit(model, loss_fn, settings, work / "unet", minutes=minutes), tokenizer
