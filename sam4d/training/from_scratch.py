"""A network that nobody has trained, taught by simulated drives: the whole loop without anyone's weights or recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sam4d.modeling.configuration import TINY, NetworkConfiguration
from sam4d.modeling.initialisation import new_network
from sam4d.training.plan import TrainingPlan
from sam4d.training.synthetic_clips import SyntheticRecipe, synthetic_clips
from sam4d.training.trainer import TrainingResult, train
from sam4d.training.training_run import Progress

PLAN = TrainingPlan(
    mode="everything",
    steps=4000,
    learning_rate=1e-3,
    encoder_learning_rate=1e-3,
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
"""For `TINY` on a CPU: two to three seconds of one processor a step. Many short windows teach more than few long ones."""

TRAINING_DRIVES = SyntheticRecipe(seeds=tuple(range(16)))
HELD_OUT_DRIVES = SyntheticRecipe(seeds=(1000, 1001, 1002))


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
    """Simulate, begin with weights by the plan's seed, train; the same call goes on where it was interrupted.

    Args:
        on_clip: told (done, all) after each drive to learn from is simulated.
        folder, progress, stopped, processes: as in `trainer.train`, which says what is raised.
    """
    training, judged = list(synthetic_clips(drives, on_clip)), list(synthetic_clips(held_out))
    network = new_network(configuration, plan.seed)
    return train(plan, training, judged, network, folder, progress, stopped=stopped, processes=processes)
