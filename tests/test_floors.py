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

# A new room goes here and in the table of the design.
FLOORS = {
    0: "errors record",
    1: "stages metrics scenes",
    2: "store",
    3: "dataset jobs",
    4: "curate train classify",
    5: "compare evaluate tiny",
    6: "cli ui app __main__",
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}

# Inside `stages/`: parts that stages are built from, and what chooses among the stages. A stage
# imports the parts and never another stage.
PARTS_OF_STAGES = {
    "sam", "lite_sam", "diffusion_folder", "proposals", "corrections", "checkpoint", "answers",
    "embeddings", "edges", "vocabulary", "grid_decoder", "choice",
    "chat", "replies", "bounded", "addresses", "secret",
}  # fmt: skip
CHOOSERS = {"models", "plans", "weights", "published", "fetching", "doctor", "clipaway"}

RECORD_LIBRARIES = {"numpy", "PIL"}
PIXEL_LIBRARIES = {"cv2", "scipy"}
PIXEL_FILES = {"colour", "mask_files", "masks", "strokes", "merge", "region_stats", "seam"}
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


def test_every_room_has_a_floor():
    homeless = {room for room, _ in SOURCES} - set(FLOOR_OF)
    assert not homeless, f"put {homeless} on a floor, in FLOORS and in the design's table"
    assert {room for room, _ in SOURCES} >= set(FLOOR_OF), "a room of the table is not there"


def test_imports_go_down_only():
    wrong = []
    for room, path in SOURCES:
        for name, line in imports(path):
            other = room_of(name)
            where = f"{path.relative_to(ROOT)}:{line}: {room} imports {name}"
            if other is None:
                continue
            if other == "forgetme":
                wrong.append(f"{where}; import the module, not the front door")
            elif FLOOR_OF[other] > FLOOR_OF[room]:
                wrong.append(f"{where}, which is on a higher floor")
            elif room == other == "stages" and not chosen_in_order(path, name):
                wrong.append(f"{where}; stages never import each other")
            elif room != other and {room, other} <= {"stages", "metrics", "scenes"}:
                wrong.append(f"{where}; rooms of the first floor never import each other")
    assert not wrong, "\n".join(wrong)


def chosen_in_order(path: Path, name: str) -> bool:
    """Whether a file of `stages/` may import this: a part, or anything if it is a chooser."""
    parts = path.relative_to(PACKAGE / "stages").with_suffix("").parts
    imported = name.split(".")[2] if name.count(".") > 1 else ""
    return parts[0] in CHOOSERS or imported in PARTS_OF_STAGES | {parts[0]}


def test_libraries_stay_on_their_floors():
    wrong = []
    for room, path in SOURCES:
        for name, line in imports(path):
            library = name.split(".")[0]
            where = f"{path.relative_to(ROOT)}:{line}: {room} imports {name}"
            allowed = sys.stdlib_module_names | {"forgetme"} | RECORD_LIBRARIES
            if path.stem in PIXEL_FILES:
                allowed = allowed | PIXEL_LIBRARIES
            if FLOOR_OF[room] == 0 and library not in allowed:
                wrong.append(where)
            if room in {"ui", "app"} and library in NOT_ON_THE_FACE:
                wrong.append(where)
            if library == "gradio" and room not in {"ui", "app"}:
                wrong.append(where)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn as nn", ["torch.nn"]),
        ("def f():\n    from forgetme.store import Store", ["forgetme.store.Store"]),
        ("from . import masks", ["forgetme.ui.masks"]),
        ("from ..record.masks import iou", ["forgetme.record.masks.iou"]),
        ("from .. import stages", ["forgetme.stages"]),
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


@pytest.mark.parametrize(
    ("module", "needs"), [("cli", set()), ("stages.doctor", set()), ("jobs", {"sqlalchemy"})]
)
def test_control_loads_nothing_heavy_before_a_command_runs(module, needs):
    loaded = run_python(f"import sys, forgetme.{module}; print(*sys.modules)").split()
    assert HEAVY & set(loaded) == needs


def test_floor_0_loads_no_torch():
    files = sorted((PACKAGE / "record").glob("[a-z]*.py"))
    code = "".join(f"import forgetme.record.{path.stem}\n" for path in files)
    loaded = run_python(f"import sys\n{code}print(*sys.modules)").split()
    assert "forgetme.record.sample" in loaded
    assert "torch" not in loaded


@pytest.mark.parametrize(
    "before", ["", "import forgetme.curate.pipeline", "from forgetme.curate import pipeline"]
)
def test_curate_can_be_called_whatever_was_imported_before(before):
    code = f"{before}\nimport forgetme as fm\nfm.curate([], 'cat', None, None, nothing=1)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "curate() got an unexpected keyword argument 'nothing'" in done.stderr


def test_public_names_are_few_and_those_that_are_built_can_be_reached():
    assert len(forgetme.__all__) <= 15
    assert set(forgetme.__all__) <= set(dir(forgetme))
    assert forgetme.__version__ == "0.1.0"
    for name in ("Sample", "entangled", "entangled_d", "entangled_s", "merge"):
        assert callable(getattr(forgetme, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        forgetme.nothing  # noqa: B018
