"""The 3D view in a real Label Studio: what a labeller does there, and what comes of it in the annotation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial import cKDTree

from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.browser.clicking import BEV, MARKS, click_on
from tests.browser.labelling_page import LabellingPage
from tests.browser.results import intersection_over_union, masks_of, rectangles_of, union_of
from tests.browser.viewer_page import ViewerPage

pytestmark = MARKS


def test_a_click_in_the_cloud_gives_masks_in_the_cameras(
    viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    """Masks in the cameras, a cuboid from above, on all frames; the annotation as a whole is not written out for it."""
    car = seen_cars[0]
    viewer.picture("1-opened")
    labelling.page.evaluate(
        """() => {
            window.written = 0;
            const annotation = window.Htx.annotationStore.selected;
            const write = annotation.serializeAnnotation;
            const value = (...given) => { window.written++; return write(...given); };
            Object.defineProperty(annotation, 'serializeAnnotation', { value });
        }"""
    )
    click_on(viewer, drive, car)
    assert labelling.page.evaluate("() => window.written") <= 1, "the draft that Label Studio saves by itself, at the most"
    viewer.picture("2-clicked")
    labelling.picture("3-clicked-seen-by-the-cameras", BEV)

    results = labelling.results()
    masks = masks_of(results)
    for camera, truth in car.masks[0].camera_masks.items():
        if truth.sum() > 500:
            assert intersection_over_union(union_of(masks[camera, 0]), truth) > 0.6, camera
    assert set(rectangles_of(results)) == set(range(5))
    assert {result["type"] for result in results} == {"brushlabels", "rectanglelabels", "number"}
    assert viewer.listed == [{"number": "1", "label": "Car", "frames": "5/5"}]
    assert viewer.timeline == ["there"] * 5
    shown = viewer.cuboid(0)
    assert shown is not None
    assert math.dist(shown["center_m"], car.cuboids[0].center_m) < 1.0


def test_a_negative_click_and_a_second_object(
    viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    car, other = seen_cars[:2]
    click_on(viewer, drive, car)
    points_m = drive.clip.frames[0].load_sweep().points_m[car.masks[0].lidar_mask].astype(np.float64)
    ahead = points_m[np.argmax(points_m[:, 0])]
    before = masks_of(labelling.results())[BEV, 0]
    viewer.click_point([float(value) for value in ahead], negative=True)
    after = masks_of(labelling.results())[BEV, 0]
    assert len(before) == len(after) == 1, "the same object"
    assert 0 < union_of(after).sum() < union_of(before).sum()

    viewer.choose_label("Truck")
    click_on(viewer, drive, other)
    viewer.picture("two-objects")
    assert sorted((row["number"], row["label"]) for row in viewer.listed) == [("1", "Car"), ("2", "Truck")]
    assert np.array_equal(
        union_of({key: mask for key, mask in masks_of(labelling.results())[BEV, 0].items() if key in after}), union_of(after)
    )


def test_a_box_begins_an_object(viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]) -> None:
    car = seen_cars[0]
    viewer.look_from_above()
    viewer.press("b")
    corners = car.cuboids[0].corners_m()
    viewer.drag_box(corners.min(axis=0) - 0.2, corners.max(axis=0) + 0.2)
    viewer.picture("boxed")
    masks = masks_of(labelling.results())
    camera = max(car.masks[0].camera_masks, key=lambda name: int(car.masks[0].camera_masks[name].sum()))
    assert intersection_over_union(union_of(masks[camera, 0]), car.masks[0].camera_masks[camera]) > 0.6


def test_a_box_in_a_cameras_view_is_a_box_in_its_image(
    viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    car = seen_cars[0]
    camera = max(car.masks[0].camera_masks, key=lambda name: int(car.masks[0].camera_masks[name].sum()))
    truth = car.masks[0].camera_masks[camera]
    rows, columns = np.nonzero(truth)
    box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    viewer.look_through(camera)
    viewer.press("b")
    asked = viewer.drag_image_box(camera, box)
    viewer.picture("boxed")
    assert asked["camera"] == camera
    assert asked["box_px"] == pytest.approx(box, abs=1.5), "to a pixel of the screen"
    assert intersection_over_union(union_of(masks_of(labelling.results())[camera, 0]), truth) > 0.6
    assert viewer.timeline == ["there"] * 5


def test_list_timeline_and_pagers_agree(
    viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    click_on(viewer, drive, seen_cars[0])
    viewer.press("ArrowRight")
    viewer.press("ArrowRight")
    viewer.frame.wait_for_function("() => window.sam4d.viewport.shownFrame === 2")
    viewer.wait_for_pagers(2)
    labelling.show_frame("front", 3)
    viewer.frame.wait_for_function("() => window.sam4d.viewport.shownFrame === 3")
    viewer.wait_for_pagers(3)
    viewer.press("Home")
    viewer.press("Space")
    viewer.frame.wait_for_function("() => window.sam4d.viewport.shownFrame === 2")
    viewer.press("Space")

    viewer.show_frame(3)
    viewer.press("Delete")
    viewer.frame.wait_for_function("() => !window.sam4d.workspace.selectedObject.frames.has(3)")
    assert viewer.listed == [{"number": "1", "label": "Car", "frames": "4/5"}]
    assert viewer.timeline == ["there", "there", "there", "", "there"]
    assert 3 not in rectangles_of(labelling.results())
    viewer.press("Control+z")
    viewer.frame.wait_for_function("() => window.sam4d.workspace.selectedObject.frames.has(3)")
    viewer.press("Shift+Delete")
    viewer.frame.wait_for_function("() => window.sam4d.workspace.objects.size === 0")
    assert viewer.listed == []
    assert labelling.results() == []

    click_on(viewer, drive, seen_cars[0])
    assert [row["number"] for row in viewer.listed] == ["2"], "the backend knows of the deletion before any draft does"
    assert viewer.timeline == ["there"] * 5


def test_the_sweeps_of_all_frames_lie_over_each_other(
    viewer: ViewerPage, labelling: LabellingPage, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    click_on(viewer, drive, seen_cars[0])
    viewer.press("m")
    merged = "() => [window.sam4d.viewport.points.mergedFrames.sort().join(), window.sam4d.viewport.merged.pointCount]"
    viewer.frame.wait_for_function(f"() => ({merged})()[0] === '1,2,3,4'")
    viewer.picture("merged")
    count = len(drive.clip.frames[0].load_sweep().points_m)
    assert viewer.frame.evaluate(merged)[1] > 2 * count
    laid = np.array(
        viewer.frame.evaluate(
            "() => { const { geometry, matrix } = window.sam4d.viewport.points.merged.get(3);"
            " return [...geometry.attributes.position.clone().applyMatrix4(matrix).array]; }"
        )
    ).reshape(-1, 3)
    laid = laid[np.isfinite(laid).all(axis=1)]
    points_m = drive.clip.frames[3].load_sweep().points_m.astype(np.float64)
    wanted = drive.clip.lidar_SE3_lidar(0, 3).apply(points_m[np.isfinite(points_m).all(axis=1)])
    distances_m, _ = cKDTree(wanted).query(laid[::50])
    assert np.max(distances_m) < 0.001

    colours = "() => [...window.sam4d.viewport.points.merged.get(1).geometry.attributes.shade.array].join()"
    before = viewer.frame.evaluate(colours)
    viewer.press("Shift+Delete")
    assert viewer.frame.evaluate(colours) != before, "the object's colour is gone from the other sweeps, too"
    viewer.show_frame(3)
    viewer.frame.wait_for_function(f"() => ({merged})()[0] === '0,1,2,4'")
    viewer.press("m")
    viewer.frame.wait_for_function(f"() => ({merged})()[1] === 0")


def test_propagation_can_be_stopped(viewer: ViewerPage, drive: SyntheticDrive, seen_cars: list[Masklet]) -> None:
    viewer.press("a")
    click_on(viewer, drive, seen_cars[0])
    viewer.show_frame(0)
    viewer.frame.evaluate(
        "() => { const { workspace } = window.sam4d; const { requests } = workspace; window.seen = []; let asked = 0;"
        " workspace.onChange(change => { if (change !== 'work' || !requests.work) return; window.seen.push(requests.work.total);"
        " if (++asked === 2) requests.work.cancel(); }); }"
    )
    viewer.press("Shift+p")
    viewer.frame.wait_for_function("() => window.seen.length > 0")
    viewer.wait_until_idle()
    assert set(viewer.frame.evaluate("() => window.seen")) == {4}
    viewer.press("Shift+ArrowRight")
    viewer.wait_until_idle()
    viewer.frame.wait_for_function("() => window.sam4d.workspace.selectedObject.frames.size === 5")
