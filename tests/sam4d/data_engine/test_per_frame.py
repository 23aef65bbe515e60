"""Without ego poses each frame is its own scene; tracks make objects of different frames one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam4d.data_engine.fusion import FusedObject, Track
from sam4d.data_engine.per_frame import generate_masklets_per_frame, joined_over_frames, without_poses
from sam4d.data_engine.pose_check import check_poses
from sam4d.evaluation.generated import judge_generated
from sam4d.geometry import SE3
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.simulation.worn_masklets import WornMasklets
from sam4d.structures import Clip, InputError, Masklet

LABELS = ("Car", "Truck", "Pedestrian", "Cyclist", "Object")
FRAMES = 4


def shown_as(*tracks: Track) -> FusedObject:
    return FusedObject(np.arange(3), tracks, "", 1.0)


def test_objects_are_one_where_a_track_goes_on() -> None:
    frames = [
        [shown_as(("front", 1), ("lidar", 7)), shown_as(("front", 2))],
        [shown_as(("front", 2)), shown_as(("lidar", 7))],
        [shown_as(("lidar", 9), ("front", 1))],
        [shown_as(("lidar", 9))],
    ]
    (a, b), (b_again, a_again), (a_third,), (a_last,) = joined_over_frames(frames)
    assert (a, b) == (a_again, b_again)
    assert a == a_third == a_last != b


def test_what_is_two_objects_on_one_frame_stays_two() -> None:
    # Once taken for one, twice seen side by side.
    frames = [
        [shown_as(("front", 1), ("front_left", 1)), shown_as(("front_left", 2))],
        [shown_as(("front", 1)), shown_as(("front_left", 1), ("front_left", 2))],
    ]
    (first, other), (first_again, both) = joined_over_frames(frames)
    assert first == first_again
    assert len({first, other}) == 2
    assert both == other


def test_the_joint_that_most_frames_show_wins() -> None:
    one, other, between = ("front", 1), ("front", 2), ("lidar", 5)
    apart = [shown_as(one), shown_as(other, between)]
    frames = [[shown_as(one, between), shown_as(other)], apart, apart]
    numbers = joined_over_frames(frames)
    assert numbers[1] == numbers[2]
    assert numbers[0][1] == numbers[1][1]


def ruined(clip: Clip) -> Clip:
    poses = [SE3.from_yaw(1.3 * index, [20.0 * index, 0, 0]) for index in range(len(clip))]
    return replace(clip, frames=tuple(replace(frame, world_SE3_lidar=pose) for frame, pose in zip(clip.frames, poses, strict=True)))


def contents(masklets: list[Masklet]) -> list[object]:
    return [
        (
            masklet.object_id,
            masklet.label,
            masklet.cuboids,
            [(frame, int(masks.lidar_mask.sum())) for frame, masks in masklet.masks.items()],
        )
        for masklet in masklets
    ]


@pytest.mark.slow
def test_a_drive_without_poses_or_with_ruined_ones_is_labelled_frame_by_frame(street: SyntheticDrive) -> None:
    shown = [replace(each, masks={index: masks for index, masks in each.masks.items() if index < FRAMES}) for each in street.masklets]
    drive = SyntheticDrive(street.clip.window(0, FRAMES), tuple(shown))
    source = WornMasklets(drive)
    for clip, complaint in (
        (without_poses(drive.clip), r"expected ego poses \(.*--per-frame does without\), found none on any frame"),
        (ruined(drive.clip), r"expected ego poses with which sweeps hit the same things again .*--per-frame"),
    ):
        with pytest.raises(InputError, match=complaint):
            check_poses(clip)
    steps: list[str] = []
    masklets = generate_masklets_per_frame(
        without_poses(drive.clip), build_predictor("geometric"), LABELS, source, lambda step, done, total: steps.append(step)
    )
    figures = judge_generated(drive, masklets, source)
    assert figures.point_iou > figures.projected_iou + 0.15
    assert figures.cross_modal_iou > 0.8
    assert [masklet.object_id for masklet in masklets] == list(range(1, len(masklets) + 1))
    assert sum(len(masklet.masks) == FRAMES for masklet in masklets) > 0.5 * len(masklets), "objects go on over the frames"
    assert list(dict.fromkeys(steps)) == ["looking for objects", "asking the images", "bringing objects back"]
    again = generate_masklets_per_frame(ruined(drive.clip), build_predictor("geometric"), LABELS, source)
    assert contents(again) == contents(masklets), "poses are not looked at"
