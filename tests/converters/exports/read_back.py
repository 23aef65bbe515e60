"""Exports read back: by the product's own readers, and of the layouts that it only writes by what their makers say of them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element

import cv2
import numpy as np
from defusedxml import ElementTree
from numpy.typing import NDArray
from PIL import Image

from converters.exports import LabelFormat, read_coco, read_open_label, read_semantic_kitti
from converters.sequences import open_sequence, read_labels, read_masklets
from converters.sequences.kitti_tracking_labels import read_kitti_tracking
from converters.sequences.waymo_4dseg import read_waymo_4dseg_labels
from sam4d.geometry import SE3, BoolArray, wrap_angle
from sam4d.structures import Clip, Cuboid, Masklet

Cuboids: TypeAlias = dict[tuple[int, int], Cuboid]
"""By object id and frame index."""
Points: TypeAlias = dict[tuple[int, int], BoolArray]
"""By object id and frame index, where they are not empty."""
Masks: TypeAlias = dict[tuple[int, int, str], BoolArray]
"""By object id, frame index and camera, where they are not empty."""


@dataclass(frozen=True)
class Labels:
    """The label of every object id that the layout shows, and the parts that it holds; those that it does not are None."""

    labels: dict[int, str]
    cuboids: Cuboids | None = None
    points: Points | None = None
    masks: Masks | None = None


def labels_of(masklets: Sequence[Masklet]) -> dict[int, str]:
    return {each.object_id: each.label for each in masklets}


def cuboids_of(masklets: Sequence[Masklet]) -> Cuboids:
    return {(each.object_id, index): box for each in masklets for index, box in each.cuboids.items()}


def points_of(masklets: Sequence[Masklet]) -> Points:
    return {(each.object_id, index): masks.lidar_mask for each in masklets for index, masks in each.masks.items() if masks.lidar_mask.any()}


def masks_of(masklets: Sequence[Masklet]) -> Masks:
    return {
        (each.object_id, index, name): mask
        for each in masklets
        for index, masks in each.masks.items()
        for name, mask in masks.camera_masks.items()
        if mask.any()
    }


def everything_of(masklets: Sequence[Masklet]) -> Labels:
    return Labels(labels_of(masklets), cuboids_of(masklets), points_of(masklets), masks_of(masklets))


def _sequence_folder(folder: Path, clip: Clip) -> Labels:
    return everything_of(read_masklets(folder / clip.name, clip))


def _open_label(folder: Path, clip: Clip) -> Labels:
    return everything_of(read_open_label(folder / f"openlabel/{clip.name}.json"))


def _kitti_tracking(folder: Path, clip: Clip) -> Labels:
    items = [item for item in read_kitti_tracking(folder, clip.name) if item.cuboid is not None]
    boxes = {(item.track_id, item.frame_index): item.cuboid for item in items if item.cuboid is not None}
    return Labels({item.track_id: item.label for item in items}, boxes)


def _nuscenes(folder: Path, clip: Clip) -> Labels:
    masklets = read_labels(folder / clip.name, open_sequence(folder / clip.name))
    return Labels(labels_of(masklets), cuboids_of(masklets))


def _waymo_4dseg(folder: Path, clip: Clip) -> Labels:
    masklets = read_waymo_4dseg_labels(folder, clip.name, clip)
    return Labels(labels_of(masklets), points=points_of(masklets), masks=masks_of(masklets))


def _coco(folder: Path, clip: Clip) -> Labels:
    masklets = read_coco(folder / f"coco/{clip.name}.json", clip)
    return Labels(labels_of(masklets), masks=masks_of(masklets))


def _semantic_kitti(folder: Path, clip: Clip) -> Labels:
    frames, classes = read_semantic_kitti(folder, clip.name)
    names = {number: label for label, number in classes.items()}
    points: Points = {}
    labels = {}
    for index, frame in enumerate(frames):
        points |= owned(frame.instances, index)
        for number in np.unique(frame.instances[frame.instances > 0]).tolist():
            (labels[number],) = {names[each] for each in frame.classes[points[number, index]].tolist()}
    return Labels(labels, points=points)


def owned(object_ids: NDArray[np.integer], frame_index: int) -> Points:
    """From the object id of every point, 0 where there is none."""
    return {(number, frame_index): np.asarray(object_ids == number) for number in np.unique(object_ids[object_ids > 0]).tolist()}


def _cvat_datumaro(folder: Path, clip: Clip) -> Labels:
    content = read_json(folder / f"cvat/{clip.name}/annotations/default.json")
    names = [label["name"] for label in content["categories"]["label"]["labels"]]
    labels, boxes = {}, {}
    for item in content["items"]:
        for each in item["annotations"]:
            assert (each["type"], each["rotation"][:2]) == ("cuboid_3d", [0, 0])
            number = each["attributes"]["track_id"]
            labels[number] = names[each["label_id"]]
            boxes[number, item["attr"]["frame"]] = Cuboid(tuple(each["position"]), tuple(each["scale"]), each["rotation"][2])
    return Labels(labels, boxes)


def _cvat_tracklets(folder: Path, clip: Clip) -> Labels:
    """As CVAT's reader does: w, h and l are the sizes along x, y and z, and poses count up from the first frame."""
    root = ElementTree.fromstring((folder / f"cvat/{clip.name}/tracklet_labels.xml").read_bytes())
    items = root.findall("tracklets/item")
    assert int(text_of(root, "tracklets/count")) == len(items)
    labels, boxes = {}, {}
    for item in items:
        poses = item.findall("poses/item")
        assert int(text_of(item, "poses/count")) == len(poses)
        length_m, width_m, height_m = (float(text_of(item, key)) for key in ("w", "h", "l"))
        number = int(text_of(item, "attributes/attribute/value"))
        labels[number] = text_of(item, "objectType")
        for index, pose in enumerate(poses, start=int(text_of(item, "first_frame"))):
            x_m, y_m, z_m = (float(text_of(pose, key)) for key in ("tx", "ty", "tz"))
            boxes[number, index] = Cuboid((x_m, y_m, z_m), (length_m, width_m, height_m), float(text_of(pose, "rz")))
    return Labels(labels, boxes)


