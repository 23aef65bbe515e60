"""Which task comes next in a real Label Studio: the most doubtful one, where a project is told so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.cli import main
from backend.label_studio import LabelStudioClient, Project
from backend.projects import ImportOptions
from sam4d.predictor import build_predictor
from tests.backend.projects.importing import Import
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.xdist_group("label-studio"), pytest.mark.slow, pytest.mark.timeout(600)]

SCORES = (0.7, 0.2, 0.9, 0.4)
BY_SCORE = {"ordering": ["tasks:predictions_score"]}


@pytest.fixture
def project(
    import_into: Import, recording: Path, client: LabelStudioClient, label_studio: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Four tasks, pre-annotated by `sam4d preannotate --doubtful-first`."""
    project, _ = import_into("doubtful first", recording, options=ImportOptions(frames_per_task=1, overlap=0, range_m=40.0))
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(label_studio.data_root))
    assert main(["preannotate", "doubtful first", "--masks-per-task", "10", "--doubtful-first", "--json"]) == 0
    return project


@pytest.fixture
def scored(client: LabelStudioClient, project: Project) -> list[int]:
    """The tasks' numbers, by the scores in `SCORES` from the lowest on, which they have now instead of their own."""
    version = build_predictor().version
    tasks = client.tasks(project)
    for task, score in zip(tasks, SCORES, strict=True):
        (found,) = client.labelled_task(task).predictions
        client.replace_prediction(task, found.result, score=score, model_version=version)
    return [task.task_id for _, task in sorted(zip(SCORES, tasks, strict=True), key=lambda pair: pair[0])]


def test_preannotation_stores_a_score_for_each_task(client: LabelStudioClient, project: Project, label_studio: LabelStudioServer) -> None:
    stored = [_prediction_scores(label_studio, task.task_id) for task in client.tasks(project)]
    assert [len(scores) for scores in stored] == [1] * 4
    assert all(0 < scores[0] <= 1 for scores in stored), stored


def test_the_label_stream_serves_the_lowest_score_first(
    client: LabelStudioClient, project: Project, scored: list[int], label_studio: LabelStudioServer
) -> None:
    changed: Any = label_studio.client.projects.get(project.project_id)
    assert str(changed.sampling) == "Uncertainty sampling"

    def ask() -> httpx.Response:
        return httpx.get(f"{label_studio.url}/api/projects/{project.project_id}/next", headers=_login(label_studio), timeout=60)

    assert _served(client, ask, len(scored)) == scored
    assert ask().status_code == 404


def test_the_data_manager_orders_by_score_and_labels_in_that_order(
    client: LabelStudioClient, project: Project, scored: list[int], label_studio: LabelStudioServer
) -> None:
    for column, expected in (("tasks:predictions_score", scored), ("-tasks:predictions_score", scored[::-1])):
        listed: Any = label_studio.client.tasks.list(project=project.project_id, query=json.dumps({"ordering": [column]}))
        assert [task.id for task in listed] == expected

    # Whatever the project's own order is.
    label_studio.client.projects.update(project.project_id, sampling="Sequential sampling")

    def ask() -> httpx.Response:
        """As "Label Tasks As Displayed" does."""
        parameters: dict[str, Any] = {"id": "next_task", "project": project.project_id}
        url = f"{label_studio.url}/api/dm/actions"
        return httpx.post(url, params=parameters, json=BY_SCORE, headers=_login(label_studio), timeout=60)

    assert _served(client, ask, len(scored)) == scored


def _served(client: LabelStudioClient, ask: Callable[[], httpx.Response], count: int) -> Sequence[int]:
    """The tasks that come one after the other, each labelled before the next is asked for."""
    served = []
    for _ in range(count):
        answer = ask()
        assert answer.status_code == 200, answer.text
        served.append(int(answer.json()["id"]))
        client.add_annotation(served[-1], [])
    return served


def _login(label_studio: LabelStudioServer) -> dict[str, str]:
    return {"Authorization": f"Token {label_studio.token}"}


def _prediction_scores(label_studio: LabelStudioServer, task_id: int) -> list[float]:
    return [float(prediction.score or 0.0) for prediction in label_studio.client.predictions.list(task=task_id)]
