"""What an event carries: plain JSON, with its masks and images kept before it is written."""

import json
import re
from typing import Any

from forgetme.record.masks import rle_decode
from forgetme.store.blobs import Blobs
from forgetme.store.names import plain_text
from forgetme.store.record import SampleRow

_PLAIN = re.compile(r"\\u0000|[\ud800-\udfff]")  # found in JSON text that is not plain


def plain_json(payload: dict[str, Any]) -> dict[str, Any]:
    """Returns `payload` as it comes back from the database: plain lists, dicts and text.

    Raises:
        ValueError: a value that JSON cannot hold: an array, NaN, infinity.
    """
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"an event's payload must be plain JSON ({error}); turn arrays into lists and numpy "
            "numbers into int or float, and leave out what is not a number"
        ) from error
    value = json.loads(text)
    return value if _PLAIN.search(text) is None else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        return {plain_text(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def complete(blobs: Blobs, row: SampleRow, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Says what an event means by its numbers, whatever is numbered otherwise later.

    The mask of the proposal that it chooses is kept and named; a try is named by what made it.
    """
    if kind == "chosen" and "try" in payload:
        k = payload["try"]
        known = type(k) is int and 0 <= k < len(row.tries)  # else the projection refuses it
        return {**payload, "made_by_event": row.tries[k]["event"]} if known else payload
    if kind == "proposed":
        proposals, chosen = payload.get("proposals", []), payload.get("chosen")
    elif kind == "chosen":
        proposals, chosen = row.proposals, payload.get("index")
    else:
        return payload
    if type(chosen) is not int or not 0 <= chosen < len(proposals):
        return payload  # no mask, or an index that the projection refuses
    return {**payload, "mask_sha": blobs.put(rle_decode(proposals[chosen]["rle"]))}


def check_images(blobs: Blobs, row: SampleRow, payload: dict[str, Any]) -> None:
    """Refuses an event that names an image the store lacks, or one of another size.

    Raises:
        ForgetmeError: there is no such image.
        ValueError: it is not of the sample's size.
    """
    for key in ("image_sha", "mask_sha"):
        sha = payload.get(key)
        if sha is None or row.width is None:
            continue
        width, height = blobs.size(sha)
        if (width, height) != (row.width, row.height):
            raise ValueError(
                f"{key} must be of the sample's size {row.height}x{row.width}, got "
                f"{height}x{width}; resize it with masks.resize_mask"
            )
