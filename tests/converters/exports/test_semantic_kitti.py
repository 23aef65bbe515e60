"""SemanticKITTI: bits, the inverse pair, who owns a point, poses as its tools read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.exports import read_semantic_kitti, semantic_kitti_files, write_whole_files
from converters.exports.kitti_camera import kitti_camera
from converters.exports.point_labels import point_owners
from converters.exports.semantic_kitti import class_numbers
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, Masklet, ObjectMasks
from tests.converters.tiny_recording import FRAME_COUNT, POINT_COUNT, tiny_clip, tiny_masklets


def written(folder: Path, clip: Clip, masklets: tuple[Masklet, ...]) -> Path:
    write_whole_files({folder / path: data for path, data in semantic_kitti_files(clip, masklets).items()})
    return folder


def test_the_bits_of_a_point(tmp_path: Path) -> None:
    written(tmp_path, tiny_clip(), tiny_masklets())
    data = (tmp_path / "sequences/tiny/labels/000000.label").read_bytes()
    assert len(data) == 4 * POINT_COUNT
    assert data[:16] == b"\x00" * 12 + (10 | 1 << 16).to_bytes(4, "little"), "the fourth point is the car's: class 10, instance 1"
    classes = json.loads((tmp_path / "sequences/tiny/classes.json").read_text())
    assert classes == {"Car": 10, "Person on a bicycle": 300, "Straßenschild": 301}


def test_points_of_the_synthetic_drive_come_back(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    clip, masklets = small_drive.clip, small_drive.masklets
    frames, classes = read_semantic_kitti(written(tmp_path, clip, masklets), clip.name)
    assert len(frames) == len(clip)
    for masklet in masklets:
        for frame_index, masks in masklet.masks.items():
            mine = frames[frame_index].of_object(masklet.object_id)
            np.testing.assert_array_equal(mine, masks.lidar_mask)
            assert set(frames[frame_index].classes[mine]) <= {classes[masklet.label]}


def test_poses_are_those_of_the_camera_from_the_first_frame_on(tmp_path: Path) -> None:
    clip = tiny_clip()
    folder = written(tmp_path, clip, ()) / "sequences/tiny"
    rows = np.loadtxt(folder / "poses.txt").reshape(FRAME_COUNT, 3, 4)
    tr = np.eye(4)
    tr[:3] = np.array((folder / "calib.txt").read_text().split("Tr: ")[1].split(), dtype=float).reshape(3, 4)
    np.testing.assert_allclose(tr, kitti_camera(clip).rect_SE3_lidar.matrix, atol=1e-9)
    for index, row in enumerate(rows):
        lidar0_SE3_lidar = np.linalg.inv(tr) @ np.vstack([row, [0, 0, 0, 1]]) @ tr
        np.testing.assert_allclose(lidar0_SE3_lidar, clip.lidar_SE3_lidar(0, index).matrix, atol=1e-6)
    assert not (folder / "times.txt").exists(), "one frame has no time"
    assert "sequences/tiny/poses.txt" not in semantic_kitti_files(tiny_clip(poses=False), ())


def masklet(object_id: int, score: float, *points: int) -> Masklet:
    mask = np.isin(np.arange(6), points)
    return Masklet(object_id, "Car", {0: ObjectMasks(object_id, 0, {}, mask, score)})


def test_the_surest_object_owns_a_point() -> None:
    owners = point_owners([masklet(1, 0.5, 0, 1), masklet(2, 0.9, 1, 2), masklet(3, 0.5, 0, 3)], 0, 6, "clip")
    assert owners.object_ids.tolist() == [1, 2, 2, 3, -1, -1]
    assert owners.contested == 2


@given(labels=st.lists(st.text(min_size=1, max_size=8), max_size=8))
def test_every_label_has_its_own_number_or_one_of_the_benchmark(labels: list[str]) -> None:
    numbers = class_numbers(labels)
    assert set(numbers) == set(labels)
    own = [number for number in numbers.values() if number >= 300]
    assert len(own) == len(set(own))
    assert class_numbers(["Pedestrian", "OTHER vehicle", "car"]) == {"OTHER vehicle": 20, "Pedestrian": 30, "car": 10}


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    clip, (car, *_) = tiny_clip(), tiny_masklets()
    with pytest.raises(InputError, match="from 1 to 65535, found 65536"):
        semantic_kitti_files(clip, [replace(car, object_id=65536)])
    with pytest.raises(InputError, match="one masklet per object id"):
        semantic_kitti_files(clip, [car, car])
    with pytest.raises(InputError, match="object 1 on frame 0: expected a mask of 60 points, found 6"):
        written(tmp_path, clip, (masklet(1, 0.5, 0),))
    written(tmp_path, clip, (car,))
    (tmp_path / "sequences/tiny/labels/000001.label").write_bytes(b"123")
    with pytest.raises(InputError, match="four bytes per point, found 3 bytes"):
        read_semantic_kitti(tmp_path, "tiny")
