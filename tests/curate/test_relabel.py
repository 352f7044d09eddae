"""Another concept for a sample, and its deletion: events like all else, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from small_store import accept, add, hold, prepare, square
from starlette.testclient import TestClient

from forgetme.curate.batch import check_concept
from forgetme.curate.review import Review
from forgetme.curate.team.conflict import changes
from forgetme.curate.worker import Worker
from forgetme.errors import ForgetmeError
from forgetme.record.strokes import Stroke
from forgetme.ui.page import build


@pytest.fixture
def review(store, truth):
    return Review(store, truth.models, by="ann")


def test_another_concept_is_looked_for_anew_and_what_a_hand_drew_stays(review):
    store = review.store
    found, drawn = prepare(store, add(store, 1)), prepare(store, add(store, 2))
    drawn = review.paint(drawn.id, [Stroke("add", 1, ((18, 16),))])
    one, two = (review.relabel(row.id, " dog ") for row in (found, drawn))
    assert (one.concept, one.state, one.proposals, one.mask_sha) == ("dog", "new", [], None)
    assert (two.concept, two.state, two.mask_sha) == ("dog", "prepared", drawn.mask_sha)
    assert review.can_undo_mask(two) == (False, False)  # no way to the cards of the other concept
    assert store.concepts() == ["dog"]
    assert store.check() == []
    assert changes(store, two.id, drawn.version)[0].words == "changed the concept to dog"
    assert review.relabel(two.id, "dog").version == two.version


def test_an_image_is_in_a_concept_once_and_its_old_place_is_free_again(review):
    store = review.store
    cat, dog = add(store, 1), add(store, 1, concept="dog")
    with pytest.raises(ForgetmeError, match="dog has this image already, as beach_1"):
        review.relabel(cat.id, "dog")
    bird = review.relabel(cat.id, "bird")
    again = add(store, 1)
    assert again.concept == "cat"
    assert len({bird.id, dog.id, again.id}) == 3
    assert store.rebuild() == 3
    assert review.relabel(add(store, 2, name="beach_1").id, "dog").name == "beach_1-2"


def test_a_deleted_sample_is_nowhere_until_undo_brings_it_back(review):
    store = review.store
    row = accept(store, add(store, 1))
    review.delete(row.id)
    assert (store.table1(), store.concepts()) == ([], [])
    assert add(store, 1).state == "deleted"  # a batch does not bring it back
    back = review.undo()
    assert (back.state, back.tries, back.decided_by) == ("accepted", row.tries, row.decided_by)
    assert store.table1()[0].images == 1
    assert np.array_equal(store.get_mask(back.mask_sha), square())


def test_several_are_changed_at_once_and_one_that_cannot_be_stops_no_other(review):
    store = review.store
    rows = [add(store, seed) for seed in range(3)]
    add(store, 1, concept="dog")
    hold(store, rows[2].id, "bob")
    client = TestClient(build(review, Worker(review)), base_url="http://127.0.0.1")

    def post(path, **body):
        return client.post(f"/forgetme/api/{path}", json=body, headers={"X-ForgetMe": "1"})

    ids = [row.id for row in rows]
    answer = post("several", ids=ids, act="relabel", concept="dog").json()
    assert answer["done"] == ids[:1]
    assert [one["id"] for one in answer["refused"]] == [ids[2], ids[1]]
    assert post("several", ids=ids[:2], act="delete").json()["done"] == ids[:2]
    queue = client.get("/forgetme/api/queue", params={"view": "all"}).json()
    assert [one["id"] for one in queue["rows"]] == [ids[2], store.samples()[3].id]
    assert post("several", ids=ids, act="accept").status_code == 422
    assert post("several", ids=ids, act="relabel").status_code == 400
    one = post(f"samples/{ids[0]}/relabel", concept="cat, dog")
    assert (one.status_code, "one concept at a time" in one.json()["words"]) == (400, True)
    assert post("undo", sample_id=ids[0]).json()["sample"]["state"] == "new"


@pytest.mark.parametrize("concept", ["cat, dog", "cat;dog", "cat|dog"])
def test_two_concepts_are_refused_with_what_to_do(concept, store, tmp_path):
    from forgetme.dataset import import_dataset
    from forgetme.train.form import settings_for

    for border in (
        check_concept,
        lambda one: settings_for("esd", one, "tiny", {}, {}, None),
        lambda one: import_dataset(store, tmp_path, concept=one),
    ):
        with pytest.raises(ForgetmeError, match="one concept at a time"):
            border(concept)
