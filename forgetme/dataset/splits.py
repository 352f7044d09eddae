"""Train, validation and test: a sample's split, by the hash of its photo alone."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Shares:
    """How large each part is meant to be; the three add up to 1.

    Raises:
        ValueError: a share is negative, or they do not add up to 1.
    """

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        """Checks the shares."""
        shares = (self.train, self.validation, self.test)
        if not all(0 <= share <= 1 for share in shares) or not math.isclose(sum(shares), 1):
            raise ValueError(
                f"the shares of train, validation and test must be 0 or more and add up to 1, got "
                f"{self.train:g}, {self.validation:g} and {self.test:g}; for example 0.8, 0.1, 0.1"
            )

    @classmethod
    def parse(cls, text: str) -> Shares:
        """Reads "80/10/10": percent for train, validation and test.

        Example:
            >>> Shares.parse("90/5/5")
            Shares(train=0.9, validation=0.05, test=0.05)
        """
        try:
            train, validation, test = (float(part) / 100 for part in text.split("/"))
        except ValueError as error:
            raise ValueError(
                f"expected percent for train/validation/test such as 80/10/10, got {text!r}"
            ) from error
        return cls(train, validation, test)


SHARES = Shares()


class Pictured(Protocol):
    """What is known of a sample: a row of the store, or less."""

    id: str
    image_sha: str | None
    lineage: dict[str, Any] | None


def photo_of(sample: Pictured) -> str:
    """Names the photo that a sample was cut from, by its pixels.

    A merged picture goes with the photo of its object; the photo of its background may lie in
    another part. A file without pixels is named by its sample.
    """
    photo = (sample.lineage or {}).get("photo_sha")
    return photo if isinstance(photo, str) else sample.image_sha or sample.id


def split_of(sample: Pictured, shares: Shares = SHARES) -> Split:
    """Returns the part of a sample: the same in every store, whatever is added or taken away.

    All samples of one photo are in one part, also those of several concepts, so that no photo
    that a model was trained on is in its test.

    Args:
        sample: the sample.
        shares: how large each part is meant to be.
    """
    digest = hashlib.sha256(f"split\0{photo_of(sample)}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64  # even in [0, 1)
    if place < shares.test:
        return "test"
    return "validation" if place < shares.test + shares.validation else "train"
