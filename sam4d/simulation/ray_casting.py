"""Rays on a grid (a camera's pixels, a LiDAR's beams) against the solids of a scene and the street's surface.

The grid is cut into tiles. A solid is only tested against the tiles whose rays can reach its bounding box, nearest solids first, and not
against tiles that nearer surfaces fill already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam4d.geometry import SE3, BoolArray, Float64Array
from sam4d.simulation.solids import Floats, Solid
from sam4d.simulation.street import Street

GROUND = -1
NOTHING = -2
NEAREST_M = 0.05


@dataclass(frozen=True, eq=False)
class Scene:
    """Solids at places in one frame of reference.

    rotations float64 (P, 3, 3) and translations_m float64 (P, 3) of each solid's own frame; object_ids int64 (P,), 0 for scenery.
    """

    solids: tuple[Solid, ...]
    rotations: Float64Array
    translations_m: Float64Array
    object_ids: NDArray[np.int64]

    @classmethod
    def of(cls, placed: Sequence[tuple[int, SE3, Sequence[Solid]]]) -> Scene:
        """From objects: (object id, world_SE3_object, solids)."""
        solids = tuple(solid for _, _, parts in placed for solid in parts)
        rotations = [world.rotation @ solid.object_SE3_solid.rotation for _, world, parts in placed for solid in parts]
        translations = [
            world.rotation @ solid.object_SE3_solid.translation_m + world.translation_m for _, world, parts in placed for solid in parts
        ]
        ids = [object_id for object_id, _, parts in placed for _ in parts]
        return cls(
            solids,
            np.array(rotations, dtype=np.float64).reshape(-1, 3, 3),
            np.array(translations, dtype=np.float64).reshape(-1, 3),
            np.array(ids, dtype=np.int64),
        )

    def __add__(self, other: Scene) -> Scene:
        return Scene(
            self.solids + other.solids,
            np.concatenate([self.rotations, other.rotations]),
            np.concatenate([self.translations_m, other.translations_m]),
            np.concatenate([self.object_ids, other.object_ids]),
        )

    def seen_from(self, frame_SE3_world: SE3) -> Scene:
        """The same solids, described in another frame."""
        return Scene(self.solids, frame_SE3_world.rotation @ self.rotations, frame_SE3_world.apply(self.translations_m), self.object_ids)

    def corners_m(self) -> Float64Array:
        """Corners of every solid's bounding box, float64 (P, 8, 3)."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
        half = np.array([solid.shape.half_extents_m for solid in self.solids]).reshape(-1, 1, 3)
        return np.asarray(np.einsum("pij,pcj->pci", self.rotations, signs * half) + self.translations_m[:, None])


class RayGrid:
    """Rays from one origin, arranged in rows and columns.

    Args:
        origin_m: float64 (3,).
        directions: unit vectors (H, W, 3), in the frame the scene will be given in. Their dtype is the one of all arithmetic.
        tile_shape: rows and columns of a tile.
    """

    def __init__(self, origin_m: Float64Array, directions: Floats, tile_shape: tuple[int, int]) -> None:
        height, width, _ = directions.shape
        rows, columns = tile_shape
        padded = np.pad(directions, ((0, -height % rows), (0, -width % columns), (0, 0)), mode="edge")
        self.origin_m = origin_m
        self.shape = (height, width)
        self._tiles_down, self._tiles_across = padded.shape[0] // rows, padded.shape[1] // columns
        self._tile_shape = tile_shape
        tiles = padded.reshape(self._tiles_down, rows, self._tiles_across, columns, 3).transpose(0, 2, 1, 3, 4)
        tiles = tiles.reshape(-1, rows, columns, 3)
        self.directions: Floats = np.ascontiguousarray(tiles.reshape(len(tiles), -1, 3).transpose(2, 0, 1))
        """Component first and tile by tile, (3, T, R)."""
        exact = tiles.astype(np.float64)
        rays = exact.reshape(len(tiles), -1, 3)
        axes = rays.mean(axis=1)
        self._axes: Float64Array = axes / np.linalg.norm(axes, axis=1, keepdims=True)
        self._half_angles_rad: Float64Array = np.arccos(np.clip(np.einsum("trk,tk->tr", rays, self._axes).min(axis=1), -1, 1))
        corners = [exact[:, 0, 0], exact[:, 0, -1], exact[:, -1, -1], exact[:, -1, 0]]
        planes = np.stack([np.cross(corners[i], corners[(i + 1) % 4]) for i in range(4)], axis=1)
        planes *= np.sign(np.einsum("tfk,tk->tf", planes, self._axes))[:, :, None]
        planes /= np.maximum(np.linalg.norm(planes, axis=2, keepdims=True), 1e-12)
        self._planes: Float64Array = planes
        # A distorted tile bulges over the plane through its corners: by this sine at most.
        self._bulge: Float64Array = np.minimum(np.einsum("tfk,trk->tfr", planes, rays).min(axis=2), 0) - 1e-6

    def whole(self, tiled: NDArray[Any]) -> NDArray[Any]:
        """Values by tile (..., T, R) -> by row and column (..., H, W)."""
        lead = tiled.shape[:-2]
        rows, columns = self._tile_shape
        grid = tiled.reshape(*lead, self._tiles_down, self._tiles_across, rows, columns)
        grid = np.moveaxis(grid, -3, -2).reshape(*lead, self._tiles_down * rows, self._tiles_across * columns)
        return np.ascontiguousarray(grid[..., : self.shape[0], : self.shape[1]])

    def reach(self, scene: Scene) -> tuple[list[NDArray[np.int64]], Float64Array]:
        """The tiles that may see each solid, and the least distance each solid can have, float64 (P,)."""
        corners = scene.corners_m() - self.origin_m
        centers = corners.mean(axis=1)
        radii = np.linalg.norm(corners[:, 0] - centers, axis=1)
        distances = np.linalg.norm(centers, axis=1)
        spread = np.where(distances > radii, np.arcsin(np.minimum(radii / np.maximum(distances, 1e-9), 1)), np.pi)
        cosines = np.clip(centers @ self._axes.T / np.maximum(distances, 1e-9)[:, None], -1, 1)
        near = np.arccos(cosines) <= spread[:, None] + self._half_angles_rad + 1e-6
        solids, tiles = np.nonzero(near)
        along = np.einsum("mfk,mck->mfc", self._planes[tiles], corners[solids])
        outside = (along < self._bulge[tiles][:, :, None] * np.linalg.norm(corners, axis=2)[solids][:, None]).all(axis=2).any(axis=1)
        solids, tiles = solids[~outside], tiles[~outside]
        starts = np.searchsorted(solids, np.arange(len(scene.solids) + 1))
        return [tiles[a:b] for a, b in pairwise(starts)], np.maximum(distances - radii, 0)


