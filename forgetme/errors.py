"""The errors that a user of ForgetMe can act on; every message says what to do."""

from __future__ import annotations

from typing import Any


class ForgetmeError(Exception):
    """Something went wrong that the user can act on."""


class EmptyRegionError(ForgetmeError, ValueError):
    """A mask is empty or covers everything where both of its regions are needed."""


class BrokenImageError(ForgetmeError):
    """An image cannot be read or is too big or small; the message names the file and a way out."""


class MissingModelError(ForgetmeError):
    """A model's weights or a key are not there; the message names the command to run."""


class DiskFullError(ForgetmeError, OSError):
    """There is no room left to write to; nothing that was saved before is lost."""


class StaleVersionError(ForgetmeError):
    """A sample changed between reading and writing it.

    Attributes:
        mine: version number that the writer saw.
        theirs: the sample's current row in the store.
    """

    def __init__(self, message: str, *, mine: int, theirs: Any) -> None:
        """Keeps both versions beside the message, so that a caller can show them."""
        super().__init__(message)
        self.mine = mine
        self.theirs = theirs


class StoreVersionError(ForgetmeError):
    """A store was written by a newer ForgetMe; the message says which version to install."""


class VerifierError(ForgetmeError):
    """The verifier's endpoint failed after its retries, or the spend cap was reached."""
