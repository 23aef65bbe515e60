"""Sequence folders in: what is read, and what each kind of mistake is told."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.exports import write_sequence
from converters.point_cloud_files import format_pcd
from converters.sequences import check_sequence, open_sequence, open_sequence_folder, read_sequence
from converters.sequences.sequence_folder import forward_from_motion
from sam4d.geometry import SE3, Axis
from sam4d.structures import InputError, Sweep
from tests.converters.tiny_recording import FRAME_COUNT, POINT_COUNT, tiny_clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sequence(tiny_clip(), tmp_path / "drive")
    return tmp_path / "drive"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "sequence.json"
    description = json.loads(file.read_text())
    change(description)
    file.write_text(json.dumps(description))


def put(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Sets a field by its path, for example "frames.1.sweep"; `...` removes it."""

    def change(description: dict[str, Any]) -> None:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place: Any = description
        for key in parents:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = copy.deepcopy(value)

    return change


def test_a_folder_or_its_description_opens(folder: Path) -> None:
    for path in (folder, str(folder), folder / "sequence.json"):
        clip = open_sequence(path)
        assert (clip.name, len(clip), tuple(clip.cameras)) == ("tiny", FRAME_COUNT, ("front", "rear"))
    assert tuple(clip.frames[1].load_images) == ("front",)
    assert clip.frames[2].timestamp_ns is None
    assert len(clip.frames[0].load_sweep()) == POINT_COUNT


def test_any_source_of_bytes_will_do_and_is_asked_lazily(folder: Path) -> None:
    asked = []

    def read_bytes(path: str) -> bytes:
        asked.append(path)
        return (folder / path).read_bytes()

    clip = read_sequence(read_bytes, "http://127.0.0.1/drive")
    assert asked == ["sequence.json"]
    clip.frames[1].load_sweep()
    clip.frames[1].load_images["front"]()
    assert asked[1:] == ["sweeps/000001.pcd", "images/front/000001.png"]


def test_optional_fields_may_be_absent(folder: Path) -> None:
    def drop(description: dict[str, Any]) -> None:
        del description["forward"]
        description["cameras"]["front"].pop("distortion")
        for frame in description["frames"]:
            for key in ("timestamp_ns", "images", "world_SE3_lidar"):
                frame.pop(key)

    edit(folder, drop)
    clip = open_sequence(folder)
    assert clip.forward == "+x"
    assert all(frame.world_SE3_lidar is None and not frame.load_images and frame.timestamp_ns is None for frame in clip.frames)
    assert clip.cameras["front"].distortion == ()


def test_a_drive_without_cameras(tmp_path: Path) -> None:
    write_sequence(tiny_clip(cameras=False, poses=False), tmp_path / "drive")
    clip = open_sequence(tmp_path / "drive")
    assert not clip.cameras
    assert check_sequence(clip) == ("no poses: ego motion is not compensated",)


@pytest.mark.parametrize(
    ("step_m", "axis"), [((2.0, 0.1), "+x"), ((-2.0, 0.1), "-x"), ((0.3, 2.0), "+y"), ((0.5, -2.0), "-y"), ((0.0, 0.02), "+x")]
)
def test_forward_is_where_the_vehicle_drives(step_m: tuple[float, float], axis: Axis) -> None:
    step = SE3.from_yaw(0.2, [*step_m, 0.0])
    poses: list[SE3 | None] = [SE3.from_yaw(2.0, [5000.0, -300.0, 20.0])]
    for _ in range(10):
        assert poses[-1] is not None
        poses.append(poses[-1] @ step)
    poses[4] = None
    assert forward_from_motion(poses) == axis


def test_forward_that_is_given_wins_over_the_motion(folder: Path) -> None:
    edit(folder, put("forward", "-y"))
    assert open_sequence(folder).forward == "-y"
    edit(folder, put("forward", ...))
    assert open_sequence(folder).forward == "+x"


QUATERNION = {"rotation_wxyz": [1.0, 0.0, 0.0, 0.0], "translation_m": [0.0, 0.0, 0.0]}


