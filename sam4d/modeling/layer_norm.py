"""Normalisation over the channels of images, where PyTorch's own LayerNorm wants them last."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm2d(nn.Module):
    """Each pixel's channels to mean 0 and variance 1, then scaled and moved."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, image: Tensor) -> Tensor:
        """float (B, C, H, W) -> (B, C, H, W)."""
        return functional.layer_norm(image.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps).movedim(-1, 1)
