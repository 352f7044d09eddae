"""The means of a comparison as LaTeX tables (booktabs), ours and the paper's apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgetme.compare.scores import SHARES
from forgetme.compare.summing import best_keys, caveat, rounded

Table = Mapping[str, Any]
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "α": r"$\alpha$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_ARROWS = {True: r"$\uparrow$", False: r"$\downarrow$"}


def latex_table(table: Table) -> str:
    """Returns two tables: the means with half their 95 % interval, and the paper's.

    Args:
        table: as `table.json` has it.
    """
    return "% needs \\usepackage{booktabs}\n" + _ours(table) + "\n" + _theirs(table)


def escaped(text: str) -> str:
    """Returns text that LaTeX prints as it stands."""
    return "".join(_SPECIAL.get(char, char) for char in text)


def _ours(table: Table) -> str:
    scores = [one for one in table["scores"] if _is_shown(one)]
    heading = [f"{_title(one)}{_ARROWS[one['higher_is_better']]}" for one in scores]
    best = {one["key"]: best_keys(table, one) for one in scores}
    lines = []
    for column in table["columns"]:
        summary = table["summary"][column["key"]]
        cells = []
        for one in scores:
            text = _mean(summary.get(one["key"]), one)
            bold = column["key"] in best[one["key"]]
            cells.append(rf"\textbf{{{text}}}" if bold else text)
        lines.append([escaped(column["title"]), *cells])
    n = len(table["rows"])
    caption = (
        f"Fills of {n} pictures of {escaped(table['concept'])}, preset {table['preset']}, seed "
        f"{table['seed']}; means, $\\pm$ half the 95\\,\\% bootstrap interval, of shares Wilson's. "
        "Entangled is of the paper's printed equations. "
    ) + escaped(caveat({one["key"] for one in table["columns"]}))
    return tabular(["Fill", *heading], lines, caption)


def _theirs(table: Table) -> str:
    rows = [one for one in table["published"] if one["source"].endswith("Table 2")]
    names = {score["key"]: score["title"] for score in table["scores"]} | {"fid": "FID"}
    keys = list(dict.fromkeys(one["score"] for one in rows))
    value = {(one["label"], one["score"]): one["value"] for one in rows}
    lines = [
        [escaped(label), *(f"{value[label, key]:.4f}" for key in keys)]
        for label in dict.fromkeys(one["label"] for one in rows)
    ]
    caption = (
        "Published in ForgetMe, Table 2: other pictures and models; the variant of Entangled is "
        "that of the released code or unknown, so these are not comparable with ours."
    )
    return tabular(["Model", *(escaped(names.get(key, key)) for key in keys)], lines, caption)


def _is_shown(score: Mapping[str, Any]) -> bool:
    return score["variant"] != "released" and score["key"] != "memory_mb"


def _title(score: Mapping[str, Any]) -> str:
    return escaped(score["title"])


def _mean(found: Mapping[str, Any] | None, score: Mapping[str, Any]) -> str:
    if found is None or found["mean"] is None:
        return "--"
    digits = score["digits"]
    text, low, high = (rounded(found[name], digits) for name in ("mean", "low", "high"))
    if found["low"] is None:
        return text
    if score["key"] in SHARES:  # an interval of a share is not the same on both sides
        return f"{text} [{low}, {high}]"
    return f"{text}$\\pm${(found['high'] - found['low']) / 2:.{digits}f}"


def tabular(heading: Sequence[str], lines: Sequence[Sequence[str]], caption: str) -> str:
    """A table with a caption, from cells that LaTeX can print as they are."""
    body = "\n".join(" & ".join(line) + r" \\" for line in lines)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{caption}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(heading) - 1)}}}\n\\toprule\n"
        f"{' & '.join(heading)} \\\\\n\\midrule\n{body}\n\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )
