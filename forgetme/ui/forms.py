"""Forms made from a settings dataclass: one component a field, with the dataclass's own words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import gradio as gr


def described(settings: type) -> dict[str, str]:
    """Returns the line on each field from the class's docstring (`Attributes:`, Google style)."""
    text = inspect.getdoc(settings) or ""
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", text, flags=re.MULTILINE)
    return {name: " ".join(line.split()) for name, line in found}


def form(
    settings: type,
    names: Iterable[str],
    *,
    prefix: str = "",
    labels: Mapping[str, str] | None = None,
) -> dict[str, gr.components.Component]:
    """Makes a component for each named field, where the call stands in the layout.

    A `bool` is a checkbox, a `Literal` a dropdown of its values, a number a number (whole for
    `int`), a tuple of words a dropdown of several, and all else a text. The info is the field's
    line in the docstring. Limits are the act's: a component that refuses would refuse while a
    number is half typed.

    Args:
        settings: a dataclass.
        names: of its fields, in the order of the form.
        prefix: of the elements' ids: the field `steps` is `{prefix}steps`.
        labels: better words for some fields than their names.
    """
    found, kinds = (
        {one.name: one for one in fields(settings)},
        get_type_hints(settings, None, None, True),
    )
    words, labels = described(settings), labels or {}
    made = {}
    for name in names:
        default = found[name].default
        props = {
            "label": labels.get(name) or sentence(name),
            "info": words.get(name),
            "value": None if default is MISSING else default,
            "elem_id": f"{prefix}{name}",
        }
        made[name] = _component(kinds[name], props)
    return made


def sentence(name: str) -> str:
    """Returns a field's name as words: "save_every" is "Save every"."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _component(kind: Any, props: dict[str, Any]) -> gr.components.Component:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind is bool:
        return gr.Checkbox(**props)
    if get_origin(kind) is Literal:
        return gr.Dropdown(list(get_args(kind)), **props)
    if kind in (int, float):
        return gr.Number(**props, precision=0 if kind is int else None)
    if get_origin(kind) is tuple:
        return gr.Dropdown([], **props, multiselect=True, allow_custom_value=True)
    return gr.Textbox(**props)
