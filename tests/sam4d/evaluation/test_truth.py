"""What labelled cuboids say about points."""

from __future__ import annotations

import numpy as np
import pytest

from sam4d.evaluation import PointTruth, mask_iou, point_near_median
from sam4d.structures import Cuboid


def test_truth_is_what_the_protocol_says() -> None:
    cuboid = Cuboid((0.0, 0.0, 1.0), (4.0, 2.0, 2.0), 0.0)
    points = np.array([[0, 0, 1], [2.04, 0, 1], [2.06, 0, 1], [0, 0, 0.19], [0, 0, 0.21], [0, 0, -0.1], [np.nan] * 3], dtype=np.float32)
    truth = PointTruth.of(cuboid, points)
    np.testing.assert_array_equal(truth.mask, [True, True, False, False, True, False, False])
    np.testing.assert_array_equal(truth.left_out, [False, False, False, True, False, False, False])
    answer = np.array([True, False, True, True, True, False, False])
    # One of three missing, one extra; the low point counts neither way.
    assert truth.iou(answer) == pytest.approx(2 / 4)


def test_empty_masks_agree() -> None:
    nothing = np.zeros(3, dtype=np.bool_)
    assert mask_iou(nothing, nothing) == 1.0
    assert mask_iou(nothing, ~nothing) == 0.0


def test_the_point_near_the_median_is_one_of_the_mask() -> None:
    points = np.stack([np.arange(10.0), np.zeros(10), np.zeros(10)], axis=1)
    assert point_near_median(points, np.arange(10) < 6) in (2, 3)
    assert point_near_median(points, np.isin(np.arange(10), [0, 1, 9])) == 1
