"""The benchmarks measure what they say; what they measured is never judged here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import line
from benchmarks.drive import Drive, lengthened, there_and_back, with_cameras
from benchmarks.figure import Figure, growth
from benchmarks.parts import measured
from converters.exports import write_labels, write_sequence
from sam4d.simulation import SyntheticDrive


def test_growth_is_the_exponent_of_the_time() -> None:
    linear = growth("frames", {10: 1.0, 20: 2.0, 40: 4.0}, "frames")
    assert linear.value == pytest.approx(1.0)
    assert linear.is_kept
    square = growth("frames", {10: 1.0, 20: 4.0, 40: 16.0}, "frames")
    assert square.value == pytest.approx(2.0)
    assert not square.is_kept
    assert line(square).endswith("wanted at most 1.1: NO")


def test_what_is_wanted_is_looked_at_on_both_sides() -> None:
    assert Figure("speed", 5.0, "times", at_least=5.0).is_kept
    assert not Figure("speed", 4.9, "times", at_least=5.0).is_kept
    assert Figure("speed", 4.9, "times").is_kept


def test_a_drive_is_lengthened_without_a_jump(small_drive: SyntheticDrive) -> None:
    assert [there_and_back(index, 4) for index in range(8)] == [0, 1, 2, 3, 2, 1, 0, 1]
    assert [there_and_back(index, 1) for index in range(3)] == [0, 0, 0]
    clip = lengthened(small_drive.clip, 9)
    places = [frame.world_SE3_lidar.translation_m for frame in clip.frames if frame.world_SE3_lidar is not None]
    assert len(places) == len(clip) == 9
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).max() < 1.0
    times = [frame.timestamp_ns or 0 for frame in clip.frames]
    assert times == sorted(set(times))
    assert list(with_cameras(clip, ["front"]).frames[8].load_images) == ["front"]


@pytest.mark.parametrize("part", ["clicks", "prewarm", "objects", "birds-eye", "import", "export"])
def test_parts_measure_any_drive(part: str, small_drive: SyntheticDrive, tmp_path: Path) -> None:
    write_sequence(small_drive.clip, tmp_path / "drive")
    write_labels(small_drive.clip, small_drive.masklets, tmp_path / "drive")
    figures = measured(part, Drive(tmp_path / "drive", quick=True))
    assert all(np.isfinite(figure.value) for figure in figures)
    assert all(figure.value > 0 for figure in figures if figure.unit in ("s", "ms", "MB", "kB", "1/s"))
    assert figures[-1].name == f"peak memory of this part ({part})"
