"""The small network learns one object of one synthetic clip by heart, and the product's own session shows it: everything fits together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam4d.evaluation.truth import mask_iou
from sam4d.modeling.configuration import TINY
from sam4d.modeling.initialisation import new_network
from sam4d.network.predictor import NetworkPredictor
from sam4d.structures import LIDAR, PointPrompt
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.plan import TrainingPlan
from sam4d.training.synthetic_clips import SMALL, synthetic_clips
from sam4d.training.trainer import train

DRIVE, CAR = 11, 36
ENOUGH = 0.90

PLAN = TrainingPlan(
    mode="everything",
    steps=90,
    learning_rate=1.5e-3,
    encoder_learning_rate=1.5e-3,
    warm_up_steps=10,
    weight_decay=0.0,
    statistics="learnt",
    average_decay=0.9,
    evaluate_every=90,
    held_out_windows=2,
    frames=1,
    objects=1,
    clicks=0,
    augmented=False,
    device="cpu",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_object_is_learnt_by_heart(tmp_path: Path) -> None:
    (drive,) = synthetic_clips(replace(SMALL, seeds=(DRIVE,), frame_count=2))
    clip = replace(drive, masklets=tuple(masklet for masklet in drive.masklets if masklet.object_id == CAR))
    result = train(PLAN, [clip], [clip], new_network(TINY, seed=0), tmp_path)
    assert result.best is not None
    assert result.score_before is not None
    assert result.score_before < 0.2 < result.best.score
    assert result.checkpoint is not None
    predictor = NetworkPredictor(result.checkpoint, "cpu")
    for sensor in ("front", LIDAR):
        camera_iou, lidar_iou = after_a_click(predictor, clip, sensor)
        assert camera_iou > ENOUGH
        assert lidar_iou > ENOUGH


def after_a_click(predictor: NetworkPredictor, clip: LabelledClip, sensor: str) -> tuple[float, float]:
    """IoU in the camera and in the LiDAR after a click in the middle of the object's mask, or on its middle point."""
    truth = clip.masklets[0].masks[0]
    if sensor == LIDAR:
        points_m = clip.clip.frames[0].load_sweep().points_m[truth.lidar_mask]
        place = points_m[len(points_m) // 2]
    else:
        rows, columns = np.nonzero(truth.camera_masks[sensor])
        place = np.array([columns[len(columns) // 2] + 0.5, rows[len(rows) // 2] + 0.5])
    answer = predictor.open(clip.clip).add_prompt(PointPrompt(CAR, 0, sensor, place[None], [1]))
    camera_iou = mask_iou(answer.camera_masks["front"], truth.camera_masks["front"])
    return camera_iou, mask_iou(answer.lidar_mask, truth.lidar_mask)
