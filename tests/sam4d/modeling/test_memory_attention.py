"""Memory attention: what is shared and folded changes nothing."""

from __future__ import annotations

import torch
from torch.nn import functional

from sam4d.modeling.memory_attention import MemoryAttention, MemoryCrossAttention, Remembered


@torch.no_grad()
def test_a_look_without_projected_keys_is_attention_with_projected_ones() -> None:
    torch.manual_seed(0)
    attention = MemoryCrossAttention(16)
    queries, keys, contents = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    projected = (attention.q_proj(queries), attention.k_proj(keys), attention.v_proj(contents))
    plain = attention.out_proj(functional.scaled_dot_product_attention(*projected))
    torch.testing.assert_close(attention.look(queries, keys, contents), plain)


@torch.no_grad()
def test_objects_in_a_batch_get_what_they_get_alone() -> None:
    torch.manual_seed(0)
    attention = MemoryAttention(width=16, hidden_width=32, depth=2)
    features, positions = torch.randn(1, 12, 16), torch.randn(1, 12, 16)
    memory, memory_positions = torch.randn(3, 7, 16), torch.randn(1, 7, 16)
    together = attention(features, positions, Remembered.placed(memory, memory_positions))
    alone = [attention(features, positions, Remembered.placed(each[None], memory_positions)) for each in memory]
    torch.testing.assert_close(together, torch.cat(alone))
    assert not torch.allclose(together[0], together[1])


def test_what_is_shared_is_joined_to_what_each_object_has() -> None:
    own = Remembered.placed(torch.randn(3, 7, 16), torch.randn(1, 7, 16))
    shared = Remembered.placed(torch.randn(1, 5, 16), torch.randn(1, 5, 16))
    joined = Remembered.join([own, shared])
    assert joined.contents.shape == (3, 12, 16)
    assert joined.keys.shape == (3, 12, 16)
    torch.testing.assert_close(joined.contents[2, 7:], shared.contents[0])
    torch.testing.assert_close(joined.part(7, 12).keys[2], shared.keys[0])
