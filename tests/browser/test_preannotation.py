"""Objects that were there before anybody clicked: shown, submitted untouched and exported exactly as the engine gave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.preannotate import preannotate
from backend.proposing import WindowProposer, propose_regions
from converters.label_config import parse_label_config
from converters.tasks import parse_task_data
from sam4d.predictor import build_predictor
from tests.browser.conftest import LabellingProject
from tests.browser.labelling_page import LabellingPage
from tests.browser.results import masks_of, rectangles_of

MASKS_PER_TASK = 60

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("label-studio")]


@pytest.mark.parametrize("project", [2], indirect=True, ids=["two-frames-per-task"])
def test_prediction_submitted_untouched_is_exported_exactly(labelling: LabellingPage, project: LabellingProject, tmp_path: Path) -> None:
    predictor = build_predictor()
    outcomes = list(
        preannotate(project.client, project.project, WindowProposer(predictor), project.media.open_clip, masks_per_task=MASKS_PER_TASK)
    )
    assert [outcome.failure for outcome in outcomes] == [None, None, None]
    task = project.client.tasks(project.project)[0]
    window = parse_task_data(task.data)
    clip = project.media.open_clip(window.sequence).window(window.first_frame, window.frame_count)
    proposed = propose_regions(window, clip, parse_label_config(project.project.label_config), predictor, MASKS_PER_TASK)
    masklets, regions = proposed.masklets, proposed.regions
    assert len(masklets) >= 5
    assert outcomes[0].objects == len(masklets)

    labelling.open_task(project.project.project_id, task.task_id)
    labelling.picture("1-predictions")
    shown = labelling.results()
    assert set(masks_of(shown)) == set(masks_of(regions))
    assert {frame: len(rectangles) for frame, rectangles in rectangles_of(shown).items()} == {
        frame: len(rectangles) for frame, rectangles in rectangles_of(regions).items()
    }
    labelling.submit()
    labelling.picture("2-submitted")

    exported = project.export(tmp_path)
    assert len(exported) == len(masklets)
    for expected, found in zip(masklets, sorted(exported, key=lambda masklet: masklet.object_id), strict=True):
        assert found.label == expected.label
        assert set(found.cuboids) == set(expected.cuboids)
        for frame, cuboid in expected.cuboids.items():
            assert found.cuboids[frame].center_m == pytest.approx(cuboid.center_m, abs=1e-3)
            assert found.cuboids[frame].size_lwh_m == pytest.approx(cuboid.size_lwh_m, abs=1e-3)
            turn = np.angle(np.exp(1j * (found.cuboids[frame].yaw_rad - cuboid.yaw_rad)))
            assert abs(turn) * max(cuboid.size_lwh_m) / 2 < 1e-3
        for frame, masks in expected.masks.items():
            assert np.array_equal(found.masks[frame].lidar_mask, masks.lidar_mask)
            for camera, mask in masks.camera_masks.items():
                assert np.array_equal(found.masks[frame].camera_masks[camera], mask)
