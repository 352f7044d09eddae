"""README is true: its blocks run, its commands parse, its generated parts are up to date.

`python tests/test_readme.py` writes the generated parts anew.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- run(?P<need>: \w+)? -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)
PART = re.compile(r"<!-- (?P<name>[\w-]+):start -->\n(?P<text>.*?)<!-- (?P=name):end -->", re.S)
KEY_NAMES = {
    "backspace": "⌫", "arrowleft": "←", "arrowright": "→", "arrowup": "↑", "arrowdown": "↓",
}  # fmt: skip
LINK = re.compile(r"\]\((?!https?://|#)(?P<path>[^)]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, whether it is marked to be run, and what it needs."""

    language: str
    code: str
    run: bool
    needs: str  # a marker of conftest.py, or ""


def blocks() -> list[Block]:
    return [
        Block(
            found["language"],
            found["code"],
            found[0].startswith("<!-- run"),
            (found["need"] or "").strip(": "),
        )
        for found in BLOCK.finditer(TEXT)
    ]


def runnable() -> Iterator:
    for number, block in enumerate(b for b in blocks() if b.run):
        marks = [getattr(pytest.mark, block.needs)] if block.needs else []
        yield pytest.param(block, marks=marks, id=f"{number}-{block.language}")


def commands() -> list[str]:
    """All command lines: of the bash blocks, and those in the running text."""
    lines = [line for b in blocks() if b.language == "bash" for line in b.code.splitlines()]
    prose = BLOCK.sub("", PART.sub("", TEXT))
    lines += re.findall(r"`((?:python|pip|docker|forgetme) [^`]+)`", prose)
    return [part for line in lines for part in line.split(" && ")]


@pytest.mark.parametrize("block", list(runnable()))
def test_blocks_marked_to_run_do(block, tmp_path):
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    shell = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*shell[block.language], block.code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": binaries},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.code}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip(), f"it prints nothing:\n{block.code}"


@pytest.mark.parametrize("line", commands())
def test_commands_are_understood(line):
    words = shlex.split(line, comments=True)
    if words[:3] == ["python", "-m", "forgetme"]:
        command, arguments = _find_command(words[3:])
        command.make_context(words[-1], arguments)  # raises where an option is unknown
    elif words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
        assert len(words) == 3, "write its options into the module's first lines, not here"
        assert (ROOT / "benchmarks" / f"{words[2].removeprefix('benchmarks.')}.py").is_file()
    elif words[:2] == ["python", "app.py"]:
        _page_parser().parse_args(words[2:])
    elif words[0] == "forgetme":
        command, arguments = _find_command(words[1:])
        command.make_context(words[1], arguments)
    elif words[:2] == ["pip", "install"]:
        named = [ROOT / words[at + 1] for at, word in enumerate(words) if word in ("-r", "-c")]
        assert all(path.is_file() for path in named)
        extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", words[2])
        assert named or extras
        known = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
        assert not extras or set(filter(None, (extras[1] or "").split(","))) <= set(known)
    else:
        assert words[0] in ("pytest", "export", "docker"), f"nothing checks {line!r}"


@pytest.mark.parametrize("name", [found["name"] for found in PART.finditer(TEXT)])
def test_generated_parts_are_up_to_date(name):
    """If this fails: python tests/test_readme.py."""
    text = dict(PART.findall(TEXT))[name]
    assert _squeezed(text) == _squeezed(GENERATED[name]()), "run: python tests/test_readme.py"


def test_links_lead_to_files():
    found = [match["path"] for match in LINK.finditer(TEXT)]
    assert found
    missing = [path for path in found if not (ROOT / path.partition("#")[0]).exists()]
    assert not missing


def test_every_sample_image_has_a_source_and_every_source_an_image():
    samples = ROOT / "assets" / "samples"
    listed = re.findall(r"^\| `([^`]+)` \|", (samples / "SOURCES.md").read_text("utf-8"), re.M)
    there = {path.relative_to(samples).as_posix() for path in samples.glob("*/*")}
    assert set(listed) == there
    assert len(listed) == len(set(listed))


