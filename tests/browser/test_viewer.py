"""The 3D view in a real Label Studio: what a labeller does there, what comes of it in the annotation and the export, and what is said
when something is missing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext
from scipy.spatial import cKDTree

from backend.viewer_page import PAGE
from converters.tasks import parse_task_data
from sam4d.geometry import BirdsEyeView
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.browser.conftest import BackendServer, LabellingProject
from tests.browser.labelling_page import LabellingPage
from tests.browser.results import intersection_over_union, labels_of, masks_of, rectangles_of, union_of
from tests.browser.viewer_page import ViewerPage
from tests.label_studio_server import LabelStudioServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("label-studio"),
    pytest.mark.skipif(not PAGE.is_file(), reason="the 3D view is not built (`make backend/viewer/dist/index.html`)"),
]

BEV = "bev"


@pytest.fixture(scope="session")
def seen_cars(drive: SyntheticDrive) -> list[Masklet]:
    """Cars on all frames, those with the most points first."""
    shown = [m for m in drive.masklets if m.label == "Car" and all(k in m.masks and m.masks[k].lidar_mask.sum() > 80 for k in range(5))]
    seen = [m for m in shown if max(int(mask.sum()) for mask in m.masks[0].camera_masks.values()) > 500]
    return sorted(seen, key=lambda masklet: -int(masklet.masks[0].lidar_mask.sum()))


@pytest.fixture
def viewer(labelling: LabellingPage, project: LabellingProject, pictures: Path) -> ViewerPage:
    (task_id,) = project.task_ids
    labelling.open_task(project.project.project_id, task_id)
    viewer = ViewerPage(labelling.page, pictures)
    viewer.wait_until_editable()
    return viewer


def a_point(drive: SyntheticDrive, masklet: Masklet, frame: int = 0) -> list[float]:
    """The object's point with the fewest others above it: what a view from above shows."""
    points_m = drive.clip.frames[frame].load_sweep().points_m[masklet.masks[frame].lidar_mask].astype(np.float64)
    return [float(value) for value in points_m[np.argmax(points_m[:, 2])]]


def click_on(viewer: ViewerPage, drive: SyntheticDrive, masklet: Masklet, **more: Any) -> None:
    viewer.look_from_above()
    viewer.press("c")
    viewer.click_point(a_point(drive, masklet), **more)


def view_of(project: LabellingProject) -> BirdsEyeView:
    return parse_task_data(project.client.tasks(project.project)[0].data).birds_eye


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


def test_a_dragged_cuboid_arrives_in_the_export(
    viewer: ViewerPage,
    labelling: LabellingPage,
    project: LabellingProject,
    drive: SyntheticDrive,
    seen_cars: list[Masklet],
    tmp_path: Path,
) -> None:
    """Moved, turned, resized and lifted on one frame; submitted; exported; taken up again by the page that loads anew."""
    click_on(viewer, drive, seen_cars[0])
    viewer.show_frame(2)
    before = viewer.cuboid(2)
    assert before is not None
    scale = viewer.pixels_per_metre("top")
    viewer.drag_handle("top", "move", (12, -18))
    moved = viewer.cuboid(2)
    assert moved is not None
    cosine, sine = math.cos(before["yaw_rad"]), math.sin(before["yaw_rad"])
    right, forward = 12 / scale, 18 / scale
    wanted = [before["center_m"][0] + cosine * forward + sine * right, before["center_m"][1] + sine * forward - cosine * right]
    assert moved["center_m"][:2] == pytest.approx(wanted, abs=0.02)

    viewer.drag_handle("top", "turn", (14, 0))
    viewer.drag_handle("side", "1 0", (10, 0))
    viewer.press("PageUp")
    edited = viewer.cuboid(2)
    assert edited is not None
    assert edited["yaw_rad"] < moved["yaw_rad"] - 0.05, "clockwise"
    assert edited["size_lwh_m"][0] > moved["size_lwh_m"][0] + 0.1
    assert edited["center_m"][2] == pytest.approx(moved["center_m"][2] + 0.05)
    assert viewer.timeline == ["there", "there", "by-hand", "there", "there"]
    viewer.picture("edited")
    labelling.picture("edited-seen-from-above", BEV)

    submitted = labelling.submit()
    (rectangle,) = rectangles_of(submitted["result"])[2]
    view = view_of(project)
    assert rectangle.center == pytest.approx(view.to_pixels(np.array(edited["center_m"])), abs=0.05)
    (exported,) = project.export(tmp_path)
    cuboid = exported.cuboids[2]
    assert [*cuboid.center_m, *cuboid.size_lwh_m, cuboid.yaw_rad] == pytest.approx(
        [*edited["center_m"], *edited["size_lwh_m"], edited["yaw_rad"]], abs=1e-6
    )
    assert exported.masks[2].score == 1.0
    assert math.dist(exported.cuboids[1].center_m, seen_cars[0].cuboids[1].center_m) < 1.0

    again = ViewerPage(labelling.page, tmp_path)
    again.wait_until_editable()
    assert again.shown_frame == 2, "the view is where it was before the submission"
    again.frame.locator("[data-object='1']").click()
    assert again.cuboid(2) == edited


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


