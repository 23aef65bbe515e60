from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.brush_rle import encode_mask
from converters.coordinates import percent_to_pixels
from converters.label_config import LabelConfig
from converters.prompts import UserPrompt, parse_context
from sam4d.structures import LIDAR, BoxPrompt, InputError, MaskPrompt, PointPrompt
from tests.converters.tiny_task import CAR, VIEW, WINDOW, car_points, tiny_clip, tiny_sweep

CONFIG = LabelConfig(("Car", "Bus"), ("front", "rear_left"))
Result = dict[str, Any]


def parse(*results: object, **context: object) -> UserPrompt:
    return parse_context({"result": list(results), **context}, CONFIG, WINDOW, tiny_clip())


def click(x: float, y: float, image: str = "front", frame: int = 1, positive: bool = True, label: str = "Car") -> Result:
    """As Label Studio 1.23.2 sends it."""
    return {
        "original_width": 32,
        "original_height": 20,
        "image_rotation": 0,
        "item_index": frame,
        "value": {"x": x, "y": y, "width": 0.36, "labels": [label], "keypointlabels": [label]},
        "is_positive": positive,
        "id": "X_ro",
        "from_name": f"kp_{image}",
        "to_name": image,
        "type": "keypointlabels",
        "origin": "manual",
    }


def box(x: float, y: float, width: float, height: float, rotation: float = 0, image: str = "front", frame: int = 1) -> Result:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": ["Car"]}
    return click(0, 0, image, frame) | {"type": "rectanglelabels", "from_name": f"box_{image}", "value": value}


def brush(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], image: str = "front", frame: int = 1) -> Result:
    value = {"format": "rle", "rle": encode_mask(mask), "brushlabels": ["Car"]}
    return click(0, 0, image, frame) | {"type": "brushlabels", "from_name": f"brush_{image}", "value": value}


@given(st.floats(0, 100), st.floats(0, 100), st.booleans())
def test_a_click_in_a_camera_is_its_pixel(x: float, y: float, positive: bool) -> None:
    prompt = parse(click(x, y, "rear_left", positive=positive))
    assert (prompt.label, prompt.frame_index, prompt.sensor, prompt.kind, prompt.positive) == ("Car", 1, "rear left", "point", positive)
    (point,) = prompt.prompts_for(7)
    assert isinstance(point, PointPrompt)
    assert (point.object_id, point.frame_index, point.sensor) == (7, 1, "rear left")
    assert np.asarray(point.labels).tolist() == [int(positive)]
    pixel = np.asarray(point.coordinates)[0]
    assert pixel == pytest.approx(percent_to_pixels((x, y), 32, 20), abs=1e-9)
    # A mask may be read there.
    assert 0 <= int(pixel[0]) < 32
    assert 0 <= int(pixel[1]) < 20


def test_clicks_of_several_frames_are_one_prompt_each_the_newest_last() -> None:
    prompt = parse(click(10, 10, frame=0), click(20, 20, frame=2), click(30, 30, frame=0, positive=False))
    first, second = prompt.prompts_for(1)
    assert isinstance(first, PointPrompt)
    assert isinstance(second, PointPrompt)
    assert (first.frame_index, second.frame_index, prompt.frame_index) == (2, 0, 0)
    assert np.allclose(second.coordinates, [[3.2, 2], [9.6, 6]])
    assert np.asarray(second.labels).tolist() == [1, 0]
    assert prompt.positive


def to_percent(x_m: float, y_m: float) -> tuple[float, float]:
    u, v = VIEW.to_pixels(np.array([x_m, y_m])) * 100 / VIEW.size_px
    return float(u), float(v)


def test_a_click_on_the_birds_eye_view_is_the_highest_point_there() -> None:
    points_m = tiny_sweep().points_m
    top = points_m[car_points()][np.argmax(points_m[car_points(), 2])]
    prompt = parse(click(*to_percent(float(top[0]), float(top[1])), image="bev"))
    (point,) = prompt.prompts_for(1)
    assert isinstance(point, PointPrompt)
    assert prompt.sensor == point.sensor == LIDAR
    assert (np.asarray(point.coordinates, dtype=np.float32)[0] == points_m).all(axis=1).any()
    assert np.asarray(point.coordinates)[0, 2] == pytest.approx(top[2])
    assert prompt.clicks_m[1][0] == pytest.approx(top[:2], abs=1e-6)


