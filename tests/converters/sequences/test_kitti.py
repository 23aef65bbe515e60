"""KITTI raw and KITTI tracking read as they were recorded; and one line where something is missing or wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence, read_labels
from converters.sequences.kitti_text import EARTH_RADIUS_M, oxts_poses
from sam4d.geometry import SE3
from sam4d.structures import Clip, InputError
from tests.converters.sequences.recordings import (
    assert_same_recording,
    straight,
    write_kitti_raw,
    write_kitti_tracking,
)
from tests.converters.tiny_recording import tiny_clip, tiny_masklets


class TestKittiRaw:
    imu_SE3_lidar = SE3.from_yaw(0.02, [0.8, -0.3, 0.8])

    def records(self) -> list[list[float]]:
        """Driving east at 49 degrees north, one metre per frame, while turning left."""
        metre_deg = float(np.degrees(1 / (EARTH_RADIUS_M * np.cos(np.radians(49.0)))))
        return [[49.0, 8.4 + metre_deg * k, 110.0, 0.0, 0.0, 0.1 * k] for k in range(3)]

    def test_recording_and_poses_come_back(self, tmp_path: Path) -> None:
        tiny = straight(tiny_clip())
        drive = write_kitti_raw(tmp_path, tiny, tiny.cameras["front"], self.imu_SE3_lidar, self.records(), gaps=True)
        found = open_sequence(drive, allow_missing=True)
        frames = tuple(
            replace(
                frame,
                load_images={"image_02": frame.load_images["front"]} if index != 1 else {},
                world_SE3_lidar=SE3.from_yaw(0.1 * index, [index, 0.0, 0.0]) @ self.imu_SE3_lidar,
            )
            for index, frame in enumerate(tiny.frames)
        )
        expected = Clip("drive", {"image_02": replace(tiny.cameras["front"], name="image_02")}, frames)
        for one, other in zip(found.frames, frames, strict=True):
            assert one.world_SE3_lidar is not None
            assert other.world_SE3_lidar is not None
            np.testing.assert_allclose(one.world_SE3_lidar.matrix, other.world_SE3_lidar.matrix, atol=1e-6)
        assert_same_recording(found, expected, poses=False)
        assert (found.name, found.forward) == ("2011_09_26_drive_0001_sync", "+x")
        assert [frame.timestamp_ns for frame in found.frames] == [1317042145094360375 + 100_000_000 * k for k in range(3)]

    def test_without_gps_there_are_no_poses(self, tmp_path: Path) -> None:
        tiny = straight(tiny_clip())
        drive = write_kitti_raw(tmp_path, tiny, tiny.cameras["front"], self.imu_SE3_lidar, self.records())
        (drive.parent / "calib_imu_to_velo.txt").unlink()
        assert [frame.world_SE3_lidar for frame in open_sequence(drive).frames] == [None] * 3

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("calib_velo_to_cam.txt", None, "calib_velo_to_cam.txt: expected a readable file, found no such file"),
            ("calib_velo_to_cam.txt", "R: 1 0 0\nT: 0 0 0\n", "calib_velo_to_cam.txt: R: expected 9 numbers, found 3"),
            ("calib_velo_to_cam.txt", "R: 1 0 0 0 1 0 0 0 nan\nT: 0 0 0\n", r"calib_velo_to_cam.txt: R: expected finite numbers"),
            ("calib_velo_to_cam.txt", "R: 1 0 0 0 1 0 0 0 one\n", r"calib_velo_to_cam.txt: R: expected numbers, found 1 0"),
            ("calib_velo_to_cam.txt", "T: 0 0 0\n", "calib_velo_to_cam.txt: expected a line R, found none"),
            ("calib_cam_to_cam.txt", "R_rect_00: 1 0 0 0 1 0 0 0 1\n", "calib_cam_to_cam.txt: expected a line P_rect_02, found none"),
            ("calib_cam_to_cam.txt", "R_rect_00: 1 0 0 0 1 0 0 0 -1\n", "R_rect_00: expected a rotation"),
        ],
    )
    def test_a_wrong_calibration_is_named(self, tmp_path: Path, file: str, text: str | None, message: str) -> None:
        tiny = straight(tiny_clip())
        drive = write_kitti_raw(tmp_path, tiny, tiny.cameras["front"], self.imu_SE3_lidar, self.records())
        if text is None:
            (drive.parent / file).unlink()
        else:
            (drive.parent / file).write_text(text)
        with pytest.raises(InputError, match=message):
            open_sequence(drive)

    def test_a_broken_off_sweep_and_record_are_named(self, tmp_path: Path) -> None:
        tiny = straight(tiny_clip())
        drive = write_kitti_raw(tmp_path, tiny, tiny.cameras["front"], self.imu_SE3_lidar, self.records())
        sweep = drive / "velodyne_points/data/0000000000.bin"
        sweep.write_bytes(sweep.read_bytes()[:-3])
        with pytest.raises(InputError, match=r"0000000000.bin: expected rows of 4 float32 numbers"):
            open_sequence(drive).frames[0].load_sweep()
        (drive / "oxts/data/0000000001.txt").write_text("49 8\n")
        with pytest.raises(InputError, match="line 2: expected 30 numbers"):
            open_sequence(drive)


def test_the_world_of_gps_is_metres_east_and_north() -> None:
    north_deg = np.degrees(1 / EARTH_RADIUS_M)
    first, second = oxts_poses(np.array([[49.0, 8.0, 100.0, 0.0, 0.0, 0.0], [49.0 + north_deg, 8.0, 101.0, 0.0, 0.0, np.pi / 2]]))
    np.testing.assert_allclose(first.matrix, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(second.translation_m, [0.0, 1.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(second.apply(np.array([[1.0, 0.0, 0.0]])) - second.translation_m, [[0.0, 1.0, 0.0]], atol=1e-12)


class TestKittiTracking:
    def test_recording_and_labels_come_back(self, tmp_path: Path) -> None:
        tiny = write_kitti_tracking(tmp_path)
        found = open_sequence(tmp_path)
        frames = tuple(replace(frame, load_images={"image_02": frame.load_images["front"]}) for frame in tiny.frames)
        expected = Clip("0000", {"image_02": replace(tiny.cameras["front"], name="image_02")}, frames)
        assert_same_recording(found, expected, poses=False)
        labels = {masklet.object_id: masklet for masklet in read_labels(tmp_path, found)}
        for masklet in tiny_masklets()[:2]:
            assert labels[masklet.object_id].label == masklet.label
            for frame_index, cuboid in masklet.cuboids.items():
                back = labels[masklet.object_id].cuboids[frame_index]
                np.testing.assert_allclose([*back.center_m, *back.size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], atol=1e-3)
                assert abs(np.sin(back.yaw_rad - cuboid.yaw_rad)) < np.radians(0.01)

    def test_a_wrong_label_line_is_named(self, tmp_path: Path) -> None:
        write_kitti_tracking(tmp_path)
        file = tmp_path / "label_02/0000.txt"
        file.write_text(file.read_text() + "0 1 Car\n")
        with pytest.raises(InputError, match=r"0000.txt: line .*: expected 17 values"):
            read_labels(tmp_path, open_sequence(tmp_path))
