"""The endpoints: what Label Studio asks, what it must never be told, and that long work stops nothing else."""

from __future__ import annotations

import copy
import hashlib
import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import safetensors.torch
from starlette.testclient import TestClient

from backend.asgi import build_service, create_app
from backend.authentication import Credentials
from backend.http import build_app
from backend.limits import Limits
from backend.media import MediaReader
from backend.service import LabellingService
from backend.sessions import SessionStore
from backend.settings import Settings
from converters.brush_rle import decode_mask
from converters.label_config import build_label_config
from sam4d.predictor import Predictor, Session, build_predictor
from sam4d.structures import Clip
from tests.backend.conftest import SEQUENCE, Project
from tests.backend.server_process import gunicorn
from tests.sam4d.network.conftest import random_weights


class GatedPredictor:
    """The real engine, which waits at a gate before it opens a clip."""

    def __init__(self) -> None:
        self.predictor: Predictor = build_predictor()
        self.arrived = threading.Semaphore(0)
        self.gate = threading.Event()

    @property
    def version(self) -> str:
        return self.predictor.version

    def open(self, clip: Clip) -> Session:
        self.arrived.release()
        assert self.gate.wait(120)
        return self.predictor.open(clip)


def gated_app(settings: Settings, predictor: GatedPredictor, limits: Limits | None = None) -> TestClient:
    """`limits`: the service's own; None takes those of the settings."""
    service = LabellingService(lambda: predictor, MediaReader(settings), SessionStore(8, 10**10), 600, 600, 200, limits or settings.limits)
    return TestClient(build_app(service, settings), raise_server_exceptions=False)


def test_health_and_setup_say_the_version(client: TestClient, project: Project) -> None:
    for path in ("/health", "/"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "UP")
    body = {"project": "7.17", "schema": project.label_config, "hostname": "http://x", "access_token": "t", "extra_params": None}
    answer = client.post("/setup", json=body)
    assert (answer.status_code, answer.json()) == (200, {"model_version": build_predictor().version})


def test_webhooks_are_accepted_and_versions_unknown(client: TestClient) -> None:
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
    answer = client.get("/versions", params={"project": "7.17"})
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


def test_health_setup_and_webhook_answer_while_predictions_run(settings: Settings, project: Project) -> None:
    predictor = GatedPredictor()
    answers: dict[int, Any] = {}
    with gated_app(settings, predictor) as client:

        def click(task: int) -> None:
            request = project.request(project.task(task), context=project.click_on(project.visible()))
            answers[task] = client.post("/predict", json=request)

        threads = [threading.Thread(target=click, args=(task,)) for task in (1, 2)]
        for thread in threads:
            thread.start()
        # Both tasks are being opened at the same time, and neither is answered.
        for _ in threads:
            assert predictor.arrived.acquire(timeout=60)
        assert client.get("/health").status_code == 200
        assert client.post("/setup", json={"schema": project.label_config}).status_code == 200
        assert client.post("/webhook", json={}).status_code == 201
        assert answers == {}
        predictor.gate.set()
        for thread in threads:
            thread.join(120)
    values = [[result["value"] for result in answers[task].json()["results"][0]["result"]] for task in (1, 2)]
    assert values[0] == values[1] != []


