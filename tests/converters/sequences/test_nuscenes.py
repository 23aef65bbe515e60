"""nuScenes read as it was recorded, keyframes and what lies between; and one line where something is missing or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend import cli
from converters.sequences import open_sequence, read_labels
from sam4d.structures import InputError
from tests.converters.sequences.recordings import (
    LIDAR_BOXES,
    assert_same_recording,
    write_tiny_nuscenes,
)


class TestNuScenes:
    def test_recording_and_labels_come_back(self, tmp_path: Path) -> None:
        tiny = write_tiny_nuscenes(tmp_path)
        found = open_sequence(tmp_path)
        assert_same_recording(found, tiny)
        assert [frame.timestamp_ns for frame in found.frames] == [1_600_000_000_000_000_000 + 500_000_000 * k for k in range(3)]
        labels = read_labels(tmp_path, found)
        assert [(masklet.object_id, masklet.label) for masklet in labels] == [(1, "vehicle.car"), (2, "human")]
        for masklet, (cuboid, *_) in zip(labels, LIDAR_BOXES, strict=True):
            assert list(masklet.cuboids) == [0, 1, 2]
            for back in masklet.cuboids.values():
                np.testing.assert_allclose([*back.center_m, *back.size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], atol=1e-3)
                assert abs(np.sin((back.yaw_rad - cuboid.yaw_rad) / 2)) < np.radians(0.01)

    def test_sweeps_between_keyframes_are_frames_where_they_are_asked_for(self, tmp_path: Path) -> None:
        tiny = write_tiny_nuscenes(tmp_path)
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
        write_tiny_nuscenes(tmp_path)
        file = tmp_path / "v1.0-mini" / f"{table}.json"
        rows = json.loads(file.read_text())
        change(rows)
        file.write_text(json.dumps(rows))
        with pytest.raises(InputError, match=message):
            open_sequence(tmp_path)

    def test_a_path_that_leaves_the_folder_is_refused(self, tmp_path: Path) -> None:
        write_tiny_nuscenes(tmp_path / "nuscenes")
        (tmp_path / "secret.bin").write_bytes(bytes(20))
        file = tmp_path / "nuscenes/v1.0-mini/sample_data.json"
        rows = json.loads(file.read_text())
        rows[0]["filename"] = "../secret.bin"
        file.write_text(json.dumps(rows))
        with pytest.raises(InputError, match="expected a file inside the sequence's folder"):
            open_sequence(tmp_path / "nuscenes").frames[0].load_sweep()
