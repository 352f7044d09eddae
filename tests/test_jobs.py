"""Long work as processes: found again after any crash, stopped in order, never run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
import small_store
from small_postgres import cluster, place  # noqa: F401 (fixtures)
from typer.testing import CliRunner

from forgetme import jobs
from forgetme.cli import app
from forgetme.curate import prepare_ahead
from forgetme.errors import ForgetmeError
from forgetme.jobs import Kind
from forgetme.store import Store, process
from forgetme.store.job_state import JobRow, found

TESTS = Path(__file__).parent
SECONDS = 30.0  # longest wait for a condition

# Kinds of jobs for these tests; the child finds the module through PYTHONPATH.
STEPS = """
import os, signal, sys, time
from pathlib import Path
from forgetme.errors import ForgetmeError


def steps(store, job, *, folder, total=3, until="go"):
    for done in range(total):
        job.step(done, total, f"step {done}", subject="0123456789abcdef")
        print("begins", done)
        (Path(folder) / f"{job.id}.{done}").touch()
        while not (Path(folder) / until).exists() and not job.should_stop:
            job.pause(0.02)
        if job.should_stop:
            return {"saved": done}
    job.step(total, total)
    return {"saved": total}


def refuses(store, job):
    raise ForgetmeError("the folder is not empty; name another")


def crashes(store, job):
    print("about to divide")
    1 / 0


def dies(store, job, *, folder):
    print("last words")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def prepare(store, job, *, preset, verifier, page, ready):
    job.step(0, None, "waits", subject=f"{ready:016x}")
    while not job.should_stop:
        job.pause(1)


def stubborn(store, job, *, folder):
    job.step(0, None)
    (Path(folder) / job.id).touch()
    time.sleep(600)
"""
# Puts the test's kinds into the job's own process, where `import sitecustomize` comes first.
HOOK = """
import sys
if "forgetme" in " ".join(sys.orig_argv):
    from forgetme import jobs
    for name, heavy in {HEAVY}.items():
        jobs.KINDS[name] = jobs.Kind(name, f"job_steps:{name}", heavy=heavy)
