"""What a person paints, draws, relabels and takes back beside the 3D view: it shows there, and outlives the next click."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sam4d.geometry import BoolArray
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.browser.clicking import BEV, MARKS, click_on, view_of
from tests.browser.conftest import LabellingProject
from tests.browser.labelling_page import LabellingPage
from tests.browser.results import labels_of, masks_of, union_of
from tests.browser.viewer_page import ViewerPage

pytestmark = MARKS


def test_undo_takes_back_the_last_thing_seen_also_after_pagers_were_turned(
    viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    """Label Studio forgets all steps whenever an image loads; ours, and brush strokes that a person painted, can still be taken back."""
    click_on(viewer, drive, seen_cars[0])
    answered = labelling.results()
    # The images of frame 3 finish loading after the deletion, as on a slow line.
    viewer.frame.evaluate(
        "() => { const { workspace } = window.sam4d; workspace.showFrame(3); workspace.editor.turnPagers(3); workspace.deleteOnFrame(); }"
    )
    assert viewer.timeline == ["there", "there", "there", "", "there"]
    labelling.wait_until_images_are_loaded(3)
    viewer.press("Control+z")
    assert viewer.timeline == ["there"] * 5
    viewer.press("Control+y")
    assert viewer.timeline == ["there", "there", "there", "", "there"]
    viewer.press("Control+z")

    labelling.pick_label("brush_front", "Truck")
    labelling.pick_tool("front", "brush-tool", smart=False)
    labelling.paint("front", [(300, 330), (380, 345)])
    labelling.unselect()
    painted = labelling.results()
    assert len(painted) == len(answered) + 1
    viewer.show_frame(0)
    labelling.wait_until_images_are_loaded(0)
    labelling.page.set_viewport_size({"width": 1500, "height": 1200})
    viewer.show_frame(3)
    labelling.wait_until_images_are_loaded(3)
    viewer.press("Delete")
    labelling.wait_until_a_draft_is_saved()
    viewer.press("Control+z")
    assert {result["id"] for result in labelling.results()} == {result["id"] for result in painted}, "the deletion, not the stroke"
    viewer.press("Control+z")
    assert {result["id"] for result in labelling.results()} == {result["id"] for result in answered}, "the stroke, nothing else"
    assert viewer.timeline == ["there"] * 5


def test_what_is_painted_on_the_points_seen_from_above_shows_in_the_cloud(
    viewer: ViewerPage, labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    """A stroke of the eraser over the front of the car."""
    click_on(viewer, drive, seen_cars[0])
    count = "() => window.sam4d.workspace.selectedObject.frames.get(0).pointCount"
    before = viewer.frame.evaluate(count)
    u, v = view_of(project).to_pixels(np.array(seen_cars[0].cuboids[0].center_m))
    labelling.page.evaluate(
        "() => { const { annotationStore } = window.Htx; const annotation = annotationStore.selected;"
        " annotation.selectArea([...annotation.regions].find(region => region.cleanId === 'o1-f0-brush_bev')); }"
    )
    labelling.pick_tool(BEV, "eraser", smart=False)
    labelling.paint(BEV, [(u - 12, v - 20), (u + 12, v - 20)])
    viewer.frame.wait_for_function(f"(before) => ({count})() < before", arg=before)
    viewer.picture("erased")
    left = viewer.frame.evaluate(count)
    assert 0.2 * before < left < 0.95 * before
    viewer.press("Control+z")
    assert viewer.frame.evaluate(count) == before
    assert (
        labelling.page.evaluate(
            "() => [...window.Htx.annotationStore.selected.regions].find(region => region.cleanId === 'o1-f0-brush_bev').touches.length"
        )
        == 0
    )


def paint_above(labelling: LabellingPage, camera: str, before: BoolArray) -> tuple[int, slice]:
    """A brush stroke on the first object's mask, far from where it stood; returns the row and columns that are painted for sure."""
    height, width = before.shape
    stroke = [(0.2 * width, 0.15 * height), (0.6 * width, 0.15 * height)]
    row, columns = int(0.15 * height), slice(int(0.25 * width), int(0.55 * width))
    assert not before[row, columns].any()
    labelling.page.evaluate(
        "(id) => { const annotation = window.Htx.annotationStore.selected;"
        " annotation.selectArea([...annotation.regions].find(region => region.cleanId === id)); }",
        f"o1-f0-brush_{camera}",
    )
    labelling.pick_tool(camera, "brush-tool", smart=False)
    labelling.paint(camera, stroke)
    return row, columns


