"""Entangled against its published test vectors, an independent reference, and its edge cases."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forgetme.errors import EmptyRegionError, ForgetmeError
from forgetme.record.entangled import combine, entangled, entangled_d, entangled_s

X = np.array(
    [[0.2, 0.4, 0.2, 0.4], [0.4, 0.9, 0.8, 0.2], [0.2, 0.8, 0.9, 0.4], [0.4, 0.2, 0.4, 0.2]]
)
CENTRE = np.zeros((4, 4), bool)
CENTRE[1:3, 1:3] = True
LEFT = np.array([[True, True, False, False]])


def with_centre(values, outer=0.0):
    image = X + outer
    image[1:3, 1:3] = values
    return image


E1 = with_centre([[0.2, 0.4], [0.4, 0.2]])
E2 = with_centre([[0.2, 0.4], [0.4, 0.2]], outer=0.1)
E4 = with_centre(0.3)


# ------------------------------------------------------------------ published vectors
#        Y, S_in, S_out, S, (mu), (sigma), M, V, C, D
VECTORS = {
    "E1": (E1, .570088, 0, .726185, (.3, .3), (.1, .1), .999994, .999950, .999944, .841356),
    "E2": (E2, .570088, .1, .698024, (.3, .4), (.1, .1), .959996, .999950, .959948, .808297),
    "E3": (X, 0, 0, 0, (.85, .3), (.05, .1), .627692, .799936, .502113, 0),
    "E4": (E4, .552268, 0, .711562, (.3, .3), (0, .1), .999994, 0, 0, 0),
}  # fmt: skip


def six(value):
    return pytest.approx(value, abs=5.1e-7)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_the_paper_variant_on_the_edited_image(name):
    edited, s_in, s_out, similarity, mu, sigma, mean_c, var_c, consistency, score = VECTORS[name]
    result = entangled_d(X, edited, CENTRE)
    assert result.s_inner == six(s_in)
    assert result.s_outer == six(s_out)
    assert result.similarity == six(similarity)
    assert (result.mu_inner, result.mu_outer) == six(mu)
    assert (result.sigma_inner, result.sigma_outer) == six(sigma)
    assert result.mean_consistency == six(mean_c)
    assert result.var_consistency == six(var_c)
    assert result.consistency == six(consistency)
    assert result.score == six(score)
    assert result.variant == "paper"
    assert (result.n_inner, result.n_outer) == (4, 12)


@pytest.mark.parametrize(
    ("edited", "score"), [(E1, 0.593711), (E2, 0.584078), (X, 0), (E4, 0.588765)]
)
def test_vectors_with_the_statistics_of_the_original(edited, score):
    result = entangled_d(X, edited, CENTRE, consistency_on="original")
    assert result.consistency == six(0.502113)
    assert result.score == six(score)


@pytest.mark.parametrize(
    ("edited", "similarity", "score"),
    [(E1, 0.601312, 0.751009), (E2, 0.581874, 0.724557), (X, 1.0, 0.668542), (E4, 0.618528, 0)],
)
def test_vectors_of_the_released_variant(edited, similarity, score):
    result = entangled_d(X, edited, CENTRE, variant="released")
    assert result.similarity == six(similarity)
    assert result.score == six(score)
    assert result.variant == "released"


def test_vector_e5_full_contrast_has_the_highest_similarity_and_no_consistency():
    result = entangled_d(with_centre(1.0), with_centre(0.0), CENTRE)
    assert (result.s_inner, result.s_outer) == (1, 0)
    assert result.similarity == pytest.approx(0.9999995, abs=1e-9)
    assert (result.consistency, result.score) == (0, 0)


def test_vector_e6_channels_pooled_or_apart():
    before = np.empty((2, 2, 3))
    before[0, 0], before[0, 1], before[1, 0], before[1, 1] = (1, 0.5, 0), 0.2, 0.4, 0.6
    after = before.copy()
    after[0, 0] = (0.3, 0.4, 0.5)
    mask = np.array([[True, False], [False, False]])

    pooled = entangled_d(before, after, mask)
    assert (pooled.s_inner, pooled.s_outer, pooled.similarity) == six((0.5, 0, 0.666666))
    assert (pooled.mu_inner, pooled.mu_outer) == six((0.4, 0.4))
    assert (pooled.sigma_inner, pooled.sigma_outer) == six((0.081650, 0.163299))
    assert (pooled.mean_consistency, pooled.var_consistency) == six((0.999997, 0.799976))
    assert (pooled.consistency, pooled.score) == six((0.799974, 0.727262))

    on_original = entangled_d(before, after, mask, consistency_on="original")
    assert (on_original.consistency, on_original.score) == six((0.672829, 0.669734))

    apart = entangled_d(before, after, mask, channels="per_channel")
    # by hand (0.24/0.250001 + 0.32/0.320001 + 0.4/0.410001) / 3 = 0.97853347; listed as 0.978534
    assert apart.mean_consistency == pytest.approx(0.97853347, abs=5e-9)
    assert apart.var_consistency == 0
    assert apart.s_inner == six(0.5)


def test_vector_e7_flat_fill_scores_by_the_original_only():
    before, after = np.array([[0.0, 1, 0, 1]]), np.array([[0.5, 0.5, 0, 1]])
    result = entangled_d(before, after, LEFT)
    assert (result.s_inner, result.similarity) == six((0.5, 0.666666))
    assert (result.consistency, result.score) == (0, 0)
    on_original = entangled_d(before, after, LEFT, consistency_on="original")
    assert (on_original.consistency, on_original.score) == six((0.999996, 0.799998))


def test_vector_e8_flat_object_scores_by_the_edited_image_only():
    before, after = np.array([[1.0, 1, 0.5, 0.25]]), np.array([[0.5, 0.25, 0.5, 0.25]])
    result = entangled_d(before, after, LEFT)
    assert (result.s_inner, result.similarity) == six((0.637377, 0.778534))
    assert (result.mean_consistency, result.var_consistency) == six((0.999996, 0.999968))
    assert (result.consistency, result.score) == six((0.999964, 0.875465))
    on_original = entangled_d(before, after, LEFT, consistency_on="original")
    assert (on_original.consistency, on_original.score) == (0, 0)
    released = entangled_d(before, after, LEFT, variant="released")
    assert (released.similarity, released.score) == six((0.532242, 0.694714))


def test_vector_e9_one_grey_everywhere_is_flat():
    result = entangled_s(np.full((4, 4), 0.5), CENTRE)
    assert (result.mean_consistency, result.var_consistency) == six((0.999998, 0))
    assert (result.consistency, result.score) == (0, 0)
    assert result.warnings == ("flat_region",)


def test_vector_e10_all_black_scores_zero_with_warnings():
    result = entangled_s(np.zeros((4, 4)), CENTRE)
    assert result.consistency == 0
    assert result.warnings == ("flat_region", "black_region")


@pytest.mark.parametrize(
    ("similarity", "consistency", "alpha", "beta", "score"),
    [
        (0.8, 0.6, 0.5, 0.5, 0.685714),
        (0.8, 0.6, 0, 1, 0.6),
        (0.8, 0.6, 1, 0, 0.8),
        (0, 0.6, 0.5, 0.5, 0),
        (0.6, 0, 0.5, 0.5, 0),
        (0, 0.6, 0, 1, 0.6),
        (0.6, 0, 1, 0, 0.6),
        (0, 0, 0.5, 0.5, 0),
        (None, 0.6, 0, 1, 0.6),
    ],
)
def test_combiner(similarity, consistency, alpha, beta, score):
    assert combine(similarity, consistency, alpha, beta) == six(score)


@pytest.mark.parametrize(
    ("rmse", "bound"),
    [(0.05, 0.1739), (0.10, 0.3077), (0.20, 0.5), (0.35, 0.6829), (0.5, 0.8)],
)
def test_contrast_bounds_the_paired_score(rmse, bound):
    before = np.where(LEFT, 0.2, [[0.2, 0.3, 0.2, 0.3]])
    result = entangled(before, before + rmse * LEFT, LEFT, alpha=1, beta=0)
    assert combine(result.similarity, 1.0) == pytest.approx(bound, abs=5e-5)


# ------------------------------------------------------------------ edge cases
@pytest.mark.parametrize("on", [False, True])
def test_empty_and_full_masks_are_refused(on):
    mask = np.full((4, 4), on)
    for score in (lambda: entangled_d(X, E1, mask), lambda: entangled_s(E1, mask)):
        with pytest.raises(EmptyRegionError, match="choose another mask") as caught:
            score()
        assert isinstance(caught.value, ForgetmeError)
        assert isinstance(caught.value, ValueError)


def test_zero_alpha_returns_the_consistency_even_where_nothing_changed():
    assert entangled(X, X, CENTRE, alpha=0, beta=1).score == six(0.502113)


def test_zero_beta_returns_the_similarity_even_where_the_fill_is_flat():
    assert entangled(X, E4, CENTRE, alpha=1, beta=0).score == six(0.711562)


def test_weights_count_by_their_ratio():
    one = entangled(X, E2, CENTRE, alpha=0.25, beta=0.75).score
    assert entangled(X, E2, CENTRE, alpha=1, beta=3).score == pytest.approx(one, abs=1e-12)


def test_unchanged_image_is_not_a_removal_but_the_released_variant_rewards_it():
    assert entangled_d(X, X, CENTRE).score == 0
    assert entangled_d(X, X, CENTRE, variant="released").score > 0.66
    assert entangled_s(X, CENTRE).score == six(0.502113)


def test_flat_fill_in_textured_surroundings_scores_zero_and_warns():
    result = entangled_d(X, E4, CENTRE)
    assert (result.var_consistency, result.consistency, result.score) == (0, 0, 0)
    assert result.warnings == ("flat_region",)


def test_stabilizer_makes_two_flat_regions_consistent():
    flat = np.full((4, 4), 0.5)
    result = entangled_s(flat, CENTRE, var_stabilizer=0.03**2)
    assert result.var_consistency == 1
    assert result.warnings == ()
    textured = entangled_s(E4, CENTRE, var_stabilizer=0.03**2)
    assert textured.var_consistency == six(0.082569)


def test_very_dark_regions_are_dominated_by_eps():
    assert entangled_s(np.full((4, 4), 0.001), CENTRE).mean_consistency == six(0.666667)


def test_one_pixel_region_has_no_spread_and_warns():
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = True
    for region in (mask, ~mask):
        result = entangled_s(X, region)
        assert result.var_consistency == 0
        assert result.warnings == ("flat_region", "one_pixel_region")


def test_worst_case_of_both_terms_gives_zero_similarity():
    before = np.where(LEFT, 0.5, 0.0)
    after = np.where(LEFT, 0.5, 1.0)
    result = entangled_d(before, after, LEFT)
    assert (result.s_inner, result.s_outer) == (0, 1)
    assert (result.similarity, result.score) == (0, 0)


# ------------------------------------------------------------------ kinds of input
def test_alpha_is_laid_on_white():
    rng = np.random.default_rng(4)
    rgba = rng.integers(0, 256, (4, 4, 4), dtype=np.uint8)
    rgba[..., 3] = np.where(rng.random((4, 4)) < 0.5, 255, 0)
    rgb = np.where(rgba[..., 3:] == 255, rgba[..., :3], 255).astype(np.uint8)
    score = entangled_s(rgb, CENTRE).score
    assert score > 0
    assert entangled_s(rgba, CENTRE).score == pytest.approx(score, abs=1e-12)
    assert entangled_s(rgba / 255, CENTRE).score == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    "as_mask",
    [
        lambda m: m,
        lambda m: m.astype(np.uint8),
        lambda m: m.astype(np.uint8) * 255,
        lambda m: m.astype(np.float32),
        lambda m: np.repeat(m[..., None], 3, axis=2).astype(np.uint8) * 255,
        lambda m: np.asfortranarray(m),
        lambda m: np.where(m, 128, 127).astype(np.uint8),
    ],
)
def test_every_usual_mask_kind_gives_one_score(as_mask):
    assert entangled_d(X, E2, as_mask(CENTRE)).score == six(0.808297)


def test_images_and_masks_of_any_memory_layout_score_alike():
    rng = np.random.default_rng(0)
    big, other = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    mask = rng.random((20, 30)) < 0.4
    cut = big[::2, ::2], other[::2, ::-2], mask[::-2, ::2]
    score = entangled_d(*(a.copy() for a in cut))
    assert entangled_d(*cut) == score
    assert entangled_d(*map(np.asfortranarray, cut)) == score
    channels_last = big[..., ::-1][::2, ::2], other[..., ::-1][::2, ::-2], cut[2]
    assert entangled_d(*channels_last) == score


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 200 / 255])
def test_a_large_flat_region_of_floats_has_no_spread_at_all(value):
    rng = np.random.default_rng(0)
    image = rng.random((300, 301, 3))
    mask = np.zeros((300, 301), bool)
    mask[50:250, 30:280] = True
    image[mask] = value
    result = entangled_s(image, mask)
    assert result.sigma_inner == 0
    assert result.warnings == ("flat_region",)


def test_inputs_are_left_as_they_were():
    before, after = (np.full((8, 8, 3), v, np.uint8) for v in (10, 20))
    mask = np.eye(8, dtype=bool)
    entangled_d(before, after, mask)
    assert (before == 10).all()
    assert (after == 20).all()
    assert (mask == np.eye(8, dtype=bool)).all()


@pytest.mark.parametrize(
    ("original", "edited", "mask", "message"),
    [
        (X, E1[:3], CENTRE, "one size"),
        (X, E1, CENTRE[:3], "masks.resize_mask"),
        (X * 255, E1, CENTRE, r"lie in \[0, 1\]"),
        (X, np.where(CENTRE, np.nan, E1), CENTRE, "finite"),
        (X, np.where(CENTRE, np.inf, E1), CENTRE, "finite"),
        (X, -E1, CENTRE, r"lie in \[0, 1\]"),
        (X.astype(np.int64), E1, CENTRE, "uint8, or float"),
        (X[None, None], E1, CENTRE, "HxW"),
        (None, E1, CENTRE, "entangled_s"),
        (X, E1, np.full((4, 4), np.nan), "float mask"),
    ],
)
def test_wrong_input_is_refused_with_the_way_out(original, edited, mask, message):
    with pytest.raises(ValueError, match=message):
        entangled(original, edited, mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "printed"}, "paper, released"),
        ({"consistency_on": "background"}, "edited, original"),
        ({"channels": "hsv"}, "pooled, gray, per_channel"),
        ({"alpha": -0.1}, "alpha and beta"),
        ({"alpha": 0, "beta": 0}, "alpha and beta"),
        ({"alpha": float("nan")}, "alpha and beta"),
    ],
)
def test_unknown_options_are_refused_with_the_known_ones(options, message):
    with pytest.raises(ValueError, match=message):
        entangled(X, E1, CENTRE, **options)


def test_statistics_of_the_original_need_an_original():
    with pytest.raises(ValueError, match="original is needed"):
        entangled_s(E1, CENTRE, consistency_on="original")


def test_result_is_plain_json():
    for result in (entangled_d(X, E1, CENTRE), entangled_s((E1 * 255).astype(np.uint8), CENTRE)):
        assert json.loads(json.dumps(asdict(result)))["n_inner"] == 4


# ------------------------------------------------------------------ properties
def reference(x, y, mask, variant="paper", on="edited", channels="pooled"):
    """Entangled by boolean indexing, written from the equations (gray: Rec. 601 first)."""
    eps = 1e-6
    if channels == "gray" and x.ndim == 3:
        x, y = (0.299 * i[..., 0] + 0.587 * i[..., 1] + 0.114 * i[..., 2] for i in (x, y))
    rmse = [np.sqrt(np.mean((x[r] - y[r]) ** 2)) for r in (mask, ~mask)]
    s_in = rmse[0] if variant == "paper" else 1 - rmse[0]
    similarity = 2 * s_in * (1 - rmse[1]) / (s_in + 1 - rmse[1] + eps)
    z = x if on == "original" else y
    planes = [z[..., c] for c in range(3)] if channels == "per_channel" else [z]
    m_parts, v_parts = [], []
    for plane in planes:
        (mi, mo), (si, so) = [[f(plane[r]) for r in (mask, ~mask)] for f in (np.mean, np.std)]
        m_parts.append(2 * mi * mo / (mi**2 + mo**2 + eps))
        v_parts.append(2 * si * so / (si**2 + so**2 + eps))
    consistency = np.mean(m_parts) * np.mean(v_parts)
    if similarity == 0 or consistency == 0:
        return 0.0
    return 2 * similarity * consistency / (similarity + consistency)


@st.composite
def pairs(draw):
    height, width = draw(st.tuples(st.integers(1, 9), st.integers(2, 9)))
    image = hnp.arrays(np.uint8, (height, width, 3), elements=st.integers(0, 255))
    mask = draw(hnp.arrays(bool, (height, width)))
    mask[0, 0], mask[-1, -1] = True, False
    return draw(image), draw(image), mask


@given(
    pairs(),
    st.sampled_from(["paper", "released"]),
    st.sampled_from(["edited", "original"]),
    st.sampled_from(["pooled", "gray", "per_channel"]),
)
@settings(max_examples=200, deadline=None)
def test_equals_the_reference_and_uint8_equals_float(pair, variant, on, channels):
    x, y, mask = pair
    options = {"variant": variant, "consistency_on": on, "channels": channels}
    exact = entangled_d(x, y, mask, **options)
    floats = entangled_d(x / 255, y / 255, mask, **options)
    mixed = entangled_d(x, y / 255, mask, **options)
    wanted = reference(x / 255, y / 255, mask, variant, on, channels)
    assert exact.score == pytest.approx(wanted, abs=1e-9)
    for other in (floats, mixed):
        assert other.warnings == exact.warnings
        for name in ("score", "similarity", "consistency", "s_inner", "s_outer", "mu_inner"):
            assert getattr(other, name) == pytest.approx(getattr(exact, name), abs=1e-9)


@given(pairs(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_order_of_pixels_inside_a_region_does_not_matter(pair, random):
    x, y, mask = pair
    x2, y2 = x.copy(), y.copy()
    for region in (mask, ~mask):
        order = list(range(int(region.sum())))
        random.shuffle(order)
        x2[region], y2[region] = x[region][order], y[region][order]
    assert entangled_d(x2, y2, mask) == entangled_d(x, y, mask)


@given(pairs())
@settings(max_examples=100, deadline=None)
def test_untouched_copy_scores_zero_and_all_parts_stay_in_bounds(pair):
    x, y, mask = pair
    assert entangled_d(x, x, mask).score == 0
    result = entangled_d(x, y, mask)
    for name in ("score", "similarity", "mean_consistency", "var_consistency", "consistency"):
        assert 0 <= getattr(result, name) < 1
    assert 0 <= result.s_inner <= 1
    assert 0 <= result.s_outer <= 1
    assert entangled_s(y, mask).score == result.consistency


@pytest.mark.parametrize("size", [(512, 512), (1037, 771)])
def test_large_uint8_images_are_summed_exactly(size):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    y = np.where(rng.random((*size, 1)) < 0.5, 255, rng.integers(0, 256, (*size, 3)))
    y = y.astype(np.uint8)
    mask = rng.random(size) < 0.2
    for channels in ("pooled", "gray", "per_channel"):
        wanted = reference(x / 255, y / 255, mask, channels=channels)
        assert entangled_d(x, y, mask, channels=channels).score == pytest.approx(wanted, abs=1e-12)
