"""Labelling through the endpoints: clicks, edits between them, restarts, late drafts, pre-annotation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from backend.asgi import create_app
from backend.settings import Settings
from converters.brush_rle import decode_mask, encode_mask
from converters.reconcile import regions_to_masklets
from sam4d.geometry import BoolArray
from tests.backend.conftest import Project

Results = list[dict[str, Any]]


def ask(client: TestClient, request: Mapping[str, Any]) -> Results:
    response = client.post("/predict", json=request)
    assert response.status_code == 200, response.text
    assert len(response.json()["results"]) == len(request["tasks"])
    results: Results = response.json()["results"][0]["result"]
    return results


def on(results: Sequence[Mapping[str, Any]], tag: str, frame_index: int) -> dict[str, Any]:
    (found,) = (dict(result) for result in results if result["from_name"] == tag and result["item_index"] == frame_index)
    return found


def mask_of(result: Mapping[str, Any]) -> BoolArray:
    return decode_mask(result["value"]["rle"], result["original_height"], result["original_width"])


def objects(results: Sequence[Mapping[str, Any]]) -> set[int]:
    return {result["meta"]["sam4d"]["object_id"] for result in results}


def frames(results: Sequence[Mapping[str, Any]]) -> set[int]:
    return {result["item_index"] for result in results}


def merged(*answers: Results) -> Results:
    """What stands in the editor after these answers, each replacing regions by id; emptied brushes are not saved."""
    standing = {f"{result['id']} {result['from_name']}": result for answer in answers for result in answer}
    return [result for result in standing.values() if "rle" not in result["value"] or mask_of(result).any()]


@pytest.fixture
def restarted(settings: Settings) -> TestClient:
    """A server that knows nothing of what the other one answered."""
    return TestClient(create_app(settings), raise_server_exceptions=False)


def test_one_click_gives_the_object_in_cameras_and_lidar_on_all_frames(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    results = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    assert objects(results) == {1}
    assert len(frames(results)) > 1
    assert {"brush_front", "cuboid_bev", "brush_bev", "z", "h"} <= {result["from_name"] for result in results}
    assert all(result["value"].get("brushlabels", ["Car"]) == ["Car"] for result in results)
    (masklet,) = regions_to_masklets(results, project.window, project.drive.clip)
    true_mask, mask = wanted.masks[0].lidar_mask, masklet.masks[0].lidar_mask
    assert (true_mask & mask).sum() / (true_mask | mask).sum() > 0.5


def test_a_request_that_is_repeated_is_answered_the_same_and_adds_nothing(client: TestClient, project: Project) -> None:
    request = project.request(project.task(), context=project.click_on(project.visible()))
    first, second = ask(client, request), ask(client, request)
    assert {result["id"] for result in second} == {result["id"] for result in first}
    assert [result["value"] for result in second] == [result["value"] for result in first]


def test_the_same_place_in_another_image_is_another_prompt(client: TestClient, project: Project) -> None:
    context = project.click_on(project.visible())
    ask(client, project.request(project.task(), context=context))
    (click,) = context["result"]
    elsewhere = {"result": [{**click, "to_name": "rear", "from_name": "kp_rear"}]}
    answer = client.post("/predict", json=project.request(project.task(), context=elsewhere))
    assert (answer.status_code, "expected front_left or front or bev, found 'rear'" in answer.json()["error"]) == (422, True)


def test_a_negative_click_refines_the_object_that_was_touched(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    mask = mask_of(on(first, "brush_front", 0))
    row, column = (int(place[len(place) // 4]) for place in np.nonzero(mask))
    context = project.click(column + 0.5, row + 0.5, 0, "front", positive=False)
    second = ask(client, project.request(project.task(), context=context))
    assert objects(second) == {1}
    refined = mask_of(on(second, "brush_front", 0))
    assert mask[row, column]
    assert not refined[row, column]


def test_after_a_restart_the_draft_says_which_objects_there_are(client: TestClient, restarted: TestClient, project: Project) -> None:
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    task = project.task(drafts=[project.draft(first)])
    mask = mask_of(on(first, "brush_front", 1))
    rows, columns = np.nonzero(mask)
    middle = len(rows) // 2
    again = ask(restarted, project.request(task, context=project.click(columns[middle] + 0.5, rows[middle] + 0.5, 1, "front")))
    assert objects(again) == {1}
    assert {result["id"] for result in again} & {result["id"] for result in first}

    elsewhere = project.click(2.5, 2.5, 0, "front", label="Object")
    other = client.post("/predict", json=project.request(task, context=elsewhere))
    if other.status_code == 200:
        assert objects(other.json()["results"][0]["result"]) in ({2}, set())


def test_pre_annotated_objects_are_refined_too(client: TestClient, restarted: TestClient, project: Project) -> None:
    first = ask(client, project.request(project.task(), context=project.click_on(project.visible())))
    stored = {"id": 9, "result": json.loads(json.dumps(first)), "created_at": "2026-01-01T09:00:00Z", "model_version": "x", "score": 0.5}
    task = project.task(predictions=[stored])
    rows, columns = np.nonzero(mask_of(on(first, "brush_front", 0)))
    middle = len(rows) // 2
    again = ask(restarted, project.request(task, context=project.click(columns[middle] + 0.5, rows[middle] + 0.5, 0, "front")))
    assert objects(again) == {1}


@pytest.mark.parametrize("after_restart", [False, True])
def test_an_edited_brush_stays_as_the_person_left_it(
    after_restart: bool, client: TestClient, restarted: TestClient, project: Project
) -> None:
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    edited = on(first, "brush_front", 2)
    mask = mask_of(edited)
    rows = np.flatnonzero(mask.any(axis=1))
    mask[: rows[len(rows) // 2]] = False
    edited["value"] = {**edited["value"], "rle": encode_mask(mask)}
    task = project.task(drafts=[project.draft(merged(first, [edited]))])
    server = restarted if after_restart else client
    second = ask(server, project.request(task, context=project.click_on(wanted, frame_index=1)))
    assert objects(second) == {1}
    assert 2 not in frames(second)
    assert {0, 1, 3} & frames(second)
    # And a click on that frame goes on from the edited mask.
    columns = np.flatnonzero(mask[rows[-1]])
    context = project.click(columns[len(columns) // 2] + 0.5, rows[-1] + 0.5, 2, "front")
    third = ask(server, project.request(task, context=context))
    assert 2 in frames(third)


@pytest.mark.parametrize("after_restart", [False, True])
def test_strokes_that_a_draft_keeps_apart_are_an_edit(
    after_restart: bool, client: TestClient, restarted: TestClient, project: Project
) -> None:
    """A bar across the image, far wider than the object; then the eraser, over half of it."""
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    edited = on(first, "brush_front", 2)
    answered = mask_of(edited)
    height, width = answered.shape
    bar = {"type": "add", "points": [1, 2, 3, 4], "relativePoints": [0, 25, 100, 25], "strokeWidth": 9, "relativeStrokeWidth": 5}
    gap = {**bar, "type": "eraser", "relativePoints": [75, -10, 75, 110], "relativeStrokeWidth": 50}
    edited["value"] = {**edited["value"], "touches": [bar, gap]}
    task = project.task(drafts=[project.draft(merged(first, [edited]))])
    server = restarted if after_restart else client
    second = ask(server, project.request(task, context=project.click_on(wanted, frame_index=1)))
    assert objects(second) == {1}
    assert 2 not in frames(second), "the browser has it already, as the person left it"
    # A click on the bar, far from the object, is one on the object, and goes on from the mask as it was left.
    third = ask(server, project.request(task, context=project.click(0.1 * width, 0.25 * height, 2, "front")))
    assert objects(third) == {1}
    shown = mask_of(on(third, "brush_front", 2))
    assert shown[height // 4, : width // 2 - 2].all()
    assert not shown[height // 4, width // 2 + 2 :].any()


@pytest.mark.parametrize("after_restart", [False, True])
def test_a_moved_rectangle_keeps_its_place(after_restart: bool, client: TestClient, restarted: TestClient, project: Project) -> None:
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    draft = json.loads(json.dumps(first))
    for result in draft:
        if result["id"] == on(first, "cuboid_bev", 2)["id"]:
            result["value"]["x"] += 1.0
    moved = on(draft, "cuboid_bev", 2)["value"]
    server = restarted if after_restart else client
    task = project.task(drafts=[project.draft(draft)])
    second = ask(server, project.request(task, context=project.click_on(wanted, frame_index=0)))
    again = on(second, "cuboid_bev", 2)["value"]
    assert again["x"] == pytest.approx(moved["x"], abs=0.01)
    assert again["y"] == pytest.approx(moved["y"], abs=0.01)


def two_objects(project: Project) -> list[Any]:
    """The two objects that the front camera shows largest on frame 0."""

    def area(masklet: Any) -> int:
        masks = masklet.masks.get(0)
        return int(masks.camera_masks["front"].sum()) if masks is not None and masks.lidar_mask.sum() > 20 else 0

    return sorted(project.drive.masklets, key=area)[-2:]


def test_a_draft_that_is_late_deletes_nothing(client: TestClient, project: Project) -> None:
    one, two = two_objects(project)
    first = ask(client, project.request(project.task(), context=project.click_on(one)))
    late = project.task(drafts=[project.draft(first, minute=1)])
    second = ask(client, project.request(late, context=project.click_on(two)))
    assert objects(second) == {2}
    still_late = project.task(drafts=[project.draft(first, minute=2)])
    third = ask(client, project.request(still_late, context=project.click_on(two, frame_index=1)))
    assert objects(third) == {2}


def test_an_old_view_of_a_region_is_no_edit(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    mask = mask_of(on(first, "brush_front", 0))
    row, column = (int(place[len(place) // 4]) for place in np.nonzero(mask))
    negative = project.click(column + 0.5, row + 0.5, 0, "front", positive=False)
    ask(client, project.request(project.task(drafts=[project.draft(first, 1)]), context=negative))
    third = ask(client, project.request(project.task(drafts=[project.draft(first, 2)]), context=project.click_on(wanted, frame_index=1)))
    assert {0, 2, 3} & frames(third), "frames of an old draft were not changed by hand"


def test_what_stands_just_so_is_not_sent_again(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    shown = {result["id"] for result in first if result["from_name"] != "z"}
    task = project.task(drafts=[project.draft(first)])
    second = ask(client, project.request(task, context=project.click_on(wanted, frame_index=1)))
    before = {f"{result['id']} {result['from_name']}": result for result in first}
    for identity in {result["id"] for result in second} & shown:
        group = [result for result in second if result["id"] == identity]
        assert any(result != before.get(f"{identity} {result['from_name']}") for result in group)
        # A rectangle and its Numbers are one region: it is sent whole.
        assert len(group) == (3 if group[0]["type"] != "brushlabels" else 1)


def test_an_object_that_was_deleted_does_not_come_back(client: TestClient, project: Project) -> None:
    one, two = two_objects(project)
    first = ask(client, project.request(project.task(), context=project.click_on(one)))
    second = ask(client, project.request(project.task(drafts=[project.draft(first, 1)]), context=project.click_on(two)))
    both = project.task(drafts=[project.draft(merged(first, second), 2)])
    ask(client, project.request(both, context=project.click_on(one, frame_index=1)))
    without = project.task(drafts=[project.draft(first, 3)])
    fourth = ask(client, project.request(without, context=project.click_on(two)))
    assert objects(fourth) == {3}


def test_an_object_deleted_on_one_frame_stays_away_from_it(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    shown = project.task(drafts=[project.draft(first, 1)])
    second = ask(client, project.request(shown, context=project.click_on(wanted, frame_index=1)))
    left = [result for result in merged(first, second) if result["item_index"] != 3]
    third = ask(client, project.request(project.task(drafts=[project.draft(left, 2)]), context=project.click_on(wanted)))
    assert objects(third) == {1}
    assert 3 not in frames(third)


def test_the_time_for_a_click_bounds_the_frames_but_never_drops_the_clicked_one(settings: Settings, project: Project) -> None:
    from dataclasses import replace

    hurried = TestClient(create_app(replace(settings, interactive_seconds=0.0)), raise_server_exceptions=False)
    results = ask(hurried, project.request(project.task(), context=project.click_on(project.visible(), frame_index=1)))
    assert 1 in frames(results)
    assert len(frames(results)) < len(project.drive.clip)


def test_tasks_without_a_click_are_pre_annotated_one_prediction_each_in_order(client: TestClient, project: Project) -> None:
    broken = project.task(2, data={"text": "of another project type"})
    answer = client.post("/predict", json=project.request(project.task(1), broken, project.task(3))).json()
    results = answer["results"]
    assert [len(result["result"]) > 0 for result in results] == [True, False, True]
    assert results[1]["score"] == 0
    assert 0 < results[0]["score"] <= 1
    assert {result["model_version"] for result in results} == {answer["model_version"]}
    masklets = regions_to_masklets(results[0]["result"], project.window, project.drive.clip)
    assert {masklet.label for masklet in masklets} <= set(project.labels)


def test_tasks_that_do_not_fit_the_time_stay_without_an_answer(
    settings: Settings, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    hurried = TestClient(create_app(replace(settings, batch_seconds=-1.0)), raise_server_exceptions=False)
    first, second, third = hurried.post("/predict", json=project.request(*map(project.task, (1, 2, 3)))).json()["results"]
    # The first had the whole time to itself: Label Studio is to keep the empty prediction and not ask again.
    assert (first["result"], first["score"]) == ([], 0)
    assert (second, third) == ([], [])
    assert "task 1: left empty, -1 s are too short for it" in caplog.text
    assert "2 tasks found no time and stay without an answer, there is no queue: [2, 3]" in caplog.text


def test_no_secret_is_logged(client: TestClient, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    ask(client, project.request(project.task(), context=project.click_on(project.visible())))
    client.post("/predict", json=project.request(project.task(data={}), context=project.click_on(project.visible())))
    client.post("/predict", json={"params": {"password": "a-secret"}, "tasks": 3})
    assert "a-secret" not in caplog.text


def test_a_click_that_fails_leaves_the_task_as_it_was(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    negative = project.click_on(wanted, positive=False)
    assert client.post("/predict", json=project.request(project.task(), context=negative)).status_code == 422
    outside = project.click(-5, 10, 0, "front")
    assert client.post("/predict", json=project.request(project.task(), context=outside)).status_code == 422
    results = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    assert objects(results) == {1}
