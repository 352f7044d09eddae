"""The drawn world: exact truth, the same bytes everywhere, and what it writes to disk."""

import csv
import hashlib
import os
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetme.scenes import BACKGROUNDS, CONCEPTS, Scene, render_scene, write_scenes

ROOT = Path(__file__).resolve().parents[2]
DIGEST = """
import hashlib, sys
from forgetme.scenes import render_scene
for seed in (3, 41, 2**70):
    s = render_scene(seed, count=3, size=96)
    h = hashlib.sha256(s.image.tobytes() + s.background.tobytes() + s.mask.tobytes())
    print(h.hexdigest(), s.caption)
"""


def scenes_with_many_objects() -> list[Scene]:
    return [render_scene(seed, count=4, size=96) for seed in range(10)]


def background_of_empty_scene(scene: Scene) -> np.ndarray:
    size = scene.image.shape[0]
    return render_scene(scene.seed, setting=scene.setting, size=size, count=0).image


@pytest.mark.parametrize("threads", ["1", "4"])
def test_a_seed_gives_the_same_bytes_in_another_process(threads: str) -> None:
    env = {**os.environ, "PYTHONHASHSEED": threads, "OMP_NUM_THREADS": threads}
    env["PYTHONPATH"] = str(ROOT)
    out = subprocess.run(
        [sys.executable, "-c", DIGEST], env=env, check=True, capture_output=True, text=True
    ).stdout
    here = []
    for seed in (3, 41, 2**70):
        s = render_scene(seed, count=3, size=96)
        data = s.image.tobytes() + s.background.tobytes() + s.mask.tobytes()
        here.append(f"{hashlib.sha256(data).hexdigest()} {s.caption}")
    assert out.splitlines() == here


def test_different_seeds_give_different_pictures() -> None:
    pictures = {render_scene(seed, concept="cat", size=64).image.tobytes() for seed in range(10)}
    assert len(pictures) == 10


@pytest.mark.parametrize("size", [64, 100, 256, 512])
def test_arrays_have_the_asked_size_and_type(size: int) -> None:
    scene = render_scene(5, size=size)
    for picture in (scene.image, scene.background, *(o.background for o in scene.objects)):
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8
    assert scene.mask.shape == (size, size)
    assert scene.mask.dtype == bool


@pytest.mark.parametrize("seed", range(6))
def test_every_size_shows_the_same_composition(seed: int) -> None:
    small, large = (render_scene(seed, count=3, size=size) for size in (128, 256))
    assert [o.description for o in small.objects] == [o.description for o in large.objects]
    assert small.caption == large.caption
    enlarged = np.kron(small.mask, np.ones((2, 2), bool))
    assert (enlarged & large.mask).sum() > 0.85 * (enlarged | large.mask).sum()
    shrunk = large.image.reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.image).mean() < 4


def test_pixels_outside_an_objects_footprint_are_identical_without_it() -> None:
    for scene in scenes_with_many_objects():
        for item in scene.objects:
            changed = (scene.image != item.background).any(-1)
            assert not (changed & ~item.footprint).any()
            assert not (item.mask & ~item.footprint).any()
            assert changed[item.mask].mean() > 0.9


def test_removing_the_only_object_gives_the_empty_setting() -> None:
    for seed, concept in enumerate(CONCEPTS):
        scene = render_scene(seed, concept=concept, count=1, size=96)
        np.testing.assert_array_equal(scene.background, background_of_empty_scene(scene))


def test_the_other_objects_stay_in_the_background_of_the_main_one() -> None:
    for scene in scenes_with_many_objects():
        empty = background_of_empty_scene(scene).astype(int)
        for other in scene.objects[1:]:
            assert (np.abs(scene.background - empty)[other.mask].max(-1) > 3).mean() > 0.7


def test_visible_masks_are_disjoint_and_boxes_are_tight() -> None:
    for scene in scenes_with_many_objects():
        for a, b in combinations(scene.objects, 2):
            assert not (a.mask & b.mask).any()
        for item in scene.objects:
            x, y, w, h = item.box_xywh
            assert item.mask[y : y + h, x : x + w].sum() == item.mask.sum()
            assert item.mask[y].any()
            assert item.mask[y + h - 1].any()
            assert item.mask[:, x].any()
            assert item.mask[:, x + w - 1].any()


def test_the_main_object_is_large_enough_to_find() -> None:
    shares = [render_scene(seed, size=64).mask.mean() for seed in range(60)]
    assert min(shares) > 0.008
    assert max(shares) < 0.4


def test_extra_objects_show_at_least_0_4_percent_of_the_image() -> None:
    for scene in scenes_with_many_objects():
        assert min(item.mask.mean() for item in scene.objects) >= 0.004


def test_scene_fields_describe_the_main_object() -> None:
    scene = render_scene(8, concept="dog", setting="snow", count=2)
    assert (scene.concept, scene.setting, scene.seed) == ("dog", "snow", 8)
    assert scene.objects[0].concept == "dog"
    np.testing.assert_array_equal(scene.mask, scene.objects[0].mask)
    np.testing.assert_array_equal(scene.background, scene.objects[0].background)


