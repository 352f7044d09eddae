"""A run as a job: a process that outlives the page, stops, goes on, and says what went wrong."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_job import asked, begin, ended, fill, kill_all, small_models_in_jobs, until, written

from forgetme import jobs
from forgetme.dataset import import_dataset
from forgetme.errors import ForgetmeError
from forgetme.scenes.write import write_scenes
from forgetme.stages.models import Models
from forgetme.store import Store
from forgetme.store.job_state import DIED
from forgetme.train import METHODS, RunSettings, errand, items_of_store, runs
from forgetme.train.cost import Measure, cost, read_measure, units
from forgetme.train.form import TRAINS, methods, settings_for, words
from forgetme.train.trouble import advice


@pytest.fixture
def cats(tmp_path: Path, drawn: Path, small_assets: Path, monkeypatch) -> Iterator[Store]:
    """A store with four accepted cats, whose jobs open small models."""
    small_models_in_jobs(tmp_path / "hook", small_assets, monkeypatch)
    with Store(tmp_path / "store") as store:
        fill(store, drawn)
        yield store
        kill_all(store)


def weights(run: runs.Run) -> dict:
    return load_file(run.folder / "patch" / "patch.safetensors")


def test_stopped_and_resumed_job_ends_like_an_uninterrupted_one_though_more_was_accepted(
    cats: Store, models: Models, tmp_path: Path
) -> None:
    parts, whole = (asked(cats, name, steps=400) for name in ("parts", "whole"))
    first, second = begin(cats, parts), begin(cats, whole)
    assert jobs.get(cats, second.id).state == "queued"  # heavy ones wait for each other
    jobs.stop(cats, second.id, "ann")
    until(lambda: runs.run_of(cats, "parts").done >= 3)
    jobs.stop(cats, first.id, "ann")
    stopped = ended(cats, first)
    at = runs.run_of(cats, "parts")
    assert stopped.state == "stopped"
    assert 3 <= at.done < 400
    assert (at.patch, stopped.result["step"]) == (at.done, at.done)
    settings = replace(at.asked.settings, steps=at.done + 3)
    runs.change(at.folder, replace(at.asked, settings=settings))
    _accept_another(cats, tmp_path / "late")
    again = ended(cats, jobs.again(cats, first.id, "ben"))
    assert again.state == "done", jobs.read_log(cats, again.id)
    assert (again.step, again.total) == (at.done + 3, at.done + 3)
    _uninterrupted(models, cats, replace(whole, asked=replace(whole.asked, settings=settings)))
    ours, theirs = weights(runs.run_of(cats, "parts")), weights(whole)
    assert ours
    assert all((ours[key] == theirs[key]).all() for key in ours)
    steps = [row["step"] for row in runs.rows(at.folder, "")["rows"]]
    assert steps == list(range(1, at.done + 4))
    assert (at.folder / "patch" / "README.md").is_file()
    measure = read_measure(at.folder)
    assert (measure.preset, measure.method, measure.device) == ("tiny", "rl", "cpu")
    assert measure.memory_mb > 100


def _uninterrupted(models: Models, store: Store, run: runs.Run) -> None:
    """Does a run in this process, with as many threads as a job has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    items = run.asked.items(store)
    stop = {"stop": lambda: False, "say": lambda _: None}
    errand.run(models, items, run.asked.settings, run.folder, pictures=0, **stop)
    torch.set_num_threads(threads)


def _accept_another(store: Store, folder: Path) -> None:
    write_scenes(folder, count=1, seed=11, concepts=("cat",), size=128)
    import_dataset(store, folder, "folders", concept="cat", by="ben")
    assert len(store.samples(state="accepted", concept="cat", limit=None)) == 5


