"""What changed since it was last shown: a part that is set anew can lose a click on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

Shown = dict[gr.blocks.Block, Any]


def news(shown: Shown, held: Mapping[gr.blocks.Block, Any], marks: gr.State) -> Shown:
    """Leaves out of what a handler returns what the page shows already.

    Args:
        shown: a value or an update of each part.
        held: what the handler was given; a `gr.State` that held its value then is left alone, for
            an act may have set it to another meanwhile.
        marks: keeps the marks of last time, by a part's id; not held where the page begins.

    Returns:
        What is to be set, the marks for next time among it.
    """
    before = held.get(marks) or {}
    after = {**before}
    told = {}
    for part, value in shown.items():
        if isinstance(part, gr.State):
            if part not in held or held[part] != value:
                told[part] = value
            continue
        after[part._id] = _mark(value)
        if after[part._id] != before.get(part._id):
            told[part] = value
    return told | {marks: after}


def clicked(line: gr.SelectData) -> str:
    """Returns the first cell of a clicked row of a table; "" without one.

    The name and not the place: the list may be a newer one than the table that was clicked.
    """
    return str((getattr(line, "row_value", None) or [""])[0])


def _mark(value: Any) -> str:
    """Returns a short name of a value, or of what an update would set."""
    told = getattr(value, "constructor_args", value)
    words = json.dumps(told, sort_keys=True, default=lambda table: table.to_csv())
    return hashlib.sha256(words.encode()).hexdigest()[:16]
