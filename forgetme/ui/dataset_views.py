"""What the Dataset tab shows: Table 1, words of the filter, a sample, jobs; from plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from forgetme import jobs
from forgetme.store.record import ConceptStats
from forgetme.ui import data, markup
from forgetme.ui.data import Filter, Found
from forgetme.ui.markup import number
from forgetme.ui.run_views import STATES

Json = dict[str, Any]
ALL = "All"
TABLE = ["Concept", "Images", "Selected", "Accepted", "D", "S", "By people", "By policy",
         "To review", "Rejected", "Set aside", "Broken"]  # fmt: skip
TABLE_WORDS = (
    "Press a line to see only its pictures. *Accepted*: in percent of all images; the paper calls "
    "it success. *D*, *S*: means of Entangled over the selected: high D, much changed inside the "
    "mask and nothing outside; high S, the fill fits its surroundings. *Set aside*: skipped or "
    "flagged."
)
ABOUT = {
    "d": "low: too little changed inside the mask",
    "s": "low: smoother, darker or brighter than its surroundings",
    "clip": "how well the mask fits the concept's name",
}
LAYERS = ("original", "foreground", "background", "mask")
STOPPED = {
    "export": "stopped; an earlier export of this name is untouched",
    "push": "stopped; the next push goes on from there",
    "import": "stopped; what it took in stays, the next import takes the rest",
}
UNITS = ("B", "kB", "MB", "GB", "TB")


# ------------------------------ numbers


def table(stats: Sequence[ConceptStats]) -> list[list[str]]:
    """Returns Table 1, a concept a line; first the sum, where there are several."""
    lines = [_line(one.concept, [one]) for one in stats]
    return [_line(ALL, stats), *lines] if len(stats) > 1 else lines


def _line(name: str, stats: Sequence[ConceptStats]) -> list[str]:
    def count(*keys: str) -> int:
        return sum(getattr(one, key) for one in stats for key in keys)

    images, selected = count("images"), count("selected")
    share = f"{100 * selected / images:.1f} %" if images else "–"
    means = [number(_mean(stats, key)) for key in ("mean_d", "mean_s")]
    numbers = [count(*keys) for keys in (("human",), ("policy",), ("new", "prepared", "waiting"),
               ("rejected",), ("skipped", "flagged"), ("broken",))]  # fmt: skip
    return [name, *(f"{one:,}" for one in (images, selected)), share, *means,
            *(f"{one:,}" for one in numbers)]  # fmt: skip


def _mean(stats: Sequence[ConceptStats], key: str) -> float | None:
    """Weights the means by what was selected; unlike variants have no common mean."""
    some = [one for one in stats if one.selected]
    values = [getattr(one, key) for one in some]
    if not some or None in values or len({one.variant for one in some}) > 1:
        return None
    total = sum(one.selected for one in some)
    return sum(v * one.selected for v, one in zip(values, some, strict=True)) / total


def chart_words(name: str, found: Found, limit: float | None) -> Markup:
    """Says the mean of a measure and where "low" begins."""
    mean, missing = found.means[name], found.missing[name]
    told = ["no scores" if mean is None else f"mean {mean:.2f}"]
    told += [f"low below {limit:.2f}"] if limit else []
    told += [f"{missing:,} without a score"] if missing else []
    return Markup('<h3 title="{}">{}</h3><p class="fm-muted">{}</p>').format(
        ABOUT[name], data.MEASURES[name], " · ".join(told)
    )


def split_choices(found: Found) -> list[tuple[str, str]]:
    """Returns the splits with how many each has."""
    parts = [("all", "", found.total), *((one, one, n) for one, n in found.splits.items())]
    return [(f"{word} {count:,}", value) for word, value, count in parts]


def count_words(found: Found, asked: Filter) -> Markup:
    """Says how many pictures there are, and loudly what hides the others."""
    pictures = "picture" if len(found.ids) == 1 else "pictures"
    count = Markup("<p><strong>{} {}</strong></p>").format(f"{len(found.ids):,}", pictures)
    if not asked.words:
        return count
    states = "" if asked.show == "all states" else f" {asked.show}"
    return count + Markup('<p class="fm-filtered">filtered: {}; {} of {}{} shown</p>').format(
        ", ".join(asked.words), f"{len(found.ids):,}", f"{found.of:,}", states
    )


def nothing(any_at_all: bool, asked: Filter) -> str:
    """Says what an empty gallery means, and what to do."""
    if not any_at_all:
        return "There are no images yet. Add some on the Curate tab; they appear here."
    if asked.words:
        return "No picture passes this filter. Clear it above, or widen the ranges."
    if asked.show == "accepted":
        return ("Nothing is accepted yet. Press A on a good quadruple on the Curate tab; it "
                "appears here at once.")  # fmt: skip
    return f"Nothing is {asked.show}. Choose another state above."


def page_words(page: int, total: int) -> str:
    """Says which of the pictures are on the page."""
    first = page * data.PAGE
    return f"{first + 1:,} to {min(total, first + data.PAGE):,} of {total:,}"


# ------------------------------ samples


def caption(card: Json) -> str:
    """Returns the words under a small picture."""
    low = "low: " if card["low"] else ""
    state = "" if card["state"] == "accepted" else card["state"]
    scores = "" if card["d"] is None else f"{low}D {number(card['d'])} S {number(card['s'])}"
    return " · ".join(filter(None, (card["name"], state, scores, card["split"])))


def address(base: str, card: Json) -> str:
    """Returns where the four small pictures of a sample lie; a click tells its id by it."""
    shas = [card[key] or "none" for key in ("image_sha", "mask_sha", "background_sha")]
    return f"{base}quad/{'/'.join(shas)}.png?sample={card['id']}"


def sample(one: Json, place: str) -> Markup:
    """Shows a sample's four pictures, what made them, and where it stands in the list."""
    picked = None if one["picked_try"] is None else one["tries"][one["picked_try"]]
    layer = f"forgetme/sample/{one['id']}/{one['layers']}/{{}}.png" if one["mask"] else None
    sources = {
        "original": one["image_sha"] and f"forgetme/picture/{one['image_sha']}.png",
        "foreground": layer and layer.format("foreground"),
        "background": picked and f"forgetme/picture/{picked['image_sha']}.png",
        "mask": layer and layer.format("mask"),
    }
    shown = Markup("").join(_layer(name, sources[name]) for name in LAYERS)
    head = Markup('<h2>{}</h2><p class="fm-muted">{} · {}</p>').format(
        one["name"], place, markup.sample_link(one["id"], "open in Curate")
    )
    return head + Markup('<div class="fm-layers">{}</div>').format(shown) + _facts(one, picked)


