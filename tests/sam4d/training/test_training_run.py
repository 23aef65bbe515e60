"""The loop, with something that is learnt in milliseconds."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sam4d.structures import InputError
from sam4d.training.failures import TrainingFailed
from sam4d.training.interruption import asked_to_stop
from sam4d.training.learning_curve import CurvePoint
from sam4d.training.plan import TrainingPlan
from sam4d.training.run_state import states_in
from sam4d.training.training_run import Trained, TrainingRun
from tests.sam4d.training.toy import TOY_PLAN, ToyCourse, ToyNetwork


def trained(folder: Path, plan: TrainingPlan = TOY_PLAN, course: ToyCourse | None = None, until: int = 10**6) -> Trained:
    """Interrupted before the step after `until`."""
    done: list[int] = [len((folder / "curve.jsonl").read_text().splitlines()) - 1 if (folder / "curve.jsonl").exists() else 0]

    def note(point: CurvePoint, steps: int) -> None:
        done[0] = point.step

    return TrainingRun(plan, ToyNetwork(), course or ToyCourse(), folder).run(note, lambda: done[0] >= until)


def test_it_learns(tmp_path: Path) -> None:
    result = trained(tmp_path, replace(TOY_PLAN, steps=300, patience=0, save_every=300))
    losses = [point.losses["total"] for point in result.curve[1:]]
    assert result.ending == "finished"
    assert sum(losses[-10:]) < 0.05 * sum(losses[:10])
    assert [point.step for point in result.curve] == list(range(301))
    assert result.best is not None
    assert result.best.score == max(point.held_out for point in result.curve if point.held_out is not None)


def test_the_same_plan_gives_the_same_curve(tmp_path: Path) -> None:
    assert trained(tmp_path / "a").curve == trained(tmp_path / "b").curve


def test_another_seed_is_another_plan(tmp_path: Path) -> None:
    trained(tmp_path, until=5)
    with pytest.raises(InputError, match=r"state-.*seed 0, not 1"):
        trained(tmp_path, replace(TOY_PLAN, seed=1))


@pytest.mark.parametrize("mode", ["heads", "memory", "everything"])
@pytest.mark.parametrize("statistics", ["fixed", "learnt"])
def test_only_what_the_mode_learns_changes(tmp_path: Path, mode: str, statistics: str) -> None:
    plan = replace(TOY_PLAN, mode=mode, statistics=statistics, steps=3)  # type: ignore[arg-type]
    network = ToyNetwork()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = TrainingRun(plan, network, ToyCourse(), tmp_path).run()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    parts = {"sam_mask_decoder"} | ({"obj_ptr_proj"} if mode != "heads" else set()) | ({"backbone"} if mode == "everything" else set())
    assert {part for part in ("sam_mask_decoder", "obj_ptr_proj", "backbone") if any(part in name for name in changed)} == parts
    assert any("running" in name for name in changed) == (mode == "everything" and statistics == "learnt")
    assert changed <= result.weights.keys()


def test_samples_are_those_of_the_step(tmp_path: Path) -> None:
    course = ToyCourse(asked=[])
    trained(tmp_path, replace(TOY_PLAN, steps=4, accumulation=3, evaluate_every=100), course)
    assert course.asked is not None
    assert [sample for sample in course.asked if sample < 1_000_000] == list(range(12))


def test_accumulated_samples_are_their_mean(tmp_path: Path) -> None:
    network, plan = ToyNetwork(), replace(TOY_PLAN, steps=1, accumulation=4)
    point = TrainingRun(plan, network, ToyCourse(), tmp_path).run().curve[1]
    losses = [float(ToyCourse().losses(ToyNetwork().eval(), sample)["total"].detach()) for sample in range(4)]
    assert point.losses["total"] == pytest.approx(sum(losses) / 4)
    assert point.losses["half"] == pytest.approx(sum(losses) / 8)


def test_it_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    course = ToyCourse(scores=(0.1, 0.5, 0.4, 0.5, 0.3, 0.9), asked=[])
    result = trained(tmp_path, replace(TOY_PLAN, patience=3), course)
    assert result.ending == "stopped early"
    assert result.best is not None
    assert (result.best.step, result.best.score) == (5, 0.5)
    assert result.curve[-1].step == 20
    again = trained(tmp_path, replace(TOY_PLAN, patience=3), ToyCourse(scores=(0.0,), asked=[]))
    assert (again.ending, again.curve) == ("stopped early", result.curve)
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in result.weights.items())


def test_the_best_average_is_kept(tmp_path: Path) -> None:
    kept = trained(tmp_path / "a", course=ToyCourse(scores=(0.1, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5), asked=[]))
    until_then = trained(tmp_path / "b", course=ToyCourse(scores=(0.1, 0.2, 0.9), asked=[]), until=10)
    assert kept.best is not None
    assert kept.best.step == 10
    assert all(torch.equal(kept.weights[name], tensor) for name, tensor in until_then.weights.items())


def test_an_interrupted_run_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    for until in (0, 7, 13, 29):
        assert trained(tmp_path / "parts", until=until).ending == "interrupted"
    parts = trained(tmp_path / "parts")
    assert parts.ending == "finished"
    assert parts.curve == whole.curve
    assert all(torch.equal(parts.weights[name], tensor) for name, tensor in whole.weights.items())
    logs = [(tmp_path / name / "curve.jsonl").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_a_killed_run_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    """SIGKILL after step 10, of which the last state knows 8."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sam4d.training.training_run import TrainingRun\n"
        "from tests.sam4d.training.toy import TOY_PLAN, ToyCourse, ToyNetwork\n"
        "die = lambda point, steps: os.kill(os.getpid(), signal.SIGKILL) if point.step == 10 else None\n"
        "TrainingRun(TOY_PLAN, ToyNetwork(), ToyCourse(), Path(sys.argv[1])).run(die)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "killed")], cwd=Path(__file__).parents[3])
    assert ended.returncode == -signal.SIGKILL
    assert states_in(tmp_path / "killed")[-1].name == "state-00000008.safetensors"
    killed, whole = trained(tmp_path / "killed"), trained(tmp_path / "whole")
    assert [point.losses for point in killed.curve] == [pytest.approx(point.losses, rel=1e-6) for point in whole.curve]
    assert killed.best is not None
    assert whole.best is not None
    assert killed.best.step == whole.best.step


