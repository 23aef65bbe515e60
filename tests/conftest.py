"""What every test may lean on: deterministic properties, and the real recordings where they are at hand."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

from sam4d.simulation import SyntheticDrive, simulate_drive

pytest_plugins = ["tests.label_studio_server"]

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("repeatable")

SHARED_DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real recordings, which lie beside a developer's checkout and are not part of the repository."""
    folder = SHARED_DATA.resolve()
    if not folder.is_dir():
        pytest.skip("the real recordings are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def small_drive() -> SyntheticDrive:
    """A synthetic drive that is quick to make: 4 frames, 2 small cameras, about 9 thousand points a sweep, exact truth."""
    return simulate_drive(
        seed=3, frame_count=4, camera_names=("front_left", "front"), image_size_px=(320, 200), beam_count=32, azimuth_count=400
    )
