"""Every request seen from outside: its id, its line in the log and its figures."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import ErrorLog
from backend.logs import current_request_id
from backend.metrics import Metrics

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
ENDPOINTS = frozenset({"/", "/health", "/health/live", "/health/ready", "/setup", "/predict", "/webhook", "/metrics"})
QUIET = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds, by machines."""


class Observation:
    """ASGI middleware around everything else, so that also what is turned away is seen.

    A request keeps the id that a proxy gave it (`X-Request-ID`), or gets one; the answer carries it, and so does every log line of it.
    What nobody expected is answered with it, too.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, errors: ErrorLog) -> None:
        self._app = app
        self._metrics = metrics
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        status = 0
        began = time.monotonic()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        token = current_request_id.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if status:
                raise
            answer = self._errors.answer(error, "request")
            response = JSONResponse({"error": answer.message, "id": answer.error_id}, status_code=answer.status)
            await response(scope, receive, send_with_id)
        finally:
            seconds = time.monotonic() - began
            path = scope["path"] if scope["path"] in ENDPOINTS else "other"
            asked = str(scope.get("state", {}).get("asked", ""))
            self._metrics.answered(path, asked, status, seconds)
            level = logging.DEBUG if path in QUIET else logging.INFO
            logger.log(level, "%s %s %s: %d in %.3f s", scope["method"], path, asked or "-", status, seconds)
            current_request_id.reset(token)
