"""Object masks by Segment Anything: all proposals of an image, or the mask under a click."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import MaskDecoder, Sam
from segment_anything.utils.amg import (
    build_point_grid,
    calculate_stability_score,
    remove_small_regions,
)

from forgetme.record.images import array_sha
from forgetme.record.lru import Lru
from forgetme.record.masks import box_xywh, check_mask
from forgetme.record.sample import Proposal
from forgetme.stages.corrections import corrected
from forgetme.stages.edges import Guide
from forgetme.stages.embeddings import EmbeddingFolder
from forgetme.stages.grid_decoder import decode_clicks
from forgetme.stages.proposals import ProposalSettings, distinct, enlarge, merged, plausible
from forgetme.stages.sam import (
    SamKind,
    build_sam,
    check_box,
    check_points,
    mask_logits,
    read_own,
    read_published,
)

__all__ = [
    "ProposalSettings",
    "Segmenter",
    "build_sam",
    "load_sam",
    "load_tiny_sam",
    "mask_logits",
]

CPU_POINTS = 4  # clicks decoded at once: what they need stays in the cache


class Segmenter:
    """Proposes masks of an image and answers clicks; embeddings are kept, the latest 16 images.

    With `keep_on_disk` all images' embeddings are kept, for other processes too. Safe to call from
    several threads.
    """

    def __init__(
        self,
        sam: Sam,
        made_by: str,
        settings: ProposalSettings = ProposalSettings(),  # noqa: B008 (frozen)
        *,
        keep_images: int = 16,
    ) -> None:
        """Wraps a Sam in eval mode.

        Args:
            sam: the model, on its device.
            made_by: the checkpoint's name, written into every proposal.
            settings: how proposals are made.
            keep_images: how many images' embeddings stay in memory (vit_h: 4 MB each).
        """
        self.sam = sam
        self.made_by = made_by
        self.settings = settings
        self._disk: EmbeddingFolder | None = None
        self._predictors: Lru[str, SamPredictor] = Lru(keep_images)
        self._guides: WeakKeyDictionary[SamPredictor, Guide] = WeakKeyDictionary()
        self._encoding = Lock()  # one image at a time, and none twice

    def keep_on_disk(self, folder: str | os.PathLike[str]) -> None:
        """Keeps embeddings in a folder from here on, and takes those that are there.

        `made_by` must name the weights: it tells whose embeddings are whose.
        """
        self._disk = EmbeddingFolder(folder, self.made_by)

    def embed(self, image: np.ndarray) -> None:
        """Computes an image's embedding, unless it is kept, so that its first click is quick."""
        self._predictor(image)

    def __call__(self, image: np.ndarray) -> list[Proposal]:
        """Proposes the masks of everything in an image.

        Args:
            image: (H, W, 3) uint8 RGB, any size.

        Returns:
            At most `max_proposals` masks, best predicted IoU first; may be empty.

        Raises:
            ValueError: the image has another shape or dtype.

        Source: SamAutomaticMaskGenerator of `segment_anything`, without crop layers. Two
        departures: filters and duplicates are settled on the decoder's small masks, before
        the few survivors are enlarged (10 times faster on a CPU), and duplicates are found by
        mask as well as by box. The filters of size and borders are ours.
        """
        predictor = self._predictor(image)
        low, iou, stability = self._decode_grid(predictor)  # (N, h, w), (N,), (N,)
        keep = distinct(low > self.sam.mask_threshold, iou, self.settings)
        keep = keep[: self.settings.max_proposals]
        iou, stability = iou[keep].tolist(), stability[keep].tolist()
        low = merged(low, keep, self.sam.mask_threshold, self.settings.merge_thresh)
        fine = self._refine(predictor, self._clean(low), image)
        good = plausible(fine > 0, image.shape[:2], self.settings).nonzero()[:, 0].tolist()
        masks = enlarge(fine[good], image.shape[:2])
        return [
            self._proposal(mask, iou[i], stability[i])
            for i, mask in zip(good, masks, strict=True)
            if mask.any()  # a speck of the frame may be less than a pixel of a small image
        ]

    def click(
        self,
        image: np.ndarray,
        points_xy: np.ndarray,
        labels: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        box_xywh: tuple[int, int, int, int] | None = None,
    ) -> list[Proposal]:
        """Predicts the mask that clicks, a box or a previous mask point at.

        With a previous mask the clicks are corrections: the mask changes around those that it
        contradicts and nowhere else (see `corrections.mended`); every click is then satisfied
        (those on the object inside, the others outside); and at most half of the mask goes.

        Args:
            image: (H, W, 3) uint8 RGB; its embedding is computed once.
            points_xy: (N, 2) pixels, all clicks so far, the newest last; N may be 0 when there is
                a box or a mask.
            labels: (N,), 1 on the object and 0 off it.
            mask: (H, W) bool to refine, from any source; one with no True counts as none.
            box_xywh: a box around the object.

        Returns:
            One click alone is ambiguous and gives up to three masks (whole, part, subpart),
            best predicted IoU first; any other prompt gives one. Empty when the model
            sees nothing there.

        Raises:
            ValueError: shapes differ, a point or box lies outside, or there is no prompt.
        """
        predictor = self._predictor(image)
        points, labels = check_points(image, points_xy, labels)
        box = None if box_xywh is None else check_box(image, box_xywh)
        if mask is not None:
            check_mask(mask, image)
            mask = mask if mask.any() else None
        if not len(points) and box is None and mask is None:
            raise ValueError("nothing to go by: give at least one point, a box or a mask")
        ambiguous = len(points) == 1 and box is None and mask is None
        low, iou = self._decode(
            predictor,
            self._tensor(points)[None] if len(points) else None,
            self._tensor(labels)[None] if len(points) else None,
            None if box is None else self._tensor(box)[None],
            None if mask is None else self._tensor(mask_logits(mask, self._frame()[1]))[None],
            multimask=ambiguous,
        )
        low, iou = low[0], iou[0]
        stability = self._stability(low).nan_to_num().tolist()
        fine = self._refine(predictor, self._clean(low), image)
        if mask is not None and len(points):
            masks = corrected(fine, mask, points, labels)[None]
        else:
            masks = enlarge(fine, image.shape[:2])
        order = iou.argsort(descending=True).tolist()
        return [
            self._proposal(masks[i], iou[i].item(), stability[i]) for i in order if masks[i].any()
        ]

    def _proposal(self, mask: np.ndarray, iou: float, stability: float) -> Proposal:
        return Proposal(mask, box_xywh(mask), iou, stability, self.made_by)

    def _predictor(self, image: np.ndarray) -> SamPredictor:
        """A predictor that holds this image's embedding; read, never written, by its callers."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"image must be HxWx3 uint8 RGB, got {image.shape} {image.dtype}; "
                "read it with images.read_image"
            )
        key = array_sha(image)
        if kept := self._predictors.get(key) or self._read(key, image):
            return kept
        with self._encoding:
            if kept := self._predictors.get(key):
                return kept
            predictor = SamPredictor(self.sam)
            predictor.set_image(image)
            if self._disk is not None:
                self._disk.put(key, predictor.features)
            return self._predictors.put(key, predictor)

    def _read(self, key: str, image: np.ndarray) -> SamPredictor | None:
        """A predictor as `set_image` leaves it, with the embedding from the disk."""
        if self._disk is None:
            return None
        features = self._disk.get(key, self.sam.device)
        if features is None:
            return None
        predictor = SamPredictor(self.sam)
        predictor.original_size = image.shape[:2]
        predictor.input_size = predictor.transform.get_preprocess_shape(
            *image.shape[:2], predictor.transform.target_length
        )
        predictor.features = features
        predictor.is_image_set = True
        return self._predictors.put(key, predictor)

    def _frame(self) -> tuple[int, int]:
        """Longest side of the model's input and of its masks, in pixels."""
        encoder = self.sam.prompt_encoder
        return encoder.input_image_size[0], encoder.mask_input_size[0]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, device=self.sam.device)

    @torch.no_grad()
    def _decode(
        self,
        predictor: SamPredictor,
        points: torch.Tensor | None,
        labels: torch.Tensor | None,
        boxes: torch.Tensor | None,
        masks: torch.Tensor | None,
        *,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Low-resolution logits (B, C, h, w) without padding, and predicted IoU (B, C).

        SamPredictor.predict_torch minus its enlarging; prompts are in the image's pixels.
        """
        size = predictor.original_size
        if points is not None:
            points = (predictor.transform.apply_coords_torch(points, size), labels)
        if boxes is not None:
            boxes = predictor.transform.apply_boxes_torch(boxes, size)
        sparse, dense = self.sam.prompt_encoder(points=points, boxes=boxes, masks=masks)
        low, iou = self.sam.mask_decoder(
            image_embeddings=predictor.features,
            image_pe=self.sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        height, width = self._shown(predictor)
        return low[..., :height, :width], iou

    def _shown(self, predictor: SamPredictor) -> tuple[int, int]:
        """Size of the logits without padding."""
        frame, side = self._frame()
        height, width = (math.ceil(n * side / frame) for n in predictor.input_size)
        return height, width

    @torch.no_grad()
    def _decode_grid(
        self, predictor: SamPredictor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decodes a grid of clicks, three masks each, and drops the poor and implausible ones.

        Returns:
            Logits (N, h, w) without padding, predicted IoU (N,), stability (N,).
        """
        settings, size = self.settings, predictor.original_size
        grid = build_point_grid(settings.points_per_side) * (size[1], size[0])  # (P, 2) x, y
        points, at_once = self._tensor(grid)[:, None], settings.points_per_batch
        own = type(self.sam.mask_decoder) is not MaskDecoder  # a decoder of another form
        if not own and points.device.type == "cpu":
            at_once = min(at_once, CPU_POINTS)
        kept = []
        for some in points.split(at_once):
            labels = torch.ones(len(some), 1, dtype=torch.int, device=points.device)
            if own:
                low, iou = self._decode(predictor, some, labels, None, None, multimask=True)
                good = iou > settings.pred_iou_thresh
                low, iou = low[good], iou[good]
            else:
                some = predictor.transform.apply_coords_torch(some, size)
                prompts = self.sam.prompt_encoder(points=(some, labels), boxes=None, masks=None)
                least = settings.pred_iou_thresh
                low, iou = decode_clicks(self.sam, predictor.features, *prompts, least)
                height, width = self._shown(predictor)
                low = low[..., :height, :width]
            stability = self._stability(low)
            good = stability >= settings.stability_score_thresh  # an empty mask's NaN fails too
            good &= plausible(low > self.sam.mask_threshold, size, settings)
            kept.append((low[good], iou[good], stability[good]))
        low, iou, stability = (torch.cat(part) for part in zip(*kept, strict=True))
        return low, iou, stability

    def _stability(self, low: torch.Tensor) -> torch.Tensor:
        """Stability scores (N,) of logits (N, h, w); NaN where a mask is empty at the low cut."""
        return calculate_stability_score(
            low, self.sam.mask_threshold, self.settings.stability_score_offset
        )

    def _clean(self, low: torch.Tensor) -> torch.Tensor:
        """Removes small holes and specks from logits (N, h, w) by turning their sign.

        On the small masks this costs the same for an image of any size.
        """
        frame, side = self._frame()
        area = self.settings.min_mask_region_area * (side / frame) ** 2
        threshold = self.sam.mask_threshold
        before = (low > threshold).cpu().numpy()
        after = np.empty_like(before)
        for i, mask in enumerate(before):
            filled, _ = remove_small_regions(mask, area, "holes")
            after[i], _ = remove_small_regions(filled, area, "islands")
        turned = self._tensor(before != after)
        return torch.where(turned, 2 * threshold - low, low)

    @torch.no_grad()
    def _refine(
        self, predictor: SamPredictor, low: torch.Tensor, image: np.ndarray
    ) -> torch.Tensor:
        """Logits (N, h, w) without padding as masks (N, H, W) in the model's frame, 0 = border.

        The frame holds the whole image, at most as large as the model's input.
        """
        frame, side = self._frame()
        pad = (0, side - low.shape[2], 0, side - low.shape[1])
        # the padding repeats the border, so that it cannot leak in when logits are interpolated
        low = torch.nn.functional.pad(low[:, None], pad, mode="replicate") - self.sam.mask_threshold
        fine = torch.nn.functional.interpolate(low, (frame, frame), mode="bilinear")
        height, width = predictor.input_size
        fine = fine[:, 0, :height, :width]
        if self.settings.snap_radius and len(fine):
            fine = self._guide(predictor, image).snap(torch.sigmoid(fine) - 0.5)
        return fine

    def _guide(self, predictor: SamPredictor, image: np.ndarray) -> Guide:
        """The image in the model's frame, for masks to be snapped to; kept with its embedding."""
        guide = self._guides.get(predictor)
        if guide is None:
            small = self._tensor(predictor.transform.apply_image(image)).permute(2, 0, 1)
            guide = Guide(small / 255, self.settings.snap_radius, self.settings.snap_smooth)
            self._guides[predictor] = guide
        return guide


def load_sam(kind: SamKind, checkpoint: str | os.PathLike[str], device: str = "cpu") -> Segmenter:
    """Loads a published Segment Anything checkpoint (`sam_vit_b_01ec64.pth` and its kin).

    Args:
        kind: "vit_b", "vit_l" or "vit_h", the size that the checkpoint was made for.
        checkpoint: the `.pth` file.
        device: "cpu", "cuda", ...; on a CPU the grid is 16x16 clicks instead of 32x32.

    Returns:
        The segmenter, made by "sam-vit-b", ...; its thresholds are those of the paper's code.

    Raises:
        MissingModelError: the file is absent, damaged or of another size of model.
        ValueError: the kind is unknown.
    """
    sam = read_published(kind, checkpoint).to(device)
    settings = ProposalSettings(points_per_side=16 if device == "cpu" else 32)
    return Segmenter(sam, f"sam-{kind.replace('_', '-')}", settings)


def load_tiny_sam(path: str | os.PathLike[str], device: str = "cpu") -> Segmenter:
    """Loads a Sam of our own: safetensors beside a JSON config of the same stem.

    Args:
        path: the `.safetensors` file, or the folder that holds `segmenter.safetensors`.
        device: "cpu", "cuda", ...

    Returns:
        The segmenter; the config holds what `build_sam` takes, fields of `ProposalSettings`,
        and optionally `name` for `made_by` (else "tiny-sam").

    Raises:
        MissingModelError: a file is absent or damaged, or they do not belong together.
    """
    sam, config = read_own(path)
    names = {field.name for field in fields(ProposalSettings)}
    settings = ProposalSettings(**{k: v for k, v in config.items() if k in names})
    return Segmenter(sam.to(device), config.get("name", "tiny-sam"), settings)
