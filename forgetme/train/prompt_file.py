"""Prompt files of LECO and kohya's scripts, read and written as runs of `esd`.

**Source**: p1atdev/LECO (YAML) and kohya-ss/sd-scripts `train_leco.py` (TOML): one entry for each
target, with what takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from forgetme.errors import ForgetmeError
from forgetme.record.images import atomic_write
from forgetme.train.settings import RunSettings

ACTIONS = {"erase": 1.0, "enhance": -1.0}


@dataclass(frozen=True)
class PromptFile:
    """What a prompt file asks for.

    Attributes:
        targets: prompts that are made to forget.
        neutral: what takes their place; "" = anything.
        eta: how far to steer away; below 0 = towards.
    """

    targets: tuple[str, ...]
    neutral: str
    eta: float

    def given(self) -> dict[str, Any]:
        """The fields of `RunSettings` that it decides, its targets being the concepts."""
        prompt = {"prompt": self.targets[0], "anchor": self.neutral}
        return {"concept": self.targets[0], "also": self.targets[1:], **prompt}


def read_prompts(path: Path) -> PromptFile:
    """Reads a prompt file, TOML or YAML.

    Raises:
        ForgetmeError: it is no such file, or asks for what one run cannot do.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            entries = tomllib.loads(text)["prompts"]
        else:
            import yaml

            entries = yaml.safe_load(text)
        return _joined(path, [_entry(path, dict(one)) for one in entries])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForgetmeError(
            f"{path} is no prompt file ({error}); expected [[prompts]] entries in TOML, or a list "
            "in YAML, each with a target"
        ) from error
    except Exception as error:  # yaml's own errors share no base with others
        if type(error).__module__.partition(".")[0] != "yaml":
            raise
        raise ForgetmeError(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def _entry(path: Path, one: dict[str, Any]) -> PromptFile:
    target, action = str(one["target"]), one.get("action", "erase")
    positive, unconditional = one.get("positive") or target, one.get("unconditional", "")
    if positive != target or unconditional or action not in ACTIONS:
        raise ForgetmeError(
            f"{path}: of {target!r} a run here steers by the target itself against the empty "
            f"prompt; positive is {positive!r}, unconditional {unconditional!r}, action {action!r}"
        )
    eta = ACTIONS[action] * float(one.get("guidance_scale", 1.0))
    return PromptFile((target,), str(one.get("neutral", "")), eta)


def _joined(path: Path, entries: Sequence[PromptFile]) -> PromptFile:
    if not entries:
        raise ForgetmeError(f"{path} has no entry; expected at least one target")
    first = entries[0]
    odd = next((o for o in entries if (o.neutral, o.eta) != (first.neutral, first.eta)), None)
    if odd is not None:
        raise ForgetmeError(
            f"{path}: {odd.targets[0]!r} has another neutral prompt, guidance or action than "
            f"{first.targets[0]!r}; make a run of each"
        )
    return PromptFile(tuple(one.targets[0] for one in entries), first.neutral, first.eta)


def write_prompts(path: Path, settings: RunSettings, side: int = 512) -> None:
    """Writes the prompt file, TOML, by which kohya's trainer does what a run of `esd` does."""
    import json

    eta = float(settings.options.get("eta", 1.0))
    lines = []
    for target in settings.target_prompts:
        words = {"target": target, "positive": target, "unconditional": ""}
        words |= {"neutral": settings.anchor, "action": "erase" if eta >= 0 else "enhance"}
        lines += ["[[prompts]]", *(f"{name} = {json.dumps(one)}" for name, one in words.items())]
        numbers = {"guidance_scale": abs(eta), "resolution": side, "batch_size": settings.batch}
        lines += [*(f"{name} = {value}" for name, value in numbers.items()), ""]
    atomic_write(path, "\n".join(lines).encode())
