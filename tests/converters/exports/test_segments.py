"""Segments.ai: cuboids, points and masks come back, and the service's own models take sample and label."""

from __future__ import annotations

import io
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
from PIL import Image

from converters.exports import FileContent, segments_files, write_whole_files
from converters.exports.point_labels import point_owners
from converters.exports.segments import ego_poses, pixel_owners
from converters.sequences import open_sequence, read_cuboid_labels
from converters.sequences.layouts import cuboid_masklets
from sam4d.geometry import SE3, wrap_angle
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Cuboid, InputError, Masklet, ObjectMasks
from tests.converters.exports.peers import ask_peer, needs_peers
from tests.converters.exports.same_cuboids import assert_same_cuboids, cuboids
from tests.converters.tiny_recording import FRAME_COUNT, POINT_COUNT, tiny_clip, tiny_masklets, tiny_masks

GOLDEN = Path(__file__).with_name("golden")


def document(files: Mapping[str, FileContent], path: str) -> Any:
    content = files[path]
    return json.loads(content if isinstance(content, bytes) else content())


def pose_of(place: Mapping[str, float], turn: Mapping[str, float]) -> SE3:
    return SE3.from_quaternion([turn[key] for key in ("qw", "qx", "qy", "qz")], [place[axis] for axis in "xyz"])


def sensors_of(files: Mapping[str, FileContent], path: str) -> dict[str, Any]:
    return {sensor["name"]: sensor["attributes"]["frames"] for sensor in document(files, path)["sensors"]}


def read_cuboids(files: Mapping[str, FileContent], name: str) -> dict[tuple[str, int, int], Cuboid]:
    labels = {each["id"]: each["name"] for each in document(files, f"segments/{name}/categories.json")["categories"]}
    clouds, frames = sensors_of(files, f"segments/{name}/sample.json")["lidar"], sensors_of(files, f"segments/{name}/label.json")["lidar"]
    found = {}
    for index, (cloud, frame) in enumerate(zip(clouds, frames, strict=True)):
        ego = cloud.get("ego_pose")
        world_SE3_lidar = SE3.identity() if ego is None else pose_of(ego["position"], ego["heading"])
        for each in frame["annotations"]:
            assert (each["type"], each["index"]) == ("cuboid", index)
            world_SE3_cuboid = pose_of(each["position"], each["rotation"])
            if np.linalg.norm(world_SE3_cuboid.rotation[:2, 0]) > 1e-3:  # one that stands on end has no heading
                assert abs(wrap_angle(each["yaw"] - world_SE3_cuboid.yaw_rad)) < 1e-9
            pose = world_SE3_lidar.inverse() @ world_SE3_cuboid
            x, y, z = pose.translation_m.tolist()
            size = each["dimensions"]
            found[labels[each["category_id"]], each["track_id"], index] = Cuboid((x, y, z), (size["x"], size["y"], size["z"]), pose.yaw_rad)
    return found


def expected_cuboids(masklets: tuple[Masklet, ...]) -> dict[tuple[str, int, int], Cuboid]:
    return {(each.label, each.object_id, index): cuboid for each in masklets for index, cuboid in each.cuboids.items()}


def read_bitmap(files: Mapping[str, FileContent], path: str) -> np.typing.NDArray[np.int64]:
    content = files[path]
    with Image.open(io.BytesIO(content if isinstance(content, bytes) else content())) as image:
        channels = np.asarray(image).astype(np.int64)
    assert image.mode == "RGBA"
    assert (channels[:, :, 3] == 255).all()
    return channels[:, :, 0] | channels[:, :, 1] << 8 | channels[:, :, 2] << 16


quaternions = arrays.arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)
places = st.tuples(*[st.floats(-1e5, 1e5)] * 3)


@given(
    boxes=st.dictionaries(st.integers(0, FRAME_COUNT - 1), cuboids, min_size=1),
    label=st.text(min_size=1, max_size=12),
    turns=st.lists(quaternions, min_size=FRAME_COUNT, max_size=FRAME_COUNT),
    origin=places,
)
def test_any_cuboid_comes_back_through_the_world(boxes: dict[int, Cuboid], label: str, turns: list[Any], origin: Any) -> None:
    clip = tiny_clip()
    poses = [SE3.from_quaternion(turn / np.linalg.norm(turn), np.add(origin, index)) for index, turn in enumerate(turns)]
    clip = replace(clip, frames=tuple(replace(frame, world_SE3_lidar=pose) for frame, pose in zip(clip.frames, poses, strict=True)))
    masklets = (Masklet(4, label, {}, boxes),)
    assert_same_cuboids(read_cuboids(segments_files(clip, masklets), clip.name), expected_cuboids(masklets))


