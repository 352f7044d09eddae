"""File locks (flock), and temporary folders that a later process clears away.

A lock of the system's own says which: it ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ENDINGS = (".new", ".upload")  # of hidden files and folders that are being made
OLD_S = 86_400.0  # where the file system has no locks

if os.name == "posix":
    import fcntl
else:
    fcntl = None


@contextlib.contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Locks a file or folder as long as the block runs; yields whether it did.

    Args:
        path: it exists.
        wait: for another process or thread that holds it; else give up at once.
    """
    if fcntl is None:
        yield time.time() - path.stat().st_mtime > OLD_S or wait
        return
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            got = True
        except BlockingIOError:
            got = False
        except OSError:  # a file system without locks
            got = wait or time.time() - path.stat().st_mtime > OLD_S
        yield got
    finally:
        os.close(handle)


@contextlib.contextmanager
def making(folder: Path, start: str = ".") -> Iterator[Path]:
    """Gives a new hidden folder in `folder`, which is held and, where it is still there, removed.

    Args:
        folder: it exists.
        start: of the new folder's name.
    """
    with contextlib.ExitStack() as stack:
        with held(folder):  # nobody clears it before it is held
            new = Path(tempfile.mkdtemp(dir=folder, prefix=start, suffix=ENDINGS[0]))
            stack.enter_context(held(new))
        try:
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)


def left_behind(folder: Path, start: str = ".") -> list[Path]:
    """Returns what killed processes left half-made in a folder, in the order of names.

    Args:
        folder: it may be missing.
        start: of the names looked at, which are hidden.
    """
    found = []
    for path in sorted(folder.glob(f"{glob.escape(start)}*")) if folder.is_dir() else ():
        if path.suffix in ENDINGS and path.name.startswith(".") and not path.is_symlink():
            with contextlib.suppress(FileNotFoundError), held(path, wait=False) as got:
                if got:
                    found.append(path)
    return found


def clear(folder: Path, start: str = ".") -> None:
    """Removes what `left_behind` finds."""
    if not left_behind(folder, start):
        return
    with held(folder):
        for path in left_behind(folder, start):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
