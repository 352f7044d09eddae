"""A comparison as one HTML file that needs nothing else: pictures inside, no script to read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape as e
from typing import Any

from forgetme.compare.chart import charts
from forgetme.compare.looks import CSS, SCRIPT
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
    parts = [
        _head(table), _summary(table), _troubles(table), _side_by_side(table, files),
        _sweep(table, files), _published(table), _legend(table), _making(table),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{e(table['title'])} · ForgetMe</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _head(table: Table) -> str:
    facts = {
        "concept": table["concept"],
        "pictures": len(table["rows"]),
        "preset": table["preset"],
        "seed": table["seed"],
        "made": table["made"][:16].replace("T", " ") + " UTC",
    }
    chips = "".join(
        f"<li><span>{e(name)}</span> {e(str(value))}</li>" for name, value in facts.items()
    )
    return (
        '<header><p class="brand">ForgetMe</p>'
        f'<h1>{e(table["title"])}</h1><ul class="chips">{chips}</ul></header>\n<main>'
    )


def _summary(table: Table) -> str:
    heads = "".join(
        f'<th scope="col" title="{e(one["words"])}">{e(one["title"])}'
        f'&nbsp;<span class="way" aria-label="{_way(one)}">{_arrow(one)}</span>'
        f"{_variant(one)}</th>"
        for one in table["scores"]
    )
    best = {one["key"]: best_keys(table, one) for one in table["scores"]}
    lines = []
    for column in table["columns"]:
        found = table["summary"][column["key"]]
        cells = "".join(
            _mean(found.get(one["key"]), one, column["key"] in best[one["key"]])
            for one in table["scores"]
        )
        lines.append(f'<tr><th scope="row">{e(column["title"])}</th>{cells}</tr>')
    return (
        "<section><h2>Means</h2>"
        '<p class="muted">Mean over the pictures with its 95 % interval below; ↑ higher is better, '
        "↓ lower is better. Below a name: its variant, or whose features.</p>"
        f'<p class="muted">{e(caveat({one["key"] for one in table["columns"]}))}</p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="Means of each fill">'
        f'<table class="means"><thead><tr><th scope="col">Fill</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _mean(found: Mapping[str, Any] | None, score: Mapping[str, Any], is_best: bool) -> str:
    if found is None or found["mean"] is None:
        why = "" if found is None else f' title="{e(found["warning"] or "")}"'
        return f"<td{why}>–</td>"
    digits = score["digits"]
    between = (
        ""
        if found["low"] is None
        else f"<small>{rounded(found['low'], digits)} … {rounded(found['high'], digits)}</small>"
    )
    sign = ""
    if found["warning"]:
        sign = f'<abbr class="warn" title="{e(found["warning"])}">!</abbr>'
    text = rounded(found["mean"], digits)
    text = f"<strong>{text}</strong>" if is_best else text
    return f"<td>{text}{sign}{between}</td>"


def _troubles(table: Table) -> str:
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
    lines += [f"{warning} to trust {', '.join(titles)}." for warning, titles in few.items()]
    if not lines:
        return ""
    told = "".join(f"<li>{e(line)}</li>" for line in lines)
    return f'<section class="told"><h2>Mind</h2><ul>{told}</ul></section>'


def _side_by_side(table: Table, files: Files) -> str:
    has_truth = any(row["truth"] for row in table["rows"])
    names = ["Original", "Hole", *(["Truth"] if has_truth else [])]
    heads = "".join(
        f'<th scope="col">{e(name)}</th>'
        for name in [*names, *(column["title"] for column in table["columns"])]
    )
    shown = list(enumerate(table["rows"]))[:SHOWN_ROWS]
    body = "".join(_row(table, index, row, files, has_truth) for index, row in shown)
    left_out = len(table["rows"]) - len(shown)
    more = f" The other {left_out} are in pictures/ and table.csv." if left_out else ""
    return (
        '<section><div class="bar"><h2>Side by side</h2>'
        f'<label class="sort" hidden>Sort by <select>{_sorting(table)}</select></label></div>'
        f'<p class="muted">D and S are Entangled in the paper\'s variant, the same seed in all '
        f'columns.{more}</p><div class="wide" tabindex="0" role="region" '
        f'aria-label="Pictures of each fill"><table class="pictures"><thead><tr>{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table></div></section>"
    )


def _row(table: Table, index: int, row: Mapping[str, Any], files: Files, has_truth: bool) -> str:
    names = ["original", "mask", *(["truth"] if has_truth else [])]
    words = {"original": row["name"], "mask": "what is filled", "truth": "really behind it"}
    cells = [
        f"<td>{image(row[name], files, name + ' of ' + row['name'])}"
        f'<span class="name">{e(words[name])}</span></td>'
        for name in names
    ]
    values = {}
    for column in table["columns"]:
        cell = table["cells"][column["key"]][index]
        alt = f"{column['title']}: {row['name']}"
        cells.append(f"<td>{_cell(cell, files, alt)}</td>")
        for key in SORTED_BY:
            values[f"{column['key']} {key}"] = cell["scores"].get(key)
    data = e(json.dumps(values, separators=(",", ":")))
    return f'<tr data-values="{data}">{"".join(cells)}</tr>'


def _cell(cell: Mapping[str, Any], files: Files, alt: str) -> str:
    if cell["error"]:
        return f'<p class="none" title="{e(cell["error"])}">no picture</p>'
    found = cell["scores"]
    line = f"D {rounded(found['entangled_d'], 2)} · S {rounded(found['entangled_s'], 2)}"
    if found.get("truth_rmse") is not None:
        line += f" · error {rounded(found['truth_rmse'], 2)}"
    signs = []
    told = {
        "the concept is seen": found.get("still_seen") == 1,
        "a smear": found.get("smear") == 1,
        "a seam": found.get("seam") == 1,
    }
    signs += [f'<span class="bad">{words}</span>' for words, is_so in told.items() if is_so]
    signs += [f'<span class="warn">! {e(words)}</span>' for words in cell["warnings"]]
    words = f'<span class="words">{e(cell["words"])}</span>' if cell["words"] else ""
    return f'{image(cell["picture"], files, alt)}<span class="numbers">{line}</span>' + (
        words + "".join(signs)
    )


def _sorting(table: Table) -> str:
    titles = {one["key"]: one["title"] for one in table["scores"]}
    groups = ['<option value="">as they came</option>']
    for column in table["columns"]:
        options = "".join(
            f'<option value="{e(column["key"])} {key}">{e(titles[key])}, lowest first</option>'
            for key in SORTED_BY
            if key in titles
        )
        groups.append(f'<optgroup label="{e(column["title"])}">{options}</optgroup>')
    return "".join(groups)


def _sweep(table: Table, files: Files) -> str:
    found = table["sweep"]
    if found is None:
        return ""
    heads = "".join(f'<th scope="col">α {scale}</th>' for scale in found["scales"])
    lines = []
    for row, pictures in zip(found["rows"], found["pictures"], strict=True):
        name = table["rows"][row]["name"]
        cells = "".join(
            f"<td>{image(one, files, f'{name} at scale {scale}')}</td>"
            for one, scale in zip(pictures, found["scales"], strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    return (
        f"<section><h2>Scale sweep: {e(found['run'])}</h2>"
        '<p class="muted">One patch worn at each scale, none at 0, inpainting with one seed '
        f"({_count(len(found['rows']))}). Bands are 95 % intervals; the dashed line is the "
        "paper's own Table 3, on its data.</p>"
        f"{charts(table)}"
        '<div class="wide" tabindex="0" role="region" aria-label="Pictures at each scale">'
        f'<table class="pictures sweep"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _published(table: Table) -> str:
    rows = [one for one in table["published"] if one["source"].endswith("Table 2")]
    if not rows:
        return ""
    titles = {one["key"]: one["title"] for one in table["scores"]} | {"fid": "FID"}
    keys = list(dict.fromkeys(one["score"] for one in rows))
    value = {(one["label"], one["score"]): one["value"] for one in rows}
    heads = "".join(f'<th scope="col">{e(titles.get(key, key))}</th>' for key in keys)
    lines = "".join(
        f'<tr><th scope="row">{e(label)}</th>'
        + "".join(f"<td>{value[label, key]:.4f}</td>" for key in keys)
        + "</tr>"
        for label in dict.fromkeys(one["label"] for one in rows)
    )
    variant = next(one["variant"] for one in rows if one["score"].startswith("entangled"))
    return (
        "<section><h2>Published by others</h2>"
        f'<p class="muted">ForgetMe, Table 2: theirs, on their pictures and models; Entangled in '
        f"the variant “{e(variant)}”. Their “Ours” is the dataset's own pipeline. Never compare "
        "them with ours in the variant “paper”.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Published means">'
        f'<table class="means"><thead><tr><th scope="col">Model</th>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></section>"
    )


def _legend(table: Table) -> str:
    lines = "".join(
        f"<dt>{e(one['title'])} {_arrow(one)}{_variant(one)}</dt><dd>{e(one['words'])}</dd>"
        for one in table["scores"]
    )
    return f'<section><h2>How to read the scores</h2><dl class="legend">{lines}</dl></section>'


def _making(table: Table) -> str:
    lines = "".join(
        f"<dt>{e(one['title'])}</dt><dd>{e(one['made_by'] or 'not loaded')}"
        f"<code>{e(', '.join(_settings(one['settings'])))}</code></dd>"
        for one in table["columns"]
    )
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    return (
        f'<section><h2>How it was made</h2><dl class="legend">{lines}</dl>'
        f'<p class="muted">{e(versions)}</p></section>'
    )


def _count(pictures: int) -> str:
    return "1 picture" if pictures == 1 else f"{pictures} pictures"


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        if value not in ("", None):
            yield f"{name} {json.dumps(value, ensure_ascii=False)}"


def _variant(score: Mapping[str, Any]) -> str:
    return f'<small class="variant">{e(score["variant"])}</small>' if score["variant"] else ""


def _arrow(score: Mapping[str, Any]) -> str:
    return "↑" if score["higher_is_better"] else "↓"


def _way(score: Mapping[str, Any]) -> str:
    return "higher is better" if score["higher_is_better"] else "lower is better"
