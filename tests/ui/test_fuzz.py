"""Every route of the route table × everybody × arguments that no page sends: no answer is a 500.

The walk reads the table, so a new route is in it by birth. What is told is looked at, too: nobody
below a lead hears where on the server something lies.
"""

from __future__ import annotations

import inspect
import itertools
import json
from typing import get_args, get_origin

import gradio as gr
import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient
from test_page_evaluate import report as small_evaluation
from test_signin import MARK, ROLES, House, _cheap_hashes, _our_routes_only, asks, house, needs

from forgetme import jobs
from forgetme.record.summed import sealed
from forgetme.store import Store
from forgetme.train import runs
from forgetme.train.folder import RunFolder
from forgetme.train.settings import RunSettings
from forgetme.ui.acts import OUR_OWN
from forgetme.ui.guard import MAX_NUMBER

__all__ = ["_cheap_hashes", "_our_routes_only", "house"]
HUGE = 2**63
DEEP = "[" * 900 + "]" * 900
# What a request may hold in place of what is asked for.
VALUES = [None, -1, HUGE, 10**400, "x" * 5000, "\0", "\ud800", [[]], {"a": {"b": []}}]
RAW = ["NaN", DEEP, "{", "[1e999]"]


def fields(route) -> list[tuple[str, str]]:
    """Names what a route reads: (where, name), where "path", "query" or "body"."""
    found, todo = [], [route.dependant]
    while todo:
        one = todo.pop()
        todo += one.dependencies
        found += [("path", field.name) for field in one.path_params]
        for field in one.query_params:
            kind = field.field_info.annotation
            model = isinstance(kind, type) and issubclass(kind, BaseModel)
            names = kind.model_fields if model else [field.name]
            found += [("query", name) for name in names]
        for field in one.body_params:
            kind = field.field_info.annotation
            found += [("body", name) for name in getattr(kind, "model_fields", {})]
    return list(dict.fromkeys(found))


def asked(browser: TestClient, route, given: dict[str, object], raw: str | None = None):
    """Asks a route with some arguments, the others left out; a path's are filled in."""
    path = route.path
    where = dict((name, place) for place, name in fields(route))
    for field in route.param_convertors:
        value = str(given.get(field, "1")).encode("utf-8", "replace").decode()
        path = path.replace(f"{{{field}}}", value.replace("/", "%2f").replace("\0", "%00"))
    query = {
        name: str(value).encode("utf-8", "replace").decode()
        for name, value in given.items()
        if where.get(name) == "query"
    }
    method = next(iter(route.methods - {"HEAD"}))
    content = raw
    if raw is None and method != "GET":
        body = {name: value for name, value in given.items() if where.get(name) == "body"}
        content = json.dumps(body)
    data = None if content is None else content.encode("utf-8", "surrogatepass")
    headers = {"content-type": "application/json", "content-length": str(len(data or b""))}
    return browser.request(method, path[:20_000], params=query, content=data, headers=headers)


def refusal(act, *arguments: object) -> str:
    """Returns what is said when an act is refused; empty when it is done."""
    try:
        act(*arguments)
    except gr.Error as refused:
        return refused.message
    return ""


def hostile(route, sample_id: str, version: int):
    """Yields arguments: each field with each value, the other fields as they should be."""
    right = {"sample_id": sample_id, "foreground": sample_id, "seen": version, "version": version,
             "side": "128", "sha": "f" * 64, "key": "f" * 32, "job_id": "0" * 16}  # fmt: skip
    for (_, name), value in itertools.product(fields(route), VALUES):
        yield {**right, name: value}, None
    if next(iter(route.methods)) != "GET":
        for raw in RAW:
            yield right, raw


