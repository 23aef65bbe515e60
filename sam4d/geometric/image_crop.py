"""A piece of an image at a size that is worth working on, and the way to and from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.scene import CameraView
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import Camera, UInt8Array


@dataclass(frozen=True)
class ImageCrop:
    """A piece [left, right) x [top, bottom) of the image, scaled by `scale` to width x height."""

    left: int
    top: int
    right: int
    bottom: int
    scale: float

    @classmethod
    def around(cls, bounds: Float64Array, camera: Camera, longest_side: int, largest_scale: float) -> ImageCrop:
        """Around bounds [u0, v0, u1, v1] in pixels, scaled to the length that is asked for, but not above a scale."""
        side = float(max(bounds[2] - bounds[0], bounds[3] - bounds[1], 4.0))
        # Enough surroundings to learn the background's colours from, and for the parts that no beam hit.
        margin = 0.2 * side + 0.006 * camera.fx_px
        left, top = (int(max(0, value - margin)) for value in bounds[:2])
        right = int(min(camera.width_px, np.ceil(bounds[2] + margin) + 1))
        bottom = int(min(camera.height_px, np.ceil(bounds[3] + margin) + 1))
        return cls(left, top, right, bottom, min(largest_scale, longest_side / side))

    @property
    def shape(self) -> tuple[int, int]:
        return max(2, round((self.bottom - self.top) * self.scale)), max(2, round((self.right - self.left) * self.scale))

    def at_most(self, longest_side: int) -> ImageCrop:
        """The same piece in the image's own pixels, or scaled down to that length."""
        return replace(self, scale=min(1.0, longest_side / max(self.right - self.left, self.bottom - self.top)))

    def rows_inside(self, view: CameraView) -> NDArray[np.int64]:
        """Visible points of the sweep that fall into the crop, int64 (K,), ascending."""
        rows = np.flatnonzero(view.visible)
        u = view.pixels[rows, 0]
        rows = rows[(u >= self.left) & (u < self.right)]
        v = view.pixels[rows, 1]
        return np.asarray(rows[(v >= self.top) & (v < self.bottom)])

    def cut(self, image: UInt8Array) -> UInt8Array:
        piece = image[self.top : self.bottom, self.left : self.right]
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(piece, self.shape[::-1], interpolation=how), dtype=np.uint8)

    def cut_mask(self, mask: BoolArray) -> BoolArray:
        piece = mask[self.top : self.bottom, self.left : self.right].astype(np.float32)
        return np.asarray(cv2.resize(piece, self.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5)

    def to_crop(self, pixels: NDArray[np.floating]) -> NDArray[np.float32]:
        """Pixels (..., 2) of the image -> pixels of the scaled crop, float32 (..., 2)."""
        rows, columns = self.shape
        scale = np.array([columns / (self.right - self.left), rows / (self.bottom - self.top)])
        return np.asarray((pixels - np.array([self.left, self.top])) * scale, dtype=np.float32)

    def paste(self, small: BoolArray, mask: BoolArray) -> None:
        """Writes a mask of the crop into one of the whole image; of a scaled one, edges are smoothed."""
        if small.shape == (self.bottom - self.top, self.right - self.left):
            mask[self.top : self.bottom, self.left : self.right] = small
            return
        soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.7)
        large = cv2.resize(soft, (self.right - self.left, self.bottom - self.top), interpolation=cv2.INTER_LINEAR)
        mask[self.top : self.bottom, self.left : self.right] = large > 0.5


def pixels_inside(places: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Pixel indices (x, y), int64 (K, 2), of those places that lie in the crop."""
    index = np.floor(places).astype(np.int64)
    kept = (index >= 0).all(axis=1) & (index[:, 0] < shape[1]) & (index[:, 1] < shape[0])
    return np.asarray(index[kept])
