"""The Compare tab in a real browser: sort, part, subtract, flicker, vote, send back, sweep."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_comparison
from dataset_page import DataPage, serving, wait_for
from PIL import Image
from test_page_browser import SLOW_MS, browser, outside, part  # noqa: F401 (a fixture)

from forgetme import jobs
from forgetme.compare import votes
from forgetme.store import Store

pytestmark = pytest.mark.browser
NAME = "cat-1"
ROWS = 8
OWN, ANEW = "own", "lora-img2img"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPage]:
    """One page for all tests; what a test sends back, it takes back."""
    with Store(tmp_path_factory.mktemp("compare-browser") / "store") as store:
        small_comparison.make(store, NAME, count=ROWS, size=128)
        small_comparison.add_run(store)
        with serving(store) as page:
            yield page


@pytest.fixture(scope="module")
def table(server: DataPage) -> dict:
    return json.loads((folder_of(server) / "table.json").read_text(encoding="utf-8"))


def folder_of(server: DataPage) -> Path:
    return server.store.folder / "comparisons" / NAME


def opened(browser, server: DataPage, width: int = 1440, height: int = 900):  # noqa: F811
    """Opens the tab; the page must ask no other host and log no error."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    page.bad = []
    page.on("request", lambda one: page.bad.append(one.url) if outside(one.url) else None)
    page.on("pageerror", lambda error: page.bad.append(str(error)))
    page.goto(f"{server.url}/?tab=compare")
    return page


@pytest.fixture
def page(browser, server: DataPage) -> Iterator:  # noqa: F811
    page = opened(browser, server)
    page.wait_for_selector("[data-test='row-0'][aria-selected='true']")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.fm-pane img')].every(one => one.complete)"
    )
    yield page
    assert page.bad == []
    page.context.close()


def values(table: dict, column: str, score: str) -> list[float]:
    return [cell["scores"].get(score) for cell in table["cells"][column]]


def pixels(server: DataPage, path: str) -> np.ndarray:
    return np.asarray(Image.open(folder_of(server) / path)).astype(int)


def says(page, name: str, words: str) -> None:
    """Waits until a part of the page holds these words."""
    page.wait_for_function(
        "([part, words]) => document.querySelector(part)?.textContent.includes(words)",
        arg=[f"[data-test='{name}']", words],
    )


def shows(page, name: str) -> None:
    page.wait_for_function(
        "name => document.querySelector(\"[data-test='sample']\").textContent === name", arg=name
    )


def transforms(page) -> list[str]:
    return page.eval_on_selector_all(
        ".fm-tiles .fm-pane-sheet", "all => all.map(one => one.style.transform)"
    )


def pick(page, left: str, right: str) -> None:
    part(page, "pick-left").select_option(left)
    part(page, "pick-right").select_option(right)


# ---------------------------------------------------------------- pictures and scores


def test_a_row_shows_all_its_pictures_with_the_mask_outlined(page, table) -> None:
    keys = ["original", "truth", *table["cells"]]
    tiles = page.locator(".fm-tiles .fm-tile")
    assert [tile.get_attribute("data-test") for tile in tiles.all()] == [
        f"tile-{key}" for key in keys
    ]
    outline = page.locator("[data-test='tile-own'] .fm-pane-outline path").last
    page.wait_for_function(
        "() => document.querySelector('.fm-pane-outline path').getAttribute('d')"
    )
    assert outline.get_attribute("d").startswith("M")
    page.keyboard.press("m")
    page.wait_for_function(
        "() => !document.querySelector('.fm-pane-outline path').getAttribute('d')"
    )
    page.keyboard.press("m")
    part(page, "show-truth").click()
    assert part(page, "tile-truth").count() == 0


def test_a_failed_picture_says_why(page, table) -> None:
    row = next(k for k, cell in enumerate(table["cells"]["sd-inpaint"]) if cell["error"])
    part(page, f"row-{row}").get_by_role("button").click()
    tile = page.locator("[data-test='tile-sd-inpaint'] .fm-pane-words")
    assert tile.inner_text() == table["cells"]["sd-inpaint"][row]["error"]


