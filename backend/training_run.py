"""One training from a project's annotations to the version that serves, or to why it does not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from backend.collecting import LabelledTaskClip, Split, annotations_of, collect, split
from backend.engine import engine_kind, learnt_predictor, load_serving, version_store_of
from backend.label_studio import LabelStudioClient
from backend.learners import Learner, Lesson, Say, StoppedError
from backend.settings import Settings
from backend.staged_windows import StagedWindows
from backend.training_jobs import TrainingRequest
from backend.versions import BASE, About, Version
from sam4d.predictor import Predictor
from sam4d.structures import Clip, InputError
from sam4d.training.held_out import HeldOut, Stopped, is_better, judge

logger = logging.getLogger(__name__)

Ending: TypeAlias = Literal["done", "refused"]
MATTER = "lesson.json"
"""In a training's folder: what it is about. Another matter begins anew."""


@dataclass(frozen=True)
class Outcome:
    """done: the new version serves. refused: it does not, or there is none; `says` is why, one line, with the figures."""

    ending: Ending
    says: str
    version: Version | None = None
    old: HeldOut | None = None
    new: HeldOut | None = None


@dataclass(frozen=True)
class Origin:
    """Where clips come from: a project, or what `note` says."""

    project_id: int | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Teaching:
    """Learns from labelled clips and judges by others.

    learn: the engine's way of learning. folder: of all trainings; what an interrupted one left there is gone on with.
    """

    settings: Settings
    learn: Learner
    folder: Path

    def teach(
        self, lesson_name: str, parts: Split, request: TrainingRequest, say: Say, is_stopped: Callable[[], bool], origin: Origin
    ) -> Outcome:
        """
        Args:
            lesson_name: of its folder.
            origin: for the version's `About`.

        Raises:
            StoppedError: it is to end; the same call goes on.
            InputError: a clip that cannot be read, a device that is not there, no room on the disk.
        """
        try:
            return self._teach(self.folder / lesson_name, parts, request, say, is_stopped, origin)
        except Stopped:
            raise StoppedError from None
        except OSError as error:
            raise _no_room(error) from error

    def _teach(
        self, folder: Path, parts: Split, request: TrainingRequest, say: Say, is_stopped: Callable[[], bool], origin: Origin
    ) -> Outcome:
        store = version_store_of(self.settings)
        if store is None:
            raise InputError("MODEL_DIR", "a folder for what is learnt", "nothing")
        serving = load_serving(self.settings)
        parent = None if serving.name == BASE else store.get(serving.name).learnt_file
        _begin(folder, self.settings, request, parts, serving.name)
        held_out = [task.labelled for task in parts.held_out]

        def judged(predictor: Predictor, what: str) -> HeldOut:
            return judge(predictor, held_out, progress=lambda done, total: say(f"judging the {what} version", done, total), stop=is_stopped)

        old = judged(serving.predictor, "old")
        if not old.objects:
            return Outcome("refused", f"the {len(held_out)} held-out tasks show no object with enough points or pixels")
        parent_name, parent_version = serving.name, serving.predictor.version
        del serving  # a GPU has not always room for two
        training = [task.labelled for task in parts.training]
        learnt = self.learn(Lesson(self.settings, request, parent, training, held_out, folder, say, is_stopped))
        predictor = learnt_predictor(self.settings, learnt)
        new = judged(predictor, "new")
        figures = f"{old.score:.3f} before, {new.score:.3f} after, on {len(new.objects)} objects of {new.clip_count} held-out tasks"
        better = is_better(old, new)
        if not better and not request.use_anyway:
            shutil.rmtree(folder, ignore_errors=True)
            return Outcome("refused", f"what was learnt is not better than {parent_version}: {figures}", None, old, new)
        note = "better on the held-out tasks" if better else "used although it is not better"
        about = About(
            engine=store.engine,
            model_version=predictor.version,
            made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            parent=parent_name,
            project_id=origin.project_id,
            training=annotations_of(parts.training),
            held_out=annotations_of(parts.held_out),
            old_score=old.score,
            new_score=new.score,
            note=", ".join(filter(None, [origin.note, note])),
        )
        version = store.add(about, partial(shutil.copyfile, learnt))
        shutil.rmtree(folder, ignore_errors=True)
        if store.standing().current != parent_name:
            says = f"{version.name}: {figures}, but another version was chosen meanwhile (sam4d checkpoint use {version.name})"
            return Outcome("refused", says, version, old, new)
        store.use(version.name)
        return Outcome("done", f"{version.name} ({predictor.version}) answers from now on: {figures}", version, old, new)


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """Learns from a project. open_clip: the whole sequence at an address, for a project."""

    teaching: Teaching
    connect: Callable[[], LabelStudioClient]
    open_clip: Callable[[str, int], Clip]

    def run(self, project_id: int, request: TrainingRequest, say: Say, is_stopped: Callable[[], bool]) -> Outcome:
        """
        Raises:
            StoppedError: it is to end; the same call goes on.
            InputError: Label Studio is away, a task that cannot be read, or see `Teaching.teach`.
        """
        name = f"project-{project_id}"
        try:
            tasks = self._collect(project_id, self.teaching.folder / name, say)
        except OSError as error:
            raise _no_room(error) from error
        try:
            parts = split(tasks, f"project {project_id}", request.held_out_share)
        except InputError as error:
            return Outcome("refused", str(error))
        return self.teaching.teach(f"{name}/run", parts, request, say, is_stopped, Origin(project_id))

    def _collect(self, project_id: int, place: Path, say: Say) -> list[LabelledTaskClip]:
        with self.connect() as client:
            return collect(
                client,
                client.project_of(project_id),
                lambda address: self.open_clip(address, project_id),
                StagedWindows(place / "tasks"),
                progress=lambda done, total: say("reading annotations", done, total),
            )


def _begin(folder: Path, settings: Settings, request: TrainingRequest, parts: Split, parent: str) -> None:
    """The folder with what an earlier run about the very same left in it, or empty."""
    matter = {
        "engine": engine_kind(settings),
        "checkpoint": str(settings.checkpoint),
        "request": asdict(replace(request, use_anyway=False)),
        "parent": parent,
        "training": [[task.task_id, task.annotation_id, task.updated_at] for task in parts.training],
        "held_out": [[task.task_id, task.annotation_id, task.updated_at] for task in parts.held_out],
    }
    text = json.dumps(matter, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    file = folder / MATTER
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if json.loads(file.read_text(encoding="utf-8")).get("digest") == digest:
            logger.info("an interrupted training goes on")
            return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file.write_text(json.dumps({"digest": digest, **matter}), encoding="utf-8")


def _no_room(error: OSError) -> InputError:
    return InputError("training in MODEL_DIR", "room, and a folder that can be written", error.strerror or "an error")
