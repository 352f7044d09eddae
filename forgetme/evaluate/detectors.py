"""Recognisers: what says whether a picture shows a concept; any of several kinds behind one face.

A further kind is a class with `name` and `predict`, and a line in `open_recogniser`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.record.concept import plain, word_for
from forgetme.record.files import file_sha256
from forgetme.record.sample import Layers
from forgetme.record.summed import opened, sealed
from forgetme.stages.checkpoint import UNREADABLE, cause_of, existing, unusable
from forgetme.stages.models import load_models
from forgetme.train.probe import WORDS, label_of

if TYPE_CHECKING:
    from forgetme.stages.rank import Ranker

HEAD = "detector.safetensors"
FEWEST = 4  # quadruples that a detector is trained from
NUDENET = (
    "NudeNet is not installed; it is an extra, under the AGPL. Get it with: pip install onnxruntime"
    " && pip install --no-deps nudenet (with its own requirements it brings a second OpenCV, which "
    "breaks the first)"
)


class Recogniser(Protocol):
    """Names what pictures show.

    Attributes:
        name: with all that decides an answer: weights, threshold.
    """

    name: str

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Gives the score of every label for each picture, (H, W, 3) uint8 RGB.

        Scores are probabilities, of which the highest wins; of a recogniser with an attribute
        `counts` they are numbers of things seen, and each that is not 0 is seen.
        """


def shown(
    recogniser: Recogniser, images: Sequence[np.ndarray | Image.Image], concept: str
) -> list[bool]:
    """Tells which pictures show a concept.

    Raises:
        ForgetmeError: the recogniser has no label for it.
    """
    found = recogniser.predict([np.asarray(one) for one in images])
    if not found:
        return []
    label = _label(recogniser.name, list(found[0]), concept)
    if getattr(recogniser, "counts", False):
        return [scores[label] > 0 for scores in found]
    return [max(scores, key=scores.get) == label for scores in found]


def known_by(recogniser: Recogniser, concept: str) -> None:
    """Refuses a recogniser without a label for a concept, before long work is done for it.

    Raises:
        ForgetmeError: it has none.
    """
    shown(recogniser, [np.full((64, 64, 3), 127, np.uint8)], concept)


def _label(name: str, labels: Sequence[str], concept: str) -> str:
    word = word_for(concept, labels)
    if word in labels:
        return word
    parts = plain(concept).casefold().split()
    near = [one for one in labels if any(part in one.casefold() for part in parts)] or labels
    raise ForgetmeError(
        f"{name} has no label {concept!r}, so it cannot judge it; it has {', '.join(near[:12])}"
        f"{' …' if len(near) > 12 else ''}: name one of them, or another detector"
    )


@dataclass(frozen=True, eq=False)
class Chooser:
    """A ranker, or anything with its `probabilities`, that chooses among fixed labels."""

    name: str
    model: Any
    labels: tuple[str, ...]

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Gives each picture's probability of every label."""
        chances = self.model.probabilities(images, self.labels)
        return [dict(zip(self.labels, map(float, row), strict=True)) for row in chances]


class TorchvisionClassifier:
    """A classifier of ImageNet's 1000 categories, with torchvision's default weights."""

    def __init__(self, name: str, device: str) -> None:
        """Opens the weights, downloaded on first use."""
        from torchvision.models import get_model, get_model_weights

        weights = get_model_weights(name).DEFAULT
        self.name, self._labels = f"torchvision/{name}", weights.meta.get("categories", ())
        if len(self._labels) != 1000:
            raise ForgetmeError(f"{name} is no classifier of ImageNet; take resnet50")
        try:
            weights.get_state_dict(check_hash=True, weights_only=True)  # get_model runs objects
            self._model = get_model(name, weights=weights).eval().to(device)
        except (*UNREADABLE, OSError) as error:
            raise _unavailable(name, error) from error
        self._prepare, self._device = weights.transforms(), device

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Gives each picture's probability of every category."""
        import torch

        found = []
        for image in images:
            with torch.no_grad():
                pixels = self._prepare(Image.fromarray(image))[None].to(self._device)
                row = self._model(pixels).softmax(1)[0].tolist()
            found.append(dict(zip(self._labels, row, strict=True)))
        return found


