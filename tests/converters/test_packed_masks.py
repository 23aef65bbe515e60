"""Masks of a long drive, packed: the same when they are read, and small."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.exports.windows import Window, join_windows
from converters.packed_masks import PackedMasks
from sam4d.structures import Masklet, ObjectMasks
from tests.converters.tiny_recording import assert_same_masks, tiny_masklets, tiny_masks

POINTS, CAMERAS = 170_000, tuple(f"camera_{k}" for k in range(6))


@given(
    camera=arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    points=arrays.arrays(np.bool_, st.integers(0, 40)),
    score=st.floats(0, 1),
)
def test_masks_come_back(camera: np.ndarray, points: np.ndarray, score: float) -> None:  # type: ignore[type-arg]
    shown = ObjectMasks(3, 5, {"front": camera, "rear": np.zeros((4, 4), dtype=np.bool_)}, points, score)
    packed = PackedMasks({5: shown})
    assert_same_masks(packed[5], shown)
    moved = packed.shifted(2)
    assert list(moved) == ([] if shown.is_empty else [7])
    if moved:
        renumbered = moved.as_object(9)[7]
        assert (renumbered.object_id, renumbered.frame_index) == (9, 7)
        np.testing.assert_array_equal(renumbered.lidar_mask, points)


def test_it_is_a_mapping_like_another() -> None:
    car = tiny_masklets()[0]
    packed = PackedMasks(car.masks)
    assert (list(packed), len(packed), 2 in packed, 1 in packed, packed.get(1)) == ([0, 2], 2, True, False, None)
    assert PackedMasks.of(packed) is packed
    packed[1] = tiny_masks(1, 1)
    del packed[0]
    assert list(packed) == [2, 1]
    assert Masklet(1, "Car", car.masks).score == Masklet(1, "Car", PackedMasks(car.masks)).score


def large_window(first: int, count: int, objects: int) -> Window:
    """Objects of a few hundred points, each in two of six cameras of two megapixels."""
    masklets = []
    for object_id in range(objects):
        masks = PackedMasks()
        for index in range(count):
            points = np.zeros(POINTS, dtype=np.bool_)
            points[1000 * object_id : 1000 * object_id + 400] = True
            images = {name: np.zeros((1080, 1920), dtype=np.bool_) for name in CAMERAS}
            for name in CAMERAS[:2]:
                images[name][300:420, 100 * object_id : 100 * object_id + 90] = True
            masks[index] = ObjectMasks(object_id, index, images, points, 1.0)
        masklets.append(Masklet(object_id, "Car", masks))
    return Window(first, count, tuple(masklets))


def test_a_long_drive_is_joined_in_little_memory() -> None:
    window = large_window(0, 10, 4)
    windows = [Window(8 * k, 10, window.masklets) for k in range(25)]
    tracemalloc.start()
    try:
        joined = join_windows(windows)
        peak_mb = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert [len(masklet.masks) for masklet in joined] == [202] * 4
    # As they are, these masks take 137 MB for their points alone.
    assert peak_mb < 12
