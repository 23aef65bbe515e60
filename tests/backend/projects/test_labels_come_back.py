"""Labels go into a real Label Studio and come back from it unchanged, or as a person corrected them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.export import export_project
from backend.label_studio import LabelStudioClient
from backend.projects import WithLabels
from converters.exports import write_labels
from converters.label_config import CUBOID_HEIGHT
from converters.regions import masklet_to_regions
from converters.sequences import open_sequence, read_masklets
from converters.tasks import parse_task_data
from sam4d.geometry import BoolArray
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, Masklet, ObjectMasks
from tests.backend.projects.importing import OPTIONS, Import, files_below
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.xdist_group("label-studio")


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
