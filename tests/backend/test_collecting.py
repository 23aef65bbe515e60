"""Submitted annotations as labelled clips, and which tasks are held out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.collecting import LabelledTaskClip, as_labelled, collect, split
from backend.label_studio import LabelledTask, Labels, LabelStudioClient, Project, Task
from backend.staged_windows import StagedWindows
from converters.regions import masklet_to_regions
from converters.tasks import TaskWindow, build_task_data
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError, Masklet
from sam4d.training.labelled_clip import LabelledClip

PROJECT = Project(7, "drives", "")
NO_CLIP = cast(LabelledClip, None)


@dataclass
class SubmittedWindows:
    """In place of a Label Studio: tasks of two frames each of one drive, the given objects submitted in each."""

    drive: SyntheticDrive
    submitted: dict[int, tuple[Masklet, ...]]
    cancelled: frozenset[int] = frozenset()
    asked: list[int] = field(default_factory=list)

    def window(self, task_id: int) -> TaskWindow:
        return TaskWindow("drive", 2 * task_id, 2)

    def annotated_tasks(self, project: Project) -> list[Task]:
        assert project == PROJECT
        cameras = self.drive.clip.cameras
        return [
            Task(number, build_task_data(self.window(number), {camera: ["", ""] for camera in cameras}, ["", ""]))
            for number in self.submitted
        ]

    def labelled_task(self, task: Task) -> LabelledTask:
        self.asked.append(task.task_id)
        window = self.window(task.task_id)
        clip = self.drive.clip.window(window.first_frame, 2)
        masklets = [windowed(masklet, window) for masklet in self.submitted[task.task_id]]
        regions = [region for masklet in masklets for region in masklet_to_regions(masklet, window, clip, "v")]
        older = Labels(10 + task.task_id, regions[:1], "2026-01-01T10:00:00Z")
        newest = Labels(20 + task.task_id, regions, "2026-01-01T11:00:00Z", was_cancelled=task.task_id in self.cancelled)
        return LabelledTask(task, (older, newest) if task.task_id not in self.cancelled else (newest,), (), ())


def windowed(masklet: Masklet, window: TaskWindow) -> Masklet:
    frames = range(window.first_frame, window.first_frame + window.frame_count)
    masks = {
        index - window.first_frame: replace(masklet.masks[index], frame_index=index - window.first_frame)
        for index in frames
        if index in masklet.masks
    }
    cuboids = {index - window.first_frame: masklet.cuboids[index] for index in frames if index in masklet.cuboids}
    return Masklet(masklet.object_id, masklet.label, masks, cuboids)


def test_what_was_submitted_last_comes_back(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    masklets = small_drive.masklets[:3]
    server = SubmittedWindows(small_drive, {0: masklets, 1: masklets})
    staged = StagedWindows(tmp_path / "tasks")
    told: list[tuple[int, int]] = []
    found = collect(
        cast(LabelStudioClient, server),
        PROJECT,
        lambda address: small_drive.clip,
        staged,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert [(task.task_id, task.annotation_id) for task in found] == [(0, 20), (1, 21)]
    for task in found:
        first = 2 * task.task_id
        assert len(task.labelled.clip) == 2
        assert task.labelled.labelled_frames == (0, 1)
        assert set(task.labelled.labelled_cameras) <= set(small_drive.clip.cameras)
        for masklet in task.labelled.masklets:
            truth = next(each for each in masklets if each.object_id == masklet.object_id)
            for frame_index, masks in masklet.masks.items():
                np.testing.assert_array_equal(masks.lidar_mask, truth.masks[first + frame_index].lidar_mask)
                for camera in task.labelled.labelled_cameras:
                    np.testing.assert_array_equal(masks.camera_masks[camera], truth.masks[first + frame_index].camera_masks[camera])


def test_masks_of_tasks_that_are_gone_or_changed_are_not_kept(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    staged = StagedWindows(tmp_path / "tasks")
    both = SubmittedWindows(small_drive, {0: small_drive.masklets[:1], 1: small_drive.masklets[:1]})
    collect(cast(LabelStudioClient, both), PROJECT, lambda address: small_drive.clip, staged)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "tasks").iterdir()}
    one = SubmittedWindows(small_drive, {0: small_drive.masklets[:1], 1: small_drive.masklets[1:2]})
    collect(cast(LabelStudioClient, one), PROJECT, lambda address: small_drive.clip, staged)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "tasks").iterdir()}
    assert len(before) == len(after) == 2
    assert {name: time for name, time in before.items() if name.startswith("0-")}.items() <= after.items(), "not read anew"


def test_skipped_and_empty_tasks_are_nothing_to_learn_from(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    server = SubmittedWindows(small_drive, {0: small_drive.masklets[:1], 1: ()}, cancelled=frozenset({0}))
    assert collect(cast(LabelStudioClient, server), PROJECT, lambda address: small_drive.clip, StagedWindows(tmp_path)) == []


def test_frames_and_cameras_without_a_label_are_unknown(small_drive: SyntheticDrive) -> None:
    assert as_labelled(small_drive.clip, ()) is None
    masklet = small_drive.masklets[0]
    frame_index, masks = next((index, masks) for index, masks in masklet.masks.items() if masks.camera_masks["front"].any())
    nothing = {camera: np.zeros_like(mask) for camera, mask in masks.camera_masks.items()}
    only_front = replace(masks, camera_masks={**nothing, "front": masks.camera_masks["front"]})
    labelled = as_labelled(small_drive.clip, [Masklet(1, "Car", {frame_index: only_front})])
    assert labelled is not None
    assert (labelled.labelled_frames, labelled.labelled_cameras) == ((frame_index,), ("front",))


def tasks(numbers: list[int]) -> list[LabelledTaskClip]:
    return [LabelledTaskClip(number, number, "", NO_CLIP) for number in numbers]


@given(st.sets(st.integers(1, 10**6), min_size=2, max_size=30), st.floats(0.01, 0.9))
def test_every_task_is_on_one_side_and_both_have_some(numbers: set[int], share: float) -> None:
    parts = split(tasks(sorted(numbers)), "project 7", share)
    training, held_out = ({task.task_id for task in part} for part in (parts.training, parts.held_out))
    assert training | held_out == numbers
    assert not training & held_out
    assert training
    assert held_out


@given(st.sets(st.integers(1, 10**6), min_size=2, max_size=30), st.sets(st.integers(1, 10**6), max_size=10), st.floats(0.01, 0.9))
def test_what_was_learnt_from_never_becomes_what_is_judged_by(numbers: set[int], more: set[int], share: float) -> None:
    before = split(tasks(sorted(numbers)), "project 7", share)
    after = split(tasks(sorted(numbers | more)), "project 7", share)
    learnt = {task.task_id for task in before.training}
    # All but the one that is learnt from only because there must be one.
    assert len(learnt & {task.task_id for task in after.held_out}) <= (1 if len(learnt) == 1 else 0)


def test_the_share_is_about_what_was_asked_for() -> None:
    parts = split(tasks(list(range(1, 1001))), "project 7", 0.2)
    assert 150 < len(parts.held_out) < 250


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_tasks_are_counted(count: int) -> None:
    with pytest.raises(InputError) as caught:
        split(tasks(list(range(count))), "project 7", 0.2)
    assert str(caught.value) == (
        f"project 7: expected at least 2 submitted tasks with labelled objects, one to learn from and one to judge by, found {count}"
    )
