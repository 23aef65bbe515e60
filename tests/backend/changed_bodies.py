"""Bodies of requests as Label Studio sends them, changed the way that broken or hostile clients change them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

from converters.brush_rle import encode_mask
from converters.label_config import brush_tag, click_tag
from tests.backend.conftest import Project

Json: TypeAlias = Any
Change: TypeAlias = tuple[int, int, int]

HUGE = 10**400
ODD_VALUES: tuple[Json, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), HUGE, 0.5, -1e-320, 1e308, -1e308, float("inf"), "", " ", "a", "\0", "\ud800"),
    *(
        "\udfff x",
        "é" * 300,
        "../" * 8 + "etc/passwd",
        "/etc/passwd",
        "1e999",
        "file:///etc/passwd",
        "<View>",
        "&#x0;",
        "%00",
        "{}",
        "\n\n",
    ),
    *([], {}, [[]], [None], [0] * 1000, ["a"], {"id": 1}, {"": {}}, [{}], [-1, -1, -1, -1], [1e308] * 4, [HUGE] * 3, {"a": [1] * 50}),
)
PIECES = ("\0", "\ud800", "<", ">", '"', "&", "%2e%2e/", "9" * 400, "\n", "é", "//", "?", "#", " ", "-")


def webhook_body(project: Project) -> Json:
    annotation = {"id": 3, "task": 1, "project": 7, "result": [], "completed_by": {"id": 1}, "was_cancelled": False, "lead_time": 3.1}
    shown = {"id": 7, "title": "drives", "label_config": project.label_config, "task_number": 3}
    return {"action": "ANNOTATION_CREATED", "annotation": annotation, "project": shown, "task": project.task()}


def setup_body(project: Project) -> Json:
    access = {"hostname": "http://127.0.0.1:8080", "access_token": "t", "extra_params": None, "force_reload": False}
    return {"project": "7.1700000000", "schema": project.label_config, **access}


def predict_bodies(project: Project, answered: Sequence[Mapping[str, Json]]) -> list[Json]:
    """Clicks, boxes, brushes and requests of the 3D view, in a task that a draft with `answered` regions says more of.

    answered: our own answer to a first click on object 1.
    """
    wanted = project.visible()
    clip = project.drive.clip
    view = project.window.birds_eye
    camera = clip.cameras["front"]
    click = project.click_on(wanted)
    (point,) = click["result"]
    place_m = clip.frames[0].load_sweep().points_m[wanted.masks[0].lidar_mask][0].tolist()
    cuboid = {"center_m": place_m, "size_lwh_m": [4.0, 2.0, 1.5], "yaw_rad": 0.1}

    above = copy.deepcopy(point)
    u, v = view.to_pixels(np.array([place_m[:2]]))[0].tolist()
    above.update(from_name=click_tag("bev"), to_name="bev", original_width=view.size_px, original_height=view.size_px)
    above["value"].update(x=100 * u / view.size_px, y=100 * v / view.size_px)

    box = {**point, "type": "rectanglelabels", "from_name": "box_front"}
    box["value"] = {"x": 20.0, "y": 20.0, "width": 30.0, "height": 40.0, "rotation": 5.0, "rectanglelabels": ["Car"]}
    brush = {**point, "type": "brushlabels", "from_name": brush_tag("front")}
    rle = encode_mask(wanted.masks[0].camera_masks["front"])
    brush["value"] = {"format": "rle", "rle": list(rle), "brushlabels": ["Car"]}
    assert (camera.height_px, camera.width_px) == wanted.masks[0].camera_masks["front"].shape

    from_above = next(region for region in answered if region["from_name"] == "brush_bev" and region["item_index"] == 0)
    by_hand = {**brush, "id": "drawn", "origin": "manual"}
    full = project.task(drafts=[project.draft([*answered, by_hand])])
    stored = {"id": 9, "result": list(answered), "created_at": "2026-01-01T09:00:00Z", "model_version": "x", "score": 0.5}
    pre_annotated = project.task(2, predictions=[stored])
    annotated = project.task(3, annotations=[{**project.draft(answered), "completed_by": 4}])
    seen = [
        {"action": "prompt", "object": "new", "label": "Car", "frame": 0, "points": [{"position_m": place_m, "positive": True}]},
        {
            "action": "box",
            "object": 1,
            "label": "Car",
            "frame": 0,
            "box_m": [place_m[0] - 2, place_m[1] - 2, place_m[0] + 2, place_m[1] + 2],
        },
        {"action": "box", "object": "new", "label": "Car", "frame": 0, "camera": "front", "box_px": [20, 20, 80, 60]},
        {"action": "follow", "object": 1, "frame": 0, "direction": "forwards", "seconds": 0},
        {"action": "cuboids", "object": 1, "label": "Car", "cuboids": [{"frame": 1, "cuboid": cuboid}], "highest_object": 4},
        {"action": "fit", "object": 1, "frames": [0], "edits": [{"object": 1, "frame": 0, "cuboid": cuboid}]},
        {"action": "read", "object": 1, "frame": 0, "rle": from_above["value"]["rle"], "gone": [{"object": 2, "frames": [0, 1]}]},
    ]
    return [
        project.request(project.task(), context=click),
        project.request(full, context=project.click_on(wanted, 1, positive=False)),
        project.request(pre_annotated, context={"result": [above]}),
        project.request(annotated, context={"result": [box]}),
        project.request(full, context={"result": [brush, brush]}),
        *(project.request(full, context={"result": [], "sam4d": asked}) for asked in seen),
        project.request(project.task(4), project.task(5), context=None),
    ]


def places(value: Json) -> Iterator[tuple[Json, Json]]:
    """(container, key) of every value inside; of a list only the first two: what holds for one number of a mask holds for all."""
    entries = list(value.items()) if isinstance(value, dict) else list(enumerate(value[:2])) if isinstance(value, list) else []
    for key, inner in entries:
        yield value, key
        yield from places(inner)


def changed(body: Json, changes: Sequence[Change]) -> Json:
    """A copy with values replaced, left out, doubled, moved elsewhere or, in texts, spliced. Each change is three whole numbers."""
    body = copy.deepcopy(body)
    for place, kind, number in changes:
        found = list(places(body))
        if not found:
            return body
        # Deep places far outnumber those near the top, which decide more.
        container, key = found[place % len(found)] if place % 3 else found[place % min(len(found), 40)]
        value = container[key]
        if kind % 8 < 4:
            container[key] = copy.deepcopy(ODD_VALUES[number % len(ODD_VALUES)])
        elif kind % 8 == 4:
            del container[key]
        elif kind % 8 == 5:
            other, name = found[number % len(found)]
            container[key] = copy.deepcopy(other[name])
        elif isinstance(value, str):
            at = number % (len(value) + 1)
            container[key] = value[:at] + PIECES[number % len(PIECES)] + value[at + number % 3 :]
        elif isinstance(value, bool | int | float):
            container[key] = (-value, value + 1, value * 1000, value / 3, str(value))[number % 5] if abs(value) < 1e300 else 0
        elif isinstance(value, list) and value:
            container[key] = value * 2 if number % 2 else value[::-1]
        else:
            container[key] = [value]
    return body


numbers = st.integers(0, 2**31 - 1)
changes = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=4)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(ODD_VALUES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def encoded(body: Json) -> bytes:
    return json.dumps(body).encode()


def bodies(recorded: Sequence[Json]) -> st.SearchStrategy[bytes]:
    """Mostly recorded bodies that were changed; also bodies cut off, objects of the right names with any values in them, and any bytes."""
    names = sorted({name for body in recorded for name in body})
    mutated = st.builds(lambda body, made: encoded(changed(body, made)), st.sampled_from(recorded), changes)
    cut = st.builds(lambda body, at: encoded(body)[: at % len(encoded(body))], st.sampled_from(recorded), numbers)
    named = st.dictionaries(st.sampled_from(names), any_json).map(encoded)
    return st.one_of(mutated, mutated, mutated, mutated, mutated, mutated, named, any_json.map(encoded), cut, st.binary(max_size=60))
