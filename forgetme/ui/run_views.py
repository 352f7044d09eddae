"""What the Train tab shows of a run: words, numbers, curves and pictures, from plain JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from forgetme.ui import markup

Json = dict[str, Any]
COLUMNS = 400  # points of a curve
STATES = {
    "queued": "waits for its turn", "running": "at work", "stopping": "finishing its step",
    "done": "done", "stopped": "stopped, saved", "failed": "failed", "died": "died",
}  # fmt: skip
HOW = {
    "measured": "measured on this machine",
    "scaled": "from other runs on this machine",
    "estimated": "an estimate; the first run measures it",
}


def learns(method: str, accepted: int) -> str:
    """Says what a method would learn from."""
    from forgetme.train.form import needs_pictures

    if not needs_pictures(method):
        return f"{method} learns from no pictures: the word is enough."
    if accepted:
        samples = "sample" if accepted == 1 else "samples"
        return f"Learns from {accepted} accepted {samples}, as they are when you start."
    return ("No accepted sample to learn from. Accept some on the Curate tab, or take a method "
            "that needs none.")  # fmt: skip


def undrawn(preset: str, concept: str) -> str:
    """Warns of a concept that the model does not draw; empty where it does."""
    from forgetme.train.form import draws

    if not concept or draws(preset, concept):
        return ""
    return f" The bundled model does not draw {concept}: there is nothing in it to forget."


def held(kept: Sequence[str], apart: Sequence[str]) -> str:
    """Says what is held and what is watched apart."""
    if not kept:
        return "Nothing is held: all else may be lost."
    if apart:
        return (f"Not held, and watched apart: {', '.join(apart)}. How these fare is how anything "
                "else will.")  # fmt: skip
    return "All is held, so nobody will know what else is lost: leave some out."


def verdict(checked: Json) -> Markup:
    """Shows what stands in a run's way, or what it would cost."""
    if checked["problem"]:
        return Markup('<p class="fm-problem" role="alert">{}</p>').format(checked["problem"])
    cost = checked["cost"]
    mb = cost["memory_mb"]
    memory = f"{50 * round(mb / 50)} MB" if mb < 1000 else f"{mb / 1024:.1f} GB"
    words = f"About {markup.span(cost['seconds'])} and {memory}: {HOW[cost['how']]}."
    return markup.note(words)


def before_after(run: Json, key: str) -> str:
    """Returns a share before and at the last probe, such as 100 % → 0 %."""
    first, last = run["first"], run["last"]
    if not first and not last:
        return "–"
    before = markup.percent((first or {}).get(key))
    done = last and last["step"] > 0
    return f"{before} → {markup.percent(last.get(key))}" if done else before


def how_far(run: Json) -> str:
    """Returns the steps done, such as 40 of 200; a closed form takes none."""
    return f"{run['done']} of {run['steps']}" if run["steps"] else "–"


def line(run: Json) -> list[str]:
    """Returns a run's line of the table."""
    return [run["name"], f"{run['method']} · {run['concept']}", STATES[run["state"]],
            how_far(run), before_after(run, "forget"),
            before_after(run, "retain")]  # fmt: skip


def head(run: Json) -> Markup:
    """Shows how a run stands, and what went wrong."""
    learns = f"{run['pictures']} pictures" if run["pictures"] else "no pictures"
    when = markup.ago(run["at"]) if run["at"] else ""
    about = [f"{run['method']} forgets {run['concept']}", f"trains {run['trains']}", learns,
             f"by {run['by'] or 'a command'}", when]  # fmt: skip
    progress = [f"step {how_far(run)}" if run["steps"] else "", run["words"]]
    if run["seconds_left"] is not None:
        progress.append(f"{markup.span(run['seconds_left'])} left")
    elif run["seconds"]:
        progress.append(f"took {markup.span(run['seconds'])}")
    advice = (run["advice"] or {}).get("words")
    return Markup(
        '<h2>{} <span class="fm-state" data-state="{}">{}</span></h2><p class="fm-muted">{}</p>'
        '<progress max="{}" value="{}" aria-label="Steps"></progress><p>{}</p>{}'
    ).format(
        run["name"], run["state"], STATES[run["state"]], " · ".join(filter(None, about)),
        max(1, run["steps"]), run["done"], " · ".join(filter(None, progress)),
        Markup('<p class="fm-problem" role="alert">{}</p>').format(advice) if advice else "",
    )  # fmt: skip


def curve(lines: Sequence[tuple[int, float, str]], y: str) -> pd.DataFrame:
    """Returns lines as a chart takes them; its numbers are numbers also where there are none yet.

    A chart that begins with a column of no type takes what comes later for words.
    """
    frame = pd.DataFrame(lines, columns=["step", y, "line"])
    return frame.astype({"step": "int64", y: "float64"})


