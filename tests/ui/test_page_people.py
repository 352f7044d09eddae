"""Several people on one page in a real browser: signing in, holds, two versions, the Team tab."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from test_page import free_port

from forgetme.record.strokes import Stroke, paint
from forgetme.store import Store

pytestmark = pytest.mark.browser
HERE = Path(__file__).parents[1]
SLOW_MS = 180_000  # a busy machine
START_SECONDS = 400
SAMPLES = 16
PEOPLE = {"vic": "viewer", "ann": "curator", "ben": "curator", "lea": "lead"}
PASSWORD = "{}'s long password"


class Team:
    """A page with accounts, and a browser window for whoever signs in."""

    def __init__(self, folder: Path, browser) -> None:
        self.store, self.browser = Store(folder), browser
        for name, role in PEOPLE.items():
            self.store.people.add(name, role, PASSWORD.format(name))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        command = [sys.executable, "page_server.py", str(folder), str(port), str(SAMPLES)]
        self.process = subprocess.Popen(
            command, cwd=HERE, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        self.wait_for(lambda: len(self.store.samples()) == SAMPLES, START_SECONDS)
        self.wait_for(lambda: self.store.counts()["new"] == 0, START_SECONDS)
        self.errors: list[str] = []

    def wait_for(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Waits for what another process makes true."""
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, "the page ended"
            assert time.monotonic() < until, "it did not happen in time"
            time.sleep(0.05)

    def window(self, name: str | None = None, query: str = "", *, width: int = 1440):
        """Opens the page in a window of its own, signed in as `name`."""
        page = self.browser.new_context(viewport={"width": width, "height": 900}).new_page()
        page.set_default_timeout(SLOW_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(self.url + query)
        page.wait_for_selector("[data-test='sign-in']")
        if name is not None:
            sign_in(page, name)
            page.wait_for_function("document.querySelector('.fm')?.curate?.sample")
        return page

    def fresh(self) -> str:
        """Returns the address of a sample that can be accepted and that nobody has decided."""
        rows = self.store.samples(state="prepared", light=True)
        return f"?sample={next(row.id for row in rows if row.picked_try is not None)}"


def sign_in(page, name: str, password: str | None = None) -> None:
    part(page, "sign-in-name").fill(name)
    part(page, "sign-in-password").fill(password or PASSWORD.format(name))
    part(page, "sign-in-go").click()


def part(page, name: str):
    return page.locator(f"[data-test='{name}']")


def shown(page) -> str:
    return page.evaluate("document.querySelector('.fm').curate.sample.id")


def ready(page) -> str:
    """Waits until the shown sample can be decided; returns its id."""
    page.wait_for_function("""() => {
        const { stage, sample, acts } = document.querySelector('.fm').curate;
        return stage.ready && !sample.loading && sample.state !== 'new' && !acts.inFlight;
    }""")
    return shown(page)


def holds(page) -> bool:
    """Waits until the window holds what it shows; returns whether it does."""
    page.wait_for_function("""() => {
        const { holds, sample } = document.querySelector('.fm').curate;
        return holds.settled.has(sample.id);
    }""")
    return not page.evaluate("document.querySelector('.fm').curate.holds.whyNot()")


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """One page for all tests, since loading its libraries is slow; each test takes the next."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(found for name in names if (found := shutil.which(name)))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        team = Team(tmp_path_factory.mktemp("team") / "store", browser)
        yield team
        browser.close()
        team.process.terminate()
        team.process.wait(30)
        team.store.close()


@pytest.fixture(autouse=True)
def _clean(team: Team) -> Iterator[None]:
    """Each test starts alone, and no script may fail."""
    for name in PEOPLE:
        team.store.holds.leave_all(name)
    team.errors.clear()
    yield
    for context in team.browser.contexts:
        context.close()
    assert team.errors == []


def test_sign_in_dialog_lets_in_and_account_button_out(team):
    page = team.window()
    sign_in(page, "ann", "not her password")
    page.wait_for_function(
        "document.querySelector('[data-test=sign-in-trouble]').textContent.includes('wrong')"
    )
    sign_in(page, "ann")
    ready(page)
    assert part(page, "account").inner_text().split() == ["ann", "curator"]
    part(page, "account").click()
    part(page, "sign-out").click()
    page.wait_for_selector("[data-test='sign-in']")


def test_ended_session_asks_over_the_work_and_loses_nothing(team):
    page = team.window("ann", team.fresh())
    sample = ready(page)
    assert holds(page)
    team.store.people.end_sessions("ann")
    page.keyboard.press("a")
    page.wait_for_selector("[data-test='sign-in']")
    assert team.store.sample(sample).state == "prepared"
    assert part(page, "sign-in-name").input_value() == "ann"
    sign_in(page, "ann")
    team.wait_for(lambda: team.store.sample(sample).state == "accepted")
    kinds = [one.kind for one in team.store.events(sample)]
    assert kinds.count("accepted") == 1
    assert shown(page) != sample, "the next image is there all the same"


def test_ended_session_is_not_taken_over_by_somebody_else(team):
    page = team.window("ann")
    sample = ready(page)
    team.store.people.end_sessions("ann")
    page.keyboard.press("x")
    page.wait_for_selector("[data-test='sign-in']")
    with page.expect_navigation():
        sign_in(page, "ben")
    page.wait_for_function("document.querySelector('.fm')?.curate?.sample")
    assert part(page, "account").inner_text().split()[0] == "ben"
    assert team.store.sample(sample).state == "prepared", "ann's key is not ben's decision"


def test_two_curators_never_get_the_same_image(team):
    ann, ben = team.window("ann"), team.window("ben")
    seen: dict[str, list[str]] = {"ann": [], "ben": []}
    for _ in range(2):
        for name, page in (("ann", ann), ("ben", ben)):
            assert holds(page)
            sample = ready(page)
            seen[name].append(sample)
            page.keyboard.press("x")
            page.wait_for_function(f"document.querySelector('.fm').curate.sample.id !== '{sample}'")
            team.wait_for(lambda sample=sample: team.store.sample(sample).state == "rejected")
    assert not set(seen["ann"]) & set(seen["ben"])
    assert {team.store.sample(one).decided_by for one in seen["ben"]} == {"ben"}


def test_held_image_opens_to_be_looked_at_only(team):
    ann = team.window("ann")
    sample = ready(ann)
    assert holds(ann)
    ben = team.window("ben", f"?sample={sample}")
    assert not holds(ben)
    ready(ben)
    assert shown(ben) == sample
    assert "ann is working on this one" in part(ben, "notice").inner_text()
    ben.keyboard.press("x")
    ben.keyboard.press("1")
    ann.keyboard.press("f")
    team.wait_for(lambda: team.store.sample(sample).state == "flagged")
    assert [one.by for one in team.store.events(sample)][-1] == "ann"
    assert "ben" not in {one.by for one in team.store.events(sample)}


def test_a_second_tab_that_closes_leaves_the_hold_to_the_first(team):
    first = team.window("ann", team.fresh())
    sample = ready(first)
    assert holds(first)
    second = first.context.new_page()
    second.goto(f"{team.url}?sample={sample}")
    second.wait_for_function("document.querySelector('.fm')?.curate?.sample")
    assert holds(second)
    heard = "document.querySelector('.fm').curate.holds.tabs.onmessage = () => { window.heard = 1 }"
    first.evaluate(heard)
    second.close(run_before_unload=True)
    first.wait_for_function("window.heard")
    with first.expect_request(lambda request: sample in (request.post_data or "")):
        pass
    team.wait_for(lambda: team.store.holds.of([sample]) == {sample: "ann"})


def test_viewer_sees_all_and_changes_nothing(team):
    page = team.window("vic", team.fresh())
    sample = ready(page)
    before = team.store.events(sample)
    for key in ("a", "x", "f", "1"):
        page.keyboard.press(key)
    assert "viewer" in part(page, "notice").inner_text()
    assert shown(page) == sample
    assert team.store.events(sample) == before
    page.get_by_role("tab", name="Team").click()
    page.locator("#fm-team-closed").get_by_text("Your role is viewer").wait_for()


@pytest.mark.parametrize("mine", [True, False], ids=["mine", "theirs"])
def test_two_versions_are_shown_side_by_side_and_one_goes_on(team, mine):
    ann = team.window("ann", team.fresh())
    sample = ready(ann)
    assert holds(ann)
    row = team.store.sample(sample)
    mask = np.roll(team.store.get_mask(row.mask_sha), 3, axis=0)
    drawn = {"mask_sha": team.store.put_image(mask), "how": "brush", "points": []}
    ann.context.set_offline(True)  # her page must not hear of it before she decides
    theirs = team.store.append(sample, "mask_edited", drawn, by="ben", expected_version=row.version)
    ann.evaluate("document.querySelector('.fm').curate.watch.soon(1e9)")
    ann.context.set_offline(False)
    ann.keyboard.press("a")
    ann.wait_for_selector("[data-test='conflict']")
    assert "ben changed" in part(ann, "conflict").inner_text()
    assert "changed the mask (brush)" in part(ann, "theirs").inner_text()
    lines = ann.locator(".fm-version .fm-outline-light").all()
    outlines = [one.get_attribute("d") for one in lines]
    assert outlines[0] != outlines[1]
    assert all(outlines)
    since = [one.by for one in team.store.events(sample) if one.kind in ("mask_edited", "accepted")]
    assert since == ["ben"], "nothing is done before she chooses"
    if mine:
        part(ann, "keep-mine").click()
        team.wait_for(lambda: team.store.sample(sample).state == "accepted")
        done = team.store.sample(sample)
        assert np.array_equal(team.store.get_mask(done.mask_sha), team.store.get_mask(row.mask_sha))
        assert done.decided_by == "ann"
    else:
        part(ann, "keep-theirs").click()
        ann.wait_for_selector("[data-test='conflict']", state="detached")
        ann.wait_for_function(
            f"document.querySelector('.fm').curate.sample.version >= {theirs.version}"
        )
        assert shown(ann) == sample
        assert team.store.sample(sample).mask_sha == theirs.mask_sha
        assert team.store.sample(sample).decided_by is None
    assert theirs.mask_sha in {one.payload.get("mask_sha") for one in team.store.events(sample)}


def test_strokes_that_came_too_late_are_shown_in_one_question_and_go_on_top(team):
    ann = team.window("ann", team.fresh())
    sample = ready(ann)
    assert holds(ann)
    row = team.store.sample(sample)
    before = team.store.get_mask(row.mask_sha)
    mask = np.roll(before, 3, axis=0)
    drawn = {"mask_sha": team.store.put_image(mask), "how": "brush", "points": []}
    ann.context.set_offline(True)  # her page must not hear of it before she draws
    theirs = team.store.append(sample, "mask_edited", drawn, by="ben", expected_version=row.version)
    ann.evaluate("document.querySelector('.fm').curate.watch.soon(1e9)")
    ann.context.set_offline(False)
    strokes = [Stroke("add", 6, ((30.0, 20.0 + k), (60.0, 20.0 + k))) for k in (0, 40)]
    ann.evaluate(
        "all => all.forEach((one) => document.querySelector('.fm').curate.hand.stroke(one))",
        [asdict(one) for one in strokes],
    )
    ann.wait_for_selector("[data-test='conflict']")
    ann.locator("[data-test='mine'] .fm-stroke").nth(1).wait_for(state="attached")
    assert ann.locator("[data-test='conflict']").count() == 1
    assert ann.locator("[data-test='theirs'] .fm-stroke").count() == 0
    assert team.store.sample(sample).version == theirs.version, "nothing before she chooses"
    part(ann, "keep-mine").click()
    wanted = paint(before, strokes)
    team.wait_for(
        lambda: np.array_equal(team.store.get_mask(team.store.sample(sample).mask_sha), wanted)
    )
    edits = [one for one in team.store.events(sample) if one.kind == "mask_edited"]
    assert [one.by for one in edits] == ["ben", "ann", "ann", "ann"]
    assert edits[0].payload["mask_sha"] == theirs.mask_sha


def test_lead_reviews_and_the_curator_hears_of_it(team):
    samples = []
    for _ in range(2):
        ben = team.window("ben", team.fresh())
        samples.append(ready(ben))
        assert holds(ben)
        ben.keyboard.press("a")
        team.wait_for(lambda: team.store.sample(samples[-1]).state == "accepted")
    lea = team.window("lea", "?tab=team")
    for number, sample in enumerate(samples):
        name = team.store.sample(sample).name
        shown = lea.locator("#fm-team-sample").get_by_text(name, exact=True)
        for _ in range(20):  # the gallery may be drawn anew under a click, which then is lost
            lea.locator("#fm-team-gallery button").filter(has_text=name).click()
            with contextlib.suppress(PlaywrightTimeout):
                shown.wait_for(timeout=8000)
                break
        if number == 0:
            lea.locator("#fm-return-text textarea").fill("the tail is missing")
        lea.locator(("#fm-return", "#fm-approve")[number]).click()
        team.wait_for(lambda sample=sample: team.store.sample(sample).reviewed)
    assert [team.store.sample(one).reviewed for one in samples] == ["returned", "approved"]
    lea.locator("#fm-team-comments").get_by_text("the tail is missing").wait_for()
    lea.locator("#fm-team-work .body-cell").get_by_text("ben", exact=True).click()
    lea.get_by_text("Nothing of ben is left to review.").wait_for()
    lea.get_by_role("button", name="show all").click()
    left = team.store.queries.to_review()[1]  # other tests' samples
    words = f"{left} accepted, not reviewed yet" if left else "Nothing is left to review."
    lea.locator("#fm-team-count").get_by_text(words).wait_for()
    again = team.window("ben", f"?sample={samples[0]}")
    ready(again)
    again.wait_for_function(
        "document.querySelector('[data-test=notice]')?.textContent.includes('Returned by lea')"
    )
    assert team.store.sample(samples[0]).state == "prepared"


def test_lead_asks_for_second_opinions_and_makes_accounts_on_a_narrow_screen(team):
    lea = team.window("lea", "?tab=team", width=390)
    lea.locator("#fm-overlap-share input[type=number]").fill("100")
    lea.locator("#fm-overlap-share input[type=number]").press("Tab")
    lea.locator("#fm-overlap").click()
    team.wait_for(lambda: len(team.store.queries.copies()) == SAMPLES)
    lea.get_by_role("button", name="Add somebody").click()
    lea.locator("#fm-person-name textarea").fill("kim")
    lea.locator("#fm-person-password input").fill("short")
    lea.locator("#fm-person-add").click()
    lea.get_by_text("a password has 8 to").wait_for()
    lea.locator("#fm-person-password input").fill("kim's long password")
    lea.locator("#fm-person-add").click()
    team.wait_for(lambda: team.store.people.get("kim"))
    lea.locator("#fm-people").get_by_text("kim", exact=True).first.wait_for()
    lea.get_by_role("button", name="Change an account").click()
    lea.locator("#fm-account input").click()
    lea.get_by_role("option", name="kim").click()
    lea.locator("#fm-account-role").get_by_label("curator").wait_for()
    lea.locator("#fm-account-active input:checked").click()
    lea.locator("#fm-account-change").click()
    team.wait_for(lambda: not team.store.people.get("kim").active)
    assert team.store.people.get("kim").role == "curator"
    wide = lea.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, "nothing sticks out"
