"""A network taught by labelled clips: from the weights that it has to a checkpoint (arXiv 2506.21547, set-up of training)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sam4d.checkpoint import write_checkpoint
from sam4d.modeling.sam4d import Sam4D
from sam4d.network.predictor import device_named
from sam4d.structures import InputError
from sam4d.training.course import ClipCourse, prepared
from sam4d.training.distributed import run_in_processes
from sam4d.training.failures import writing
from sam4d.training.interruption import asked_to_stop
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.learning_curve import CurvePoint
from sam4d.training.plan import TrainingPlan
from sam4d.training.run_state import Best
from sam4d.training.training_run import Ending, Progress, Trained, TrainingRun

CHECKPOINT = "network.safetensors"


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """How a training ended.

    ending: "interrupted" where the same call goes on with it. curve: step 0 is before the first, with the score of the weights as they
    came. best: which average is in the checkpoint; None where nothing was held out, and it is the last one. checkpoint: None where the
    training was interrupted.
    """

    ending: Ending
    curve: tuple[CurvePoint, ...]
    best: Best | None
    checkpoint: Path | None

    @property
    def score_before(self) -> float | None:
        """On the held-out clips, 0 to 1, of the weights as they came."""
        return self.curve[0].held_out if self.curve else None


def train(
    plan: TrainingPlan,
    training: Sequence[LabelledClip],
    held_out: Sequence[LabelledClip],
    network: Sam4D,
    folder: Path,
    progress: Progress = lambda point, steps: None,
    *,
    stopped: Callable[[], bool] = lambda: False,
    processes: int = 1,
) -> TrainingResult:
    """Train, or go on where a training in this folder was interrupted or killed.

    Args:
        training, held_out: the same in every call with this folder, which cannot know it.
        network: is not changed. Its weights are what every call with this folder begins with.
        folder: of this training alone; gets its states, `curve.jsonl`, a file of events for TensorBoard, and in the end the checkpoint.
        stopped: asked between samples; where it says so, as after Ctrl-C or SIGTERM, the state is written and the training ends as
            interrupted.
        processes: that share every step's samples, each with a GPU of its own, or all on the CPU. What comes out is the same but for
            rounding (with "learnt" statistics but for these too, which are the first process's).

    Raises:
        InputError: nothing to learn from in the clips, a device that is not there, a state in the folder that is damaged or of another
            plan or network, samples of a step that cannot be shared evenly among the processes.
        TrainingFailed: a loss that is no number, too little memory, no space on the disk. The last state stands.
    """
    if processes < 1 or plan.accumulation % processes:
        raise InputError("processes of a training", f"a divisor of the {plan.accumulation} samples of a step", str(processes))
    device = device_named(plan.device)
    if device.type == "cuda" and processes > torch.cuda.device_count():
        raise InputError("processes of a training", f"at most the {torch.cuda.device_count()} GPUs that PyTorch sees", str(processes))
    course = ClipCourse(plan, training, held_out)
    with asked_to_stop(stopped) as stop:
        if processes > 1:
            trained = run_in_processes(processes, device, plan, network, course, folder, progress, stop)
        else:
            trained = TrainingRun(plan, prepared(network, plan, device), course, folder).run(progress, stop)
    if trained.ending == "interrupted":
        return TrainingResult(trained.ending, trained.curve, trained.best, None)
    return TrainingResult(trained.ending, trained.curve, trained.best, _checkpoint(folder / CHECKPOINT, network, trained))


def _checkpoint(path: Path, network: Sam4D, trained: Trained) -> Path:
    tensors: dict[str, Tensor] = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    tensors |= trained.weights
    about = {"steps": str(trained.curve[-1].step)}
    if trained.best is not None:
        about |= {"best_step": str(trained.best.step), "held_out_score": f"{trained.best.score:.4f}"}
    with writing(path):
        write_checkpoint(path, tensors, network.configuration, about)
    return path
