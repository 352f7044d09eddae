"""What is installed, which weights and keys are there, and what to do about what is not."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from forgetme import __version__
from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.record.files import bundled
from forgetme.stages import weights
from forgetme.stages.addresses import check_proxies, check_url, shown_url
from forgetme.stages.secret import Secret

BUNDLED = bundled("tiny")
BUNDLED_FILES = {
    "segmenter": ("segmenter.safetensors", "segmenter.json"),
    "ranker": ("ranker.safetensors", "ranker.json"),
    "filler": ("filler.pt",),
    "diffusion": (
        "diffusion/model_index.json",
        "diffusion/unet/config.json",
        "diffusion/vae/diffusion_pytorch_model.safetensors",
        "diffusion/text_encoder/model.safetensors",
    ),
    "clipaway": (
        "clipaway/clipaway.json",
        "clipaway/alphaclip.safetensors",
        "clipaway/mapping.safetensors",
        "clipaway/ip-adapter.safetensors",
    ),
}
EXTRA = {"clipaway"}  # for comparisons; the app works without
RECORDED = {"diffusion": "unet", "clipaway": "clipaway_adapter"}  # the run that dates a model
PACKAGES = (
    *("torch", "torchvision", "numpy", "pillow", "opencv-python", "scipy"),
    *("segment-anything", "open-clip-torch", "simple-lama-inpainting", "diffusers"),
    *("transformers", "safetensors", "sqlalchemy", "gradio", "openai"),
)
OPTIONAL_PACKAGES = {
    "psycopg": "a store on PostgreSQL",
    "torch-fidelity": "FID and KID of Inception's features",
}
INSTALL = "pip install -r requirements.txt"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str  # a version, a path, or what is wrong
    ok: bool
    needed: bool  # for the bundled preset
    todo: str = ""  # what to do, where it is not ok


def examine() -> list[Finding]:
    """Looks at everything, in the order in which a new user needs it; downloads nothing."""
    return [
        _python(),
        Finding("forgetme", __version__, True, True),
        *(_package(name) for name in PACKAGES),
        *(_optional(name, why) for name, why in OPTIONAL_PACKAGES.items()),
        _device(),
        *(_bundled(name, files) for name, files in BUNDLED_FILES.items()),
        *(_published(name) for name in weights.PUBLISHED),
        _key(),
    ]


def healthy(findings: Sequence[Finding]) -> bool:
    """Tells whether the bundled preset can work."""
    return all(finding.ok for finding in findings if finding.needed)


def download(name: str, progress: weights.Progress | None = None) -> Path:
    """Downloads published weights; goes on where an earlier download stopped.

    Args:
        name: one of `weights.PUBLISHED`.
        progress: called with (bytes done, bytes in all).

    Returns:
        Where they are.

    Raises:
        ForgetmeError: the name is unknown, the network or the disk failed.
    """
    if name not in weights.PUBLISHED:
        raise ForgetmeError(f"unknown weights {name!r}; known: {', '.join(weights.PUBLISHED)}")
    return weights.download(name, progress)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    right = (3, 10) <= sys.version_info < (3, 14)
    return Finding("python", found, right, True, "" if right else "install Python 3.10-3.13")


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name), True, True)
    except PackageNotFoundError:
        return Finding(name, "not installed", False, True, INSTALL)


def _optional(name: str, why: str) -> Finding:
    try:
        return Finding(name, version(name), True, False)
    except PackageNotFoundError:
        return Finding(name, "not installed", False, False, f"for {why}: pip install {name}")


def _device() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("device", "unknown without torch", False, True, INSTALL)
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        found = f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
        return Finding("device", found, True, False)
    found = f"CPU, {os.cpu_count()} cores"
    return Finding("device", found, True, False, "the full preset is slow without a GPU")


def _bundled(name: str, files: Sequence[str]) -> Finding:
    what = f"tiny {name}"
    needed = name not in EXTRA
    missing = [file for file in files if not (BUNDLED / file).is_file()]
    if missing:
        todo = f"get assets/tiny of the repository, or: python -m forgetme tiny train {name}"
        return Finding(what, f"no {missing[0]} in {BUNDLED}", False, needed, todo)
    size = sum((BUNDLED / file).stat().st_size for file in files)
    trained = _trained(name)
    return Finding(what, f"{size / 2**20:.1f} MiB{trained}", True, needed)


def _trained(name: str) -> str:
    """When a bundled model was trained; "" where that is not recorded."""
    try:
        training = json.loads((BUNDLED / "training.json").read_text())
        return f", trained {training[RECORDED.get(name, name)]['date']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _published(name: str) -> Finding:
    try:
        return Finding(name, str(weights.locate(name)), True, False)
    except MissingModelError:
        size = weights.PUBLISHED[name].size / 1e9
        todo = f"for the full preset: python -m forgetme doctor --download {name}"
        return Finding(name, f"not downloaded ({size:.1f} GB)", False, False, todo)


def _key() -> Finding:
    server = os.environ.get("OPENAI_BASE_URL", "").strip()
    try:
        check_url(server or None)
        check_proxies()
        key = Secret(os.environ.get("OPENAI_API_KEY"))
    except ForgetmeError as error:
        return Finding("OPENAI_API_KEY", "cannot be used", False, False, str(error))
    if key:
        place = shown_url(server) if server else "api.openai.com"
        return Finding("OPENAI_API_KEY", f"set, for {place}", True, False)
    todo = "for the verifier of the full preset: export OPENAI_API_KEY=…"
    return Finding("OPENAI_API_KEY", "not set", False, False, todo)
