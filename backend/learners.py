"""How each engine learns from labelled clips: the geometric one's few parameters are searched, the network is trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from backend.settings import Settings
from backend.training_jobs import TrainingRequest
from backend.versions import LEARNT_FILES, EngineKind
from sam4d.structures import InputError
from sam4d.training.labelled_clip import LabelledClip

SAVE_EVERY = 10
"""Steps of the network that are lost at the most where a server is killed: on a CPU each may take a minute."""


class StoppedError(Exception):
    """The training is to end; its folder holds what it needs to go on."""


class Say(Protocol):
    """Told how far the work is."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Raises StoppedError where it is to end."""
        ...


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is to be learnt.

    parent: the weights or parameters to begin with; None is what the settings name. folder: of this training alone, with what an earlier
    run of it left there. is_stopped: asked now and then by what cannot say how far it is.
    """

    settings: Settings
    request: TrainingRequest
    parent: Path | None
    training: Sequence[LabelledClip]
    held_out: Sequence[LabelledClip]
    folder: Path
    say: Say
    is_stopped: Callable[[], bool]


Learner = Callable[[Lesson], Path]
"""Learns and returns the file of what was learnt, in the lesson's folder.

Raises StoppedError, InputError (nothing to learn from, a device that is not there) and OSError (no room). What else goes wrong is one line.
"""


def learner_of(kind: EngineKind) -> Learner:
    return search_parameters if kind == "geometric" else train_network


def search_parameters(lesson: Lesson) -> Path:
    """The geometric engine's: the best parameters within bounds, for the training clips alone."""
    from sam4d.geometric.parameters import DEFAULT_PARAMETERS, read_parameters, write_parameters
    from sam4d.training.geometric_search import search_parameters as search
    from sam4d.training.held_out import Stopped

    start = DEFAULT_PARAMETERS if lesson.parent is None else read_parameters(lesson.parent)
    try:
        found = search(
            lesson.training,
            start,
            kept=lesson.folder / "judged.json",
            progress=lambda done, total: lesson.say("searching parameters", done, total),
            stop=lesson.is_stopped,
        )
    except Stopped:
        raise StoppedError from None
    file = lesson.folder / LEARNT_FILES["geometric"]
    write_parameters(file, found.best)
    return file


def train_network(lesson: Lesson) -> Path:
    """The network's: from the parent's weights on."""
    from sam4d.checkpoint import check_fits, read_checkpoint
    from sam4d.modeling.sam4d import Sam4D
    from sam4d.network.predictor import device_named
    from sam4d.training.failures import TrainingFailed
    from sam4d.training.learning_curve import CurvePoint
    from sam4d.training.plan import TrainingPlan
    from sam4d.training.trainer import train

    checkpoint = lesson.parent or lesson.settings.checkpoint
    if checkpoint is None:
        raise InputError("SAM4D_CHECKPOINT", "the network's weights to begin with", "nothing")
    read = read_checkpoint(checkpoint)
    network = Sam4D(read.configuration)
    check_fits(read, network)
    network.load_state_dict(read.tensors)
    request = lesson.request
    usual = TrainingPlan()
    plan = replace(usual, mode=request.mode, steps=request.steps or usual.steps, save_every=SAVE_EVERY, device=lesson.settings.device)
    if device_named(plan.device).type == "cpu":
        # A window of the usual size takes a minute there.
        plan = plan.on_a_cpu()

    def progress(point: CurvePoint, steps: int) -> None:
        loss = f", loss {point.losses['total']:.3f}" if point.losses else ""
        # The trainer asks itself whether to stop, and writes its state then.
        with contextlib.suppress(StoppedError):
            lesson.say(f"training the network{loss}", point.step, steps)

    try:
        result = train(plan, lesson.training, lesson.held_out, network, lesson.folder, progress, stopped=lesson.is_stopped)
    except TrainingFailed as error:
        raise InputError("training", "to come to its end", str(error)) from error
    if result.checkpoint is None:
        raise StoppedError
    return result.checkpoint
