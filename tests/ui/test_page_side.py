"""The side story on the page: its routes, what they refuse, and dragging in a real browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from page_server import TruthModels, fill_store
from PIL import Image
from small_store import hold, leave
from test_page_browser import SLOW_MS, Server, browser, name_of, part, ready
from test_page_fills import API, MARK, Client, still

from forgetme.curate import side_story
from forgetme.curate.review import Review
from forgetme.record import masks
from forgetme.record.images import png_bytes
from forgetme.store import Store

__all__ = ["browser", "still"]  # fixtures


@pytest.fixture
def review(store) -> Review:
    """Three prepared samples."""
    review = Review(store, TruthModels(fill_store(store, 3, wrong_every=99)), by="ann")
    for row in store.samples():
        review.prepare(row.id)
    return review


@pytest.fixture
def rows(review):
    return review.store.samples()


def upload(client: Client, data: bytes, name: str = "wall.png", **headers: str):
    return client.http.post(
        API + "side/uploads", params={"name": name}, content=data, headers=MARK | headers
    )


def picture_of(data_url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2])))


# ---------------------------------------------------------------- routes


def test_it_begins_with_the_box_and_the_own_background(still):
    row = still.review.store.samples()[0]
    found = still.get(f"side/{row.id}").json()
    box = found["box"]
    expected = masks.box_xywh(still.review.store.get_mask(row.mask_sha))
    assert (box["x"], box["y"], box["width"], box["height"]) == expected
    assert found["own"]["sha"] == row.tries[0]["image_sha"]


def test_backdrops_are_listed(still):
    found = still.get("side/backdrops").json()
    assert [one["id"] for one in found["rows"]] == [row.id for row in still.review.store.samples()]
    assert found["more"] is None


def test_a_preview_is_a_picture_with_its_seam_and_changes_nothing(still):
    store = still.review.store
    first, second = store.samples()[:2]
    before = len(store.events())
    body = {"behind": {"source": "sample", "name": second.id}, "x": 5, "scale": 0.5}
    found = still.post(f"side/{first.id}/preview", body).json()
    assert picture_of(found["picture"]).size == picture_of(found["seam"]).size == (256, 256)
    assert 0 <= found["score"] <= 1
    assert found["words"]
    assert len(store.events()) == before


def test_saving_makes_a_sample_with_its_lineage(review, rows):
    body = {"behind": {"source": "sample", "name": rows[1].id}, "x": 5, "method": "poisson"}
    answer = Client(review).post(f"side/{rows[0].id}/save", body).json()
    made = review.store.sample(answer["sample"]["id"])
    assert answer["sample"]["lineage"]["foreground"] == rows[0].id
    assert made.lineage["background"] == rows[1].id
    assert made.lineage["place"]["method"] == "poisson"
    assert made.state == "prepared"
    assert review.store.sample(rows[0].id).version == rows[0].version


def test_what_somebody_else_works_on_may_be_placed_but_is_not_changed(review, rows):
    store, client = review.store, Client(review)
    assert hold(store, rows[0].id, "ben")
    body = {"behind": {"source": "sample", "name": rows[1].id}, "x": 5}
    behind = side_story.backdrop(store, rows[0], "sample", rows[1].id)
    picture = side_story.compose(store, rows[0], behind, side_story.Place(x=5)).image
    there = store.import_image(picture, name="his", concept=rows[0].concept, by="ben")
    assert hold(store, there.id, "ben")
    before = store.events()
    refused = client.post(f"side/{rows[0].id}/save", body)
    assert (refused.status_code, refused.json()["error"]) == (409, "held")
    assert "ben" in refused.json()["words"]
    assert store.events() == before
    leave(store, there.id, "ben")
    assert client.post(f"side/{rows[0].id}/save", body).status_code == 200
    assert store.sample(there.id).state == "prepared"
    assert store.sample(rows[0].id) == rows[0], "only read, though ben has it open"


def test_an_upload_becomes_a_background(review, rows, picture):
    client = Client(review)
    kept = upload(client, png_bytes(picture)).json()
    assert (kept["width"], kept["height"]) == (96, 64)
    body = {"behind": {"source": "uploaded", "name": kept["sha"]}}
    made = client.post(f"side/{rows[0].id}/save", body).json()["sample"]
    assert made["lineage"]["background"] == "uploaded"
    assert (made["width"], made["height"]) == (96, 64)


@pytest.mark.parametrize(
    "body",
    [
        {"scale": 0},
        {"scale": 1e9},
        {"scale": "1"},
        {"x": 10**9},
        {"x": 1.5},
        {"feather_px": -1},
        {"feather_px": 10_000},
        {"method": "magic"},
        {"behind": {"source": "disk", "name": "/etc/passwd"}},
        {"behind": {"source": "uploaded", "name": "../../etc/passwd"}},
        {"behind": {"source": "uploaded"}},
        {"behind": {"source": "uploaded", "name": "0" * 64}},
        {"behind": {"source": "sample", "name": "0" * 16}},
        {"x": 40_000},
        {"more": 1},
    ],
)
@pytest.mark.parametrize("what", ["preview", "save"])
def test_a_place_that_makes_no_sense_is_refused(still, body, what):
    row, *others = still.review.store.samples()
    answer = still.post(f"side/{row.id}/{what}", body)
    assert answer.status_code in (400, 422)
    assert answer.json()["words"]
    assert len(still.review.store.samples()) == 1 + len(others) == 4


def test_roles_hold_for_raw_requests(review, rows, picture):
    for role in ("viewer", "curator"):
        review.store.people.add(role, role, "correct horse")
    body = {"behind": {"source": "sample", "name": rows[1].id}}
    save, preview = (f"side/{rows[0].id}/{what}" for what in ("save", "preview"))
    stranger = Client(review)
    looking = Client(review, "viewer", of=stranger)
    assert looking.post(preview, body).status_code == 200
    assert looking.post(save, body).status_code == 403
    assert upload(looking, png_bytes(picture)).status_code == 403
    assert stranger.post(preview, body).status_code == 401
    assert stranger.get("side/backdrops").status_code == 401
    assert upload(stranger, png_bytes(picture)).status_code == 401
    assert len(review.store.samples()) == 3
    made = Client(review, "curator", of=stranger).post(save, body).json()["sample"]["id"]
    assert {event.by for event in review.store.events(made)} == {"curator"}


def test_a_foreground_that_somebody_holds_can_be_used_all_the_same(review, rows):
    review.store.people.add("ben", "curator", "correct horse")
    hold(review.store, rows[0].id, "ann")
    body = {"behind": {"source": "sample", "name": rows[1].id}}
    assert Client(review, "ben").post(f"side/{rows[0].id}/save", body).status_code == 200


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("side") / "store", 6)
    yield server
    server.kill()


@pytest.fixture
def page(browser, server: Server) -> Iterator:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    ready(page)
    yield page
    context.close()
    assert errors == []


def merged(page) -> None:
    """Waits until the server's merge of this place is shown."""
    page.wait_for_selector("[data-test='side-save']:not([disabled])")
    assert part(page, "side-made").is_visible()


