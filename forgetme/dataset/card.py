"""The dataset card: what the Hub reads (YAML), and what people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetme.dataset.parquet import features
from forgetme.dataset.quadruple import Record
from forgetme.dataset.splits import SPLITS
from forgetme.errors import ForgetmeError
from forgetme.record.markdown import plain, table
from forgetme.store import ConceptStats

BEGIN = "<!-- forgetme: written by the push; text between these two lines is replaced -->"
END = "<!-- forgetme: end -->"
UNKNOWN_LICENSE = "unknown"

_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
_COLUMNS = {
    "original": "the picture",
    "foreground": "the same pixels, transparent outside the mask (RGBA)",
    "background": "the picture without the concept",
    "mask": "255 on the concept, 0 elsewhere",
    "concept": "what is to be forgotten",
    "entangled_d, entangled_s": "Entangled, paired and unpaired; higher is better",
    "variant, low, low_d, low_s": "which formula, whether a score is low, and the thresholds",
    "segmented_by, verified_by, inpainted_by": "the models, or who drew the mask",
    "prompt, negative_prompt, seed": "of the fill, where it took a prompt",
    "decided_by, decided_how": "who accepted it: a person, or the policy of a batch",
    "provenance": "JSON: settings, scores with their parts, versions, mask that was filled",
}


@dataclass(frozen=True)
class Shards:
    """Sizes of one split's files.

    Attributes:
        rows: number of quadruples.
        file_bytes: size of the files.
        row_bytes: size of the rows in memory.
    """

    rows: int
    file_bytes: int
    row_bytes: int


def shards(folder: Path) -> dict[str, Shards]:
    """Measures the parquet files of each split that has some."""
    import pyarrow.parquet as pq

    found = {}
    for split in SPLITS:
        paths = sorted((folder / "data").glob(f"{split}-*.parquet"))
        metadata = [pq.read_metadata(path) for path in paths]
        if paths:
            found[split] = Shards(
                rows=sum(one.num_rows for one in metadata),
                file_bytes=sum(path.stat().st_size for path in paths),
                row_bytes=sum(
                    one.row_group(group).total_byte_size
                    for one in metadata
                    for group in range(one.num_row_groups)
                ),
            )
    return found


def card(
    repo: str,
    records: Sequence[Record],
    stats: Sequence[ConceptStats],
    sizes: dict[str, Shards],
    *,
    license: str | None = None,  # noqa: A002 (the card's own word)
    existing: str | None = None,
) -> str:
    """Writes README.md; keys and text that somebody added to an earlier one are kept.

    Args:
        repo: "user/name".
        records: of all quadruples.
        stats: Table 1.
        sizes: of each split.
        license: identifier as the Hub lists them; None = that of the earlier card, or unknown.
        existing: README.md that is there.

    Raises:
        ForgetmeError: the earlier card cannot be read.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    kept, text = {}, ""
    try:
        if existing:
            before = DatasetCard(existing)
            kept, text = before.data.to_dict(), before.text
    except Exception as error:  # ValueError, or one of its YAML library
        raise ForgetmeError(
            f"the README.md of {repo} has a damaged head ({error}); mend it on the Hub, then push"
        ) from error
    data = {
        **_head(repo, len(records), sizes),
        **{key: kept[key] for key in kept if key not in _OURS},
    }
    _keep_configs(data, kept)
    data["license"] = license or kept.get("license") or UNKNOWN_LICENSE
    data["tags"] = list(dict.fromkeys([*_TAGS, *(kept.get("tags") or [])]))
    body = _around(text, _body(repo, records, stats, sizes, data["license"]))
    return f"---\n{DatasetCardData(**data).to_yaml()}\n---\n{body}"


_TAGS = ("forgetme", "machine-unlearning", "concept-removal", "inpainting")
_OURS = ("size_categories", "configs", "dataset_info", "license", "tags")


def _head(repo: str, count: int, sizes: dict[str, Shards]) -> dict[str, Any]:
    columns = [
        {"name": name, "dtype": one.get("dtype") or "image"} for name, one in features().items()
    ]
    return {
        "pretty_name": repo.rpartition("/")[2],
        "task_categories": ["image-segmentation", "image-to-image"],
        "size_categories": [next((w for n, w in _SIZES.items() if count < n), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in sizes],
            }
        ],
        "dataset_info": {
            "features": columns,
            "splits": [
                {"name": split, "num_bytes": one.row_bytes, "num_examples": one.rows}
                for split, one in sizes.items()
            ],
            "download_size": sum(one.file_bytes for one in sizes.values()),
            "dataset_size": sum(one.row_bytes for one in sizes.values()),
        },
    }


