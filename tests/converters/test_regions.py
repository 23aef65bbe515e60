"""Masklets to Label Studio and back untouched: exactly the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.reconcile import regions_to_masklets
from converters.regions import blank_regions, masklet_to_regions
from converters.tasks import TaskWindow
from sam4d.geometry import BirdsEyeView
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Cuboid, Masklet, ObjectMasks
from tests.converters.tiny_task import CAR, WINDOW, car_points, tiny_clip, tiny_masklet, tiny_sweep

GOLDEN = Path(__file__).parent / "golden" / "regions.json"
OLDEST = Path(__file__).parent / "golden" / "regions_without_schema.json"


def through_json(regions: object) -> list[dict[str, Any]]:
    """As Label Studio stores them."""
    stored: list[dict[str, Any]] = json.loads(json.dumps(regions, allow_nan=False))
    return stored


def rounded(value: Any) -> Any:
    """Without the last digits, in which processors differ."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return round(value, 9) if isinstance(value, float) else value


def assert_same(found: Masklet, expected: Masklet) -> None:
    assert (found.object_id, found.label) == (expected.object_id, expected.label)
    assert set(found.masks) == set(expected.masks)
    assert dict(found.cuboids) == dict(expected.cuboids)
    for frame_index, masks in expected.masks.items():
        other = found.masks[frame_index]
        assert other.score == masks.score
        assert (other.lidar_mask == masks.lidar_mask).all()
        assert set(other.camera_masks) == set(masks.camera_masks)
        for camera, mask in masks.camera_masks.items():
            assert (other.camera_masks[camera] == mask).all()


def test_the_regions_of_a_small_object_are_the_golden_ones() -> None:
    regions = masklet_to_regions(tiny_masklet(), WINDOW, tiny_clip(), "geometric-1", frames=[0])
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert rounded(through_json(regions)) == rounded(golden)


def test_regions_of_before_schemas_were_numbered_are_read() -> None:
    written = json.loads(OLDEST.read_text(encoding="utf-8"))
    assert all("schema" not in region["meta"]["sam4d"] for region in written)
    (found,), (expected,) = (
        regions_to_masklets(each, WINDOW, tiny_clip()) for each in (written, json.loads(GOLDEN.read_text(encoding="utf-8")))
    )
    assert_same(found, expected)


def test_a_synthetic_drive_comes_back_exactly(small_drive: SyntheticDrive) -> None:
    window = TaskWindow("drives/small", 0, len(small_drive.clip), BirdsEyeView(50.0, 0.1, small_drive.clip.forward))
    regions = [region for masklet in small_drive.masklets for region in masklet_to_regions(masklet, window, small_drive.clip, "truth")]
    found = regions_to_masklets(through_json(regions), window, small_drive.clip)
    expected = sorted(small_drive.masklets, key=lambda masklet: masklet.object_id)
    assert len(found) == len(expected) > 10
    for masklet, truth in zip(found, expected, strict=True):
        assert_same(masklet, truth)


coordinates_m = st.floats(-30, 30)
sizes_m = st.floats(0.2, 12)
cuboids = st.builds(
    Cuboid, st.tuples(coordinates_m, coordinates_m, st.floats(-3, 3)), st.tuples(sizes_m, sizes_m, sizes_m), st.floats(-np.pi, np.pi)
)


@given(cuboids | st.none(), st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(0, 10**6), st.text(min_size=1, max_size=9))
def test_any_object_comes_back_exactly(cuboid: Cuboid | None, seed: int, density: float, object_id: int, label: str) -> None:
    """In the view or outside it, with a cuboid or without, few points or all."""
    random = np.random.default_rng(seed)
    points_m = tiny_sweep().points_m
    points = np.isfinite(points_m[:, 0]) & (random.random(len(points_m)) < density * random.integers(0, 2))
    masks = {camera: random.random((20, 32)) < density * random.integers(0, 2) for camera in ("front", "rear left")}
    shown = ObjectMasks(object_id, 1, masks, points, 0.5)
    masklet = Masklet(object_id, label, {1: shown}, {} if cuboid is None else {1: cuboid})
    found = regions_to_masklets(through_json(masklet_to_regions(masklet, WINDOW, tiny_clip(), "v")), WINDOW, tiny_clip())
    if shown.is_empty and cuboid is None:
        assert found == []
    else:
        assert_same(found[0], masklet)


