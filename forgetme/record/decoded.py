"""The pictures last decoded, by the name of their content, so that an act need not wait for PNG."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np


class Decoded:
    """Keeps the latest arrays in memory; they are shared, so they may not be written to."""

    def __init__(self, keep: int = 4) -> None:
        """Keeps at most `keep` arrays."""
        self._keep = keep
        self._held: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha: str, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """Returns the array named `sha`; `read(sha)` is called where it is not held."""
        with self._lock:
            if sha in self._held:
                self._held.move_to_end(sha)
                return self._held[sha]
        return self.put(sha, read(sha))

    def put(self, sha: str, array: np.ndarray) -> np.ndarray:
        """Holds an array under its name and returns it, read-only."""
        array.setflags(write=False)
        with self._lock:
            self._held[sha] = array
            self._held.move_to_end(sha)
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        return array
