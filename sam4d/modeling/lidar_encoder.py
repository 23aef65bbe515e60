"""The LiDAR encoder: a sweep's voxels through a MinkUNet to features at strides 4, 8 and 16 (arXiv 2506.21547).

Names and the rounding of the voxels are those of the released model.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sam4d.geometry import Float64Array
from sam4d.modeling.configuration import RELEASED, NetworkConfiguration
from sam4d.modeling.recomputation import computed_again
from sam4d.modeling.sparse_conv import (
    CELL_LIMIT,
    Cells,
    DownConv,
    FeatureBatchNorm,
    SparseModule,
    SparseSequential,
    SparseTensor,
    SubmanifoldConv,
    UpConv,
)
from sam4d.structures import Float32Array, InputError

POINTS_MINIMUM = 10
"""Sweeps of fewer points are refused."""

FINE_STEP_M = 0.05
VOXEL_SIZE_M = 0.15

TOP_STRIDE = 16
"""Voxels of the input along the edge of one at the encoder's top level."""


@dataclass(frozen=True, eq=False)
class VoxelisedSweep:
    """A sweep of N points on the grid of 0.15 m, whose origin is the sweep's own minimum; found when it is first asked for.

    points_m: float32 (N, 3), LiDAR frame, as `voxelise` takes them.
    """

    points_m: Tensor

    def __len__(self) -> int:
        return len(self.points_m)

    @cached_property
    def positions(self) -> Tensor:
        """float32 (N, 3) >= 0, the points in units of voxels, in steps of about a third."""
        points_m = self.points_m.cpu().numpy()
        # The released model rounds twice, in float32 and in this order; any shorter way puts points on a border into other voxels.
        fine = (_steps(points_m) - _steps(points_m.min(axis=0))).astype(np.float32)
        return torch.from_numpy(fine * np.float32(FINE_STEP_M) / np.float32(VOXEL_SIZE_M)).to(self.points_m.device)

    @cached_property
    def point_cells(self) -> Cells:
        """The voxel of every point, recurring ones included; its `distinct` cells are the network's input."""
        return Cells(self.positions.floor().to(torch.int64))

    def find_levels(self) -> None:
        """Find the voxels at all strides now."""
        cells = self.point_cells.distinct
        for _ in range(TOP_STRIDE.bit_length() - 1):
            cells = cells.coarser(2).cells


def voxelise(points_m: NDArray[np.floating], device: torch.device | str = "cpu") -> VoxelisedSweep:
    """Points (N, 3) in metres, LiDAR frame, all of them finite -> voxels, of what float32 holds of them.

    Raises InputError on fewer than 10 points, points that are not finite, and points too far apart.
    """
    if points_m.ndim != 2 or points_m.shape[1] != 3 or len(points_m) < POINTS_MINIMUM:
        raise InputError("sweep", f"at least {POINTS_MINIMUM} points (N, 3)", f"an array of shape {points_m.shape}")
    if not np.isfinite(points_m).all():
        raise InputError("sweep", "finite points", f"{int((~np.isfinite(points_m).all(axis=1)).sum())} points that are not")
    points_m = points_m.astype(np.float32)
    lowest, highest = _steps(points_m.min(axis=0)), _steps(points_m.max(axis=0))
    extent_m = float((highest - lowest).max() * FINE_STEP_M)
    if extent_m >= (CELL_LIMIT - 1) * VOXEL_SIZE_M or max(np.abs(lowest).max(), np.abs(highest).max()) > np.iinfo(np.int32).max:
        raise InputError("sweep", f"points within {CELL_LIMIT * VOXEL_SIZE_M / 1000:.0f} km of one another", f"{extent_m / 1000:.0f} km")
    return VoxelisedSweep(torch.from_numpy(points_m).to(device))


def _steps(points_m: Float32Array) -> Float64Array:
    """Whole steps of 0.05 m from the LiDAR's own origin."""
    return np.trunc(points_m.astype(np.float64) / FINE_STEP_M)


@dataclass(frozen=True, eq=False)
class LidarPyramid:
    """Features of one sweep: stride4, stride8 and stride16, with 128, 256 and 256 channels in the released model.

    Cells count their own stride, sorted by (x, y, z). positions_m: float32 (M, 3), the mean of the points of each of the M voxels
    at stride 16, LiDAR frame.
    """

    stride4: SparseTensor
    stride8: SparseTensor
    stride16: SparseTensor
    positions_m: Tensor


