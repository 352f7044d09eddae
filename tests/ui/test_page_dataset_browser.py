"""The Dataset tab in a real browser: brush, scroll, look, export, on a wide and a narrow screen."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

import pytest
import small_store
from dataset_page import CATS, DOGS, DataPage, fill, serving
from test_page_browser import SLOW_MS, browser, outside, part  # noqa: F401 (a fixture)

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


def opened(browser, server: DataPage, width: int, height: int, query: str = "?tab=dataset"):  # noqa: F811
    """Opens the tab; the page must ask no other host and log no error."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, accept_downloads=True
    )
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    page.bad = []
    page.on("request", lambda one: page.bad.append(one.url) if outside(one.url) else None)
    page.on("pageerror", lambda error: page.bad.append(str(error)))
    page.goto(f"{server.url}/{query}")
    return page


@pytest.fixture
def page(browser, server: DataPage) -> Iterator:  # noqa: F811
    """The tab on a wide screen with all that is accepted."""
    page = opened(browser, server, 1440, 900)
    shows(page, ALL)
    yield page
    assert page.bad == []
    page.context.close()


def shows(page, count: int) -> None:
    """Waits until the gallery counts so many pictures."""
    word = "picture" if count == 1 else "pictures"
    page.wait_for_function(
        "text => document.querySelector(\"[data-test='data-count']\")?.textContent === text",
        arg=f"{count} {word}",
    )


def brush(page, name: str, start: float, end: float) -> None:
    """Drags over a histogram from one value to another."""
    box = part(page, f"histogram-{name}").locator(".fm-histogram-plot").bounding_box()
    x, y = box["x"], box["y"] + box["height"] / 2
    page.mouse.move(x + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(x + (start + end) / 2 * box["width"], y)
    page.mouse.move(x + end * box["width"], y)
    page.mouse.up()


def inside(values: list[float], start: float, end: float) -> int:
    return sum(start <= value < end for value in values)


CATS_D = [seed / CATS for seed in range(CATS)]


def test_brushed_range_filters_the_gallery_and_clears(page) -> None:
    part(page, "concept-cat").click()
    shows(page, CATS)
    brush(page, "d", 0.213, 0.487)  # the bins from 0.2 to 0.5
    shows(page, inside(CATS_D, 0.2, 0.5))
    words = part(page, "data-clear").inner_text()
    assert "cat, a range of Entangled-D" in words
    assert f"{inside(CATS_D, 0.2, 0.5)} of {ALL}" in words
    part(page, "data-clear").click()
    shows(page, ALL)
    assert part(page, "data-clear").is_hidden()


def test_two_ranges_are_both_kept_and_one_can_be_cleared_alone(page) -> None:
    brush(page, "s", 0.51, 0.69)  # dogs with S 0.5 to 0.65
    shows(page, 4)
    brush(page, "d", 0.01, 0.49)  # dogs have D 0.8
    shows(page, 0)
    assert "No picture passes this filter" in part(page, "gallery-empty").inner_text()
    part(page, "clear-s").click()
    shows(page, inside(CATS_D, 0, 0.5))


def test_ranges_move_by_keyboard(page) -> None:
    end = part(page, "histogram-d").get_by_role("slider").first
    end.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    shows(page, ALL - inside(CATS_D, 0, 0.1))
    assert end.get_attribute("aria-valuenow") == "0.100"
    page.keyboard.press("Home")
    shows(page, ALL)


def test_splits_divide_what_is_shown(page) -> None:
    numbers = []
    for name in ("train", "validation", "test"):
        segment = part(page, f"split-{name}")
        number = int(segment.locator("span").inner_text())
        segment.click()
        shows(page, number)
        numbers.append(number)
    assert sum(numbers) == ALL
    assert numbers[0] > ALL / 2


def test_only_what_is_visible_is_in_the_page_and_the_end_can_be_reached(page) -> None:
    quads = page.locator(".fm-quad")
    quads.first.wait_for()
    assert 0 < quads.count() < ALL / 2
    page.locator(".fm-data-main").evaluate("one => one.scrollTo(0, one.scrollHeight)")
    part(page, f"quad-dog_{DOGS - 1}").wait_for()
    assert quads.count() < ALL / 2


def test_card_shows_four_pictures_the_foreground_cut_out_by_the_mask(page) -> None:
    card = part(page, "quad-cat_0")
    card.wait_for()
    images = card.locator("img")
    page.wait_for_function(
        "card => [...card.querySelectorAll('img')].every(one => one.naturalWidth > 0)",
        arg=card.element_handle(),
    )
    sources = [images.nth(at).get_attribute("src").rsplit("/", 1)[1] for at in range(4)]
    assert sources[0] == sources[1]
    assert len(set(sources)) == 3
    mask = images.nth(1).evaluate("one => getComputedStyle(one).maskImage")
    assert sources[3] in mask


def test_quadruple_opens_large_and_arrows_go_on(page) -> None:
    part(page, "quad-cat_1").locator("button").click()
    look = part(page, "look")
    look.locator("figure img").nth(3).wait_for()
    title = page.locator("dialog[open] h2")
    assert title.inner_text() == "cat_1"
    assert "sand" in look.inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('dialog[open] h2').textContent === 'cat_2'")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('dialog[open]')")


