"""The endpoints that Label Studio calls. Long work runs in threads, so that /health and /setup answer at once meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import reprlib
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from backend.admission import Admission
from backend.authentication import Authentication
from backend.errors import BusyError, RequestError, one_line
from backend.metrics import CONTENT_TYPE, Metrics
from backend.model import Sam4DBackend
from backend.observation import Observation
from backend.process_keeper import ProcessKeeper
from backend.service import LabellingService
from backend.settings import Settings
from backend.training_desk import event_of, outline_of, project_number
from converters.viewer_requests import is_viewer_request

RETRY_SECONDS = 10
SETUP_BYTES = 1024 * 1024
"""The largest request at /setup, which waits for no place: a hundred times a configuration of six cameras."""

EVENT_BYTES = 128 * 1024
"""Of an event that is read whole; of a larger one, so much of its start and its end."""

MOST_OF_JSON = {"[{": 1_000_000, '"': 8_000_000}
"""Of lists and objects, and of the ends of texts, in one request: Python takes 20 to 30 times their size for empty ones. Numbers take up to
15 times theirs; a mask's, below 256, three times."""


def build_app(service: LabellingService, settings: Settings, keepers: Sequence[ProcessKeeper] = ()) -> Starlette:
    """The ASGI app over one service. keepers: started and stopped with it."""
    admission = Admission(settings.threads, settings.queue, settings.queue_seconds, settings.limits.request_bytes)
    queue = service.keeper.queue if service.keeper is not None else None
    metrics = Metrics(lambda: service.version, admission, service.sessions, service.errors, queue)
    endpoints = _Endpoints(service, settings, admission, metrics, keepers)
    middleware = [Middleware(Observation, metrics=metrics, errors=service.errors)]
    if settings.credentials.any_given:
        middleware.append(Middleware(Authentication, credentials=settings.credentials))
    return Starlette(
        routes=[
            Route("/", endpoints.health, methods=["GET"]),
            Route("/health", endpoints.health, methods=["GET"]),
            Route("/health/live", endpoints.live, methods=["GET"]),
            Route("/health/ready", endpoints.ready, methods=["GET"]),
            Route("/metrics", endpoints.metrics, methods=["GET"]),
            Route("/setup", endpoints.setup, methods=["POST"]),
            Route("/predict", endpoints.predict, methods=["POST"]),
            Route("/webhook", endpoints.webhook, methods=["POST"]),
            Route("/job_status", endpoints.job_status, methods=["POST"]),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: _http_error},
        lifespan=endpoints.lifespan,
    )