@pytest.mark.parametrize(
    ("path", "value", "where", "expected", "found"),
    [
        ("version", 2, "version", "layout version 1", "2"),
        ("version", ..., "version", "a value", "nothing"),
        ("version", True, "version", "layout version 1", "True"),
        ("name", "", "name", "not empty", "''"),
        ("name", 5, "name", "text", "5"),
        ("forward", "+z", "forward", "+x, -x, +y, -y", "'+z'"),
        ("cameras", [], "cameras", "an object", "a list of 0"),
        ("cameras.lidar", {}, "cameras.lidar", "another camera name", "'lidar'"),
        ("cameras.a/b", {}, "cameras.a/b", "letters, digits", "'a/b'"),
        ("cameras.front.model", "fisheye", "cameras.front.model", '"pinhole"', "'fisheye'"),
        ("cameras.front.model", ..., "cameras.front.model", "a value", "nothing"),
        ("cameras.front.width", 0, "cameras.front.width", "from 1", "0"),
        ("cameras.front.width", 24.5, "cameras.front.width", "whole number", "24.5"),
        ("cameras.front.height", 10**7, "cameras.front", "at most 64000000 pixels", "24 x 10000000"),
        ("cameras.front.intrinsics.fx", 0, "cameras.front.intrinsics.fx", "above 0", "0"),
        ("cameras.front.intrinsics.cy", float("nan"), "cameras.front.intrinsics.cy", "finite", "nan"),
        ("cameras.front.intrinsics.cy", float("inf"), "cameras.front.intrinsics.cy", "finite", "inf"),
        ("cameras.front.intrinsics.cy", 10**400, "cameras.front.intrinsics.cy", "finite", "1000"),
        ("cameras.front.intrinsics.cy", "8", "cameras.front.intrinsics.cy", "finite number", "'8'"),
        ("cameras.front.distortion", [0.1, 0.2], "cameras.front.distortion", "0 or 5 numbers", "2"),
        ("cameras.front.distortion", [0.1] * 8, "cameras.front.distortion", "0 or 5 numbers", "8"),
        ("cameras.front.lidar_SE3_cam", None, "cameras.front.lidar_SE3_cam", "an object", "null"),
        ("cameras.front.lidar_SE3_cam.rotation_wxyz", [1, 1, 1, 1], "cameras.front.lidar_SE3_cam.rotation_wxyz", "rotation", "length 2"),
        ("cameras.front.lidar_SE3_cam.rotation_wxyz", [0, 0, 0, 0], "cameras.front.lidar_SE3_cam.rotation_wxyz", "rotation", "length 0"),
        ("cameras.front.lidar_SE3_cam.rotation_wxyz", [1, 0, 0], "cameras.front.lidar_SE3_cam.rotation_wxyz", "4 numbers", "3"),
        ("cameras.front.lidar_SE3_cam.translation_m", [0, 0, None], "cameras.front.lidar_SE3_cam.translation_m[2]", "finite", "null"),
        ("frames", [], "frames", "at least one frame", "a list of 0"),
        ("frames", {}, "frames", "a list", "an object of 0"),
        ("frames", ..., "frames", "a value", "nothing"),
        ("frames.1", None, "frames[1]", "an object", "null"),
        ("frames.1.sweep", ..., "frames[1].sweep", "a value", "nothing"),
        ("frames.1.sweep", None, "frames[1].sweep", "text", "null"),
        ("frames.1.sweep", "/etc/passwd", "frames[1].sweep", "inside the sequence", "'/etc/passwd'"),
        ("frames.1.sweep", "../other/000001.pcd", "frames[1].sweep", "inside the sequence", "'../other/000001.pcd'"),
        ("frames.1.sweep", "sweeps/../../x.pcd", "frames[1].sweep", "inside the sequence", "x.pcd"),
        ("frames.1.sweep", "C:\\x.pcd", "frames[1].sweep", "inside the sequence", "x.pcd"),
        ("frames.1.sweep", "http://a/x.pcd", "frames[1].sweep", "inside the sequence", "x.pcd"),
        ("frames.1.sweep", "sweeps/\0.pcd", "frames[1].sweep", "text", "x00"),
        ("frames.1.sweep", ".", "frames[1].sweep", "inside the sequence", "'.'"),
        ("frames.1.sweep", "sweeps", "frames[1].sweep", "a file", "something else"),
        ("frames.1.sweep", "sweeps/000009.pcd", "frames[1].sweep", "a file sweeps/000009.pcd", "no such file"),
        ("frames.1.images.front", "images/none.png", "frames[1].images.front", "a file images/none.png", "no such file"),
        ("frames.1.images.left", "images/none.png", "frames[1].images.left", "one of the cameras front, rear", "'left'"),
        ("frames.1.images", ["a.png"], "frames[1].images", "an object", "a list of 1"),
        ("frames.1.timestamp_ns", 1.5, "frames[1].timestamp_ns", "whole number", "1.5"),
        ("frames.1.timestamp_ns", "now", "frames[1].timestamp_ns", "whole number", "'now'"),
        ("frames.2.world_SE3_lidar", {"rotation_wxyz": [1, 0, 0, 0]}, "frames[2].world_SE3_lidar.translation_m", "a value", "nothing"),
        ("frames.2.world_SE3_lidar.translation_m", [0, float("nan"), 0], "frames[2].world_SE3_lidar.translation_m[1]", "finite", "nan"),
    ],
)
def test_a_wrong_description_names_file_and_field(folder: Path, path: str, value: object, where: str, expected: str, found: str) -> None:
    edit(folder, put(path, value))
    with pytest.raises(InputError) as error:
        open_sequence(folder)
    assert error.value.where == f"{folder}/sequence.json: {where}"
    assert expected in error.value.expected
    assert found in error.value.found
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "found"),
    [(b"", "0 bytes"), (b"{", "1 bytes"), (b"\xff\xfe\xfa", "3 bytes"), (b"[" * 100_000, "nested too deeply"), (b"[1]", "a list of 1")],
)
def test_a_description_that_is_not_json(folder: Path, data: bytes, found: str) -> None:
    (folder / "sequence.json").write_bytes(data)
    with pytest.raises(InputError, match=r"sequence\.json: expected ") as error:
        open_sequence(folder)
    assert found in error.value.found


