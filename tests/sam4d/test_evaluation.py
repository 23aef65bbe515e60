"""The measuring protocol itself, on answers whose quality is known."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence, read_cuboid_labels
from sam4d.evaluation import (
    ClickResult,
    Labels,
    PointTruth,
    Report,
    evaluate_boxes,
    evaluate_clicks,
    evaluate_images,
    evaluate_tracks,
    mask_iou,
    next_click,
    point_near_median,
)
from sam4d.geometric.predictor import GeometricPredictor
from sam4d.geometry import BoolArray
from sam4d.simulation import SyntheticDrive
from sam4d.structures import LIDAR, Clip, Cuboid, FrameMasks, LabelledCuboid, MaskPrompt, ObjectMasks, PointPrompt, Prompt


def labels_of(drive: SyntheticDrive) -> Labels:
    return [
        tuple(LabelledCuboid(str(m.object_id), m.label, m.cuboids[k]) for m in drive.masklets if k in m.cuboids)
        for k in range(len(drive.clip))
    ]


@dataclass
class CuboidSession:
    """Answers with the points in the labelled cuboid nearest to the first click: perfect, or with a shift imperfect."""

    clip: Clip
    labels: Labels
    shift_m: float = 0.0
    asked: dict[int, LabelledCuboid] = field(default_factory=dict)

    @property
    def object_ids(self) -> tuple[int, ...]:
        return tuple(self.asked)

    def add_prompt(self, prompt: Prompt | Sequence[Prompt], *, replace: bool = False) -> ObjectMasks:
        first = prompt[0] if isinstance(prompt, Sequence) else prompt
        assert isinstance(first, PointPrompt)
        place = np.asarray(first.coordinates)[0]
        cuboids = self.labels[first.frame_index] or ()
        nearest = min(cuboids, key=lambda c: float(np.linalg.norm(np.array(c.cuboid.center_m) - place) - max(c.cuboid.size_lwh_m) / 2))
        self.asked[first.object_id] = nearest
        return self._answer(first.object_id, first.frame_index)

    def propagate(
        self, start: int = 0, stop: int | None = None, *, reverse: bool = False, object_ids: Collection[int] | None = None
    ) -> Iterator[FrameMasks]:
        for k in range(start, len(self.clip)):
            yield FrameMasks(k, {object_id: self._answer(object_id, k) for object_id in self.asked})

    def remove_object(self, object_id: int) -> None:
        del self.asked[object_id]

    def prompts_for(self, object_id: int, frame_index: int, lidar_mask: BoolArray) -> tuple[Prompt, ...]:
        return (MaskPrompt(object_id, frame_index, LIDAR, lidar_mask),)

    def _answer(self, object_id: int, frame_index: int) -> ObjectMasks:
        points_m = self.clip.frames[frame_index].load_sweep().points_m
        mask: BoolArray = np.zeros(len(points_m), dtype=np.bool_)
        for labelled in self.labels[frame_index] or ():
            if labelled.track_id == self.asked[object_id].track_id:
                mask = PointTruth.of(labelled.cuboid, points_m + np.float32(self.shift_m)).mask
        return ObjectMasks(object_id, frame_index, {}, mask, 1.0)


@dataclass(frozen=True)
class CuboidPredictor:
    labels: Labels
    shift_m: float = 0.0

    @property
    def version(self) -> str:
        return "cuboids"

    def open(self, clip: Clip) -> CuboidSession:
        return CuboidSession(clip, self.labels, self.shift_m)


def test_truth_is_what_the_protocol_says() -> None:
    cuboid = Cuboid((0.0, 0.0, 1.0), (4.0, 2.0, 2.0), 0.0)
    points = np.array([[0, 0, 1], [2.04, 0, 1], [2.06, 0, 1], [0, 0, 0.19], [0, 0, 0.21], [0, 0, -0.1], [np.nan] * 3], dtype=np.float32)
    truth = PointTruth.of(cuboid, points)
    np.testing.assert_array_equal(truth.mask, [True, True, False, False, True, False, False])
    np.testing.assert_array_equal(truth.left_out, [False, False, False, True, False, False, False])
    answer = np.array([True, False, True, True, True, False, False])
    # One of three missing, one extra; the low point counts neither way.
    assert truth.iou(answer) == pytest.approx(2 / 4)


def test_clicks_go_to_the_larger_error() -> None:
    points = np.stack([np.arange(10.0), np.zeros(10), np.zeros(10)], axis=1)
    truth = PointTruth(np.arange(10) < 6, np.arange(10) == 9)
    assert point_near_median(points, truth.mask) in (2, 3)
    assert next_click(points, truth, np.arange(10) < 1) == (3, 1)
    assert next_click(points, truth, np.isin(np.arange(10), [0, 1, 2, 3, 4, 6, 7, 8])) == (7, 0)
    assert next_click(points, truth, truth.mask | (np.arange(10) == 9)) is None
    assert next_click(points, truth, np.arange(10) < 1, np.arange(10) < 2) == (1, 1)


def test_empty_masks_agree() -> None:
    nothing = np.zeros(3, dtype=np.bool_)
    assert mask_iou(nothing, nothing) == 1.0
    assert mask_iou(nothing, ~nothing) == 0.0


def test_a_perfect_engine_is_perfect_and_a_worse_one_worse(small_drive: SyntheticDrive) -> None:
    labels = labels_of(small_drive)
    seen: list[tuple[int, int]] = []
    perfect = evaluate_clicks(CuboidPredictor(labels), small_drive.clip, labels, on_object=lambda done, total: seen.append((done, total)))
    assert len(perfect) > 5
    assert all(result.iou_after == (1.0,) * 5 and len(result.seconds) == 1 for result in perfect)
    assert all(result.clicks_needed(0.8) == 1 for result in perfect)
    assert seen[-1][0] == seen[-1][1] == sum(len(cuboids or ()) for cuboids in labels)
    shifted = evaluate_clicks(CuboidPredictor(labels, 0.2), small_drive.clip, labels, most_clicks=2)
    assert 0.3 < np.mean([result.iou_after[0] for result in shifted]) < 0.98
    tracks, _ = evaluate_tracks(CuboidPredictor(labels), small_drive.clip, labels)
    assert tracks
    assert all(track.mean_iou == 1.0 and track.still_tracked and track.id_switches == 0 for track in tracks)


def test_frames_without_labels_are_passed_over(small_drive: SyntheticDrive) -> None:
    labels = [None] * len(small_drive.clip)
    assert evaluate_clicks(GeometricPredictor(), small_drive.clip, labels) == ()
    assert evaluate_tracks(GeometricPredictor(), small_drive.clip, labels) == ((), ())


def test_the_geometric_engine_on_a_synthetic_drive(small_drive: SyntheticDrive) -> None:
    labels = [labels_of(small_drive)[0], *[None] * (len(small_drive.clip) - 1)]
    lidar = evaluate_clicks(GeometricPredictor(), small_drive.clip, labels, most_clicks=3)
    assert np.mean([result.iou_after[0] for result in lidar]) > 0.7
    camera = evaluate_clicks(GeometricPredictor(), small_drive.clip, labels, where="camera", most_clicks=1)
    assert camera
    assert all(result.sensor in small_drive.clip.cameras for result in camera)
    assert np.mean([result.iou_after[0] for result in camera]) > 0.6
    boxes = evaluate_boxes(GeometricPredictor(), small_drive.clip, labels)
    assert {result.track_id for result in boxes} == {result.track_id for result in camera}
    assert np.mean([result.iou_after[0] for result in boxes]) > 0.6
    images = evaluate_images(GeometricPredictor(), small_drive.clip, small_drive.masklets, every=4)
    assert images
    assert np.mean([result.iou for result in images]) > 0.6


def test_the_table_groups_by_class_distance_and_points() -> None:
    near = ClickResult("a", "Car", 0, LIDAR, 500, 10.0, (0.5, 0.7, 0.9), (0.1, 0.1, 0.1))
    far = ClickResult("b", "Pedestrian", 0, LIDAR, 40, 60.0, (0.9, 0.9, 0.9), (0.3,))
    assert near.clicks_needed(0.8) == 3
    assert near.clicks_needed(0.95) is None
    (table,) = Report("a drive", "an engine", clicks=(near, far)).tables()
    assert [row.group for row in table.rows] == [
        "all",
        "Car",
        "Pedestrian",
        "0 to 20 m",
        "40 to 80 m",
        "30 to 100 points",
        "300 to 1000 points",
    ]
    assert table.rows[0].count == 2
    figures = dict(zip(table.columns, table.rows[0].figures, strict=True))
    assert figures["IoU, 1 click"] == pytest.approx(0.7)
    assert figures["IoU, 3 clicks"] == pytest.approx(0.9)
    lines = table.markdown().splitlines()
    assert lines[0].startswith("| clicks in the LiDAR | objects |")
    assert lines[2].startswith("| all | 2 | 0.700 |")
    assert Report("a drive", "an engine").tables() == ()


@pytest.mark.slow
def test_one_camera_click_on_a_real_recording(shared_data: Path) -> None:
    folder = shared_data / "pandaset_001"
    results = evaluate_clicks(GeometricPredictor(), open_sequence(folder), read_cuboid_labels(folder), where="camera", most_clicks=1)
    assert len(results) > 20
    assert np.mean([result.iou_after[0] for result in results]) >= 0.8
