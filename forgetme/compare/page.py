"""A comparison as one HTML file that needs nothing else; its template is `report.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from forgetme.compare.chart import charts
from forgetme.compare.summing import best_keys, caveat, rounded
from forgetme.compare.thumbs import Files, image

SHOWN_ROWS = 60  # rows with pictures; the folder and the CSV have all
SORTED_BY = ("entangled_d", "entangled_s", "clip_distance", "truth_rmse")

Table = Mapping[str, Any]


def html_page(table: Table, files: Files) -> str:
    """Returns the page.

    Args:
        table: as `table.json` has it.
        files: file of each picture that it names.
    """
    pages = Environment(
        loader=PackageLoader("forgetme.compare", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["rounded"] = rounded
    titles = {one["key"]: one["title"] for one in table["scores"]}
    return pages.get_template("report.html").render(
        table,
        as_json=partial(json.dumps, ensure_ascii=False),
        best={one["key"]: best_keys(table, one) for one in table["scores"]},
        caveat=caveat({one["key"] for one in table["columns"]}),
        charts=Markup(charts(table)) if table["sweep"] else "",
        has_truth=any(row["truth"] for row in table["rows"]),
        image=lambda name, alt: Markup(image(name, files, alt)),
        shown=SHOWN_ROWS,
        sorted_by=[{"key": key, "title": titles[key]} for key in SORTED_BY if key in titles],
        sorting=partial(_sorting, table),
        theirs=_published(table),
        troubles=_troubles(table),
    )


def _troubles(table: Table) -> list[str]:
    """Says what a reader must mind: fills without pictures, scores of too few."""
    lines = []
    for column in table["columns"]:
        cells = table["cells"][column["key"]]
        errors = [cell["error"] for cell in cells if cell["error"]]
        if errors:
            much = "no picture" if len(errors) == len(cells) else f"{len(errors)} without picture"
            lines.append(f"{column['title']}: {much}. {errors[0]}")
    few: dict[str, dict[str, None]] = {}  # scores by warning, each once
    for one in table["scores"]:
        for found in table["summary"].values():
            warning = (found.get(one["key"]) or {}).get("warning")
            if warning and "too small" in warning:
                few.setdefault(warning, {})[one["title"]] = None
    return lines + [f"{warning} to trust {', '.join(titles)}." for warning, titles in few.items()]


def _sorting(table: Table, index: int) -> str:
    """What the script sorts a row by."""
    values = {
        f"{column['key']} {key}": table["cells"][column["key"]][index]["scores"].get(key)
        for column in table["columns"]
        for key in SORTED_BY
    }
    return json.dumps(values, separators=(",", ":"))


def _published(table: Table) -> dict[str, Any] | None:
    """The paper's Table 2, where the comparison stands beside it."""
    rows = [one for one in table["published"] if one["source"].endswith("Table 2")]
    if not rows:
        return None
    titles = {one["key"]: one["title"] for one in table["scores"]} | {"fid": "FID"}
    keys = list(dict.fromkeys(one["score"] for one in rows))
    value = {(one["label"], one["score"]): one["value"] for one in rows}
    return {
        "titles": [titles.get(key, key) for key in keys],
        "lines": {
            label: [value[label, key] for key in keys]
            for label in dict.fromkeys(one["label"] for one in rows)
        },
        "variant": next(o["variant"] for o in rows if o["score"].startswith("entangled")),
    }
