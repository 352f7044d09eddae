"""The Train tab in a real browser: the form, a run's curves and pictures, stop, go on, delete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_page import DataPage, serving
from test_page_browser import SLOW_MS, browser, outside, part  # noqa: F401 (a fixture)
from train_job import asked, fill, until, written

from forgetme import jobs
from forgetme.store import Store
from forgetme.train import METHODS, runs

pytestmark = pytest.mark.browser
RUN = "cat-rl"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Iterator[DataPage]:
    """One page for all tests, whose jobs are written down and never begin."""
    patch = pytest.MonkeyPatch()
    patch.setattr(jobs, "start_queued", lambda store: [])
    with Store(tmp_path_factory.mktemp("train-browser") / "store") as store:
        fill(store, drawn)
        with serving(store) as page:
            yield page
    patch.undo()


@pytest.fixture
def kept(server: DataPage) -> Iterator[Store]:
    """The page's store with one stopped run of 60 steps; no run is left behind."""
    store = server.store
    written(asked(store, RUN, keep=("dog", "boat", "car")), 60, probes=(0, 30, 60))
    run = runs.run_of(store, RUN)
    row = store.jobs.add("train", {"name": RUN, "at": run.asked.at}, "ann", heavy=True)
    jobs.stop(store, row.id, "ann")
    yield store
    for one in runs.runs(store):
        runs.delete(store, one.name)


