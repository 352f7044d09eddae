"""Imports go down only: the table of rooms and floors, held by reading the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import forgetme

PACKAGE = Path(forgetme.__file__).parent
ROOT = PACKAGE.parent

# A new room goes here and in the table of the design. A room that is not built yet does no harm.
FLOORS = {
    0: "errors sample masks strokes images entangled merge concept settings process jobstate seam "
    "decoded",
    1: "segment rank verify inpaint diffusion metrics scenes sam checkpoint answers embeddings "
    "edges",
    2: "models store dataset weights",
    3: "fills suggest retries pipeline review hand team side train compare tiny clipaway prompts "
    "generate",
    4: "jobs ahead work cli doctor __main__",
    5: "ui app",
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}

# Not stages but parts that stages are built from: on floor 1 only these may be imported.
PARTS_OF_STAGES = {"sam", "checkpoint", "answers", "embeddings", "edges"}

FLOOR_0_LIBRARIES = {"numpy", "PIL"}
PIXEL_LIBRARIES = {"cv2", "scipy"}
PIXEL_ROOMS = {"masks", "strokes", "merge", "entangled", "seam"}
NOT_ON_THE_FACE = {"torch", "torchvision", "diffusers", "transformers", "numpy", "cv2", "scipy"}
HEAVY = {
    "torch", "torchvision", "diffusers", "transformers", "open_clip", "segment_anything",
    "simple_lama_inpainting", "gradio", "openai", "datasets", "sqlalchemy", "cv2", "scipy",
}  # fmt: skip


def sources() -> list[tuple[str, Path]]:
    """Lists (room, file) of the whole package and of app.py; __init__ is the front door."""
    files = [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    app = ROOT / "app.py"
    return [f for f in files if f[0] != "__init__"] + ([("app", app)] if app.exists() else [])


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yields each imported dotted name and its line; relative ones are made absolute."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), str(path))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folder = path.parent
                for _ in range(node.level - 1):
                    folder = folder.parent
                base = ".".join((*folder.relative_to(ROOT).parts, *base.split("."))).rstrip(".")
            yield from ((f"{base}.{name.name}", node.lineno) for name in node.names)
        todo.extend(ast.iter_child_nodes(node))


def room_of(name: str) -> str | None:
    """Finds the room of our own that a dotted name lies in; None for a library."""
    parts = name.split(".")
    if parts[0] == "app":
        return "app"
    if parts[0] != "forgetme" or parts[1:] == ["__version__"]:
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else "forgetme"


SOURCES = sources()


def each(sources: list[tuple[str, Path]]) -> pytest.MarkDecorator:
    ids = [path.relative_to(ROOT).as_posix() for _, path in sources]
    return pytest.mark.parametrize(("room", "path"), sources, ids=ids)


def test_every_room_has_a_floor():
    homeless = {room for room, _ in SOURCES} - set(FLOOR_OF)
    assert not homeless, f"put {homeless} on a floor, in FLOORS and in the design's table"


@each([s for s in SOURCES if s[0] in FLOOR_OF])
def test_imports_go_down_only(room, path):
    for name, line in imports(path):
        other = room_of(name)
        if other is None or other == room:
            continue
        where = f"{path.relative_to(ROOT)}:{line}: {room} imports {name}"
        assert other != "forgetme", f"{where}; import the module, not the front door"
        assert FLOOR_OF[other] <= FLOOR_OF[room], f"{where}, which is on a higher floor"
        if FLOOR_OF[room] == FLOOR_OF[other] == 1:
            assert other in PARTS_OF_STAGES, f"{where}; stages never import each other"


@each([s for s in SOURCES if s[0] in FLOOR_OF])
def test_libraries_stay_on_their_floors(room, path):
    floor = FLOOR_OF[room]
    for name, line in imports(path):
        library = name.split(".")[0]
        where = f"{path.relative_to(ROOT)}:{line}: {room} imports {name}"
        if floor == 0 and library not in sys.stdlib_module_names | {"forgetme"}:
            allowed = FLOOR_0_LIBRARIES | (PIXEL_LIBRARIES if room in PIXEL_ROOMS else set())
            assert library in allowed, where
        if floor == 5:
            assert library not in NOT_ON_THE_FACE, where
        if library == "gradio":
            assert floor == 5, where


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn as nn", ["torch.nn"]),
        ("def f():\n    from forgetme.store import Store", ["forgetme.store.Store"]),
        ("from . import masks", ["forgetme.ui.masks"]),
        ("from ..masks import iou", ["forgetme.masks.iou"]),
        ("from .. import rank", ["forgetme.rank"]),
    ],
)
def test_the_reader_of_imports_sees_every_form(tmp_path, monkeypatch, source, names):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "forgetme" / "ui" / "tab.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert [name for name, _ in imports(path)] == names


# ------------------------------------------------------------------ the front door
def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy():
    loaded = run_python("import sys, forgetme; print(*sorted(sys.modules))").split()
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("room", ["cli", "doctor", "jobs"])
def test_control_loads_nothing_heavy_before_a_command_runs(room):
    loaded = run_python(f"import sys, forgetme.{room}; print(*sys.modules)").split()
    assert not HEAVY & set(loaded)


def test_floor_0_loads_no_torch():
    rooms = [room for room in FLOORS[0].split() if (PACKAGE / f"{room}.py").exists()]
    code = "".join(f"import forgetme.{room}\n" for room in rooms)
    loaded = run_python(f"import sys\n{code}print(*sys.modules)").split()
    assert "torch" not in loaded


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import forgetme.entangled, forgetme.merge",
        "import forgetme.merge\nfrom forgetme.entangled import EntangledResult",
        "from forgetme.merge import matte\nimport forgetme.entangled as anything",
        "import forgetme.sample, forgetme.images, forgetme.masks",
        "import importlib\nimportlib.import_module('forgetme.entangled')\n"
        "importlib.import_module('forgetme.merge')",
        "from forgetme import merge, entangled\nimport forgetme.merge, forgetme.entangled",
        "import threading\n"
        "t = [threading.Thread(target=__import__, args=('forgetme.' + n,))"
        " for n in ('merge', 'entangled', 'sample', 'merge', 'entangled')]\n"
        "[x.start() for x in t]\n[x.join() for x in t]",
    ],
)
def test_entangled_and_merge_are_functions_whatever_was_imported_before(before):
    code = f"""{before}
import forgetme as fm
from forgetme import entangled, merge
from forgetme.entangled import EntangledResult, entangled as same
from forgetme.merge import matte, merge as also
import forgetme.entangled, forgetme.merge
assert fm.entangled is entangled is same is forgetme.entangled, fm.entangled
assert fm.merge is merge is also is forgetme.merge, fm.merge
assert type(entangled) is type(merge) is type(matte)
"""
    run_python(code)


def test_public_names_are_few_and_those_that_are_built_can_be_reached():
    assert len(forgetme.__all__) <= 15
    assert set(forgetme.__all__) <= set(dir(forgetme))
    assert forgetme.__version__ == "0.1.0"
    for name in ("Sample", "entangled", "entangled_d", "entangled_s", "merge"):
        assert callable(getattr(forgetme, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        forgetme.nothing  # noqa: B018
