"""A local HTTP server that speaks the Hugging Face Hub's protocol, faults included."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_test5ecret"  # of "ann", who may write to ann/ and team/
READ_TOKEN = "hf_readonly"
LICENSES = ("unknown", "apache-2.0", "cc-by-4.0", "mit", "creativeml-openrail-m")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; the fields that are set apply."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "no"
    drop: bool = False  # close the connection without an answer …
    after: bool = False  # … when the request has been done


@dataclass(frozen=True)
class File:
    """A file at a commit."""

    data: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """Git's name of a regular file, the sha256 of a large one."""
        if self.lfs:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A commit and the whole tree at it."""

    oid: str
    title: str
    files: dict[str, File]


@dataclass
class Repo:
    """A repository."""

    private: bool
    commits: list[Commit]

    @property
    def head(self) -> Commit:
        """The newest commit."""
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        """The commit of a name or branch."""
        if revision == "main":
            return self.head
        return next((one for one in self.commits if one.oid == revision), None)


class HubServer:
    """Serves 127.0.0.1 while the context is open.

    Attributes:
        repos: by "user/name"; of models by "models/user/name".
        uploads: sha256 of every large file that was sent, in order.
        asked: (step, path, authorization) of every request.
        before: called with no argument before a step is done, once.
    """

    def __init__(self) -> None:
        """Binds a free port."""
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.asked: list[tuple[str, str, str | None]] = []
        self.before: dict[str, Callable[[], None]] = {}
        self.faults: dict[str, deque[Fault]] = {}
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """The HF_ENDPOINT for a client."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        """Starts serving."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(self, step: str, times: int = 1, **fault: Any) -> None:
        """Lets the next requests of a step go wrong."""
        self.faults.setdefault(step, deque()).extend([Fault(**fault)] * times)

    def write(self, name: str, title: str, changes: dict[str, bytes | None]) -> str:
        """Makes a commit as somebody else; None deletes."""
        new = {path: File(data, False) for path, data in changes.items() if data is not None}
        gone = [path for path, data in changes.items() if data is None]
        return self.add_commit(name, title, new, gone)

    def make(self, name: str, *, private: bool, files: dict[str, bytes] | None = None) -> None:
        """Makes a repository with its first commit."""
        self.repos[name] = Repo(private, [])
        first = {".gitattributes": b"*.parquet filter=lfs\n", **(files or {})}
        self.write(name, "initial commit", first)

    def add_commit(self, name: str, title: str, new: dict[str, File], gone: list[str]) -> str:
        """Adds a commit on top of the head."""
        with self.lock:
            repo = self.repos[name]
            files = dict(repo.head.files) if repo.commits else {}
            for path in gone:
                del files[path]
            files |= new
            tree = sorted((path, file.oid) for path, file in files.items())
            text = json.dumps([len(repo.commits), title, tree])
            oid = hashlib.sha1(text.encode()).hexdigest()
            repo.commits.append(Commit(oid, title, files))
            return oid


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kind>datasets|models)/{_REPO}"
_FILES = rf"/(?P<kind>datasets/)?{_REPO}"
ROUTES = {
    "create": ("POST", r"/api/repos/create"),
    "yaml": ("POST", r"/api/validate-yaml"),
    "preupload": ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)"),
    "commit": ("POST", rf"{_API}/commit/(?P<revision>[^/]+)"),
    "paths": ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)"),
    "tree": ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?"),
    "info": ("GET", rf"{_API}(?:/revision/(?P<revision>[^/]+))?"),
    "batch": ("POST", rf"{_FILES}\.git/info/lfs/objects/batch"),
    "put": ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})"),
    "verify": ("POST", r"/lfs/verify"),
    "resolve": ("GET", rf"{_FILES}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
}


