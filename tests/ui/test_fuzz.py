"""Every route of the route table × everybody × arguments that no page sends: no answer is a 500.

The walk reads the table, so a new route is in it by birth. What is told is looked at, too: nobody
below a lead hears where on the server something lies.
"""

from __future__ import annotations

import itertools
import json
from typing import get_args, get_origin

import gradio as gr
import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient
from test_signin import MARK, ROLES, House, _cheap_hashes, _our_routes_only, asks, house, needs

from forgetme import jobs
from forgetme.errors import ForgetmeError
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


@pytest.mark.parametrize("who", ["vic", "ann"])
def test_nobody_below_a_lead_hears_where_files_lie(house: House, who: str, tmp_path):
    place = str(house.store.folder)
    photo = tmp_path / "the importer's place" / "cat.png"
    house.store.import_broken(
        name="cat", concept="cat", by="lea", source=str(photo), error=f"{photo}: is cut off"
    )
    house.store.blob_path(house.store.sample(house.ids[0]).image_sha).unlink()
    job = house.store.jobs.add("import", {"name": "x", "format": "folders"}, "lea", heavy=False)
    with pytest.raises(ForgetmeError, match="x"):  # the log has where it looked
        jobs.run(house.store, job.id)
    browser = house.browser(who)
    told, ids = [], [row.id for row in house.store.samples(limit=None)]
    for route in house.routes():
        if "GET" in route.methods and needs(route) in ("viewer", "curator"):
            for one in ids:
                given = {"sample_id": one, "foreground": one, "job_id": job.id, "ids": one,
                         "sha": house.store.sample(one).image_sha or "f" * 64, "side": "128",
                         "what": "foreground", "key": "f" * 32, "version": 1}  # fmt: skip
                told.append((route.path, asked(browser, route, given).content))
    assert len(told) > 60
    hidden = [place.encode(), str(tmp_path).encode(), str(photo.parent).encode(), b"the importer"]
    assert [path for path, text in told if any(one in text for one in hidden)] == []
    assert any(b"cat.png" in text for _, text in told), "the name stays"
