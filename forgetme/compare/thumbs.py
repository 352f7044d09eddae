"""Thumbnails as data URIs inside an HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import lru_cache
from html import escape as e
from pathlib import Path

from PIL import Image

THUMB_PX = 256  # longest side of a picture inside the page
QUALITY = 82  # of WebP

Files = Mapping[str, Path]


def image(name: str | None, files: Files, alt: str) -> str:
    """An image element with a picture of the report inside it; a blank where there is none."""
    if name is None:
        return '<p class="none">no picture</p>'
    source, width, height = _data_uri(files[name])
    return f'<img src="{source}" alt="{e(alt)}" width="{width}" height="{height}" loading="lazy">'


@lru_cache(maxsize=1024)
def _data_uri(path: Path) -> tuple[str, int, int]:
    """A picture small enough for a page, with its size in it."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((THUMB_PX, THUMB_PX))
    data = io.BytesIO()
    small.save(data, "WEBP", quality=QUALITY)
    text = base64.b64encode(data.getvalue()).decode()
    return f"data:image/webp;base64,{text}", *small.size
