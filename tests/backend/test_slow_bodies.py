"""Bodies that do not come: whoever sends them gives the place back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from backend.asgi import create_app
from backend.http import SETUP_BYTES
from backend.limits import Limits
from backend.settings import Settings
from tests.backend.conftest import Project

PIECE: Message = {"type": "http.request", "body": b"{", "more_body": True}
END: Message = {"type": "http.request", "body": b"", "more_body": False}
GONE: Message = {"type": "http.disconnect"}


async def sent_to(app: ASGIApp, path: str, messages: Iterable[Message]) -> list[Message]:
    """What the app answers to a client that sends these and then nothing more, but stays."""
    coming = iter(messages)
    answers: list[Message] = []

    async def receive() -> Message:
        message = next(coming, None)
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError
        return message

    async def send(message: Message) -> None:
        answers.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "state": {}}
    await app(scope, receive, send)
    return answers


def error(answers: Sequence[Message]) -> tuple[int, str, bytes | None]:
    """Status, line, and what the header says of the connection."""
    return answers[0]["status"], json.loads(answers[1]["body"])["error"], dict(answers[0]["headers"]).get(b"connection")


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
def test_a_body_that_does_not_come_is_not_waited_for(path: str, settings: Settings) -> None:
    app = create_app(replace(settings, threads=1, queue=0, limits=Limits(body_seconds=0.01)))

    async def one_after_the_other() -> list[Sequence[Message]]:
        return [await sent_to(app, path, messages) for messages in ([PIECE], [PIECE, END])]

    slow, next_one = asyncio.run(one_after_the_other())
    assert error(slow) == (408, "request: expected all of it within 0.01 s, found 1 bytes", b"close")
    # The place is free: this one is read, and what it says is looked at.
    assert next_one[0]["status"] == 400


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
def test_a_client_that_goes_away_is_no_error_of_ours(path: str, settings: Settings) -> None:
    app = create_app(settings)
    broken_off = asyncio.run(sent_to(app, path, [PIECE, GONE]))
    assert error(broken_off)[:2] == (400, "request: expected all of it, found 1 bytes and the end of the connection")
    metrics = TestClient(app).get("/metrics").text
    assert 'sam4d_errors_total{kind="failed"} 0.0' in metrics
    assert 'sam4d_errors_total{kind="refused"} 1.0' in metrics


def test_what_waits_for_no_place_is_small_or_not_kept(client: TestClient, project: Project) -> None:
    much = " " * SETUP_BYTES
    answer = client.post("/setup", json={"schema": project.label_config + much})
    assert (answer.status_code, answer.json()["error"]) == (413, f"request: expected at most {SETUP_BYTES} bytes, found more")
    assert client.post("/webhook", json={"action": much}).status_code == 201
