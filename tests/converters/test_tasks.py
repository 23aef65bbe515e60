from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.tasks import TaskWindow, build_task_data, frame_windows, parse_task_data
from sam4d.geometry import Axis, BirdsEyeView
from sam4d.structures import InputError

axes: st.SearchStrategy[Axis] = st.sampled_from(["+x", "-x", "+y", "-y"])
views = st.builds(BirdsEyeView, range_m=st.floats(1, 200), metres_per_pixel=st.floats(0.05, 1), forward=axes)
windows = st.builds(TaskWindow, st.text(min_size=1), st.integers(0, 10**6), st.integers(1, 30), views)


@st.composite
def window_requests(draw: st.DrawFn) -> tuple[int, int, int]:
    frames_per_task = draw(st.integers(1, 30))
    return draw(st.integers(1, 200)), frames_per_task, draw(st.integers(0, frames_per_task - 1))


@given(window_requests())
def test_windows_cover_every_frame_overlap_and_none_lies_within_another(request: tuple[int, int, int]) -> None:
    frame_count, frames_per_task, overlap = request
    spans = [(first, first + count) for first, count in frame_windows(*request)]
    assert spans[0][0] == 0
    assert spans[-1][1] == frame_count
    assert all(0 < end - start <= frames_per_task for start, end in spans)
    for (_, end), (next_start, next_end) in pairwise(spans):
        assert end - next_start == overlap
        assert next_end > end


def test_windows_of_the_default() -> None:
    assert frame_windows(6, 20, 2) == [(0, 6)]
    assert frame_windows(20, 20, 2) == [(0, 20)]
    assert frame_windows(21, 20, 2) == [(0, 20), (18, 3)]
    assert frame_windows(38, 20, 2) == [(0, 20), (18, 20)]


@pytest.mark.parametrize(
    ("request_", "where"), [((0, 20, 2), "frames"), ((5, 0, 0), "frames per task"), ((5, 3, 3), "overlap"), ((5, 3, -1), "overlap")]
)
def test_impossible_windows_are_refused(request_: tuple[int, int, int], where: str) -> None:
    with pytest.raises(InputError, match=f"^{where}: "):
        frame_windows(*request_)


def task_data(window: TaskWindow) -> dict[str, Any]:
    addresses = [f"images/{frame}.png" for frame in range(window.frame_count)]
    data: dict[str, Any] = json.loads(json.dumps(build_task_data(window, {"front": addresses, "rear left": addresses}, addresses)))
    return data


@given(windows)
def test_task_data_is_read_back(window: TaskWindow) -> None:
    assert parse_task_data(task_data(window)) == window


def test_task_data_has_one_list_per_camera_tag() -> None:
    data = task_data(TaskWindow("drives/a", 4, 2))
    assert data == {
        "front": ["images/0.png", "images/1.png"],
        "rear_left": ["images/0.png", "images/1.png"],
        "bev": ["images/0.png", "images/1.png"],
        "sequence": "drives/a",
        "first_frame": 4,
        "birds_eye": {"range_m": 50.0, "metres_per_pixel": 0.1, "forward": "+x"},
    }


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match=r"images of front: expected one address per frame \(2\), found 1 addresses"):
        build_task_data(TaskWindow("drives/a", 0, 2), {"front": ["a"]}, ["a", "b"])


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"sequence": ""}, "task data, sequence"),
        ({"first_frame": -1}, "task data, first_frame"),
        ({"first_frame": True}, "task data, first_frame"),
        ({"bev": []}, "task data, bev"),
        ({"bev": "a.png"}, "task data, bev"),
        ({"birds_eye": 3}, "task data, birds_eye"),
        ({"birds_eye": {"range_m": float("nan"), "metres_per_pixel": 1, "forward": "+x"}}, "task data, birds_eye, range_m"),
        ({"birds_eye": {"range_m": 10**400, "metres_per_pixel": 1, "forward": "+x"}}, "task data, birds_eye, range_m"),
        ({"birds_eye": {"range_m": 50, "metres_per_pixel": 0.01, "forward": "+x"}}, "task data, birds_eye"),
        ({"birds_eye": {"range_m": 50, "metres_per_pixel": 0, "forward": "+x"}}, "task data, birds_eye, metres_per_pixel"),
        ({"birds_eye": {"range_m": 50, "metres_per_pixel": 1, "forward": "up"}}, "task data, birds_eye, forward"),
    ],
)
def test_damaged_task_data_is_refused(change: dict[str, object], where: str) -> None:
    with pytest.raises(InputError, match=f"^{where}: "):
        parse_task_data(task_data(TaskWindow("drives/a", 0, 2)) | change)


@pytest.mark.parametrize("data", [{"image": "a.jpg"}, {}, {"bev": ["a"], "sequence": "x"}])
def test_a_task_of_another_project_type_is_named_so(data: dict[str, object]) -> None:
    with pytest.raises(InputError, match="found a task of another project type, without"):
        parse_task_data(data)


def test_task_data_that_is_no_object_is_refused() -> None:
    with pytest.raises(InputError, match="task data: expected an object, found list"):
        parse_task_data([1])
