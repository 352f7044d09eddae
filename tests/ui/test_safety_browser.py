"""What people and machines wrote, opened in a real browser: it is text, and nothing of it runs.

Each test is named after what was published; see `test_safety.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import small_comparison
import small_store
from dataset_page import DataPage, serving
from test_page_browser import SLOW_MS, browser, outside, part  # noqa: F401 (a fixture)
from train_job import written

from forgetme import jobs
from forgetme.store import Store
from forgetme.train import RunSettings, items_of_store, runs

pytestmark = pytest.mark.browser
EVIL = "<img src=x data-evil onerror=hit()>"  # short and without a slash: it may name a file
SHOWN = ("title", "words", "made_by", "name", "warning", "error", "label", "source", "note")
WATCH = """
    window.hits = [];
    window.hit = () => hits.push("run");
    const look = () => document.querySelector("[data-evil]") && hits.push("built");
    new MutationObserver(look).observe(document, { childList: true, subtree: true });
"""


def with_evil(value: Any, key: str = "") -> Any:
    """Puts the text wherever a comparison's table holds words."""
    if isinstance(value, dict):
        return {name: with_evil(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [EVIL] if key == "warnings" else [with_evil(one, key) for one in value]
    return EVIL if key in SHOWN and isinstance(value, str) else value


def fill(store: Store) -> str:
    """Writes the text into every place that people, models and files can; returns a sample."""
    for seed, last in ((1, "accepted"), (2, "flagged"), (3, "commented")):
        row = store.import_image(
            small_store.picture(seed), name=f"{EVIL}{seed}", concept=EVIL, by=EVIL, source=EVIL,
            notes=[EVIL], caption=EVIL,
        )  # fmt: skip
        proposed, verdict = small_store.proposed(), {"reason": EVIL, "made_by": EVIL}
        for one in proposed["proposals"]:
            one |= {"made_by": EVIL, "verdict": one["verdict"] | verdict}
        row = small_store.step(store, row, "proposed", proposed, by=EVIL)
        filled = small_store.filled(store, row)
        filled |= {"made_by": EVIL, "settings": filled["settings"] | {"prompt": EVIL}}
        filled["scores"] |= {"words": [EVIL]}
        row = small_store.step(store, row, "filled", filled, by=EVIL)
        row = small_store.step(store, row, "commented", {"text": EVIL}, by=EVIL)
        payload = {"accepted": {"how": "human"}, "flagged": {"reason": EVIL}}.get(last)
        row = row if payload is None else small_store.step(store, row, last, payload, by=EVIL)
    store.import_broken(name=EVIL, concept=EVIL, by=EVIL, error=EVIL, source=EVIL)
    arguments = {"name": "evil", "format": "folders", "concept": EVIL, "shares": EVIL}
    failed = store.jobs.add("export", arguments, EVIL, heavy=False)
    store.jobs.end(failed.id, "failed", error=EVIL)
    store.people.set_preference("ann", "keys", {"accept": [EVIL], EVIL: ["g"]})
    return row.id


def lay_a_run(store: Store) -> None:
    settings = RunSettings("rl", EVIL, steps=8, batch=2, rank=2, trains="kv", keep=("dog",),
                           retain_pictures=2, probe_every=0, save_every=50)  # fmt: skip
    items = items_of_store(store, EVIL)
    run = runs.ask(store, "evil", settings, items, preset="tiny", probe_pictures=0, by=EVIL)
    written(run, 4, probes=(0, 4), concept=EVIL)
    job = store.jobs.add("train", {"name": "evil", "at": run.asked.at}, EVIL, heavy=True)
    store.jobs.end(job.id, "failed", error=EVIL)


def lay_a_comparison(store: Store) -> None:
    path = small_comparison.make(store, "evil", count=2, size=128) / "table.json"
    table = with_evil(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(table | {"concept": EVIL}), encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPage]:
    patch = pytest.MonkeyPatch()
    patch.setattr(jobs, "start_queued", lambda store: [])  # jobs are written down only
    with Store(tmp_path_factory.mktemp("evil") / "store") as store:
        sample = fill(store)
        lay_a_run(store)
        lay_a_comparison(store)
        with serving(store) as page:
            page.sample = sample
            yield page
    patch.undo()


@pytest.fixture
def page(browser) -> Iterator:  # noqa: F811
    """A window in which nothing of the text may ever become an element, run, or be asked for."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(SLOW_MS)
    foreign, errors = [], []
    page.on("request", lambda one: foreign.append(one.url) if outside(one.url) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda one: (errors.append(one.message), one.dismiss()))
    page.add_init_script(WATCH)
    yield page
    assert page.evaluate("hits") == []
    assert foreign == []
    assert errors == []
    page.context.close()


def says(page, name: str, times: int = 1) -> None:
    """Waits until a part of the page shows the text as text, so many times."""
    page.wait_for_function(
        "([part, text, times]) => [...document.querySelectorAll(part)]"
        ".map(one => one.textContent).join().split(text).length > times",
        arg=[name if name.startswith("#") else f"[data-test='{name}']", EVIL, times],
    )


def test_cve_2024_26152_2026_65986_names_captions_and_comments_are_text(page, server) -> None:
    """CVE-2024-26152, CVE-2026-65986: imported data and guides ran as script for reviewers."""
    page.goto(f"{server.url}/?sample={server.sample}")
    says(page, "sample-concept")
    page.wait_for_function("text => document.body.innerText.split(text).length > 4", arg=EVIL)
    part(page, "jobs").click()
    says(page, "jobs-panel")


def test_cve_2026_22033_kept_keys_are_checked_again_and_shown_as_text(page, server) -> None:
    """CVE-2026-22033: what lay in the database as a hotkey was built into the page."""
    page.goto(f"{server.url}/?sample={server.sample}")
    says(page, "sample-concept")
    assert page.request.get(f"{server.url}/forgetme/api/keys").json()["own"] == []
    page.keyboard.press("?")
    keys = page.locator(".fm-key-row[data-acts~=accept] kbd")
    keys.first.wait_for()
    assert [one.strip().lower() for one in keys.all_text_contents()] == ["a"]
    assert EVIL not in page.locator("dialog[open]").text_content()


def test_cve_2026_116554_116555_the_dataset_tab_shows_text(page, server) -> None:
    """CVE-2026-116554, CVE-2026-116555: fields of records ran as script in Argilla."""
    page.goto(f"{server.url}/?tab=dataset")
    says(page, "#fm-table1")
    page.locator("#fm-gallery button").first.click()
    says(page, "#fm-sample", 2)
    page.locator("#fm-dataset-mode").get_by_text("Audit trail").click()
    says(page, "#fm-trail", 3)


def test_cve_2026_65986_the_team_tab_shows_text(page, server) -> None:
    """CVE-2026-65986: what one person wrote ran for the others."""
    page.goto(f"{server.url}/?tab=team")
    says(page, "#fm-team-work")
    says(page, "#fm-team-comments", 2)
    says(page, "#fm-team-sample")
    page.locator("#fm-team-work .virtual-row").first.click()
    says(page, "#fm-team-count")


def test_cve_2024_26152_a_run_and_its_errors_are_text(page, server) -> None:
    """CVE-2024-26152, on what a training run's folder says."""
    page.goto(f"{server.url}/?tab=train")
    says(page, "#fm-runs")
    says(page, "#fm-run", 2)  # what it forgets, and what went wrong
    says(page, "#fm-probes")
    page.get_by_text("Settings", exact=True).click()
    says(page, "#fm-run-settings")


def test_cve_2024_26152_a_comparison_is_text(page, server) -> None:
    """CVE-2024-26152, on what a comparison's table says."""
    page.goto(f"{server.url}/?tab=compare")
    says(page, "scores", 2)
    part(page, "row-0").get_by_role("button").click()
    page.wait_for_function("text => document.body.innerText.split(text).length > 3", arg=EVIL)


@pytest.mark.parametrize("field", ["sample", "tab", "view", "concept", "refused", "text", "order"])
def test_cve_2025_25296_the_address_is_text(page, server, field: str) -> None:
    """CVE-2025-25296: what stood in a link was built into the page."""
    evil = quote(EVIL, safe="")
    page.goto(f"{server.url}/?{field}={evil}#{evil}")
    page.wait_for_function("document.querySelector('.fm')?.curate")
    page.goto(f"{server.url}/?{field}=javascript:hit()#javascript:hit()")
    page.wait_for_function("document.querySelector('.fm')?.curate")


def test_the_watch_sees_what_it_is_there_for(browser, server) -> None:  # noqa: F811
    """Were the text ever set as HTML, the tests above would know."""
    page = browser.new_context().new_page()
    page.add_init_script(WATCH)
    page.goto(f"{server.url}/forgetme/static/favicon.png")
    page.evaluate("text => { document.body.innerHTML = text }", EVIL)
    page.wait_for_function("hits.includes('run') && hits.includes('built')")
    page.context.close()
