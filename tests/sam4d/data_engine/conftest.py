"""A street on which things move, small enough to be reconstructed in seconds."""

from __future__ import annotations

import pytest

from sam4d.simulation import SyntheticDrive, simulate_drive


@pytest.fixture(scope="session")
def street() -> SyntheticDrive:
    """10 frames, 2 cameras, 32 beams, about 25 thousand points a sweep."""
    return simulate_drive(
        seed=11, frame_count=10, camera_names=("front_left", "front"), image_size_px=(480, 300), beam_count=32, azimuth_count=900
    )
