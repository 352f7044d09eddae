"""What broke other labelling tools and Gradio, tried on our page: files, addresses, other pages.

Each test is named after what was published. Uploads are in `test_safety_uploads.py`, who gets in
and how far in `test_safety_people.py`, what a browser runs in `test_safety_browser.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import small_store
from safe_page import API, PICTURE_UPLOADS, SCRIPT, SECRET, Answer, Bait, SafePage, serving
from test_signin import SPACE, walk

from forgetme import jobs
from forgetme.record.images import png_bytes
from forgetme.ui.oauth import hub_sign_in

ROOT = Path(__file__).parents[2]
UP = ("../", "..%2f", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "....//", "..;/")
ELSEWHERE = ("/etc/passwd", "%2fetc%2fpasswd", "C:%5cWindows%5cwin.ini", "%5c%5chost%5cshare%5cx")
OPENED = {  # of Gradio, to show the page and run its acts; all the rest of its routes are closed
    "/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt",
    "/static/{path:path}", "/assets/{path:path}",
    "/gradio_api/info", "/gradio_api/app_id", "/gradio_api/heartbeat/{session_hash}",
    "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/call/{api_name}",
    "/gradio_api/call/v2/{api_name}", "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/call/v2/{api_name}/{event_id}",
}  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SafePage]:
    with serving(tmp_path_factory.mktemp("safe") / "store") as page:
        yield page


@pytest.fixture(scope="module")
def bait() -> Iterator[Bait]:
    bait = Bait()
    yield bait
    bait.server.shutdown()


def is_closed(answer: Answer) -> bool:
    """Tells whether the door itself refused, so that nothing behind it saw the request."""
    return answer.status == 404 and json.loads(answer.body)["error"] == "missing"


def gives_nothing(answer: Answer) -> bool:
    found = (SECRET, b"root:", b"from __future__", b"SQLite format")
    return answer.status in (400, 403, 404, 405, 422) and not any(x in answer.body for x in found)


# ------------------------------ files


def test_cve_2023_51449_2026_47682_no_name_in_an_address_is_a_path(page: SafePage) -> None:
    """CVE-2023-51449, CVE-2026-47682 and IOPaint's `media_file`: every route that takes a name."""
    row = page.store.samples()[0]
    valid = {"sample_id": row.id, "foreground": row.id, "sha": row.image_sha, "side": "128",
             "what": "mask", "key": "f" * 32, "version": "1", "kind": "html"}  # fmt: skip
    outside = str(page.store.folder.parent / "secret")
    names = [f"{step * depth}secret" for step in UP for depth in (1, 3)]
    names += [*ELSEWHERE, outside, quote(outside, safe=""), "..%2fstore-private%2fsecret"]
    names += ["..%2fstore.db%00", "..%2fsecret::$DATA", "..%2fstore.db"]
    asked = 0
    for route in walk(page.app.routes):
        if not route.path.startswith("/forgetme/") or "GET" not in route.methods:
            continue
        for hostile in route.param_convertors:
            for name in names:
                target = route.path
                for field in route.param_convertors:
                    value = name if field == hostile else valid.get(field, "cats")
                    target = target.replace(f"{{{field}}}", value)
                assert gives_nothing(page.ask(target)), target
                asked += 1
    assert asked > 200, "the walk must find our routes"


@pytest.mark.parametrize(
    "name", ["..", "../evil", "a/b", "/etc/passwd", "..%2fevil", "..\\evil", ".x", "", "a\0b", "ä"]
)
def test_cve_2023_51449_2026_47682_no_name_in_a_body_is_a_path(page: SafePage, name: str) -> None:
    """CVE-2023-51449, CVE-2026-47682: exports, imports, comparisons, uploaded datasets."""
    before = page.kept()
    asked = {"name": "a", "concept": "cat", "columns": ["own"], "runs": []}
    answers = [
        page.ask(f"{API}data/imports/upload?name={quote(name)}", "POST", b"x"),
        page.post(f"{API}comparisons", asked | {"name": name}),
        page.post(f"{API}comparisons", asked | {"runs": [name]}),
    ]
    assert {one.status for one in answers} <= {400, 422}
    for act in ("export_dataset", "import_dataset"):
        for given in (name, "con"):
            assert page.said(act, {"name": given, "format": "folders"}) != ""
    assert page.kept() == before
    assert jobs.list(page.store) == []


