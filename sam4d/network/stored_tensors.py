"""Tensors as arrays that a store can hold, and back, in the precision in which they were computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam4d.frame_store import Arrays

_CHANNELS_LAST = "/channels_last"
"""In the name of an array (B, H, W, C) of features (B, C, H, W): the order in memory decides on the last bits of what is computed
with them."""
_BFLOAT16 = "/bfloat16"
"""Ends the name of an array that holds the bits of bfloat16 numbers, int16: NumPy has no such numbers."""


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Inverse of `as_tensors`. Names may hold no "/"."""
    arrays = {}
    for name, values in tensors.items():
        if not values.is_contiguous() and values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last):
            name, values = name + _CHANNELS_LAST, values.permute(0, 2, 3, 1)
        if values.dtype == torch.bfloat16:
            name, values = name + _BFLOAT16, values.contiguous().view(torch.int16)
        arrays[name] = values.cpu().numpy()
    return arrays


def as_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """On the CPU, in the memory of those arrays that may be written to."""
    tensors = {}
    for name, array in arrays.items():
        values = torch.from_numpy(array if array.flags.writeable else np.array(array))
        if name.endswith(_BFLOAT16):
            values = values.view(torch.bfloat16)
        if _CHANNELS_LAST in name:
            values = values.permute(0, 3, 1, 2)
        tensors[name.partition("/")[0]] = values
    return tensors
