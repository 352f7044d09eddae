"""Replaces an export's folder atomically, and leaves files in it that are not its own."""

from __future__ import annotations

import errno
import filecmp
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgetme import __version__
from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.record.unfinished import clear, held, making

MARKER = ".forgetme-export.json"  # lists the files of an export; only these are ever replaced

log = logging.getLogger(__name__)


def is_export(out: Path) -> bool:
    """Tells whether an earlier export is at `out`.

    Raises:
        ForgetmeError: something else is there.
    """
    if not out.parent.is_dir():
        return False
    with held(out.parent):
        _finish_swap(out)
        return bool(_earlier_files(out))


@contextmanager
def replacing(out: Path, form: str) -> Iterator[Path]:
    """Gives a new folder beside `out` to write into, which takes its name when the block ends.

    Files at `out` that are not of an earlier export are carried over untouched. After an error
    what was at `out` is still there. Several may write at once: the last one to end stays. What a
    killed one left half-made is removed by the next.

    Args:
        out: absolute path of a new or empty folder, or of an earlier export.
        form: name of the format, noted in the marker.

    Raises:
        ForgetmeError: `out` holds something that is no export, or a file that this export needs.
        DiskFullError: no space left.
    """
    was_there = is_export(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        start = f".{out.name[:80]}."
        clear(out.parent, start)
        with making(out.parent, start) as new:
            new.chmod(0o755)  # it is made private
            yield new
            _mark(new, form)
            _sync(new)
            with held(out.parent):  # others swap too
                _finish_swap(out)
                _carry_over(out, new, _earlier_files(out, else_all=not was_there))
                _swap(out, new)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no room left to export to {out}; free some disk space and try again, "
                "what was there before is untouched"
            ) from error
        raise


def _mark(new: Path, form: str) -> None:
    files = sorted(file.as_posix() for file in _files(new))
    marker = {"made_by": f"forgetme {__version__}", "format": form, "files": files}
    (new / MARKER).write_text(json.dumps(marker), encoding="utf-8")


def _earlier_files(out: Path, *, else_all: bool = False) -> set[str]:
    """Returns the files of the earlier export at `out`, none where nothing is there.

    Args:
        out: the folder.
        else_all: whether a folder without a marker is somebody's who came later, and carried over.

    Raises:
        ForgetmeError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return set()
    try:
        return {MARKER, *json.loads((out / MARKER).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        if else_all and out.is_dir() and not (out / MARKER).exists():
            return set()
        raise ForgetmeError(
            f"{out} holds something that is not an export of ForgetMe, so it is left alone; "
            "name a new or empty folder"
        ) from error


def _carry_over(out: Path, new: Path, earlier: set[str]) -> None:
    """Gives the new folder all files of the old one that no export wrote."""
    for file in _files(out):
        if file.as_posix() in earlier:
            continue
        target = new / file
        if os.path.lexists(target):
            raise ForgetmeError(
                f"{out / file} is not of the earlier export, and this export has a file of that "
                "name; move it away, then export again"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(out / file, target, follow_symlinks=False)
        except (OSError, NotImplementedError):  # a file system without hard links
            shutil.copy2(out / file, target, follow_symlinks=False)


def _sync(folder: Path) -> None:
    """Waits until all below is on disk: a power cut after the swap must not find empty files."""
    if os.name == "posix":
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


def _swap(out: Path, new: Path) -> None:
    """Puts `new` in the place of `out`; a crash in between is mended by `_finish_swap`."""
    try:
        if out.exists():
            out.rename(_previous(out))
        new.rename(out)
    except OSError as error:
        raise ForgetmeError(
            f"cannot replace {out} ({error.strerror}); is it in use? Name another folder"
        ) from error
    finally:
        _finish_swap(out)


def _finish_swap(out: Path) -> None:
    previous = _previous(out)
    if not previous.is_dir():
        return
    if not out.exists():
        previous.rename(out)
        return
    earlier, ours = _earlier_files(previous, else_all=True), _earlier_files(out)
    for file in _files(previous):
        old, there = previous / file, out / file
        if file.as_posix() in earlier or _is_same(old, there):
            old.unlink()
        elif file.as_posix() not in ours:  # written by somebody while the folders were swapped
            there.parent.mkdir(parents=True, exist_ok=True)
            os.replace(old, there)
    for folder, _, _ in os.walk(previous, topdown=False):
        if not any(os.scandir(folder)):
            os.rmdir(folder)
    if previous.exists():
        log.warning("%s holds files that no export wrote; they are kept", previous)


def _is_same(old: Path, there: Path) -> bool:
    """Tells whether a file was carried over and nobody has written it since."""
    if not os.path.lexists(there):
        return False
    if old.is_symlink() or there.is_symlink():
        return old.is_symlink() and there.is_symlink() and old.readlink() == there.readlink()
    return old.samefile(there) or filecmp.cmp(old, there, shallow=False)


def _previous(out: Path) -> Path:
    return out.with_name(f".{out.name}.previous")


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files and links below a folder, relative to it."""
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in (*names, *links):
            yield Path(root, name).relative_to(folder)