def test_a_full_server_asks_to_come_again(settings: Settings, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    predictor = GatedPredictor()
    answered: queue.SimpleQueue[Any] = queue.SimpleQueue()
    full = replace(settings, threads=1, queue=1, queue_seconds=90.0)
    with gated_app(full, predictor) as client:

        def click(task: int) -> None:
            request = project.request(project.task(task), context=project.click_on(project.visible()))
            answered.put(client.post("/predict", json=request))

        threads = [threading.Thread(target=click, args=(task,)) for task in (1, 2, 3)]
        threads[0].start()
        assert predictor.arrived.acquire(timeout=60)
        for thread in threads[1:]:
            thread.start()
        # One of them waits, and one is turned away while it does.
        refused = answered.get(timeout=60)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
        assert refused.json()["error"] == "server: expected fewer requests at a time, found 2 before this one"
        assert refused.json()["id"] in caplog.text
        assert client.get("/health").status_code == 200
        predictor.gate.set()
        for thread in threads:
            thread.join(120)
    assert [answered.get(timeout=1).status_code for _ in range(2)] == [200, 200]


def test_who_waits_too_long_is_asked_to_come_again(settings: Settings, project: Project) -> None:
    predictor = GatedPredictor()
    answers: list[Any] = []
    with gated_app(replace(settings, threads=1, queue=1, queue_seconds=0.1), predictor) as client:
        request = project.request(project.task(1), context=project.click_on(project.visible()))
        first = threading.Thread(target=lambda: answers.append(client.post("/predict", json=request)))
        first.start()
        assert predictor.arrived.acquire(timeout=60)
        refused = client.post("/predict", json=request)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["error"] == "server: expected a place within 0.1 s, found none"
        predictor.gate.set()
        first.join(120)
        assert client.post("/predict", json=request).status_code == 200, "its place is free again"
    assert [answer.status_code for answer in answers] == [200]


def test_two_clicks_on_one_task_wait_for_each_other(settings: Settings, project: Project) -> None:
    predictor = GatedPredictor()
    predictor.gate.set()
    answers: list[Any] = []
    wanted = project.visible()
    clicks = [project.click_on(wanted, frame_index=frame_index) for frame_index in (0, 1)]
    with gated_app(settings, predictor) as client:
        threads = [
            threading.Thread(
                target=lambda context=context: answers.append(
                    client.post("/predict", json=project.request(project.task(), context=context))
                )
            )
            for context in clicks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    ids = {result["meta"]["sam4d"]["object_id"] for answer in answers for result in answer.json()["results"][0]["result"]}
    assert ids == {1}
    assert predictor.arrived.acquire(blocking=False)
    assert not predictor.arrived.acquire(blocking=False), "the clip was opened once"


Change = Callable[[dict[str, Any]], object]


def prompt(body: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = body["params"]["context"]["result"][0]
    return result


def painted(body: dict[str, Any], value: dict[str, Any], **more: object) -> None:
    """A draft with one brush region."""
    shown = {"id": "x", "type": "brushlabels", "from_name": "brush_front", "to_name": "front", "item_index": 0, "value": value}
    region = {**shown, "original_width": 320, "original_height": 200, **more}
    body["tasks"][0].update(drafts=[{"user": "a", "updated_at": "2026", "result": [region]}])


BAD_REQUESTS: dict[str, tuple[Change, int, str]] = {
    "no tasks": (lambda body: body.pop("tasks"), 400, "'tasks'"),
    "tasks of a wrong type": (lambda body: body.update(tasks=["1"]), 400, "'tasks'"),
    "no configuration": (lambda body: body.pop("label_config"), 400, "'label_config'"),
    "no project": (lambda body: body.update(project=None), 400, "'project'"),
    "context of a wrong type": (lambda body: body["params"].update(context="click"), 400, "'params.context'"),
    "configuration that is no XML": (lambda body: body.update(label_config="<View"), 422, "well-formed XML"),
    "configuration without our tags": (
        lambda body: body.update(label_config="<View><Text name='t' value='$t'/></View>"),
        422,
        "cuboid_bev",
    ),
    "configuration of other cameras": (lambda body: body.update(label_config=build_label_config(["rear"], ["Car"])), 422, "brush_front"),
    "task of another project type": (lambda body: body["tasks"][0].update(data={"text": "hello"}), 422, "another project type"),
    "task without data": (lambda body: body["tasks"][0].pop("data"), 422, "task data"),
    "frames that the sequence lacks": (lambda body: body["tasks"][0]["data"].update(first_frame=90), 422, "90"),
    "sequence that is not there": (lambda body: body["tasks"][0]["data"].update(sequence=SEQUENCE + "9"), 422, "drives/00019"),
    "sequence outside the root": (
        lambda body: body["tasks"][0]["data"].update(sequence="/data/local-files/?d=../x"),
        422,
        "below the root",
    ),
    "sequence of another host": (lambda body: body["tasks"][0]["data"].update(sequence="http://10.0.0.1/x"), 422, "10.0.0.1"),
    "click outside the image": (lambda body: prompt(body)["value"].update(x=130), 422, "inside the image"),
    "click that is no number": (lambda body: prompt(body)["value"].update(x="left"), 422, "finite number"),
    "click at a number without end": (lambda body: prompt(body)["value"].update(x=10**400), 422, "finite number"),
    "view from above without end": (lambda body: body["tasks"][0]["data"]["birds_eye"].update(range_m=10**400), 422, "range_m"),
    "view from above of too many pixels": (
        lambda body: body["tasks"][0]["data"]["birds_eye"].update(metres_per_pixel=1e-6),
        422,
        "1 to 8192 pixels",
    ),
    "brush that is a number": (lambda body: painted(body, {"rle": 10**12, "brushlabels": ["Car"]}), 422, "brush RLE"),
    "brush of lists": (
        lambda body: prompt(body).update(type="brushlabels", from_name="brush_front", value={"rle": [[1]], "brushlabels": ["Car"]}),
        422,
        "brush RLE",
    ),
    "draft of an image without end": (
        lambda body: painted(body, {"touches": [{"type": "add"}], "brushlabels": ["Car"]}, original_height=2**31),
        422,
        "100000000 pixels",
    ),
    "frame that the task lacks": (lambda body: prompt(body).update(item_index=99), 422, "0 to 3"),
    "unknown sensor": (lambda body: prompt(body).update(to_name="rear"), 422, "'rear'"),
    "unknown tool": (lambda body: prompt(body).update(type="polygonlabels"), 422, "key point"),
    "no label": (lambda body: prompt(body)["value"].update(keypointlabels=[]), 422, "label"),
    "nothing clicked": (lambda body: body["params"]["context"].update(result=[]), 422, "not empty"),
    "nothing to be negative about": (lambda body: prompt(body).update(is_positive=False), 422, "negative"),
    "draft that cannot be read": (
        lambda body: painted(body, {"rle": [1, 2, 3], "brushlabels": ["Car"]}),
        422,
        "RLE",
    ),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_gets_one_clear_line(name: str, client: TestClient, project: Project) -> None:
    change, status, part = BAD_REQUESTS[name]
    body = copy.deepcopy(project.request(project.task(), context=project.click_on(project.visible())))
    change(body)
    answer = client.post("/predict", json=body)
    assert answer.status_code == status, answer.text
    assert part in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert answer.json()["id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"tasks": NaN}', b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(body: bytes, client: TestClient) -> None:
    for path in ("/predict", "/setup"):
        answer = client.post(path, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("request: expected")


def test_setup_refuses_a_configuration_without_our_tags(client: TestClient) -> None:
    answer = client.post("/setup", json={"project": "1.1", "schema": "<View/>"})
    assert answer.status_code == 422
    assert "no Image bev" in answer.json()["error"]


def test_a_request_that_is_too_large_is_refused(settings: Settings) -> None:
    client = TestClient(create_app(replace(settings, limits=Limits(request_bytes=1000))), raise_server_exceptions=False)
    for path in ("/predict", "/setup", "/webhook"):
        assert client.post(path, content=b" " * 2000).status_code == 413


def test_an_error_of_ours_tells_the_client_only_its_id(settings: Settings, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    class BrokenPredictor(GatedPredictor):
        def open(self, clip: Clip) -> Session:
            raise RuntimeError("secret detail")

    client = gated_app(settings, BrokenPredictor())
    answer = client.post("/predict", json=project.request(project.task(), context=project.click_on(project.visible())))
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.json()["id"] in caplog.text
    assert "secret detail" in caplog.text


def test_basic_authentication_guards_all_but_health(settings: Settings, project: Project) -> None:
    client = TestClient(create_app(replace(settings, credentials=Credentials("user", "pässword"))))
    assert client.get("/health").status_code == 200
    for path in ("/setup", "/predict", "/webhook"):
        assert client.post(path, json={}).status_code == 401
        assert client.post(path, json={}, auth=("user", "wrong")).status_code == 401
        assert client.post(path, json={}, headers={"Authorization": "Basic !!!"}).status_code == 401
    answer = client.post("/setup", json={"schema": project.label_config}, auth=("user", "pässword"))
    assert answer.status_code == 200


def test_a_service_is_built_from_settings(settings: Settings) -> None:
    assert build_service(settings).version == build_predictor().version


def test_a_real_server_is_stopped_and_started_in_the_middle_of_labelling(project: Project, tmp_path: Path) -> None:
    variables = {"SAM4D_DATA_ROOT": str(project.data_root), "SAM4D_INTERACTIVE_SECONDS": "60"}
    wanted = project.visible()
    answers = []
    drafts: list[dict[str, Any]] = []
    for start in (0, 1):
        arguments = ["--worker-class=uvicorn_worker.UvicornWorker"]
        with gunicorn("backend.asgi:create_app()", arguments, variables, tmp_path / f"server{start}.log") as address:
            assert requests.get(f"{address}/health", timeout=60).json()["status"] == "UP"
            body = project.request(project.task(drafts=drafts), context=project.click_on(wanted, frame_index=start))
            answer = requests.post(f"{address}/predict", json=body, timeout=120)
            assert answer.status_code == 200, answer.text
            answers.append(answer.json()["results"][0]["result"])
            drafts = [project.draft(answers[0])]
    ids = [{result["meta"]["sam4d"]["object_id"] for result in answer} for answer in answers]
    assert ids == [{1}, {1}]


@pytest.mark.slow
def test_the_network_answers_a_click_with_brush_regions(project: Project, data_root: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "untrained.safetensors"
    safetensors.torch.save_file(random_weights(), checkpoint)
    variables = {"SAM4D_DATA_ROOT": str(data_root), "SAM4D_CHECKPOINT": str(checkpoint), "SAM4D_INTERACTIVE_SECONDS": "1"}
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:12]
    arguments = ["--worker-class=uvicorn_worker.UvicornWorker", "--timeout=300"]
    with gunicorn("backend.asgi:create_app()", arguments, variables, tmp_path / "server.log") as address:
        assert requests.get(f"{address}/health", timeout=240).json()["model_version"] == f"sam4d-{digest}"
        body = project.request(project.task(), context=project.click_on(project.visible()))
        answer = requests.post(f"{address}/predict", json=body, timeout=240)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == f"sam4d-{digest}"
    (prediction,) = answer.json()["results"]
    brushes = [result for result in prediction["result"] if result["type"] == "brushlabels" and result["item_index"] == 0]
    assert {result["to_name"] for result in brushes} >= {"front", "bev"}
    front = next(result for result in brushes if result["to_name"] == "front")
    assert decode_mask(front["value"]["rle"], front["original_height"], front["original_width"], "front").any()
    cuboid = next(result for result in prediction["result"] if result["type"] == "rectanglelabels")
    assert cuboid["meta"]["sam4d"]["version"] == f"sam4d-{digest}"


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_what_nobody_expected_is_explained_by_the_log(
    path: str, client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("a-secret")

    monkeypatch.setattr("backend.http._Endpoints._trouble", broken)
    monkeypatch.setattr("backend.metrics.Metrics.text", broken)
    answer = client.get(path)
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (500, answer.json()["id"])
    assert "a-secret" not in answer.text
    assert f"request failed [{answer.json()['id']}]" in caplog.text
