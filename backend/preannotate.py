"""Objects that nobody has clicked yet, as predictions of a project's tasks: the slow work, done before a labeller waits for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from backend.label_studio import LabelStudioClient, LabelStudioError, Project, Task
from backend.proposing import Proposer
from converters.label_config import parse_label_config
from converters.regions import Region
from converters.tasks import parse_task_data
from sam4d.structures import Clip, InputError

PAUSES_S = (1.0, 4.0, 15.0)
"""Before Label Studio is asked once more, where it did not answer or said that it could not."""
TRANSIENT = (408, 425, 429)


@dataclass(frozen=True)
class TaskOutcome:
    """What became of one task: `objects` posted, or `failure`, one line; both None where it was skipped.

    `left_out`: objects that were found, too, but would have been too much for the page.
    """

    task_id: int
    objects: int | None = None
    left_out: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class TaskProposal:
    """What was found in one task, to be posted; or `failure`, one line, and nothing else."""

    task: Task
    regions: Sequence[Region] = ()
    score: float = 0.0
    objects: int = 0
    left_out: int = 0
    failure: str | None = None


def preannotate(
    client: LabelStudioClient,
    project: Project,
    proposer: Proposer,
    open_clip: Callable[[str], Clip],
    *,
    masks_per_task: int,
    resume: bool = False,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Generator[TaskOutcome, None, None]:
    """Predict task after task; each outcome comes as soon as its prediction is in Label Studio.

    A task's earlier prediction of the same engine version is replaced. The project shows the predictions of this version from the
    first one on.

    Args:
        open_clip: the whole sequence at a task's address.
        masks_per_task: brush masks that a task may get at the most; the best objects come first.
        resume: skip the tasks that have a prediction of this version.
        pauses_s: between the tries to post a prediction.

    Raises:
        InputError: the project's label config is not ours. What is wrong with a single task is that task's failure.
    """

    def propose_all(tasks: Sequence[Task]) -> Iterator[TaskProposal]:
        return (propose_task(task, proposer, open_clip, project.label_config, masks_per_task) for task in tasks)

    yield from post_proposals(client, project, propose_all, proposer.version, resume=resume, pauses_s=pauses_s)


def propose_task(task: Task, proposer: Proposer, open_clip: Callable[[str], Clip], label_config: str, masks_per_task: int) -> TaskProposal:
    """What the engine finds in one task; a task that cannot be worked on is a failure."""
    try:
        window = parse_task_data(task.data)
        drive = open_clip(window.sequence)
        proposed = proposer.propose(window, drive, parse_label_config(label_config, drive.cameras), masks_per_task)
    except InputError as error:
        return TaskProposal(task, failure=str(error))
    return TaskProposal(task, proposed.regions, proposed.score, len(proposed.masklets), proposed.left_out)


def post_proposals(
    client: LabelStudioClient,
    project: Project,
    propose_all: Callable[[Sequence[Task]], Iterator[TaskProposal]],
    version: str,
    *,
    resume: bool,
    most_waiting: int = 0,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Generator[TaskOutcome, None, None]:
    """As `preannotate`, whoever finds the objects.

    Args:
        propose_all: what is found in these tasks, each once, in any order, no sooner than it is asked for.
        version: of the engine that finds it.
        most_waiting: proposals that may wait for being posted while the next one is asked for.
    """
    parse_label_config(project.label_config)
    tasks = client.tasks(project)
    done = client.predicted_tasks(project, version) if resume else set()
    yield from (TaskOutcome(task.task_id) for task in tasks if task.task_id in done)
    post = _Poster(client, project, version, pauses_s)
    if done:
        # The run that made them may have ended before it came to this.
        post.show()
    # One thread, so that whoever finds objects need not wait for Label Studio, and Label Studio gets no more than it can take.
    posting: deque[Future[TaskOutcome]] = deque()
    executor = ThreadPoolExecutor(1)
    try:
        for proposal in propose_all([task for task in tasks if task.task_id not in done]):
            posting.append(executor.submit(post, proposal))
            while posting and (len(posting) > most_waiting or posting[0].done()):
                yield posting.popleft().result()
        while posting:
            yield posting.popleft().result()
    finally:
        post.stop()
        executor.shutdown(cancel_futures=True)


class _Poster:
    """Puts one proposal after the other in place of what the same version said before."""

    def __init__(self, client: LabelStudioClient, project: Project, version: str, pauses_s: Sequence[float]) -> None:
        self._client, self._project, self._version, self._pauses_s = client, project, version, pauses_s
        self._shown = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Try no failed request once more."""
        self._stopped.set()

    def show(self) -> None:
        if not self._shown:
            self._client.show_predictions_of(self._project, self._version)
            self._shown = True

    def __call__(self, proposal: TaskProposal) -> TaskOutcome:
        task_id = proposal.task.task_id
        if proposal.failure is not None:
            return TaskOutcome(task_id, failure=proposal.failure)
        pauses = iter(self._pauses_s)
        while True:
            try:
                self._client.replace_prediction(proposal.task, proposal.regions, score=proposal.score, model_version=self._version)
                self.show()
                return TaskOutcome(task_id, proposal.objects, proposal.left_out)
            except LabelStudioError as error:
                pause = next(pauses, None) if _may_pass(error) else None
                if pause is None or self._stopped.wait(pause):
                    return TaskOutcome(task_id, failure=str(error))


def _may_pass(error: LabelStudioError) -> bool:
    return error.status is None or error.status in TRANSIENT or error.status >= 500