def text_of(element: Element, path: str) -> str:
    found = element.findtext(path)
    assert found is not None
    return found


def _supervisely(folder: Path, clip: Clip) -> Labels:
    project = folder / f"supervisely/{clip.name}"
    annotation, ids = read_json(project / clip.name / "annotation.json"), read_json(project / "key_id_map.json")
    assert ids["videos"] == {annotation["key"]: 1}
    assert annotation["framesCount"] == len(clip)
    objects = {each["key"]: (ids["objects"][each["key"]], each["classTitle"]) for each in annotation["objects"]}
    assert {title for _, title in objects.values()} == {each["title"] for each in read_json(project / "meta.json")["classes"]}
    boxes: Cuboids = {}
    points: Points = {}
    figures = set()
    for frame in annotation["frames"]:
        point_count = len(clip.frames[frame["index"]].load_sweep())
        for figure in frame["figures"]:
            figures.add(figure["key"])
            key, geometry = (objects[figure["objectKey"]][0], frame["index"]), figure["geometry"]
            if figure["geometryType"] == "cuboid_3d":
                position, rotation, dimensions = (geometry[part] for part in ("position", "rotation", "dimensions"))
                assert (rotation["x"], rotation["y"]) == (0, 0)
                # x is the width, y the length, and a box without a turn looks along +y.
                boxes[key] = Cuboid(
                    (position["x"], position["y"], position["z"]),
                    (dimensions["y"], dimensions["x"], dimensions["z"]),
                    rotation["z"] + np.pi / 2,
                )
            else:
                assert figure["geometryType"] == "point_cloud"
                points[key] = np.isin(np.arange(point_count), geometry["indices"])
    assert figures == set(ids["figures"])
    assert len(set(ids["figures"].values())) == len(figures)
    masks = {}
    names = [Path(name).stem for name in read_json(project / clip.name / "frame_pointcloud_map.json").values()]
    for file in (project / clip.name).glob("related_images/*/*.figures.json"):
        described = read_json(file.with_name(file.name.replace(".figures.json", ".json")))["meta"]["deviceId"]
        for figure in read_json(file):
            bitmap = figure["geometry"]["bitmap"]
            mask: BoolArray = np.zeros((clip.cameras[described].height_px, clip.cameras[described].width_px), dtype=np.bool_)
            part = supervisely_bitmap(bitmap["data"])
            left, top = bitmap["origin"]
            mask[top : top + part.shape[0], left : left + part.shape[1]] = part
            number = objects[figure["objectKey"]][0]
            masks[number, names.index(file.parent.name.removesuffix("_pcd")), described] = mask
    return Labels(dict(objects.values()), boxes, points, masks)


