"""What stays is moved as it is, and goes when nothing needs it any more."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sam4d.modeling.sparse_conv import Cells
from sam4d.network.kept_apart import keep_apart

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory maps of their own are for Linux")


@dataclass(frozen=True)
class Kept:
    grid: Tensor
    part: Tensor
    cells: Cells
    more: dict[str, tuple[Tensor, ...]]


def maps() -> int:
    """Memory in anonymous maps of this process, in kB, resident or not."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmData"].split()[0])


@torch.inference_mode()
def test_values_shapes_and_what_is_shared_stay() -> None:
    torch.manual_seed(0)
    grid = torch.randn(5, 7)
    kept = Kept(grid, grid[1:, ::2], Cells(torch.randint(0, 9, (40, 3))), {"mask": (torch.tensor([True, False]), torch.empty(0))})
    before = (grid.clone(), kept.part.clone(), kept.cells.coordinates.clone(), kept.cells.find(kept.cells.coordinates))
    addresses = {kept.grid.data_ptr(), kept.cells.coordinates.data_ptr()}
    keep_apart(kept)
    after = (kept.grid, kept.part, kept.cells.coordinates, kept.cells.find(kept.cells.coordinates))
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
    assert kept.more["mask"][0].tolist() == [True, False]
    assert addresses.isdisjoint({kept.grid.data_ptr(), kept.cells.coordinates.data_ptr()})
    kept.grid[1, 2] = 5
    assert kept.part[0, 1] == 5, "still the same memory"
    assert kept.grid.untyped_storage().data_ptr() == kept.cells.coordinates.untyped_storage().data_ptr(), "all in one"


@torch.inference_mode()
def test_the_map_goes_with_the_last_tensor() -> None:
    kept = [torch.zeros(2**20), torch.zeros(2**20)]
    keep_apart(kept)
    gc.collect()
    before_kb = maps()
    del kept[0]
    assert maps() > before_kb - 4096
    kept.clear()
    assert maps() <= before_kb - 8192
