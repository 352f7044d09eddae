"""Times our training loop against the official diffusers script for LoRA text-to-image.

Run: `python -m benchmarks.training --script PATH [--steps 40] [--batch 8] [--rank 16]
[--precision no] [--pictures 16] [--rounds 2] [--threads 2] [--model FOLDER] [--device cpu]
[--json]`.

PATH is `examples/text_to_image/train_text_to_image_lora.py` of a checkout of huggingface/diffusers;
it is run as it is, in a process of its own. Both sides train LoRA matrices of the same rank in the
same layers of the same model, on the same pictures with one prompt, with the same batch, rate, Adam
without weight decay, and no clipping (the script's own clipping acts on no weights: the iterator it
hands over is used up). A step is timed from one logged loss to the next; the first steps warm up.
The sides take turns, and what is compared are medians. Ours encodes pictures and prompt once,
before the first step: that time is printed, too. The noise of the two differs, so the losses are
compared by their means.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 1.3
WARM_UP = 5  # steps
SEED = 9_000_000  # scenes that no bundled model was trained on
PROMPT = "a photo of a cat"
ASSETS = Path(__file__).parent.parent / "assets" / "tiny" / "diffusion"


def main() -> int:
    options = arguments()
    if options.side:
        print(json.dumps({"ours": ours, "theirs": theirs}[options.side](options)), flush=True)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        options.work = Path(folder)
        write_pictures(options)
        rounds = [(run("theirs", options), run("ours", options)) for _ in range(options.rounds)]
    result = compare(rounds, options)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(words(result))
    return 0 if result["ok"] else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--precision", choices=("no", "bf16", "fp16"), default="no")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=ASSETS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps <= WARM_UP + 1:
        parser.error(f"--steps must be more than {WARM_UP + 1}, the first of them warm up")
    return options


def native_size(model: Path) -> int:
    """Side of the model's pictures, px; eight for one latent in Stable Diffusion and ours."""
    return 8 * json.loads((model / "unet" / "config.json").read_text())["sample_size"]


