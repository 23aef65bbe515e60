"""What a scrape says after known traffic."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from backend.asgi import create_app
from backend.settings import Settings
from tests.backend.conftest import Project


def scrape(client: TestClient) -> dict[str, float]:
    """{name{label="value"}: value}, read by Prometheus' own parser."""
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    values = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}"] = sample.value
    return values


def test_every_request_is_counted_where_it_belongs(client: TestClient, project: Project) -> None:
    task = project.task()
    client.post("/predict", json=project.request(task, context=project.click_on(project.visible())))
    view = {"result": [], "sam4d": {"action": "fit", "object": 99, "frames": [0]}}
    assert "object" in client.post("/predict", json=project.request(task, context=view)).json()["results"][0]["sam4d"]["error"]
    client.post("/predict", json=project.request(task))
    client.post("/predict", json=project.request(project.task(data={"text": "x"})))
    client.post("/predict", content=b"{")
    client.get("/health")
    client.get("/no/such/page")
    values = scrape(client)
    counts = {
        asked: values[f"sam4d_request_seconds_count{{asked={asked},endpoint=/predict,engine=geometric}}"]
        for asked in ("click", "view", "batch", "unreadable")
    }
    assert counts == {"click": 1, "view": 1, "batch": 2, "unreadable": 1}
    assert values["sam4d_answers_total{endpoint=/predict,status=200}"] == 4
    assert values["sam4d_answers_total{endpoint=/predict,status=400}"] == 1
    assert values["sam4d_answers_total{endpoint=other,status=404}"] == 1, "a stranger's paths make no series of their own"
    assert values["sam4d_errors_total{kind=refused}"] == 3, "of the 3D view, of the batch, of the broken body"
    assert values["sam4d_errors_total{kind=failed}"] == 0
    assert values["sam4d_open_tasks{}"] == 1
    assert values["sam4d_open_tasks_bytes{}"] > 1e5
    assert (values["sam4d_requests_running{}"], values["sam4d_requests_waiting{}"]) == (0, 0)
    assert values["process_resident_memory_bytes{}"] > 1e7
    assert values["sam4d_gpu_memory_bytes{}"] >= 0
    assert [name for name in values if name.startswith("sam4d_engine_info")] == [
        f"sam4d_engine_info{{version={client.get('/health').json()['model_version']}}}"
    ]
    seconds = values["sam4d_request_seconds_sum{asked=click,endpoint=/predict,engine=geometric}"]
    assert 0 < seconds < math.inf


def test_two_apps_in_one_process_count_for_themselves(settings: Settings) -> None:
    with TestClient(create_app(settings)) as one, TestClient(create_app(settings)) as other:
        one.get("/health")
        assert scrape(one)["sam4d_answers_total{endpoint=/health,status=200}"] == 1
        assert "sam4d_answers_total{endpoint=/health,status=200}" not in scrape(other)


def test_ready_and_alive_are_told_apart(settings: Settings, project: Project, tmp_path: object) -> None:
    gone = project.data_root.parent / "was-here"
    client = TestClient(create_app(replace(settings, data_root=gone)))
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "trouble": ["SAM4D_DATA_ROOT cannot be read"]})
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["ready"]) == (200, "UP", False), "Label Studio stays connected"
    assert str(gone) not in answer.text


@pytest.mark.parametrize("given", ["short", "has spaces in it", "new\nline-in-it", "x" * 65, "ümlaute-in-it"])
def test_a_request_id_of_another_shape_is_not_taken_over(given: str, client: TestClient) -> None:
    try:
        answer = client.get("/health", headers=[(b"X-Request-ID", given.encode())])
    except ValueError:  # not even the client sends it
        return
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"])