def test_a_description_that_is_far_too_long() -> None:
    with pytest.raises(InputError, match=r"a/sequence\.json: expected at most 33554432 bytes, found 33554433"):
        read_sequence(lambda name: b"[" + b"0," * 2**24, "a")


def test_a_place_without_a_recording(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, found in ((tmp_path / "none", "nothing"), (tmp_path / "file", "a file")):
        with pytest.raises(InputError, match=r"expected a folder with a sequence\.json") as error:
            open_sequence(path)
        assert error.value.found == found
    with pytest.raises(InputError, match=r"expected a drive in a known layout .*sequence\.json, found none of them"):
        open_sequence(tmp_path)
    with pytest.raises(InputError, match=r"sequence\.json: expected a readable file, found no such file"):
        open_sequence_folder(tmp_path)


def test_links_do_not_lead_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.pcd"
    secret.write_bytes(format_pcd(Sweep(np.ones((3, 3), dtype=np.float32))))
    clip = open_sequence(folder)
    sweep = folder / "sweeps" / "000001.pcd"
    sweep.unlink()
    sweep.symlink_to(secret)
    with pytest.raises(InputError, match=r"frames\[1\]\.sweep: expected a file inside the sequence's folder, found a link to"):
        open_sequence(folder)
    with pytest.raises(InputError, match="inside the sequence's folder"):
        clip.frames[1].load_sweep()
    sweep.unlink()
    sweep.symlink_to(sweep)
    with pytest.raises(InputError, match=r"frames\[1\]\.sweep"):
        open_sequence(folder)
    sweep.unlink()
    sweep.symlink_to(folder / "sweeps" / "000000.pcd")
    assert len(open_sequence(folder).frames[1].load_sweep()) == POINT_COUNT


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected", "found"),
    [
        (b"", "an image (JPEG", "0 bytes"),
        (b"II*\0" + b"\0" * 50, "an image (JPEG", "54 bytes"),
        (b"GIF89a" + b"\0" * 50, "an image (JPEG", "56 bytes"),
        (png(24, 17), "24 x 16 pixels", "24 x 17"),
        (png(24, 16)[:-30], "whole image", "broken"),
        (png(24, 16)[:20], "whole image", "broken"),
        (png(9000, 9000, "1"), "24 x 16 pixels", "9000 x 9000"),
        (png(10_000, 10_000, "1"), "24 x 16 pixels", "too large"),
        (png(20_000, 20_000, "1"), "24 x 16 pixels", "too large"),
    ],
)
def test_bad_images_are_told_when_they_are_read(folder: Path, data: bytes, expected: str, found: str) -> None:
    (folder / "images" / "front" / "000001.png").write_bytes(data)
    clip = open_sequence(folder)
    for read in (clip.frames[1].load_images["front"], lambda: check_sequence(clip)):
        with pytest.raises(InputError) as error:
            read()
        assert error.value.where == f"{folder}/images/front/000001.png"
        assert expected in error.value.expected
        assert found in error.value.found


