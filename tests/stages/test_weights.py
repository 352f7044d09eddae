"""Downloads of published checkpoints, from a real local server that can misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forgetme.errors import DiskFullError, MissingModelError
from forgetme.stages import weights
from forgetme.stages.weights import PUBLISHED, PublishedFile, PublishedFolder

BODY = bytes(range(256)) * 20_000  # 5 MB: several reads
SHA = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files` by path; `faults` is what it does wrong, one entry a request to a file."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.asked: list[tuple[str, str | None]] = []  # path, Range header

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802 (the base class names it)
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        fault = self.server.faults.pop(0) if self.server.faults else "none"
        if fault.isdigit():
            self.send_error(int(fault))
            return
        if self.path not in self.server.files:
            self.send_error(404)
            return
        body = self.server.files[self.path]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if fault == "no ranges":
            start = 0
        if start >= len(body) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(body[start : start + (len(body) - start) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file_url(server):
    server.files["/big.pt"] = BODY
    return f"{server.url}/big.pt"


def get(url, path, **settings):
    weights.fetch(url, path, **{"size": len(BODY), "sha256": SHA, "first_wait": 0} | settings)


class TestFetch:
    def test_puts_the_file_in_place_and_reports_progress(self, file_url, tmp_path):
        reports = []
        get(file_url, tmp_path / "big.pt", progress=lambda *step: reports.append(step))
        assert (tmp_path / "big.pt").read_bytes() == BODY
        assert [p.name for p in tmp_path.iterdir()] == ["big.pt"]
        assert reports[-1] == (len(BODY), len(BODY))
        assert reports == sorted(reports)
        assert len(reports) > 3

    def test_a_cut_connection_is_resumed_where_it_stopped(self, server, file_url, tmp_path):
        server.faults = ["cut", "cut"]
        get(file_url, tmp_path / "big.pt")
        assert (tmp_path / "big.pt").read_bytes() == BODY
        starts = [asked for _, asked in server.asked]
        assert starts == [None, f"bytes={len(BODY) // 2}-", f"bytes={len(BODY) * 3 // 4}-"]

    def test_a_cut_file_of_unknown_size_is_noticed_by_the_servers_own_count(
        self, server, file_url, tmp_path
    ):
        server.faults = ["cut"]
        get(file_url, tmp_path / "big.pt", size=None, sha256=None)
        assert (tmp_path / "big.pt").read_bytes() == BODY

    def test_a_stopped_download_goes_on_at_the_next_call(self, server, file_url, tmp_path):
        def stop(done, total):
            if done > 2_000_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            get(file_url, tmp_path / "big.pt", progress=stop)
        assert [p.name for p in tmp_path.iterdir()] == ["big.pt.part"]
        get(file_url, tmp_path / "big.pt")
        assert (tmp_path / "big.pt").read_bytes() == BODY
        assert server.asked[-1][1] is not None

    def test_a_server_that_cannot_resume_sends_everything_again(self, server, file_url, tmp_path):
        (tmp_path / "big.pt.part").write_bytes(b"wrong start")
        server.faults = ["no ranges"]
        get(file_url, tmp_path / "big.pt")
        assert (tmp_path / "big.pt").read_bytes() == BODY

    def test_a_part_longer_than_the_file_is_thrown_away(self, file_url, tmp_path):
        (tmp_path / "big.pt.part").write_bytes(BODY + b"more")
        get(file_url, tmp_path / "big.pt", size=None)
        assert (tmp_path / "big.pt").read_bytes() == BODY

    def test_wrong_bytes_are_refused_and_deleted(self, server, file_url, tmp_path):
        server.files["/big.pt"] = BODY[:-1] + b"!"
        with pytest.raises(MissingModelError, match=f"must be {SHA}, got"):
            get(file_url, tmp_path / "big.pt")
        assert list(tmp_path.iterdir()) == []

    def test_an_absent_file_is_not_asked_for_twice(self, server, tmp_path):
        with pytest.raises(MissingModelError, match="answered 404"):
            get(f"{server.url}/gone.pt", tmp_path / "gone.pt")
        assert len(server.asked) == 1

    def test_a_busy_server_is_asked_again(self, server, file_url, tmp_path):
        server.faults = ["503", "429", "500"]
        get(file_url, tmp_path / "big.pt")
        assert (tmp_path / "big.pt").read_bytes() == BODY

    def test_a_server_that_stays_broken_is_given_up_with_advice(self, server, file_url, tmp_path):
        server.faults = ["503"] * 9
        with pytest.raises(MissingModelError, match="goes on where it stopped"):
            get(file_url, tmp_path / "big.pt")

    def test_no_server_at_all(self, tmp_path):
        with pytest.raises(MissingModelError, match="could not be downloaded"):
            get("http://127.0.0.1:9/big.pt", tmp_path / "big.pt")

    def test_too_little_room_is_said_before_the_download(self, server, file_url, tmp_path):
        with pytest.raises(DiskFullError, match="no room for big.pt"):
            get(file_url, tmp_path / "big.pt", size=10**18)
        assert server.asked == []


class TestDownload:
    @pytest.fixture
    def published(self, server, file_url):
        rows = []
        for path, body in {"config.json": b"{}", "unet/net.safetensors": BODY}.items():
            server.files[f"/a/b/resolve/rev1/{path}"] = body
            rows.append({"type": "file", "path": path, "size": len(body), "oid": "git"})
        rows[1]["lfs"] = {"oid": SHA, "size": len(BODY), "pointerSize": 134}
        rows.append({"type": "directory", "path": "unet", "size": 0, "oid": "git"})
        server.files["/api/models/a/b/tree/rev1?recursive=true"] = json.dumps(rows).encode()
        files = ("config.json", "unet/net.safetensors")
        return {
            "one": PublishedFile(file_url, SHA, len(BODY), "MIT"),
            "many": PublishedFolder("a/b", "rev1", files, 5_000_000, "MIT"),
            "chosen/one": PublishedFolder("a/b", "rev1", files[1:], 5_000_000, "MIT", files[1]),
            "less": PublishedFolder("a/b", "rev1", (*files, "gone.json"), 5_000_000, "MIT"),
        }

    @pytest.fixture
    def download(self, server, published, tmp_path):
        def download(name, progress=None):
            return weights.download(
                name, progress, cache=tmp_path, hub=server.url, published=published, first_wait=0
            )

        return download

    @pytest.mark.parametrize(
        "listing",
        [
            b"[[[[" * 5000,
            b'{"error": "no"}',
            b'[{"path": 5}]',
            b'[{"path": "config.json", "size": -1}]',
            b'[{"path": "config.json", "size": 2, "lfs": {"oid": "../../x"}}]',
        ],
    )
    def test_a_listing_that_is_none_is_one_line(self, server, download, tmp_path, listing):
        server.files["/api/models/a/b/tree/rev1?recursive=true"] = listing
        with pytest.raises(
            MissingModelError, match="no list of the files|could not be read"
        ) as told:
            download("many")
        assert len(str(told.value).splitlines()) == 1

    def test_names_that_a_hub_adds_are_not_written(self, server, download, tmp_path):
        place = "/api/models/a/b/tree/rev1?recursive=true"
        rows = json.loads(server.files[place])
        rows += [{"path": "../../../evil.sh", "size": 3}, {"path": "/etc/cron.d/x", "size": 3}]
        server.files[place] = json.dumps(rows).encode()
        folder = download("many")
        names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert folder.is_dir()
        assert not names & {"evil.sh", "x"}

    def test_before_it_the_error_names_the_command(self, published, tmp_path):
        with pytest.raises(MissingModelError, match="forgetme doctor --download chosen/one"):
            weights.locate("chosen/one", cache=tmp_path, published=published)

    def test_a_file_is_found_afterwards_with_its_hash(self, download, published, tmp_path):
        path = download("one")
        assert path.read_bytes() == BODY
        assert weights.locate("one", cache=tmp_path, published=published) == path
        assert weights.check("one", cache=tmp_path, published=published) == (path, SHA)

    def test_a_folder_has_exactly_the_files_asked_for(self, download, published, tmp_path):
        reports = []
        folder = download("many", lambda *step: reports.append(step))
        assert (folder / "unet" / "net.safetensors").read_bytes() == BODY
        assert (folder / "config.json").read_bytes() == b"{}"
        assert weights.check("many", cache=tmp_path, published=published)[0] == folder
        assert reports[-1] == (len(BODY) + 2, len(BODY) + 2)

    def test_one_file_of_a_repository(self, download):
        assert download("chosen/one").read_bytes() == BODY

    def test_a_second_download_reads_nothing_again(self, server, download):
        download("one")
        before = len(server.asked)
        download("one")
        assert len(server.asked) == before

    def test_a_folder_is_completed_after_a_failure(self, server, download, published, tmp_path):
        server.faults = ["none", "none", "404"]
        with pytest.raises(MissingModelError, match="404"):
            download("many")
        with pytest.raises(MissingModelError, match="doctor --download many"):
            weights.locate("many", cache=tmp_path, published=published)
        download("many")
        assert weights.locate("many", cache=tmp_path, published=published).is_dir()
        asked = [path for path, _ in server.asked]
        assert asked.count("/a/b/resolve/rev1/config.json") == 1

    def test_a_file_that_the_repository_lost_is_named(self, download):
        with pytest.raises(MissingModelError, match="no longer has gone.json"):
            download("less")

    def test_a_damaged_file_is_noticed_when_used(self, download, published, tmp_path):
        path = download("one")
        path.write_bytes(BODY[:-1] + b"!")
        with pytest.raises(MissingModelError, match="damaged"):
            weights.check("one", cache=tmp_path, published=published)
        download("one")
        assert weights.check("one", cache=tmp_path, published=published) == (path, SHA)

    def test_an_unknown_name_lists_the_known_ones(self, tmp_path):
        for call in (weights.locate, weights.check, weights.download):
            with pytest.raises(ValueError, match="known: sam-vit-h, sam-vit-l"):
                call("sam-vit-x", cache=tmp_path)


def test_every_published_file_has_a_whole_hash_and_a_secure_address():
    for name, weight in PUBLISHED.items():
        assert weight.licence, name
        if isinstance(weight, PublishedFile):
            assert len(bytes.fromhex(weight.sha256)) == 32, name
            assert weight.url.startswith("https://"), name
