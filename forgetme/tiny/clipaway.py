"""Trains the bundled CLIPAway: alpha tower, mapping and IP-Adapter for the bundled models."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

from forgetme.stages.clipaway.adapter import Adapter, AdapterTensors
from forgetme.stages.clipaway.fill import RECORD, TINY_FILES, ClipAwaySettings
from forgetme.stages.clipaway.mapping import build_mapping, load_mapping, project
from forgetme.stages.clipaway.tower import AlphaClip, add_alpha, load_alpha_clip, published_tensors
from forgetme.stages.models import Models, load_models
from forgetme.stages.rank import crop_views
from forgetme.tiny.bank import SceneBank, scene_bank
from forgetme.tiny.diffusion import MIN_SNR, SIZE, UNCONDITIONAL, to_unit
from forgetme.tiny.loop import TrainSettings, autocast, fit
from forgetme.train.quick import quick

# Each part's steps; the command's `--steps` is the adapter's.
ALPHA_SETTINGS = TrainSettings(steps=600, batch=12, lr=5e-4, warmup=15, ema=0.97)
MAPPING_SETTINGS = TrainSettings(steps=1000, batch=128, lr=1e-3, warmup=50, ema=0.99)
SETTINGS = TrainSettings(steps=1500, batch=16, lr=2e-3, warmup=50, ema=0.99)
VIEWS = 1000  # crops that all three learn on
CELL = SIZE // 16  # px of a latent cell: holes are made of whole ones
ASKED = ClipAwaySettings(negative_prompt="", guidance=5.0)  # it was never taught such words
PARTS = ("clipaway_alpha", "clipaway_mapping", "clipaway_adapter")


@dataclass(frozen=True)
class Views:
    """Crops around the main objects of scenes, as the diffusion model is shown them.

    Attributes:
        images: (N, 128, 128, 3) uint8.
        backgrounds: The same without the object.
        cutouts: (N, R, R, 3) uint8, the object alone on grey, at the ranker's size.
        holes: (N, 128, 128) bool, whole latent cells that hold the object.
    """

    images: np.ndarray
    backgrounds: np.ndarray
    cutouts: np.ndarray
    holes: np.ndarray

    def seen_by(self, tower: AlphaClip) -> torch.Tensor:
        """What a tower sees in the whole of each: (3, N, D), in the order of the attributes."""
        kinds = (self.images, self.backgrounds, self.cutouts)
        return torch.stack([_look(tower, kind) for kind in kinds])


def draw_views(bank: SceneBank, seed: int, resolution: int) -> Views:
    """Draws the same views every time: of as many scenes as there are, up to `VIEWS`."""
    rng = np.random.default_rng((seed, VIEWS))
    rows = rng.permutation(rows_with_object(bank))[:VIEWS]
    drawn = [draw_view(bank, int(row), rng, resolution) for row in rows]
    return Views(*(np.stack(kind) for kind in zip(*drawn, strict=True)))


def draw_view(
    bank: SceneBank, row: int, rng: np.random.Generator, resolution: int
) -> tuple[np.ndarray, ...]:
    """Draws a square crop around the object of a scene and mirrors half of them.

    Returns:
        One of each kind that `Views` holds, in its order.
    """
    mask = np.asarray(bank.ids[row] == 1)
    ys, xs = np.nonzero(mask)
    largest = mask.shape[0]
    across = max(np.ptp(xs), np.ptp(ys)) + 1
    side = int(rng.integers(min(max(SIZE, round(1.4 * across)), largest), largest + 1))
    x, y = (
        int(np.clip(at.mean() - side / 2 + rng.normal(0, side / 10), 0, largest - side))
        for at in (xs, ys)
    )
    cut = np.s_[y : y + side, x : x + side]
    flip = np.s_[:, ::-1] if rng.random() < 0.5 else np.s_[:, :]
    grown = cv2.dilate(mask.view(np.uint8), np.ones((2 * rng.integers(1, 6) + 1,) * 2, np.uint8))
    cells = cv2.resize(grown[cut].astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA) > 0
    image, background = (
        cv2.resize(array[row][cut], (SIZE, SIZE), interpolation=cv2.INTER_AREA)[flip]
        for array in (bank.images, bank.backgrounds)
    )
    cutout = crop_views(np.asarray(bank.images[row]), [mask], resolution)[1, 0][flip]
    return image, background, cutout, cells.repeat(CELL, 0).repeat(CELL, 1)[flip]


def rows_with_object(bank: SceneBank) -> np.ndarray:
    """Scenes whose main object can be seen: their indices."""
    return np.array([i for i in range(len(bank.ids)) if (bank.ids[i, ::4, ::4] == 1).sum() > 20])


def train(
    out: Path,
    work: Path,
    *,
    photos: Path | None = None,
    settings: TrainSettings = SETTINGS,
    minutes: float | None = None,
    scenes: int = 5000,
) -> dict[str, int]:
    """Trains the three parts one after the other and writes `clipaway/` to `out`.

    The ranker and the diffusion model that are already in `out` stay as they are: the tower starts
    as the ranker's, the adapter is for that U-Net.

    Args:
        out: the folder of bundled weights.
        work: scene bank, checkpoints and logs.
        photos: unused; the models know the drawn world only.
        settings: schedule of the adapter; its seed and device hold for all parts.
        minutes: stop each part early after this long; call again to go on.
        scenes: size of the scene bank.

    Returns:
        Number of parameters by part.
    """
    del photos
    bank = scene_bank(work / "scenes", scenes)
    models = load_models("tiny", assets=out, device=settings.device)
    config = json.loads((out / "ranker.json").read_text())
    ranker = open_clip.CLIP(**config["model"])
    models.ranker  # noqa: B018 (says what to run where it is missing)
    open_clip.load_checkpoint(ranker, str(out / "ranker.safetensors"))
    visual = add_alpha(ranker.visual.eval().requires_grad_(False))
    visual.to(settings.device, memory_format=torch.channels_last)
    teacher = AlphaClip(visual, mean=config["mean"], std=config["std"])
    folder = out / "clipaway"
    folder.mkdir(parents=True, exist_ok=True)
    tower_config = {k: v for k, v in config["model"].items() if k != "text_cfg"}
    record = {
        "tower": {"config": tower_config, "mean": config["mean"], "std": config["std"]},
        "settings": asdict(ASKED),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    shared = {"seed": settings.seed, "device": settings.device}
    views = draw_views(bank, settings.seed, teacher.size)
    with autocast(settings.device):
        wanted = views.seen_by(teacher)
    run = {"work": work, "minutes": minutes}
    tower = train_alpha(views, wanted, teacher, replace(ALPHA_SETTINGS, **shared), **run)
    _save(published_tensors(tower), folder / TINY_FILES[0])
    encoder = load_alpha_clip(folder / TINY_FILES[0], settings.device, **record["tower"])
    mapping = train_mapping(views, wanted, encoder, replace(MAPPING_SETTINGS, **shared), **run)
    _save(mapping.state_dict(), folder / TINY_FILES[1])
    nothing = load_mapping(folder / TINY_FILES[1], settings.device)(
        torch.zeros(1, encoder.dim, device=settings.device)
    )
    with autocast(settings.device):
        asked = as_asked(views, encoder, load_mapping(folder / TINY_FILES[1], settings.device))
    adapter = train_adapter(views, wanted, asked, nothing, models, settings, **run)
    _save(adapter.flat(), folder / TINY_FILES[2])
    parts = (tower.state_dict(), mapping.state_dict(), adapter.flat())
    return {
        part: sum(tensor.numel() for tensor in state.values())
        for part, state in zip(PARTS, parts, strict=True)
    }


def train_alpha(
    views: Views,
    wanted: torch.Tensor,
    teacher: AlphaClip,
    settings: TrainSettings,
    *,
    work: Path,
    minutes: float | None,
) -> torch.nn.Module:
    """Teaches the ranker's tower to look where alpha says.

    What it must see: with alpha everywhere, what the ranker sees in the picture; on the object,
    what the ranker sees in the cut-out; around it, what the ranker sees in the true background.

    **Source**: Sun et al. 2024; theirs learns from captions of regions, this one from the ranker's
    own embeddings of the drawn world's layers.
    """
    model = copy.deepcopy(teacher.visual).requires_grad_(True)
    spread = wanted.square().sum(-1).mean()

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        rows = rng.choice(len(views.holes), settings.batch)
        holes = views.holes[rows]
        alphas = np.concatenate([np.ones_like(holes), ~holes, holes])  # as in `wanted`
        pixels = teacher.pixels(np.concatenate([views.images[rows]] * 3), alphas)
        with autocast(settings.device):
            seen = model(pixels.to(settings.device, memory_format=torch.channels_last)).float()
        goal = wanted[:, rows].flatten(0, 1)
        alike = torch.cosine_similarity(seen, goal)
        shares = alike.detach().view(3, -1).mean(1).tolist()
        loss = (seen - goal).square().sum(1).mean() / spread + (1 - alike).mean()
        names = ("all", "around", "object")
        return loss, {name: round(share, 3) for name, share in zip(names, shares, strict=True)}

    return fit(model, loss_fn, settings, work / PARTS[0], minutes=minutes)


def _look(tower: AlphaClip, images: np.ndarray) -> torch.Tensor:
    """Embeds pictures (N, H, W, 3) with alpha everywhere: (N, D) float32."""
    parts = [images[i : i + 64] for i in range(0, len(images), 64)]
    return torch.cat([tower(part, np.ones(part.shape[:3], bool)) for part in parts])


def train_mapping(
    views: Views,
    wanted: torch.Tensor,
    encoder: AlphaClip,
    settings: TrainSettings,
    *,
    work: Path,
    minutes: float | None,
) -> torch.nn.Module:
    """Maps the alpha tower's embeddings to the ranker's, of whole pictures.

    **Source**: Ekin et al. 2024: mean square error, alpha everywhere; the ranker is here what
    OpenCLIP's ViT-H/14 is there. Pictures, backgrounds and cut-outs are shown alike.
    """
    with autocast(settings.device):
        given = views.seen_by(encoder).flatten(0, 1)  # (3 N, D)
    goal = wanted.flatten(0, 1)
    torch.manual_seed(settings.seed)
    model = build_mapping(given.shape[1], goal.shape[1])

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        rows = torch.from_numpy(rng.integers(0, len(given), settings.batch))
        loss = (model(given[rows]) - goal[rows]).square().mean()
        return loss, {"unexplained": round((loss / goal.var(0).mean()).item(), 4)}

    return fit(model, loss_fn, settings, work / PARTS[1], minutes=minutes)


@torch.no_grad()
def as_asked(views: Views, encoder: AlphaClip, mapping: torch.nn.Module) -> torch.Tensor:
    """What CLIPAway shows the adapter: the background without the object's direction, (N, D)."""
    parts = []
    for i in range(0, len(views.holes), 64):
        images, holes = views.images[i : i + 64], views.holes[i : i + 64]
        background, foreground = (mapping(encoder(images, where)) for where in (~holes, holes))
        parts.append(project(background, foreground))
    return torch.cat(parts)