def test_two_states_are_kept(tmp_path: Path) -> None:
    trained(tmp_path)
    assert [path.name for path in states_in(tmp_path)] == ["state-00000028.safetensors", "state-00000030.safetensors"]
    assert not list(tmp_path.glob(".*"))


def test_signals_are_heard_between_samples(tmp_path: Path) -> None:
    with asked_to_stop() as stopped:
        assert not stopped()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped()
        result = TrainingRun(TOY_PLAN, ToyNetwork(), ToyCourse(), tmp_path).run(stopped=stopped)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert result.ending == "interrupted"
    assert len(states_in(tmp_path)) == 1


def test_in_another_thread_no_signals_are_asked_for() -> None:
    answers: list[bool] = []

    def ask() -> None:
        with asked_to_stop(lambda: True) as stopped:
            answers.append(stopped())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [True]


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"step 10 is nan.*last state stands"):
        trained(tmp_path, course=ToyCourse(not_a_number_at=9))
    assert states_in(tmp_path)[-1].name == "state-00000008.safetensors"
    assert trained(tmp_path).curve == trained(tmp_path / "whole").curve


def test_too_little_memory(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="too little memory on the CPU"):
        trained(tmp_path, course=ToyCourse(no_memory_at=9))
    assert trained(tmp_path).ending == "finished"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path, until=8)
    before = {path: path.read_bytes() for path in states_in(tmp_path)}

    def full(*arguments: object) -> None:
        Path(str(arguments[1])).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(TrainingFailed, match=r"state-00000012.*No space left on device"):
            trained(tmp_path)
    assert {path: path.read_bytes() for path in states_in(tmp_path)} == before
    assert not list(tmp_path.glob(".*"))
    assert trained(tmp_path).curve == trained(tmp_path / "whole").curve


def test_no_space_for_a_state_of_any_size(tmp_path: Path) -> None:
    """As far as a limit of file sizes goes, which stops the real writer in the middle of a file."""
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from sam4d.training.training_run import TrainingRun\n"
        "from sam4d.training.failures import TrainingFailed\n"
        "from tests.sam4d.training.toy import TOY_PLAN, ToyCourse, ToyNetwork\n"
        "run = TrainingRun(TOY_PLAN, ToyNetwork(), ToyCourse(), Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try: run.run()\n"
        "except TrainingFailed as error: print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert "state-00000004.safetensors: expected a folder that can be written to" in ended.stdout
    assert len(ended.stdout.splitlines()) == 1
    assert not states_in(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_state(tmp_path: Path) -> None:
    trained(tmp_path, until=8)
    path = states_in(tmp_path)[-1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"state-00000008.*damaged") as raised:
        trained(tmp_path)
    assert "\n" not in str(raised.value)
    path.unlink()
    assert trained(tmp_path).curve == trained(tmp_path / "whole").curve


def test_a_file_of_something_else(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "state-00000003.safetensors")
    with pytest.raises(InputError, match="tensors of something else"):
        trained(tmp_path)


def test_a_state_of_other_weights(tmp_path: Path) -> None:
    trained(tmp_path, until=3)
    other = ToyNetwork()
    torch.nn.init.zeros_(next(other.parameters()))
    with pytest.raises(InputError, match="other weights"):
        TrainingRun(TOY_PLAN, other, ToyCourse(), tmp_path)


def test_a_state_holds_its_curve(tmp_path: Path) -> None:
    result = trained(tmp_path, until=6)
    with safetensors.safe_open(states_in(tmp_path)[-1], framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    assert [CurvePoint(**point) for point in about["curve"]] == list(result.curve)


def test_half_precision_learns_too(tmp_path: Path) -> None:
    result = trained(tmp_path, replace(TOY_PLAN, steps=200, patience=0, save_every=200, precision="bfloat16"))
    losses = [point.losses["total"] for point in result.curve[1:]]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