def test_a_stroke_on_a_mask_outlives_the_next_click_in_the_cloud(
    viewer: ViewerPage, labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, seen_cars: list[Masklet], tmp_path: Path
) -> None:
    """Painted with the brush, then clicked at once: drafts keep strokes apart from masks, and come late."""
    car = seen_cars[0]
    camera = max(car.masks[0].camera_masks, key=lambda name: int(car.masks[0].camera_masks[name].sum()))
    click_on(viewer, drive, car)
    before = union_of(masks_of(labelling.results())[camera, 0])
    row, columns = paint_above(labelling, camera, before)
    labelling.unselect()
    click_on(viewer, drive, car)
    viewer.picture("painted-and-clicked")
    assert viewer.listed == [{"number": "1", "label": "Car", "frames": "5/5"}]
    assert union_of(masks_of(labelling.results())[camera, 0])[row, columns].all()
    labelling.submit()
    (exported,) = project.export(tmp_path)
    assert exported.masks[0].camera_masks[camera][row, columns].all()


def test_a_stroke_on_a_mask_outlives_the_next_smart_click_in_an_image(
    viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    """Label Studio asks at once, seconds before it would save the draft: reaching for the tool saves it."""
    car = seen_cars[0]
    camera = max(car.masks[0].camera_masks, key=lambda name: int(car.masks[0].camera_masks[name].sum()))
    labelling.switch_on_auto_annotation()
    click_on(viewer, drive, car)
    exact = car.masks[0].camera_masks[camera]
    before = union_of(masks_of(labelling.results())[camera, 0])
    row, columns = paint_above(labelling, camera, before)
    labelling.pick_label(f"kp_{camera}", "Car")
    labelling.pick_tool(camera, "key-point-tool")
    inside = np.argwhere(before & exact)
    v, u = inside[len(inside) // 2]
    labelling.smart_click(camera, (float(u), float(v)), inside_mask=True)
    viewer.picture("painted-and-smart-clicked")
    assert viewer.listed == [{"number": "1", "label": "Car", "frames": "5/5"}]
    assert union_of(masks_of(labelling.results())[camera, 0])[row, columns].all()


def test_another_label_reaches_all_regions_and_the_export(
    viewer: ViewerPage, labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, seen_cars: list[Masklet], tmp_path: Path
) -> None:
    click_on(viewer, drive, seen_cars[0])
    viewer.relabel(1, "Truck")
    assert viewer.listed == [{"number": "1", "label": "Truck", "frames": "5/5"}]
    viewer.picture("relabelled")
    assert labels_of(labelling.results()) == {"Truck"}
    viewer.press("Control+z")
    assert labels_of(labelling.results()) == {"Car"}
    viewer.press("Control+y")
    viewer.press("Shift+p")
    viewer.wait_until_idle()
    assert labels_of(labelling.results()) == {"Truck"}, "the backend knows of it before any draft does"
    labelling.submit()
    (exported,) = project.export(tmp_path)
    assert exported.label == "Truck"


def test_what_was_drawn_by_hand_is_shown_as_it_will_be_exported(
    viewer: ViewerPage, labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, seen_cars: list[Masklet], tmp_path: Path
) -> None:
    """A rectangle seen from above, and a mask in a camera."""
    car = seen_cars[0]
    u, v = view_of(project).to_pixels(np.array(car.cuboids[0].center_m))
    labelling.pick_label("cuboid_bev", "Truck")  # takes the rectangle's tool up by itself
    labelling.paint(BEV, [(u - 14, v - 28), (u + 14, v + 28)])
    labelling.unselect()
    labelling.show_frame("front", 1)
    labelling.pick_label("brush_front", "Pedestrian")
    labelling.pick_tool("front", "brush-tool", smart=False)
    labelling.paint("front", [(300, 330), (380, 345)])
    labelling.unselect()
    viewer.frame.wait_for_function("() => window.sam4d.workspace.objects.size === 2")
    viewer.show_frame(0)
    viewer.frame.locator("[data-object='1']").click()
    assert viewer.listed == [
        {"number": "1", "label": "Truck", "frames": "1/5"},
        {"number": "2", "label": "Pedestrian", "frames": "1/5"},
    ]
    assert viewer.timeline == ["by-hand", "", "", "", ""]
    shown = viewer.cuboid(0)
    assert shown is not None
    viewer.picture("drawn")
    viewer.press("Shift+p")
    viewer.frame.wait_for_function("() => document.querySelector('.notice').textContent.startsWith('#1 was drawn by hand')")

    viewer.press("w")
    moved = viewer.cuboid(0)
    assert moved is not None
    assert math.dist(moved["center_m"], shown["center_m"]) == pytest.approx(0.05, abs=1e-3)
    labelling.submit()
    exported = {masklet.label: masklet for masklet in project.export(tmp_path)}
    assert set(exported) == {"Truck", "Pedestrian"}
    cuboid = exported["Truck"].cuboids[0]
    assert [*cuboid.center_m, *cuboid.size_lwh_m] == pytest.approx([*moved["center_m"], *moved["size_lwh_m"]], abs=0.02)
    assert math.cos(cuboid.yaw_rad - moved["yaw_rad"]) == pytest.approx(1, abs=1e-4)
    assert exported["Truck"].masks[0].lidar_mask.sum() > 0
    assert exported["Pedestrian"].masks[1].camera_masks["front"].any()