def train_adapter(
    views: Views,
    wanted: torch.Tensor,
    asked: torch.Tensor,
    nothing: torch.Tensor,
    models: Models,
    settings: TrainSettings,
    *,
    work: Path,
    minutes: float | None,
) -> AdapterTensors:
    """Trains the IP-Adapter on pictures and backgrounds; the U-Net stays as it is.

    **Source**: Ye et al. 2023: noise prediction, given the picture's own embedding; keys and
    values start as those of the text. The prompt is empty, as CLIPAway's is; a dropped embedding
    becomes `nothing`, what CLIPAway guides away from. The published adapter knows pictures' own
    embeddings alone; this small one also learns each background from what it will be `asked`.
    """
    device = settings.device
    pipe = type(models.diffusion.pipe)(
        **models.diffusion.pipe.components, requires_safety_checker=False
    )
    unet = pipe.unet.requires_grad_(False).to(memory_format=torch.channels_last)
    torch.manual_seed(settings.seed)
    adapter = Adapter(pipe, first_tensors(unet, nothing.shape[1]))
    model = torch.nn.ModuleList([adapter.projection, *adapter.layers.values()])
    model.requires_grad_(True)
    weight, alpha_bar = snr_weights(pipe.scheduler.alphas_cumprod.to(device))
    text = pipe.encode_prompt("", device, 1, False)[0].detach()  # (1, tokens, D)
    with autocast(device):
        latents = latents_of(pipe.vae, np.concatenate([views.images, views.backgrounds]))
    latents = torch.cat([latents, latents[len(views.images) :]])
    shown = torch.cat([wanted[0], wanted[1], asked])  # (3 N, D)

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        rows = torch.from_numpy(rng.integers(0, len(latents), settings.batch))
        z, embeds = latents[rows], shown[rows]  # (B, 4, 16, 16), (B, D)
        dropped = torch.from_numpy(rng.random(settings.batch) < UNCONDITIONAL).to(device)
        embeds = torch.where(dropped[:, None], nothing, embeds)
        t = torch.from_numpy(rng.integers(0, len(alpha_bar), settings.batch)).to(device)
        eps = torch.randn(z.shape).to(device)
        a = alpha_bar[t].view(-1, 1, 1, 1)
        z_t = (a.sqrt() * z + (1 - a).sqrt() * eps).to(memory_format=torch.channels_last)
        with autocast(device):
            guess = unet(
                z_t,
                t,
                encoder_hidden_states=text.expand(len(z), -1, -1),
                added_cond_kwargs={"image_embeds": [embeds[:, None]]},
            ).sample
        error = (guess.float() - eps).square().mean((1, 2, 3))
        return (weight[t] * error).mean(), {"mse": round(error.mean().item(), 4)}

    with adapter.on(), quick(unet):
        trained = fit(model, loss_fn, settings, work / PARTS[2], minutes=minutes)
    return tensors_of(trained)


