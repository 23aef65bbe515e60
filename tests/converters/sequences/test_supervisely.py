"""Supervisely episodes as they are downloaded; and one line where something is missing or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.point_cloud_files import format_pcd
from converters.sequences import open_sequence, read_labels
from converters.sequences.bitmap_figures import encode_bitmap
from sam4d.geometry import BoolArray
from sam4d.structures import Clip, Cuboid, InputError
from tests.converters.sequences.recordings import assert_same_recording, straight, write_image
from tests.converters.tiny_recording import POINT_COUNT, tiny_clip

CAR, PERSON = Cuboid((8.0, 1.0, -0.5), (4.5, 1.9, 1.6), 0.4), Cuboid((3.0, -2.0, 0.0), (0.7, 0.6, 1.8), -3.0)
POINTS = [3, 8, 59]
PERSON_KEY, PERSON_KEY_IN_IMAGES = "bd5680d676b64f13a2ffabcdef144b27", "BD5680D6-76b6-4f13-a2ff-abcdef144b27"
FIGURES = "related_images/scene_2_pcd/2-front.png.figures.json"


def cuboid_figure(key: str, cuboid: Cuboid) -> dict[str, Any]:
    length, width, height = cuboid.size_lwh_m
    geometry = {
        "position": dict(zip("xyz", cuboid.center_m, strict=True)),
        "rotation": {"x": 0, "y": 0, "z": cuboid.yaw_rad - np.pi / 2},
        "dimensions": {"x": width, "y": length, "z": height},
    }
    return {"key": f"f{key}", "objectKey": key, "geometryType": "cuboid_3d", "geometry": geometry}


def write_supervisely(project: Path, clip: Clip) -> Path:
    episode = project / "episode_1"
    (episode / "pointcloud").mkdir(parents=True)
    for index, frame in enumerate(clip.frames):
        (episode / f"pointcloud/scene.{index}.pcd").write_bytes(format_pcd(frame.load_sweep()))
        for name, load in frame.load_images.items():
            camera = clip.cameras[name]
            image = episode / f"related_images/scene_{index}_pcd/{index}-{name}.png"
            write_image(image, load())
            sensors = {
                "intrinsicMatrix": [camera.fx_px, 0, camera.cx_px, 0, camera.fy_px, camera.cy_px, 0, 0, 1],
                "extrinsicMatrix": camera.lidar_SE3_cam.inverse().matrix[:3].ravel().tolist(),
            }
            image.with_name(f"{image.name}.json").write_text(
                json.dumps({"name": image.name, "meta": {"deviceId": name, "sensorsData": sensors}})
            )
    (episode / "related_images/scene_0_pcd/notes.png").write_bytes(b"an image without a place")
    # In any order, and not from 0 on.
    (episode / "frame_pointcloud_map.json").write_text(json.dumps({"7": "scene.2.pcd", "5": "scene.0.pcd", "6": "scene.1.pcd"}))
    objects = [{"key": key, "classTitle": title, "tags": []} for key, title in (("k1", "Car"), (PERSON_KEY, "Person"), ("k3", "Car"))]
    points = {"key": "p", "objectKey": PERSON_KEY, "geometryType": "point_cloud", "geometry": {"indices": POINTS}}
    frames = [
        {"index": 5, "figures": [cuboid_figure("k1", CAR), cuboid_figure(PERSON_KEY, PERSON)]},
        {"index": 7, "figures": [cuboid_figure("k1", CAR), points]},
    ]
    annotation = {"description": "", "key": "e", "tags": [], "framesCount": 3, "objects": objects, "frames": frames}
    (episode / "annotation.json").write_text(json.dumps(annotation))
    front: BoolArray = np.array([[True, False, True]])
    figures = [
        {"objectKey": PERSON_KEY_IN_IMAGES, "geometryType": "bitmap", "geometry": {"bitmap": encode_bitmap(front, 20, 15)}, "id": 7},
        {"objectKey": PERSON_KEY_IN_IMAGES, "geometryType": "bitmap", "geometry": {"bitmap": encode_bitmap(~front, 20, 14)}, "id": 8},
        {"objectKey": "k1", "geometryType": "rectangle", "geometry": {"points": {"exterior": [[0, 0], [1, 1]]}}},
        {"objectKey": None, "geometryType": "bitmap", "geometry": {"bitmap": {"data": "of no object", "origin": [0, 0]}}},
    ]
    (episode / FIGURES).write_text(json.dumps(figures))
    (project / "meta.json").write_text(json.dumps({"classes": [{"title": "Car"}, {"title": "Person"}], "tags": []}))
    return episode


def test_recording_comes_back(tmp_path: Path) -> None:
    tiny = straight(tiny_clip(poses=False))
    episode = write_supervisely(tmp_path, tiny)
    for place in (tmp_path, episode):
        found = open_sequence(place)
        assert found.name == "episode_1"
        assert_same_recording(found, tiny, poses=False)
        assert [frame.world_SE3_lidar for frame in found.frames] == [None] * 3


def test_an_image_says_when(tmp_path: Path) -> None:
    episode = write_supervisely(tmp_path, straight(tiny_clip()))
    file = episode / "related_images/scene_1_pcd/1-front.png.json"
    document = json.loads(file.read_text())
    document["meta"]["timestamp"] = "2023-11-14T22:13:20.1234567Z"
    file.write_text(json.dumps(document))
    assert [frame.timestamp_ns for frame in open_sequence(tmp_path).frames] == [None, 1_700_000_000_123_456_700, None]
    document["meta"]["timestamp"] = "2023-13-14T22:13:20Z"
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"meta.timestamp: expected a time, found '2023-13"):
        open_sequence(tmp_path)


def test_labels_come_back(tmp_path: Path) -> None:
    write_supervisely(tmp_path, tiny_clip())
    found = open_sequence(tmp_path)
    car, person = read_labels(tmp_path, found)
    assert (car.object_id, car.label, dict(car.masks)) == (1, "Car", {})
    assert (person.object_id, person.label) == (2, "Person")
    assert (list(car.cuboids), list(person.cuboids), list(person.masks)) == ([0, 2], [0], [2])
    assert np.flatnonzero(person.masks[2].lidar_mask).tolist() == POINTS
    assert len(person.masks[2].lidar_mask) == POINT_COUNT
    assert set(person.masks[2].camera_masks) == {"front"}
    assert np.argwhere(person.masks[2].camera_masks["front"]).tolist() == [[14, 21], [15, 20], [15, 22]]
    for back, cuboid in ((car.cuboids[0], CAR), (person.cuboids[0], PERSON)):
        np.testing.assert_allclose([*back.center_m, *back.size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], atol=1e-12)
        assert abs(np.sin((back.yaw_rad - cuboid.yaw_rad) / 2)) < 1e-12


def test_without_annotation_there_are_no_labels(tmp_path: Path) -> None:
    episode = write_supervisely(tmp_path, straight(tiny_clip()))
    (episode / "annotation.json").unlink()
    assert read_labels(tmp_path, open_sequence(tmp_path)) == ()


def test_cameras_are_called_by_their_images_where_no_device_is_named(tmp_path: Path) -> None:
    episode = write_supervisely(tmp_path, straight(tiny_clip()))
    for file in episode.glob("related_images/*/*.png.json"):
        document = json.loads(file.read_text())
        del document["meta"]["deviceId"]
        file.write_text(json.dumps(document))
    assert set(open_sequence(tmp_path).cameras) >= {"0-front", "0-rear"}


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "annotation.json",
            lambda d: d["objects"][0].update(classTitle="Tree"),
            r"objects\[0\].classTitle: expected one of the classes Car, Person",
        ),
        ("annotation.json", lambda d: d["frames"][0].update(index=3), r"frames\[0\].index: expected a frame of frame_pointcloud_map.json"),
        (
            "annotation.json",
            lambda d: d["frames"][1]["figures"][0].update(objectKey="k9"),
            "objectKey: expected the key of one of the objects",
        ),
        (
            "annotation.json",
            lambda d: d["frames"][1]["figures"][1]["geometry"].update(indices=[60]),
            r"indices\[0\]: expected a whole number from 0 to 59",
        ),
        ("annotation.json", lambda d: d["frames"][0]["figures"][1].update(objectKey="k1"), "expected one cuboid per object and frame"),
        ("annotation.json", lambda d: d["frames"][0]["figures"][0]["geometry"]["dimensions"].update(x=-1), "dimensions: expected lengths"),
        ("annotation.json", lambda d: d["objects"][2].update(key="K-1"), r"objects\[2\].key: expected keys that differ, found 'K-1'"),
        (FIGURES, lambda d: d[0].update(objectKey="k9"), r"figures.json: \[0\].objectKey: expected the key of one of the objects"),
        (FIGURES, lambda d: d[1]["geometry"]["bitmap"].update(origin=[22, 0]), r"\[1\].geometry.bitmap: expected a part of the image"),
        (FIGURES, lambda d: d[1]["geometry"].pop("bitmap"), r"\[1\].geometry.bitmap: expected a value, found nothing"),
        ("annotation.json", lambda d: d.pop("objects"), "objects: expected a value"),
        ("frame_pointcloud_map.json", lambda d: d.update({"5": "../../x.pcd"}), "expected a path inside the sequence's folder"),
        ("frame_pointcloud_map.json", lambda d: d.update({"5": "none.pcd"}), "none.pcd: expected a readable file, found no such file"),
        ("frame_pointcloud_map.json", lambda d: d.update({"one": "scene.0.pcd"}), "expected the number of a frame, found 'one'"),
        ("frame_pointcloud_map.json", lambda d: d.clear(), "expected at least one frame"),
        (
            "related_images/scene_0_pcd/0-front.png.json",
            lambda d: d["meta"]["sensorsData"].pop("extrinsicMatrix"),
            "extrinsicMatrix: expected a value",
        ),
        (
            "related_images/scene_0_pcd/0-front.png.json",
            lambda d: d["meta"]["sensorsData"].update(extrinsicMatrix=[2.0] * 12),
            "expected a rotation",
        ),
        (
            "related_images/scene_0_pcd/0-front.png.json",
            lambda d: d["meta"]["sensorsData"].update(intrinsicMatrix=[0.0] * 9),
            "focal lengths above 0",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, file: str, change: Callable[[Any], object], message: str) -> None:
    episode = write_supervisely(tmp_path, straight(tiny_clip()))
    document = json.loads((episode / file).read_text())
    change(document)
    (episode / file).write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        _read_all(tmp_path)


def _read_all(place: Path) -> None:
    clip = open_sequence(place)
    for frame in clip.frames:
        frame.load_sweep()
    read_labels(place, clip)