def test_run_whose_pictures_are_gone_fails_in_plain_words_and_its_log_has_them(cats) -> None:
    run = asked(cats, "gone")
    sha = run.asked.samples[1]["background"]
    cats.blob_path(sha).unlink()
    job = ended(cats, begin(cats, run))
    assert job.state == "failed"
    assert "1 of the 4 pictures that this run learns from are gone" in job.trouble
    until(lambda: "bring its images back from a backup" in jobs.read_log(cats, job.id))
    assert runs.run_of(cats, "gone").patch is None


def test_job_of_a_deleted_run_does_not_touch_another_of_its_name(cats) -> None:
    first = asked(cats, "cat-rl")
    runs.delete(cats, "cat-rl")
    second = asked(cats, "cat-rl")
    job = ended(cats, begin(cats, first))
    assert job.state == "failed"
    assert "was deleted" in job.trouble
    assert sorted(path.name for path in second.folder.iterdir()) == ["asked.json"]


def test_run_leaves_probes_pictures_and_a_card(cats: Store) -> None:
    more = {"steps": 1, "retain_pictures": 1, "probe_pictures": 1}
    job = ended(cats, begin(cats, asked(cats, "cat", **more)))
    assert job.state == "done", jobs.read_log(cats, job.id)
    run = runs.run_of(cats, "cat")
    assert (run.done, run.patch, run.first["step"], run.last["step"]) == (1, 1, 0, 1)
    assert runs.pictures(run) == {0: [0, 1], 1: [0, 1]}
    card = (run.folder / "patch" / "README.md").read_text()
    assert "![cat before](pictures/cat-before.png)" in card
    assert (run.folder / "patch" / "pictures" / "dog-after.png").is_file()
    assert job.result["probe"]["by_concept"].keys() == {"cat", "dog"}


# ------------------------------------------------------------------ on disk


@pytest.fixture
def kept(store: Store, drawn: Path) -> Store:
    """A store with four accepted cats and no process."""
    fill(store, drawn)
    return store


def test_rows_come_as_the_log_grows_and_anew_when_it_was_taken_back(kept: Store) -> None:
    run = written(asked(kept, "cat"), 5, probes=(0,))
    first = runs.rows(run.folder, "")
    assert [row["step"] for row in first["rows"]] == [0, 1, 2, 3, 4, 5]
    assert (first["more"], first["whole"]) == (False, True)
    log = run.folder / "log.jsonl"
    with log.open("a") as file:
        file.write('{"step": 6, "loss": 0.1}\n{"step": 7, "lo')
    second = runs.rows(run.folder, first["next"])
    assert [row["step"] for row in second["rows"]] == [6]  # 7 is not finished
    assert not second["whole"]
    with log.open("a") as file:
        file.write('ss": 0.2}\n')
    assert [r["step"] for r in runs.rows(run.folder, second["next"])["rows"]] == [7]
    again = log.with_name("new")  # as the loop does when a run goes on from its checkpoint
    again.write_text('{"step": 1, "loss": 1.0}\n')
    again.replace(log)
    third = runs.rows(run.folder, second["next"])
    assert ([row["step"] for row in third["rows"]], third["whole"]) == ([1], True)
    assert runs.run_of(kept, "cat").done == 1


def test_long_log_comes_in_pieces_that_lose_no_row(kept: Store, monkeypatch) -> None:
    monkeypatch.setattr(runs, "ROWS_BYTES", 300)
    run = written(asked(kept, "cat"), 40)
    found, after, more, asks = [], "", True, 0
    while more:
        answer = runs.rows(run.folder, after)
        found += [row["step"] for row in answer["rows"]]
        after, more, asks = answer["next"], answer["more"], asks + 1
    assert found == list(range(1, 41))
    assert asks > 5


def test_a_run_with_a_damaged_patch_does_not_take_the_others_away(kept: Store, caplog) -> None:
    written(asked(kept, "whole"), 2)
    folder = written(asked(kept, "cat"), 2).folder
    for text in ('{"steps_eone": 2}', "[]", '{"steps_done": null}'):
        (folder / "patch" / "patch.json").write_text(text)
        assert [run.name for run in runs.runs(kept)] == ["whole"]
        assert f"{folder} cannot be read" in caplog.text


