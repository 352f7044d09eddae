"""How the benchmark fills, judges and ranks; references are scipy's or worked by hand."""

from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import ndimage, stats

from benchmarks import judge
from benchmarks.ranks import LEFT, TOP, Row, correlations, means, plot, spearman, summary, tables
from forgetme.compare.cache import Cache
from forgetme.compare.columns import Bench, Column, Painted, Wanted
from forgetme.compare.items import View

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


def box(shape, rows, columns):
    hole = np.zeros(shape, bool)
    hole[rows, columns] = True
    return hole


def view_of(image, hole, truth=None):
    return View(image, hole, hole, truth, "a key")


def fills(scores, errors, scene, methods=("lama", "own", "nothing")):
    """One scene's fills, with one judge and one truth."""
    return [
        Row(scene, method, {"d": score}, {"rmse": error})
        for method, score, error in zip(methods, scores, errors, strict=False)
    ]


def two_scenes():
    """Within a scene the judge is right; the scene that is filled worse gets the higher scores."""
    return fills((0.2, 0.1, 0.0), (0.1, 0.2, 0.5), "a") + fills(
        (0.9, 0.8, 0.05), (0.8, 0.9, 1.0), "b"
    )


# ------------------------------ rank correlation


def test_equal_numbers_share_their_mean_rank():
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: covariance 4.5, squares 4.5 and 5
    found = spearman(np.array([[1, 2, 2, 3]]), np.array([[10, 30, 20, 99]]))
    assert found == pytest.approx(np.array([[4.5 / (4.5 * 5) ** 0.5]]))


def test_rank_correlation_is_scipys_for_all_pairs_of_rows_with_many_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (3, 40)), rng.integers(0, 6, (2, 40))
    expected = [[stats.spearmanr(x, y).statistic for y in b] for x in a]
    np.testing.assert_allclose(spearman(a, b), expected, atol=1e-12)


def test_a_judge_that_says_the_same_of_all_ranks_nothing():
    assert spearman(np.array([[0.3, 0.3, 0.3]]), np.array([[1, 2, 3]])) == 0


# ------------------------------ summary


def test_all_fills_are_pooled_and_real_ones_without_the_cheap():
    found = correlations(two_scenes(), ["nothing"], resamples=200)["d"]["rmse"]
    # ranks 4 3 1 6 5 2 against 6 5 4 3 2 1: squares of the differences add up to 36
    assert found["pooled"]["value"] == pytest.approx(1 - 6 * 36 / (6 * 35))
    # ranks 2 1 4 3 against 4 3 2 1: 16
    assert found["real"]["value"] == pytest.approx(1 - 6 * 16 / (4 * 15))


def test_within_is_the_mean_of_the_scenes_own_correlations():
    assert correlations(two_scenes(), [], resamples=200)["d"]["rmse"]["within"][
        "value"
    ] == pytest.approx(1)
    rows = fills((3, 2, 1), (1, 2, 3), "a") + fills((3, 2, 1), (1, 3, 2), "b")
    found = correlations(rows, [], resamples=200)["d"]["rmse"]["within"]
    assert found["value"] == pytest.approx((1 + 0.5) / 2)
    assert (found["low"], found["high"]) == pytest.approx((0.5, 1))  # one scene drawn twice


def test_whole_scenes_are_resampled():
    rows = [row for name in "abc" for row in fills((3, 2, 1), (1, 3, 2), name)]
    found = correlations(rows, [], resamples=200)["d"]["rmse"]["pooled"]
    assert found["low"] == pytest.approx(found["high"])  # whichever scenes are drawn
    assert found["low"] == pytest.approx(found["value"])


def test_an_error_is_compared_with_its_own_truth():
    rows = [
        Row("a", "lama", {"d": score, "s": -score}, {"rmse": -score, "ssim": score})
        for score in (0.1, 0.2, 0.3)
    ]
    found = correlations(rows, [], resamples=200)
    signs = {
        (judge, truth): ways["pooled"]["value"]
        for judge, of in found.items()
        for truth, ways in of.items()
    }
    assert signs == pytest.approx(
        {("d", "rmse"): 1, ("d", "ssim"): -1, ("s", "rmse"): -1, ("s", "ssim"): 1}
    )


