"""The Curate tab in a real browser: by keyboard, by mouse, and after a crash."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from test_page import free_port

from forgetme.curate.fills import is_better
from forgetme.record.images import png_bytes
from forgetme.store import Store

pytestmark = pytest.mark.browser
HERE = Path(__file__).parents[1]
SLOW_MS = 180_000  # a busy machine
START_SECONDS = 400
SAMPLES = 36  # each test decides on a few of them


class Server:
    """The page as a process of its own, so that it can be killed."""

    def __init__(self, store: Path, count: int = SAMPLES) -> None:
        self.store, self.count = store, count
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self) -> None:
        """Starts the page and waits until all its samples are prepared."""
        command = [sys.executable, "page_server.py", str(self.store), str(self.port)]
        self.process = subprocess.Popen([*command, str(self.count)], cwd=HERE)
        until = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"the page was not ready in {START_SECONDS} s")
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            session = httpx.get(self.url + "forgetme/api/session", timeout=30)
        except httpx.HTTPError:
            return False
        return session.json()["counts"]["new"] == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def rows(self) -> dict:
        with Store(self.store) as store:
            return {row.name: row for row in store.samples()}

    @property
    def next(self) -> str:
        """The address of a sample that can be decided; the first in line may lack a mask."""
        rows = self.rows().values()
        row = next(row for row in rows if row.state == "prepared" and row.picked_try is not None)
        return f"{self.url}?sample={row.id}"


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
    """One server for all tests, since loading its libraries is slow; each test takes the next."""
    server = Server(tmp_path_factory.mktemp("browser") / "store")
    yield server
    server.process.terminate()
    server.process.wait(30)


@pytest.fixture
def page(browser, server: Server) -> Iterator:
    """The page with its first sample ready; it must ask no other host and log no error."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    foreign, errors = [], []
    page.on("request", lambda one: foreign.append(one.url) if outside(one.url) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.next)
    ready(page)
    yield page
    context.close()
    assert foreign == []
    assert errors == []


def outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


def part(page, name: str):
    return page.locator(f"[data-test='{name}']")


def ready(page) -> None:
    """Waits until the shown sample has a mask and a background."""
    page.wait_for_function(
        "document.querySelector(\"[data-test='accept']:not([disabled])\")"
        " && document.querySelector('.fm').curate.stage.ready"
    )


def name_of(page) -> str:
    return part(page, "name").inner_text()


def shows_another(page, name: str) -> None:
    page.wait_for_function(
        "name => document.querySelector(\"[data-test='name']\").textContent !== name", arg=name
    )


def saved(page) -> None:
    """Waits until the server has acknowledged every act that was sent."""
    page.wait_for_function("document.querySelector('.fm').curate.acts.inFlight === 0")
    page.wait_for_selector("[data-test='saved'][data-kind='saved']")
    assert re.search(r"saved \d\d:\d\d:\d\d", part(page, "saved").inner_text())


def click_object(page, server: Server, *, button: str = "left", at: float = 0.5) -> None:
    """Clicks a pixel of the shown sample's mask; `at` says how far through its pixels."""
    with Store(server.store) as store:
        row = next(row for row in store.samples() if row.name == name_of(page))
        ys, xs = np.nonzero(store.get_mask(row.mask_sha))
    index = int(len(ys) * at)
    click_pixel(page, xs[index] + 0.5, ys[index] + 0.5, button=button)


def click_pixel(page, x: float, y: float, *, button: str = "left") -> None:
    at = page.evaluate(
        """([x, y]) => {
          const svg = document.querySelector("[data-test='stage'] svg");
          const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
          return [at.x, at.y];
        }""",
        [float(x), float(y)],
    )
    page.mouse.click(*at, button=button)


# ------------------------------ end to end


def test_nothing_can_be_decided_before_the_page_knows_its_sample(page) -> None:
    held = []
    page.route("**/forgetme/api/session", lambda route: held.append(route))
    page.reload()
    part(page, "accept").wait_for()
    assert part(page, "accept").is_disabled()
    assert part(page, "flag").is_disabled()
    for route in held:
        route.continue_()
    ready(page)


