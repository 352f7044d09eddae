"""What changed since it was last shown: a part that is set anew can lose a click on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

Shown = dict[gr.blocks.Block, Any]


def news(shown: Shown, before: Mapping[int, str]) -> tuple[Shown, dict[int, str]]:
    """Leaves out of what a handler returns what the page shows already.

    Args:
        shown: a value or an update of each part; of a `gr.State`, always told.
        before: the marks of last time, by a part's id; nothing where the page begins.

    Returns:
        What is to be set, and the marks for next time.
    """
    marks = {**before}
    told = {}
    for part, value in shown.items():
        mark = "" if isinstance(part, gr.State) else _mark(value)
        if not mark or mark != before.get(part._id):
            told[part] = value
        marks[part._id] = mark
    return told, marks


def _mark(value: Any) -> str:
    """Returns a short name of a value, or of what an update would set."""
    told = getattr(value, "constructor_args", value)
    words = json.dumps(told, sort_keys=True, default=lambda table: table.to_csv())
    return hashlib.sha256(words.encode()).hexdigest()[:16]
