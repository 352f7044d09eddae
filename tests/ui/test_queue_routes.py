"""The queue's routes: what they answer to any filter, saved views, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from page_server import TruthModels, TruthRanker, fill_store
from small_store import accept, add, hold, picture, proposal, step

from forgetme.curate.review import Review
from forgetme.store import Store
from forgetme.ui import queue
from forgetme.ui.who import viewer


@pytest.fixture
def page(tmp_path) -> Iterator:
    """The routes of the queue for Ann, with a store of seven samples."""
    with Store(tmp_path / "store") as store:
        for seed, score in enumerate((0.9, 0.5, 0.2)):
            other = proposal(12) | {"score": 0.1, "box_xywh": [5, 14, 6, 4]}
            found = {"proposals": [proposal() | {"score": score}, other], "chosen": 0}
            step(store, add(store, seed, name=f"cat_{seed}"), "proposed", found)
        accept(store, add(store, 3, name="done"))
        step(store, add(store, 4, name="bens"), "rejected", by="ben")
        add(store, 5, name="dog_0", concept="dog")
        store.import_broken(name="torn", concept="cat", by="policy", error="truncated")
        app = FastAPI()
        app.include_router(queue.router(), prefix="/forgetme")
        review = Review(store, models=None, by="ann")
        app.dependency_overrides[viewer] = lambda: review
        client = TestClient(app)

        def get(query: str = "", **more):
            return client.get(f"/forgetme/api/queue?{query}", **more)

        yield SimpleNamespace(store=store, get=get, client=client, app=app)


def names(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["rows"]]


def test_queue_route_shows_what_is_to_review_and_counts_the_rest(page):
    answer = page.get()
    assert names(answer) == ["cat_0", "cat_1", "cat_2", "dog_0", "torn"]
    body = answer.json()
    assert (body["total"], body["hidden"], body["more"]) == (5, 0, False)
    assert (body["counts"]["accepted"], body["concepts"]) == (1, ["cat", "dog"])
    assert (body["curators"], body["by"], len(body["times"])) == (["ann", "ben"], "ann", 1)


@pytest.mark.parametrize(
    ("query", "wanted", "hidden"),
    [
        ("concept=dog", ["dog_0"], 4),
        ("view=decided", ["done", "bens"], 5),
        ("view=all&curator=ben", ["bens"], 5),
        ("view=all&how=human&curator=ann", ["done"], 5),
        ("view=broken", ["torn"], 4),
        ("verdict=yes", ["cat_0", "cat_1", "cat_2"], 2),
        ("verdict=none", ["dog_0", "torn"], 3),
        ("clip=0.4..", ["cat_0", "cat_1"], 3),
        ("clip=0.3..0.6", ["cat_1"], 4),
        ("margin=...2", ["cat_2"], 4),
        ("text=CAT", ["cat_0", "cat_1", "cat_2"], 2),
        ("view=all&low=no", ["done"], 5),
        ("view=all&d=0.4..0.6&s=0.7..", ["done"], 5),
        ("order=margin&verdict=yes", ["cat_2", "cat_1", "cat_0"], 2),
        ("order=-disagreement&verdict=yes", ["cat_2", "cat_1", "cat_0"], 2),
        ("view=all", ["cat_0", "cat_1", "cat_2", "done", "bens", "dog_0", "torn"], 0),
    ],
)
def test_queue_route_filters_sorts_and_says_how_many_it_hides(page, query, wanted, hidden):
    answer = page.get(query)
    assert names(answer) == wanted
    assert (answer.json()["total"], answer.json()["hidden"]) == (len(wanted), hidden)


def test_queue_route_pages_follow_each_other_in_any_order(page):
    for order in ("import", "-import", "name", "-margin", "decided", "updated"):
        whole = names(page.get(f"view=all&order={order}"))
        found, after, more = [], "", True
        while more:
            answer = page.client.get(
                "/forgetme/api/queue",
                params={"view": "all", "order": order, "limit": 3, "after": after},
            )
            found += names(answer)
            after, more = answer.json()["after"], answer.json()["more"]
        assert found == whole, order


def test_queue_route_tells_who_holds_a_sample(page):
    row = page.store.samples(limit=1)[0]
    hold(page.store, row.id, "ben")
    assert [one["held_by"] for one in page.get("held=held").json()["rows"]] == ["ben"]
    assert page.get("held=free").json()["total"] == 4


def test_queue_route_never_offers_another_copy_of_what_one_decided(page):
    first = next(row for row in page.store.samples() if row.name == "done")
    known = {"name": "copy", "concept": "cat", "by": "lea", "twin_of": first.id}
    page.store.import_image(picture(3), **known)
    assert "copy" not in names(page.get())
    assert page.get().json()["hidden"] == 0
    assert "copy" in names(page.get("view=all"))


@pytest.mark.parametrize(
    "query",
    [
        "view=mine", "order=size", "order=--d", "verdict=maybe", "low=perhaps", "clip=0.5", "d=..",
        "d=0.9..0.1", "d=a..b", "d=-1..2", "held=ann", "limit=0", "limit=501", "limit=many",
        "unknown=1", "after=no", "after=[1]", "after=[0.5,-1]", "after=[[],1]", "after=[true,1]",
        f"after=[{10**30},1]", "order=d&after=[\"x\",1]", "order=name&after=[1,1]",
        f"text={'x' * 201}", f"concept={'x' * 201}", f"curator={'x' * 201}",
    ],
)  # fmt: skip
def test_queue_route_refuses_what_it_does_not_understand(page, query):
    assert page.get(query).status_code == 422


@pytest.mark.parametrize("text", ["%00", "%ED%A0%80", "'; DROP TABLE sample;--", "%25", "_"])
def test_queue_route_takes_any_text_as_text(page, text):
    for name in ("text", "concept", "curator"):
        wanted = ["cat_0", "cat_1", "cat_2", "dog_0"] if (name, text) == ("text", "_") else []
        assert names(page.get(f"{name}={text}")) == wanted
    after = page.client.get(
        "/forgetme/api/queue", params={"order": "name", "after": '["\\u0000",1]'}
    )
    assert len(names(after)) == 5


def test_saved_views_are_kept_replaced_and_forgotten(page):
    def save(name: str, asked: dict | None) -> list[dict]:
        answer = page.client.post("/forgetme/api/queue/views", json={"name": name, "asked": asked})
        assert answer.status_code == 200, answer.text
        return answer.json()["views"]

    save("unsure", {"margin": "..0.1", "order": "margin", "view": "review"})
    views = save("Low cats", {"concept": "cat", "low": "yes"})
    assert views == [
        {"name": "Low cats", "asked": {"concept": "cat", "low": "yes"}},
        {"name": "unsure", "asked": {"margin": "..0.1", "order": "margin"}},
    ]
    assert page.client.get("/forgetme/api/queue/views").json()["views"] == views
    assert save("Low cats", {"low": "yes"})[0]["asked"] == {"low": "yes"}
    assert [one["name"] for one in save("Low cats", None)] == ["unsure"]
    assert page.store.people.preference("ben", queue.PREFERENCE) is None


def test_saved_views_are_refused_when_they_are_none_or_too_many(page):
    for wrong in (
        {"name": "", "asked": {}}, {"name": "x" * 41, "asked": {}}, {"name": "x"} | {"more": 1},
        {"name": "x", "asked": {"view": "mine"}}, {"name": "x", "asked": {"script": "1"}},
    ):  # fmt: skip
        answer = page.client.post("/forgetme/api/queue/views", json=wrong)
        assert answer.status_code == 422
    for number in range(queue.MAX_VIEWS):
        queue.save_view(page.store, "ann", f"v{number}", queue.Asked())
    with pytest.raises(queue.ForgetmeError, match="At most 30"):
        queue.save_view(page.store, "ann", "one more", queue.Asked())
    assert len(queue.save_view(page.store, "ann", "v0", queue.Asked(low="no"))) == 30


def test_saved_view_of_another_version_is_left_out(page):
    page.store.people.set_preference(
        "ann", queue.PREFERENCE, [{"name": "old", "asked": {"gone": 1}}, {"name": "x"}, 7]
    )
    assert queue.saved_views(page.store, "ann") == []


def test_preparing_a_sample_tells_how_new_its_image_is(tmp_path):
    class Ranker(TruthRanker):
        def embed_images(self, images):
            return np.stack([image.mean((0, 1)) for image in images])

    with Store(tmp_path) as store:
        models = TruthModels(fill_store(store, 5, wrong_every=99))
        plain = Review(store, models, by="ann")
        first, *_, last = (row.id for row in store.samples())
        assert plain.prepare(first).novelty is None
        models.ranker = Ranker(models.truth)
        assert plain.prepare(last).novelty == 1.0
        row = store.samples()[1]
        assert 0 <= plain.prepare(row.id).novelty <= 1
        assert store.check() == []
