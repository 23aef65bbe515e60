"""Submanifold convolutions by spconv (Apache-2.0), where it is installed: made for GPUs, the same result as ours up to rounding.

Chosen once, when the network is loaded (`use_spconv`); weights keep their names and their own layout in files.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sam4d.modeling.sparse_conv import Cells, SubmanifoldConv

LARGEST_IMPLICIT_TAPS = 32
"""spconv's faster algorithm has a bit for every tap; kernels with more taps take its older one."""


def spconv_is_installed() -> bool:
    """Whether the package is there; it is not loaded, which takes seconds."""
    return importlib.util.find_spec("spconv") is not None and importlib.util.find_spec("cumm") is not None


def use_spconv(network: nn.Module) -> int:
    """Let spconv compute the network's submanifold convolutions of more than one tap, on the device where its weights are now.

    Returns how many. Their kernels are copied in spconv's layout: call it after the weights are loaded, and again after others are.

    Raises ImportError where spconv is not installed or does not load.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of PyTorch that spconv 2.3 still uses
        import spconv.pytorch as spconv
        from spconv.core import ConvAlgo
    chosen = [module for module in network.modules() if isinstance(module, SubmanifoldConv) and module.kernel_size > 1]
    for module in chosen:
        implicit = module.kernel.device.type == "cuda" and module.kernel_size**3 <= LARGEST_IMPLICIT_TAPS
        module.computed_by = _by_spconv(module, spconv, ConvAlgo.MaskImplicitGemm if implicit else ConvAlgo.Native)
    return len(chosen)


def _by_spconv(module: SubmanifoldConv, spconv: Any, algorithm: Any) -> Callable[[Cells, Tensor], Tensor]:
    k, (_, in_channels, out_channels) = module.kernel_size, module.kernel.shape
    convolution = spconv.SubMConv3d(in_channels, out_channels, k, bias=False, indice_key=str(k), algo=algorithm)
    # Our taps count x fastest; spconv's kernels are [out, x, y, z, in].
    weight = module.kernel.detach().view(k, k, k, in_channels, out_channels).permute(4, 2, 1, 0, 3)
    convolution.to(weight.device).eval().requires_grad_(False).weight.copy_(weight)

    def convolved(cells: Cells, features: Tensor) -> Tensor:
        if not len(cells):
            return features.new_zeros(*features.shape[:-1], out_channels)
        # The neighbour maps are shared by the layers on the same cells, as ours are.
        pairs: dict[str, Any] = cells.kept(algorithm, dict)
        indices, shape = cells.kept("spconv", lambda: _indices(cells))
        objects = features.unsqueeze(1) if features.ndim == 2 else features
        results = []
        # In the weights' precision: spconv knows no bfloat16.
        with torch.autocast(features.device.type, enabled=False):
            for each in objects.unbind(1):
                given = spconv.SparseConvTensor(each.to(weight.dtype).contiguous(), indices, shape, 1, indice_dict=pairs)
                results.append(convolution(given).features)
        return torch.stack(results, dim=1).view(*features.shape[:-1], out_channels)

    return convolved


def _indices(cells: Cells) -> tuple[Tensor, list[int]]:
    """int32 (U, 4), batch index and the cell counted from the lowest on every axis, and the grid's size."""
    lowest = cells.coordinates.amin(dim=0)
    counted = cells.coordinates - lowest
    indices = torch.cat([counted.new_zeros(len(counted), 1), counted], dim=1).to(torch.int32).contiguous()
    return indices, [int(length) + 1 for length in counted.amax(dim=0)]