def test_ids_are_unique_and_the_same_every_time() -> None:
    def ids(masklet: Masklet) -> list[str]:
        return [str(region["id"]) for region in masklet_to_regions(masklet, WINDOW, tiny_clip(), "v") if "number" not in region["value"]]  # type: ignore[operator]

    smaller = replace(tiny_masklet(), cuboids={1: replace(CAR, yaw_rad=1.0)})
    assert ids(tiny_masklet())[:4] == ["o3-f0-cuboid_bev", "o3-f0-brush_bev", "o3-f0-brush_front", "o3-f0-brush_rear_left"]
    assert set(ids(smaller)) < set(ids(tiny_masklet()))
    everything = ids(tiny_masklet()) + ids(tiny_masklet(object_id=31))
    assert len(set(everything)) == len(everything)


def test_only_the_frames_asked_for_are_written() -> None:
    regions = masklet_to_regions(tiny_masklet(), WINDOW, tiny_clip(), "v", frames=[2, 0, 7])
    assert sorted({region["item_index"] for region in regions}) == [0, 2]  # type: ignore[type-var]


def test_what_nothing_shows_is_kept_on_an_empty_brush() -> None:
    far = Cuboid((60.0, 0.0, 0.0), (4.0, 2.0, 1.5), 0.0)
    points_m = tiny_sweep().points_m
    outside = np.abs(np.nan_to_num(points_m[:, 0])) > 24
    masklet = Masklet(8, "Car", {2: ObjectMasks(8, 2, {"front": np.zeros((20, 32), dtype=np.bool_)}, outside, 0.4)}, {2: far})
    regions = masklet_to_regions(masklet, WINDOW, tiny_clip(), "v")
    assert [region["id"] for region in regions] == ["o8-f2-brush_bev"]
    assert_same(regions_to_masklets(through_json(regions), WINDOW, tiny_clip())[0], masklet)


def test_a_region_that_is_gone_comes_back_blank_and_reads_as_nothing() -> None:
    before = masklet_to_regions(tiny_masklet(), WINDOW, tiny_clip(), "v")
    smaller = replace(tiny_masklet(cuboid=None), masks={1: tiny_masklet().masks[1]})
    now = masklet_to_regions(smaller, WINDOW, tiny_clip(), "v")
    blanks = blank_regions(through_json(before), now)
    gone = {region["id"] for region in before} - {region["id"] for region in now}
    assert {region["id"] for region in blanks} == gone
    # An answer replaces regions by id, and adds the others; Numbers of a replaced rectangle may stay behind.
    merged = {(region["id"], region["from_name"]): region for region in [*before, *now, *blanks]}
    found = regions_to_masklets(through_json(list(merged.values())), WINDOW, tiny_clip())
    assert len(found) == 1
    assert_same(found[0], smaller)


def test_blanks_leave_other_regions_alone() -> None:
    by_hand: list[dict[str, Any]] = [
        {"id": "x", "type": "brushlabels", "from_name": "brush_front", "value": {"rle": [1]}},
        {"id": "y", "type": "relation"},
    ]
    assert blank_regions(by_hand, []) == []


def test_points_of_the_object_have_their_pixel_in_the_brush() -> None:
    regions = masklet_to_regions(tiny_masklet(), WINDOW, tiny_clip(), "v", frames=[1])
    assert [region["type"] for region in regions] == ["rectanglelabels", "number", "number", "brushlabels", "brushlabels"]
    numbers = {region["from_name"]: region["value"]["number"] for region in regions if region["type"] == "number"}  # type: ignore[index]
    assert numbers == {"z": -0.9, "h": 1.4}
    assert car_points().sum() > 300


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_every_result_carries_the_score(score: float) -> None:
    masks = replace(tiny_masklet().masks[0], score=score)
    regions = masklet_to_regions(replace(tiny_masklet(), masks={0: masks}), WINDOW, tiny_clip(), "v")
    assert {region["score"] for region in regions} == {score}
