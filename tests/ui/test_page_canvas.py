"""The mask canvas in a real browser: every tool, one history, zoom and pan, a finger on a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from test_page_browser import Server, part, ready, saved

from forgetme.record import masks, strokes
from forgetme.store import Store

pytestmark = pytest.mark.browser
SLOW_MS = 180_000  # a busy machine
IMAGE = 256  # px, the side of a drawn scene


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(found for name in names if (found := shutil.which(name)))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("canvas") / "store", 24)
    yield server
    server.process.terminate()
    server.process.wait(30)


class Canvas:
    """The page of one curator, in pixels of the image."""

    def __init__(self, page, server: Server) -> None:
        self.page, self.server = page, server

    def open(self, name: str | None = None) -> None:
        """Opens a prepared sample that nobody has edited, or one by name."""
        rows = self.server.rows()
        row = rows[name] if name else next(
            row for row in rows.values()
            if row.state == "prepared" and row.chosen == 0 and len(row.proposals) > 2
        )  # fmt: skip
        self.page.goto(self.server.url + f"?sample={row.id}")
        ready(self.page)

    @property
    def row(self):
        return self.server.rows()[part(self.page, "name").inner_text()]

    def mask(self) -> np.ndarray | None:
        """The mask that the store has."""
        with Store(self.server.store) as store:
            sha = self.row.mask_sha
            return None if sha is None else store.get_mask(sha)

    def proposal(self, index: int) -> np.ndarray:
        return masks.rle_decode(self.row.proposals[index]["rle"])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the image is on the screen."""
        found = self.page.evaluate(
            """([x, y]) => {
              const { stage } = document.querySelector(".fm").curate;
              const box = stage.element.getBoundingClientRect();
              const { view } = stage;
              return [box.left + view.x + x * view.scale, box.top + view.y + y * view.scale];
            }""",
            [float(x), float(y)],
        )
        return found[0], found[1]

    def under(self, x: float, y: float) -> list[float]:
        """Which pixel of the image is at a place of the screen."""
        left, top = self.at(0, 0)
        scale = self.view()["scale"]
        return [(x - left) / scale, (y - top) / scale]

    def click(self, x: float, y: float, **more) -> None:
        self.page.mouse.click(*self.at(x, y), **more)

    def drag(self, *places: tuple[float, float], button: str = "left") -> None:
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down(button=button)
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=4)
        self.page.mouse.up(button=button)

    @contextmanager
    def sent(self, name: str) -> Iterator[dict]:
        """Waits for one act within the block, and gives what the page sent."""
        body: dict = {}
        with self.page.expect_response(lambda answer: answer.url.endswith("/" + name)) as answer:
            yield body
        assert answer.value.ok, answer.value.text()
        body.update(json.loads(answer.value.request.post_data))
        saved(self.page)

    def tinted(self, x: float, y: float) -> bool:
        """Whether the tint covers a pixel of the image on the screen."""
        return self.page.evaluate(
            """([x, y]) => {
              const { stage } = document.querySelector(".fm").curate;
              const { view, layers } = stage;
              const k = layers.density;
              return layers.tint.context.getImageData(
                (view.x + x * view.scale) * k, (view.y + y * view.scale) * k, 1, 1).data[3] > 128;
            }""",
            [float(x), float(y)],
        )

    def view(self) -> dict:
        return self.page.evaluate(
            """() => (({ x, y, scale, fits }) => ({ x, y, scale, fits }))(
              document.querySelector(".fm").curate.stage.view)"""
        )

    def until(self, script: str, arg=None) -> None:
        self.page.wait_for_function(script, arg=arg)


@pytest.fixture
def canvas(browser, server: Server) -> Iterator[Canvas]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda one: errors.append(one.text) if "Error" in one.text else None)
    canvas = Canvas(page, server)
    canvas.open()
    yield canvas
    context.close()
    assert errors == []


def inside(mask: np.ndarray) -> tuple[float, float]:
    """A place well within a mask and within the image."""
    depth = masks.distance_to(~np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depth)), mask.shape)
    return float(x) + 0.5, float(y) + 0.5


def free_place(canvas: Canvas) -> tuple[float, float]:
    """A place that no proposal covers, far from all of them."""
    covered = np.logical_or.reduce(
        [canvas.proposal(index) for index in range(len(canvas.row.proposals))]
    )
    return inside(~masks.dilate(covered, 6))


# ------------------------------ picking and prompts


