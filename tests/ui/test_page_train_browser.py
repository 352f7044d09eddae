"""The Train tab in a real browser: the form, a run's curves and pictures, stop, go on, delete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_page import DataPage, serving
from test_page_browser import SLOW_MS, browser, outside  # noqa: F401 (a fixture)
from train_job import asked, fill, until, written

from forgetme import jobs
from forgetme.store import Store
from forgetme.train import runs

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
    page.locator("#fm-run").get_by_text(RUN).wait_for()
    yield page
    assert page.bad == []
    page.context.close()


def says(page, name: str, words: str) -> None:
    """Waits until a part says some words."""
    page.wait_for_function(
        "([name, words]) => document.getElementById(name)?.textContent.includes(words)",
        arg=[name, words],
    )


def choose(page, name: str, option: str) -> None:
    """Chooses in one of Gradio's lists."""
    page.locator(f"#{name} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_empty_tab_says_what_to_do(browser, server: DataPage) -> None:  # noqa: F811
    page = opened(browser, server)
    page.locator("#fm-train-empty").get_by_text("press start").wait_for()
    assert page.bad == []
    page.context.close()


def test_run_shows_its_steps_curves_scores_and_pictures_as_they_come(page, kept: Store) -> None:
    says(page, "fm-run", "step 60 of 120")
    says(page, "fm-score-note", "cat: 100\u202f% → 0\u202f%; held: 88\u202f% → 88\u202f%")
    row = page.locator("#fm-runs .virtual-row").filter(has_text=RUN).inner_text()
    assert "stopped, saved" in row
    assert "100\u202f% → 0\u202f%" in row
    for chart in ("fm-loss", "fm-scores"):
        page.locator(f"#{chart} :is(canvas, svg.marks)").first.wait_for()
    strips = page.locator("#fm-probes img")
    assert "/probes/0-0.png" in strips.nth(0).get_attribute("src")
    assert "/probes/60-0.png" in strips.nth(1).get_attribute("src")
    page.wait_for_function("() => document.querySelector('#fm-probes img').naturalWidth === 64")
    names = page.locator("#fm-probes strong")
    assert names.all_inner_texts() == ["cat", "dog", "car"]  # to forget, a neighbour, unrelated
    choose(page, "fm-probe-step", "30")
    page.locator("#fm-probes img[src*='/probes/30-0.png']").wait_for()
    page.locator("#fm-probe-all input").click()
    page.locator("#fm-probes strong").nth(3).wait_for()
    assert names.all_inner_texts() == ["cat", "dog", "boat", "car"]
    choose(page, "fm-loss-term", "retain")
    page.locator("#fm-log-scale input").click()
    with (runs.run_of(kept, RUN).folder / "log.jsonl").open("a") as file:
        file.writelines(f'{{"step": {n}, "seconds": {n}, "loss": 5}}\n' for n in range(61, 90))
    says(page, "fm-run", "step 89 of 120")


def test_run_goes_on_waits_stops_and_is_deleted(page, kept: Store) -> None:
    page.locator("#fm-run-resume").click()
    says(page, "fm-run", "waits for its turn")
    page.locator("#fm-run-delete").wait_for(state="hidden")
    page.locator("#fm-run-patch").wait_for(state="hidden")
    page.locator("#fm-run-stop").click()
    says(page, "fm-run", "stopped, saved")
    page.locator("#fm-run-delete").click()
    page.locator("#fm-run-really").wait_for()
    assert len(runs.runs(kept)) == 1
    page.locator("#fm-run-really").click()
    page.locator("#fm-train-empty").get_by_text("press start").wait_for()
    assert runs.runs(kept) == []


def test_form_says_what_stands_in_the_way_and_starts_what_can_run(page, kept: Store) -> None:
    says(page, "fm-train-preset-words", "python -m forgetme doctor --download sd15")
    says(page, "fm-train-verdict", "an estimate")
    assert page.locator("#fm-set-rank").is_visible()
    choose(page, "fm-train-trains", "kv")
    page.locator("#fm-set-rank").wait_for(state="hidden")
    page.get_by_text("More settings").click()
    page.locator("#fm-set-retain_pictures input").fill("0")
    says(page, "fm-train-verdict", "something that must stay")
    assert page.locator("#fm-train-start").is_disabled()
    page.locator("#fm-set-retain_pictures input").fill("4")
    page.locator("#fm-set-steps input").fill("9")
    choose(page, "fm-keep-near", "fish")
    page.locator("#fm-train-start:not([disabled])").wait_for()
    assert page.locator("#fm-train-name :is(input, textarea)").input_value() == "cat-lora"
    page.locator("#fm-train-start").click()
    says(page, "fm-run", "cat-lora")
    settings = runs.run_of(kept, "cat-lora").asked.settings
    assert (settings.steps, settings.retain_pictures, settings.keep[0]) == (9, 4, "fish")
    assert settings.trains == "kv"
    until(lambda: page.locator("#fm-train-name :is(input, textarea)").input_value() == "cat-lora-2")


def test_narrow_page_is_one_column_without_sideways_scroll(browser, server, kept) -> None:  # noqa: F811
    page = opened(browser, server, 390, 844)
    page.locator("#fm-run").get_by_text(RUN).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    form, run = (page.locator(one).bounding_box() for one in ("#fm-train-start", "#fm-run"))
    assert run["y"] < form["y"]  # what is at work first
    page.context.close()
