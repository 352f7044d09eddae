"""Curating and drawing with the models on Ray's workers; what they make is taken in afterwards.

Actors hold the models once and work through the photos; what they make comes back as shards beside
a manifest, and is then taken into the store in the order of the photos.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from forgetme.curate.batch import (
    CurateReport,
    Imported,
    Progress,
    check_concept,
    curate,
    finished_sources,
)
from forgetme.curate.generate import DrawSettings, Kept, Plan, draw
from forgetme.curate.photos import Photo, as_photo
from forgetme.curate.pipeline import STOPS_EVERYTHING, Worked, work
from forgetme.curate.ray_cluster import Cluster, make, versions
from forgetme.curate.shards import Result, Shards
from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.images import array_sha, png_bytes
from forgetme.record.settings import Settings
from forgetme.stages.models import Models
from forgetme.store import Store


@dataclass(frozen=True)
class Curator:
    """Walks photos as far as the machine can, as `batch.curate` does, without a store."""

    concept: str
    load: Callable[[], Models]
    settings: Settings

    @cached_property
    def models(self) -> Models:
        """Loaded once, where the work is done."""
        return self.load()

    def __call__(self, tasks: Sequence[Photo]) -> Iterator[Result]:
        """Reads the next photo while the models are at one."""
        models = self.models
        with ThreadPoolExecutor(1) as ahead:
            for photo, (stamp, read, png) in zip(tasks, ahead.map(_read, tasks), strict=True):
                if isinstance(read, BrokenImageError):
                    yield Result(photo.source, stamp, {"error": str(read)})
                    continue
                try:
                    worked = work(read.image, self.concept, models, self.settings)
                except STOPS_EVERYTHING:
                    raise
                except Exception as error:  # one photo must never stop the rest
                    words = str(error) if isinstance(error, ForgetmeError) else repr(error)
                    worked = Worked({}, failed=words)
                yield _result(photo, stamp, array_sha(read.image), read, png, worked)


def _read(photo: Photo) -> tuple[str, Any, bytes]:
    stamp = photo.stamp()
    try:
        read = photo.read()
    except BrokenImageError as error:
        return stamp, error, b""
    return stamp, read, png_bytes(read.image)


def _result(photo: Photo, stamp: str, sha: str, read: Any, png: bytes, worked: Worked) -> Result:
    pngs = {sha: png}
    if worked.tried is not None:
        pngs[worked.tried["image_sha"]] = worked.fill_png
    about = {
        "image_sha": sha,
        "size_hw": read.image.shape[:2],
        "notes": read.notes,
        "proposed": worked.proposed,
        "look": None if worked.look is None else np.asarray(worked.look, float).tolist(),
        "no_answer": worked.no_answer,
        "tried": worked.tried,
        "hole": worked.hole_rle,
    }
    return Result(photo.source, stamp, about, pngs, worked.failed)


def _imported(result: Result) -> Imported:
    about = result.about
    if "error" in about:
        return Imported(about["error"])
    tried, look, sha = about["tried"], about["look"], about["image_sha"]
    worked = Worked(
        about["proposed"],
        None if look is None else np.array(look, np.float32),
        about["no_answer"],
        tried,
        result.pngs[tried["image_sha"]] if tried else b"",
        about["hole"],
        result.failed,
    )
    size, notes = tuple(about["size_hw"]), tuple(about["notes"])
    return Imported("", sha, size, result.pngs[sha], notes, worked)


def curate_on_ray(
    images: Iterable[str | os.PathLike[str] | Photo],
    concept: str,
    load: Callable[[], Models],
    store: Store,
    cluster: Cluster,
    *,
    settings: Settings,
    auto_accept: bool = False,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    by: str = "policy",
) -> CurateReport:
    """Does what `batch.curate` does, with the models' work on Ray; resumes where it stopped.

    Args:
        images: what to work on, where the workers find them under the same path.
        concept: what to look for in them.
        load: loads the models, here and in the workers.
        store: where everything goes.
        cluster: where the work is done.
        settings: of the loop and the fill.
        auto_accept: as in `batch.curate`.
        limit: stop after this many photos that needed work.
        on_progress: called after each photo that was worked on, and after each that was taken in.
        by: name recorded with the events.

    Raises:
        ForgetmeError: there is no Ray, or the cluster, a worker's versions or the shards are not
            what they must be; nothing is half-taken.
    """
    concept, photos, models = check_concept(concept), [as_photo(one) for one in images], load()
    made_with = {
        "work": "curate",
        "concept": concept,
        "preset": models.preset,
        "models": dict(models.names),
        "settings": asdict(settings),
    }
    shards = open_shards(store, cluster, made_with)
    known = finished_sources(store, concept, auto_accept, settings)
    open_ones = [one for one in photos if not _is_done(known.get(one.source), one)]
    if limit is not None:
        open_ones = open_ones[:limit]
    todo = shards.missing({(one.source, one.stamp()): one for one in open_ones})
    failed = make(todo, Curator(concept, load, settings), shards, cluster, on_progress)

    def made(photo: Photo) -> Imported:
        result = failed.get(photo.source) or shards.get(photo.source, photo.stamp())
        if result is None:
            raise ForgetmeError("its file changed while this ran; run again")
        return _imported(result)

    return curate(
        photos,
        concept,
        models,
        store,
        settings=settings,
        auto_accept=auto_accept,
        limit=limit,
        on_progress=on_progress,
        by=by,
        made=made,
    )


@dataclass(frozen=True)
class Drawer:
    """Draws pictures from prompts, as `generate` does, without a store."""

    load: Callable[[], Models]
    settings: DrawSettings

    @cached_property
    def diffusion(self) -> Any:
        """Loaded once, where the work is done."""
        return self.load().diffusion

    def __call__(self, tasks: Sequence[Plan]) -> Iterator[Result]:
        """Draws all of them at once."""
        for plan, image in zip(tasks, draw(self.diffusion, tasks, self.settings), strict=True):
            sha, size = array_sha(image), image.shape[:2]
            yield Result(plan.source, "", {"size_hw": size}, {sha: png_bytes(image)})


def draw_on_ray(
    store: Store,
    concept: str,
    load: Callable[[], Models],
    cluster: Cluster,
    settings: DrawSettings,
    on_progress: Callable[[Progress], None] | None = None,
) -> Callable[[Sequence[Plan]], Iterator[Kept]]:
    """Returns what `generate` draws with: all plans on Ray first, then one picture after another.

    Raises:
        ForgetmeError: as `curate_on_ray`.
    """
    cluster = replace(cluster, batch=settings.batch)

    def drawn(plans: Sequence[Plan]) -> Iterator[Kept]:
        models = load()
        names = {"preset": models.preset, "models": dict(models.names)}
        made_with = {"work": "generate", "concept": concept, **names, "settings": asdict(settings)}
        shards = open_shards(store, cluster, made_with)
        todo = shards.missing({(plan.source, ""): plan for plan in plans})
        make(todo, Drawer(load, settings), shards, cluster, on_progress)
        for plan in plans:
            result = shards.get(plan.source, "")
            ((sha, png),) = result.pngs.items()
            store.put_png(sha, png)
            yield Kept(sha, tuple(result.about["size_hw"]))

    return drawn


def _is_done(outcome: Any, photo: Photo) -> bool:
    return outcome is not None and outcome.is_of(photo)


def open_shards(store: Store, cluster: Cluster, made_with: dict[str, Any]) -> Shards:
    """Opens the folder of a run's results: the one that was named, or one for these settings."""
    made_with = made_with | {"versions": versions()}
    digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()
    return Shards(cluster.shards or store.folder / "shards" / digest[:16], made_with)