def test_hover_shows_a_proposal_and_a_click_picks_the_smallest_there(canvas: Canvas) -> None:
    half = inside(canvas.proposal(1))  # proposal 2 is a half of proposal 1
    canvas.page.mouse.move(*canvas.at(*half))
    canvas.until("document.querySelector('.fm').curate.stage.hint?.area > 0")
    with canvas.sent("choose") as body:
        canvas.click(*half)
    assert body["index"] == 1
    assert canvas.row.chosen == 1
    with canvas.sent("choose") as body:
        canvas.click(*half)  # once more: the next one under the pointer
    assert body["index"] == 0


def test_points_mend_a_mask_that_was_drawn_by_hand(canvas: Canvas) -> None:
    canvas.page.keyboard.press("b")
    blob = free_place(canvas)
    with canvas.sent("paint"):
        canvas.click(*blob)
    before = canvas.mask()
    canvas.page.keyboard.press("p")
    place = free_place(canvas)
    with canvas.sent("click") as body:
        canvas.click(place[0] - 20, place[1])
    assert body["mend"] is True
    after = canvas.mask()
    assert (after & before).sum() == before.sum()
    assert after.sum() > before.sum()
    with canvas.sent("click"):
        canvas.click(*blob, button="right")
    assert not canvas.mask()[int(blob[1]), int(blob[0])]


def test_a_box_asks_for_the_object_in_it(canvas: Canvas) -> None:
    x, y, w, h = masks.box_xywh(canvas.proposal(0))
    canvas.page.keyboard.press("m")
    with canvas.sent("box") as body:
        canvas.drag((x - 2, y - 2), (x + w / 2, y + h / 2), (x + w + 2, y + h + 2))
    assert np.allclose(body["box"], [x - 2, y - 2, w + 4, h + 4], atol=1)
    assert np.array_equal(canvas.mask(), canvas.proposal(0))
    assert canvas.row.chosen is None


# ------------------------------ drawing


def test_the_brush_draws_at_once_and_the_server_draws_the_same(canvas: Canvas) -> None:
    before, (x, y) = canvas.mask(), free_place(canvas)
    canvas.page.keyboard.press("b")
    canvas.page.keyboard.press("]")
    held = []
    canvas.page.route("**/paint", lambda route: held.append(route))
    canvas.drag((x - 14, y), (x, y), (x + 9, y + 7))
    assert canvas.tinted(x, y)  # the server has not even heard of it
    canvas.until("document.querySelector('.fm').curate.sample.drawn.length === 1")
    with canvas.sent("paint") as body:
        held[0].continue_()
    (stroke,) = body["strokes"]
    expected = strokes.paint(
        before, [strokes.Stroke("add", stroke["radius"], tuple(map(tuple, stroke["points"])))]
    )
    assert np.array_equal(canvas.mask(), expected)
    assert expected.sum() > before.sum()
    canvas.until("!document.querySelector('.fm').curate.sample.drawn?.length")
    assert canvas.tinted(x, y)


def test_the_eraser_and_the_right_button_take_away(canvas: Canvas) -> None:
    x, y = inside(canvas.proposal(0))
    canvas.page.keyboard.press("e")
    with canvas.sent("paint") as body:
        canvas.click(x, y)
    assert body["strokes"][0]["mode"] == "erase"
    assert not canvas.mask()[int(y), int(x)]
    with canvas.sent("paint") as body:
        canvas.click(x, y, button="right")
    assert body["strokes"][0]["mode"] == "add"
    assert canvas.mask()[int(y), int(x)]


def test_a_polygon_closes_by_enter_and_its_keys_stay_its_own(canvas: Canvas) -> None:
    x, y = free_place(canvas)
    name, before = part(canvas.page, "name").inner_text(), canvas.mask()
    canvas.page.keyboard.press("l")
    for corner in ((x - 8, y - 8), (x + 8, y - 8), (x - 8, y + 3)):
        canvas.click(*corner)
    canvas.page.keyboard.press("Backspace")  # the last corner, not the last decision
    canvas.click(x + 8, y + 8)
    with canvas.sent("polygon") as body:
        canvas.page.keyboard.press("Enter")
    assert len(body["points"]) == 3
    expected = strokes.fill_polygon(before, body["points"], "add")
    assert np.array_equal(canvas.mask(), expected)
    canvas.click(x - 8, y - 8)
    canvas.page.keyboard.press("Escape")
    canvas.page.keyboard.press("Enter")
    assert canvas.page.evaluate("!document.querySelector('.fm').curate.stage.busy")
    with canvas.sent("polygon") as body:  # drawn around in one go, with the right button: cut
        canvas.drag((x - 9, y - 9), (x + 9, y - 9), (x + 9, y + 9), (x - 9, y + 9), button="right")
    assert body["mode"] == "erase"
    assert not canvas.mask()[int(y), int(x)]
    assert part(canvas.page, "name").inner_text() == name


