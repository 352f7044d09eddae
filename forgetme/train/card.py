"""The model card of a patch: what was forgotten, how, how well, and how to wear it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetme.metrics.summary import wilson
from forgetme.record.images import atomic_write
from forgetme.record.markdown import plain, table
from forgetme.stages.published import PUBLISHED
from forgetme.store.names import safe_stem
from forgetme.train.folder import LOG, rows_of
from forgetme.train.methods import METHODS
from forgetme.train.patch import read_patch
from forgetme.train.probe import GUIDANCE, PARAPHRASES, TEMPLATES, WORDS, mean_over
from forgetme.train.probe import STEPS as PROBE_STEPS

CARD = "README.md"
PICTURES = "pictures"
SHOWN = 3  # concepts with pictures: what is forgotten, a neighbour, something nothing holds
TAGS = ("forgetme", "machine-unlearning", "concept-removal", "stable-diffusion")
LICENSES = {"sd15": "creativeml-openrail-m", "tiny/diffusion": "apache-2.0"}
UNKNOWN_LICENSE = "unknown"
BUNDLED = "tiny/diffusion"

Json = dict[str, Any]


@dataclass(frozen=True)
class _Told:
    """What a card is written from.

    Attributes:
        record: of the patch.
        first, last: its probes at step 0 and at the end, if there were any.
        pictures: (concept, file before, file after), names in the card's folder.
    """

    record: Json
    first: Json | None
    last: Json | None
    pictures: tuple[tuple[str, str, str], ...]


def write_card(
    run: Path,
    *,
    repo: str | None = None,
    license: str | None = None,  # noqa: A002 (the card's own word)
    into: Path | None = None,
) -> Path:
    """Writes README.md and its pictures beside the patch of a run.

    Args:
        run: folder of the run.
        repo: "user/name" where it will be found; None = it is told for the folder.
        license: identifier as the Hub lists them; None = that of the base model.
        into: another folder to write to.

    Returns:
        The card.

    Raises:
        ForgetmeError: the run has no patch.
    """
    patch = read_patch(run)
    probes, folder = _probes(run), into or patch.folder
    told = _Told(
        patch.record,
        probes[0] if probes and probes[0]["step"] == 0 else None,
        probes[-1] if probes and probes[-1]["step"] > 0 else None,
        _copy_pictures(run, patch.record, folder),
    )
    path = folder / CARD
    atomic_write(path, _text(told, repo, license).encode())
    return path


def _text(told: _Told, repo: str | None, license: str | None) -> str:  # noqa: A002
    """Puts the text together: YAML for the Hub, Markdown for people."""
    from huggingface_hub import ModelCardData

    record = told.record
    license = license or LICENSES.get(_label(record), UNKNOWN_LICENSE)  # noqa: A001
    head = {
        "license": license,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": [*TAGS, record["method"], *(["lora"] if record["trains"] == "lora" else [])],
        **({"base_model": _published(record)} if _published(record) else {}),
        **({"base_model_relation": "adapter"} if _published(record) else {}),
    }
    body = "\n\n".join(
        [
            f"# {plain(record['concept'])}, forgotten by {plain(record['method'])}",
            _opening(record),
            "## How well",
            _scores(told),
            *_shown(told),
            "## How to wear it",
            _wearing(record, repo),
            "## How it was made",
            _made(record),
            "## Limits",
            _limits(record, told),
        ]
    )
    return f"---\n{ModelCardData(**head).to_yaml()}\n---\n{body}\n"


def _opening(record: Json) -> str:
    method = METHODS.get(record["method"])
    words = f" {method.words} Source: {method.source}." if method else ""
    stopped = ""
    if record["steps_done"] < record["steps"]:
        stopped = (
            f" **The run was stopped after {record['steps_done']} of {record['steps']} steps.**"
        )
    return (
        f"A patch for `{record['base'] or 'a Stable Diffusion model'}` that makes it forget "
        f'**{plain(record["concept"])}**: asked for "{plain(_prompt(record))}", it draws '
        f"something else.{words}{stopped}"
    )


def _scores(told: _Told) -> str:
    if told.last is None:
        return "Nothing was measured: the run was made without probes."
    record, first, last = told.record, told.first or {}, told.last
    before, after, n = first.get("by_concept", {}), last["by_concept"], last["n"]
    keep, watch = record["keep"], record.get("watch", ())
    second = last.get("second")
    lines = []
    for name in after:
        aim = "keep, held by nothing" if name in watch else "keep"
        aim = "forget: lower is better" if name == record["concept"] else f"{aim}: higher is better"
        seen = [_share(before.get(name), n), _share(after[name], n)]
        lines.append((plain(name), aim, *seen, *_also(second, [name], n)))
    for words, names in (("all that was held", keep), ("**all that nothing held**", watch)):
        found = [name for name in names if name in after]
        if len(found) > 1:
            seen = [_mean(shares, found, n) for shares in (before, after)]
            lines.append((words, "keep: higher is better", *seen, *_also(second, found, n)))
    heads = ("concept", "aim", "before", "after", *(["after, second recogniser"] * bool(second)))
    prompts = ", ".join(f'"{one.format("…")}"' for one in TEMPLATES)
    return (
        "Share of pictures in which the concept is recognised, before and after.\n\n"
        + table(heads, lines)
        + f"\n\n{n} pictures of each concept, seeds 0 to {n - 1}, {PROBE_STEPS} steps, guidance "
        f"{GUIDANCE:g}, from prompts that no training saw: {prompts}. What a picture shows is the "
        f"likeliest of {len(WORDS)} words and the concepts asked for, by a zero-shot recogniser."
        + _otherwise(record["concept"], first, last)
        + ("" if watch else " Nothing was left out of the training, so what is kept was held.")
    )


def _otherwise(concept: str, first: Json, last: Json) -> str:
    """Says what is seen where the concept is asked for in other words."""
    if last.get("otherwise") is None:
        return ""
    n, said = last["n"], ", ".join(f'"{one.format("…")}"' for one in PARAPHRASES)
    seen = [_share(one.get("otherwise"), n) for one in (first, last)]
    also = ""
    if last.get("second_otherwise") is not None:
        also = f"; by a second recogniser in {_share(last['second_otherwise'], n)}"
    return (
        f" Asked for otherwise ({said}), {plain(concept)} is recognised in {seen[0]} before and "
        f"{seen[1]} after{also}."
    )


def _share(value: float | None, n: int) -> str:
    if value is None:
        return "-"
    low, high = wilson(round(value * n), n)
    return f"{100 * value:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def _mean(shares: Json, names: Sequence[str], n: int) -> str:
    return _share(mean_over(shares, names), n * sum(name in shares for name in names))


def _also(second: Json | None, names: Sequence[str], n: int) -> list[str]:
    """The column of the second recogniser, where there is one."""
    return [] if second is None else [_mean(second, names, n)]


def _shown(told: _Told) -> list[str]:
    if not told.pictures:
        return []
    lines = [
        (plain(name), f"![{plain(name)} before]({old})", f"![{plain(name)} after]({new})")
        for name, old, new in told.pictures
    ]
    return ["Same prompts, same seeds:", table(("", "before", "after"), lines)]


def _wearing(record: Json, repo: str | None) -> str:
    published, place = _published(record), repo or "FOLDER"
    if _label(record) == BUNDLED:
        opening = 'from forgetme import load_models\n\npipe = load_models("tiny").diffusion.pipe\n'
    else:
        base = published or "the base model's folder"
        opening = (
            "from diffusers import StableDiffusionPipeline\n\n"
            f'pipe = StableDiffusionPipeline.from_pretrained("{base}")\n'
        )
    if record["trains"] == "lora":
        code = (
            f'{opening}pipe.load_lora_weights("{place}", adapter_name="forget")\n'
            'pipe.set_adapters(["forget"], [1.0])  # 0 to 1: how far to forget\n'
        )
    else:
        fetch = (
            "from huggingface_hub import snapshot_download\n\n"
            f'folder = snapshot_download("{repo}")\n'
            if repo
            else f'folder = "{place}"\n'
        )
        code = (
            f"{fetch}from forgetme.train import Wardrobe, read_patch\n{opening}"
            "wardrobe = Wardrobe(pipe)\n"
            "wardrobe.wear(read_patch(folder), scale=1.0)  # 0 to 1: how far to forget\n"
            "wardrobe.take_off()  # bit for bit as before\n"
        )
    return f"```python\n{code}```"


def _made(record: Json) -> str:
    left_out = {
        "concept",
        "method",
        "base",
        "data",
        "versions",
        "probe",
        "options",
        "keep",
        "watch",
    }
    left_out |= {"base_notes", "steps_done", "pictures", "prompt", "seed", "diverged"}
    lines = [
        ("method", record["method"]),
        ("base model", record["base"] or "-"),
        ("prompt", _prompt(record)),
        ("kept", ", ".join(record["keep"]) or "-"),
        ("watched, held by nothing", ", ".join(record.get("watch", ())) or "-"),
        ("data", f"{record.get('pictures', '-')} pictures, fingerprint {record['data']}"),
        ("seed", record["seed"]),
        ("steps done", f"{record['steps_done']} of {record['steps']}"),
        *((name, value) for name, value in record["options"].items()),
        *((name, value) for name, value in record.items() if name not in left_out),
        *((name, value) for name, value in record["versions"].items()),
    ]
    return table(("what", "value"), [(one, plain(_value(value))) for one, value in lines])


def _limits(record: Json, told: _Told) -> str:
    lines = [
        "- Forgetting is measured with the prompts above only. Other words, another language, a "
        "picture to start from or more training may bring the concept back.",
        "- The base model is unchanged: whoever leaves the patch off has all of it.",
    ]
    if told.last is not None and told.last["n"] < 30:
        lines.append(
            f"- {told.last['n']} pictures of a concept are few; the intervals say how much that is "
            "worth."
        )
    if _label(record) == BUNDLED:
        lines.append(
            "- **The base is the small bundled model of drawn scenes**, which is there to try "
            "things out; take no conclusion for photographs from it."
        )
    return "\n".join(lines)


def _copy_pictures(run: Path, record: Json, into: Path) -> tuple[tuple[str, str, str], ...]:
    """Copies the first and the last strip of what is shown into the card's folder."""
    concept, keep, watch = record["concept"], record["keep"], record.get("watch", ())
    shown = list(dict.fromkeys([concept, *keep[:1], *(watch[-1:] or keep[-1:])]))[:SHOWN]
    copied = []
    for name in shown:
        strips = sorted((run / "probes").glob(f"*{_glob(f' {name}.png')}"))
        strips = [one for one in strips if one.name.partition(" ")[2] == f"{name}.png"]
        if len(strips) < 2:
            continue
        (into / PICTURES).mkdir(exist_ok=True)
        files = []
        for word, strip in (("before", strips[0]), ("after", strips[-1])):
            file = f"{PICTURES}/{safe_stem(name).replace(' ', '-')}-{word}.png"
            shutil.copyfile(strip, into / file)
            files.append(file)
        copied.append((name, *files))
    return tuple(copied)


def _glob(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def _probes(run: Path) -> list[Json]:
    path = run / LOG
    rows = rows_of(path.read_bytes())[0] if path.is_file() else []
    return [row["probe"] for row in rows if "probe" in row]


def _label(record: Json) -> str:
    """The base model's name without its content's digest: "sd15", "tiny/diffusion"."""
    return str(record["base"]).partition("@")[0]


def _published(record: Json) -> str | None:
    """Where the Hub has the base model."""
    return getattr(PUBLISHED.get(_label(record)), "repo", None)


def _prompt(record: Json) -> str:
    return record["prompt"] or f"a photo of a {record['concept']}"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
