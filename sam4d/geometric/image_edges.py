"""A mask's border moved to the edge that the image shows beside it.

Around each pixel of the border, colours are related linearly to being of the object: that holds on the two sides of one edge, though not in
the whole image. It is the guided filter of He, Sun and Tang, "Guided Image Filtering" (ECCV 2010), for colour images, worked out along the
border only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.geometry import BoolArray
from sam4d.structures import Float32Array, UInt8Array


@dataclass(frozen=True)
class EdgeSettings:
    """Lengths in pixels of the image that is looked at."""

    radius: int = 3
    """Of the square in which colours are related to the mask: it holds both sides of an edge, and little else."""
    farthest: int = 2
    """The border moves no farther, one pixel after the other: what lies beyond is another edge."""
    noise: float = 1.4
    """Colours that differ by less, in levels of 0 to 255, are the same colour with a camera's noise."""


DEFAULT_EDGE_SETTINGS = EdgeSettings()


def fitted_to_edges(mask: BoolArray, image: UInt8Array, may_change: BoolArray, settings: EdgeSettings = DEFAULT_EDGE_SETTINGS) -> BoolArray:
    """The mask, bool (h, w), with its border on the image's edges.

    Args:
        image: uint8 (h, w, 3).
        may_change: bool (h, w); the other pixels stay as they are.
    """
    rows, columns = np.nonzero(_dilated(mask, settings.farthest) & _dilated(~mask, settings.farthest) & may_change)
    if not len(rows):
        return mask
    # No farther than the squares of the pixels in a square reach.
    around = np.s_[_span(rows, 2 * settings.radius), _span(columns, 2 * settings.radius)]
    near = np.zeros(mask.shape, dtype=np.bool_)
    near[rows, columns] = True
    near = near[around]
    squares = _Squares.of(image[around].astype(np.float32) / np.float32(255), _dilated(near, settings.radius), settings)
    fitted = mask.copy()
    for _ in range(settings.farthest):
        part = fitted[around]
        border = near & _dilated(part, 1) & _dilated(~part, 1)
        part[border] = squares.share_of_object(part.astype(np.float32), border) > 0.5
    return fitted


@dataclass(frozen=True, eq=False)
class _Squares:
    """The colours float32 (h, w, 3) in the squares around the wanted pixels, bool (h, w), K of them: their mean, float32 (K, 3), and the
    inverse of their covariance, float32 (K, 3, 3)."""

    colours: Float32Array
    wanted: BoolArray
    mean: Float32Array
    inverse: Float32Array
    radius: int

    @classmethod
    def of(cls, colours: Float32Array, wanted: BoolArray, settings: EdgeSettings) -> _Squares:
        mean = _mean(colours, settings.radius)[wanted]
        spread = np.empty((len(mean), 3, 3), dtype=np.float32)
        for i in range(3):
            spread[:, i] = _mean(colours * colours[..., i : i + 1], settings.radius)[wanted] - mean * mean[:, i : i + 1]
        spread += np.eye(3, dtype=np.float32) * (settings.noise / 255) ** 2
        return cls(colours, wanted, mean, np.linalg.inv(spread), settings.radius)

    def share_of_object(self, mask: Float32Array, pixels: BoolArray) -> Float32Array:
        """What the colours of some pixels, bool (h, w), say of being in a mask, float32 (h, w): 0 outside, 1 inside, float32 (P,).

        The mean over the linear models of all squares that hold the pixel, which must be among the wanted ones.
        """
        mean_mask = _mean(mask, self.radius)[self.wanted]
        both = _mean(self.colours * mask[..., None], self.radius)[self.wanted] - self.mean * mean_mask[:, None]
        slopes, offsets = np.zeros_like(self.colours), np.zeros_like(mask)
        slopes[self.wanted] = (self.inverse @ both[..., None])[..., 0]
        offsets[self.wanted] = mean_mask - (slopes[self.wanted] * self.mean).sum(axis=1)
        slope, offset = _mean(slopes, self.radius)[pixels], _mean(offsets, self.radius)[pixels]
        return np.asarray((slope * self.colours[pixels]).sum(axis=1) + offset, dtype=np.float32)


def _mean(values: Float32Array, radius: int) -> Float32Array:
    return np.asarray(cv2.blur(values, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT), dtype=np.float32)


def _dilated(mask: BoolArray, radius: int) -> BoolArray:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)) > 0)


def _span(index: NDArray[np.int64], margin: int) -> slice:
    return slice(max(0, int(index.min()) - margin), int(index.max()) + margin + 1)