def opened(browser, server: DataPage, width: int = 1440, height: int = 900):  # noqa: F811
    """Opens the tab; the page must ask no other host and log no error."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(SLOW_MS)
    page.bad = []
    page.on("request", lambda one: page.bad.append(one.url) if outside(one.url) else None)
    page.on("pageerror", lambda error: page.bad.append(str(error)))
    page.goto(f"{server.url}/?tab=train")
    return page


@pytest.fixture
def page(browser, server: DataPage, kept: Store) -> Iterator:  # noqa: F811
    page = opened(browser, server)
    part(page, "run").wait_for()
    yield page
    assert page.bad == []
    page.context.close()


def says(page, name: str, words: str) -> None:
    """Waits until a part says some words."""
    page.wait_for_function(
        "([name, words]) => document.querySelector(`[data-test='${name}']`)"
        "?.textContent.includes(words)",
        arg=[name, words],
    )


def line(page, kind: str) -> str:
    return page.locator(f"path.fm-chart-{kind}").first.get_attribute("d")


def test_empty_tab_says_what_to_do(browser, server: DataPage) -> None:  # noqa: F811
    page = opened(browser, server)
    part(page, "train-empty").wait_for()
    assert "press start" in part(page, "train-empty").inner_text()
    assert page.bad == []
    page.context.close()


def test_run_shows_its_steps_curves_and_scores(page) -> None:
    says(page, "run-progress", "step 60 of 120")
    says(page, "score-note", "cat: 100\u202f% → 0\u202f%; held: 88\u202f% → 88\u202f%")
    assert page.locator("circle.fm-chart-mark").count() == 3
    assert page.locator("rect.fm-chart-mark").count() == 3
    row = part(page, f"run-{RUN}").locator("xpath=ancestor::tr").inner_text()
    assert "stopped, saved" in row
    assert "100\u202f% → 0\u202f%" in row


def test_loss_can_be_smoothed_scaled_and_taken_apart(page) -> None:
    smooth = line(page, "strong")
    part(page, "smoothing").fill("0")
    page.locator("path.fm-chart-raw").wait_for(state="detached")
    raw = line(page, "strong")
    assert raw != smooth
    part(page, "log-scale").click()
    assert part(page, "log-scale").get_attribute("aria-pressed") == "true"
    assert line(page, "strong") != raw
    part(page, "loss-term").select_option("retain")
    says(page, "run", "step 60: 0.00417")  # a quarter of 1/60


def test_pictures_of_an_earlier_step_are_a_slide_away(page) -> None:
    strips = part(page, "probe-0").locator("img")
    assert "/probes/0-0.png" in strips.nth(0).get_attribute("src")
    assert "/probes/60-0.png" in strips.nth(1).get_attribute("src")
    page.wait_for_function("() => document.querySelector('.fm-probe-row img').naturalWidth === 64")
    names = page.locator(".fm-probe-name strong").all_inner_texts()
    assert names == ["cat", "dog", "car"]  # to forget, a neighbour, unrelated
    part(page, "probe-step").focus()
    page.keyboard.press("Home")
    assert "/probes/30-0.png" in strips.nth(1).get_attribute("src")
    part(page, "probe-all").click()
    assert page.locator(".fm-probe-name strong").all_inner_texts() == ["cat", "dog", "boat", "car"]


def test_rows_appear_as_they_are_written(page, kept: Store) -> None:
    before = line(page, "strong")
    with (runs.run_of(kept, RUN).folder / "log.jsonl").open("a") as file:
        file.writelines(f'{{"step": {n}, "seconds": {n}, "loss": 5}}\n' for n in range(61, 90))
    says(page, "run-progress", "step 89 of 120")
    assert line(page, "strong") != before


def test_run_goes_on_waits_stops_and_is_deleted(page, kept: Store) -> None:
    part(page, "run-resume").click()
    says(page, "run-state", "waits for its turn")
    assert part(page, "run-delete").is_hidden()
    assert part(page, "run-patch").is_hidden()
    part(page, "run-stop").click()
    says(page, "run-state", "stopped, saved")
    part(page, "run-delete").click()
    says(page, "run-delete", "delete it for good?")
    assert len(runs.runs(kept)) == 1
    part(page, "run-delete").click()
    part(page, "train-empty").wait_for()
    assert runs.runs(kept) == []


def test_form_has_the_methods_own_settings_and_closes_impossible_pairs(page) -> None:
    assert part(page, "set-rank").is_visible()
    retain = METHODS["lora"].presets["tiny"]["options"]["retain"]
    assert float(part(page, "set-retain").input_value()) == retain
    closed = part(page, "train-trains").locator("option[value='no-cross-attention']")
    assert closed.is_disabled()
    assert closed.inner_text() == "no-cross-attention (not with lora)"
    part(page, "train-trains").select_option("kv")
    assert part(page, "set-rank").is_hidden()
    part(page, "train-method").select_option("esd")
    assert part(page, "set-eta").input_value() == "1"
    assert part(page, "train-trains").input_value() == "cross-attention"
    assert "no pictures" in part(page, "train-concept-words").inner_text()
    assert part(page, "preset-full").is_disabled()
    assert "download" in part(page, "preset-full").get_attribute("title")
    command = page.locator(".fm-train-form code")
    assert command.inner_text() == "python -m forgetme doctor --download sd15"


def test_page_says_that_it_loads_until_the_first_answer(browser, server, kept) -> None:  # noqa: F811
    page = browser.new_context().new_page()
    page.set_default_timeout(SLOW_MS)
    held = []
    page.route("**/api/train/form", lambda route: held.append(route))
    page.goto(f"{server.url}/?tab=train")
    page.locator(".fm-train[aria-busy]:empty").wait_for()
    until(lambda: page.evaluate("1") and held)
    shown = "one => getComputedStyle(one, '::after').content"
    assert page.locator(".fm-train").evaluate(shown) == '"Loading …"'
    held[0].continue_()
    part(page, "run").wait_for()
    assert page.locator(".fm-train").evaluate(shown) == "none"
    page.context.close()


def test_form_says_what_stands_in_the_way_and_starts_what_can_run(page, kept: Store) -> None:
    says(page, "train-cost", "an estimate")
    page.get_by_text("More settings").click()
    part(page, "set-retain_pictures").fill("0")
    says(page, "train-problem", "something that must stay")
    assert part(page, "train-start").is_disabled()
    part(page, "set-retain_pictures").fill("4")
    part(page, "train-problem").wait_for(state="hidden")
    part(page, "set-steps").fill("9")
    part(page, "keep-dog").click()
    part(page, "keep-near").select_option("fish")
    assert part(page, "train-name").input_value() == "cat-lora"
    part(page, "train-start").click()
    says(page, "run", "cat-lora")
    settings = runs.run_of(kept, "cat-lora").asked.settings
    assert (settings.steps, settings.retain_pictures, settings.keep[0]) == (9, 4, "fish")
    assert "dog" not in settings.keep
    until(lambda: part(page, "train-name").input_value() == "cat-lora-2")


def test_narrow_page_is_one_column_without_sideways_scroll(browser, server, kept) -> None:  # noqa: F811
    page = opened(browser, server, 390, 844)
    part(page, "run").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    form, run = part(page, "train-start").bounding_box(), part(page, "run").bounding_box()
    assert run["y"] < form["y"]  # what is at work first
    page.context.close()
