"""What hangs together with something larger, and what only stands near it."""

from __future__ import annotations

import numpy as np

from sam4d.data_engine.large_structures import held_shares
from sam4d.data_engine.reconstruction import Reconstruction, reconstruct
from sam4d.data_engine.voxels import Int64Array
from tests.sam4d.data_engine.test_fusion import block, standing


def blocks_and_scene(*middles_m: tuple[float, float, float]) -> tuple[Reconstruction, list[Int64Array]]:
    blocks = [block(middle_m) for middle_m in middles_m]
    clip = standing(blocks)
    scene = reconstruct(clip, [])
    return scene, [np.unique(scene.voxels_of_points(0, points_m)) for points_m in blocks]


def test_only_a_piece_that_touches_what_is_larger_is_held() -> None:
    scene, (first, _, _, apart) = blocks_and_scene((8.0, -4.0, -1.0), (8.0, -2.8, -1.0), (8.0, -1.6, -1.0), (8.0, 1.0, -1.0))
    held = held_shares(scene, [first, apart])
    assert 0.1 < held[0] < 0.7
    assert held[1] == 0


def test_what_stands_beside_something_smaller_or_another_object_is_not_held() -> None:
    scene, (left, middle, right) = blocks_and_scene((8.0, -4.0, -1.0), (8.0, -2.8, -1.0), (8.0, -1.6, -1.0))
    assert held_shares(scene, [left, middle, right]).tolist() == [0, 0, 0]
    assert held_shares(scene, [np.concatenate([left, middle])]).tolist() == [0]


def test_nothing_is_held_by_nothing() -> None:
    scene, (only,) = blocks_and_scene((8.0, 4.0, -1.0))
    assert held_shares(scene, []).shape == (0,)
    assert held_shares(scene, [only]).tolist() == [0]