def test_curating_by_keyboard_ends_in_an_accepted_row(page, server: Server) -> None:
    name = name_of(page)
    page.keyboard.press("2")
    page.wait_for_selector("[data-test='card-2'][aria-checked='true']")
    ready(page)  # filled again, for the other mask
    page.keyboard.press("1")
    page.wait_for_selector("[data-test='card-1'][aria-checked='true']")
    ready(page)
    page.keyboard.press("r")
    page.keyboard.type("fresh snow, a x f 2")  # letters and digits, not commands
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-test='try-2'][aria-checked='true']")
    page.keyboard.press(",")
    page.wait_for_selector("[data-test='try-1'][aria-checked='true']")
    page.keyboard.press("a")
    shows_another(page, name)
    saved(page)
    row = server.rows()[name]
    assert (row.state, row.decided_how, row.decided_by) == ("accepted", "human", "ann")
    assert (row.chosen, row.picked_try, len(row.tries)) == (0, 0, 2)
    assert row.tries[1]["settings"]["prompt"] == "fresh snow, a x f 2"


def test_curating_by_mouse_ends_in_an_accepted_row(page, server: Server) -> None:
    name = name_of(page)
    part(page, "tool-point").click()
    click_object(page, server)
    page.wait_for_selector(".fm-point-yes")
    saved(page)
    ready(page)
    click_pixel(page, 6, 6, button="right")
    page.wait_for_selector(".fm-point-no")
    part(page, "grow").click()
    saved(page)
    ready(page)
    part(page, "prompt").fill("meadow")
    part(page, "refine").click()
    part(page, "try-2").wait_for()
    part(page, "try-1").click()
    page.wait_for_selector("[data-test='try-1'][aria-checked='true']")
    part(page, "accept").click()
    shows_another(page, name)
    saved(page)
    row = server.rows()[name]
    assert row.state == "accepted"
    assert row.chosen is None
    assert row.mask_sha is not None
    assert row.picked_try == 0


def test_a_refine_asked_too_early_says_so_and_goes_out_when_it_can(page) -> None:
    page.evaluate("window.mask = document.querySelector('.fm').curate.sample.mask")
    page.evaluate("document.querySelector('.fm').curate.showAtOnce({ mask: null })")
    sent = []
    page.on("request", lambda one: sent.append(one) if one.url.endswith("/refine") else None)
    page.keyboard.press("r")
    page.keyboard.type("early grass")
    page.keyboard.press("Enter")
    page.wait_for_selector(".fm-refine-form [role=status]:has-text('There is no mask yet')")
    assert sent == []
    page.evaluate("document.querySelector('.fm').curate.showAtOnce({ mask: window.mask })")
    page.wait_for_selector("[data-test='try-2']")
    assert [one.post_data_json["prompt"] for one in sent] == ["early grass"]
    assert not page.locator(".fm-refine-form [role=status]").is_visible()


def test_what_was_saved_outlives_a_kill_and_a_reload(page, server: Server) -> None:
    name = name_of(page)
    page.keyboard.press("a")
    shows_another(page, name)
    saved(page)
    server.kill()
    server.start()
    page.goto(server.next)
    ready(page)
    assert server.rows()[name].state == "accepted"
    assert part(page, "last").locator(f"[aria-label^='{name}:']").count() == 1
    assert part(page, f"row-{name}").count() == 0  # decided, so no longer to review


def test_a_lost_server_is_said_and_nothing_is_lost(page, server: Server) -> None:
    name = name_of(page)
    server.kill()
    page.keyboard.press("a")
    page.wait_for_selector("[data-test='notice']:has-text('does not answer')")
    assert "saved" not in part(page, "saved").inner_text().replace("not saved", "")
    server.start()
    page.reload()
    ready(page)
    assert name_of(page) == name
    assert server.rows()[name].state == "prepared"


# ------------------------------ keys


@pytest.mark.parametrize(
    ("key", "state"), [("x", "rejected"), ("Space", "skipped"), ("f", "flagged"), ("a", "accepted")]
)
def test_a_key_decides_and_backspace_takes_it_back(page, server: Server, key, state) -> None:
    name = name_of(page)
    page.keyboard.press(key)
    shows_another(page, name)
    saved(page)
    assert server.rows()[name].state == state
    page.keyboard.press("Backspace")
    page.wait_for_function(
        "name => document.querySelector(\"[data-test='name']\").textContent === name", arg=name
    )
    saved(page)
    assert server.rows()[name].state == "prepared"


