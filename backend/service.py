"""What is behind the endpoints: a task and a click in, one object's regions out; or tasks in, proposals out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backend.answers import Answer, answer_click, pending_objects
from backend.batch_keeper import BatchKeeper
from backend.edits import newest_record, take_in
from backend.errors import BusyError, ErrorLog, RequestError, one_line
from backend.limits import Limits
from backend.media import MediaReader
from backend.proposing import propose_regions
from backend.sessions import OpenTask, SessionStore, TaskKey
from backend.training_desk import TrainingDesk
from backend.viewer_answers import answer_viewer
from converters.label_config import LabelConfig, parse_label_config
from converters.regions import Region
from converters.tasks import TaskWindow, parse_task_data
from converters.viewer_requests import is_viewer_request, parse_viewer_request
from sam4d.predictor import Predictor
from sam4d.structures import Clip, InputError

logger = logging.getLogger(__name__)

Prediction = dict[str, Any]


class DeadlineError(Exception):
    """The time for a request is over. Never leaves the service."""


class LabellingService:
    """Answers Label Studio's requests. Safe to use from many threads.

    Args:
        engine: the one that answers now; asked anew with every request.
        media: opens the sequences that tasks name.
        sessions: the open tasks.
        interactive_seconds: how long a click may be followed over the other frames; its own frame is always answered.
        batch_seconds: how long a request without a click may take for all its tasks together.
        masks_per_task: brush masks that a proposal may hold at the most.
        limits: of one request and its answer.
        keeper: of the queue for tasks that find no time; None where there is none.
        training: takes in what Label Studio says of annotations, and starts training.
        version_trouble: why an older version of the engine answers than should; "" where none does.
        clock: seconds, monotonic.

    `errors` holds how many there were of each kind, also of those that a client is told of within an answer.
    """

    def __init__(
        self,
        engine: Callable[[], Predictor],
        media: MediaReader,
        sessions: SessionStore,
        interactive_seconds: float,
        batch_seconds: float,
        masks_per_task: int,
        limits: Limits | None = None,
        keeper: BatchKeeper | None = None,
        training: TrainingDesk | None = None,
        version_trouble: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.errors = ErrorLog()
        self.sessions = sessions
        self.keeper = keeper
        self.training = training or TrainingDesk(None, "there is no MODEL_DIR")
        self._engine = engine
        self._version_trouble = version_trouble
        self._media = media
        self._interactive_seconds = interactive_seconds
        self._batch_seconds = batch_seconds
        self._masks_per_task = masks_per_task
        self._limits = limits or Limits()
        self._clock = clock

    @property
    def version(self) -> str:
        """Of what answers now. Tasks that are open go on with what they were opened with."""
        return self._engine().version

    @property
    def version_trouble(self) -> str:
        return self._version_trouble()

    def check_label_config(self, label_config: str) -> None:
        """Raises InputError where the project's configuration lacks our tags."""
        parse_label_config(label_config)

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        project: str | None,
        label_config: str,
        context: Mapping[str, Any] | None,
        seconds: float | None = None,
    ) -> list[Prediction]:
        """One prediction per task, in order. With a context, the first task is the one that was clicked in; the others stay empty.

        Args:
            seconds: what is left for the answer; None takes the limits' own.

        Without a context, a task that found no time has an empty prediction which says `later` ("queued", or "ask again") under "sam4d".

        Raises:
            InputError: what the click asks cannot be answered; the 3D view is told in the answer instead. Without a context, such a task
            is logged and stays empty.
            BusyError: the task is being worked on, and no time remained for this click.
        """
        deadline = self._clock() + (self._limits.seconds if seconds is None else min(seconds, self._limits.seconds))
        if len(tasks) > self._limits.tasks:
            raise RequestError("field 'tasks' of the request", f"at most {self._limits.tasks} tasks", str(len(tasks)), status=413)
        if not context:
            return self._propose(tasks, label_config, min(deadline, self._clock() + self._batch_seconds))
        answers = [self._answer_or_explain(task, project, label_config, context, deadline) for task in tasks[:1]]
        return answers + [self._prediction([], 0.0) for _ in tasks[1:]]

    def _answer_or_explain(
        self, task: Mapping[str, Any], project: str | None, label_config: str, context: Mapping[str, Any], deadline: float
    ) -> Prediction:
        """Label Studio hands on only the status of a request that failed; the 3D view has a line to say why."""
        if not is_viewer_request(context):
            return self._answer(task, project, label_config, context, deadline)
        try:
            return self._answer(task, project, label_config, context, deadline)
        except Exception as error:
            return {**self._prediction([], 0.0), "sam4d": {"error": self.errors.answer(error, "request of the 3D view").message}}

    def _answer(
        self, task: Mapping[str, Any], project: str | None, label_config: str, context: Mapping[str, Any], deadline: float
    ) -> Prediction:
        config = parse_label_config(label_config)
        window = self._window(task)
        self._check_prompts(context)
        record = newest_record(task)
        project_id = str(task.get("project") or (project or "").partition(".")[0])
        key = TaskKey(project_id, str(task.get("id")), window, record.annotator if record else "")
        if record is not None and record.annotator:
            # The clicks before a person's first draft came without a name.
            self.sessions.rename(TaskKey(project_id, key.task, window), key, record.shows)

        def open_task() -> OpenTask:
            clip = self._open_clip(window, project_id, label_config)
            engine = self._engine()
            return OpenTask(window, clip, engine.open(clip), most_objects=self._limits.objects, model_version=engine.version, engine=engine)

        with self.sessions.use(key, open_task, max(0.0, deadline - self._clock())) as opened:
            seconds = min(self._interactive_seconds, deadline - self._clock())
            if seconds < 0:
                raise BusyError("time for this click", "none left after opening the task", 1)
            if record is not None:
                take_in(opened, record, pending_objects(opened, context))
            if is_viewer_request(context):
                return self._answer_viewer(opened, context, config, seconds)
            answer = answer_click(opened, context, config, opened.model_version, seconds, self._clock)
        return self._cut(answer, opened.model_version)

    def _answer_viewer(self, opened: OpenTask, context: Mapping[str, Any], config: LabelConfig, seconds: float) -> Prediction:
        request = parse_viewer_request(context, config, opened.clip)
        seconds = seconds if request.seconds is None else min(request.seconds, seconds)
        return self._cut(answer_viewer(opened, request, opened.model_version, seconds, self._clock), opened.model_version)

    def _cut(self, answer: Answer, version: str) -> Prediction:
        """What a browser bears of an answer. The 3D view reads `frames` and asks for the others; Label Studio's tools get them later."""
        cut = answer.cut_to(self._limits.answer_bytes)
        notes: dict[str, Any] = {"object": cut.object_id, "frames": list(cut.frames)}
        if len(cut.regions) < len(answer.regions):
            notes["left_out"] = sorted(set(answer.frames) - set(cut.frames))
            logger.warning("object %d: frames %s are left for later, answers are limited", answer.object_id, notes["left_out"])
        return {**self._prediction(cut.regions, cut.score, version), "sam4d": notes}

    def _window(self, task: Mapping[str, Any]) -> TaskWindow:
        window = parse_task_data(task.get("data"))
        if window.frame_count > self._limits.frames:
            raise InputError("task data", f"at most {self._limits.frames} frames", str(window.frame_count))
        return window

    def _check_prompts(self, context: Mapping[str, Any]) -> None:
        """Raises RequestError: more of anything, at one place, than a request may hold."""
        lists = [("context", context), ("context, sam4d", context.get("sam4d"))]
        for where, fields in lists:
            for name, entries in fields.items() if isinstance(fields, Mapping) else ():
                if isinstance(entries, list) and name != "rle" and len(entries) > self._limits.prompts:
                    raise RequestError(f"{where}, {name}", f"at most {self._limits.prompts} entries", str(len(entries)), status=413)

    def _propose(self, tasks: Sequence[Mapping[str, Any]], label_config: str, deadline: float) -> list[Prediction]:
        began_s = time.time()
        numbers = [_number(task.get("id")) for task in tasks]
        held = self._held(numbers, began_s)
        predictions: list[Prediction | None] = []
        first = True
        for task, number in zip(tasks, numbers, strict=True):
            prediction = None
            if number not in held:
                try:
                    prediction = self._propose_for(task, label_config, deadline)
                except DeadlineError:
                    if first and self.keeper is None:
                        # It had all the time there is: to ask again would not help, and each labeller who opens it would wait.
                        logger.warning("task %s: left empty, %g s are too short for it", task.get("id"), self._batch_seconds)
                        prediction = self._prediction([], 0.0)
                except Exception as error:
                    self.errors.answer(error, f"pre-annotation of task {task.get('id')}")
                    prediction = self._prediction([], 0.0)
                first = False
            predictions.append(prediction)
        # Another request may have queued a task meanwhile: the worker's prediction and this one would both be stored.
        held = self._held(numbers, began_s)
        late = [task for task, number, prediction in zip(tasks, numbers, predictions, strict=True) if not prediction and number not in held]
        queued = held | self._queue(late)
        return [
            self._later("queued") if number in queued else prediction or self._later("ask again")
            for number, prediction in zip(numbers, predictions, strict=True)
        ]

    def _held(self, numbers: Sequence[int | None], since_s: float) -> set[int]:
        return set() if self.keeper is None else self.keeper.held({number for number in numbers if number is not None}, since_s)

    def _queue(self, late: Sequence[Mapping[str, Any]]) -> set[int]:
        """Those of the tasks that wait in the queue now; the log says of how many, and which do not."""
        if not late:
            return set()
        asked = {_number(task.get("id")): _number(task.get("project")) for task in late}
        new = {task: project for task, project in asked.items() if task is not None and project is not None}
        queued = self.keeper.add(new) if self.keeper is not None else set()
        if queued:
            logger.info("%d tasks found no time and are queued", len(queued))
        left = [task.get("id") for task in late if _number(task.get("id")) not in queued]
        if left:
            why = "there is no queue" if self.keeper is None else "the queue is full or cannot be used"
            logger.warning("%d tasks found no time and stay without an answer, %s: %s", len(left), why, one_line(str(left), 300))
        return queued

    def _later(self, what: str) -> Prediction:
        return {**self._prediction([], 0.0), "sam4d": {"later": what}}

    def _propose_for(self, task: Mapping[str, Any], label_config: str, deadline: float) -> Prediction:
        def check_deadline(*progress: object) -> None:
            if self._clock() > deadline:
                raise DeadlineError

        check_deadline()
        config = parse_label_config(label_config)
        window = self._window(task)
        clip = self._open_clip(window, str(task.get("project")), label_config)
        engine = self._engine()
        proposed = propose_regions(window, clip, config, engine, self._masks_per_task, check_deadline)
        if proposed.left_out:
            logger.warning("task %s: %d objects left out, masks are limited to %d", task.get("id"), proposed.left_out, self._masks_per_task)
        return self._prediction(proposed.regions, proposed.score, engine.version)

    def _open_clip(self, window: TaskWindow, project_id: str, label_config: str) -> Clip:
        """The window's frames. Raises InputError: files that are missing or wrong, cameras that the configuration does not show."""
        number = int(project_id) if project_id.isascii() and project_id.isdigit() and len(project_id) <= 18 else None
        clip = self._media.open_clip(window.sequence, number).window(window.first_frame, window.frame_count)
        parse_label_config(label_config, clip.cameras)
        return clip

    def _prediction(self, regions: Sequence[Region], score: float, version: str | None = None) -> Prediction:
        return {"result": list(regions), "score": float(score), "model_version": self.version if version is None else version}


def _number(value: object) -> int | None:
    """A task's or project's, where it is one: what a request says is anything, and the queue's file holds 64 bits."""
    return value if type(value) is int and 0 < value < 2**63 else None
