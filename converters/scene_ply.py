"""A reconstructed scene as one frame saw it, as a point cloud that CloudCompare, MeshLab and others open."""

from __future__ import annotations

import colorsys
import json

import numpy as np
from numpy.typing import NDArray

from converters.ply_files import format_ply
from sam4d.geometry import Float64Array
from sam4d.structures import UInt8Array, VoxelScene

NEAR_M = 2000.0
"""Coordinates up to here are written as they are: float32 holds them to a tenth of a millimetre."""
_OFFSET_STEP_M = 1000.0
_GROUND_RGB = (84, 88, 96)
_OTHER_RGB = (150, 153, 160)


def scene_ply(scene: VoxelScene, frame_index: int) -> bytes:
    """The middles of all voxels that are there on a frame, what moves at its place of that frame; metres, world frame.

    Properties: x y z (float32, less an offset where the world's origin is far away), red green blue, object_id (0 for none), label_id
    (0 for none) and is_ground. Comments say which frame, what the offset is, what the labels are, and which object has which.
    """
    places_m, voxels = scene.at(frame_index)
    offset_m = _offset_m(places_m)
    near_m = (places_m - offset_m).astype(np.float32)
    labels = sorted({each.label for each in scene.objects})
    label_of = {each.object_id: labels.index(each.label) + 1 for each in scene.objects}
    ids, inverse = np.unique(voxels.object_ids, return_inverse=True)
    label_ids = np.array([label_of.get(int(object_id), 0) for object_id in ids], dtype=np.int32)[inverse.ravel()]
    colours = np.array([object_rgb(int(object_id)) if object_id else _OTHER_RGB for object_id in ids], dtype=np.uint8).reshape(-1, 3)
    colour: UInt8Array = colours[inverse.ravel()]
    colour[voxels.is_ground & (voxels.object_ids == 0)] = _GROUND_RGB
    present = {int(object_id) for object_id in ids}
    comments = [
        f"scene of {_quoted(scene.clip_name)}, frame {frame_index} of {scene.frame_count}, voxels of {scene.voxel_m:g} m",
        "world frame, metres: add offset " + " ".join(f"{value:.0f}" for value in offset_m) + " to x y z",
        *(f"label_id {index} {_quoted(label)}" for index, label in enumerate(labels, start=1)),
        *(
            f"object_id {each.object_id} {_quoted(each.label)} score {each.score:.3f}"
            for each in scene.objects
            if each.object_id in present
        ),
    ]
    columns: dict[str, NDArray[np.generic]] = {axis: near_m[:, index] for index, axis in enumerate("xyz")}
    columns |= {name: colour[:, index] for index, name in enumerate(("red", "green", "blue"))}
    columns |= {"object_id": voxels.object_ids, "label_id": label_ids, "is_ground": voxels.is_ground.astype(np.uint8)}
    return format_ply(columns, comments)


def object_rgb(object_id: int) -> tuple[int, int, int]:
    """The colour that an object has in the 3D view (`objectColour` in backend/viewer/src/colours.ts)."""
    lightness = 0.6 if object_id % 2 else 0.7
    red, green, blue = colorsys.hls_to_rgb((0.08 + object_id * 0.61803398875) % 1, lightness, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def _quoted(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def _offset_m(places_m: Float64Array) -> Float64Array:
    """A whole number of kilometres near the voxels' middle, float64 (3,); none where they lie near the world's origin."""
    if not len(places_m) or np.abs(places_m).max() <= NEAR_M:
        return np.zeros(3)
    return np.asarray(np.round((places_m.min(axis=0) + places_m.max(axis=0)) / 2 / _OFFSET_STEP_M) * _OFFSET_STEP_M)
