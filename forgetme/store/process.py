"""Which process is meant: an id alone is not enough, since the system gives it out again."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

PROC = Path("/proc")
DEAD_STATES = ("Z", "X", "x")  # ended, only its parent has not asked yet


@lru_cache(maxsize=1)
def machine() -> str:
    """Names this machine since its last start, and the space in which its process ids count.

    Two containers on one computer, and one computer before and after a restart, differ.
    """
    boot = _read(PROC / "sys/kernel/random/boot_id").strip()[:8]
    try:
        space = os.readlink(PROC / "self/ns/pid").strip("pid:[]")
    except OSError:
        space = ""
    return " ".join(part for part in (platform.node() or "unnamed", boot, space) if part)


def started(pid: int) -> str | None:
    """Tells when a process of this machine began, as a word that only it has.

    Args:
        pid: the process id.

    Returns:
        Equal words for equal processes, whoever asks; None when there is no such process, or the
        system does not tell (neither Linux nor one with `ps`).
    """
    if pid <= 0:
        return None
    if (PROC / "self/stat").exists():
        # "pid (name, which may hold spaces and brackets) state …"; the start is field 22
        fields = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()
        return fields[19] if fields and fields[0] not in DEAD_STATES else None
    try:
        words = subprocess.run(
            ["ps", "-o", "state=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
    except OSError:
        return None
    return "_".join(words[1:]) if words and words[0][0] not in DEAD_STATES else None


def is_alive(pid: int | None, start: str | None) -> bool:
    """Tells whether a process runs that began at `start`, not merely one with the same id."""
    return pid is not None and start is not None and started(pid) == start


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
