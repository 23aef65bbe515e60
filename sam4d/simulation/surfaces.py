"""What rays see where they meet something: colours and normals of solids and of the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam4d.geometry import SE3
from sam4d.simulation.ray_casting import GROUND, Hits, RayGrid, Scene
from sam4d.simulation.solids import Colour, Floats, noise, smooth_noise
from sam4d.simulation.street import Street


@dataclass(frozen=True, eq=False)
class Appearance:
    """Visible surface of N rays: colour and world normal (3, N), reflectance and gloss (N,), world points (3, N)."""

    colour: Floats
    normals: Floats
    reflectance: Floats
    gloss: Floats
    points: Floats
    roughness_m: Floats


def appearance(hits: Hits, rays: NDArray[np.int64], grid: RayGrid, scene: Scene, street: Street, world_SE3_frame: SE3) -> Appearance:
    """What the given rays see.

    Args:
        rays: indices into the flattened tiles, of rays that met something, in the order of `visible_rays`.
    """
    dtype = grid.directions.dtype
    directions = grid.directions.reshape(3, -1)[:, rays]
    solid = hits.solid.reshape(-1)[rays]
    points_frame = grid.origin_m.astype(dtype)[:, None] + hits.range_m.reshape(-1)[rays] * directions
    points = world_SE3_frame.rotation.astype(dtype) @ points_frame + world_SE3_frame.translation_m.astype(dtype)[:, None]
    count = len(rays)
    plain = np.zeros((3, count), dtype)
    seen = Appearance(np.empty_like(points), np.empty_like(points), plain[0], plain[1], points, plain[2])
    present, starts = np.unique(solid, return_index=True)
    for index, start, stop in zip(present.tolist(), starts, np.append(starts[1:], len(rays)), strict=True):
        part = slice(start, stop)
        if index == GROUND:
            seen.colour[:, part], seen.reflectance[part], seen.normals[:, part] = paint_ground(points[:, part], street)
            continue
        solid_here, frame_R_solid = scene.solids[index], scene.rotations[index].astype(dtype)
        local = frame_R_solid.T @ (points_frame[:, part] - scene.translations_m[index].astype(dtype)[:, None])
        surface = solid_here.pattern(local)
        seen.colour[:, part], seen.reflectance[part], seen.gloss[part] = surface.colour, surface.reflectance, surface.gloss
        seen.roughness_m[part] = solid_here.roughness_m
        seen.normals[:, part] = (world_SE3_frame.rotation.astype(dtype) @ frame_R_solid) @ solid_here.shape.normals(local)
    return seen


def visible_rays(hits: Hits) -> NDArray[np.int64]:
    """Rays that met something, ordered by what they met, the ground first."""
    # 16 bits are sorted in one pass over the rays.
    order = np.argsort(hits.solid.reshape(-1).astype(np.int16), kind="stable")
    return order[np.count_nonzero(~hits.found) :]


def paint_ground(points: Floats, street: Street) -> tuple[Floats, Floats, Floats]:
    """Colour (3, N), reflectance (N,) and world normal (3, N) of world points (3, N) on the ground."""
    x, y, z = points
    station, lateral = street.coordinates(x, y)
    along = np.stack([station, lateral]).astype(np.float32)
    beside = np.abs(lateral) - street.half_width_m
    colour, reflectance = np.empty_like(points), np.empty_like(x)
    face = (z - street.surface_z(x, y) < street.curb_height_m - 0.004) & (beside > -0.02)
    for part, paint in (
        (beside <= -0.02, _road),
        ((beside > -0.02) & (beside <= 0.16), _curb),
        ((beside > 0.16) & (beside <= street.pavement_width_m + 0.2), _pavement),
        (beside > street.pavement_width_m + 0.2, _grass),
    ):
        where = np.flatnonzero(part)
        if len(where):
            colour[:, where], reflectance[where] = paint(along[:, where], street)
    normal = np.stack([-(street.grade + 2 * street.sag_per_m * x), np.full_like(x, -street.bank), np.ones_like(x)])
    if face.any():
        heading, toward_road = station[face] * street.curvature_per_m, -np.sign(lateral[face])
        normal[:, face] = np.stack([-np.sin(heading) * toward_road, np.cos(heading) * toward_road, np.zeros_like(heading)])
    return colour, reflectance, normal / np.sqrt((normal * normal).sum(axis=0))


def _tint(colour: Colour, tone: Floats) -> Floats:
    return np.asarray(np.array(colour, np.float32)[:, None] * tone.astype(np.float32, copy=False))


def _road(along: Floats, street: Street) -> tuple[Floats, Floats]:
    station, lateral = along
    across = np.abs(lateral)
    to_crossing = station - np.float32(street.crossing_m)
    grain = 0.94 + 0.05 * noise(along, 0.04) + 0.05 * noise(along, 0.6, 1)
    patch = smooth_noise(along, 2.3, 21) * 0.6 + smooth_noise(along, 0.45, 22) * 0.4
    repaired = (smooth_noise(np.stack([station / 9, lateral / 3]), 1.0, 23) > 0.72) & (across < street.half_width_m - 0.3)
    crack = np.abs(smooth_noise(along, 1.7, 24) - 0.5) < 0.005 * (smooth_noise(along, 6.0, 25) > 0.74)
    # Tyres polish their tracks.
    track = np.abs(np.abs(across - np.float32(street.lane_m)) - 0.75) < 0.3
    tone = grain * (0.82 + 0.34 * patch) * np.where(repaired, np.float32(0.75), 1) * np.where(crack, np.float32(0.6), 1)
    tone *= np.where(track, np.float32(1.05), 1)

    centre = (across < 0.075) & (np.mod(station, 6) < 3) & (np.abs(to_crossing) > 2.4)
    parking = (np.abs(across - np.float32(street.half_width_m - 2.25)) < 0.05) & (np.mod(station, 1.5) < 1.2)
    crossing = (np.abs(to_crossing) < 1.6) & (np.mod(lateral, 1.1) < 0.55) & (across < street.half_width_m - 0.5)
    stop = (np.abs(np.abs(to_crossing) - 2.6) < 0.17) & (np.sign(lateral) == np.sign(to_crossing)) & (across < street.half_width_m - 2.3)
    marking = (centre | parking | crossing | stop) & (noise(along, 0.05, 5) > 0.08)
    colour = np.where(marking, _tint((0.52, 0.52, 0.50), grain), _tint((0.098, 0.099, 0.103), tone))
    return colour, np.where(marking, np.float32(0.75), np.float32(0.12))


def _curb(along: Floats, _street: Street) -> tuple[Floats, Floats]:
    tone = (0.9 + 0.12 * noise(along, 0.05, 6)) * np.where(np.mod(along[0], 1) < 0.02, np.float32(0.7), 1)
    return _tint((0.36, 0.35, 0.34), tone), np.full(along.shape[1], 0.35, np.float32)


def _pavement(along: Floats, _street: Street) -> tuple[Floats, Floats]:
    slab = noise(np.stack([np.floor(along[0] / np.float32(0.9)), np.floor(along[1] / np.float32(0.6))]), 1.0, 3)
    joint = (np.mod(along[0], np.float32(0.9)) < 0.018) | (np.mod(along[1], np.float32(0.6)) < 0.018)
    tone = (0.88 + 0.13 * slab + 0.05 * noise(along, 0.05, 4)) * np.where(joint, np.float32(0.72), 1)
    return _tint((0.29, 0.275, 0.255), tone), np.full(along.shape[1], 0.3, np.float32)


def _grass(along: Floats, _street: Street) -> tuple[Floats, Floats]:
    tone = 0.6 + 0.45 * noise(along, 0.06, 7) + 0.35 * smooth_noise(along, 0.5, 8)
    return _tint((0.075, 0.105, 0.035), tone), np.full(along.shape[1], 0.3, np.float32)
