"""What the Evaluate tab shows of an evaluation: its table, words and dots, from plain JSON."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from forgetme import jobs
from forgetme.ui import markup
from forgetme.ui.run_views import STATES

Json = dict[str, Any]
KEPT = "Stopped. What it drew is kept: ask for the same again, and it goes on there."
GREY = "Grey: the judge fails on the base's own pictures, so the number says nothing."
INTERVALS = "With 95 % intervals. ↑ higher is better, ↓ lower is better."


def line(name: str, report: Json | str) -> list[str]:
    """Returns an evaluation's line of the list."""
    if isinstance(report, str):
        return [name, "cannot be read", "–"]
    return [name, report["concept"], str(len(report["models"]))]


def can_stop(job: Json) -> bool:
    """Tells whether a job waits or is at work, and nobody has stopped it yet."""
    return job["state"] in ("queued", "running")


def progress(job: Json) -> Markup:
    """Shows how far the making of an evaluation is, or why it ended without one."""
    over = job["state"] in jobs.ENDED
    left = job["seconds_left"]
    told = [
        "" if over else job["words"],
        f"{job['step']} of {job['total']}" if job["total"] else "",
        f"{markup.span(left)} left" if left is not None else "",
    ]
    trouble = job["trouble"] or (KEPT if job["state"] == "stopped" else "")
    bar = Markup('<progress max="{}" value="{}" aria-label="Steps"></progress>')
    return Markup(
        '<h2>{} <span class="fm-state" data-state="{}">{}</span></h2>{}<p>{}</p>{}'
    ).format(
        job["name"], job["state"], STATES[job["state"]],
        "" if over else bar.format(job["total"] or 1, job["step"]),
        " · ".join(filter(None, told)),
        Markup('<p class="fm-problem">{}</p>').format(trouble) if trouble else "",
    )  # fmt: skip


def unread(name: str, why: str) -> Markup:
    """Says why an evaluation cannot be shown."""
    return Markup('<h2>{}</h2><p class="fm-problem">{}</p>').format(name, why)


def head(name: str, report: Json) -> Markup:
    """Says what was evaluated, and who judged it."""
    task = report["task"]
    told = [
        f"grid {report['grid']}", f"seed {report['seed']}", f"{report['minutes']:.1f} min",
        f"judged by {' and '.join(report['judges'])}",
        ", ".join(task[key] for key in ("family", "scope", "aim", "count", "way")),
    ]  # fmt: skip
    shown = Markup('<h2>{}: {}</h2><p class="fm-muted">{}</p>')
    return shown.format(name, report["title"], " · ".join(told)) + markup.note(INTERVALS)


def table(report: Json) -> Json:
    """Returns the scores of each model with their intervals, a score a line."""
    from forgetme.evaluate.report import digits, shown_scores

    names = [one["name"] for one in report["models"]]
    lines = [
        [f"{score['title']} {'↑' if score['up'] else '↓'}",
         *(_cell(report["values"][one].get(score["key"]), digits(score)) for one in names)]
        for score in shown_scores(report)
    ]  # fmt: skip
    return {"headers": ["Score", *names], "data": lines}


def _cell(value: Json | None, places: int) -> str:
    from forgetme.evaluate.scores import ITSELF

    if value is None or value["mean"] is None:
        why = (value or {}).get("why") or "not computed"
        return "–" if why == ITSELF else f"not shown: {why}"
    words = f"{value['mean']:.{places}f}"
    if value["low"] is not None:
        words += f"  ({value['low']:.{places}f} … {value['high']:.{places}f})"
    return f"{words}, grey" if value["grey"] else words


def notes(report: Json) -> Markup:
    """Says which rows to read with care, and why some scores are not shown."""
    from forgetme.evaluate.report import hidden_scores

    values = (one for model in report["values"].values() for one in model.values())
    told = [GREY] if any(one["grey"] and one["mean"] is not None for one in values) else []
    told += [f"{one['name']}: {one['caution']}" for one in report["models"] if one["caution"]]
    hidden = [Markup("{}: {}").format(title, why) for title, why in hidden_scores(report)]
    listed = Markup("<details><summary>Not shown, and why</summary>{}</details>")
    more = listed.format(markup.items(hidden)) if hidden else Markup("")
    return Markup("").join(markup.note(one) for one in told) + more


def dots(report: Json) -> pd.DataFrame:
    """Returns forgetting and keeping of each model that has both, for the chart."""
    found = []
    for model in report["models"]:
        values = report["values"][model["name"]]
        pair = [values.get(key) or {"mean": None} for key in ("forgetting", "keeping")]
        if model["kind"] != "base" and all(one["mean"] is not None for one in pair):
            found.append([model["name"], *(one["mean"] for one in pair)])
    return pd.DataFrame(found, columns=["model", "forgetting", "keeping"])
