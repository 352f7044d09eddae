"""Scores against numbers worked out by hand, independent code, and known extremes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forgetme.errors import EmptyRegionError, MissingModelError
from forgetme.metrics import (
    METRICS,
    clip_at,
    clip_distance,
    cmmd,
    crop_of,
    fid,
    kid,
    outer_psnr,
    outer_ssim,
    paired_difference,
    summarize,
    summarize_share,
    wilson,
)

SQUARE = np.array([[0, 0], [2, 0], [0, 2], [2, 2]], float)


@pytest.fixture
def features() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 6)), rng.normal(0.3, 1.4, size=(35, 6))


# ------------------------------------------------------------------ sets


def test_frechet_distance_of_a_square_and_its_double() -> None:
    assert fid(SQUARE, 2 * SQUARE + 1) == pytest.approx(10.666667, abs=1e-6)
    assert fid(SQUARE, SQUARE) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_the_formula_with_a_matrix_root(features) -> None:
    from scipy.linalg import sqrtm

    a, b = features
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert fid(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_survives_fewer_pictures_than_features() -> None:
    rng = np.random.default_rng(1)
    assert fid(rng.normal(size=(3, 50)), rng.normal(size=(4, 50))) > 0


def test_kernel_distance_is_the_sum_over_pairs(features) -> None:
    a, b = features[0][:5], features[1][:4]

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (float(np.dot(x, y)) / 6 + 1) ** 3

    aa = np.mean([k(a[i], a[j]) for i in range(5) for j in range(5) if i != j])
    bb = np.mean([k(b[i], b[j]) for i in range(4) for j in range(4) if i != j])
    ab = np.mean([k(x, y) for x in a for y in b])
    assert kid(a, b) == pytest.approx(aa + bb - 2 * ab, rel=1e-9)


def test_kernel_distance_agrees_with_torch_fidelity(features) -> None:
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = features
    theirs = kid_features_to_metric(
        torch.tensor(a), torch.tensor(b), kid_subsets=1, kid_subset_size=35, rng_seed=0,
        kid_degree=3, kid_coef0=1, verbose=False,
    )["kernel_inception_distance_mean"]  # fmt: skip
    rows = np.random.RandomState(0).choice(40, 35, replace=False)
    assert kid(a[rows], b) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([(1, 0), (0, 1)], [(1, 0), (-1, 0)], 4.975083),
        ([(1, 0), (1, 0)], [(0, 1), (0, 1)], 19.900332),
        ([(1, 0), (1, 0)], [(-1, 0), (-1, 0)], 39.602653),
    ],
)
def test_cmmd_of_points_on_a_circle(a, b, expected: float) -> None:
    assert cmmd(np.array(a, float), np.array(b, float)) == pytest.approx(expected, abs=1e-6)
    assert cmmd(np.array(a, float), np.array(a, float)) == 0


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="of one D"):
        fid(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="at least 2 pictures"):
        kid(np.zeros((1, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="unit length"):
        cmmd(2 * np.eye(2), np.eye(2))


# ------------------------------------------------------------------ CLIP


def embed(pictures) -> np.ndarray:
    """The mean colour as a direction."""
    colours = np.array([one.reshape(-1, 3).mean(0) + 1e-9 for one in pictures])
    return colours / np.linalg.norm(colours, axis=1, keepdims=True)


@pytest.fixture
def edit() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A red square on blue that became green."""
    original = np.zeros((100, 120, 3), np.uint8)
    original[..., 2] = 255
    mask = np.zeros((100, 120), bool)
    mask[30:70, 40:80] = True
    edited = original.copy()
    original[mask], edited[mask] = (255, 0, 0), (0, 255, 0)
    return original, edited, mask


