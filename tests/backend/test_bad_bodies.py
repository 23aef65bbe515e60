"""Hundreds of broken bodies for every endpoint: an answer that blames the client, soon, in one line, and no memory that stays."""

from __future__ import annotations

import gc
import json
import signal
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import hypothesis
import pytest
from starlette.testclient import TestClient

from backend.asgi import create_app
from backend.settings import Settings
from tests.backend.changed_bodies import bodies, encoded, predict_bodies, setup_body, webhook_body
from tests.backend.conftest import Project
from tests.backend.server_process import REPOSITORY

BODIES = 500
MOST_PROCESSOR_SECONDS = 5.0
MEGABYTE = 2**20


@contextmanager
def watchdog() -> Iterator[None]:
    """Ends what computes without end; by this process's own time, so that a busy machine ends nothing. What waits without end,
    pytest-timeout ends."""

    def bark(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"more than {MOST_PROCESSOR_SECONDS:g} s of processor time for one body")

    before = signal.signal(signal.SIGPROF, bark)
    signal.setitimer(signal.ITIMER_PROF, MOST_PROCESSOR_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} in an answer is no JSON")


def check(client: TestClient, path: str, body: bytes, hidden: Sequence[str]) -> None:
    with watchdog():
        answer = client.post(path, content=body)
    assert answer.status_code < 500 or answer.status_code == 503, f"{answer.status_code} {answer.text[:300]}"
    content = json.loads(answer.content, parse_constant=no_constant)
    if answer.status_code >= 400:
        assert "\n" not in content["error"]
        assert len(content["error"]) < 3000
    told = [content["error"]] if "error" in content else [str(entry.get("sam4d")) for entry in content.get("results", ())]
    for text in told:
        assert "the backend's log says more" not in text, "an error of ours, told to the 3D view"
        assert "Traceback" not in text
        assert [secret for secret in hidden if secret in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
def test_no_body_is_too_much(path: str, tiny_project: Project) -> None:
    settings = Settings(data_root=tiny_project.data_root, interactive_seconds=0, batch_seconds=600, session_count=4)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        first = tiny_project.request(tiny_project.task(), context=tiny_project.click_on(tiny_project.visible()))
        answered = client.post("/predict", json=first).json()["results"][0]["result"]
        recorded = {
            "/setup": [setup_body(tiny_project)],
            "/predict": predict_bodies(tiny_project, answered),
            "/webhook": [webhook_body(tiny_project)],
        }[path]
        for body in recorded:
            answer = client.post(path, content=encoded(body))
            assert answer.status_code in (200, 201), answer.text
            assert "error" not in str([result.get("sam4d") for result in answer.json().get("results", ())]), answer.text
        sent: list[bytes] = []

        @hypothesis.settings(max_examples=BODIES, suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(body=bodies(recorded))
        def send(body: bytes) -> None:
            sent.append(body)
            check(client, path, body, hidden=(str(REPOSITORY), str(tiny_project.data_root)))

        send()
        assert len(sent) >= BODIES
        assert growth_bytes(client, path, sent[-BODIES // 2 :]) < MEGABYTE


def growth_bytes(client: TestClient, path: str, sent: list[bytes]) -> int:
    """What stays of a second time that the same bodies come, when the bounded number of open tasks is open already."""
    held = []
    tracemalloc.start()
    try:
        for _ in range(2):
            for body in sent:
                client.post(path, content=body)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return held[1] - held[0]