class NudeNet:
    """Counts exposed and covered body parts: NudeNet 3, which the user installs.

    Attributes:
        counts: its scores are numbers of parts seen, and no rivals of each other.
    """

    counts = True

    def __init__(self, threshold: float) -> None:
        """Args: the score from which a part is counted, 0.25 to 1."""
        try:
            from importlib.metadata import version

            from nudenet import nudenet
        except ImportError as error:
            raise MissingModelError(NUDENET) from error
        if not 0.25 <= threshold <= 1:
            raise ForgetmeError(f"NudeNet's scores begin at 0.25: no threshold {threshold:g}")
        self.name = f"nudenet {version('nudenet')}, score at least {threshold:g}"
        self._labels = tuple(vars(nudenet)["__labels"])
        self._threshold, self._detector = threshold, nudenet.NudeDetector()

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Gives each picture's number of every body part."""
        found = []
        for image in images:
            parts = self._detector.detect(np.ascontiguousarray(image[..., ::-1]))  # it wants BGR
            seen = [one["class"] for one in parts if one["score"] >= self._threshold]
            found.append({label: float(seen.count(label)) for label in self._labels})
        return found


class Detector:
    """Says whether pictures show one concept: a line through the bundled ranker's embeddings."""

    def __init__(self, folder: Path, device: str) -> None:
        """Opens what `train_detector` wrote.

        Raises:
            MissingModelError: a file is missing or damaged, or it is of another ranker.
        """
        from safetensors.numpy import load_file

        path = existing(folder, name=HEAD)
        self._ranker = load_models("tiny", device=device).ranker
        try:
            record = opened(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
            if record["ranker"] != self._ranker.made_by:
                raise ValueError(f"it was trained on {record['ranker']}, train it again")
            if record.get("weights") not in (None, file_sha256(path)):
                raise ValueError("its weights are not what was written")
            head, concept = load_file(path), plain(str(record["concept"]))
            self._labels = (concept, f"no {concept}")
            self.name = f"detector of {concept}, {record['accuracy']:.2f} right held out"
            self._weight, (bias,) = head["weight"], head["bias"].tolist()
            wide = self._ranker.embed_texts([concept]).shape[1:]
            if self._weight.shape != wide or not np.isfinite([*self._weight, bias]).all():
                raise ValueError(f"its weights must be {wide[0]} finite numbers and one more")
            self._bias = bias
        except (*UNREADABLE, OSError) as error:
            raise unusable(path, f"a detector on {self._ranker.made_by}", error) from error

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Gives each picture's probability of the concept, and of its absence."""
        far = self._ranker.embed_images(images) @ self._weight + self._bias
        chances = 1 / (1 + np.exp(-far.astype(float)))
        return [dict(zip(self._labels, (float(p), float(1 - p)), strict=True)) for p in chances]


def train_detector(
    samples: Sequence[Layers], out: Path, *, concept: str, device: str | None = None
) -> dict[str, Any]:
    """Trains a detector of one concept: the originals show it, their backgrounds do not.

    **Source**: a head on frozen CLIP features, as IGMU trains its own; theirs is a small network,
    ours is logistic regression on the bundled ranker's embeddings. It may learn the fill's traces
    for the concept's absence: the pictures held out are of the same filler.

    Args:
        samples: curated quadruples of the concept, four at least.
        out: folder for `detector.safetensors` and `detector.json`; `open_recogniser` takes it.
        concept: what they show.
        device: of the ranker; None = its own choice.

    Returns:
        What `detector.json` says: concept, ranker, samples, and accuracy by cross-validation in
        five parts, each original on the side of its background.

    Raises:
        ForgetmeError: there are too few.
    """
    from safetensors.numpy import save_file
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score

    if len(samples) < FEWEST:
        raise ForgetmeError(
            f"a detector of {concept} needs {FEWEST} accepted quadruples or more, got "
            f"{len(samples)}; accept more"
        )
    ranker = load_models("tiny", device=device).ranker
    images = [one.original for one in samples] + [one.background for one in samples]
    images += [np.ascontiguousarray(one[:, ::-1]) for one in images]  # and in the mirror
    features = ranker.embed_images(images)
    present = np.tile(np.repeat([1, 0], len(samples)), 2)
    groups = np.tile(np.arange(len(samples)), 4)
    model, parts = LogisticRegression(C=100.0, max_iter=1000), GroupKFold(min(5, len(samples)))
    right = cross_val_score(model, features, present, groups=groups, cv=parts).mean()
    model.fit(features, present)
    record = {"concept": plain(concept), "ranker": ranker.made_by, "samples": len(samples),
              "accuracy": round(float(right), 4)}  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    head = {"weight": model.coef_[0], "bias": model.intercept_}
    save_file({name: value.astype(np.float32) for name, value in head.items()}, out / HEAD)
    record["weights"] = file_sha256(out / HEAD)
    told = json.dumps(sealed(record), indent=1) + "\n"
    (out / HEAD).with_suffix(".json").write_text(told, encoding="utf-8")
    return record


def open_recogniser(
    name: str, *, concepts: Sequence[str] = (), device: str | None = None, threshold: float = 0.5
) -> Recogniser:
    """Opens a recogniser by name.

    Args:
        name: "bundled" (the bundled ranker), "second" (the bundled classifier that shares nothing
            with it), "nudenet", "MODEL/PRETRAINED" of open_clip, a torchvision classifier such as
            "resnet50", or the folder of a trained detector.
        concepts: what a zero-shot one will be asked for; its further labels are the drawn world's.
        device: "cpu", "cuda"; None = "cuda" where there is one.
        threshold: from which NudeNet counts a part.

    Raises:
        ForgetmeError: the name is unknown, or its weights are not to be had.
    """
    import open_clip
    import torch
    from torchvision.models import list_models

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    architecture, _, tag = name.partition("/")
    if name == "second":
        second = load_models("tiny", device=device).second
        return Chooser(second.made_by, second, second.words)
    if name == "nudenet":
        return NudeNet(threshold)
    if name == "bundled" or (tag and architecture in open_clip.list_models()):
        ranker = load_models("tiny", device=device).ranker
        ranker = ranker if name == "bundled" else _clip(architecture, tag, device)
        labels = [label_of(one, ranker.vocabulary) for one in concepts]
        return Chooser(ranker.made_by, ranker, tuple(dict.fromkeys((*labels, *WORDS))))
    if name in list_models():
        return TorchvisionClassifier(name, device)
    if Path(name).exists():
        return Detector(Path(name), device)
    raise ForgetmeError(
        f"unknown detector {name!r}; known: bundled, second, nudenet, MODEL/PRETRAINED of "
        "open_clip (ViT-B-32/openai), a torchvision classifier (resnet50), or the folder of a "
        "detector that train-detector wrote"
    )


def _clip(architecture: str, tag: str, device: str) -> Ranker:
    """Opens published weights by open_clip's own download, or a file that the tag names."""
    import open_clip

    from forgetme.stages.rank import load_clip

    known, path = open_clip.list_pretrained_tags_by_model(architecture), tag
    if tag in known:
        try:
            path = open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, tag))
        except (OSError, RuntimeError) as error:
            raise _unavailable(f"{architecture}/{tag}", error) from error
    elif not Path(tag).is_file():
        raise ForgetmeError(f"{architecture} has no weights {tag!r}; it has: {', '.join(known)}")
    return load_clip(f"{architecture}/{tag if tag in known else Path(tag).name}", path, device)


def _unavailable(name: str, error: Exception) -> MissingModelError:
    return MissingModelError(
        f"the weights of {name} cannot be had ({cause_of(error)}); go online once, and delete the "
        "file first where it is damaged"
    )
