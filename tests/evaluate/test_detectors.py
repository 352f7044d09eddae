"""Detectors: real classifiers of every kind behind one function, and one of our own training."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_CLIP
from safetensors.numpy import save_file
from typer.testing import CliRunner

from forgetme import cli
from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.evaluate.detectors import known_by, open_recogniser, shown, train_detector
from forgetme.record.images import read_image
from forgetme.record.sample import Layers
from forgetme.scenes import render_scene, write_scenes

CLIP_PARTS = ("vision_cfg", "text_cfg")
DATA = Path(__file__).parents[3] / "shared" / "data" / "photos"


def layers(seeds, size=128):
    scenes = [render_scene(seed, concept="cat", size=size, count=1) for seed in seeds]
    return [Layers.cut(one.image, one.background, one.mask) for one in scenes]


@pytest.mark.bundled
def test_the_bundled_ones_see_a_cat_where_there_is_one():
    pictures = layers(range(40, 52))
    for name in ("bundled", "second"):
        found = open_recogniser(name, concepts=["cat"], device="cpu")
        on, off = (
            shown(found, [getattr(p, layer) for p in pictures], "cats")
            for layer in ("original", "background")
        )
        assert sum(on) >= 6  # some of the cats are small
        assert sum(off) <= 1
        scores = found.predict([pictures[0].original])[0]
        assert sum(scores.values()) == pytest.approx(1)
    with pytest.raises(ForgetmeError, match="tiny/second@.* has no label 'church'"):
        known_by(found, "church")
    known_by(open_recogniser("bundled", concepts=["church"], device="cpu"), "church")


@pytest.mark.bundled
def test_a_detector_is_trained_from_quadruples_and_opens_again(tmp_path):
    record = train_detector(layers(range(24), 96), tmp_path / "cat", concept="<cat>", device="cpu")
    assert record["accuracy"] >= 0.8
    assert (record["concept"], record["samples"]) == ("cat", 24)
    found = open_recogniser(str(tmp_path / "cat"), device="cpu")
    assert found.name == f"detector of cat, {record['accuracy']:.2f} right held out"
    fresh = layers(range(60, 80), 96)
    right = shown(found, [one.original for one in fresh], "cat")
    wrong = shown(found, [one.background for one in fresh], "cat")
    assert sum(right) >= 15
    assert sum(wrong) <= 5
    with pytest.raises(ForgetmeError, match="has no label 'dog'.* it has cat, no cat"):
        known_by(found, "dog")
    told = json.loads((tmp_path / "cat" / "detector.json").read_text())
    head, width = tmp_path / "cat" / "detector.safetensors", found._weight.size
    whole = head.read_bytes()
    old = {key: told[key] for key in ("concept", "ranker", "accuracy")}  # as it was without sums
    flat = {"weight": np.zeros(width, np.float32), "bias": np.zeros(1, np.float32)}
    for record, tensors, said in (
        (old | {"ranker": "another"}, flat, "trained on another, train it again"),
        (told, flat, "its weights are not what was written"),
        (told | {"accuracy": 0.5}, None, "it is not what was written"),
        (old, flat | {"weight": np.zeros((width, width), np.float32)}, "must be 256 finite"),
        (old, flat | {"weight": np.full(width, np.nan, np.float32)}, "must be 256 finite"),
        (old, flat | {"bias": np.zeros(0, np.float32)}, "not enough values"),
        (old | {"accuracy": "x"}, flat, "format code"),
    ):
        save_file(tensors, head) if tensors else head.write_bytes(whole)
        (tmp_path / "cat" / "detector.json").write_text(json.dumps(record))
        with pytest.raises(MissingModelError, match=said) as refused:
            open_recogniser(str(tmp_path / "cat"), device="cpu")
        assert len(str(refused.value).splitlines()) == 1
    save_file(flat, head)
    (tmp_path / "cat" / "detector.json").write_text(json.dumps(old))
    assert open_recogniser(str(tmp_path / "cat"), device="cpu").predict([fresh[0].original])
    with pytest.raises(ForgetmeError, match="needs 4 accepted quadruples or more, got 3"):
        train_detector(layers(range(3), 64), tmp_path / "few", concept="cat")


@pytest.mark.bundled
def test_the_command_trains_one_from_a_folder_of_layers(tmp_path):
    write_scenes(tmp_path / "drawn", count=5, seed=3, concepts=("cat",), size=64)
    out = str(tmp_path / "cat")
    asked = ["train-detector", "--concept", "cat", "--out", out, "--json"]
    refused = CliRunner().invoke(cli.app, asked)
    assert "name the samples: --store or --data" in refused.output
    told = CliRunner().invoke(cli.app, [*asked, "--data", str(tmp_path / "drawn")])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["samples"] == 5
    assert open_recogniser(out, device="cpu").name.startswith("detector of cat")


def test_a_torchvision_classifier_answers_with_imagenets_categories(tmp_path, monkeypatch, picture):
    from torchvision.models import ShuffleNet_V2_X0_5_Weights, shufflenet_v2_x0_5

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    model = shufflenet_v2_x0_5()
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.zero_()[497] = 5.0  # category 497 is church
    file = tmp_path / "hub" / "checkpoints" / Path(ShuffleNet_V2_X0_5_Weights.DEFAULT.url).name
    file.parent.mkdir(parents=True)
    torch.save(model.state_dict(), file)
    found = open_recogniser("shufflenet_v2_x0_5", device="cpu")
    assert shown(found, [picture], "Church") == [True]
    assert shown(found, [picture], "parachute") == [False]
    assert found.predict([picture])[0]["church"] == pytest.approx(np.e**5 / (np.e**5 + 999), 1e-3)
    with pytest.raises(ForgetmeError, match="no label 'cat'.* it has .*Egyptian cat"):
        known_by(found, "cat")
    for content in (pickled_run(tmp_path / "it-ran"), b"junk", b""):
        file.write_bytes(content)
        with pytest.raises(MissingModelError, match="cannot be had"):
            open_recogniser("shufflenet_v2_x0_5", device="cpu")
    assert not (tmp_path / "it-ran").exists()


def pickled_run(mark: Path) -> bytes:
    """Weights of a stranger that would make a file where they are read as Python reads them."""

    class Runs:
        def __reduce__(self):
            return Path.touch, (mark,)

    file = io.BytesIO()
    torch.save({"fc.weight": torch.zeros(1), "x": Runs()}, file)
    return file.getvalue()


def test_an_open_clip_model_reads_a_file_and_says_which_weights_it_knows(tmp_path, picture):
    import open_clip
    from safetensors.torch import save_file

    config = {"embed_dim": 16, **{part: SMALL_CLIP["model"][part] for part in CLIP_PARTS}}
    (tmp_path / "small-clip-of-a-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "small-clip-of-a-test.json")
    model = open_clip.create_model("small-clip-of-a-test")
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    found = open_recogniser(
        f"small-clip-of-a-test/{tmp_path / 'clip.safetensors'}", concepts=["zebra"], device="cpu"
    )
    scores = found.predict([picture])[0]
    assert "zebra" in scores
    assert sum(scores.values()) == pytest.approx(1)
    with pytest.raises(ForgetmeError, match="RN50 has no weights 'nothing'; it has: openai"):
        open_recogniser("RN50/nothing")


def test_an_unknown_detector_is_refused_with_those_that_there_are():
    with pytest.raises(ForgetmeError, match="unknown detector 'nonsense'; known: bundled, second"):
        open_recogniser("nonsense")


@pytest.mark.skipif(
    importlib.util.find_spec("nudenet") is not None, reason="NudeNet is installed here"
)
def test_without_nudenet_it_is_said_how_to_get_it():
    with pytest.raises(MissingModelError, match="pip install --no-deps nudenet"):
        open_recogniser("nudenet")


@pytest.mark.photos
def test_nudenet_counts_parts_on_harmless_photos():
    pytest.importorskip("nudenet", reason="NudeNet is an extra that the user installs")
    photos = sorted((DATA / "grabcut").rglob("*.jpg"))[:6]
    assert photos
    images = [read_image(one) for one in photos]
    many, few = (open_recogniser("nudenet", threshold=t) for t in (0.25, 0.9))
    assert "score at least 0.9" in few.name
    for low, high in zip(many.predict(images), few.predict(images), strict=True):
        assert len(low) == 18
        assert all(low[part] >= high[part] >= 0 for part in low)
    assert not any(shown(few, images, "FEMALE_BREAST_EXPOSED"))
    with pytest.raises(ForgetmeError, match="no threshold 0.1"):
        open_recogniser("nudenet", threshold=0.1)