class _Endpoints:
    def __init__(
        self, service: LabellingService, settings: Settings, admission: Admission, metrics: Metrics, keepers: Sequence[ProcessKeeper]
    ) -> None:
        self._keepers = keepers
        self._service = service
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._threads = anyio.CapacityLimiter(settings.threads)
        # Every thread that works has memory of its own, which it keeps.
        self._small_work = anyio.CapacityLimiter(2)
        # asyncio itself forgets tasks that nobody holds
        self._at_work: set[asyncio.Task[bytes]] = set()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """What waits is worked on while the server runs."""
        for keeper in self._keepers:
            keeper.start()
        try:
            yield
        finally:
            async with anyio.create_task_group() as stopping:
                for keeper in self._keepers:
                    stopping.start_soon(anyio.to_thread.run_sync, keeper.stop)

    async def health(self, request: Request) -> Response:
        """What Label Studio asks before it connects."""
        trouble = self._trouble()
        status = {"status": "UP", "model_class": Sam4DBackend.__name__, "model_version": self._service.version, "ready": not trouble}
        more = {"trouble": trouble, "version_trouble": self._service.version_trouble, "training": await self._training_says()}
        return JSONResponse({**status, **{name: said for name, said in more.items() if said}})

    async def _training_says(self) -> list[str]:
        if self._service.training.jobs is None:
            return []
        # A file that another process changes may have to be waited for.
        return await anyio.to_thread.run_sync(self._service.training.says, limiter=self._small_work)

    async def live(self, request: Request) -> Response:
        """That this process answers at all: what does not should be started anew."""
        return JSONResponse({"status": "UP"})

    async def ready(self, request: Request) -> Response:
        """Whether a click would be answered now: if not, it is to be sent elsewhere, or later."""
        trouble = self._trouble()
        return JSONResponse({"ready": not trouble, "trouble": trouble}, status_code=503 if trouble else 200)

    async def metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def setup(self, request: Request) -> Response:
        """Only the configuration is looked at: that `hostname` is Label Studio's and `access_token` its own, anyone could claim."""
        try:
            content = _json_object(await self._body(request, min(SETUP_BYTES, self._settings.limits.request_bytes)))
            await anyio.to_thread.run_sync(self._service.check_label_config, _text(content, "schema"))
        except Exception as error:
            return self._error_response(error, "setup")
        return JSONResponse({"model_version": self._service.version})

    async def predict(self, request: Request) -> Response:
        deadline = time.monotonic() + self._settings.limits.seconds
        work = asyncio.create_task(self._work(request, deadline))
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)
        try:
            finished, _ = await asyncio.wait({work}, timeout=self._settings.limits.seconds)
            if not finished:
                # It keeps its place until it is through: a thread cannot be stopped. The same click gets its answer then.
                work.add_done_callback(self._look_at_late_work)
                raise BusyError(f"an answer within {self._settings.limits.seconds:g} s", "none yet", RETRY_SECONDS)
            return Response(work.result(), media_type="application/json")
        except Exception as error:
            return self._error_response(error, "predict")

    async def webhook(self, request: Request) -> Response:
        """Label Studio tells of every change in the project, and that training is to start."""
        try:
            ends = _Ends(EVENT_BYTES)
            await self._receive(request, self._settings.limits.request_bytes, keep=ends.keep)
            answer = await anyio.to_thread.run_sync(self._take_in, ends, limiter=self._small_work)
        except Exception as error:
            return self._error_response(error, "webhook")
        return JSONResponse(answer, status_code=201)

    async def job_status(self, request: Request) -> Response:
        """What becomes of a training, as label-studio-ml answers it."""
        try:
            content = _json_object(await self._body(request, min(SETUP_BYTES, self._settings.limits.request_bytes)))
            job_id = project_number(content.get("job"))
            if job_id is None:
                raise RequestError(
                    "field 'job' of the request", "the number of a training", one_line(reprlib.repr(content.get("job")), 100)
                )
            answer = await anyio.to_thread.run_sync(self._service.training.status, job_id, limiter=self._small_work)
        except Exception as error:
            return self._error_response(error, "job_status")
        return JSONResponse(answer)

    def _take_in(self, body: _Ends) -> dict[str, Any]:
        # What people annotated comes with it: large, and training fetches it itself.
        content = _json_object(body.content) if body.is_whole else outline_of(body.content)
        event, project_id = event_of(content)
        model = Sam4DBackend(project_id=None if project_id is None else str(project_id), service=self._service)
        return model.fit(event, content)

    async def _work(self, request: Request, deadline: float) -> bytes:
        # Those that wait have not been read yet: many large requests would not fit into memory.
        most_bytes = self._settings.limits.request_bytes
        async with self._admission.place(_declared_bytes(request, most_bytes)):
            body = await self._body(request, most_bytes)
            return await anyio.to_thread.run_sync(self._predict, body, request.state, deadline, limiter=self._threads)

    def _look_at_late_work(self, work: asyncio.Task[bytes]) -> None:
        error = None if work.cancelled() else work.exception()
        if isinstance(error, Exception):
            self._service.errors.answer(error, "predict, after its time was over,")

    def _predict(self, body: bytes, state: State, deadline: float) -> bytes:
        state.asked = "unreadable"
        content = _json_object(body)
        tasks = content.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise RequestError("field 'tasks' of the request", "a list of tasks", one_line(reprlib.repr(tasks), 100))
        params = content.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        if context is not None and not isinstance(context, dict):
            raise RequestError("field 'params.context' of the request", "an object or null", one_line(reprlib.repr(context), 100))
        state.asked = "batch" if not context else "view" if is_viewer_request(context) else "click"
        model = Sam4DBackend(project_id=_text(content, "project"), label_config=_text(content, "label_config"), service=self._service)
        predictions = model.predict(tasks, context=context, seconds=deadline - time.monotonic())
        answer: dict[str, Any] = {"results": predictions, "model_version": self._service.version}
        later = [prediction.get("sam4d", {}).get("later") for prediction in predictions]
        if any(later):
            # Label Studio stores nothing for an empty list. It would keep an empty prediction, and never ask for the task again.
            answer["results"] = [[] if when else prediction for when, prediction in zip(later, predictions, strict=True)]
            answer["sam4d"] = {
                when: [task.get("id") for task, its in zip(tasks, later, strict=True) if its == when] for when in set(later) - {None}
            }
        return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()

    def _trouble(self) -> list[str]:
        trouble = ["all places are taken and as many wait as may"] if self._admission.is_full else []
        root = self._settings.data_root
        if root is not None and not os.access(root, os.R_OK | os.X_OK):
            trouble.append("SAM4D_DATA_ROOT cannot be read")
        return trouble

    async def _body(self, request: Request, most_bytes: int) -> bytes:
        chunks: list[bytes] = []
        await self._receive(request, most_bytes, keep=chunks.append)
        return b"".join(chunks)

    async def _receive(self, request: Request, most_bytes: int, keep: Callable[[bytes], object]) -> None:
        """The request's body, piece by piece. Raises RequestError where it is too large, too slow, or broken off."""
        _declared_bytes(request, most_bytes)
        size, most_seconds = 0, self._settings.limits.body_seconds
        try:
            with anyio.fail_after(most_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most_bytes:
                        raise _too_large(most_bytes)
                    keep(chunk)
        except TimeoutError:
            raise RequestError("request", f"all of it within {most_seconds:g} s", f"{size} bytes", status=408) from None
        except ClientDisconnect:
            raise RequestError("request", "all of it", f"{size} bytes and the end of the connection") from None

    def _error_response(self, error: Exception, doing: str) -> Response:
        answer = self._service.errors.answer(error, doing)
        # Futures and frames hold each other, and with them the request, until the garbage collector comes by.
        traceback.clear_frames(error.__traceback__)
        headers = {} if answer.retry_after_seconds is None else {"Retry-After": str(answer.retry_after_seconds)}
        if answer.status == 408:
            # or the server would wait for the rest
            headers["Connection"] = "close"
        return JSONResponse({"error": answer.message, "id": answer.error_id}, status_code=answer.status, headers=headers)


class _Ends:
    """A request's body, where it is small; of a large one its start and its end."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._start = self._end = b""
        self.is_whole = True

    def keep(self, chunk: bytes) -> None:
        room = self._most_bytes - len(self._start)
        self._start += chunk[:room]
        self._end = (self._end + chunk[room:])[-self._most_bytes :]
        self.is_whole &= len(chunk) <= room

    @property
    def content(self) -> bytes:
        return self._start + self._end


def _too_large(most_bytes: int) -> RequestError:
    return RequestError("request", f"at most {most_bytes} bytes", "more", status=413)


def _declared_bytes(request: Request, most_bytes: int) -> int:
    """What a request says it will send, or the most where it does not say. Raises RequestError where that is too much already."""
    declared = int(request.headers.get("Content-Length", most_bytes))
    if declared > most_bytes:
        raise _too_large(most_bytes)
    return declared


def _json_object(body: bytes) -> dict[str, Any]:
    for letters, most in MOST_OF_JSON.items():
        if sum(body.count(letter) for letter in letters.encode()) > most:
            raise RequestError("request", f"at most {most} of {' or '.join(letters)}", "more", status=413)
    trouble = None
    try:
        content = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        # Not raised here: the error of json holds the whole text.
        trouble = one_line(str(error), 200)
    if trouble is not None:
        raise RequestError("request", "JSON", trouble)
    if not isinstance(content, dict):
        raise RequestError("request", "a JSON object", type(content).__name__)
    return content


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _text(content: dict[str, Any], name: str) -> str:
    text = content.get(name)
    if not isinstance(text, str):
        raise RequestError(f"field '{name}' of the request", "a text", one_line(reprlib.repr(text), 100))
    return text


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