def test_erasing_all_leaves_no_mask_and_says_what_to_do(canvas: Canvas) -> None:
    canvas.page.keyboard.press("e")
    for _ in range(30):
        canvas.page.keyboard.press("]")
    with canvas.sent("paint"):
        x, y, w, h = masks.box_xywh(canvas.proposal(0))
        canvas.drag((x, y), (x + w, y + h))
    assert canvas.row.mask_sha is None
    canvas.page.wait_for_selector("[data-test='notice']:has-text('No mask was confirmed')")
    with canvas.sent("undo_mask"):
        canvas.page.keyboard.press("Control+z")
    assert canvas.row.chosen == 0


# ------------------------------ one history


def test_one_history_walks_back_over_every_tool_and_forth_again(canvas: Canvas) -> None:
    x, y = free_place(canvas)
    seen = [canvas.row.mask_sha]
    for key, name in (("2", "choose"), ("b", "paint"), ("+", "grow"), ("l", "polygon")):
        with canvas.sent(name):
            canvas.page.keyboard.press(key)
            if name == "paint":
                canvas.click(x, y)
            if name == "polygon":
                canvas.drag((x, y), (x + 20, y), (x + 20, y + 20), (x, y + 20))
        seen.append(canvas.row.mask_sha)
    assert len(set(seen)) == 5
    for sha in reversed(seen[:-1]):
        with canvas.sent("undo_mask"):
            canvas.page.keyboard.press("Control+z")
        assert canvas.row.mask_sha == sha
    for sha in seen[1:]:
        with canvas.sent("redo_mask"):
            canvas.page.keyboard.press("Control+Shift+z")
        assert canvas.row.mask_sha == sha


def test_undo_shows_before_the_server_has_answered(canvas: Canvas) -> None:
    x, y = free_place(canvas)
    canvas.page.keyboard.press("b")
    with canvas.sent("paint"):
        canvas.click(x, y)
    assert canvas.tinted(x, y)
    held = []
    canvas.page.route("**/undo_mask", lambda route: held.append(route))
    canvas.page.keyboard.press("Control+z")
    canvas.until("document.querySelector('.fm').curate.sample.chosen === 0")
    canvas.page.evaluate("new Promise(requestAnimationFrame)")
    assert not canvas.tinted(x, y)
    assert canvas.row.chosen is None  # not there yet
    with canvas.sent("undo_mask"):
        held[0].continue_()
    assert canvas.row.chosen == 0


def test_a_stroke_that_the_server_refuses_is_taken_back(canvas: Canvas) -> None:
    x, y = free_place(canvas)
    canvas.page.route(
        "**/paint",
        lambda route: route.fulfill(
            status=400, json={"error": "ForgetmeError", "words": "The disk is full."}
        ),
    )
    canvas.page.keyboard.press("b")
    canvas.click(x, y)
    canvas.page.wait_for_selector("[data-test='notice']:has-text('The disk is full')")
    canvas.page.evaluate("new Promise(requestAnimationFrame)")
    assert not canvas.tinted(x, y)
    assert canvas.row.chosen == 0


# ------------------------------ the view


def test_the_wheel_zooms_at_the_pointer_and_0_goes_back(canvas: Canvas) -> None:
    there = [round(value) for value in canvas.at(200, 60)]
    canvas.page.mouse.move(*there)
    before, place = canvas.view()["scale"], canvas.under(*there)
    canvas.page.mouse.wheel(0, -600)
    canvas.until("scale => document.querySelector('.fm').curate.stage.view.scale > scale", before)
    assert np.allclose(canvas.under(*there), place, atol=0.05)
    canvas.page.keyboard.press("0")
    canvas.until("document.querySelector('.fm').curate.stage.view.fits")


