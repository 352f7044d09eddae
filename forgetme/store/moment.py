"""One read of the database for all that a request asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from sqlalchemy import Connection, Engine

_present: ContextVar[Moment | None] = ContextVar("forgetme_moment", default=None)


class Moment:
    """A read transaction that is begun by the first question and ends where it is out of date."""

    def __init__(self) -> None:
        """Opens nothing yet."""
        self._lock = threading.Lock()  # a request's steps run in several threads, one by one
        self._stack = ExitStack()
        self._open: tuple[Engine, Connection] | None = None
        self._is_old = False

    @contextmanager
    def lent(self, engine: Engine) -> Iterator[Connection | None]:
        """Lends the connection to one reader at a time; None while another has it."""
        if not self._lock.acquire(blocking=False):
            yield None
            return
        try:
            if self._is_old or self._open is None or self._open[0] is not engine:
                self._end()
                connection = self._stack.enter_context(engine.connect())
                self._stack.enter_context(connection.begin())
                self._open = engine, connection
            yield self._open[1]
        except BaseException:
            self._is_old = True  # whatever went wrong, the next reader begins anew
            raise
        finally:
            self._lock.release()

    def is_over(self) -> None:
        """Makes the next question look at the database as it is then."""
        self._is_old = True

    def close(self) -> None:
        """Ends it."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._open, self._is_old = None, False
        self._stack.close()


@contextmanager
def one_moment() -> Iterator[None]:
    """Lets all reads of the block see one moment of the store, until the block writes.

    The threads that a request is answered in count to the block; threads of others do not.
    """
    moment = Moment()
    token = _present.set(moment)
    try:
        yield
    finally:
        _present.reset(token)
        moment.close()


def present() -> Moment | None:
    """Returns the moment of the block that is running, if any."""
    return _present.get()


def look_again() -> None:
    """Makes the next read see what others, such as the page's worker, have written meanwhile."""
    if (moment := _present.get()) is not None:
        moment.is_over()
