"""How much memory some code takes, measured in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys


def peak_mib(code: str, *arguments: object, seconds: float = 120) -> float:
    """Runs code in a process of its own; returns the MiB by which it grew beyond its imports.

    The code may take at most 6 GiB of addresses, so that a mistake here spares the machine.
    """
    measured = (
        "import resource, sys, numpy, cv2, PIL.Image, PIL.ImageCms\n"
        "from forgetme.errors import ForgetmeError\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        f"before = None\n{code}\nprint('MIB', peak() - before)"
    )
    limit = (6 * 2**30, 6 * 2**30)
    done = subprocess.run(
        [sys.executable, "-c", measured, *map(str, arguments)],
        capture_output=True, text=True, timeout=seconds,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )  # fmt: skip
    assert "MIB " in done.stdout, done.stdout + done.stderr
    return float(done.stdout.rpartition("MIB ")[2])
