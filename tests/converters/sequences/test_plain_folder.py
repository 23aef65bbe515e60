"""Plain folders of sweeps and images; and one line where something is missing or wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from converters.exports import write_sequence
from converters.sequences import open_sequence, read_labels
from sam4d.structures import InputError
from tests.converters.sequences.recordings import (
    assert_same_recording,
    write_bin,
    write_plain_folder,
)
from tests.converters.tiny_recording import tiny_clip


class TestPlainFolder:
    @pytest.mark.parametrize("cvat", [True, False])
    def test_recording_comes_back(self, tmp_path: Path, cvat: bool) -> None:
        clip = write_plain_folder(tmp_path / "plain", cvat=cvat)
        found = open_sequence(tmp_path / "plain")
        assert_same_recording(found, clip)
        assert found.cameras["front"].distortion == clip.cameras["front"].distortion
        assert read_labels(tmp_path / "plain", found) == ()

    def test_the_image_of_the_only_camera_may_have_any_name(self, tmp_path: Path) -> None:
        clip = write_plain_folder(tmp_path, cvat=True)
        calibration = json.loads((tmp_path / "calibration.json").read_text())
        for index in range(3):
            (tmp_path / f"related_images/s{index}_pcd/front.png").rename(tmp_path / f"related_images/s{index}_pcd/{index:010d}.PNG")
            (tmp_path / f"related_images/s{index}_pcd/rear.png").unlink(missing_ok=True)
        assert [dict(frame.load_images) for frame in open_sequence(tmp_path).frames] == [{}] * 3, "whose it is does not stand anywhere"
        del calibration["cameras"]["rear"]
        (tmp_path / "calibration.json").write_text(json.dumps(calibration))
        for one, other in zip(open_sequence(tmp_path).frames, clip.frames, strict=True):
            np.testing.assert_array_equal(one.load_images["front"](), other.load_images["front"]())

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
        write_plain_folder(tmp_path / "plain", cvat=True)
        (tmp_path / "plain" / file).write_text(text)
        with pytest.raises(InputError, match=message):
            open_sequence(tmp_path / "plain")
