"""What Prometheus is told: how many requests, how long they took, what waits, what is held. One registry per app, none for the process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backend.admission import Admission
from backend.batch_queue import BatchQueue, QueueError
from backend.errors import ErrorLog
from backend.sessions import SessionStore

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 100.0)


class Metrics:
    """The figures of one server process. Safe to use from many threads.

    Args:
        version: the engine's at the moment, "geometric-1" or "sam4d-<digest>".
        admission, sessions, errors, queue: what is asked for its present state with every scrape.
    """

    def __init__(
        self, version: Callable[[], str], admission: Admission, sessions: SessionStore, errors: ErrorLog, queue: BatchQueue | None
    ) -> None:
        self._registry = CollectorRegistry()
        self._version = version
        self._seconds = Histogram(
            "sam4d_request_seconds",
            "From a request's first byte to its answer's last; asked: click, view (of the 3D page) or batch.",
            ("endpoint", "asked", "engine"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._answers = Counter("sam4d_answers", "Answers by status.", ("endpoint", "status"), registry=self._registry)
        self._registry.register(_Errors(errors))
        if queue is not None:
            self._registry.register(_Queue(queue))
        self._gauge("sam4d_requests_running", "Predictions that are being worked on.", lambda: admission.running)
        self._gauge("sam4d_requests_waiting", "Predictions that wait for a place.", lambda: admission.waiting)
        self._gauge("sam4d_open_tasks", "Tasks that stay open between clicks.", lambda: len(sessions.keys))
        self._gauge("sam4d_open_tasks_bytes", "Memory that open tasks hold, an estimate.", lambda: sessions.held_bytes)
        self._gauge("sam4d_gpu_memory_bytes", "Memory of the CUDA device that tensors take; 0 without one.", gpu_memory_bytes)
        self._registry.register(_Engine(version))
        ProcessCollector(registry=self._registry)

    def answered(self, endpoint: str, asked: str, status: int, seconds: float) -> None:
        self._seconds.labels(endpoint, asked, self._version().partition("-")[0]).observe(seconds)
        self._answers.labels(endpoint, str(status)).inc()

    def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, says: str, value: Callable[[], float]) -> None:
        Gauge(name, says, registry=self._registry).set_function(value)


class _Engine(Collector):
    def __init__(self, version: Callable[[], str]) -> None:
        self._version = version

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("sam4d_engine_info", "1; the engine's version.", labels=("version",))
        family.add_metric((self._version(),), 1)
        yield family


class _Errors(Collector):
    def __init__(self, errors: ErrorLog) -> None:
        self._errors = errors

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "sam4d_errors", "Errors that a log line explains; the 3D view and pre-annotation get theirs within a 200.", labels=("kind",)
        )
        for kind, count in self._errors.counts.items():
            family.add_metric((kind,), count)
        yield family


class _Queue(Collector):
    def __init__(self, queue: BatchQueue) -> None:
        self._queue = queue

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "sam4d_batch_tasks", "Tasks of the queue, of all server processes; failed and done within a week.", labels=("state",)
        )
        # A queue that cannot be read has no figures; the others stay.
        with contextlib.suppress(QueueError):
            for state, count in self._queue.counts().items():
                family.add_metric((state,), count)
        yield family


def gpu_memory_bytes() -> int:
    # The geometric engine loads no torch, and asking CUDA would initialise it.
    torch = sys.modules.get("torch")
    return int(torch.cuda.memory_allocated()) if torch is not None and torch.cuda.is_initialized() else 0
