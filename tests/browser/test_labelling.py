"""What a labeller does from the first click to the export, in a real Label Studio with a real browser and the real backend."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from converters.tasks import parse_task_data
from sam4d.geometry import BirdsEyeView
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.browser.conftest import BackendServer, LabellingProject
from tests.browser.labelling_page import LabellingPage, Pixel
from tests.browser.results import Mask, PageRectangle, Place, intersection_over_union, masks_of, rectangles_of, union_of

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("label-studio")]

FRAME = 0
BEV = "bev"


@pytest.fixture(scope="session")
def cars(drive: SyntheticDrive) -> list[Masklet]:
    """Cars, those first that two cameras see well on the clicked frame."""

    def second_largest_mask(masklet: Masklet) -> int:
        return sorted(int(mask.sum()) for mask in masklet.masks[FRAME].camera_masks.values())[-2]

    shown = [masklet for masklet in drive.masklets if masklet.label == "Car" and FRAME in masklet.masks]
    return sorted(shown, key=second_largest_mask, reverse=True)


def test_click_correct_drag_submit_export(
    labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, cars: list[Masklet], tmp_path: Path
) -> None:
    """The whole path: a click makes masks everywhere, a negative click takes away, a dragged rectangle moves the exported cuboid."""
    car = cars[0]
    (task_id,) = project.task_ids
    clicked, other = sorted(_cameras_that_see(car, FRAME), key=lambda camera: -_truth(car, camera, FRAME).sum())[:2]
    labelling.open_task(project.project.project_id, task_id)
    labelling.picture("1-opened")
    labelling.switch_on_auto_annotation()
    labelling.pick_tool(clicked, "key-point-tool")
    labelling.pick_label(f"kp_{clicked}", "Car")
    labelling.picture("2-ready-to-click")

    labelling.smart_click(clicked, _middle(_truth(car, clicked, FRAME)))
    labelling.picture("3-clicked")
    labelling.picture("3-clicked-seen-from-above", BEV)
    results = labelling.results()
    masks = masks_of(results)
    assert intersection_over_union(union_of(masks[clicked, FRAME]), _truth(car, clicked, FRAME)) > 0.6
    assert intersection_over_union(union_of(masks[other, FRAME]), _truth(car, other, FRAME)) > 0.6
    for image in (clicked, other, BEV):
        assert len([frame for name, frame in masks if name == image]) >= 4, f"frames with a mask on {image}: {sorted(masks)}"
    rectangles = rectangles_of(results)
    view = _view(project)
    for frame, cuboid in car.cuboids.items():
        ((rectangle,), center) = rectangles[frame], view.to_pixels(np.array(cuboid.center_m))
        assert np.hypot(*(np.array(rectangle.center) - center)) * view.metres_per_pixel < 1.0
        assert _covers(rectangle.center, union_of(masks[BEV, frame]), reach_px=40)
    labels = {label for result in results for label in result["value"].get("brushlabels", result["value"].get("rectanglelabels", []))}
    assert labels == {"Car"}

    before = union_of(masks_of(labelling.results())[clicked, FRAME])
    labelling.pick_label(f"kp_{clicked}", "Car")
    labelling.smart_click(clicked, _edge(before), negative=True, inside_mask=True)
    labelling.picture("4-corrected")
    after = masks_of(labelling.results())[clicked, FRAME]
    assert len(after) == 1, "the answer replaces the mask"
    assert 0 < union_of(after).sum() < before.sum()
    column, row = _edge(before)
    assert not union_of(after)[int(row), int(column)]

    (rectangle,) = rectangles_of(labelling.results())[FRAME]
    moved_px = (25.0, 15.0)
    labelling.drag_region(BEV, rectangle.center, (rectangle.center[0] + moved_px[0], rectangle.center[1] + moved_px[1]))
    labelling.picture("5-dragged", BEV)
    (dragged,) = rectangles_of(labelling.results())[FRAME]
    assert dragged.identity == rectangle.identity
    shift_px = np.array(dragged.center) - np.array(rectangle.center)
    assert shift_px == pytest.approx(moved_px, abs=3)

    submitted = labelling.submit()
    labelling.picture("6-submitted")
    assert _same(rectangles_of(submitted["result"])[FRAME], [dragged])
    (exported,) = project.export(tmp_path)
    assert exported.label == "Car"
    place = view.to_pixels(np.array(exported.cuboids[FRAME].center_m))
    assert place == pytest.approx(dragged.center, abs=0.05)
    assert math.hypot(*shift_px) * view.metres_per_pixel > 2.0
    for frame in range(1, len(drive.clip)):
        (rectangle,) = rectangles_of(submitted["result"])[frame]
        assert view.to_pixels(np.array(exported.cuboids[frame].center_m)) == pytest.approx(rectangle.center, abs=0.05)
    for (image, frame), regions in masks_of(submitted["result"]).items():
        if image != BEV:
            assert np.array_equal(exported.masks[frame].camera_masks[image], union_of(regions))


def test_click_in_the_birds_eye_view(
    labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, cars: list[Masklet]
) -> None:
    """On another frame than the first, too: the object is found in the cameras from its points alone."""
    car, frame = cars[1], 2
    (task_id,) = project.task_ids
    labelling.open_task(project.project.project_id, task_id)
    labelling.switch_on_auto_annotation()
    labelling.show_frame(BEV, frame)
    labelling.pick_tool(BEV, "key-point-tool")
    labelling.pick_label("kp_bev", "Car")
    view = _view(project)
    labelling.smart_click(BEV, _a_point_from_above(drive, car, frame, view))
    labelling.picture("clicked", BEV)
    labelling.show_frame("front", frame)
    labelling.picture("clicked-seen-by-the-cameras")
    masks = masks_of(labelling.results())
    assert (BEV, frame) in masks
    for camera in _cameras_that_see(car, frame):
        assert intersection_over_union(union_of(masks[camera, frame]), _truth(car, camera, frame)) > 0.5, camera
    assert {frame for image, frame in masks if image == BEV} == set(range(len(drive.clip)))


def test_smart_box_and_a_second_object(
    labelling: LabellingPage, project: LabellingProject, cars: list[Masklet], drive: SyntheticDrive
) -> None:
    """A box around a car makes one object; a click with another label makes a second and leaves the first alone."""
    car, pedestrian = cars[0], _largest(drive, "Pedestrian")
    (task_id,) = project.task_ids
    camera = max(_cameras_that_see(car, FRAME), key=lambda camera: _truth(car, camera, FRAME).sum())
    labelling.open_task(project.project.project_id, task_id)
    labelling.switch_on_auto_annotation()
    labelling.pick_tool(camera, "rectangle-tool")
    labelling.pick_label(f"box_{camera}", "Car")
    rows, columns = np.nonzero(_truth(car, camera, FRAME))
    labelling.smart_drag(camera, [(columns.min() + 1.0, rows.min() + 1.0), (columns.max() - 1.0, rows.max() - 1.0)])
    labelling.picture("1-box")
    first = masks_of(labelling.results())
    assert intersection_over_union(union_of(first[camera, FRAME]), _truth(car, camera, FRAME)) > 0.6

    (seen_by, *_) = sorted(_cameras_that_see(pedestrian, FRAME), key=lambda camera: -_truth(pedestrian, camera, FRAME).sum())
    labelling.pick_tool(seen_by, "key-point-tool")
    labelling.pick_label(f"kp_{seen_by}", "Pedestrian")
    labelling.smart_click(seen_by, _middle(_truth(pedestrian, seen_by, FRAME)))
    labelling.picture("2-second-object")
    both = masks_of(labelling.results())
    for place, regions in first.items():
        for identity, mask in regions.items():
            assert np.array_equal(both[place][identity], mask), f"the car's mask on {place} is as it was"
    (new,) = (mask for identity, mask in both[seen_by, FRAME].items() if identity not in first.get((seen_by, FRAME), {}))
    assert intersection_over_union(new, _truth(pedestrian, seen_by, FRAME)) > 0.4
    assert not labelling.errors


def test_hand_edits_outlive_the_next_click(
    labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, cars: list[Masklet]
) -> None:
    """A rectangle dragged by hand stays where it was put when the same object is clicked again on another frame."""
    car, edited_frame, clicked_frame = cars[0], 0, 3
    (task_id,) = project.task_ids
    camera = max(_cameras_that_see(car, FRAME), key=lambda camera: _truth(car, camera, FRAME).sum())
    labelling.open_task(project.project.project_id, task_id)
    labelling.switch_on_auto_annotation()
    labelling.pick_tool(camera, "key-point-tool")
    labelling.pick_label(f"kp_{camera}", "Car")
    labelling.smart_click(camera, _middle(_truth(car, camera, FRAME)))
    (rectangle,) = rectangles_of(labelling.results())[edited_frame]
    labelling.drag_region(BEV, rectangle.center, (rectangle.center[0] + 20, rectangle.center[1] - 12))
    (dragged,) = rectangles_of(labelling.results())[edited_frame]
    assert dragged != rectangle
    # The backend learns of edits from the draft, which Label Studio saves about five seconds after them.
    _until(lambda: _same(rectangles_of(project.draft_results(task_id)).get(edited_frame, []), [dragged]), "the edit is saved as a draft")

    labelling.show_frame(camera, clicked_frame)
    labelling.pick_tool(camera, "key-point-tool")
    labelling.pick_label(f"kp_{camera}", "Car")
    mask = union_of(masks_of(labelling.results())[camera, clicked_frame])
    labelling.smart_click(camera, _middle(mask), inside_mask=True)
    labelling.picture("clicked-again")
    assert _same(rectangles_of(labelling.results())[edited_frame], [dragged])
    assert {len(regions) for regions in masks_of(labelling.results()).values()} == {1}, "still one object"


def test_backend_restarts_between_two_clicks(
    labelling: LabellingPage, project: LabellingProject, backend: BackendServer, cars: list[Masklet]
) -> None:
    """The backend keeps no truth: it takes the object up again from the draft."""
    car = cars[0]
    (task_id,) = project.task_ids
    camera = max(_cameras_that_see(car, FRAME), key=lambda camera: _truth(car, camera, FRAME).sum())
    labelling.open_task(project.project.project_id, task_id)
    labelling.switch_on_auto_annotation()
    labelling.pick_tool(camera, "key-point-tool")
    labelling.pick_label(f"kp_{camera}", "Car")
    labelling.smart_click(camera, _middle(_truth(car, camera, FRAME)))
    first = masks_of(labelling.results())
    _until(lambda: _identities(masks_of(project.draft_results(task_id))) == _identities(first), "the masks are saved as a draft")

    backend.restart()

    labelling.pick_label(f"kp_{camera}", "Car")
    labelling.smart_click(camera, _edge(union_of(first[camera, FRAME])), negative=True, inside_mask=True)
    labelling.picture("clicked-after-the-restart")
    second = masks_of(labelling.results())
    assert _identities(second) <= _identities(first), "the same object, no second one"
    assert 0 < union_of(second[camera, FRAME]).sum() < union_of(first[camera, FRAME]).sum()


def _truth(masklet: Masklet, camera: str, frame: int) -> Mask:
    return masklet.masks[frame].camera_masks[camera]


def _cameras_that_see(masklet: Masklet, frame: int) -> list[str]:
    """Well enough to be judged by."""
    return [camera for camera, mask in masklet.masks[frame].camera_masks.items() if mask.sum() > 500]


def _largest(drive: SyntheticDrive, label: str) -> Masklet:
    shown = [masklet for masklet in drive.masklets if masklet.label == label and FRAME in masklet.masks]
    return max(shown, key=lambda masklet: max(int(mask.sum()) for mask in masklet.masks[FRAME].camera_masks.values()))


def _middle(mask: Mask) -> Pixel:
    """The pixel farthest from the mask's border: where a person would click."""
    row, column = np.unravel_index(int(np.argmax(distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1])), mask.shape)
    return float(column) + 0.5, float(row) + 0.5


