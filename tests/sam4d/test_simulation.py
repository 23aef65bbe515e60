"""The synthetic drive: what it says about itself holds, exactly where it can be exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from sam4d.geometry import SE3, Axis, BirdsEyeView, BoolArray, Float64Array
from sam4d.simulation import HARD, LENS, USUAL, Conditions, SyntheticDrive, simulate_drive
from sam4d.simulation.ray_casting import GROUND, NOTHING, RayGrid, Scene, cast
from sam4d.simulation.solids import Box, Cylinder, Ellipsoid, Floats, Polyhedron, Ring, Shape, Solid, uniform
from sam4d.simulation.street import Street
from sam4d.structures import Camera, Clip, InputError, Masklet

NOISE_M = 0.06
"""Returns lie at most this far from the surface they show (leaves apart, which are no objects)."""


CORNERS = [[-1, -0.5, 0], [1, -0.5, 0], [1, 0.5, 0], [-1, 0.5, 0], [-0.5, 0, 1], [0.6, 0, 1]]
SHAPES: list[Shape] = [
    Box((1.2, 0.7, 2.1)),
    Cylinder(0.8, 0.5, 0.6),
    Ellipsoid((0.9, 0.4, 1.3)),
    Ring(0.5, 0.8, 0.1),
    Polyhedron(CORNERS),
]


def tiny(seed: int = 3, frame_count: int = 1, camera_names: tuple[str, ...] = ("front",), forward: Axis = "+x") -> SyntheticDrive:
    return simulate_drive(
        seed, frame_count, camera_names=camera_names, image_size_px=(96, 60), beam_count=16, azimuth_count=120, forward=forward
    )


def points_of(clip: Clip, masklet: Masklet, frame_index: int) -> Floats:
    return clip.frames[frame_index].load_sweep().points_m[masklet.masks[frame_index].lidar_mask]


def test_the_same_seed_gives_the_same_drive_and_another_seed_another() -> None:
    first, again, other = tiny(seed=5), tiny(seed=5), tiny(seed=6)

    def sweep(drive: SyntheticDrive) -> Floats:
        return drive.clip.frames[0].load_sweep().points_m

    def image(drive: SyntheticDrive) -> NDArray[np.uint8]:
        return drive.clip.frames[0].load_images["front"]()

    np.testing.assert_array_equal(sweep(first), sweep(again))
    np.testing.assert_array_equal(image(first), image(again))
    assert [(m.object_id, m.label, m.cuboids) for m in first.masklets] == [(m.object_id, m.label, m.cuboids) for m in again.masklets]
    for one, two in zip(first.masklets, again.masklets, strict=True):
        np.testing.assert_array_equal(one.masks[0].lidar_mask, two.masks[0].lidar_mask)
        np.testing.assert_array_equal(one.masks[0].camera_masks["front"], two.masks[0].camera_masks["front"])
    assert sweep(first).shape != sweep(other).shape or not np.array_equal(sweep(first), sweep(other))
    assert not np.array_equal(image(first), image(other))


def test_the_street_has_everything_a_street_has(small_drive: SyntheticDrive) -> None:
    labels = {masklet.label for masklet in small_drive.masklets}
    assert labels == {"Car", "Truck", "Pedestrian", "Cyclist"}
    assert len(small_drive.clip) == 4
    assert len({masklet.object_id for masklet in small_drive.masklets}) == len(small_drive.masklets) > 20
    moving = [m for m in small_drive.masklets if len(m.cuboids) == 4 and _travelled_m(small_drive.clip, m) > 0.3]
    parked = [m for m in small_drive.masklets if len(m.cuboids) == 4 and _travelled_m(small_drive.clip, m) < 0.05]
    assert len(moving) >= 5
    assert len(parked) >= 10


def _travelled_m(clip: Clip, masklet: Masklet) -> float:
    first, last = min(masklet.cuboids), max(masklet.cuboids)
    moved = masklet.cuboids[last].moved(clip.lidar_SE3_lidar(first, last))
    return float(np.linalg.norm(np.subtract(moved.center_m, masklet.cuboids[first].center_m)))


def test_masks_fit_what_they_are_masks_of(small_drive: SyntheticDrive) -> None:
    clip = small_drive.clip
    for index, frame in enumerate(clip.frames):
        sweep = frame.load_sweep()
        assert sweep.points_m.dtype == np.float32
        assert np.isfinite(sweep.points_m).all()
        assert sweep.intensity is not None
        assert sweep.intensity.shape == (len(sweep),)
        assert ((sweep.intensity >= 0) & (sweep.intensity <= 1)).all()
        assert set(frame.load_images) == set(clip.cameras)
        for name, camera in clip.cameras.items():
            image = frame.load_images[name]()
            assert image.shape == (camera.height_px, camera.width_px, 3)
            assert image.dtype == np.uint8
            assert image.std() > 20
        taken = np.zeros(len(sweep), dtype=np.int64)
        pixels = {name: np.zeros((camera.height_px, camera.width_px), np.int64) for name, camera in clip.cameras.items()}
        for masklet in small_drive.masklets:
            if index not in masklet.masks:
                assert index not in masklet.cuboids
                continue
            masks = masklet.masks[index]
            assert not masks.is_empty
            assert masks.score == 1.0
            assert set(masks.camera_masks) == set(clip.cameras)
            taken += masks.lidar_mask
            for name in pixels:
                pixels[name] += masks.camera_masks[name]
        # A point, or a pixel, shows one object at most.
        assert taken.max() == 1
        assert all(owners.max() == 1 for owners in pixels.values())


def test_every_point_of_an_object_lies_in_its_cuboid(small_drive: SyntheticDrive) -> None:
    checked = 0
    for masklet in small_drive.masklets:
        assert len({cuboid.size_lwh_m for cuboid in masklet.cuboids.values()}) == 1
        for index, cuboid in masklet.cuboids.items():
            points = points_of(small_drive.clip, masklet, index)
            assert cuboid.contains(points, NOISE_M).all()
            checked += len(points)
    assert checked > 5000


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
@given(seed=st.integers(0, 10_000))
def test_a_shape_reaches_exactly_as_far_as_it_says(shape: Shape, seed: int) -> None:
    """Rays from far away, side by side over the rim: the highest that still hits is where the shape ends."""
    random = np.random.default_rng(seed)
    rotation = SE3.from_quaternion(_unit(random.normal(size=4)), np.zeros(3)).rotation
    toward, across, ahead = rotation.T
    reach_m = float(shape.support_m(toward[:, None])[0])
    offsets = np.linspace(-1.8, 1.8, 1201)
    for height, hits in ((reach_m + 1e-6, False), (reach_m - 0.02, True)):
        origins = (height * toward - 5 * ahead)[:, None] + offsets * across[:, None]
        entered = shape.enter(origins, np.repeat(ahead[:, None], len(offsets), axis=1))
        assert bool(np.isfinite(entered).any()) is hits


def _unit(vector: Float64Array) -> Float64Array:
    return np.asarray(vector / np.linalg.norm(vector))


def test_cuboids_are_tight_and_head_the_way_their_objects_go(small_drive: SyntheticDrive) -> None:
    likely_m = {"Car": (3.9, 6.0), "Truck": (7.0, 8.5), "Pedestrian": (0.4, 1.2), "Cyclist": (1.6, 2.0)}
    for masklet in small_drive.masklets:
        low, high = likely_m[masklet.label]
        assert all(low < cuboid.size_lwh_m[0] < high for cuboid in masklet.cuboids.values())
        if len(masklet.cuboids) < 2 or _travelled_m(small_drive.clip, masklet) < 0.3:
            continue
        first, last = min(masklet.cuboids), max(masklet.cuboids)
        moved = masklet.cuboids[last].moved(small_drive.clip.lidar_SE3_lidar(first, last))
        step = np.subtract(moved.center_m, masklet.cuboids[first].center_m)
        heading = np.array([np.cos(moved.yaw_rad), np.sin(moved.yaw_rad), 0.0])
        assert step @ heading / np.linalg.norm(step) > 0.98


def test_no_two_objects_are_in_one_place(small_drive: SyntheticDrive) -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 9)] * 3), axis=-1).reshape(-1, 3)
    for index in range(len(small_drive.clip)):
        cuboids = [masklet.cuboids[index] for masklet in small_drive.masklets if index in masklet.cuboids]
        filled = [cuboid.lidar_SE3_cuboid.apply(grid * cuboid.size_lwh_m) for cuboid in cuboids]
        for one, cuboid in enumerate(cuboids):
            others = np.concatenate(filled[:one] + filled[one + 1 :])
            assert not cuboid.contains(others, 0.2).any()


def test_points_project_into_the_masks_of_their_objects(small_drive: SyntheticDrive) -> None:
    """The cameras hang beside the LiDAR, so a nearer object may cover a point, and a point at the very edge may fall beside the mask."""
    inside = total = 0
    for masklet in small_drive.masklets:
        for index, masks in masklet.masks.items():
            points = points_of(small_drive.clip, masklet, index)
            for name, camera in small_drive.clip.cameras.items():
                pixels, _, visible = camera.project(points)
                columns, rows = pixels[visible].astype(int).T
                inside += int(masks.camera_masks[name][rows, columns].sum())
                total += int(visible.sum())
    assert total > 2000
    assert inside / total > 0.93


def test_without_noise_in_between_every_pixel_is_one_ray(small_drive: SyntheticDrive) -> None:
    """The cuboid's image is around the camera mask wherever the whole cuboid is ahead of the camera."""
    checked = 0
    for masklet in small_drive.masklets:
        for index, masks in masklet.masks.items():
            corners = masklet.cuboids[index].corners_m()
            for name, camera in small_drive.clip.cameras.items():
                local = camera.lidar_SE3_cam.inverse().apply(corners)
                if masks.camera_masks[name].any() and (local[:, 2] > 0.5).all():
                    pixels, _, _ = camera.project(corners)
                    rows, columns = np.nonzero(masks.camera_masks[name])
                    assert columns.min() >= pixels[:, 0].min() - 1
                    assert columns.max() <= pixels[:, 0].max() + 1
                    assert rows.min() >= pixels[:, 1].min() - 1
                    assert rows.max() <= pixels[:, 1].max() + 1
                    checked += 1
    assert checked > 50


