"""Which cameras of a rig are asked first, for what people clicked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from sam4d.structures import BoxPrompt, Camera, Float32Array, PointPrompt

Clicks: TypeAlias = Sequence[PointPrompt | BoxPrompt]


def asked_passes(clicks: Clicks, cameras: Mapping[str, Camera]) -> list[str]:
    """The cameras in which people clicked; for what is only in the LiDAR, the one that sees it nearest to its middle."""
    clicked = [name for name in cameras if any(each.sensor == name for each in clicks)]
    if clicked or len(cameras) == 1:
        return clicked or list(cameras)
    places_m = _places(clicks)
    return [min(cameras, key=lambda name: _off_centre(places_m, cameras[name]))]


def _places(clicks: Clicks) -> Float32Array:
    """Where LiDAR prompts point, float32 (P, 3): positive clicks and middles of boxes; without any, the negative clicks."""
    places: list[Sequence[float]] = []
    for each in clicks:
        if isinstance(each, BoxPrompt):
            x0, y0, x1, y1 = each.box
            places.append(((x0 + x1) / 2, (y0 + y1) / 2, 0.0))
        else:
            places += [place for place, label in zip(each.coordinates, each.labels, strict=True) if label == 1]
    if not places:
        places = [place for each in clicks if isinstance(each, PointPrompt) for place in each.coordinates]
    return np.asarray(places, dtype=np.float32)


def _off_centre(points_m: Float32Array, camera: Camera) -> float:
    """Mean distance from the image's middle in shares of its size; above 1 where the camera does not see the points."""
    pixels, _, visible = camera.project(points_m)
    away = np.abs(pixels / np.array([camera.width_px, camera.height_px]) - 0.5).max(axis=1)
    return float(np.where(visible, away, 2.0).mean())
