"""Supervisely episodes: the recording, its calibration, the cuboids and the points come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.exports import supervisely_files, write_sequence, write_whole_files
from converters.point_cloud_files import parse_pcd
from converters.sequences import open_sequence, read_cuboid_labels
from converters.sequences.image_file import decode_image
from converters.sequences.layouts import cuboid_masklets
from sam4d.geometry import SE3, BoolArray
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, Cuboid, InputError, Masklet, ObjectMasks, Sweep
from tests.converters.exports.same_cuboids import assert_same_cuboids, cuboids
from tests.converters.tiny_recording import FRAME_COUNT, POINT_COUNT, tiny_clip, tiny_masklets

GOLDEN = Path(__file__).with_name("golden")
QUARTER_TURN_RAD = np.pi / 2


def document(files: Mapping[str, Any], path: str) -> Any:
    return json.loads(files[path])


def read_labels(files: Mapping[str, Any], name: str, point_count: int) -> tuple[dict[Any, Cuboid], dict[Any, BoolArray]]:
    """Cuboids and points by (label, object id, frame index), as Supervisely describes its figures."""
    annotation = document(files, f"supervisely/{name}/{name}/annotation.json")
    ids = document(files, f"supervisely/{name}/key_id_map.json")
    assert ids["videos"] == {annotation["key"]: 1}
    titles = {each["title"] for each in document(files, f"supervisely/{name}/meta.json")["classes"]}
    objects = {each["key"]: (each["classTitle"], ids["objects"][each["key"]]) for each in annotation["objects"]}
    assert {label for label, _ in objects.values()} <= titles
    boxes, points = {}, {}
    seen = set()
    for frame in annotation["frames"]:
        for figure in frame["figures"]:
            seen.add(figure["key"])
            key, geometry = (*objects[figure["objectKey"]], frame["index"]), figure["geometry"]
            if figure["geometryType"] == "cuboid_3d":
                center_m, rotation, size_m = ([geometry[part][axis] for axis in "xyz"] for part in ("position", "rotation", "dimensions"))
                assert rotation[:2] == [0, 0]
                # x is the width, y the length, and a box without a turn looks along +y.
                lwh_m = (size_m[1], size_m[0], size_m[2])
                boxes[key] = Cuboid((center_m[0], center_m[1], center_m[2]), lwh_m, rotation[2] + QUARTER_TURN_RAD)
            else:
                assert figure["geometryType"] == "point_cloud"
                points[key] = np.isin(np.arange(point_count), geometry["indices"])
    assert seen == set(ids["figures"])
    assert len(set(ids["figures"].values())) == len(seen)
    return boxes, points


def assert_labels_come_back(clip: Clip, masklets: tuple[Masklet, ...], point_count: int) -> int:
    boxes, points = read_labels(supervisely_files(clip, masklets), clip.name, point_count)
    assert_same_cuboids(boxes, {(each.label, each.object_id, index): box for each in masklets for index, box in each.cuboids.items()})
    expected = {
        (each.label, each.object_id, index): masks.lidar_mask
        for each in masklets
        for index, masks in each.masks.items()
        if masks.lidar_mask.any()
    }
    assert set(points) == set(expected)
    for key, mask in expected.items():
        np.testing.assert_array_equal(points[key][: len(mask)], mask)
        assert not points[key][len(mask) :].any()
    return len(boxes) + len(points)


def points_on(frame_index: int) -> st.SearchStrategy[ObjectMasks]:
    return arrays.arrays(np.bool_, POINT_COUNT).map(lambda mask: ObjectMasks(0, frame_index, {}, mask, 0.5))


objects = st.lists(
    st.builds(
        lambda label, boxes, masks: Masklet(0, label, masks, boxes),
        st.text(min_size=1, max_size=12),
        st.dictionaries(st.integers(0, FRAME_COUNT - 1), cuboids),
        st.fixed_dictionaries({}, optional={index: points_on(index) for index in range(FRAME_COUNT)}),
    ),
    max_size=4,
).map(lambda found: tuple(replace(each, object_id=number) for number, each in enumerate(found, start=3)))


@given(masklets=objects)
def test_any_cuboids_and_points_come_back(masklets: tuple[Masklet, ...]) -> None:
    assert_labels_come_back(tiny_clip(), masklets, POINT_COUNT)


def test_every_object_of_the_synthetic_drive_comes_back(small_drive: SyntheticDrive) -> None:
    count = max(len(frame.load_sweep()) for frame in small_drive.clip.frames)
    assert assert_labels_come_back(small_drive.clip, tuple(small_drive.masklets), count) > 40


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


@pytest.mark.parametrize("name", ["pandaset_001", "kitti_tracking_0000", "av2_7fab2350"])
def test_real_cuboids_survive(shared_data: Path, name: str) -> None:
    clip, masklets = open_sequence(shared_data / name), cuboid_masklets(read_cuboid_labels(shared_data / name))
    assert assert_labels_come_back(clip, masklets, 0) > 60