def test_a_click_on_a_head_sorts_the_pictures(page, table) -> None:
    found = values(table, OWN, "entangled_d")
    best_first = sorted(range(ROWS), key=lambda row: -found[row])
    part(page, "sort-own-entangled_d").click()
    shows(page, table["rows"][best_first[0]]["name"])
    lines = page.locator("[data-test='scores'] tbody tr")
    assert [line.get_attribute("data-test") for line in lines.all()] == [
        f"row-{k}" for k in best_first
    ]
    page.keyboard.press("ArrowDown")
    shows(page, table["rows"][best_first[1]]["name"])
    part(page, "sort-own-entangled_d").click()
    shows(page, table["rows"][best_first[-1]]["name"])
    assert "lowest first" in part(page, "sorted").inner_text()
    part(page, "sort-own-entangled_d").click()
    shows(page, table["rows"][0]["name"])


def test_lower_is_better_sorts_the_lowest_on_top(page, table) -> None:
    part(page, "score-rmse").click()
    found = values(table, OWN, "rmse")
    part(page, "sort-own-rmse").click()
    shows(page, table["rows"][int(np.argmin(found))]["name"])
    part(page, "score-rmse").click()


def test_the_summary_row_is_that_of_the_table(page, table) -> None:
    words = part(page, "summary-row").inner_text()
    known = table["summary"][OWN]["entangled_d"]
    assert f"{known['mean']:.3f}" in words
    assert f"{known['low']:.3f} – {known['high']:.3f}" in words


def test_all_pictures_zoom_and_move_as_one(page) -> None:
    whole = transforms(page)
    assert len(whole) == 7
    assert len(set(whole)) == 1
    box = page.locator("[data-test='tile-clipaway'] .fm-pane").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    page.wait_for_function(
        "was => document.querySelector('.fm-pane-sheet').style.transform !== was", arg=whole[0]
    )
    near = transforms(page)
    assert len(set(near)) == 1
    page.mouse.down()
    page.mouse.move(x + 30, y + 10, steps=4)
    page.mouse.up()
    moved = transforms(page)
    assert len(set(moved)) == 1
    assert moved != near
    page.mouse.dblclick(x, y)
    page.wait_for_function(
        "was => document.querySelector('.fm-pane-sheet').style.transform === was", arg=whole[0]
    )


def test_the_slider_parts_any_two(page) -> None:
    page.keyboard.press("2")
    pick(page, "truth", ANEW)
    handle = page.get_by_role("slider", name="True background and LoRA + image to image")
    handle.focus()
    page.keyboard.press("Home")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "10"
    cut = page.locator(".fm-pane-over:visible").evaluate("one => one.style.clipPath")
    left = float(re.search(r"([\d.]+)px\)$", cut).group(1))
    sheet = page.locator(".fm-parted .fm-pane-sheet").bounding_box()
    pane = page.locator(".fm-parted").bounding_box()
    inside = (pane["x"] + 0.1 * pane["width"] - sheet["x"]) / sheet["width"] * 128
    assert left == pytest.approx(min(128, max(0, inside)), abs=0.5)
    part(page, "swap").click()
    assert part(page, "pick-left").input_value() == ANEW


def test_the_difference_counts_what_differs_and_can_be_amplified(page, server, table) -> None:
    page.keyboard.press("3")
    pick(page, "original", ANEW)
    paths = table["rows"][0]
    mask = pixels(server, paths["mask"]) > 127
    off = np.abs(
        pixels(server, paths["original"]) - pixels(server, table["cells"][ANEW][0]["picture"])
    ).max(axis=2)
    changed = f"{np.count_nonzero(off[~mask]):,}".replace(",", "\u202f")
    says(page, "difference-words", f"outside the mask {changed} of")
    assert (
        f"mean {off[mask].mean():.1f}, up to {off[mask].max()}"
        in part(page, "difference-words").inner_text()
    )
    before = brightness(page)
    part(page, "gain").select_option("16")
    page.wait_for_selector("[data-test='difference'][data-gain='16']")
    assert brightness(page) > before
    assert "≥ 16" in part(page, "difference-scale").inner_text()
    pick(page, "original", OWN)
    says(page, "difference-words", "outside the mask none of")


def brightness(page) -> float:
    return part(page, "difference").evaluate(
        """one => one.getContext("2d").getImageData(0, 0, one.width, one.height)
                     .data.reduce((sum, value) => sum + value, 0)"""
    )