def test_keys_are_letters_in_every_text_field(page, server: Server) -> None:
    name = name_of(page)
    for field in ("prompt", "negative"):
        part(page, field).fill("")
        part(page, field).click()
        page.keyboard.type("axfc 1r?")
        page.keyboard.press("Backspace")
        assert part(page, field).input_value() == "axfc 1r"
        page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.keyboard.type("a x")
    assert part(page, "text").input_value() == "a x"
    page.keyboard.press("Enter")
    saved(page)
    assert name_of(page) == name
    assert server.rows()[name].state == "prepared"
    assert server.rows()[name].comment == "a x"
    page.get_by_text("Comment: a x", exact=True).wait_for()


def test_keys_are_silent_while_an_input_method_composes(page, server: Server) -> None:
    name = name_of(page)
    page.evaluate(
        """() => window.dispatchEvent(new KeyboardEvent("keydown", {
          key: "a", code: "KeyA", isComposing: true, bubbles: true, cancelable: true}))"""
    )
    assert page.evaluate("document.querySelector('.fm').curate.acts.inFlight") == 0
    assert name_of(page) == name


def test_a_held_key_accepts_once(page, server: Server) -> None:
    name = name_of(page)
    before = [row.state for row in server.rows().values()]
    page.keyboard.down("a")
    for _ in range(5):
        page.keyboard.down("a")  # what the system sends while a key is held
    page.keyboard.up("a")
    shows_another(page, name)
    saved(page)
    after = [row.state for row in server.rows().values()]
    assert after.count("accepted") == before.count("accepted") + 1


def test_arrows_move_and_one_shows_help(page) -> None:
    first = name_of(page)
    page.keyboard.press("ArrowRight")
    shows_another(page, first)
    page.keyboard.press("ArrowLeft")
    assert name_of(page) == first
    page.keyboard.press("?")
    dialog = page.locator("dialog[open]")
    assert "undo the last decision" in dialog.inner_text()
    page.keyboard.press("a")  # silent under a dialog
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert name_of(page) == first


def test_z_takes_a_change_of_the_mask_back(page, server: Server) -> None:
    page.keyboard.press("+")
    page.wait_for_selector("[data-test='undo']:not([disabled])")
    saved(page)
    assert server.rows()[name_of(page)].chosen is None
    page.keyboard.press("z")
    page.wait_for_selector("[data-test='card-1'][aria-checked='true']")
    saved(page)
    assert server.rows()[name_of(page)].chosen == 0