def test_a_stroke_on_a_mask_outlives_the_next_click_in_the_cloud(
    viewer: ViewerPage, labelling: LabellingPage, project: LabellingProject, drive: SyntheticDrive, seen_cars: list[Masklet], tmp_path: Path
) -> None:
    """Painted with the brush, then clicked at once: drafts keep strokes apart from masks, and come late."""
    car = seen_cars[0]
    camera = max(car.masks[0].camera_masks, key=lambda name: int(car.masks[0].camera_masks[name].sum()))
    click_on(viewer, drive, car)
    before = union_of(masks_of(labelling.results())[camera, 0])
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
    height, width = before.shape
    row, columns = int(0.15 * height), slice(int(0.25 * width), int(0.55 * width))
    assert not before[row, columns].any()
    labelling.page.evaluate(
        "(id) => { const annotation = window.Htx.annotationStore.selected;"
        " annotation.selectArea([...annotation.regions].find(region => region.cleanId === id)); }",
        f"o1-f0-brush_{camera}",
    )
    labelling.pick_tool(camera, "brush-tool", smart=False)
    labelling.paint(camera, [(0.2 * width, 0.15 * height), (0.6 * width, 0.15 * height)])
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


def test_key_frames_are_copied_interpolated_and_fitted_again(viewer: ViewerPage, drive: SyntheticDrive, seen_cars: list[Masklet]) -> None:
    car = seen_cars[0]
    viewer.press("a")  # follow: off
    click_on(viewer, drive, car)
    assert len(viewer.timeline) == 5
    viewer.show_frame(0)
    fitted = viewer.cuboid(0)
    viewer.press("PageUp")
    viewer.press("Shift+c")
    viewer.wait_until_idle()
    viewer.frame.wait_for_function("() => window.sam4d.viewport.shownFrame === 1")
    assert viewer.timeline[:2] == ["by-hand", "by-hand"]
    copied, first = viewer.cuboid(1), viewer.cuboid(0)
    assert copied is not None
    assert first is not None
    ego = drive.clip.lidar_SE3_lidar(1, 0)
    assert copied["center_m"] == pytest.approx(list(ego.apply(np.array([first["center_m"]]))[0]), abs=0.01)

    viewer.frame.evaluate(
        "() => { const { workspace } = window.sam4d; const cuboid = workspace.selectedObject.frames.get(1).cuboid;"
        " return workspace.cuboids.set(workspace.selected, new Map([[4, cuboid]])); }"
    )
    viewer.show_frame(2)
    viewer.press("i")
    viewer.wait_until_idle()
    viewer.frame.wait_for_function("() => window.sam4d.workspace.selectedObject.frames.size === 5")
    assert viewer.timeline == ["by-hand"] * 5
    viewer.picture("interpolated")

    viewer.show_frame(0)
    viewer.press("Shift+f")
    viewer.wait_until_idle()
    again = viewer.cuboid(0)
    assert again is not None
    assert fitted is not None
    assert again["center_m"][2] == pytest.approx(fitted["center_m"][2], abs=0.03)
    assert viewer.timeline[0] == "there"