def _layer(name: str, source: str | None) -> Markup:
    if not source:
        return Markup("<figure><span>none yet</span><figcaption>{}</figcaption></figure>").format(
            name
        )
    return Markup(
        '<figure><a href="{}" target="_blank" class="{}" title="{} in its own size">'
        '<img src="{}" alt="{}"></a><figcaption>{}</figcaption></figure>'
    ).format(source, "fm-checks" if name == "foreground" else "", name, source, name, name)


def _facts(one: Json, picked: Json | None) -> Markup:
    made = picked or {}
    settings, scores = made.get("settings") or {}, made.get("scores") or {}
    prompt = settings.get("prompt")
    low = ": low" if one["low"] else ""
    lines = [
        ("concept", one["concept"]),
        ("state", _state(one)),
        ("Entangled", picked and f"D {number(one['d'])}, S {number(one['s'])}{low}"),
        ("scores say", "; ".join(scores.get("words") or ())),
        ("filled by", made.get("made_by")),
        ("prompt", prompt),
        ("negative prompt", settings.get("negative_prompt")),
        ("seed", settings.get("seed") if prompt else None),
        ("caption", one["caption"]),
        ("source", one["source"]),
        ("size", one["width"] and f"{one['width']} × {one['height']} px"),
        ("comment", one["comment"]),
        ("trouble", one["error"]),
    ]
    shown = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(word, value)
        for word, value in lines if value not in (None, "")
    )  # fmt: skip
    return Markup('<dl class="fm-pairs">{}</dl>').format(shown)