class _RefusedError(Exception):
    def __init__(
        self, status: int, message: str, code: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.url = status, message, code, url


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802 (the base class's name)
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _serve(self) -> None:
        owner: HubServer = self.server.owner
        url = urlsplit(self.path)
        body = self._body()
        step, match = self._route(url.path)
        owner.asked.append((step, self.path, self.headers.get("authorization")))
        fault = owner.faults[step].popleft() if owner.faults.get(step) else Fault()
        if fault.drop and not fault.after:
            return self._drop()
        if fault.status is not None:
            return self._refuse(_RefusedError(fault.status, fault.message), fault.headers)
        if hook := owner.before.pop(step, None):
            hook()
        try:
            with owner.lock:
                self._arguments = {k: unquote(v) for k, v in match.items() if v is not None}
                self._query = parse_qs(url.query)
                status, headers, data = getattr(self, f"_{step}")(owner, body)
        except _RefusedError as refused:
            return self._refuse(refused, {})
        if fault.drop:
            return self._drop()
        return self._send(status, headers, data)

    def _route(self, path: str) -> tuple[str, dict[str, str | None]]:
        method = "GET" if self.command == "HEAD" else self.command
        for step, (verb, pattern) in ROUTES.items():
            if verb == method and (match := re.fullmatch(pattern, path)):
                return step, match.groupdict()
        return "unknown", {}

    def _unknown(self, owner: HubServer, body: bytes) -> Any:
        raise _RefusedError(404, f"unknown path {self.path}")

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, refused: _RefusedError, headers: dict[str, str]) -> None:
        headers = {
            "content-type": "application/json",
            "x-error-message": refused.message,
            **headers,
        }
        if refused.code:
            headers["x-error-code"] = refused.code
        self._send(
            refused.status,
            headers,
            json.dumps({"error": refused.message, "url": refused.url}).encode(),
        )

    def log_message(self, *_: object) -> None:
        """Says nothing on stderr."""

    # Who may do what

    def _user(self, *, write: bool) -> str | None:
        given = self.headers.get("authorization")
        if given is None:
            return None
        if given not in (f"Bearer {TOKEN}", f"Bearer {READ_TOKEN}"):
            raise _RefusedError(401, "Invalid credentials in Authorization header")
        if write and given != f"Bearer {TOKEN}":
            raise _RefusedError(403, "this token has no right to write")
        return "ann"

    def _repo(self, owner: HubServer, *, write: bool = False) -> tuple[str, Repo]:
        user, name = self._user(write=write), self._arguments["repo"]
        is_model = self._arguments.get("kind", "models") == "models"
        key = f"models/{name}" if is_model else name
        repo = owner.repos.get(key)
        hidden = repo is None or (repo.private and user is None)
        if user is None and (write or hidden):
            raise _RefusedError(401, "Repository not found", "RepoNotFound")
        if hidden:
            raise _RefusedError(404, "Repository not found", "RepoNotFound")
        if write and name.split("/")[0] not in ("ann", "team"):
            raise _RefusedError(403, f"ann may not write to {name}")
        return key, repo

    def _at(self, repo: Repo) -> Commit:
        commit = repo.at(self._arguments.get("revision", "main"))
        if commit is None:
            raise _RefusedError(404, "Revision not found", "RevisionNotFound")
        return commit

    # The steps

    def _create(self, owner: HubServer, body: bytes) -> Any:
        asked = json.loads(body)
        if self._user(write=True) is None:
            raise _RefusedError(401, "Invalid username or password.")
        name = f"{asked.get('organization') or 'ann'}/{asked['name']}"
        is_model = asked.get("type", "model") == "model"
        if name.split("/")[0] not in ("ann", "team"):
            raise _RefusedError(403, f"You don't have the rights to create a dataset under {name}")
        key, place = (f"models/{name}", name) if is_model else (name, f"datasets/{name}")
        if key in owner.repos:
            url = f"{owner.url}/{place}"
            raise _RefusedError(409, "You already created this repo", url=url)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        owner.make(key, private=private)
        return _json({"url": f"{owner.url}/{place}", "name": name, "id": name})

    def _info(self, owner: HubServer, body: bytes) -> Any:
        name, repo = self._repo(owner)
        commit = self._at(repo)
        return _json(
            {
                "_id": "0" * 24,
                "id": name.removeprefix("models/"),
                "author": name.removeprefix("models/").split("/")[0],
                "sha": commit.oid,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "private": repo.private,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": [{"rfilename": path} for path in sorted(commit.files)],
            }
        )

    def _yaml(self, owner: HubServer, body: bytes) -> Any:
        content = json.loads(body)["content"]
        _, _, rest = content.partition("---\n")
        try:
            head = yaml.safe_load(rest.partition("\n---\n")[0])
        except yaml.YAMLError as error:
            return _json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        if isinstance(head, dict) and head.get("license") not in LICENSES:
            message = f'"license" must be one of [{", ".join(LICENSES)}]'
            return _json({"errors": [{"message": message}], "warnings": []}, 400)
        if not isinstance(head, dict):
            return _json(
                {"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]}
            )
        return _json({"errors": [], "warnings": []})

    def _preupload(self, owner: HubServer, body: bytes) -> Any:
        _, repo = self._repo(owner, write=True)
        files = []
        for one in json.loads(body)["files"]:
            base64.b64decode(one["sample"], validate=True)
            lfs = one["path"].endswith((".parquet", ".safetensors")) or one["size"] > 10 * 2**20
            known = repo.head.files.get(one["path"])
            files.append(
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    "oid": known.oid if known else None,
                }
            )
        return _json({"files": files, "commitOid": repo.head.oid})

    def _batch(self, owner: HubServer, body: bytes) -> Any:
        self._repo(owner, write=True)
        asked = json.loads(body)
        if asked["operation"] != "upload" or "basic" not in asked["transfers"]:
            raise _RefusedError(400, "only basic uploads here")
        objects = []
        for one in asked["objects"]:
            found = {"oid": one["oid"], "size": one["size"], "authenticated": True}
            if one["oid"] not in owner.objects:
                upload = {"href": f"{owner.url}/lfs/{one['oid']}"}
                found["actions"] = {"upload": upload, "verify": {"href": f"{owner.url}/lfs/verify"}}
            objects.append(found)
        return _json({"transfer": "basic", "objects": objects})

    def _put(self, owner: HubServer, body: bytes) -> Any:
        oid = self._arguments["oid"]
        if hashlib.sha256(body).hexdigest() != oid:
            raise _RefusedError(400, "the bytes are not those of the name")
        owner.objects[oid] = body
        owner.uploads.append(oid)
        return 200, {"etag": f'"{oid}"'}, b""

    def _verify(self, owner: HubServer, body: bytes) -> Any:
        asked = json.loads(body)
        if len(owner.objects.get(asked["oid"], b"")) != asked["size"]:
            raise _RefusedError(404, "no such object")
        return _json({"message": "Success"})

    def _commit(self, owner: HubServer, body: bytes) -> Any:
        name, repo = self._repo(owner, write=True)
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        header, new, gone = lines[0]["value"], {}, []
        parent = header.get("parentCommit")
        if parent is not None and parent != repo.head.oid:
            raise _RefusedError(412, "A commit has happened since. Please refresh and try again.")
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                new[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in owner.objects:
                    raise _RefusedError(400, f"LFS object {value['oid']} was not uploaded")
                new[value["path"]] = File(owner.objects[value["oid"]], True)
            elif line["key"] == "deletedFile":
                if value["path"] not in repo.head.files:
                    raise _RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
                gone.append(value["path"])
            else:
                raise _RefusedError(400, f"unknown operation {line['key']}")
        oid = owner.add_commit(name, header["summary"], new, gone)
        place = name.removeprefix("models/") if name.startswith("models/") else f"datasets/{name}"
        url = f"{owner.url}/{place}/commit/{oid}"
        return _json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def _tree(self, owner: HubServer, body: bytes) -> Any:
        _, repo = self._repo(owner)
        files, under = self._at(repo).files, self._arguments.get("path", "").strip("/")
        prefix = f"{under}/" if under else ""
        inside = {path: file for path, file in files.items() if path.startswith(prefix)}
        if under and not inside:
            raise _RefusedError(404, f"{under} does not exist", "EntryNotFound")
        deep = self._query.get("recursive", ["false"])[0].lower() == "true"
        entries = [
            _entry(path, file)
            for path, file in sorted(inside.items())
            if deep or "/" not in path[len(prefix) :]
        ]
        return _json([*_folders(inside, prefix, deep), *entries])

    def _paths(self, owner: HubServer, body: bytes) -> Any:
        _, repo = self._repo(owner)
        files = self._at(repo).files
        wanted = [path.strip("/") for path in _paths_asked(body)]
        entries = [_entry(path, files[path]) for path in wanted if path in files]
        folders = [path for path in wanted if any(name.startswith(f"{path}/") for name in files)]
        return _json([*entries, *map(_folder, folders)])

    def _resolve(self, owner: HubServer, body: bytes) -> Any:
        _, repo = self._repo(owner)
        commit = self._at(repo)
        file = commit.files.get(self._arguments["path"])
        if file is None:
            raise _RefusedError(404, "Entry not found", "EntryNotFound")
        headers = {"x-repo-commit": commit.oid, "etag": f'"{file.oid}"', "accept-ranges": "bytes"}
        if file.lfs:
            headers |= {"x-linked-etag": f'"{file.oid}"', "x-linked-size": str(len(file.data))}
        data, size = file.data, len(file.data)
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
            start, end = int(match[1]), int(match[2] or size - 1)
            headers["content-range"] = f"bytes {start}-{min(end, size - 1)}/{size}"
            return 206, headers, data[start : end + 1]
        return 200, headers, data


def _json(value: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"content-type": "application/json"}, json.dumps(value).encode()


def _paths_asked(body: bytes) -> list[str]:
    text = body.decode()
    if text.startswith("{"):
        return json.loads(text)["paths"]
    return parse_qs(text).get("paths", [])


def _entry(path: str, file: File) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(file.data), "oid": file.oid[:40]}
    if file.lfs:
        entry["lfs"] = {"oid": file.oid, "size": len(file.data), "pointerSize": 130}
    return entry


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}


def _folders(files: dict[str, File], prefix: str, deep: bool) -> list[dict[str, Any]]:
    found: dict[str, None] = {}
    for path in sorted(files):
        parts = path[len(prefix) :].split("/")[:-1]
        for count in range(1, (len(parts) if deep else min(1, len(parts))) + 1):
            found[prefix + "/".join(parts[:count])] = None
    return [_folder(path) for path in found]
