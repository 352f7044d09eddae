"""The guided filter, against the formulas written out pixel by pixel."""

import numpy as np
import torch

from forgetme.stages.edges import Guide


def by_hand(image: np.ndarray, mask: np.ndarray, radius: int, smooth: float) -> np.ndarray:
    """He et al. 2013, equations 19 to 21, with one window at a time."""
    height, width = mask.shape

    def window(y: int, x: int) -> tuple[slice, slice]:
        return (
            slice(max(0, y - radius), y + radius + 1),
            slice(max(0, x - radius), x + radius + 1),
        )

    slope, offset = np.zeros((height, width, 3)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            colours = image[window(y, x)].reshape(-1, 3)
            values = mask[window(y, x)].reshape(-1)
            covariance = np.cov(colours.T, bias=True) + smooth * np.eye(3)
            shared = (colours * values[:, None]).mean(0) - colours.mean(0) * values.mean()
            slope[y, x] = np.linalg.solve(covariance, shared)
            offset[y, x] = values.mean() - slope[y, x] @ colours.mean(0)
    fitted = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            here = window(y, x)
            fitted[y, x] = slope[here].reshape(-1, 3).mean(0) @ image[y, x] + offset[here].mean()
    return fitted


def test_it_is_the_papers_filter():
    rng = np.random.default_rng(0)
    image, masks = rng.random((14, 11, 3)), rng.random((2, 14, 11))
    guide = Guide(torch.from_numpy(image).permute(2, 0, 1), radius=3, smooth=1e-3)
    ours = guide.snap(torch.from_numpy(masks)).numpy()
    expected = np.stack([by_hand(image, mask, 3, 1e-3) for mask in masks])
    assert np.allclose(ours, expected, atol=1e-9)


def test_a_grey_image_is_filtered_as_exactly_as_a_coloured_one():
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (64, 64, 1)) / 255, 3, 2).astype(np.float32)
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 20:40] = 1
    guide = Guide(torch.from_numpy(grey).permute(2, 0, 1), radius=2, smooth=1e-5)
    ours = guide.snap(torch.from_numpy(mask)[None])[0].numpy()
    expected = by_hand(grey.astype(np.float64), mask.astype(np.float64), 2, 1e-5)
    assert np.allclose(ours, expected, atol=5e-3)


def test_a_rough_border_moves_to_the_edge_of_the_image():
    y, x = np.mgrid[:64, :64]
    disc = (y - 32) ** 2 + (x - 32) ** 2 < 18**2
    image = np.where(disc[..., None], [0.9, 0.4, 0.2], [0.2, 0.5, 0.8]).astype(np.float32)
    rough = torch.from_numpy(((y - 30) ** 2 + (x - 34) ** 2 < 17**2) - 0.5)[None].float()
    snapped = Guide(torch.from_numpy(image).permute(2, 0, 1), 8, 1e-4).snap(rough)[0].numpy() > 0

    def iou(mask: np.ndarray) -> float:
        return (mask & disc).sum() / (mask | disc).sum()

    assert iou(rough[0].numpy() > 0) < 0.85
    assert iou(snapped) > 0.94


def test_a_flat_image_moves_no_straight_border():
    mask = torch.zeros(1, 20, 20)
    mask[:, :, 10:] = 1
    snapped = Guide(torch.full((3, 20, 20), 0.5), 3, 1e-4).snap(mask - 0.5)
    assert torch.equal(snapped > 0, mask > 0)
