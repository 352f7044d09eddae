"""README's lines for proxies, in the proxies themselves: people sign in through them."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from test_page import free_port, wait_for
from test_signin import API, MARK, PASSWORD, House, _cheap_hashes, _our_routes_only, house

__all__ = ["_cheap_hashes", "_our_routes_only", "house"]
README = Path(__file__).parents[2] / "README.md"
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; {block} }}
}}
"""


@pytest.fixture
def upstream(house: House) -> Iterator[int]:
    """The page of a team, on a port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(house.app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(20)


def nginx(folder: Path, port: int, upstream: int, *, leave_out: str = "nothing") -> list[str]:
    block = re.search(r"<!-- proxy: nginx -->\n```nginx\n(.*?)```", README.read_text(), re.S)[1]
    lines = [line for line in block.splitlines() if leave_out not in line]
    told = "\n".join(lines).replace("127.0.0.1:7860", f"127.0.0.1:{upstream}")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, block=told))
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    assert "`reverse_proxy 127.0.0.1:7860`" in README.read_text()
    site = f"http://127.0.0.1:{port} {{\n\treverse_proxy 127.0.0.1:{upstream}\n}}\n"
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + site)
    return ["caddy", "run", "--config", str(folder / "Caddyfile")]


@pytest.mark.parametrize(
    ("proxy", "more"), [(nginx, {}), (nginx, {"leave_out": "Host $http_host"}), (caddy, {})]
)
def test_people_sign_in_through_the_proxies_of_readme(upstream, house, tmp_path, proxy, more):
    if shutil.which(proxy.__name__) is None:
        pytest.skip(f"needs {proxy.__name__}: apt-get install {proxy.__name__}")
    port = free_port()
    command = proxy(tmp_path, port, upstream, **more)
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        home = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=home, headers=MARK | {"origin": home}, timeout=60) as browser:
            until = time.monotonic() + 60
            while True:
                try:
                    browser.get(f"{API}door")
                    break
                except httpx.TransportError:
                    assert running.poll() is None, running.stderr.read()
                    assert time.monotonic() < until
                    time.sleep(0.05)
            body = {"name": "lea", "password": PASSWORD.format("lea")}
            assert browser.post(f"{API}sign-in", json=body).status_code == 200
            assert browser.get(f"{API}session").json()["by"] == "lea"
            evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
            # On a connection of its own: after a refusal nginx may hang up on what comes next.
            cookies, sent = dict(browser.cookies), MARK | evil
            address = f"{home}{API}sign-out"
            assert httpx.post(address, json={}, headers=sent, cookies=cookies).status_code == 403
            assert browser.get(f"{API}session").json()["by"] == "lea"
            assert browser.post(f"{API}sign-out", json={}).status_code == 200
    finally:
        running.kill()
        running.communicate()
