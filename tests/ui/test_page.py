"""The page's routes over real HTTP: what they answer, and what they refuse."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

import httpx
import numpy as np
import pytest
import uvicorn
from page_server import TruthModels, fill_store
from PIL import Image

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record.images import png_bytes, read_image
from forgetme.store import Store
from forgetme.ui.page import build

ROOT = Path(__file__).parents[2]
API = "/forgetme/api/"
MARK = {"X-ForgetMe": "1"}
NOBODY = "f" * 64


def free_port() -> int:
    """A port that nobody listens on, and that no connection of another process is given meanwhile.

    Those that the system itself gives out (from 32,768 on) may be taken before a server starts.
    """
    while True:
        port = SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


class Page:
    """A running page, its store, and a client that sends what the page's scripts send."""

    def __init__(self, store: Store, worker: Worker, port: int) -> None:
        self.store, self.worker = store, worker
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def get(self, path: str, **more) -> httpx.Response:
        return self.client.get(API + path, **more)

    def post(self, path: str, body=None, **more) -> httpx.Response:
        headers = MARK | more.pop("headers", {})
        return self.client.post(API + path, json={} if body is None else body, headers=headers)

    def ids(self, state: str) -> list[str]:
        return [row.id for row in self.store.samples(state=state, light=True)]

    def prepared(self) -> str:
        """An id of a sample that is ready for a decision."""
        return next(
            row.id
            for row in self.store.samples(state="prepared")
            if row.picked_try is not None and len(row.proposals) > 2
        )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page on eight drawn scenes, all of them prepared."""
    port = free_port()
    with Store(tmp_path_factory.mktemp("page") / "store") as store:
        review = Review(store, TruthModels(fill_store(store, 8)), by="ann")
        worker = Worker(review, ahead=99).start()
        server = uvicorn.Server(
            uvicorn.Config(build(review, worker), port=port, log_level="warning")
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        page = Page(store, worker, port)
        wait_for(lambda: server.started)
        assert worker.wait(120)
        yield page
        server.should_exit = True
        thread.join(10)
        worker.stop(10)


def wait_for(condition, seconds: float = 60) -> None:
    """Waits for a condition that another thread or process makes true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


# ------------------------------ what it shows


def test_page_is_gradio_blocks_with_only_the_tabs_that_exist(page: Page) -> None:
    config = page.client.get("/config").json()
    tabs = [one["props"]["label"] for one in config["components"] if one["type"] == "tabitem"]
    assert tabs == ["Curate", "Dataset", "Train", "Evaluate", "Compare", "Team"]
    assert config["analytics_enabled"] is False


def test_page_needs_no_other_host(page: Page) -> None:
    answer = page.client.get("/")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    for name in ("fonts.googleapis.com", "cdnjs", "cdn.jsdelivr", "unpkg"):
        assert name not in answer.text


def test_queue_lists_samples_in_order_with_counts(page: Page) -> None:
    body = page.get("queue", params={"view": "all", "limit": 3}).json()
    assert [row["name"] for row in body["rows"]] == [
        row.name for row in page.store.samples(limit=3)
    ]
    assert body["total"] == 8 == sum(body["counts"].values())


def test_queue_filters_by_concept_and_state(page: Page) -> None:
    rows = page.get("queue", params={"concept": "cat", "view": "prepared"}).json()["rows"]
    assert rows
    assert {(row["concept"], row["state"]) for row in rows} == {("cat", "prepared")}


def test_detail_has_outlines_inside_the_image_and_words_for_the_scores(page: Page) -> None:
    body = page.get(f"samples/{page.prepared()}").json()
    assert body["mask"]["outline"]
    for ring in body["mask"]["outline"]:
        assert len(ring) % 2 == 0
        assert min(ring) >= 0
        assert max(ring) <= max(body["width"], body["height"])
    assert body["tries"][body["picked_try"]]["scores"]["words"]
    assert body["tries"][0]["outside"]["changed"] == 0
    assert body["proposals"][0]["verdict"]["reason"]


