"""A cache of the values last used (LRU), shared by threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Keeps the values last asked for.

    Args:
        keep: how many.

    Example:
        >>> squares = Lru(keep=2)
        >>> [squares.made(n, lambda: n * n) for n in (1, 2, 1, 3)]
        [1, 4, 1, 9]
        >>> squares.get(2) is None  # the one asked for longest ago
        True
    """

    def __init__(self, keep: int) -> None:
        """Keeps nothing yet."""
        self._keep = keep
        self._held: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Returns the value of a key, or None."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: K, value: V) -> V:
        """Keeps a value and returns it."""
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        return value

    def made(self, key: K, make: Callable[[], V]) -> V:
        """Returns the value of a key; `make()` is called, outside the lock, where none is kept."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value
