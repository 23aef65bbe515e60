"""The synthetic drive: a car with a LiDAR and cameras drives along the simulated street, and everything about it is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from sam4d.geometry import SE3, Axis, Float64Array
from sam4d.simulation.conditions import USUAL, Conditions
from sam4d.simulation.light import ContactShade, Sun
from sam4d.simulation.ray_casting import Scene, cast
from sam4d.simulation.rendering import render
from sam4d.simulation.scenery import build_scenery, build_vegetation
from sam4d.simulation.sensors import CAMERA_YAWS_DEG, camera_grid, lidar_grids, mounted_camera, owners_of, scan
from sam4d.simulation.solids import Solid
from sam4d.simulation.street import Street
from sam4d.simulation.traffic import add_traffic, build_traffic
from sam4d.structures import Clip, Cuboid, Frame, InputError, Masklet, ObjectMasks, Sweep, UInt8Array

LIDAR_HEIGHT_M = 1.8
FRAME_INTERVAL_NS = 100_000_000
FIRST_TIMESTAMP_NS = 1_700_000_000_000_000_000
SHUTTER_SLICES = 20
"""A turn with a rolling shutter is so many instants: within one, nothing moves more than a few centimetres."""
STREET_BEHIND_M, STREET_AHEAD_M = 90.0, 190.0


@dataclass(frozen=True, eq=False)
class SyntheticDrive:
    """A recorded drive with its exact truth. Masklets hold the frames on which at least one pixel or point shows the object."""

    clip: Clip
    masklets: tuple[Masklet, ...]


def simulate_drive(
    seed: int = 0,
    frame_count: int = 20,
    *,
    camera_names: Sequence[str] = ("front_left", "front", "front_right"),
    image_size_px: tuple[int, int] = (960, 600),
    beam_count: int = 64,
    azimuth_count: int = 1800,
    distortion: tuple[float, ...] = (),
    forward: Axis = "+x",
    speed_m_s: float = 7.0,
    conditions: Conditions = USUAL,
) -> SyntheticDrive:
    """Drive along a street and record it. The same arguments give the same drive, to the bit.

    Args:
        seed: chooses the street, its traffic and all noise.
        frame_count: frames at 10 Hz.
        camera_names: among `CAMERA_YAWS_DEG`; () records the LiDAR alone.
        image_size_px: width and height of every image.
        beam_count: LiDAR channels; azimuth_count: shots of each per turn.
        distortion: () or (k1, k2, p1, p2, k3), for every camera.
        forward: the LiDAR axis along which the vehicle drives.
        speed_m_s: of the recording vehicle.
        conditions: `HARD` for a drive with everything that makes real ones hard.

    Raises:
        InputError: an unknown or repeated camera, no frames, an empty image or sweep, distortion of the wrong length.
    """
    _check(frame_count, camera_names, image_size_px, beam_count, azimuth_count, distortion)
    random = default_rng([seed, 0])
    street = Street(
        curvature_per_m=float(random.choice([-1, 1])) / float(random.uniform(220, 320)),
        grade=conditions.grade,
        bank=conditions.bank,
        sag_per_m=conditions.sag_per_m,
        curb_height_m=conditions.curb_height_m,
    )
    traffic = build_traffic(street, random)
    scenery = build_scenery(street, random, -STREET_BEHIND_M, STREET_AHEAD_M)
    # Drawn apart, so that the rest of the street is the same with and without them.
    more = default_rng([seed, 2])
    traffic += add_traffic(street, more, traffic, groups=conditions.groups, trailers=conditions.trailers)
    if conditions.vegetation:
        scenery += build_vegetation(street, more, -STREET_BEHIND_M, STREET_AHEAD_M)
    standing = Scene.of([(0, pose, solids) for pose, solids in scenery])
    lidar_yaw = SE3.from_yaw({"+x": 0.0, "+y": np.pi / 2, "-x": np.pi, "-y": -np.pi / 2}[forward], np.zeros(3))
    cameras = {name: mounted_camera(name, image_size_px, distortion, lidar_yaw) for name in camera_names}

    slices = SHUTTER_SLICES if conditions.rolling_shutter else 1
    beams = lidar_grids(beam_count, azimuth_count, slices)
    camera_grids = {name: camera_grid(camera) for name, camera in cameras.items()}
    # Behind the vehicle and to one side, so that what it sees ahead is lit.
    azimuth = np.pi + float(random.uniform(0.35, 0.7)) * float(random.choice([-1, 1]))
    sun_direction = np.array([np.cos(azimuth), np.sin(azimuth), float(random.uniform(1.0, 1.3))])
    sun = Sun(street, standing, sun_direction, 0.09 * max(960 / image_size_px[0], 1.0), -40, 95) if cameras else None

    frames: list[Frame] = []
    masks: dict[int, dict[int, ObjectMasks]] = {object_id: {} for object_id in range(1, len(traffic) + 1)}
    boxes: dict[int, dict[int, Cuboid]] = {object_id: {} for object_id in masks}
    for index in range(frame_count):
        time_s = index * FRAME_INTERVAL_NS * 1e-9
        world_SE3_lidar = _ego_pose(street, speed_m_s, time_s) @ lidar_yaw.inverse()
        acting = [(object_id, actor.pose(time_s), actor.solids(time_s)) for object_id, actor in enumerate(traffic, 1)]
        moment = Scene.of(acting)
        around = {object_id: _tight_box(world_SE3_lidar.inverse() @ pose, solids) for object_id, pose, solids in acting}
        scene = (standing + moment).seen_from(world_SE3_lidar.inverse())
        noise = default_rng([seed, 1, index])
        views: list[tuple[Scene, SE3]] = [(scene, world_SE3_lidar)]
        if slices > 1:
            views = []
            for part in range(slices):
                then_s = time_s + ((part + 0.5) / slices - 0.5) * FRAME_INTERVAL_NS * 1e-9
                pose = _ego_pose(street, speed_m_s, then_s) @ lidar_yaw.inverse()
                acted = Scene.of([(object_id, actor.pose(then_s), actor.solids(then_s)) for object_id, actor in enumerate(traffic, 1)])
                views.append(((standing + acted).seen_from(pose.inverse()), pose))
        sweep, owners = scan(beams, views, street, conditions, noise)
        seen: dict[str, NDArray[np.int64]] = {}
        loaders: dict[str, Callable[[], UInt8Array]] = {}
        if sun is not None:
            footprints = [world_SE3_lidar.apply(cuboid.corners_m()[:4])[:, :2] for cuboid in around.values()]
            light = sun.light_on(moment, ContactShade(footprints, world_SE3_lidar.translation_m[:2]))
            for name, grid in camera_grids.items():
                hits = cast(grid, scene, street, world_SE3_lidar)
                seen[name] = grid.whole(owners_of(hits.solid, scene))
                image = render(hits, grid, scene, street, world_SE3_lidar, light, noise)
                # Kept as PNG: a drive of raw images would take gigabytes.
                loaders[name] = partial(_decode, cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
        frames.append(Frame(partial(_keep, sweep), loaders, world_SE3_lidar, FIRST_TIMESTAMP_NS + index * FRAME_INTERVAL_NS))
        for object_id in masks:
            lidar_mask = owners == object_id
            camera_masks = {name: owner == object_id for name, owner in seen.items()}
            if lidar_mask.any() or any(mask.any() for mask in camera_masks.values()):
                masks[object_id][index] = ObjectMasks(object_id, index, camera_masks, lidar_mask, 1.0)
                boxes[object_id][index] = around[object_id]
    masklets = tuple(
        Masklet(object_id, actor.label, masks[object_id], _same_size(boxes[object_id]))
        for object_id, actor in enumerate(traffic, 1)
        if masks[object_id]
    )
    return SyntheticDrive(Clip(f"synthetic_{seed:04d}", cameras, tuple(frames), forward), masklets)


def _check(
    frame_count: int, camera_names: Sequence[str], image_size_px: tuple[int, int], beams: int, azimuths: int, distortion: tuple[float, ...]
) -> None:
    where = "synthetic drive"
    if frame_count < 1:
        raise InputError(where, "at least one frame", str(frame_count))
    unknown = [name for name in camera_names if name not in CAMERA_YAWS_DEG]
    if unknown or len(set(camera_names)) != len(camera_names):
        raise InputError(where, f"different cameras among {', '.join(CAMERA_YAWS_DEG)}", ", ".join(camera_names))
    if min(image_size_px) < 8 or beams < 1 or azimuths < 8:
        raise InputError(where, "images of at least 8 by 8 pixels, a beam and 8 azimuths", f"{image_size_px}, {beams}, {azimuths}")
    if len(distortion) not in (0, 5):
        raise InputError(where, "no distortion or (k1, k2, p1, p2, k3)", str(distortion))


def _keep(sweep: Sweep) -> Sweep:
    return sweep


def _decode(encoded: UInt8Array) -> UInt8Array:
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


def _ego_pose(street: Street, speed_m_s: float, time_s: float) -> SE3:
    """world_SE3_lidar of a LiDAR whose x axis points ahead."""
    return street.resting(speed_m_s * time_s, -street.lane_m, height_m=LIDAR_HEIGHT_M)


def _tight_box(lidar_SE3_object: SE3, solids: Sequence[Solid]) -> Cuboid:
    """The upright box around an object, in the LiDAR frame."""
    lidar_SE3_box = SE3.from_yaw(lidar_SE3_object.yaw_rad, np.zeros(3))
    box_SE3_object = lidar_SE3_box.inverse() @ lidar_SE3_object
    axes = np.concatenate([np.eye(3), -np.eye(3)], axis=1)
    reach_m = np.full(6, -np.inf)
    for solid in solids:
        center_m = box_SE3_object.apply(solid.object_SE3_solid.translation_m)
        local_axes = (box_SE3_object.rotation @ solid.object_SE3_solid.rotation).T @ axes
        np.maximum(reach_m, center_m @ axes + solid.shape.support_m(local_axes), out=reach_m)
    low, high = -reach_m[3:], reach_m[:3]
    return Cuboid(_three(lidar_SE3_box.apply((low + high) / 2)), _three(high - low), lidar_SE3_object.yaw_rad)


def _three(values: Float64Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _same_size(boxes: Mapping[int, Cuboid]) -> dict[int, Cuboid]:
    """One size per object: the largest that it has on any frame (a swinging leg, the slope, change it a little)."""
    largest = _three(np.max([box.size_lwh_m for box in boxes.values()], axis=0))
    return {index: replace(box, size_lwh_m=largest) for index, box in boxes.items()}
