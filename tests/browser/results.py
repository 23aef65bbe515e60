"""Label Studio's results as masks and rectangles, read with Label Studio's own decoder and not with the code under test."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from label_studio_sdk.converter.brush import decode_rle
from numpy.typing import NDArray

Result: TypeAlias = dict[str, Any]
Mask: TypeAlias = NDArray[np.bool_]
Place: TypeAlias = tuple[str, int]
"""An image tag and the number of the frame on it."""


@dataclass(frozen=True)
class PageRectangle:
    """A rotated rectangle in pixels of its image. Rotation in radians, clockwise on the screen, about the top-left corner."""

    identity: str
    left: float
    top: float
    width: float
    height: float
    rotation_rad: float

    @property
    def center(self) -> tuple[float, float]:
        cosine, sine = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return (
            self.left + (cosine * self.width - sine * self.height) / 2,
            self.top + (sine * self.width + cosine * self.height) / 2,
        )


def masks_of(results: Iterable[Result]) -> dict[Place, dict[str, Mask]]:
    """{(image, frame): {region id: bool (H, W)}} of the masks that are not empty, tags of smart tools left out."""
    masks: dict[Place, dict[str, Mask]] = {}
    for result in results:
        if result["type"] == "brushlabels" and result["from_name"].startswith("brush_"):
            shape = (result["original_height"], result["original_width"], 4)
            mask = np.asarray(decode_rle(result["value"]["rle"])).reshape(shape)[:, :, 3] > 0
            if mask.any():
                masks.setdefault((result["to_name"], result["item_index"]), {})[result["id"]] = mask
    return masks


def rectangles_of(results: Iterable[Result]) -> dict[int, list[PageRectangle]]:
    """{frame: rectangles} of the bird's-eye cuboids that have a size."""
    rectangles: dict[int, list[PageRectangle]] = {}
    for result in results:
        value = result["value"]
        if result["from_name"] == "cuboid_bev" and result["type"] == "rectanglelabels" and value["width"] > 0:
            across, down = result["original_width"] / 100, result["original_height"] / 100
            rectangle = PageRectangle(
                result["id"],
                value["x"] * across,
                value["y"] * down,
                value["width"] * across,
                value["height"] * down,
                math.radians(value.get("rotation", 0)),
            )
            rectangles.setdefault(result["item_index"], []).append(rectangle)
    return rectangles


def labels_of(results: Iterable[Result]) -> set[str]:
    """Of masks and rectangles."""
    return {label for result in results for name in ("brushlabels", "rectanglelabels") for label in result["value"].get(name, ())}


def union_of(masks: dict[str, Mask]) -> Mask:
    return np.asarray(np.logical_or.reduce(list(masks.values())))


def intersection_over_union(first: Mask, second: Mask) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0
