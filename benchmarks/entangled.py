"""Times Entangled against the boolean-indexing way of the authors' published tool.

Run: ``python -m benchmarks.entangled [--size 512] [--repeats 50] [--json]``.

The baseline does what the published tool does: both images as float32 in [0, 1], each region
gathered by ``image[mask]``. It is timed twice: from the 8-bit arrays that both sides are given
(the tool, too, reads 8-bit files), and, kinder to it, with the conversion to float done before.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from forgetme.record.entangled import entangled_d

EPS = 1e-6
GOAL = 5.0


def by_boolean_indexing(original: np.ndarray, edited: np.ndarray, mask: np.ndarray) -> float:
    """Entangled-D of the authors' published code.

    Args:
        original: (H, W, 3) float32 in [0, 1].
        edited: (H, W, 3) float32 in [0, 1].
        mask: (H, W) bool.

    Returns:
        The score, variant "released".
    """
    x_in, y_in, x_out, y_out = original[mask], edited[mask], original[~mask], edited[~mask]
    s_in = 1.0 - float(np.sqrt(np.mean((x_in - y_in) ** 2)))
    s_out = float(np.sqrt(np.mean((x_out - y_out) ** 2)))
    similarity = 2 * s_in * (1 - s_out) / (s_in + (1 - s_out) + EPS)
    mu_in, var_in = float(np.mean(y_in)), float(np.var(y_in))
    mu_out, var_out = float(np.mean(y_out)), float(np.var(y_out))
    mean_consistency = 2 * mu_in * mu_out / (mu_in**2 + mu_out**2 + EPS)
    var_consistency = 2 * np.sqrt(var_in) * np.sqrt(var_out) / (var_in + var_out + EPS)
    consistency = mean_consistency * var_consistency
    return float(similarity * consistency / (0.5 * consistency + 0.5 * similarity + EPS))


def pair(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes an original, an edited image and a disc-shaped mask of a sixth of the area."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (size // 16, size // 16, 3), dtype=np.uint8)
    original = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
    yy, xx = np.mgrid[:size, :size] / size - 0.5
    mask = xx**2 + yy**2 < 1 / 6 / np.pi
    edited = np.where(mask[..., None], np.roll(original, size // 3, axis=1), original)
    return original, edited, mask


def medians_ms(repeats: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Times all works in turn, so that a busy machine slows each alike."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for round_number in range(repeats + 3):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if round_number >= 3:  # the first rounds warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(times) for name, times in seconds.items()}


def measure(size: int, repeats: int) -> dict[str, object]:
    """Compares both ways on one pair.

    Args:
        size: side in pixels.
        repeats: timed rounds.

    Returns:
        Medians in milliseconds, the ratios, and the difference of the two scores.
    """
    original, edited, mask = pair(size)
    floats = [image.astype(np.float32) / 255 for image in (original, edited)]
    works = {
        "ours": lambda: entangled_d(original, edited, mask, variant="released"),
        "boolean_indexing_from_uint8": lambda: by_boolean_indexing(
            original.astype(np.float32) / 255, edited.astype(np.float32) / 255, mask
        ),
        "boolean_indexing_from_float32": lambda: by_boolean_indexing(*floats, mask),
    }
    times = medians_ms(repeats, works)
    return {
        "size": size,
        "repeats": repeats,
        "milliseconds": {name: round(value, 4) for name, value in times.items()},
        "ratio": round(times["boolean_indexing_from_uint8"] / times["ours"], 1),
        "ratio_from_float32": round(times["boolean_indexing_from_float32"] / times["ours"], 1),
        "goal": GOAL,
        "score_difference": abs(works["ours"]().score - by_boolean_indexing(*floats, mask)),
        "machine": f"{platform.machine()}, {cv2.getNumThreads()} threads",
    }


def main() -> None:
    """Prints the comparison; exits with 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.size, arguments.repeats)
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found["milliseconds"].items():
            print(f"{name:32}{value:10.3f} ms")
        print(f"{'ratio':32}{found['ratio']:10.1f} x   (goal: at least {GOAL:g})")
        print(f"{'ratio, conversion not counted':32}{found['ratio_from_float32']:10.1f} x")
        print(f"{'difference of the scores':32}{found['score_difference']:10.1e}")
    if found["ratio_from_float32"] < GOAL:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
