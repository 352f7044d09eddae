"""Fixtures and markers that the tests share. A marker that skips says why, and what to do."""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

# Two test processes with two threads each wait for one another; torch reads it when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell runs behind
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit it; Ctrl-C works

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"  # photos made by others; not part of the project
BUNDLED = ("segmenter.safetensors", "ranker.safetensors", "filler.pt", "diffusion/model_index.json")

SMALL_SAM = {
    "image_size": 64,
    "patch_size": 16,
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 2,
    "global_attn_indexes": [0],
    "window_size": 0,
    "prompt_embed_dim": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "decoder_mlp_dim": 16,
    "iou_head_hidden_dim": 16,
    "mask_in_chans": 4,
    # random weights are sure of nothing: let every mask through
    "points_per_side": 4,
    "pred_iou_thresh": -100.0,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 1.0,
    "min_area": 0.0,
    "max_area": 1.0,
    "min_mask_region_area": 0,
}
SMALL_CLIP = {
    "model": {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    },
    "mean": [0.48, 0.46, 0.41],
    "std": [0.27, 0.26, 0.28],
    "templates": ["a photo of a {}"],
    "vocabulary": ["cat", "dog", "bird", "boat", "meadow", "beach", "background"],
}


def _no_photos() -> str | None:
    missing = not (DATA / "photos" / "index.csv").is_file()
    return f"no photos at {DATA / 'photos'}" if missing else None


def _no_postgres() -> str | None:
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        return "no PostgreSQL under /usr/lib/postgresql; apt-get install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return 'psycopg is missing; pip install "psycopg[binary]"'
    return None


def _no_browser() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return "playwright is missing; pip install playwright"
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    if not any(shutil.which(name) for name in names):
        return "no Chromium on the PATH; apt-get install chromium"
    return None


def _no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no GPU that torch can use"


def _no_ray() -> str | None:
    missing = importlib.util.find_spec("ray") is None
    return "Ray is missing; pip install 'ray[data]'" if missing else None


def _not_bundled() -> str | None:
    missing = [name for name in BUNDLED if not (ROOT / "assets" / "tiny" / name).exists()]
    return f"no assets/tiny/{missing[0]}; python -m forgetme tiny train" if missing else None


MARKERS: dict[str, tuple[str, Callable[[], str | None]]] = {
    "photos": ("needs the photos in ../shared/data", _no_photos),
    "postgres": ("needs a PostgreSQL server's programs", _no_postgres),
    "browser": ("needs playwright and Chromium", _no_browser),
    "gpu": ("needs a GPU", _no_gpu),
    "ray": ("needs Ray", _no_ray),
    "bundled": ("needs the trained weights in assets/tiny", _not_bundled),
}


def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers."""
    for name, (help_text, _) in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {help_text}; skipped where that is missing")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a marked test whose need is missing, and says so."""
    for name, (_, missing) in MARKERS.items():
        if item.get_closest_marker(name) and (why := missing()):
            pytest.skip(f"{name}: {why}")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a case of bytes by its argument: an archive's bytes hold the time of its making."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests from asking the curator's own endpoint."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four drawn scenes with a cat, 128 px: original/ … mask/, index.csv."""
    from forgetme.scenes.write import write_scenes

    folder = tmp_path_factory.mktemp("drawn")
    write_scenes(folder, count=4, seed=3, concepts=("cat",), size=128)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator:
    """An empty store."""
    from forgetme.store import Store

    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture(scope="session")
def small_assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like assets/tiny: the same classes and formats, smaller, with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from small_models import save_diffusion, save_lama

    from forgetme.stages.sam import build_sam

    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(2)  # one whose masks are not all taken for background
    save_file(build_sam(SMALL_SAM).state_dict(), folder / "segmenter.safetensors")
    (folder / "segmenter.json").write_text(json.dumps(SMALL_SAM))
    clip = open_clip.CLIP(**SMALL_CLIP["model"])
    save_file(clip.state_dict(), folder / "ranker.safetensors")
    (folder / "ranker.json").write_text(json.dumps(SMALL_CLIP))
    save_lama(folder / "filler.pt")
    save_diffusion(folder / "diffusion")
    return folder


@pytest.fixture
def models(small_assets: Path):
    """Models of the real classes at small size with random weights, loaded as the bundled are."""
    from forgetme.stages.models import load_models

    return load_models("tiny", assets=small_assets, device="cpu")


@pytest.fixture
def truth(drawn: Path):
    """Models that know where the cats of `drawn` are: for what the pipeline makes of answers."""
    from truth_models import load_truth

    return load_truth(drawn)


@pytest.fixture
def picture() -> np.ndarray:
    """A 64x96 picture of noise."""
    return np.random.default_rng(5).integers(0, 256, (64, 96, 3), dtype=np.uint8)
