"""Features of a frame as one object's past lets them be seen: cross-modal memory attention (arXiv 2506.21547, motion-aware memory)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam4d.modeling.attention import Attention, attend, by_rows
from sam4d.modeling.products import Linear, linear
from sam4d.modeling.recomputation import computed_again

POSITION_WEIGHT = 0.1
"""How much of its position encoding is added to a feature that goes in (released model)."""


@dataclass(frozen=True, eq=False)
class Remembered:
    """What is looked at: contents and keys, which are contents with positions, float32 (B, K, C). B = 1 serves every object."""

    contents: Tensor
    keys: Tensor

    @classmethod
    def placed(cls, contents: Tensor, positions: Tensor) -> Remembered:
        """Contents (B, K, C) with their position encodings (B or 1, K, C), which belong to the keys only."""
        return cls(contents, contents + positions)

    @classmethod
    def join(cls, parts: Sequence[Remembered]) -> Remembered:
        """One after the other along K."""

        def joined(tensors: Sequence[Tensor]) -> Tensor:
            batch = max(len(tensor) for tensor in tensors)
            return torch.cat([tensor.expand(batch, -1, -1) for tensor in tensors], dim=1)

        return cls(joined([part.contents for part in parts]), joined([part.keys for part in parts]))

    def part(self, start: int, stop: int) -> Remembered:
        """What lies in [start, stop) along K, not copied."""
        return Remembered(self.contents[:, start:stop], self.keys[:, start:stop])


class MemoryCrossAttention(Attention):
    """One head as wide as the features, so that neither keys nor values need to be projected.

    A query's product with a projected key is that of the query, taken back through the key's projection, with the key itself (what the
    key's bias adds is the same for every key and leaves the softmax as it is), and the weighted mean of projected values is the projection
    of the weighted mean. So the same keys and values serve every layer, and the work per memory is the attention alone.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 1)

    def look(self, queries: Tensor, keys: Tensor, contents: Tensor) -> Tensor:
        """Queries (1 or B, Q, C); keys, which are contents with positions, and contents (B, K, C) -> (B, Q, C)."""
        asked = linear(self.q_proj(queries), self.k_proj.weight.T).expand(len(keys), -1, -1)
        projected: Tensor = self.out_proj(self.v_proj(attend(asked, keys, contents)))
        return projected


class MemoryAttentionLayer(nn.Module):
    """Self-attention without positions, cross-attention to what is remembered, perceptron; each normalised before, added after."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, width, 1)
        self.cross_attn_image = MemoryCrossAttention(width)
        self.linear1 = Linear(width, hidden_width)
        self.linear2 = Linear(hidden_width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, features: Tensor, keys: Tensor, contents: Tensor) -> Tensor:
        """Features (1 or B, L, C), keys and contents (B, K, C) -> (B, L, C).

        Features with a batch of 1 become B objects' only where these begin to differ, at the cross-attention.
        """
        normal = self.norm1(features)
        features = features + self.self_attn(normal, normal, normal)
        features = features + self.cross_attn_image.look(self.norm2(features), keys, contents)
        return features + by_rows(lambda rows: self.linear2(self.linear1(rows).relu_()), self.norm3(features))


class MemoryAttention(nn.Module):
    """A few layers, the same weights for both sensors."""

    def __init__(self, width: int, hidden_width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(width, hidden_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.checkpointed = False

    def forward(self, features: Tensor, positions: Tensor, memory: Remembered) -> Tensor:
        """Raw top-level features (1 or B, L, C), their position encoding (1, L, C), memory with B objects -> (B, L, C)."""
        features = features + POSITION_WEIGHT * positions
        for layer in self.layers:
            arguments = features, memory.keys, memory.contents
            features = computed_again(layer, *arguments) if self.checkpointed else layer(*arguments)
        conditioned: Tensor = self.norm(features)
        return conditioned
