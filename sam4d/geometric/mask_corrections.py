"""What clicks change in a mask that stands: the parts that they touch, and nothing else. What a person painted elsewhere stays as it is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam4d.geometry import BoolArray


def touched_changes(
    given: BoolArray, cut: BoolArray, positive: NDArray[np.floating], negative: NDArray[np.floating], reach_px: float
) -> tuple[BoolArray, BoolArray]:
    """What the clicks add to a mask, and what they take away, both bool (h, w).

    Args:
        given: the mask, bool (h, w).
        cut: what the image says with the clicks in it, bool (h, w).
        positive: clicks (x, y), (P, 2). negative: (Q, 2).
        reach_px: how near to a click a changed part must come.
    """
    return _touched(cut & ~given, positive, reach_px), _touched(given & ~cut, negative, reach_px)


def _touched(change: BoolArray, clicks: NDArray[np.floating], reach_px: float) -> BoolArray:
    near = np.zeros(change.shape, dtype=np.bool_)
    if not len(clicks) or not change.any():
        return near
    ys, xs = np.mgrid[0 : change.shape[0], 0 : change.shape[1]]
    for x, y in clicks:
        near |= np.hypot(xs + 0.5 - x, ys + 0.5 - y) <= reach_px
    # An outline that moved by a pixel ties together what has nothing to do with each other.
    solid = cv2.morphologyEx(change.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), dtype=np.uint8)) > 0
    parts, count = ndimage.label(solid | (change & near))
    kept = np.bincount(parts[near], minlength=count + 1) > 0
    kept[0] = False
    return np.asarray(kept[parts])
