"""Where exported files go, and that all of them are written or none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from backend.export import export_project
from backend.label_studio import LabelledTask, Labels, LabelStudioClient, Project, Task
from converters.exports import LABEL_FORMATS, LabelFormat
from converters.regions import masklet_to_regions
from converters.tasks import TaskWindow, build_task_data
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError

PROJECT = Project(1, "drives", "")
FOLDERS = ("label_02", "calib", "coco", "openlabel", "sequences", "sam4d_labels", "cvat", "supervisely", "segments")
"""Where formats put their files that do not begin with the sequence's name."""


@dataclass(frozen=True)
class SubmittedTasks:
    """In place of a Label Studio: every sequence is one task whose objects were submitted."""

    clips: dict[str, Clip]
    drive: SyntheticDrive

    def tasks(self, project: Project) -> list[Task]:
        data = [
            build_task_data(TaskWindow(name, 0, len(clip)), {camera: [""] * len(clip) for camera in clip.cameras}, [""] * len(clip))
            for name, clip in self.clips.items()
        ]
        return [Task(number, task_data) for number, task_data in enumerate(data)]

    def labelled_task(self, task: Task) -> LabelledTask:
        clip = self.clips[str(task.data["sequence"])]
        regions = masklet_to_regions(self.drive.masklets[0], TaskWindow("", 0, len(clip)), clip, "v")
        return LabelledTask(task, (Labels(1, regions),), (), ())


def export(drive: SyntheticDrive, names: list[str], output: Path, export_format: str) -> list[str]:
    client = SubmittedTasks({name: replace(drive.clip, name=name) for name in names}, drive)
    written = export_project(
        cast(LabelStudioClient, client),
        PROJECT,
        client.clips.__getitem__,
        cast(LabelFormat, export_format),
        output,
    )
    return [sequence.name for sequence in written]


@pytest.mark.parametrize("export_format", LABEL_FORMATS)
def test_a_sequences_name_leads_nowhere_else(small_drive: SyntheticDrive, tmp_path: Path, export_format: str) -> None:
    output = tmp_path / "output"
    assert export(small_drive, ["../out/of it", "..", "/tmp/else", "drive_1.2"], output, export_format) == [
        "_._out_of_it",
        "_.",
        "_tmp_else",
        "drive_1.2",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert {path.name for path in output.iterdir()} <= {"_._out_of_it", "_.", "_tmp_else", "drive_1.2", "sidecar", *FOLDERS}
    assert any(path.is_file() for path in output.rglob("*"))


@pytest.mark.parametrize("export_format", LABEL_FORMATS)
def test_all_sequences_are_written_or_none(small_drive: SyntheticDrive, tmp_path: Path, export_format: str) -> None:
    with pytest.raises(InputError, match="expected sequences of distinct names, found two of the name a_street"):
        export(small_drive, ["a street", "a/street"], tmp_path, export_format)
    assert list(tmp_path.iterdir()) == []

    export(small_drive, ["second"], tmp_path, export_format)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"second.*expected nothing \(or permission to overwrite\), found a file"):
        export(small_drive, ["first", "second"], tmp_path, export_format)
    assert sorted(tmp_path.rglob("*")) == before