def test_means_are_of_each_method_and_the_nearest_to_the_truth_is_first():
    rows = fills((0.2, 0.4), (0.5, 0.1), "a") + fills((0.4, 0.5), (0.7, 0.2), "b")
    first, second = means(rows)
    assert (first["method"], second["method"]) == ("own", "lama")
    assert second["n"] == 2
    assert second["scores"]["d"] == pytest.approx(0.3)
    assert second["errors"]["rmse"] == pytest.approx(0.6)


def test_a_summary_counts_and_rounds():
    found = summary(two_scenes(), ["nothing"], resamples=200)
    assert (found["scenes"], found["fills"]) == (2, 6)
    assert found["correlations"]["d"]["rmse"]["pooled"]["value"] == -0.0286


# ------------------------------ tables and plot


def record():
    named = {"judges": {"d": {"title": "D"}}, "truths": {"rmse": "RMSE"}}
    return named | summary(two_scenes(), ["nothing"], resamples=200)


def test_tables_tell_each_judge_and_each_method():
    lines = tables(record(), ["d"]).splitlines()
    (judged,) = [line for line in lines if line.startswith("| D |")]
    assert [cell.split()[0] for cell in judged.strip("| ").split(" | ")[1:]] == [
        "-0.03", "1.00", "-0.60",
    ]  # fmt: skip
    assert "| `own` | 2 | 0.550 | 0.450 |" in lines


def test_a_dot_stands_where_its_error_and_score_are():
    rows = [Row("a", "lama", {"d": 1.0}, {"rmse": 0.0}), Row("a", "own", {"d": 0.0}, {"rmse": 0.7})]
    root = ElementTree.fromstring(plot(rows, record(), ["d", "d"]))
    dots = [
        (float(one.get("cx")), float(one.get("cy"))) for one in root.iterfind(f"{SVG}g/{SVG}circle")
    ]
    assert len(dots) == 4  # two panels
    axes = next(one.get("d") for one in root.iter(f"{SVG}path") if one.get("d").count("h") == 1
                and "v" in one.get("d"))  # fmt: skip
    tall, side = (float(part) for part in axes.split("v")[1].split("h"))
    assert dots[0] == (LEFT, TOP)
    assert dots[1] == (LEFT + side, TOP + tall)


def test_a_plot_of_many_fills_stays_small():
    rows = [
        Row(str(i), method, {"d": i / 120}, {"rmse": i / 240})
        for i in range(120)
        for method in ("nothing", "mean", "blur", "shifted", "telea", "lama", "own", "sd-inpaint",
                       "clipaway", "lora-inpaint", "lora-img2img")
    ]  # fmt: skip
    drawn = plot(rows, record(), ["d", "d"])
    assert drawn.count("<circle") >= 2 * len(rows)  # no method lacks its colour
    assert len(drawn) < 250_000


# ------------------------------ fills


@pytest.mark.parametrize("fill", [judge.mean, judge.blur, judge.shifted, judge.telea])
def test_a_fill_changes_the_whole_hole_and_nothing_else(fill, noise):
    hole = box(noise.shape[:2], slice(20, 40), slice(10, 25))
    before = noise.copy()
    filled = fill(noise, hole)
    assert (filled[~hole] == before[~hole]).all()
    assert (filled[hole] != before[hole]).any(axis=-1).mean() > 0.9
    assert (noise == before).all()


def test_nothing_leaves_the_object(noise):
    assert (judge.nothing(noise, box(noise.shape[:2], 3, 4)) == noise).all()


def test_the_mean_is_of_what_lies_outside():
    image = np.full((2, 3, 3), (10, 20, 30), np.uint8)
    image[0, 0] = (255, 255, 255)  # the object
    image[1, 2] = (13, 24, 30)
    filled = judge.mean(image, box((2, 3), 0, 0))
    assert filled[0, 0].tolist() == [11, 21, 30]  # 10.6, 20.8


def test_the_blur_is_of_the_whole_picture(noise):
    hole = box(noise.shape[:2], slice(0, 30), slice(0, 30))
    noise[hole] //= 4
    smooth = ndimage.gaussian_filter(
        noise.astype(float), sigma=0.08 * 64, axes=(0, 1), mode="mirror", truncate=3
    )
    apart = judge.blur(noise, hole)[hole] - smooth[hole]
    assert np.abs(apart).max() < 2.5  # OpenCV counts in bytes


