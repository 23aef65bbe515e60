"""The exponential moving average of a network's weights, which is steadier than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class WeightAverage:
    """An average of tensors by name, all changes of which go into it.

    In the first steps it forgets faster than `decay` says, so that it does not long remember where it began: at step k, counted from 1,
    it keeps at most (1 + k) / (10 + k). Tensors that are not floating point are taken as they are.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self._decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """After step `step`, from 1 on."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, average in self.tensors.items():
            if average.is_floating_point():
                average.lerp_(tensors[name].detach(), share)
            else:
                average.copy_(tensors[name])

    @contextlib.contextmanager
    def in_place_of(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """The network has the average's values for the duration of the block."""
        own = {name: tensors[name].detach().clone() for name in self.tensors}
        _put(self.tensors, tensors)
        try:
            yield
        finally:
            _put(own, tensors)


@torch.no_grad()
def _put(values: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        tensors[name].copy_(value)
