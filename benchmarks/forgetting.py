"""Measures whether the bundled model forgets: every method, several concepts, several seeds.

Run: `python -m benchmarks.forgetting [--methods lora esd rl] [--concepts fish car cat] [--seeds 3]
[--work DIR] [--table] [--json] [--record]`.

Each run learns from 48 drawn scenes of its concept and takes the method's `tiny` preset, in a
process of its own. Afterwards the bundled ranker says what fixed-seed pictures of held-out prompts
show: of the concept forgotten, of all others, those that the run held apart from those that nothing
held, and of the concept asked for by paraphrases; a second recogniser sees the same pictures. The
baseline is the untouched model on the same prompts and seeds. Every finished run is a line of
`DIR/runs.jsonl`; a call that was killed goes on with the run that it was at. The table has all that
is there and says of how many runs. Minutes are those of one core, which a busy machine leaves be.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgetme.metrics import wilson
from forgetme.scenes import CONCEPTS
from forgetme.scenes.write import write_scenes
from forgetme.stages.models import Models, load_models
from forgetme.tiny.card import machine
from forgetme.train import METHODS, Probe, RunSettings, items_of_folder, probe, train
from forgetme.train.form import settings_for
from forgetme.train.quick import quick

FORGOTTEN, KEPT = 0.10, 0.90  # of the concept's pictures; of the rate before of what nothing held
MINUTES = 10
SCENES = 48
SCENES_SEED = 3  # as `scenes --seed`; far from those the bundled models know or are measured on
PICTURES = 16  # a multiple of 4: so many prompts there are
SHOWN = ["fish", "car", "cat"]
# Neighbours are the others of a concept's kind.
KINDS = (
    ("bird", "cat", "dog", "fish"),
    ("airplane", "balloon", "boat", "car", "house"),
    ("flower", "mushroom", "tree"),
)
RESULTS = Path(__file__).parent / "forgetting.json"
UNTOUCHED = "untouched"  # in a run's key: the model as it is


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--concepts", nargs="+", choices=CONCEPTS, default=SHOWN)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="of the concept")
    parser.add_argument("--others", type=int, default=PICTURES, help="of each other concept")
    parser.add_argument("--work", type=Path, default=Path("forgetting-work"))
    parser.add_argument("--table", action="store_true", help="train nothing; show what is there")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name} for README")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    n = options.pictures, options.others
    options.work.mkdir(parents=True, exist_ok=True)
    wanted = [(UNTOUCHED, "", 0)] + [
        (method, concept, seed)
        for seed in range(options.seeds)
        for concept in options.concepts
        for method in options.methods
        if seed == 0 or not _always_alike(method)
    ]
    done = {tuple(one["key"]) for one in read(options.work, n)}
    failed = 0
    for key in [] if options.table else wanted:
        if key not in done:
            failed += _in_a_process(_run, *key, options.work, n)
    runs = read(options.work, n)
    before = next((one for one in runs if one["key"][0] == UNTOUCHED), None)
    if before is None:
        print(f"{options.work} has no run of the untouched model yet", file=sys.stderr)
        return 1
    lines = [
        line(method, before, [one for one in runs if one["key"][0] == method])
        for method in options.methods
        if any(one["key"][0] == method for one in runs)
    ]
    record = {
        "machine": machine(),
        "date": date.today().isoformat(),
        "pictures": n,
        "lines": sorted(lines, key=_worse),
    }
    if options.record:
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1) if options.json else table(record))
    return 0 if lines and not failed and all(one["ok"] for one in lines) else 1


def _always_alike(method: str) -> bool:
    """Whether a method finds the same weights from every seed."""
    return METHODS[method].solve is not None and method != "speed"


def _in_a_process(work: Any, *arguments: Any) -> int:
    """Does something apart, so that its peak of memory is its own; returns the exit status."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def read(work: Path, n: tuple[int, int]) -> list[dict]:
    """The finished runs in a folder that were judged by so many pictures."""
    path = work / "runs.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1].splitlines()  # a killed call may leave half a line
    return [one for one in map(json.loads, whole) if tuple(one["n"]) == n]


