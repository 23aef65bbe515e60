"""Simulated clicks, on answers whose quality is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence, read_cuboid_labels
from sam4d.evaluation import ClickResult, PointTruth, evaluate_boxes, evaluate_clicks, next_click
from sam4d.geometric.predictor import GeometricPredictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import LIDAR
from tests.sam4d.evaluation.cuboid_engine import CuboidPredictor, labels_of


def test_clicks_go_to_the_larger_error() -> None:
    points = np.stack([np.arange(10.0), np.zeros(10), np.zeros(10)], axis=1)
    truth = PointTruth(np.arange(10) < 6, np.arange(10) == 9)
    assert next_click(points, truth, np.arange(10) < 1) == (3, 1)
    assert next_click(points, truth, np.isin(np.arange(10), [0, 1, 2, 3, 4, 6, 7, 8])) == (7, 0)
    assert next_click(points, truth, truth.mask | (np.arange(10) == 9)) is None
    assert next_click(points, truth, np.arange(10) < 1, np.arange(10) < 2) == (1, 1)


def test_a_perfect_engine_is_perfect_and_a_worse_one_worse(small_drive: SyntheticDrive) -> None:
    labels = labels_of(small_drive)
    seen: list[tuple[int, int]] = []
    perfect = evaluate_clicks(CuboidPredictor(labels), small_drive.clip, labels, on_object=lambda done, total: seen.append((done, total)))
    assert len(perfect) > 5
    assert all(result.iou_after == (1.0,) * 5 and len(result.seconds) == 1 for result in perfect)
    assert all(result.clicks_needed() == 1 and result.point_count >= 30 for result in perfect)
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(len(cuboids or ()) for cuboids in labels)
    shifted = evaluate_clicks(CuboidPredictor(labels, 0.2), small_drive.clip, labels, most_clicks=2)
    assert 0.3 < np.mean([result.iou_after[0] for result in shifted]) < 0.98


def test_clicking_goes_on_until_it_is_enough_but_not_for_ever(small_drive: SyntheticDrive) -> None:
    labels = labels_of(small_drive)
    hopeless = evaluate_clicks(CuboidPredictor(labels, 50.0), small_drive.clip, [labels[0], None, None, None])
    assert all(len(result.iou_after) == 10 and result.clicks_needed() is None for result in hopeless)


def test_clicks_needed_are_counted() -> None:
    near = ClickResult("a", "Car", 0, LIDAR, 500, 10.0, (0.5, 0.7, 0.9), (0.1, 0.1, 0.1))
    assert near.clicks_needed(0.8) == 3
    assert near.clicks_needed(0.95) is None


def test_frames_without_labels_are_passed_over(small_drive: SyntheticDrive) -> None:
    assert evaluate_clicks(GeometricPredictor(), small_drive.clip, [None] * len(small_drive.clip)) == ()


def test_the_geometric_engine_on_a_synthetic_drive(small_drive: SyntheticDrive) -> None:
    labels = [labels_of(small_drive)[0], *[None] * (len(small_drive.clip) - 1)]
    lidar = evaluate_clicks(GeometricPredictor(), small_drive.clip, labels, most_clicks=3)
    assert np.mean([result.iou_after[0] for result in lidar]) > 0.8
    assert np.mean([result.iou_after[2] for result in lidar]) > 0.9
    camera = evaluate_clicks(GeometricPredictor(), small_drive.clip, labels, where="camera", most_clicks=1)
    assert camera
    assert all(result.sensor in small_drive.clip.cameras for result in camera)
    assert np.mean([result.iou_after[0] for result in camera]) > 0.6
    boxes = evaluate_boxes(GeometricPredictor(), small_drive.clip, labels)
    assert {result.track_id for result in boxes} == {result.track_id for result in camera}
    assert np.mean([result.iou_after[0] for result in boxes]) > 0.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "where", "one", "three"),
    [("pandaset_001", "lidar", 0.89, 0.95), ("pandaset_001", "camera", 0.90, 0.90), ("av2_7fab2350", "lidar", 0.90, 0.94)],
)
def test_clicks_on_a_real_recording(shared_data: Path, name: str, where: str, one: float, three: float) -> None:
    assert where in ("lidar", "camera")
    folder = shared_data / name
    results = evaluate_clicks(
        GeometricPredictor(),
        open_sequence(folder),
        read_cuboid_labels(folder),
        where="camera" if where == "camera" else "lidar",
        most_clicks=3,
    )
    assert len(results) > 20
    assert np.mean([result.iou_after[0] for result in results]) >= one
    assert np.mean([result.iou_after[2] for result in results]) >= three