def test_flicker_takes_turns_stops_and_shows_the_other_while_held(page) -> None:
    page.keyboard.press("4")
    pick(page, "original", OWN)
    shown = part(page, "flicker-shown")
    turn = "was => document.querySelector(\"[data-test='flicker-shown']\").textContent !== was"
    for _ in range(2):
        page.wait_for_function(turn, arg=shown.inner_text())
    page.keyboard.press("f")
    assert part(page, "flicker-play").get_attribute("aria-pressed") == "false"
    still = shown.inner_text()
    page.keyboard.down(" ")
    page.wait_for_function(turn, arg=still)
    page.keyboard.up(" ")
    page.wait_for_function(turn.replace("!==", "==="), arg=still)
    assert float(part(page, "flicker-rate").get_attribute("max")) <= 6  # three flashes a second


# ---------------------------------------------------------------- back to the queue


def test_b_sends_the_shown_picture_back_and_undo_takes_it_back(page, server, table) -> None:
    page.keyboard.press("ArrowDown")
    shows(page, table["rows"][1]["name"])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    page.wait_for_selector("[data-test='state'][data-state='flagged']")
    sample = table["rows"][1]["sample"]
    row = server.store.sample(sample)
    assert (row.state, row.decided_by) == ("flagged", "ann")
    assert "Stable Diffusion inpainting" in row.comment
    page.keyboard.press("Backspace")
    page.wait_for_selector("[data-test='state'][data-state='accepted']")
    assert server.store.sample(sample).state == "accepted"


def test_keys_are_letters_while_somebody_types(page, server, table) -> None:
    part(page, "new").click()
    part(page, "new-name").fill("")
    part(page, "new-name").type("b-3")
    page.keyboard.press("ArrowDown")
    assert part(page, "new-name").input_value() == "b-3"
    page.keyboard.press("Escape")
    shows(page, table["rows"][0]["name"])
    assert server.store.counts()["flagged"] == 0


# ---------------------------------------------------------------- votes, sweep, summary


def test_votes_are_blind_until_given_and_are_counted(page, server, table) -> None:
    titles = [one["title"] for one in table["columns"]]
    part(page, "view-vote").click()
    part(page, "vote-pair").select_option("own clipaway")
    page.wait_for_function(
        f"() => document.querySelector(\"[data-test='vote-left']\").textContent === '{ROWS} left'"
    )
    ballot = page.locator(".fm-vote-ballot")
    assert not [title for title in titles if title in ballot.inner_html()]
    for key, left in (("a", ROWS - 1), ("t", ROWS - 2), ("b", ROWS - 3), ("s", ROWS - 4)):
        page.wait_for_selector(".fm-vote-ballot:not(:has(.fm-loading))")
        page.keyboard.press(key)
        page.wait_for_function(
            "words => document.querySelector(\"[data-test='vote-left']\").textContent === words",
            arg=f"{left} left",
        )
    found = votes.read_votes(folder_of(server))
    assert [one.choice for one in found] == ["a", "tie", "b", "skip"]
    last = part(page, "vote-last").locator("li").last
    assert "A won" in last.inner_text()
    assert (
        next(one["title"] for one in table["columns"] if one["key"] == found[0].a)
        in last.inner_text()
    )
    tally = part(page, "tally-own-clipaway").inner_text()
    won = sum((one.a if one.choice == "a" else one.b) == OWN for one in found if one.choice in "ab")
    assert f"{won} : {2 - won}" in tally
    assert "1 alike, 1 skipped, 1 person" in tally
    page.keyboard.press("Backspace")
    wait_for(lambda: len(votes.read_votes(folder_of(server))) == 3)