def _keep_configs(data: dict[str, Any], kept: dict[str, Any]) -> None:
    """Takes over what somebody else declared: other configs, and more of the one that is ours."""
    ours = data["configs"][0]
    for config in _dicts(kept.get("configs")):
        if config.get("config_name", "default") != "default":
            data["configs"].append(config)
            continue
        files = [one for one in _dicts(config.get("data_files")) if one.get("split") not in SPLITS]
        data["configs"][0] = {**config, **ours, "data_files": [*ours["data_files"], *files]}
    before = kept.get("dataset_info")
    infos = [
        info
        for info in _dicts([before] if isinstance(before, dict) else before)
        if info.get("config_name", "default") != "default"
    ]
    if infos:
        data["dataset_info"] = [{"config_name": "default", **data["dataset_info"]}, *infos]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _around(before: str, body: str) -> str:
    """Puts our text in the place of our earlier text; all around it stays."""
    ours = f"{BEGIN}\n{body}\n{END}"
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if begin and end:
        return f"{head.lstrip()}{ours}{tail}"
    return f"{ours}\n\n{before.lstrip()}" if before.strip() else f"{ours}\n"


def _body(
    repo: str,
    records: Sequence[Record],
    stats: Sequence[ConceptStats],
    sizes: dict[str, Shards],
    license: str,  # noqa: A002
) -> str:
    concepts = Counter(record.concept for record in records)
    named = ", ".join(f"{plain(concept)} ({count})" for concept, count in concepts.items())
    return "\n\n".join(
        [
            f"# {repo.rpartition('/')[2]}",
            f"{len(records)} quadruples for unlearning a concept: the original picture, the "
            "concept cut out of it, the picture without the concept, and the mask. "
            f"Concepts: {named}.",
            f'```python\nfrom datasets import load_dataset\n\ndata = load_dataset("{repo}")\n```',
            "## Splits",
            table(
                ("split", "quadruples", "MB"),
                [(s, one.rows, f"{one.file_bytes / 1e6:.1f}") for s, one in sizes.items()],
            ),
            "A sample's split is a hash of its photo, so it stays when the dataset grows, and all "
            "samples of one photo are in one split.",
            "## Counts and scores",
            _table1(stats),
            "## How it was made",
            _made(records),
            "## Columns",
            table(("column", "what"), list(_COLUMNS.items())),
            "## Licence",
            _licence(license),
        ]
    )


def _table1(stats: Sequence[ConceptStats]) -> str:
    def score(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    lines = [
        (
            plain(one.concept), one.images, one.selected, f"{one.success_percent:.2f} %",
            score(one.mean_d), score(one.mean_s), one.variant or "-", one.human, one.policy,
        )
        for one in stats
    ]  # fmt: skip
    heads = (
        "concept", "images", "accepted", "accepted of images", "mean Entangled-D",
        "mean Entangled-S", "variant", "accepted by people", "by the policy",
    )  # fmt: skip
    return table(heads, lines)


def _made(records: Sequence[Record]) -> str:
    steps = {
        "Masks": Counter(record.segmented_by for record in records),
        'Asked "is this the concept?"': Counter(r.verified_by or "nobody" for r in records),
        "Holes filled": Counter(record.inpainted_by for record in records),
    }
    lines = [
        f"- {what}: " + ", ".join(f"{plain(name)} ({count})" for name, count in made.most_common())
        for what, made in steps.items()
    ]
    how = Counter(record.decided_how for record in records)
    lines.append(f"- Accepted: {how['human']} by people, {how['policy']} by the policy of a batch")
    low = sum(record.low for record in records)
    lines.append(f"- Low scores that were accepted all the same: {low}")
    small = sum(record.details.get("preset") == "tiny" for record in records)
    if small:
        lines.append(
            f"- **{small} of {len(records)} were made with the small bundled models**, which are "
            "there to try things out; take no conclusion from them"
        )
    return "\n".join(lines)


def _licence(license: str) -> str:  # noqa: A002
    pictures = "The pictures keep the licence of where they come from; see the column `source`."
    if license == UNKNOWN_LICENSE:
        return f"No licence was stated by who pushed this dataset. {pictures}"
    return f"Masks, fills and scores: {plain(license)}. {pictures}"
