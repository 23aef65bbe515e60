"""SemanticKITTI: `sequences/NAME/labels/000000.label`, one number per point, and the poses and calibration that its tools read.

A label file holds one little-endian uint32 per point in the sweep's own order: the low 16 bits are the class, the high 16 bits the
instance, which is the same over the whole sequence; 0 where nothing is labelled. Layout: the SemanticKITTI API (semantic-kitti.org).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.kitti_camera import format_calibration, kitti_camera
from converters.exports.point_labels import point_owners
from converters.exports.whole_output import FileContent, file_name
from converters.sequences.json_field import JsonField
from converters.sequences.sequence_folder import read_file
from sam4d.geometry import BoolArray
from sam4d.structures import Clip, InputError, Masklet

CLASSES: Mapping[str, int] = {
    "car": 10,
    "bicycle": 11,
    "bus": 13,
    "motorcycle": 15,
    "on-rails": 16,
    "truck": 18,
    "other-vehicle": 20,
    "person": 30,
    "bicyclist": 31,
    "motorcyclist": 32,
    "other-object": 99,
}
"""SemanticKITTI's own classes for things; labels are found here in any case."""

SYNONYMS: Mapping[str, str] = {
    "pedestrian": "person",
    "cyclist": "bicyclist",
    "van": "other-vehicle",
    "trailer": "other-vehicle",
    "tram": "on-rails",
    "vehicle": "other-vehicle",
}
FIRST_OWN_CLASS = 300
"""Labels that SemanticKITTI has no class for get numbers from here on, in the order of their names."""

CLASSES_FILE = "classes.json"
_SIXTEEN_BITS = 0xFFFF


@dataclass(frozen=True, eq=False)
class LabelledPoints:
    """One frame: class ids and instance ids, both int64 (N,), 0 where nothing is labelled."""

    classes: NDArray[np.int64]
    instances: NDArray[np.int64]

    def of_object(self, object_id: int) -> BoolArray:
        return np.asarray(self.instances == object_id)


def semantic_kitti_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A clip's objects as point labels, {relative path: content}. Sweeps are read for their number of points, when a frame is written.

    `classes.json` beside the labels says which label has which number. Times count from the first frame, in seconds; frames without a
    time or a pose leave `times.txt` or `poses.txt` out.

    Raises:
        InputError: an object id outside 1 to 65535, two masklets with one object id; when a frame is written, a point mask of another
            length than the sweep.
    """
    require_distinct_objects(masklets)
    for masklet in masklets:
        if not 1 <= masklet.object_id <= _SIXTEEN_BITS:
            raise InputError(f"object {masklet.object_id}", f"an object id from 1 to {_SIXTEEN_BITS}", str(masklet.object_id))
    classes = class_numbers(masklet.label for masklet in masklets)
    class_of_object = {masklet.object_id: classes[masklet.label] for masklet in masklets}
    folder = f"sequences/{file_name(clip.name)}"
    files: dict[str, FileContent] = {f"{folder}/{CLASSES_FILE}": (json.dumps(classes, ensure_ascii=False, indent=1) + "\n").encode()}
    for frame_index in range(len(clip)):
        files[f"{folder}/labels/{frame_index:06d}.label"] = partial(_frame, clip, masklets, frame_index, class_of_object)
    kitti = kitti_camera(clip)
    files[f"{folder}/calib.txt"] = format_calibration(kitti, "odometry").encode()
    poses = [frame.world_SE3_lidar for frame in clip.frames]
    first = poses[0]
    if first is not None and all(pose is not None for pose in poses):
        rect_SE3_lidar = kitti.rect_SE3_lidar
        moved = [rect_SE3_lidar @ (first.inverse() @ pose) @ rect_SE3_lidar.inverse() for pose in poses if pose is not None]
        files[f"{folder}/poses.txt"] = "".join(
            " ".join(f"{value:.9e}" for value in pose.matrix[:3].ravel()) + "\n" for pose in moved
        ).encode()
    times = [frame.timestamp_ns for frame in clip.frames]
    if times[0] is not None and all(time is not None for time in times):
        files[f"{folder}/times.txt"] = "".join(f"{(time - times[0]) / 1e9:.6e}\n" for time in times if time is not None).encode()
    return files


def _frame(clip: Clip, masklets: Sequence[Masklet], frame_index: int, class_of_object: Mapping[int, int]) -> bytes:
    owners = point_owners(masklets, frame_index, len(clip.frames[frame_index].load_sweep()), f"clip {clip.name}").object_ids
    labels = np.zeros(len(owners), dtype="<u4")
    for object_id in np.unique(owners[owners >= 0]).tolist():
        labels[owners == object_id] = class_of_object[object_id] | object_id << 16
    return labels.tobytes()


def class_numbers(labels: Iterable[str]) -> dict[str, int]:
    """Every label's class number: SemanticKITTI's own where it has one, else one of ours."""
    numbers: dict[str, int] = {}
    own = FIRST_OWN_CLASS
    for label in sorted({*labels}):
        plain = label.casefold().replace(" ", "-").replace("_", "-")
        known = CLASSES.get(SYNONYMS.get(plain, plain))
        if known is None:
            known, own = own, own + 1
        numbers[label] = known
    return numbers


def read_semantic_kitti(directory: str | Path, name: str) -> tuple[tuple[LabelledPoints, ...], dict[str, int]]:
    """The labelled frames of `sequences/NAME`, and the class number of every label. Inverse of `semantic_kitti_files`.

    Raises:
        InputError: naming the file: missing, of a length that is no multiple of four bytes.
    """
    folder = Path(directory) / "sequences" / name

    def read(path: str) -> bytes:
        return read_file(lambda each: (folder / each).read_bytes(), path, str(folder))

    root = JsonField.parse(read(CLASSES_FILE), str(folder / CLASSES_FILE))
    classes = {label: number.integer(0, _SIXTEEN_BITS) for label, number in root.items()}
    frames = []
    for file in sorted((folder / "labels").glob("*.label")):
        data = read(f"labels/{file.name}")
        if len(data) % 4:
            raise InputError(str(file), "four bytes per point", f"{len(data)} bytes")
        labels = np.frombuffer(data, dtype="<u4").astype(np.int64)
        frames.append(LabelledPoints(labels & _SIXTEEN_BITS, labels >> 16))
    return tuple(frames), classes
