from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.label_config import LabelConfig
from converters.user_prompt import UserPrompt
from converters.viewer_requests import (
    CuboidsRequest,
    FitRequest,
    FollowRequest,
    ReadRequest,
    ViewerRequest,
    is_viewer_request,
    parse_viewer_request,
)
from sam4d.structures import BoxPrompt, Cuboid, InputError, PointPrompt
from tests.converters.tiny_task import tiny_clip

CONFIG = LabelConfig(("Car", "Truck"), ("front", "rear_left"))
CUBOID = {"center_m": [1.0, 2.0, 3.0], "size_lwh_m": [4, 2, 1.5], "yaw_rad": 0.1}
POINT = {"position_m": [1, 2.5, -1], "positive": True}


def parse(**fields: Any) -> ViewerRequest:
    return parse_viewer_request({"result": [], "sam4d": fields}, CONFIG, tiny_clip())


def test_only_a_request_with_our_key_is_one() -> None:
    assert is_viewer_request({"result": [], "sam4d": {}})
    assert not is_viewer_request({"result": [{"id": "x"}]})


@pytest.mark.parametrize(("chosen", "object_id", "new"), [("new", None, True), (3, 3, False), (None, None, False)])
def test_a_click_and_whose_it_is(chosen: object, object_id: int | None, new: bool) -> None:
    request = parse(action="prompt", object=chosen, label="Truck", frame=2, points=[POINT, {**POINT, "positive": False}], seconds=1)
    prompt = request.action
    assert isinstance(prompt, UserPrompt)
    assert (prompt.label, prompt.frame_index, prompt.sensor, prompt.kind, prompt.positive) == ("Truck", 2, "lidar", "point", True)
    assert (prompt.object_id, prompt.new_object, request.seconds) == (object_id, new, 1.0)
    (points,) = prompt.prompts
    assert isinstance(points, PointPrompt)
    assert np.array_equal(points.coordinates, [[1, 2.5, -1]] * 2)
    assert np.array_equal(points.labels, [1, 0])


def test_only_negative_clicks() -> None:
    prompt = parse(action="prompt", object=3, label="Car", frame=0, points=[{**POINT, "positive": False}]).action
    assert isinstance(prompt, UserPrompt)
    assert not prompt.positive


def test_a_box() -> None:
    prompt = parse(action="box", object="new", label="Car", frame=1, box_m=[1, 2, 3, 5]).action
    assert isinstance(prompt, UserPrompt)
    (box,) = prompt.prompts
    assert isinstance(box, BoxPrompt)
    assert np.array_equal(box.box, [1, 2, 3, 5])


def test_a_box_in_a_camera() -> None:
    prompt = parse(action="box", object="new", label="Car", frame=1, camera="front", box_px=[1, 2, 3, 5]).action
    assert isinstance(prompt, UserPrompt)
    (box,) = prompt.prompts
    assert isinstance(box, BoxPrompt)
    assert (box.sensor, prompt.sensor, prompt.kind) == ("front", "front", "box")
    assert np.array_equal(box.box, [1, 2, 3, 5])


def test_labels_that_were_changed() -> None:
    assert parse(action="fit", object=3, frames=[0], labels=[{"object": 3, "label": "Truck"}]).labels == {3: "Truck"}


def test_the_other_actions() -> None:
    assert parse(action="follow", object=3, frame=1, direction="backwards").action == FollowRequest(3, 1, True)
    assert parse(action="fit", object=3, frames=[2, 0]).action == FitRequest(3, (2, 0))
    assert parse(action="read", object=3, frame=2, rle=[1, 2]).action == ReadRequest(3, 2, (1, 2))
    cuboid = Cuboid((1.0, 2.0, 3.0), (4.0, 2.0, 1.5), 0.1)
    placed = parse(action="cuboids", object="new", label="Car", cuboids=[{"frame": 1, "cuboid": CUBOID}]).action
    assert placed == CuboidsRequest(None, "Car", {1: cuboid})
    request = parse(
        action="fit",
        object=3,
        frames=[0],
        edits=[{"object": 3, "frame": 1, "cuboid": CUBOID}],
        gone=[{"object": 4, "frames": [0, 2]}, {"object": 5, "frames": [1]}],
    )
    assert request.edits == {(3, 1): cuboid}
    assert request.gone == {(4, 0), (4, 2), (5, 1)}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, "action"),
        ({"action": "delete"}, "action"),
        ({"action": "prompt", "label": "Tree", "frame": 0, "points": [POINT]}, "label"),
        ({"action": "prompt", "label": "Car", "frame": 3, "points": [POINT]}, "frame"),
        ({"action": "prompt", "label": "Car", "frame": True, "points": [POINT]}, "frame"),
        ({"action": "prompt", "label": "Car", "frame": 0, "points": []}, "points"),
        ({"action": "prompt", "label": "Car", "frame": 0, "points": [{"position_m": [1, 2], "positive": True}]}, "position_m"),
        (
            {"action": "prompt", "label": "Car", "frame": 0, "points": [{"position_m": [1, 2, float("nan")], "positive": True}]},
            "position_m",
        ),
        ({"action": "prompt", "label": "Car", "frame": 0, "points": [{"position_m": [1, 2, 3]}]}, "positive"),
        ({"action": "prompt", "object": "3", "label": "Car", "frame": 0, "points": [POINT]}, "object"),
        ({"action": "box", "label": "Car", "frame": 0, "box_m": [1, 2, 1, 5]}, "box_m"),
        ({"action": "box", "label": "Car", "frame": 0, "camera": "front", "box_px": [1, 2, 3, 2]}, "box_px"),
        ({"action": "box", "label": "Car", "frame": 2, "camera": "rear_left", "box_px": [1, 2, 3, 4]}, "camera"),
        ({"action": "fit", "object": 1, "frames": [0], "labels": [{"object": 1, "label": "Tree"}]}, "labels"),
        ({"action": "follow", "object": 1, "frame": 0, "direction": "up"}, "direction"),
        ({"action": "follow", "object": 1, "frame": 0, "direction": []}, "direction"),
        ({"action": "box", "label": "Car", "frame": 0, "camera": {}, "box_px": [1, 2, 3, 4]}, "camera"),
        ({"action": "prompt", "label": "Car", "frame": 0, "points": [{"position_m": [10**400, 2, 3], "positive": True}]}, "position_m"),
        ({"action": "follow", "frame": 0, "direction": "forwards"}, "object"),
        ({"action": "cuboids", "object": 1, "label": "Car", "cuboids": []}, "cuboids"),
        ({"action": "cuboids", "object": 1, "label": "Car", "cuboids": [{"frame": 0, "cuboid": None}]}, "cuboids"),
        ({"action": "fit", "object": 1, "frames": []}, "frames"),
        (
            {"action": "fit", "object": 1, "frames": [0], "edits": [{"object": 1, "frame": 0, "cuboid": {**CUBOID, "yaw_rad": "x"}}]},
            "yaw_rad",
        ),
        ({"action": "fit", "object": 1, "frames": [0], "gone": [{"object": 1}]}, "gone"),
        ({"action": "fit", "object": 1, "frames": [0], "seconds": -1}, "seconds"),
        ({"action": "fit", "object": 1, "frames": [0], "highest_object": "all"}, "highest_object"),
    ],
)
def test_what_is_refused_names_the_field(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError, match=where):
        parse(**fields)


def test_something_else_than_an_object() -> None:
    with pytest.raises(InputError, match="context, sam4d: expected an object"):
        parse_viewer_request({"sam4d": [1]}, CONFIG, tiny_clip())
