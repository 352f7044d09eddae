"""A cache of decoded pictures, by the name of their content: an act need not wait for PNG."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forgetme.record.lru import Lru


class Decoded:
    """Keeps the latest arrays in memory; they are shared, so they may not be written to."""

    def __init__(self, keep: int = 4) -> None:
        """Keeps at most `keep` arrays."""
        self._held: Lru[str, np.ndarray] = Lru(keep)

    def get(self, sha: str, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """Returns the array named `sha`; `read(sha)` is called where it is not held."""
        found = self._held.get(sha)
        return self.put(sha, read(sha)) if found is None else found

    def put(self, sha: str, array: np.ndarray) -> np.ndarray:
        """Holds an array under its name and returns it, read-only."""
        array.setflags(write=False)
        return self._held.put(sha, array)
