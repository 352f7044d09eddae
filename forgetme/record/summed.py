"""JSON that tells whether it is what was written: a hash of the rest of it stands inside."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from PIL import Image

KEY = "sha256"
Json = dict[str, Any]


def sealed(record: Json) -> Json:
    """Returns a record with its hash.

    Raises:
        ValueError: a value is no plain JSON, or not finite.
    """
    record = json.loads(json.dumps(record, allow_nan=False))  # as it comes back
    return {**record, KEY: _sum(record)}


def opened(record: Any) -> Json:
    """Returns a record without its hash; one that was written without passes.

    Raises:
        ValueError: it is not what was written, or no JSON object.
    """
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")
    rest = {key: value for key, value in record.items() if key != KEY}
    *_, last = record or (KEY,)
    turned = last != KEY and record[last] == _sum({k: record[k] for k in record if k != last})
    if turned or (KEY in record and record[KEY] != _sum(rest)):
        raise ValueError("it is not what was written")
    return rest


def picture_problem(path: Path) -> str | None:
    """Says why a PNG cannot be read, by its own checksums, or None."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        return str(error) or type(error).__name__
    return None


def _sum(record: Json) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