def _edge(mask: Mask) -> Pixel:
    """A pixel a little inside the mask, as far from its middle as there is one."""
    column, row = _middle(mask)
    rows, columns = np.nonzero(distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > 3)
    farthest = int(np.argmax(np.hypot(rows - row, columns - column)))
    return float(columns[farthest]) + 0.5, float(rows[farthest]) + 0.5


def _same(first: list[PageRectangle], second: list[PageRectangle]) -> bool:
    """Equal but for the last digits, which the editor loses when it turns percent into pixels of the screen and back."""
    return [rectangle.identity for rectangle in first] == [rectangle.identity for rectangle in second] and all(
        np.allclose(astuple(one)[1:], astuple(other)[1:], atol=1e-6) for one, other in zip(first, second, strict=True)
    )


def _covers(pixel: Pixel, mask: Mask, reach_px: float) -> bool:
    """Whether the mask comes within reach of the pixel."""
    rows, columns = np.nonzero(mask)
    return bool(np.hypot(columns - pixel[0], rows - pixel[1]).min() < reach_px)


def _a_point_from_above(drive: SyntheticDrive, masklet: Masklet, frame: int, view: BirdsEyeView) -> Pixel:
    """The object's point closest to the middle of its points."""
    points_m = drive.clip.frames[frame].load_sweep().points_m[masklet.masks[frame].lidar_mask, :2]
    nearest = points_m[np.argmin(np.linalg.norm(points_m - np.median(points_m, axis=0), axis=1))]
    u, v = view.to_pixels(nearest)
    return float(u), float(v)


def _view(project: LabellingProject) -> BirdsEyeView:
    return parse_task_data(project.client.tasks(project.project)[0].data).birds_eye


def _identities(masks: dict[Place, dict[str, Mask]]) -> set[str]:
    return {identity for regions in masks.values() for identity in regions}


def _until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)
