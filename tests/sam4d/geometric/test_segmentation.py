"""One object's points from clicks, boxes and masks in any sensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence, read_cuboid_labels
from sam4d.evaluation import PointTruth, mask_iou, point_near_median
from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometric.segmentation import LidarSegment, segment_points
from sam4d.geometry import BoolArray
from sam4d.structures import LIDAR, BoxPrompt, Clip, Frame, MaskPrompt, PointPrompt, Prompt, Sweep
from tests.sam4d.geometric.street import CAR, FRONT, PERSON, WALL, Box, street_clip

ALONE = {"car": CAR, "sign": Box((9.0, -4.0), (0.6, 0.6, 2.0)), "wall": WALL}


def click(scene: FrameScene, mask: BoolArray, label: int = 1) -> PointPrompt:
    return PointPrompt(1, 0, LIDAR, [scene.points_m[point_near_median(scene.points_m, mask)].tolist()], [label])


def above_ground_iou(scene: FrameScene, segment: LidarSegment, truth: BoolArray) -> float:
    """What lies below 0.25 m counts neither way."""
    return mask_iou(segment.mask & (scene.height_m > 0.25), truth & (scene.height_m > 0.25))


@pytest.mark.parametrize("name", ["car", "sign"])
@pytest.mark.parametrize("how", ["lidar click", "lidar box", "lidar mask", "camera click", "camera box", "camera mask"])
def test_every_kind_of_prompt_finds_the_object(name: str, how: str) -> None:
    clip, scene, owned, masks = street_clip(ALONE)
    sensor, kind = how.split()
    if sensor == "lidar":
        (x, y), (length, width, _) = ALONE[name].center_m, ALONE[name].size_m
        box = [x - length / 2 - 0.2, y - width / 2 - 0.2, x + length / 2 + 0.2, y + width / 2 + 0.2]
        of_kind: dict[str, Prompt] = {
            "click": click(scene, owned[name]),
            "box": BoxPrompt(1, 0, LIDAR, box),
            "mask": MaskPrompt(1, 0, LIDAR, owned[name]),
        }
    else:
        rows, columns = np.nonzero(masks[name])
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        middle = [[float(np.median(columns)), float(np.median(rows))]]
        of_kind = {
            "click": PointPrompt(1, 0, "front", middle, [1]),
            "box": BoxPrompt(1, 0, "front", corners),
            "mask": MaskPrompt(1, 0, "front", masks[name]),
        }
    segment = segment_points(scene, clip, [of_kind[kind]])
    assert above_ground_iou(scene, segment, owned[name]) > 0.9
    assert 0.3 < segment.score <= 1


@pytest.mark.parametrize("gap_px", [0, 2, 6])
def test_a_box_drawn_to_the_image_s_border_takes_in_what_lies_beyond(gap_px: int) -> None:
    clip, scene, owned, masks = street_clip({"car": Box((8.0, 5.0), (4.4, 1.8, 1.5)), "wall": WALL})
    rows, columns = np.nonzero(masks["car"])
    assert columns.min() == 0
    box = BoxPrompt(1, 0, "front", [gap_px, rows.min(), columns.max() + 1, rows.max() + 1])
    unseen = owned["car"] & ~scene.view(FRONT).inside
    assert unseen.sum() > 0.2 * owned["car"].sum()
    assert above_ground_iou(scene, segment_points(scene, clip, [box]), owned["car"]) > 0.9


def test_several_prompts_of_several_sensors_work_together() -> None:
    clip, scene, owned, masks = street_clip(ALONE)
    rows, columns = np.nonzero(masks["car"])
    box = BoxPrompt(1, 0, "front", [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    segment = segment_points(scene, clip, [box, click(scene, owned["car"]), click(scene, owned["wall"], 0)])
    assert above_ground_iou(scene, segment, owned["car"]) > 0.9


def test_a_negative_click_splits_a_person_from_the_car_beside() -> None:
    clip, scene, owned, _ = street_clip({"car": CAR, "person": PERSON, "wall": WALL})
    merged = segment_points(scene, clip, [MaskPrompt(1, 0, LIDAR, owned["car"] | owned["person"])])
    assert merged.mask[owned["person"]].all()
    split = segment_points(
        scene, clip, [MaskPrompt(1, 0, LIDAR, owned["car"] | owned["person"]), click(scene, owned["person"], 0), click(scene, owned["car"])]
    )
    assert split.mask.sum() < merged.mask.sum()
    assert split.mask[owned["person"]].mean() < 0.2
    assert above_ground_iou(scene, split, owned["car"]) > 0.85


def test_a_negative_click_shrinks_what_clicks_gave() -> None:
    clip, scene, owned, _ = street_clip({"car": CAR, "person": Box((12.0, 1.75), (0.5, 0.5, 1.75)), "wall": WALL})
    positive = click(scene, owned["car"])
    before = segment_points(scene, clip, [positive])
    after = segment_points(scene, clip, [positive, click(scene, owned["person"], 0)])
    assert before.mask[owned["person"]].any()
    assert after.mask.sum() < before.mask.sum()
    assert after.mask[owned["person"]].mean() < 0.2
    assert above_ground_iou(scene, after, owned["car"]) > 0.8


def test_a_positive_click_adds_to_a_mask() -> None:
    clip, scene, owned, _ = street_clip(ALONE)
    segment = segment_points(scene, clip, [MaskPrompt(1, 0, LIDAR, owned["car"]), click(scene, owned["sign"])])
    assert segment.mask[owned["car"]].all()
    assert segment.mask[owned["sign"] & scene.is_object].mean() > 0.9


def test_a_camera_click_takes_the_nearest_surface() -> None:
    clip, scene, owned, masks = street_clip({"front": Box((8.0, 0.0), (0.5, 1.0, 1.7)), "wall": WALL})
    rows, columns = np.nonzero(masks["front"])
    segment = segment_points(scene, clip, [PointPrompt(1, 0, "front", [[columns.mean(), rows.mean()]], [1])])
    assert above_ground_iou(scene, segment, owned["front"]) > 0.9
    assert not segment.mask[owned["wall"]].any()


def test_clicks_on_the_ground_and_in_the_sky() -> None:
    clip, scene, _, _ = street_clip({"car": CAR})
    ground = scene.points_m[scene.is_ground & (np.hypot(scene.points_m[:, 0] - 6, scene.points_m[:, 1] + 3) < 0.5)][0]
    patch = segment_points(scene, clip, [PointPrompt(1, 0, LIDAR, [ground.tolist()], [1])])
    assert 0 < patch.mask.sum() < 500
    assert scene.is_ground[patch.mask].all()
    assert patch.score <= 0.1
    for prompt in (PointPrompt(1, 0, "front", [[10.0, 5.0]], [1]), PointPrompt(1, 0, LIDAR, [[5.0, 5.0, 30.0]], [1])):
        nothing = segment_points(scene, clip, [prompt])
        assert not nothing.mask.any()
        assert nothing.score == 0


def test_a_click_just_beside_an_object_takes_it() -> None:
    clip, scene, owned, _ = street_clip(ALONE)
    segment = segment_points(scene, clip, [PointPrompt(1, 0, LIDAR, [[9.0 - 0.3 - 0.5, -4.0, -1.0]], [1])])
    assert above_ground_iou(scene, segment, owned["sign"]) > 0.9


def test_only_negative_clicks_give_nothing() -> None:
    clip, scene, owned, _ = street_clip(ALONE)
    assert not segment_points(scene, clip, [click(scene, owned["car"], 0)]).mask.any()


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((4, 3), np.nan), np.array([[5.0, 0.0, 0.0]])])
def test_hostile_sweeps(points: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    clip = Clip("hostile", {"front": FRONT}, (Frame(lambda: Sweep(points.astype(np.float32)), {}),))
    scene = prepare_frame(clip, 0)
    whole = np.ones((FRONT.height_px, FRONT.width_px), dtype=np.bool_)
    prompts: list[Prompt] = [
        PointPrompt(1, 0, LIDAR, [[5.0, 0.0, 0.0]], [1]),
        PointPrompt(1, 0, "front", [[320.0, 200.0]], [1]),
        BoxPrompt(1, 0, LIDAR, [0, -2, 9, 2]),
        BoxPrompt(1, 0, "front", [0, 0, 640, 400]),
        MaskPrompt(1, 0, "front", whole),
        MaskPrompt(1, 0, "front", ~whole),
        MaskPrompt(1, 0, LIDAR, np.ones(len(points), dtype=np.bool_)),
    ]
    for prompt in prompts:
        segment = segment_points(scene, clip, [prompt])
        assert segment.mask.shape == (len(points),)
        assert not segment.mask[~scene.valid].any()
        assert 0 <= segment.score <= 1
        assert (segment.score > 0) == bool(segment.mask.any())


@pytest.mark.parametrize(
    ("name", "frames", "least"), [("pandaset_001", 1, 0.88), ("av2_7fab2350", 2, 0.88), ("kitti_tracking_0000", 4, 0.95)]
)
def test_one_click_on_real_objects(shared_data: Path, name: str, frames: int, least: float) -> None:
    clip = open_sequence(shared_data / name)
    labels = read_cuboid_labels(shared_data / name)
    ious: list[float] = []
    for frame_index in [k for k, cuboids in enumerate(labels) if cuboids is not None][:frames]:
        scene = prepare_frame(clip, frame_index)
        for labelled in labels[frame_index] or ():
            truth = PointTruth.of(labelled.cuboid, scene.points_m)
            if (truth.mask & scene.valid).sum() >= 30:
                ious.append(truth.iou(segment_points(scene, clip, [_click_on(scene, truth.mask, frame_index)]).mask))
    assert len(ious) >= 10
    assert float(np.mean(ious)) >= least


def _click_on(scene: FrameScene, mask: BoolArray, frame_index: int) -> PointPrompt:
    return PointPrompt(1, frame_index, LIDAR, [scene.points_m[point_near_median(scene.points_m, mask)].tolist()], [1])
