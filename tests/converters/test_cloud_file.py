from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.cloud_file import NO_HEIGHT, encode_cloud
from sam4d.structures import Sweep
from tests.converters.tiny_task import tiny_sweep


def read_back(data: bytes) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int16]]:
    magic, version, count, zero = struct.unpack_from("<4sIII", data)
    assert (magic, version, zero) == (b"S4DC", 1, 0)
    intensity_at = 16 + 12 * count
    height_at = intensity_at + -(-count // 4) * 4
    assert len(data) == height_at + 2 * count
    return (
        np.frombuffer(data, "<f4", 3 * count, 16).reshape(count, 3),
        np.frombuffer(data, np.uint8, count, intensity_at),
        np.frombuffer(data, "<i2", count, height_at),
    )


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_every_row_is_there_however_many(count: int) -> None:
    points_m = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    found, intensity, height_cm = read_back(encode_cloud(Sweep(points_m)))
    assert np.array_equal(found, points_m)
    assert (intensity == 128).all(), "a sweep without intensity is evenly bright"
    assert len(height_cm) == count


def test_heights_are_above_the_ground_and_missing_returns_keep_their_row() -> None:
    sweep = tiny_sweep()
    missing = ~np.isfinite(sweep.points_m).all(axis=1)
    found, _, height_cm = read_back(encode_cloud(sweep))
    assert np.array_equal(np.isnan(found).all(axis=1), missing)
    assert (height_cm[missing] == NO_HEIGHT).all()
    ground = np.isclose(sweep.points_m[:, 2], -1.7)
    assert np.abs(height_cm[ground]).max() <= 5
    roof = sweep.points_m[:, 2] > -0.3
    assert height_cm[roof].min() > 110


@pytest.mark.parametrize("scale", [1.0, 255.0, 65535.0])
def test_intensity_counts_in_the_sweeps_own_range(scale: float) -> None:
    values = np.linspace(0, scale, 101, dtype=np.float32)
    values[50] = np.nan
    _, intensity, _ = read_back(encode_cloud(Sweep(np.ones((101, 3), dtype=np.float32), values)))
    assert (intensity[0], intensity[50], intensity[-1]) == (0, 0, 255)
    assert (np.diff(intensity[[0, 10, 30, 70, 90, 100]].astype(int)) >= 0).all()
