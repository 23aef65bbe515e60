"""Drives become projects of a real Label Studio, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import fromstring

import pytest
import requests

from backend.embedded import free_port
from backend.export import choose_labels, export_project
from backend.label_studio import LabelledTask, Labels, LabelStudioClient, LabelStudioError, Project, Task
from backend.preannotate import preannotate
from backend.projects import BackendAddress
from backend.proposing import WindowProposer
from converters.cloud_file import encode_cloud
from converters.exports import write_sequence
from converters.sequences import open_sequence
from converters.tasks import parse_task_data
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError
from tests.backend.projects.importing import OPTIONS, Import, below, files_below
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.xdist_group("label-studio")


def test_a_drive_becomes_tasks_whose_images_can_be_seen(
    import_into: Import, recording: Path, label_studio: LabelStudioServer, client: LabelStudioClient, labelling_backend: BackendAddress
) -> None:
    project, (imported,) = import_into("a street", recording)
    assert (imported.new_tasks, imported.tasks) == (2, 2)
    assert any("camera front: no image on frame 1" in note for note in imported.notes)

    tasks = client.tasks(project)
    windows = [parse_task_data(task.data) for task in tasks]
    assert [(window.first_frame, window.frame_count) for window in windows] == [(0, 3), (1, 3)]
    assert {window.sequence for window in windows} == {"/data/local-files/?d=sequences/street"}
    assert windows[0].birds_eye.range_m == 40.0

    addresses = {address for task in tasks for name in ("front", "front_left", "bev") for address in task.data[name]}
    assert sum("/missing/front.png" in address for address in addresses) == 1
    headers = {"Authorization": f"Token {label_studio.token}"}
    for address in addresses:
        response = requests.get(label_studio.url + address, headers=headers, timeout=30)
        assert (response.status_code, response.headers["Content-Type"]) == (200, "image/png"), address
    assert requests.get(label_studio.url + next(iter(addresses)), timeout=30).status_code in (401, 403)

    (backend,) = label_studio.client.ml.list(project=project.project_id)
    assert (backend.url, backend.is_interactive, backend.auth_method) == (labelling_backend.url, True, "BASIC_AUTH")
    made: Any = label_studio.client.projects.get(project.project_id)
    assert (made.model_version, made.show_collab_predictions) == (build_predictor().version, False)


def test_the_3d_view_and_what_it_reads_can_be_fetched(
    import_into: Import, recording: Path, label_studio: LabelStudioServer, client: LabelStudioClient, tmp_path: Path
) -> None:
    page = tmp_path / "index.html"
    page.write_text("<!doctype html><p>the 3D view</p>")
    project, _ = import_into("in 3D", recording, viewer_page=page)
    assert "$viewer_html" in project.label_config
    headers = {"Authorization": f"Token {label_studio.token}"}
    for task, first in zip(client.tasks(project), (0, 1), strict=True):
        address = urlsplit(fromstring(str(task.data["viewer_html"])).attrib["src"])
        query = parse_qs(address.query)
        assert (query["first"], query["count"]) == ([str(first)], ["3"])
        shown = requests.get(f"{label_studio.url}{address.path}?{address.query}", headers=headers, timeout=30)
        assert (shown.status_code, shown.text) == (200, page.read_text())
        assert shown.headers["Content-Type"].startswith("text/html")
    description = requests.get(label_studio.url + query["clip"][0], headers=headers, timeout=30).json()
    assert [sorted(frame["images"]) for frame in description["frames"]] == [
        ["front", "front_left"],
        ["front_left"],
        *[["front", "front_left"]] * 2,
    ]
    clip = open_sequence(recording)
    for frame, said in zip(clip.frames, description["frames"], strict=True):
        cloud = requests.get(label_studio.url + said["cloud"], headers=headers, timeout=30)
        assert cloud.content == encode_cloud(frame.load_sweep())

    without, _ = import_into("without", recording, viewer_page=tmp_path / "nowhere.html")
    assert "$viewer_html" not in without.label_config
    client.delete_tasks([client.tasks(project)[0].task_id])
    import_into("in 3D", recording, viewer_page=tmp_path / "nowhere.html")
    assert "not built" in str(client.tasks(project)[1].data["viewer_html"])


def test_the_same_drive_again_adds_only_what_is_missing(import_into: Import, recording: Path, client: LabelStudioClient) -> None:
    project, _ = import_into("again", recording)
    first, second = client.tasks(project)
    again, (imported,) = import_into("again", recording)
    assert (again, imported.new_tasks, imported.tasks) == (project, 0, 2)
    assert client.tasks(project) == [first, second]

    client.delete_tasks([first.task_id])
    _, (imported,) = import_into("again", recording)
    assert imported.new_tasks == 1
    kept, made = client.tasks(project)
    assert (kept, made.data) == (second, first.data)


def test_a_project_holds_one_set_of_cameras_labels_and_windows(
    import_into: Import, recording: Path, small_drive: SyntheticDrive, tmp_path: Path, client: LabelStudioClient, data_root: Path
) -> None:
    project, _ = import_into("one rig", recording)
    clip = small_drive.clip
    write_sequence(
        replace(clip, cameras={}, frames=tuple(replace(frame, load_images={}) for frame in clip.frames)), tmp_path / "lidar only"
    )
    before = files_below(data_root)
    with pytest.raises(InputError, match=r"cameras of .*: expected those of project 'one rig' \(front_left, front\).*, found none"):
        import_into("one rig", tmp_path / "lidar only")
    with pytest.raises(InputError, match="other cameras need a project of their own"):
        import_into("a third", recording, tmp_path / "lidar only")
    with pytest.raises(InputError, match="labels: expected those of project"):
        import_into("one rig", recording, options=replace(OPTIONS, labels=("Tree",)))
    with pytest.raises(InputError, match=r"expected the frames per task and overlap of the tasks that are there \(0-2, 1-3\)"):
        import_into("one rig", recording, options=replace(OPTIONS, frames_per_task=2, overlap=0))
    assert files_below(data_root) == before
    assert len(client.tasks(project)) == 2
    assert client.find_project("a third") is None


def test_a_broken_file_is_found_before_anything_is_made(
    import_into: Import, recording: Path, client: LabelStudioClient, data_root: Path
) -> None:
    sweep = recording / "sweeps" / "000003.pcd"
    whole = sweep.read_bytes()
    sweep.write_bytes(whole[: len(whole) // 2])
    before = files_below(data_root)
    with pytest.raises(InputError, match=r"000003\.pcd"):
        import_into("broken", recording)
    assert files_below(data_root) == before
    assert client.find_project("broken") is None

    sweep.write_bytes(whole)
    _, (imported,) = import_into("broken", recording)
    assert imported.new_tasks == 2


def test_an_import_that_fails_half_way_leaves_nothing_and_can_be_run_again(
    import_into: Import, recording: Path, client: LabelStudioClient, data_root: Path, label_studio: LabelStudioServer
) -> None:
    before = below(data_root)
    nobody = BackendAddress(f"http://127.0.0.1:{free_port(0, 'port')}")
    with pytest.raises(LabelStudioError, match="ML backend"):
        import_into("half way", recording, backend=nobody)
    assert below(data_root) == before
    assert client.find_project("half way") is None

    class FailsAfterTheTasks(LabelStudioClient):
        def add_tasks(self, project: Project, data: Sequence[Mapping[str, Any]]) -> list[int]:
            super().add_tasks(project, data)
            raise OSError("a full disk")

    with FailsAfterTheTasks(label_studio.url, label_studio.token) as ending, pytest.raises(OSError, match="a full disk"):
        import_into("half way", recording, client=ending)
    assert below(data_root) == before
    assert client.find_project("half way") is None

    project, (imported,) = import_into("half way", recording)
    assert imported.new_tasks == len(client.tasks(project)) == 2


def test_another_drive_of_the_same_folder_name_is_refused(
    import_into: Import, recording: Path, small_drive: SyntheticDrive, tmp_path: Path, data_root: Path
) -> None:
    import_into("namesakes", recording)
    before = files_below(data_root)
    write_sequence(small_drive.clip, tmp_path / "other" / recording.name)
    with pytest.raises(InputError, match="another drive of this name"):
        import_into("namesakes", tmp_path / "other" / recording.name)
    assert files_below(data_root) == before


def test_preannotation_fails_task_by_task_and_goes_on_where_it_stopped(
    import_into: Import, recording: Path, client: LabelStudioClient, open_clip: Callable[[str], Clip], tmp_path: Path
) -> None:
    project, _ = import_into("proposals", recording)
    predictor = build_predictor()
    first, second = client.tasks(project)
    (stranger,) = client.add_tasks(project, [{"front": ["a"], "front_left": ["a"], "bev": ["a"]}])

    outcomes = preannotate(client, project, WindowProposer(predictor), open_clip, masks_per_task=200)
    assert next(outcomes).task_id == first.task_id
    outcomes.close()
    assert client.predicted_tasks(project, predictor.version) == {first.task_id}

    rest = list(preannotate(client, project, WindowProposer(predictor), open_clip, masks_per_task=200, resume=True))
    assert [(outcome.task_id, outcome.objects is None, outcome.failure is None) for outcome in rest] == [
        (first.task_id, True, True),
        (second.task_id, False, True),
        (stranger, True, False),
    ]
    assert "a task of another project type" in str(rest[2].failure)
    assert rest[1].objects
    client.delete_tasks([stranger])

    # a second time replaces
    list(preannotate(client, project, WindowProposer(predictor), open_clip, masks_per_task=200))
    assert [len(client.labelled_task(task).predictions) for task in (first, second)] == [1, 1]

    with pytest.raises(InputError, match="at least one task with labels"):
        export_project(client, project, open_clip, "sequence", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (exported,) = export_project(client, project, open_clip, "sequence", tmp_path / "out", include="predictions")
    assert exported.objects > 0
    assert json.loads((tmp_path / "out" / exported.name / "labels" / "cuboids.json").read_text())["frames"]


def test_which_of_a_tasks_labels_counts() -> None:
    old, new = Labels(1, [{"id": "old"}], "2026-01-01"), Labels(2, [{"id": "new"}], "2026-01-02")
    skipped = Labels(3, [], "2026-01-03", was_cancelled=True)
    draft, prediction = Labels(4, [{"id": "draft"}], "2026-01-04"), Labels(5, [{"id": "p"}], "2026-01-05")
    task = LabelledTask(Task(1, {}), (old, new, skipped), (draft,), (prediction,))
    assert choose_labels(task, "annotations") == new
    assert choose_labels(task, "drafts") == draft
    assert choose_labels(task, "predictions") == draft
    untouched = replace(task, annotations=(), drafts=())
    assert choose_labels(untouched, "drafts") is None
    assert choose_labels(untouched, "predictions") == prediction