def test_poses_put_what_stands_still_where_it_was(small_drive: SyntheticDrive) -> None:
    """In the world, the parked cars of one frame lie where they lay on another; the vehicle drives on meanwhile."""
    clip = small_drive.clip
    first, last = clip.frames[0], clip.frames[-1]
    assert first.world_SE3_lidar is not None
    assert last.world_SE3_lidar is not None
    assert np.linalg.norm(last.world_SE3_lidar.translation_m - first.world_SE3_lidar.translation_m) == pytest.approx(2.1, abs=0.1)
    for masklet in small_drive.masklets:
        if {0, 3} <= set(masklet.cuboids) and _travelled_m(clip, masklet) < 0.05:
            points = last.world_SE3_lidar.apply(points_of(clip, masklet, 3))
            assert masklet.cuboids[0].contains(first.world_SE3_lidar.inverse().apply(points), NOISE_M + 0.03).all()
    stamps = [frame.timestamp_ns for frame in clip.frames]
    assert all(stamp is not None for stamp in stamps)
    np.testing.assert_array_equal(np.diff(np.array(stamps, dtype=np.int64)), 100_000_000)


def test_a_hard_drive_has_exact_masks_too_and_more_in_it() -> None:
    hard, usual = (
        simulate_drive(
            5, 2, camera_names=("front",), image_size_px=(240, 150), beam_count=32, azimuth_count=400, distortion=LENS, conditions=c
        )
        for c in (HARD, USUAL)
    )
    assert sum(m.label == "Pedestrian" for m in hard.masklets) > sum(m.label == "Pedestrian" for m in usual.masklets) + 4
    assert max(c.size_lwh_m[0] for m in hard.masklets for c in m.cuboids.values() if m.label == "Truck") > 12
    sweeps = [drive.clip.frames[0].load_sweep() for drive in (hard, usual)]
    assert len(sweeps[0]) < 0.95 * len(sweeps[1])
    inside = total = 0
    for masklet in hard.masklets:
        taken = np.zeros(len(hard.clip.frames[0].load_sweep()), dtype=np.bool_)
        if 0 in masklet.masks:
            taken |= masklet.masks[0].lidar_mask
            # While the sensor turns the vehicle and the object move on: by less than a metre together.
            inside += int(masklet.cuboids[0].contains(points_of(hard.clip, masklet, 0), 1.0).sum())
            total += int(taken.sum())
    assert total > 500
    assert inside / total > 0.98


