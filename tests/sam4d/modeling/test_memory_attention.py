"""Memory attention: what may be shared and kept changes nothing."""

from __future__ import annotations

import torch

from sam4d.modeling.memory_attention import MemoryAttention, ProjectedKeys


@torch.no_grad()
def test_objects_in_a_batch_get_what_they_get_alone() -> None:
    torch.manual_seed(0)
    attention = MemoryAttention(width=16, hidden_width=32, depth=2)
    features, positions = torch.randn(1, 12, 16), torch.randn(1, 12, 16)
    memory, memory_positions = torch.randn(3, 7, 16), torch.randn(1, 7, 16)
    together = attention(features, positions, attention.project(memory, memory_positions))
    alone = [attention(features, positions, attention.project(each[None], memory_positions)) for each in memory]
    torch.testing.assert_close(together, torch.cat(alone))
    assert not torch.allclose(together[0], together[1])


@torch.no_grad()
def test_memories_projected_apart_and_joined_are_memories_projected_together() -> None:
    torch.manual_seed(1)
    attention = MemoryAttention(width=16, hidden_width=32, depth=2)
    features, positions = torch.randn(1, 12, 16), torch.randn(1, 12, 16)
    own, own_positions = torch.randn(3, 7, 16), torch.randn(1, 7, 16)
    shared, shared_positions = torch.randn(1, 5, 16), torch.randn(1, 5, 16)
    joined = ProjectedKeys.join(attention.project(own, own_positions), attention.project(shared, shared_positions))
    at_once = attention.project(
        torch.cat([own, shared.expand(3, -1, -1)], dim=1), torch.cat([own_positions, shared_positions], dim=1).expand(3, -1, -1)
    )
    torch.testing.assert_close(attention(features, positions, joined), attention(features, positions, at_once))
