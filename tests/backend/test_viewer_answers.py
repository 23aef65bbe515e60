"""What the 3D view asks, through the endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from backend.asgi import create_app
from backend.settings import Settings
from converters.brush_rle import encode_mask
from converters.coco_rle import decode_rle
from converters.reconcile import regions_to_masklets
from sam4d.structures import Cuboid, Masklet
from tests.backend.conftest import Project
from tests.backend.test_labelling import Results, frames, mask_of, merged, objects, on


def ask(client: TestClient, project: Project, *records: Mapping[str, Any], **fields: Any) -> tuple[Results, dict[str, Any]]:
    """The regions of an answer, and what it says besides."""
    request = project.request(project.task(drafts=list(records)), context={"result": [], "sam4d": fields})
    response = client.post("/predict", json=request)
    assert response.status_code == 200, response.text
    (answer,) = response.json()["results"]
    results: Results = answer["result"]
    notes: dict[str, Any] = answer["sam4d"]
    return results, notes


def middle_of(project: Project, masklet: Masklet, frame: int = 0) -> list[float]:
    points_m = project.drive.clip.frames[frame].load_sweep().points_m[masklet.masks[frame].lidar_mask].astype(np.float64)
    nearest = np.argmin(np.linalg.norm(points_m - points_m.mean(axis=0), axis=1))
    return [float(value) for value in points_m[nearest]]


def click(project: Project, masklet: Masklet, frame: int = 0, **fields: Any) -> dict[str, Any]:
    point = {"position_m": middle_of(project, masklet, frame), "positive": True}
    return {"action": "prompt", "object": "new", "label": "Car", "frame": frame, "points": [point], **fields}


def to_json(cuboid: Cuboid) -> dict[str, Any]:
    return {"center_m": list(cuboid.center_m), "size_lwh_m": list(cuboid.size_lwh_m), "yaw_rad": cuboid.yaw_rad}


def cuboids(project: Project, results: Sequence[Mapping[str, Any]]) -> dict[int, Cuboid]:
    (masklet,) = regions_to_masklets(results, project.window, project.drive.clip)
    return dict(masklet.cuboids)


def lifted(cuboid: Cuboid, by_m: float) -> Cuboid:
    x, y, z = cuboid.center_m
    return replace(cuboid, center_m=(x, y, z + by_m))


@pytest.fixture
def restarted(settings: Settings) -> TestClient:
    return TestClient(create_app(settings), raise_server_exceptions=False)


def test_a_click_in_the_cloud_is_shown_by_the_cameras(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    results, notes = ask(client, project, **click(project, wanted))
    assert notes == {"object": 1, "frames": [0, 1, 2, 3]}
    (found,) = regions_to_masklets(results, project.window, project.drive.clip)
    truth = wanted.masks[0].camera_masks["front"]
    seen = found.masks[0].camera_masks["front"]
    assert (seen & truth).sum() / (seen | truth).sum() > 0.5
    assert on(results, "cuboid_bev", 0)["meta"]["sam4d"]["agreement"] > 0.8


def test_a_new_object_even_where_one_is_and_a_named_one_wherever_it_is_clicked(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    ask(client, project, **click(project, wanted))
    _, again = ask(client, project, **click(project, wanted))
    assert again["object"] == 2
    _, refined = ask(client, project, **click(project, wanted, frame=1, object=1))
    assert refined["object"] == 1
    _, unnamed = ask(client, project, **click(project, wanted, object=None))
    assert unnamed["object"] in (1, 2)


def test_following_goes_on_where_it_stopped(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    results, notes = ask(client, project, **click(project, wanted, frame=1), seconds=0)
    assert notes["frames"] == [1]
    assert frames(results) == {1}
    answers, seen = [results], []
    for start in (2, 3):
        results, notes = ask(client, project, action="follow", object=1, frame=start, direction="forwards", seconds=0)
        answers.append(results)
        seen += notes["frames"]
    results, notes = ask(client, project, action="follow", object=1, frame=0, direction="backwards", seconds=0)
    assert (seen, notes["frames"]) == ([2, 3], [0])
    assert frames(merged(*answers, results)) == {0, 1, 2, 3}
    sizes = {cuboid.size_lwh_m for cuboid in cuboids(project, merged(*answers, results)).values()}
    assert len(sizes) == 1, "cuboids of frames seen before take the new size, too"


def test_following_leaves_what_people_did(client: TestClient, project: Project) -> None:
    first, _ = ask(client, project, **click(project, project.visible()), seconds=0)
    draft = project.draft(first)
    gone = [{"object": 1, "frames": [2]}]
    whole, _ = ask(client, project, draft, action="follow", object=1, frame=1, direction="forwards")
    assert frames(whole) >= {1, 2, 3}
    results, notes = ask(client, project, draft, action="follow", object=1, frame=1, direction="forwards", gone=gone)
    assert notes["frames"] == [1, 2, 3]
    assert 2 not in frames(results)


@pytest.mark.parametrize("after_restart", [False, True])
def test_a_moved_cuboid_counts_before_a_draft_shows_it(
    after_restart: bool, client: TestClient, restarted: TestClient, project: Project
) -> None:
    wanted = project.visible()
    first, _ = ask(client, project, **click(project, wanted))
    edited = lifted(cuboids(project, first)[2], 0.4)
    edits = [{"object": 1, "frame": 2, "cuboid": to_json(edited)}]
    server = restarted if after_restart else client
    second, _ = ask(server, project, project.draft(first), **click(project, wanted, frame=1, object=1), edits=edits)
    standing = merged(first, second)
    assert cuboids(project, standing)[2].center_m[2] == pytest.approx(edited.center_m[2])
    assert on(second, "cuboid_bev", 2)["meta"]["sam4d"]["by_hand"] is True
    (masklet,) = regions_to_masklets(standing, project.window, project.drive.clip)
    assert masklet.masks[2].score == 1.0

    fitted, _ = ask(server, project, project.draft(standing, minute=2), action="fit", object=1, frames=[2])
    assert frames(fitted) == {2}
    assert {result["type"] for result in fitted} == {"rectanglelabels", "number"}, "the masks stand"
    assert cuboids(project, merged(standing, fitted))[2].center_m[2] == pytest.approx(edited.center_m[2] - 0.4, abs=0.15)
    assert "by_hand" not in on(fitted, "cuboid_bev", 2)["meta"]["sam4d"]


def test_a_cuboid_that_was_moved_unheard_is_shown_when_it_is_fitted_again(client: TestClient, project: Project) -> None:
    first, _ = ask(client, project, **click(project, project.visible()))
    # The draft shows what was answered; what the page changed since then it takes back together with asking.
    fitted, _ = ask(client, project, project.draft(first), action="fit", object=1, frames=[2])
    assert frames(fitted) == {2}
    assert {result["type"] for result in fitted} == {"rectanglelabels", "number"}, "the masks stand"
    assert cuboids(project, merged(first, fitted))[2] == cuboids(project, first)[2]


def test_after_a_restart_a_cuboid_set_by_hand_is_still_one(client: TestClient, restarted: TestClient, project: Project) -> None:
    wanted = project.visible()
    first, _ = ask(client, project, **click(project, wanted))
    edited = lifted(cuboids(project, first)[2], 0.4)
    second, _ = ask(client, project, action="cuboids", object=1, label="Car", cuboids=[{"frame": 2, "cuboid": to_json(edited)}])
    assert frames(second) == {2}
    draft = project.draft(merged(first, second))
    third, _ = ask(restarted, project, draft, **click(project, wanted, frame=1, object=1))
    assert cuboids(project, merged(first, second, third))[2] == edited


def test_after_a_restart_no_number_is_given_twice(client: TestClient, restarted: TestClient, project: Project) -> None:
    _, before = ask(client, project, **click(project, project.visible()))
    # No draft has been saved yet: only the page knows of the object.
    results, after = ask(restarted, project, **click(project, project.visible(camera="front_left")), highest_object=before["object"])
    assert after["object"] == before["object"] + 1
    assert objects(results) == {after["object"]}


def test_a_cuboid_on_a_frame_without_the_object_takes_the_points_inside(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    ask(client, project, **click(project, wanted), seconds=0)
    placed = wanted.cuboids[3]
    results, notes = ask(client, project, action="cuboids", object=1, label="Car", cuboids=[{"frame": 3, "cuboid": to_json(placed)}])
    assert notes == {"object": 1, "frames": [3]}
    (found,) = regions_to_masklets(results, project.window, project.drive.clip)
    assert found.cuboids[3] == placed
    truth = wanted.masks[3].lidar_mask
    assert (found.masks[3].lidar_mask & truth).sum() > 0.8 * truth.sum()
    assert found.masks[3].camera_masks["front"].any()


def test_a_new_cuboid_over_nothing_is_an_object_and_stays_one(client: TestClient, project: Project) -> None:
    empty = Cuboid((5.0, 5.0, 12.0), (4.0, 2.0, 1.5), 0.3)
    first, notes = ask(client, project, action="cuboids", object="new", label="Car", cuboids=[{"frame": 0, "cuboid": to_json(empty)}])
    assert notes["object"] == 1
    assert cuboids(project, first) == {0: empty}
    lower = lifted(empty, -1.0)
    second, _ = ask(client, project, action="cuboids", object=1, label="Car", cuboids=[{"frame": 0, "cuboid": to_json(lower)}])
    assert cuboids(project, merged(first, second)) == {0: lower}


def test_what_was_deleted_is_gone_before_a_draft_says_so(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    first, _ = ask(client, project, **click(project, wanted))
    gone = [{"object": 1, "frames": [0, 1, 2, 3]}]
    for _ in range(2):
        # the draft is late: it still shows the object
        results, notes = ask(client, project, project.draft(first), **click(project, wanted), gone=gone)
        assert notes["frames"] == [0, 1, 2, 3]
        assert objects(results) == {notes["object"]}
        assert frames(results) == {0, 1, 2, 3}, "nothing stands in its way"
        gone = [*gone, {"object": notes["object"], "frames": [0, 1, 2, 3]}]


def test_the_view_is_told_why_something_cannot_be_done(client: TestClient, project: Project) -> None:
    for fields, said in (
        ({"action": "follow", "object": 5, "frame": 0, "direction": "forwards"}, "one of the task's objects (none), found 5"),
        ({"action": "dance"}, "action: expected prompt"),
        (click(project, project.visible(), label="Tree"), "label: expected Car"),
    ):
        results, notes = ask(client, project, **fields)
        assert results == []
        assert said in notes["error"]


def test_a_box_in_a_camera(client: TestClient, project: Project) -> None:
    truth = project.visible().masks[0].camera_masks["front"]
    rows, columns = np.nonzero(truth)
    box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    results, notes = ask(client, project, action="box", object="new", label="Car", frame=0, camera="front", box_px=box)
    assert notes["object"] == 1
    (found,) = regions_to_masklets(results, project.window, project.drive.clip)
    seen = found.masks[0].camera_masks["front"]
    assert (seen & truth).sum() / (seen | truth).sum() > 0.5


def test_a_label_that_no_draft_shows_yet(client: TestClient, project: Project) -> None:
    wanted = project.visible()
    ask(client, project, **click(project, wanted), seconds=0)
    results, _ = ask(client, project, action="follow", object=1, frame=1, direction="forwards", labels=[{"object": 1, "label": "Object"}])
    assert {region["meta"]["sam4d"]["label"] for region in results} == {"Object"}


def test_points_are_read_off_a_mask_that_a_person_painted(client: TestClient, project: Project) -> None:
    first, _ = ask(client, project, **click(project, project.visible()))
    brush = on(first, "brush_bev", 0)
    mask = mask_of(brush)
    mask[: int(np.flatnonzero(mask.any(axis=1)).mean())] = False
    brush["value"] = {**brush["value"], "rle": encode_mask(mask)}
    painted = merged(first, [brush])
    results, notes = ask(client, project, action="read", object=1, frame=0, rle=brush["value"]["rle"])
    assert notes == {"object": 1, "frames": [0]}
    (before,) = regions_to_masklets(first, project.window, project.drive.clip)
    (after,) = regions_to_masklets(painted, project.window, project.drive.clip)
    assert 0 < after.masks[0].lidar_mask.sum() < before.masks[0].lidar_mask.sum()
    told = decode_rle(on(results, "cuboid_bev", 0)["meta"]["sam4d"]["points"], after.masks[0].lidar_mask.shape, "told")
    assert np.array_equal(told, after.masks[0].lidar_mask), "what will be exported"