def test_a_rolling_shutter_leaves_points_where_the_moving_sensor_saw_them() -> None:
    still, rolling = (
        simulate_drive(3, 1, camera_names=(), beam_count=16, azimuth_count=400, conditions=Conditions(rolling_shutter=shutter))
        for shutter in (False, True)
    )

    def wall_behind(drive: SyntheticDrive) -> float:
        points = drive.clip.frames[0].load_sweep().points_m
        lidar = next(m for m in drive.masklets if 0 in m.masks and m.cuboids[0].center_m[0] > 10 and abs(m.cuboids[0].center_m[1]) < 2)
        return float(np.median(points[lidar.masks[0].lidar_mask, 0]))

    # Straight ahead is seen in the middle of the turn, when the frame is.
    assert wall_behind(rolling) == pytest.approx(wall_behind(still), abs=0.1)
    counts = [len(drive.clip.frames[0].load_sweep()) for drive in (still, rolling)]
    assert counts[0] != counts[1]


def test_a_drive_without_cameras_is_the_lidar_alone() -> None:
    bare, full = tiny(camera_names=()), tiny(camera_names=("back", "front"))
    assert not bare.clip.cameras
    assert not bare.clip.frames[0].load_images
    assert len(bare.masklets) > 10
    assert all(not masklet.masks[0].camera_masks for masklet in bare.masklets)
    # The cameras of a rig change nothing of the street, nor of the sweep.
    np.testing.assert_array_equal(bare.clip.frames[0].load_sweep().points_m, full.clip.frames[0].load_sweep().points_m)


