"""From logits of stride-4 voxels to logits of points, by the mixing rule that the released weights were trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sam4d.modeling.sparse_conv import Cells

STRIDE = 4
"""Fine voxels along the edge of a voxel that carries a logit."""

NEIGHBOURS = ((0, 0, 0), (0, 0, 4), (0, 4, 0), (0, 4, 4))
"""Cells that are mixed, relative to a point's own. The released model gathers cells four voxels away and weighs them by (batch index, x, y)
where (x, y, z) was meant, so that of eight neighbours only these four have a weight, which depends on x and y alone."""

SMALLEST_SUM = 1e-8


@dataclass(frozen=True, eq=False)
class PointMixing:
    """Which voxels make up each of a sweep's points, computed once per frame.

    voxels: int32 (N, 4), rows of the stride-4 voxels, 0 where there is no such voxel. weights: float32 (N, 4), summing to 1; 0 where
    there is no such voxel, so that a point without any voxel gets logit 0.
    """

    voxels: Tensor
    weights: Tensor

    def __call__(self, voxel_logits: Tensor) -> Tensor:
        """float32 (B, M) -> (B, N)."""
        rows = self.voxels.flatten()
        chosen = torch.stack([logits.index_select(0, rows) for logits in voxel_logits])
        return (chosen.view(-1, *self.voxels.shape) * self.weights).sum(dim=-1)


def point_mixing(positions: Tensor, cells: Cells) -> PointMixing:
    """The mixing of one sweep.

    Args:
        positions: float32 (N, 3), points in units of fine voxels (x, y, z).
        cells: the stride-4 voxels, M of them.
    """
    scaled = positions / STRIDE
    own = scaled.floor()
    fraction_x, fraction_y = (scaled - own)[:, 0], (scaled - own)[:, 1]
    weights = torch.stack(
        [(1 - fraction_x) * (1 - fraction_y), (1 - fraction_x) * fraction_y, fraction_x * (1 - fraction_y), fraction_x * fraction_y], dim=1
    )
    wanted = own.long()[:, None] + torch.tensor(NEIGHBOURS, device=positions.device)
    voxels = cells.find(wanted.flatten(0, 1)).view(weights.shape)
    weights = torch.where(voxels >= 0, weights, 0)
    return PointMixing(voxels.clamp(min=0).to(torch.int32), weights / (weights.sum(dim=1, keepdim=True) + SMALLEST_SUM))
