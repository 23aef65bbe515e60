"""The scene without trails: what stands stays, what moves is a body, and every point finds its voxel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam4d.data_engine.bodies import Body
from sam4d.data_engine.reconstruction import Reconstruction, reconstruct
from sam4d.data_engine.scene import voxel_scene
from sam4d.data_engine.voxels import rows_of, voxel_keys
from sam4d.evaluation.generated import count_haunting, ghost_voxels
from sam4d.geometry import SE3
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, Cuboid, Frame, Sweep


@pytest.fixture(scope="module")
def scene(street: SyntheticDrive) -> Reconstruction:
    return reconstruct(street.clip, [Body.of(masklet) for masklet in street.masklets])


def net_m(drive: SyntheticDrive, object_id: int) -> float:
    masklet = next(masklet for masklet in drive.masklets if masklet.object_id == object_id)
    frames = sorted(masklet.cuboids)
    ends = [drive.clip.lidar_SE3_lidar(0, frame).apply(np.array(masklet.cuboids[frame].center_m)) for frame in (frames[0], frames[-1])]
    return float(np.linalg.norm((ends[1] - ends[0])[:2]))


def test_what_moves_is_a_body_and_what_stands_is_none(street: SyntheticDrive, scene: Reconstruction) -> None:
    bodies = {body.object_id for body in scene.bodies}
    assert bodies
    # A second is enough for a pedestrian to leave its place.
    assert all(net_m(street, object_id) > 0.6 for object_id in bodies)
    seen_well = {
        masklet.object_id
        for masklet in street.masklets
        if sum(int(masks.lidar_mask.sum()) for masks in masklet.masks.values()) > 400 and len(masklet.masks) == len(street.clip)
    }
    assert {object_id for object_id in seen_well if net_m(street, object_id) > 2} <= bodies


def ghosts(drive: SyntheticDrive, scene: Reconstruction, object_id: int) -> int:
    """Voxels of the static scene, above the ground, where only the moving object was."""
    masklet = next(masklet for masklet in drive.masklets if masklet.object_id == object_id)
    static = scene.part(0)
    left: set[int] = set()
    for frame_index, masks in masklet.masks.items():
        points_m = drive.clip.frames[frame_index].load_sweep().points_m[masks.lidar_mask]
        keys = voxel_keys(drive.clip.lidar_SE3_lidar(0, frame_index).apply(points_m), scene.settings.voxel_m)
        rows = rows_of(keys, scene.keys[static])
        left |= set(rows[(rows >= 0) & ~scene.is_ground[np.maximum(rows, 0)]].tolist())
    return len(left)


def test_moving_objects_leave_no_ghosts(street: SyntheticDrive, scene: Reconstruction) -> None:
    moving = [masklet.object_id for masklet in street.masklets if len(masklet.masks) > 1 and net_m(street, masklet.object_id) > 1]
    haunted = [object_id for object_id in moving if ghosts(street, scene, object_id) > 20]
    assert len(haunted) <= 0.05 * len(moving)


def test_trails_are_carved_even_where_nobody_says_what_moved(street: SyntheticDrive, scene: Reconstruction) -> None:
    carved = reconstruct(street.clip, [])
    smeared = reconstruct(street.clip, [], replace(carved.settings, least_empty=10**6))
    left, before = (sum(ghosts(street, each, body.object_id) for body in scene.bodies) for each in (carved, smeared))
    assert left < 0.6 * before, "who drives ahead hides the places it comes to, so that not all can be known"


def test_every_point_near_enough_finds_a_voxel_at_its_place(street: SyntheticDrive, scene: Reconstruction) -> None:
    for frame_index in (0, 5, 9):
        points_m = street.clip.frames[frame_index].load_sweep().points_m
        voxels = scene.voxels_of_points(frame_index, points_m)
        near = np.isfinite(points_m).all(axis=1) & (np.hypot(points_m[:, 0], points_m[:, 1]) < scene.settings.reach_m)
        assert (voxels[near] >= 0).mean() > 0.9
        there, places_m = scene.places_at(frame_index)
        place = np.full((len(scene), 3), np.nan, dtype=np.float32)
        place[there] = places_m
        known = voxels >= 0
        assert np.abs(place[voxels[known]] - points_m[known]).max() < scene.settings.voxel_m * np.sqrt(3)


def test_the_haunting_of_a_scene_is_counted(street: SyntheticDrive, scene: Reconstruction) -> None:
    smeared = reconstruct(street.clip, [], replace(scene.settings, least_empty=10**6))
    clean, haunted = (count_haunting(street, voxel_scene(each, [])) for each in (scene, smeared))
    assert (
        clean.moving
        == haunted.moving
        == sum(len(masklet.masks) > 1 and net_m(street, masklet.object_id) > 1 for masklet in street.masklets)
    )
    assert clean.haunting <= 0.05 * clean.moving < haunted.haunting
    left = ghost_voxels(street, voxel_scene(scene, []))
    assert left == {object_id: ghosts(street, scene, object_id) for object_id in left}


def frame(points_m: np.ndarray, x_m: float) -> Frame:  # type: ignore[type-arg]
    sweep = Sweep(points_m.astype(np.float32))
    return Frame(lambda: sweep, {}, SE3(np.eye(3), np.array([x_m, 0.0, 0.0])))


def test_a_cuboid_that_wanders_around_a_standing_thing_is_no_body() -> None:
    y, z = np.meshgrid(np.arange(-1, 1, 0.05), np.arange(-1, 1, 0.05))
    face = np.column_stack([np.full(y.size, 10.0), y.ravel(), z.ravel()])
    clip = Clip("wall", {}, tuple(frame(face, 0.0) for _ in range(5)))
    wandering = Body(1, {k: Cuboid((10.0, 0.5 * k - 1, 0.0), (2.0, 2.0, 2.0), 0.0) for k in range(5)})
    assert reconstruct(clip, [wandering]).bodies == ()
    background = np.column_stack([np.full(40000, 30.0), np.repeat(np.arange(-10, 20, 0.15), 200), np.tile(np.arange(-4, 4, 0.04), 200)])
    steps = [face + np.array([0, 3.0 * k, 0]) for k in range(3)]
    moved = Clip("moving", {}, tuple(frame(np.concatenate([step, background]), 0.0) for step in steps))
    moving = Body(1, {k: Cuboid((10.0, 3.0 * k, 0.0), (2.0, 2.0, 2.0), 0.0) for k in range(3)})
    assert [body.object_id for body in reconstruct(moved, [moving]).bodies] == [1]
