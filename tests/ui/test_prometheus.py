"""What Prometheus and whoever restarts the page are told, and who is told nothing."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from test_signin import API, HOME, House, _cheap_hashes, _our_routes_only, house

from forgetme import jobs
from forgetme.cli import app
from forgetme.cli.serve import _parser

__all__ = ["_cheap_hashes", "_our_routes_only", "house"]
HERE = ("127.0.0.1", 4711)  # where a request comes from
ROOT = Path(__file__).parents[2]


def read(text: str) -> dict[tuple, float]:
    """Gives each number by its name and labels."""
    return {
        (one.name, *sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_metrics_are_the_numbers_of_worker_jobs_samples_and_requests(house: House, monkeypatch):
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    local = TestClient(house.app, base_url=HOME, client=HERE)
    for by in ("ann", "ben"):
        house.worker.submit("prepare", house.ids[0 if by == "ann" else 1], by=by)
    jobs.submit(house.store, "train", {}, "lea")
    house.browser("ann").get(f"{API}jobs")
    found = read(local.get("/metrics").text)
    assert found["forgetme_worker_queued", ("kind", "prepare")] == 2
    assert found["forgetme_worker_done_total",] == 0
    assert found["forgetme_jobs", ("kind", "train"), ("state", "queued")] == 1
    states = {key[1][1]: n for key, n in found.items() if key[0] == "forgetme_samples"}
    assert states == house.store.counts()
    assert found["forgetme_request_seconds_count", ("part", "api")] == 2, "sign-in and the list"
    assert found["forgetme_request_seconds_sum", ("part", "api")] > 0


def test_metrics_are_for_leads_and_this_machine(house: House):
    local = TestClient(house.app, base_url=HOME, client=HERE)
    through = {"X-Forwarded-For": "203.0.113.9"}
    status = {name: house.browser(name).get("/metrics").status_code for name in ("ben", "lea")}
    assert status == {"ben": 403, "lea": 200}
    assert house.browser().get("/metrics").status_code == 401
    assert local.get("/metrics").status_code == 200
    outside = House(house.store, any_host=True)
    local = TestClient(outside.app, base_url=HOME, client=HERE)
    assert local.get("/metrics", headers=through).status_code == 401, "a proxy stands before others"
    assert local.get("/metrics", headers={"Host": "photos.example"}).status_code == 401


def test_health_says_whether_the_worker_and_the_store_do_and_no_more(house: House):
    anybody = house.browser()
    answer = anybody.get("/health")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    house.worker.start()
    assert anybody.get("/health").json() == {"ok": True, "words": ""}
    assert house.worker.stop(30)
    house.store.close()


@pytest.mark.parametrize("service", ["page", "worker"])
def test_compose_starts_commands_that_exist(service: str):
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert set(compose["services"]) == {"db", "page", "worker"}
    one = compose["services"][service]
    assert one["environment"]["FORGETME_STORE"].startswith("postgresql://forgetme:${POSTGRES_PASS")
    assert one["environment"]["FORGETME_BLOBS"] == "/data/blobs"
    assert {place.partition(":")[0] for place in one["volumes"]} <= set(compose["volumes"])
    assert one["depends_on"] == {"db": {"condition": "service_healthy"}}
    if service == "page":
        options = _parser("app").parse_args(one["command"])
        assert options.host == "0.0.0.0"
        assert one["ports"] == ["127.0.0.1:7860:7860"]
        return
    assert one["deploy"]["replicas"] == 2
    words = shlex.split(one["entrypoint"][2])
    assert words[:4] == ["exec", "python", "-m", "forgetme"]
    from typer.main import get_command

    group, command = (get_command(app).commands["job"], words[5])
    context = group.commands[command].make_context(command, words[6:])
    assert context.params["store"] == "$$FORGETME_STORE"
