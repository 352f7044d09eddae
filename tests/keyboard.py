"""What each act of the keyboard is seen to do on the page: one witness an act."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from test_page_browser import Server, name_of, part, ready, shows_another

CURATE = "document.querySelector('.fm').curate"
BROWSER_NAMES = {  # what the browser calls the keys that have a name
    "space": "Space",
    "backspace": "Backspace",
    "arrowleft": "ArrowLeft",
    "arrowright": "ArrowRight",
    "arrowup": "ArrowUp",
    "arrowdown": "ArrowDown",
    "ctrl": "Control",
    "shift": "Shift",
}


@dataclass
class Desk:
    """One page for all tests of this file; each begins on a sample that can be decided."""

    page: Any
    server: Server
    id: str = ""

    def begin(self) -> None:
        """Closes what is open, lets go of fields, and shows an undecided sample as it is now.

        What an earlier test asked of the worker is waited for: it would change the sample under
        this one, whose decision is refused then.
        """
        while (pulse := httpx.get(f"{self.server.url}forgetme/api/pulse").json())["alive"]:
            if not pulse["running"] and not pulse["queued"]:
                break
            time.sleep(0.05)
        rows = [row for row in self.server.rows().values() if row.state == "prepared"]
        row = min(rows, key=lambda row: row.picked_try is None)  # filled ones first
        self.id = row.id
        self.page.evaluate(
            f"""async (id) => {{
              document.querySelectorAll("dialog[open]").forEach((one) => one.close());
              document.activeElement.blur();
              {CURATE}.toolbar.use("pick");
              await {CURATE}.reopen(id);
            }}""",
            self.id,
        )
        self.until(f"page.sample.id === '{row.id}' && page.sample.version >= {row.version}")
        ready(self.page)
        self.name = name_of(self.page)

    @property
    def row(self):
        """The sample as the store has it, after all that was done has been saved."""
        self.page.wait_for_function(f"{CURATE}.acts.inFlight === 0")
        return self.server.rows()[self.name]

    def now(self, expression: str) -> Any:
        return self.page.evaluate(f"(page) => {expression}".replace("page.", f"{CURATE}."))

    def until(self, expression: str) -> None:
        self.page.wait_for_function(expression.replace("page.", f"{CURATE}."))

    def checked(self, name: str) -> None:
        self.page.wait_for_selector(f"[data-test='{name}'][aria-checked='true']")


def pressed(key: str) -> str:
    """The browser's name of a key of the table: "ctrl+shift+z" → "Control+Shift+Z"."""
    *modifiers, last = key.split("+") if key != "+" else [key]
    return "+".join(BROWSER_NAMES.get(one, one) for one in [*modifiers, last])


# ------------------------------ what each act is seen to do

Press = Callable[[], None]


def decides(state: str) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        name = desk.name
        press()
        shows_another(desk.page, name)
        assert desk.row.state == state

    return check


def comments(desk: Desk, press: Press) -> None:
    press()
    part(desk.page, "text").wait_for()


def undoes(desk: Desk, press: Press) -> None:
    decides("accepted")(desk, lambda: part(desk.page, "accept").click())
    press()
    desk.until(f"page.sample.id === '{desk.id}' && page.sample.state === 'prepared'")


def moves(step: int) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        start = desk.now("page.list.index")
        desk.until("page.list.rows.length > 2")
        total = desk.now("page.list.rows.length")
        if not 0 <= start + step < total:
            desk.page.evaluate(f"{CURATE}.open({start - step})")
            start -= step
        press()
        desk.until(f"page.list.index === {start + step}")

    return check


def helps(desk: Desk, press: Press) -> None:
    press()
    desk.page.wait_for_selector("dialog[open]:has-text('undo the last decision')")


def opens(words: str) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        press()
        desk.page.wait_for_selector(f"dialog[open]:has-text('{words}')")

    return check


def picks(index: int) -> Callable[[Desk, Press], None]:
    """Its sample is shown with nine proposals; whatever the server says, it is asked for one."""

    def check(desk: Desk, press: Press) -> None:
        desk.page.evaluate(
            f"""() => {{
              const {{ proposals }} = {CURATE}.sample;
              const more = Array.from({{ length: 9 }}, (_, at) => proposals[at % proposals.length]);
              {CURATE}.showAtOnce({{ proposals: more }});
            }}"""
        )
        with desk.page.expect_request("**/choose") as asked:
            press()
        assert asked.value.post_data_json["index"] == index
        desk.until("page.acts.inFlight === 0")
        desk.page.evaluate(f"{CURATE}.shelf.drop({CURATE}.sample.id)")

    return check


def asks_the_verifier(desk: Desk, press: Press) -> None:
    desk.page.evaluate(f"{CURATE}.masks.asked = 1")
    with desk.page.expect_request("**/ask") as asked:
        press()
    assert asked.value.post_data_json["index"] == 1


def takes_tool(name: str) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        other = "point" if name == "pick" else "pick"
        desk.page.evaluate(f"{CURATE}.toolbar.use('{other}')")
        press()
        desk.checked(f"tool-{name}")

    return check


def resizes_brush(sign: int) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        before = desk.now("page.stage.kept.brush")
        press()
        assert (desk.now("page.stage.kept.brush") - before) * sign > 0

    return check


