"""Unlearning in classification: numbers from the papers and the vectors, and a small real run."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from forgetme.classify import METHODS, BenchSettings, run
from forgetme.classify.bench import published
from forgetme.classify.nets import ResNet18
from forgetme.classify.pictures import Pictures, read, split
from forgetme.classify.scores import membership, tug_of_war
from forgetme.classify.unlearn import (
    FitSettings,
    UnlearnSettings,
    excess_weights,
    salient_weights,
    shaken,
    top_share,
    unlearn,
    wrong_labels,
)
from forgetme.cli import app
from forgetme.errors import ForgetmeError

CLASSES = ("red", "green", "blue")


def coloured(count: int, seed: int = 0) -> Pictures:
    """Noise that leans to its class's colour; every tenth picture leans elsewhere."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = draw.integers(0, 120, (count, 3, 32, 32))
    for i, label in enumerate(labels):
        images[i, label if i % 10 else draw.integers(3)] += 70
    return Pictures(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels), CLASSES)


# ---------------------------------------------------------------- numbers


def test_tug_of_war_is_the_papers():
    """LoReUn's Table 1, random data: accuracies in percent, and the ToW printed beside them."""
    retrained = (94.37, 100.0, 94.51)
    printed = {
        (94.77, 97.92, 92.24): 0.9531, (92.82, 99.88, 93.78): 0.9761,
        (93.37, 99.94, 93.80): 0.9823, (93.44, 99.91, 94.01): 0.9848,
        (96.62, 99.32, 93.48): 0.9608, (93.92, 99.95, 93.92): 0.9891,
        (94.46, 99.93, 94.30): 0.9963, (93.64, 99.95, 94.11): 0.9882,
    }  # fmt: skip
    for ours, tow in printed.items():
        found = tug_of_war([a / 100 for a in ours], [b / 100 for b in retrained])
        assert found == pytest.approx(tow, abs=1.5e-4)


def test_membership_tells_what_looks_seen_from_what_looks_unseen():
    draw = np.random.default_rng(0)
    members, outsiders = draw.normal(0.99, 0.005, 200), draw.normal(0.6, 0.1, 200)
    assert membership(members, outsiders, draw.normal(0.99, 0.005, 200)) == 0
    assert membership(members, outsiders, draw.normal(0.6, 0.1, 200)) == 1
    assert membership(members, outsiders, np.array([0.85])) == 1
    assert membership(members, outsiders, np.array([0.90])) == 0


def test_weights_follow_the_excess_loss():
    losses = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    for eta, weights in (
        (-0.1, [0.355627, 0.338283, 0.306091]),
        (0.2, [0.289433, 0.319873, 0.390694]),
    ):
        found = excess_weights(losses, 0.0, eta)
        assert found.tolist() == pytest.approx(weights, abs=1e-6)
        assert excess_weights(losses, 7.0, eta).tolist() == pytest.approx(weights, abs=1e-6)
    assert excess_weights(losses, None, 0.2).tolist() == pytest.approx([1 / 3] * 3)


def test_the_largest_gradients_of_all_tensors_together_are_salient():
    sizes = {"a": torch.tensor([0.3, 0.1, 0.2]), "b": torch.tensor([0.5, 0.05])}
    chosen = top_share(sizes, 0.5)  # int(2.5) = 2
    assert chosen["a"].tolist() == [True, False, False]
    assert chosen["b"].tolist() == [True, False]


def test_gradients_of_opposite_sign_cancel_before_they_are_ranked():
    """One sample with both labels: their gradients at the last bias are opposite and equal."""
    net = ResNet18(2, width=2)
    torch.nn.init.zeros_(net.fc.weight)
    torch.nn.init.zeros_(net.fc.bias)
    image = coloured(1).images.expand(2, -1, -1, -1)
    both = Pictures(image, torch.tensor([0, 1]), ("a", "b"))
    parts = split(coloured(60), coloured(6), "random")
    chosen = salient_weights(net, type(parts)(both, both, both), 0.5)
    assert (
        sum(int(one.sum()) for one in chosen.values())
        == sum(one.numel() for one in net.parameters()) // 2
    )
    loss = [cross_entropy(net.eval()(image[:1]), label[None]) for label in both.labels]
    signed = sum(torch.autograd.grad(one, net.fc.bias)[0] for one in loss)
    assert signed.abs().max() < 1e-6


def test_wrong_labels_are_wrong_and_the_others_are_as_likely():
    labels = torch.arange(4).repeat(2000)
    wrong = wrong_labels(labels, 4, torch.Generator().manual_seed(0))
    assert (wrong != labels).all()
    counts = torch.bincount((wrong - labels) % 4)
    assert counts[0] == 0
    assert (counts[1:] / len(labels) - 1 / 3).abs().max() < 0.02


# ---------------------------------------------------------------- pictures


def test_a_split_is_disjoint_and_class_wise_leaves_the_class_out_of_the_test():
    train, test = coloured(300), coloured(60, seed=1)
    parts = split(train, test, "random", seed=3)
    assert (len(parts.forget), len(parts.retain), len(parts.test)) == (27, 243, 60)
    parts = split(train, test, "green")
    assert set(parts.forget.labels.tolist()) == {1}
    assert set(parts.retain.labels.tolist()) == set(parts.test.labels.tolist()) == {0, 2}
    assert (len(parts.forget), len(parts.test)) == (90, 40)
    with pytest.raises(ForgetmeError, match="random, or one of: red, green, blue"):
        split(train, test, "grass")


