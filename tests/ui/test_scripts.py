"""Scripts of the page by themselves, in a browser but without a server behind them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import forgetme.ui

pytestmark = pytest.mark.browser
STATIC = Path(forgetme.ui.__file__).parent / "static"
HOME = "http://forgetme.test/"


@pytest.fixture(scope="module")
def page() -> Iterator:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(path for name in names if (path := shutil.which(name)))

    def answer(route) -> None:
        file = STATIC / route.request.url.removeprefix(HOME)
        if file.is_file():
            route.fulfill(path=file)
        else:
            route.fulfill(body="<!doctype html><body></body>", content_type="text/html")

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(180_000)
        page.route("**/*", answer)
        page.goto(HOME)
        yield page
        browser.close()


def run(page, script: str, *arguments):
    return page.evaluate(f"async (given) => {{ {script} }}", list(arguments))


def test_items_that_share_a_key_leak_no_elements(page):
    counts = run(page, """
      const { h, keyed } = await import("/dom.js");
      const box = h("div");
      const draw = (keys) => {
        const fill = (element, key, at) => (element.id = `${key}${at}`);
        keyed(box, keys, (key) => key, () => h("p"), fill);
        return [...box.children].map((one) => one.id).join(" ");
      };
      return [["a", "b", "a", "a"], ["a", "b", "a", "a"], ["a", "a", "b"], ["b"]].map(draw);
    """)  # fmt: skip
    assert counts == ["a0 b1 a2 a3", "a0 b1 a2 a3", "a0 a1 b2", "b0"]


def test_only_the_chosen_proposal_is_outlined_until_all_are_asked_for(page):
    drawn = run(page, """
      const { Stage } = await import("/stage.js");
      const { kept } = await import("/canvaskept.js");
      const square = (at) => [[at, 1, at + 4, 1, at + 4, 5, at, 5]];
      const one = (index) => ({ index, key: `k${index}`, outline: square(index * 6) });
      const proposals = [0, 1, 2].map(one);
      const stage = new Stage({}, kept());
      document.body.append(stage.element);
      const asked = [];
      stage.layers.draw = ({ mask, proposals }) => asked.push([Boolean(mask), proposals.length]);
      const next = (done) => requestAnimationFrame(() => requestAnimationFrame(done));
      const frame = () => new Promise(next);
      const sample = { id: "a", image_sha: "b", width: 20, height: 8, state: "prepared", chosen: 1,
        proposals, mask: { outline: square(6) }, tries: [] };
      stage.show(sample, []);
      await frame();
      stage.setAll(true);
      await frame();
      return asked.length ? [asked[0], asked.at(-1), kept().all] : asked;
    """)  # fmt: skip
    assert drawn == [[True, 0], [True, 3], True]


def test_words_over_the_picture_go_when_what_they_say_is_over(page):
    found = run(page, """
      const { wordsFor } = await import("/notices.js");
      const { Holds } = await import("/holds.js");
      const usual = { concept: "cat", state: "waiting" };
      const words = (change) => wordsFor({ ...usual, ...change })?.words ?? "";
      const told = [];
      const keptChanged = (id) => told.push(id);
      const page = { session: { by: "ann" }, sample: { id: "b" }, keptChanged };
      const holds = new Holds(page);
      holds.lost("a", "bob is working on this one");
      holds.heed({ id: "a", held_by: "bob" });
      const while_held = holds.words("a");
      holds.heed({ id: "a", held_by: null });
      return [words({}), words({ drawn: [{}] }), while_held, holds.words("a"), told];
    """)  # fmt: skip
    before, after, held, free, told = found
    assert before.startswith("No mask was confirmed as cat.")
    assert after == ""
    assert (held, free) == ("bob is working on this one", None)
    assert told == ["a", "a"]


def test_who_made_the_first_account_is_not_told_that_a_session_ended(page):
    found = run(page, """
      const { account, signedIn } = await import("/signin.js");
      const place = document.createElement("div");
      account(place, { by: "ann", role: "lead", signed_in: false });
      signedIn();
      const said = () => document.querySelector("[data-test='sign-in'] .fm-note")?.textContent;
      while (!said()) await new Promise((done) => requestAnimationFrame(done));
      const words = said();
      document.querySelector("[data-test='sign-in']").remove();
      return words;
    """)  # fmt: skip
    assert found.startswith("This store has accounts from now on.")


def test_back_opens_the_sample_before(page):
    found = run(page, """
      const { Visits } = await import("/visits.js");
      const opened = [];
      const page = { list: { filter: { view: "review" } }, sample: null,
        reopen: async (id) => { opened.push(id); page.sample = { id }; visits.remember(id); } };
      const visits = new Visits(page);
      for (const id of ["a", "b", "b", "c"]) { page.sample = { id }; visits.remember(id); }
      for (let step = 0; step < 2; step += 1) {
        const once = { once: true };
        const gone = new Promise((done) => window.addEventListener("popstate", done, once));
        history.back();
        await gone;
      }
      return opened;
    """)  # fmt: skip
    assert found == ["b", "a"]
