"""Asks whether Entangled is a good judge of a removal; only the drawn world knows the truth.

Run: `python -m benchmarks.judge [--scenes 120] [--run FOLDER]... [--work DIR] [--json] [--record]`.

Drawn scenes are filled in many ways, from leaving the object where it is to the columns of
`compare`; every judge scores every fill, and its ranking is compared with that by the true error:
the distance to what is really behind the object. A `--run` is a training run's folder; its patch
fills the scenes of the concept that it forgot. Pictures are kept in the work folder, and a second
call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.ranks import Row, plot, summary, tables
from forgetme.compare.adapters import Worn, run_folders, wear
from forgetme.compare.cache import Cache
from forgetme.compare.cells import known_picture, paint, picture_key
from forgetme.compare.columns import COLUMNS, NEED_A_RUN, Bench, Column, Painted, Wanted, wearing
from forgetme.compare.items import View, concepts_of_folder, subjects_of_folder, view_of
from forgetme.compare.scores import rmse
from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.metrics import clip_distance, outer_ssim
from forgetme.record.concept import plain
from forgetme.record.entangled import ConsistencyOn, Variant, entangled_d, entangled_s
from forgetme.record.masks import box_xywh
from forgetme.scenes.write import write_scenes
from forgetme.stages.models import Models, load_models
from forgetme.tiny.card import machine

SCENES = 120  # ten of each concept
SCENES_SEED = 8  # as `scenes --seed`; nothing else is trained or measured on these
BLUR = 0.08  # sigma as a part of the longest side
TELEA_PX = 3
RESULTS = Path(__file__).parent / "judge.json"
PLOT = Path(__file__).parents[1] / "docs" / "judge.svg"
TRUTHS = {
    "rmse": "RMSE in the hole to what is really there",
    "ssim": "1 - SSIM in the hole to what is really there",
}
Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image and hole to the filled image
Score = Callable[[View, np.ndarray, Models], float]
SHOWN = ("entangled_d", "entangled_s")
MAIN = (*SHOWN, "entangled_d_released", "clip_distance", "change_rmse", "change_ssim")


# ------------------------------ fills


def nothing(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Leaves the object where it is."""
    return image


