"""What an answer costs, for either sensor: focal and dice loss of the mask, the error of the predicted IoU, presence (arXiv 2408.00714).

Truths are soft: the share of a place's area that is the object. A camera's truth is averaged over the cells of the decoder's own grid, at
stride 4, where focal loss, the sums of dice and the IoU are linear in it: they cost what they would cost pixel by pixel with a logit per
cell, at a sixteenth of the work of logits resized to the network's image, which is what makes training on a CPU bearable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sam4d.geometry import BoolArray
from sam4d.modeling.mask_selection import MaskCandidates
from sam4d.modeling.point_logits import PointMixing

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
DICE_SMOOTHING = 1.0
LEAST_SHARE = 1e-4
"""Of a cell: less than a pixel's, whatever the image."""


@dataclass(frozen=True)
class LossWeights:
    """As in SAM 2."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0


PAPER = LossWeights()


@dataclass(frozen=True, eq=False)
class Losses:
    """Of B objects on one sensor, float32 (B,) each, not weighted.

    0 where nothing is known, and where the object is absent all but presence. actual_iou: of the mask that counts, no loss: for logs.
    """

    focal: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor
    actual_iou: Tensor

    def total(self, weights: LossWeights = PAPER) -> Tensor:
        """float32 (B,)."""
        return weights.focal * self.focal + weights.dice * self.dice + weights.iou * self.iou + weights.presence * self.presence


def mask_losses(candidates: MaskCandidates, truth: Tensor, known: Tensor, *, ambiguous: bool, weights: LossWeights = PAPER) -> Losses:
    """What the decoder's masks of one sensor cost, before one of them is selected.

    Where few prompts were given, the best of masks 1 to 3, the one with the least weighted focal and dice loss, is taught alone, so that
    the three may mean different things; mask 0 otherwise. Predicted IoU is taught for all masks that were in question.

    Args:
        candidates: logits (B, 4, L) at L places.
        truth: float (B, L), 0 to 1: the share of each place that is the object.
        known: bool (B,), false where nobody looked, or was asked.
        ambiguous: as in `select_mask`.
    """
    asked = slice(1, None) if ambiguous else slice(1)
    logits, predicted_iou = _wide(candidates.logits[:, asked]), _wide(candidates.predicted_iou[:, asked])
    truth = truth.to(logits)
    present = truth.amax(dim=1) > 0
    counted = (known & present).to(logits)
    target = truth[:, None]
    focal, dice = focal_loss(logits, target), dice_loss(logits, target)
    actual = actual_iou(logits.detach(), target)
    best = (weights.focal * focal + weights.dice * dice).detach().argmin(dim=1, keepdim=True)
    presence = functional.binary_cross_entropy_with_logits(_wide(candidates.object_score), present.to(logits), reduction="none")
    return Losses(
        focal=focal.gather(1, best)[:, 0] * counted,
        dice=dice.gather(1, best)[:, 0] * counted,
        iou=(predicted_iou - actual).abs().mean(dim=1) * counted,
        presence=presence * known.to(logits),
        actual_iou=actual.gather(1, best)[:, 0] * counted,
    )


def focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over the last axis, float32 (..., L) -> (...); linear in the truth, 0 to 1."""
    probability = torch.sigmoid(logits)
    inside = FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * functional.softplus(-logits)
    outside = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * functional.softplus(logits)
    return (truth * inside + (1 - truth) * outside).mean(dim=-1)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Over the last axis, float32 (..., L) -> (...)."""
    probability = torch.sigmoid(logits)
    common = 2 * (probability * truth).sum(dim=-1) + DICE_SMOOTHING
    return 1 - common / (probability.sum(dim=-1) + truth.sum(dim=-1) + DICE_SMOOTHING)


def actual_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU of the masks, where logits are above 0, with a soft truth, float32 (..., L) -> (...); 1 where both are empty."""
    mask = (logits > 0).to(truth)
    union = torch.maximum(mask, truth).sum(dim=-1)
    return torch.where(union > 0, (mask * truth).sum(dim=-1) / union.clamp(min=1e-6), 1.0)


def at_points(candidates: MaskCandidates, mixing: PointMixing) -> MaskCandidates:
    """A LiDAR's candidates with a logit per point, (B, 4, N), as answers have them, in place of one per voxel, (B, 4, M)."""
    count, masks, _ = candidates.logits.shape
    return replace(candidates, logits=mixing(candidates.logits.flatten(0, 1)).view(count, masks, -1))


def camera_truth(masks: BoolArray, size_px: int, device: torch.device | str = "cpu") -> Tensor:
    """Masks at the camera's own size, bool (K, H, W) -> float32 (K, size * size): which share of each cell is the object, row by row."""
    whole = torch.from_numpy(np.ascontiguousarray(masks)).to(device).float()
    shares = _averaged(_averaged(whole, size_px).transpose(1, 2), size_px).transpose(1, 2).flatten(1)
    # No rounding may make an object present.
    return torch.where(shares < LEAST_SHARE, 0, shares).clamp(max=1)


def _wide(values: Tensor) -> Tensor:
    """At least float32: half precision has no room for the sums."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _averaged(values: Tensor, count: int) -> Tensor:
    """float32 (K, R, C) -> (K, count, C): the mean of each of as many equal parts of the rows, whose borders may lie within a row."""
    rows = values.shape[1]
    borders = torch.arange(count + 1, device=values.device, dtype=torch.float64) * (rows / count)
    whole = borders.floor().long().clamp(max=rows)
    part = (borders - whole).to(values)[:, None]
    sums = functional.pad(values.cumsum(dim=1), (0, 0, 1, 0))
    up_to = sums[:, whole] + part * values[:, whole.clamp(max=rows - 1)]
    return up_to.diff(dim=1) * (count / rows)
