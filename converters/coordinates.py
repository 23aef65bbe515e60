"""Label Studio's percent coordinates <-> pixels, and rotated bird's-eye rectangles <-> cuboid footprints.

Label Studio gives a rectangle as x, y, width and height in percent of the image and a rotation in degrees, clockwise on the
screen, about (x, y), the corner that is top left before the turn.

Heading: the rectangle's top edge is the object's front. With rotation 0 the object faces up the image, which is the vehicle's own
forward direction; with rotation 90 it faces right. So `height` is the object's length and `width` its width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sam4d.geometry import BirdsEyeView, Float64Array, wrap_angle
from sam4d.structures import Cuboid


@dataclass(frozen=True)
class Rectangle:
    """A rectangle as Label Studio keeps it: percent of the image, degrees clockwise about its top-left corner."""

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0

    def corners_px(self, width_px: int, height_px: int) -> Float64Array:
        """float64 (4, 2), pixels (u, v): top left, top right, bottom right, bottom left (before the turn)."""
        corner = np.array([self.x * width_px, self.y * height_px]) / 100
        right, down = _axes(self.rotation)
        across, along = right * self.width * width_px / 100, down * self.height * height_px / 100
        return np.stack([corner, corner + across, corner + across + along, corner + along])


@dataclass(frozen=True)
class Footprint:
    """A cuboid seen from above, in the LiDAR frame: centre, length along the heading, width, heading about +z. Metres, radians."""

    center_m: tuple[float, float]
    length_m: float
    width_m: float
    yaw_rad: float


def percent_to_pixels(percent: ArrayLike, width_px: int, height_px: int) -> Float64Array:
    """Percent of the image (..., 2) -> continuous pixels (u, v), float64 (..., 2)."""
    return np.array(percent, dtype=np.float64) * np.array([width_px, height_px], dtype=np.float64) / 100


def pixels_to_percent(pixels: ArrayLike, width_px: int, height_px: int) -> Float64Array:
    """Continuous pixels (u, v), (..., 2) -> percent of the image, float64 (..., 2). Inverse of `percent_to_pixels`."""
    return np.array(pixels, dtype=np.float64) * 100 / np.array([width_px, height_px], dtype=np.float64)


def footprint_of(cuboid: Cuboid) -> Footprint:
    """The cuboid seen from above."""
    return Footprint((cuboid.center_m[0], cuboid.center_m[1]), cuboid.size_lwh_m[0], cuboid.size_lwh_m[1], cuboid.yaw_rad)


def footprint_to_rectangle(footprint: Footprint, view: BirdsEyeView) -> Rectangle:
    """A footprint -> the rectangle on the bird's-eye image; rotation in [0, 360). It may reach beyond the image."""
    percent_per_metre = 100 / (view.size_px * view.metres_per_pixel)
    rotation = float(np.degrees(view.forward_yaw_rad - footprint.yaw_rad) % 360)
    rotation = 0.0 if rotation >= 360 else rotation  # a tiny negative angle is rounded up to 360
    width, height = footprint.width_m * percent_per_metre, footprint.length_m * percent_per_metre
    right, down = _axes(rotation)
    center = pixels_to_percent(view.to_pixels(np.array(footprint.center_m)), view.size_px, view.size_px)
    x, y = center - (right * width + down * height) / 2
    return Rectangle(float(x), float(y), width, height, rotation)


def rectangle_to_footprint(rectangle: Rectangle, view: BirdsEyeView) -> Footprint:
    """A rectangle on the bird's-eye image -> the footprint, yaw in [-pi, pi). Inverse of `footprint_to_rectangle`."""
    metres_per_percent = view.size_px * view.metres_per_pixel / 100
    right, down = _axes(rectangle.rotation)
    center = np.array([rectangle.x, rectangle.y]) + (right * rectangle.width + down * rectangle.height) / 2
    x, y = view.to_metres(percent_to_pixels(center, view.size_px, view.size_px))
    yaw_rad = wrap_angle(view.forward_yaw_rad - float(np.radians(rectangle.rotation)))
    return Footprint((float(x), float(y)), rectangle.height * metres_per_percent, rectangle.width * metres_per_percent, yaw_rad)


def _axes(rotation: float) -> tuple[Float64Array, Float64Array]:
    """The rectangle's own right and down on the screen (u right, v down), unit vectors."""
    angle = np.radians(rotation)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c, s]), np.array([-s, c])