def test_pictures_are_exact(page: Page) -> None:
    row = page.store.sample(page.prepared())
    answer = page.client.get(f"/forgetme/picture/{row.image_sha}.png")
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert np.array_equal(read_image(answer.content), page.store.get_image(row.image_sha))


def test_foreground_is_the_original_cut_by_the_mask(page: Page) -> None:
    row = page.store.sample(page.prepared())
    key = page.get(f"samples/{row.id}").json()["layers"]
    data = page.client.get(f"/forgetme/sample/{row.id}/{key}/foreground.png").content
    cut = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(cut[..., :3], page.store.get_image(row.image_sha))
    assert np.array_equal(cut[..., 3] == 255, page.store.get_mask(row.mask_sha))


def test_layers_of_an_older_mask_are_not_served_under_its_name(page: Page) -> None:
    answer = page.client.get(f"/forgetme/sample/{page.prepared()}/{'0' * 32}/merged.png")
    assert answer.status_code == 404


def test_thumbnails_are_small(page: Page) -> None:
    sha = page.store.sample(page.prepared()).image_sha
    data = page.client.get(f"/forgetme/thumbnail/128/{sha}.png").content
    assert max(Image.open(io.BytesIO(data)).size) == 128


# ------------------------------ what it does


def test_accepting_writes_one_event_and_tells_when(page: Page) -> None:
    sample = page.prepared()
    seen = page.store.sample(sample).version
    answer = page.post(f"samples/{sample}/accept", {"seen": seen}).json()
    assert answer["sample"]["state"] == "accepted" == page.store.sample(sample).state
    assert answer["saved"]
    assert answer["last"][0]["id"] == sample
    assert page.store.sample(sample).decided_by == "ann"
    undone = page.post("undo").json()["sample"]
    assert (undone["id"], undone["state"]) == (sample, "prepared")


