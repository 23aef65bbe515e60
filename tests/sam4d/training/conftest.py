from __future__ import annotations

import pytest

from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.synthetic_clips import SMALL, synthetic_clips


@pytest.fixture(scope="session")
def small_clip() -> LabelledClip:
    """A simulated drive of 8 frames of 192 x 128 pixels and some 5500 points."""
    return next(iter(synthetic_clips(SMALL)))