def write_pictures(options: argparse.Namespace) -> None:
    """Draws scenes; the script gets their backgrounds as a folder of images with captions."""
    from PIL import Image

    from forgetme.record.images import read_image
    from forgetme.scenes.write import write_scenes
    from forgetme.train.data import items_of_folder, square

    write_scenes(
        options.work / "data", count=options.pictures, seed=SEED, concepts=("cat",), size=256
    )
    folder = options.work / "images"
    folder.mkdir()
    lines = []
    for item in items_of_folder(options.work / "data"):
        picture = square(read_image(item.background), native_size(options.model))
        Image.fromarray(picture).save(folder / f"{item.name}.png")
        lines.append(json.dumps({"file_name": f"{item.name}.png", "text": PROMPT}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def run(side: str, options: argparse.Namespace) -> dict:
    """Runs one side in a process of its own and returns its last line."""
    given = ("script", "steps", "batch", "rank", "lr", "precision", "threads", "model", "device")
    flags = [part for name in given for part in (f"--{name}", str(getattr(options, name)))]
    command = [sys.executable, "-m", "benchmarks.training", "--side", side, *flags]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(options.threads),
        "HF_HUB_OFFLINE": "1",
        "ACCELERATE_USE_CPU": str(options.device == "cpu").lower(),
    }
    done = subprocess.run(
        [*command, "--work", str(options.work)], stdout=subprocess.PIPE, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{side} ended with code {done.returncode}; its error is above")
    return json.loads(done.stdout.splitlines()[-1])


def ours(options: argparse.Namespace) -> dict:
    """Trains with our loop."""
    from forgetme.stages.diffusion import Diffusion
    from forgetme.train import RunSettings, items_of_folder, train

    pipe = Diffusion(options.model, device=options.device).pipe
    settings = RunSettings(
        "lora", "cat", prompt=PROMPT, steps=options.steps, batch=options.batch, lr=options.lr,
        rank=options.rank, precision=options.precision, clip=0.0, probe_every=0, save_every=0,
    )  # fmt: skip
    told: list[tuple[float, float]] = []
    began = time.perf_counter()
    train(
        pipe,
        items_of_folder(options.work / "data"),
        settings,
        Path(tempfile.mkdtemp(dir=options.work)),
        on_step=lambda done, total, values: told.append((time.perf_counter(), values["loss"])),
    )
    return summary(told) | {"before_first_step": told[0][0] - began}


def theirs(options: argparse.Namespace) -> dict:
    """Runs the script as it is, and listens to the losses that it logs."""
    from accelerate import Accelerator

    told: list[tuple[float, float]] = []
    log = Accelerator.log

    def listen(self: Accelerator, values: dict, *more: object, **named: object) -> None:
        told.append((time.perf_counter(), values["train_loss"]))
        log(self, values, *more, **named)

    Accelerator.log = listen
    flags = {
        "pretrained_model_name_or_path": options.model,
        "train_data_dir": options.work / "images",
        "output_dir": tempfile.mkdtemp(dir=options.work),
        "cache_dir": options.work / "cache",
        "resolution": native_size(options.model),
        "train_batch_size": options.batch,
        "max_train_steps": options.steps,
        "learning_rate": options.lr,
        "adam_weight_decay": 0.0,
        "rank": options.rank,
        "checkpointing_steps": 10**9,
        "seed": 0,
        "mixed_precision": options.precision,
    }
    sys.argv = [str(options.script), "--center_crop"]
    sys.argv += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    began = time.perf_counter()
    runpy.run_path(str(options.script), run_name="__main__")
    return summary(told) | {"before_first_step": told[0][0] - began}


def summary(told: list[tuple[float, float]]) -> dict:
    """Reduces (moment, loss) of each step to what is compared."""
    import torch

    times = [moment for moment, _ in told][WARM_UP:]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated()
    return {
        "step_seconds": statistics.median(b - a for a, b in zip(times, times[1:], strict=False)),
        "losses": [loss for _, loss in told],
        "memory_mb": memory / 2**20,
        "torch": torch.__version__,
    }


def compare(rounds: list[tuple[dict, dict]], options: argparse.Namespace) -> dict[str, object]:
    """Puts both sides beside each other."""
    baseline, own = ([pair[i] for pair in rounds] for i in (0, 1))

    def middle(side: list[dict], key: str) -> float:
        return statistics.median(one[key] for one in side)

    losses = [[loss for one in side for loss in one["losses"]] for side in (own, baseline)]
    means = [statistics.mean(one) for one in losses]
    apart = math.sqrt(sum(statistics.variance(one) / len(one) for one in losses))
    seconds, theirs_seconds = middle(own, "step_seconds"), middle(baseline, "step_seconds")
    same_loss = abs(means[0] - means[1]) <= 3 * apart
    sha = hashlib.sha256(options.script.read_bytes()).hexdigest()[:8]
    return {
        "what": f"a training step, LoRA of rank {options.rank}, batch {options.batch}, "
        f"precision {options.precision}",
        "seconds": seconds,
        "goal_seconds": None,
        "baseline": f"diffusers' train_text_to_image_lora.py ({sha})",
        "baseline_seconds": theirs_seconds,
        "times_faster": theirs_seconds / seconds,
        "goal_times_faster": GOAL,
        "ok": theirs_seconds / seconds >= GOAL and same_loss,
        "before_first_step_seconds": middle(own, "before_first_step"),
        "baseline_before_first_step_seconds": middle(baseline, "before_first_step"),
        "memory_mb": middle(own, "memory_mb"),
        "baseline_memory_mb": middle(baseline, "memory_mb"),
        "mean_loss": means[0],
        "baseline_mean_loss": means[1],
        "mean_loss_standard_error": apart,
        "same_loss": same_loss,
        "machine": f"{platform.machine()}, {options.device}, {options.threads} threads, "
        f"torch {own[0]['torch']}",
    }


def words(result: dict) -> str:
    """Says a result for people."""
    return (
        f"{result['what']}: {1 / result['seconds']:.2f} steps/s, {result['times_faster']:.2f} x "
        f"the speed of {result['baseline']} ({1 / result['baseline_seconds']:.2f} steps/s; goal "
        f"{GOAL} x)\n"
        f"first step after {result['before_first_step_seconds']:.1f} s (theirs "
        f"{result['baseline_before_first_step_seconds']:.1f} s); peak memory "
        f"{result['memory_mb']:.0f} MiB (theirs {result['baseline_memory_mb']:.0f} MiB)\n"
        f"mean loss {result['mean_loss']:.4f}, theirs {result['baseline_mean_loss']:.4f}, standard "
        f"error of the difference {result['mean_loss_standard_error']:.4f}: "
        f"{'the same' if result['same_loss'] else 'NOT the same'}\n{result['machine']}"
    )


if __name__ == "__main__":
    sys.exit(main())