def test_what_lies_over_the_picture_goes_along_without_being_drawn_anew(canvas: Canvas) -> None:
    """While the wheel turns nothing is drawn; outlines lie right all the same, and then sharply."""
    canvas.open()
    canvas.page.evaluate(
        """() => {
          const { stage } = document.querySelector(".fm").curate;
          const redraw = stage.redraw.bind(stage);
          const draw = stage.layers.draw.bind(stage.layers);
          // only what the wheel asks for counts: the page may draw for reasons of its own meanwhile
          window.wheel = { turning: false, asked: 0, sharp: false };
          stage.redraw = () => { window.wheel.asked += window.wheel.turning; redraw(); };
          stage.layers.draw = (what) => { window.wheel.sharp = !what.quick; draw(what); };
        }"""
    )
    mask = canvas.mask()
    x, y = (float(np.flatnonzero(mask.any(axis=axis)).mean()) for axis in (0, 1))
    canvas.page.mouse.move(*canvas.at(x, y))
    carried = canvas.page.evaluate(
        """async ([left, top]) => {
          const { stage } = document.querySelector(".fm").curate;
          const frame = () => new Promise(requestAnimationFrame);
          const init = { bubbles: true, cancelable: true, clientX: left, clientY: top };
          const turn = () => {
            window.wheel.turning = true;
            stage.element.dispatchEvent(new WheelEvent("wheel", { ...init, deltaY: -60 }));
            window.wheel.turning = false;
          };
          for (let k = 0; k < 3; k += 1) {
            turn();
            clearTimeout(stage.sharpen); // a slow machine must not take this for the end of it
            await frame();
            await frame();
          }
          turn();
          window.wheel.sharp = false;
          const box = stage.layers.lines.element.getBoundingClientRect();
          const { at } = stage.layers;
          const { view } = stage;
          const frameBox = stage.element.getBoundingClientRect();
          const k = box.width / stage.element.clientWidth;
          return {
            asked: window.wheel.asked,
            // where the drawn layer has pixel (0, 0) of the image now, and where the picture has it
            layer: [box.left + k * at.x, box.top + k * at.y, k * at.scale],
            picture: [frameBox.left + view.x, frameBox.top + view.y, view.scale],
          };
        }""",
        list(canvas.at(x, y)),
    )
    assert carried["asked"] == 0
    assert carried["layer"] == pytest.approx(carried["picture"], rel=1e-3, abs=0.1)
    canvas.until("window.wheel.sharp")
    canvas.until("document.querySelector('.fm-veil').style.transform === ''")
    assert canvas.tinted(x, y) == bool(mask[int(y), int(x)])


def test_space_and_the_middle_button_move_the_picture_and_nothing_else(canvas: Canvas) -> None:
    canvas.page.keyboard.press("b")
    version, name = canvas.row.version, part(canvas.page, "name").inner_text()
    canvas.page.mouse.move(*canvas.at(128, 128))
    canvas.page.mouse.wheel(0, -800)
    canvas.until("!document.querySelector('.fm').curate.stage.view.fits")
    for button, key in (("middle", None), ("left", "Space")):
        start = canvas.view()
        if key:
            canvas.page.keyboard.down(key)
        x, y = canvas.at(128, 128)
        canvas.page.mouse.move(x, y)
        canvas.page.mouse.down(button=button)
        canvas.page.mouse.move(x + 40, y + 25, steps=3)
        canvas.page.mouse.up(button=button)
        if key:
            canvas.page.keyboard.up(key)
        now = canvas.view()
        assert np.allclose((now["x"] - start["x"], now["y"] - start["y"]), (40, 25))
    assert part(canvas.page, "name").inner_text() == name
    assert (canvas.row.version, canvas.row.state) == (version, "prepared")


def test_o_shows_the_original_and_settings_outlive_the_page(canvas: Canvas) -> None:
    layer = canvas.page.locator(".fm-layer-lines")
    canvas.page.keyboard.down("o")
    assert layer.evaluate("one => getComputedStyle(one).visibility") == "hidden"
    canvas.page.keyboard.up("o")
    assert layer.evaluate("one => getComputedStyle(one).visibility") == "visible"
    canvas.page.keyboard.press("e")
    canvas.page.keyboard.press("t")
    canvas.page.keyboard.press("Shift+t")
    canvas.page.reload()
    ready(canvas.page)
    assert part(canvas.page, "tool-erase").get_attribute("aria-checked") == "true"
    assert part(canvas.page, "tint").get_attribute("aria-pressed") is None
    assert part(canvas.page, "colour").get_attribute("data-colour") == "green"


# ------------------------------ a finger


def test_a_finger_paints_and_two_zoom_on_a_phone(browser, server: Server) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    canvas = Canvas(page, server)
    canvas.open()
    touch = context.new_cdp_session(page)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    part(page, "tool-brush").tap()
    before, (x, y) = canvas.mask(), free_place(canvas)
    with canvas.sent("paint"):
        fingers("touchStart", canvas.at(x - 10, y))
        fingers("touchMove", canvas.at(x, y))
        fingers("touchMove", canvas.at(x + 10, y))
        fingers("touchEnd")
    assert canvas.mask()[int(y), int(x)]
    assert canvas.mask().sum() > before.sum()
    version, scale = canvas.row.version, canvas.view()["scale"]
    left, right = canvas.at(100, 128), canvas.at(156, 128)
    fingers("touchStart", left)
    fingers("touchStart", left, right)
    fingers("touchMove", (left[0] - 40, left[1]), (right[0] + 40, right[1]))
    fingers("touchEnd")
    assert canvas.view()["scale"] > 1.3 * scale
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert canvas.row.version == version  # what the first finger began was not meant
    context.close()