def test_a_shifted_patch_comes_from_the_nearest_place_without_overlap():
    image = np.arange(2 * 8 * 3, dtype=np.uint8).reshape(2, 8, 3)
    hole = box((2, 8), slice(None), slice(5, 7))
    assert (judge.shifted(image, hole)[:, 5:7] == image[:, 3:5]).all()
    image, hole = image.swapaxes(0, 1), hole.T
    assert (judge.shifted(image, hole)[5:7] == image[3:5]).all()


def test_a_shifted_patch_has_the_shape_of_the_hole():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    hole = box((4, 4), [0, 1], [0, 1])  # the places right of it are no part of it
    filled = judge.shifted(image, hole)
    assert (filled[[0, 1], [0, 1]] == image[[0, 1], [1, 2]]).all()


def test_a_shifted_patch_that_must_overlap_does_so_least():
    image = np.arange(1 * 5 * 3, dtype=np.uint8).reshape(1, 5, 3)
    filled = judge.shifted(image, box((1, 5), 0, slice(0, 3)))
    assert (filled[0, :3] == image[0, 2:5]).all()


def test_a_picture_is_painted_once(tmp_path, noise):
    painted = []

    def paint(view):
        painted.append(view)
        return Painted(np.full_like(view.image, 7))

    view = view_of(noise, box(noise.shape[:2], slice(3, 9), slice(3, 9)))
    column, bench = Column("lama", "LaMa", "me", {}, paint), Bench(None, Wanted("cat"))
    cache = Cache(tmp_path)
    first = judge.pictures(column, bench, {"one": view}, cache)
    assert judge.pictures(column, bench, {"one": view}, cache) == first
    assert len(painted) == 1
    kept = cache.picture(first["one"])
    assert (kept[view.hole] == 7).all()
    assert (kept[~view.hole] == noise[~view.hole]).all()


# ------------------------------ judges and truth


def test_true_error_is_that_of_the_hole():
    hole = box((32, 32), slice(8, 24), slice(8, 24))
    truth = np.full((32, 32, 3), 100, np.uint8)
    image = np.zeros_like(truth)
    view = view_of(image, hole, truth)
    fill = np.where(hole[..., None], truth, image)  # outside all is wrong
    assert judge.true_errors(view, fill) == pytest.approx({"rmse": 0, "ssim": 0})
    off = judge.true_errors(view, fill + np.uint8(51))
    assert off["rmse"] == pytest.approx(0.2)
    assert 0 < off["ssim"] < 1


def test_change_is_that_of_the_hole_against_the_original(noise):
    view = view_of(noise // 2, box(noise.shape[:2], slice(8, 40), slice(8, 40)))
    rmse, ssim = judge.JUDGES["change_rmse"].score, judge.JUDGES["change_ssim"].score
    same = np.where(view.hole[..., None], view.image, 255 - view.image)
    assert rmse(view, same, None) == 0
    assert ssim(view, same, None) == pytest.approx(0)
    assert rmse(view, view.image + np.uint8(51), None) == pytest.approx(0.2)
    inverted = np.where(view.hole[..., None], 127 - view.image, view.image)
    assert ssim(view, inverted, None) > 1  # the correlation is negative


def test_entangled_is_asked_in_the_variant_that_its_name_says(noise):
    view = view_of(noise, box(noise.shape[:2], slice(8, 40), slice(8, 40)))
    scores = {
        key: one.score(view, noise, None)
        for key, one in judge.JUDGES.items()
        if key.startswith("entangled")
    }
    assert scores["entangled_d"] == scores["entangled_d_original"] == 0  # nothing was removed
    assert scores["entangled_d_released"] > 0.9
    assert scores["entangled_s"] == scores["entangled_s_released"] > 0.9
    grey = np.where(view.hole[..., None], np.uint8(128), noise)
    for key in ("entangled_d", "entangled_d_released"):
        edited = judge.JUDGES[key].score(view, grey, None)
        original = judge.JUDGES[f"{key}_original"].score(view, grey, None)
        assert edited == 0  # a flat hole is not consistent with its surroundings
        assert original > 0.3
