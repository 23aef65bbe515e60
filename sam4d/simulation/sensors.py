"""The sensors of the recording vehicle: the cameras of its rig, the LiDAR and how it measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sam4d.geometry import SE3
from sam4d.simulation.conditions import Conditions
from sam4d.simulation.ray_casting import GROUND, RayGrid, Scene, cast
from sam4d.simulation.street import Street
from sam4d.simulation.surfaces import appearance, visible_rays
from sam4d.structures import Camera, Float32Array, Sweep

CAMERA_YAWS_DEG = {
    "front": 0,
    "front_left": 55,
    "front_right": -55,
    "left": 100,
    "right": -100,
    "back_left": 140,
    "back_right": -140,
    "back": 180,
}
"""Where each camera of the rig looks, from straight ahead to the left."""

LIDAR_RANGE_M = 120.0
LOWEST_BEAM_DEG, HIGHEST_BEAM_DEG = -24.0, 8.0


def mounted_camera(name: str, image_size_px: tuple[int, int], distortion: tuple[float, ...], lidar_yaw: SE3) -> Camera:
    """A camera of the rig. `lidar_yaw` turns vehicle axes (x ahead) into the LiDAR frame's."""
    width, height = image_size_px
    yaw = np.deg2rad(CAMERA_YAWS_DEG[name])
    looking = SE3.from_yaw(yaw, [0.35 * np.cos(yaw), 0.35 * np.sin(yaw), -0.2])
    tilt = np.deg2rad(3.0)
    # x right, y down, z ahead in a frame whose x is ahead, y left, z up; then looking a little down.
    level = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    down = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(tilt), np.sin(tilt)], [0.0, -np.sin(tilt), np.cos(tilt)]])
    lidar_SE3_cam = lidar_yaw @ looking @ SE3(level @ down, np.zeros(3))
    focal = 0.72 * width
    return Camera(name, width, height, focal, focal, width / 2 + 0.7, height / 2 - 0.4, lidar_SE3_cam, distortion)


def camera_grid(camera: Camera) -> RayGrid:
    """One ray through the middle of every pixel, LiDAR frame, single precision."""
    u, v = np.meshgrid(np.arange(camera.width_px) + 0.5, np.arange(camera.height_px) + 0.5)
    tile_shape = (32, 32) if camera.width_px > 640 else (16, 16)
    origin, directions = camera.rays(np.stack([u.ravel(), v.ravel()], axis=1))
    return RayGrid(origin, directions.astype(np.float32).reshape(camera.height_px, camera.width_px, 3), tile_shape)


def lidar_grids(beam_count: int, azimuth_count: int, slices: int = 1) -> list[RayGrid]:
    """The turn cut into slices of azimuth, in the order in which the sensor turns.

    Beams are denser near the horizon, as on real sensors of this kind; every beam has its own small azimuth offset."""
    spread = np.linspace(-1, 1, beam_count) if beam_count > 1 else np.zeros(1)
    bent = np.sign(spread) * (0.45 * np.abs(spread) + 0.55 * np.abs(spread) ** 2)
    elevations = np.deg2rad(np.where(bent < 0, -bent * LOWEST_BEAM_DEG, bent * HIGHEST_BEAM_DEG) - 1.0)[::-1]
    offsets = (np.arange(beam_count) % 4) * (np.pi / 2 / azimuth_count)
    azimuths = np.pi - 2 * np.pi * np.arange(azimuth_count)[None] / azimuth_count + offsets[:, None]
    level = np.cos(elevations)[:, None]
    rays = np.stack([level * np.cos(azimuths), level * np.sin(azimuths), np.repeat(np.sin(elevations)[:, None], azimuth_count, 1)], axis=-1)
    parts = np.array_split(rays, min(slices, azimuth_count), axis=1)
    return [RayGrid(np.zeros(3), part, (min(16, beam_count), min(30, part.shape[1]))) for part in parts]


def owners_of(solid: NDArray[np.int32], scene: Scene) -> NDArray[np.int64]:
    """Object id of each ray, 0 for scenery, ground and sky."""
    return np.where(solid > GROUND, scene.object_ids[np.maximum(solid, 0)], 0)


def scan(
    grids: Sequence[RayGrid], views: Sequence[tuple[Scene, SE3]], street: Street, conditions: Conditions, noise: Generator
) -> tuple[Sweep, NDArray[np.int64]]:
    """One turn, slice after slice, and each point's object.

    Args:
        views: for every grid the scene in the LiDAR's frame at that instant, and world_SE3_lidar.
    """
    parts = [_scan_slice(grid, scene, street, pose, conditions, noise) for grid, (scene, pose) in zip(grids, views, strict=True)]
    sweep = Sweep(np.concatenate([part.points_m for part, _ in parts]), np.concatenate([_intensity(part) for part, _ in parts]))
    return sweep, np.concatenate([owners for _, owners in parts])


def _intensity(sweep: Sweep) -> Float32Array:
    assert sweep.intensity is not None
    return sweep.intensity


def _scan_slice(
    grid: RayGrid, scene: Scene, street: Street, world_SE3_lidar: SE3, conditions: Conditions, noise: Generator
) -> tuple[Sweep, NDArray[np.int64]]:
    """Ranges are noisy; returns are lost, more of them on dark glass, at shallow angles and far away."""
    hits = cast(grid, scene, street, world_SE3_lidar, LIDAR_RANGE_M)
    # Rays in whole rows and columns only: the tiles are padded.
    shots = grid.whole(np.arange(hits.solid.size).reshape(hits.solid.shape)).T.reshape(-1)
    turn = np.full(hits.solid.size, -1)
    turn[shots] = np.arange(len(shots))
    rays = visible_rays(hits)
    rays = rays[turn[rays] >= 0]
    surface = appearance(hits, rays, grid, scene, street, world_SE3_lidar)
    directions = grid.directions.reshape(3, -1)[:, rays]
    ranges = hits.range_m.reshape(-1)[rays]
    incidence = np.abs(((world_SE3_lidar.rotation @ directions) * surface.normals).sum(axis=0))
    returned = surface.reflectance * (0.35 + 0.65 * incidence)
    chance = np.clip(1.3 - 0.25 * ranges / LIDAR_RANGE_M - 0.02 / np.maximum(returned, 1e-3) * (ranges / 40), 0.05, 0.985)
    kept = noise.random(len(rays)) < chance * (1 - conditions.lost_share)
    spread = conditions.range_noise_m
    scatter = spread * noise.standard_normal(len(rays)) + surface.roughness_m * noise.standard_normal(len(rays))
    # Noise is bounded: a sensor reports a return near its surface or none.
    bound = max(0.05, 3 * spread) + 2 * surface.roughness_m
    ranges = ranges + np.clip(scatter, -bound, bound)
    intensity = np.clip(returned * (1 + 0.08 * noise.standard_normal(len(rays))), 0.0, 1.0)
    owners = owners_of(hits.solid.reshape(-1)[rays], scene)
    if conditions.stray_share > 0:
        stray = noise.random(len(rays)) < conditions.stray_share
        ranges = np.where(stray, ranges * noise.uniform(0.2, 0.9, len(rays)), ranges)
        owners = np.where(stray, 0, owners)
    points = (ranges * directions).T
    # Shot by shot as the sensor turns: all beams of an azimuth, then the next.
    order = np.argsort(turn[rays])
    order = order[kept[order]]
    return Sweep(points[order].astype(np.float32), intensity[order].astype(np.float32)), owners[order]
