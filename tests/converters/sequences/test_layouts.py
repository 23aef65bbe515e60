"""Drives in the layouts that teams already have, read as they were recorded; and one line where something is missing or wrong."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend import cli
from converters.exports import kitti_tracking_files, write_sequence, write_whole_files
from converters.sequences import open_sequence, read_labels
from converters.sequences.kitti_text import EARTH_RADIUS_M, oxts_poses
from converters.sequences.sequence_folder import SweepFile
from sam4d.geometry import SE3
from sam4d.structures import Clip, Cuboid, InputError, Sweep
from tests.converters.sequences.recordings import (
    assert_same_recording,
    straight,
    write_bin,
    write_image,
    write_kitti_raw,
    write_nuscenes,
    write_waymo_4dseg,
)
from tests.converters.tiny_recording import assert_same_masks, tiny_clip, tiny_masklets


class TestWaymo4DSeg:
    def test_recording_and_labels_come_back(self, tmp_path: Path) -> None:
        clip, masklets = straight(tiny_clip()), tiny_masklets()
        write_waymo_4dseg(tmp_path, clip, masklets)
        found = open_sequence(tmp_path)
        assert_same_recording(found, clip)
        assert [frame.timestamp_ns for frame in found.frames] == [1_700_000_000_000_000_000 + 100_000_000 * k for k in range(3)]
        labels = {masklet.object_id: masklet for masklet in read_labels(tmp_path, found)}
        assert {number: masklet.label for number, masklet in labels.items()} == {1: "Car", 12: "Straßenschild"}
        for masklet in masklets:
            for frame_index, masks in masklet.masks.items():
                back = labels[masklet.object_id].masks[frame_index]
                seen = {name: mask for name, mask in masks.camera_masks.items() if mask.any()}
                assert_same_masks(back, replace(masks, camera_masks=seen))

    def test_one_of_several_is_chosen_by_name_or_by_its_file(self, tmp_path: Path) -> None:
        for name in ("first", "second"):
            write_waymo_4dseg(tmp_path, replace(straight(tiny_clip()), name=name), ())
        with pytest.raises(InputError, match=r"\(--sequence\): first, second, found 2 sequences"):
            open_sequence(tmp_path)
        with pytest.raises(InputError, match="one of the sequences first, second, found 'third'"):
            open_sequence(tmp_path, "third")
        assert open_sequence(tmp_path, "second").name == "second"
        assert open_sequence(tmp_path / "meta_infos" / "first.pkl").name == "first"

    def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(self, tmp_path: Path) -> None:
        write_waymo_4dseg(tmp_path, straight(tiny_clip()), ())

        class Hostile:
            def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
                return Path.mkdir, (tmp_path / "ran",)  # type: ignore[return-value]

        (tmp_path / "meta_infos/tiny.pkl").write_bytes(pickle.dumps({"frames": [Hostile()]}))
        with pytest.raises(InputError, match=r"tiny.pkl: expected a pickle of plain values and numpy arrays, found the name"):
            open_sequence(tmp_path)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("lidar2world", np.eye(4) * 2, r"frames\[0\].lidar2world: expected a rotation and a translation"),
            ("lidar2world", np.eye(3), r"frames\[0\].lidar2world: expected a 4 x 4 matrix"),
            ("path", {"pcd": "../outside.npz"}, r"frames\[0\].path.pcd: expected a path below"),
            ("path", {}, r"frames\[0\].path.pcd: expected a value"),
            ("cams_info", [], r"frames\[0\].cams_info: expected an object"),
        ],
    )
    def test_a_wrong_field_is_named(self, tmp_path: Path, field: str, value: object, message: str) -> None:
        write_waymo_4dseg(tmp_path, straight(tiny_clip()), ())
        file = tmp_path / "meta_infos/tiny.pkl"
        meta = pickle.loads(file.read_bytes())
        meta["frames"][0][field] = value
        file.write_bytes(pickle.dumps(meta))
        with pytest.raises(InputError, match=message):
            open_sequence(tmp_path)


class TestKittiRaw:
    imu_SE3_lidar = SE3.from_yaw(0.02, [0.8, -0.3, 0.8])

    def records(self) -> list[list[float]]:
        """Driving east at 49 degrees north, one metre per frame, while turning left."""
        metre_deg = float(np.degrees(1 / (EARTH_RADIUS_M * np.cos(np.radians(49.0)))))
        return [[49.0, 8.4 + metre_deg * k, 110.0, 0.0, 0.0, 0.1 * k] for k in range(3)]

    def test_recording_and_poses_come_back(self, tmp_path: Path) -> None:
        tiny = straight(tiny_clip())
        drive = write_kitti_raw(tmp_path, tiny, tiny.cameras["front"], self.imu_SE3_lidar, self.records())
        found = open_sequence(drive)
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
    def write(self, root: Path) -> Clip:
        """The tiny recording with the labels and the calibration that our own exporter writes."""
        tiny = straight(tiny_clip(poses=False))
        files = kitti_tracking_files(tiny, tiny_masklets(), "front")
        write_whole_files({root / path.replace("tiny", "0000"): data for path, data in files.items()})
        for index, frame in enumerate(tiny.frames):
            write_bin(root / f"velodyne/0000/{index:06d}.bin", frame)
            write_image(root / f"image_02/0000/{index:06d}.png", frame.load_images["front"]())
        return tiny

    def test_recording_and_labels_come_back(self, tmp_path: Path) -> None:
        tiny = self.write(tmp_path)
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
        self.write(tmp_path)
        file = tmp_path / "label_02/0000.txt"
        file.write_text(file.read_text() + "0 1 Car\n")
        with pytest.raises(InputError, match=r"0000.txt: line .*: expected 17 values"):
            read_labels(tmp_path, open_sequence(tmp_path))


class TestNuScenes:
    ego_SE3_lidar = SE3.from_yaw(-np.pi / 2, [0.9, 0.0, 1.8])
    lidar_boxes = (
        (Cuboid((8.0, 1.0, -0.5), (4.5, 1.9, 1.6), 0.4), "car-1", "vehicle.car"),
        (Cuboid((3.0, -2.0, 0.0), (0.7, 0.6, 1.8), -3.0), "p", "human"),
    )

    def write(self, root: Path) -> Clip:
        tiny = straight(tiny_clip())
        boxes = [
            [
                (name, category, frame.world_SE3_lidar @ cuboid.lidar_SE3_cuboid, cuboid.size_lwh_m)
                for cuboid, name, category in self.lidar_boxes
            ]
            for frame in tiny.frames
            if frame.world_SE3_lidar is not None
        ]
        write_nuscenes(root, tiny, self.ego_SE3_lidar, boxes)
        return tiny

    def test_recording_and_labels_come_back(self, tmp_path: Path) -> None:
        tiny = self.write(tmp_path)
        found = open_sequence(tmp_path)
        assert_same_recording(found, tiny)
        assert [frame.timestamp_ns for frame in found.frames] == [1_600_000_000_000_000_000 + 500_000_000 * k for k in range(3)]
        labels = read_labels(tmp_path, found)
        assert [(masklet.object_id, masklet.label) for masklet in labels] == [(1, "vehicle.car"), (2, "human")]
        for masklet, (cuboid, *_) in zip(labels, self.lidar_boxes, strict=True):
            assert list(masklet.cuboids) == [0, 1, 2]
            for back in masklet.cuboids.values():
                np.testing.assert_allclose([*back.center_m, *back.size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], atol=1e-3)
                assert abs(np.sin((back.yaw_rad - cuboid.yaw_rad) / 2)) < np.radians(0.01)

    def test_sweeps_between_keyframes_are_frames_where_they_are_asked_for(self, tmp_path: Path) -> None:
        tiny = self.write(tmp_path)
        file = tmp_path / "v1.0-mini/sample_data.json"
        rows = [row for row in json.loads(file.read_text()) if row["is_key_frame"]]
        for row in list(rows):
            # One more sweep 50 ms after each keyframe; images 20 ms after it, but for the rear camera's, which are 30 ms away.
            later = {"LIDAR_TOP": 50_000, "front": 70_000, "rear": 80_000}[row["calibrated_sensor_token"].removeprefix("c-")]
            path = Path(row["filename"])
            name = f"sweeps/{path.parent.name}/{path.name}"
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((tmp_path / path).read_bytes())
            rows.append(
                {**row, "token": f"x{row['token']}", "is_key_frame": False, "filename": name, "timestamp": row["timestamp"] + later}
            )
        file.write_text(json.dumps(rows[::-1]))
        assert len(open_sequence(tmp_path)) == 3
        found = open_sequence(tmp_path, between_keyframes=True)
        assert_same_recording(replace(found, frames=found.frames[::2]), tiny)
        assert [set(frame.load_images) for frame in found.frames[1::2]] == [{"front"}] * 3
        times_ns = [frame.timestamp_ns or 0 for frame in found.frames]
        assert times_ns == sorted(times_ns)
        assert [list(masklet.cuboids) for masklet in read_labels(tmp_path, found)] == [[0, 2, 4], [0, 2, 4]]
        assert cli.main(["convert", str(tmp_path), str(tmp_path / "drive"), "--between-keyframes"]) == 0
        assert len(open_sequence(tmp_path / "drive")) == 6
        with pytest.raises(InputError, match="drive: expected nuScenes, the layout with sweeps between keyframes"):
            open_sequence(tmp_path / "drive", between_keyframes=True)

    @pytest.mark.parametrize(
        ("table", "change", "message"),
        [
            ("ego_pose", lambda rows: rows.pop(), r"sample_data.json: \[.*\].ego_pose_token: expected the token of a row"),
            ("ego_pose", lambda rows: rows[0].update(rotation=[1, 1, 0, 0]), r"ego_pose.json: \[0\].rotation: expected a rotation"),
            ("scene", lambda rows: rows[0].pop("first_sample_token"), r"scene.json: \[0\].first_sample_token: expected a value"),
            ("sample", lambda rows: rows[2].update(next="f0"), "samples that come to an end"),
            ("sample_data", lambda rows: rows.clear(), "a sweep of LIDAR_TOP, found none"),
        ],
    )
    def test_a_wrong_row_is_named(
        self, tmp_path: Path, table: str, change: Callable[[list[dict[str, object]]], None], message: str
    ) -> None:
        self.write(tmp_path)
        file = tmp_path / "v1.0-mini" / f"{table}.json"
        rows = json.loads(file.read_text())
        change(rows)
        file.write_text(json.dumps(rows))
        with pytest.raises(InputError, match=message):
            open_sequence(tmp_path)

    def test_a_path_that_leaves_the_folder_is_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path / "nuscenes")
        (tmp_path / "secret.bin").write_bytes(bytes(20))
        file = tmp_path / "nuscenes/v1.0-mini/sample_data.json"
        rows = json.loads(file.read_text())
        rows[0]["filename"] = "../secret.bin"
        file.write_text(json.dumps(rows))
        with pytest.raises(InputError, match="expected a file inside the sequence's folder"):
            open_sequence(tmp_path / "nuscenes").frames[0].load_sweep()


class TestPlainFolder:
    def write(self, root: Path, *, cvat: bool) -> Clip:
        clip = tiny_clip()
        write_sequence(clip, root / "written")
        description = json.loads((root / "written/sequence.json").read_text())
        folder = root / "plain"
        (folder / "pointcloud").mkdir(parents=True)
        (folder / "calibration.json").write_text(json.dumps({"cameras": description["cameras"], "forward": "+x"}))
        for index, frame in enumerate(clip.frames):
            (folder / f"pointcloud/s{index}.pcd").write_bytes((root / f"written/sweeps/{index:06d}.pcd").read_bytes())
            for name, load in frame.load_images.items():
                write_image(folder / (f"related_images/s{index}_pcd/{name}.png" if cvat else f"images/{name}/s{index}.png"), load())
        poses = [frame.world_SE3_lidar for frame in clip.frames]
        lines = [" ".join(repr(float(value)) for value in pose.matrix[:3].ravel()) for pose in poses if pose is not None]
        (folder / "poses.txt").write_text("\n".join(lines) + "\n")
        return clip

    @pytest.mark.parametrize("cvat", [True, False])
    def test_recording_comes_back(self, tmp_path: Path, cvat: bool) -> None:
        clip = self.write(tmp_path, cvat=cvat)
        found = open_sequence(tmp_path / "plain")
        assert_same_recording(found, clip)
        assert found.cameras["front"].distortion == clip.cameras["front"].distortion
        assert read_labels(tmp_path / "plain", found) == ()

    def test_without_calibration_there_are_no_cameras_and_other_sweeps_do_as_well(self, tmp_path: Path) -> None:
        write_bin(tmp_path / "lidar/1.bin", tiny_clip().frames[0])
        found = open_sequence(tmp_path)
        assert (dict(found.cameras), len(found), found.frames[0].world_SE3_lidar) == ({}, 1, None)
        np.testing.assert_array_equal(found.frames[0].load_sweep().points_m, tiny_clip().frames[0].load_sweep().points_m)

    def test_a_sequence_json_may_name_sweeps_of_any_kind(self, tmp_path: Path) -> None:
        write_sequence(tiny_clip(cameras=False), tmp_path / "drive")
        description = json.loads((tmp_path / "drive/sequence.json").read_text())
        points_m = tiny_clip().frames[0].load_sweep().points_m
        header = f"ply\nformat ascii 1.0\nelement vertex {len(points_m)}\n" + "".join(f"property float {axis}\n" for axis in "xyz")
        rows = "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in points_m.tolist())
        (tmp_path / "drive/sweeps/first.PLY").write_text(f"{header}end_header\n{rows}")
        write_bin(tmp_path / "drive/sweeps/second.bin", tiny_clip().frames[1])
        description["frames"][0]["sweep"], description["frames"][1]["sweep"] = "sweeps/first.PLY", "sweeps/second.bin"
        (tmp_path / "drive/sequence.json").write_text(json.dumps(description))
        found = open_sequence(tmp_path / "drive")
        for one, other in zip(found.frames, tiny_clip().frames, strict=True):
            np.testing.assert_array_equal(one.load_sweep().points_m, other.load_sweep().points_m)

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", r"poses\.txt: expected a line for each of the 3 sweeps, found 1"),
            ("poses.txt", "1 0 0\n", r"poses\.txt: line 1: expected 12 numbers, found 3"),
            ("poses.txt", "a\n", r"poses\.txt: line 1: expected 12 numbers, found 'a'"),
            ("poses.txt", "3 0 0 0 0 1 0 0 0 0 1 0\n", r"poses\.txt: line 1: expected a rotation"),
            ("calibration.json", "{}", r"calibration\.json: cameras: expected a value, found nothing"),
            ("calibration.json", '{"cameras": {"lidar": {}}}', "expected another camera name"),
        ],
    )
    def test_a_wrong_line_or_field_is_named(self, tmp_path: Path, file: str, text: str, message: str) -> None:
        self.write(tmp_path, cvat=True)
        (tmp_path / "plain" / file).write_text(text)
        with pytest.raises(InputError, match=message):
            open_sequence(tmp_path / "plain")


def test_an_unknown_layout_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a known layout .*KITTI raw.*found none of them"):
        open_sequence(tmp_path)


class TestConvert:
    def test_any_layout_becomes_a_sequence_folder_with_its_labels(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        TestNuScenes().write(tmp_path / "nuscenes")
        assert cli.main(["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive")]) == 0
        assert "tiny: 3 frames, 2 cameras, 2 labelled objects" in capsys.readouterr().out
        clip = open_sequence(tmp_path / "drive")
        assert_same_recording(clip, straight(tiny_clip()))
        assert [masklet.label for masklet in read_labels(tmp_path / "drive", clip)] == ["vehicle.car", "human"]

    def test_a_label_map_renames_in_a_sequence_folder_too(self, tmp_path: Path) -> None:
        TestNuScenes().write(tmp_path / "nuscenes")
        (tmp_path / "map.json").write_text('{"vehicle.car": "Car", "human": null}')
        command = ["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive"), "--label-map", str(tmp_path / "map.json")]
        assert cli.main(command) == 0
        labels = read_labels(tmp_path / "drive", open_sequence(tmp_path / "drive"))
        assert [masklet.label for masklet in labels] == ["Car"]

    def test_labels_become_another_format(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        TestNuScenes().write(tmp_path / "nuscenes")
        (tmp_path / "map.json").write_text('{"vehicle.car": "Car", "human": null}')
        command = [
            "convert",
            str(tmp_path / "nuscenes"),
            str(tmp_path / "out"),
            "--format",
            "kitti-tracking",
            "--label-map",
            str(tmp_path / "map.json"),
        ]
        assert cli.main(command) == 0
        assert "kitti-tracking holds no masks, points and scores; these are in" in capsys.readouterr().out
        lines = (tmp_path / "out/label_02/tiny.txt").read_text().splitlines()
        assert [line.split()[:3] for line in lines] == [[str(k), "1", "Car"] for k in range(3)]

    def test_an_interrupted_run_is_gone_on_with(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        TestNuScenes().write(tmp_path / "nuscenes")
        command = ["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive")]
        read: list[str] = []

        def load(sweep: SweepFile) -> Sweep:
            read.append(sweep.path)
            if len(read) == 2:
                raise KeyboardInterrupt
            return sweep.parse(sweep.read_bytes(sweep.path), sweep.path)

        monkeypatch.setattr(SweepFile, "__call__", load)
        assert cli.main(command) == 130
        assert "the same command with --resume goes on with it" in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == [".drive.partial", "nuscenes"]
        assert cli.main([*command, "--format", "coco", "--resume"]) == 2
        TestNuScenes().write(tmp_path / "other/nuscenes")
        assert cli.main(["convert", str(tmp_path / "other/nuscenes"), str(tmp_path / "drive"), "--resume"]) == 2
        assert "expected what an interrupted run with the same input and options left behind" in capsys.readouterr().err

        assert cli.main([*command, "--resume"]) == 0
        assert [Path(path).name for path in read] == ["0.pcd.bin", "1.pcd.bin", "1.pcd.bin", "2.pcd.bin"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["drive", "nuscenes", "other"]
        monkeypatch.undo()
        assert_same_recording(open_sequence(tmp_path / "drive"), straight(tiny_clip()))
        assert not list((tmp_path / "drive").rglob(".*"))
        assert cli.main([*command, "--resume", "--overwrite"]) == 2
        assert "found nothing" in capsys.readouterr().err
        assert cli.main([*command, "--overwrite"]) == 0

    def test_an_interrupted_run_is_begun_anew_without_resume_and_an_error_leaves_nothing(self, tmp_path: Path) -> None:
        TestNuScenes().write(tmp_path / "nuscenes")
        (tmp_path / ".drive.partial/sweeps").mkdir(parents=True)
        (tmp_path / ".drive.partial/sweeps/000000.pcd").write_bytes(b"of another drive")
        assert cli.main(["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive")]) == 0
        assert_same_recording(open_sequence(tmp_path / "drive"), straight(tiny_clip()))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["drive", "nuscenes"]

    def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").mkdir()
        assert cli.main(["convert", str(tmp_path / "empty"), str(tmp_path / "out")]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        TestNuScenes().write(tmp_path / "nuscenes")
        (tmp_path / "nuscenes/samples/LIDAR_TOP/1.pcd.bin").write_bytes(b"123")
        assert cli.main(["convert", str(tmp_path / "nuscenes"), str(tmp_path / "out")]) == 2
        assert "1.pcd.bin: expected rows of 5 float32 numbers" in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "nuscenes"]
