"""Brush regions -> masks, with the strokes that Label Studio's drafts keep apart from the RLE.

A submitted annotation has everything in `rle`. A draft has in `rle` what stood when the annotation was opened (nothing, for a new
region) and in `touches` what was painted and erased since, in order: per stroke `type` ("add", "eraser"), `relativePoints` (x, y, x, y,
... in percent of the image's width and height) and `relativeStrokeWidth` (percent of its width). `points` and `strokeWidth` are the same
in pixels of the editor's stage, whose size no result tells. Strokes have round caps and joins (Label Studio 1.23.2, `exportRLE`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import cv2
import numpy as np

from converters.brush_rle import decode_mask
from converters.finite_numbers import is_finite_number
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import InputError

_SUBPIXELS = 4
_FRACTION_BITS = 8
_FARTHEST_PERCENT = 10_000.0
_THICKEST_OPENCV = 32767
_PIXELS_LIMIT = 100_000_000


def painted_mask(value: Mapping[str, object], height_px: int, width_px: int, where: str) -> BoolArray:
    """A brush region's `value` -> bool (H, W): its RLE and, in their order, its strokes on top. A pixel belongs to a stroke that covers
    at least half of it.

    Args:
        where: the region, for errors.

    Raises:
        InputError: no image of that size; RLE that is not one of it; neither RLE nor strokes; a stroke that is none, of another type,
            without points relative to the image, of points or a width that are not finite numbers or far outside the image.
    """
    touches = value.get("touches")
    if not (height_px > 0 and width_px > 0 and height_px * width_px <= _PIXELS_LIMIT):
        raise InputError(where, f"an image of at most {_PIXELS_LIMIT} pixels", f"{width_px} x {height_px}")
    if not touches:
        return decode_mask(cast("Sequence[int]", value.get("rle")), height_px, width_px, where=f"{where}, value.rle")
    if not isinstance(touches, list):
        raise InputError(f"{where}, value.touches", "a list of strokes", type(touches).__name__)
    rle = value.get("rle")
    if rle is None or rle == []:
        mask: BoolArray = np.zeros((height_px, width_px), dtype=np.bool_)
    else:
        mask = decode_mask(cast("Sequence[int]", rle), height_px, width_px, where=f"{where}, value.rle")
    for number, touch in enumerate(touches):
        _apply(touch, mask, f"{where}, value.touches {number}")
    return mask


def _apply(touch: object, mask: BoolArray, where: str) -> None:
    """Paint or erase one stroke in place."""
    if not isinstance(touch, Mapping):
        raise InputError(where, "a stroke", type(touch).__name__)
    kind = touch.get("type", "add")
    if kind not in ("add", "eraser"):
        raise InputError(f"{where}, type", "add or eraser", repr(kind)[:40])
    height_px, width_px = mask.shape
    path_px = _path(touch, where) * np.array([width_px, height_px]) / 100
    if not len(path_px):
        return
    stroke_px = _width_percent(touch, where) * width_px / 100
    low = np.clip(np.floor(path_px.min(axis=0) - stroke_px / 2), 0, [width_px, height_px]).astype(int)
    high = np.clip(np.ceil(path_px.max(axis=0) + stroke_px / 2), 0, [width_px, height_px]).astype(int)
    if (high <= low).any():
        return
    covered = _covered(path_px - low, stroke_px, int(high[1] - low[1]), int(high[0] - low[0]))
    mask[low[1] : high[1], low[0] : high[0]][covered] = kind == "add"


def _covered(path_px: Float64Array, stroke_px: float, height_px: int, width_px: int) -> BoolArray:
    """Pixels that a stroke along the path covers by half or more: bool (H, W), drawn finer and averaged."""
    fine = np.zeros((height_px * _SUBPIXELS, width_px * _SUBPIXELS), dtype=np.uint8)
    # OpenCV's coordinates are those of pixel centres, the canvas's those of pixel corners.
    corners = np.round((path_px * _SUBPIXELS - 0.5) * 2**_FRACTION_BITS).astype(np.int32)
    thickness = min(max(round(stroke_px * _SUBPIXELS), 1), _THICKEST_OPENCV)
    cv2.polylines(fine, [corners.reshape(-1, 1, 2)], isClosed=False, color=255, thickness=thickness, shift=_FRACTION_BITS)
    return np.asarray(cv2.resize(fine, (width_px, height_px), interpolation=cv2.INTER_AREA) >= 128, dtype=np.bool_)


def _path(touch: Mapping[str, object], where: str) -> Float64Array:
    """The stroke's points in percent of the image, float64 (P, 2); a dot has the same one twice."""
    relative, absolute = touch.get("relativePoints", []), touch.get("points", [])
    if not isinstance(relative, list) or len(relative) % 2:
        found = f"{len(relative)} numbers" if isinstance(relative, list) else type(relative).__name__
        raise InputError(f"{where}, relativePoints", "a list of x, y, x, y, ...", found)
    if not relative and absolute:
        raise InputError(f"{where}, relativePoints", "points in percent of the image", "none, only pixels of a screen of unknown size")
    numbers = [_percent(number, f"{where}, relativePoints") for number in relative]
    path: Float64Array = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    return path if len(path) != 1 else np.repeat(path, 2, axis=0)


def _width_percent(touch: Mapping[str, object], where: str) -> float:
    width = _percent(touch.get("relativeStrokeWidth"), f"{where}, relativeStrokeWidth")
    if not 0 < width <= 100:
        raise InputError(f"{where}, relativeStrokeWidth", "above 0 and at most 100 percent of the image's width", f"{width:g}")
    return width


def _percent(number: object, where: str) -> float:
    if not is_finite_number(number) or abs(number) > _FARTHEST_PERCENT:
        raise InputError(where, f"finite numbers, at most {_FARTHEST_PERCENT:g} percent", repr(number)[:40])
    return float(number)
