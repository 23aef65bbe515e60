"""What people labelled in a project, as files."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from backend.label_studio import LabelledTask, Labels, LabelStudioClient, Project
from backend.staged_windows import StagedWindows, staged_windows
from converters.exports import FileContent, LabelFormat, Window, file_name, join_windows, labels_as, write_whole_files
from converters.reconcile import regions_to_masklets
from converters.tasks import TaskWindow, parse_task_data
from sam4d.structures import Clip, InputError

Include: TypeAlias = Literal["annotations", "drafts", "predictions"]


@dataclass(frozen=True)
class ExportedSequence:
    """What was written of one sequence, how many of its tasks it comes from, and what only the sidecar holds of it."""

    name: str
    objects: int
    labelled_tasks: int
    tasks: int
    lost: str | None = None


def export_project(
    client: LabelStudioClient,
    project: Project,
    open_clip: Callable[[str], Clip],
    export_format: LabelFormat,
    output: Path,
    *,
    include: Include = "annotations",
    overwrite: bool = False,
    resume: bool = False,
    label_map: Mapping[str, str | None] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ExportedSequence, ...]:
    """Write the labels of every sequence of a project, its tasks' objects joined into one track per object.

    Where the files go is the format's own matter (docs/formats.md); what the format cannot hold is written to OUTPUT/sidecar/NAME/ as
    well. NAME is the sequence's, characters that a file name should not hold replaced.

    Args:
        open_clip: the whole sequence at a task's address.
        include: "annotations" only what was submitted, the newest of a task; "drafts" what was saved but not submitted too, where it is
            newer; "predictions" also the engine's answers of tasks that nobody has labelled.
        overwrite: replace files that are there.
        resume: go on with what an interrupted export to the same output has read.
        label_map: see `converters.exports.labels_as`.

    Raises:
        InputError: nothing labelled, a task or region that cannot be read, two sequences whose files would have one name, files in the
            way, nothing to resume. Nothing is written then.
    """
    with staged_windows(output, resume=resume) as staged:
        tasks = client.tasks(project)
        task_counts: Counter[str] = Counter()
        clips: dict[str, Clip] = {}
        windows: dict[str, list[Window]] = {}
        for index, task in enumerate(tasks):
            with _named(task.task_id):
                window = parse_task_data(task.data)
            task_counts[window.sequence] += 1
            labels = choose_labels(client.labelled_task(task), include)
            if labels is not None:
                if window.sequence not in clips:
                    clips[window.sequence] = open_clip(window.sequence)
                windows.setdefault(window.sequence, []).append(read_window(task.task_id, window, labels, clips[window.sequence], staged))
            progress(index + 1, len(tasks))
        files: dict[Path, FileContent] = {}
        exported: dict[str, ExportedSequence] = {}
        for address, read in windows.items():
            clip = clips[address]
            name = file_name(clip.name)
            if name in exported:
                raise InputError(f"project {project.title!r}", "sequences of distinct names", f"two of the name {name}")
            masklets = join_windows(read)
            labels_of_clip = labels_as(export_format, clip, masklets, label_map)
            files |= {output / path: data for path, data in labels_of_clip.files.items()}
            exported[name] = ExportedSequence(name, len(masklets), len(read), task_counts[address], labels_of_clip.lost)
        if not exported:
            hint = "" if include == "predictions" else " (--include drafts or predictions takes more)"
            raise InputError(f"project {project.title!r}", f"at least one task with labels{hint}", f"none among {len(tasks)} tasks")
        write_whole_files(files, overwrite=overwrite)
        return tuple(exported.values())


def choose_labels(task: LabelledTask, include: Include) -> Labels | None:
    """What counts of all that was labelled in a task; None where nothing does. Annotations that were cancelled (skipped) do not."""
    candidates = [labels for labels in task.annotations if not labels.was_cancelled]
    if include != "annotations":
        candidates += [labels for labels in task.drafts if not labels.was_cancelled]
    if not candidates and include == "predictions":
        candidates = list(task.predictions)
    return max(candidates, key=lambda labels: labels.updated_at, default=None)


def read_window(task_id: int, window: TaskWindow, labels: Labels, clip: Clip, staged: StagedWindows) -> Window:
    """The objects of one task, their masks on disk: a long drive has thousands. `clip`: the whole sequence."""
    with _named(task_id):
        shown = clip.window(window.first_frame, window.frame_count)
        if not staged.has(task_id, labels):
            staged.put(task_id, labels, regions_to_masklets(labels.result, window, shown), shown)
        return Window(window.first_frame, window.frame_count, staged.get(task_id, labels, shown))


@contextlib.contextmanager
def _named(task_id: int) -> Iterator[None]:
    """Says of which task an error is, so that it can be opened and put right."""
    try:
        yield
    except InputError as error:
        raise InputError(f"task {task_id}, {error.where}", error.expected, error.found) from None
