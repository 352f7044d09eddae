"""What a run writes is there whole or not at all; what stops a run is said in plain words."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.record.images import NO_ROOM
from forgetme.train.settings import RunSettings


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Gives a file to write, which takes the place of `path` when the block ends without error."""
    new = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield new
        _sync(new)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    _sync(path.parent)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Gives an empty folder, which takes the place of `folder` when the block ends without error.

    Whoever looks meanwhile sees the old folder, the new one or, for a moment, none; never a half.
    """
    new, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    try:
        for left in (new, old):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        yield new
        for path in new.iterdir():
            _sync(path)
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
    _sync(folder.parent)


@contextlib.contextmanager
def plain_words(out: Path, settings: RunSettings) -> Iterator[None]:
    """Says what a run that ends for want of memory or disk can do; nothing saved is lost.

    Raises:
        DiskFullError: no room is left in `out`.
        ForgetmeError: no memory is left.
    """
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except DiskFullError:
        raise
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) in NO_ROOM or "No space left" in str(error):
            raise DiskFullError(
                f"no room left in {out}; free some disk space and go on with --resume, "
                "the last checkpoint is intact"
            ) from error
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _no_memory(settings, error) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # how torch says it on the CPU
            raise
        raise _no_memory(settings, error) from error


def _no_memory(settings: RunSettings, error: BaseException) -> ForgetmeError:
    ways = []
    if not settings.gradient_checkpointing:
        ways.append("go on with --resume --gradient-checkpointing")
    if settings.batch > 1:
        half = settings.batch // 2
        ways.append(
            f"begin anew with --batch {half} --accumulate {2 * settings.accumulate}, "
            "which learns as much from each step"
        )
    if settings.precision == "no":
        ways.append("begin anew with --precision bf16")
    ways.append("train fewer weights with --trains kv")
    said = " ".join(str(error).split())[:200]
    return ForgetmeError(
        f"not enough memory for {settings.batch} pictures at a time ({said}); "
        f"{', or '.join(ways)}. The last checkpoint is intact"
    )


def _sync(path: Path) -> None:
    """Makes a file, or the names in a folder, survive a power cut."""
    if path.is_dir() and os.name != "posix":
        return  # only POSIX lets a folder be synced
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
