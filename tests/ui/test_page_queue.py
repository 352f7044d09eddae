"""The queue in a real browser: filter, order, saved views, the address, and long lists."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlparse

import pytest
from page_server import Truth, TruthModels
from small_store import add, filled, hold, leave, proposal, step
from test_page import free_port

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import Store

pytestmark = pytest.mark.browser
SLOW_MS = 180_000  # a busy machine
SAMPLES = 230  # more than the queue fetches at once


def fill_queue(store: Store) -> None:
    """Small samples whose scores fall with their number; every tenth fill is low, two are dogs."""
    for number in range(SAMPLES):
        concept = "dog" if number < 2 else "cat"
        row = add(store, number, name=f"s{number:03d}", concept=concept)
        best = proposal() | {"score": 0.95 - number / 300}
        rival = proposal(12) | {"score": 0.1, "box_xywh": [5, 14, 6, 4]}
        row = step(store, row, "proposed", {"proposals": [best, rival], "chosen": 0}, by="machine")
        made = filled(store, row, d=0.3 + number / 500)
        made["scores"]["low"] = number % 10 == 0
        step(store, row, "filled", made, by="machine")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Store]]:
    """The page in a thread; nothing is prepared, since all samples are."""
    import uvicorn

    from forgetme.ui.page import build

    port = free_port()
    with Store(tmp_path_factory.mktemp("queue") / "store") as store:
        fill_queue(store)
        review = Review(store, TruthModels(Truth()), by="ann")
        worker = Worker(review, ahead=0).start()
        config = uvicorn.Config(build(review, worker), port=port, log_level="warning")
        web = uvicorn.Server(config)
        thread = threading.Thread(target=web.run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}/", store
        web.should_exit = True
        thread.join(20)
        worker.stop(10)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(found for name in names if (found := shutil.which(name)))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server) -> Iterator:
    """A page that must log no error; each test opens an address of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def visit(page, server, query: str = "") -> None:
    page.goto(server[0] + query)
    page.wait_for_function("document.querySelector('.fm')?.curate?.list.asked >= 0")


def part(page, name: str):
    return page.locator(f"[data-test='{name}']")


def asked(page) -> dict[str, str]:
    """What the page's address says, but for the sample."""
    query = {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}
    return {name: value for name, value in query.items() if name != "sample"}


def first_is(page, name: str) -> None:
    """Waits until the list begins with a sample, and that one is shown."""
    page.wait_for_function(
        "name => document.querySelector('.fm').curate.list.rows[0]?.name === name", arg=name
    )
    page.wait_for_function(
        "name => document.querySelector(\"[data-test='name']\").textContent === name", arg=name
    )


def test_queue_banner_says_what_a_filter_hides_and_clears_it(page, server):
    visit(page, server)
    first_is(page, "s000")
    assert not part(page, "banner").is_visible()
    part(page, "filters").click()
    part(page, "queue-low").select_option("yes")
    part(page, "margin-to").fill("0.5")
    first_is(page, "s110")
    words = part(page, "banner").inner_text()
    assert "scores low" in words
    assert "CLIP margin ≤ 0.50" in words
    assert "218 to review are hidden" in words
    assert asked(page) == {"low": "yes", "margin": "..0.50"}
    assert part(page, "filters").inner_text() == "filter · 2"
    part(page, "clear-filter").click()
    first_is(page, "s000")
    assert not part(page, "banner").is_visible()
    assert asked(page) == {}
    assert part(page, "margin-to").input_value() == ""


def test_queue_is_sorted_by_what_the_curator_picks_and_shows_it(page, server):
    visit(page, server, "?concept=cat")
    first_is(page, "s002")
    part(page, "queue-order").select_option("margin")
    first_is(page, "s229")
    assert part(page, "row-s229").locator(".fm-sub").inner_text().startswith("margin 0.09 · D 0.76")
    assert asked(page) == {"concept": "cat", "order": "margin"}
    part(page, "clear-filter").click()  # of the concept; the order stays
    page.wait_for_function("!location.search.includes('concept')")
    assert asked(page) == {"order": "margin"}


