"""The whole way, with a network of the smallest size: from labelled clips to a checkpoint that is served."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sam4d.checkpoint import digest_of, read_checkpoint
from sam4d.network.predictor import NetworkPredictor
from sam4d.structures import InputError
from sam4d.training.failures import TrainingFailed
from sam4d.training.learning_curve import CurvePoint
from sam4d.training.plan import TrainingPlan
from sam4d.training.run_state import states_in
from sam4d.training.trainer import TrainingResult, train
from tests.sam4d.training.small_network import SMALL_PLAN, SMALLEST, small_drive, smallest_network


def trained(folder: Path, plan: TrainingPlan = SMALL_PLAN, until: int = 10**6, processes: int = 1) -> TrainingResult:
    steps: list[int] = [-1]

    def note(point: CurvePoint, _: int) -> None:
        steps.append(point.step)

    return train(
        plan, [small_drive()], [small_drive(1)], smallest_network(), folder, note, stopped=lambda: steps[-1] >= until, processes=processes
    )


def same_losses(first: TrainingResult, second: TrainingResult, rel: float = 1e-3) -> None:
    assert [point.step for point in first.curve] == [point.step for point in second.curve]
    for one, other in zip(first.curve, second.curve, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=rel, abs=1e-5)


def test_a_checkpoint_comes_out_that_can_be_served(tmp_path: Path) -> None:
    network = smallest_network()
    before = digest_of(network.state_dict())
    result = train(SMALL_PLAN, [small_drive()], [small_drive(1)], network, tmp_path)
    assert result.ending == "finished"
    assert digest_of(network.state_dict()) == before
    assert result.checkpoint == tmp_path / "network.safetensors"
    assert result.score_before is not None
    assert result.best is not None
    checkpoint = read_checkpoint(result.checkpoint)
    assert checkpoint.configuration == SMALLEST
    assert checkpoint.about == {"steps": "6", "best_step": str(result.best.step), "held_out_score": f"{result.best.score:.4f}"}
    session = NetworkPredictor(result.checkpoint, "cpu").open(small_drive().clip)
    assert session.object_ids == ()


def test_nothing_held_out_keeps_the_last_average(tmp_path: Path) -> None:
    result = train(replace(SMALL_PLAN, steps=2), [small_drive()], [], smallest_network(), tmp_path)
    assert result.best is None
    assert result.checkpoint is not None
    before = smallest_network().state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in read_checkpoint(result.checkpoint).tensors.items())


@pytest.mark.parametrize("mode", ["heads", "memory"])
def test_the_image_encoder_stays_as_it_was(tmp_path: Path, mode: str) -> None:
    plan = replace(SMALL_PLAN, mode=mode, steps=2)  # type: ignore[arg-type]
    result = train(plan, [small_drive()], [], smallest_network(), tmp_path)
    assert result.checkpoint is not None
    before, after = smallest_network().state_dict(), read_checkpoint(result.checkpoint).tensors
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed
    assert not any(name.startswith("pure_model.backbone.") or "running_" in name for name in changed)
    assert any(name.startswith("pure_model.fusion.") for name in changed) == (mode == "memory")


def test_checkpointing_and_half_precision_change_little(tmp_path: Path) -> None:
    # A corrective click may fall elsewhere for any difference of an answer.
    plan = replace(SMALL_PLAN, steps=2, clicks=0, learning_rate=1e-4, encoder_learning_rate=1e-4)
    usual = trained(tmp_path / "usual", plan)
    same_losses(trained(tmp_path / "checkpointed", replace(plan, checkpointed=True)), usual, rel=0.01)
    half = trained(tmp_path / "half", replace(plan, precision="bfloat16"))
    for one, other in zip(half.curve[1:], usual.curve[1:], strict=True):
        assert one.losses["total"] == pytest.approx(other.losses["total"], rel=0.2)


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    parts = trained(tmp_path / "parts", until=3)
    assert (parts.ending, parts.checkpoint) == ("interrupted", None)
    assert not (tmp_path / "parts" / "network.safetensors").exists()
    same_losses(trained(tmp_path / "parts"), trained(tmp_path / "whole"))


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sam4d.training.trainer import train\n"
        "from tests.sam4d.training.small_network import SMALL_PLAN, small_drive, smallest_network\n"
        "die = lambda point, steps: os.kill(os.getpid(), signal.SIGKILL) if point.step == 5 else None\n"
        "train(SMALL_PLAN, [small_drive()], [small_drive(1)], smallest_network(), Path(sys.argv[1]), die)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "killed")], cwd=Path(__file__).parents[3])
    assert ended.returncode == -signal.SIGKILL
    assert [path.stem for path in states_in(tmp_path / "killed")] == ["state-00000002", "state-00000004"]
    same_losses(trained(tmp_path / "killed"), trained(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    plan = replace(SMALL_PLAN, steps=2, accumulation=2)
    stopped = trained(tmp_path / "together", plan, until=-1, processes=2)
    assert (stopped.ending, [point.step for point in stopped.curve]) == ("interrupted", [0])
    alone, together = trained(tmp_path / "alone", plan), trained(tmp_path / "together", plan, processes=2)
    same_losses(together, alone)
    assert alone.checkpoint is not None
    assert together.checkpoint is not None
    tensors = read_checkpoint(alone.checkpoint).tensors
    for name, tensor in read_checkpoint(together.checkpoint).tensors.items():
        torch.testing.assert_close(tensor, tensors[name], rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.slow
def test_what_fails_in_one_process_is_said_by_all(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(TrainingFailed, match=r"run.* cannot be written"):
        trained(tmp_path / "run", replace(SMALL_PLAN, accumulation=2), processes=2)


def test_samples_of_a_step_are_shared_evenly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"divisor of the 3 samples of a step, found 2"):
        trained(tmp_path, replace(SMALL_PLAN, accumulation=3), processes=2)


def test_no_gpu(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match=r"device: expected cpu, or cuda where there is a GPU"):
        trained(tmp_path, replace(SMALL_PLAN, device="cuda"))
    assert not any(tmp_path.iterdir())


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clips to learn from"):
        train(SMALL_PLAN, [], [], smallest_network(), tmp_path)


def test_sigterm_ends_a_training_with_its_state_written(tmp_path: Path) -> None:
    def ask(point: CurvePoint, _: int) -> None:
        if point.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    result = train(SMALL_PLAN, [small_drive()], [], smallest_network(), tmp_path, ask)
    assert result.ending == "interrupted"
    assert [path.stem for path in states_in(tmp_path)] == ["state-00000001"]