def test_a_click_in_an_empty_roof_is_the_nearest_standing_point_a_negative_one_the_ground() -> None:
    """The car's shell has sides and ends only, its points end 0.9 m from its middle; ground points below it lie every 0.5 m."""
    clip = tiny_clip()
    sweep = tiny_sweep()
    inside = np.hypot(*(sweep.points_m[:, :2] - CAR.center_m[:2]).T) < 0.85
    object.__setattr__(sweep, "points_m", sweep.points_m[~inside])
    object.__setattr__(clip.frames[1], "load_sweep", lambda: sweep)
    coordinates = {}
    for positive in (True, False):
        context = {"result": [click(*to_percent(*CAR.center_m[:2]), image="bev", positive=positive)]}
        (prompt,) = parse_context(context, CONFIG, WINDOW, clip).prompts
        assert isinstance(prompt, PointPrompt)
        coordinates[positive] = np.asarray(prompt.coordinates)[0]
    assert CAR.contains(coordinates[True][None], margin_m=0.01).all()
    assert coordinates[True][2] > -1.5
    assert coordinates[False] == pytest.approx((*CAR.center_m[:2], -1.7), abs=0.02)


def test_a_click_on_empty_ground_is_on_the_ground() -> None:
    (prompt,) = parse(click(*to_percent(-8.25, -8.25), image="bev")).prompts
    assert isinstance(prompt, PointPrompt)
    assert np.asarray(prompt.coordinates)[0, 2] == pytest.approx(-1.7)


def test_a_box_is_in_pixels_and_cut_to_the_image() -> None:
    (prompt,) = parse(box(25, 50, 50, 80)).prompts_for(2)
    assert isinstance(prompt, BoxPrompt)
    assert np.asarray(prompt.box) == pytest.approx([8, 10, 24, 20])


def test_a_turned_box_is_bounded() -> None:
    # 16 x 10 pixels, turned by a quarter about (16, 2): it hangs to the left of that corner.
    (prompt,) = parse(box(50, 10, 50, 50, rotation=90)).prompts
    assert isinstance(prompt, BoxPrompt)
    assert np.asarray(prompt.box) == pytest.approx([6, 2, 16, 18])


def test_a_birds_eye_box_is_in_metres() -> None:
    # 40 m over 100 percent; up is +x, left is +y.
    (prompt,) = parse(box(40, 20, 10, 25, image="bev")).prompts
    assert isinstance(prompt, BoxPrompt)
    assert prompt.sensor == LIDAR
    assert np.asarray(prompt.box) == pytest.approx([2, 0, 12, 4])


def test_the_newest_box_of_a_frame_counts() -> None:
    (prompt,) = parse(box(0, 0, 10, 10), box(25, 50, 50, 50)).prompts
    assert isinstance(prompt, BoxPrompt)
    assert np.asarray(prompt.box) == pytest.approx([8, 10, 24, 20])


def test_strokes_of_a_frame_are_one_mask() -> None:
    one, two = np.zeros((20, 32), dtype=np.bool_), np.zeros((20, 32), dtype=np.bool_)
    one[2:4], two[3:9, 5:8] = True, True
    (prompt,) = parse(brush(one), brush(two)).prompts_for(4)
    assert isinstance(prompt, MaskPrompt)
    assert (prompt.mask == one | two).all()


def test_a_birds_eye_stroke_means_the_standing_points_under_it() -> None:
    everywhere = np.ones((VIEW.size_px, VIEW.size_px), dtype=np.bool_)
    (prompt,) = parse(brush(everywhere, image="bev")).prompts
    assert isinstance(prompt, MaskPrompt)
    assert not (prompt.mask & ~car_points()).any()
    assert prompt.mask.sum() > 0.7 * car_points().sum()