def edits_mask(how: str) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        with desk.page.expect_request(f"**/{how}"):
            press()
        desk.until("page.acts.inFlight === 0")

    return check


def grows(sign: int) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        with desk.page.expect_request("**/grow") as asked:
            press()
        assert asked.value.post_data_json["px"] * sign > 0
        assert desk.row.chosen is None

    return check


def undoes_mask(desk: Desk, press: Press) -> None:
    before = desk.row
    grows(1)(desk, lambda: part(desk.page, "grow").click())
    press()
    desk.until("page.acts.inFlight === 0")
    assert (desk.row.chosen, desk.row.mask_sha) == (before.chosen, before.mask_sha)


def redoes_mask(desk: Desk, press: Press) -> None:
    grows(1)(desk, lambda: part(desk.page, "grow").click())
    grown = desk.row.mask_sha
    part(desk.page, "undo").first.click()
    assert desk.row.mask_sha != grown
    press()
    desk.until("page.acts.inFlight === 0")
    assert desk.row.mask_sha == grown


def goes_to_prompt(desk: Desk, press: Press) -> None:
    press()
    assert desk.now("document.activeElement.dataset.test") == "prompt"


def refines(desk: Desk, press: Press) -> None:
    desk.until("page.sample.tries.length > 0")  # else the first fill would pass for this one
    tries = len(desk.row.tries)
    press()
    part(desk.page, f"try-{tries + 1}").wait_for()


def picks_try(step: int) -> Callable[[Desk, Press], None]:
    def check(desk: Desk, press: Press) -> None:
        desk.until("page.sample.tries.length > 0")
        if len(desk.row.tries) < 2:
            part(desk.page, "refine").click()
            part(desk.page, "try-2").wait_for()
        first, second = ("try-2", "try-1") if step < 0 else ("try-1", "try-2")
        part(desk.page, first).click()
        desk.checked(first)
        press()
        desk.checked(second)

    return check


def holds_original(desk: Desk, press: Press) -> None:
    desk.page.evaluate(
        f"""() => {{
          const {{ stage }} = {CURATE};
          const bare = stage.bare.bind(stage);
          window.bared = [];
          stage.bare = (on) => (window.bared.push(on), bare(on));
        }}"""
    )
    press()
    assert desk.now("window.bared") == [True, False]
    assert desk.now("page.stage.element.classList.contains('fm-bare')") is False


def pans(desk: Desk, press: Press) -> None:
    """Space held and dragged moves the picture, not the brush; letting go is then no skip."""
    page = desk.page
    page.evaluate(f"{CURATE}.toolbar.use('brush')")  # with others a drag moves it anyway
    mask = desk.row.mask_sha
    page.evaluate(f"{CURATE}.stage.zoomBy(4)")
    box = part(page, "stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    look = "JSON.stringify([page.stage.view.x, page.stage.view.y])"
    before = desk.now(look)
    page.keyboard.down("Space")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 40, steps=4)
    page.mouse.up()
    page.keyboard.up("Space")
    assert desk.now(look) != before
    assert (desk.row.state, desk.row.mask_sha) == ("prepared", mask)
    assert name_of(page) == desk.name


def zooms(desk: Desk, press: Press) -> None:
    fits = desk.now("page.stage.view.fits")
    press()
    assert desk.now("page.stage.view.fits") is not fits


def tints(desk: Desk, press: Press) -> None:
    on = desk.now("page.stage.tint")
    press()
    assert desk.now("page.stage.tint") is not on


def outlines(desk: Desk, press: Press) -> None:
    before = desk.now("page.stage.kept.all")
    press()
    assert desk.now("page.stage.kept.all") is not before


def colours(desk: Desk, press: Press) -> None:
    before = desk.now("page.stage.layers.colour.name")
    press()
    assert desk.now("page.stage.layers.colour.name") != before


WITNESSES: dict[str, Callable[[Desk, Press], None]] = {
    "accept": decides("accepted"),
    "reject": decides("rejected"),
    "skip": decides("skipped"),
    "flag": decides("flagged"),
    "comment": comments,
    "undo": undoes,
    "previous": moves(-1),
    "next": moves(1),
    "help": helps,
    **{f"pick_{at + 1}": picks(at) for at in range(9)},
    "verify": asks_the_verifier,
    **{
        f"tool_{name}": takes_tool(name)
        for name in ("pick", "point", "box", "brush", "erase", "polygon")
    },
    "brush_smaller": resizes_brush(-1),
    "brush_larger": resizes_brush(1),
    "grow": grows(1),
    "shrink": grows(-1),
    "fill_holes": edits_mask("fill_holes"),
    "largest": edits_mask("largest"),
    "smooth": edits_mask("smooth"),
    "undo_mask": undoes_mask,
    "redo_mask": redoes_mask,
    "prompt": goes_to_prompt,
    "refine": refines,
    "previous_try": picks_try(-1),
    "next_try": picks_try(1),
    "compare": opens("Tries of"),
    "side": opens("elsewhere"),
    "original": holds_original,
    "pan": pans,
    "zoom": zooms,
    "outlines": outlines,
    "tint": tints,
    "colour": colours,
}
