from __future__ import annotations

from dataclasses import replace

import numpy as np

from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.synthetic_clips import SMALL, SyntheticRecipe, synthetic_clips

TINIEST = SyntheticRecipe(seeds=(3, 4), frame_count=1, image_size_px=(32, 24), beam_count=4, azimuth_count=60)


def test_a_clip_per_seed_and_the_same_ones_again() -> None:
    told: list[tuple[int, int]] = []
    first = list(synthetic_clips(TINIEST, lambda done, total: told.append((done, total))))
    again = list(synthetic_clips(replace(TINIEST, seeds=(4,))))
    assert told == [(1, 2), (2, 2)]
    assert [each.clip.name for each in first] == ["synthetic_0003", "synthetic_0004"]
    np.testing.assert_array_equal(first[1].clip.frames[0].load_sweep().points_m, again[0].clip.frames[0].load_sweep().points_m)
    np.testing.assert_array_equal(first[1].clip.frames[0].load_images["front"](), again[0].clip.frames[0].load_images["front"]())


def test_everything_is_labelled(small_clip: LabelledClip) -> None:
    assert small_clip.labelled_frames == tuple(range(SMALL.frame_count))
    assert small_clip.labelled_cameras == ("front",)
    assert len(small_clip.masklets) > 6
