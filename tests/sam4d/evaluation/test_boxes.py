"""Overlaps and errors of cuboids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam4d.evaluation import CuboidError, birds_eye_iou, volume_iou, yaw_difference
from sam4d.structures import Cuboid

CAR = Cuboid((3000.0, -20.0, 0.5), (4.0, 2.0, 1.5), 0.3)


def test_half_a_length_apart_overlaps_a_third() -> None:
    ahead = np.array([np.cos(0.3), np.sin(0.3), 0.0]) * 2.0
    x, y, z = np.add(CAR.center_m, ahead)
    beside = replace(CAR, center_m=(float(x), float(y), float(z)))
    assert birds_eye_iou(CAR, beside) == pytest.approx(1 / 3, abs=1e-3)
    assert volume_iou(CAR, beside) == pytest.approx(1 / 3, abs=1e-3)
    higher = replace(CAR, center_m=(3000.0, -20.0, 1.25))
    assert birds_eye_iou(CAR, higher) == pytest.approx(1, abs=1e-3)
    assert volume_iou(CAR, higher) == pytest.approx(1 / 3, abs=1e-3)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-4, 4))
def test_overlaps_are_symmetric_and_at_most_one(x_m: float, y_m: float, yaw_rad: float) -> None:
    other = Cuboid((3000 + x_m, -20 + y_m, 0.5), (4.5, 1.8, 1.6), yaw_rad)
    assert birds_eye_iou(CAR, other) == pytest.approx(birds_eye_iou(other, CAR), abs=1e-3)
    assert 0 <= volume_iou(CAR, other) <= birds_eye_iou(CAR, other) + 1e-6 <= 1 + 2e-6


def test_a_box_turned_round_is_the_same_box() -> None:
    error = CuboidError.between(replace(CAR, yaw_rad=0.3 + np.pi), CAR)
    assert error.birds_eye_iou == pytest.approx(1, abs=1e-3)
    assert error.yaw_rad == pytest.approx(0, abs=1e-9)
    assert error.center_m == error.height_m == 0
    assert yaw_difference(0.1, np.pi / 2 + 0.1) == pytest.approx(np.pi / 2)
    assert yaw_difference(3.1, -3.1) == pytest.approx(2 * np.pi - 6.2)
