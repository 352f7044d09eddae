"""Every key of the Curate tab in a real browser: its act, its silence, and how it changes."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_lowercase

import pytest
from keyboard import CURATE, WITNESSES, Desk, decides, pressed
from test_page_browser import SLOW_MS, Server, browser, name_of, part, ready, saved

from forgetme.ui import keys

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.browser
USUAL = {key for act in keys.acts().values() for key in act.keys}
FREE, OTHER = sorted(set(ascii_lowercase) - USUAL)[:2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("keys") / "store", 32)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def the_desk(browser, server: Server) -> Iterator[Desk]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(SLOW_MS)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    ready(page)
    yield Desk(page, server)
    page.close()
    assert errors == []


@pytest.fixture
def desk(the_desk: Desk) -> Desk:
    the_desk.begin()
    return the_desk


# ------------------------------ a test per key


@pytest.mark.parametrize(
    ("act", "key"), [(act.id, key) for act in keys.acts().values() for key in act.keys]
)
def test_a_key_does_its_act(desk: Desk, act: str, key: str) -> None:
    WITNESSES[act](desk, lambda: desk.page.keyboard.press(pressed(key)))


# ------------------------------ names of keys

ALT_GR = {"modifierAltGraph": True, "ctrlKey": True, "altKey": True}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"key": "a", "code": "KeyA"}, "a"),
        ({"key": "A", "code": "KeyA"}, "a"),  # caps lock
        ({"key": "A", "code": "KeyA", "shiftKey": True}, "shift+a"),
        ({"key": "ф", "code": "KeyA"}, "a"),  # Russian
        ({"key": "q", "code": "KeyA"}, "q"),  # French
        ({"key": "&", "code": "Digit1"}, "1"),  # French
        ({"key": "1", "code": "Digit1", "shiftKey": True}, "1"),  # French
        ({"key": "1", "code": "Numpad1"}, "1"),
        ({"key": "ö", "code": "Semicolon"}, "ö"),  # German
        (ALT_GR | {"key": "[", "code": "Digit8"}, "["),  # German
        ({"key": "?", "code": "Slash", "shiftKey": True}, "?"),
        ({"key": "+", "code": "Equal", "shiftKey": True}, "+"),
        ({"key": "z", "code": "KeyZ", "metaKey": True}, "ctrl+z"),
        ({"key": "Z", "code": "KeyZ", "ctrlKey": True, "shiftKey": True}, "ctrl+shift+z"),
        ({"key": "≈", "code": "KeyX", "altKey": True}, "alt+x"),  # Mac
        ({"key": " ", "code": "Space"}, "space"),
        ({"key": "ArrowLeft", "code": "ArrowLeft"}, "arrowleft"),
        ({"key": "Shift", "code": "ShiftLeft", "shiftKey": True}, ""),
    ],
)  # fmt: skip
def test_a_key_has_one_name_on_every_keyboard(the_desk: Desk, event: dict, name: str) -> None:
    assert name == the_desk.page.evaluate(
        """async (event) => {
          const { nameOf } = await import(new URL("forgetme/static/keys.js", document.baseURI));
          return nameOf(new KeyboardEvent("keydown", event));
        }""",
        event,
    )


# ------------------------------ when keys are silent


@pytest.mark.parametrize("how", ["textarea", "select", "div contenteditable", "input type=number"])
def test_keys_are_silent_in(desk: Desk, how: str) -> None:
    desk.page.evaluate(
        f"""() => {{
          const text = "<{how} tabindex=0 id=typed></{how.split()[0]}>";
          document.body.insertAdjacentHTML("beforeend", text);
          document.querySelector("#typed").focus();
        }}"""
    )
    for key in ("a", "x", "f", "2", "Space", "Backspace", "ArrowRight"):
        desk.page.keyboard.press(key)
    desk.page.evaluate("document.querySelector('#typed').remove()")
    assert name_of(desk.page) == desk.name
    assert desk.row.state == "prepared"


@pytest.mark.parametrize("event", [{"isComposing": True}, {"keyCode": 229}])
def test_keys_are_silent_while_a_word_is_composed(desk: Desk, event: dict) -> None:
    asked = []
    desk.page.on("request", lambda one: asked.append(one.url) if one.method == "POST" else None)
    desk.page.evaluate(
        """(event) => document.body.dispatchEvent(new KeyboardEvent("keydown",
          {key: "a", code: "KeyA", bubbles: true, cancelable: true, ...event}))""",
        event,
    )
    assert desk.now("page.acts.inFlight") == 0
    assert name_of(desk.page) == desk.name


@pytest.mark.parametrize("modifier", ["Control", "Alt", "Meta"])
def test_keys_with_a_modifier_are_the_browsers(desk: Desk, modifier: str) -> None:
    seen = desk.page.evaluate(
        """(name) => {
          const event = new KeyboardEvent("keydown", {key: "a", code: "KeyA", bubbles: true,
            cancelable: true, [name]: true});
          document.body.dispatchEvent(event);
          return event.defaultPrevented;
        }""",
        {"Control": "ctrlKey", "Alt": "altKey", "Meta": "metaKey"}[modifier],
    )
    assert seen is False
    assert name_of(desk.page) == desk.name


def test_space_and_enter_press_the_control_that_has_the_focus(desk: Desk) -> None:
    part(desk.page, "theme").focus()
    dark = desk.now("document.body.classList.contains('dark')")
    desk.page.keyboard.press("Space")
    assert desk.now("document.body.classList.contains('dark')") is not dark
    desk.page.keyboard.press("Enter")
    assert desk.now("document.body.classList.contains('dark')") is dark
    assert name_of(desk.page) == desk.name


def test_a_button_pressed_with_the_mouse_leaves_space_to_the_page(desk: Desk) -> None:
    part(desk.page, "theme").click()
    decides("skipped")(desk, lambda: desk.page.keyboard.press("Space"))
    part(desk.page, "theme").click()


@pytest.mark.parametrize(("key", "field"), [("c", "text"), ("r", "prompt")])
def test_a_held_key_types_nothing_into_the_field_that_it_opened(
    desk: Desk, key: str, field: str
) -> None:
    before = part(desk.page, field).input_value() if field == "prompt" else ""
    for _ in range(4):
        desk.page.keyboard.down(key)
    desk.page.keyboard.up(key)
    assert part(desk.page, field).input_value() == before
    desk.page.keyboard.press(key)
    assert key in part(desk.page, field).input_value()  # pressed again, it is a letter


@pytest.mark.parametrize("key", ["a", "x", "f", "Backspace", "+", "Shift+R"])
def test_a_held_key_acts_once(desk: Desk, key: str) -> None:
    if key == "Backspace":  # two decisions, of which one is to come back
        for _ in range(2):
            decides("rejected")(desk, lambda: desk.page.keyboard.press("x"))
            desk.begin()
    sent = []
    listen = lambda one: sent.append(one.url) if one.method == "POST" else None  # noqa: E731
    desk.page.on("request", listen)
    name = key.removeprefix("Shift+")
    if name != key:
        desk.page.keyboard.down("Shift")
    for _ in range(6):
        desk.page.keyboard.down(name)
    desk.page.keyboard.up(name)
    desk.page.keyboard.up("Shift")
    desk.until("page.acts.inFlight === 0")
    desk.page.remove_listener("request", listen)
    acts = [url for url in sent if not url.endswith(("/focus", "/hold", "/fill", "/prepare"))]
    assert len(acts) == 1


def test_arrows_repeat_while_they_are_held(desk: Desk) -> None:
    desk.page.evaluate(f"{CURATE}.open(0)")
    for _ in range(4):
        desk.page.keyboard.down("ArrowDown")
    desk.page.keyboard.up("ArrowDown")
    desk.until("page.list.index === 4")


def test_the_original_is_let_go_when_the_window_loses_the_focus(desk: Desk) -> None:
    desk.page.keyboard.down("o")
    desk.page.wait_for_selector(".fm-stage.fm-bare")
    desk.page.evaluate("window.dispatchEvent(new Event('blur'))")
    desk.page.wait_for_selector(".fm-stage:not(.fm-bare)")
    desk.page.keyboard.up("o")


# ------------------------------ undo, and the last ten


def test_backspace_takes_back_one_decision_after_the_other(desk: Desk) -> None:
    names = []
    for key, state in (("a", "accepted"), ("x", "rejected"), ("f", "flagged")):
        names.append(desk.name)
        decides(state)(desk, lambda key=key: desk.page.keyboard.press(key))
        desk.begin()
    for name in reversed(names):
        desk.page.keyboard.press("Backspace")
        desk.until(f"page.sample.name === '{name}' && page.sample.state === 'prepared'")
        saved(desk.page)
    assert {desk.server.rows()[name].state for name in names} == {"prepared"}


def test_backspace_brings_the_earlier_decision_back(desk: Desk) -> None:
    decides("accepted")(desk, lambda: desk.page.keyboard.press("a"))
    desk.page.evaluate(f"{CURATE}.reopen('{desk.id}')")
    desk.until(f"page.sample.id === '{desk.id}' && page.stage.ready")
    desk.page.keyboard.press("x")
    desk.until("page.acts.inFlight === 0")
    assert desk.row.state == "rejected"
    desk.page.keyboard.press("Backspace")
    desk.until(f"page.sample.id === '{desk.id}' && page.sample.state === 'accepted'")
    assert desk.row.state == "accepted"


def test_the_last_ten_are_shown_and_each_opens_by_a_click(desk: Desk) -> None:
    done = []
    for key, word in (("a", "accepted"), ("x", "rejected"), ("Space", "skipped")):
        done.append((desk.id, desk.name, word))
        decides(word)(desk, lambda key=key: desk.page.keyboard.press(key))
        desk.begin()
    strip = part(desk.page, "last").locator("button")
    assert strip.count() <= 10
    for id_, name, word in done:
        part(desk.page, "last").locator(f"[aria-label^='{name}: {word}']").last.click()
        desk.until(f"page.sample.id === '{id_}' && page.sample.state === '{word}'")


# ------------------------------ a person's own keys


@pytest.fixture
def own(desk: Desk) -> Iterator[Desk]:
    """The dialog of keys, open to be changed; afterwards all keys are the usual ones again."""
    desk.page.keyboard.press("?")
    part(desk.page, "keys-change").click()
    yield desk
    with_mark = {"x-forgetme": "1"}
    desk.page.request.post(desk.server.url + "forgetme/api/keys/reset", data={}, headers=with_mark)
    desk.page.reload()  # opens the same sample, which may have nothing to accept
    desk.page.wait_for_function("document.querySelector('.fm')?.curate?.sample")


def change(desk: Desk, place: str, key: str) -> None:
    part(desk.page, place).click()
    desk.page.keyboard.press(key)


def words(desk: Desk) -> str:
    return part(desk.page, "keys-words").inner_text()


def test_a_changed_key_acts_and_is_written_on_its_button(own: Desk) -> None:
    page = own.page
    change(own, "key-accept-1", FREE)
    page.wait_for_selector(f"[data-test='keys-words']:has-text('is on {FREE.upper()}')")
    part(page, "keys-done").click()
    page.keyboard.press("Escape")
    assert part(page, "accept").locator("kbd").inner_text() == FREE.upper()
    assert f"({FREE.upper()})" in part(page, "accept").get_attribute("title")
    page.keyboard.press("a")  # means nothing any more
    assert name_of(page) == own.name
    decides("accepted")(own, lambda: page.keyboard.press(FREE))


def test_a_changed_key_outlives_a_reload(own: Desk) -> None:
    change(own, "key-flag-1", "Shift+G")
    own.page.wait_for_selector("[data-test='keys-words']:has-text('is on shift G')")
    own.page.reload()
    ready(own.page)
    own.until("document.querySelector('[data-test=flag] kbd').textContent === 'shift G'")
    own.name = name_of(own.page)
    decides("flagged")(own, lambda: own.page.keyboard.press("Shift+G"))


def test_a_taken_key_is_refused_and_says_what_it_means(own: Desk) -> None:
    change(own, "key-flag-1", "x")
    own.page.wait_for_selector("[data-test='keys-words']:has-text('already means “reject”')")
    assert own.page.locator(".fm-taken").get_attribute("data-acts") == "reject"
    own.page.keyboard.press(FREE)  # it still waits for a key
    own.page.wait_for_selector(f"[data-test='keys-words']:has-text('is on {FREE.upper()}')")
    assert keys_of(own)["reject"] == ["x"]
    assert keys_of(own)["flag"] == [FREE]


def keys_of(desk: Desk) -> dict[str, list[str]]:
    return desk.page.request.get(desk.server.url + "forgetme/api/keys").json()["keys"]


def test_the_browsers_keys_are_refused(own: Desk) -> None:
    change(own, "key-flag-1", "Control+f")
    own.page.wait_for_selector("[data-test='keys-words']:has-text('The browser needs ctrl+f')")
    assert keys_of(own)["flag"] == ["f"]


def test_escape_changes_nothing_and_keeps_the_dialog(own: Desk) -> None:
    part(own.page, "key-flag-1").click()
    own.page.keyboard.press("Escape")
    own.page.wait_for_selector("[data-test='key-flag-1']:has-text('F')")
    own.page.keyboard.press(FREE)  # goes to nobody
    assert own.page.locator("dialog[open]").count() == 1
    assert keys_of(own)["flag"] == ["f"]


def test_a_key_is_added_and_removed(own: Desk) -> None:
    own.page.locator("[data-acts='flag']").hover()
    change(own, "key-flag-2", FREE)
    part(own.page, "key-flag-2").filter(has_text=FREE.upper()).wait_for()
    assert keys_of(own)["flag"] == ["f", FREE]
    part(own.page, "key-flag-1").click()
    part(own.page, "keys-remove").click()
    own.page.wait_for_selector("[data-test='keys-words']:has-text('removed')")
    assert keys_of(own)["flag"] == [FREE]


def test_one_act_or_all_get_their_usual_keys_back(own: Desk) -> None:
    change(own, "key-flag-1", FREE)
    part(own.page, "usual-flag").wait_for()
    change(own, "key-accept-1", "f")
    part(own.page, "usual-accept").wait_for()
    part(own.page, "usual-flag").click()
    own.page.wait_for_selector("[data-test='keys-words']:has-text('already means “accept”')")
    part(own.page, "usual-accept").click()
    part(own.page, "usual-accept").wait_for(state="detached")
    assert keys_of(own)["accept"] == ["a"]
    part(own.page, "keys-reset").click()
    part(own.page, "usual-flag").wait_for(state="detached")
    assert keys_of(own)["flag"] == ["f"]


def test_what_was_typed_stays_when_it_could_not_be_saved(desk: Desk) -> None:
    page = desk.page
    page.route("**/comment", lambda route: route.abort())
    page.keyboard.press("c")
    part(page, "text").fill("a red car behind")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog [role=alert]:has-text('not saved')")
    assert part(page, "text").input_value() == "a red car behind"
    page.unroute("**/comment")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]", state="detached")
    assert desk.row.comment == "a red car behind"


def test_the_page_ships_the_table(the_desk: Desk) -> None:
    """What the browser listens to is what the server checks against, act by act."""
    shipped = the_desk.page.evaluate(
        """async () => {
          const { keymap } = await import(new URL("forgetme/static/keymap.js", document.baseURI));
          return keymap.groups().flatMap(({ acts }) => acts.map(({ id }) => id));
        }"""
    )
    assert shipped == list(keys.acts()) == list(WITNESSES)
