"""Features of a frame as one object's past lets them be seen: cross-modal memory attention (arXiv 2506.21547, motion-aware memory)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam4d.modeling.attention import Attention

POSITION_WEIGHT = 0.1
"""How much of its position encoding is added to a feature that goes in (released model)."""


@dataclass(frozen=True, eq=False)
class ProjectedKeys:
    """Keys and values of every layer, projected once: float32 (B, K, 256) each. Both sensors' queries use the same weights."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @staticmethod
    def join(*parts: ProjectedKeys) -> ProjectedKeys:
        """One after the other along K; a part with B = 1 serves every object."""
        batch = max(part.keys[0].shape[0] for part in parts)

        def joined(layers: tuple[tuple[Tensor, ...], ...]) -> tuple[Tensor, ...]:
            return tuple(torch.cat([each.expand(batch, -1, -1) for each in layer], dim=1) for layer in zip(*layers, strict=True))

        return ProjectedKeys(joined(tuple(part.keys for part in parts)), joined(tuple(part.values for part in parts)))


class MemoryAttentionLayer(nn.Module):
    """Self-attention without positions, cross-attention to what is remembered, perceptron; each normalised before, added after."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, width, 1)
        self.cross_attn_image = Attention(width, width, 1)
        self.linear1 = nn.Linear(width, hidden_width)
        self.linear2 = nn.Linear(hidden_width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, features: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Features (1 or B, L, C), projected keys and values (B, K, C) -> (B, L, C).

        Features with a batch of 1 become B objects' only where these begin to differ, at the cross-attention.
        """
        normal = self.norm1(features)
        features = features + self.self_attn(normal, normal, normal)
        features = features + self.cross_attn_image.attend(self.norm2(features), keys, values)
        added: Tensor = features + self.linear2(torch.relu(self.linear1(self.norm3(features))))
        return added


class MemoryAttention(nn.Module):
    """Four layers, the same weights for both sensors. A memory's keys and values are projected once (`project`) and may be kept."""

    def __init__(self, width: int = 256, hidden_width: int = 2048, depth: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(width, hidden_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def project(self, memory: Tensor, positions: Tensor) -> ProjectedKeys:
        """Memory (B, K, C) and its positions, (B, K, C) or broadcastable. Positions belong to the keys only."""
        placed = memory + positions
        attentions = [layer.cross_attn_image for layer in self.layers if isinstance(layer, MemoryAttentionLayer)]
        return ProjectedKeys(
            tuple(attention.k_proj(placed) for attention in attentions), tuple(attention.v_proj(memory) for attention in attentions)
        )

    def forward(self, features: Tensor, positions: Tensor, memory: ProjectedKeys) -> Tensor:
        """Raw top-level features (1 or B, L, C), their position encoding (1, L, C), memory with B objects -> (B, L, C)."""
        features = features + POSITION_WEIGHT * positions
        for layer, keys, values in zip(self.layers, memory.keys, memory.values, strict=True):
            features = layer(features, keys, values)
        conditioned: Tensor = self.norm(features)
        return conditioned
