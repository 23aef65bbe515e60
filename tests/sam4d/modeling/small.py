"""A network so small that its gradients can be checked number by number, and what it looks at."""

from __future__ import annotations

import numpy as np
import torch

from sam4d.geometry import SE3
from sam4d.modeling.configuration import NetworkConfiguration
from sam4d.modeling.sparse_conv import Cells
from sam4d.structures import Camera, Float32Array

SMALL = NetworkConfiguration(
    image_size_px=96,
    width=16,
    hiera_width=4,
    hiera_blocks=(1, 1, 2, 1),
    hiera_windows=(8, 4, 4, 2),
    hiera_global_blocks=(3,),
    lidar_input_width=4,
    lidar_widths=(4, 8, 8, 16),
    lidar_blocks=(1, 1, 1, 1),
    lidar_decoder_widths=(16, 8),
    memory_layers=1,
    memory_hidden_width=24,
    memory_kernel_size=3,
    decoder_hidden_width=24,
    shared_hidden_width=12,
)
"""Its windows are cut off at the borders: 24, 12, 6 and 3 tokens a side."""

GRID = SMALL.grid_size


def camera() -> Camera:
    forward = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    return Camera("front", 120, 90, 80.0, 80.0, 60.0, 45.0, SE3(forward, np.array([0.5, 0.0, -0.2])))


def cells(count: int = 60, extent: int = 5) -> Cells:
    """Distinct and sorted."""
    random = np.random.default_rng(1)
    return Cells(torch.from_numpy(np.unique(random.integers(0, extent, size=(count, 3)), axis=0)))


def points_m(count: int = 400, extent_m: float = 12.0) -> Float32Array:
    return np.random.default_rng(2).uniform(0, extent_m, size=(count, 3)).astype(np.float32)
