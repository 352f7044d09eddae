"""The same photos on Ray as on one laptop: equal events, whatever dies on the way."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import truth_models
from typer.testing import CliRunner

from forgetme import cli
from forgetme.curate import batch, on_ray, pipeline, ray_cluster, shards
from forgetme.curate.generate import DrawSettings, generate
from forgetme.curate.photos import Photo, of_parquet
from forgetme.curate.ray_cluster import Cluster
from forgetme.errors import BrokenImageError, DiskFullError, ForgetmeError
from forgetme.record.images import png_bytes, read_image
from forgetme.record.settings import Settings
from forgetme.stages.models import load_models
from forgetme.store import Store

HERE = os.pathsep.join(map(str, Path(__file__).parents[:3]))  # where workers find what is here


@dataclass(frozen=True)
class Mortal(on_ray.Curator):
    """A worker that is killed once, at the photo of this name."""

    victim: str = ""
    grave: str = ""

    def __call__(self, tasks):
        if any(one.name == self.victim for one in tasks) and not os.path.exists(self.grave):
            Path(self.grave).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(tasks)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The head of a small cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster as RayCluster

        args = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 2**27}
        cluster = RayCluster(initialize_head=True, head_node_args=args)
        yield cluster.address
        cluster.shutdown()


@pytest.fixture
def photos(drawn: Path, tmp_path: Path) -> list[Photo]:
    """Scenes, a file that is no picture, and the rows of a parquet file; 7 in all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [shutil.copy(one, tmp_path) for one in sorted((drawn / "original").iterdir())]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    image = read_image(files[0])
    pngs = [png_bytes(np.ascontiguousarray(one)) for one in (image[::-1], image[:, ::-1])]
    cells = [{"bytes": pngs[0], "path": "a.png"}, {"bytes": pngs[1], "path": None}]
    pq.write_table(pa.table({"image": cells}), tmp_path / "more.parquet", row_group_size=1)
    places = [Path(one) for one in (*files, tmp_path / "broken.png")]
    return [*map(Photo, places), *of_parquet(tmp_path / "more.parquet")]