def test_iopaint_585_an_uploads_name_is_only_a_label(page: SafePage) -> None:
    """IOPaint issue 585: an upload named `../../x` was written there."""
    before = page.kept()
    for number, name in enumerate(("../../secret.png", "..%5csecret.png", "/tmp/secret.png")):
        data = png_bytes(small_store.picture(70 + number))
        for target in PICTURE_UPLOADS:
            assert page.ask(target + name, "POST", data).status == 200
    blobs = str(page.store.folder / "blobs")
    assert all("/" not in one or one.startswith(blobs) for one in page.kept() - before)
    assert not [row.name for row in page.store.samples() if "/" in row.name or "\\" in row.name]
    assert (page.store.folder / "secret.png").read_bytes() == SECRET


@pytest.mark.parametrize(
    "target",
    [
        "/forgetme/static../page.py",
        "/forgetme/static%2e%2e/page.py",
        *(f"/forgetme/static/{step}page.py" for step in UP),
        *(f"/static/{step * 3}routes.py" for step in UP),
        *(f"/assets/{step * 3}routes.py" for step in UP),
    ],
)
def test_ghsa_cpmr_mw4j_99r7_no_step_up_from_the_static_files(page: SafePage, target: str) -> None:
    """GHSA-cpmr-mw4j-99r7: `/static../` led out of an aliased folder."""
    assert gives_nothing(page.ask(target))


@pytest.mark.parametrize("name", [*ELSEWHERE, "//etc/passwd", "etc%2f..%2f..%2f..%2fetc%2fpasswd"])
def test_cve_2026_28414_no_absolute_path_is_a_static_file(page: SafePage, name: str) -> None:
    """CVE-2026-28414: joining an absolute path left Gradio's static folder."""
    for folder in ("/forgetme/static/", "/static/", "/assets/", "/svelte/"):
        assert gives_nothing(page.ask(folder + name)), folder


@pytest.mark.parametrize("route", ["/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/"])
def test_cve_2024_47164_2024_12217_gradio_serves_no_file(page: SafePage, route: str) -> None:
    """CVE-2024-47164, CVE-2024-12217: Gradio's checks of paths were got round; ours has no need."""
    cache = os.environ["GRADIO_TEMP_DIR"]
    Path(cache).mkdir(parents=True, exist_ok=True)
    (Path(cache) / "cached.txt").write_bytes(SECRET)
    for name in (
        "/etc/passwd", f"{cache}/cached.txt", f"{cache}/../../etc/passwd", str(ROOT / "app.py"),
        str(ROOT / "app.py") + "::$DATA", "C:/Windows/win.ini", str(page.store.folder / "store.db"),
    ):  # fmt: skip
        for form in (name, quote(name, safe="")):
            assert is_closed(page.ask(route + form)), form


def test_cve_2026_49119_gradio_runs_only_what_asks_who_it_is(page: SafePage) -> None:
    """CVE-2026-49119: FileExplorer listed any folder; also `/queue/join` ran private handlers."""
    config = json.loads(page.ask("/config").body)
    types = {one["type"] for one in config["components"]}
    assert not types & {"fileexplorer", "file", "code", "loginbutton"}
    assert not [one for one in config["components"] if one["props"].get("server_fns")]
    held = [one["props"].get("value") for one in config["components"]]
    told = json.dumps(held) + json.dumps(config["dependencies"])
    assert not [row.name for row in page.store.samples() if row.name in told], "a shell, empty"
    body = {"data": [["..", ".."]], "component_id": 1, "fn_name": "ls", "session_hash": "x"}
    for route in ("component_server", "component_server/", "run/predict", "api/people", "cancel"):
        assert is_closed(page.post(f"/gradio_api/{route}", body | {"fn_index": 0})), route


def test_gradio_answers_only_what_shows_the_page(page: SafePage) -> None:
    """What the next version of Gradio adds is closed until somebody opens it here."""
    mounted = next(one.app for one in page.app.routes if "gradio" in type(
        getattr(one, "app", None)).__module__)  # fmt: skip
    todo, closed = list(mounted.routes), set()
    while todo:
        route = todo.pop()
        todo += route.effective_candidates() if hasattr(route, "effective_candidates") else []
        path = getattr(route, "path", None)
        if path is None or path.rstrip("/") in OPENED or path in OPENED:
            continue
        target = path.replace("{component_id}", "1").replace(":path", "")
        target = target.replace("{", "").replace("}", "")
        for method in (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}:
            assert is_closed(page.ask(target, method)), path
            closed.add(path)
    assert len(closed) > 40, "the walk must find Gradio's routes"
    assert is_closed(page.ask("/monitoring/summary"))
    assert is_closed(page.ask("//gradio_api/upload", "POST"))


# ------------------------------ addresses