def test_sample_images_are_small_and_can_be_read():
    from forgetme.record.images import read_image_with_notes

    files = sorted((ROOT / "assets" / "samples").glob("*/*"))
    assert sum(path.stat().st_size for path in files) < 4 * 2**20
    for path in files:
        notes = read_image_with_notes(path).notes  # a profile is understood; nothing else is said
        assert [one for one in notes if "converted to sRGB" not in one] == [], path


# ------------------------------------------------------------------ the generated parts


def commands_part() -> str:
    """A table of every command with its arguments, options and first sentence."""
    lines = ["| `python -m forgetme …` | |", "|---|---|"]
    for words, command in _commands():
        required = [_written(one) for one in command.params if one.required]
        optional = [f"`{_written(one)}`" for one in command.params if _is_optional(one)]
        what = command.help.split("\n\n")[0].replace("\n", " ")
        rest = f"<br>{' '.join(optional)}" if optional else ""
        lines.append(f"| `{' '.join([*words, *required])}` | {what}{rest} |")
    return "\n".join(lines) + "\n"


def app_help_part() -> str:
    """The help text of app.py."""
    parser = _page_parser()
    parser.formatter_class = partial(argparse.HelpFormatter, width=100)  # not the terminal's
    return f"```text\n{parser.format_help()}```\n"


def keys_part() -> str:
    """The page's keys by what they are for."""
    path = ROOT / "forgetme" / "ui" / "static" / "keymap.json"
    lines = ["| | keys |", "|---|---|"]
    for group in json.loads(path.read_text(encoding="utf-8")):
        found: dict[str, list[str]] = {}
        for act in group["acts"]:
            found.setdefault(act.get("series", act["words"]), []).extend(act["keys"])
        told = [f"{_keys(keys)} {words}" for words, keys in found.items()]
        lines.append(f"| {group['group']} | {'; '.join(told)} |")
    return "\n".join(lines) + "\n"


def _keys(keys: list[str]) -> str:
    shown = [KEY_NAMES.get(key, key.upper() if len(key) == 1 else key) for key in keys]
    ends = [shown[0], shown[-1]] if len(shown) > 2 else shown
    return ("-" if len(shown) > 2 else " ").join(f"**{one}**" for one in ends)


def tiny_card_part() -> str:
    """The tables of the bundled models' card."""
    path = ROOT / "assets" / "tiny" / "card.json"
    if not path.is_file():
        return "*Not measured yet.*\n"
    from forgetme.tiny.card import tables

    return tables(json.loads(path.read_text(encoding="utf-8")))


def benchmarks_part() -> str:
    """The timings that `python -m benchmarks.record` wrote."""
    from benchmarks.record import lines

    results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    rows = [
        f"| {line['what']} | {_time(line['seconds'])}{_tail(line)} | {_goal(line)} "
        f"| {line['times_faster']:.1f} × | {line['baseline']} |"
        for line in lines(results)
    ]
    text = "| | median | goal | faster than | the baseline |\n|---|---|---|---|---|\n"
    text += "\n".join(rows) + "\n\n"
    if canvas := results.get("canvas"):
        text += "The canvas on a photo of 12 megapixels with 60 proposals, from frame to frame: "
        text += "; ".join(
            f"{one['what']} {_time(one['median'])} (p95 {_time(one['p95'])})"
            for one in canvas["found"]["lines"]
        )
        text += "; a stroke is a mask on the server after "
        text += _time(canvas["found"]["answer_seconds"]) + ".\n\n"
    if {"training", "comparing"} <= results.keys():
        training, comparing = results["training"]["found"], results["comparing"]["found"]
        text += (
            f"Peak memory: training {training['memory_mb']:,.0f} MiB (diffusers' script "
            f"{training['baseline_memory_mb']:,.0f} MiB), comparing "
            f"{comparing['memory_mb']:,.0f} MiB. Mean loss of the same steps: "
            f"{training['mean_loss']:.3f}, of the script {training['baseline_mean_loss']:.3f} "
            f"(standard error {training['mean_loss_standard_error']:.3f}).\n\n"
        )
    if endurance := results.get("endurance"):
        from benchmarks.endurance import words

        said = words(endurance["found"])[:-1]
        text += "".join(f"- {line}\n" for line in said) + "\n"
    made = dict.fromkeys(f"{one['machine']}; {one['date']}." for one in results.values())
    return text + "\n".join(made) + "\n"


