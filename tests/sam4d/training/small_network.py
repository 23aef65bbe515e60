"""A network of the build of the released one that computes in milliseconds, and a drive for it."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from sam4d.modeling.configuration import NetworkConfiguration
from sam4d.modeling.initialisation import new_network
from sam4d.modeling.sam4d import Sam4D
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.plan import TrainingPlan
from sam4d.training.synthetic_clips import SMALL, synthetic_clips

SMALLEST = NetworkConfiguration(
    image_size_px=64,
    width=32,
    hiera_width=16,
    hiera_blocks=(1, 1, 1, 1),
    hiera_windows=(4, 2, 2, 2),
    hiera_global_blocks=(2,),
    lidar_input_width=8,
    lidar_widths=(8, 8, 16, 32),
    lidar_blocks=(1, 1, 1, 1),
    lidar_decoder_widths=(16, 16),
    memory_layers=1,
    memory_hidden_width=32,
    memory_kernel_size=3,
    decoder_hidden_width=32,
    shared_hidden_width=32,
)

SMALL_PLAN = TrainingPlan(
    mode="everything",
    steps=6,
    warm_up_steps=2,
    learning_rate=1e-3,
    encoder_learning_rate=1e-3,
    evaluate_every=3,
    save_every=2,
    held_out_windows=1,
    frames=3,
    objects=2,
    clicks=1,
    device="cpu",
)


def smallest_network() -> Sam4D:
    """Says of every object that it is there, as a trained one would."""
    network = new_network(SMALLEST, 0)
    with torch.no_grad():
        network.head.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(3.0)  # type: ignore[operator]
    return network.eval()


@functools.cache
def small_drive(seed: int = 0, frame_count: int = 4) -> LabelledClip:
    (labelled,) = synthetic_clips(replace(SMALL, seeds=(seed,), frame_count=frame_count))
    return labelled