@pytest.mark.parametrize("who", [None, "vic", "ann", "lea"])
def test_no_argument_of_any_route_ends_in_an_error_of_our_own(house: House, who: str | None):
    browser = TestClient(
        house.app, base_url="http://127.0.0.1:7860", headers=MARK, follow_redirects=False,
        raise_server_exceptions=False,
    )  # fmt: skip
    if who is not None:
        assert house.sign_in(browser, who).status_code == 200
    rank = {None: -1, "viewer": 0, "curator": 1, "lead": 2}
    count, before = 0, len(house.store.events(house.ids[0]))
    for route in house.routes():
        if route.path.endswith(("/sign-in", "/sign-out")):  # slowed down, and out
            continue
        allowed = rank[ROLES.get(who)] >= rank[needs(route)]
        row = house.store.sample(house.ids[0])
        cases = list(hostile(route, row.id, row.version))
        for given, raw in cases if allowed else cases[:: max(1, len(cases) // 3)]:
            answer = asked(browser, route, given, raw)
            assert answer.status_code < 500, (route.path, given, raw, answer.text)
            count += 1
    assert count > (1500 if who == "lea" else 100)
    if who in (None, "vic"):
        assert len(house.store.events(house.ids[0])) == before


def test_no_argument_of_any_handler_of_gradio_ends_in_an_error_of_our_own(house: House):
    lea, before = house.browser("lea"), len(house.store.events())
    for one in house.acts:
        right = [getattr(field, "value", None) for field in one.inputs]
        for place, value in itertools.product(range(len(right)), VALUES):
            if one.inputs_as_dict and isinstance(one.inputs[place], gr.State):
                continue  # the session's own: no client sends it
            given: list[object] = [*right[:place], value, *right[place + 1 :]]
            if one.inputs_as_dict:
                given = [dict(zip(one.inputs, given, strict=True))]
            said = refusal(one.fn, asks(lea), *given)
            assert said != OUR_OWN, (one.api_name, one.fn.__name__, place, value)
    assert len(house.store.events()) == before


def rights(house: House) -> dict[str, object]:
    """What the named endpoints take, each by its parameter's name."""
    row = house.store.sample(house.ids[1])
    asked = {"method": "esd", "concept": "cat", "trains": "kv", "steps": 1, "lr": 0.1, "batch": 1}
    return {
        "sample_id": row.id, "seen": row.version, "index": 0, "points": [[5, 5, 1]], "text": "x",
        "reason": "x", "prompt": "a room", "negative_prompt": "", "strength": 0.5, "steps": 1,
        "guidance": 5.0, "seed": 0, "state": "", "concept": "cat", "limit": 5, "settings": asked,
        "preset": "tiny", "probe_pictures": 0, "lr": 0.1, "gradient_checkpointing": None,
        "runs": ["one"], "size": "quick", "robustness": False, "role": "viewer", "active": True,
        "password": "a long password", "origin": "local", "label": "x", "share": 0.0, "copies": 2,
        "name": "one", "samples": {"concept": "cat"}, "export": {"name": "one"},
        "push": {"repo": "me/cats", "dry_run": True}, "folder": {"name": "one", "format": "coco"},
        "by": "", "kind": "", "sample": "", "before": None, "page": 0,
    }  # fmt: skip


def test_no_argument_of_any_named_endpoint_ends_in_an_error_of_our_own(house: House, monkeypatch):
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    lea, right, reached = house.browser("lea"), rights(house), set()
    held = house.ids[2]
    house.store.holds.take([held], "ben")
    hostile_ones = [*VALUES, [], {}, float("nan"), float("inf"), HUGE - 1, "../x", house.ids[0]]
    for one in house.acts:
        if one.api_visibility != "public":
            continue
        names = list(inspect.signature(one.fn).parameters)[1:]
        assert set(names) <= set(right), (one.api_name, "a right value for each, please")
        usual = {name: right[name] for name in names}
        cases = [usual | {name: value} for name in names for value in hostile_ones]
        if "seen" in names:
            cases.append(usual | {"seen": right["seen"] + 7})  # stale
        if "sample_id" in names:
            cases.append(usual | {"sample_id": held})  # another's lease
        for given in cases:
            said = refusal(one.fn, asks(lea), *given.values())
            assert said != OUR_OWN, (one.api_name, given)
            reached |= {one.api_name} if not said else set()
    assert len(reached) > 12, reached  # some get past the door, or it is the door that is tried
    assert house.store.sample(held).state != "accepted"


def test_every_number_of_a_request_has_bounds(house: House):
    def unbounded(kind, limits, where):
        found = {name for one in limits for name in ("ge", "gt", "le", "lt") if hasattr(one, name)}
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                yield from unbounded(field.annotation, field.metadata, f"{where}.{name}")
        elif kind in (int, float):
            if not (found & {"ge", "gt"} and found & {"le", "lt"}):
                yield where
        else:
            inner = getattr(kind, "__metadata__", ())
            for part in get_args(kind) if get_origin(kind) is not None else ():
                more = [
                    *limits,
                    *(one for field in inner for one in getattr(field, "metadata", [])),
                ]
                yield from unbounded(part, more, where)

    wrong = []
    for route in house.routes():
        todo = [route.dependant]
        while todo:
            one = todo.pop()
            todo += one.dependencies
            for field in (*one.path_params, *one.query_params, *one.body_params):
                info = field.field_info
                wrong += unbounded(info.annotation, info.metadata, f"{route.path} {field.name}")
    assert not wrong, "\n".join(wrong)
    assert MAX_NUMBER < HUGE


def plant(store: Store, place: str) -> None:
    """Writes a place of the server wherever long work leaves words: jobs, runs, reports."""
    for kind, by in itertools.product(jobs.KINDS, ("ann", "lea")):
        job = store.jobs.add(kind, {"name": "x"}, by, heavy=False, claimed_by="here")
        store.jobs.beat(job.id, step=1, total=2, words=f"reads {place}", subject=None)
        store.jobs.end(job.id, "failed", result={"out": [place]}, error=f"{place}: is cut off")
        store.jobs.folder.mkdir(parents=True, exist_ok=True)
        store.jobs.log_path(job.id).write_text(f"FileNotFoundError: '{place}'\n")
    settings = RunSettings(method="esd", concept="cat", steps=2)
    run = runs.ask(store, "cat-esd", settings, [], preset="tiny", probe_pictures=1, by="ann")
    kept = RunFolder(run.folder, {**settings.record(), "base": f"{place}@1", "data": place})
    kept.claim()
    kept.write({"step": 1, "seconds": 1.0, "loss": 0.2})
    (run.folder / "patch").mkdir()
    patch = {"method": "esd", "trains": "kv", "base": f"{place}@1", "steps_done": 1}
    (run.folder / "patch" / "patch.json").write_text(json.dumps(patch))
    told = small_evaluation()
    told["judges"], told["models"][0]["caution"] = [place], f"made from {place}"
    for model in told["values"].values():
        model["lpips"] |= {"why": f"no weights at {place}", "note": place}
    table = {"version": 1, "made": "2026", "concept": "cat", "scores": [], "rows": [],
             "columns": [{"key": "own", "title": "own", "made_by": place, "settings": {}}],
             "cells": {"own": [{"error": f"{place}: gone"}]}, "summary": {"own": {}}}  # fmt: skip
    for folder, name, report in (
        ("evaluations", "report.json", told), ("comparisons", "table.json", table),
    ):  # fmt: skip
        for one, content in (("x", json.dumps(sealed(report))), ("torn", "{")):
            (store.folder / folder / one).mkdir(parents=True)
            (store.folder / folder / one / name).write_text(content)


def inside(value: object) -> str:
    """All words of what an act gives the page, those of its components too."""
    if isinstance(value, dict | list | tuple):
        return " ".join(map(inside, value.values() if isinstance(value, dict) else value))
    return f"{value} {vars(value)}" if isinstance(value, gr.blocks.Block) else str(value)


@pytest.mark.parametrize("who", ["vic", "ann"])
def test_nobody_below_a_lead_hears_where_files_lie(house: House, who: str, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    place = str(house.store.folder)
    photo = tmp_path / "the importer's place" / "cat.png"
    house.store.import_broken(
        name="cat", concept="cat", by="lea", source=str(photo), error=f"{photo}: is cut off"
    )
    house.store.blob_path(house.store.sample(house.ids[0]).image_sha).unlink()
    plant(house.store, "/srv/hidden/cat.png")
    browser = house.browser(who)
    ids, rank = [row.id for row in house.store.samples(limit=None)], {"viewer": 0, "curator": 1}
    told, known = [], [job.id for job in house.store.jobs.rows()]
    for route in house.routes():
        if rank.get(needs(route), 2) > rank[ROLES[who]]:
            continue
        for one, job, name in (
            *((one, known[0], "x") for one in ids),
            *((ids[0], job, "torn") for job in (known if "{job_id}" in route.path else known[:1])),
            (ids[0], known[0], "cat-esd"),
        ):
            given = {"sample_id": one, "foreground": one, "job_id": job, "ids": one, "name": name,
                     "sha": house.store.sample(one).image_sha or "f" * 64, "side": "128",
                     "what": "foreground", "key": "f" * 32, "version": 1}  # fmt: skip
            told.append((route.path, asked(browser, route, given).content))
    right = rights(house)
    for one in house.acts:
        names = list(inspect.signature(one.fn).parameters)[1:]
        if rank.get(one.fn.role, 2) > rank[ROLES[who]] or {"line", "tab"} & set(names):
            continue  # of what the browser says of a click
        for name in ("x", "torn", "cat-esd"):
            given = [right.get(field) for field in names if field != "held"]
            given = [name if field == right["name"] else field for field in given]
            if one.inputs_as_dict:
                chosen = [field for field in one.inputs if getattr(field, "value", 1) == ""][:1]
                held = {field: getattr(field, "value", None) for field in one.inputs}
                given = [held | dict.fromkeys(chosen, name)]
            try:
                words = inside(one.fn(asks(browser), *given))
            except gr.Error as refused:
                words = refused.message
            told.append((one.api_name, words.encode()))
    assert len(told) > 150
    hidden = [place.encode(), str(tmp_path).encode(), b"the importer", b"/srv/hidden"]
    assert {path for path, text in told if any(one in text for one in hidden)} == set()
    assert any(b"cat.png" in text for _, text in told), "the name stays"
