"""The network learns from what was submitted, and answers from then on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backend.engine import predictor_of, version_store_of
from backend.learners import train_network
from backend.settings import Settings
from backend.training_jobs import TrainingRequest
from sam4d.checkpoint import write_checkpoint
from sam4d.modeling.configuration import TINY
from sam4d.modeling.initialisation import new_network
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from sam4d.training.synthetic_clips import SMALL, synthetic_clips
from tests.backend.test_training_run import Submitted, ended
from tests.sam4d.training.test_overfitting import CAR, DRIVE, PLAN

FRAMES = 2


def submitted_windows(count: int) -> dict[str, SyntheticDrive]:
    """One car over the windows of a drive."""
    (labelled,) = synthetic_clips(replace(SMALL, seeds=(DRIVE,), frame_count=count * FRAMES))
    car = next(masklet for masklet in labelled.masklets if masklet.object_id == CAR)
    windows = {}
    for first in range(0, count * FRAMES, FRAMES):
        shown = {index: replace(car.masks[first + index], frame_index=index) for index in range(FRAMES) if first + index in car.masks}
        windows[f"window{first}"] = SyntheticDrive(labelled.clip.window(first, FRAMES), (Masklet(CAR, car.label, shown),))
    return windows


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_network_that_learnt_is_better_on_the_task_that_was_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small network, from weights that nobody trained: it needs higher rates than what has been trained."""
    monkeypatch.setattr("sam4d.training.plan.TrainingPlan", lambda: PLAN)
    checkpoint = tmp_path / "weights.safetensors"
    network = new_network(TINY, seed=0)
    write_checkpoint(checkpoint, network.state_dict(), network.configuration)
    settings = Settings(
        model_dir=tmp_path / "model",
        label_studio_url="http://127.0.0.1:1",
        label_studio_api_key="key",
        engine="sam4d",
        checkpoint=checkpoint,
        device="cpu",
    )
    before = predictor_of(settings).version
    server = Submitted(submitted_windows(3))
    state, says = ended(settings, server, train_network, TrainingRequest("everything", steps=PLAN.steps))
    assert state == "done", says
    store = version_store_of(settings)
    assert store is not None
    about = store.get("v1").about
    assert about is not None
    assert about.old_score is not None
    assert about.new_score is not None
    assert about.new_score > about.old_score + 0.3
    assert predictor_of(settings).version == about.model_version != before
    # A step more finds nothing better.
    state, says = ended(settings, server, train_network, TrainingRequest("heads", steps=1))
    assert state == "refused", says
    assert predictor_of(settings).version == about.model_version
