"""Sparse 3D convolution in plain PyTorch, for CPU and CUDA, with the same result in every run.

Cells are integer (x, y, z). A convolution is a sum over its taps (`tap_sum`). Which rows these connect depends on the cells only, is found
once with a binary search over packed coordinates and is shared by all layers on the same cells.

Kernel layouts, tap orders and the border rule are those of the released model (torchsparse 2.1), so that its weights fit as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam4d.modeling.products import linear
from sam4d.modeling.tap_sums import TapRows, product, tap_sum

KeptT = TypeVar("KeptT")

CELL_LIMIT = 2**20 - 64
"""Coordinates of cells are below this in magnitude, so that three of them and their neighbours fit into one 63-bit key."""

_AXIS_BITS = 21
_AXIS_OFFSET = 2**20


@dataclass(frozen=True, eq=False)
class CoarserCells:
    """The cells of a convolution whose stride is its kernel size, and the pairs (output: coarse row, input: fine row) of every tap."""

    cells: Cells
    taps: tuple[TapRows, ...]


class Cells:
    """The occupied cells of one level, int64 (M, 3), in the order of their features, with the neighbour maps that its layers share.

    A cell may occur several times (one row per point, say). Then the row that comes last is what a convolution reads, and all of its
    rows receive the same result. Maps speak of the distinct cells, sorted by (x, y, z).
    """

    def __init__(self, coordinates: Tensor) -> None:
        if coordinates.ndim != 2 or coordinates.shape[1] != 3 or coordinates.dtype != torch.int64:
            raise ValueError(f"cells int64 (M, 3) expected, found {coordinates.dtype} {tuple(coordinates.shape)}")
        if len(coordinates) and int(coordinates.abs().max()) >= CELL_LIMIT:
            raise ValueError(f"coordinates below {CELL_LIMIT} cells expected, found {int(coordinates.abs().max())}")
        self.coordinates = coordinates
        keys = _pack(coordinates)
        self._is_sorted_set = bool((keys[1:] > keys[:-1]).all())
        if self._is_sorted_set:
            self._keys = keys
            self._last_row = self._distinct_of_row = torch.arange(len(keys), device=keys.device)
        else:
            sorted_keys, order = torch.sort(keys, stable=True)
            is_last = torch.ones_like(sorted_keys, dtype=torch.bool)
            is_last[:-1] = sorted_keys[1:] != sorted_keys[:-1]
            self._keys = sorted_keys[is_last]
            self._last_row = order[is_last]
            self._distinct_of_row = torch.empty_like(order)
            self._distinct_of_row[order] = is_last.cumsum(0) - is_last.to(torch.int64)
        self._distinct_cells: Cells | None = None
        self._neighbours: dict[int, tuple[TapRows, ...]] = {}
        self._coarser: dict[int, CoarserCells] = {}
        self._kept: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def distinct(self) -> Cells:
        """The distinct cells, U of them, sorted by (x, y, z). They have the maps."""
        if self._is_sorted_set:
            return self
        if self._distinct_cells is None:
            self._distinct_cells = Cells(self.coordinates[self._last_row])
        return self._distinct_cells

    def distinct_features(self, features: Tensor) -> Tensor:
        """Features (M, ..., C) of all rows -> (U, ..., C) of the distinct cells: those of each cell's last row."""
        return features if self._is_sorted_set else features.index_select(0, self._last_row)

    def row_features(self, features: Tensor) -> Tensor:
        """Features (U, ..., C) of the distinct cells -> (M, ..., C) of all rows. Inverse of `distinct_features` where no cell recurs."""
        return features if self._is_sorted_set else features.index_select(0, self._distinct_of_row)

    def find(self, coordinates: Tensor) -> Tensor:
        """The (last) row of each of the cells int64 (Q, 3): int64 (Q,), -1 where there is none."""
        inside = (coordinates.abs() < CELL_LIMIT).all(dim=1)
        keys = _pack(torch.where(inside[:, None], coordinates, 0))
        if not len(self._keys):
            return torch.full_like(keys, -1)
        positions = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
        return torch.where(inside & (self._keys[positions] == keys), self._last_row[positions], -1)

    def neighbours(self, kernel_size: int) -> tuple[TapRows, ...]:
        """For half of the taps around the centre, the pairs (output cell, input cell = output cell + offset) among the distinct cells.

        The opposite tap, `kernel_size**3 - 1 - tap`, has the same pairs with output and input exchanged.
        """
        if not self._is_sorted_set:
            return self.distinct.neighbours(kernel_size)
        if kernel_size not in self._neighbours:
            self._neighbours[kernel_size] = tuple(self._find_neighbours(kernel_size))
        return self._neighbours[kernel_size]

    def forget_neighbours(self) -> None:
        """Where no further convolution on these cells is expected; one that comes finds them again."""
        self._neighbours.clear()

    def coarser(self, stride: int) -> CoarserCells:
        """The cells after a convolution with stride = kernel size, divided by the stride and sorted.

        On every axis only cells up to `(maximum - (stride - 1)) // stride` are kept: a window that reaches over the border is not
        evaluated.
        """
        if not self._is_sorted_set:
            return self.distinct.coarser(stride)
        if stride not in self._coarser:
            self._coarser[stride] = self._find_coarser(stride)
        return self._coarser[stride]

    def know_coarser(self, stride: int, coarser: CoarserCells) -> None:
        """What `coarser` found of the same cells before, so that it need not be found again. Raises ValueError where cells recur."""
        if not self._is_sorted_set:
            raise ValueError("distinct cells, sorted by (x, y, z), expected")
        self._coarser[stride] = coarser

    def kept(self, key: Hashable, make: Callable[[], KeptT]) -> KeptT:
        """What another way of computing needs of these cells: made once, kept as long as they are."""
        if key not in self._kept:
            self._kept[key] = make()
        kept: KeptT = self._kept[key]
        return kept

    def _find_neighbours(self, kernel_size: int) -> Iterator[TapRows]:
        keys, k, r = self._keys, kernel_size, kernel_size // 2
        ended_keys = torch.cat([keys, keys.new_full((1,), torch.iinfo(torch.int64).max)])
        for dx in range(r + 1):
            for dy in range(-r if dx else 0, r + 1):
                # Neighbours of one column follow one another in the sorted keys: one search finds the lowest, the others come next.
                first_dz = -r if dx or dy else 1
                wanted = keys + (dx << 2 * _AXIS_BITS) + (dy << _AXIS_BITS) + first_dz
                positions = torch.searchsorted(keys, wanted)
                for dz in range(first_dz, r + 1):
                    found = ended_keys[positions] == wanted
                    outputs = found.nonzero().squeeze(1)
                    yield TapRows((dx + r) + k * (dy + r) + k * k * (dz + r), outputs, positions[outputs])
                    positions = positions + found
                    wanted = wanted + 1

    def _find_coarser(self, stride: int) -> CoarserCells:
        fine = self.coordinates
        if not len(fine):
            none = fine.new_empty(0)
            return CoarserCells(Cells(fine), tuple(TapRows(tap, none, none) for tap in range(stride**3)))
        coarse = torch.div(fine, stride, rounding_mode="floor")
        highest = torch.div(fine.amax(dim=0) - (stride - 1), stride, rounding_mode="floor")
        fine_rows = (coarse <= highest).all(dim=1).nonzero().squeeze(1)
        coarse, corner = coarse[fine_rows], (fine - stride * coarse)[fine_rows]
        coarse_keys, coarse_rows = torch.unique(_pack(coarse), return_inverse=True)
        taps = (corner[:, 0] * stride + corner[:, 1]) * stride + corner[:, 2]
        order = torch.sort(taps, stable=True).indices
        sizes = torch.bincount(taps, minlength=stride**3).tolist()
        pairs = zip(torch.split(coarse_rows[order], sizes), torch.split(fine_rows[order], sizes), strict=True)
        return CoarserCells(Cells(_unpack(coarse_keys)), tuple(TapRows(tap, o, i) for tap, (o, i) in enumerate(pairs)))


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """Features float (M, C), or (M, B, C) for a batch of B objects on the same cells, and the cells of their rows."""

    cells: Cells
    features: Tensor

    def __post_init__(self) -> None:
        if len(self.features) != len(self.cells):
            raise ValueError(f"features of {len(self.cells)} cells expected, found {len(self.features)}")

    @property
    def coordinates(self) -> Tensor:
        """int64 (M, 3)."""
        return self.cells.coordinates

    def with_features(self, features: Tensor) -> SparseTensor:
        """Other features of the same cells."""
        return SparseTensor(self.cells, features)