def supervisely_bitmap(data: str) -> BoolArray:
    """As Supervisely documents it: the last of an image's four channels."""
    png = zlib.decompress(base64.b64decode(data))
    image = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image[:, :, 3] > 0)


def _segments(folder: Path, clip: Clip) -> Labels:
    place = folder / f"segments/{clip.name}"
    names = {each["id"]: each["name"] for each in read_json(place / "categories.json")["categories"]}
    sample, label = (
        {sensor["name"]: sensor["attributes"]["frames"] for sensor in read_json(place / f"{name}.json")["sensors"]}
        for name in ("sample", "label")
    )
    frame_index = {frame["name"]: index for index, frame in enumerate(sample["lidar"])}
    labels: dict[int, str] = {}
    boxes: Cuboids = {}
    points: Points = {}
    masks: Masks = {}
    for sensor, frames in label.items():
        for described, frame in zip(sample[sensor], frames, strict=True):
            index = frame_index[described["name"]]
            listed = {each["track_id"]: names[each["category_id"]] for each in frame["annotations"]}
            labels |= listed
            if sensor == "lidar":
                for each in frame["annotations"]:
                    assert (each["type"], each["index"]) == ("cuboid", index)
                    boxes[each["track_id"], index] = segments_cuboid(described.get("ego_pose"), each)
            elif sensor == "lidar points":
                points |= owned(np.array(frame["point_annotations"]), index)
                assert set(listed) == {number for number, shown_on in points if shown_on == index}
            elif "segmentation_bitmap" in frame:
                object_ids = segments_bitmap(place / frame["segmentation_bitmap"]["url"])
                masks |= {(number, index, sensor): mask for (number, _), mask in owned(object_ids, index).items()}
                assert set(listed) == set(np.unique(object_ids[object_ids > 0]).tolist())
            else:
                assert listed == {}
    return Labels(labels, boxes, points, masks)


def segments_cuboid(ego: Mapping[str, Any] | None, each: Mapping[str, Any]) -> Cuboid:
    world_SE3_lidar = SE3.identity() if ego is None else segments_pose(ego["position"], ego["heading"])
    world_SE3_cuboid = segments_pose(each["position"], each["rotation"])
    if np.linalg.norm(world_SE3_cuboid.rotation[:2, 0]) > 1e-3:  # one that stands on end has no heading
        assert abs(wrap_angle(each["yaw"] - world_SE3_cuboid.yaw_rad)) < 1e-9
    pose, size = world_SE3_lidar.inverse() @ world_SE3_cuboid, each["dimensions"]
    x, y, z = pose.translation_m.tolist()
    return Cuboid((x, y, z), (size["x"], size["y"], size["z"]), pose.yaw_rad)


def segments_pose(place: Mapping[str, float], turn: Mapping[str, float]) -> SE3:
    return SE3.from_quaternion([turn[key] for key in ("qw", "qx", "qy", "qz")], [place[axis] for axis in "xyz"])


def segments_bitmap(file: Path) -> NDArray[np.int64]:
    with Image.open(file) as image:
        assert image.mode == "RGBA"
        channels = np.asarray(image).astype(np.int64)
    assert (channels[:, :, 3] == 255).all()
    return channels[:, :, 0] | channels[:, :, 1] << 8 | channels[:, :, 2] << 16


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


READERS: Mapping[LabelFormat, Callable[[Path, Clip], Labels]] = {
    "sequence": _sequence_folder,
    "openlabel": _open_label,
    "kitti-tracking": _kitti_tracking,
    "nuscenes": _nuscenes,
    "waymo-4dseg": _waymo_4dseg,
    "coco": _coco,
    "semantic-kitti": _semantic_kitti,
    "cvat-datumaro": _cvat_datumaro,
    "cvat-kitti-raw": _cvat_tracklets,
    "supervisely": _supervisely,
    "segments": _segments,
}
"""What an export left in a folder. KITTI's object benchmark is missing: it has no tracks."""
