"""Packed keys: every place has its own, and finds its way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sam4d.data_engine.voxels import NOWHERE, rows_of, voxel_centers, voxel_keys

places = hnp.arrays(np.float64, st.tuples(st.integers(0, 30), st.just(3)), elements=st.floats(-5000, 5000))


@given(places, st.sampled_from([0.1, 0.15, 0.2, 1.0]))
def test_a_point_lies_in_its_voxel(points_m: np.ndarray, voxel_m: float) -> None:  # type: ignore[type-arg]
    centers_m = voxel_centers(voxel_keys(points_m, voxel_m), voxel_m)
    assert centers_m.shape == points_m.shape
    assert np.all(np.abs(centers_m - points_m) <= voxel_m / 2 + 1e-3)


@given(places)
def test_centres_keep_their_keys_and_different_cells_have_different_ones(points_m: np.ndarray) -> None:  # type: ignore[type-arg]
    keys = voxel_keys(points_m, 0.5)
    assert np.array_equal(voxel_keys(voxel_centers(keys, 0.5), 0.5), keys)
    cells = np.floor(points_m / 0.5)
    assert len(np.unique(keys)) == len(np.unique(cells, axis=0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9])
def test_what_is_nowhere_has_no_voxel(bad: float) -> None:
    assert voxel_keys(np.array([[0.0, bad, 0.0], [1.0, 2.0, 3.0]]), 0.15)[0] == NOWHERE


def test_rows_of_keys() -> None:
    known = np.array([3, 7, 11])
    assert rows_of(np.array([7, 4, 11, 12, 3, -1]), known).tolist() == [1, -1, 2, -1, 0, -1]
    assert rows_of(np.array([1]), known[:0]).tolist() == [-1]
