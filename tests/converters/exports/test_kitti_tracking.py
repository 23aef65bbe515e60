"""KITTI tracking: the inverse pair, the geometry of its frame, 2D boxes, and bad files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.exports import kitti_object_files, kitti_tracking_files, write_kitti_tracking
from converters.exports.kitti_camera import format_calibration, kitti_camera, projected_box
from converters.exports.kitti_tracking import UNKNOWN_BOX_PX
from converters.kitti_lines import KittiObject, format_label_line, parse_label_line
from converters.sequences import open_sequence, read_cuboid_labels
from converters.sequences.kitti_text import parse_calibration
from converters.sequences.kitti_tracking_labels import read_kitti_tracking
from sam4d.geometry import SE3, wrap_angle
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Camera, Clip, Cuboid, Frame, InputError, Masklet, Sweep
from tests.converters.tiny_recording import FRONT_POSE, tiny_clip, tiny_masklets

GOLDEN = Path(__file__).with_name("golden")

metres = st.floats(-200, 200)
cuboids = st.builds(Cuboid, st.tuples(metres, metres, metres), st.tuples(*[st.floats(0, 30)] * 3), st.floats(-np.pi, np.pi))
quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


def assert_same_cuboid(found: Cuboid | None, expected: Cuboid) -> None:
    assert found is not None
    np.testing.assert_allclose(found.center_m, expected.center_m, atol=1e-4)
    np.testing.assert_allclose(found.size_lwh_m, expected.size_lwh_m, atol=1e-6)
    assert abs(wrap_angle(found.yaw_rad - expected.yaw_rad)) < np.radians(0.01)


def camera_with(pose: SE3, **changes: object) -> Camera:
    plain = Camera("front", 1242, 375, 720.0, 720.0, 621.0, 187.5, pose)
    return replace(plain, **changes)  # type: ignore[arg-type]


def clip_with(camera: Camera | None) -> Clip:
    frame = Frame(lambda: Sweep(np.ones((1, 3), dtype=np.float32)), {})
    return Clip("drive", {} if camera is None else {camera.name: camera}, (frame,) * 2)


@given(cuboid=cuboids, quaternion=quaternions, translation=st.tuples(metres, metres, metres), score=st.none() | st.floats(0, 1))
def test_a_line_reads_back_as_it_was_for_any_camera(
    cuboid: Cuboid, quaternion: tuple[float, ...], translation: tuple[float, ...], score: float | None
) -> None:
    pose = SE3.from_quaternion(np.array(quaternion) / np.linalg.norm(quaternion), translation)
    kitti = kitti_camera(clip_with(camera_with(pose)))
    calibrated = parse_calibration(format_calibration(kitti), "calib.txt")
    np.testing.assert_allclose(calibrated.matrix, kitti.rect_SE3_lidar.matrix, atol=1e-9)
    item = KittiObject(4, 17, "Person 100%\tcyclist", 1, 3, (1.5, 2.25, 30.0, 40.125), cuboid, score)
    back = parse_label_line(format_label_line(item, kitti.rect_SE3_lidar), calibrated, "line 1")
    assert replace(back, cuboid=None, score=None) == replace(item, cuboid=None, score=None)
    assert_same_cuboid(back.cuboid, cuboid)
    assert (back.score is None) == (score is None)
    if back.score is not None and score is not None:
        assert abs(back.score - score) < 1e-6


@given(quaternion=quaternions)
def test_the_level_frame_is_level_and_shares_the_image(quaternion: tuple[float, ...]) -> None:
    pose = SE3.from_quaternion(np.array(quaternion) / np.linalg.norm(quaternion), (1.0, -2.0, 1.5))
    camera = camera_with(pose)
    kitti = kitti_camera(clip_with(camera))
    np.testing.assert_allclose(kitti.rect_SE3_lidar.rotation @ [0, 0, -1], [0, 1, 0], atol=1e-12)
    # The calibration file's own chain gives the pixels that the camera gives.
    point_m = pose.apply(np.array([[0.3, -0.2, 5.0]]))
    u, v, w = kitti.projection @ np.append(kitti.rect_SE3_lidar.apply(point_m[0]), 1.0)
    np.testing.assert_allclose([u / w, v / w], camera.project(point_m)[0][0], atol=1e-6)


def test_conventions_of_a_line() -> None:
    """A car 10 m ahead and 2 m to the right on the ground, driving ahead: bottom centre, ry of -90 degrees."""
    kitti = kitti_camera(clip_with(camera_with(FRONT_POSE)))
    item = KittiObject(0, 1, "Car", 0, 0, (0.0, 0.0, 9.0, 9.0), Cuboid((10.2, -2.0, -1.05), (4.0, 1.8, 1.5), 0.0))
    words = format_label_line(item, kitti.rect_SE3_lidar).split()
    assert words[:5] == ["0", "1", "Car", "0", "0"]
    alpha, h, w, length, x, y, z, ry = (float(words[k]) for k in (5, 10, 11, 12, 13, 14, 15, 16))
    assert (h, w, length) == (1.5, 1.8, 4.0)
    np.testing.assert_allclose((x, y, z), (2.0, 1.5, 10.0), atol=1e-6)
    assert abs(ry + np.pi / 2) < 1e-6
    assert abs(alpha - (ry - np.arctan2(2.0, 10.0))) < 1e-6


def test_written_files_equal_the_golden_ones(tmp_path: Path) -> None:
    write_kitti_tracking(tiny_clip(), tiny_masklets(), tmp_path)
    for folder in ("label_02", "calib"):
        assert (tmp_path / folder / "tiny.txt").read_text() == (GOLDEN / f"kitti_{folder}.txt").read_text()


def test_every_cuboid_of_the_synthetic_drive_survives(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    for camera in (None, *small_drive.clip.cameras):
        write_kitti_tracking(small_drive.clip, small_drive.masklets, tmp_path, camera, overwrite=True)
        name = next((tmp_path / "label_02").iterdir()).stem
        found = {(item.track_id, item.frame_index): item for item in read_kitti_tracking(tmp_path, name)}
        for masklet in small_drive.masklets:
            for frame_index, cuboid in masklet.cuboids.items():
                assert found[masklet.object_id, frame_index].label == masklet.label
                assert_same_cuboid(found[masklet.object_id, frame_index].cuboid, cuboid)


def test_boxes_come_from_masks_where_there_are_any(tmp_path: Path) -> None:
    write_kitti_tracking(tiny_clip(), tiny_masklets(), tmp_path, "front")
    items = {(item.track_id, item.frame_index): item for item in read_kitti_tracking(tmp_path, "tiny")}
    assert items[1, 0].box_px == (3.0, 4.0, 9.0, 12.0)
    assert items[12, 1].box_px == (0.0, 0.0, 24.0, 1.0)
    assert items[12, 1].cuboid is None
    assert items[12, 1].truncated == 1
    assert (12, 0) not in items


def test_what_the_camera_does_not_see_is_kept_and_marked(tmp_path: Path) -> None:
    write_kitti_tracking(tiny_clip(), tiny_masklets(), tmp_path, "rear")
    items = {(item.track_id, item.frame_index): item for item in read_kitti_tracking(tmp_path, "tiny")}
    assert (items[1, 0].box_px, items[1, 0].truncated, items[1, 0].occluded) == (UNKNOWN_BOX_PX, 2, 3)
    assert_same_cuboid(items[1, 0].cuboid, tiny_masklets()[0].cuboids[0])


def test_a_drive_without_cameras_gets_a_nominal_one(tmp_path: Path) -> None:
    clip = tiny_clip(cameras=False, forward="+y")
    ahead = Masklet(1, "Car", {}, {0: Cuboid((0.0, 12.0, -1.0), (4.0, 2.0, 1.5), np.pi / 2)})
    write_kitti_tracking(clip, [ahead], tmp_path)
    (item,) = read_kitti_tracking(tmp_path, "tiny")
    assert_same_cuboid(item.cuboid, ahead.cuboids[0])
    u0, v0, u1, v1 = item.box_px
    assert abs((u0 + u1) / 2 - 621) < 1e-3
    assert 187.5 < v1 < 375
    assert v0 < v1


class TestProjectedBox:
    def test_the_box_holds_the_projected_corners(self) -> None:
        camera = camera_with(FRONT_POSE)
        cuboid = Cuboid((15.0, 1.0, -1.0), (4.0, 1.8, 1.5), 0.4)
        result = projected_box(cuboid, camera)
        assert result is not None
        pixels = camera.project(cuboid.corners_m())[0]
        np.testing.assert_allclose(result[0], [*pixels.min(axis=0), *pixels.max(axis=0)], atol=1e-9)
        assert abs(result[1]) < 1e-12

    def test_half_outside(self) -> None:
        camera = camera_with(SE3(FRONT_POSE.rotation, np.zeros(3)), cx_px=0.0)
        result = projected_box(Cuboid((20.0, 0.0, 0.0), (0.0, 2.0, 1.0), 0.0), camera)
        assert result is not None
        assert result[0][0] == 0.0
        assert abs(result[1] - 0.5) < 1e-9

    def test_a_lorry_that_passes_beside_the_camera_reaches_the_image_border(self) -> None:
        result = projected_box(Cuboid((0.0, 3.0, 0.0), (20.0, 2.5, 3.0), 0.0), camera_with(FRONT_POSE))
        assert result is not None
        assert result[0][0] == 0.0
        assert result[1] > 0.5

    @pytest.mark.parametrize("center_m", [(-10.0, 0.0, 0.0), (10.0, 60.0, 0.0), (10.0, 0.0, 40.0)])
    def test_out_of_view(self, center_m: tuple[float, float, float]) -> None:
        assert projected_box(Cuboid(center_m, (4.0, 2.0, 1.5), 0.3), camera_with(FRONT_POSE)) is None

    def test_a_lens_that_folds_points_back_does_not_show_what_is_beside_it(self) -> None:
        camera = camera_with(FRONT_POSE, distortion=(-0.4, 0.1, 0.0, 0.0, 0.0))
        assert projected_box(Cuboid((1.0, 30.0, 0.0), (4.0, 2.0, 1.5), 0.3), camera) is None


class TestBadInput:
    def test_an_unknown_camera(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="camera: expected one of front, rear, found 'left'"):
            write_kitti_tracking(tiny_clip(), tiny_masklets(), tmp_path, "left")
        assert list(tmp_path.iterdir()) == []

    def test_existing_files_are_kept(self, tmp_path: Path) -> None:
        write_kitti_tracking(tiny_clip(), tiny_masklets(), tmp_path)
        with pytest.raises(InputError, match=r"tiny\.txt: expected nothing"):
            write_kitti_tracking(tiny_clip(), (), tmp_path)
        write_kitti_tracking(tiny_clip(name="other"), (), tmp_path)
        assert len(read_kitti_tracking(tmp_path, "tiny")) == 4
        assert read_kitti_tracking(tmp_path, "other") == ()

    @pytest.mark.parametrize(
        ("line", "where", "expected", "found"),
        [
            ("0 1 Car", "line 2", "17 values", "3"),
            ("0 1 Car 0 0 0 1 1 2 2 1 1 1 0 0 nan 0", "line 2: z", "finite", "'nan'"),
            ("0 1 Car 0 0 0 1 1 2 2 1 1 1 0 0 far 0", "line 2: z", "a number", "'far'"),
            ("-1 1 Car 0 0 0 1 1 2 2 1 1 1 0 0 5 0", "line 2: frame", "whole number", "-1"),
            ("0 1.5 Car 0 0 0 1 1 2 2 1 1 1 0 0 5 0", "line 2: id", "whole number", "1.5"),
        ],
    )
    def test_wrong_lines(self, tmp_path: Path, line: str, where: str, expected: str, found: str) -> None:
        write_kitti_tracking(tiny_clip(), (), tmp_path)
        file = tmp_path / "label_02" / "tiny.txt"
        file.write_text(f"0 1 DontCare -1 -1 -10 1 1 2 2 -1 -1 -1 -1000 -1000 -1000 -10\n{line}\n")
        with pytest.raises(InputError) as error:
            read_kitti_tracking(tmp_path, "tiny")
        assert error.value.where == f"{file}: {where}"
        assert expected in error.value.expected
        assert error.value.found == found

    @pytest.mark.parametrize(
        ("calibration", "where", "expected", "found"),
        [
            ("", "", "a line R_rect", "none"),
            ("R_rect 1 0 0 0 1 0 0 0\n", ": R_rect", "9 numbers", "8"),
            ("R_rect 1 0 0 0 1 0 0 0 1\nTr_velo_cam a\n", ": Tr_velo_cam", "numbers", "a"),
            ("R_rect 2 0 0 0 1 0 0 0 1\nTr_velo_cam 1 0 0 0 0 1 0 0 0 0 1 0\n", "", "rotations", "orthonormal"),
        ],
    )
    def test_wrong_calibrations(self, tmp_path: Path, calibration: str, where: str, expected: str, found: str) -> None:
        write_kitti_tracking(tiny_clip(), (), tmp_path)
        file = tmp_path / "calib" / "tiny.txt"
        file.write_text(calibration)
        with pytest.raises(InputError) as error:
            read_kitti_tracking(tmp_path, "tiny")
        assert error.value.where == f"{file}{where}"
        assert expected in error.value.expected
        assert found in error.value.found

    def test_missing_files(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"calib/none\.txt: expected a readable file"):
            read_kitti_tracking(tmp_path, "none")


@pytest.mark.parametrize("name", ["pandaset_001", "kitti_tracking_0000", "av2_7fab2350"])
def test_real_cuboids_survive(shared_data: Path, tmp_path: Path, name: str) -> None:
    clip = open_sequence(shared_data / name)
    tracks: dict[str, Masklet] = {}
    for frame_index, labelled in enumerate(read_cuboid_labels(shared_data / name)):
        for item in labelled or ():
            masklet = tracks.setdefault(item.track_id, Masklet(len(tracks) + 1, item.label, {}, {}))
            tracks[item.track_id] = replace(masklet, cuboids={**masklet.cuboids, frame_index: item.cuboid})
    write_kitti_tracking(clip, [*tracks.values()], tmp_path)
    found = {(item.track_id, item.frame_index): item for item in read_kitti_tracking(tmp_path, name)}
    assert len(found) == sum(len(masklet.cuboids) for masklet in tracks.values()) > 60
    for masklet in tracks.values():
        for frame_index, cuboid in masklet.cuboids.items():
            assert found[masklet.object_id, frame_index].label == masklet.label
            assert_same_cuboid(found[masklet.object_id, frame_index].cuboid, cuboid)


def test_the_object_benchmark_has_a_file_per_frame() -> None:
    clip, masklets = tiny_clip(), tiny_masklets()
    files = kitti_object_files(clip, masklets)
    assert sorted(files) == [f"tiny/{kind}/{index:06d}.txt" for kind in ("calib", "label_2") for index in range(len(clip))]
    tracking = kitti_tracking_files(clip, masklets)["label_02/tiny.txt"].decode().splitlines()
    for index in range(len(clip)):
        expected = [line.split(" ", 2)[2] for line in tracking if line.startswith(f"{index} ")]
        assert files[f"tiny/label_2/{index:06d}.txt"].decode().splitlines() == expected
    calibration = files["tiny/calib/000000.txt"].decode()
    assert [line.split(":")[0] for line in calibration.splitlines()] == [
        *("P0", "P1", "P2", "P3", "R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo")
    ]
    np.testing.assert_allclose(parse_calibration(calibration, "calib").matrix, kitti_camera(clip).rect_SE3_lidar.matrix, atol=1e-9)
