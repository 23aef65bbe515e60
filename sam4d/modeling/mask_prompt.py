"""A mask that is given as a prompt, as an answer of the network (arXiv 2506.21547; rounding and levels of the released model)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sam4d.geometry import BoolArray
from sam4d.modeling.configuration import MASK_STRIDE_PX
from sam4d.modeling.encoded_frame import LidarFeatures
from sam4d.modeling.point_logits import STRIDE

GIVEN_LOGIT = 10.0
"""Logits inside a given mask, and its object score; outside, and where the mask is empty, the negative."""


def network_mask(mask: BoolArray, size_px: int, device: torch.device) -> Tensor:
    """A camera mask bool (H, W) -> float32 (1, 1, size_px, size_px) of 0 and 1."""
    given = torch.tensor(mask, dtype=torch.float32, device=device)[None, None]
    return (_resized(given, size_px) >= 0.5).float()


def given_logits(mask: Tensor) -> Tensor:
    """0 and 1 -> logits."""
    return (2 * mask - 1) * GIVEN_LOGIT


def low_res_camera_logits(logits: Tensor) -> Tensor:
    """float32 (1, 1, 4 S, 4 S) -> (1, S, S)."""
    return _resized(logits, logits.shape[-1] // MASK_STRIDE_PX)[:, 0]


def low_res_lidar_logits(lidar: LidarFeatures, logits: Tensor) -> Tensor:
    """Logits of the points, float32 (1, N) -> (1, M4): the mean of the points of each stride-4 voxel."""
    cells = lidar.stride4.cells
    rows = cells.find(torch.div(lidar.sweep.point_cells.coordinates, STRIDE, rounding_mode="floor"))
    kept = rows >= 0
    # Sums of whole numbers are exact in any order, so that a GPU's order does not matter.
    sums = logits.new_zeros(len(cells)).index_add_(0, rows[kept], logits[0, kept])
    counts = torch.bincount(rows[kept], minlength=len(cells))
    return (sums / counts.clamp(min=1))[None]


def _resized(image: Tensor, size_px: int) -> Tensor:
    return functional.interpolate(image, size=(size_px, size_px), mode="bilinear", align_corners=False, antialias=True)