def mean(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fills the hole with the mean colour of what lies outside."""
    return np.where(hole[..., None], np.rint(image[~hole].mean(0)).astype(np.uint8), image)


def blur(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fills the hole with the picture strongly blurred, the object in it."""
    smeared = cv2.GaussianBlur(image, (0, 0), BLUR * max(hole.shape))
    return np.where(hole[..., None], smeared, image)


def shifted(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fills the hole with the patch of its shape beside it.

    Of all places inside the image the one that overlaps the hole least, of those the nearest.
    """
    x, y, width, height = box_xywh(hole)
    patch = hole[y : y + height, x : x + width]
    overlap = cv2.matchTemplate(
        hole.astype(np.float32), patch.astype(np.float32), cv2.TM_CCORR
    ).round()  # (H - height + 1, W - width + 1) pixels
    tops, lefts = np.indices(overlap.shape)
    far = (tops - y) ** 2 + (lefts - x) ** 2
    top, left = np.unravel_index(np.lexsort((far.ravel(), overlap.ravel()))[0], overlap.shape)
    result = image.copy()
    result[hole] = image[top : top + height, left : left + width][patch]
    return result


def telea(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fills the hole from its rim inwards, without a model."""
    return cv2.inpaint(image, hole.view(np.uint8), TELEA_PX, cv2.INPAINT_TELEA)


CHEAP: dict[str, Fill] = {"nothing": nothing, "mean": mean, "blur": blur, "shifted": shifted}


def columns(bench: Bench, worn: Worn | None) -> Iterator[Column]:
    """Yields all ways to fill that can be had; what is missing is said on stderr."""
    settings = {"blur": BLUR, "telea_px": TELEA_PX}
    for key, fill in (CHEAP | {"telea": telea}).items():
        yield _column(key, "benchmarks.judge", settings, fill)
    for key, make in COLUMNS.items():
        if key in NEED_A_RUN and worn is None:
            continue
        try:
            yield make(bench, worn)
        except MissingModelError as error:
            print(f"{bench.wanted.concept}: no {key}: {error}", file=sys.stderr)


def _column(key: str, maker: str, settings: Mapping[str, Any], fill: Fill) -> Column:
    return Column(key, key, maker, settings, lambda view: Painted(fill(view.image, view.hole)))


def pictures(
    column: Column, bench: Bench, views: Mapping[str, View], cache: Cache
) -> dict[str, str]:
    """Names each scene's picture in the cache, painted where it was not there."""
    concept = bench.wanted.concept
    keys = {name: picture_key(column, view, concept) for name, view in views.items()}
    left = [name for name, key in keys.items() if known_picture(cache, key) is None]
    if left:
        with wearing(bench, column.worn):
            spent = sum(paint(column, views[one], cache, keys[one])["seconds"] for one in left)
        print(f"{concept}: {len(left)} by {column.key}, {spent:.1f} s", file=sys.stderr)
    return {name: known_picture(cache, key)["picture"] for name, key in keys.items()}


# ------------------------------ judges


@dataclass(frozen=True)
class Judge:
    """One that scores a fill without the truth; larger = a better removal, as it has it."""

    title: str
    words: str
    score: Score


def _d(variant: Variant, consistency_on: ConsistencyOn = "edited") -> Score:
    options = {"variant": variant, "consistency_on": consistency_on}
    return lambda view, fill, _: entangled_d(view.image, fill, view.hole, **options).score


def _s(variant: Variant) -> Score:
    return lambda view, fill, _: entangled_s(fill, view.hole, variant=variant).score


def _clip(view: View, fill: np.ndarray, models: Models) -> float:
    return clip_distance(models.ranker.embed_images, view.image, fill, view.hole)


def _change_rmse(view: View, fill: np.ndarray, models: Models) -> float:
    return rmse(fill[view.hole], view.image[view.hole])


def _change_ssim(view: View, fill: np.ndarray, models: Models) -> float:
    return 1 - outer_ssim(view.image, fill, ~view.hole)  # what is outside of ~hole is the hole


JUDGES = {
    "entangled_d": Judge("Entangled-D, paper", "the printed equations", _d("paper")),
    "entangled_d_original": Judge(
        "Entangled-D, paper, consistency of the original",
        "Eq. 7-8 to the letter; of one scene's fills only the similarity differs",
        _d("paper", "original"),
    ),
    "entangled_d_released": Judge(
        "Entangled-D, released",
        "with the inner term of the authors' code, which rates an untouched copy best",
        _d("released"),
    ),
    "entangled_d_released_original": Judge(
        "Entangled-D, released, consistency of the original",
        "that inner term with Eq. 7-8 to the letter",
        _d("released", "original"),
    ),
    "entangled_s": Judge(
        "Entangled-S, paper",
        "is given no original, so that its consistency can only be that of the edited picture",
        _s("paper"),
    ),
    "entangled_s_released": Judge(
        "Entangled-S, released",
        "the same number: the variants differ in the similarity",
        _s("released"),
    ),
    "clip_distance": Judge(
        "CLIP distance",
        "by the ranker, of the hole's box before and after; farther = better",
        _clip,
    ),
    "change_rmse": Judge("RMSE to the original", "in the hole; more change = better", _change_rmse),
    "change_ssim": Judge(
        "1 - SSIM to the original", "in the hole; less alike = better", _change_ssim
    ),
}


def true_errors(view: View, fill: np.ndarray) -> dict[str, float]:
    """Returns how far a fill is from what is really in the hole, 0 = it is just that."""
    return {
        "rmse": rmse(fill[view.hole], view.truth[view.hole]),
        "ssim": 1 - outer_ssim(view.truth, fill, ~view.hole),
    }


# ------------------------------ the whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument(
        "--run", type=Path, action="append", default=[], metavar="FOLDER",
        help="a training run, for the columns that wear its patch; one for each concept",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, default=Path("judge-work"))
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}, {PLOT.name}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scenes = options.work / f"scenes-{options.scenes}"
    if not (scenes / "index.csv").is_file():
        write_scenes(scenes, count=options.scenes, seed=SCENES_SEED)
    models = load_models("tiny")
    worn = patches(options.run, models)
    rows, distinct = judged(models, scenes, worn, Cache(options.work / "cache"))
    record = {
        "machine": machine(),
        "distinct": distinct,
        "cheap": list(CHEAP),
        "patched": sorted(worn),
        "truths": TRUTHS,
        "judges": {key: {"title": one.title, "words": one.words} for key, one in JUDGES.items()},
    } | summary(rows, list(CHEAP))
    if options.record:
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        PLOT.write_text(plot(rows, record, SHOWN), encoding="utf-8")
    print(json.dumps(record, indent=1) if options.json else report(record))
    return 0


def patches(runs: Sequence[Path], models: Models) -> dict[str, Worn]:
    """Opens the runs' patches, by the concept that each forgot.

    Raises:
        ForgetmeError: a run has no patch of this model, or two forgot the same concept.
    """
    worn: dict[str, Worn] = {}
    for one in wear(run_folders(runs), models.diffusion.made_by, 1.0):
        concept = plain(one.patch.record["concept"])
        if concept in worn:
            raise ForgetmeError(
                f"{worn[concept].run} and {one.run} both forgot {concept}; name one"
            )
        worn[concept] = one
    return worn


def judged(
    models: Models, scenes: Path, worn: Mapping[str, Worn], cache: Cache
) -> tuple[list[Row], int]:
    """Fills and judges all scenes; returns the fills, and how many differ from all others."""
    rows, distinct = [], set()
    for concept in concepts_of_folder(scenes):
        bench = Bench(models, Wanted(concept))
        views = {one.name: view_of(one) for one in subjects_of_folder(scenes, concept)}
        for column in columns(bench, worn.get(concept)):
            for name, picture in pictures(column, bench, views, cache).items():
                view, fill = views[name], cache.picture(picture)
                scores = {key: one.score(view, fill, models) for key, one in JUDGES.items()}
                rows.append(Row(name, column.key, scores, true_errors(view, fill)))
                distinct.add(picture)
    return rows, len(distinct)


def report(record: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    text = "{fills} fills of {scenes} drawn scenes, {distinct} different pictures; {machine}. "
    text = f"{text.format(**record)}Real fills are all but {', '.join(record['cheap'])}; "
    text += f"patches of: {', '.join(record['patched']) or 'none'}.\n\n{tables(record, MAIN)}\n"
    return text + "\n".join(
        f"- {one['title']}: {one['words']}" for one in record["judges"].values()
    )


if __name__ == "__main__":
    sys.exit(main())
