"""Which key does what: the table, and the rules for a person's own keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase

import pytest

from forgetme.errors import ForgetmeError
from forgetme.store import Store
from forgetme.ui import keys

USUAL = {key for act in keys.acts().values() for key in act.keys}
FREE, *OTHERS = sorted(set(ascii_lowercase) - USUAL)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.mark.parametrize("drag", [False, True])
def test_table_gives_no_key_to_two_acts(drag: bool) -> None:
    usual = [key for act in keys.acts().values() if act.drag is drag for key in act.keys]
    assert len(usual) == len(set(usual)) > 0


PROMISED = {  # as README and the dialog of keys teach them
    **{f"pick_{number}": (str(number),) for number in range(1, 10)},
    "accept": ("a",), "reject": ("x",), "skip": ("space",), "flag": ("f",), "comment": ("c",),
    "undo": ("backspace",), "previous": ("arrowleft", "arrowup"),
    "next": ("arrowright", "arrowdown"), "prompt": ("r",), "refine": ("shift+r",), "help": ("?",),
    "brush_smaller": ("[",), "brush_larger": ("]",), "pan": ("space",), "original": ("o",),
    "undo_mask": ("z", "ctrl+z"), "redo_mask": ("shift+z", "ctrl+shift+z"),
}  # fmt: skip


@pytest.mark.parametrize("act", PROMISED)
def test_a_promised_key_is_on_its_act(act: str) -> None:
    assert keys.acts()[act].keys == PROMISED[act]


def test_only_moving_and_sizing_repeat_while_a_key_is_held() -> None:
    shipped = json.loads(keys.TABLE.read_text(encoding="utf-8"))
    repeats = {one["id"] for group in shipped for one in group["acts"] if one.get("repeat")}
    assert repeats == {"previous", "next", "brush_smaller", "brush_larger"}


def test_every_usual_key_is_one_that_a_person_may_choose() -> None:
    for act in keys.acts().values():
        assert act.keys
        assert [keys.check_key(key) for key in act.keys] == list(act.keys)


@pytest.mark.parametrize("key", ["g", "ö", "?", "+", "ctrl+]", "alt+x", "shift+space", "pageup"])
def test_a_key_of_a_keyboard_is_taken(key: str) -> None:
    assert keys.check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        *("", " ", "A", "ab", "tab", "escape", "f5", "ctrl+", "shift+?", "shift+ctrl+z"),
        *("ctrl+w", "ctrl+shift+t", "ctrl++", "alt+arrowleft"),  # the browser's
        *("<script>alert(1)</script>", "javascript:alert(1)", "\x00", "\u200b", "\u0301", "\ud800"),
    ],
)
def test_what_is_no_key_or_the_browsers_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ForgetmeError, match="Press"):
        keys.change_keys(store, "ann", {"accept": (key,)})
    assert keys.own_keys(store, "ann") == {}


def test_own_keys_are_one_persons_own(store: Store) -> None:
    keys.change_keys(store, "ann", {"accept": (FREE,), "flag": ()})
    assert keys.effective(keys.own_keys(store, "ann"))["accept"] == (FREE,)
    assert keys.effective(keys.own_keys(store, "ann"))["flag"] == ()
    assert keys.effective(keys.own_keys(store, "ben"))["accept"] == ("a",)


def test_a_key_of_another_act_is_refused_and_nothing_changes(store: Store) -> None:
    keys.change_keys(store, "ann", {"accept": (FREE,)})
    for change in ({"flag": ("x",)}, {"flag": (FREE,)}, {"skip": (OTHERS[0], OTHERS[0])}):
        with pytest.raises(ForgetmeError, match="already means “(reject|accept|skip)”"):
            keys.change_keys(store, "ann", change)
    assert keys.own_keys(store, "ann") == {"accept": (FREE,)}


def test_two_acts_may_swap_their_keys_in_one_change(store: Store) -> None:
    own = keys.change_keys(store, "ann", {"accept": ("x",), "reject": ("a",)})
    assert keys.effective(own)["reject"] == ("a",)


def test_a_key_held_while_dragging_may_also_be_pressed(store: Store) -> None:
    own = keys.change_keys(store, "ann", {"pan": ("a",)})
    assert keys.effective(own)["accept"] == keys.effective(own)["pan"] == ("a",)


def test_the_usual_keys_are_not_kept_as_a_change(store: Store) -> None:
    keys.change_keys(store, "ann", {"accept": (FREE,)})
    assert keys.change_keys(store, "ann", {"accept": ("a",)}) == {}
    assert store.people.preference("ann", keys.PREFERENCE) is None


def test_an_unknown_act_and_too_many_keys_are_refused(store: Store) -> None:
    with pytest.raises(ForgetmeError, match="no act 'launch'"):
        keys.change_keys(store, "ann", {"launch": (FREE,)})
    with pytest.raises(ForgetmeError, match="3 keys already"):
        keys.change_keys(store, "ann", {"accept": (FREE, *OTHERS[:2], "ö")})


@pytest.mark.parametrize(
    "kept",
    [
        "a",
        [["accept", FREE]],
        {"launch": [FREE], "flag": [FREE]},
        {"accept": FREE, "flag": [FREE]},
        {"accept": [7], "flag": [FREE]},
        {"accept": ["<b>"], "flag": [FREE]},
        {"flag": [FREE], "reject": [FREE]},
    ],
)
def test_what_another_release_kept_costs_no_other_key(store: Store, kept: object) -> None:
    store.people.set_preference("ann", keys.PREFERENCE, kept)
    own = keys.own_keys(store, "ann")
    assert own == ({"flag": (FREE,)} if isinstance(kept, dict) else {})


def test_a_usual_key_that_came_later_yields_to_a_persons_own() -> None:
    own = {"verify": ("b",)}
    assert keys.effective(own)["tool_brush"] == ()
    assert keys.effective(own)["verify"] == ("b",)
