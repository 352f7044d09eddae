"""The models of a table: the base, our patches, anybody's LoRA, whole pipelines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from forgetme.compare.adapters import run_folders
from forgetme.errors import ForgetmeError
from forgetme.record.files import file_sha256
from forgetme.train.adapters import Wardrobe
from forgetme.train.folder import LOG, rows_of
from forgetme.train.model import core_of
from forgetme.train.notes import is_same
from forgetme.train.patch import LORA_FILE, Patch, read_patch

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

BASE = "base"
INDEX = "model_index.json"  # of a diffusers pipeline


@dataclass(frozen=True)
class Model:
    """A row of the table.

    Attributes:
        name: of its row.
        kind: how it is opened.
        path: where it is; None for the base.
        digest: names its content.
        made_by: method, or what the file is.
        bytes: of what it adds to the base, or of the whole.
        minutes: that making it took; None where nobody wrote that down.
        patch: the opened patch.
        concepts: what it forgets, as far as it says so.
        wears: whether it went on from an earlier patch.
    """

    name: str
    kind: Literal["base", "patch", "lora", "pipeline"]
    path: Path | None
    digest: str
    made_by: str
    bytes: int | None = None
    minutes: float | None = None
    patch: Patch | None = field(default=None, repr=False)
    concepts: tuple[str, ...] = ()
    wears: bool = False


def find_models(paths: Sequence[Path], base: str) -> list[Model]:
    """Opens what was named, the base first; weights are read later.

    Args:
        paths: folders of runs, patches, LoRAs or pipelines, or `.safetensors` files of a LoRA.
        base: the base's name with its weights' signature.

    Raises:
        ForgetmeError: one of them is none of these; the message names it.
    """
    found = [Model(BASE, "base", None, base, base)]
    return found + [_model(name, path) for name, path in run_folders(paths).items()]


def _model(name: str, path: Path) -> Model:
    if not path.exists():
        raise ForgetmeError(
            f"{path}: no such run; name the folder of a run or patch, a LoRA's .safetensors, or a "
            "pipeline's folder"
        )
    if (path / INDEX).is_file():
        files = sorted(path.rglob("*.safetensors"))
        digest = hashlib.sha256(" ".join(map(file_sha256, files)).encode()).hexdigest()
        size = sum(one.stat().st_size for one in files)
        return Model(name, "pipeline", path, digest, "a whole pipeline", size)
    is_run = (path / "patch.json").is_file() or (path / "patch").is_dir()
    file = path if path.is_file() else path / LORA_FILE
    if not is_run and file.is_file():
        _check_lora(file)
        name = name.removesuffix(".safetensors")
        return Model(name, "lora", file, file_sha256(file), "a LoRA", file.stat().st_size)
    patch = read_patch(path)
    log = patch.folder.parent / LOG
    rows = rows_of(log.read_bytes())[0] if log.is_file() else []
    seconds = max((row.get("seconds", 0.0) for row in rows), default=0.0)
    return Model(
        name, "patch", path, f"{patch.digest} {patch.record['trains']}",
        str(patch.record["method"]), patch.file.stat().st_size, seconds / 60 if seconds else None,
        patch, patch.concepts, bool(patch.record.get("wears")),
    )  # fmt: skip


def _check_lora(file: Path) -> None:
    try:
        with safe_open(file, "pt") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise ForgetmeError(
            f"{file} is no LoRA: it is no .safetensors file that can be read ({error})"
        ) from error
    if not any("lora" in name.lower() for name in names):
        raise ForgetmeError(f"{file} is no LoRA: none of its {len(names)} tensors is named so")


@contextmanager
def opened(model: Model, pipe: DiffusionPipeline, device: str) -> Iterator[DiffusionPipeline]:
    """Gives a pipeline that is the model; the base's is afterwards as it was.

    Args:
        model: which one.
        pipe: the base's.
        device: where a whole pipeline is opened.

    Raises:
        ForgetmeError: the model does not fit the base.
    """
    if model.kind == "pipeline":
        from forgetme.stages.diffusion_folder import load_pipeline

        yield load_pipeline(model.path, device)
    elif model.kind == "patch":
        worn = Wardrobe(pipe)
        worn.wear(model.patch)
        try:
            yield pipe
        finally:
            worn.take_off()
    elif model.kind == "lora":
        with _lora(model.path, pipe):
            yield pipe
    else:
        yield pipe


@contextmanager
def _lora(file: Path, pipe: DiffusionPipeline) -> Iterator[None]:
    """Puts a stranger's LoRA on: its tensors alone, none of the settings in its file."""
    try:
        try:
            pipe.load_lora_weights(load_file(file), adapter_name="evaluated")
            if "evaluated" not in getattr(core_of(pipe), "peft_config", {}):
                raise ValueError("none of its layers is in this model")
        except (RuntimeError, ValueError, KeyError) as error:
            said = " ".join(str(error).split())[:160]
            raise ForgetmeError(
                f"{file} is no LoRA of this model ({said}); name the model that it was made for "
                "with --diffusion"
            ) from error
        pipe.set_adapters(["evaluated"])
        yield
    finally:
        pipe.unload_lora_weights()


def cautions(model: Model, pipe: DiffusionPipeline) -> str:
    """Says why a row is to be read with care; "" where nothing is known."""
    notes: dict[str, Any] = model.patch.record.get("base_notes", {}) if model.patch else {}
    if notes and not is_same(core_of(pipe), notes):
        return f"made for {model.patch.record['base'] or 'another model'}, which this base is not"
    return ""