def test_queue_address_brings_back_filter_order_and_sample(page, server):
    _, store = server
    wanted = next(row for row in store.samples(limit=None, light=True) if row.name == "s120")
    visit(page, server, f"?low=yes&order=-clip&clip=0.3..0.7&sample={wanted.id}")
    page.wait_for_function("document.querySelector(\"[data-test='name']\").textContent === 's120'")
    assert part(page, "queue-low").input_value() == "yes"
    assert part(page, "clip-from").input_value() == "0.3"
    assert part(page, "queue-order").input_value() == "-clip"
    rows = page.evaluate("document.querySelector('.fm').curate.list.rows.map((row) => row.name)")
    assert rows == [f"s{number:03d}" for number in range(80, 200, 10)]
    assert "CLIP 0.3 to 0.7" in part(page, "banner").inner_text()


def test_queue_views_are_saved_and_come_back(page, server):
    visit(page, server, "?verdict=yes&order=d")
    part(page, "filters").click()
    part(page, "view-name").fill("Unsure <b>cats</b>")
    part(page, "save-view").click()
    part(page, "saved-view").wait_for()
    visit(page, server)
    first_is(page, "s000")
    part(page, "filters").click()
    part(page, "saved-view").click()
    page.wait_for_function("document.querySelector('.fm').curate.list.filter.verdict === 'yes'")
    page.wait_for_function("location.search.includes('verdict=yes')")
    assert asked(page) == {"verdict": "yes", "order": "d"}
    assert part(page, "saved-view").inner_text() == "Unsure <b>cats</b>"
    part(page, "saved-views").get_by_label("Forget the view").click()
    part(page, "saved-view").wait_for(state="detached")


def test_queue_fetches_the_rest_of_a_long_list_once_each(page, server):
    visit(page, server)
    first_is(page, "s000")
    page.evaluate("document.querySelector('.fm-rows').scrollTop = 1e6")
    page.wait_for_function(
        "count => document.querySelector('.fm').curate.list.rows.length === count", arg=SAMPLES
    )
    names = page.evaluate("document.querySelector('.fm').curate.list.rows.map((row) => row.name)")
    assert names == [f"s{number:03d}" for number in range(SAMPLES)]
    assert page.locator(".fm-item").count() < 60


def test_queue_marks_what_somebody_else_holds_and_passes_over_it(page, server):
    _, store = server
    rows = store.samples(limit=2, light=True)
    hold(store, rows[1].id, "ben")
    visit(page, server)
    first_is(page, "s000")
    assert part(page, "row-s001").locator(".fm-sub").inner_text() == "held by ben"
    page.wait_for_selector("[data-test='skip']:not([disabled])")
    page.wait_for_function("document.querySelector('.fm').curate.stage.ready")
    part(page, "skip").click()
    page.wait_for_function("document.querySelector(\"[data-test='name']\").textContent === 's002'")
    page.wait_for_function(
        "document.querySelector(\"[data-test='progress']\").textContent === '1 of 230'"
    )
    store.undo("ann")
    leave(store, rows[1].id, "ben")


def test_queue_filter_that_matches_nothing_says_what_to_do(page, server):
    visit(page, server, "?text=nowhere")
    page.wait_for_selector(".fm-queue-nothing:not([hidden])")
    assert "230 to review are hidden" in part(page, "banner").inner_text()
    part(page, "notice-action").click()
    first_is(page, "s000")


def test_queue_works_on_a_narrow_screen(page, server):
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, server)
    first_is(page, "s000")
    page.locator(".fm-narrow").first.click()
    part(page, "filters").click()
    part(page, "filter-text").fill("S01")
    first_is(page, "s010")
    assert part(page, "filter-text").is_visible()  # the drawer stays open
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
