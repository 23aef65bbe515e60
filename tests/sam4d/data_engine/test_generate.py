"""A street labelled without a click, from worn image masks and from none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence
from sam4d.data_engine.generate import generate_masklets
from sam4d.data_engine.pose_check import check_poses, pose_overlaps
from sam4d.evaluation.generated import judge_generated
from sam4d.geometry import SE3
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.simulation.worn_masklets import WornMasklets
from sam4d.structures import Clip, InputError

LABELS = ("Car", "Truck", "Pedestrian", "Cyclist", "Object")


@pytest.mark.slow
def test_fused_masklets_beat_projected_ones_and_agree_between_the_sensors(street: SyntheticDrive) -> None:
    source = WornMasklets(street)
    steps: dict[str, list[tuple[int, int]]] = {}
    masklets = generate_masklets(
        street.clip,
        build_predictor("geometric"),
        LABELS,
        source,
        lambda step, done, total: steps.setdefault(step, []).append((done, total)),
    )
    figures = judge_generated(street, masklets, source)
    assert figures.objects >= 10
    assert figures.point_iou > figures.projected_iou + 0.15
    assert figures.cross_modal_iou > 0.8
    assert [masklet.object_id for masklet in masklets] == list(range(1, len(masklets) + 1))
    assert all(masklet.cuboids for masklet in masklets if sum(int(masks.lidar_mask.sum()) for masks in masklet.masks.values()) > 100)
    assert {masklet.label for masklet in masklets} <= set(LABELS)
    # No point belongs to two objects.
    for frame_index in range(len(street.clip)):
        owners = sum(masklet.masks[frame_index].lidar_mask.astype(int) for masklet in masklets if frame_index in masklet.masks)
        assert np.max(owners) <= 1
    assert list(steps) == [
        "looking for objects",
        "comparing sweeps and images",
        "building the scene",
        "asking the images",
        "bringing objects back",
    ]
    for done in steps.values():
        assert done[-1][0] == done[-1][1]
        assert done == sorted(done)


def test_worn_masks_are_worn_and_the_same_each_time(street: SyntheticDrive) -> None:
    source, unworn = WornMasklets(street), WornMasklets(street, missing=0.0, worn_px=0)
    worn = source.tracks_in(0, "front")
    assert np.array_equal(worn, WornMasklets(street).tracks_in(0, "front"))
    whole = unworn.tracks_in(0, "front")
    assert not np.array_equal(worn, whole)
    for track in np.unique(whole[whole > 0]):
        exact = next(masklet for masklet in street.masklets if masklet.object_id == unworn.object_of("front", int(track)))
        assert np.array_equal(whole == track, exact.masks[0].camera_masks["front"] & (whole == track))
        assert unworn.label_of("front", int(track)) == exact.label


def with_error(clip: Clip, yaw_deg: float, shift_m: float) -> Clip:
    frames = []
    for index, frame in enumerate(clip.frames):
        assert frame.world_SE3_lidar is not None
        frames.append(
            replace(frame, world_SE3_lidar=frame.world_SE3_lidar @ SE3.from_yaw(np.deg2rad(yaw_deg) * index, [shift_m * index, 0, 0]))
        )
    return replace(clip, frames=tuple(frames))


def test_poses_that_fit_are_taken_and_others_refused(street: SyntheticDrive) -> None:
    check_poses(street.clip)
    assert min(pose_overlaps(street.clip).values()) > 0.8
    for wrong in (with_error(street.clip, 0.5, 0), with_error(street.clip, 0, 1.0)):
        with pytest.raises(InputError, match="expected ego poses with which sweeps hit the same things again"):
            generate_masklets(wrong, build_predictor("geometric"), LABELS)
    frames = list(street.clip.frames)
    frames[3] = replace(frames[3], world_SE3_lidar=None)
    with pytest.raises(InputError, match=r"frame 3: expected an ego pose"):
        generate_masklets(replace(street.clip, frames=tuple(frames)), build_predictor("geometric"), LABELS)
    check_poses(street.clip.window(0, 1))


@pytest.mark.parametrize("name", ["kitti_tracking_0000", "pandaset_001", "av2_7fab2350", "kitti_raw_sfnd_short"])
def test_real_recordings_have_poses_that_fit(shared_data: Path, name: str) -> None:
    check_poses(open_sequence(shared_data / name))