def test_list_says_of_each_run_how_far_it_is_and_what_it_forgets(kept: Store) -> None:
    written(asked(kept, "cat"), 90, probes=(0, 90))
    asked(kept, "later")
    (runs.runs_folder(kept) / "not a run").mkdir()
    (runs.runs_folder(kept) / "empty").mkdir()
    later, cat = runs.runs(kept)
    assert (later.name, later.done, later.patch, later.first) == ("later", 0, None, None)
    assert (cat.done, cat.patch, cat.seconds) == (90, 90, 45.0)
    assert (cat.first["forget"], cat.last["forget"]) == (1.0, 0.0)
    assert cat.concepts == ["cat", "dog"]


def test_run_of_a_command_is_listed_too(kept: Store) -> None:
    run = written(asked(kept, "cat"), 4)
    (run.folder / "asked.json").unlink()
    (found,) = runs.runs(kept)
    assert (found.name, found.asked, found.record["concept"]) == ("cat", None, "cat")


@pytest.mark.parametrize("name", ["..", "a/b", "A", "", "-a", "a" * 81, "a.b", "a\n"])
def test_names_that_are_no_run_name_nothing(kept: Store, name: str) -> None:
    with pytest.raises(ForgetmeError, match="small letters, digits and dashes"):
        asked(kept, name)
    with pytest.raises(ForgetmeError, match="small letters, digits and dashes"):
        runs.run_of(kept, name)


def test_taken_name_is_refused_and_free_again_after_deletion(kept: Store) -> None:
    asked(kept, "cat")
    with pytest.raises(ForgetmeError, match="there is a run cat already"):
        asked(kept, "cat")
    runs.delete(kept, "cat")
    assert runs.runs(kept) == []
    assert list(runs.runs_folder(kept).iterdir()) == []
    asked(kept, "cat")


def test_only_probe_pictures_of_the_runs_own_concepts_are_served(kept: Store) -> None:
    run = written(asked(kept, "cat"), 4, probes=(0, 4))
    (run.folder / "probes" / "000004 secret.png").write_bytes(b"x")
    (run.folder / "probes" / "notes.txt").write_bytes(b"x")
    found = runs.run_of(kept, "cat")
    assert runs.pictures(found) == {0: [0, 4], 1: [0, 4]}
    assert runs.picture(found, 4, 1).name == "000004 dog.png"
    for step, place in ((3, 0), (4, 2)):
        with pytest.raises(ForgetmeError, match="has no pictures"):
            runs.picture(found, step, place)
    path = run.folder / "probes" / "000004 dog.png"
    path.unlink()
    path.symlink_to(run.folder / "run.json")
    with pytest.raises(ForgetmeError, match="is a link"):
        runs.picture(found, 4, 1)


def test_samples_accepted_later_are_not_learned_from(kept: Store, tmp_path: Path) -> None:
    run = asked(kept, "cat")
    before = run.asked.items(kept)
    assert before == items_of_store(kept, "cat")
    _accept_another(kept, tmp_path / "late")
    assert runs.run_of(kept, "cat").asked.items(kept) == before


# ------------------------------------------------------------------ what it costs, and what to do


def test_units_are_counted_by_hand() -> None:
    lora = RunSettings("lora", "cat", steps=10, batch=4, accumulate=2, probe_every=0)
    assert units(lora, 0) == 10 * 3 * 4 * 2  # a pass with gradient counts three
    kept = replace(lora, options={"retain": 1.0}, keep=("dog", "boat", "car"), retain_pictures=8)
    drawn = 8 * 25 * 2  # guided steps
    assert units(kept, 0) == 10 * 7 * 8 + drawn  # and one pass of the frozen model
    # four concepts and the concept in other words at both ends, three concepts on the way
    probes = (2 * 5 + 1 * 3) * 2 * 20 * 2
    assert units(replace(kept, probe_every=5), 2) == 10 * 7 * 8 + drawn + probes
    assert units(kept, 2, first=4, last=10) == 6 * 7 * 8 + 5 * 2 * 20 * 2
    esd = RunSettings("esd", "cat", trains="kv", steps=1, probe_every=0)
    assert units(replace(esd, options={"draw_steps": 10}), 0) == 3 + 2 + 10 / 2 * 2


