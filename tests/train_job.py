"""Runs inside a store for tests: four drawn cats, accepted, and jobs that open small models."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from forgetme import jobs
from forgetme.dataset import import_dataset
from forgetme.store import Store, process
from forgetme.train import RunSettings, items_of_store
from forgetme.train.runs import Run, ask

SECONDS = 400.0  # a busy machine
# Puts small models of the real classes in the place of the bundled ones, in the job's process.
HOOK = """
import functools, sys
if "forgetme" in " ".join(sys.orig_argv):
    from forgetme.stages import models
    models.load_models = functools.partial(models.load_models, assets={ASSETS!r})
"""
BASE = {"base": "tiny/diffusion@0123abcd", "data": "0123456789abcdef", "pictures": 4}
SMALL = {"steps": 120, "lr": 1e-3, "batch": 2, "rank": 2, "probe_every": 0, "save_every": 50}


def small_models_in_jobs(folder: Path, assets: Path, monkeypatch) -> None:  # noqa: ANN001
    """Lets the processes of jobs load the weights of `assets`."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK.replace("{ASSETS!r}", repr(str(assets))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).parents[1])]))


def fill(store: Store, drawn: Path) -> None:
    """Imports the drawn cats as accepted samples."""
    import_dataset(store, drawn, "folders", concept="cat", by="ann")


def asked(store: Store, name: str, **more: object) -> Run:
    """Writes down a run of random labelling on cats that keeps dogs."""
    values = {**SMALL, "trains": "kv", "keep": ("dog",), "retain_pictures": 2, **more}
    pictures = values.pop("probe_pictures", 0)
    settings = RunSettings("rl", "cat", **values)
    items = items_of_store(store, "cat")
    return ask(store, name, settings, items, preset="tiny", probe_pictures=pictures, by="ann")


def begin(store: Store, run: Run) -> jobs.Job:
    return jobs.submit(store, "train", {"name": run.name, "at": run.asked.at}, "ann")


def ended(store: Store, job: jobs.Job) -> jobs.Job:
    """Waits for a job's end."""
    return until(lambda: (one := jobs.get(store, job.id)).state in jobs.ENDED and one)


def until(condition: Callable[[], object]) -> object:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {SECONDS:.0f} s for {condition}"
        time.sleep(0.05)
    return found


def kill_all(store: Store) -> None:
    """Ends what still runs for a store."""
    for row in store.jobs.rows():
        if row.pid != os.getpid() and process.is_alive(row.pid, row.process_start):
            os.kill(row.pid, signal.SIGKILL)


STRIP = (64, 16)  # px of a probe's strip of four pictures


def written(
    run: Run, done: int, *, probes: Sequence[int] = (), patch: bool = True, **record: object
) -> Run:
    """Writes what a run leaves on disk: log, probes with their pictures, patch."""
    folder, concepts = run.folder, [run.record["concept"], *run.record["keep"]]
    known = {**json.loads(json.dumps(run.asked.settings.record())), **BASE, **record}
    (folder / "run.json").write_text(json.dumps(known))
    lines = []
    for step in range(done + 1):
        if step:
            loss = 1 / step
            values = {"loss": loss, "forget": 0.75 * loss, "retain": 0.25 * loss}
            lines.append({"step": step, "seconds": 0.5 * step, **values})
        if step in probes:
            shares = {concepts[0]: 1.0 if step == 0 else 0.0, **dict.fromkeys(concepts[1:], 0.875)}
            probe = {"step": step, "forget": shares[concepts[0]], "retain": 0.875, "n": 8}
            lines.append({"step": step, "probe": {**probe, "by_concept": shares}})
            (folder / "probes").mkdir(exist_ok=True)
            for place, name in enumerate(concepts):
                strip = Image.new("RGB", STRIP, (step % 256, 40 * place, 90))
                strip.save(folder / "probes" / f"{step:06d} {name}.png")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if patch:
        (folder / "patch").mkdir()
        versions = {"forgetme": "0.1.0", "torch": "2", "python": "3.11"}
        made = {**known, "steps_done": done, "versions": versions, "probe": None}
        (folder / "patch" / "patch.json").write_text(json.dumps(made))
        file = "pytorch_lora_weights" if known["trains"] == "lora" else "patch"
        (folder / "patch" / f"{file}.safetensors").write_bytes(b"weights " * 100)
    return run
