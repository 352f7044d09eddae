"""Work on a Ray cluster, or on all cores of this machine: Ray Data schedules, actors work."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from forgetme import __version__
from forgetme.curate.batch import Progress
from forgetme.curate.shards import Result, Shards, result_of, schema
from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

MUST_BE_ALIKE = ("torch", "numpy", "pillow", "opencv-python", "open_clip_torch", "diffusers")
REACH_SECONDS = 5.0  # to a cluster's address; Ray itself tries for two minutes
LOOK_SECONDS = 2.0  # between looks whether the head is there
MOST_MISSED = 3  # looks in a row without it; then it is gone
PHOTO_BYTES = 2**28  # that a photo may take while it waits: a large one, its masks, its fill
MOST_PHOTOS = 8  # given to an actor at a time
MOST_BLOCKS = 4096  # that Ray keeps count of


@dataclass(frozen=True)
class Cluster:
    """Where the work is done."""

    address: str | None = None  # HOST:PORT or "auto"; None: this machine
    workers: int | None = None  # actors with the models; None: one a GPU, else as memory allows
    batch: int | None = None  # photos given to an actor at a time; None: as memory allows
    worker_bytes: int = 3 * 2**30  # what one with its models takes: 16 GiB with the full ones
    gpus: float | None = None  # of each worker; None: 1 where the cluster has any
    shards: Path | None = None  # folder of the results; None: beside the store


class Maker(Protocol):
    """What an actor holds: makes results of tasks, and does not know of Ray."""

    def __call__(self, tasks: Sequence[Any]) -> Iterator[Result]:
        """Makes one result of each task, in order."""


def make(
    parts: Sequence[Sequence[Any]],
    maker: Maker,
    shards: Shards,
    cluster: Cluster,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Result]:
    """Has the cluster make a result of each task, and writes them into shards as they come.

    Args:
        parts: tasks of one kind, small, such as `Photo`, a list for each shard; `name` of each
            is what progress tells.
        maker: what each actor holds; it is pickled.
        shards: where results go.
        cluster: where.
        on_progress: called after each result.

    Returns:
        The results that failed, by their key.

    Raises:
        ForgetmeError: the cluster or a worker cannot do it; what is in shards stays.
    """
    failed: dict[str, Result] = {}
    tasks = [task for part in parts for task in part]
    shard_of = [shard for shard, part in enumerate(parts) for _ in part]
    if not tasks:
        return failed
    began, waiting = time.monotonic(), defaultdict(dict)
    with _connected(cluster):
        for done, (number, result) in enumerate(_stream(tasks, maker, cluster), start=1):
            if result.stop:
                raise ForgetmeError(result.stop)
            if result.failed:
                failed[result.key] = result
            shard = shard_of[number]
            waiting[shard][number] = result
            if len(waiting[shard]) == len(parts[shard]):
                shards.write(one for _, one in sorted(waiting.pop(shard).items()))
            if on_progress is not None:
                left = (time.monotonic() - began) / done * (len(tasks) - done)
                state = "failed" if result.failed else "worked on"
                name = tasks[number].name
                on_progress(Progress(done, len(tasks), left, name, state, result.failed))
    return failed


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """Joins the cluster, or starts one on this machine; leaves it at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of its C++; it must be set before
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ForgetmeError(
            "--engine ray needs Ray, which is not installed: pip install 'forgetme[ray]'"
        ) from error
    where = cluster.address or "this machine"
    if cluster.address and cluster.address != "auto":
        _reach(cluster.address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster.address is None:
        quiet |= {"include_dashboard": False, "num_cpus": cluster.workers}
    try:
        ray.init(cluster.address or "local", **quiet)
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise ForgetmeError(
            f"no Ray cluster at {where} ({_line(error, 0)}); start one with: ray start --head, or "
            "leave --address out for this machine"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    over = threading.Event()
    head = ray.get_runtime_context().gcs_address
    watch = threading.Thread(target=_watch, args=(head, over), daemon=True)
    watch.start()
    try:
        yield
    except ray.exceptions.RayError as error:
        raise ForgetmeError(
            f"Ray at {where} failed ({_line(error, -1)}); the finished shards stay: the same "
            "command goes on"
        ) from error
    finally:
        over.set()
        watch.join()
        ray.shutdown()


def _watch(head: str, over: threading.Event) -> None:
    """Says when the head is gone: Ray ends the process a minute later, without a word."""
    missed = 0
    while missed < MOST_MISSED:
        if over.wait(LOOK_SECONDS):
            return
        try:
            _reach(head)
            missed = 0
        except ForgetmeError:
            missed += 1
    log.error(
        "error: the Ray cluster at %s is gone; the finished shards stay: the same command goes on",
        head,
    )


def _line(error: BaseException, at: int) -> str:
    return (str(error).strip() or repr(error)).splitlines()[at]


def _reach(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise ForgetmeError(
            f"no Ray cluster at {address} ({error}); --address is HOST:PORT of its head, as `ray "
            "start --head` prints it, or auto"
        ) from error


def _stream(tasks: Sequence[Any], maker: Maker, cluster: Cluster) -> Iterator[tuple[int, Result]]:
    """Yields number and result of each task, in the order in which they are finished."""
    import ray
    from ray.data import ActorPoolStrategy

    resources = ray.cluster_resources()
    gpus = cluster.gpus if cluster.gpus is not None else min(1, resources.get("GPU", 0))
    memory = resources.get("memory", cluster.worker_bytes)
    most = resources["GPU"] // gpus if gpus else resources.get("CPU", 1)
    workers = cluster.workers or int(max(1, min(most, memory // cluster.worker_bytes)))
    spare = memory / workers - cluster.worker_bytes
    share = min(MOST_PHOTOS, spare // PHOTO_BYTES, len(tasks) // (2 * workers))
    batch = cluster.batch or int(max(1, share))
    # a row is a batch: Ray cuts and bundles blocks as it likes, which must change no result
    numbered = list(enumerate(tasks))
    batches = [numbered[at : at + batch] for at in range(0, len(tasks), batch)]
    items = [{"work": _Work(one)} for one in batches]
    found = ray.data.from_items(items, override_num_blocks=min(MOST_BLOCKS, len(items)))
    found = found.map_batches(
        _Actor,
        fn_constructor_args=(maker, versions()),
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=workers),
        num_gpus=gpus or None,
        num_cpus=None if gpus else 1,
    )
    for table in found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in table.to_pylist():
            yield row["number"], result_of(row)


@dataclass(frozen=True)
class _Work:
    """A batch: number and task each. Ray carries it as it is; of a list it would make a column."""

    tasks: list[tuple[int, Any]]


class _Actor:
    """Holds a maker and its models for as long as the run lasts."""

    def __init__(self, maker: Maker, wanted: dict[str, str]) -> None:
        self._maker, self._wanted = maker, wanted

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        (work,) = batch["work"].to_pylist()
        numbers, tasks = zip(*work.tasks, strict=True)
        results: list[Result] = []
        try:
            self._check()
            results += self._maker(tasks)
        except ForgetmeError as error:  # said as data: Ray would wrap it in a page of traces
            stop = Result("", "", stop=f"{socket.gethostname()}: {error}")
            results = [stop] * len(tasks)
        rows = [{"number": n, **one.as_row()} for n, one in zip(numbers, results, strict=True)]
        return pa.Table.from_pylist(rows, pa.schema([("number", pa.int64()), *schema()]))

    def _check(self) -> None:
        here = versions()
        other = [name for name, wanted in self._wanted.items() if here[name] != wanted]
        if other:
            name = other[0]
            raise ForgetmeError(
                f"the worker has {name} {here[name]}, this run {self._wanted[name]}; install the "
                "same on all machines"
            )


def versions() -> dict[str, str]:
    """Names what a result hangs on, beside the settings."""
    found = {"forgetme": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
    for name in MUST_BE_ALIKE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found