def test_cost_is_measured_where_it_can_be_and_says_so() -> None:
    settings = RunSettings("lora", "cat", steps=100, batch=4, probe_every=0)
    here = {"machine": platform.node(), "device": "cpu", "preset": "tiny", "trains": "lora"}
    same = Measure(**here, method="lora", batch=4, units=600, seconds=60, memory_mb=1234)
    other = Measure(**here, method="rl", batch=2, units=100, seconds=50, memory_mb=99)
    elsewhere = replace(same, machine="another", seconds=1)
    told = cost(settings, 0, "tiny", "cpu", [elsewhere, other, same])
    assert (told.seconds, told.memory_mb, told.how) == (120, 1234, "measured")
    told = cost(settings, 0, "tiny", "cpu", [other])
    assert (told.seconds, told.how) == (600, "scaled")
    told = cost(settings, 0, "tiny", "cpu", [elsewhere])
    assert told.how == "estimated"
    assert cost(settings, 0, "full", "cuda", [same]).how == "estimated"


def test_estimates_grow_with_what_is_trained_and_shrink_with_checkpointing() -> None:
    def memory(**more: object) -> float:
        return cost(RunSettings("esd", "cat", **more), 0, "full", "cuda", []).memory_mb

    assert memory(trains="lora") < memory(trains="kv") < memory(trains="full")
    assert memory(trains="lora", gradient_checkpointing=True) < memory(trains="lora")
    assert 6_000 < memory(trains="lora") < 16_000  # such runs fit on cards of 11 to 16 GB


def test_form_has_all_methods_with_their_settings_and_a_line_on_each() -> None:
    told = {one["name"]: one for one in methods()}
    assert set(told) == set(METHODS)
    for what, names in (
        ("anchor", {"rl", "salun", "loreun", "ca", "uce", "rece", "speed"}),
        ("pictures", {"lora", "rl", "salun", "loreun", "fmn", "slider"}),
    ):
        assert {name for name, one in told.items() if one[what]} == names
    form = told["fmn"]["options"]["form"]
    assert (form["default"], form["choices"]) == ("layer", ["layer", "fmn"])
    for one in told.values():
        assert set(one["trains"]) <= set(TRAINS)
        for preset in ("tiny", "full"):
            expected = settings_for(one["name"], "concept", preset, {}, {}, None).record()
            assert one["defaults"][preset] == expected
    assert set(words()) >= {field.name for field in fields(RunSettings)}
    assert words()["clip"] == "largest norm of the gradient; 0 = off."


def test_advice_names_a_change_with_which_the_run_goes_on(kept: Store) -> None:
    plain = written(asked(kept, "plain", batch=8, lr=4e-4), 4, patch=False)
    run = runs.run_of(kept, "plain")
    memory = advice(run, "not enough memory for 8 pictures at a time (…)")
    assert memory.changes == {"gradient_checkpointing": True}
    assert "a batch of 4 and 2 batches added up" in memory.words
    again = replace(run, record={**run.record, "gradient_checkpointing": True})
    assert advice(again, "not enough memory for 8 …").changes is None
    assert advice(run, DIED).changes == {}
    assert "most likely memory ran out" in advice(run, DIED).words
    record = json.loads((plain.folder / "run.json").read_text())
    (plain.folder / "run.json").write_text(json.dumps({**record, "diverged": 3}))
    ran_away = advice(runs.run_of(kept, "plain"), "the loss is nan …")
    assert ran_away.changes == {"lr": 1e-4}
    assert "no number at step 3" in ran_away.words
    assert advice(run, "the base model is another").words == "the base model is another"
