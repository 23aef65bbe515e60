"""A prepared frame: what is valid, what each camera sees, what is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from sam4d.geometric.scene import prepare_frame
from sam4d.structures import Clip, Frame, InputError, Sweep
from tests.sam4d.geometric.street import CAR, FRONT, WALL, Box, scan, street_clip


def test_rows_that_are_not_finite_are_nothing() -> None:
    points, _ = scan({"car": CAR})
    points = points.copy()
    points[::7] = np.nan
    points[1::14, 0] = np.inf
    points[2::14] = 1e30
    scene = prepare_frame(Clip("holes", {"front": FRONT}, (Frame(lambda: Sweep(points), {}),)), 0)
    bad = ~np.isfinite(points).all(axis=1) | (np.abs(np.nan_to_num(points, posinf=0)) > 1e4).any(axis=1)
    np.testing.assert_array_equal(scene.valid, ~bad)
    assert not scene.is_ground[bad].any()
    assert not scene.is_object[bad].any()
    assert not scene.view(FRONT).inside[bad].any()
    assert np.isfinite(scene.points_m).all()


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((5, 3), np.nan)])
def test_a_sweep_without_returns_is_a_frame_without_points(points: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    scene = prepare_frame(Clip("empty", {"front": FRONT}, (Frame(lambda: Sweep(points.astype(np.float32)), {}),)), 0)
    assert len(scene) == len(points)
    assert not scene.is_object.any()
    assert not scene.view(FRONT).visible.any()


def test_points_behind_others_are_not_visible_from_the_camera() -> None:
    # The LiDAR is moved up, so that it sees over the box what the camera cannot.
    boxes = {"box": Box((8.0, 0.0), (1.0, 3.0, 1.6)), "wall": WALL}
    clip, scene, owned, _ = street_clip(boxes)
    behind = np.array([[20.0, 0.0, -1.0], [20.0, 0.3, -1.2], [8.0 - 0.6, 0.0, -1.0]], dtype=np.float32)
    points = np.concatenate([scene.points_m, behind])
    scene = prepare_frame(Clip("hidden", clip.cameras, (Frame(lambda: Sweep(points), {}),)), 0)
    np.testing.assert_array_equal(scene.view(FRONT).visible[-3:], [False, False, True])
    assert scene.view(FRONT).visible[: -len(behind)][owned["box"]].mean() > 0.95


def test_what_looks_out_above_a_nearer_thing_is_visible() -> None:
    y, z = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1.5, -0.5, 12))
    near = np.column_stack([np.full(y.size, 8.0), y.ravel(), z.ravel()])
    top_px = 200 + 500 * 0.5 / 7.7
    # 20 m away: a beam higher than the nearer thing's last, and between two beams that hit it.
    far = [[20.3, -0.01, -(pixel - 200) * 20 / 500] for pixel in (top_px - 2.2, top_px + 3.0)]
    points = np.concatenate([near, far]).astype(np.float32)
    view = prepare_frame(Clip("edge", {"front": FRONT}, (Frame(lambda: Sweep(points), {}),)), 0).view(FRONT)
    np.testing.assert_array_equal(view.visible[-2:], [True, False])
    assert view.visible[:-2].all()


def test_images_are_read_when_asked_for() -> None:
    clip, scene, _, _ = street_clip({"car": CAR})
    assert scene.cameras == ("front",)
    assert scene.image("front") is scene.image("front")
    with pytest.raises(InputError, match="image of camera back"):
        scene.image("back")
    with pytest.raises(InputError, match="frame of clip street"):
        prepare_frame(clip, 1)
