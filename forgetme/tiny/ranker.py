"""Trains the bundled ranker: an ImageNet backbone with a head, and a text tower for its words.

The backbone stays as it is, so each crop goes through it once. On its features a head and a table
of word embeddings are trained together; then the text tower learns the table.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from forgetme.scenes import BACKGROUNDS
from forgetme.stages.segment import load_tiny_sam
from forgetme.stages.vocabulary import Vocabulary
from forgetme.tiny import backbone
from forgetme.tiny.crops import BACKGROUND, PART, Crop, all_crops
from forgetme.tiny.loop import TrainSettings, autocast, fit
from forgetme.tiny.names import CONTEXT, DIM, TEMPLATES, WIDTH, Head, train_text

logger = logging.getLogger(__name__)

SETTINGS = TrainSettings(
    steps=3000, batch=768, lr=3e-3, warmup=50, weight_decay=0.05, save_every=300
)
TEXT_SETTINGS = TrainSettings(steps=450, lr=0.05, warmup=10, weight_decay=0.0, ema=0.9)
SIZE = 160  # pixels a side of the crops that the ranker sees
HELD_OUT = 12  # one picture in so many is for the temperature
TOKENS = "token_embedding.weight"
CHUNK = 64  # crops a pass through the backbone
WORDS = Path(__file__).with_name("words.json")
SHIPPED = 2  # of these are averaged when a word is asked about
# How often a crop is drawn, by where it is from.
WEIGHTS = {
    "photo": 1.0,
    "box": 0.8,
    "whole": 0.7,
    "part": 0.35,
    "ground": 0.35,
    "cifar": 0.25,
    "drawn": 2.0,
    "drawn whole": 1.5,
    "drawn worn": 2.0,
    "redrawn": 4.0,
    "generated": 9.0,
    "drawn part": 0.3,
    "proposed": 4.0,
    "proposed part": 1.2,
    "drawn ground": 0.25,
    "drawn empty": 0.3,
    "setting": 0.4,
}
DRAWN = ("drawn", "drawn whole", "drawn worn", "redrawn", "generated", "proposed")
HARD = {"cat": 2.5}  # drawn cats look much like drawn dogs to a tower that learned from photos
THINGS = ("photo", "box", "whole", "cifar")  # ImageNet's classifier has something to say of these


def model_config() -> dict:
    """The open_clip model config of the bundled ranker (timm's tower and a text tower)."""
    return {
        "embed_dim": DIM,
        "vision_cfg": {
            "timm_model_name": backbone.NAME,
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": SIZE,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": 49408,
            "width": WIDTH,
            "heads": 4,
            "layers": 2,
        },
    }


@dataclass(frozen=True)
class Words:
    """What the ranker is taught: its vocabulary and ImageNet's classes among its words."""

    known: Vocabulary
    config: dict
    classes: tuple[str, ...]

    @classmethod
    def read(cls) -> Words:
        """Reads `words.json`; surfaces and "part" join its rivals."""
        record = json.loads(WORDS.read_text())
        rivals = [*record["base"], *BACKGROUNDS, BACKGROUND, PART]
        config = {"vocabulary": rivals, "kinds": record["kinds"], "same": record["same"]}
        known = Vocabulary(rivals, record["kinds"], record["same"])
        return cls(known, config, tuple(record["classes"]))


@dataclass(frozen=True)
class Features:
    """What the backbone sees in crops: values (N, 1280) float16, and each crop's word and origin.

    Attributes:
        held: (N,) bool, crops of pictures that are kept for the temperature.
    """

    values: torch.Tensor
    words: tuple[str, ...]
    sources: np.ndarray
    held: np.ndarray


def features(folder: Path, net: torch.nn.Module, drawn: Iterator[Crop], device: str) -> Features:
    """Passes crops through the backbone once; a finished file in `folder` is read instead."""
    path = folder / "features.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        net.to(device, memory_format=torch.channels_last)
        parts, labels, pending = [], [], []

        def flush() -> None:
            pixels = torch.from_numpy(np.stack([crop.pixels for crop in pending]))
            pixels = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            pixels = pixels.to(device).contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), autocast(device):
                seen = net.global_pool(net.forward_features(pixels))
            parts.append(seen.half().cpu().numpy())
            labels.extend((crop.word, crop.source, crop.picture) for crop in pending)
            pending.clear()

        for crop in drawn:
            pending.append(crop)
            if len(pending) == CHUNK:
                flush()
        if pending:
            flush()
        (folder / "features.json").write_text(json.dumps(labels))
        np.save(path, np.concatenate(parts))
    words, sources, pictures = zip(*json.loads((folder / "features.json").read_text()), strict=True)
    held = [zlib.crc32(picture.encode()) % HELD_OUT == 0 for picture in pictures]
    values = torch.from_numpy(np.load(path))
    return Features(
        values, words, np.array(sources), np.array(held) & (np.array(sources) != "cifar")
    )