@pytest.mark.parametrize("setting", BACKGROUNDS)
def test_count_zero_gives_an_empty_scene(setting: str) -> None:
    scene = render_scene(2, setting=setting, count=0, size=64)
    assert scene.objects == ()
    assert scene.concept == ""
    assert not scene.mask.any()
    assert setting in scene.caption
    np.testing.assert_array_equal(scene.image, scene.background)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_count_fixes_the_number_of_objects_each_of_its_own_concept(count: int) -> None:
    for seed in range(10):
        names = [o.concept for o in render_scene(seed, count=count, size=64).objects]
        assert len(names) == count
        assert len(set(names)) == count


def test_looks_draw_one_individual_in_many_scenes() -> None:
    drawn = [render_scene(seed, concept="cat", count=1, looks=2, size=64) for seed in range(4)]
    assert {one.objects[0].description for one in drawn} == {"a cream striped cat"}
    assert not np.array_equal(drawn[0].image, drawn[1].image)
    own = render_scene(2, concept="cat", count=1, size=64)
    assert np.array_equal(
        own.image, render_scene(2, concept="cat", count=1, size=64, looks=2).image
    )


def test_count_none_mostly_draws_one_or_two_objects() -> None:
    counts = [len(render_scene(seed, size=64).objects) for seed in range(64)]
    assert set(counts) == {1, 2, 3, 4}
    assert counts.count(1) > counts.count(3)


@pytest.mark.parametrize(("concept", "setting"), list(product(CONCEPTS, BACKGROUNDS)))
def test_every_concept_renders_in_every_setting(concept: str, setting: str) -> None:
    scene = render_scene(11, concept=concept, setting=setting, size=64, count=1)
    assert concept in scene.caption
    assert setting in scene.caption
    assert concept in scene.objects[0].description
    assert scene.mask.mean() > 0.008
    difference = np.abs(scene.image.astype(int) - scene.background).max(-1)
    assert np.median(difference[scene.mask]) > 8


def test_captions_vary_and_name_other_objects_in_about_60_percent() -> None:
    scenes = [render_scene(seed, count=2, size=64) for seed in range(64)]
    assert len({scene.caption for scene in scenes}) > 55
    named = sum(scene.objects[1].concept in scene.caption for scene in scenes)
    assert 0.4 < named / len(scenes) < 0.8


@pytest.mark.parametrize("setting", BACKGROUNDS)
def test_backgrounds_have_only_faint_grain(setting: str) -> None:
    image = render_scene(4, setting=setting, count=0).image.astype(float)
    rough = image[1:-1, 1:-1] - (image[:-2, 1:-1] + image[2:, 1:-1]) / 2
    typical = np.median(np.abs(rough)) / 0.6745 / np.sqrt(1.5)  # robust standard deviation
    assert 0.3 < typical <= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concept": "unicorn"}, "known: cat, dog"),
        ({"setting": "moon"}, "known: meadow, beach"),
        ({"size": 32}, "64 to 512"),
        ({"size": 1024}, "64 to 512"),
        ({"count": 5}, "0 to 4"),
        ({"count": -1}, "0 to 4"),
    ],
)
def test_bad_arguments_are_refused_with_what_is_known(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_scene(0, **arguments)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must be 0 or more"):
        render_scene(-1)


def test_write_scenes_round_trips_what_render_scene_gives(tmp_path: Path) -> None:
    rows = write_scenes(tmp_path, count=5, seed=7, concepts=("cat", "boat"), size=64)
    assert [row.stem for row in rows] == [
        "cat_000000", "boat_000001", "cat_000002", "boat_000003", "cat_000004",
    ]  # fmt: skip
    for i, row in enumerate(rows):
        scene = render_scene(7 * 1_000_003 + i, concept=row.concept, size=64)
        assert row.seed == scene.seed
        assert row.caption == scene.caption
        name = f"{row.stem}.png"
        for folder, truth in (("original", scene.image), ("background", scene.background)):
            np.testing.assert_array_equal(np.array(Image.open(tmp_path / folder / name)), truth)
        mask = np.array(Image.open(tmp_path / "mask" / name))
        np.testing.assert_array_equal(mask, scene.mask * np.uint8(255))
        foreground = Image.open(tmp_path / "foreground" / name)
        assert foreground.mode == "RGBA"
        np.testing.assert_array_equal(np.array(foreground)[..., :3], scene.image)
        np.testing.assert_array_equal(np.array(foreground)[..., 3], mask)


def test_write_scenes_leaves_the_index_and_no_partial_files(tmp_path: Path) -> None:
    rows = write_scenes(tmp_path, count=3, seed=1, size=64)
    with (tmp_path / "index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    assert list(index[0]) == ["stem", "concept", "setting", "caption", "seed", "objects", "size"]
    assert [line["stem"] for line in index] == [row.stem for row in rows]
    assert [line["concept"] for line in index] == list(CONCEPTS[:3])
    assert all(line["objects"].split(" ")[0] == line["concept"] for line in index)
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    folders = ("original", "foreground", "background", "mask")
    expected = {f"{folder}/{row.stem}.png" for folder in folders for row in rows}
    assert files == expected | {"index.csv"}


def test_write_scenes_refuses_an_unknown_concept_before_writing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="known: cat, dog"):
        write_scenes(tmp_path / "out", count=2, seed=0, concepts=("cat", "unicorn"))
    assert not (tmp_path / "out").exists()
