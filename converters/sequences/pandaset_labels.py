"""PandaSet's labels: cuboids (`annotations/cuboids/NN.pkl.gz`) and, where there are any, classes of points (`annotations/semseg/`).

A point's class says nothing about whose point it is: an object's points are those of its class inside its cuboid. So the road under a car
and the sign beside it stay out, and points near the cuboid's lower edge stay in. Layout: the PandaSet development kit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.packed_masks import MaskStore, PackedMasks
from converters.pickled_table import decompress, load_table, number_column, text_column
from converters.sequences.cuboid_tracks import cuboid_masklets
from converters.sequences.json_field import JsonField
from converters.sequences.sequence_folder import FolderReader, SweepFile, read_file
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import Clip, Cuboid, InputError, LabelledCuboid, Masklet, ObjectMasks

CUBOIDS, POINT_CLASSES = "annotations/cuboids", "annotations/semseg"
CLASS_NAMES = f"{POINT_CLASSES}/classes.json"
FRONT_LIDAR = 1
"""Which sensor saw a cuboid that is labelled twice: 0 the turning LiDAR, 1 the one that looks ahead; -1 where it is labelled once."""


@dataclass(frozen=True)
class _Object:
    """An object on one frame, its cuboids in the world. The first is its own; a moving object may have another, of the other LiDAR, which
    passed it at another moment."""

    track: str
    label: str
    cuboids: tuple[Cuboid, ...]


def read_pandaset_labels(folder: Path, clip: Clip) -> tuple[Masklet, ...]:
    """The labelled objects, numbered in the order in which they appear: cuboids, and masks of points on frames whose points have classes.

    Of an object that is labelled once per LiDAR, the cuboid of the turning one counts, and the points in both. An object without a point
    of its class in its cuboids has no mask there.

    Raises:
        InputError: naming file and column: a missing column, a value that is no number, a negative size, another number of classes than
            of points, a class without a name.
    """
    reader = FolderReader(folder.resolve())
    store = MaskStore()
    masks: dict[str, PackedMasks] = defaultdict(lambda: PackedMasks(store=store))
    frames: list[list[LabelledCuboid] | None] = []
    for index, frame in enumerate(clip.frames):
        assert isinstance(frame.load_sweep, SweepFile)
        assert frame.world_SE3_lidar is not None
        name = Path(frame.load_sweep.path).name
        table = _table(reader, folder, f"{CUBOIDS}/{name}")
        if table is None:
            frames.append(None)
            continue
        lidar_SE3_world = frame.world_SE3_lidar.inverse()
        objects = _objects(table, f"{folder}/{CUBOIDS}/{name}")
        frames.append([LabelledCuboid(each.track, each.label, each.cuboids[0].moved(lidar_SE3_world)) for each in objects])
        classes = _table(reader, folder, f"{POINT_CLASSES}/{name}")
        if classes is not None:
            where = f"{folder}/{POINT_CLASSES}/{name}"
            world_m = frame.world_SE3_lidar.apply(frame.load_sweep().points_m)
            points = _points_by_label(number_column(classes, "class", where), len(world_m), _class_names(reader, folder), where)
            for each in objects:
                mask = _mask(each, world_m, points.get(each.label))
                if mask.any():
                    masks[each.track][index] = ObjectMasks(0, index, {}, mask, 1.0)
    return cuboid_masklets(frames, masks)


def _table(reader: FolderReader, folder: Path, path: str) -> dict[str, NDArray[np.generic]] | None:
    """None where the file is not there."""
    if not (folder / path).is_file():
        return None
    where = f"{folder}/{path}"
    return load_table(decompress(read_file(reader, path, str(folder)), where), where)


def _objects(table: Mapping[str, NDArray[np.generic]], where: str) -> list[_Object]:
    tracks, labels = text_column(table, "uuid", where), text_column(table, "label", where)
    centers_m = np.stack([number_column(table, f"position.{axis}", where) for axis in "xyz"], axis=1)
    # Width, length, height; the yaw is that of the length, counted from +y.
    sizes_m = np.stack([number_column(table, f"dimensions.{axis}", where) for axis in "yxz"], axis=1)
    yaws_rad = number_column(table, "yaw", where) + math.pi / 2
    for name, values in (("position", centers_m), ("dimensions", sizes_m), ("yaw", yaws_rad)):
        if not np.isfinite(values).all() or (name == "dimensions" and len(values) and values.min() < 0):
            raise InputError(f"{where}: {name}", "finite numbers" + (" from 0 on" if name == "dimensions" else ""), "others")
    cuboids = []
    for row, yaw_rad in enumerate(yaws_rad.tolist()):
        x, y, z = centers_m[row].tolist()
        length, width, height = sizes_m[row].tolist()
        cuboids.append(Cuboid((x, y, z), (length, width, height), yaw_rad))
    siblings = _siblings(table, tracks, where)
    others = {siblings[row]: cuboid for row, cuboid in enumerate(cuboids) if siblings[row]}
    return [
        _Object(track, label, (cuboid, others[track]) if track in others else (cuboid,))
        for track, label, cuboid, sibling in zip(tracks, labels, cuboids, siblings, strict=True)
        if not sibling
    ]


def _siblings(table: Mapping[str, NDArray[np.generic]], tracks: Sequence[str], where: str) -> list[str]:
    """For every cuboid that is another one's second, of the LiDAR that looks ahead, the other's track; "" for the others."""
    if "cuboids.sensor_id" not in table or "cuboids.sibling_id" not in table:
        return [""] * len(tracks)
    front = (number_column(table, "cuboids.sensor_id", where) == FRONT_LIDAR).tolist()
    named = {*tracks}
    siblings = map(str, table["cuboids.sibling_id"].tolist())
    return [sibling if is_front and sibling in named else "" for is_front, sibling in zip(front, siblings, strict=True)]


def _class_names(reader: FolderReader, folder: Path) -> dict[int, str]:
    root = JsonField.parse(read_file(reader, CLASS_NAMES, str(folder)), f"{folder}/{CLASS_NAMES}")
    names = {}
    for number, name in root.items():
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise InputError(name.where, "the number of a class", repr(number[:40]))
        names[int(number)] = name.text()
    return names


def _points_by_label(classes: Float64Array, point_count: int, names: Mapping[int, str], where: str) -> dict[str, NDArray[np.intp]]:
    """{name of a class: the rows of its points}."""
    if len(classes) != point_count:
        raise InputError(f"{where}: class", f"a class for each of the sweep's {point_count} points", str(len(classes)))
    rows = {}
    for number in np.unique(classes).tolist():
        if number not in names:
            raise InputError(f"{where}: class", f"one of the classes of {CLASS_NAMES}", f"{number:g}")
        rows[names[number]] = np.flatnonzero(classes == number)
    return rows


def _mask(each: _Object, world_m: Float64Array, rows: NDArray[np.intp] | None) -> BoolArray:
    """The object's points among those of its class. rows: None where no point has it."""
    mask: BoolArray = np.zeros(len(world_m), dtype=np.bool_)
    if rows is not None:
        of_class_m = world_m[rows]
        for cuboid in each.cuboids:
            mask[rows[cuboid.contains(of_class_m)]] = True
    return mask
