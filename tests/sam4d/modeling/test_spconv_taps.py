"""spconv and our own sparse convolution agree. Skipped where spconv-cu120 is not installed (CI installs it)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam4d.modeling.sparse_conv import Cells, DownConv, SparseSequential, SparseTensor, SubmanifoldConv
from sam4d.modeling.spconv_taps import spconv_is_installed, use_spconv

pytestmark = pytest.mark.skipif(not spconv_is_installed(), reason="spconv-cu120 is not installed")

devices = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))]
)


def network() -> SparseSequential:
    torch.manual_seed(0)
    return SparseSequential(
        SubmanifoldConv(3, 16, 3),
        SubmanifoldConv(16, 16, 3, bias=True),
        DownConv(16, 8, 2),
        SubmanifoldConv(8, 8, 7),
        SubmanifoldConv(8, 4, 1),
    )


def given(rows: int, objects: int | None, device: str, lowest: int = -20) -> SparseTensor:
    """Cells below zero, too, and some that recur."""
    generator = np.random.default_rng(0)
    cells = torch.from_numpy(generator.integers(lowest, lowest + 14, size=(rows, 3)))
    shape = (rows, 3) if objects is None else (rows, objects, 3)
    features = torch.from_numpy(generator.normal(size=shape).astype(np.float32))
    return SparseTensor(Cells(cells.to(device)), features.to(device))


@devices
@pytest.mark.parametrize("objects", [None, 1, 3])
def test_both_agree(objects: int | None, device: str) -> None:
    net = network().to(device)
    x = given(1200, objects, device)
    with torch.inference_mode():
        expected = net(x)
        assert use_spconv(net) == 3, "a kernel of one tap needs none"
        found = [net(given(1200, objects, device)), net(x), net(x)]
    for each in found:
        assert torch.equal(each.coordinates, expected.coordinates)
        torch.testing.assert_close(each.features, expected.features, rtol=1e-4, atol=1e-5)


@devices
def test_nothing_stays_nothing(device: str) -> None:
    net = SparseSequential(SubmanifoldConv(3, 5, 3)).to(device)
    use_spconv(net)
    assert net(given(0, None, device)).features.shape == (0, 5)


def test_weights_keep_their_names() -> None:
    net = network()
    before = set(net.state_dict())
    use_spconv(net)
    assert set(net.state_dict()) == before