def test_cve_2023_47116_2022_31188_nothing_is_fetched_from_an_address(
    page: SafePage, bait: Bait
) -> None:
    """CVE-2023-47116, CVE-2022-31188: an address given in the place of a file was fetched."""
    sample = page.store.samples()[0].id
    before = page.kept()
    for url in (bait.url, bait.url.replace("http:", "https:"), "file:///etc/passwd"):
        data, name = url.encode(), quote(url, safe="")
        answers = [
            *(page.ask(target + name, "POST", data) for target in PICTURE_UPLOADS),
            page.ask(f"{API}data/imports/upload?name={name}.zip", "POST", data),
            page.post(f"{API}side/{sample}/preview",
                      {"behind": {"source": "uploaded", "name": url}}),
            page.post(f"{API}side/{sample}/preview", {"behind": {"source": url}}),
        ]  # fmt: skip
        assert {one.status for one in answers} <= {400, 422}
        assert page.said("import_dataset", {"name": url, "format": "folders"})
        assert page.said("push_dataset", {"repo": url, "dry_run": True})
    assert bait.asked == []
    assert page.kept() == before


def test_gradio_13436_a_file_that_names_an_address_is_not_followed(
    page: SafePage, bait: Bait
) -> None:
    """Gradio 13436: pictures and playlists named what the server then fetched."""
    url = bait.url
    for data in (
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>',
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{url}">]><svg>&e;</svg>',
        f"#EXTM3U\n#EXTINF:1,\n{url}\n",
        f'<html><img src="{url}"></html>',
        f"push graphic-context\nfill 'url({url})'\npop graphic-context",
    ):
        for target in PICTURE_UPLOADS:
            assert page.ask(f"{target}cat.png", "POST", data.encode()).status == 400
    assert bait.asked == []


def test_cve_2024_4325_no_file_by_address_in_gradios_queue(page: SafePage, bait: Bait) -> None:
    """CVE-2024-4325: Gradio fetched the `path` of a file that was handed to its queue."""
    file = {"path": bait.url, "url": bait.url, "meta": {"_type": "gradio.FileData"}}
    for route in ("run/predict", "stream/x", "upload"):
        assert is_closed(page.post(f"/gradio_api/{route}", {"data": [file]}))
    asked = 0
    for one in json.loads(page.ask("/config").body)["dependencies"]:
        for event in (None, {"value": file, "index": 0}):
            body = {"data": [file] * len(one["inputs"]), "fn_index": one["id"],
                    "session_hash": "x", "event_data": event}  # fmt: skip
            asked += page.post("/gradio_api/queue/join", body).status == 200
    assert asked > 10
    page.ask("/gradio_api/queue/data?session_hash=x")  # ends when all of them have run
    assert bait.asked == []


def test_no_request_for_an_act_of_gradio_ends_in_an_error_of_its_own(page: SafePage) -> None:
    """NaN for a list, an act that is not there: Gradio answers these with 500 by itself."""
    joined = [b'{"fn_index": %s, "session_hash": "x", "data": %s}' % (index, data)
              for index in (b"0", b"-1", b"9223372036854775808", b"null", b'"x"', b"NaN")
              for data in (b"NaN", b"[]", b"[NaN]", b"null", b"[" * 900 + b"]" * 900)]  # fmt: skip
    called = [b"", b"{", b"NaN", b'{"data": NaN}', b'{"data": []}', b'{"session_hash": [[]]}']
    asked = [("queue/join", body) for body in joined]
    asked += [(f"call/{name}", body) for name in ("samples", "nothing") for body in called]
    for route, body in asked:
        json_ = {"content_type": "application/json"}
        answer = page.ask(f"/gradio_api/{route}", "POST", body, **json_)
        assert answer.status < 500, (route, body[:60], answer.body)
    page.ask("/gradio_api/queue/data?session_hash=x")  # ends when all of them have run


