"""What the tests of the 3D view share: when they run, and clicks on the objects of the synthetic drive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.viewer_page import PAGE
from converters.tasks import parse_task_data
from sam4d.geometry import BirdsEyeView
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.browser.conftest import LabellingProject
from tests.browser.viewer_page import ViewerPage

BEV = "bev"

MARKS = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("label-studio"),
    pytest.mark.skipif(not PAGE.is_file(), reason="the 3D view is not built (`make backend/viewer/dist/index.html`)"),
]


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
