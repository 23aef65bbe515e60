"""A sweep comes back from what is stored of it as it was encoded, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam4d.geometry import BoolArray
from sam4d.modeling.encoded_frame import LidarFeatures
from sam4d.modeling.lidar_encoder import voxelise
from sam4d.modeling.point_logits import point_mixing
from sam4d.modeling.sparse_conv import Cells, SparseTensor
from sam4d.network.stored_sweep import StoredSweep

CPU = torch.device("cpu")


def encoded(seed: int, points: int, reach_m: float, dtype: torch.dtype = torch.float32) -> LidarFeatures:
    """A sweep with features that mean nothing."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    sweep = voxelise(generator.uniform(-reach_m, reach_m, (points, 3)).astype(np.float32))
    cells4 = sweep.point_cells.distinct.coarser(2).cells.coarser(2).cells
    cells8 = cells4.coarser(2).cells
    cells16 = cells8.coarser(2).cells
    stride4, stride8, stride16 = (SparseTensor(cells, torch.randn(len(cells), 3, dtype=dtype)) for cells in (cells4, cells8, cells16))
    return LidarFeatures(
        stride4,
        stride8,
        stride16,
        positions_m=torch.randn(len(cells16), 3),
        positions=torch.randn(1, len(cells16), 256, dtype=dtype),
        sweep=sweep,
        mixing=point_mixing(sweep.positions, cells4),
    )


def finite_rows(seed: int, points: int) -> BoolArray:
    """A sweep's own rows, some of which are no points."""
    finite = np.ones(points + 7, dtype=np.bool_)
    finite[np.random.default_rng(seed).choice(len(finite), 7, replace=False)] = False
    return finite


def assert_same_cells(one: Cells, other: Cells) -> None:
    assert torch.equal(one.coordinates, other.coordinates)
    assert torch.equal(one.find(one.coordinates), other.find(one.coordinates))
    assert other.distinct is other


@given(
    seed=st.integers(0, 2**32 - 1),
    points=st.integers(10, 400),
    reach_m=st.sampled_from([0.5, 4.0, 20.0, 3000.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_sweep_comes_back_as_it_was(seed: int, points: int, reach_m: float, dtype: torch.dtype) -> None:
    lidar, finite = encoded(seed, points, reach_m, dtype), finite_rows(seed, points)
    seen = {"front": np.arange(points) % 3 == 0, "a/b": np.zeros(points, dtype=np.bool_)}
    stored = StoredSweep.from_arrays(StoredSweep.of(lidar, finite, seen).arrays(), list(seen))
    assert stored is not None
    np.testing.assert_array_equal(stored.finite, finite)
    assert stored.seen.keys() == seen.keys()
    for name, mask in seen.items():
        np.testing.assert_array_equal(stored.seen[name], mask)
    np.testing.assert_array_equal(stored.points_m, lidar.sweep.points_m.numpy())
    found = stored.lidar(CPU)
    levels = [(each.stride4, each.stride8, each.stride16) for each in (lidar, found)]
    for one, other in zip(*levels, strict=True):
        assert one.features.dtype == other.features.dtype
        assert torch.equal(one.features, other.features)
        assert_same_cells(one.cells, other.cells)
    for finer, known, coarser in zip(*levels, levels[1][1:], strict=False):
        one_map, other_map = finer.cells.coarser(2), known.cells.coarser(2)
        assert other_map.cells is coarser.cells
        for tap, other_tap in zip(one_map.taps, other_map.taps, strict=True):
            assert tap.tap == other_tap.tap
            assert torch.equal(tap.output_rows, other_tap.output_rows)
            assert torch.equal(tap.input_rows, other_tap.input_rows)
    assert torch.equal(found.positions_m, lidar.positions_m)
    assert torch.equal(found.positions, lidar.positions)
    assert torch.equal(found.mixing.voxels, lidar.mixing.voxels)
    assert torch.equal(found.mixing.weights, lidar.mixing.weights)
    assert torch.equal(found.sweep.positions, lidar.sweep.positions)
    assert torch.equal(found.sweep.point_cells.coordinates, lidar.sweep.point_cells.coordinates)
    logits = torch.randn(2, len(lidar.stride4.cells))
    assert torch.equal(found.mixing(logits), lidar.mixing(logits))


NAMES = sorted(StoredSweep.of(encoded(0, 60, 4.0), finite_rows(0, 60), {"front": np.ones(60, dtype=np.bool_)}).arrays())


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_together_is_no_sweep(name: str) -> None:
    seen = {"front": np.ones(60, dtype=np.bool_)}
    arrays = StoredSweep.of(encoded(0, 60, 4.0), finite_rows(0, 60), seen).arrays()
    assert StoredSweep.from_arrays(arrays, seen) is not None
    array = arrays[name]
    changes = [array[:0], np.concatenate([array, array]), array.astype(np.float16)]
    if array.dtype in (np.int32, np.int64) and not name.startswith("cells"):
        changes += [array + 10_000, array - 10_000]
    for changed in changes:
        assert StoredSweep.from_arrays({**arrays, name: changed}, seen) is None, changed.shape
    assert StoredSweep.from_arrays({other: array for other, array in arrays.items() if other != name}, seen) is None


def test_other_cameras_are_another_sweep() -> None:
    arrays = StoredSweep.of(encoded(0, 60, 4.0), finite_rows(0, 60), {"front": np.ones(60, dtype=np.bool_)}).arrays()
    assert StoredSweep.from_arrays(arrays, ["front", "back"]) is None
