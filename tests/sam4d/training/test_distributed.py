"""Two processes on the CPU that train a toy together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.distributed
from torch.multiprocessing.spawn import start_processes

from sam4d.structures import InputError
from sam4d.training import distributed
from sam4d.training.course import ClipCourse
from sam4d.training.distributed import Processes
from sam4d.training.training_run import TrainingRun
from tests.sam4d.training.small_network import SMALL_PLAN, small_drive, smallest_network
from tests.sam4d.training.toy import TOY_PLAN, ToyCourse, ToyNetwork

PLAN = replace(TOY_PLAN, accumulation=4, steps=6)


def take_part(rank: int, folder: Path) -> None:
    """Also told to stop before the fourth step, which one of the processes alone hears; then goes on."""
    torch.set_num_threads(1)
    group = Processes.meet(rank, 2, "cpu", str(folder / "store"))
    steps: list[int] = []
    first = TrainingRun(PLAN, ToyNetwork(), ToyCourse(), folder, group)
    ending = first.run(lambda point, _: steps.append(point.step), lambda: rank == 1 and steps[-1:] == [3]).ending
    assert ending == "interrupted"
    torch.distributed.barrier()
    network = ToyNetwork()
    assert TrainingRun(PLAN, network, ToyCourse(), folder, group).run().ending == "finished"
    safetensors.torch.save_file(network.state_dict(), folder / f"weights-{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_all_have_the_weights_that_one_alone_would_have(tmp_path: Path) -> None:
    start_processes(take_part, (tmp_path,), nprocs=2, start_method="spawn")  # type: ignore[no-untyped-call]
    first, second = (safetensors.torch.load_file(tmp_path / f"weights-{rank}") for rank in (0, 1))
    alone = ToyNetwork()
    TrainingRun(PLAN, alone, ToyCourse(), tmp_path / "alone").run()
    for name, tensor in alone.state_dict().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], tensor)


def test_clips_that_cannot_be_sent(tmp_path: Path) -> None:
    drive = small_drive()
    sweep = drive.clip.frames[0].load_sweep()
    frames = (replace(drive.clip.frames[0], load_sweep=lambda: sweep), *drive.clip.frames[1:])
    course = ClipCourse(SMALL_PLAN, [replace(drive, clip=replace(drive.clip, frames=frames))], [])
    cpu = torch.device("cpu")
    with pytest.raises(InputError, match="loaders that can be sent to other processes"):
        distributed.run_in_processes(2, cpu, SMALL_PLAN, smallest_network(), course, tmp_path, lambda *_: None, lambda: False)