@dataclass(frozen=True, eq=False)
class Hits:
    """What each ray of a grid meets first, tile by tile (T, R).

    range_m: infinity where there is nothing. solid: int32, index into the scene, GROUND or NOTHING.
    """

    range_m: Floats
    solid: NDArray[np.int32]

    @property
    def found(self) -> BoolArray:
        return np.asarray(self.solid != NOTHING)


def cast(grid: RayGrid, scene: Scene, street: Street | None = None, world_SE3_frame: SE3 | None = None, farthest_m: float = 250.0) -> Hits:
    """The first surface along every ray.

    Args:
        scene: in the frame of the grid.
        street: the ground, in the world frame; None casts against the solids alone.
        world_SE3_frame: the grid's frame in the world; the identity where None.
    """
    dtype = grid.directions.dtype
    _, tile_count, ray_count = grid.directions.shape
    if street is None:
        range_m = np.full((tile_count, ray_count), np.inf, dtype)
    else:
        pose = world_SE3_frame if world_SE3_frame is not None else SE3.identity()
        directions = pose.rotation.astype(dtype) @ grid.directions.reshape(3, -1)
        range_m = street.cast(pose.apply(grid.origin_m), directions, farthest_m).reshape(tile_count, ray_count)
    solid_index = np.where(np.isfinite(range_m), GROUND, NOTHING).astype(np.int32)
    if not scene.solids:
        return Hits(range_m, solid_index)
    tiles_of_solid, least_m = grid.reach(scene)
    farthest_of_tile = range_m.max(axis=1)
    for index in np.argsort(least_m, kind="stable"):
        tiles = tiles_of_solid[index]
        tiles = tiles[farthest_of_tile[tiles] > least_m[index]]
        if not len(tiles) or least_m[index] > farthest_m:
            continue
        solid_R_frame = scene.rotations[index].T
        directions = solid_R_frame.astype(dtype) @ grid.directions[:, tiles].reshape(3, -1)
        origin = (solid_R_frame @ (grid.origin_m - scene.translations_m[index])).astype(dtype)
        # From the point of each ray nearest to the solid's centre, so that single precision does not lose thin solids far away.
        nearest = -(origin @ directions)
        range_to_solid = scene.solids[index].shape.enter(origin[:, None] + nearest * directions, directions) + nearest
        known = range_m[tiles].reshape(-1)
        closer = (range_to_solid < known) & (range_to_solid > NEAREST_M)
        if not closer.any():
            continue
        known[closer] = range_to_solid[closer]
        range_m[tiles] = known.reshape(len(tiles), -1)
        who = solid_index[tiles].reshape(-1)
        who[closer] = index
        solid_index[tiles] = who.reshape(len(tiles), -1)
        farthest_of_tile[tiles] = range_m[tiles].max(axis=1)
    beyond = range_m > farthest_m
    range_m[beyond] = np.inf
    solid_index[beyond] = NOTHING
    return Hits(range_m, solid_index)