def test_the_slider_moves_with_keys_and_mouse(page) -> None:
    handle = part(page, "slider")
    handle.focus()
    before = name_of(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    assert handle.get_attribute("aria-valuenow") == "0"
    assert name_of(page) == before
    box = page.locator(".fm-slider-frame").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    assert abs(int(handle.get_attribute("aria-valuenow")) - 75) <= 1


# ------------------------------ what is said


def test_someone_elses_change_is_shown_and_nothing_overwritten(page, server: Server) -> None:
    name = name_of(page)
    with Store(server.store) as store:
        row = server.rows()[name]
        store.append(row.id, "rejected", {}, by="bob", expected_version=row.version)
    page.evaluate("document.querySelector('.fm').curate.watch.soon(1e9)")  # it has not looked yet
    page.keyboard.press("a")
    part(page, "conflict").wait_for()
    assert f"bob changed {name}" in part(page, "conflict").inner_text()
    part(page, "keep-theirs").click()
    page.wait_for_selector("[data-test='notice']:has-text('rejected by bob')")
    assert server.rows()[name].decided_by == "bob"


def test_an_unconfirmed_mask_says_what_to_do(page, server: Server) -> None:
    waiting = next(row for row in server.rows().values() if row.state == "waiting")
    page.goto(server.url + f"?view=waiting&sample={waiting.id}")
    words = page.wait_for_selector("[data-test='notice']:has-text('No mask was confirmed')")
    assert f"Click the {waiting.concept}" in words.inner_text()
    assert part(page, "accept").is_disabled()


def test_an_image_dropped_in_is_asked_for_its_concept(page, server: Server, tmp_path) -> None:
    file = tmp_path / "my bird.png"
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    file.write_bytes(png_bytes(image))
    (tmp_path / "bad.png").write_bytes(b"no")
    part(page, "add").click()
    part(page, "files").set_input_files([str(file), str(tmp_path / "bad.png")])
    assert part(page, "new-concept").input_value() == ""  # not that of the sample that is shown
    part(page, "new-concept").fill("bird")
    part(page, "send").click()
    page.wait_for_selector(".fm-errors li:has-text('bad.png')")
    page.keyboard.press("Escape")
    page.wait_for_function(
        "document.querySelector(\"[data-test='name']\").textContent === 'my bird'"
    )
    assert server.rows()["my bird"].concept == "bird"


def test_an_empty_store_says_what_to_do(browser, tmp_path: Path) -> None:
    server = Server(tmp_path / "store", 0)
    try:
        page = browser.new_page()
        page.set_default_timeout(SLOW_MS)
        page.goto(server.url)
        page.wait_for_selector("[data-test='notice']:has-text('no images yet')")
        assert part(page, "notice-action").inner_text() == "add images"
        page.close()
    finally:
        server.kill()


def test_a_filter_is_loud(page) -> None:
    part(page, "concept").select_option("cat")
    banner = page.wait_for_selector(".fm-banner:not([hidden])")
    assert "Filtered: cat" in banner.inner_text()
    part(page, "clear-filter").click()
    page.wait_for_selector(".fm-banner", state="hidden")


def test_an_address_opens_its_sample(page, server: Server) -> None:
    row = [row for row in server.rows().values() if row.state == "prepared"][-1]
    page.goto(server.url + f"?sample={row.id}")
    ready(page)
    assert name_of(page) == row.name


# ------------------------------ how it looks


TOO_SMALL = """() => [...document.querySelectorAll("button, select, input:not([type=file])")]
  .filter((one) => one.checkVisibility() && one.offsetParent)
  .map((one) => [one.dataset.test ?? one.textContent, one.offsetWidth, one.offsetHeight])
  .filter(([, width, height]) => Math.min(width, height) < 44)"""


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720), (390, 844)])
def test_nothing_overflows_sideways(page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    bar = part(page, "accept").bounding_box()
    assert bar["y"] + bar["height"] <= height
    for one in part(page, "undo").all():
        box = one.bounding_box()
        assert box["y"] + box["height"] <= height
    if width == 390:  # a finger is 44 px wide
        assert page.evaluate(TOO_SMALL) == []
    if height == 900:
        for name in ("prompt", "negative", "strength", "steps", "seed"):
            box = part(page, name).bounding_box()
            assert box["y"] + box["height"] <= bar["y"]


def test_every_control_has_a_name(page) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll(".fm button, .fm input, .fm select, .fm [role]")]
          .filter((one) => one.getClientRects().length && !one.closest("[aria-hidden=true]"))
          .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.title
            || one.labels?.length || one.getAttribute("role") === "presentation"))
          .map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, server: Server, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.set_default_timeout(SLOW_MS)
    page.goto(server.next)
    ready(page)
    colours = page.evaluate(
        """() => Object.fromEntries(["text", "muted", "accent-text", "green", "red", "amber",
          "panel"].map((name) => [name, getComputedStyle(document.body)
          .getPropertyValue(`--fm-${name}`).trim()]))"""
    )
    page.close()
    panel = colours.pop("panel")
    poor = {name: colour for name, colour in colours.items() if contrast(colour, panel) < 4.5}
    assert poor == {}, json.dumps(colours)


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        parts = [int(part, 16) / 255 for part in re.findall("..", colour.lstrip("#"))]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.bundled
def test_curating_with_the_bundled_models_end_to_end(browser, tmp_path: Path) -> None:
    """The shipped app on its sample images: opened, prepared, refined, accepted."""
    port = free_port()
    store = tmp_path / "store"
    command = [sys.executable, "app.py", "--store", str(store), "--port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    running = subprocess.Popen(command, cwd=HERE.parent, env=environment)
    try:
        until = time.monotonic() + 180
        while time.monotonic() < until:
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        page = browser.new_page()
        page.set_default_timeout(180_000)
        page.goto(f"http://127.0.0.1:{port}/?concept=cat")
        ready(page)
        name = name_of(page)
        page.keyboard.press("r")
        page.keyboard.type("an empty meadow")
        part(page, "refine").click()  # waits where the machine's own fill is not there yet
        page.wait_for_selector("[data-test='try-2']")
        page.keyboard.press("a")
        shows_another(page, name)
        saved(page)
        page.close()
    finally:
        running.terminate()
        running.wait(60)
    with Store(store) as kept:
        row = next(row for row in kept.samples(concept="cat") if row.name == name)
    assert row.state == "accepted"
    assert row.picked_try == int(is_better(row.tries[1], row.tries[0]))
