"""Tries: what each one proves, prompts from surroundings, one more try for all low ones."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from openai_server import KEY, OpenAIServer, Reply, error
from small_store import hold
from typer.testing import CliRunner

from forgetme import cli, jobs
from forgetme.curate import batch, checks, fills, pipeline, refine
from forgetme.curate.review import Review
from forgetme.curate.suggest import BACKDROPS, suggest, surroundings
from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.record import masks
from forgetme.record.images import read_image, read_mask
from forgetme.record.sample import FillSettings, Thresholds
from forgetme.record.settings import Settings
from forgetme.scenes import render_scene
from forgetme.stages import models
from forgetme.stages.verify import OpenAIVerifier

ALL_LOW = Settings(thresholds=Thresholds(low_d=1.0, low_s=1.0))


@pytest.fixture
def scene(drawn):
    name = min((drawn / "original").iterdir()).name
    return read_image(drawn / "original" / name), read_mask(drawn / "mask" / name)


@pytest.fixture
def row(store, scene, truth):
    """A prepared sample."""
    fresh = store.import_image(scene[0], name="one", concept="cat", by="ann")
    return pipeline.prepare(store, fresh, truth.models, by="ann")


@pytest.fixture
def low(store, drawn, truth):
    """Four prepared samples, all low."""
    for path in sorted((drawn / "original").iterdir()):
        fresh = store.import_image(read_image(path), name=path.stem, concept="cat", by="ann")
        pipeline.prepare(store, fresh, truth.models, ALL_LOW, by="ann")
    return refine.low_samples(store)


# ---------------------------------------------------------------- what a try proves


def test_a_try_says_how_many_bytes_outside_the_hole_were_compared(row, store):
    hole = store.get_mask(row.tries[0]["mask_sha"])
    assert row.tries[0]["outside"] == {"bytes": 3 * int((~hole).sum()), "changed": 0}


def test_a_stored_background_that_differs_outside_the_hole_is_told(row, store, scene, truth):
    made = fills.fill(*scene, truth.models)
    y, x = np.argwhere(~made.mask)[0]
    damaged = made.image.copy()
    damaged[y, x, 0] ^= 1
    now = fills.record_try(store, row, "filled", replace(made, image=damaged), Settings(), by="ann")
    assert now.tries[1]["outside"]["changed"] == 1


def test_a_fill_that_two_made_at_a_time_is_one_try(row, store, scene, truth):
    made = fills.fill(*scene, truth.models)
    for by in ("machine", "ann"):
        now = fills.record_try(store, row, "filled", made, Settings(), by=by)
        assert (len(now.tries), now.picked_try, now.version) == (1, 0, row.version)
    other = fills.fill(*scene, truth.models, Settings(fill=FillSettings(dilate_px=9)))
    now = fills.record_try(store, row, "filled", other, Settings(), by="ann")
    assert len(now.tries) == 2


@pytest.mark.parametrize(("back", "ok"), [(0.0, True), (0.4, False), (0.9, False)])
def test_a_try_says_whether_ranker_or_verifier_still_see_the_object(store, scene, truth, back, ok):
    truth.truth.back = back
    fresh = store.import_image(scene[0], name="one", concept="cat", by="ann")
    row = pipeline.prepare(store, fresh, truth.models, by="ann")
    seen, smear, seam = row.tries[0]["checks"]
    assert (seen["name"], seen["ok"], seen["value"]) == ("seen", ok, back)
    assert (smear["name"], seam["name"]) == ("smear", "seam")
    assert row.low or ok  # a check that fails makes a fill low, whatever its scores


def test_the_verifier_is_shown_what_is_around_the_mask(row, truth, scene):
    x, y, width, height = masks.box_xywh(scene[1])
    looked = truth.truth.looked[-1]
    assert looked[y : y + height, x : x + width].all()
    assert looked.sum() > width * height


def test_the_policy_does_not_accept_a_fill_in_which_the_object_came_back(drawn, truth, store):
    truth.truth.back = 0.9
    settings = Settings(thresholds=Thresholds(0, 0))
    paths = sorted((drawn / "original").iterdir())
    report = batch.curate(paths, "cat", truth.models, store, settings=settings, auto_accept=True)
    assert (report.accepted, report.selected) == (0, len(paths))


def a_try(*, seen=True, smear=True, low=False, d=0.5, s=0.5):
    checks = [{"name": "seen", "ok": seen}, {"name": "smear", "ok": smear}]
    return {
        "checks": checks,
        "scores": {"low": low, "d": {"score": d}, "s": {"score": s}},
    }


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        (a_try(smear=False), a_try(seen=False, d=0.9, s=0.9), True),  # not seen goes first
        (a_try(seen=False, d=0.9, s=0.9), a_try(d=0.1, s=0.1, low=True), False),
        (a_try(low=True), a_try(smear=False, d=0.9, s=0.9), True),  # then no smear
        (a_try(d=0.4, s=0.6), a_try(low=True, d=0.9, s=0.5), True),  # then not low
        (a_try(d=0.50, s=0.39), a_try(d=0.56, s=0.47), False),
        (a_try(d=0.6, s=0.6), a_try(d=0.5, s=0.6), True),  # then the mean
        (a_try(), a_try(), False),  # a tie is no better
        (a_try(d=None), a_try(d=0.0, s=0.0), False),  # no score is worst
    ],
)
def test_a_try_is_better_if_gone_then_no_smear_then_not_low_then_higher(new, old, better):
    assert fills.is_better(new, old) is better


def test_an_old_try_counts_what_was_seen_in_it_then():
    old = {**a_try(), "came_back": {"back": True}}
    del old["checks"]
    assert fills.is_better(a_try(smear=False), old)


def test_the_page_picks_a_new_try_only_where_it_is_better_and_a_hand_s_pick_stays(
    row, store, truth
):
    review = Review(store, truth.models, by="ann")
    first = row.tries[0]
    now = review.refine(row.id, FillSettings(prompt="sand"))  # the truth's diffusion is noise
    better = fills.is_better(now.tries[1], first)
    assert now.picked_try == int(better)
    other = 1 - now.picked_try
    assert review.pick_try(row.id, other).picked_try == other
    again = review.refine(row.id, FillSettings(prompt="sand", seed=3))
    assert (len(again.tries), again.picked_try) == (3, other)
    made = fills.fill(store.get_image(row.image_sha), store.get_mask(row.mask_sha), truth.models)
    scores = replace(made.scores, d=replace(made.scores.d, score=1.0))
    kept = fills.record_try(
        store, again, "refined", replace(made, scores=scores), Settings(), by="ben"
    )
    assert kept.picked_try == other


# ---------------------------------------------------------------- prompts


def test_surroundings_hold_nothing_of_the_object(scene):
    image, mask = scene[0].copy(), scene[1]
    image[mask] = (255, 0, 255)
    crop = surroundings(image, mask).astype(int)
    pink = (crop[..., 0] > 200) & (crop[..., 1] < 60) & (crop[..., 2] > 200)
    assert not pink.any()


def test_surroundings_are_near_the_hole(truth):
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, 100:] = 255  # another world on the right
    mask = np.zeros((200, 200), bool)
    mask[90:110, 20:40] = True
    assert surroundings(image, mask).max() == 0


@pytest.mark.bundled
def test_the_bundled_ranker_names_the_surroundings():
    bundled, right = models.load_models("tiny", device="cpu"), 0
    for seed in range(16):
        scene = render_scene(7200 + seed, concept="cat")
        found = suggest(scene.image, scene.mask, "cat", bundled)
        assert len(set(found.prompts)) == 3
        right += BACKDROPS[scene.setting] in found.prompts
    assert right >= 10  # of 16; by chance 6


@pytest.fixture
def server():
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def asking(truth, server):
    """Models whose verifier is a real client of a local server."""
    verifier = OpenAIVerifier("gpt-test", api_key=KEY, base_url=server.url)
    verifier.settings = replace(verifier.settings, backoff_s=0.01)
    return models.load_models(
        "tiny", ranker=truth.models.ranker, verifier=verifier, inpainter=truth.truth.fill,
        diffusion=truth.models.diffusion, segmenter=truth.truth,
    )  # fmt: skip


def prompts(*texts, setting="lawn"):
    return Reply(json.dumps({"setting": setting, "prompts": list(texts)}))


def fresh_scene(seed):
    """A scene that no other test asked about: answers are kept."""
    scene = render_scene(seed, concept="cat", size=128)
    return scene.image, scene.mask


def test_with_a_key_the_server_suggests_and_sees_no_object(asking, server):
    server.queue.append(prompts("short grass.", "  clover\n and moss ", "wet\x07 soil"))
    image, mask = fresh_scene(8001)
    found = suggest(image, mask, "<cat>", asking)
    assert found.prompts == ("short grass", "clover and moss", "wet soil")
    assert (found.setting, found.made_by, found.note) == ("lawn", "gpt-test", "")
    assert np.array_equal(server.asked[0].image, surroundings(image, mask))
    assert "'cat'" in server.asked[0].question
    assert suggest(image, mask, "<cat>", asking) == found
    assert len(server.asked) == 1  # an answer costs money: the second one was kept


def test_without_an_answer_the_ranker_suggests_and_the_note_says_why(asking, server):
    server.queue.append(error(401))
    found = suggest(*fresh_scene(8002), "cat", asking)
    assert (found.made_by, len(found.prompts)) == ("truth", 3)
    assert re.search(r"key was refused.*These prompts are by truth", found.note)


def test_without_a_key_the_ranker_suggests_and_the_fill_is_kept(truth):
    keyless = models.load_models(
        "full", ranker=truth.models.ranker, inpainter=truth.truth.fill, segmenter=truth.truth
    )
    image, mask = fresh_scene(8009)
    assert "set OPENAI_API_KEY" in suggest(image, mask, "cat", keyless).note
    made = fills.fill(image, mask, keyless)
    seen = checks.checks_of(image, made, mask, "cat", keyless)[0]
    assert seen.ok is not False
    assert "set OPENAI_API_KEY" in seen.reason


@pytest.mark.parametrize("bad", [prompts(), Reply('{"prompts": "x", "setting": 3}'), prompts(7)])
def test_an_answer_without_prompts_is_asked_for_again(asking, server, bad):
    server.queue.extend([bad, prompts("grass")])
    found = suggest(*fresh_scene(8003 + len(str(bad))), "cat", asking)
    assert (found.prompts, len(server.asked)) == (("grass",), 2)


# ---------------------------------------------------------------- one more try for all low ones


def all_low(rows, store, truth, template="an empty {setting}", **more):
    more = {"settings": ALL_LOW, "by": "ann"} | more
    return refine.refine_all(rows, template, store, truth.models, **more)


def test_low_samples_are_the_undecided_low_ones(low, store):
    assert len(low) == 4
    row = store.sample(low[0].id)
    store.append(row.id, "accepted", {"how": "human"}, by="ann", expected_version=row.version)
    assert [one.id for one in refine.low_samples(store)] == [one.id for one in low[1:]]
    assert refine.low_samples(store, "dog") == []


def test_a_round_adds_a_try_and_picks_it_only_where_it_is_better(low, store, truth):
    report = all_low(low, store, truth)
    rows = [store.sample(one.id) for one in low]
    assert [len(row.tries) for row in rows] == [2] * 4
    picked = [fills.is_better(row.tries[1], row.tries[0]) for row in rows]
    assert [row.picked_try for row in rows] == [int(better) for better in picked]
    assert (report.better, report.kept) == (sum(picked), 4 - sum(picked))


def test_a_worse_try_is_kept_but_not_picked(low, store, truth):
    truth.truth.back = 0.9
    report = all_low(low, store, truth)
    assert (report.better, report.kept) == (0, 4)
    assert {store.sample(one.id).picked_try for one in low} == {0}


def test_the_template_is_filled_for_each_sample(low, store, truth):
    all_low(low[:1], store, truth, "{suggestion}, {setting} without a {concept}, {caption}")
    likeliest = next(iter(BACKDROPS))
    prompt = store.sample(low[0].id).tries[1]["settings"]["prompt"]
    assert prompt == f"{BACKDROPS[likeliest]}, {likeliest} without a cat,"


@pytest.mark.parametrize(
    "template",
    ["", "  ", "{plan}", "{setting!r}", "{setting:>9}", "{", "x" * 501, "{setting.a}", "{}", "{0}"],
)
def test_a_template_that_names_something_else_is_refused(low, store, truth, template):
    with pytest.raises(ForgetmeError):
        all_low(low, store, truth, template)
    assert {len(store.sample(one.id).tries) for one in low} == {1}


def test_what_somebody_else_has_open_is_passed_over(low, store, truth):
    hold(store, low[0].id, "ben")
    hold(store, low[1].id, "ann")
    report = all_low(low[:2], store, truth)
    assert (report.passed, report.better + report.kept) == (1, 1)
    assert len(store.sample(low[0].id).tries) == 1


def test_what_was_decided_meanwhile_is_passed_over(low, store, truth):
    row = store.sample(low[0].id)
    store.append(row.id, "rejected", {}, by="ben", expected_version=row.version)
    assert all_low(low[:1], store, truth).passed == 1
    assert store.sample(row.id).state == "rejected"


def test_a_stopped_round_goes_on_where_it_was(low, store, truth):
    done = []
    first = all_low(low, store, truth, on_step=lambda *step: done.append(step),
                    should_stop=lambda: len(done) == 2)  # fmt: skip
    assert (first.low, first.better + first.kept) == (4, 2)
    second = all_low(low, store, truth)
    assert (second.passed, second.better + second.kept) == (2, 2)
    assert {len(store.sample(one.id).tries) for one in low} == {2}


def test_one_that_fails_does_not_stop_the_rest(low, store, truth, monkeypatch):
    fail_at = store.sample(low[0].id).image_sha
    get_image = store.get_image

    def get(sha):
        if sha == fail_at:
            raise ForgetmeError("its file is gone")
        return get_image(sha)

    monkeypatch.setattr(store, "get_image", get)
    report = all_low(low, store, truth)
    assert report.failed == (f"{low[0].name}: its file is gone",)
    assert report.better + report.kept == 3


def test_a_missing_model_stops_the_round(low, store, truth, monkeypatch):
    def missing(*_, **__):
        raise MissingModelError("no diffusion; run this")

    monkeypatch.setattr(truth.truth, "inpaint", missing)
    truth.models.diffusion.inpaint = missing
    with pytest.raises(MissingModelError):
        all_low(low, store, truth)


def test_the_job_says_how_far_it_is_and_what_came_of_it(low, store, truth, monkeypatch, capsys):
    monkeypatch.setattr(refine, "load_models", lambda *_, **__: truth.models)
    monkeypatch.setattr(refine, "DEFAULTS", ALL_LOW)
    job = store.jobs.add("refine_low", {"prompt": "sand"}, "ann", heavy=True)
    done = jobs.run(store, job.id)
    assert (done.state, done.step, done.total) == ("done", 4, 4)
    assert done.result["low"] == 4
    assert done.result["better"] + done.result["kept"] == 4
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert {store.sample(one.id).tries[1]["by"] for one in low} == {"ann"}


def test_a_curator_can_refine_by_the_first_suggestion(row, store, truth):
    review = Review(store, truth.models, by="ann")
    now = review.refine(row.id, FillSettings(prompt=" "))
    assert now.tries[1]["settings"]["prompt"] == review.suggest(row.id).prompts[0]
    assert now.tries[1]["checks"][0]["ok"] is True


# ---------------------------------------------------------------- as a command


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


def test_refine_low_by_command(low, store, truth, monkeypatch):
    monkeypatch.setattr(models, "load_models", lambda *_, **__: truth.models)
    listed = run("refine", "--store", store.folder, "--low", "--dry-run", "--json")
    assert [one["id"] for one in json.loads(listed.stdout)["low"]] == [one.id for one in low]
    done = run("refine", "--store", store.folder, "--low", "--limit", 2, "--seed", 5, "--json")
    report = json.loads(done.stdout)
    assert (report["low"], report["better"] + report["kept"]) == (2, 2)
    assert [len(store.sample(one.id).tries) for one in low] == [2, 2, 1, 1]
    assert store.sample(low[0].id).tries[1]["settings"]["seed"] == 5


def test_refine_by_command_needs_to_be_told_which(store):
    assert run("refine", "--store", store.folder).exit_code == 2


def test_refine_by_command_refuses_a_wrong_template(low, store):
    result = run("refine", "--store", store.folder, "--low", "--prompt", "{nothing}")
    assert result.exit_code == 1
    assert "{setting}" in result.output
