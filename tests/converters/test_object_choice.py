from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.object_choice import choose_object
from converters.prompts import parse_context
from converters.regions import masklet_to_regions
from sam4d.structures import CameraMasks, InputError, Masklet
from tests.converters.test_prompts import CONFIG, Result, box, brush, click, to_percent
from tests.converters.tiny_task import CAR, VIEW, WINDOW, car_points, tiny_clip, tiny_masklet, tiny_sweep

IN_MASK = (100 * 10 / 32, 100 * 8 / 20)
OUTSIDE = (2.0, 2.0)


def choose(*results: Result, masklets: tuple[Masklet, ...] = (tiny_masklet(),), last_touched: int | None = None, **context: object) -> int:
    clip = tiny_clip()
    return choose_object(parse_context({"result": list(results), **context}, CONFIG, WINDOW, clip), masklets, last_touched, clip)


def small(object_id: int, label: str = "Car") -> Masklet:
    """An object inside the other's camera mask."""
    masklet = tiny_masklet(object_id, label)
    mask = np.zeros((20, 32), dtype=np.bool_)
    mask[7:9, 9:12] = True
    masks = {frame: replace(shown, camera_masks=CameraMasks({"front": mask})) for frame, shown in masklet.masks.items()}
    return replace(masklet, masks=masks)


def test_a_positive_click_in_a_mask_of_the_label_is_that_object() -> None:
    assert choose(click(*IN_MASK)) == 3


def test_a_positive_click_elsewhere_or_of_another_label_is_a_new_object() -> None:
    assert choose(click(*OUTSIDE)) == 4
    assert choose(click(*IN_MASK, label="Bus")) == 4
    assert choose(click(*IN_MASK), masklets=()) == 1
    assert choose(click(*OUTSIDE), last_touched=9) == 10


def test_a_named_object_is_taken_at_its_word() -> None:
    assert choose(click(*IN_MASK), object_id=17) == 17


def test_negative_clicks_are_about_the_object_under_them_whatever_its_label() -> None:
    masklets = (tiny_masklet(), tiny_masklet(5, "Bus"))
    assert choose(click(*IN_MASK, positive=False, label="Bus"), masklets=masklets[:1]) == 3
    assert choose(click(*OUTSIDE, positive=False), masklets=masklets, last_touched=5) == 5
    assert choose(click(*OUTSIDE, positive=False)) == 3
    with pytest.raises(InputError, match="negative click: expected an object under it, or one touched before, found none"):
        choose(click(*OUTSIDE, positive=False), masklets=masklets)
    with pytest.raises(InputError, match="negative click"):
        choose(click(*OUTSIDE, positive=False), masklets=())


def test_with_positive_clicks_beside_it_a_negative_click_does_not_choose() -> None:
    assert choose(click(*IN_MASK), click(*OUTSIDE, positive=False)) == 3
    assert choose(click(*OUTSIDE), click(*IN_MASK, positive=False)) == 4


def test_earlier_clicks_on_other_frames_count_where_the_newest_hits_nothing() -> None:
    assert choose(click(*IN_MASK, frame=0), click(*OUTSIDE, frame=1)) == 3


def test_of_several_the_last_touched_then_the_smallest() -> None:
    masklets = (tiny_masklet(), small(8))
    assert choose(click(*IN_MASK), masklets=masklets) == 8
    assert choose(click(*IN_MASK), masklets=masklets, last_touched=3) == 3


def test_on_the_birds_eye_view_a_click_on_the_points_or_in_the_footprint_is_the_object() -> None:
    points_m = tiny_sweep().points_m[car_points()]
    top = points_m[np.argmax(points_m[:, 2])]
    on_points = click(*to_percent(float(top[0]), float(top[1])), image="bev")
    in_footprint = click(*to_percent(*CAR.center_m[:2]), image="bev")
    away = click(*to_percent(-10, -10), image="bev")
    assert choose(on_points, masklets=(tiny_masklet(cuboid=None),)) == 3
    without_points = {frame: replace(masks, lidar_mask=~car_points() & False) for frame, masks in tiny_masklet().masks.items()}
    assert choose(in_footprint, masklets=(replace(tiny_masklet(), masks=without_points),)) == 3
    assert choose(away) == 4


def test_the_points_hit_come_before_a_cuboid_hit() -> None:
    points_m = tiny_sweep().points_m[car_points()]
    top = points_m[np.argmax(points_m[:, 2])]
    neighbour = replace(tiny_masklet(2), masks={1: replace(tiny_masklet().masks[1], lidar_mask=~car_points() & False)})
    assert choose(click(*to_percent(float(top[0]), float(top[1])), image="bev"), masklets=(neighbour, tiny_masklet())) == 3


def test_a_box_is_a_new_object_unless_it_overlaps_one_by_more_than_half() -> None:
    around = box(100 * 8 / 32, 100 * 5 / 20, 100 * 12 / 32, 100 * 7 / 20)
    assert choose(around) == 3
    assert choose(box(100 * 8 / 32, 100 * 5 / 20, 100 * 24 / 32, 100 * 7 / 20)) == 4
    assert choose(around, masklets=(tiny_masklet(label="Bus"),)) == 4


def test_a_birds_eye_box_is_compared_with_the_cuboid_or_the_points() -> None:
    corners = VIEW.to_pixels(CAR.corners_m()[:, :2]) * 100 / VIEW.size_px
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    around = box(left, top, right - left, bottom - top, image="bev")
    assert choose(around) == 3
    assert choose(around, masklets=(tiny_masklet(cuboid=None),)) == 3
    assert choose(box(left - 20, top, right - left, bottom - top, image="bev")) == 4
    none_there = {1: replace(tiny_masklet().masks[1], lidar_mask=~car_points() & False)}
    assert choose(around, masklets=(replace(tiny_masklet(cuboid=None), masks=none_there),)) == 4


def test_a_brush_is_a_new_object_unless_it_overlaps_one_by_more_than_half() -> None:
    mask = tiny_masklet().masks[1].camera_masks["front"].copy()
    assert choose(brush(mask)) == 3
    mask[8:] = False
    assert choose(brush(mask)) == 4
    (from_above,) = [
        region for region in masklet_to_regions(tiny_masklet(), WINDOW, tiny_clip(), "v", frames=[1]) if region["from_name"] == "brush_bev"
    ]
    assert choose(from_above) == 3


def test_frames_and_cameras_without_the_object_are_no_hit() -> None:
    elsewhere = replace(tiny_masklet(), masks={0: tiny_masklet().masks[0]}, cuboids={0: CAR})
    assert choose(click(*IN_MASK), masklets=(elsewhere,)) == 4
    assert choose(box(25, 25, 37.5, 35), masklets=(elsewhere,)) == 4
    assert choose(brush(tiny_masklet().masks[1].camera_masks["front"]), masklets=(elsewhere,)) == 4
    assert choose(click(*IN_MASK, image="rear_left"), masklets=(small(3),)) == 4
    assert choose(box(25, 25, 37.5, 35, image="rear_left"), masklets=(small(3),)) == 4
    assert choose(brush(np.ones((20, 32), dtype=np.bool_), image="rear_left"), masklets=(small(3),)) == 4