"""
HEAVY = {"steps": True, "light": False, "prepare": False, "refuses": False, "crashes": False,
         "dies": False, "stubborn": False}  # fmt: skip


def until(condition: Callable[[], object], words: str = "") -> object:
    """Waits for a condition; the time between looks costs nothing but patience."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {SECONDS:.0f} s for {words or condition}"
        time.sleep(0.02)
    return found


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Adds kinds of jobs for this test, here and in the processes of the jobs."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "job_steps.py").write_text(STEPS + "\nlight = steps\n")
    (folder / "sitecustomize.py").write_text(HOOK.replace("{HEAVY}", repr(HEAVY)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(TESTS.parent)]))
    for name, heavy in HEAVY.items():
        monkeypatch.setitem(jobs.KINDS, name, Kind(name, f"job_steps:{name}", heavy=heavy))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store; what still runs for it at the end is killed."""
    with Store(tmp_path / "store") as store:
        yield store
        for row in store.jobs.rows():
            if row.pid != os.getpid() and process.is_alive(row.pid, row.process_start):
                os.kill(row.pid, signal.SIGKILL)


def at_step(store: Store, job_id: str, folder: Path, done: int = 0) -> None:
    until(lambda: (folder / f"{job_id}.{done}").exists(), f"step {done}")


def state(store: Store, job_id: str, *wanted: str) -> jobs.Job:
    return until(
        lambda: (job := jobs.get(store, job_id)).state in wanted and job,
        f"{wanted}; it is {jobs.get(store, job_id)}\n{jobs.read_log(store, job_id)}",
    )


def start(store: Store, kind: str, folder: Path, **more: object) -> jobs.Job:
    return jobs.submit(store, kind, {"folder": str(folder), **more}, "ann")


def test_job_runs_in_a_process_of_its_own_and_its_result_is_kept(store, kinds, tmp_path):
    (tmp_path / "go").touch()
    asked = start(store, "light", tmp_path)
    job = state(store, asked.id, *jobs.ENDED)
    assert (job.state, job.result, job.step, job.total) == ("done", {"saved": 3}, 3, 3)
    assert job.pid not in (None, os.getpid())
    assert (job.by, job.error, job.trouble) == ("ann", None, None)
    assert "begins 2" in jobs.read_log(store, job.id)


def test_running_job_tells_its_step_and_what_it_works_on(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path, total=8)
    job = until(lambda: (one := jobs.get(store, asked.id)).words and one, "its words")
    assert (job.state, job.step, job.total) == ("running", 0, 8)
    assert (job.words, job.subject) == ("step 0", "0123456789abcdef")


def test_another_opening_of_the_store_finds_the_job(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    with Store(tmp_path / "store") as page:  # a second tab, or a page that was started again
        assert [job.state for job in jobs.list(page)] == ["running"]


def test_job_outlives_the_process_that_asked_for_it(store, kinds, tmp_path):
    script = (
        "import os, sys, signal\n"
        "from forgetme import jobs\nfrom forgetme.store import Store\n"
        "print(jobs.submit(Store(sys.argv[1]), 'light', {'folder': sys.argv[2]}, 'ann').id,"
        " flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        cwd=TESTS.parent,
    )
    assert done.returncode == -signal.SIGKILL
    job_id = done.stdout.strip()
    at_step(store, job_id, tmp_path)
    assert state(store, job_id, "running")
    (tmp_path / "go").touch()
    assert state(store, job_id, *jobs.ENDED).state == "done"


def test_stopped_job_finishes_its_step_and_saves(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    stopping = jobs.stop(store, asked.id, "ben")
    assert stopping.state in ("stopping", "stopped")
    job = state(store, asked.id, *jobs.ENDED)
    assert (job.state, job.result, job.stop_by) == ("stopped", {"saved": 0}, "ben")


@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_stops_a_job_as_its_button_does(store, kinds, tmp_path, word):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    os.kill(jobs.get(store, asked.id).pid, word)
    job = state(store, asked.id, *jobs.ENDED)
    assert (job.state, job.result) == ("stopped", {"saved": 0})


def test_a_worker_takes_up_jobs_and_a_polite_signal_ends_both_in_order(store, kinds, tmp_path):
    command = ["-m", "forgetme", "job", "work", "--store", str(store.folder)]
    worker = subprocess.Popen([sys.executable, *command], cwd=TESTS.parent)
    try:
        arguments = {"folder": str(tmp_path)}
        asked = store.jobs.add("light", arguments, "ann", heavy=False)  # as another machine's page
        at_step(store, asked.id, tmp_path)
        worker.terminate()
        assert worker.wait(SECONDS) == 0
    finally:
        worker.kill()
    job = jobs.get(store, asked.id)
    assert (job.state, job.result) == ("stopped", {"saved": 0})


def test_job_killed_with_9_is_found_dead_with_its_last_lines(store, kinds, tmp_path):
    asked = start(store, "dies", tmp_path)
    job = state(store, asked.id, *jobs.ENDED)
    assert job.state == "died"
    assert "Start it again" in job.trouble
    assert "last words" in jobs.read_log(store, job.id)


def test_dead_job_can_be_asked_for_again(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    os.kill(jobs.get(store, asked.id).pid, signal.SIGKILL)
    assert state(store, asked.id, *jobs.ENDED).state == "died"
    (tmp_path / "go").touch()
    second = jobs.again(store, asked.id, "ben")
    job = state(store, second.id, *jobs.ENDED)
    assert (job.state, job.by, job.result) == ("done", "ben", {"saved": 3})


def test_reused_process_id_is_not_taken_for_the_job(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    row = store.jobs.get(asked.id)
    assert found(row).state == "running"
    ours = replace(row, pid=os.getpid())  # as if the system had given the job's id to us
    assert process.started(os.getpid()) != row.process_start
    assert found(ours).state == "died"


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    start = until(lambda: process.started(child.pid) or "gone")
    until(lambda: process.started(child.pid) is None, "its end")  # nobody has asked for it yet
    assert not process.is_alive(child.pid, start)
    child.wait()


def test_ps_tells_the_same_story_where_there_is_no_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "PROC", tmp_path)
    ours = process.started(os.getpid())
    if ours is None:
        pytest.skip("there is no ps here")
    assert ours == process.started(os.getpid())
    assert process.started(2**22 + 1) is None


@pytest.mark.parametrize(("silence", "wanted"), [(5.0, "running"), (90.0, "died")])
def test_heartbeat_decides_about_another_machine(silence, wanted):
    row = JobRow(
        "0" * 16, "steps", {}, "ann", True, 0.0, host="far away", pid=1, process_start="1",
        heartbeat=time.time() - silence,
    )  # fmt: skip
    assert found(row).state == wanted


def test_crash_is_told_in_words_and_its_log_has_the_trace(store, kinds, tmp_path):
    asked = jobs.submit(store, "crashes", {}, "ann")
    job = state(store, asked.id, *jobs.ENDED)
    assert job.state == "failed"
    assert job.trouble.startswith("ZeroDivisionError")
    log = jobs.read_log(store, job.id)
    assert "about to divide" in log
    assert "1 / 0" in log


def test_refusal_is_told_as_it_is(store, kinds, tmp_path):
    asked = jobs.submit(store, "refuses", {}, "ann")
    job = state(store, asked.id, *jobs.ENDED)
    assert (job.state, job.trouble) == ("failed", "the folder is not empty; name another")


def test_heavy_jobs_of_a_machine_take_turns_in_the_order_asked(store, kinds, tmp_path):
    first = start(store, "steps", tmp_path, total=1, until="go1")
    second = start(store, "steps", tmp_path, total=1, until="go2")
    third = start(store, "steps", tmp_path, total=1, until="go2")
    light = start(store, "light", tmp_path, total=1)
    at_step(store, first.id, tmp_path)
    at_step(store, light.id, tmp_path)  # did not wait
    assert [jobs.get(store, one.id).state for one in (second, third)] == ["queued", "queued"]
    jobs.start_queued(store)  # a look in between starts nothing twice
    assert jobs.get(store, second.id).state == "queued"
    (tmp_path / "go1").touch()
    at_step(store, second.id, tmp_path)  # started by the first one's end
    assert jobs.get(store, third.id).state == "queued"
    (tmp_path / "go2").touch()
    assert state(store, third.id, *jobs.ENDED).state == "done"


def test_killed_heavy_job_gives_its_place_to_the_next(store, kinds, tmp_path):
    first = start(store, "steps", tmp_path)
    second = start(store, "steps", tmp_path)
    at_step(store, first.id, tmp_path)
    os.kill(jobs.get(store, first.id).pid, signal.SIGKILL)
    state(store, first.id, "died")
    assert list(jobs.start_queued(store)) == [second.id]
    at_step(store, second.id, tmp_path)


def test_stopping_a_job_that_waits_ends_it_at_once(store, kinds, tmp_path):
    first = start(store, "steps", tmp_path)
    second = start(store, "steps", tmp_path)
    assert jobs.stop(store, second.id, "ann").state == "stopped"
    jobs.stop(store, first.id, "ann")
    state(store, first.id, *jobs.ENDED)
    assert list(jobs.start_queued(store)) == []


def test_claim_of_a_page_that_died_before_it_started_anything_is_open_again(store, kinds, tmp_path):
    row = store.jobs.add("light", {"folder": str(tmp_path)}, "ann", heavy=False)
    store.jobs.claim(process.machine(), lambda rows: rows[0])  # and then the page was killed
    assert list(jobs.start_queued(store)) == []
    late = replace(store.jobs.get(row.id), claimed=time.time() - jobs.CLAIM_SECONDS - 1)
    assert jobs._next([late]) is late


def test_job_is_never_done_by_two_processes(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    with pytest.raises(ForgetmeError, match="at work in process"), jobs.running(store, asked.id):
        pass
    (tmp_path / "go").touch()
    state(store, asked.id, "done")
    with pytest.raises(ForgetmeError, match="is done"), jobs.running(store, asked.id):
        pass


def test_many_pages_that_ask_for_the_only_one_get_the_same(store, kinds, tmp_path):
    found = []

    def ask() -> None:
        with Store(tmp_path / "store") as page:
            arguments = {"folder": str(tmp_path)}
            found.append(jobs.submit(page, "light", arguments, "ann", only_one=True).id)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(jobs.list(store)) == 1


def test_stubborn_job_is_ended_by_force(store, kinds, tmp_path):
    asked = start(store, "stubborn", tmp_path)
    until((tmp_path / asked.id).exists)
    assert jobs.stop(store, asked.id, "ann").state == "stopping"
    job = jobs.stop(store, asked.id, "ann", at_once=True)
    assert (job.state, job.error) == ("stopped", "ended by force by ann")
    until(lambda: not process.is_alive(job.pid, job.process_start), "its end")


def test_what_a_command_does_itself_is_recorded_too(store, kinds):
    with jobs.recorded(store, "light", {}, "ann") as job:
        job.step(1, 2, "half")
        (mine,) = jobs.list(store)
        assert (mine.state, mine.pid) == ("running", os.getpid())
        assert list(jobs.start_queued(store)) == []  # nobody else takes it
        job.result = {"x": 1}
    assert jobs.get(store, job.id).result == {"x": 1}
    with pytest.raises(KeyboardInterrupt), jobs.recorded(store, "light", {}, "ann") as job:
        raise KeyboardInterrupt
    assert jobs.get(store, job.id).state == "stopped"


def test_no_password_is_on_a_job_command_line_nor_in_the_table(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    line = Path(f"/proc/{jobs.get(store, asked.id).pid}/cmdline")
    if not line.exists():
        pytest.skip("no /proc here")
    words = line.read_bytes().decode().split("\0")
    assert words[-4:] == ["job", "run", asked.id, ""]


@pytest.mark.parametrize(("given", "wanted"), [(None, "3"), ("5", "5")])
def test_a_job_leaves_half_of_the_cores_to_others(
    store, kinds, tmp_path, monkeypatch, given, wanted
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)
    environ = Path(f"/proc/{jobs.get(store, asked.id).pid}/environ")
    if not environ.exists():
        pytest.skip("no /proc here")
    assert f"OMP_NUM_THREADS={wanted}" in environ.read_bytes().decode().split("\0")


def test_unknown_kind_and_arguments_that_are_no_json_are_refused(store):
    with pytest.raises(ValueError, match="known: .*prepare"):
        jobs.submit(store, "dance", {}, "ann")
    with pytest.raises(ValueError, match="plain JSON"):
        jobs.submit(store, "prepare", {"x": object()}, "ann")
    with pytest.raises(ForgetmeError, match="no job"):
        jobs.get(store, "0" * 16)
    with pytest.raises(ForgetmeError, match="16 hex digits"):
        store.jobs.log_path("../../etc/passwd")


def test_every_kind_names_a_function_that_takes_a_store_and_a_job():
    for kind in jobs.KINDS.values():
        module, _, name = kind.work.partition(":")
        first, second = list(signature(getattr(import_module(module), name)).parameters)[:2]
        assert (first, second) == ("store", "job"), kind.work


def test_rows_come_back_as_they_were_written_on_both_databases(place):  # noqa: F811
    with Store(**place) as store:
        row = store.jobs.add("prepare", {"a": [1, None, "é"]}, "ann", heavy=True)
        assert store.jobs.get(row.id) == row
        begun = store.jobs.begin(row.id, "here", 5, "77", lambda _: True)
        assert (begun.pid, begun.process_start, begun.host) == (5, "77", "here")
        assert store.jobs.beat(row.id, step=2, total=5, words="w", subject="s") is False
        store.jobs.ask_to_stop(row.id, "ben")
        assert store.jobs.beat(row.id, step=3, total=5, words="w", subject="s") is True
        store.jobs.end(row.id, "done", result={"n": 1})
        store.jobs.end(row.id, "failed", error="too late")
        ended = store.jobs.get(row.id)
        assert (ended.outcome, ended.result, ended.error, ended.step) == ("done", {"n": 1}, None, 3)
        assert store.jobs.unfinished() == []


def test_wishes_are_kept_in_order_on_both_databases(place):  # noqa: F811
    with Store(**place) as store:
        rows = [small_store.add(store, seed) for seed in range(3)]
        store.queue.want([rows[2].id, rows[1].id, rows[2].id])
        store.queue.want([rows[1].id])
        assert store.queue.to_prepare(ready=1, limit=9) == [rows[1].id, rows[2].id, rows[0].id]
        small_store.prepare(store, rows[1])
        assert store.queue.to_embed() == [rows[1].image_sha]


def test_old_ended_jobs_of_a_kind_are_forgotten_with_their_logs(store):
    rows = [store.jobs.add("prepare", {"n": n}, "ann", heavy=False) for n in range(4)]
    other = store.jobs.add("export", {}, "ann", heavy=False)
    store.jobs.folder.mkdir(parents=True)
    for row in [*rows[:3], other]:
        store.jobs.end(row.id, "done")
        store.jobs.log_path(row.id).touch()
    store.jobs.forget("prepare", keep=1)
    left = {job.arguments.get("n") for job in jobs.list(store)}
    assert left == {2, 3, None}  # the latest that ended, the one that did not, another kind
    assert len(list(store.jobs.folder.iterdir())) == 2


def test_backup_takes_no_jobs_along(store, kinds, tmp_path):
    store.jobs.add("light", {}, "ann", heavy=False)
    with Store(store.backup(tmp_path / "copy")) as copy:
        assert jobs.list(copy) == []


def test_command_line_lists_shows_and_stops(store, kinds, tmp_path):
    asked = start(store, "light", tmp_path)
    at_step(store, asked.id, tmp_path)

    def forgetme(*words: str) -> str:
        done = CliRunner().invoke(app, ["job", *words, "--store", str(tmp_path / "store")])
        assert done.exit_code == 0, done.output
        return done.output

    assert asked.id in forgetme("list")
    assert "begins 0" in forgetme("show", asked.id)
    assert "stop" in forgetme("stop", asked.id)
    assert state(store, asked.id, *jobs.ENDED).state == "stopped"


# ---------------------------------------------------------------- the preparing process


@pytest.fixture
def keeper(store, kinds, monkeypatch) -> Iterator[prepare_ahead.Keeper]:
    """A keeper of a preparing process that only waits; looks often."""
    monkeypatch.setattr(prepare_ahead, "KEEP_SECONDS", 0.05)
    keeper = prepare_ahead.Keeper(store, preset="tiny", by="ann", ready=7).start()
    yield keeper
    keeper.stop()


def at_work(store: Store, *but: str) -> jobs.Job:
    """Waits for a job that runs, another one than those named."""
    return until(
        lambda: next((j for j in jobs.list(store) if j.words and j.state == "running"
                      and j.id not in but), None),
        "a preparing process",
    )  # fmt: skip


def test_preparing_process_is_started_again_when_it_dies(store, keeper):
    first = at_work(store)
    assert first.arguments["page"] == prepare_ahead.page_identity()
    until(lambda: keeper.working_on() == f"{7:016x}")
    os.kill(first.pid, signal.SIGKILL)
    second = at_work(store, first.id)
    assert jobs.get(store, first.id).state == "died"
    keeper.stop()
    ended = state(store, second.id, *jobs.ENDED)
    assert (ended.state, ended.stop_by) == ("stopped", prepare_ahead.PAGE)
    assert len(jobs.list(store)) == 2


def test_preparing_process_that_a_person_stopped_stays_stopped(store, keeper):
    first = at_work(store)
    jobs.stop(store, first.id, "ben")
    state(store, first.id, "stopped")
    keeper._keep()
    assert [job.id for job in jobs.list(store)] == [first.id]


def test_preparing_process_that_always_dies_is_given_up(store, kinds, monkeypatch):
    monkeypatch.setitem(jobs.KINDS, "prepare", Kind("prepare", "no_such_module:work", heavy=False))
    keeper = prepare_ahead.Keeper(store, preset="tiny", by="ann")
    for _ in range(prepare_ahead.RESTARTS + 4):
        keeper._keep()
        for job in jobs.list(store):  # as a process that was killed
            store.jobs.end(job.id, "failed", error="killed")
    assert len(jobs.list(store)) == prepare_ahead.RESTARTS + 1


def test_two_pages_share_one_preparing_process(store, keeper, monkeypatch):
    first = at_work(store)
    monkeypatch.setattr(
        prepare_ahead, "page_identity", lambda: {"host": "b", "pid": 1, "start": "1"}
    )
    other = prepare_ahead.Keeper(store, preset="tiny", by="ben").start()
    until(lambda: other._job is not None)
    assert other._job == first.id
    other.stop()  # it is the first page's
    assert jobs.get(store, first.id).state == "running"


# ---------------------------------------------------------------- what is prepared first


def test_wanted_samples_are_prepared_before_the_order_of_import(store):
    rows = [small_store.add(store, seed) for seed in range(6)]
    ids = [row.id for row in rows]
    assert store.queue.to_prepare(ready=2, limit=9) == ids[:2]
    store.queue.want([ids[4], ids[3]])
    assert store.queue.to_prepare(ready=2, limit=9) == [ids[4], ids[3], ids[0], ids[1]]
    store.queue.want([ids[5], ids[4]])  # the curator went on
    assert store.queue.to_prepare(ready=2, limit=2) == [ids[5], ids[4]]


def test_what_somebody_has_open_or_is_ready_is_not_prepared_again(store):
    rows = [small_store.add(store, seed) for seed in range(4)]
    store.queue.want([row.id for row in rows[:2]])
    assert small_store.hold(store, rows[0].id, "ann")
    small_store.prepare(store, rows[1])
    assert store.queue.to_prepare(ready=2, limit=9) == [rows[2].id]  # one of two is ready
    assert store.queue.to_embed() == [rows[1].image_sha]


def test_fill_that_was_interrupted_is_taken_up_when_somebody_comes_near(store):
    row = small_store.add(store, 1)
    row = small_store.step(store, row, "proposed", small_store.proposed(), by="policy")
    assert store.queue.to_prepare(ready=5, limit=9) == []
    store.queue.want([row.id])
    assert store.queue.to_prepare(ready=5, limit=9) == [row.id]
