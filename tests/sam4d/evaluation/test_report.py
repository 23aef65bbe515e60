"""The whole protocol and what is told of it."""

from __future__ import annotations

import numpy as np

from sam4d.evaluation import ClickResult, Report, draw_worst, evaluate, evaluate_clicks, headlines
from sam4d.geometric.predictor import GeometricPredictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import LIDAR
from tests.sam4d.evaluation.cuboid_engine import CuboidPredictor, labels_of

NEAR = ClickResult("a", "Car", 0, LIDAR, 500, 10.0, (0.5, 0.7, 0.9, 0.9, 0.9), (0.1, 0.1, 0.1))
FAR = ClickResult("b", "Pedestrian", 0, LIDAR, 40, 60.0, (0.9,) * 5, (0.3,))


def test_the_table_groups_by_class_distance_and_points() -> None:
    (table,) = Report("drive", "engine", clicks=(NEAR, FAR)).tables()
    rows = {row.group: row for row in table.rows}
    assert list(rows) == ["all", "Car", "Pedestrian", "0 to 20 m", "40 to 80 m", "30 to 100 points", "300 to 1000 points"]
    lines = table.markdown().splitlines()
    assert lines[0] == (
        "| clicks in the LiDAR | objects | IoU, 1 click | IoU, 3 clicks | IoU, 5 clicks "
        "| clicks for 0.8 | share that reach 0.8 | s per click |"
    )
    assert lines[2] == "| all | 2 | 0.700 | 0.900 | 0.900 | 2.0 | 1.00 | 0.150 |"


def test_headlines_leave_out_what_nobody_measured() -> None:
    table = headlines([Report("drive", "engine", clicks=(NEAR, FAR)), Report("empty", "engine")])
    assert table.columns[0] == "IoU, 1 click"
    assert "track IoU" not in table.columns
    assert table.markdown().splitlines()[-1].startswith("| empty | 0 |  |")
    assert Report("empty", "engine").is_empty


def test_everything_is_measured_where_it_can_be(small_drive: SyntheticDrive) -> None:
    clip, labels = small_drive.clip.window(0, 2), labels_of(small_drive)[:2]
    told: list[str] = []
    report = evaluate(
        GeometricPredictor(),
        clip,
        labels,
        small_drive.masklets[:6],
        on_part=lambda part, done, total: told.append(part),
        parts=("tracks", "camera-masks"),
    )
    assert report.recording == clip.name
    assert report.tracks
    assert report.cuboids
    assert not report.clicks
    assert set(told) == {"tracks and cuboids", "camera masks, clicks in the LiDAR", "camera masks, clicks in cameras"}
    titles = [table.title for table in report.tables()]
    assert titles[0] == "tracks from one click"
    assert "of these, vehicles of 50 points or more" in titles


def test_the_worst_answers_are_drawn(small_drive: SyntheticDrive) -> None:
    labels = labels_of(small_drive)
    results = evaluate_clicks(CuboidPredictor(labels), small_drive.clip, labels, most_clicks=1)
    engine = GeometricPredictor()
    pictures = draw_worst(engine, small_drive.clip, labels, results, most=2)
    assert len(pictures) == 2
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape[0] == 508
        # Something was found, in green.
        assert (picture == np.array([80, 200, 90])).all(axis=2).any()