def test_clip_distance_of_a_region_that_turned(edit) -> None:
    original, edited, mask = edit
    share = 40 * 40 / 48**2  # of the padded box
    cosine = (1 - share) ** 2 / ((1 - share) ** 2 + share**2)
    assert clip_distance(embed, original, edited, mask) == pytest.approx(1 - cosine, rel=1e-6)
    chord = clip_distance(embed, original, edited, mask, form="l2")
    assert chord == pytest.approx(np.sqrt(2 - 2 * cosine), rel=1e-6)
    assert clip_distance(embed, original, edited, mask, region="outside") == pytest.approx(0)
    whole = clip_distance(embed, original, edited, mask, region="image")
    assert 0 < whole < 1 - cosine


def test_a_crop_stays_inside_and_is_never_tiny(edit) -> None:
    original, _, mask = edit
    assert crop_of(original, mask).shape == (48, 48, 3)
    corner = np.zeros((100, 120), bool)
    corner[:2, :2] = True
    assert crop_of(original, corner).shape == (32, 32, 3)


LABELS = ["cat", "dog", "sky", "grass", "sea", "wall"]


def by_colour(pictures, names):
    """Sees a cat where a crop is red and shares its guesses out otherwise where it is not."""
    red = [0.4, 0.3, 0.2, 0.05, 0.03, 0.02]
    green = [0.1, 0.3, 0.25, 0.2, 0.08, 0.07]
    return np.array([red if one.mean((0, 1))[0] > 60 else green for one in pictures])


def test_clip_at_is_of_what_clip_saw_in_the_original(edit) -> None:
    original, edited, mask = edit
    assert clip_at(by_colour, original, edited, mask, LABELS) == {1: True, 3: True, 5: False}
    assert clip_at(by_colour, original, original, mask, LABELS) == dict.fromkeys((1, 3, 5), False)

    def as_second(pictures, names):  # what people call it, the first label, plays no part
        return np.roll(by_colour(pictures, names), 1, 1)

    assert clip_at(as_second, original, edited, mask, LABELS) == {1: True, 3: True, 5: False}
    assert clip_at(as_second, original, original, mask, LABELS) == dict.fromkeys((1, 3, 5), False)
    with pytest.raises(ValueError, match="k = 5 says nothing about 5 labels"):
        clip_at(by_colour, original, edited, mask, LABELS[:5])


def test_clip_at_sees_the_box_without_margin_on_black(edit) -> None:
    original, edited, mask = edit
    wide = mask.copy()
    wide[50:, :] = False  # 20 x 40 px
    seen = []

    def recognise(pictures, names):
        seen.extend(pictures)
        return by_colour(pictures, names)

    clip_at(recognise, original, edited, wide, LABELS)
    assert [one.shape for one in seen] == [(40, 40, 3), (40, 40, 3)]
    for crop, colour in zip(seen, ((255, 0, 0), (0, 255, 0)), strict=True):
        assert (crop[10:30] == colour).all()  # of the box, and nothing around it
        assert not crop[:10].any()
        assert not crop[30:].any()


# ------------------------------------------------------------------ pairs


def test_psnr_is_of_the_outside_alone(edit) -> None:
    original, edited, mask = edit
    assert outer_psnr(original, edited, mask) == float("inf")
    darker = edited.astype(int) - np.where(mask[..., None], 0, [0, 0, 5])
    expected = 10 * np.log10(255**2 / (25 / 3))
    assert outer_psnr(original, darker.astype(np.uint8), mask) == pytest.approx(expected)