class SparseModule(nn.Module):
    """A module from SparseTensor to SparseTensor; `SparseSequential` gives plain modules the features instead."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        raise NotImplementedError


class SparseSequential(SparseModule):
    """Sparse modules and modules over features (..., C) in turn. Children are named "0", "1", ... as in `nn.Sequential`."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            self.add_module(str(index), module)

    def forward(self, x: SparseTensor) -> SparseTensor:
        for module in self.children():
            x = module(x) if isinstance(module, SparseModule) else x.with_features(module(x.features))
        return x


class FeatureBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the last axis of features (M, C) or (M, B, C), eps 1e-5. Written over what comes in, but in training.

    A single row, which has no variance, is normalised by the running statistics in training too.
    """

    statistics_stand = False
    """Whether the running statistics stay as they are in training as well."""

    def forward(self, features: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        if self.training or torch.is_grad_enabled() or features.dtype != self.weight.dtype:
            rows = features.flatten(0, -2)
            of_rows = self.training and len(rows) > 1
            momentum = 0.0 if self.statistics_stand else self.momentum or 0.0
            if of_rows and not self.statistics_stand:
                self.num_batches_tracked.add_(1)
            normalised = functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, of_rows, momentum, self.eps
            )
            return normalised.view(features.shape)
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return torch.addcmul(self.bias - self.running_mean * scale, features, scale, out=features)


class SubmanifoldConv(SparseModule):
    """Convolution with odd kernel size and stride 1 whose outputs are the input's own cells.

    `kernel` is [k^3, in, out], tap `(dx + r) + k (dy + r) + k^2 (dz + r)` with r = k // 2, input cell = output cell + d; or [in, out] for
    k = 1, which treats every row by itself.
    """

    computed_by: Callable[[Cells, Tensor], Tensor] | None = None
    """Something else that does the sum over the taps for distinct cells, see `spconv_taps`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> None:
        super().__init__()
        if kernel_size % 2 != 1:
            raise ValueError(f"an odd kernel size expected, found {kernel_size}")
        self.kernel_size = kernel_size
        self.kernel = _new_kernel(kernel_size, in_channels, out_channels)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        if self.kernel_size == 1:
            return x.with_features(linear(x.features, self.kernel.T, self.bias))
        features = x.cells.distinct_features(x.features)
        if self.computed_by is not None and not torch.is_grad_enabled():
            return x.with_features(x.cells.row_features(_add_bias(self.computed_by(x.cells.distinct, features), self.bias)))
        last_tap = self.kernel_size**3 - 1
        taps = [each for tap in x.cells.neighbours(self.kernel_size) for each in (tap, tap.exchanged(last_tap - tap.tap))]
        sums = tap_sum(features, self.kernel, taps, len(features), centre=last_tap // 2)
        return x.with_features(x.cells.row_features(_add_bias(sums, self.bias)))


class DownConv(SparseModule):
    """Convolution whose stride is its kernel size, to the cells of `Cells.coarser`.

    `kernel` is [k^3, in, out], tap `(dx k + dy) k + dz` with d in 0 .. k - 1, input cell = k * output cell + d.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.kernel = _new_kernel(kernel_size, in_channels, out_channels)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        coarser = x.cells.coarser(self.kernel_size)
        features = x.cells.distinct_features(x.features)
        sums = tap_sum(features, self.kernel, coarser.taps, len(coarser.cells))
        return SparseTensor(coarser.cells, _add_bias(sums, self.bias))


class UpConv(nn.Module):
    """Transposed convolution whose stride is its kernel size, back to the cells that a `DownConv` came from: the same pairs and taps.

    Cells that the border rule dropped on the way down receive zero (plus the bias).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.kernel = _new_kernel(kernel_size, in_channels, out_channels)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: SparseTensor, finer: Cells) -> SparseTensor:
        coarser = finer.coarser(self.kernel_size)
        if x.cells is not coarser.cells and not torch.equal(x.coordinates, coarser.cells.coordinates):
            raise ValueError(f"the {len(coarser.cells)} cells that lie over the finer ones expected, found {len(x.cells)} others")
        if torch.is_grad_enabled():
            features = tap_sum(x.features, self.kernel, [tap.exchanged(tap.tap) for tap in coarser.taps], len(finer.distinct))
        else:
            # Every fine cell has one coarse cell at most: nothing needs to be added.
            rows = torch.cat([tap.input_rows for tap in coarser.taps])
            values = torch.cat([product(x.features, tap.output_rows, self.kernel[tap.tap]) for tap in coarser.taps])
            features = values.new_zeros(len(finer.distinct), *values.shape[1:]).index_copy_(0, rows, values)
        return SparseTensor(finer, finer.row_features(_add_bias(features, self.bias)))


def _new_kernel(kernel_size: int, in_channels: int, out_channels: int) -> nn.Parameter:
    taps = kernel_size**3
    shape = (in_channels, out_channels) if taps == 1 else (taps, in_channels, out_channels)
    bound = 1 / math.sqrt(taps * in_channels)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def _add_bias(features: Tensor, bias: Tensor | None) -> Tensor:
    return features if bias is None else features + bias


def _pack(coordinates: Tensor) -> Tensor:
    """Cells (M, 3) -> keys int64 (M,) that sort by (x, y, z)."""
    x, y, z = (coordinates + _AXIS_OFFSET).unbind(1)
    return (x << 2 * _AXIS_BITS) | (y << _AXIS_BITS) | z


def _unpack(keys: Tensor) -> Tensor:
    """Inverse of `_pack`."""
    mask = 2**_AXIS_BITS - 1
    return torch.stack([keys >> 2 * _AXIS_BITS, (keys >> _AXIS_BITS) & mask, keys & mask], dim=1) - _AXIS_OFFSET