def _state(one: Json) -> str:
    if not one["decided_by"]:
        return one["state"]
    if one["decided_how"] == "policy":
        return f"{one['state']} by the batch policy ({one['decided_by']})"
    return f"{one['state']} by {one['decided_by']}"


# ------------------------------ exports and jobs


def kept(exports: Sequence[Json]) -> Markup:
    """Lists the exports, each with its .zip."""
    line = ('<strong>{}</strong> <a href="forgetme/api/data/exports/{}.zip" download>.zip</a><br>'
            '<span class="fm-muted" title="{}, {} files">{} · {} · {}</span>')  # fmt: skip
    return markup.items(
        Markup(line).format(one["name"], one["name"], one["folder"], one["files"], one["format"],
                            size(one["bytes"]), markup.ago(one["at"]))
        for one in exports
    )  # fmt: skip


def size(count: int) -> str:
    """Returns a number of bytes in the unit that fits it.

    Example:
        >>> size(512), size(1_234_567), size(45_600_000)
        ('512 B', '1.2 MB', '46 MB')
    """
    value, unit = float(count), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{int(unit > 0 and value < 10)}f} {UNITS[unit]}"


def shown_jobs(found: Sequence[Json], kind: str) -> list[Json]:
    """Returns the last job of a kind, and all that are still open."""
    mine = [one for one in found if one["kind"] == kind]
    return [one for at, one in enumerate(mine) if at == 0 or one["state"] not in jobs.ENDED]


def job(one: Json) -> Markup:
    """Shows how far a job is, or what it did."""
    over, trouble = one["state"] in jobs.ENDED, one["trouble"]
    left = one["seconds_left"]
    if over:
        words = trouble or _outcome(one)
    else:
        told = [f"{one['step']} of {one['total']}" if one["total"] else "", one["words"],
                f"{markup.span(left)} left" if left is not None else ""]  # fmt: skip
        words = " · ".join(filter(None, told)) or "starting"
    bar = Markup('<progress max="{}" value="{}" aria-label="Steps"></progress>')
    return Markup(
        '<p><strong>{}</strong> <span class="fm-state" data-state="{}">{}</span></p>{}'
        '<p class="{}">{}</p>{}'
    ).format(
        _title(one), one["state"], STATES[one["state"]],
        "" if over else bar.format(one["total"] or 1, one["step"]),
        "fm-problem" if over and trouble else "fm-muted", words, _dataset_card(one),
    )  # fmt: skip


def _dataset_card(one: Json) -> Markup:
    found = (one["result"] or {}).get("card")
    shown = Markup("<details><summary>the card</summary><pre>{}</pre></details>")
    return shown.format(found) if found else Markup("")


def _title(one: Json) -> str:
    asked = one["arguments"]
    if one["kind"] == "push":
        return f"{'dry run of push' if asked.get('dry_run') else 'push'} to {asked.get('repo')}"
    return f"{one['kind']} {asked.get('name', '')} ({asked.get('format', '')})"


def _outcome(one: Json) -> str:
    """Returns one line on what an ended job achieved."""
    result = one["result"] or {}
    if one["state"] == "stopped":
        return STOPPED[one["kind"]]
    if "repo" in result:
        return _pushed(result)
    if "exported" in result:
        left = result.get("left_out")
        out = f"; left out: {', '.join(left)}" if left else ""
        return f"{result['exported']} quadruples{out}. Load it: {result['load']}"
    if "imported" in result:
        failed = result.get("failed")
        out = f"; not read: {', '.join(failed)}" if failed else ""
        return f"{result['imported']} imported, {result['there_already']} there already{out}"
    return STATES[one["state"]]


def _pushed(result: Json) -> str:
    """Says what a push sent, or would send."""
    sizes = result["files"].values()
    total = f"{result['exported']} quadruples in {len(sizes)} files, {size(sum(sizes))}"
    if result["dry_run"]:
        return f"A push would send {total}. Nothing was sent."
    if not result["changed"]:
        return f"Nothing to change: {result['url']} has it all."
    return f"{total}, {'private' if result['private'] else 'public'}: {result['url']}"