def test_folders_and_zips_are_read_alike(tmp_path: Path):
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / "set" / place).mkdir(parents=True)
        for i in range(3):
            colour = (50 * i, 100, 200 if "dog" in place else 20)
            Image.new("RGB", (40, 20), colour).save(tmp_path / "set" / place / f"{i}.png")
    train, test = read(tmp_path / "set")
    assert train.classes == ("cat", "dog")
    assert (train.images.shape, len(test)) == ((6, 3, 32, 32), 6)
    assert train.images[0, :, 0, 0].tolist() == [0, 100, 20]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in (tmp_path / "set").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path / "set"))
    packed, _ = read(tmp_path / "set.zip")
    assert torch.equal(packed.images, train.images)
    half, rest = read(tmp_path / "set" / "train")  # no test/ of its own
    assert (len(half), len(rest)) == (4, 2)
    (tmp_path / "set" / "train" / "cat" / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ForgetmeError, match=r"bad.png: cannot be read"):
        read(tmp_path / "set")
    with pytest.raises(ForgetmeError, match="no pictures in folders of classes"):
        read(tmp_path / "nothing")


def test_shaken_pictures_are_shifted_and_mirrored():
    images = torch.arange(32, dtype=torch.uint8).expand(64, 3, 32, 32)  # columns count up
    moved = shaken(images, torch.Generator().manual_seed(0))
    middles = {int(one[0, 16, 17]) - int(one[0, 16, 16]) for one in moved}
    assert middles == {1, -1}
    assert {int(one[0, 16, 16]) for one in moved} > {14, 17}


# ---------------------------------------------------------------- runs


def test_what_is_not_salient_stays_bit_by_bit():
    net = ResNet18(3, width=2)
    parts = split(coloured(120), coloured(30), "random")
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    masks = salient_weights(net, parts, 0.5)
    unlearn(net, parts, UnlearnSettings(1, batch=16, salient=0.5), 0, lambda *_: None)
    changed = 0
    for name, weight in net.named_parameters():
        assert torch.equal(weight[~masks[name]], before[name][~masks[name]])
        changed += int((weight != before[name]).sum())
    assert changed > 0


def test_no_weights_is_plain_random_labelling_and_lone_samples_are_refused():
    parts = split(coloured(120), coloured(30), "random")
    results = []
    for reweigh in ("", "both"):
        torch.manual_seed(0)
        net = ResNet18(3, width=2)
        asked = UnlearnSettings(1, batch=16, reweigh=reweigh, eta_f=0, eta_r=0)
        unlearn(net, parts, asked, 0, lambda *_: None)
        results.append(net.fc.weight)
    assert torch.allclose(*results, atol=1e-6)
    with pytest.raises(ValueError, match="at least 2"):
        unlearn(net, parts, UnlearnSettings(batch=1, reweigh="f"), 0, lambda *_: None)


def test_settings_are_the_published_ones():
    assert published("rl-both", "random").epochs == 20
    both = published("salun-both", "cat")
    assert (both.epochs, both.lr, both.eta_f, both.eta_r, both.salient) == (10, 0.01, 0.2, 0.1, 0.5)
    assert (published("rl-f", "random").eta_f, published("rl-f", "random").eta_r) == (0.1, 0.25)


def test_a_class_is_forgotten_and_the_rest_kept(tmp_path: Path):
    settings = BenchSettings(
        "green", width=4, fit=FitSettings(epochs=3, batch=16), unlearn_epochs=12, lr=0.03
    )
    data = coloured(240), coloured(90, seed=1)
    told = []
    rows = run(data, ["rl", "salun-both"], tmp_path, settings, lambda *at: told.append(at))
    assert [row.method for row in rows] == ["retrain", "rl", "salun-both"]
    assert (rows[0].tow, rows[0].forget_accuracy) == (1, 0)
    for row in rows[1:]:
        assert row.forget_accuracy < 0.3
        assert row.retain_accuracy > 0.8
        assert row.ua_salun == 1 - row.forget_accuracy
    assert {what for what, *_ in told} == {"original", "retrain", "rl", "salun-both"}
    kept = json.loads((tmp_path / "results.json").read_text())
    assert [row["method"] for row in kept["rows"]] == ["retrain", "rl", "salun-both"]
    told.clear()
    again = run(data, ["rl"], tmp_path, settings, lambda *at: told.append(at))
    assert {what for what, *_ in told} == {"rl"}  # the trained models are taken again
    assert again[1].forget_accuracy == rows[1].forget_accuracy
    model = next(tmp_path.glob("retrain-*.safetensors"))
    model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(ForgetmeError, match="damaged .* delete it"):
        run(data, ["rl"], tmp_path, settings)


def test_the_command_prints_both_conventions(tmp_path: Path):
    for label, colour in (("cat", 40), ("dog", 200)):
        for i in range(12):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (32, 32), (colour, 5 * i, 60))
            image.save(tmp_path / "data" / label / f"{i}.png")
    asked = ["classify", "rl", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    small = ["--width", "2", "--epochs", "1", "--unlearn-epochs", "1", "--device", "cpu"]
    result = CliRunner().invoke(app, [*asked, *small, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["method"] for row in rows] == ["retrain", "rl"]
    assert rows[1]["ua_salun"] == 1 - rows[1]["forget_accuracy"]
    wrong = CliRunner().invoke(app, ["classify", "magic", *asked[2:], *small])
    assert wrong.exit_code == 1
    assert f"known: {', '.join(METHODS)}" in wrong.output
