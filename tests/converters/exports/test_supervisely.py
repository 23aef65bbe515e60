"""Supervisely episodes: golden files, and the recording and its calibration come with the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.columns import standing_inside
from converters.exports import supervisely_files, write_sequence, write_whole_files
from converters.exports.whole_output import file_bytes
from converters.point_cloud_files import parse_pcd
from converters.sequences import open_sequence, read_labels
from converters.sequences.image_file import decode_image
from sam4d.geometry import SE3
from sam4d.structures import Cuboid, InputError, Masklet, Sweep
from tests.converters.exports.same_cuboids import assert_same_cuboids
from tests.converters.tiny_recording import POINT_COUNT, assert_same_masks, tiny_clip, tiny_masklets, tiny_masks

GOLDEN = Path(__file__).with_name("golden")


def document(files: Mapping[str, Any], path: str) -> Any:
    return json.loads(file_bytes(files[path]))


def test_the_recording_comes_with_it(tmp_path: Path) -> None:
    clip = tiny_clip()
    write_whole_files({tmp_path / path: content for path, content in supervisely_files(clip, tiny_masklets()).items()})
    episode = tmp_path / "supervisely/tiny/tiny"
    names = json.loads((episode / "frame_pointcloud_map.json").read_text())
    assert names == {"0": "000000.pcd", "1": "000001.pcd", "2": "000002.pcd"}
    for index, frame in enumerate(clip.frames):
        sweep = parse_pcd((episode / "pointcloud" / names[str(index)]).read_bytes(), "sweep")
        np.testing.assert_array_equal(sweep.points_m, frame.load_sweep().points_m)
        folder = episode / f"related_images/{index:06d}_pcd"
        assert sorted(path.name for path in folder.glob("*.png")) == sorted(f"{index:06d}_{camera}.png" for camera in frame.load_images)
        for camera, load in frame.load_images.items():
            image = folder / f"{index:06d}_{camera}.png"
            np.testing.assert_array_equal(decode_image(image.read_bytes(), 24, 16, "image"), load())
            described = json.loads(image.with_name(f"{image.name}.json").read_text())
            assert (described["name"], described["meta"]["deviceId"]) == (image.name, camera)
            assert described["meta"].get("timestamp") == (
                None if frame.timestamp_ns is None else f"2023-11-14T22:13:20.{100_000_000 * index:09d}Z"
            )
            calibrated = clip.cameras[camera]
            cam_SE3_lidar = SE3.from_matrix([*np.reshape(described["meta"]["sensorsData"]["extrinsicMatrix"], (3, 4)), [0, 0, 0, 1]])
            np.testing.assert_allclose(cam_SE3_lidar.inverse().matrix, calibrated.lidar_SE3_cam.matrix, atol=1e-12)
            intrinsics = [[calibrated.fx_px, 0, calibrated.cx_px], [0, calibrated.fy_px, calibrated.cy_px], [0, 0, 1]]
            np.testing.assert_array_equal(np.reshape(described["meta"]["sensorsData"]["intrinsicMatrix"], (3, 3)), intrinsics)


def test_images_are_copied_as_they_are(tmp_path: Path) -> None:
    write_sequence(tiny_clip(), tmp_path / "drive")
    image = tmp_path / "drive/images/front/000001.png"
    image.write_bytes(image.read_bytes() + b"trailing bytes of an odd writer")
    files = supervisely_files(open_sequence(tmp_path / "drive"), ())
    write_whole_files({tmp_path / path: content for path, content in files.items()})
    copied = tmp_path / "supervisely/tiny/tiny/related_images/000001_pcd/000001_front.png"
    assert copied.read_bytes() == image.read_bytes()


def test_labels_equal_the_golden_ones() -> None:
    files = supervisely_files(tiny_clip(), tiny_masklets())
    found = {name: document(files, f"supervisely/tiny/{name}.json") for name in ("meta", "key_id_map", "tiny/annotation")}
    assert found == json.loads((GOLDEN / "supervisely.json").read_text())


def test_its_reader_gives_back_what_was_written(tmp_path: Path) -> None:
    clip, masklets = tiny_clip(), tiny_masklets()
    write_whole_files({tmp_path / path: content for path, content in supervisely_files(clip, masklets).items()})
    project = tmp_path / "supervisely/tiny"
    found = read_labels(project, open_sequence(project))
    assert [(each.object_id, each.label) for each in found] == [(k, each.label) for k, each in enumerate(masklets, start=1)]
    for one, other in zip(found, masklets, strict=True):
        assert_same_cuboids(
            {(0, index): box for index, box in one.cuboids.items()}, {(0, index): box for index, box in other.cuboids.items()}
        )
        assert list(one.masks) == list(other.masks)
        for index, masks in other.masks.items():
            seen = {name: mask for name, mask in masks.camera_masks.items() if mask.any()}
            assert_same_masks(one.masks[index], replace(masks, object_id=one.object_id, camera_masks=seen, score=1.0))


def test_an_object_that_only_an_image_shows(tmp_path: Path) -> None:
    """What no sweep shows has no points; with a cuboid it has those that stand in it."""
    clip = tiny_clip()
    masks = replace(tiny_masks(1, 0), lidar_mask=np.zeros(POINT_COUNT, dtype=np.bool_))
    cuboid = Cuboid((8.0, 0.0, 0.0), (6.0, 6.0, 6.0), 0.3)
    masklets = [Masklet(1, "Car", {0: masks}), Masklet(2, "Car", {0: replace(masks, object_id=2)}, {0: cuboid})]
    write_whole_files({tmp_path / path: content for path, content in supervisely_files(clip, masklets).items()})
    found = read_labels(tmp_path / "supervisely/tiny", open_sequence(tmp_path / "supervisely/tiny"))
    assert [int(each.masks[0].lidar_mask.sum()) > 0 for each in found] == [False, True]
    np.testing.assert_array_equal(found[1].masks[0].lidar_mask, standing_inside(clip.frames[0].load_sweep().points_m, cuboid))
    for each in found:
        np.testing.assert_array_equal(each.masks[0].camera_masks["front"], masks.camera_masks["front"])


def test_a_sweep_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Sweep:
        raise InputError("sweeps/000002.pcd", "points", "a broken disk")

    clip = tiny_clip()
    broken = replace(clip, frames=(*clip.frames[:2], replace(clip.frames[2], load_sweep=fail)))
    with pytest.raises(InputError, match="a broken disk"):
        write_whole_files({tmp_path / path: content for path, content in supervisely_files(broken, ()).items()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("timestamp_ns", [-1, 2**70])
def test_a_time_that_no_calendar_has_is_left_out(timestamp_ns: int) -> None:
    clip = tiny_clip()
    odd = replace(clip, frames=(replace(clip.frames[0], timestamp_ns=timestamp_ns),))
    described = document(supervisely_files(odd, ()), "supervisely/tiny/tiny/related_images/000000_pcd/000000_front.png.json")
    assert "timestamp" not in described["meta"]


def test_two_objects_of_one_id_are_refused() -> None:
    car, *_ = tiny_masklets()
    with pytest.raises(InputError, match="one masklet per object id"):
        supervisely_files(tiny_clip(), [car, car])
