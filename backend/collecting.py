"""What people submitted in a project, as labelled clips: what an engine learns from and is judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from backend.export import choose_labels, read_window
from backend.label_studio import Labels, LabelStudioClient, Project
from backend.staged_windows import StagedWindows
from converters.tasks import parse_task_data
from sam4d.structures import Clip, InputError, Masklet
from sam4d.training.labelled_clip import LabelledClip

FEWEST_TASKS = 2
"""One to learn from, and one to judge by."""


@dataclass(frozen=True, eq=False)
class LabelledTaskClip:
    """A task's window of its drive with what was submitted in it, last of all in annotation `annotation_id`."""

    task_id: int
    annotation_id: int
    updated_at: str
    labelled: LabelledClip


@dataclass(frozen=True, eq=False)
class Split:
    """Tasks to learn from, and tasks to judge by. Each by ascending number; none is in both."""

    training: tuple[LabelledTaskClip, ...]
    held_out: tuple[LabelledTaskClip, ...]


def collect(
    client: LabelStudioClient,
    project: Project,
    open_clip: Callable[[str], Clip],
    staged: StagedWindows,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LabelledTaskClip]:
    """The newest submitted annotation of every task, read as an export reads it; tasks without a labelled object are left out.

    Args:
        open_clip: the whole sequence at a task's address.
        staged: where masks are kept; what it holds already is not read anew.

    Raises:
        InputError: a task or region that cannot be read; it names the task.
    """
    tasks = client.annotated_tasks(project)
    clips: dict[str, Clip] = {}
    found: list[LabelledTaskClip] = []
    read: dict[int, Labels] = {}
    for index, task in enumerate(tasks):
        progress(index, len(tasks))
        labels = choose_labels(client.labelled_task(task), "annotations")
        if labels is None or not labels.result:
            continue
        try:
            window = parse_task_data(task.data)
        except InputError as error:
            raise InputError(f"task {task.task_id}, {error.where}", error.expected, error.found) from None
        if window.sequence not in clips:
            clips[window.sequence] = open_clip(window.sequence)
        clip = clips[window.sequence]
        read[task.task_id] = labels
        masklets = read_window(task.task_id, window, labels, clip, staged).masklets
        labelled = as_labelled(clip.window(window.first_frame, window.frame_count), masklets)
        if labelled is not None:
            found.append(LabelledTaskClip(task.task_id, labels.number, labels.updated_at, labelled))
    staged.keep_only(read)
    progress(len(tasks), len(tasks))
    return found


def as_labelled(clip: Clip, masklets: Sequence[Masklet]) -> LabelledClip | None:
    """What somebody looked at: the frames on which something is labelled, and the cameras in which something is. None where nothing is.

    Of a frame or camera without any label nobody knows whether it was looked at.
    """
    frames = sorted({frame_index for masklet in masklets for frame_index, masks in masklet.masks.items() if not masks.is_empty})
    cameras = [
        camera
        for camera in clip.cameras
        if any(masks.camera_masks[camera].any() for masklet in masklets for masks in masklet.masks.values() if camera in masks.camera_masks)
    ]
    return LabelledClip(clip, tuple(masklets), tuple(cameras), tuple(frames)) if frames else None


def split(tasks: Sequence[LabelledTaskClip], where: str, held_out_share: float, what: str = "submitted tasks") -> Split:
    """Which tasks are held out is the task's own: it stays so however many others come, but that there is always one of each kind.

    Args:
        where: what they are of, "project 7": named in the error, and part of what chooses.
        what: what the error calls them.

    Raises:
        InputError: fewer tasks than needed.
    """
    if len(tasks) < FEWEST_TASKS:
        expected = f"at least {FEWEST_TASKS} {what} with labelled objects, one to learn from and one to judge by"
        raise InputError(where, expected, str(len(tasks)))
    places = {task.task_id: _place(where, task.task_id) for task in tasks}
    by_place = sorted(places, key=lambda task_id: (places[task_id], task_id))
    held_out = {task_id for task_id in by_place[:-1] if places[task_id] < held_out_share} | {by_place[0]}
    ordered = sorted(tasks, key=lambda task: task.task_id)
    return Split(
        tuple(task for task in ordered if task.task_id not in held_out), tuple(task for task in ordered if task.task_id in held_out)
    )


def annotations_of(tasks: Sequence[LabelledTaskClip]) -> Mapping[int, int]:
    return {task.task_id: task.annotation_id for task in tasks}


def _place(where: str, task_id: int) -> Fraction:
    """In [0, 1), by chance once and for all."""
    digest = hashlib.sha256(f"{where} {task_id}".encode()).digest()
    return Fraction(int.from_bytes(digest[:8], "big"), 2**64)
