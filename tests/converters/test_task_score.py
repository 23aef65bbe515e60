from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.region_meta import RegionMeta
from converters.regions import masklet_to_regions
from converters.task_score import NOTHING_FOUND, mask_stability, object_certainty, steadiness, task_score
from sam4d.geometry import SE3
from sam4d.structures import Frame, Masklet, ObjectMasks, Sweep
from tests.converters.tiny_task import WINDOW, tiny_clip, tiny_masklet, tiny_sweep

CLIP = tiny_clip()


def seen_object(object_id: int, score: float) -> Masklet:
    """On one frame of the tiny clip, by the LiDAR alone, so that the engine's score is all there is."""
    whole = tiny_masklet(object_id)
    return replace(whole, masks={0: replace(whole.masks[0], camera_masks={}, score=score)}, cuboids={})


def test_a_task_is_as_sure_as_its_most_doubtful_quarter() -> None:
    sure = [seen_object(object_id, 0.9) for object_id in range(1, 8)]
    assert task_score(sure, [], CLIP) == pytest.approx(0.9)
    assert task_score([*sure, seen_object(8, 0.1)], [], CLIP) == pytest.approx((0.1 + 0.9) / 2)
    # Further easy objects hide it no more than a quarter of them can.
    assert task_score([*sure[:3], seen_object(8, 0.1)], [], CLIP) == pytest.approx(0.1)
    assert task_score([seen_object(8, 0.1)], [], CLIP) == pytest.approx(0.1)


def test_a_task_without_objects_is_neither_sure_nor_doubtful() -> None:
    assert task_score([], [], CLIP) == NOTHING_FOUND == 0.5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.data())
def test_a_surer_object_never_lowers_the_score(scores: list[float], data: st.DataObject) -> None:
    before = [seen_object(object_id, score) for object_id, score in enumerate(scores, start=1)]
    chosen = data.draw(st.integers(0, len(scores) - 1))
    after = [*before]
    after[chosen] = seen_object(chosen + 1, data.draw(st.floats(scores[chosen], 1)))
    assert 0 <= task_score(before, [], CLIP) <= task_score(after, [], CLIP) <= 1


def test_points_that_do_not_lie_on_the_masks_make_a_task_doubtful() -> None:
    masklet = tiny_masklet()
    regions = masklet_to_regions(masklet, WINDOW, CLIP, "geometric-1")
    agreeing = [_with_agreement(region, 1.0) for region in regions]
    half = [_with_agreement(region, 0.5) for region in regions]
    assert task_score([masklet], agreeing, CLIP) == pytest.approx(0.8 ** (1 / 3))
    assert task_score([masklet], half, CLIP) == pytest.approx(0.4 ** (1 / 3))
    # What no camera sees is judged by the rest.
    assert task_score([masklet], [_with_agreement(region, None) for region in regions], CLIP) == pytest.approx(0.8 ** (1 / 2))


def test_the_agreement_is_the_one_that_the_regions_carry() -> None:
    masklet = tiny_masklet()
    regions = masklet_to_regions(masklet, WINDOW, CLIP, "geometric-1")
    carried = {region["item_index"]: region["meta"]["sam4d"]["agreement"] for region in regions if "agreement" in region["meta"]["sam4d"]}  # type: ignore[index]
    assert set(carried) == {0, 1, 2}
    assert task_score([masklet], regions, CLIP) == pytest.approx((0.8 * float(np.mean(list(carried.values())))) ** (1 / 3))


def test_stability_is_the_iou_of_the_masks_at_two_thresholds() -> None:
    logits = np.full((4, 4), -5.0, dtype=np.float32)
    logits[0], logits[1] = 3.0, 0.5
    lidar_logits = np.array([2.0, 2.0, 2.0, 0.0, -9.0], dtype=np.float32)
    shown, nothing = np.ones((8, 8), dtype=np.bool_), np.zeros((8, 8), dtype=np.bool_)
    masks = ObjectMasks(1, 0, {"front": shown, "rear": nothing}, lidar_logits > 0, 0.9, {"front": logits, "rear": logits - 9}, lidar_logits)
    assert mask_stability(masks) == pytest.approx((4 / 8 + 3 / 4) / 2)
    assert mask_stability(replace(masks, camera_logits={})) == pytest.approx(3 / 4)
    assert mask_stability(replace(masks, camera_logits={}, lidar_logits=None)) is None
    # Where there are logits, nothing else is asked.
    jumping = {0: np.zeros(2), 1: np.array([5.0, 0.0]), 2: np.zeros(2)}
    certainty = object_certainty(Masklet(1, "Car", {0: masks}), {}, jumping)
    assert certainty == pytest.approx((0.9 * (4 / 8 + 3 / 4) / 2) ** 0.5)


def test_an_object_is_steady_that_moves_evenly() -> None:
    even = {frame: np.array([3.0 * frame, -frame]) for frame in range(4)}
    assert steadiness(even) == pytest.approx(1.0)
    assert steadiness({**even, 3: even[3] + [0.0, 0.5]}) == pytest.approx(0.75)
    assert steadiness({frame: even[frame] for frame in (0, 1, 3)}) is None
    assert steadiness({}) is None


def test_the_vehicles_own_motion_is_no_jump() -> None:
    """A standing car, seen from a vehicle that brakes: the car's points are moved with it."""
    masklet, sweep = tiny_masklet(), tiny_sweep()
    ahead_m = (0.0, 5.0, 7.0)

    def frame(frame_index: int, poses: bool) -> Frame:
        points_m = sweep.points_m - np.array([ahead_m[frame_index], 0, 0], dtype=np.float32)
        pose = SE3.from_yaw(0.0, [ahead_m[frame_index], 0, 0]) if poses else None
        return replace(CLIP.frames[frame_index], load_sweep=lambda: Sweep(points_m), world_SE3_lidar=pose)

    posed, unposed = (replace(CLIP, frames=tuple(frame(index, poses) for index in range(3))) for poses in (True, False))
    assert task_score([masklet], [], posed) == pytest.approx(0.8**0.5, abs=1e-4)
    assert task_score([masklet], [], unposed) == pytest.approx((0.8 * 0.5 / 3.5) ** 0.5, abs=1e-4)


def _with_agreement(region: Mapping[str, object], agreement: float | None) -> Mapping[str, object]:
    meta = RegionMeta(3, int(str(region["item_index"])), "Car", "geometric-1", False, points={}, agreement=agreement)
    return {**region, "meta": meta.to_json()}
