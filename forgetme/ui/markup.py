"""Pieces of HTML that several tabs show; whatever people wrote is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

import gradio as gr
from markupsafe import Markup, escape

_STEPS = ((3600, "min", 60), (86_400, "h", 3600), (30 * 86_400, "days", 86_400))


def html(**props: Any) -> gr.HTML:
    """Returns a part that shows what the functions below make; our style sheets know its inside."""
    return gr.HTML(apply_default_css=False, elem_classes="fm-ui", **props)


def picture(sha: str, words: str, *, side: int = 256, cut_by: str | None = None) -> Markup:
    """Returns a small copy of a picture with its caption; `cut_by` shows only what a mask holds."""
    image = Markup('<img src="forgetme/thumbnail/{}/{}.png" alt="{}" loading="lazy"{}>').format(
        side, sha, words, _masked(side, cut_by) if cut_by else ""
    )
    box = Markup('<span class="fm-checks">{}</span>').format(image) if cut_by else image
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(box, words)


def _masked(side: int, sha: str) -> Markup:
    style = " style=\"mask-image: url('forgetme/thumbnail/{}/{}.png')\""
    return Markup(style).format(side, sha)


def figures(values: Iterable[tuple[str, str, str, str]]) -> Markup:
    """Returns numbers with a name above, words below, and an explanation on hovering."""
    box = '<div title="{}"><span>{}</span><strong>{}</strong><small>{}</small></div>'
    made = (Markup(box).format(title, name, value, words) for name, value, words, title in values)
    return Markup('<div class="fm-figures">{}</div>').format(Markup("").join(made))


def items(lines: Iterable[Markup]) -> Markup:
    """Returns a list; nothing where there is nothing to list."""
    made = Markup("").join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup('<ul class="fm-items">{}</ul>').format(made) if made else Markup("")


def note(words: str) -> Markup:
    """Returns a quiet sentence, such as what to do where there is nothing yet."""
    return Markup('<p class="fm-note">{}</p>').format(words)


def lines(words: Iterable[str]) -> Markup:
    """Returns quiet sentences, one a line; what stands in `backticks` is a command to copy."""
    made = [re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(line))) for line in words]
    return Markup("<p class='fm-note'>{}</p>").format(Markup("<br>".join(made)))


def span(seconds: float) -> str:
    """Returns a duration in the unit that fits it.

    Example:
        >>> span(45), span(600), span(9000)
        ('45 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def percent(share: float | None) -> str:
    """Returns a share as a percentage; a missing one is a dash."""
    return "–" if share is None else f"{100 * share:.0f}\u202f%"


def sample_link(sample_id: str, name: str) -> Markup:
    """Returns a link that opens a sample on the Curate tab."""
    return Markup('<a href="?view=all&amp;sample={}">{}</a>').format(sample_id, name)


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Returns a number as text; a missing one is a dash.

    Example:
        >>> number(0.714), number(None), number(12.4, 0, " %")
        ('0.71', '–', '12 %')
    """
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def ago(at: str | None) -> str:
    """Returns how long ago a moment was, in words that hold in every time zone and for a minute.

    Args:
        at: ISO 8601; None is a dash.
    """
    if at is None:
        return "–"
    seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(at)).total_seconds()
    if seconds < 60:
        return "just now"
    for below, unit, length in _STEPS:
        if seconds < below:
            return f"{int(seconds / length)} {unit} ago"
    return datetime.fromisoformat(at).strftime("%d %b %Y")
