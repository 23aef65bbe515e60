"""Every request of a pre-annotation cut off, in a Label Studio that is a dictionary; tests/backend/projects has the real one."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from backend.label_studio import LabelledTask, Labels, LabelStudioClient, LabelStudioError, Project, Task
from backend.preannotate import TaskOutcome, TaskProposal, post_proposals
from converters.label_config import build_label_config
from sam4d.simulation import SyntheticDrive

VERSION = "engine-1"
TASKS = [Task(number, {}) for number in (3, 4, 5)]


class FaultyLabelStudio(LabelStudioClient):
    """Raises `fault` at its `at`th change of anything, before it is done, or after it where the answer is what gets lost."""

    def __init__(self) -> None:
        self.predictions: dict[int, list[Labels]] = defaultdict(list)
        self.shown = ""
        self._number = 0
        self._changes_left, self._fault, self._done_first = 0, BaseException(), False

    def fail(self, at: int, fault: BaseException, done_first: bool) -> None:
        self._changes_left, self._fault, self._done_first = at, fault, done_first

    @property
    def has_failed(self) -> bool:
        return self._changes_left <= 0

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        self._changes_left -= 1
        if self._changes_left == 0 and not self._done_first:
            raise self._fault
        yield
        if self._changes_left == 0:
            raise self._fault

    def tasks(self, project: Project) -> list[Task]:
        return TASKS

    def predicted_tasks(self, project: Project, model_version: str) -> set[int]:
        return {number for number, all_of_it in self.predictions.items() if self._versions(all_of_it) == [model_version]}

    def _versions(self, predictions: Sequence[Labels]) -> list[str]:
        return [labels.model_version for labels in predictions if labels.model_version == VERSION]

    def labelled_task(self, task: Task) -> LabelledTask:
        return LabelledTask(task, (), (), tuple(self.predictions[task.task_id]))

    def add_prediction(self, task: Task, result: Sequence[Mapping[str, Any]], *, score: float, model_version: str) -> None:
        with self._change():
            self._number += 1
            self.predictions[task.task_id].append(Labels(self._number, list(result), model_version=model_version))

    def delete_prediction(self, labels: Labels) -> None:
        with self._change():
            for predictions in self.predictions.values():
                if labels in predictions:
                    predictions.remove(labels)

    def show_predictions_of(self, project: Project, model_version: str) -> None:
        with self._change():
            self.shown = model_version


@pytest.fixture
def project(small_drive: SyntheticDrive) -> Project:
    return Project(1, "drives", build_label_config(small_drive.clip.cameras, ("Car",)))


def run(client: LabelStudioClient, project: Project, *, run_name: str, resume: bool, most_waiting: int) -> list[TaskOutcome]:
    def propose_all(tasks: Sequence[Task]) -> Iterator[TaskProposal]:
        return (TaskProposal(task, [{"of": task.task_id, "in": run_name}], 0.5, 1) for task in tasks)

    return list(post_proposals(client, project, propose_all, VERSION, resume=resume, most_waiting=most_waiting, pauses_s=(0.0, 0.0)))


def kept(client: FaultyLabelStudio) -> dict[int, list[tuple[str, Sequence[Mapping[str, Any]]]]]:
    return {number: [(labels.model_version, labels.result) for labels in all_of_it] for number, all_of_it in client.predictions.items()}


@pytest.mark.parametrize("most_waiting", [0, 2])
@pytest.mark.parametrize("done_first", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_run_cut_off_anywhere_and_resumed(project: Project, at: int, done_first: bool, most_waiting: int) -> None:
    """Over predictions of an earlier run and of another version: 3 are added, 3 are deleted, and the project is told to show them."""
    client = FaultyLabelStudio()
    client.predictions[3] = [Labels(-1, [], model_version="other")]
    assert [outcome.objects for outcome in run(client, project, run_name="earlier", resume=False, most_waiting=0)] == [1, 1, 1]
    client.shown = ""

    client.fail(at, KeyboardInterrupt(), done_first)
    with pytest.raises(KeyboardInterrupt):
        run(client, project, run_name="later", resume=False, most_waiting=most_waiting)
    assert all(client.predicted_tasks(project, VERSION) or labels for labels in client.predictions.values())
    client.fail(0, BaseException(), False)
    assert not [outcome for outcome in run(client, project, run_name="later", resume=True, most_waiting=most_waiting) if outcome.failure]
    for task in TASKS:
        versions = [version for version, _ in kept(client)[task.task_id]]
        assert versions == (["other", VERSION] if task.task_id == 3 else [VERSION])
        (_, result) = kept(client)[task.task_id][-1]
        assert result[0]["of"] == task.task_id
    assert client.shown == VERSION


@pytest.mark.parametrize("status", [None, 500, 429])
@pytest.mark.parametrize("done_first", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_what_passes_is_tried_again(project: Project, at: int, done_first: bool, status: int | None) -> None:
    client = FaultyLabelStudio()
    run(client, project, run_name="earlier", resume=False, most_waiting=0)
    client.fail(at, LabelStudioError("Label Studio", "an answer", "none", status), done_first)
    assert [outcome.objects for outcome in run(client, project, run_name="later", resume=False, most_waiting=0)] == [1, 1, 1]
    assert client.has_failed
    assert kept(client) == {task.task_id: [(VERSION, [{"of": task.task_id, "in": "later"}])] for task in TASKS}


def test_what_does_not_pass_is_the_tasks_failure(project: Project) -> None:
    client = FaultyLabelStudio()
    client.fail(1, LabelStudioError("Label Studio", "a valid result", "400", 400), False)
    first, *others = run(client, project, run_name="first", resume=False, most_waiting=0)
    assert str(first.failure) == "Label Studio: expected a valid result, found 400"
    assert [outcome.objects for outcome in others] == [1, 1]
