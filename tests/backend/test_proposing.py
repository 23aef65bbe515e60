from __future__ import annotations

import pytest

from backend.proposing import propose_regions
from converters.label_config import LabelConfig
from converters.tasks import TaskWindow
from sam4d import build_predictor
from sam4d.simulation import SyntheticDrive


@pytest.mark.parametrize("most_masks", [1, 25])
def test_the_best_objects_are_proposed_up_to_the_masks_that_a_page_bears(small_drive: SyntheticDrive, most_masks: int) -> None:
    clip = small_drive.clip
    config = LabelConfig(("Car", "Pedestrian"), tuple(clip.cameras))
    window = TaskWindow("/data/local-files/?d=street", 0, len(clip))
    everything = propose_regions(window, clip, config, build_predictor(), 10_000)
    assert everything.left_out == 0
    assert len(everything.masklets) > 3

    proposed = propose_regions(window, clip, config, build_predictor(), most_masks)
    count = len(proposed.masklets)
    assert 1 <= count < len(everything.masklets)
    assert [m.object_id for m in proposed.masklets] == [m.object_id for m in everything.masklets[:count]]
    assert proposed.left_out == len(everything.masklets) - count
    brushes = sum(region["type"] == "brushlabels" for region in proposed.regions)
    assert brushes <= most_masks or count == 1
