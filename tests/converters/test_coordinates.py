from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.coordinates import (
    Footprint,
    Rectangle,
    footprint_of,
    footprint_to_rectangle,
    percent_to_pixels,
    pixels_to_percent,
    rectangle_to_footprint,
)
from sam4d.geometry import Axis, BirdsEyeView, wrap_angle
from sam4d.structures import Cuboid

metres = st.floats(-80, 80)
lengths = st.floats(0.1, 20)
axes: st.SearchStrategy[Axis] = st.sampled_from(["+x", "-x", "+y", "-y"])
views = st.builds(BirdsEyeView, range_m=st.floats(10, 100), metres_per_pixel=st.floats(0.03, 0.5), forward=axes)


@given(st.floats(-20, 120), st.floats(-20, 120), st.integers(1, 4000), st.integers(1, 4000))
def test_percent_and_pixels_are_inverse(x: float, y: float, width_px: int, height_px: int) -> None:
    pixels = percent_to_pixels((x, y), width_px, height_px)
    assert pixels_to_percent(pixels, width_px, height_px) == pytest.approx((x, y), abs=1e-9)


def test_percent_of_an_image_that_is_not_square() -> None:
    assert percent_to_pixels((50, 25), 1920, 1080).tolist() == [960, 270]


@given(metres, metres, lengths, lengths, st.floats(-np.pi, np.pi), views)
def test_a_footprint_comes_back_from_its_rectangle(x: float, y: float, length: float, width: float, yaw: float, view: BirdsEyeView) -> None:
    back = rectangle_to_footprint(footprint_to_rectangle(Footprint((x, y), length, width, yaw), view), view)
    assert back.center_m == pytest.approx((x, y), abs=1e-6)
    assert (back.length_m, back.width_m) == pytest.approx((length, width), abs=1e-6)
    assert abs(wrap_angle(back.yaw_rad - yaw)) < 1e-6


@given(st.floats(-10, 110), st.floats(-10, 110), lengths, lengths, st.floats(0, 359.999), views)
def test_a_rectangle_comes_back_from_its_footprint(
    x: float, y: float, width: float, height: float, rotation: float, view: BirdsEyeView
) -> None:
    back = footprint_to_rectangle(rectangle_to_footprint(Rectangle(x, y, width, height, rotation), view), view)
    assert (back.x, back.y, back.width, back.height) == pytest.approx((x, y, width, height), abs=1e-6)
    assert abs((back.rotation - rotation + 180) % 360 - 180) < 1e-6
    assert 0 <= back.rotation < 360


@given(metres, metres, lengths, lengths, st.floats(-np.pi, np.pi), views)
def test_the_rectangle_has_the_cuboids_corners_its_top_edge_in_front(
    x: float, y: float, length: float, width: float, yaw: float, view: BirdsEyeView
) -> None:
    cuboid = Cuboid((x, y, 0.0), (length, width, 1.5), yaw)
    corners_px = footprint_to_rectangle(footprint_of(cuboid), view).corners_px(view.size_px, view.size_px)
    front_left, rear_left, rear_right, front_right = view.to_pixels(cuboid.corners_m()[:4])
    scale = view.size_px * 1e-9 + 1e-6
    assert np.abs(corners_px - np.stack([front_left, front_right, rear_right, rear_left])).max() < scale


@pytest.mark.parametrize(
    ("forward", "yaw", "rotation"),
    [("+x", 0.0, 0), ("+x", np.pi / 2, 270), ("+x", -np.pi / 2, 90), ("+y", np.pi / 2, 0), ("-x", np.pi, 0), ("-y", 0.0, 270)],
)
def test_rotation_zero_faces_forward_and_grows_clockwise(forward: Axis, yaw: float, rotation: float) -> None:
    rectangle = footprint_to_rectangle(Footprint((0, 0), 4, 2, yaw), BirdsEyeView(50, 0.1, forward))
    assert rectangle.rotation == pytest.approx(rotation)
    assert (rectangle.width, rectangle.height) == pytest.approx((2, 4))


def test_an_unturned_rectangle_around_the_lidar() -> None:
    rectangle = footprint_to_rectangle(Footprint((0, 0), 4, 2, 0), BirdsEyeView(50, 0.1))
    assert (rectangle.x, rectangle.y) == pytest.approx((49, 48))
