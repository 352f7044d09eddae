"""Markdown for cards: tables, and text that is shown as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    r"""Writes a table; its cells are Markdown, see `plain`.

    Example:
        >>> table(("split", "rows"), [("train", 3)])
        '| split | rows |\n| --- | --- |\n| train | 3 |'
    """
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def plain(text: Any) -> str:
    r"""Returns text of one line that Markdown shows as it is.

    Example:
        >>> plain("a_b <c>")
        'a\\_b &lt;c>'
    """
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{char}" if char in "\\`*_[]|#" else char for char in text)
