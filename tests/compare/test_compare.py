"""Comparisons on the real classes at small size: columns, cache, scores, report."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import save_diffusion

from forgetme.compare import Wanted, compare, subjects_of_folder, subjects_of_store
from forgetme.compare.adapters import wear
from forgetme.compare.columns import COLUMNS, Bench, Column, Painted, wearing
from forgetme.compare.items import View, is_drawn, view_of
from forgetme.compare.scores import Eyes, known_scores, score_picture, score_sets
from forgetme.compare.summing import best_keys, caveat
from forgetme.errors import EmptyRegionError, ForgetmeError, MissingModelError
from forgetme.record import masks
from forgetme.record.images import read_image, read_mask
from forgetme.scenes import render_scene
from forgetme.stages.models import load_models

CAT = Wanted("cat", ("own", "sd-inpaint", "lora-inpaint", "lora-img2img"), steps=2)


@pytest.fixture(scope="session")
def run(small_assets: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on the small model: its patch changes what is painted."""
    from forgetme.train import RunSettings, items_of_folder, train

    folder = tmp_path_factory.mktemp("runs") / "forget-cat"
    diffusion = load_models("tiny", assets=small_assets, device="cpu").diffusion
    settings = RunSettings("lora", "cat", steps=2, lr=0.5, rank=2, probe_every=0)
    train(diffusion.pipe, items_of_folder(drawn), settings, folder, base=diffusion.made_by)
    return folder


@pytest.fixture(scope="session")
def two(drawn: Path) -> list:
    """The first two of the drawn scenes."""
    return subjects_of_folder(drawn, "cat")[:2]


