"""Preparing ahead: in the order of what curators see, without them, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forgetme.curate import prepare_ahead
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record.images import read_image
from forgetme.stages.models import load_models
from forgetme.store import Store, process


class Told:
    """Hears what the work says; asks it to stop at a condition."""

    def __init__(self, enough: Callable[[], bool]) -> None:
        self.enough = enough
        self.subjects: list[str] = []
        self.words: list[str] = []

    @property
    def should_stop(self) -> bool:
        return self.enough()

    def step(self, done: int, total: int | None = None, words: str = "", *, subject=None) -> None:
        self.words.append(words)
        if subject:
            self.subjects.append(subject)

    def pause(self, seconds: float) -> None:
        """Goes on at once."""


class Elsewhere:
    """Another process at work on one sample."""

    def __init__(self, sample_id: str) -> None:
        self.sample_id = sample_id

    def working_on(self) -> str:
        return self.sample_id


@pytest.fixture
def rows(store: Store, drawn: Path) -> list:
    """Samples of the drawn scenes, not prepared."""
    return [
        store.import_image(read_image(path), name=path.stem, concept="cat", by="test")
        for path in sorted((drawn / "original").iterdir())
    ]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, truth) -> list[str]:
    """Lets `prepare_ahead` use models that know the truth; notes which images it embeds."""
    embedded: list[str] = []
    truth.truth.embed = lambda image: embedded.append(image.tobytes())
    monkeypatch.setattr(prepare_ahead, "load_models", lambda *_, **__: truth.models)
    return embedded


def ready(store: Store) -> int:
    counts = store.counts()
    return counts["prepared"] + counts["waiting"]


def test_ahead_prepares_fills_and_scores_until_enough_are_ready(store, rows, here):
    job = Told(lambda: "all is ready" in job.words)
    report = prepare_ahead.prepare_ahead(store, job, ready=3)
    assert report == {"prepared": 3, "failed": 0}
    assert [store.sample(row.id).state for row in rows] == ["prepared"] * 3 + ["new"]
    done = store.sample(rows[0].id)
    assert done.score_d is not None
    assert done.picked_try == 0
    assert {event.by for event in store.events(done.id)[1:]} == {prepare_ahead.MACHINE}


def test_ahead_follows_the_curator(store, rows, here):
    store.queue.want([rows[3].id, rows[2].id])
    job = Told(lambda: ready(store) == 3)
    prepare_ahead.prepare_ahead(store, job, ready=4)
    assert job.subjects == [rows[3].id, rows[2].id, rows[0].id]


def test_ahead_embeds_prepared_samples_that_are_near(store, rows, here):
    job = Told(lambda: ready(store) == 1)
    prepare_ahead.prepare_ahead(store, job, ready=1)
    assert here == []  # its embedding came with its proposals
    store.queue.want([rows[0].id])
    job = Told(lambda: "all is ready" in job.words)
    prepare_ahead.prepare_ahead(store, job, ready=1)
    assert here == [store.get_image(rows[0].image_sha).tobytes()]


def test_ahead_passes_over_an_image_that_fails_and_says_so(store, rows, here, truth, caplog):
    calls = []

    def fill(image, mask, *, pad=0.5):
        calls.append(image)
        if len(calls) == 1:
            raise MemoryError("no room for this one")
        return truth.truth.fill(image, mask, pad=pad)

    truth.models._stages["inpainter"]._value = fill
    job = Told(lambda: "all is ready" in job.words)
    store.queue.want([row.id for row in rows])
    report = prepare_ahead.prepare_ahead(store, job, ready=4)
    assert report == {"prepared": 3, "failed": 1}
    assert "no room for this one" in caplog.text


def test_ahead_ends_when_its_page_has_gone(store, rows, here):
    gone = {"host": process.machine(), "pid": 2**22 + 1, "start": "1"}
    report = prepare_ahead.prepare_ahead(store, Told(lambda: False), page=gone)
    assert report == {"prepared": 0, "failed": 0}
    assert prepare_ahead._page_lives(prepare_ahead.page_identity())


def test_worker_beside_a_preparing_process_prepares_only_what_is_asked(store, rows, truth):
    review = Review(store, truth.models, by="ann")
    worker = Worker(review, ahead=0, preparing=Elsewhere(rows[1].id)).start()
    try:
        assert worker.wait(30)
        assert ready(store) == 0
        worker.submit("prepare", rows[2].id, by="ann")
        assert worker.wait(30)
        assert store.sample(rows[2].id).state == "prepared"
        assert ready(store) == 1
        assert worker.busy(rows[1].id) == "prepare"
        assert worker.busy(rows[0].id) is None
    finally:
        assert worker.stop(30)


def test_worker_hands_on_what_curators_see_and_not_the_same_twice(store, rows, truth):
    review = Review(store, truth.models, by="ann")
    worker = Worker(review, ahead=0, preparing=Elsewhere(""))
    wishes = []
    store.queue.want = wishes.append
    worker.look_at([rows[2].id, rows[1].id])
    worker.look_at([rows[2].id, rows[1].id])
    worker.look_at([])
    worker.look_at([rows[3].id])
    assert wishes == [(rows[2].id, rows[1].id), (rows[3].id,)]
    Worker(review).look_at([rows[0].id])  # it prepares itself: nobody reads wishes
    assert len(wishes) == 2


@pytest.mark.bundled
def test_real_process_prepares_with_the_bundled_models(tmp_path, drawn):
    from forgetme import jobs
    from forgetme.stages.segment import Segmenter

    with Store(tmp_path / "store") as store:
        path = sorted((drawn / "original").iterdir())[0]
        row = store.import_image(read_image(path), name="one", concept="cat", by="test")
        keeper = prepare_ahead.Keeper(store, preset="tiny", by="ann").start()
        try:
            wait_for(lambda: store.sample(row.id).state != "new", keeper)
        finally:
            keeper.stop()
        (job,) = jobs.list(store)
        wait_for(lambda: jobs.get(store, job.id).state in jobs.ENDED, keeper)
        assert jobs.get(store, job.id).state == "stopped"
        files = list(store.embeddings.rglob("*.safetensors"))
        assert len(files) == 1
        models = load_models("tiny", embeddings=store.embeddings)
        assert isinstance(models.segmenter, Segmenter)
        assert models.segmenter._disk.get(row.image_sha) is not None


def wait_for(condition: Callable[[], bool], keeper: prepare_ahead.Keeper) -> None:
    import time

    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, keeper
        time.sleep(0.1)
