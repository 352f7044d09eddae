"""Trains the bundled filler: a small LaMa on drawn scenes and photos, saved as TorchScript."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from forgetme.tiny.bank import Photo, SceneBank, read_photos, scene_bank
from forgetme.tiny.loop import TrainSettings, autocast, fit

SETTINGS = TrainSettings(steps=1100, batch=4, lr=1e-3, warmup=100, weight_decay=0.0)
SIZE = 256
DETAIL = 64  # channels at a quarter of the size
WIDTH = 160  # channels at an eighth
BLOCKS = 6


def unit(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution with reflected borders, batch norm, ReLU."""
    pad = kernel // 2
    mode = "reflect" if pad else "zeros"
    conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=False, padding_mode=mode)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Spectral(nn.Module):
    """Mixes channels in the frequency domain: every output pixel sees the whole picture."""

    def __init__(self, channels: int) -> None:
        """Args: channels in and out."""
        super().__init__()
        self.mix = unit(2 * channels, 2 * channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        spectrum = torch.fft.rfft2(x.float(), norm="ortho")
        mixed = self.mix(torch.cat([spectrum.real, spectrum.imag], 1)).float()
        real, imaginary = mixed.chunk(2, 1)
        spectrum = torch.complex(real, imaginary)
        return torch.fft.irfft2(spectrum, s=(x.shape[2], x.shape[3]), norm="ortho")


class Block(nn.Module):
    """Residual fast Fourier convolution: a local and a global path that feed each other.

    **Source**: Chi et al. 2020; Suvorov et al. 2021 (LaMa), Figure 2. Narrower, one convolution
    a path.
    """

    def __init__(self, channels: int) -> None:
        """Args: channels; half of them are local, half global."""
        super().__init__()
        half = channels // 2
        self.local = unit(channels, half)
        self.reduce = unit(channels, half, 1)
        self.spectral = Spectral(half)
        self.join = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        wide = self.reduce(x)
        wide = wide + self.spectral(wide)
        return x + self.join(torch.cat([self.local(x), wide], 1))


class Filler(nn.Module):
    """The bundled LaMa: `(image, mask) -> image`, with big-lama's signature.

    Two pyramids of averages over the known pixels, of squares and of pieces of rows, give the first
    guesses; the network mixes them and adds the rest.
    """

    def __init__(self) -> None:
        """Builds the network with fresh weights."""
        super().__init__()
        self.stem = unit(10 * 16, DETAIL, 3)
        self.down = unit(DETAIL, WIDTH, 3, 2)
        self.blocks = nn.Sequential(*[Block(WIDTH) for _ in range(BLOCKS)])
        self.up = unit(WIDTH, DETAIL, 3)
        self.merge = unit(2 * DETAIL, DETAIL, 3)
        self.head = nn.Conv2d(DETAIL, 4 * 16, 3, padding=1)  # colour, and how level it is here
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Fills the hole.

        Args:
            image: (B, 3, H, W) float in [0, 1]; H and W multiples of 8.
            mask: (B, 1, H, W), 1 = hole.

        Returns:
            (B, 3, H, W) float, the known pixels unchanged.
        """
        hole = mask.to(image.dtype)
        known = image * (1 - hole)
        blob = self.guess(known, 1 - hole, True)
        level = self.guess(known, 1 - hole, False)
        shown = known * 2 - 1
        seen = torch.cat([shown + blob * hole * 2, shown + level * hole * 2, shown, hole], 1)
        fine = self.stem(F.pixel_unshuffle(seen, 4))
        deep = self.blocks(self.down(fine))
        deep = F.interpolate(deep, scale_factor=2.0, mode="nearest")
        change = F.pixel_shuffle(self.head(self.merge(torch.cat([self.up(deep), fine], 1))), 4)
        change = change.to(image.dtype)
        share = torch.sigmoid(change[:, 3:] + 1.0)
        painted = level * share + blob * (1 - share) + change[:, :3]
        return known + painted * hole

    def guess(self, known: torch.Tensor, weight: torch.Tensor, tall: bool) -> torch.Tensor:
        """Averages of the known pixels, each hole pixel from the finest cell that reaches it.

        Cells are squares, or with `tall` off pieces of one row: skies, shores and walls lie level.
        """
        cell = [2 if tall else 1, 2]
        colours, shares = [known], [weight]
        for _ in range(8):  # cells of up to 256 pixels
            colours.append(F.avg_pool2d(colours[-1], cell, ceil_mode=True, count_include_pad=False))
            shares.append(F.avg_pool2d(shares[-1], cell, ceil_mode=True, count_include_pad=False))
        guess = known.sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1.0)
        for level in range(8, -1, -1):
            colour, share = colours[level], shares[level]
            size = [colour.shape[2], colour.shape[3]]
            guess = F.interpolate(guess, size=size, mode="bilinear", align_corners=False)
            trust = (share * 4).clamp(max=1.0)
            guess = guess * (1 - trust) + colour / share.clamp(min=1e-3) * trust
        return guess


class Holes:
    """Draws training triples: picture, hole, truth."""

    def __init__(self, bank: SceneBank, photos: list[Photo]) -> None:
        """Args: the drawn scenes; photos (none = drawn only)."""
        self.bank, self.photos = bank, photos

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Picture and truth (S, S, 3) uint8, hole (S, S) bool; they differ in the hole only."""
        kind = rng.random()
        row = int(rng.integers(len(self.bank.images)))
        if kind < 0.55:
            image, truth = self.bank.images[row], self.bank.backgrounds[row]
            hole = _dilate(self.bank.ids[row] == 1, int(rng.integers(2, 12)))
        elif kind < 0.75 or not self.photos:
            image = truth = (self.bank.images if rng.random() < 0.4 else self.bank.backgrounds)[row]
            hole = self._hole(rng)
        else:
            photo = self.photos[rng.integers(len(self.photos))].image
            side = int(rng.uniform(0.5, 1.0) * min(photo.shape[:2]))
            x = int(rng.integers(0, photo.shape[1] - side + 1))
            y = int(rng.integers(0, photo.shape[0] - side + 1))
            window = photo[y : y + side, x : x + side]
            image = truth = cv2.resize(window, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            hole = self._hole(rng)
        step = -1 if rng.random() < 0.5 else 1
        shift = rng.integers(-20, 21)
        image, truth = (np.clip(a.astype(np.int16) + shift, 0, 255) for a in (image, truth))
        return image[:, ::step].astype(np.uint8), hole[:, ::step], truth[:, ::step].astype(np.uint8)

    def _hole(self, rng: np.random.Generator) -> np.ndarray:
        """A thick stroke, some boxes, or the shape of a drawn object from anywhere."""
        hole = np.zeros((SIZE, SIZE), np.uint8)
        kind = rng.random()
        if kind < 0.4:
            shape = self.bank.ids[rng.integers(len(self.bank.ids))] == 1
            shift = rng.integers(-60, 61, 2)
            move = np.float32([[1, 0, shift[0]], [0, 1, shift[1]]])
            hole = cv2.warpAffine(shape.astype(np.uint8), move, (SIZE, SIZE))
            hole = _dilate(hole > 0, 5).astype(np.uint8)
        elif kind < 0.75:
            points = rng.integers(10, SIZE - 10, (int(rng.integers(2, 6)), 1, 2)).astype(np.int32)
            cv2.polylines(hole, [points], False, 1, int(rng.integers(10, 45)))
        else:
            for _ in range(int(rng.integers(1, 4))):
                w, h = rng.integers(20, 110, 2)
                x, y = rng.integers(0, SIZE - w), rng.integers(0, SIZE - h)
                hole[y : y + h, x : x + w] = 1
        if not hole.any():
            hole[80:150, 80:150] = 1
        return hole > 0


def _dilate(mask: np.ndarray, px: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def train(
    out: Path,
    work: Path,
    *,
    photos: Path | None = None,
    settings: TrainSettings = SETTINGS,
    minutes: float | None = None,
    scenes: int = 5000,
) -> dict[str, int]:
    """Trains the filler and writes `filler.pt` (TorchScript) to `out`.

    Args:
        out: the folder of bundled weights.
        work: scene bank, checkpoint and log.
        photos: folder that holds `coco_train/`; None = drawn scenes only.
        settings: the schedule.
        minutes: stop early after this long; call again to go on.
        scenes: size of the scene bank.

    Returns:
        Number of parameters by part.
    """
    bank = scene_bank(work / "scenes", scenes)
    real = read_photos(photos / "coco_train") if photos else []
    holes = Holes(bank, [p for p in real if min(p.image.shape[:2]) >= 200])
    torch.manual_seed(settings.seed)
    model = Filler().to(memory_format=torch.channels_last)

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        drawn = [holes.draw(rng) for _ in range(settings.batch)]
        image, truth = (
            torch.from_numpy(np.stack([d[i] for d in drawn])).permute(0, 3, 1, 2).float() / 255
            for i in (0, 2)
        )
        image, truth = image.to(settings.device), truth.to(settings.device)
        hole = torch.from_numpy(np.stack([d[1] for d in drawn]))[:, None].float()
        hole = hole.to(settings.device)
        truth = image * (1 - hole) + truth * hole
        with autocast(settings.device):
            painted = model(image, hole)
        area = 3 * hole.sum((1, 2, 3))  # of each picture, in values
        plain = ((painted - truth).abs() * hole).sum((1, 2, 3)) / area
        rmse = ((((painted - truth) ** 2) * hole).sum((1, 2, 3)) / area + 1e-6).sqrt()
        edges = sum(
            (painted.diff(dim=d) - truth.diff(dim=d)).abs().sum((1, 2, 3)) / area for d in (2, 3)
        )
        loss = (plain + 2 * rmse + 0.25 * edges).mean()
        return loss, {"rmse": round(rmse.mean().item(), 4)}

    trained = fit(model, loss_fn, settings, work / "filler", minutes=minutes)
    out.mkdir(parents=True, exist_ok=True)
    script = torch.jit.script(trained.to("cpu", memory_format=torch.contiguous_format))
    torch.jit.save(torch.jit.freeze(script), out / "filler.pt")
    return {"filler": sum(p.numel() for p in trained.parameters())}