def test_a_lens_bends_the_image_and_its_masks_alike() -> None:
    lens = (-0.28, 0.07, 0.0004, -0.0006, 0.0)
    straight, bent = (
        simulate_drive(3, 1, camera_names=("front",), image_size_px=(240, 150), beam_count=32, azimuth_count=600, distortion=distortion)
        for distortion in ((), lens)
    )
    camera = bent.clip.cameras["front"]
    assert camera.distortion == lens

    def share_inside(drive: SyntheticDrive, camera: Camera) -> float:
        inside = total = 0
        for masklet in drive.masklets:
            pixels, _, visible = camera.project(points_of(drive.clip, masklet, 0))
            columns, rows = pixels[visible].astype(int).T
            inside += int(masklet.masks[0].camera_masks["front"][rows, columns].sum())
            total += int(visible.sum())
        assert total > 500
        return inside / total

    assert share_inside(bent, camera) > share_inside(straight, straight.clip.cameras["front"]) - 0.02 > 0.88
    assert share_inside(bent, replace(camera, distortion=())) < 0.85


@pytest.mark.parametrize("forward", ["+y", "-x", "-y"])
def test_the_vehicle_drives_along_the_named_axis(forward: Axis) -> None:
    drive = tiny(frame_count=2, forward=forward)
    moved = drive.clip.lidar_SE3_lidar(0, 1).translation_m
    yaw_rad = BirdsEyeView(forward=forward).forward_yaw_rad
    assert drive.clip.forward == forward
    assert moved @ np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0]) == pytest.approx(0.7, abs=0.02)
    # The camera called front looks that way, and the car ahead is in its image.
    ahead = drive.clip.cameras["front"].lidar_SE3_cam.rotation[:, 2]
    assert ahead @ np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0]) > 0.99
    lead = next(masklet for masklet in drive.masklets if masklet.object_id == 1)
    assert lead.masks[0].camera_masks["front"].any()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: simulate_drive(frame_count=0), "frame"),
        (lambda: simulate_drive(camera_names=("front", "roof")), "roof"),
        (lambda: simulate_drive(camera_names=("front", "front")), "front"),
        (lambda: simulate_drive(image_size_px=(0, 600)), "pixels"),
        (lambda: simulate_drive(distortion=(0.1,)), "k1"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], SyntheticDrive], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()


def is_inside(shape: Shape, points: Float64Array) -> BoolArray:
    """Which points (3, K) lie in a shape, from its definition."""
    x, y, z = points
    if isinstance(shape, Box):
        return np.asarray((np.abs(points) <= shape.half_extents_m[:, None]).all(axis=0))
    if isinstance(shape, Cylinder):
        return np.asarray(((x / shape.radius_x_m) ** 2 + (y / shape.radius_y_m) ** 2 <= 1) & (np.abs(z) <= shape.half_height_m))
    if isinstance(shape, Ellipsoid):
        return np.asarray(((points / shape.half_extents_m[:, None]) ** 2).sum(axis=0) <= 1)
    if isinstance(shape, Ring):
        radius = np.hypot(x, y)
        return np.asarray((radius >= shape.inner_radius_m) & (radius <= shape.outer_radius_m) & (np.abs(z) <= shape.half_height_m))
    return np.asarray(Delaunay(np.array(CORNERS) - [0, 0, 0.5]).find_simplex(points.T) >= 0)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
