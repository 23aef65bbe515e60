"""The reconstructed scene in the 3D view of a real Label Studio: under the sweep, in place on every frame, gone when switched off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from backend.derived_files import VIEWER_CLIP
from backend.placed_scenes import SCENES, place_scene
from converters.scene_ply import object_rgb
from converters.tasks import parse_task_data
from sam4d.data_engine.bodies import Body
from sam4d.data_engine.fusion import FusedObject
from sam4d.data_engine.reconstruction import reconstruct
from sam4d.data_engine.scene import voxel_scene
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet, VoxelScene
from tests.browser.clicking import MARKS
from tests.browser.conftest import LabellingProject
from tests.browser.labelling_page import LabellingPage
from tests.browser.viewer_page import ViewerPage
from tests.label_studio_server import LabelStudioServer

pytestmark = MARKS

VOXELS = "() => window.sam4d.viewport.scene.voxelCount"
SHOWN = "() => window.sam4d.workspace.settings.scene"
# Each part that is there: its middles in the LiDAR frame of the frame in view.
PLACES = """() => window.sam4d.viewport.scene.points.shown.filter(part => part.visible).map(part =>
    [...part.geometry.attributes.position.clone().applyMatrix4(part.matrix).array])"""
# What the screen shows, as "red green blue" -> pixels.
COLOURS = """() => {
    const { stage } = window.sam4d;
    stage.drawNow();
    const gl = stage.renderer.getContext();
    const [wide, high] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    const pixels = new Uint8Array(4 * wide * high);
    gl.readPixels(0, 0, wide, high, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    const counts = {};
    for (let k = 0; k < pixels.length; k += 4) {
        const colour = pixels.subarray(k, k + 3).join(" ");
        counts[colour] = (counts[colour] ?? 0) + 1;
    }
    return counts;
}"""


@pytest.fixture(scope="session")
def scene(drive: SyntheticDrive, seen_cars: list[Masklet]) -> VoxelScene:
    """Of the drive's exact cuboids; its objects: a car that is seen well, and all that moves."""
    made = reconstruct(drive.clip, [Body.of(masklet) for masklet in drive.masklets])
    car = seen_cars[0]
    hit = [
        made.voxels_of_points(frame, drive.clip.frames[frame].load_sweep().points_m)[masks.lidar_mask] for frame, masks in car.masks.items()
    ]
    voxels = np.unique(np.concatenate(hit))
    own = FusedObject(voxels[voxels >= 0], (), "Car", 1.0)
    bodies = [np.setdiff1d(np.arange(len(made))[made.part(index + 1)], own.voxels) for index in range(len(made.bodies))]
    return voxel_scene(made, [own, *(FusedObject(body, (), "Truck", 0.9) for body in bodies if len(body))])


@pytest.fixture
def data_root(label_studio: LabelStudioServer, project: LabellingProject) -> Iterator[Path]:
    """Other tests' projects show the same drive: they find it without a scene."""
    descriptions = {file: file.read_bytes() for file in (label_studio.data_root / "derived").rglob(VIEWER_CLIP)}
    yield label_studio.data_root
    for file, content in descriptions.items():
        file.write_bytes(content)
        shutil.rmtree(file.parent / SCENES, ignore_errors=True)


def show_placed(labelling: LabellingPage, project: LabellingProject, pictures: Path) -> ViewerPage:
    labelling.open_task(project.project.project_id, project.task_ids[0])
    viewer = ViewerPage(labelling.page, pictures)
    viewer.wait_until_editable()
    return viewer


def assert_drawn(viewer: ViewerPage, scene: VoxelScene, drive: SyntheticDrive, frame: int) -> None:
    """Every voxel that is there on the frame is drawn at its place, and no other."""
    pose = drive.clip.frames[frame].world_SE3_lidar
    assert pose is not None
    wanted_m = pose.inverse().apply(scene.at(frame)[0])
    drawn_m = np.concatenate([np.array(part).reshape(-1, 3) for part in viewer.frame.evaluate(PLACES)])
    assert len(drawn_m) == len(wanted_m)
    for some_m, others_m in ((drawn_m, wanted_m), (wanted_m, drawn_m)):
        distances_m, _ = cKDTree(others_m).query(some_m)
        assert np.max(distances_m) < 0.001


def pixels_of(colours: dict[str, int], rgb: tuple[int, ...]) -> int:
    """Pixels of a colour as the scene is drawn, darker than the sweep."""
    wanted = 0.6 * np.array(rgb)
    return sum(count for text, count in colours.items() if np.abs(np.array(text.split(), dtype=float) - wanted).max() <= 2)


def test_the_scene_lies_under_the_sweep_on_every_frame(
    labelling: LabellingPage,
    project: LabellingProject,
    data_root: Path,
    drive: SyntheticDrive,
    scene: VoxelScene,
    pictures: Path,
) -> None:
    assert place_scene(data_root, parse_task_data(project.client.tasks(project.project)[0].data), scene)
    assert scene.moving
    viewer = show_placed(labelling, project, pictures)
    viewer.press("g")
    before = viewer.frame.evaluate(COLOURS)
    assert pixels_of(before, object_rgb(1)) < 20
    viewer.press("g")
    viewer.picture("1-without")
    assert viewer.frame.evaluate(VOXELS) == 0, "nothing is fetched before it is wanted"

    viewer.press("u")
    viewer.frame.wait_for_function(f"() => ({VOXELS})() > 0")
    assert viewer.frame.evaluate(VOXELS) == len(scene)
    for frame in (0, 3):
        viewer.show_frame(frame)
        assert_drawn(viewer, scene, drive, frame)
        viewer.picture(f"2-frame-{frame}")
    viewer.show_frame(0)
    viewer.press("g")
    colours = viewer.frame.evaluate(COLOURS)
    assert pixels_of(colours, object_rgb(1)) > 200, "the car in the colour of its object"
    viewer.picture("3-no-ground")
    viewer.press("g")
    viewer.look_from_above()
    viewer.picture("4-from-above")
    viewer.press("o")
    viewer.press("o")
    assert viewer.frame.evaluate("() => window.sam4d.workspace.settings.colour") == "height"
    assert pixels_of(viewer.frame.evaluate(COLOURS), object_rgb(1)) < 20
    viewer.picture("5-by-height")

    viewer.frame.get_by_role("button", name="Scene", exact=True).click()
    viewer.frame.wait_for_function(f"() => ({VOXELS})() === 0")
    assert viewer.frame.evaluate(PLACES) == []
    assert viewer.notice == ""


def test_without_a_scene_the_switch_says_how_to_make_one(viewer: ViewerPage) -> None:
    switch = viewer.frame.get_by_role("button", name="Scene", exact=True)
    assert switch.is_disabled()
    assert "sam4d preannotate" in (switch.get_attribute("title") or "")
    viewer.press("u")
    assert "no reconstructed scene" in viewer.notice
    assert viewer.frame.evaluate(SHOWN) is False
    viewer.picture("no-scene")


def test_a_broken_scene_says_so_and_a_mended_one_is_shown(
    labelling: LabellingPage, project: LabellingProject, data_root: Path, scene: VoxelScene, pictures: Path
) -> None:
    window = parse_task_data(project.client.tasks(project.project)[0].data)
    assert place_scene(data_root, window, scene)
    (placed,) = (data_root / "derived").rglob(f"{SCENES}/*.s4ds")
    whole = placed.read_bytes()
    placed.write_bytes(whole[:-100])
    viewer = show_placed(labelling, project, pictures)
    viewer.press("u")
    viewer.frame.wait_for_function("() => !document.querySelector('.notice').hidden")
    assert viewer.notice == "The scene cannot be shown: the file ends early"
    placed.write_bytes(whole)
    viewer.press("u")
    viewer.press("u")
    viewer.frame.wait_for_function(f"() => ({VOXELS})() === {len(scene)}")