@pytest.fixture(scope="session")
def report(
    small_assets: Path, two: list, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished comparison with a sweep."""

    out = tmp_path_factory.mktemp("report") / "cat"
    models = load_models("tiny", assets=small_assets, device="cpu")
    compare(two, models, replace(CAT, sweep=True, sweep_rows=1), out, runs={"forget-cat": run})
    return out


def table_of(out: Path) -> dict:
    return json.loads((out / "table.json").read_text())


def picture(out: Path, name: str) -> np.ndarray:
    return read_image(out / name)


def counted(models) -> list[str]:
    """Counts what paints and looks, from here on; the models stay what they are."""
    calls: list[str] = []

    def listen(module: torch.nn.Module, name: str) -> None:
        module.register_forward_pre_hook(lambda *_: calls.append(name))

    listen(models.diffusion.pipe.unet, "unet")
    listen(models.ranker.model.visual, "ranker")
    before = models.inpainter._lama.model.forward
    models.inpainter._lama.model.forward = lambda *a: calls.append("lama") or before(*a)
    return calls


# ------------------------------------------------------------------------------ what is written
def test_the_table_has_a_cell_for_each_row_and_column(report: Path, two: list) -> None:
    table = table_of(report)
    assert [one["key"] for one in table["columns"]] == list(CAT.columns)
    assert [row["name"] for row in table["rows"]] == [one.name for one in two]
    for key in CAT.columns:
        assert len(table["cells"][key]) == 2
        for cell in table["cells"][key]:
            assert cell["error"] is None
            assert picture(report, cell["picture"]).shape == (128, 128, 3)
            assert cell["seconds"] > 0
            assert cell["memory_mb"] > 10
    assert table["version"] == 1
    assert (table["preset"], table["seed"], table["concept"]) == ("tiny", 0, "cat")


def test_only_the_hole_differs_except_after_image_to_image(report: Path, two: list) -> None:
    table = table_of(report)
    for index, subject in enumerate(two):
        image = read_image(subject.original)
        hole = read_mask(report / table["rows"][index]["mask"])
        assert (hole & ~read_mask(subject.mask)).any()  # grown
        assert not (read_mask(subject.mask) & ~hole).any()
        for key in ("own", "sd-inpaint", "lora-inpaint"):
            made = picture(report, table["cells"][key][index]["picture"])
            assert np.array_equal(made[~hole], image[~hole])
            assert not np.array_equal(made[hole], image[hole])
            assert table["cells"][key][index]["scores"]["outer_psnr"] is None  # no damage: no dB
        redrawn = table["cells"]["lora-img2img"][index]
        assert not np.array_equal(picture(report, redrawn["picture"])[~hole], image[~hole])
        assert 0 < redrawn["scores"]["outer_psnr"] < 60


def test_the_patch_changes_the_picture_and_comes_off_without_a_trace(models, run, two) -> None:
    unet = models.diffusion.pipe.unet
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    bench = Bench(models, CAT)
    (worn,) = wear({"cat": run}, models.diffusion.made_by, 1.0)
    paint = COLUMNS["lora-inpaint"](bench, worn).paint
    view = view_of(two[0])
    plain = paint(view).image
    with wearing(bench, worn):
        patched = paint(view).image
    assert not np.array_equal(patched, plain)
    after = unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert np.array_equal(paint(view).image, plain)


def test_a_patch_comes_off_when_the_work_is_interrupted(models, run) -> None:
    names = set(models.diffusion.pipe.unet.state_dict())
    (worn,) = wear({"cat": run}, models.diffusion.made_by, 0.5)
    with pytest.raises(KeyboardInterrupt), wearing(Bench(models, CAT), worn):
        raise KeyboardInterrupt
    assert set(models.diffusion.pipe.unet.state_dict()) == names


# ------------------------------------------------------------------------------ nothing twice
def test_a_second_comparison_computes_nothing(models, report, run, two, tmp_path) -> None:
    models.inpainter, models.diffusion, models.ranker  # noqa: B018 (loaded before counting)
    calls = counted(models)
    out = tmp_path / "again"
    wanted = replace(CAT, sweep=True, sweep_rows=1)
    runs = {"another-name": run}
    compare(two, models, wanted, out, runs=runs, cache=report / "cache")
    assert calls == []
    first, second = table_of(report), table_of(out)
    assert second["cells"] == first["cells"]
    assert second["summary"] == first["summary"]
    compare(two, models, replace(wanted, seed=1), out, runs=runs, cache=report / "cache")
    assert set(calls) == {"unet", "ranker", "lama"}


def test_another_scale_paints_the_patched_columns_only(models, report, run, two, tmp_path) -> None:
    calls = counted(models)
    half = replace(CAT, columns=("own", "sd-inpaint"), scale=0.5)
    compare(two, models, half, tmp_path / "a", runs={"x": run}, cache=report / "cache")
    assert calls == []
    half = replace(CAT, columns=("lora-img2img",), scale=0.5)
    compare(two, models, half, tmp_path / "b", runs={"x": run}, cache=report / "cache")
    assert "unet" in calls


def test_one_changed_pixel_makes_a_picture_anew(models, report, drawn, tmp_path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(drawn, folder)
    stem = sorted(path.stem for path in (folder / "original").iterdir())[0]
    changed = read_image(folder / "original" / f"{stem}.png")
    changed[0, 0] ^= 1
    Image.fromarray(changed).save(folder / "original" / f"{stem}.png")
    calls = counted(models)
    own = Wanted("cat", ("own",), steps=2)
    subjects = subjects_of_folder(folder, "cat")
    compare(subjects[1:2], models, own, tmp_path / "a", cache=report / "cache")
    assert "lama" not in calls
    compare(subjects[:1], models, own, tmp_path / "b", cache=report / "cache")
    assert "lama" in calls


def test_stopped_it_keeps_what_is_done_and_goes_on_there(models, two, tmp_path) -> None:
    out, own = tmp_path / "out", Wanted("cat", ("own", "sd-inpaint"), steps=1)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        compare(
            two, models, own, out,
            on_step=lambda done, total, words: told.append(words),
            should_stop=lambda: len(told) == 3,
        )  # fmt: skip
    assert len(told) == 3
    assert not (out / "table.json").exists()
    assert not list(out.rglob("*.tmp"))
    calls = counted(models)
    compare(two, models, own, out)
    assert calls.count("unet") == 1  # the fourth cell; one step with guidance is one call
    assert "lama" not in calls
    assert table_of(out)["cells"]["sd-inpaint"][1]["error"] is None


# ------------------------------------------------------------------------------ scores
def test_scores_are_those_of_the_pictures_that_are_shown(report: Path, two: list) -> None:
    table = table_of(report)
    for key in CAT.columns:
        for row, cell, subject in zip(table["rows"], table["cells"][key], two, strict=True):
            x, y = (read_image(p) / 255 for p in (subject.original, report / cell["picture"]))
            hole = read_mask(report / row["mask"])
            truth = read_image(subject.truth) / 255
            found = cell["scores"]
            assert found["truth_rmse"] == pytest.approx(
                np.sqrt(((y[hole] - truth[hole]) ** 2).mean())
            )
            d, s = independent_entangled(x, y, hole)
            assert found["entangled_d"] == pytest.approx(d, abs=1e-6)
            assert found["entangled_s"] == pytest.approx(s, abs=1e-6)
            d, s = independent_entangled(x, y, hole, released=True)
            assert found["entangled_d_released"] == pytest.approx(d, abs=1e-6)
            assert found["entangled_s_released"] == pytest.approx(s, abs=1e-6)
            assert found["clip_at_1"] >= found["clip_at_3"] >= found["clip_at_5"]
            assert found["still_seen"] in (0, 1)


def test_an_untouched_copy_scores_no_clip_at_k(two: list, small_assets: Path) -> None:
    from forgetme.compare.items import view_of
    from forgetme.compare.scores import Eyes, known_scores, score_picture

    ranker = load_models("tiny", assets=small_assets, device="cpu").ranker
    eyes = Eyes.of(ranker, "cats")
    assert eyes.concept == "cat"
    for subject in two:
        view = view_of(subject)
        values, _ = score_picture(view, view.image, eyes)
        assert [values[f"clip_at_{k}"] for k in (1, 3, 5)] == [0, 0, 0]
    named = {one.key: one for one in known_scores(eyes, truth=True)}
    words = f"box on black, {len(eyes.labels)} words"
    assert words in named["clip_at_1"].variant
    assert "of cat, " in named["clip_at_1"].words
    assert not named["still_seen"].higher_is_better


def independent_entangled(x, y, hole, *, released: bool = False) -> tuple[float, float]:
    """ForgetMe's equations 1-8 with statistics of the edited image, written out."""
    inner, outer = (np.sqrt(((x[r] - y[r]) ** 2).mean()) for r in (hole, ~hole))
    inner = 1 - inner if released else inner
    similar = 2 * inner * (1 - outer) / (inner + 1 - outer + 1e-6)
    m, v = ([f(y[hole]), f(y[~hole])] for f in (np.mean, np.std))
    even = [2 * a * b / (a * a + b * b + 1e-6) for a, b in (m, v)]
    consistent = even[0] * even[1]
    return 2 * similar * consistent / (similar + consistent), consistent


def test_means_have_intervals_directions_and_warnings(report: Path) -> None:
    table = table_of(report)
    scores = {one["key"]: one for one in table["scores"]}
    assert not any("fid" in one["title"].lower() for one in table["scores"])
    assert scores["features_fid"]["higher_is_better"] is False
    assert scores["entangled_d"]["variant"] == "paper"
    assert scores["entangled_d_released"]["variant"] == "released"
    found = table["summary"]["sd-inpaint"]
    values = [one["scores"]["entangled_s"] for one in table["cells"]["sd-inpaint"]]
    mean = found["entangled_s"]
    assert mean["mean"] == pytest.approx(np.mean(values))
    assert min(values) <= mean["low"] <= mean["high"] <= max(values)
    assert mean["n"] == 2
    assert "too small" in mean["warning"]
    assert found["cmmd"]["mean"] >= 0
    assert "unchanged" in found["outer_psnr"]["warning"] or found["outer_psnr"]["mean"] is None
    assert found["seconds"]["mean"] > 0


def test_a_sweep_paints_all_scales_with_one_seed(report: Path, run: Path) -> None:
    table = table_of(report)
    found = table["sweep"]
    assert found["scales"] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert found["rows"] == [0]
    (pictures,) = found["pictures"]
    assert pictures[-1] == table["cells"]["lora-inpaint"][0]["picture"]  # scale 1 is the column's
    assert len(set(pictures)) > 1
    for key in ("entangled_d", "entangled_d_released", "clip_at_1", "still_seen"):
        assert len(found["curves"][key]) == 11
    last = found["curves"]["entangled_d"][-1]
    assert last["mean"] == table["cells"]["lora-inpaint"][0]["scores"]["entangled_d"]
    assert last["n"] == 1


def test_no_chart_of_a_sweep_has_two_variants(report: Path) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    first, second = re.findall(r'<svg class="chart".*?</svg>', page, flags=re.DOTALL)
    theirs = "published, Table 3"  # most likely of the authors' code
    assert theirs not in first
    assert theirs in second
    for one in (first, second):
        assert "CLIP@1, still seen" in one
    table = table_of(report)
    for chart, key in ((first, "entangled_d"), (second, "entangled_d_released")):
        for variant in ("entangled_d", "entangled_d_released"):
            means = {f"{one['mean']:.3f}" for one in table["sweep"]["curves"][variant]}
            drawn = set(re.findall(r"<title>α [\d.]+: ([\d.-]+)</title>", chart))
            assert (means <= drawn) == (variant == key)


def test_the_papers_numbers_are_beside_ours_as_theirs(report: Path) -> None:
    rows = table_of(report)["published"]
    value = {(one["source"][-7:], one["label"], one["score"]): one["value"] for one in rows}
    assert value["Table 2", "CLIPAway", "entangled_d"] == 0.7920
    assert value["Table 2", "LoRA+I2I", "fid"] == 101.8833
    assert value["Table 3", "Cat, α = 0.9", "entangled"] == 0.8507
    assert len(rows) == 4 * 8 + 4 * 5
    assert all("unknown" in one["variant"] for one in rows)


def test_inception_makes_it_fid(models, two, tmp_path) -> None:
    """Features of any kind stand in for Inception's: its own network is tested with the metric."""

    def features(pictures) -> np.ndarray:
        return np.stack([one[::32, ::32].reshape(-1) / 255 for one in pictures])

    eyes = Eyes.of(models.ranker, "cat", inception=features, inception_sha="x")
    titles = [one.title for one in known_scores(eyes, truth=False)]
    assert titles[-3:] == ["CMMD", "FID", "KID"]
    before = [read_image(one.original) for one in two]
    after = [read_image(one.truth) for one in two]
    found = score_sets(lambda: before, lambda: after, eyes)
    assert set(found) == {"cmmd", "fid", "kid"}
    assert found["fid"]["mean"] == pytest.approx(frechet(features(before), features(after)))
    assert "2048" in found["fid"]["warning"]
    same = score_sets(lambda: before, lambda: before[::-1], eyes)
    assert same["cmmd"]["mean"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(MissingModelError, match="no Inception weights"):
        compare(
            two, models, Wanted("cat", ("own",)), tmp_path / "o", inception=tmp_path / "none.pth"
        )


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """By the definition: the trace of a matrix root, from scipy."""
    from scipy.linalg import sqrtm

    first, second = (np.cov(one, rowvar=False) for one in (a, b))
    root = np.real(np.trace(sqrtm(first @ second)))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * root)


# ------------------------------------------------------------------------------ reports
def test_the_csv_has_a_line_for_each_picture(report: Path, two: list) -> None:
    with (report / "table.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert len(found) == 2 * len(CAT.columns)
    table = table_of(report)
    line = next(x for x in found if x["column"] == "own" and x["row"] == two[1].name)
    assert float(line["entangled_d"]) == table["cells"]["own"][1]["scores"]["entangled_d"]
    assert line["outer_psnr"] == ""


def test_the_page_needs_nothing_else(report: Path, two: list) -> None:
    page = (report / "report.html").read_text()
    assert page.count("data:image/webp;base64,") == 2 * (3 + len(CAT.columns)) + 11
    for outside in ("http://", "https://", "<link", 'src="pictures', "onclick", "url("):
        assert outside not in page
    assert two[0].name in page


def test_reports_escape_what_a_name_holds(models, report, two, tmp_path) -> None:
    wild = [replace(two[0], name="=1+1 <b>&_%"), replace(two[1], name="ok")]
    out = tmp_path / "out"
    own = Wanted("cat", ("own",), steps=2)
    compare(wild, models, own, out, cache=report / "cache", title="50 % of <i>_{x}")
    assert "<b>" not in (out / "report.html").read_text()
    assert "<i>" not in (out / "report.html").read_text()
    with (out / "table.csv").open(newline="") as lines:
        assert next(csv.DictReader(lines))["row"] == "'=1+1 <b>&_%"


def test_latex_is_booktabs_and_escaped(report: Path) -> None:
    from forgetme.compare.latex import escaped

    text = (report / "table.tex").read_text()
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    for line in body:  # as many cells as columns
        assert line.count("&") - line.count(r"\&") in (
            body[0].count("&") - body[0].count(r"\&"),
            8,
        )
    assert escaped("a_b & 50% <x> {y}") == (r"a\_b \& 50\% \textless{}x\textgreater{} \{y\}")


def test_pictures_of_an_earlier_report_are_gone(models, report, two, tmp_path) -> None:
    out = tmp_path / "out"
    own = Wanted("cat", ("own",), steps=2)
    compare(two, models, own, out, cache=report / "cache")
    many = set((out / "pictures").iterdir())
    compare(two[:1], models, own, out, cache=report / "cache")
    few = set((out / "pictures").iterdir())
    assert few < many
    named = json.dumps(table_of(out))
    assert all(path.name in named for path in few)


# ------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda record: record | {"base": "other@12345678"}, "a patch of other@12345678"),
        (None, "holds no patch.json"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_before_anything(
    models, run, two, tmp_path, spoil: Callable | None, words: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    path = folder / "patch" / "patch.json"
    if spoil is None:
        path.unlink()
    else:
        path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    calls = counted(models)
    with pytest.raises(ForgetmeError, match=words):
        compare(two, models, CAT, tmp_path / "out", runs={"run": folder})
    assert calls == []
    assert not (tmp_path / "out").exists()


def test_no_pictures_no_run_no_folder_are_said(models, two, drawn, store, tmp_path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ForgetmeError, match="at least one picture"):
        compare([], models, CAT, out)
    with pytest.raises(ForgetmeError, match="lora-inpaint needs a run"):
        compare(two, models, CAT, out)
    with pytest.raises(ForgetmeError, match="no accepted sample of 'cat'"):
        subjects_of_store(store, "cat")
    with pytest.raises(ForgetmeError, match="no picture of 'dog'; it has: cat"):
        subjects_of_folder(drawn, "dog")
    with pytest.raises(ValueError, match="unknown column 'magic'; known: own"):
        Wanted("cat", ("magic",))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ForgetmeError, match=r"letter\.txt and no table\.json"):
        compare(two, models, Wanted("cat", ("own",)), tmp_path / "mine")
    assert not out.exists()


def test_an_empty_mask_is_said_in_its_cell_and_the_others_go_on(
    models, two, report, tmp_path
) -> None:
    blank = tmp_path / "blank.png"
    Image.fromarray(np.zeros((128, 128), np.uint8)).save(blank)
    bad = replace(two[0], mask=blank)
    with pytest.raises(EmptyRegionError, match="the mask is empty"):
        view_of(bad).check()
    own = Wanted("cat", ("own",), steps=2)
    compare([bad, two[1]], models, own, tmp_path / "out", cache=report / "cache")
    cells = table_of(tmp_path / "out")["cells"]["own"]
    assert "the mask is empty" in cells[0]["error"]
    assert cells[0]["picture"] is None
    assert cells[1]["error"] is None
    assert table_of(tmp_path / "out")["summary"]["own"]["entangled_d"]["n"] == 1
    assert "no picture" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(ForgetmeError, match="nothing could be filled: the mask is empty"):
        compare([bad], models, own, tmp_path / "none")
    assert not (tmp_path / "none" / "table.json").exists()


def test_a_column_without_its_models_says_so_and_the_others_go_on(
    models, two, report, tmp_path, monkeypatch
) -> None:
    def missing(bench, worn):  # noqa: ANN001, ANN202
        raise MissingModelError("no weights; run `python -m forgetme tiny train clipaway`")

    monkeypatch.setitem(COLUMNS, "clipaway", missing)
    wanted = Wanted("cat", ("clipaway", "own"), steps=2)
    compare(two, models, wanted, tmp_path / "out", cache=report / "cache")
    table = table_of(tmp_path / "out")
    assert all("tiny train clipaway" in cell["error"] for cell in table["cells"]["clipaway"])
    assert all(cell["error"] is None for cell in table["cells"]["own"])


def test_layers_of_two_sizes_are_refused(two, tmp_path) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(small)
    with pytest.raises(ForgetmeError, match="the mask is 64x64 px and the image 128x128 px"):
        view_of(replace(two[0], mask=small))


# ------------------------------------------------------------------------------ several runs
def test_several_runs_are_columns_of_their_own(models, two, run, report, tmp_path) -> None:
    wanted = Wanted("cat", ("lora-img2img",), steps=2)
    runs = {"One_Run": run, "two": run}
    compare(two[:1], models, wanted, tmp_path / "out", runs=runs, cache=report / "cache")
    table = table_of(tmp_path / "out")
    assert [one["key"] for one in table["columns"]] == [
        "lora-img2img:one-run", "lora-img2img:two",
    ]  # fmt: skip
    first, second = (table["cells"][one["key"]] for one in table["columns"])
    assert first == second  # the same patch


def test_only_drawn_folders_know_the_truth(models, drawn, tmp_path) -> None:
    assert is_drawn(drawn)
    folder = tmp_path / "made"
    shutil.copytree(drawn, folder)
    (folder / "index.csv").unlink()
    assert not is_drawn(folder)
    assert all(one.truth is None for one in subjects_of_folder(folder, "cat"))


def test_a_patch_is_worn_by_the_plain_model_where_another_u_net_inpaints(
    small_assets, run, tmp_path
) -> None:
    nine = save_diffusion(tmp_path / "nine", in_channels=9)
    models = load_models(
        "tiny", assets=small_assets, device="cpu", diffusion=f"{small_assets / 'diffusion'}+{nine}"
    )
    bench = Bench(models, CAT)
    assert bench.host is not models.diffusion
    assert bench.host is bench.host  # loaded once
    assert bench.host.pipe.unet.config.in_channels == 4
    (worn,) = wear({"cat": run}, models.diffusion.made_by, 1.0)  # known by its weights
    with wearing(bench, worn):
        assert any("lora" in name for name in bench.host.pipe.unet.state_dict())
        assert not any("lora" in name for name in models.diffusion.pipe.unet.state_dict())
    with pytest.raises(ForgetmeError, match="is a patch of"):
        wear({"cat": run}, "diffusion@00000000", 1.0)


def test_what_a_backend_paints_beyond_the_hole_is_dropped(
    models, two, tmp_path, monkeypatch
) -> None:
    def spills(bench: Bench, worn: object) -> Column:
        return Column("own", "spills", "noise", {}, lambda view: Painted(255 - view.image))

    monkeypatch.setitem(COLUMNS, "own", spills)
    compare(two[:1], models, Wanted("cat", ("own",)), tmp_path / "out")
    table = table_of(tmp_path / "out")
    made = picture(tmp_path / "out", table["cells"]["own"][0]["picture"])
    image, hole = read_image(two[0].original), view_of(two[0]).hole
    assert np.array_equal(made, np.where(hole[..., None], 255 - image, image))


def test_shares_in_a_table_have_wilsons_interval() -> None:
    from forgetme.compare.scores import mean_of

    found = mean_of([1.0] * 48, "clip_at_1")
    assert (found["mean"], found["high"]) == (1, 1)
    assert found["low"] == pytest.approx(48 / (48 + 3.8414588))
    assert mean_of([1.0] * 48, "entangled_d")["low"] == 1


# ---------------------------------------------------------------- who is crowned


def means(**columns):
    """A table of one score's means, (mean, low, high) a column."""
    names = ("mean", "low", "high")
    return {"summary": {key: {"x": dict(zip(names, one, strict=True))}
                        for key, one in columns.items()}}  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "up", "best"),
    [
        ({"a": (0.9, 0.85, 0.95), "b": (0.5, 0.4, 0.6)}, True, {"a"}),
        ({"a": (0.9, 0.85, 0.95), "b": (0.5, 0.4, 0.6)}, False, {"b"}),
        ({"a": (0.9, 0.55, 0.95), "b": (0.5, 0.4, 0.6)}, True, set()),  # they overlap
        ({"a": (0.9, 0.8, 1.0), "b": (0.5, 0.4, 0.6), "c": (0.88, 0.7, 0.9)}, True, set()),
        ({"a": (0.9, None, None), "b": (0.5, 0.4, 0.6)}, True, set()),  # not known how sure
        ({"a": (0.9, 0.8, 1.0)}, True, set()),
    ],
)
def test_bold_is_only_what_lies_apart_from_all_others(columns, up, best):
    assert best_keys(means(**columns), {"key": "x", "higher_is_better": up}) == best


def test_entangled_crowns_nobody_and_the_caveat_stands_in_every_report():
    smear = {"a": (0.9, 0.89, 0.91), "b": (0.5, 0.49, 0.51)}
    table = means(**smear)
    for one in table["summary"].values():
        one["entangled_s"] = one["x"]
    assert best_keys(table, {"key": "entangled_s", "higher_is_better": True}) == set()
    assert "a smear can score best" in caveat({"lama"})
    assert "of those that judge it" in caveat({"own", "lama"})
    assert "of those that judge it" not in caveat({"lama"})


@pytest.mark.bundled
def test_what_is_still_seen_and_a_smear_are_scores_of_a_picture():
    eyes = Eyes.of(load_models("tiny", device="cpu").ranker, "dog")
    scene = render_scene(7401, concept="dog")
    hole = masks.dilate(scene.mask, 5)
    view = View(scene.image, scene.mask, hole, scene.background, "")
    for painted, seen in ((scene.image, 1.0), (scene.background, 0.0)):
        assert score_picture(view, painted, eyes)[0]["still_seen"] == seen
    assert score_picture(view, scene.background, eyes)[0]["smear"] == 0.0
    unknown = Eyes.of(load_models("tiny", device="cpu").ranker, "zeppelin")
    assert score_picture(view, scene.background, unknown)[0]["still_seen"] is None
