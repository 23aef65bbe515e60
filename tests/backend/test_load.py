"""A team's hour in a minute: 32 people at one real server. What is wrong fails; how fast it was is written down, not judged."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from backend.asgi import build_service
from backend.settings import Settings
from tests.backend.changed_bodies import predict_bodies, setup_body, webhook_body
from tests.backend.conftest import Project
from tests.backend.server_process import REPOSITORY, WORKER, Server, running_server

CLIENTS, REQUESTS_PER_CLIENT = 32, 100
TASKS = 12
"""More than stay open at once, so that tasks are closed and opened again all the time."""
MEMORY_MAY_DIFFER = 0.05
ASKED_AGAIN = 200


@dataclass(frozen=True)
class Kind:
    """One kind of request. share: of all. statuses: that are right for it."""

    method: str
    path: str
    bodies: tuple[bytes, ...]
    share: float
    statuses: tuple[int, ...] = (200,)


@dataclass
class Record:
    """What came of the requests, and the memory of the server's worker after every tenth."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, kind: Kind, answer: requests.Response, seconds: float, memory: Callable[[], int]) -> None:
        with self.lock:
            self.seconds.setdefault(name, []).append(seconds)
            self.statuses[name, answer.status_code] += 1
            if answer.status_code not in kind.statuses:
                self.wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
            if sum(map(len, self.seconds.values())) % 10 == 0:
                self.resident_bytes.append(memory())


def kinds(project: Project) -> dict[str, Kind]:
    """Requests on many tasks; all of them are answered 200 by a server that knows nothing of the task."""
    answered = first_answer(project)
    click, refined, above, box, brush, *seen, propose = predict_bodies(project, answered)
    good = [click, above, box, brush]
    bad = [
        {**click, "tasks": None},
        {**click, "label_config": "<View"},
        {**refined, "params": {"context": {"result": [{"type": "keypointlabels"}]}}},
        {**click, "tasks": [{**click["tasks"][0], "data": {**click["tasks"][0]["data"], "sequence": "/data/local-files/?d=no/such"}}]},
    ]
    return {
        "click in a camera": Kind("POST", "/predict", on_tasks([*good[:1], refined]), 0.16),
        "click, box or brush": Kind("POST", "/predict", on_tasks(good[1:]), 0.10),
        "3D view": Kind("POST", "/predict", on_tasks(seen), 0.12),
        "proposals": Kind("POST", "/predict", on_tasks([{**propose, "tasks": propose["tasks"][:1]}]), 0.01),
        "setup": Kind("POST", "/setup", (encoded(setup_body(project)),), 0.18),
        "webhook": Kind("POST", "/webhook", (encoded(webhook_body(project)),), 0.15, (201,)),
        "health": Kind("GET", "/health", (b"",), 0.18),
        "bad": Kind("POST", "/predict", (*map(encoded, bad), b"{", b"\xff"), 0.10, (400, 422)),
    }


def first_answer(project: Project) -> list[dict[str, Any]]:
    context = project.click_on(project.visible())
    service = build_service(Settings(data_root=project.data_root, interactive_seconds=600))
    results: list[dict[str, Any]] = service.predict([project.task()], "7", project.label_config, context)[0]["result"]
    return results


def on_tasks(bodies: list[dict[str, Any]]) -> tuple[bytes, ...]:
    return tuple(
        encoded({**body, "tasks": [{**body["tasks"][0], "id": task}, *body["tasks"][1:]]}) for body in bodies for task in range(TASKS)
    )


def encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


def resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ask(session: requests.Session, address: str, kind: Kind, body: bytes) -> tuple[requests.Response, float]:
    """The answer and how long it took; a server that is full says when to ask again, and is asked again then."""
    for _ in range(ASKED_AGAIN):
        began = time.monotonic()
        answer = session.request(kind.method, f"{address}{kind.path}", data=body, timeout=240)
        seconds = time.monotonic() - began
        if answer.status_code != 503 or "Retry-After" not in answer.headers:
            return answer, seconds
        time.sleep(float(answer.headers["Retry-After"]))
    return answer, seconds


def work(server: Server, traffic: Mapping[str, Kind], client: int, record: Record) -> None:
    random = np.random.default_rng(client)
    worker = server.worker
    names = list(traffic)
    with requests.Session() as session:
        for choice in random.choice(len(names), size=REQUESTS_PER_CLIENT, p=[kind.share for kind in traffic.values()]):
            kind = traffic[names[choice]]
            body = kind.bodies[random.integers(len(kind.bodies))]
            answer, seconds = ask(session, server.address, kind, body)
            record.add(names[choice], kind, answer, seconds, lambda: resident_bytes(worker))


def write_down(record: Record) -> dict[str, Any]:
    """In test-output/load.json, for docs/running.md."""
    thirds = [float(np.mean(part)) / 2**20 for part in np.array_split(record.resident_bytes, 3)]
    kinds_seen = {
        name: {"requests": len(seconds), "median_s": float(np.median(seconds)), "p95_s": float(np.percentile(seconds, 95))}
        for name, seconds in record.seconds.items()
    }
    statuses = {f"{name}: {status}": count for (name, status), count in sorted(record.statuses.items())}
    report = {"clients": CLIENTS, "worker_mean_megabytes_by_third": thirds, "kinds": kinds_seen, "statuses": statuses}
    folder = REPOSITORY / "test-output"
    folder.mkdir(exist_ok=True)
    (folder / "load.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_team_is_served_and_memory_stays_flat(tiny_project: Project, tmp_path: Path) -> None:
    variables = {"SAM4D_DATA_ROOT": str(tiny_project.data_root), "SAM4D_INTERACTIVE_SECONDS": "0", "SAM4D_SESSIONS": "8"}
    variables["LOG_LEVEL"] = "ERROR"
    traffic = kinds(tiny_project)
    record = Record()
    log = tmp_path / "server.log"
    with running_server("backend.asgi:create_app()", [WORKER, "--timeout=240"], variables, log) as server:
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(work, server, traffic, client, record) for client in range(CLIENTS)]:
                done.result()
        assert requests.get(f"{server.address}/health", timeout=60).status_code == 200
    report = write_down(record)
    assert record.wrong == []
    assert sum(record.statuses.values()) == CLIENTS * REQUESTS_PER_CLIENT >= 3000
    assert "Traceback" not in log.read_text()
    _, second, third = report["worker_mean_megabytes_by_third"]
    assert abs(third - second) <= MEMORY_MAY_DIFFER * second, report["worker_mean_megabytes_by_third"]
