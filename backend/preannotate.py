"""Objects that nobody has clicked yet, as predictions of a project's tasks: the slow work, done before a labeller waits for it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from backend.label_studio import LabelStudioClient, Project, Task
from backend.proposing import propose_regions
from converters.label_config import parse_label_config
from converters.tasks import parse_task_data
from sam4d.predictor import Predictor
from sam4d.structures import Clip, InputError


@dataclass(frozen=True)
class TaskOutcome:
    """What became of one task: `objects` posted, or `failure`, one line; both None where it was skipped.

    `left_out`: objects that were found, too, but would have been too much for the page.
    """

    task_id: int
    objects: int | None = None
    left_out: int = 0
    failure: str | None = None


def preannotate(
    client: LabelStudioClient,
    project: Project,
    predictor: Predictor,
    open_clip: Callable[[str], Clip],
    *,
    masks_per_task: int,
    resume: bool = False,
) -> Generator[TaskOutcome, None, None]:
    """Predict task after task; each outcome comes as soon as its prediction is in Label Studio.

    A task's earlier prediction of the same engine version is replaced. The project shows the predictions of this version from the
    first one on.

    Args:
        open_clip: the whole sequence at a task's address.
        masks_per_task: brush masks that a task may get at the most; the best objects come first.
        resume: skip the tasks that have a prediction of this version.

    Raises:
        InputError: the project's label config is not ours. What is wrong with a single task is that task's failure.
    """
    parse_label_config(project.label_config)
    done = client.predicted_tasks(project, predictor.version) if resume else set()
    shown = False
    for task in client.tasks(project):
        if task.task_id in done:
            yield TaskOutcome(task.task_id)
            continue
        try:
            outcome = _predict(client, project, task, predictor, open_clip, masks_per_task)
        except InputError as error:
            yield TaskOutcome(task.task_id, failure=str(error))
            continue
        if not shown:
            client.show_predictions_of(project, predictor.version)
            shown = True
        yield outcome


def _predict(
    client: LabelStudioClient,
    project: Project,
    task: Task,
    predictor: Predictor,
    open_clip: Callable[[str], Clip],
    masks_per_task: int,
) -> TaskOutcome:
    window = parse_task_data(task.data)
    clip = open_clip(window.sequence).window(window.first_frame, window.frame_count)
    config = parse_label_config(project.label_config, clip.cameras)
    proposed = propose_regions(window, clip, config, predictor, masks_per_task)
    client.replace_prediction(task, proposed.regions, score=proposed.score, model_version=predictor.version)
    return TaskOutcome(task.task_id, len(proposed.masklets), proposed.left_out)
