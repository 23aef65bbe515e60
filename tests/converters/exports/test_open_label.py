"""OpenLABEL: valid by the standard's schema, read by kognic's models, and the inverse pair."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kognic.openlabel.models import OpenLabelAnnotation

from converters.exports import open_label_files, read_open_label, write_whole_files
from converters.exports.whole_output import file_bytes
from sam4d.geometry import SE3
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, Cuboid, InputError, Masklet
from tests.converters.tiny_recording import assert_same_masklets, assert_same_masks, tiny_clip, tiny_masklets


def document(clip: Clip, masklets: tuple[Masklet, ...]) -> dict[str, Any]:
    ((_, data),) = open_label_files(clip, masklets).items()
    parsed: dict[str, Any] = json.loads(file_bytes(data))
    return parsed


def assert_same(found: tuple[Masklet, ...], expected: tuple[Masklet, ...]) -> None:
    assert [(each.object_id, each.label) for each in found] == [(each.object_id, each.label) for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert list(one.masks) == list(other.masks)
        for frame_index, masks in other.masks.items():
            assert_same_masks(one.masks[frame_index], masks)
        assert set(one.cuboids) == set(other.cuboids)
        for frame_index, cuboid in other.cuboids.items():
            back = one.cuboids[frame_index]
            np.testing.assert_allclose([*back.center_m, *back.size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], atol=1e-9)
            assert abs(np.sin((back.yaw_rad - cuboid.yaw_rad) / 2)) < 1e-9


@pytest.mark.parametrize("cameras", [True, False])
@pytest.mark.parametrize("poses", [True, False])
def test_the_standards_schema_accepts_it(cameras: bool, poses: bool) -> None:
    schema = json.loads((importlib.resources.files("kognic.openlabel") / "schemas/openlabel-1-0-0.json").read_text())
    masklets = tiny_masklets() if cameras else ()
    jsonschema.validate(document(tiny_clip(cameras=cameras, poses=poses), masklets), schema)


def test_kognics_models_read_the_calibration_and_the_cuboids() -> None:
    clip, (car, *_) = tiny_clip(), tiny_masklets()
    label = OpenLabelAnnotation.model_validate(document(clip, tiny_masklets())).openlabel
    assert label.objects["1"].type == "Car"
    assert [(run.frame_start, run.frame_end) for run in label.objects["1"].frame_intervals] == [(0, 0), (2, 2)]
    values = label.frames["0"].objects["1"].object_data.cuboid[0].val
    np.testing.assert_allclose(values[:3] + values[7:], [*car.cuboids[0].center_m, *car.cuboids[0].size_lwh_m])
    pinhole = label.streams["front"].stream_properties["intrinsics_pinhole"]
    assert (pinhole["width_px"], pinhole["height_px"], pinhole["camera_matrix"][0], pinhole["camera_matrix"][6]) == (24, 16, 12.0, 8.0)
    pose = label.coordinate_systems["front"].pose_wrt_parent.root
    x, y, z, w = pose.quaternion
    lidar_SE3_cam = SE3.from_quaternion((w, x, y, z), pose.translation)
    np.testing.assert_allclose(lidar_SE3_cam.matrix, clip.cameras["front"].lidar_SE3_cam.matrix, atol=1e-12)
    assert document(clip, ())["openlabel"]["frames"]["1"]["frame_properties"]["timestamp"] == "1700000000100000000"


def test_every_object_of_the_synthetic_drive_comes_back(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    ((path, data),) = open_label_files(small_drive.clip, small_drive.masklets).items()
    write_whole_files({tmp_path / path: data})
    assert_same(read_open_label(tmp_path / path), tuple(small_drive.masklets))


metres = st.floats(-1e4, 1e4)


@given(center=st.tuples(metres, metres, metres), size=st.tuples(*[st.floats(0, 50)] * 3), yaw=st.floats(-np.pi, np.pi))
def test_any_cuboid_comes_back(tmp_path_factory: pytest.TempPathFactory, center: Any, size: Any, yaw: float) -> None:
    masklet = Masklet(3, "Car", {}, {1: Cuboid(center, size, yaw)})
    file = tmp_path_factory.mktemp("openlabel") / "label.json"
    file.write_bytes(file_bytes(open_label_files(tiny_clip(), [masklet])["openlabel/tiny.json"]))
    assert_same(read_open_label(file), (masklet,))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda root: root["frames"]["0"]["objects"]["1"]["object_data"]["cuboid"][0].update(val=[1] * 9), "cuboid.*10 numbers"),
        (lambda root: root["frames"]["0"]["objects"]["1"]["object_data"]["cuboid"][0]["val"].__setitem__(3, 0.5), "turns about z alone"),
        (lambda root: root["frames"]["0"]["objects"]["1"]["object_data"]["binary"][0].update(encoding="base64"), "coco-rle"),
        (lambda root: root["frames"]["0"]["objects"].update({"x": {}}), "a whole number as its key"),
        (lambda root: root["objects"].pop("7"), "one of the objects"),
        (lambda root: root["streams"].pop("front"), "one of the streams"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: Any, field: str) -> None:
    content = document(tiny_clip(), tiny_masklets())
    change(content["openlabel"])
    (tmp_path / "label.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=field):
        read_open_label(tmp_path / "label.json")


def test_the_tiny_drive_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    (tmp_path / "label.json").write_bytes(file_bytes(open_label_files(tiny_clip(), tiny_masklets())["openlabel/tiny.json"]))
    found = tuple(Masklet(each.object_id, each.label, each.masks) for each in read_open_label(tmp_path / "label.json"))
    assert_same_masklets(found, tuple(Masklet(each.object_id, each.label, each.masks) for each in tiny_masklets()))