def test_a_point_of_the_sweep_shows_its_picture(page, table) -> None:
    part(page, "view-sweep").click()
    part(page, "point-0-4").click()
    assert part(page, "scale-0.5").get_attribute("aria-checked") == "true"
    src = page.locator(".fm-sweep-pair img").last.get_attribute("src")
    assert src.endswith(table["sweep"]["pictures"][0][4].removeprefix("pictures/"))
    page.keyboard.press("ArrowRight")
    assert part(page, "scale-0.6").get_attribute("aria-checked") == "true"
    page.keyboard.press("ArrowDown")
    assert table["rows"][1]["name"] in part(page, "sweep-row").inner_text()
    mean = table["sweep"]["curves"]["entangled_d"][4]["mean"]
    assert f"{mean:.3f}" in part(page, "point-0-4").get_attribute("aria-label")
    legend = page.locator(".fm-curve-legend")
    shown = [one for one in table["sweep"]["curves"] if not one.endswith("released")]
    assert {"entangled_d", "entangled_s", "clip_at_1", "still_seen"} <= set(shown)
    for one in ("entangled_d", "entangled_s", "clip_at_1", "still_seen"):
        assert part(page, f"curve-{one}").get_attribute("aria-pressed") == "true"
    assert "theirs" not in legend.inner_text()  # of another variant than what is drawn
    part(page, "curve-entangled_d_released").click()
    assert "theirs" in legend.inner_text()
    assert part(page, "curve-entangled_d").get_attribute("aria-pressed") == "false"


def test_the_papers_numbers_are_marked_as_theirs_with_their_variant(page) -> None:
    part(page, "view-summary").click()
    theirs = part(page, "theirs").inner_text()
    assert "theirs" in theirs
    assert "variant released or unknown" in theirs
    assert "0.792" in theirs  # CLIPAway's Entangled-D in Table 2
    assert "0.164" not in part(page, "summary").inner_text()  # of Table 3, shown with the sweep


# ---------------------------------------------------------------- starting, narrow, nothing


def test_a_comparison_started_here_is_a_job_and_shows_how_far_it_is(
    page, server, monkeypatch
) -> None:
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    part(page, "new").click()
    part(page, "new-run-cat-lora").uncheck()
    assert part(page, "new-column-lora-inpaint").is_disabled()
    part(page, "new-run-cat-lora").check()
    part(page, "new-column-clipaway").uncheck()
    part(page, "new-limit").fill("4")
    part(page, "new-sweep").uncheck()
    part(page, "new-start").click()
    part(page, "making-cat-2").wait_for()
    (job,) = jobs.list(server.store, kind="compare")
    assert job.arguments == {
        "name": "cat-2", "concept": "cat", "runs": ["cat-lora"], "limit": 4, "seed": 0,
        "columns": ["own", "lama", "sd-inpaint", "lora-inpaint", "lora-img2img"], "sweep": False,
        "preset": "tiny", "verifier": None,
    }  # fmt: skip
    part(page, "making-cat-2").get_by_role("button").click()
    part(page, "making-cat-2").wait_for(state="detached")
    assert jobs.get(server.store, job.id).state == "stopped"


def test_the_run_that_forgets_the_concept_is_ticked_and_a_tick_is_seen(page) -> None:
    part(page, "new").click()
    box = part(page, "new-run-cat-lora")
    assert box.is_checked()
    assert part(page, "new-column-lora-inpaint").is_checked()
    assert seen_blue(box)
    box.uncheck()
    assert not seen_blue(box)


def seen_blue(box) -> bool:
    """Whether a part of the page is blue somewhere."""
    box.evaluate("one => one.blur()")
    box.page.mouse.move(0, 0)
    pixels = np.asarray(Image.open(io.BytesIO(box.screenshot())).convert("RGB")).astype(int)
    return bool((pixels[..., 2] - pixels[..., 0] > 100).any())


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, server) -> None:  # noqa: F811
    page = opened(browser, server, 390, 844)
    page.wait_for_selector("[data-test='row-0'][aria-selected='true']")
    for view in ("pictures", "summary", "sweep", "vote"):
        part(page, f"view-{view}").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.bad == []
    page.context.close()


def test_without_a_comparison_the_tab_says_what_to_do(
    browser,  # noqa: F811
    tmp_path,
    monkeypatch,
) -> None:
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    with Store(tmp_path / "store") as store, serving(store) as empty:
        page = opened(browser, empty)
        words = part(page, "compare-empty")
        words.wait_for()
        words.get_by_role("button").click()
        assert "Accept some on the Curate tab" in part(page, "new-comparison").inner_text()
        jobs.submit(store, "compare", {"name": "cat-1", "concept": "cat"}, "ann")
        words.get_by_text("The first comparison is being made.").wait_for()
        assert page.bad == []
        page.context.close()
