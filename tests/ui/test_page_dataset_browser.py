"""The Dataset tab in a real browser: what no function can show, on a wide and a narrow screen."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

import pytest
import small_store
from dataset_page import CATS, DOGS, DataPage, fill, serving
from test_page_browser import SLOW_MS, browser, outside  # noqa: F401 (a fixture)

from forgetme.dataset import export
from forgetme.store import Store

pytestmark = pytest.mark.browser
ALL = CATS + DOGS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPage]:
    """One page for all tests; what a test accepts, it takes back."""
    folder = tmp_path_factory.mktemp("dataset-browser") / "store"
    fill(folder)
    with Store(folder) as store, serving(store) as page:
        yield page


def opened(browser, server: DataPage, width: int, height: int):  # noqa: F811
    """Opens the tab; the page must ask no other host and log no error."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, accept_downloads=True
    )
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    page.bad = []
    page.on("request", lambda one: page.bad.append(one.url) if outside(one.url) else None)
    page.on("pageerror", lambda error: page.bad.append(str(error)))
    page.goto(f"{server.url}/?tab=dataset")
    return page


@pytest.fixture
def page(browser, server: DataPage) -> Iterator:  # noqa: F811
    """The tab on a wide screen with all that is accepted."""
    page = opened(browser, server, 1440, 900)
    counts(page, ALL)
    yield page
    assert page.bad == []
    page.context.close()


def counts(page, count: int) -> None:
    """Waits until the tab counts so many pictures."""
    words = f"{count} {'picture' if count == 1 else 'pictures'}"
    page.locator("#fm-data-count").get_by_text(words, exact=True).wait_for()


def brush(page, name: str, start: float, end: float) -> None:
    """Drags over a histogram from one value to another."""
    area = page.locator(f"#fm-chart-{name} .mark-rect.background, #fm-chart-{name} .background")
    box = area.first.bounding_box()
    x, y = box["x"], box["y"] + box["height"] / 2
    page.mouse.move(x + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(x + (start + end) / 2 * box["width"], y)
    page.mouse.move(x + end * box["width"], y, steps=4)
    page.wait_for_timeout(300)  # the chart follows by frames, and lets go where it has followed to
    page.mouse.up()


def test_brush_and_typed_range_and_line_filter_the_gallery_and_clear(page, server) -> None:
    page.locator("#fm-table1 .virtual-row", has_text="cat").click()
    counts(page, CATS)
    assert page.locator("#fm-data-concept input").input_value() == "cat"
    page.locator("#fm-chart-d canvas, #fm-chart-d svg").first.wait_for()
    brush(page, "d", 0.213, 0.487)
    page.locator("#fm-data-count").get_by_text("cat, a range of Entangled-D").wait_for()
    least, below = (
        float(page.locator(f"#fm-d-{end} input").input_value()) for end in ("from", "to")
    )
    assert least == pytest.approx(0.2, abs=0.051)
    assert below == pytest.approx(0.5, abs=0.051)
    counts(page, sum(least <= seed / CATS < below for seed in range(CATS)))
    page.locator("#fm-d-from input").fill("0.9")
    page.locator("#fm-d-to input").fill("1")
    counts(page, 4)
    page.locator("#fm-data-clear").click()
    counts(page, ALL)
    assert page.locator("#fm-data-concept input").input_value() == "all concepts"
    store = server.store
    row = next(one for one in store.samples(limit=None) if one.name == "rejected")
    undone = store.undo("ben", sample_id=row.id)
    small_store.step(store, undone, "accepted", {"how": "human"}, by="ben")
    counts(page, ALL + 1)  # without a reload
    store.undo("ben", sample_id=row.id)
    counts(page, ALL)


def test_picture_opens_large_goes_on_and_opens_on_the_curate_tab(page) -> None:
    picture = page.locator("#fm-gallery button", has_text="cat_1 ·")
    picture.locator("img").evaluate("one => one.decode()")
    picture.click()
    sample = page.locator("#fm-sample")
    sample.get_by_role("heading", name="cat_1", exact=True).wait_for()
    sample.get_by_text(f"2 of {ALL}").wait_for()
    page.locator("#fm-sample-after").click()
    sample.get_by_role("heading", name="cat_2", exact=True).wait_for()
    sample.get_by_text("open in Curate").click()
    page.wait_for_function("document.querySelector('.fm')?.curate?.sample?.name === 'cat_2'")
    assert "tab=" not in page.url


def test_trail_and_exports_come_as_files_and_a_dataset_is_sent(page, server, tmp_path) -> None:
    page.locator("#fm-dataset-mode").get_by_text("Audit trail").click()
    page.locator("#fm-trail .virtual-row").first.click()
    page.locator("#fm-sample h2").wait_for()
    with page.expect_download() as caught:
        page.locator("#fm-trail-csv").click()
    assert caught.value.path().read_text(encoding="utf-8").startswith("id,at,by")
    page.locator("#fm-dataset-mode").get_by_text("Export").click()
    name = page.locator("#fm-export-name input, #fm-export-name textarea")
    name.fill("from-the-page")
    page.locator("#fm-export").click()
    page.locator("#fm-export-jobs").get_by_text(f"{ALL} quadruples").wait_for()
    assert name.input_value() == "from-the-page", "the timer leaves what was typed"
    with page.expect_download() as caught:
        page.locator("#fm-exports a").first.click()
    names = zipfile.ZipFile(caught.value.path()).namelist()
    assert "from-the-page/metadata.jsonl" in names
    with Store(tmp_path / "other") as other:
        small_store.accept(other, small_store.add(other, 500, name="owl", concept="owl"))
        export(other, tmp_path / "out", "parquet")
    (shard,) = (tmp_path / "out").rglob("*.parquet")
    page.locator("#fm-import-file").set_input_files(shard)
    page.locator("#fm-dataset, .fm-send").get_by_text("It is in the list as").wait_for()
    page.wait_for_function("document.querySelector('#fm-import-format input')?.value === 'parquet'")
    page.locator("#fm-import").click()
    page.locator("#fm-import-jobs").get_by_text("1 imported").wait_for()
    owl = next(one for one in server.store.samples(limit=None) if one.name == "owl")
    assert owl.state == "accepted"


def test_narrow_screen_has_all_of_it_in_one_column_and_viewers_no_forms(
    browser,  # noqa: F811
    tmp_path,
) -> None:
    with Store(tmp_path / "store") as store:
        small_store.accept(store, small_store.add(store, 1, name="only"))
        with serving(store) as server:
            page = opened(browser, server, 390, 844)
            counts(page, 1)
            page.locator("#fm-gallery button").click()
            page.locator("#fm-sample h2").wait_for()
            wide = "document.documentElement.scrollWidth"
            assert page.evaluate(wide) <= 390
            for mode, part in (("Audit", "#fm-trail-csv"), ("Export", "#fm-export")):
                page.locator("#fm-dataset-mode").get_by_text(mode).click()
                page.locator(part).wait_for()
                assert page.evaluate(wide) <= 390
            store.people.add("vera", role="viewer", password="a long password")
            token = store.people.begin_session("vera")
            page.context.add_cookies(
                [{"name": server.cookie, "value": token, "url": server.url, "httpOnly": True}]
            )
            page.reload()
            counts(page, 1)
            page.locator("#fm-dataset-words").get_by_text("need the role lead").wait_for()
            for part in ("#fm-export", "#fm-trail", "#fm-dataset-mode"):
                assert page.locator(part).count() == 0 or not page.locator(part).is_visible()
            assert page.bad == []
            page.context.close()