def test_a_click_predicts_the_mask_again(page: Page) -> None:
    sample = page.prepared()
    row = page.store.sample(sample)
    ys, xs = np.nonzero(page.store.get_mask(row.mask_sha))
    middle = [float(xs[len(xs) // 2]), float(ys[len(ys) // 2])]
    body = {"seen": row.version, "points": [[*middle, 1]]}
    answer = page.post(f"samples/{sample}/click", body).json()["sample"]
    assert answer["mask"]["edited"]
    assert answer["points"] == [[*middle, 1]]
    undone = page.post(f"samples/{sample}/undo_mask", {"seen": answer["version"]}).json()["sample"]
    assert undone["chosen"] == row.chosen
    page.post(f"samples/{sample}/fill")
    assert page.worker.wait(60)


def test_growing_changes_the_mask_by_pixels(page: Page) -> None:
    sample = page.prepared()
    row = page.store.sample(sample)
    before = page.store.get_mask(row.mask_sha).sum()
    answer = page.post(f"samples/{sample}/grow", {"seen": row.version, "px": 3}).json()["sample"]
    assert page.store.get_mask(page.store.sample(sample).mask_sha).sum() > before
    page.post(f"samples/{sample}/choose", {"seen": answer["version"], "index": row.chosen})
    page.post(f"samples/{sample}/fill")
    assert page.worker.wait(60)


def test_asking_twice_for_a_fill_makes_one_try(page: Page) -> None:
    sample = page.prepared()
    row = page.store.sample(sample)
    page.post(f"samples/{sample}/choose", {"seen": row.version, "index": 1})
    for _ in range(3):
        assert page.post(f"samples/{sample}/fill").status_code == 202
    assert page.worker.wait(60)
    page.post(f"samples/{sample}/fill")
    assert page.worker.wait(60)
    assert len(page.store.sample(sample).tries) == 1


def test_refining_adds_a_try_that_can_be_picked(page: Page) -> None:
    sample = page.prepared()
    form = {"prompt": "soft snow", "steps": 5, "seed": 3, "strength": 0.9}
    assert page.post(f"samples/{sample}/refine", form).status_code == 202
    assert page.worker.wait(60)
    body = page.get(f"samples/{sample}").json()
    assert len(body["tries"]) == 2
    assert body["tries"][1]["settings"]["prompt"] == "soft snow"
    k = 1 - body["picked_try"]
    picked = page.post(f"samples/{sample}/pick_try", {"seen": body["version"], "k": k}).json()
    assert picked["sample"]["picked_try"] == k


def test_a_fill_that_came_meanwhile_is_no_conflict_for_an_edit(page: Page) -> None:
    sample = page.prepared()
    seen = page.store.sample(sample).version
    page.post(f"samples/{sample}/refine", {"prompt": "grass"})
    assert page.worker.wait(60)
    assert page.store.sample(sample).version > seen
    assert page.post(f"samples/{sample}/pick_try", {"seen": seen, "k": 0}).status_code == 200


def test_a_fill_that_came_meanwhile_stops_an_accept(page: Page) -> None:
    sample = page.prepared()
    seen = page.store.sample(sample).version
    page.post(f"samples/{sample}/refine", {"prompt": "grass"})
    assert page.worker.wait(60)
    answer = page.post(f"samples/{sample}/accept", {"seen": seen})
    assert answer.status_code == 409
    assert "new background" in answer.json()["words"]


def test_a_stale_write_is_refused_with_both_versions_shown(page: Page) -> None:
    sample = page.prepared()
    seen = page.store.sample(sample).version
    page.store.append(sample, "commented", {"text": "hm"}, by="bob", expected_version=seen)
    answer = page.post(f"samples/{sample}/reject", {"seen": seen})
    assert answer.status_code == 409
    body = answer.json()
    assert body["error"] == "stale"
    assert body["mine"] == seen
    assert body["sample"]["version"] == seen + 1
    assert page.store.sample(sample).state == "prepared"


def test_a_version_that_never_was_is_refused(page: Page) -> None:
    sample = page.prepared()
    before = page.store.sample(sample).version
    assert page.post(f"samples/{sample}/grow", {"seen": before + 5, "px": 1}).status_code == 409
    assert page.store.sample(sample).version == before


def test_dropped_images_are_taken_in_once(page: Page) -> None:
    data = png_bytes(np.random.default_rng(1).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    for _ in range(2):
        answer = upload(page, data, name="../../etc/beach.png", concept="cat")
        assert answer.status_code == 200
    rows = [row for row in page.store.samples() if "beach" in row.name and row.width == 50]
    assert len(rows) == 1
    assert "/" not in rows[0].name


def upload(page: Page, data: bytes, *, headers=MARK, **query) -> httpx.Response:
    return page.client.post(API + "images", params=query, content=data, headers=headers)


# ------------------------------ what it refuses


def test_an_unknown_picture_is_not_found_in_words(page: Page) -> None:
    answer = page.client.get(f"/forgetme/picture/{NOBODY}.png")
    assert answer.status_code == 404
    assert answer.json()["words"]


@pytest.mark.parametrize("sample", ["nope", "0" * 15, "0" * 17, "..", "0" * 15 + "G"])
def test_bad_ids_are_refused(page: Page, sample: str) -> None:
    assert page.get(f"samples/{sample}").status_code in (404, 422)
    assert page.post(f"samples/{sample}/accept").status_code in (404, 405, 422)


def test_an_id_that_is_not_there_is_not_found(page: Page) -> None:
    assert page.get(f"samples/{'0' * 16}").status_code == 404


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("choose", {"index": -1}),
        ("choose", {"index": "0"}),
        ("choose", {}),
        ("choose", {"index": 10**9}),
        ("click", {"points": []}),
        ("click", {"points": [[1, 2]]}),
        ("click", {"points": [["a", 2, 1]]}),
        ("click", {"points": [[1, 2, 1]] * 101}),
        ("click", {"points": [[-5, 2, 1]]}),
        ("click", {"points": [[1, 2, 7]]}),
        ("grow", {"px": 10**6}),
        ("grow", {"px": 1.5}),
        ("refine", {"prompt": "x" * 501}),
        ("refine", {"steps": 10**6}),
        ("refine", {"strength": 0}),
        ("accept", {"seen": "1"}),
        ("accept", {"seen": 1, "by": "bob"}),
        ("accept", [1]),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(page: Page, act: str, body) -> None:
    sample = page.prepared()
    before = page.store.sample(sample).version
    answer = page.post(f"samples/{sample}/{act}", body)
    assert answer.status_code in (400, 422)
    assert answer.json()["words"]
    assert page.store.sample(sample).version == before


def test_nan_points_and_bad_json_are_refused(page: Page) -> None:
    url = f"{API}samples/{page.prepared()}/click"
    for text in ('{"points": [[NaN, 1, 1]]}', '{"points": [[Infinity, 1, 1]]}', "{", "null"):
        headers = MARK | {"Content-Type": "application/json"}
        assert page.client.post(url, content=text, headers=headers).status_code in (400, 422)


@pytest.mark.parametrize("concept", ["", " ", "a\nb", "x" * 200])
def test_a_concept_must_be_a_name(page: Page, concept: str) -> None:
    data = png_bytes(np.zeros((32, 32, 3), np.uint8))
    assert upload(page, data, name="a.png", concept=concept).status_code in (400, 422)


@pytest.mark.parametrize("concept", ['a "cat"', "🐈", "../cat", "<cat>"])
def test_an_odd_concept_is_just_a_name(page: Page, concept: str) -> None:
    seed = len(concept)
    image = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    answer = upload(page, png_bytes(image), name="odd.png", concept=concept)
    assert answer.json()["sample"]["concept"] == concept
    assert page.get("queue", params={"concept": concept, "view": "all"}).json()["total"] == 1


# ------------------------------ app.py itself


def app(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments", [["--images", "."], ["--concept", "cat"], ["--images", "/nope", "--concept", "x"]]
)
def test_unusable_arguments_are_refused_in_words(arguments: list[str]) -> None:
    ended = app(*arguments)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_app_serves_a_folder_and_keeps_a_broken_file_as_a_row(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "good.png").write_bytes(png_bytes(np.full((40, 40, 3), 90, np.uint8)))
    (images / "bad.jpg").write_bytes(b"not a picture")
    port = free_port()
    command = [sys.executable, "app.py", "--store", str(tmp_path / "s"), "--port", str(port)]
    command += ["--images", str(images), "--concept", "cat"]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: sum(counts(port).values()) == 2, 180)
        assert counts(port)["broken"] == 1
    finally:
        running.terminate()
        assert running.wait(60) == 0
    assert "Traceback" not in running.stderr.read()


def test_a_space_where_nobody_can_sign_in_shows_the_samples_and_no_other_store(tmp_path: Path):
    with Store(tmp_path / "private") as store:
        grey = np.full((40, 40, 3), 90, np.uint8)
        store.import_image(grey, name="private", concept="secret", by="ann")
    port = free_port()
    command = [sys.executable, "app.py", "--store", str(tmp_path / "private"), "--port", str(port)]
    space = {**os.environ, "SPACE_ID": "team/demo"}
    running = subprocess.Popen(command, cwd=ROOT, env=space, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: sum(counts(port).values()) > 3, 180)
        shown = httpx.get(f"http://127.0.0.1:{port}{API}queue", params={"view": "all"}).json()
        samples = {folder.name for folder in (ROOT / "assets" / "samples").iterdir()}
        assert shown["concepts"]
        assert set(shown["concepts"]) <= samples
    finally:
        running.terminate()
        assert running.wait(60) == 0
    said = running.stderr.read()
    assert "a demo to look at" in said
    assert "hf_oauth: true" in said


def counts(port: int) -> dict[str, int]:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{API}session").json()["counts"]
    except httpx.HTTPError:
        return {}