@given(seed=st.integers(0, 10_000))
def test_a_ray_enters_a_shape_where_a_fine_walk_along_it_does(shape: Shape, seed: int) -> None:
    random = np.random.default_rng(seed)
    outside = random.normal(size=(3, 1))
    outside *= 4 / np.linalg.norm(outside)
    directions = random.normal(scale=0.6, size=(3, 20)) - outside
    directions /= np.linalg.norm(directions, axis=0)
    entered = shape.enter(np.repeat(outside, 20, axis=1), directions)
    step = 0.004
    walk = np.arange(1.5, 6.5, step)
    places = outside[:, :, None] + directions[:, :, None] * walk
    inside = is_inside(shape, places.reshape(3, -1)).reshape(20, len(walk))
    walked = np.where(inside.any(axis=1), walk[inside.argmax(axis=1)], np.inf)
    # A walk may step over a corner that a ray clips, never the other way round.
    clipped = np.isfinite(entered) & ~(walked <= entered + step)
    assert (walked >= entered - 1e-9).all()
    assert clipped.sum() <= 2
    met = np.isfinite(entered)
    hits = outside + entered[met] * directions[:, met]
    normals = shape.normals(hits)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=0), 1, atol=1e-9)
    assert ((normals * directions[:, met]).sum(axis=0) < 1e-9).all()
    assert (np.abs(hits) <= shape.half_extents_m[:, None] + 1e-9).all()
    if met.any():
        toward = random.normal(size=(3, 20))
        assert (shape.support_m(toward) >= (hits.T @ toward).max(axis=0) - 1e-9).all()


@given(seed=st.integers(0, 1000))
def test_tiles_leave_out_no_ray_that_would_have_hit(seed: int) -> None:
    """The caster with its tiles against every ray tested with every solid."""
    random = np.random.default_rng(seed)
    u, v = np.meshgrid(np.linspace(-1, 1, 37), np.linspace(-0.7, 0.7, 23))
    rays = np.stack([np.ones_like(u), u, v], axis=-1)
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    placed = [
        (
            i + 1,
            SE3.from_yaw(random.uniform(-3, 3), random.uniform([2, -5, -3], [12, 5, 3])),
            [Solid(shape, SE3.identity(), uniform((1, 1, 1)))],
        )
        for i, shape in enumerate(SHAPES * 2)
    ]
    scene = Scene.of(placed)
    grid = RayGrid(np.array([0.1, -0.2, 0.3]), rays, (8, 8))
    hits = cast(grid, scene)
    nearest = np.full(rays.shape[:2], np.inf)
    owner = np.full(rays.shape[:2], NOTHING)
    for index, (_, pose, solids) in enumerate(placed):
        origin = pose.inverse().apply(grid.origin_m)[:, None]
        directions = pose.rotation.T @ rays.reshape(-1, 3).T
        entered = solids[0].shape.enter(np.repeat(origin, directions.shape[1], axis=1), directions).reshape(nearest.shape)
        closer = (entered < nearest) & (entered > 0.05)
        nearest[closer], owner[closer] = entered[closer], index
    np.testing.assert_array_equal(grid.whole(hits.solid), owner)
    np.testing.assert_allclose(grid.whole(hits.range_m), nearest, rtol=1e-9)


@given(
    curvature=st.sampled_from([-1 / 220, 1 / 300]),
    station=st.floats(-80, 150),
    lateral=st.floats(-14, 14),
)
def test_places_along_the_street_and_back(curvature: float, station: float, lateral: float) -> None:
    street = Street(curvature_per_m=curvature)
    x, y, _ = street.position(station, lateral)
    back = street.coordinates(np.array([x]), np.array([y]))
    np.testing.assert_allclose([back[0][0], back[1][0]], [station, lateral], atol=1e-6)


def test_rays_meet_the_road_the_curb_and_the_pavement() -> None:
    street = Street()
    eye = street.resting(0.0, 0.0, height_m=1.8)
    turns, tilts = np.meshgrid(np.linspace(-np.pi, np.pi, 200), np.linspace(-0.6, 0.1, 80))
    rays = np.stack([np.cos(tilts) * np.cos(turns), np.cos(tilts) * np.sin(turns), np.sin(tilts)], axis=-1)
    grid = RayGrid(eye.translation_m, rays, (20, 20))
    hits = cast(grid, Scene.of([]), street)
    ground = grid.whole(hits.solid) == GROUND
    points = (eye.translation_m + grid.whole(hits.range_m)[..., None] * rays)[ground].T
    raised = points[2] - street.surface_z(points[0], points[1])
    _, lateral = street.coordinates(points[0], points[1])
    on_road, beside = np.abs(lateral) < street.half_width_m - 1e-3, np.abs(lateral) > street.half_width_m + 1e-3
    np.testing.assert_allclose(raised[on_road], 0, atol=1e-6)
    np.testing.assert_allclose(raised[beside], street.curb_height_m, atol=1e-6)
    face = ~on_road & ~beside
    assert face.sum() > 20
    assert ((raised[face] > -1e-3) & (raised[face] < street.curb_height_m + 1e-3)).all()