def losses(points: Sequence[tuple[int, float]], weight: float, logarithm: bool) -> pd.DataFrame:
    """Returns the loss at each step and its running mean, for the chart."""
    from forgetme.train import curves

    named = {"each step" if weight else "smoothed": list(points)}
    if weight:
        named["smoothed"] = curves.smoothed(list(points), weight)
    lines = [
        (step, math.log10(value) if logarithm else value, name)
        for name, found in named.items()
        for step, value in curves.thinned([one for one in found if one[1] > 0 or not logarithm],
                                          COLUMNS)
    ]  # fmt: skip
    return curve(lines, "loss")


def scores(drawn: Sequence[Json], run: Json) -> pd.DataFrame:
    """Returns what is recognised at each probe, for the chart."""
    from forgetme.train import curves

    named = {"forget": [run["concept"]], "keep": run["keep"], "not held": run["watch"]}
    lines = [
        (step, share, name)
        for name, concepts in named.items()
        for step, share in curves.shares(drawn, concepts)
    ]
    return curve(lines, "share")


def scored(drawn: Sequence[Json], run: Json) -> str:
    """Says in words what the probes found."""
    if not drawn:
        return "No probe yet; the first one is drawn before the first step."
    last = run["last"] or {}
    apart = f"; not held: {before_after(run, 'apart')}" if last.get("apart") is not None else ""
    second = [
        (last.get("second", {}).get(run["concept"]), "by a second recogniser"),
        (last.get("otherwise"), "asked for otherwise"),
    ]
    found = [f"{words} {markup.percent(share)}" for share, words in second if share is not None]
    more = ", ".join(found)
    return (
        f"{run['concept']}: {before_after(run, 'forget')}; held: {before_after(run, 'retain')}"
        f"{apart}{f' ({more})' if more else ''}. {drawn[-1]['n']} pictures of each, from prompts "
        "that no training sees. To forget low is good; to keep, high."
    )


def strips(
    run: Json,
    pictures: dict[int, list[int]],
    drawn: Sequence[Json],
    step: int | None,
    all_concepts: bool,
) -> Markup:
    """Shows what the model draws before and after, one row a concept."""
    concepts = [run["concept"], *run["keep"], *run["watch"]]
    if not pictures:
        return markup.note("No picture yet; the first ones are drawn before the first step.")
    ends = (0, 1, len(concepts) - 1)
    shares = {one["step"]: one["by_concept"] for one in drawn}
    rows = []
    for place in sorted(pictures):
        if not all_concepts and place not in ends:
            continue
        name, there = concepts[place], pictures[place]
        role = ("to forget" if place == 0 else "not held" if place > len(run["keep"])
                else "a neighbour" if place == 1 else "unrelated" if place == len(run["keep"])
                else "to keep")  # fmt: skip
        first = 0 if 0 in there else there[0]
        later = [one for one in there if 0 < one <= (step or 0)][-1:]
        strips = [_strip(run, place, one, shares.get(one, {}).get(name)) for one in (first, *later)]
        label = Markup("<p><strong>{}</strong><br><span class='fm-muted'>{}</span></p>")
        row = label.format(name, role) + Markup("").join(strips)
        rows.append(Markup("<div>{}</div>").format(row))
    return Markup('<div class="fm-strips">{}</div>').format(Markup("").join(rows))


def _strip(run: Json, place: int, step: int, share: float | None) -> Markup:
    word = "before" if not step else f"step {step}" if run["steps"] else "after"
    good = None if share is None or not step else share <= 0.1 if place == 0 else share >= 0.9
    sign = {None: "", True: "✓ ", False: "! "}[good]
    words = word if share is None else f"{sign}{word}: recognised in {markup.percent(share)}"
    return Markup(
        '<figure data-good="{}"><img src="forgetme/api/train/runs/{}/probes/{}-{}.png?{}" alt="{}" '
        'loading="lazy"><figcaption>{}</figcaption></figure>'
    ).format(good, run["name"], step, place, run["at"] or "", f"Pictures drawn, {word}", words)


def settings(record: Json, words: dict[str, str]) -> Markup:
    """Lists a run's settings, each with its explanation on hovering."""
    hidden = ("base_notes", "options", "lr_before", "diverged")
    shown = {**record, **record.get("options", {})}
    pairs = [
        Markup("<div><dt title='{}'>{}</dt><dd>{}</dd></div>").format(
            words.get(name, ""),
            name.replace("_", " "),
            ", ".join(map(str, value)) if isinstance(value, list) else value,
        )  # fmt: skip
        for name, value in shown.items()
        if name not in hidden and value not in ("", None)
    ]
    return Markup('<dl class="fm-pairs">{}</dl>').format(Markup("").join(pairs))
