"""One class on label-studio-ml 1.0.9 and 2.x, under the stock server and under ours."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from label_studio_ml.model import LabelStudioMLBase

import backend.model
from backend.asgi import build_service
from backend.embedded import free_port
from backend.model import Sam4DBackend
from backend.settings import Settings
from backend.training_jobs import TrainingJobs
from tests.backend.conftest import Project
from tests.backend.server_process import gunicorn


class BaseOf2x:
    """What label-studio-ml 2.x (not on PyPI) asks of a model class: constructed with these two, `setup` called at the end."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        self.label_config = label_config
        self.setup()

    def setup(self) -> None:
        raise NotImplementedError

    def predict(self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    def fit(self, event: str, data: dict[str, Any], **additional_params: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def model_on_2x(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """backend.model as it is imported where 2.x is installed."""
    monkeypatch.setattr("label_studio_ml.model.LabelStudioMLBase", BaseOf2x)
    spec = importlib.util.spec_from_file_location("backend_model_on_2x", backend.model.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_on_1_0_9_context_comes_among_the_arguments(settings: Settings, project: Project) -> None:
    assert not hasattr(LabelStudioMLBase, "setup")
    model = Sam4DBackend(
        label_config=project.label_config, train_output=None, hostname="x", access_token="y", service=build_service(settings)
    )
    context = project.click_on(project.visible())
    (prediction,) = model.predict([project.task()], login="l", password="p", context=context)
    assert type(prediction) is dict
    assert prediction["result"]
    assert model.fit((), workdir=".", event="ANNOTATION_CREATED", data={}) == {}


def test_on_2x_the_server_constructs_it_for_every_request(model_on_2x: ModuleType, settings: Settings, project: Project) -> None:
    service = build_service(settings)
    assert issubclass(model_on_2x.Sam4DBackend, BaseOf2x)
    answers = []
    for frame_index in (0, 1):
        model = model_on_2x.Sam4DBackend("7", label_config=project.label_config, service=service)
        assert model.project_id == "7"
        context = project.click_on(project.visible(), frame_index=frame_index)
        answers.append(model.predict([project.task()], context=context, login="l", password="p")[0]["result"])
    assert {result["meta"]["sam4d"]["object_id"] for answer in answers for result in answer} == {1}
    assert model.fit("ANNOTATION_CREATED", {}, project=1) == {}


def test_construction_is_cheap_and_touches_nothing(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    # Servers construct the class on every webhook: the environment is not even read.
    monkeypatch.setenv("SAM4D_ENGINE", "no such engine")
    Sam4DBackend(label_config=project.label_config)


def test_under_the_stock_server(project: Project, tmp_path: Path) -> None:
    variables = {
        "SAM4D_DATA_ROOT": str(project.data_root),
        "SAM4D_INTERACTIVE_SECONDS": "60",
        "STOCK_MODEL_DIR": str(tmp_path),
    }
    with gunicorn("tests.backend.stock_server:create_app()", ["--threads=4"], variables, tmp_path / "server.log") as address:
        assert requests.get(f"{address}/health", timeout=60).json()["status"] == "UP"
        setup = {"project": "7.17", "schema": project.label_config, "hostname": "", "access_token": ""}
        wanted = project.visible()
        answers = []
        for frame_index in (0, 1):
            # Label Studio calls /setup between clicks, which constructs the class anew.
            assert requests.post(f"{address}/setup", json=setup, timeout=60).status_code == 200
            body = project.request(project.task(), context=project.click_on(wanted, frame_index=frame_index))
            answer = requests.post(f"{address}/predict", json=body, timeout=120)
            assert answer.status_code == 200, answer.text
            answers.append(answer.json()["results"][0]["result"])
    assert {result["meta"]["sam4d"]["object_id"] for answer in answers for result in answer} == {1}


def test_training_under_the_stock_server(project: Project, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port(0, 'port')}"
    variables = {
        "SAM4D_DATA_ROOT": str(project.data_root),
        "STOCK_MODEL_DIR": str(tmp_path / "stock"),
        "MODEL_DIR": str(tmp_path / "model"),
        "LABEL_STUDIO_URL": nobody,
        "LABEL_STUDIO_API_KEY": "0" * 40,
    }
    jobs = TrainingJobs(tmp_path / "model" / "training" / "jobs.sqlite3")
    with gunicorn("tests.backend.stock_server:create_app()", ["--threads=4"], variables, tmp_path / "server.log") as address:
        for event in ({"action": "ANNOTATION_CREATED", "project": {"id": 7}}, {"action": "START_TRAINING", "project": {"id": 7}}):
            assert requests.post(f"{address}/webhook", json=event, timeout=60).status_code == 201
        deadline = time.monotonic() + 300
        while not (jobs.changes() and jobs.jobs()):
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.1)
    # It works in a process that does not end with the server.
    while jobs.has_work():
        assert time.monotonic() < deadline, jobs.jobs()
        time.sleep(0.1)
    (job,) = jobs.jobs()
    assert (job.project_id, job.state) == (7, "failed")
    assert job.says.startswith(f"Label Studio at {nobody}: expected an answer of Label Studio")
    assert jobs.changes() == {7: 1}
    assert "failed: Label Studio at" in (tmp_path / "model" / "training" / "worker.log").read_text()
