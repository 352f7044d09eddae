"""Wall time and peak memory of a piece of work."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_RESET = Path("/proc/self/clear_refs")  # "5" sets the peak back to what is used now (Linux)
_STATUS = Path("/proc/self/status")
_MIB = 2**20


@dataclass
class Measured:
    """Filled in when the work is done.

    Attributes:
        seconds: wall time.
        memory_mb: peak in MiB: of CUDA's memory where the work used a GPU, else of this process;
            where a system cannot set the peak back, the highest so far.
    """

    seconds: float = 0.0
    memory_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Measured]:
    """Measures the block."""
    found = Measured()
    cuda = _cuda()
    if cuda is not None:
        cuda.reset_peak_memory_stats()
    else:
        _set_back()
    began = time.perf_counter()
    yield found
    if cuda is not None:
        cuda.synchronize()
    found.seconds = time.perf_counter() - began
    found.memory_mb = cuda.max_memory_allocated() / _MIB if cuda is not None else _peak()


def _cuda():  # noqa: ANN202 (torch.cuda, or None where nothing runs there)
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _set_back() -> None:
    try:
        _RESET.write_text("5")
    except OSError:
        return  # another system, or a container that forbids it


def _peak() -> float:
    """The process's peak in MiB."""
    try:
        line = next(x for x in _STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024  # kB
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / _MIB if sys.platform == "darwin" else peak / 1024