def test_a_viewer_may_name_the_object() -> None:
    assert parse(click(1, 1)).object_id is None
    assert parse(click(1, 1), object_id=12, viewer_state={"zoom": 3}).object_id == 12
    with pytest.raises(InputError, match="context, object_id: expected a whole number from 0 on, found '12'"):
        parse(click(1, 1), object_id="12")


EMPTY = np.zeros((20, 32), dtype=np.bool_)
OFF_GROUND = np.zeros((VIEW.size_px, VIEW.size_px), dtype=np.bool_)
OFF_GROUND[0, 0] = True


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (click(100.5, 50), r"prompt X_ro: expected a click inside the image \(0 to 100 percent\), found x 100.5, y 50"),
        (click(50, -0.1), "prompt X_ro: expected a click inside the image"),
        (click(float("nan"), 1), "prompt X_ro, value.x: expected a finite number, at most 1e9 in size, found nan"),
        (click(1, True), "prompt X_ro, value.y: expected a finite number, at most 1e9 in size, found True"),
        (click(1, 1, frame=3), "prompt X_ro, item_index: expected a frame of the task, 0 to 2, found 3"),
        (click(1, 1, frame=-1), "prompt X_ro, item_index: expected a frame of the task"),
        (click(1, 1, "rear_left", frame=2), "prompt X_ro: expected a frame with an image of rear left, found frame 2, which has none"),
        (click(1, 1) | {"to_name": "left"}, "prompt X_ro, to_name: expected front or rear_left or bev, found 'left'"),
        (click(1, 1) | {"to_name": "rear left"}, "prompt X_ro, to_name: expected"),
        (click(1, 1) | {"from_name": "kp_bev"}, "prompt X_ro, from_name: expected kp_front or"),
        (click(1, 1) | {"type": "polygonlabels"}, "prompt X_ro, type: expected a key point, rectangle or brush"),
        (click(1, 1) | {"value": None}, "prompt X_ro, value: expected an object, found NoneType"),
        (click(1, 1) | {"value": {"x": 1, "y": 1}}, r"prompt X_ro: expected a label \(pick one before the tool\), found none"),
        (click(1, 1) | {"is_positive": "no"}, "prompt X_ro, is_positive: expected true or false"),
        (box(110, 10, 10, 10), "prompt X_ro: expected a box inside the image"),
        (box(10, 10, 0, 10), "prompt X_ro: expected a box inside the image"),
        (box(10, 10, 10, 10) | {"is_positive": False}, r"prompt X_ro: expected a positive box \(negative prompts are clicks\)"),
        (brush(EMPTY), "prompt X_ro: expected a brush stroke, found an empty one"),
        (brush(EMPTY[:10]), "prompt X_ro, value.rle: expected brush RLE of 2560 values"),
        (brush(OFF_GROUND[:, :100], image="bev"), "prompt X_ro, value.rle: expected brush RLE of 160000 values"),
        ("click", "prompt 0: expected an object, found str"),
    ],
)
def test_what_is_no_prompt_here_gets_one_line(result: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(result)


def test_a_stroke_over_no_point_is_refused() -> None:
    clip = tiny_clip()
    sweep = tiny_sweep()
    object.__setattr__(sweep, "points_m", sweep.points_m[:0])
    object.__setattr__(clip.frames[1], "load_sweep", lambda: sweep)
    with pytest.raises(InputError, match="expected a brush stroke over points of the sweep, found none under it"):
        parse_context({"result": [brush(OFF_GROUND, image="bev")]}, CONFIG, WINDOW, clip)


@pytest.mark.parametrize("context", [{}, {"result": []}, {"result": "x"}, {"result": None}])
def test_a_context_without_prompts_is_refused(context: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"^context, result: expected a list of prompts"):
        parse_context(context, CONFIG, WINDOW, tiny_clip())


def test_prompts_of_different_kinds_do_not_belong_together() -> None:
    with pytest.raises(InputError, match="expected a box of 'Car' on front, as the newest, found a point"):
        parse(click(1, 1), box(1, 1, 5, 5))
    with pytest.raises(InputError, match="found a point of 'Bus' on front"):
        parse(click(1, 1, label="Bus"), click(1, 1))