def written(store: Store) -> list[tuple]:
    """The events without their times, and every image's bytes by name."""
    events = [(e.id, e.by, e.sample_id, e.kind, e.payload, e.version) for e in store.events()]
    blobs = sorted((store.folder / "blobs").rglob("*.png"))
    return [*events, *((path.name, path.read_bytes()) for path in blobs)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.ray
def test_events_are_those_of_the_laptop_with_any_batch_and_workers_and_after_kills(
    address: str, photos: list[Photo], drawn: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(shards, "PHOTOS", 2)
    load = partial(truth_models.models_of, drawn)
    here = Store(tmp_path / "none")
    wanted = batch.curate(photos, "cat", load(), here, auto_accept=True)
    assert (wanted.selected, wanted.broken, len(wanted.failed)) == (4, 1, 2)

    whole = Store(tmp_path / "whole")
    one = Cluster(address, workers=1, batch=1)
    report = on_ray.curate_on_ray(
        photos, "cat", load, whole, one, settings=Settings(), auto_accept=True
    )
    assert replace(report, seconds=0) == replace(wanted, seconds=0)
    assert written(whole) == written(here)

    def die(progress: batch.Progress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    torn = Store(tmp_path / "torn")
    with pytest.raises(KeyboardInterrupt):
        on_ray.curate_on_ray(
            photos, "cat", load, torn, replace(one, workers=2, batch=3),
            settings=Settings(), auto_accept=True, on_progress=die,
        )  # fmt: skip
    assert not torn.samples()
    (folder,) = (torn.folder / "shards").iterdir()
    kept = files_of(folder)
    assert len(kept) > 1, "the manifest and what was finished"
    grave = tmp_path / "grave"
    monkeypatch.setattr(on_ray, "Curator", partial(Mortal, victim=photos[5].name, grave=str(grave)))
    again = on_ray.curate_on_ray(
        photos, "cat", load, torn, replace(one, workers=2, batch=3),
        settings=Settings(), auto_accept=True,
    )  # fmt: skip
    assert grave.exists(), "no worker was killed"
    assert replace(again, seconds=0) == replace(wanted, seconds=0)
    assert written(torn) == written(here)
    (of_whole,) = (whole.folder / "shards").iterdir()
    assert files_of(folder) == files_of(of_whole)
    assert kept.items() <= files_of(folder).items()
    for store in (here, whole, torn):
        store.close()


def test_a_head_that_is_gone_is_told_in_one_line_and_one_that_answers_is_not(monkeypatch, caplog):
    monkeypatch.setattr(ray_cluster, "LOOK_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address, over = f"127.0.0.1:{head.getsockname()[1]}", threading.Event()
        watch = threading.Thread(target=ray_cluster._watch, args=(address, over))
        watch.start()
        head.accept()[0].close()
        over.set()
        watch.join(30)
        assert caplog.messages == []
    ray_cluster._watch(address, threading.Event())
    (line,) = caplog.messages
    assert line.startswith(f"error: the Ray cluster at {address} is gone; the finished shards stay")


@pytest.mark.ray
def test_pictures_are_drawn_on_ray_as_on_the_laptop(
    address: str, small_assets: Path, tmp_path: Path
):
    load = partial(load_models, "tiny", assets=small_assets, device="cpu")
    how, prompts = DrawSettings(seed=3, steps=1, batch=2), [f"a cat {n}" for n in range(3)]
    drawn = []
    for name in ("none", "ray"):
        with Store(tmp_path / name) as store:
            cluster = Cluster(address, workers=2)
            with_ray = on_ray.draw_on_ray(store, "cat", load, cluster, how)
            draw_with = with_ray if name == "ray" else None
            report = generate(
                store, "cat", prompts, 3, load().diffusion, settings=how, draw_with=draw_with
            )
            drawn.append((written(store), replace(report, seconds=0)))
    assert drawn[0] == drawn[1]


@pytest.mark.ray
def test_a_worker_with_other_versions_stops_the_run_with_one_line(
    address: str, photos: list[Photo], drawn: Path, tmp_path: Path, monkeypatch
):
    here = ray_cluster.versions()
    monkeypatch.setattr(ray_cluster, "versions", lambda: here | {"torch": "1.0"})
    load = partial(truth_models.models_of, drawn)
    with Store(tmp_path / "store") as store:
        cluster = Cluster(address, workers=1)
        with pytest.raises(ForgetmeError, match=r"the worker has torch .*, this run 1\.0; install"):
            on_ray.curate_on_ray(photos, "cat", load, store, cluster, settings=Settings())
        assert not store.samples()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "2"], "--workers goes with --engine ray"),
        (["--engine", "ray", "--address", "127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9"),
        (["--engine", "ray", "--address", "here"], "--address is HOST:PORT"),
        (["--engine", "ray"], "pip install 'forgetme[ray]'"),
    ],
)
def test_a_run_that_cannot_be_says_so_in_one_line_and_takes_nothing(
    options: list[str], words: str, drawn: Path, tmp_path: Path, monkeypatch
):
    if "--address" not in options:
        monkeypatch.setitem(sys.modules, "ray", None)
    elif not importable("ray"):
        pytest.skip("Ray is missing; pip install 'ray[data]'")
    args = ["curate", str(drawn), "--concept", "cat", "--store", str(tmp_path / "store"), *options]
    result = CliRunner().invoke(cli.app, args)
    assert result.exit_code in (1, 2)
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr
    if (tmp_path / "store").exists():
        with Store(tmp_path / "store") as store:
            assert not store.samples()


def importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def test_shards_know_what_made_them_and_what_is_whole(
    photos: list[Photo], drawn: Path, tmp_path: Path, monkeypatch
):
    folder, made_with = tmp_path / "out", {"concept": "cat", "settings": {"k": 1}}
    maker = on_ray.Curator("cat", partial(truth_models.models_of, drawn), Settings())
    results = list(maker(photos[3:6]))  # a scene, no picture, one whose work fails
    kept = shards.Shards(folder, made_with)
    tasks = {(one.source, one.stamp()): one for one in photos[3:6]}
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(DiskFullError, match="no room left"):
            kept.write(results)
    assert [path.name for path in folder.iterdir()] == [shards.MANIFEST]
    assert kept.missing(tasks) == [photos[3:6]]

    kept.write(results)
    again = shards.Shards(folder, made_with)
    assert again.missing(tasks) == [[photos[5]]]
    back = again.get(photos[3].source, photos[3].stamp())
    assert (back.pngs, back.about) == (results[0].pngs, json.loads(json.dumps(results[0].about)))
    assert "no picture" not in again.get(photos[4].source, photos[4].stamp()).about["error"]
    assert again.get(photos[3].source, "another file") is None
    with pytest.raises(ForgetmeError, match=r"with settings \{\"k\": 1\}, this one has .*--shards"):
        shards.Shards(folder, made_with | {"settings": {"k": 2}})
    (path,) = folder.glob("*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 255
    path.write_bytes(data)
    with pytest.raises(ForgetmeError, match="is damaged .*remove it"):
        shards.Shards(folder, made_with).get(photos[3].source, photos[3].stamp())
    (folder / shards.MANIFEST).write_text("{")
    with pytest.raises(ForgetmeError, match="is damaged"):
        shards.Shards(folder, made_with)


def test_what_was_made_elsewhere_is_taken_once_wherever_a_kill_fell(
    scene: np.ndarray, drawn: Path, tmp_path: Path
):
    models = truth_models.models_of(drawn)
    worked = pipeline.work(scene, "cat", models)
    with Store(tmp_path / "here") as here, Store(tmp_path / "there") as there:
        about = {"name": "a", "concept": "cat", "by": "policy"}
        pipeline.prepare(here, here.import_image(scene, **about), models, by="policy")
        row = there.import_image(scene, **about)
        row = pipeline.take(there, row, replace(worked, tried=None), by="policy")
        assert row.tries == []
        row = pipeline.take(there, row, worked, by="policy")
        assert pipeline.take(there, row, worked, by="policy") == row
        assert written(there) == written(here)
        assert there.check() == []


@pytest.fixture
def scene(drawn: Path) -> np.ndarray:
    return read_image(min((drawn / "original").iterdir()))


def test_a_parquet_without_pictures_or_with_a_damaged_one_says_so(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(ForgetmeError, match="needs a column of images named image or original"):
        of_parquet(path)
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"image": [b"no picture", None]}), path)
    for photo in of_parquet(path):
        with pytest.raises(BrokenImageError, match=f"^{photo.name}: "):
            photo.read()
    path = path.rename(tmp_path / "c.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ForgetmeError, match="no whole parquet file"):
        of_parquet(path)