def test_ssim_is_that_of_scikit_image_outside_the_mask() -> None:
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    y = np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((48, 64), bool)
    mask[20:30, 25:40] = True
    y_outside = np.where(mask[..., None], x, y)
    _, full = structural_similarity(
        x, y_outside, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    inner = np.zeros_like(mask)
    inner[8:-8, 8:-8] = True  # scikit-image treats the picture's border otherwise
    ours = outer_ssim(x[8:-8, 8:-8], y[8:-8, 8:-8], mask[8:-8, 8:-8])
    assert outer_ssim(x, y, mask) == pytest.approx(full[~mask].mean(), abs=5e-3)
    assert ours == pytest.approx(full[inner & ~mask].mean(), abs=1e-2)
    assert outer_ssim(x, np.where(mask[..., None], y, x), mask) == pytest.approx(1)


def test_a_mask_without_an_outside_is_refused(edit) -> None:
    original, edited, mask = edit
    with pytest.raises(EmptyRegionError, match="covers everything"):
        outer_psnr(original, edited, np.ones_like(mask))
    with pytest.raises(ValueError, match="of one size"):
        outer_ssim(original, edited[:50], mask)


# ------------------------------------------------------------------ summaries


def test_the_interval_is_about_two_standard_errors() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    found = summarize(values)
    error = values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert (found.n, found.warning) == (400, "")
    assert summarize(values) == found  # equal seed, equal interval


# The ends are where the score test turns: |p - share| = z sqrt(share (1 - share) / n), solved here
# as the roots of a quadratic, and by hand for none and all: n / (n + z²).
@pytest.mark.parametrize(("won", "n"), [(48, 48), (0, 48), (5, 10), (0, 1), (250, 500)])
def test_a_share_has_the_interval_of_the_score_test(won: int, n: int) -> None:
    z2 = 3.841458820694124  # of the chi-square distribution with one degree, at 95 %
    roots = np.roots([1 + z2 / n, -(2 * won / n + z2 / n), (won / n) ** 2])
    low, high = sorted(roots.real)
    assert wilson(won, n) == pytest.approx((low, high), abs=1e-9)
    found = summarize_share([1.0] * won + [0.0] * (n - won))
    assert (found.mean, found.low, found.high) == (won / n, *wilson(won, n))


def test_all_right_is_not_certain() -> None:
    z2 = 3.841458820694124
    assert wilson(48, 48) == (pytest.approx(48 / (48 + z2)), 1.0)
    assert wilson(0, 48) == (0.0, pytest.approx(z2 / (48 + z2)))
    assert wilson(5, 10) == (pytest.approx(0.236593), pytest.approx(0.763407))
    assert summarize([1.0] * 48).low == 1  # what the bootstrap would say
    with pytest.raises(ValueError, match=r"0 and 1, got 0\.5"):
        summarize_share([0.0, 0.5])


def test_few_and_infinite_values_carry_a_warning() -> None:
    found = summarize([1.0, 2.0, float("inf")])
    assert found.mean == 1.5
    assert "1 of 3 values are not finite" in found.warning
    assert "n = 2 is too small; at least 20" in found.warning
    assert np.isnan(summarize([]).mean)


def test_paired_differences_are_of_the_same_pictures() -> None:
    found = paired_difference([3.0, 4.0, 8.0], [1.0, 2.0, 6.0])
    assert (found.mean, found.low, found.high) == (2, 2, 2)
    with pytest.raises(ValueError, match="same pictures, got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])


def test_every_score_says_which_way_is_better() -> None:
    down = {name for name, one in METRICS.items() if one.higher_is_better is False}
    assert down == {"FID", "KID", "CMMD", "seconds", "MiB"}
    assert METRICS["FID"].fewest == 2048


# ------------------------------------------------------------------ Inception


def test_inception_reads_published_weights(tmp_path: Path) -> None:
    """The real network with random weights in the published file's form."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from forgetme.metrics.inception import Inception

    with pytest.raises(MissingModelError, match="no Inception weights"):
        Inception(tmp_path / "none.pth")
    torch.manual_seed(0)
    weights = {}

    class Blank(FeatureExtractorInceptionV3):
        """Built without weights, to learn their names and shapes."""

        def load_state_dict(self, state, *args, **kwargs):
            return None

    empty = tmp_path / "empty.pth"
    torch.save({}, empty)
    made = Blank("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(empty))
    for name, value in made.state_dict().items():
        weights[name] = torch.rand_like(value.float()) * 0.05 + 0.01
    torch.save(weights, tmp_path / "weights.pth")
    pictures = np.random.default_rng(4).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    found = Inception(tmp_path / "weights.pth")(list(pictures))
    assert found.shape == (3, 2048)
    assert not np.allclose(found[0], found[1])
