"""Pictures for Label Studio: a sweep seen from above, and the placeholder for an image that is missing."""

from __future__ import annotations

import cv2
import numpy as np

from converters.columns import coarse_ground, pixel_indices
from sam4d.geometry import BirdsEyeView, Float64Array
from sam4d.structures import Float32Array, Sweep, UInt8Array

_BACKGROUND = (15, 17, 22)
_RING = (44, 49, 60)
_RING_STEP_M = 10.0
# Height above the ground in metres -> colour: the road stays a dim grey blue, so that what stands on it stands out.
_HEIGHTS_M = (-0.5, 0.15, 0.35, 0.9, 1.6, 2.6, 4.5, 9.0)
_COLOURS = (
    (52, 58, 84),
    (78, 88, 112),
    (36, 146, 186),
    (54, 198, 146),
    (176, 214, 72),
    (250, 192, 52),
    (240, 112, 62),
    (214, 84, 150),
)


def render_birds_eye(sweep: Sweep, view: BirdsEyeView) -> UInt8Array:
    """The sweep from above, uint8 (S, S, 3) RGB, S = view.size_px.

    Colour is the height above the local ground of the highest point of a pixel, brightness its intensity; forward is up. Faint rings
    every 10 m; the arrow in the middle is the LiDAR and points forward. The same sweep gives the same picture.
    """
    image = _canvas(view)
    pixels, inside = pixel_indices(sweep.points_m, view)
    if not inside.any():
        return image
    # Of the points of a pixel the highest is drawn: written last.
    order = np.flatnonzero(inside)
    order = order[np.argsort(sweep.points_m[order, 2], kind="stable")]
    highest = np.full(view.size_px**2, -1, dtype=np.int64)
    highest[pixels[order, 1] * view.size_px + pixels[order, 0]] = order
    place = np.flatnonzero(highest >= 0)
    shown = highest[place]

    points_m = sweep.points_m[shown]
    height_m = points_m[:, 2] - coarse_ground(sweep.points_m).at(points_m[:, :2])
    colours = np.stack([np.interp(height_m, _HEIGHTS_M, channel) for channel in np.array(_COLOURS, dtype=np.float64).T], axis=1)
    if sweep.intensity is not None:
        colours *= _brightness(sweep.intensity[shown])[:, None]
    drawn, hit = np.zeros_like(image), np.zeros(image.shape[:2], dtype=np.uint8)
    drawn.reshape(-1, 3)[place] = np.clip(colours, 0, 255).astype(np.uint8)
    hit.reshape(-1)[place] = 1
    # Single pixels are hard to see: points spread one pixel to all sides, dimmed, where nothing else is.
    kernel = np.ones((3, 3), dtype=np.uint8)
    cv2.copyTo(cv2.convertScaleAbs(cv2.dilate(drawn, kernel), alpha=0.75), cv2.dilate(hit, kernel), image)
    cv2.copyTo(drawn, hit, image)
    return image


def render_placeholder(camera: str, width_px: int, height_px: int) -> UInt8Array:
    """A grey image, uint8 (H, W, 3) RGB, that says that the camera has no image on this frame."""
    image = np.full((height_px, width_px, 3), 96, dtype=np.uint8)
    # OpenCV's fonts know ASCII only.
    text = f"no image from {camera} on this frame".encode("ascii", "replace").decode()
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
    scale = min(0.8 * width_px / text_width, 0.1 * height_px / text_height)
    corner = (round((width_px - scale * text_width) / 2), round((height_px + scale * text_height) / 2))
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, (208, 208, 208), max(1, round(2 * scale)), cv2.LINE_AA)
    return image


def _canvas(view: BirdsEyeView) -> UInt8Array:
    """Background, rings with their radius, and the LiDAR's arrow."""
    image = np.full((view.size_px, view.size_px, 3), _BACKGROUND, dtype=np.uint8)
    center = round(view.range_m / view.metres_per_pixel)
    for radius_m in np.arange(_RING_STEP_M, view.range_m + 1e-6, _RING_STEP_M):
        radius = round(float(radius_m) / view.metres_per_pixel)
        cv2.circle(image, (center, center), radius, _RING, 1, cv2.LINE_AA)
        place = (center + 3, center - radius + 12)
        cv2.putText(image, f"{radius_m:.0f} m", place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (110, 118, 134), 1, cv2.LINE_AA)
    size = max(4, round(1.0 / view.metres_per_pixel))
    arrow = np.array([(0, -size), (size * 6 // 10, size), (0, size // 2), (-size * 6 // 10, size)]) + center
    cv2.fillPoly(image, [arrow.astype(np.int32)], (225, 228, 235), cv2.LINE_AA)
    return image


def _brightness(intensity: Float32Array) -> Float64Array:
    """0.75 to 1.2, by the intensity's own range: sources count to 1 or to 255."""
    values = np.nan_to_num(intensity.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, (2, 95))
    brightness: Float64Array = 0.75 + 0.45 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return brightness