def small_tokens(table: torch.Tensor) -> torch.Tensor:
    """The tokens' codes in a byte a value: half of the file is this table, most of it zero.

    The tower normalises each code before it looks at it, so its length says nothing.
    """
    spread = table.std(1, keepdim=True)
    return torch.where(spread > 0, table / spread.clamp(min=1e-12), 0.0).to(torch.float8_e4m3fn)


class Lessons:
    """The losses on features: right words against their rivals, and ImageNet's own opinion."""

    def __init__(self, words: Words, seen: Features, net: torch.nn.Module) -> None:
        """Args: the words; the features; the backbone with its 1000-way classifier."""
        known = words.known
        self.words, self.seen = list(known.words), seen
        self.index = {word: i for i, word in enumerate(self.words)}
        count = len(self.words)
        self.allowed = torch.zeros(count, count, dtype=torch.bool)
        for word, i in self.index.items():
            self.allowed[i, [i, *(self.index[other] for other in known.against(word))]] = True
        above = [[self.index[more] for more in sorted(known.above(word))] for word in self.words]
        self.above = torch.full((count, max(map(len, above))), -1)  # more general words, in front
        for i, more in enumerate(above):
            self.above[i, : len(more)] = torch.tensor(more, dtype=torch.long)
        self.classes = torch.tensor([self.index[name] for name in words.classes])
        self.under = torch.zeros(count, len(words.classes), dtype=torch.bool)
        for k, i in enumerate(self.classes.tolist()):
            self.under[[i, *above[i]], k] = True
        found = (known.find(word) for word in seen.words)
        self.labels = torch.tensor([-1 if word is None else self.index[word] for word in found])
        self.rows = np.flatnonzero(~seen.held & (self.labels.numpy() >= 0))
        counts = Counter(zip(seen.words, seen.sources, strict=True))
        weight = [
            WEIGHTS[source]
            * (HARD.get(word, 1) if source in DRAWN else 1)
            * ((counts[word, source] / 300) ** -0.5 if source in THINGS[:3] else 1)
            for word, source in zip(seen.words, seen.sources, strict=True)
        ]
        self.share = np.cumsum(np.array(weight)[self.rows])
        self.share /= self.share[-1]
        self.thing = torch.from_numpy(np.isin(seen.sources, THINGS))
        self.teacher = net.classifier.cpu().float().requires_grad_(False)
        above_all = [
            next((w for w in sorted(known.above(n)) if w in known.rivals), n) for n in words.classes
        ]
        many = Counter(above_all)  # ImageNet has 118 breeds of dogs and 5 cats
        chance = np.array([many[word] ** -0.75 for word in above_all])
        self.chance = chance / chance.sum()
        self.opinion = self.teacher(seen.values.float()).half()  # (N, 1000)
        some = seen.values[self.rows[:: max(1, len(self.rows) // 20000)]].float()
        centred = some - some.mean(0)
        spread = centred.T @ centred / len(some) + 1e-3 * torch.eye(some.shape[1])
        weights = self.teacher.weight - self.teacher.weight.mean(0)
        towards = weights @ spread  # (1000, 1280): how the mean of a class lies apart
        self.towards = towards / (towards * weights).sum(1, keepdim=True)

    def ask(self, logits: torch.Tensor, labels: torch.Tensor, smooth: float = 0.05) -> torch.Tensor:
        """Cross-entropy (N,) of each label against its own rivals."""
        allowed = self.allowed[labels]
        chances = logits.masked_fill(~allowed, -1e4).log_softmax(1)
        right = chances.gather(1, labels[:, None])[:, 0]
        return -(1 - smooth) * right - smooth * (chances * allowed).sum(1) / allowed.sum(1)

    def imagine(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        """Features of classes that no photo shows: real ones, moved to a random class.

        The move is along the class's discriminant direction, as far as ImageNet's classifier
        needs to prefer the class clearly.
        """
        values = self.seen.values[rng.choice(self.rows, count)].float()
        logits, wanted = (
            self.teacher(values),
            torch.from_numpy(rng.choice(len(self.classes), count, p=self.chance)),
        )
        best = logits.argmax(1)
        gap = logits.max(1).values - logits[range(count), wanted]
        gap += torch.from_numpy(rng.uniform(1, 5, count)).float()
        step, weight = self.towards[wanted], self.teacher.weight
        gain = (step * (weight[wanted] - weight[best])).sum(1).clamp(min=0.3)
        return (values + step * (gap / gain).clamp(0, 30)[:, None]).clamp(0, 6)

    def loss(self, head: Head, rng: np.random.Generator, batch: int) -> tuple:
        """The loss of one step, and values to log."""
        rows = self.rows[
            np.minimum(np.searchsorted(self.share, rng.random(batch)), len(self.rows) - 1)
        ]
        values, labels = self.seen.values[rows].float(), self.labels[rows]
        imagined = self.imagine(rng, batch // 3)
        logits = head(F.dropout(torch.cat([values, imagined]), 0.1))
        named = self.ask(logits[:batch], labels).mean()
        opinion = self.opinion[rows].float()
        fits = self.under[labels]  # (N, 1000): classes that agree with the label
        use = fits.any(1) & self.thing[rows]
        opinion = opinion[use].masked_fill(~fits[use], -1e4)
        dreamt = self.teacher(imagined)
        taught = torch.cat([opinion, dreamt]).softmax(1)
        told = torch.cat([logits[:batch][use], logits[batch:]])[:, self.classes].log_softmax(1)
        learned = -(taught * told).sum(1).mean()
        picked = self.classes[torch.multinomial(dreamt.softmax(1), 1)[:, 0]]
        above = self.above[torch.cat([labels, picked])]
        most = (above >= 0).sum(1)
        has = most > 0
        which = (torch.rand(len(most)) * most).long()
        general = above.gather(1, which[:, None])[:, 0]
        answers = torch.cat([logits[has], logits[batch:]])
        kinds = self.ask(answers, torch.cat([general[has], picked])).mean()
        right = (
            logits[:batch].masked_fill(~self.allowed[labels], -1e4).argmax(1) == labels
        ).float()
        return named + 0.5 * learned + 0.5 * kinds, {"accuracy": round(right.mean().item(), 3)}

    @torch.no_grad()
    def temperature(self, head: Head) -> float:
        """The log scale under which the held-out crops are least surprising."""
        rows = np.flatnonzero(self.seen.held & (self.labels.numpy() >= 0))
        keep = rows[np.isin(self.seen.sources[rows], ("photo", "part", "ground", "drawn"))]
        if not len(keep):
            return float(head.scale)
        labels = self.labels[keep]
        cosines = head(self.seen.values[keep].float(), 9.0) / head.scale.exp()
        tries = np.arange(2.0, 4.6, 0.05)
        losses = [self.ask(cosines * float(np.exp(t)), labels, 0.0).mean().item() for t in tries]
        return float(tries[int(np.argmin(losses))])


def train(
    out: Path,
    work: Path,
    *,
    photos: Path | None = None,
    settings: TrainSettings = SETTINGS,
    minutes: float | None = None,
    scenes: int = 2500,
) -> dict[str, int]:
    """Trains the ranker and writes `ranker.safetensors` and `ranker.json` to `out`.

    Args:
        out: the folder of bundled weights; where it holds a diffusion model, what that draws and
            its decoder gives back is learned from too, and with a segmenter what it proposes.
        work: scene banks, features, checkpoints and logs.
        photos: folder that holds `coco_train/`, `photos_train/` and `cifar10/`; None = drawn
            scenes only.
        settings: the schedule of head and table; the text tower's is as short in proportion.
        minutes: stop each part early after this long; call again to go on.
        scenes: size of the scene bank.

    Returns:
        Number of parameters by part.

    Raises:
        MissingModelError: the backbone's package is absent.
    """
    words, net = Words.read(), backbone.lite0()
    folder, pipe = out / "diffusion", None
    if folder.is_dir():
        pipe = StableDiffusionPipeline.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, safety_checker=None
        )
        pipe.set_progress_bar_config(disable=True)
    else:
        logger.warning("%s is not there: no picture is seen as the diffusion model draws", folder)
    path = out / "segmenter.safetensors"
    if path.exists():
        segmenter = load_tiny_sam(path)
    else:
        segmenter = None
        logger.warning("%s is not there: no crop is as the segmenter proposes it", path)
    drawn = all_crops(SIZE, work, photos, scenes, settings.seed, pipe, segmenter)
    lessons = Lessons(words, features(work / "ranker", net, drawn, settings.device), net.cpu())
    torch.manual_seed(settings.seed)
    head = Head(len(lessons.words), net.num_features)

    def head_loss(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        return lessons.loss(head, rng, settings.batch)

    cpu = replace(settings, device="cpu")
    best = fit(head, head_loss, cpu, work / "ranker", minutes=minutes)
    scale = lessons.temperature(best)
    torch.manual_seed(settings.seed)
    model = open_clip.CLIP(**model_config())
    share = min(1.0, settings.steps / SETTINGS.steps)
    text = replace(
        TEXT_SETTINGS, seed=settings.seed, steps=max(2, round(TEXT_SETTINGS.steps * share))
    )
    train_text(model, words.known, best, text, work, minutes)
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("classifier")}
    model.visual.trunk.load_state_dict(state)
    model.visual.head.proj.load_state_dict(best.proj.state_dict())
    model.logit_scale.data.fill_(scale)
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    weights[TOKENS] = small_tokens(model.token_embedding.weight.detach())
    save_file(weights, out / "ranker.safetensors")
    record = {
        "model": model_config(),
        "mean": backbone.MEAN,
        "std": backbone.STD,
        "templates": TEMPLATES[:SHIPPED],
        **words.config,
    }
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    (out / "ranker.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return {"ranker": sum(p.numel() for p in model.parameters())}
