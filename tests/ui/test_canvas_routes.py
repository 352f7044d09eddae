"""The drawing routes over HTTP: what they take, and what they refuse without changing anything."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record import masks
from forgetme.record.images import read_image
from forgetme.record.strokes import Stroke, fill_polygon, paint
from forgetme.ui.page import build

MARK = {"X-ForgetMe": "1"}


@pytest.fixture
def sample(store, truth, drawn):
    """A prepared sample's review, id, and a function that posts one of its acts."""
    path = min((drawn / "original").iterdir())
    row = store.import_image(read_image(path), name=path.stem, concept="cat", by="ann")
    review = Review(store, truth.models, by="ann")
    review.prepare(row.id)
    client = TestClient(build(review, Worker(review)), base_url="http://127.0.0.1")

    def post(name, body, headers=MARK):
        address = f"/forgetme/api/samples/{row.id}/{name}"
        return client.post(address, json=body, headers=headers)

    return review, row.id, post


def test_every_drawing_route_makes_the_mask_that_the_library_makes(sample):
    review, sample_id, post = sample
    mask = review.mask(review.store.sample(sample_id))
    corners = [[2, 2], [30.5, 2], [30, 30]]
    mended = paint(mask, [Stroke("add", 2.5, ((4, 4), (20, 9)))])
    cut = fill_polygon(mended, corners, "erase")
    soft = masks.smooth(cut, 1.5)
    stroke = {"mode": "add", "radius": 2.5, "points": [[4, 4], [20, 9]]}
    for name, body, expected in (
        ("paint", {"strokes": [stroke]}, mended),
        ("polygon", {"points": corners, "mode": "erase"}, cut),
        ("smooth", {"sigma": 1.5}, soft),
        ("largest", {}, masks.largest_part(soft)),
    ):  # fmt: skip
        answer = post(name, body)
        assert answer.status_code == 200, answer.text
        assert np.array_equal(review.mask(review.store.sample(sample_id)), expected), name
    assert answer.json()["sample"]["mask"]["outline"]
    assert answer.json()["saved"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("paint", {"strokes": []}),
        ("paint", {"strokes": [{"mode": "burn", "radius": 2, "points": [[1, 1]]}]}),
        ("paint", {"strokes": [{"mode": "add", "radius": 1e6, "points": [[1, 1]]}]}),
        ("paint", {"strokes": [{"mode": "add", "radius": 2, "points": [[1, 1e9]]}]}),
        ("paint", {"strokes": [{"mode": "add", "radius": 2, "points": [["1", "1"]]}]}),
        ("paint", {"strokes": [{"mode": "add", "radius": 2, "points": [[1, 1]] * 12_000}] * 2}),
        ("polygon", {"points": [[1, 1], [2, 2]]}),
        ("polygon", {"points": [[1, 1], [2, 2], [3]]}),
        ("box", {"box": [1, 2, 3]}),
        ("smooth", {"sigma": 0}),
        ("smooth", {"sigma": 1e9}),
        ("largest", {"path": "/etc/passwd"}),
    ],
)
def test_impossible_arguments_are_refused_in_words_and_change_nothing(sample, name, body):
    review, sample_id, post = sample
    version = review.store.sample(sample_id).version
    answer = post(name, body)
    assert answer.status_code == 422
    assert answer.json()["words"]
    assert review.store.sample(sample_id).version == version


def test_an_act_opens_the_store_to_read_to_write_and_to_show(sample):
    review, sample_id, post = sample
    places = np.argwhere(review.mask(review.store.sample(sample_id)))
    y, x = places[len(places) // 2]
    opened = []
    event.listen(review.store._database.engine, "begin", opened.append)
    square = [[2, 2], [30.5, 2], [30, 30]]
    acts = [
        ("polygon", {"points": square}),
        ("click", {"points": [[int(x), int(y), 1]]}),
        ("choose", {"index": 0}),
        ("accept", {}),
        ("comment", {"text": "a fine one"}),
    ]
    for name, body in acts:
        opened.clear()
        before = review.store.sample(sample_id).version
        opened.clear()
        answer = post(name, body)
        assert (answer.status_code, len(opened)) == (200, 3), (name, len(opened), answer.text[:300])
        shown = answer.json()["sample"]
        assert shown["version"] == review.store.sample(sample_id).version == before + 1
    opened.clear()
    assert post("accept", {"seen": 1}).status_code == 409
    assert len(opened) <= 3


def test_a_request_of_another_page_draws_nothing(sample):
    review, sample_id, post = sample
    version = review.store.sample(sample_id).version
    for name in ("paint", "polygon", "box", "smooth", "largest"):
        assert post(name, {}, headers={}).status_code == 403
    assert review.store.sample(sample_id).version == version
