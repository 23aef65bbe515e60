"""Pixels and voxels of one image, asked both ways: which voxel a pixel's ray meets first, and which pixel shows a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.voxels import Float32Array, Int64Array
from sam4d.geometry import BoolArray
from sam4d.structures import Camera

COARSE_WIDTH_PX = 480
"""Rays are followed at about this many columns: a voxel at 50 m is a pixel wide there."""
WIDEST_SPLAT = 12
BEHIND_M = 0.35
BEHIND_PER_METRE = 0.02
GAP_FACTOR = 3.0
"""Beams leave gaps in near surfaces; nothing is seen through them as long as they are narrower than this many voxels."""


@dataclass(frozen=True, eq=False)
class PixelVoxels:
    """One image's table.

    voxels: int64 (K,), those that the camera sees, each once. pixels: float32 (K, 2), where their middles are, original image.
    first_voxel: int64 (h, w) of the image divided by `scale`, the voxel that the pixel's ray meets first; -1 for none.
    """

    scale: int
    voxels: Int64Array
    pixels: Float32Array
    first_voxel: Int64Array

    def tracks_of_voxels(self, tracks: NDArray[np.int32]) -> NDArray[np.int32]:
        """What an image of tracks (H, W) says of each visible voxel, int32 (K,)."""
        columns, rows = self.pixels.astype(np.int64).T
        return np.asarray(tracks[rows, columns], dtype=np.int32)

    def mask_of_voxels(self, wanted: BoolArray, height_px: int, width_px: int) -> BoolArray:
        """The pixels that show one of the wanted voxels, given as bool (V,) over all voxels; bool (H, W)."""
        small = np.where(self.first_voxel >= 0, wanted[np.maximum(self.first_voxel, 0)], False)
        whole = np.repeat(np.repeat(small, self.scale, axis=0), self.scale, axis=1)
        return np.asarray(whole[:height_px, :width_px])


def pixel_voxels(
    camera: Camera, voxels: Int64Array, places_m: Float32Array, voxel_m: float, others_m: Float32Array | None = None
) -> PixelVoxels:
    """Look at voxels from a camera.

    Args:
        voxels: int64 (K,); places_m: their middles in the frame's LiDAR frame, float32 (K, 3).
        others_m: what else stands there on this frame and hides what is behind it, float32 (M, 3).
    """
    if others_m is not None:
        voxels = np.concatenate([voxels, np.full(len(others_m), -1, dtype=np.int64)])
        places_m = np.concatenate([places_m, others_m.astype(np.float32)])
    pixels, depth_m, inside = camera.project(places_m)
    rows = np.flatnonzero(inside & (depth_m > 2 * voxel_m))
    voxels, pixels, depth_m = voxels[rows], pixels[rows].astype(np.float32), depth_m[rows].astype(np.float32)
    scale = max(1, round(camera.width_px / COARSE_WIDTH_PX))
    shape = (-(-camera.height_px // scale), -(-camera.width_px // scale))
    columns, lines = np.minimum((pixels / scale).astype(np.int64), (shape[1] - 1, shape[0] - 1)).T
    half_px = 0.5 * max(camera.fx_px, camera.fy_px) * voxel_m / depth_m / scale
    nearest, _ = _splat(columns, lines, GAP_FACTOR * half_px, depth_m, shape)
    visible = depth_m <= nearest[lines, columns] + BEHIND_M + BEHIND_PER_METRE * depth_m
    _, first = _splat(columns[visible], lines[visible], half_px[visible], depth_m[visible], shape)
    seen = voxels[visible]
    first_voxel = np.where(first >= 0, seen[np.maximum(first, 0)] if len(seen) else -1, -1)
    known = seen >= 0
    return PixelVoxels(scale, seen[known], pixels[visible][known], first_voxel)


def _splat(
    columns: Int64Array, lines: Int64Array, half_px: NDArray[np.floating], depth_m: NDArray[np.floating], shape: tuple[int, int]
) -> tuple[Float32Array, Int64Array]:
    """Squares around pixels, the nearest in front: depth float32 (h, w), infinite where none is, and whose square it is, -1 for none."""
    # Depth in the upper half, row in the lower: the smallest of both is the nearest, and says who it is.
    front = np.full(shape[0] * shape[1], np.iinfo(np.int64).max, dtype=np.int64)
    value = (depth_m.astype(np.float32).view(np.int32).astype(np.int64) << 32) | np.arange(len(depth_m))
    reach = np.minimum(np.round(half_px).astype(np.int64), WIDEST_SPLAT)
    for size in np.unique(reach):
        own = np.flatnonzero(reach == size)
        for down in range(-size, size + 1):
            for right in range(-size, size + 1):
                line, column = lines[own] + down, columns[own] + right
                inside = (line >= 0) & (line < shape[0]) & (column >= 0) & (column < shape[1])
                np.minimum.at(front, line[inside] * shape[1] + column[inside], value[own[inside]])
    none = front == np.iinfo(np.int64).max
    depth = (front >> 32).astype(np.int32).view(np.float32)
    return np.where(none, np.inf, depth).astype(np.float32).reshape(shape), np.where(none, -1, front & 0xFFFFFFFF).reshape(shape)
