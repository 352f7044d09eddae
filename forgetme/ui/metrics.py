"""How the page is: `/health` for whoever restarts it, `/metrics` for Prometheus."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Receive, Scope, Send

from forgetme.curate.worker import Worker
from forgetme.errors import ForgetmeError
from forgetme.store import Store
from forgetme.store.job_state import found
from forgetme.ui import guard, who

# What a request is for, by how its path begins; the first that fits. Streams are never done.
PARTS = {
    "/forgetme/api": "api",
    "/forgetme/picture": "picture",
    "/forgetme/static": "static",
    "/gradio_api/queue/data": None,
    "/gradio_api/heartbeat": None,
    "/gradio_api": "act",
    "": "page",
}


class Metrics:
    """Counts what the page does; the rest is read when somebody asks."""

    def __init__(self, store: Store, worker: Worker) -> None:
        """Measures a store's page and its worker."""
        self._store, self._worker = store, worker
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._seconds = Histogram(
            "forgetme_request_seconds", "From a request to its whole answer.", ["part"],
            registry=self._registry, buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )  # fmt: skip

    def around(self, app: ASGIApp) -> ASGIApp:
        """Times the requests of an application."""

        async def timed(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            part = next(name for start, name in PARTS.items() if path.startswith(start))
            if scope["type"] != "http" or part is None:
                await app(scope, receive, send)
                return
            began = time.perf_counter()
            try:
                await app(scope, receive, send)
            finally:
                self._seconds.labels(part).observe(time.perf_counter() - began)

        return timed

    def router(self) -> APIRouter:
        """Builds the two routes."""
        routes = APIRouter()

        @routes.get("/health")
        def health() -> Response:
            try:
                self._store.people.any()
                alive = self._worker.status().alive
                words = "" if alive else "the page's worker does not run; start the page again"
            except ForgetmeError:  # it names places, and everybody may ask
                words = "the store does not answer; the terminal shows why"
            return JSONResponse({"ok": not words, "words": words}, 503 if words else 200)

        @routes.get("/metrics")
        def metrics(request: Request) -> Response:
            here = request.client is None or guard.is_loopback(request.client.host)
            if not (here and guard.from_this_machine(dict(request.headers))):
                who.need("lead", who.person(request))
            return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

        return routes

    def collect(self) -> Iterator[Metric]:
        """Reads worker, jobs, samples and GPUs, for Prometheus' client."""
        status = self._worker.status()
        queued = GaugeMetricFamily(
            "forgetme_worker_queued", "Wishes that wait for the page's models.", labels=["kind"]
        )
        for kind, count in Counter(job.kind for job in status.queued).items():
            queued.add_metric([kind], count)
        yield queued
        yield GaugeMetricFamily(
            "forgetme_worker_running_seconds", "Of the wish at work; 0: none.",
            value=status.running_seconds,
        )  # fmt: skip
        yield CounterMetricFamily("forgetme_worker_done", "Wishes worked off.", value=status.done)
        jobs = GaugeMetricFamily("forgetme_jobs", "Long work not ended.", labels=["kind", "state"])
        rows = map(found, self._store.jobs.unfinished())
        for (kind, state), count in Counter((one.kind, one.state) for one in rows).items():
            jobs.add_metric([kind, state], count)
        yield jobs
        samples = GaugeMetricFamily("forgetme_samples", "By state.", labels=["state"])
        for state, count in self._store.counts().items():
            samples.add_metric([state], count)
        yield samples
        memory = GaugeMetricFamily("forgetme_gpu_bytes", "GPU memory.", labels=["device", "of"])
        torch = sys.modules.get("torch")  # it is loaded with the models, never for this
        if torch is not None and torch.cuda.is_available():
            for device in range(torch.cuda.device_count()):
                free, total = torch.cuda.mem_get_info(device)
                memory.add_metric([str(device), "used"], total - free)
                memory.add_metric([str(device), "total"], total)
        yield memory