def _tail(line: dict) -> str:
    return f" (p95 {_time(line['p95_seconds'])})" if "p95_seconds" in line else ""


def methods_part() -> str:
    """Every method, with what it needs, moves and is defined for."""
    from forgetme.train import METHODS

    names = {"sd": "SD 1.x, 2.x", "sdxl": "SDXL", "sd3": "SD 3"}
    text = "| method | | pictures | moves | for | source |\n|---|---|---|---|---|---|\n"
    for one in METHODS.values():
        pictures = "yes" if one.needs & {"original", "background"} else "–"
        bases = ", ".join(names[base] for base in one.bases)
        text += f"| `{one.name}` | {one.words} | {pictures} | {', '.join(one.trains)} | {bases} |"
        text += f" {one.source} |\n"
    return text


def forgetting_part() -> str:
    """What `python -m benchmarks.forgetting --record` found."""
    from benchmarks.forgetting import table

    found = json.loads((ROOT / "benchmarks" / "forgetting.json").read_text(encoding="utf-8"))
    return table(found) + f"\n{found['machine']}; {found['date']}.\n"


def judge_part() -> str:
    """What `python -m benchmarks.judge --record` found."""
    from benchmarks.judge import report

    found = json.loads((ROOT / "benchmarks" / "judge.json").read_text(encoding="utf-8"))
    return report(found).partition("\n- ")[0] + "\n"  # what each judge is: in the module


GENERATED = {
    "keys": keys_part,
    "methods": methods_part,
    "commands": commands_part,
    "app-help": app_help_part,
    "tiny-card": tiny_card_part,
    "benchmarks": benchmarks_part,
    "forgetting": forgetting_part,
    "judge": judge_part,
}


def write() -> None:
    """Writes the generated parts into README."""
    text = TEXT
    for name, make in GENERATED.items():
        marks = f"<!-- {name}:start -->\n", f"<!-- {name}:end -->"
        before, _, rest = text.partition(marks[0])
        text = before + marks[0] + make() + marks[1] + rest.partition(marks[1])[2]
    README.write_text(text, encoding="utf-8")


def _commands() -> Iterator[tuple[list[str], typer.core.TyperCommand]]:
    from forgetme.cli import app as main
    from forgetme.tiny.cli import app as tiny

    for name, command in typer.main.get_command(main).commands.items():
        if name != "tiny":  # hands over to its own commands
            yield [name], command
    for name, command in typer.main.get_command(tiny).commands.items():
        yield ["tiny", name], command


def _find_command(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    for names, command in _commands():
        if words[: len(names)] == names:
            return command, words[len(names) :]
    raise AssertionError(f"no such command: {' '.join(words)}")


def _page_parser() -> argparse.ArgumentParser:
    from forgetme.cli import serve

    return serve._parser("python app.py")


def _is_optional(parameter: object) -> bool:
    return not parameter.required and parameter.name != "help"


def _written(parameter: object) -> str:
    """`IMAGES` or `--concept TEXT`, as on the command line."""
    if parameter.param_type_name == "argument":
        return (parameter.metavar or parameter.name).upper().replace(".PNG", ".png")
    name = parameter.opts[0]
    return (
        name if parameter.is_flag or not parameter.required else f"{name} {parameter.name.upper()}"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _goal(line: dict) -> str:
    goals = []
    if line.get("goal_seconds"):
        goals.append(f"at most {_time(line['goal_seconds'])}")
    if line.get("goal_p95_seconds"):
        goals[-1] += f" (p95 {_time(line['goal_p95_seconds'])})"
    if line.get("goal_times_faster"):
        goals.append(f"at least {line['goal_times_faster']:g} ×")
    return ", ".join(goals)


def _squeezed(text: str) -> str:
    """Leaves spaces and line ends alone: releases of Python wrap help texts differently."""
    return " ".join(text.split())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    write()
