"""Tracks, cuboids, proposals and camera masks, measured."""

from __future__ import annotations

import numpy as np

from sam4d.evaluation import evaluate_images, evaluate_proposals, evaluate_tracks
from sam4d.geometric.predictor import GeometricPredictor
from sam4d.simulation import SyntheticDrive
from tests.sam4d.evaluation.cuboid_engine import CuboidPredictor, labels_of


def test_a_perfect_engine_loses_nothing(small_drive: SyntheticDrive) -> None:
    labels = labels_of(small_drive)
    seen: list[tuple[int, int]] = []
    tracks, cuboids = evaluate_tracks(
        CuboidPredictor(labels), small_drive.clip, labels, on_object=lambda done, total: seen.append((done, total))
    )
    assert tracks
    assert all(track.mean_iou == 1.0 and track.still_tracked and track.id_switches == 0 for track in tracks)
    assert all(len(track.later_iou) == len(track.iou) - 1 and track.first_frame == min(track.iou) for track in tracks)
    assert len(cuboids) == sum(len(track.iou) for track in tracks)
    assert np.median([result.error.yaw_rad for result in cuboids if result.error is not None]) < 0.2
    assert seen[-1] == (len(tracks), len(tracks))


def test_an_engine_that_answers_with_another_object_switches(small_drive: SyntheticDrive) -> None:
    labels = labels_of(small_drive)
    swapped = [labels[0]]
    ids = [cuboid.track_id for cuboid in labels[0] or ()]
    other = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    for cuboids in labels[1:]:
        by_id = {cuboid.track_id: cuboid for cuboid in cuboids or ()}
        swapped.append(
            tuple(
                type(by_id[other[name]])(name, by_id[other[name]].label, by_id[other[name]].cuboid)
                for name in ids
                if name in by_id and other[name] in by_id
            )
        )
    tracks, _ = evaluate_tracks(CuboidPredictor(swapped), small_drive.clip, labels)
    assert sum(track.id_switches for track in tracks) > 0
    assert np.mean([track.mean_iou for track in tracks]) < 0.9


def test_no_labels_give_no_tracks(small_drive: SyntheticDrive) -> None:
    nothing = [None] * len(small_drive.clip)
    assert evaluate_tracks(GeometricPredictor(), small_drive.clip, nothing) == ((), ())
    assert evaluate_proposals(GeometricPredictor(), small_drive.clip, nothing) == ((), ())


def test_proposals_of_a_synthetic_drive(small_drive: SyntheticDrive) -> None:
    results, counts = evaluate_proposals(GeometricPredictor(), small_drive.clip, labels_of(small_drive))
    assert [frame.frame_index for frame in counts] == [0, 1, 2, 3]
    assert max(frame.count for frame in counts) <= 150
    assert all(result.point_count >= 50 and result.distance_m <= 50 for result in results)
    assert np.mean([result.found for result in results]) > 0.7
    assert all((result.label_correct is None) != result.found for result in results)


def test_camera_masks_of_a_synthetic_drive(small_drive: SyntheticDrive) -> None:
    lidar = evaluate_images(GeometricPredictor(), small_drive.clip, small_drive.masklets, every=4)
    camera = evaluate_images(GeometricPredictor(), small_drive.clip, small_drive.masklets, every=4, where="camera")
    assert lidar
    assert {result.clicked_in for result in lidar} == {"lidar"}
    assert all(result.clicked_in == result.camera and result.area_px >= 100 for result in camera)
    assert np.mean([result.iou for result in lidar]) > 0.7
    assert np.mean([result.iou for result in camera]) > 0.7
