"""A network that nobody has trained, taught by simulated drives: the whole loop without anyone's weights or recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sam4d.modeling.configuration import TINY, NetworkConfiguration
from sam4d.modeling.initialisation import new_network
from sam4d.structures import ObjectMasks
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.plan import TrainingPlan
from sam4d.training.synthetic_clips import SyntheticRecipe, synthetic_clips
from sam4d.training.trainer import TrainingResult, train
from sam4d.training.training_run import Progress

PLAN = TrainingPlan(
    mode="everything",
    steps=4000,
    learning_rate=4e-4,
    encoder_learning_rate=4e-4,
    warm_up_steps=50,
    statistics="learnt",
    average_decay=0.995,
    evaluate_every=200,
    patience=0,
    save_every=100,
    held_out_windows=12,
    frames=3,
    objects=3,
    clicks=2,
)
"""For `TINY`. Many short windows teach more than few long ones."""

TRAINING_DRIVES = SyntheticRecipe(seeds=tuple(range(16)))
HELD_OUT_DRIVES = SyntheticRecipe(seeds=(1000, 1001, 1002))

LEAST_IMAGE_SHARE, LEAST_POINTS = 0.012, 25
"""Of what a network begins with. Most of a street is a few pixels and points far away, of which it only learns to say nothing."""


def near_objects(labelled: LabelledClip) -> LabelledClip:
    """Those of which some camera shows much on a frame that has many of their points."""
    areas_px = {name: LEAST_IMAGE_SHARE * camera.width_px * camera.height_px for name, camera in labelled.clip.cameras.items()}

    def is_near(masks: ObjectMasks) -> bool:
        shown = any(int(mask.sum()) >= areas_px[name] for name, mask in masks.camera_masks.items())
        return shown and int(masks.lidar_mask.sum()) >= LEAST_POINTS

    kept = tuple(masklet for masklet in labelled.masklets if any(is_near(masks) for masks in masklet.masks.values()))
    return replace(labelled, masklets=kept)


def train_from_scratch(
    plan: TrainingPlan,
    folder: Path,
    progress: Progress = lambda point, steps: None,
    *,
    configuration: NetworkConfiguration = TINY,
    drives: SyntheticRecipe = TRAINING_DRIVES,
    held_out: SyntheticRecipe = HELD_OUT_DRIVES,
    on_clip: Callable[[int, int], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    processes: int = 1,
) -> TrainingResult:
    """Simulate, begin with weights by the plan's seed, train on near objects; the same call goes on where it was interrupted.

    Args:
        on_clip: told (done, all) after each drive to learn from is simulated.
        folder, progress, stopped, processes: as in `trainer.train`, which says what is raised.
    """
    training = [near_objects(clip) for clip in synthetic_clips(drives, on_clip)]
    judged = [near_objects(clip) for clip in synthetic_clips(held_out)]
    network = new_network(configuration, plan.seed)
    return train(plan, training, judged, network, folder, progress, stopped=stopped, processes=processes)
