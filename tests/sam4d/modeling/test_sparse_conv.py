"""Sparse convolution against a loop over cells and taps that shares no code with it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam4d.modeling.sparse_conv import (
    CELL_LIMIT,
    Cells,
    DownConv,
    FeatureBatchNorm,
    SparseSequential,
    SparseTensor,
    SubmanifoldConv,
    UpConv,
)

Cell = tuple[int, int, int]
Array = NDArray[np.float64]

cells_with_duplicates = st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=60)


def sparse(rows: list[Cell], channels: int, seed: int = 0) -> SparseTensor:
    features = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(rows), channels)))
    return SparseTensor(Cells(torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)), features)


def lookup(rows: list[Cell], features: Array) -> dict[Cell, Array]:
    return dict(zip(rows, features, strict=True))  # of a repeated cell the last row stays


def naive_submanifold(rows: list[Cell], features: Array, kernel: Array, k: int) -> Array:
    inputs, r = lookup(rows, features), k // 2
    result = np.zeros((len(rows), kernel.shape[2]))
    for row, (x, y, z) in enumerate(rows):
        for dx, dy, dz in itertools.product(range(-r, r + 1), repeat=3):
            neighbour = inputs.get((x + dx, y + dy, z + dz))
            if neighbour is not None:
                result[row] += neighbour @ kernel[(dx + r) + k * (dy + r) + k * k * (dz + r)]
    return result


def naive_down(rows: list[Cell], features: Array, kernel: Array, k: int) -> dict[Cell, Array]:
    inputs = lookup(rows, features)
    limits = [(max(cell[axis] for cell in rows) - (k - 1)) // k for axis in range(3)]
    result: dict[Cell, Array] = {}
    for coarse in sorted({(x // k, y // k, z // k) for x, y, z in rows}):
        if any(coarse[axis] > limits[axis] for axis in range(3)):
            continue
        result[coarse] = np.zeros(kernel.shape[2])
        for dx, dy, dz in itertools.product(range(k), repeat=3):
            fine = inputs.get((coarse[0] * k + dx, coarse[1] * k + dy, coarse[2] * k + dz))
            if fine is not None:
                result[coarse] += fine @ kernel[(dx * k + dy) * k + dz]
    return result


@given(cells_with_duplicates, st.sampled_from([3, 5]))
def test_a_submanifold_convolution_is_the_sum_over_its_taps(rows: list[Cell], k: int) -> None:
    x, conv = sparse(rows, 2), SubmanifoldConv(2, 3, k, bias=True).double()
    with torch.no_grad():
        assert conv.bias is not None
        conv.bias.fill_(0.5)
        result = conv(x)
    expected = naive_submanifold(rows, x.features.numpy(), conv.kernel.detach().numpy(), k) + 0.5
    assert result.cells is x.cells
    np.testing.assert_allclose(result.features.numpy(), expected, atol=1e-12)


def test_seven_cubed_taps() -> None:
    rows: list[Cell] = [(x, y, z) for x in range(5) for y in range(4) for z in range(6) if (x * 7 + y * 3 + z) % 4]
    x, conv = sparse(rows, 2), SubmanifoldConv(2, 2, 7).double()
    with torch.no_grad():
        result = conv(x).features.numpy()
    np.testing.assert_allclose(result, naive_submanifold(rows, x.features.numpy(), conv.kernel.detach().numpy(), 7), atol=1e-12)


@given(cells_with_duplicates, st.sampled_from([2, 4]))
def test_down_drops_the_cells_at_the_border_and_up_returns(rows: list[Cell], k: int) -> None:
    x, down, up = sparse(rows, 2), DownConv(2, 3, k).double(), UpConv(3, 2, k).double()
    with torch.no_grad():
        coarse = down(x)
        fine = up(coarse, x.cells)
    expected = naive_down(rows, x.features.numpy(), down.kernel.detach().numpy(), k)
    assert coarse.coordinates.tolist() == [list(cell) for cell in expected]
    np.testing.assert_allclose(coarse.features.numpy(), np.array(list(expected.values())).reshape(-1, 3), atol=1e-12)

    kernel = up.kernel.detach().numpy()
    assert fine.cells is x.cells
    for row, (cell_x, cell_y, cell_z) in enumerate(rows):
        above = expected.get((cell_x // k, cell_y // k, cell_z // k))
        tap = ((cell_x % k) * k + cell_y % k) * k + cell_z % k
        np.testing.assert_allclose(fine.features[row].numpy(), 0 if above is None else above @ kernel[tap], atol=1e-12)


def test_an_even_maximum_loses_its_plane() -> None:
    assert Cells(torch.tensor([[0, 0, 0], [1, 1, 1], [2, 1, 1]])).coarser(2).cells.coordinates.tolist() == [[0, 0, 0]]
    assert Cells(torch.tensor([[0, 0, 0], [3, 1, 1]])).coarser(2).cells.coordinates.tolist() == [[0, 0, 0], [1, 0, 0]]
    alone = DownConv(1, 1, 2)(SparseTensor(Cells(torch.tensor([[0, 0, 0]])), torch.ones(1, 1)))
    assert alone.features.shape == (0, 1)
    assert SubmanifoldConv(1, 2, 3)(DownConv(1, 1, 2)(alone)).features.shape == (0, 2)


@given(cells_with_duplicates)
def test_a_batch_of_objects_is_each_object_by_itself(rows: list[Cell]) -> None:
    cells = sparse(rows, 1).cells
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(len(rows), 2, 3)))
    norm = FeatureBatchNorm(4).eval()
    net = SparseSequential(SubmanifoldConv(3, 4, 3), norm, torch.nn.ReLU(), DownConv(4, 2, 2, bias=True)).double()
    with torch.no_grad():
        together = net(SparseTensor(cells, features)).features
        for index in range(2):
            torch.testing.assert_close(together[:, index], net(SparseTensor(cells, features[:, index])).features)


def test_layers_share_the_maps_of_their_cells() -> None:
    cells = sparse([(0, 0, 0), (1, 0, 0), (3, 3, 3)], 1).cells
    assert cells.neighbours(3) is cells.neighbours(3)
    recurring = sparse([(1, 0, 0), (1, 0, 0), (3, 3, 3)], 1).cells
    assert recurring.neighbours(3) is recurring.distinct.neighbours(3)
    assert recurring.coarser(2) is recurring.distinct.coarser(2)
    assert recurring.distinct.coordinates.tolist() == [[1, 0, 0], [3, 3, 3]]
    assert cells.coarser(2).cells is cells.coarser(2).cells


@given(cells_with_duplicates, st.lists(st.tuples(*[st.integers(-2, 8)] * 3), min_size=1, max_size=20))
def test_find_gives_the_last_row_of_a_cell(rows: list[Cell], wanted: list[Cell]) -> None:
    last = {cell: row for row, cell in enumerate(rows)}
    found = sparse(rows, 1).cells.find(torch.tensor(wanted))
    assert found.tolist() == [last.get(cell, -1) for cell in wanted]


def test_cells_far_from_the_origin_keep_their_neighbours() -> None:
    for base in (CELL_LIMIT - 3, -CELL_LIMIT + 1):
        rows = [(base + x, base, base + z) for x in range(2) for z in range(2)]
        x, conv = sparse(rows, 1), SubmanifoldConv(1, 1, 3).double()
        with torch.no_grad():
            result = conv(x).features.numpy()
        np.testing.assert_allclose(result, naive_submanifold(rows, x.features.numpy(), conv.kernel.detach().numpy(), 3), atol=1e-12)


def test_gradients_reach_the_kernels_and_the_input() -> None:
    x = sparse([(0, 0, 0), (1, 0, 0), (1, 1, 1), (1, 1, 1)], 2)
    features = x.features.requires_grad_()
    conv, down, up = SubmanifoldConv(2, 2, 3).double(), DownConv(2, 2, 2).double(), UpConv(2, 2, 2).double()

    def forward(values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = up(down(conv(x.with_features(values))), x.cells).features
        return result

    assert torch.autograd.gradcheck(forward, (features,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_and_always_the_same() -> None:
    rows: list[Cell] = [tuple(cell) for cell in np.random.default_rng(0).integers(0, 16, size=(3000, 3)).tolist()]
    x = sparse(rows, 8)
    net = SparseSequential(SubmanifoldConv(8, 8, 3), DownConv(8, 8, 2), SubmanifoldConv(8, 8, 7)).double()
    with torch.no_grad():
        expected = net(x)
        results = [net.cuda()(SparseTensor(Cells(x.coordinates.cuda()), x.features.cuda())) for _ in range(3)]
    assert torch.equal(results[0].coordinates.cpu(), expected.coordinates)
    torch.testing.assert_close(results[0].features.cpu(), expected.features)
    assert all(torch.equal(result.features, results[0].features) for result in results)


def test_what_is_not_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"int64 \(M, 3\)"):
        Cells(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=str(CELL_LIMIT)):
        Cells(torch.tensor([[0, CELL_LIMIT, 0]]))
    with pytest.raises(ValueError, match="odd"):
        SubmanifoldConv(1, 1, 2)
    cells = Cells(torch.tensor([[0, 0, 0], [1, 1, 1]]))
    with pytest.raises(ValueError, match="2 cells"):
        SparseTensor(cells, torch.ones(3, 1))
    with pytest.raises(ValueError, match="over the finer ones"):
        UpConv(1, 1, 2)(SparseTensor(cells, torch.ones(2, 1)), cells)
