"""A reconstructed scene as a file, which the 3D view reads, too.

Little endian: the four letters `S4DS`, uint32 version, uint32 size of the header in bytes, uint32 number of voxels V; the header, JSON,
filled up with spaces to a multiple of 4; int32 cells (V, 3); int32 object of every voxel, 0 for none; int16 height of every voxel above
the ground below it (above its lowest voxel, for what moves), centimetres, padded to a multiple of 4; uint8 1 for a voxel of the ground.
Voxels stand in the order of the parts: what is static, then each thing that moves. The header: `clip_name`, `frame_count`, `voxel_m`,
`world_SE3_static`, `static` (number of voxels), `objects` ([{`object_id`, `label`, `score`}]) and `moving` ([{`voxels`,
`world_SE3_body`: {frame index: pose}}]); poses are 16 numbers, row after row of the homogeneous matrix.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from converters.sequences.json_field import JsonField
from sam4d.geometry import SE3
from sam4d.structures import InputError, MovingVoxels, SceneObject, Voxels, VoxelScene

SCENE_VERSION = 1
VOXELS_LIMIT = 20_000_000
"""Scenes of more voxels are refused."""
FRAMES_LIMIT = 1_000_000
_MAGIC = b"S4DS"
_START = struct.Struct("<4sIII")
_HEADER_LIMIT_BYTES = 2**25
_GROUND_BLOCK_M = 1.0
_HIGHEST_CM = 32767


def encode_scene(scene: VoxelScene) -> bytes:
    """Inverse of `decode_scene`."""
    parts = [scene.static, *(body.voxels for body in scene.moving)]
    header = {
        "clip_name": scene.clip_name,
        "frame_count": scene.frame_count,
        "voxel_m": scene.voxel_m,
        "world_SE3_static": _numbers(scene.world_SE3_static),
        "static": len(scene.static),
        "objects": [{"object_id": each.object_id, "label": each.label, "score": each.score} for each in scene.objects],
        "moving": [
            {"voxels": len(body.voxels), "world_SE3_body": {str(frame): _numbers(pose) for frame, pose in body.world_SE3_body.items()}}
            for body in scene.moving
        ],
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    cells = np.concatenate([part.cells for part in parts]).astype("<i4")
    object_ids = np.concatenate([part.object_ids for part in parts]).astype("<i4")
    height_cm = np.concatenate([_heights_cm(part, scene.voxel_m) for part in parts]).astype("<i2").tobytes()
    height_cm += b"\0" * (-len(height_cm) % 4)
    is_ground = np.concatenate([part.is_ground for part in parts]).astype(np.uint8)
    start = _START.pack(_MAGIC, SCENE_VERSION, len(text), len(scene))
    return b"".join([start, text, cells.tobytes(), object_ids.tobytes(), height_cm, is_ground.tobytes()])


def decode_scene(data: bytes, where: str) -> VoxelScene:
    """The scene in a file that `encode_scene` wrote.

    Raises:
        InputError: no such file, another version, a header that does not fit what follows, objects or frames that are not there.
    """
    if len(data) < _START.size or data[:4] != _MAGIC:
        raise InputError(where, "a reconstructed scene (.s4ds)", f"{len(data)} bytes that are none")
    _, version, header_bytes, count = _START.unpack_from(data)
    if version != SCENE_VERSION:
        raise InputError(where, f"a scene of layout {SCENE_VERSION}", f"layout {version}")
    if header_bytes % 4 or header_bytes > _HEADER_LIMIT_BYTES or count > VOXELS_LIMIT:
        expected = f"a header of at most {_HEADER_LIMIT_BYTES} bytes and at most {VOXELS_LIMIT} voxels"
        raise InputError(where, expected, f"{header_bytes} bytes and {count} voxels")
    cells_at = _START.size + header_bytes
    objects_at = cells_at + 12 * count
    heights_at = objects_at + 4 * count
    ground_at = heights_at + 4 * -(-count // 2)
    if len(data) != ground_at + count:
        raise InputError(where, f"{ground_at + count} bytes for {count} voxels", f"{len(data)}")
    header = JsonField.parse(data[_START.size : cells_at], where)
    frame_count = header["frame_count"].integer(1, FRAMES_LIMIT)
    voxel_m = header["voxel_m"].number()
    if not 0 < voxel_m <= 1000:
        raise header["voxel_m"].wrong("a length in metres above 0, at most 1000")
    objects = tuple(
        SceneObject(field["object_id"].integer(1, 2**31 - 1), _text(field["label"]), _share(field["score"]))
        for field in header["objects"].elements()
    )
    moving = [(field["voxels"].integer(0, count), _poses(field["world_SE3_body"], frame_count)) for field in header["moving"].elements()]
    sizes = [header["static"].integer(0, count), *(size for size, _ in moving)]
    if sum(sizes) != count:
        raise InputError(where, f"parts of {count} voxels together", str(sum(sizes)))
    known = [each.object_id for each in objects]
    if len(set(known)) != len(known):
        raise header["objects"].wrong("objects of different numbers")
    object_ids = np.frombuffer(data, "<i4", count, objects_at).astype(np.int32)
    strange = np.setdiff1d(object_ids, [0, *known])
    if len(strange):
        raise InputError(where, "voxels of the objects that it lists", f"some of object {strange[0]}")
    ground = np.frombuffer(data, np.uint8, count, ground_at)
    if (ground > 1).any():
        raise InputError(where, "0 or 1 for every voxel, of the ground or not", str(ground.max()))
    cells = np.frombuffer(data, "<i4", 3 * count, cells_at).reshape(-1, 3).astype(np.int32)
    ends = np.cumsum(sizes)[:-1]
    static, *bodies = map(Voxels, np.split(cells, ends), np.split(object_ids, ends), np.split(ground.astype(np.bool_), ends))
    return VoxelScene(
        clip_name=_text(header["clip_name"]),
        frame_count=frame_count,
        voxel_m=voxel_m,
        world_SE3_static=_pose(header["world_SE3_static"]),
        static=static,
        moving=tuple(MovingVoxels(voxels, poses) for voxels, (_, poses) in zip(bodies, moving, strict=True)),
        objects=objects,
    )


def _heights_cm(part: Voxels, voxel_m: float) -> NDArray[np.int64]:
    """How far above the ground each voxel is: the nearest ground seen from above, as a mean over a metre."""
    centers_m = (part.cells + 0.5) * voxel_m
    if not part.is_ground.any():
        above_m = centers_m[:, 2] - centers_m[:, 2].min(initial=np.inf)
    else:
        ground_m = centers_m[part.is_ground]
        blocks, block, counts = np.unique(np.floor(ground_m[:, :2] / _GROUND_BLOCK_M), axis=0, return_inverse=True, return_counts=True)
        mean_m = np.bincount(block.ravel(), weights=ground_m[:, 2]) / counts
        _, nearest = cKDTree((blocks + 0.5) * _GROUND_BLOCK_M).query(centers_m[:, :2])
        above_m = centers_m[:, 2] - mean_m[nearest]
    return np.asarray(np.clip(np.round(100 * above_m), -_HIGHEST_CM, _HIGHEST_CM).astype(np.int64))


def _numbers(pose: SE3) -> list[float]:
    return [float(value) for value in pose.matrix.ravel()]


def _pose(field: JsonField) -> SE3:
    matrix = np.array(field.numbers(16)).reshape(4, 4)
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise InputError(field.where, "a homogeneous matrix with the last row 0 0 0 1", str(matrix[3].tolist()))
    try:
        return SE3.from_matrix(matrix)
    except ValueError as error:
        raise InputError(field.where, "a pose", str(error)) from None


def _poses(field: JsonField, frame_count: int) -> Mapping[int, SE3]:
    poses = {}
    for key, pose in field.items():
        if not (key.isascii() and key.isdecimal() and str(int(key[:7])) == key and int(key) < frame_count):
            raise InputError(field.where, f"frames from 0 to {frame_count - 1}", repr(key[:40]))
        poses[int(key)] = _pose(pose)
    return poses


def _text(field: JsonField) -> str:
    if not isinstance(field.value, str):
        raise field.wrong("a text")
    return field.value


def _share(field: JsonField) -> float:
    value = field.number()
    if not 0 <= value <= 1:
        raise field.wrong("a number from 0 to 1")
    return value