class MinkUNet(nn.Module):
    """A residual U-Net of sparse convolutions with four stages down and two up (arXiv 1904.08755)."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        width = configuration.lidar_input_width
        self.conv_input = SparseSequential(
            SubmanifoldConv(1, width, 3),
            FeatureBatchNorm(width),
            nn.ReLU(inplace=True),
            SubmanifoldConv(width, width, 3),
            FeatureBatchNorm(width),
            nn.ReLU(inplace=True),
        )
        widths = itertools.pairwise((width, *configuration.lidar_widths))
        self.encoder = nn.ModuleList(
            _EncoderStage(before, after, blocks) for (before, after), blocks in zip(widths, configuration.lidar_blocks, strict=True)
        )
        _, skip4_width, skip8_width, top_width = configuration.lidar_widths
        width8, width4 = configuration.lidar_decoder_widths
        self.decoder = nn.ModuleList([_DecoderStage(top_width, skip8_width, width8), _DecoderStage(width8, skip4_width, width4)])
        self.checkpointed = False

    def forward(self, sweep: VoxelisedSweep) -> LidarPyramid:
        cells = sweep.point_cells.distinct
        # A voxel's feature is the mean of its points' features, which are all 1: the network sees where there is something, no intensity.
        x = self.conv_input(SparseTensor(cells, next(self.parameters()).new_ones(len(cells), 1)))
        levels: list[SparseTensor] = []
        for stage in self.encoder:
            x = self._computed(stage, x)
            levels.append(x)
        _, skip4, skip8, stride16 = levels
        if not len(stride16.cells):
            raise InputError("sweep", "points that reach over more than 5 m on every axis", f"a grid of {len(cells)} voxels")
        stride8 = self._computed(self.decoder[0], stride16, skip8)
        stride4 = self._computed(self.decoder[1], stride8, skip4)
        if not torch.is_grad_enabled():
            for level in (cells, *(each.cells for each in levels)):
                level.forget_neighbours()
        return LidarPyramid(stride4, stride8, stride16, _mean_positions(sweep, stride16.cells))

    def _computed(self, stage: nn.Module, *inputs: SparseTensor) -> SparseTensor:
        computed: SparseTensor = computed_again(stage, *inputs) if self.checkpointed else stage(*inputs)
        return computed


class _UpSample(nn.Module):
    """Transposed convolution, normalisation, ReLU. Cells without a coarser one are normalised zeros."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([UpConv(in_channels, out_channels, 2), FeatureBatchNorm(out_channels), nn.ReLU(inplace=True)])

    def forward(self, x: SparseTensor, finer: Cells) -> SparseTensor:
        conv, norm, activation = self.net
        result: SparseTensor = conv(x, finer)
        return result.with_features(activation(norm(result.features)))


class _DownSample(SparseModule):
    """Convolution to half the resolution, normalisation, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = SparseSequential(DownConv(channels, channels, 2), FeatureBatchNorm(channels), nn.ReLU(inplace=True))

    def forward(self, x: SparseTensor) -> SparseTensor:
        result: SparseTensor = self.net(x)
        return result


class _ResidualBlock(SparseModule):
    """Two convolutions and a shortcut, which is a 1x1 convolution where the width changes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.net = SparseSequential(
            SubmanifoldConv(in_channels, out_channels, 3),
            FeatureBatchNorm(out_channels),
            nn.ReLU(inplace=True),
            SubmanifoldConv(out_channels, out_channels, 3),
            FeatureBatchNorm(out_channels),
        )
        self.downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.downsample = SparseSequential(SubmanifoldConv(in_channels, out_channels, 1), FeatureBatchNorm(out_channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.with_features(self.net(x).features.add_(self.downsample(x).features).relu_())


class _EncoderStage(SparseSequential):
    def __init__(self, in_channels: int, out_channels: int, blocks: int) -> None:
        widths = [in_channels] + [out_channels] * blocks
        super().__init__(_DownSample(in_channels), *(_ResidualBlock(widths[i], widths[i + 1]) for i in range(blocks)))


class _DecoderStage(nn.ModuleList):
    """Up to the cells of the encoder's features at the finer level, which are set beside, then two residual blocks."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        blocks = SparseSequential(_ResidualBlock(out_channels + skip_channels, out_channels), _ResidualBlock(out_channels, out_channels))
        super().__init__([_UpSample(in_channels, out_channels), blocks])

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        up_sample, blocks = self
        up = up_sample(x, skip.cells)
        result: SparseTensor = blocks(skip.with_features(torch.cat([up.features, skip.features], dim=-1)))
        return result


def _mean_positions(sweep: VoxelisedSweep, cells: Cells) -> Tensor:
    """Mean of the points of each stride-16 cell, float32 (M, 3)."""
    rows = cells.find(torch.div(sweep.point_cells.coordinates, TOP_STRIDE, rounding_mode="floor"))
    kept = rows >= 0
    # Summed on the CPU in float64: a GPU would add in a different order every time.
    kept_rows, points = rows[kept].cpu().numpy(), sweep.points_m[kept].cpu().numpy().astype(np.float64)
    sums = np.stack([np.bincount(kept_rows, weights=points[:, axis], minlength=len(cells)) for axis in range(3)], axis=1)
    means = sums / np.bincount(kept_rows, minlength=len(cells))[:, None]
    return torch.from_numpy(means.astype(np.float32)).to(sweep.points_m.device)