def test_without_a_pose_on_every_frame_cuboids_are_in_the_lidars_frame() -> None:
    clip = tiny_clip()
    broken = replace(clip, frames=(replace(clip.frames[0], world_SE3_lidar=None), *clip.frames[1:]))
    assert ego_poses(broken) is None
    for without in (broken, tiny_clip(poses=False)):
        files = segments_files(without, tiny_masklets())
        (each,) = sensors_of(files, "segments/tiny/label.json")["lidar"][0]["annotations"]
        assert tuple(each["position"].values()) == tiny_masklets()[0].cuboids[0].center_m
        assert "ego_pose" not in sensors_of(files, "segments/tiny/sample.json")["lidar"][1]
    first = sensors_of(segments_files(clip, ()), "segments/tiny/sample.json")["lidar"][0]["ego_pose"]
    assert first["position"] == {"x": 0, "y": 0, "z": 0}


@given(
    masks=st.lists(
        st.tuples(arrays.arrays(np.bool_, (16, 24)), arrays.arrays(np.bool_, POINT_COUNT), st.sampled_from([0.2, 0.5, 0.9])), max_size=4
    )
)
def test_every_point_and_pixel_has_its_surest_owner(masks: list[Any]) -> None:
    masklets = tuple(
        Masklet(number, "Car", {1: ObjectMasks(number, 1, {"front": front}, points, score)})
        for number, (front, points, score) in enumerate(masks, start=70_000)
    )
    files = segments_files(tiny_clip(), masklets)
    label = sensors_of(files, "segments/tiny/label.json")
    frame = label["lidar points"][1]
    owners = np.array(frame["point_annotations"])
    np.testing.assert_array_equal(owners, np.maximum(point_owners(masklets, 1, POINT_COUNT, "").object_ids, 0))
    assert {each["track_id"] for each in frame["annotations"]} == set(owners[owners > 0].tolist())
    shown = label["front"][1]
    expected = np.zeros((16, 24), dtype=np.int64)
    for masklet in sorted(masklets, key=lambda each: (each.masks[1].score, -each.object_id)):
        expected[masklet.masks[1].camera_masks["front"]] = masklet.object_id
    if expected.any():
        found = read_bitmap(files, f"segments/tiny/{shown['segmentation_bitmap']['url']}")
        np.testing.assert_array_equal(found, expected)
    else:
        assert "segmentation_bitmap" not in shown
    assert {each["id"] for each in shown["annotations"]} == set(expected[expected > 0].tolist())


def test_masks_of_the_synthetic_drive_come_back(small_drive: SyntheticDrive) -> None:
    clip, masklets = small_drive.clip, tuple(small_drive.masklets)
    files = segments_files(clip, masklets)
    assert_same_cuboids(read_cuboids(files, clip.name), expected_cuboids(masklets))
    label = sensors_of(files, f"segments/{clip.name}/label.json")
    compared = 0
    for masklet in masklets:
        for index, masks in masklet.masks.items():
            np.testing.assert_array_equal(
                np.array(label["lidar points"][index]["point_annotations"]) == masklet.object_id, masks.lidar_mask
            )
            for camera, mask in masks.camera_masks.items():
                if mask.any():
                    bitmap = read_bitmap(files, f"segments/{clip.name}/{label[camera][index]['segmentation_bitmap']['url']}")
                    np.testing.assert_array_equal(bitmap == masklet.object_id, mask)
                    compared += 1
    assert compared > 20


def test_cameras_keep_their_lens_and_their_convention() -> None:
    clip = tiny_clip()
    sample = sensors_of(segments_files(clip, ()), "segments/tiny/sample.json")
    assert [image["name"] for image in sample["lidar"][1]["images"]] == ["front"]
    assert [len(sample[camera]) for camera in ("front", "rear")] == [3, 2], "rear has no image on one frame"
    (image,) = sample["lidar"][1]["images"]
    assert image["camera_convention"] == "OpenCV"
    assert image["distortion"] == {"model": "brown-conrady", "coefficients": {"k1": 0.01, "k2": -0.02, "p1": 0.001, "p2": 0.0, "k3": 0.0}}
    assert image["intrinsics"]["intrinsic_matrix"] == [[12.0, 0.0, 12.25], [0.0, 12.5, 8.0], [0.0, 0.0, 1.0]]
    found = pose_of(image["extrinsics"]["translation"], image["extrinsics"]["rotation"])
    np.testing.assert_allclose(found.matrix, clip.cameras["front"].lidar_SE3_cam.matrix, atol=1e-12)
    times = [frame.get("timestamp") for frame in sample["lidar"]]
    assert times == [frame.timestamp_ns for frame in clip.frames]


