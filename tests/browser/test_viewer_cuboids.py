"""Cuboids in the 3D view: dragged, copied, interpolated, fitted again; what of it arrives in the export."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.browser.clicking import BEV, MARKS, click_on, view_of
from tests.browser.conftest import LabellingProject
from tests.browser.labelling_page import LabellingPage
from tests.browser.results import rectangles_of
from tests.browser.viewer_page import ViewerPage

pytestmark = MARKS


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
    viewer.frame.wait_for_function("() => !document.querySelector('.cell').className.includes('by-hand')")
    viewer.wait_until_idle()
    again = viewer.cuboid(0)
    assert again is not None
    assert fitted is not None
    assert again["center_m"][2] == pytest.approx(fitted["center_m"][2], abs=0.03)
    assert viewer.timeline[0] == "there"