def test_propagation_can_be_stopped(viewer: ViewerPage, drive: SyntheticDrive, seen_cars: list[Masklet]) -> None:
    viewer.press("a")
    click_on(viewer, drive, seen_cars[0])
    viewer.show_frame(0)
    viewer.frame.evaluate(
        "() => { const { workspace } = window.sam4d; window.seen = []; let asked = 0;"
        " workspace.onChange(change => { if (change !== 'work' || !workspace.work) return; window.seen.push(workspace.work.total);"
        " if (++asked > 1) workspace.work.cancel(); }); }"
    )
    viewer.press("Shift+p")
    viewer.frame.wait_for_function("() => window.seen.length > 0")
    viewer.wait_until_idle()
    assert set(viewer.frame.evaluate("() => window.seen")) == {4}
    viewer.press("Shift+ArrowRight")
    viewer.wait_until_idle()
    viewer.frame.wait_for_function("() => window.sam4d.workspace.selectedObject.frames.size === 5")


def test_while_the_backend_is_away_nothing_is_lost(
    viewer: ViewerPage, labelling: LabellingPage, backend: BackendServer, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    click_on(viewer, drive, seen_cars[0])
    backend.stop()
    viewer.show_frame(1)
    viewer.press("PageUp")
    edited = viewer.cuboid(1)
    click_on(viewer, drive, seen_cars[1])
    assert "backend does not answer" in viewer.notice
    viewer.picture("backend-away")
    assert viewer.cuboid(1) == edited
    backend.start()
    viewer.show_frame(0)
    click_on(viewer, drive, seen_cars[1])
    assert len(viewer.listed) == 2
    viewer.frame.locator("[data-object='1']").click()
    assert viewer.cuboid(1) == edited
    labelling.errors.clear()  # the browser's own lines about requests that failed


def test_after_a_logout_and_with_a_sweep_that_is_gone_it_says_so(
    viewer: ViewerPage,
    labelling: LabellingPage,
    label_studio: LabelStudioServer,
    drive: SyntheticDrive,
    seen_cars: list[Masklet],
) -> None:
    page = labelling.page
    page.route("**/clouds/000004.s4dc", lambda route: route.fulfill(status=404))
    viewer.frame.locator("[data-frame='4']").click()
    viewer.frame.wait_for_function("() => !document.querySelector('.notice').hidden")
    assert viewer.notice.startswith("Frame 5 cannot be shown. Label Studio answered 404")
    viewer.show_frame(0)

    page.context.clear_cookies()
    viewer.look_from_above()
    viewer.press("c")
    viewer.click_without_waiting(a_point(drive, seen_cars[0]))
    viewer.frame.wait_for_function("() => document.querySelector('.notice').textContent.startsWith('You are logged out')")
    viewer.picture("logged-out")
    labelling.errors.clear()


def test_without_label_studio_around_it_the_drive_can_be_looked_at(
    context: BrowserContext, project: LabellingProject, label_studio: LabelStudioServer, pictures: Path
) -> None:
    html = str(project.client.tasks(project.project)[0].data["viewer_html"])
    address = html.split('src="')[1].split('"')[0].replace("&amp;", "&")
    page = context.new_page()
    page.goto(label_studio.url + address)
    viewer = ViewerPage(page, pictures)
    assert "can be looked at, not labelled" in (page.get_by_role("alert").text_content() or "")
    viewer.press("ArrowRight")
    viewer.frame.wait_for_function("() => window.sam4d.viewport.shownFrame === 1")
    viewer.picture("alone")

    page.goto(label_studio.url + address.split("&clip")[0])
    assert "inside Label Studio" in page.locator(".sentence").inner_text()

    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(label_studio.url + address)
    assert "WebGL" in page.locator(".sentence").inner_text()
    page.screenshot(path=pictures / "without-webgl.png")