def test_quadruple_opens_on_the_curate_tab(page) -> None:
    part(page, "quad-cat_3").locator("button").click()
    part(page, "look").locator("figure img").first.wait_for()
    part(page, "open-in-curate").click()
    page.wait_for_function("document.querySelector('.fm')?.curate?.sample?.name === 'cat_3'")
    assert "tab=" not in page.url


def test_decisions_of_others_appear_without_a_reload(page, server: DataPage) -> None:
    store = server.store
    row = next(one for one in store.samples(limit=None) if one.name == "rejected")
    undone = store.undo("ben", sample_id=row.id)
    small_store.step(store, undone, "accepted", {"how": "human"}, by="ben")
    shows(page, ALL + 1)
    part(page, "table1").locator("tr", has_text="cat").get_by_text(str(CATS + 1)).first.wait_for()
    store.undo("ben", sample_id=row.id)
    shows(page, ALL)


def test_audit_trail_filters_and_goes_back(page) -> None:
    part(page, "mode-trail").click()
    rows = part(page, "trail").locator("tbody tr")
    rows.nth(99).wait_for()
    assert rows.count() == 100
    part(page, "trail-more").click()
    rows.nth(100).wait_for()
    part(page, "trail-by").select_option("ben")
    part(page, "trail-kind").select_option("accepted")
    page.wait_for_function(
        "count => document.querySelectorAll(\"[data-test='trail'] tbody tr\").length <= count",
        arg=DOGS + 3,
    )
    assert "by the batch policy" in rows.first.inner_text() + rows.last.inner_text()
    with page.expect_download() as caught:
        part(page, "trail-csv").click()
    lines = caught.value.path().read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("id,at,by")
    assert len(lines) > DOGS
    assert all(",ben," in line for line in lines[1:])


def test_export_is_made_and_downloaded_from_the_page(page) -> None:
    part(page, "export-format").select_option("parquet")
    part(page, "export-name").fill("from-the-page")
    part(page, "export").click()
    download = part(page, "download-from-the-page")
    download.wait_for()
    part(page, "export-jobs").get_by_text(f"{ALL} quadruples").wait_for()
    with page.expect_download() as caught:
        download.click()
    names = zipfile.ZipFile(caught.value.path()).namelist()
    assert [name for name in names if name.endswith(".parquet")]


def test_a_long_path_of_the_store_pushes_nothing_off_the_screen(page) -> None:
    part(page, "export").wait_for()
    part(page, "export").evaluate(
        "one => { one.form.querySelector('.fm-path').textContent += '/long'.repeat(30); }"
    )
    edges = [part(page, name).bounding_box() for name in ("export", "export-format", "push-dry")]
    assert max(one["x"] + one["width"] for one in edges) <= page.viewport_size["width"] - 8


def test_name_that_is_a_path_is_refused_in_words(page) -> None:
    part(page, "export-name").evaluate("one => one.removeAttribute('pattern')")
    part(page, "export-name").fill("../evil")
    part(page, "export").click()
    page.get_by_role("alert").filter(has_text="name").wait_for()


def test_narrow_screen_has_all_of_it_in_one_column(browser, server: DataPage) -> None:  # noqa: F811
    page = opened(browser, server, 390, 844)
    shows(page, ALL)
    part(page, "quad-cat_0").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert part(page, "export").is_hidden()
    part(page, "mode-publish").click()
    part(page, "export").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.bad == []
    page.context.close()


def test_viewer_sees_the_numbers_and_no_forms(browser, tmp_path) -> None:  # noqa: F811
    with Store(tmp_path / "store") as store:
        store.people.add("vera", role="viewer", password="a long password")
        with serving(store) as server:
            page = opened(browser, server, 1440, 900, "")
            token = store.people.begin_session("vera")
            page.context.add_cookies(
                [{"name": server.cookie, "value": token, "url": server.url, "httpOnly": True}]
            )
            page.goto(f"{server.url}/?tab=dataset")
            part(page, "gallery-empty").get_by_text("There are no images yet.").wait_for()
            small_store.accept(store, small_store.add(store, 1, name="only"))
            shows(page, 1)
            part(page, "publish").get_by_text("need the role lead").wait_for()
            assert part(page, "export").count() == 0
            assert part(page, "mode-trail").is_hidden()
            page.context.close()
