"""The mixing of voxel logits into point logits, against the rule written out point by point."""

from __future__ import annotations

import torch

from sam4d.modeling.point_logits import point_mixing
from sam4d.modeling.sparse_conv import Cells


def test_points_mix_the_four_cells_that_count() -> None:
    generator = torch.Generator().manual_seed(5)
    positions = torch.rand(200, 3, generator=generator) * 40
    grid = torch.cartesian_prod(torch.arange(12), torch.arange(12), torch.arange(12))
    cells = grid[torch.rand(len(grid), generator=generator) < 0.5]
    logits = torch.randn(2, len(cells), generator=generator)
    rows = {tuple(cell): row for row, cell in enumerate(cells.tolist())}

    mixed = point_mixing(positions, Cells(cells))(logits)

    for index, (x, y, z) in enumerate((positions / 4).tolist()):
        cx, cy, cz = int(x), int(y), int(z)
        fx, fy = x - cx, y - cy
        total = torch.zeros(2)
        weights = 0.0
        for (dy, dz), weight in {(0, 0): (1 - fx) * (1 - fy), (0, 4): (1 - fx) * fy, (4, 0): fx * (1 - fy), (4, 4): fx * fy}.items():
            row = rows.get((cx, cy + dy, cz + dz))
            if row is not None:
                total += weight * logits[:, row]
                weights += weight
        torch.testing.assert_close(mixed[:, index], total / (weights + 1e-8), rtol=1e-4, atol=1e-5)


def test_a_point_without_any_voxel_gets_zero() -> None:
    mixing = point_mixing(torch.tensor([[100.0, 100.0, 100.0], [0.5, 0.5, 0.5]]), Cells(torch.zeros(1, 3, dtype=torch.int64)))
    torch.testing.assert_close(mixing(torch.tensor([[7.0]])), torch.tensor([[0.0, 7.0]]))
