"""Where exported files go, and that all of them are written or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from backend.export import export_project
from backend.label_studio import LabelledTask, Labels, LabelStudioClient, LabelStudioError, Project, Task
from backend.staged_windows import StagedWindows, staging_folder
from converters.exports import LABEL_FORMATS, LabelFormat
from converters.regions import masklet_to_regions
from converters.tasks import TaskWindow, build_task_data
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, Masklet

PROJECT = Project(1, "drives", "")
FOLDERS = ("label_02", "calib", "coco", "openlabel", "sequences", "sam4d_labels", "cvat", "supervisely", "segments")
"""Where formats put their files that do not begin with the sequence's name."""


@dataclass(frozen=True)
class SubmittedTasks:
    """In place of a Label Studio: every sequence is one task whose objects were submitted."""

    clips: dict[str, Clip]
    drive: SyntheticDrive
    asked: list[int] = field(default_factory=list)
    failing: dict[int, BaseException] = field(default_factory=dict)

    def tasks(self, project: Project) -> list[Task]:
        data = [
            build_task_data(TaskWindow(name, 0, len(clip)), {camera: [""] * len(clip) for camera in clip.cameras}, [""] * len(clip))
            for name, clip in self.clips.items()
        ]
        return [Task(number, task_data) for number, task_data in enumerate(data)]

    def labelled_task(self, task: Task) -> LabelledTask:
        self.asked.append(task.task_id)
        if task.task_id in self.failing:
            raise self.failing[task.task_id]
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


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), LabelStudioError("Label Studio", "an answer", "none")])
def test_what_was_read_before_an_interruption_is_not_read_again(
    small_drive: SyntheticDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    clips = {name: replace(small_drive.clip, name=name) for name in ("first", "second", "third")}
    client = SubmittedTasks(clips, small_drive, failing={2: failure})
    read: list[int] = []
    put = StagedWindows.put

    def counting(self: StagedWindows, task_id: int, labels: Labels, masklets: Sequence[Masklet], window: Clip) -> None:
        read.append(task_id)
        put(self, task_id, labels, masklets, window)

    monkeypatch.setattr(StagedWindows, "put", counting)

    def run(output: Path, *, resume: bool) -> None:
        export_project(cast(LabelStudioClient, client), PROJECT, clips.__getitem__, "sequence", output, resume=resume)

    output = tmp_path / "new" / "output"
    with pytest.raises(type(failure)):
        run(output, resume=False)
    assert not output.exists(), "nothing of it is written"
    client.failing.clear()
    run(output, resume=True)
    assert read == [0, 1, 2]
    assert [path.name for path in output.parent.iterdir()] == ["output"]
    run(tmp_path / "at once", resume=False)
    written = {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert written == {
        path.relative_to(tmp_path / "at once"): path.read_bytes() for path in (tmp_path / "at once").rglob("*") if path.is_file()
    }


def test_labels_that_changed_meanwhile_are_read_anew(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    client = SubmittedTasks({"first": small_drive.clip, "second": small_drive.clip}, small_drive, failing={1: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        export_project(cast(LabelStudioClient, client), PROJECT, client.clips.__getitem__, "coco", tmp_path / "output")
    other = SubmittedTasks({"first": small_drive.clip}, replace(small_drive, masklets=small_drive.masklets[1:]))
    for folder, resume in (("output", True), ("at once", False)):
        export_project(cast(LabelStudioClient, other), PROJECT, other.clips.__getitem__, "coco", tmp_path / folder, resume=resume)
    (found,), (expected,) = ((tmp_path / folder).rglob("coco/*.json") for folder in ("output", "at once"))
    assert found.read_bytes() == expected.read_bytes()


def test_there_must_be_something_to_resume(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    client = SubmittedTasks({"first": small_drive.clip}, small_drive)
    with pytest.raises(InputError, match=r"\.output\.read: expected what an interrupted export left behind"):
        export_project(cast(LabelStudioClient, client), PROJECT, client.clips.__getitem__, "coco", tmp_path / "output", resume=True)
    assert not staging_folder(tmp_path / "output").exists()
    assert list(tmp_path.iterdir()) == []