def _run(method: str, concept: str, seed: int, work: Path, n: tuple[int, int]) -> None:
    """Trains once and probes; what it took holds the latents and the pictures to keep, too."""
    models = load_models("tiny")
    models.diffusion.pipe.set_progress_bar_config(disable=True)
    record: dict[str, Any] = {"key": [method, concept, seed]}
    if method == UNTOUCHED:
        found = _look_untouched(models, n)
    else:
        data = work / f"scenes-{concept}"
        if not (data / "index.csv").is_file():
            write_scenes(data, count=SCENES, seed=SCENES_SEED, concepts=[concept])
        settings: RunSettings = settings_for(method, concept, "tiny", {"seed": seed}, {}, None)
        settings = replace(settings, probe_every=0, save_every=0)
        out = work / f"{method}-{concept}-{seed}"
        shutil.rmtree(out, ignore_errors=True)  # of a killed call: a whole run is what is timed
        began, spent = time.monotonic(), time.process_time()
        result = train(
            models.diffusion.pipe,
            items_of_folder(data),
            settings,
            out,
            base=models.diffusion.made_by,
        )
        record |= {
            "minutes": (time.monotonic() - began) / 60,
            "core_minutes": (time.process_time() - spent) / 60,
            "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
            "patch_mib": result.patch.file.stat().st_size / 2**20,
            "keep": settings.keep,
            "watch": settings.watch,
        }
        found = _look(models, concept, (*settings.keep, *settings.watch), n)
        print(f"{method} {concept} {seed}: seen {found['seen'][concept]:.2f}", file=sys.stderr)
    with (work / "runs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**record, **found}) + "\n")


def _look(models: Models, concept: str, others: Sequence[str], n: tuple[int, int]) -> dict:
    """What the recognisers see of a concept, of others, and of the concept asked for otherwise."""
    own = _probe(models, [concept], n[0], paraphrase=True)
    rest = _probe(models, others, n[1])
    return {
        "n": n,
        "seen": own.by_concept,
        "seen_second": own.second,
        "otherwise": own.otherwise,
        "others": rest.by_concept,
        "others_second": rest.second,
    }


def _look_untouched(models: Models, n: tuple[int, int]) -> dict:
    own, rest = (_probe(models, CONCEPTS, one) for one in n)
    return {
        "n": n,
        "seen": own.by_concept,
        "seen_second": own.second,
        "others": rest.by_concept,
        "others_second": rest.second,
    }


def _probe(models: Models, names: Sequence[str], n: int, paraphrase: bool = False) -> Probe:
    pipe, ranker = models.diffusion.pipe, models.ranker
    with quick(pipe.unet), torch.autocast("cpu", torch.bfloat16):
        return probe(
            pipe,
            ranker.probabilities,
            names[0],
            names[1:],
            step=0,
            n=n,
            vocabulary=ranker.vocabulary,
            second=models.second.probabilities,
            paraphrase=paraphrase,
        )


def line(method: str, before: dict, runs: Sequence[dict]) -> dict[str, Any]:
    """One method: rates over all its runs, with their intervals, and its worst concept."""
    asked = [run["key"][1] for run in runs]
    concepts = sorted(set(asked))
    seen = [run["seen"][one] for run, one in zip(runs, asked, strict=True)]
    by_concept = {
        name: float(np.mean([one for one, of in zip(seen, asked, strict=True) if of == name]))
        for name in concepts
    }
    worst = max(by_concept, key=by_concept.get)
    near = [[o for kind in KINDS if one in kind for o in kind if o != one] for one in asked]
    n = before["n"][0]
    record = {
        "method": method,
        "concepts": concepts,
        "runs": len(runs),
        "seen": share([before["seen"][one] for one in asked], seen, n),
        "seen_second": share(
            [before["seen_second"][one] for one in asked],
            [run["seen_second"][one] for run, one in zip(runs, asked, strict=True)],
            n,
        ),
        "otherwise": share([], [run["otherwise"] for run in runs], n),
        "worst": [worst, by_concept[worst]],
        "held": kept(before, runs, [run["keep"] for run in runs]),
        "apart": kept(before, runs, [run["watch"] for run in runs]),
        "near": kept(before, runs, near),
        "core_minutes": max(run["core_minutes"] for run in runs),
        "memory_mib": max(run["memory_mib"] for run in runs),
        "patch_mib": max(run["patch_mib"] for run in runs),
    }
    record["ok"] = (
        record["seen"]["after"] <= FORGOTTEN
        and record["apart"]["after"] >= KEPT
        and record["core_minutes"] <= MINUTES
    )
    return record


def share(before: Sequence[float], after: Sequence[float], n: int) -> dict[str, Any]:
    """A mean share before and after, with Wilson's interval of the latter; `n` pictures each."""
    now, count = float(np.mean(after)), n * len(after)
    was = float(np.mean(before)) if before else None
    return {"before": was, "after": now, "interval": wilson(round(now * count), count), "n": count}


def kept(before: dict, runs: Sequence[dict], names: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The mean share of some concepts of each run after, relative to the untouched model's."""
    pairs = [(run["others"][o], before["others"][o]) for run, some in zip(runs, names, strict=True)
             for o in some]  # fmt: skip
    was = float(np.mean([one for _, one in pairs]))
    found = share([], [now for now, _ in pairs], before["n"][1])
    ends = [end / was for end in found["interval"]]
    return {**found, "before": was, "after": found["after"] / was, "interval": ends}


def _worse(one: dict) -> tuple[bool, float]:
    """Sorts by what one would choose: what holds first, then by forgotten times kept."""
    return not one["ok"], -(1 - one["seen"]["after"]) * min(1.0, one["apart"]["after"])


def table(record: dict) -> str:
    """The lines as Markdown."""
    text = (
        "| method | runs | seen before | seen after | by the second recogniser | asked for "
        "otherwise | worst | held keep | **not held keep** | neighbours keep | minutes | memory | "
        "patch | holds |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    for one in record["lines"]:
        cells = [
            f"`{one['method']}`",
            _of(one),
            "{:.0%}".format(one["seen"]["before"]),
            *(_cell(one[name]) for name in ("seen", "seen_second", "otherwise")),
            "{} {:.0%}".format(*one["worst"]),
            *(_cell(one[name]) for name in ("held", "apart", "near")),
            f"{one['core_minutes']:.1f}" if one["core_minutes"] >= 0.1 else "< 0.1",
            f"{one['memory_mib'] / 1024:.1f} GiB",
            f"{one['patch_mib']:.1f} MiB",
            "yes" if one["ok"] else "**no**",
        ]
        text += f"| {' | '.join(cells)} |\n"
    measured = {one["method"] for one in record["lines"]}
    missing = [f"`{name}`" for name in METHODS if name not in measured]
    n, others = record["pictures"]
    text += f"\nA run: {n} pictures of its concept, {others} of each other one."
    return text + (f" Not measured on this model: {', '.join(missing)}.\n" if missing else "\n")


def _of(one: dict) -> str:
    names = one["concepts"]
    return f"{one['runs']}: " + (", ".join(names) if len(names) < 4 else f"{len(names)} concepts")


def _cell(one: dict) -> str:
    return "{:.0%} ({:.0%}-{:.0%})".format(one["after"], *one["interval"])


if __name__ == "__main__":
    sys.exit(main())
