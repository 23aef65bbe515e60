"""Products of matrices, by whichever of PyTorch's two libraries is the faster one on this processor.

PyTorch multiplies float32 matrices with MKL, which leaves the wide vectors (AVX-512) of processors that are not Intel's unused; oneDNN,
which it has for convolutions, uses them everywhere. On an AMD EPYC of 2025 that takes half the time. Results differ by rounding only.

For every shape that it has met oneDNN keeps memory as large as an answer, so it is given blocks of few sizes; what is left over is MKL's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = (512, 128)
"""Rows that oneDNN gets at a time."""

KEYS_AT_ONCE = 4096
"""Of an attention: what 512 queries make of them stays in the caches."""

SMALLEST_WEIGHT = 8192
"""Values. With fewer, MKL is as fast."""


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows (..., K), weight (N, K), bias (N,) -> (..., N), as `torch.nn.functional.linear`."""
    if weight.numel() < SMALLEST_WEIGHT or not for_onednn(rows, weight):
        return functional.linear(rows, weight, bias)
    answers = [_product(block, weight, bias) for block in _blocks(rows.reshape(-1, rows.shape[-1]))]
    together = answers[0] if len(answers) == 1 else torch.cat(answers)
    return together.view(*rows.shape[:-1], len(weight))


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, rows: Tensor) -> Tensor:
        return linear(rows, self.weight, self.bias)


def attention_by_onednn(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention of one head: (B, Q, C), (B, K, C), (B, K, C) -> (B, Q, C), where `for_onednn`."""
    answers = []
    for asked, looked_at, told in zip(queries * queries.shape[-1] ** -0.5, keys, values, strict=True):
        values_across = (some.T.contiguous() for some in told.split(KEYS_AT_ONCE))
        parts = list(zip(looked_at.split(KEYS_AT_ONCE), values_across, strict=True))
        answers += [_attention_of_block(block, parts) for block in _blocks(asked)]
    return torch.cat(answers).view(queries.shape)


def for_onednn(*factors: Tensor) -> bool:
    """Float32 on a CPU where oneDNN is the faster one; no gradients, of which it knows nothing here, and no mixed precision."""
    return (
        onednn_is_faster()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and all(factor.device.type == "cpu" and factor.dtype is torch.float32 for factor in factors)
    )


@functools.cache
def onednn_is_faster() -> bool:
    """On a processor with AVX-512 that is not Intel's."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    """Rows (M, K) in blocks of `BLOCKS`, the rest last; at least one."""
    start = 0
    for size in BLOCKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size
    if start < len(rows) or not start:
        yield rows[start:]


def _product(block: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if len(block) not in BLOCKS:
        return functional.linear(block, weight, bias)
    computed: Tensor = torch.ops.mkldnn._linear_pointwise(block, weight, bias, "none", [], "")
    return computed


def _attention_of_block(queries: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Scaled queries (Q, C), parts of the keys (K, C) with their values (C, K) -> (Q, C); the softmax is put together part by part."""
    highest = queries.new_full((len(queries), 1), -torch.inf)
    total, answer = torch.zeros_like(highest), torch.zeros_like(queries)
    for keys, values in parts:
        full = len(keys) == KEYS_AT_ONCE
        weights = _product(queries, keys) if full else queries @ keys.T
        higher = torch.maximum(highest, weights.amax(dim=1, keepdim=True))
        weights.sub_(higher).exp_()
        earlier = (highest - higher).exp_()
        total = total.mul_(earlier).add_(weights.sum(dim=1, keepdim=True))
        answer = answer.mul_(earlier).add_(_product(weights, values) if full else weights @ values.T)
        highest = higher
    return answer.div_(total)
