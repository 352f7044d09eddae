"""Measures whether the bundled model forgets: every method, several concepts, several seeds.

Run: `python -m benchmarks.forgetting [--methods lora esd rl] [--concepts fish car balloon]
[--seeds 3] [--work DIR] [--json]`.

Each run learns from 48 drawn scenes of its concept and takes the method's `tiny` preset. Afterwards
the bundled ranker says what fixed-seed pictures of held-out prompts show: of the concept forgotten,
and of all others. The baseline is the untouched model on the same prompts and seeds. Finished runs
are kept in the work folder, and a second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch

from forgetme.metrics import wilson
from forgetme.scenes import CONCEPTS
from forgetme.scenes.write import write_scenes
from forgetme.stages.models import load_models
from forgetme.tiny.card import machine
from forgetme.train import METHODS, Probe, RunSettings, items_of_folder, probe, train
from forgetme.train.form import settings_for
from forgetme.train.quick import quick

FORGOTTEN, KEPT = 0.10, 0.90  # of the concept's pictures; of the others' rate before
MINUTES = 10
SCENES = 48
SCENES_SEED = 3  # as `scenes --seed`; far from those the bundled models know or are measured on
PICTURES = 16  # of every concept
SHOWN = ["fish", "car", "balloon"]  # each drawn by the untouched model in 9 of 10 pictures
RESULTS = Path(__file__).parent / "forgetting.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--concepts", nargs="+", choices=CONCEPTS, default=SHOWN)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--work", type=Path, default=Path("forgetting-work"))
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name} for README")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    before = _before(options.work, options.pictures)
    runs = [
        _run(method, concept, seed, options.work, options.pictures)
        for seed in range(options.seeds)
        for concept in options.concepts
        for method in options.methods
    ]
    lines = [
        line(method, concept, before, [r for r in runs if r["key"][:2] == [method, concept]])
        for method in options.methods
        for concept in options.concepts
    ]
    record = {
        "machine": machine(),
        "date": date.today().isoformat(),
        "pictures": options.pictures,
        "lines": lines,
    }
    if options.record:
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1) if options.json else table(record))
    return 0 if all(one["ok"] for one in lines) else 1


def _before(work: Path, pictures: int) -> Probe:
    """What the untouched model draws."""
    path = work / f"before-{pictures}.json"
    if not path.is_file():
        work.mkdir(parents=True, exist_ok=True)
        models = load_models("tiny")
        models.diffusion.pipe.set_progress_bar_config(disable=True)
        found = _probe(models, CONCEPTS[0], pictures, step=0)
        path.write_text(json.dumps(found.record()))
    return Probe(**json.loads(path.read_text()))


def _probe(models: object, concept: str, pictures: int, step: int) -> Probe:
    keep = tuple(one for one in CONCEPTS if one != concept)
    recognise = models.ranker.probabilities
    pipe = models.diffusion.pipe
    with quick(pipe.unet), torch.autocast("cpu", torch.bfloat16):
        return probe(pipe, recognise, concept, keep, CONCEPTS, step=step, n=pictures)


def _run(method: str, concept: str, seed: int, work: Path, pictures: int) -> dict:
    """Trains once and probes; its minutes hold the latents and the pictures to keep, too."""
    folder = work / f"{method}-{concept}-{seed}"
    path = folder / "result.json"
    if not path.is_file():
        data = work / f"scenes-{concept}"
        if not (data / "index.csv").is_file():
            write_scenes(data, count=SCENES, seed=SCENES_SEED, concepts=[concept])
        settings: RunSettings = settings_for(method, concept, "tiny", {"seed": seed}, {}, None)
        settings = replace(settings, probe_every=0)
        models = load_models("tiny")
        started = time.monotonic()
        result = train(
            models.diffusion.pipe,
            items_of_folder(data),
            settings,
            folder,
            base=models.diffusion.made_by,
        )
        minutes = (time.monotonic() - started) / 60
        found = _probe(models, concept, pictures, step=result.step)
        record = {"key": [method, concept, seed], "minutes": minutes, "probe": found.record()}
        path.write_text(json.dumps(record))
        print(f"{method} {concept} {seed}: {found.forget:.2f} {found.retain:.2f}", file=sys.stderr)
    return json.loads(path.read_text())


def line(method: str, concept: str, before: Probe, runs: Sequence[dict]) -> dict:
    """One method on one concept: rates over all its seeds, with their intervals."""
    others = [one for one in CONCEPTS if one != concept]
    n = before.n * len(runs)
    m = n * len(others)
    shares = [run["probe"]["by_concept"] for run in runs]
    forgotten = sum(share[concept] for share in shares) / len(runs)
    kept = sum(share[one] for share in shares for one in others) / len(runs) / len(others)
    was = sum(before.by_concept[one] for one in others) / len(others)
    minutes = max(run["minutes"] for run in runs)
    return {
        "method": method,
        "concept": concept,
        "seeds": len(runs),
        "before": before.by_concept[concept],
        "after": forgotten,
        "after_interval": wilson(round(forgotten * n), n),
        "kept": kept / was,
        "kept_interval": [end / was for end in wilson(round(kept * m), m)],
        "minutes": minutes,
        "ok": forgotten <= FORGOTTEN and kept / was >= KEPT and minutes <= MINUTES,
    }


def table(record: dict) -> str:
    """The lines as Markdown."""
    text = "| method | concept | seen before | seen after | others keep | minutes | holds |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for one in record["lines"]:
        after = "{:.0%} ({:.0%}-{:.0%})".format(one["after"], *one["after_interval"])
        kept = "{:.0%} ({:.0%}-{:.0%})".format(one["kept"], *one["kept_interval"])
        text += (
            f"| `{one['method']}` | {one['concept']} | {one['before']:.0%} | {after} | {kept} | "
        )
        text += f"{one['minutes']:.1f} | {'yes' if one['ok'] else '**no**'} |\n"
    return text


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.exit(main())
