"""The endpoints that Label Studio calls. Long work runs in threads, so that /health and /setup answer at once meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.admission import Admission
from backend.errors import RequestError, answer_error, one_line
from backend.model import Sam4DBackend
from backend.service import LabellingService
from backend.settings import Settings


def build_app(service: LabellingService, settings: Settings) -> Starlette:
    """The ASGI app over one service."""
    endpoints = _Endpoints(service, settings)
    middleware = []
    if settings.basic_auth_user is not None and settings.basic_auth_pass is not None:
        middleware.append(Middleware(BasicAuthentication, user=settings.basic_auth_user, password=settings.basic_auth_pass))
    return Starlette(
        routes=[
            Route("/", endpoints.health, methods=["GET"]),
            Route("/health", endpoints.health, methods=["GET"]),
            Route("/setup", endpoints.setup, methods=["POST"]),
            Route("/predict", endpoints.predict, methods=["POST"]),
            Route("/webhook", endpoints.webhook, methods=["POST"]),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: _http_error},
    )


class _Endpoints:
    def __init__(self, service: LabellingService, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._admission = Admission(settings.threads, settings.queue, settings.queue_seconds)
        self._threads = anyio.CapacityLimiter(settings.threads)

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "UP", "model_class": Sam4DBackend.__name__, "model_version": self._service.version})

    async def setup(self, request: Request) -> Response:
        try:
            content = _json_object(await self._body(request))
            self._service.check_label_config(_text(content, "schema"))
        except Exception as error:
            return _error_response(error, "setup")
        return JSONResponse({"model_version": self._service.version})

    async def predict(self, request: Request) -> Response:
        try:
            # Those that wait have not been read yet: many large requests would not fit into memory.
            async with self._admission.place():
                body = await self._body(request)
                answer = await anyio.to_thread.run_sync(self._predict, body, limiter=self._threads)
        except Exception as error:
            return _error_response(error, "predict")
        return Response(answer, media_type="application/json")

    async def webhook(self, request: Request) -> Response:
        """Label Studio tells of every change in the project; tasks bring what is needed themselves, so nothing is done."""
        try:
            await self._body(request)
        except Exception as error:
            return _error_response(error, "webhook")
        return JSONResponse({}, status_code=201)

    def _predict(self, body: bytes) -> bytes:
        content = _json_object(body)
        tasks = content.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise RequestError("field 'tasks' of the request", "a list of tasks", one_line(repr(tasks), 100))
        params = content.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        if context is not None and not isinstance(context, dict):
            raise RequestError("field 'params.context' of the request", "an object or null", one_line(repr(context), 100))
        model = Sam4DBackend(project_id=_text(content, "project"), label_config=_text(content, "label_config"), service=self._service)
        answer = {"results": model.predict(tasks, context=context), "model_version": self._service.version}
        return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()

    async def _body(self, request: Request) -> bytes:
        most = self._settings.request_bytes
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise RequestError("request", f"at most {most} bytes", "more", status=413)
            chunks.append(chunk)
        return b"".join(chunks)


class BasicAuthentication:
    """HTTP basic authentication on everything but /health, which orchestrators ask without a password."""

    def __init__(self, app: ASGIApp, user: str, password: str) -> None:
        self._app = app
        self._expected = f"{user}:{password}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health" or self._is_allowed(dict(scope["headers"])):
            await self._app(scope, receive, send)
            return
        response = JSONResponse(
            {"error": "user and password expected (HTTP basic authentication)"},
            status_code=401,
            headers={"WWW-Authenticate": 'Basic realm="sam4d"'},
        )
        await response(scope, receive, send)

    def _is_allowed(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, encoded = headers.get(b"authorization", b"").partition(b" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error:
            return False
        return scheme.lower() == b"basic" and secrets.compare_digest(given, self._expected)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError("request", "JSON", one_line(str(error), 200)) from None
    if not isinstance(content, dict):
        raise RequestError("request", "a JSON object", type(content).__name__)
    return content


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _text(content: dict[str, Any], name: str) -> str:
    text = content.get(name)
    if not isinstance(text, str):
        raise RequestError(f"field '{name}' of the request", "a text", one_line(repr(text), 100))
    return text


def _error_response(error: Exception, doing: str) -> Response:
    answer = answer_error(error, doing)
    headers = {} if answer.retry_after_seconds is None else {"Retry-After": str(answer.retry_after_seconds)}
    return JSONResponse({"error": answer.message, "id": answer.error_id}, status_code=answer.status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