@pytest.mark.parametrize("prefix", ["/gradio_api/proxy=", "/proxy=", "/gradio_api/file=", "/file="])
def test_cve_2026_28416_ghsa_2mr9_9r47_px2g_nothing_is_handed_through(
    page: SafePage, bait: Bait, prefix: str
) -> None:
    """CVE-2026-28416, GHSA-2mr9-9r47-px2g, Gradio 13596: addresses were asked, cookies leaked."""
    for url in (bait.url, "https://team.hf.space/x", "http://169.254.169.254/latest/meta-data"):
        for form in (url, quote(url, safe="")):
            answer = page.ask(prefix + form, cookie="session=mine")
            assert is_closed(answer), form
            assert not {"location", "set-cookie"} & {name.lower() for name in answer.headers}
    assert bait.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example", "//evil.example/%2e%2e", "/%2f%2fevil.example", "/%5cevil.example/",
        "/login?_target_url=https://evil.example", "/logout?_target_url=https://evil.example",
        "/login/huggingface?_target_url=//evil.example", "/login/callback?next=//evil.example",
        "/gradio_api/file=https://evil.example", "/?_target_url=//evil.example",
        "/forgetme/static//evil.example/", "/forgetme//evil.example/", f"{API}queue/",
    ],
)  # fmt: skip
def test_cve_2026_28415_no_answer_leads_to_another_host(page: SafePage, target: str) -> None:
    """CVE-2026-28415: `_target_url` and addresses with two slashes sent people elsewhere."""
    for method in ("GET", "POST"):
        answer = page.ask(target, method)
        found = urlsplit(answer.headers.get("location", ""))
        assert found.netloc in ("", f"127.0.0.1:{page.port}")
        assert not found.path.startswith("//")


def test_cve_2026_27167_nobody_signs_in_with_hugging_face_outside_a_space(page: SafePage) -> None:
    """CVE-2026-27167: Gradio's stand-in for OAuth made everybody the machine's own user."""
    assert hub_sign_in({key: SPACE[key] for key in SPACE if key != "SPACE_ID"}) is None
    for target in ("/login/huggingface", "/login/callback?code=x&state=x", "/login", "/logout"):
        answer = page.ask(target)
        assert answer.status == 404, target
        assert "set-cookie" not in answer.headers


# ------------------------------ other pages


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"host": "evil.example"},
        {"host": "evil.example:80", "origin": "http://evil.example:80"},
        {"host": "127.0.0.1.evil.example"},
    ],
)
def test_ghsa_779p_m5rp_r4h4_changes_from_another_page_are_refused(
    page: SafePage, headers: dict[str, str]
) -> None:
    """GHSA-779p-m5rp-r4h4: a page without an origin changed things; so did a name that moved."""
    row = page.store.samples(state="prepared")[0]
    answer = page.post(f"{API}samples/{row.id}/reject", {}, **headers)
    assert answer.status in (403, 421)
    assert page.store.sample(row.id).state == "prepared"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_form_of_another_page_changes_nothing(page: SafePage, kind: str | None) -> None:
    """What a browser sends anywhere without asking has none of our headers."""
    row = page.store.samples(state="prepared")[0]
    target = f"{API}samples/{row.id}/reject"
    answer = page.ask(target, "POST", b"{}", x_forgetme=None, content_type=kind)
    assert answer.status == 403
    assert page.store.sample(row.id).state == "prepared"


def test_reading_under_a_foreign_name_is_refused(page: SafePage) -> None:
    assert page.ask(f"{API}session", host="rebound.example").status == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_iopaint_no_other_origin_reads_or_listens(page: SafePage, origin: str) -> None:
    """IOPaint's socket server allowed every origin; Gradio allows some to read."""
    sha = page.store.samples()[0].image_sha
    for target in ("/", "/config", f"{API}session", f"/forgetme/picture/{sha}.png"):
        for method in ("GET", "OPTIONS"):
            answer = page.ask(target, method, origin=origin, access_control_request_method="GET")
            assert not [one for one in answer.headers if one.lower().startswith("access-control")]
    for target in ("/", "/ws", "/gradio_api/queue/join", "/socket.io/?transport=websocket"):
        answer = page.ask(
            target, connection="Upgrade", upgrade="websocket", origin=origin,
            sec_websocket_version="13", sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
        )  # fmt: skip
        assert answer.status != 101


@pytest.mark.parametrize(
    "target",
    [
        "/{}", "/forgetme/{}", f"{API}samples/{{}}", f"{API}queue?view={{}}", "/?view={}",
        "/?deep_link={}", "/?__theme={}", "/config?x={}", "/forgetme/picture/{}.png",
        f"{API}data/trail/file?format=csv&by={{}}", "/gradio_api/info?x={}",
        "/login/callback?state={}",
    ],
)  # fmt: skip
def test_cve_2025_25296_no_answer_gives_script_back_as_a_page(page: SafePage, target: str) -> None:
    """CVE-2025-25296: what stood in the request came back as HTML."""
    for answer in (
        page.ask(target.format(quote(SCRIPT, safe=""))),
        page.post(target.format("x"), {SCRIPT.decode(): SCRIPT.decode()}),
    ):
        kind = answer.headers["content-type"]
        assert SCRIPT not in answer.body or kind == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
