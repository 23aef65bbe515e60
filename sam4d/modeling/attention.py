"""Attention and perceptron, of which memory attention and mask decoder are made (as in SAM 2, arXiv 2408.00714)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention with projections of its own for queries, keys, values and output.

    Args:
        width: channels of everything that goes in and out.
        inner_width: channels of the projections, split among the heads.
        heads: how many heads.
    """

    def __init__(self, width: int, inner_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner_width)
        self.k_proj = nn.Linear(width, inner_width)
        self.v_proj = nn.Linear(width, inner_width)
        self.out_proj = nn.Linear(inner_width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """float (B, Q, width), (B, K, width), (B, K, width) -> (B, Q, width)."""
        return self.attend(queries, self.k_proj(keys), self.v_proj(values))

    def attend(self, queries: Tensor, projected_keys: Tensor, projected_values: Tensor) -> Tensor:
        """As `forward`, with keys and values that are projected already, each (B, K, inner_width). Queries may be (1, Q, width)."""
        projected_queries = self.q_proj(queries).expand(len(projected_keys), -1, -1)
        attended = functional.scaled_dot_product_attention(
            self._split(projected_queries), self._split(projected_keys), self._split(projected_values)
        )
        projected: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return projected

    def _split(self, projected: Tensor) -> Tensor:
        """(B, T, inner_width) -> (B, heads, T, inner_width / heads)."""
        batch, tokens, width = projected.shape
        return projected.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)


class Perceptron(nn.Module):
    """Linear layers with ReLU between them. widths: channels of the input, of every hidden layer and of the output."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(widths))

    def forward(self, features: Tensor) -> Tensor:
        """float (..., widths[0]) -> (..., widths[-1])."""
        for index, layer in enumerate(self.layers):
            features = layer(features if index == 0 else torch.relu(features))
        return features
