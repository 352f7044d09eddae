"""Fetches a file from an address: goes on where it stopped, and keeps only what is right."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forgetme.errors import DiskFullError, ForgetmeError, MissingModelError
from forgetme.record.files import file_sha256

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)
_CHUNK = 1 << 20  # bytes a read
_TIMEOUT = 30  # seconds without a byte
_ATTEMPTS = 5
_FOR_GOOD = (400, 401, 403, 404, 410, 451)  # answers that asking again does not change
_MOST_LISTING = 16 * 2**20  # bytes


def fetch(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    first_wait: float = 1.0,
) -> None:
    """Downloads one file, resuming a part of it, and puts it in place only when it is right.

    Args:
        url: Address of the file, http or https.
        path: Where it goes; the unfinished part lies beside it as `.part`.
        size: Bytes it must have; None = what the server says.
        sha256: Hash it must have; None = unchecked.
        progress: Called with (bytes done, bytes in all).
        first_wait: Seconds before the second attempt; doubled for each further one.

    Raises:
        MissingModelError: The server has no such file, does not answer, or sends wrong bytes.
        DiskFullError: There is no room for it.
    """
    part = path.with_name(path.name + ".part")
    if part.exists() and size is not None and part.stat().st_size > size:
        part.unlink()
    _check_room(path, (size or 0) - (part.stat().st_size if part.exists() else 0))
    problem = "it was not tried"
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(first_wait * 2 ** (attempt - 1))
        try:
            problem = _continue(url, part, size, progress)
        except urllib.error.HTTPError as error:
            if error.code in _FOR_GOOD:
                raise MissingModelError(
                    f"{url} answered {error.code} {error.reason}; download the file by hand "
                    f"to {path}, or give the path of your own copy"
                ) from error
            problem = f"the server answered {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise _full(path) from error
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        if problem is None:
            break
        log.warning("download of %s stopped: %s", url, problem)
    else:
        raise MissingModelError(
            f"{url} could not be downloaded: {problem}; run the same command again, "
            "it goes on where it stopped"
        )
    if sha256 is not None and (got := file_sha256(part)) != sha256:
        part.unlink()
        raise MissingModelError(
            f"{url} sent other bytes than were published: sha256 must be {sha256}, got {got}; "
            "what was downloaded is deleted, try again from another network"
        )
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def _continue(url: str, part: Path, size: int | None, progress: Progress | None) -> str | None:
    """Reads on from where the part ends.

    Returns:
        None when all bytes are there, otherwise what is wrong.
    """
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have == size:
        return None
    headers = {"User-Agent": "forgetme"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(  # noqa: S310 (addresses are ours or the user's)
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is longer than the file: start over
            part.unlink()
            return "the server's file is shorter than the part that was there"
        raise
    with answer:
        if answer.status != 206:
            have = 0  # the server does not resume, so it sends everything
        length = answer.headers.get("Content-Length")
        total = size or (have + int(length) if length else 0)
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total)
    if total and have < total:
        return f"the connection closed after {have} of {total} bytes"
    if total and have > total:
        part.unlink()
        return f"the server sent {have} bytes instead of {total}"
    return None


def read_json(url: str, first_wait: float) -> Any:
    """Reads a JSON answer.

    Raises:
        MissingModelError: The server does not answer, or with something else or too much.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(first_wait * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310
                text = answer.read(_MOST_LISTING + 1)
                if len(text) > _MOST_LISTING:
                    raise MissingModelError(f"{url} sent more than {_MOST_LISTING} bytes")
                return json.loads(text)
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.reason}"
            if error.code in _FOR_GOOD:
                break
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            problem = str(getattr(error, "reason", error))
    raise MissingModelError(f"{url} could not be read: {problem}; check the network and try again")


def _check_room(path: Path, needed: int) -> None:
    if shutil.disk_usage(path.parent).free < needed:
        raise _full(path)


def _full(path: Path) -> ForgetmeError:
    free = shutil.disk_usage(path.parent).free
    return DiskFullError(
        f"no room for {path.name}: {path.parent} has {free / 1e9:.1f} GB left; free some, "
        "then run the same command again"
    )
