"""An import that is interrupted keeps what it made, and the same import goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from backend.cli import main
from backend.label_studio import LabelStudioClient, Project, Result
from backend.projects import ImportInterrupted, WithLabels
from converters.cloud_file import encode_cloud
from converters.exports import write_labels
from converters.sequences import open_sequence
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.backend.projects.importing import Import, files_below
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.xdist_group("label-studio")


class Interrupting(LabelStudioClient):
    """Interrupted after so many calls that add tasks, or in the call that adds the next annotation."""

    def __init__(self, server: LabelStudioServer, *, tasks: int = 100, annotations: int = 100) -> None:
        super().__init__(server.url, server.token)
        self.tasks_left, self.annotations_left = tasks, annotations

    def add_tasks(self, project: Project, data: Sequence[Mapping[str, Any]]) -> list[int]:
        task_ids = super().add_tasks(project, data)
        self.tasks_left -= 1
        if self.tasks_left == 0:
            raise KeyboardInterrupt
        return task_ids

    def add_annotation(self, task_id: int, result: Sequence[Result]) -> None:
        if self.annotations_left == 0:
            raise KeyboardInterrupt
        self.annotations_left -= 1
        super().add_annotation(task_id, result)


def interrupted_at(step: str, done: int) -> Callable[[str, int, int], None]:
    def progress(what: str, count: int, total: int) -> None:
        if what.startswith(step) and count == done:
            raise KeyboardInterrupt

    return progress


def test_frames_that_are_rendered_are_not_rendered_again(
    import_into: Import, recording: Path, client: LabelStudioClient, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []

    def encode(sweep: Any) -> bytes:
        rendered.append(len(sweep))
        return encode_cloud(sweep)

    monkeypatch.setattr("backend.derived_files.encode_cloud", encode)
    with pytest.raises(ImportInterrupted):
        import_into("rendering", recording, progress=interrupted_at("rendering", 3))
    assert client.find_project("rendering") is None
    assert len(rendered) == 3
    (left,) = (data_root / "derived/sequences/street").iterdir()
    assert left.name.startswith(".")

    _, (imported,) = import_into("rendering", recording)
    assert (imported.new_tasks, len(rendered)) == (2, 4)
    (folder,) = (data_root / "derived/sequences/street").iterdir()
    for index, frame in enumerate(open_sequence(recording).frames):
        assert (folder / f"clouds/{index:06d}.s4dc").read_bytes() == encode_cloud(frame.load_sweep())
        assert (folder / f"bev/{index:06d}.png").is_file()
    assert not [name for name in files_below(folder) if Path(name).name.startswith(".") or name.endswith(".unfinished")]


def test_what_was_begun_of_another_drive_is_not_gone_on_with(
    import_into: Import, recording: Path, small_drive: SyntheticDrive, data_root: Path
) -> None:
    with pytest.raises(ImportInterrupted):
        import_into("rendering", recording, progress=interrupted_at("rendering", 3))
    (left,) = (data_root / "derived/sequences/street").iterdir()
    (left / "clouds/000000.s4dc").write_bytes(b"of another drive")
    (left / ".made_of").write_text("another drive")
    import_into("rendering", recording)
    (folder,) = (data_root / "derived/sequences/street").iterdir()
    assert (folder / "clouds/000000.s4dc").read_bytes() == encode_cloud(open_sequence(recording).frames[0].load_sweep())


def test_tasks_that_were_added_stay(
    import_into: Import, recording: Path, client: LabelStudioClient, label_studio: LabelStudioServer
) -> None:
    with Interrupting(label_studio, tasks=1) as interrupting, pytest.raises(ImportInterrupted):
        import_into("tasks", recording, client=interrupting)
    project, (imported,) = import_into("tasks", recording)
    assert (imported.new_tasks, imported.tasks, len(client.tasks(project))) == (0, 2, 2)


def test_no_task_is_left_without_its_labels(
    import_into: Import, recording: Path, client: LabelStudioClient, label_studio: LabelStudioServer, small_drive: SyntheticDrive
) -> None:
    clip = open_sequence(recording)
    write_labels(clip, [masklet for masklet in small_drive.masklets if len(masklet.masks) == len(clip)][:1], recording)
    labelled = WithLabels(build_predictor(), 100)
    with Interrupting(label_studio, annotations=1) as interrupting, pytest.raises(ImportInterrupted):
        import_into("labels", recording, client=interrupting, with_labels=labelled)
    project = client.get_project("labels")
    (whole,) = client.tasks(project)

    _, (imported,) = import_into("labels", recording, with_labels=labelled)
    assert (imported.new_tasks, imported.tasks) == (1, 2)
    first, second = client.tasks(project)
    assert first == whole
    assert [len(client.labelled_task(task).annotations) for task in (first, second)] == [1, 1]


def test_an_error_leaves_no_labelled_task(
    import_into: Import, recording: Path, client: LabelStudioClient, label_studio: LabelStudioServer, small_drive: SyntheticDrive
) -> None:
    clip = open_sequence(recording)
    write_labels(clip, [masklet for masklet in small_drive.masklets if len(masklet.masks) == len(clip)][:1], recording)
    project, _ = import_into("labels", recording)
    client.delete_tasks([task.task_id for task in client.tasks(project)])

    class Refused(Interrupting):
        def add_annotation(self, task_id: int, result: Sequence[Result]) -> None:
            if self.annotations_left == 0:
                raise InputError("Label Studio", "to be accepted", "500")
            super().add_annotation(task_id, result)

    options = {"with_labels": WithLabels(build_predictor(), 100, {masklet.label: "Car" for masklet in small_drive.masklets})}
    with Refused(label_studio, annotations=1) as refused, pytest.raises(InputError, match="500"):
        import_into("labels", recording, client=refused, **options)
    assert client.tasks(project) == []


def test_the_command_says_how_to_go_on(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise ImportInterrupted

    monkeypatch.setattr("backend.commands.projects.import_sequences", interrupted)
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(tmp_path))
    assert main(["import", str(recording), "--project", "drives"]) == 130
    assert "what was made of project 'drives' so far stays; the same command goes on with it" in capsys.readouterr().err