def test_the_label_equals_the_golden_one() -> None:
    files = segments_files(tiny_clip(), tiny_masklets())
    found = {name: document(files, f"segments/tiny/{name}.json") for name in ("categories", "sample", "label")}
    assert found == json.loads((GOLDEN / "segments.json").read_text())


READ = """
import io, json, sys
from pathlib import Path
import numpy
from PIL import Image
from segments import typing
from segments.utils import bitmap2file
folder = Path(sys.argv[1])
sample = typing.MultiSensorSampleAttributes.model_validate_json((folder / "sample.json").read_text())
label = typing.MultiSensorLabelAttributes.model_validate_json((folder / "label.json").read_text())
by_name = {sensor.name: sensor for sensor in label.sensors}
cuboid = by_name["lidar"].attributes.frames[0].annotations[0]
same = 0
for path in sorted(folder.glob("bitmaps/*/*.png")):
    mine = numpy.asarray(Image.open(path))
    ids = numpy.array(mine).view(numpy.uint32)[:, :, 0] & 0xFFFFFF
    theirs = numpy.asarray(Image.open(bitmap2file(ids.astype(numpy.uint32))))
    assert (mine == theirs).all()
    same += 1
print(json.dumps({
    "kinds": {sensor.name: type(sensor).__name__ for sensor in label.sensors},
    "frames": {sensor.name: len(sensor.attributes.frames) for sensor in sample.sensors},
    "points": [len(frame.point_annotations) for frame in by_name["lidar points"].attributes.frames],
    "convention": sample.sensors[0].attributes.frames[0].images[0].camera_convention,
    "size": [cuboid.dimensions.x, cuboid.dimensions.y, cuboid.dimensions.z], "track": cuboid.track_id,
    "bitmaps": same,
}))
"""


@needs_peers
def test_their_own_models_take_it(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    clip, masklets = small_drive.clip, tuple(small_drive.masklets)
    write_whole_files({tmp_path / path: content for path, content in segments_files(clip, masklets).items()})
    found = ask_peer(READ, tmp_path / "segments" / clip.name)
    assert found["kinds"] == {
        "lidar": "MultiSensorPointcloudSequenceCuboidLabelAttributes",
        "lidar points": "MultiSensorPointcloudSequenceSegmentationLabelAttributes",
        **dict.fromkeys(clip.cameras, "MultiSensorImageSequenceSegmentationLabelAttributes"),
    }
    assert found["frames"] == dict.fromkeys(["lidar", "lidar points", *clip.cameras], len(clip))
    assert found["points"] == [len(frame.load_sweep()) for frame in clip.frames]
    assert found["convention"] == "OpenCV"
    first = next(masklet for masklet in masklets if 0 in masklet.cuboids)
    assert (found["track"], found["size"]) == (first.object_id, list(first.cuboids[0].size_lwh_m))
    assert found["bitmaps"] > 4


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    clip, (car, *_) = tiny_clip(), tiny_masklets()
    with pytest.raises(InputError, match="one masklet per object id"):
        segments_files(clip, [car, car])
    for object_id in (0, 2**24):
        with pytest.raises(InputError, match=f"from 1 to 16777215, found {object_id}"):
            segments_files(clip, [replace(car, object_id=object_id)])
    short = ObjectMasks(1, 0, {}, np.ones(6, dtype=np.bool_), 0.5)
    with pytest.raises(InputError, match="object 1 on frame 0: expected a mask of 60 points, found 6"):
        write_whole_files({tmp_path / path: content for path, content in segments_files(clip, [replace(car, masks={0: short})]).items()})
    assert list(tmp_path.iterdir()) == []


def test_large_object_ids_fill_all_three_bytes() -> None:
    masklet = Masklet(0xABCDEF, "Car", {0: tiny_masks(0xABCDEF, 0)})
    found = read_bitmap(segments_files(tiny_clip(), [masklet]), "segments/tiny/bitmaps/front/000000.png")
    np.testing.assert_array_equal(found, pixel_owners(tiny_clip().cameras["front"], [masklet], 0))
    assert set(np.unique(found).tolist()) == {0, 0xABCDEF}


@pytest.mark.parametrize("name", ["pandaset_001", "kitti_tracking_0000", "av2_7fab2350"])
def test_real_cuboids_survive(shared_data: Path, name: str) -> None:
    clip, masklets = open_sequence(shared_data / name), cuboid_masklets(read_cuboid_labels(shared_data / name))
    assert len(expected_cuboids(masklets)) > 60
    assert_same_cuboids(read_cuboids(segments_files(clip, masklets), clip.name), expected_cuboids(masklets))
