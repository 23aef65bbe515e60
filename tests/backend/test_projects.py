"""Drives become projects of a real Label Studio, whole or not at all; labels come back from it unchanged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
import requests

from backend.embedded import free_port
from backend.export import choose_labels, export_project
from backend.label_studio import LabelledTask, Labels, LabelStudioClient, LabelStudioError, Project, Task
from backend.media import MediaReader
from backend.preannotate import preannotate
from backend.projects import BackendAddress, ImportedSequence, ImportOptions, WithLabels, import_sequences
from backend.settings import Settings
from converters.cloud_file import encode_cloud
from converters.exports import write_labels, write_sequence
from converters.label_config import CUBOID_HEIGHT
from converters.regions import masklet_to_regions
from converters.sequences import open_sequence, read_masklets
from converters.tasks import parse_task_data
from sam4d.geometry import BoolArray
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, Masklet, ObjectMasks
from tests.label_studio_server import LabelStudioServer

OPTIONS = ImportOptions(frames_per_task=3, overlap=2, range_m=40.0)
Import = Callable[..., tuple[Project, tuple[ImportedSequence, ...]]]

pytestmark = pytest.mark.xdist_group("label-studio")


@pytest.fixture
def client(label_studio: LabelStudioServer) -> Iterator[LabelStudioClient]:
    with LabelStudioClient(label_studio.url, label_studio.token) as client:
        yield client


@pytest.fixture
def data_root(label_studio: LabelStudioServer) -> Iterator[Path]:
    """The server's data root, which other tests use too; what a test adds is taken away after it."""
    before = files_below(label_studio.data_root)
    yield label_studio.data_root
    for name in set(files_below(label_studio.data_root)) - set(before):
        (label_studio.data_root / name).unlink()
    for folder in sorted((path for path in label_studio.data_root.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()


@pytest.fixture
def recording(tmp_path: Path, small_drive: SyntheticDrive) -> Path:
    """The small drive as a folder outside the data root; the front camera has no image on frame 1."""
    frames = list(small_drive.clip.frames)
    frames[1] = replace(frames[1], load_images={name: load for name, load in frames[1].load_images.items() if name != "front"})
    folder = tmp_path / "street"
    write_sequence(replace(small_drive.clip, frames=tuple(frames)), folder)
    return folder


@pytest.fixture
def import_into(client: LabelStudioClient, data_root: Path, labelling_backend: BackendAddress) -> Iterator[Import]:
    """Imports into a project, which is deleted afterwards."""
    titles = set()

    def run(title: str, *paths: Path, **more: Any) -> tuple[Project, tuple[ImportedSequence, ...]]:
        titles.add(title)
        chosen: dict[str, Any] = {"backend": labelling_backend, "options": OPTIONS, "model_version": build_predictor().version, **more}
        return import_sequences(chosen.pop("client", client), title, paths, data_root=data_root, **chosen)

    yield run
    for title in titles:
        project = client.find_project(title)
        if project is not None:
            client.delete_project(project)


def below(folder: Path) -> list[Path]:
    """Files and folders."""
    return sorted(folder.rglob("*"))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


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

    class EndsAfterTheTasks(LabelStudioClient):
        def add_tasks(self, project: Project, data: Sequence[Mapping[str, Any]]) -> list[int]:
            super().add_tasks(project, data)
            raise KeyboardInterrupt

    with EndsAfterTheTasks(label_studio.url, label_studio.token) as ending, pytest.raises(KeyboardInterrupt):
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


@pytest.fixture
def open_clip(label_studio: LabelStudioServer) -> Callable[[str], Clip]:
    return MediaReader(Settings(data_root=label_studio.data_root)).open_clip


def test_what_nobody_touches_comes_back_as_it_was(
    import_into: Import,
    recording: Path,
    client: LabelStudioClient,
    label_studio: LabelStudioServer,
    small_drive: SyntheticDrive,
    open_clip: Callable[[str], Clip],
    tmp_path: Path,
) -> None:
    """Prediction -> Label Studio -> submitted -> export: masks IoU 1, cuboids within 1 mm, one object over both windows."""
    project, _ = import_into("round trip", recording)
    clip = open_sequence(recording)
    truth = [masklet for masklet in small_drive.masklets if len(masklet.masks) == len(clip)]
    truth = sorted(truth, key=lambda masklet: -sum(int(masks.lidar_mask.sum()) for masks in masklet.masks.values()))[:8]
    truth = [replace(masklet, label="Car", masks=without_missing_images(masklet, clip)) for masklet in truth]
    for task in client.tasks(project):
        window = parse_task_data(task.data)
        shown = clip.window(window.first_frame, window.frame_count)
        regions = [region for masklet in truth for region in masklet_to_regions(within(masklet, window.first_frame, 3), window, shown, "v")]
        client.add_prediction(task, regions, score=1.0, model_version="v")
        (prediction,) = client.labelled_task(task).predictions
        label_studio.client.annotations.create(task.task_id, result=[dict(result) for result in prediction.result])

    (exported,) = export_project(client, project, open_clip, "sequence", tmp_path / "out")
    assert (exported.objects, exported.labelled_tasks, exported.tasks) == (len(truth), 2, 2)
    found = read_masklets(tmp_path / "out" / clip.name, clip)
    assert len(found) == len(truth)
    for expected in truth:
        match = max(found, key=lambda masklet: shared_points(masklet, expected))
        for index, masks in expected.masks.items():
            assert np.array_equal(match.masks[index].lidar_mask, masks.lidar_mask)
            for camera in clip.frames[index].load_images:
                assert np.array_equal(match.masks[index].camera_masks[camera], masks.camera_masks[camera]), (index, camera)
        for index, cuboid in expected.cuboids.items():
            values = [*match.cuboids[index].center_m, *match.cuboids[index].size_lwh_m, match.cuboids[index].yaw_rad]
            assert values == pytest.approx([*cuboid.center_m, *cuboid.size_lwh_m, cuboid.yaw_rad], abs=1e-3)

    export_project(client, project, open_clip, "kitti-tracking", tmp_path / "kitti")
    assert {Path(path).parts[0] for path in files_below(tmp_path / "kitti")} == {"label_02", "calib", "sidecar"}
    with pytest.raises(InputError, match="permission to overwrite"):
        export_project(client, project, open_clip, "sequence", tmp_path / "out")


def test_a_drives_own_labels_become_annotations_that_can_be_corrected(
    import_into: Import,
    recording: Path,
    client: LabelStudioClient,
    label_studio: LabelStudioServer,
    small_drive: SyntheticDrive,
    open_clip: Callable[[str], Clip],
    tmp_path: Path,
) -> None:
    clip = open_sequence(recording)
    truth = sorted(
        (masklet for masklet in small_drive.masklets if len(masklet.masks) == len(masklet.cuboids) == len(clip)),
        key=lambda masklet: -sum(int(masks.lidar_mask.sum()) for masks in masklet.masks.values()),
    )[:5]
    masked = replace(truth[0], label="vehicle.car", masks=without_missing_images(truth[0], clip))
    boxes = [replace(masklet, label="vehicle.car", masks={}) for masklet in truth[1:4]]
    left_out = replace(truth[4], label="tree", masks={})
    write_labels(clip, [masked, *boxes, left_out], recording)
    options = replace(OPTIONS, labels=("Car", "Pedestrian"))
    predictor = build_predictor()
    with pytest.raises(
        InputError, match=r"labels of .*: expected those of the project \(Car, Pedestrian\); --label-map .*found 'vehicle.car'"
    ):
        import_into("brought along", recording, options=options, with_labels=WithLabels(predictor, 1000))
    assert client.find_project("brought along") is None

    with_labels = WithLabels(predictor, 1000, {"vehicle.car": "Car", "tree": None})
    project, (imported,) = import_into("brought along", recording, options=options, with_labels=with_labels)
    assert (imported.new_tasks, imported.labelled_objects) == (2, 8)
    assert not any("masks-per-task" in note for note in imported.notes)
    (exported,) = export_project(client, project, open_clip, "sequence", tmp_path / "out")
    assert (exported.objects, exported.labelled_tasks) == (4, 2)
    found = {masklet.object_id: masklet for masklet in read_masklets(tmp_path / "out" / clip.name, clip)}
    image_overlaps: list[float] = []
    for expected in (masked, *boxes):
        back = min(
            found.values(), key=lambda masklet: np.hypot(*(np.array(masklet.cuboids[0].center_m) - expected.cuboids[0].center_m)[:2])
        )
        assert back.label == "Car"
        for index, cuboid in expected.cuboids.items():
            values = [*back.cuboids[index].center_m, *back.cuboids[index].size_lwh_m, back.cuboids[index].yaw_rad]
            assert values == pytest.approx([*cuboid.center_m, *cuboid.size_lwh_m, cuboid.yaw_rad], abs=1e-3)
        for index, masks in expected.masks.items():
            assert np.array_equal(back.masks[index].lidar_mask, masks.lidar_mask)
            assert all(np.array_equal(back.masks[index].camera_masks[name], mask) for name, mask in masks.camera_masks.items())
        # A cuboid alone has got its points, and masks that are those of the object.
        exact = next(masklet for masklet in truth if masklet.object_id == expected.object_id)
        overlaps = [overlap(back.masks[index].lidar_mask, exact.masks[index].lidar_mask) for index in exact.masks]
        assert min(overlaps) > 0.8
        for index in exact.masks:
            for name in clip.frames[index].load_images:
                mask = exact.masks[index].camera_masks[name]
                if mask.sum() > 500:
                    image_overlaps.append(overlap(back.masks[index].camera_masks[name], mask))
    assert np.median(image_overlaps) > 0.7

    # a person corrects one: it is higher than the label said
    first = client.tasks(project)[0]
    (annotation,) = client.labelled_task(first).annotations
    corrected: list[dict[str, Any]] = [dict(region) for region in annotation.result]
    changed = next(region for region in corrected if region["from_name"] == CUBOID_HEIGHT)
    changed["value"] = {**changed["value"], "number": changed["value"]["number"] + 1.0}
    label_studio.client.annotations.update(annotation.number, result=corrected)
    export_project(client, project, open_clip, "sequence", tmp_path / "corrected")
    again = read_masklets(tmp_path / "corrected" / clip.name, clip)
    heights = [masklet.cuboids[0].size_lwh_m[2] - found[masklet.object_id].cuboids[0].size_lwh_m[2] for masklet in again]
    assert sorted(np.round(heights, 2).tolist()) == [0.0, 0.0, 0.0, 1.0]

    _, (nothing_new,) = import_into("brought along", recording, options=options, with_labels=with_labels)
    assert (nothing_new.new_tasks, nothing_new.labelled_objects) == (0, 0)
    assert len(client.labelled_task(first).annotations) == 1


def overlap(one: BoolArray, other: BoolArray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def without_missing_images(masklet: Masklet, clip: Clip) -> dict[int, ObjectMasks]:
    """Masks of the cameras that have an image on their frame."""
    return {
        index: replace(masks, camera_masks={name: masks.camera_masks[name] for name in clip.frames[index].load_images})
        for index, masks in masklet.masks.items()
    }


def within(masklet: Masklet, first: int, count: int) -> Masklet:
    """The masklet in a window, its frames counted from the window's first."""
    masks = {i - first: replace(m, frame_index=i - first) for i, m in masklet.masks.items() if first <= i < first + count}
    return replace(masklet, masks=masks, cuboids={i - first: c for i, c in masklet.cuboids.items() if first <= i < first + count})


def shared_points(a: Masklet, b: Masklet) -> int:
    return sum(int((a.masks[i].lidar_mask & b.masks[i].lidar_mask).sum()) for i in a.masks.keys() & b.masks.keys())


def test_preannotation_fails_task_by_task_and_goes_on_where_it_stopped(
    import_into: Import, recording: Path, client: LabelStudioClient, open_clip: Callable[[str], Clip], tmp_path: Path
) -> None:
    project, _ = import_into("proposals", recording)
    predictor = build_predictor()
    first, second = client.tasks(project)
    (stranger,) = client.add_tasks(project, [{"front": ["a"], "front_left": ["a"], "bev": ["a"]}])

    outcomes = preannotate(client, project, predictor, open_clip, masks_per_task=200)
    assert next(outcomes).task_id == first.task_id
    outcomes.close()
    assert client.predicted_tasks(project, predictor.version) == {first.task_id}

    rest = list(preannotate(client, project, predictor, open_clip, masks_per_task=200, resume=True))
    assert [(outcome.task_id, outcome.objects is None, outcome.failure is None) for outcome in rest] == [
        (first.task_id, True, True),
        (second.task_id, False, True),
        (stranger, True, False),
    ]
    assert "a task of another project type" in str(rest[2].failure)
    assert rest[1].objects
    client.delete_tasks([stranger])

    # a second time replaces
    list(preannotate(client, project, predictor, open_clip, masks_per_task=200))
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
