"""nuScenes tables and panoptic labels: our own reader reads them back, tokens lead somewhere, and the numbers of points."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.exports import nuscenes_files, write_whole_files
from converters.exports.nuscenes import CATEGORIES, VERSION
from converters.exports.whole_output import file_bytes
from converters.sequences import open_sequence, read_labels
from sam4d.geometry import wrap_angle
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, Masklet
from tests.converters.exports.peers import ask_peer, needs_peers
from tests.converters.tiny_recording import FRAME_COUNT, tiny_clip, tiny_masklets


def tables(clip: Clip, masklets: tuple[Masklet, ...]) -> dict[str, Any]:
    files = nuscenes_files(clip, masklets)
    return {Path(path).stem: json.loads(file_bytes(data)) for path, data in files.items() if path.endswith(".json")}


def test_cuboids_poses_and_calibration_read_back(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    clip = small_drive.clip
    write_whole_files({tmp_path / path: data for path, data in nuscenes_files(clip, small_drive.masklets).items()})
    found = open_sequence(tmp_path / clip.name)
    for name, camera in clip.cameras.items():
        assert (found.cameras[name].fx_px, found.cameras[name].cy_px) == (camera.fx_px, camera.cy_px)
        np.testing.assert_allclose(found.cameras[name].lidar_SE3_cam.matrix, camera.lidar_SE3_cam.matrix, atol=1e-9)
    for one, other in zip(found.frames, clip.frames, strict=True):
        assert one.world_SE3_lidar is not None
        assert other.world_SE3_lidar is not None
        np.testing.assert_allclose(one.world_SE3_lidar.matrix, other.world_SE3_lidar.matrix, atol=1e-9)
    labels = read_labels(tmp_path / clip.name, found)
    expected = [masklet for masklet in small_drive.masklets if masklet.cuboids]
    assert sorted(masklet.label for masklet in labels) == sorted(CATEGORIES.get(each.label.casefold(), each.label) for each in expected)
    # Tracks are numbered anew: each is found by where it is.
    for masklet in expected:
        frame_index, cuboid = next(iter(masklet.cuboids.items()))
        track = min(labels, key=lambda each: _distance(each, frame_index, cuboid.center_m))
        assert set(track.cuboids) == set(masklet.cuboids)
        for index, wanted in masklet.cuboids.items():
            back = track.cuboids[index]
            np.testing.assert_allclose([*back.center_m, *back.size_lwh_m], [*wanted.center_m, *wanted.size_lwh_m], atol=1e-3)
            assert abs(wrap_angle(back.yaw_rad - wanted.yaw_rad)) < np.radians(0.01)


def _distance(masklet: Masklet, frame_index: int, center_m: tuple[float, float, float]) -> float:
    return float(np.linalg.norm(np.subtract(masklet.cuboids[frame_index].center_m, center_m))) if frame_index in masklet.cuboids else np.inf


def test_every_token_leads_to_a_row() -> None:
    found = tables(tiny_clip(), tiny_masklets())
    known = {table: {row["token"] for row in rows} for table, rows in found.items()}
    assert all(len(tokens) == len(found[table]) for table, tokens in known.items())
    references = {f"{table}_token": table for table in ("sample", "scene", "log", "ego_pose", "calibrated_sensor", "sensor", "instance")}
    references |= {"category_token": "category", "sample_data_token": "sample_data"}
    references |= {f"{end}_annotation_token": "sample_annotation" for end in ("first", "last")}
    references |= {f"{end}_sample_token": "sample" for end in ("first", "last")}
    followed = 0
    for table, rows in found.items():
        for row in rows:
            for field, value in row.items():
                if field in references:
                    assert value in known[references[field]]
                    followed += 1
                elif field in ("prev", "next") and value:
                    assert value in known[table]
                    back = next(other for other in found[table] if other["token"] == value)
                    assert back["next" if field == "prev" else "prev"] == row["token"]
    assert followed > 40
    assert len(found["sample_annotation"]) == 3


def test_the_number_of_a_point_is_class_times_thousand_plus_instance() -> None:
    files = nuscenes_files(tiny_clip(), tiny_masklets())
    found = tables(tiny_clip(), tiny_masklets())
    assert {row["name"]: row["index"] for row in found["category"]} == {"Person on a bicycle": 1, "Straßenschild": 2, "vehicle.car": 3}
    assert len(found["panoptic"]) == FRAME_COUNT
    numbers = [np.load(io.BytesIO(file_bytes(files[f"tiny/{entry['filename']}"])))["data"] for entry in found["panoptic"]]
    assert all(each.dtype == np.uint16 for each in numbers)
    expected = np.arange(60) % 5 == 3
    np.testing.assert_array_equal(numbers[0], np.where(expected, 3001, 0))
    np.testing.assert_array_equal(numbers[1], np.where(expected, 2001, 0))
    assert all(VERSION in entry["filename"] for entry in found["panoptic"])


READ = """
import json, sys
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.color_map import get_colormap
from nuscenes.utils.data_io import load_bin_file
colours = get_colormap()
colours.update({name: (0, 0, 0) for name in sys.argv[2:]})
tables = NuScenes(version="v1.0-sam4d", dataroot=sys.argv[1], verbose=False, colormap=colours)
boxes = [[tables.get_box(token) for token in sample["anns"]] for sample in tables.sample]
labels = [load_bin_file(f"{sys.argv[1]}/{row['filename']}", "panoptic") for row in tables.panoptic]
print(json.dumps({
    "boxes": [[[box.name, *box.center.tolist(), *box.wlh.tolist()] for box in shown] for shown in boxes],
    "points": [int((each > 0).sum()) for each in labels],
    "camera": tables.get_sample_data_path(tables.sample[0]["data"]["front"]),
}))
"""


@needs_peers
def test_the_development_kit_reads_the_same(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    clip, masklets = small_drive.clip, small_drive.masklets
    write_whole_files({tmp_path / path: data for path, data in nuscenes_files(clip, masklets).items()})
    names = sorted({masklet.label for masklet in masklets})
    found = ask_peer(READ, tmp_path / clip.name, *names)
    for index, (frame, shown) in enumerate(zip(clip.frames, found["boxes"], strict=True)):
        assert frame.world_SE3_lidar is not None
        expected = []
        for masklet in masklets:
            if index in masklet.cuboids:
                length, width, height = masklet.cuboids[index].size_lwh_m
                center_m = frame.world_SE3_lidar.apply(np.array(masklet.cuboids[index].center_m))
                expected.append([CATEGORIES.get(masklet.label.casefold(), masklet.label), *center_m, width, length, height])
        assert [row[0] for row in sorted(shown)] == [row[0] for row in sorted(expected)]
        np.testing.assert_allclose([row[1:] for row in sorted(shown)], [row[1:] for row in sorted(expected)], atol=1e-6)
        owned = np.any([masklet.masks[index].lidar_mask for masklet in masklets if index in masklet.masks], axis=0)
        assert found["points"][index] == np.count_nonzero(owned)
    assert found["camera"].endswith("front/000000")


def test_what_does_not_fit_is_refused() -> None:
    clip, (car, *_) = tiny_clip(), tiny_masklets()
    with pytest.raises(InputError, match="one masklet per object id"):
        nuscenes_files(clip, [car, car])
    with pytest.raises(InputError, match="at most 64 labels, found 65"):
        nuscenes_files(clip, [Masklet(k, f"label {k}", {}) for k in range(65)])
    with pytest.raises(InputError, match=r"at most 999 objects of the label vehicle\.car"):
        nuscenes_files(clip, [replace(car, object_id=k, masks={}) for k in range(1000)])


def test_frames_without_a_time_lie_between_those_with_one(small_drive: SyntheticDrive) -> None:
    known = (None, 5_000_000_000, None, 6_000_000_000)
    frames = tuple(replace(frame, timestamp_ns=time_ns) for frame, time_ns in zip(small_drive.clip.frames, known, strict=True))
    samples = tables(replace(small_drive.clip, frames=frames), small_drive.masklets)["sample"]
    assert [row["timestamp"] for row in samples] == [4_500_000, 5_000_000, 5_500_000, 6_000_000]
