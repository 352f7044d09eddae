"""Model files of strangers: refused in one line before anything of theirs runs."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import open_clip
import pytest
import torch
from conftest import SMALL_CLIP, SMALL_SAM
from safetensors.torch import load_file, save_file
from small_models import save_diffusion

from forgetme.errors import MissingModelError
from forgetme.metrics.inception import Inception
from forgetme.stages.clipaway.tower import load_alpha_clip
from forgetme.stages.diffusion import Diffusion
from forgetme.stages.inpaint import Inpainter
from forgetme.stages.rank import load_clip, load_tiny_clip
from forgetme.stages.sam import build_sam, read_own, read_published


class _Runs:
    """What a pickle runs when it is read as Python's own loader reads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def pickled(tmp_path):
    """A file of objects; the mark is there if it was ever run."""
    mark = tmp_path / "it-ran"

    def write(name: str) -> Path:
        torch.save({"weight": torch.zeros(2), "x": _Runs(mark)}, tmp_path / name)
        return tmp_path / name

    yield write
    assert not mark.exists()


def _small_clip(path: Path) -> object:
    folder = path.parent / "configs"
    folder.mkdir()
    (folder / "stranger-clip.json").write_text(json.dumps(SMALL_CLIP["model"]))
    open_clip.add_model_config(folder)
    return load_clip("stranger-clip", path)


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("sam.pth", lambda path: read_published("vit_b", path)),
        ("clip.pt", _small_clip),
        ("lama.pt", Inpainter),
        ("tower.pth", load_alpha_clip),
        ("inception.pth", Inception),
        ("segmenter.safetensors", read_own),
    ],
)
def test_a_pickle_is_never_run_and_its_refusal_advises_nothing_unsafe(pickled, name, load):
    path = pickled(name)
    path.with_suffix(".json").write_text(json.dumps(SMALL_SAM))
    with pytest.raises(MissingModelError) as refused:
        load(path)
    told = str(refused.value)
    assert len(told.splitlines()) == 1
    assert str(path) in told
    assert not any(word in told for word in ("weights_only", "trust", "False"))


@pytest.mark.parametrize("load", [lambda path: read_published("vit_b", path), Inception])
@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x02.", b"\x80\x02]", b"PK\x03\x04x"])
def test_a_file_of_junk_is_refused_in_one_line(tmp_path, load, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(MissingModelError, match="does not hold") as refused:
        load(path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture(scope="module")
def own_sam(tmp_path_factory) -> Path:
    """A small segmenter of ours: weights and config."""
    path = tmp_path_factory.mktemp("own") / "segmenter.safetensors"
    save_file(build_sam(SMALL_SAM).state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps(SMALL_SAM))
    read_own(path)  # it is right as it stands
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embed_dim": 65_536}, "must be"),  # 100 GB, were it built
        ({"embed_dim": 10**9}, "embed_dim must be at most 65536"),
        ({"depth": 10**9}, "depth must be at most 128"),
        ({"image_size": float("nan")}, "image_size must be at most"),
        ({"depth": 2}, "and must be"),
    ],
)
def test_a_config_that_does_not_fit_its_weights_costs_no_memory(own_sam, tmp_path, change, words):
    path = shutil.copy(own_sam, tmp_path)
    Path(path).with_suffix(".json").write_text(json.dumps(SMALL_SAM | change))
    with pytest.raises(MissingModelError, match=words):
        read_own(path)


@pytest.mark.parametrize("name", ["hf-hub:me/model", "me/model"])
def test_a_config_downloads_nothing(tmp_path, name):
    path = tmp_path / "ranker.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    vision = {"timm_model_name": name, "image_size": 32}
    model = SMALL_CLIP["model"] | {"vision_cfg": vision}
    path.with_suffix(".json").write_text(json.dumps(SMALL_CLIP | {"model": model}))
    with pytest.raises(MissingModelError, match="downloads nothing"):
        load_tiny_clip(path)


def _header(path: Path, length: int, text: bytes) -> None:
    path.write_bytes(struct.pack("<Q", length) + text)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (2**60, b"{}"),
        (10**8, b"{" + b" " * 1000),
        (79, b'{"x":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'),
        (16, b'{"x": [1, 2, 3]}'),
    ],
)
def test_a_damaged_header_of_safetensors_is_one_line(own_sam, tmp_path, length, text):
    path = tmp_path / "segmenter.safetensors"
    _header(path, length, text)
    shutil.copy(own_sam.with_suffix(".json"), tmp_path)
    with pytest.raises(MissingModelError, match="get the file again") as refused:
        read_own(path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return save_diffusion(tmp_path_factory.mktemp("good") / "model")


class TestDiffusion:
    @pytest.fixture
    def folder(self, good, tmp_path):
        return Path(shutil.copytree(good, tmp_path / "model"))

    @staticmethod
    def index(folder: Path, **change: object) -> None:
        path = folder / "model_index.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    def refused(self, folder: Path) -> str:
        with pytest.raises(MissingModelError) as refused:
            Diffusion(folder)
        assert len(str(refused.value).splitlines()) == 1
        assert "trust_remote_code" not in str(refused.value)
        return str(refused.value)

    def test_code_in_a_folder_is_never_run(self, folder, tmp_path):
        mark = tmp_path / "it-ran"
        code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
        for place in ("unet/evil.py", "pipeline.py"):
            (folder / place).write_text(code)
            assert "code of its own" in self.refused(folder)
            (folder / place).unlink()
        assert not mark.exists()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"unet": ["evil", "UNet"]}, "its unet is"),
            ({"text_encoder": ["transformers", "AutoModel"]}, "its text_encoder is"),
            ({"scheduler": ["os", "system"]}, "its scheduler is"),
            ({"_class_name": ["pipeline", "MyPipeline"]}, "pipeline of its own"),
        ],
    )
    def test_parts_come_from_the_libraries_alone(self, folder, change, words):
        self.index(folder, **change)
        assert words in self.refused(folder)

    def test_a_pickle_in_place_of_safetensors_is_not_read(self, folder, pickled):
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        shutil.move(pickled("x.bin"), folder / "unet" / "diffusion_pytorch_model.bin")
        self.refused(folder)

    def test_weights_of_another_shape_are_refused(self, folder):
        path = folder / "vae" / "diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        name = next(iter(tensors))
        save_file(tensors | {name: torch.zeros(3, 3)}, path)
        self.refused(folder)

    @pytest.mark.parametrize("lost", ["tokenizer/tokenizer.json", "tokenizer"])
    def test_a_lost_vocabulary_is_refused(self, folder, lost):
        gone = folder / lost
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        self.refused(folder)

    def test_lost_merges_are_refused(self, folder):
        path = folder / "tokenizer" / "tokenizer.json"
        saved = json.loads(path.read_text())
        saved["model"]["merges"] = []
        path.write_text(json.dumps(saved))
        assert "merges are missing" in self.refused(folder)

    def test_the_whole_folder_loads(self, folder):
        Diffusion(folder)
