"""Ranks masks by how much CLIP sees the concept in them, all crops of an image in one batch."""

from __future__ import annotations

import logging
import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import cv2
import numpy as np
import open_clip
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from forgetme.record.concept import plain
from forgetme.record.masks import box_xywh, check_mask
from forgetme.record.sample import Proposal
from forgetme.stages.checkpoint import UNREADABLE, check_shapes, existing, read_config, unusable
from forgetme.stages.vocabulary import Vocabulary

log = logging.getLogger(__name__)

GREY = (124, 116, 104)  # CLIP's mean colour, RGB
PAD = 0.125  # context on each side of a box, as a part of its longer side
BLUR = 0.1  # sigma of the blur outside the mask, as a part of the crop's side
BATCH = 128  # crops a forward pass
KEEP_PROMPTS = 4096  # embedded prompts kept in memory

TEMPLATES = ("a photo of a {}.",)
# What a mask may hold instead of the concept, for models that know all words.
DISTRACTORS = (
    "background",
    "sky",
    "grass",
    "wall",
    "water",
    "tree",
    "person",
    "object",
    "texture",
    "ground",
)


class Ranker:
    """Scores masks against a concept with a CLIP model; safe to call from several threads."""

    def __init__(
        self,
        model: open_clip.CLIP,
        made_by: str,
        *,
        context_length: int = 77,
        mean: Sequence[float] = open_clip.OPENAI_DATASET_MEAN,
        std: Sequence[float] = open_clip.OPENAI_DATASET_STD,
        templates: Sequence[str] = TEMPLATES,
        vocabulary: Vocabulary | Sequence[str] = (),
    ) -> None:
        """Wraps an open_clip model.

        Args:
            model: in eval mode, on its device; it takes CLIP's byte-pair tokens.
            made_by: the checkpoint's name.
            context_length: tokens a prompt.
            mean: pixel mean a channel, of [0, 1].
            std: pixel standard deviation a channel.
            templates: prompts around a label; their embeddings are averaged.
            vocabulary: the words that the model was taught, which then are the distractors; empty
                for a model that knows all words.
        """
        self.model = model
        self.made_by = made_by
        self.templates = tuple(templates)
        known = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)
        self.known = known
        self.vocabulary = known.rivals  # of which at most one is true of a mask
        size = model.visual.image_size
        self.resolution: int = size if isinstance(size, int) else size[0]
        self.device = next(model.parameters()).device
        self._tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
        self._mean = torch.tensor(mean, device=self.device).view(3, 1, 1) * 255
        self._std = torch.tensor(std, device=self.device).view(3, 1, 1) * 255
        self._prompts: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = Lock()

    def __call__(
        self, image: np.ndarray, proposals: Sequence[Proposal], concept: str
    ) -> np.ndarray:
        """Scores each mask: the probability of the concept among the distractors.

        Args:
            image: (H, W, 3) uint8 RGB.
            proposals: masks of that image.
            concept: what to look for; `<>` and underscores are taken off.

        Returns:
            (N,) float in [0, 1], higher is better; `choice.order` turns it into a ranking.

        Raises:
            ValueError: the concept is empty, or a mask is empty or of another size.

        Source: CLIP's zero-shot softmax (Radford et al. 2021), mean over two views: blurred
        outside the mask (Yang et al. 2023, "Fine-Grained Visual Prompting") and cut out on grey.
        """
        return self.view_probabilities(image, proposals, self.labels(concept))[:, 0]

    def view_probabilities(
        self, image: np.ndarray, proposals: Sequence[Proposal], labels: Sequence[str]
    ) -> np.ndarray:
        """Gives what each mask holds: (N, L) float, rows sum to 1, mean over both views."""
        if not len(proposals):
            return np.zeros((0, len(labels)))
        views = crop_views(image, [p.mask for p in proposals], self.resolution)  # (2, N, ...)
        embedded = self._embed(views.reshape(-1, *views.shape[2:]))
        chances = self._softmax(embedded, labels, self.templates)
        return chances.reshape(2, len(proposals), len(labels)).mean(0)

    def probabilities(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[str],
        templates: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Classifies whole pictures zero-shot.

        Args:
            images: (H, W, 3) uint8 RGB each, of any sizes; padded to squares, not squashed.
            labels: words, without article.
            templates: prompts with one `{}`; the model's own by default.

        Returns:
            (N, L) float, rows sum to 1.
        """
        embedded = self._embed(self._squares(images))
        return self._softmax(embedded, labels, tuple(templates or self.templates))

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds whole pictures: (N, D) float32 of length 1, from (H, W, 3) uint8 RGB each."""
        return self._embed(self._squares(images)).cpu().numpy()

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts as they stand: (N, D) float32 of length 1."""
        return self._embed_texts(texts).cpu().numpy()

    def labels(self, concept: str) -> list[str]:
        """Gives the concept as plain words, followed by what else a mask may hold."""
        words = plain(concept)
        if not self.known:
            return [words, *(w for w in DISTRACTORS if w.casefold() != words.casefold())]
        word = self.known.find(words)
        if word is None:
            log.warning(
                "%s was never taught %r: its scores for it mean little", self.made_by, words
            )
            return [words, *self.vocabulary]
        return [words, *self.known.against(word)]

    def knows(self, concept: str) -> bool:
        """Tells whether the model was taught this word, by any name; without vocabulary, all."""
        return not self.known or self.known.find(plain(concept)) is not None

    def _squares(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures as (N, R, R, 3) uint8, the short side padded with grey."""
        squares = np.empty((len(images), self.resolution, self.resolution, 3), np.uint8)
        for i, image in enumerate(images):
            _check_image(image)
            side = max(image.shape[:2])
            y, x = ((side - n) // 2 for n in image.shape[:2])
            squares[i] = _cut(image, (-x, -y, side), self.resolution, GREY)
        return squares

    @torch.no_grad()
    def _embed(self, squares: np.ndarray) -> torch.Tensor:
        """Unit embeddings (N, D) of (N, R, R, 3) uint8."""
        parts = []
        for start in range(0, len(squares), BATCH):
            pixels = torch.from_numpy(squares[start : start + BATCH]).to(self.device)
            pixels = (pixels.permute(0, 3, 1, 2) - self._mean) / self._std
            parts.append(self.model.encode_image(pixels, normalize=True))
        return torch.cat(parts) if parts else self._embed_texts([""])[:0]

    def _softmax(
        self, embedded: torch.Tensor, labels: Sequence[str], templates: tuple[str, ...]
    ) -> np.ndarray:
        words = [self.known.find(label) or label for label in labels]
        prompts = [t.format(word) for word in words for t in templates]
        text = self._embed_texts(prompts).view(len(labels), len(templates), -1).mean(1)
        text = torch.nn.functional.normalize(text, dim=-1)  # (L, D)
        scale = self.model.logit_scale.detach().exp()
        return (scale * embedded @ text.T).softmax(-1).double().cpu().numpy()

    @torch.no_grad()
    def _embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        with self._lock:
            fresh = list(dict.fromkeys(t for t in texts if t not in self._prompts))
            if fresh:
                tokens = self._tokenizer(fresh).to(self.device)
                found = self.model.encode_text(tokens, normalize=True)
                self._prompts.update(zip(fresh, found, strict=True))
            embedded = torch.stack([self._prompts[t] for t in texts])
            while len(self._prompts) > KEEP_PROMPTS:
                self._prompts.popitem(last=False)
        return embedded


def crop_views(image: np.ndarray, masks: Sequence[np.ndarray], resolution: int) -> np.ndarray:
    """Cuts two square pictures of each mask: blurred around it, and on plain grey.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (H, W) bool each, none empty.
        resolution: side of the pictures in pixels.

    Returns:
        (2, N, resolution, resolution, 3) uint8: the mask's box with an eighth of context on each
        side, squared by padding; first with everything outside the mask blurred (sigma = a tenth
        of the side), then with it painted in CLIP's mean grey.

    Raises:
        ValueError: a mask is empty or not of the image's size.
    """
    _check_image(image)
    crops = np.empty((len(masks), resolution, resolution, 3), np.uint8)
    mattes = np.empty((len(masks), 1, resolution, resolution), np.float32)
    for i, mask in enumerate(masks):
        check_mask(mask, image)
        square = _square(mask)
        crops[i] = _cut(image, square, resolution, GREY)
        mattes[i, 0] = _cut(mask, square, resolution, (0, 0, 0)) / np.float32(255)
    sharp = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)  # (N, 3, R, R)
    blur = _gaussian(resolution)
    grey = np.array(GREY, np.float32)[:, None, None]
    around = [blur @ sharp @ blur.T, grey]  # blurred: rows, then columns, of the whole batch
    views = np.stack([outside + mattes * (sharp - outside) for outside in around])
    return (views + 0.5).astype(np.uint8).transpose(0, 1, 3, 4, 2)


def _square(mask: np.ndarray) -> tuple[int, int, int]:
    """The square (x, y, side) around a mask with its context; it may reach over the border."""
    x, y, width, height = box_xywh(mask)
    if not width:
        raise ValueError("cannot rank an empty mask; drop it first")
    side = math.ceil(max(width, height) * (1 + 2 * PAD))
    return round(x + (width - side) / 2), round(y + (height - side) / 2), side


def _cut(
    array: np.ndarray, square: tuple[int, int, int], resolution: int, fill: tuple[int, int, int]
) -> np.ndarray:
    """The square of an image or mask at `resolution`, uint8; `fill` beyond the border."""
    x, y, side = square
    height, width = array.shape[:2]
    part = array[max(y, 0) : min(y + side, height), max(x, 0) : min(x + side, width)]
    if part.dtype == np.bool_:
        part = part.astype(np.uint8) * 255
    edges = (max(-y, 0), max(y + side - height, 0), max(-x, 0), max(x + side - width, 0))
    if any(edges):
        part = cv2.copyMakeBorder(part, *edges, cv2.BORDER_CONSTANT, value=fill)
    how = cv2.INTER_AREA if side > resolution else cv2.INTER_LINEAR
    return cv2.resize(part, (resolution, resolution), interpolation=how)


@lru_cache(maxsize=8)
def _gaussian(resolution: int) -> np.ndarray:
    """The blur of one axis as a matrix (R, R) float32 whose rows sum to 1, borders included."""
    at = np.arange(resolution)
    weights = np.exp(-0.5 * ((at[:, None] - at) / (BLUR * resolution)) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image must be HxWx3 uint8 RGB, got {image.shape} {image.dtype}; "
            "read it with images.read_image"
        )


def load_clip(name: str, checkpoint: str | os.PathLike[str], device: str = "cpu") -> Ranker:
    """Loads a published CLIP checkpoint from a file.

    Args:
        name: open_clip's model name, optionally with the weights' tag: "ViT-B-32-quickgelu",
            "ViT-L-14/openai", "ViT-B-32/laion2b_s34b_b79k". OpenAI's weights were trained with
            QuickGELU, so the tag "openai" always selects that variant.
        checkpoint: `.safetensors`, or `.bin`/`.pt` of plain tensors.
        device: "cpu", "cuda", ...

    Returns:
        The ranker, made by the model's name (and tag).

    Raises:
        MissingModelError: the file is absent, damaged or of another model.
        ValueError: open_clip does not know the name.
    """
    architecture, _, tag = name.partition("/")
    if tag == "openai" and not architecture.endswith("-quickgelu"):
        architecture += "-quickgelu"
    if architecture not in open_clip.list_models():
        raise ValueError(f"unknown CLIP {architecture!r}; open_clip.list_models() names them all")
    path = existing(checkpoint, name="open_clip_model.safetensors")
    try:
        model = open_clip.create_model(architecture, pretrained=str(path), device=device)
    except UNREADABLE as error:
        raise unusable(path, architecture, error) from error
    _fold_batch_norms(model.eval().visual)
    config = open_clip.get_model_config(architecture)
    preprocess = open_clip.get_model_preprocess_cfg(model)
    return Ranker(
        model,
        f"{architecture}/{tag}" if tag else architecture,
        context_length=config["text_cfg"].get("context_length", 77),
        mean=preprocess["mean"],
        std=preprocess["std"],
    )


def load_tiny_clip(path: str | os.PathLike[str], device: str = "cpu") -> Ranker:
    """Loads an open_clip model of our own: safetensors beside a JSON config of the same stem.

    Args:
        path: the `.safetensors` file, or the folder that holds `ranker.safetensors`.
        device: "cpu", "cuda", ...

    Returns:
        The ranker. The config's `model` is what `open_clip.CLIP` takes; `mean`, `std` and
        `templates` are as in `Ranker`; `vocabulary`, `kinds` and `same` are what `Vocabulary`
        takes, the last two may be absent; `name` is for `made_by` (else "tiny-clip").

    Raises:
        MissingModelError: a file is absent or damaged, or they do not belong together.
    """
    path = existing(path, name="ranker.safetensors")
    config_path = existing(path.with_suffix(".json"), name="ranker.json")
    try:
        config = read_config(config_path)
        with torch.device("meta"):
            check_shapes(path, open_clip.CLIP(**config["model"]))
        model = open_clip.CLIP(**config["model"])
        open_clip.load_checkpoint(model, str(path))
        options = {key: config[key] for key in ("mean", "std", "templates")}
        known = Vocabulary(config["vocabulary"], config.get("kinds"), config.get("same"))
    except UNREADABLE as error:
        raise unusable(path, f"a CLIP as {config_path.name} describes it", error) from error
    _fold_batch_norms(model.to(device).eval().visual)
    return Ranker(
        model,
        config.get("name", "tiny-clip"),
        context_length=config["model"]["text_cfg"]["context_length"],
        vocabulary=known,
        **options,
    )


def _fold_batch_norms(visual: torch.nn.Module) -> None:
    """Folds each batch norm into the convolution before it, in place.

    The result is the same up to rounding, at 1.7 times the speed on a CPU; the model is then for
    inference only. The names are those of CLIP's ResNet and of timm's EfficientNet, whose norms
    hold their activation too. A vision transformer has none and stays as it is.
    """
    pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")]
    pairs += [("conv_stem", "bn1"), ("conv_head", "bn2"), ("conv_dw", "bn1"), ("conv_pw", "bn2")]
    inverted = [("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")]
    for module in list(visual.modules()):
        children = dict(module.named_children())
        for conv, norm in inverted if "conv_pwl" in children else pairs:
            if conv in children and isinstance(children.get(norm), torch.nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(children[conv], children[norm]))
                setattr(module, norm, getattr(children[norm], "act", torch.nn.Identity()))
    visual.to(memory_format=torch.channels_last)  # as the crops come