@pytest.mark.parametrize("mode", ["L", "1", "RGBA", "P", "I;16"])
def test_other_kinds_of_pixels_become_rgb(folder: Path, mode: str) -> None:
    (folder / "images" / "front" / "000001.png").write_bytes(png(24, 16, mode))
    image = open_sequence(folder).frames[1].load_images["front"]()
    assert image.shape == (16, 24, 3)
    assert image.dtype == np.uint8


class TestCheck:
    def test_a_clean_recording_has_one_note_about_its_missing_image(self, folder: Path) -> None:
        calls: list[tuple[int, int]] = []
        notes = check_sequence(open_sequence(folder), lambda done, total: calls.append((done, total)))
        assert [note for note in notes if "rear: no image on frame 1" in note]
        assert calls == [(1, 3), (2, 3), (3, 3)]

    def test_points_that_are_not_finite_are_counted(self, folder: Path) -> None:
        points_m = np.ones((50, 3), dtype=np.float32)
        points_m[[3, 7], [0, 2]] = [np.nan, np.inf]
        (folder / "sweeps" / "000002.pcd").write_bytes(format_pcd(Sweep(points_m)))
        assert "sweeps/000002.pcd: 2 of 50 points are not finite" in check_sequence(open_sequence(folder))

    @pytest.mark.parametrize("count", [0, 5])
    def test_a_sweep_without_a_finite_point_is_refused(self, folder: Path, count: int) -> None:
        (folder / "sweeps" / "000002.pcd").write_bytes(format_pcd(Sweep(np.full((count, 3), np.nan, dtype=np.float32))))
        with pytest.raises(InputError, match=f"sweeps/000002.pcd: expected at least one point .* found none among {count} points"):
            check_sequence(open_sequence(folder))

    def test_a_truncated_sweep_is_refused(self, folder: Path) -> None:
        file = folder / "sweeps" / "000001.pcd"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(InputError, match=r"sweeps/000001\.pcd: POINTS: expected 960 bytes"):
            check_sequence(open_sequence(folder))

    def test_oddities_of_poses_and_cameras_are_noted(self, folder: Path) -> None:
        def change(description: dict[str, Any]) -> None:
            description["frames"][1]["world_SE3_lidar"] = None
            for frame in description["frames"]:
                frame["images"].pop("rear", None)
            description["cameras"]["front"]["lidar_SE3_cam"] = description["cameras"]["rear"]["lidar_SE3_cam"]

        edit(folder, change)
        notes = check_sequence(open_sequence(folder))
        assert notes == (
            "no image on any frame from camera rear",
            "camera front: no LiDAR point falls into its images; check lidar_SE3_cam",
            "no pose on frame 1",
        )
