"""Attention and perceptron, of which memory attention and mask decoder are made (as in SAM 2, arXiv 2408.00714)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam4d.modeling.products import Linear, attention_by_onednn, for_onednn

ROWS_AT_ONCE = 512
"""Of a perceptron on a CPU: what lies between its layers then stays in the caches."""


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one head: (B, Q, C), (B, K, C), (B, K, C) -> (B, Q, C).

    PyTorch hands out queries to the processors in blocks of 256, of which one often gets a block more than the others, and these
    wait for it. So every processor is given its share of the queries as a head of its own.
    """
    if for_onednn(queries, keys, values):
        return attention_by_onednn(queries, keys, values)
    shares = torch.get_num_threads() if queries.device.type == "cpu" else 1
    batch, count, width = queries.shape
    size = -(-count // shares)
    shared = functional.pad(queries, (0, 0, 0, size * shares - count)).view(batch, shares, size, width)
    keys, values = keys[:, None].expand(-1, shares, -1, -1), values[:, None].expand(-1, shares, -1, -1)
    return functional.scaled_dot_product_attention(shared, keys, values).reshape(batch, -1, width)[:, :count]


def by_rows(perceptron: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """A perceptron's answer (..., D) to features (..., C), on a CPU some rows at a time."""
    rows = features.reshape(-1, features.shape[-1])
    if rows.device.type != "cpu" or len(rows) <= ROWS_AT_ONCE:
        return perceptron(features)
    return torch.cat([perceptron(part) for part in torch.split(rows, ROWS_AT_ONCE)]).view(*features.shape[:-1], -1)


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
        self.q_proj = Linear(width, inner_width)
        self.k_proj = Linear(width, inner_width)
        self.v_proj = Linear(width, inner_width)
        self.out_proj = Linear(inner_width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """float (B, Q, width), (B, K, width), (B, K, width) -> (B, Q, width)."""
        return self.attend(queries, self.k_proj(keys), self.v_proj(values))

    def attend(self, queries: Tensor, projected_keys: Tensor, projected_values: Tensor) -> Tensor:
        """As `forward`, with keys and values that are projected already, each (B, K, inner_width). Queries may be (1, Q, width)."""
        projected_queries = self.q_proj(queries).expand(len(projected_keys), -1, -1)
        if self.heads == 1:
            alone: Tensor = self.out_proj(attend(projected_queries, projected_keys, projected_values))
            return alone
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
        self.layers = nn.ModuleList(Linear(before, after) for before, after in itertools.pairwise(widths))

    def forward(self, features: Tensor) -> Tensor:
        """float (..., widths[0]) -> (..., widths[-1])."""
        for index, layer in enumerate(self.layers):
            features = layer(features if index == 0 else features.relu_())
        return features
