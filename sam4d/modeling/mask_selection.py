"""Which of the decoder's four masks an object gets on one sensor, and what an absent object gets (as in SAM 2, arXiv 2408.00714)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ABSENT_LOGIT = -1024.0
STABILITY_MARGIN = 0.05
STABLE = 0.98


@dataclass(frozen=True, eq=False)
class MaskCandidates:
    """What the decoder says of B objects on one sensor. Mask 0 is meant for many prompts, masks 1 to 3 for few.

    logits: float32 (B, 4, L), L the pixels at stride 4 or the stride-4 voxels. predicted_iou: (B, 4), 0 to 1.
    tokens: (B, 4, C). object_score: (B,), a logit: above 0 the object is there.
    """

    logits: Tensor
    predicted_iou: Tensor
    tokens: Tensor
    object_score: Tensor


@dataclass(frozen=True, eq=False)
class SelectedMask:
    """logits: float32 (B, L), predicted_iou: (B,), token: (B, C), of which the object pointer is made."""

    logits: Tensor
    predicted_iou: Tensor
    token: Tensor


def select_mask(candidates: MaskCandidates, *, ambiguous: bool) -> SelectedMask:
    """The mask of each object; `ambiguous` where one click or none was given, so that several masks may be meant.

    Ambiguous: the best of masks 1 to 3 by predicted IoU. Otherwise mask 0, or the best of 1 to 3 where mask 0 is not stable; the token
    then stays that of mask 0.
    """
    objects = torch.arange(len(candidates.logits), device=candidates.logits.device)
    best = 1 + candidates.predicted_iou[:, 1:].argmax(dim=1)
    if ambiguous:
        chosen, chosen_token = best, best
    else:
        first = torch.zeros_like(best)
        chosen, chosen_token = torch.where(_stability(candidates.logits[:, 0]) >= STABLE, first, best), first
    logits = candidates.logits[objects, chosen]
    present = candidates.object_score > 0
    return SelectedMask(
        torch.where(present[:, None], logits, ABSENT_LOGIT),
        candidates.predicted_iou[objects, chosen],
        candidates.tokens[objects, chosen_token],
    )


def _stability(logits: Tensor) -> Tensor:
    """(B, L) -> (B,): how much of the mask's area stays when the threshold is moved by a little; 1 for an empty mask."""
    inner = (logits > STABILITY_MARGIN).sum(dim=1)
    outer = (logits > -STABILITY_MARGIN).sum(dim=1)
    return torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)
