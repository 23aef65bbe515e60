from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.region_meta import RegionMeta
from converters.regions import masklet_to_regions
from converters.task_score import NOTHING_FOUND, mask_stability, object_certainty, steadiness, task_score
from sam4d.structures import Cuboid, Masklet, ObjectMasks
from tests.converters.tiny_task import WINDOW, tiny_clip, tiny_masklet


def seen_object(object_id: int, score: float, *, points: Iterable[int] = (100, 100), ranges_m: Iterable[float] = (10.0, 10.0)) -> Masklet:
    """An object without cameras, by its points and its distance on each frame."""
    masks, cuboids = {}, {}
    for frame_index, (count, range_m) in enumerate(zip(points, ranges_m, strict=True)):
        masks[frame_index] = ObjectMasks(object_id, frame_index, {}, np.arange(500) < count, score)
        cuboids[frame_index] = Cuboid((range_m, 0.0, 0.0), (4.0, 2.0, 1.5), 0.0)
    return Masklet(object_id, "Car", masks, cuboids)


def test_a_task_is_as_sure_as_its_most_doubtful_quarter() -> None:
    sure = [seen_object(object_id, 0.81) for object_id in range(1, 8)]
    assert task_score(sure, []) == pytest.approx(0.9)
    assert task_score([*sure, seen_object(8, 0.01)], []) == pytest.approx((0.1 + 0.9) / 2)
    # Further easy objects hide it no more than a quarter of them can.
    assert task_score([*sure[:3], seen_object(8, 0.01)], []) == pytest.approx(0.1)
    assert task_score([seen_object(8, 0.01)], []) == pytest.approx(0.1)


def test_a_task_without_objects_is_neither_sure_nor_doubtful() -> None:
    assert task_score([], []) == NOTHING_FOUND == 0.5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.data())
def test_a_surer_object_never_lowers_the_score(scores: list[float], data: st.DataObject) -> None:
    before = [seen_object(object_id, score) for object_id, score in enumerate(scores, start=1)]
    chosen = data.draw(st.integers(0, len(scores) - 1))
    after = [*before]
    after[chosen] = seen_object(chosen + 1, data.draw(st.floats(scores[chosen], 1)))
    assert 0 <= task_score(before, []) <= task_score(after, []) <= 1


def test_points_that_do_not_lie_on_the_masks_make_a_task_doubtful() -> None:
    masklet = tiny_masklet()
    regions = masklet_to_regions(masklet, WINDOW, tiny_clip(), "geometric-1")
    agreeing = [_with_agreement(region, 1.0) for region in regions]
    half = [_with_agreement(region, 0.5) for region in regions]
    assert task_score([masklet], agreeing) == pytest.approx(0.8 ** (1 / 3))
    assert task_score([masklet], half) == pytest.approx(0.4 ** (1 / 3))
    # What no camera sees is judged by the rest.
    assert task_score([masklet], [_with_agreement(region, None) for region in regions]) == pytest.approx(0.8 ** (1 / 2))


def test_the_agreement_is_the_one_that_the_regions_carry() -> None:
    masklet = tiny_masklet()
    regions = masklet_to_regions(masklet, WINDOW, tiny_clip(), "geometric-1")
    carried = {region["item_index"]: region["meta"]["sam4d"]["agreement"] for region in regions if "agreement" in region["meta"]["sam4d"]}  # type: ignore[index]
    assert set(carried) == {0, 1, 2}
    assert task_score([masklet], regions) == pytest.approx(object_certainty(masklet, carried))  # type: ignore[arg-type]


def test_stability_is_the_iou_of_the_masks_at_two_thresholds() -> None:
    logits = np.full((4, 4), -5.0, dtype=np.float32)
    logits[0], logits[1] = 3.0, 0.5
    lidar_logits = np.array([2.0, 2.0, 2.0, 0.0, -9.0], dtype=np.float32)
    shown, nothing = np.ones((8, 8), dtype=np.bool_), np.zeros((8, 8), dtype=np.bool_)
    masks = ObjectMasks(
        1, 0, {"front": shown, "rear": nothing}, lidar_logits > 0, 0.9, {"front": logits, "rear": logits - 9}, lidar_logits
    )
    assert mask_stability(masks) == pytest.approx((4 / 8 + 3 / 4) / 2)
    assert mask_stability(replace(masks, camera_logits={})) == pytest.approx(3 / 4)
    assert mask_stability(replace(masks, camera_logits={}, lidar_logits=None)) is None
    # Where there are logits, nothing else is asked.
    jumping = replace(seen_object(1, 1.0, points=(100, 10)), masks={0: masks, 1: replace(masks, frame_index=1)})
    assert object_certainty(jumping, {}) == pytest.approx((0.9 * (4 / 8 + 3 / 4) / 2) ** 0.5)


def test_an_object_is_steady_whose_points_grow_as_it_comes_nearer() -> None:
    assert steadiness(seen_object(1, 0.9, points=(100, 400, 400), ranges_m=(20.0, 10.0, 10.0))) == pytest.approx(1.0)
    assert steadiness(seen_object(1, 0.9, points=(100, 100, 50), ranges_m=(20.0, 20.0, 20.0))) == pytest.approx(0.75)
    whole = seen_object(1, 0.9, points=(100,) * 3, ranges_m=(20.0,) * 3)
    assert steadiness(replace(whole, masks={0: whole.masks[0], 2: whole.masks[2]})) == 0.0
    assert steadiness(replace(whole, masks={0: whole.masks[0]})) is None
    assert steadiness(replace(whole, cuboids={})) is None


def _with_agreement(region: Mapping[str, object], agreement: float | None) -> Mapping[str, object]:
    meta = RegionMeta(3, int(str(region["item_index"])), "Car", "geometric-1", False, points={}, agreement=agreement)
    return {**region, "meta": meta.to_json()}
