from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.birds_eye import render_birds_eye, render_placeholder
from converters.columns import pixel_indices
from converters.sequences import open_sequence
from sam4d.geometry import Axis, BirdsEyeView
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Sweep, UInt8Array
from tests.converters.tiny_task import VIEW, car_points, tiny_sweep


def brightness(image: UInt8Array) -> NDArray[np.int64]:
    return np.asarray(image.astype(np.int64).sum(axis=2), dtype=np.int64)


def test_what_stands_is_brighter_and_of_another_colour_than_the_road() -> None:
    image = render_birds_eye(tiny_sweep(), VIEW)
    assert image.shape == (200, 200, 3)
    assert image.dtype == np.uint8
    pixels, inside = pixel_indices(tiny_sweep().points_m, VIEW)
    car, ground = pixels[car_points()], pixels[inside & ~car_points() & (np.nan_to_num(tiny_sweep().points_m[:, 0]) < -5)]
    assert brightness(image)[car[:, 1], car[:, 0]].mean() > 1.5 * brightness(image)[ground[:, 1], ground[:, 0]].mean()
    saturation = image.max(axis=2).astype(np.int64) - image.min(axis=2)
    assert saturation[car[:, 1], car[:, 0]].mean() > 2 * saturation[ground[:, 1], ground[:, 0]].mean()


@pytest.mark.parametrize(("forward", "ahead"), [("+x", (8.0, 1.0)), ("-x", (-8.0, -1.0)), ("+y", (-1.0, 8.0)), ("-y", (1.0, -8.0))])
def test_forward_is_up_and_left_is_left(forward: Axis, ahead: tuple[float, float]) -> None:
    points_m = np.array([(*ahead, 1.0)] * 3, dtype=np.float32)
    view = BirdsEyeView(10.0, 0.1, forward)
    empty = render_birds_eye(Sweep(np.zeros((0, 3), dtype=np.float32)), view)
    rows, columns = np.nonzero((render_birds_eye(Sweep(points_m), view) != empty).any(axis=2))
    # 8 m ahead and 1 m to the left of the middle, in pixels of 0.1 m.
    assert abs(rows.mean() - 20) <= 1
    assert abs(columns.mean() - 90) <= 1


def test_intensity_is_brightness_whatever_its_range() -> None:
    sweep = tiny_sweep()
    dim_and_bright = np.where(sweep.points_m[:, 1] > 0, 1.0, 0.1).astype(np.float32)
    small = render_birds_eye(Sweep(sweep.points_m, dim_and_bright), VIEW)
    assert (small == render_birds_eye(Sweep(sweep.points_m, dim_and_bright * 255), VIEW)).all()
    # y > 0 is on the left.
    assert brightness(small)[110:, :90].mean() > 1.1 * brightness(small)[110:, 110:].mean()


def test_rows_without_a_return_and_strange_intensities_are_harmless() -> None:
    points_m = np.array([[np.nan] * 3, [np.inf, 0, 0], [1, 2, np.nan], [1e30, 0, 0], [3, 3, 1]], dtype=np.float32)
    intensity = np.array([np.nan, 1, np.inf, 0, np.nan], dtype=np.float32)
    image = render_birds_eye(Sweep(points_m, intensity), VIEW)
    assert (image != render_birds_eye(Sweep(points_m[:0]), VIEW)).any()


def test_the_same_sweep_gives_the_same_picture(small_drive: SyntheticDrive) -> None:
    view = BirdsEyeView(50.0, 0.1, small_drive.clip.forward)
    first, second = (render_birds_eye(small_drive.clip.frames[1].load_sweep(), view) for _ in range(2))
    assert (first == second).all()
    assert (brightness(first) > 200).mean() > 0.005


@pytest.mark.parametrize("name", ["pandaset_001", "kitti_tracking_0000"])
def test_real_sweeps_are_drawn(shared_data: Path, name: str) -> None:
    clip = open_sequence(shared_data / name)
    image = render_birds_eye(clip.frames[0].load_sweep(), BirdsEyeView(50.0, 0.1, clip.forward))
    assert 0.05 < (brightness(image) > 100).mean() < 0.6


@pytest.mark.parametrize(("camera", "size_px"), [("front", (640, 400)), ("Kamera vorn links ö", (64, 48)), ("c", (1920, 1280))])
def test_the_placeholder_says_so_within_the_image(camera: str, size_px: tuple[int, int]) -> None:
    image = render_placeholder(camera, *size_px)
    assert image.shape == (size_px[1], size_px[0], 3)
    rows, columns = np.nonzero(image[..., 0] != 96)
    assert len(rows) > 20
    assert 0 < columns.min() < columns.max() < size_px[0] - 1
    assert 0 < rows.min() < rows.max() < size_px[1] - 1
    assert (image[..., 0] == image[..., 2]).all()