@pytest.mark.browser
def test_dragging_the_object_to_another_background_and_saving_it(page, server: Server) -> None:
    name = name_of(page)
    rows = server.rows()
    other = next(row for row in rows.values() if row.picked_try is not None and row.name != name)
    part(page, "place").click()
    merged(page)
    part(page, f"behind-{other.id}").click()
    page.wait_for_selector("[data-test='side-save'][disabled]")
    merged(page)

    box = part(page, "side-stage").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - box["width"] / 8, middle[1], steps=4)
    assert not part(page, "side-made").is_visible()  # the merge of another place
    page.mouse.up()
    part(page, "side-stage").focus()
    page.keyboard.press("Shift+ArrowUp")
    merged(page)
    assert not part(page, "side-rim").is_visible()
    part(page, "side-seam").check()
    assert part(page, "side-rim").is_visible()

    part(page, "side-save").click()
    page.wait_for_function(
        "name => document.querySelector(\"[data-test='name']\").textContent !== name", arg=name
    )
    made = server.rows()[name_of(page)]
    words = part(page, "try-1").get_attribute("title")
    assert "The object was put on this background" in words
    assert "Nobody looked" not in words
    assert "not asked" not in page.locator(".fm-inspector").inner_text()
    assert "merged from two pictures" in page.locator(".fm-inspector").inner_text()
    assert made.lineage["background"] == other.id
    assert made.lineage["place"]["x"] == -256 // 8
    assert made.lineage["place"]["y"] == -10
    with Store(server.store) as store:
        before = masks.box_xywh(store.get_mask(rows[name].mask_sha))
        after = masks.box_xywh(store.get_mask(made.mask_sha))
    assert after[:2] == (max(0, before[0] - 32), before[1] - 10)


@pytest.mark.browser
def test_the_sprite_lies_where_the_server_puts_the_object(page, server: Server, tmp_path) -> None:
    wide = np.full((120, 400, 3), (90, 120, 90), np.uint8)
    (tmp_path / "wide.png").write_bytes(png_bytes(wide))
    part(page, "place").click()
    merged(page)
    part(page, "side-file").set_input_files(str(tmp_path / "wide.png"))
    page.wait_for_selector("[data-test='behind-uploaded'][aria-checked='true']")
    part(page, "side-stage").focus()
    page.keyboard.press("-")
    place = page.evaluate("document.querySelector('.fm').curate.side.stage.place")
    merged(page)
    shown = page.evaluate(
        """() => {
          const { stage } = document.querySelector(".fm").curate.side;
          const style = stage.sprite.style;
          return ["left", "top", "width"].map((one) => parseFloat(style[one]) / stage.zoom);
        }"""
    )
    row = server.rows()[name_of(page)]
    with Store(server.store) as store:
        mask = store.get_mask(row.mask_sha)
    x, y, width, height = masks.box_xywh(mask)
    fit = 120 / row.height
    factor = fit * place["scale"]
    middle = (
        (x + width / 2 - row.width / 2) * fit + 200,
        (y + height / 2 - row.height / 2) * fit + 60,
    )
    assert shown[2] == pytest.approx(row.width * factor, abs=0.5)
    assert shown[0] == pytest.approx(middle[0] - (x + width / 2) * factor, abs=0.5)
    assert shown[1] == pytest.approx(middle[1] - (y + height / 2) * factor, abs=0.5)
