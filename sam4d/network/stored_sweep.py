"""All that clicks need of a sweep, whatever is clicked, in a form that a store can hold: nothing of it is computed for a stored one.

The voxels of the single points, which only remembering and masks given as prompts need, are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam4d.frame_store import Arrays
from sam4d.geometry import BoolArray
from sam4d.modeling.encoded_frame import LidarFeatures
from sam4d.modeling.lidar_encoder import VoxelisedSweep
from sam4d.modeling.point_logits import PointMixing
from sam4d.modeling.sparse_conv import Cells, CoarserCells, SparseTensor
from sam4d.modeling.tap_sums import TapRows
from sam4d.network.stored_tensors import as_arrays, as_tensors
from sam4d.structures import Float32Array

_STRIDES = (4, 8, 16)
_PRECISIONS = (torch.float32, torch.bfloat16)
_TAPS = 2**3
"""Of a convolution from one of the strides to the next."""

_SEEN = "seen/"
"""Begins the name of an array of bits, one for each finite point: whether a camera sees it."""


@dataclass(frozen=True, eq=False)
class StoredSweep:
    """A sweep of N rows of which M are finite points.

    finite: bool (N,), which rows they are. seen: by camera, bool (M,), which of them lie inside its image. tensors: what `lidar` is made
    of, on the CPU.
    """

    finite: BoolArray
    seen: Mapping[str, BoolArray]
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, lidar: LidarFeatures, finite: BoolArray, seen: Mapping[str, BoolArray]) -> StoredSweep:
        tensors = {
            "points_m": lidar.sweep.points_m,
            "positions_m": lidar.positions_m,
            "positions": lidar.positions,
            "mixed_voxels": lidar.mixing.voxels,
            "mixing_weights": lidar.mixing.weights,
        }
        levels = lidar.stride4, lidar.stride8, lidar.stride16
        for stride, level in zip(_STRIDES, levels, strict=True):
            tensors[f"features{stride}"] = level.features
            tensors[f"cells{stride}"] = level.coordinates.to(torch.int32)
        for stride, level in zip(_STRIDES, levels[:-1], strict=False):
            taps = level.cells.coarser(2).taps
            tensors[f"finer_rows{stride}"] = torch.cat([tap.input_rows for tap in taps]).to(torch.int32)
            tensors[f"coarser_rows{stride}"] = torch.cat([tap.output_rows for tap in taps]).to(torch.int32)
            tensors[f"tap_sizes{stride}"] = torch.tensor([len(tap.input_rows) for tap in taps])
        return cls(finite, seen, {name: values.cpu() for name, values in tensors.items()})

    @property
    def points_m(self) -> Float32Array:
        """float32 (M, 3), the finite points, metres, LiDAR frame."""
        points_m: Float32Array = self.tensors["points_m"].numpy()
        return points_m

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {**as_arrays(self.tensors), "finite": self.finite, **{_SEEN + name: np.packbits(seen) for name, seen in self.seen.items()}}

    @classmethod
    def from_arrays(cls, arrays: Arrays, cameras: Collection[str]) -> StoredSweep | None:
        """Inverse of `arrays`; None where they are not those of a sweep and just these cameras."""
        try:
            tensors = as_tensors({name: array for name, array in arrays.items() if not name.startswith((_SEEN, "finite"))})
            finite, count = arrays["finite"], len(tensors["points_m"])
            seen = {name: _bits(arrays[_SEEN + name], count) for name in cameras}
            is_right = finite.dtype == np.bool_ and int(finite.sum()) == count and _is_whole(tensors)
        except (KeyError, ValueError, TypeError):
            return None
        return cls(finite, seen, tensors) if is_right else None

    def lidar(self, device: torch.device) -> LidarFeatures:
        """As it was encoded; on a CPU in the store's memory, as far as possible."""
        known = {name: values.to(device) for name, values in self.tensors.items()}
        cells = [Cells(known[f"cells{stride}"].long()) for stride in _STRIDES]
        for stride, finer, coarser in zip(_STRIDES, cells, cells[1:], strict=False):
            finer.know_coarser(2, CoarserCells(coarser, _taps(self.tensors, known, stride)))
        stride4, stride8, stride16 = (SparseTensor(each, known[f"features{stride}"]) for stride, each in zip(_STRIDES, cells, strict=True))
        return LidarFeatures(
            stride4=stride4,
            stride8=stride8,
            stride16=stride16,
            positions_m=known["positions_m"],
            positions=known["positions"],
            sweep=VoxelisedSweep(known["points_m"]),
            mixing=PointMixing(known["mixed_voxels"], known["mixing_weights"]),
        )


def _taps(tensors: Mapping[str, Tensor], known: Mapping[str, Tensor], stride: int) -> tuple[TapRows, ...]:
    """tensors: on the CPU. known: the same ones on their device."""
    sizes = tensors[f"tap_sizes{stride}"].tolist()
    outputs, inputs = (torch.split(known[f"{which}_rows{stride}"].long(), sizes) for which in ("coarser", "finer"))
    return tuple(TapRows(tap, *rows) for tap, rows in enumerate(zip(outputs, inputs, strict=True)))


def _bits(packed: NDArray[Any], count: int) -> BoolArray:
    """Raises ValueError where there are not so many."""
    if packed.shape != (-(-count // 8),):
        raise ValueError(f"{count} bits expected")
    bits: BoolArray = np.unpackbits(packed, count=count).view(np.bool_)
    return bits


def _is_whole(tensors: Mapping[str, Tensor]) -> bool:
    """Whether everything is there and fits together, so that no row is looked for that is not there."""
    points, top = len(tensors["points_m"]), len(tensors["cells16"])
    voxels = tensors["mixed_voxels"]
    fits = (
        tensors["points_m"].shape == (points, 3)
        and tensors["points_m"].dtype == torch.float32
        and tensors["positions_m"].shape == (top, 3)
        and tensors["positions_m"].dtype == torch.float32
        and tensors["positions"].shape[:2] == (1, top)
        and tensors["positions"].dtype in _PRECISIONS
        and voxels.shape == tensors["mixing_weights"].shape == (points, 4)
        and tensors["mixing_weights"].dtype == torch.float32
        and _are_rows(voxels, torch.int32, len(tensors["cells4"]))
    )
    for stride in _STRIDES:
        cells, features = tensors[f"cells{stride}"], tensors[f"features{stride}"]
        fits = fits and cells.dtype == torch.int32 and len(cells) == len(features) and features.dtype in _PRECISIONS
    for stride in _STRIDES[:-1]:
        finer, coarser, sizes = (tensors[f"{name}{stride}"] for name in ("finer_rows", "coarser_rows", "tap_sizes"))
        fits = (
            fits
            and sizes.dtype == torch.int64
            and len(sizes) == _TAPS
            and int(sizes.sum()) == len(finer) == len(coarser)
            and _are_rows(finer, torch.int32, len(tensors[f"cells{stride}"]))
            and _are_rows(coarser, torch.int32, len(tensors[f"cells{2 * stride}"]))
        )
    return bool(fits)


def _are_rows(rows: Tensor, dtype: torch.dtype, count: int) -> bool:
    return rows.dtype == dtype and (not rows.numel() or (int(rows.min()) >= 0 and int(rows.max()) < count))
