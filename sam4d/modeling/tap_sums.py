"""The sum over a kernel's taps, of which every sparse convolution consists, and its gradients.

For each tap the rows of the input that have a partner in the output are gathered, multiplied and added. For the gradients nothing is
kept but the input: its rows are gathered once more. Within a tap no row occurs twice, so the order of additions is fixed even where a
GPU adds atomically.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sam4d.modeling.products import linear

VALUES_AT_ONCE = 2**17
"""Features that a CPU gathers, multiplies and adds at a time: half a megabyte."""


@dataclass(frozen=True, eq=False)
class TapRows:
    """Pairs of rows that one tap of a kernel connects, both int64 (P,); neither an output row nor an input row occurs twice."""

    tap: int
    output_rows: Tensor
    input_rows: Tensor

    def exchanged(self, tap: int) -> TapRows:
        """The same pairs the other way round, for another tap."""
        return TapRows(tap, self.input_rows, self.output_rows)


def tap_sum(features: Tensor, kernel: Tensor, taps: Sequence[TapRows], count: int, centre: int | None = None) -> Tensor:
    """Features (M, ..., C), kernel (taps, C, D) -> (count, ..., D), in the kernel's precision also where products are computed in less.

    Args:
        centre: a further tap, which connects every row with itself; `count` is then M.
    """
    if torch.is_grad_enabled() and (features.requires_grad or kernel.requires_grad):
        summed: Tensor = _TapSum.apply(features, kernel, taps, count, centre)  # type: ignore[no-untyped-call]
        return summed
    return _sum(features, kernel, taps, count, centre)


def product(features: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Some rows of features (M, ..., C) times weights (C, D), in the weights' precision."""
    return linear(features.index_select(0, rows), weights.T).to(weights.dtype)


class _TapSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, taps: Sequence[TapRows], count: int, centre: int | None) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.taps, ctx.centre = taps, centre
        kind = features.device.type
        ctx.precision = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        return _sum(features, kernel, taps, count, centre)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        features, kernel = ctx.saved_tensors
        kind, dtype, enabled = ctx.precision
        with torch.autocast(kind, dtype, enabled=enabled):
            of_features = _gradient_of_features(ctx, grad.contiguous(), features, kernel) if ctx.needs_input_grad[0] else None
            of_kernel = _gradient_of_kernel(ctx, grad.contiguous(), features, kernel) if ctx.needs_input_grad[1] else None
        return of_features, of_kernel, None, None, None


def _sum(features: Tensor, kernel: Tensor, taps: Sequence[TapRows], count: int, centre: int | None) -> Tensor:
    if centre is None:
        sums = kernel.new_zeros(count, *features.shape[1:-1], kernel.shape[-1])
    else:
        sums = linear(features, kernel[centre].T).to(kernel.dtype)
    for tap in taps:
        for output_rows, input_rows in _parts(tap, features):
            sums.index_add_(0, output_rows, product(features, input_rows, kernel[tap.tap]))
    return sums


def _gradient_of_features(ctx: Any, grad: Tensor, features: Tensor, kernel: Tensor) -> Tensor:
    """The same sum with pairs exchanged and weights transposed."""
    across = [tap.exchanged(tap.tap) for tap in ctx.taps]
    return _sum(grad, kernel.transpose(1, 2), across, len(features), ctx.centre).to(features.dtype)


def _gradient_of_kernel(ctx: Any, grad: Tensor, features: Tensor, kernel: Tensor) -> Tensor:
    gradient = torch.zeros_like(kernel)
    if ctx.centre is not None:
        gradient[ctx.centre] = _rows(features).T @ _rows(grad)
    for tap in ctx.taps:
        for output_rows, input_rows in _parts(tap, features):
            gradient[tap.tap] += _rows(features.index_select(0, input_rows)).T @ _rows(grad.index_select(0, output_rows))
    return gradient


def _parts(tap: TapRows, features: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Output rows and input rows, on a CPU as many at a time as stay in its caches between the three steps."""
    rows = tap.input_rows
    if not len(rows):
        return
    parts = -(-rows.numel() * features.shape[-1] // VALUES_AT_ONCE) if rows.device.type == "cpu" else 1
    yield from zip(tap.output_rows.chunk(max(1, parts)), rows.chunk(max(1, parts)), strict=True)


def _rows(features: Tensor) -> Tensor:
    return features.reshape(-1, features.shape[-1])
