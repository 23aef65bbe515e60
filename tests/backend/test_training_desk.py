"""What Label Studio's events lead to: something is noted, or a training waits, and the answer comes at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from backend.asgi import build_service
from backend.http import EVENT_BYTES, build_app
from backend.model import Sam4DBackend
from backend.settings import Settings
from backend.training_desk import TrainingDesk, desk_of, event_of, project_number
from backend.training_jobs import TrainingJobs, TrainingRequest

START = {"action": "START_TRAINING", "project": {"id": 7, "title": "drives", "label_config": "<View/>"}}
ANNOTATION = {"action": "ANNOTATION_CREATED", "annotation": {"id": 3, "result": [], "project": 7}, "task": {"id": 5, "project": 7}}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return replace(
        settings, model_dir=tmp_path / "model", label_studio_url="http://127.0.0.1:1", label_studio_api_key="key", training_steps=12
    )


@pytest.fixture
def woken() -> list[int]:
    return []


@pytest.fixture
def desk(settings: Settings, woken: list[int]) -> TrainingDesk:
    return desk_of(settings, lambda: woken.append(1))


@pytest.fixture
def jobs(desk: TrainingDesk) -> TrainingJobs:
    assert desk.jobs is not None
    return desk.jobs


@pytest.fixture
def client(settings: Settings, desk: TrainingDesk) -> Iterator[TestClient]:
    with TestClient(build_app(build_service(settings, training=desk), settings), raise_server_exceptions=False) as client:
        yield client


def test_start_training_is_answered_at_once_with_its_job(client: TestClient, jobs: TrainingJobs, woken: list[int]) -> None:
    answer = client.post("/webhook", json=START)
    assert answer.status_code == 201
    assert answer.json()["job"] == "1"
    assert answer.json()["job_status"] == "queued"
    assert "training 1 of project 7: waiting" in answer.json()["says"]
    assert woken == [1]
    (job,) = jobs.jobs()
    assert (job.project_id, job.request) == (7, TrainingRequest("heads", 12, 0.2))

    again = client.post("/webhook", json=START).json()
    assert again["job"] == "1"
    assert "it was asked for before" in again["says"]
    assert client.get("/health").json()["training"] == ["training 1 of project 7: waiting"]

    assert client.post("/job_status", json={"job": "1"}).json() == {"job_status": "queued", "state": "waiting", "says": "", "project": 7}
    jobs.end(job, "refused", "not better")
    assert client.post("/job_status", json={"job": 1}).json()["job_status"] == "finished"
    assert client.post("/job_status", json={"job": "2"}).status_code == 410
    assert client.post("/job_status", json={}).status_code == 400
    assert "training" not in client.get("/health").json()


def test_annotations_are_only_noted(client: TestClient, jobs: TrainingJobs) -> None:
    deleted = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 3}], "project": {"id": 8}}
    for event in (ANNOTATION, {**ANNOTATION, "action": "ANNOTATION_UPDATED"}, deleted, {"action": "TASKS_CREATED", "project": {"id": 7}}):
        answer = client.post("/webhook", json=event)
        assert (answer.status_code, answer.json()) == (201, {})
    assert jobs.changes() == {7: 2, 8: 1}
    assert jobs.jobs() == []


def test_a_large_annotation_is_noted_without_being_read(client: TestClient, jobs: TrainingJobs) -> None:
    result = [{"value": {"rle": list(range(256)) * 1000}, "text": '"project": {"id": 99}', "meta": {"project": {"id": 98}}}]
    large = {**ANNOTATION, "annotation": {"id": 3, "project": 7, "result": result}, "project": {"id": 7, "title": "x"}}
    assert len(json.dumps(large)) > EVENT_BYTES
    assert client.post("/webhook", json=large).status_code == 201
    assert jobs.changes() == {7: 1}
    assert client.post("/webhook", content=b"x" * 1_000_000).status_code == 201
    assert jobs.changes() == {7: 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null"])
def test_no_event(client: TestClient, body: bytes) -> None:
    assert client.post("/webhook", content=body).status_code == 400


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ({"model_dir": None}, "found no MODEL_DIR"),
        ({"label_studio_api_key": None}, "found no LABEL_STUDIO_API_KEY"),
        ({"label_studio_url": None, "label_studio_api_key": None}, "found no LABEL_STUDIO_URL, no LABEL_STUDIO_API_KEY"),
    ],
)
def test_what_is_missing_for_training_is_said(settings: Settings, missing: dict[str, Any], says: str) -> None:
    lacking = replace(settings, **missing)
    client = TestClient(build_app(build_service(lacking, training=desk_of(lacking)), lacking), raise_server_exceptions=False)
    answer = client.post("/webhook", json=START)
    assert answer.status_code == 409
    assert says in answer.json()["error"]
    assert client.post("/webhook", json=ANNOTATION).status_code == 201
    assert client.get("/health").json()["status"] == "UP"


def test_a_jobs_file_that_cannot_be_used(client: TestClient, settings: Settings) -> None:
    assert settings.model_dir is not None
    (settings.model_dir / "training").mkdir(parents=True)
    (settings.model_dir / "training" / "jobs.sqlite3").write_bytes(b"something else" * 100)
    answer = client.post("/webhook", json=START)
    assert answer.status_code == 422
    assert "the training jobs in MODEL_DIR" in answer.json()["error"]
    assert client.get("/health").status_code == 200


def test_both_generations_call_fit(settings: Settings, desk: TrainingDesk, jobs: TrainingJobs) -> None:
    service = build_service(settings, training=desk)
    of_1_0_9 = Sam4DBackend(label_config="", service=service)
    assert of_1_0_9.fit((), event="START_TRAINING", data={"project": {"id": 7}}, job_id="x", workdir=".")["job"] == "1"
    of_2x = Sam4DBackend("8.1700000000", label_config="", service=service)
    assert of_2x.fit("START_TRAINING", {}, extra=1)["job"] == "2"
    assert of_2x.fit("ANNOTATION_CREATED", ANNOTATION) == {}
    assert [job.project_id for job in jobs.jobs()] == [7, 8]
    assert jobs.changes() == {7: 1}


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_a_number_of_anything(value: object) -> None:
    number = project_number(value)
    assert number is None or 0 < number < 10**18


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["action", "project", "annotation", "task", "id"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["action", "project", "annotation", "annotations", "task"]), JSON))
def test_an_event_of_anything(content: dict[str, Any]) -> None:
    event, project_id = event_of(json.loads(json.dumps(content)))
    assert isinstance(event, str)
    assert project_id is None or project_id > 0