def snr_weights(alpha_bar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the loss by timestep, min(snr, 5) / snr, and the schedule itself."""
    return (MIN_SNR * (1 - alpha_bar) / alpha_bar).clamp(max=1.0), alpha_bar


@torch.no_grad()
def latents_of(vae: torch.nn.Module, pictures: np.ndarray) -> torch.Tensor:
    """Scaled latents (N, 4, 16, 16) float32 of pictures (N, 128, 128, 3) uint8."""
    parts = []
    for i in range(0, len(pictures), 32):
        pixels = to_unit(pictures[i : i + 32]).to(vae.device, memory_format=torch.channels_last)
        parts.append(vae.encode(pixels).latent_dist.mean.float() * vae.config.scaling_factor)
    return torch.cat(parts)


def first_tensors(unet: torch.nn.Module, dim: int, tokens: int = 4) -> AdapterTensors:
    """An untrained adapter for embeddings of `dim`: the text's keys and values, random tokens."""
    width = unet.config.cross_attention_dim
    project = torch.nn.Linear(dim, tokens * width)
    image_proj = {
        "proj.weight": project.weight.detach(),
        "proj.bias": project.bias.detach(),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    crosses = [n for n in unet.attn_processors if n.endswith("attn2.processor")]
    layers = {}
    for place, name in enumerate(crosses):
        module = unet.get_submodule(name.removesuffix(".processor"))
        layers[f"{2 * place + 1}.to_k_ip.weight"] = module.to_k.weight.detach().clone()
        layers[f"{2 * place + 1}.to_v_ip.weight"] = module.to_v.weight.detach().clone()
    return AdapterTensors(image_proj, layers)


def tensors_of(model: torch.nn.ModuleList) -> AdapterTensors:
    """Published names for diffusers' modules: the projection, then one for each attention."""
    projection = model[0].image_projection_layers[0].state_dict()
    image_proj = {k.replace("image_embeds.", "proj."): v for k, v in projection.items()}
    layers = {
        f"{2 * place + 1}.{kind}.weight": getattr(layer, kind)[0].weight.detach()
        for place, layer in enumerate(model[1:])
        for kind in ("to_k_ip", "to_v_ip")
    }
    return AdapterTensors(image_proj, layers)


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Writes float16 tensors; counters keep their type."""
    save_file(
        {
            name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
            for name, value in tensors.items()
        },
        path,
    )
