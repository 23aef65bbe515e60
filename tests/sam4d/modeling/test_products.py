"""Products by oneDNN are those of PyTorch's own, and are left out where they cannot stand in for them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sam4d.modeling import products
from sam4d.modeling.attention import attend


@pytest.fixture(params=[False, True], ids=["mkl", "onednn"])
def by_onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no linear layer by oneDNN")
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("shape", [(0, 32), (1, 32), (700, 32), (2, 5, 32), (3, 4, 5, 32)])
@pytest.mark.parametrize("transposed", [False, True])
def test_linear_is_functional_linear(by_onednn: bool, shape: tuple[int, ...], transposed: bool) -> None:
    torch.manual_seed(0)
    rows, bias = torch.randn(*shape[:-1], 128), torch.randn(96)
    weight = torch.randn(128, 96).T if transposed else torch.randn(96, 128)
    with torch.inference_mode():
        torch.testing.assert_close(products.linear(rows, weight, bias), functional.linear(rows, weight, bias))
        torch.testing.assert_close(products.linear(rows, weight), functional.linear(rows, weight))


def test_linear_takes_rows_that_are_views(by_onednn: bool) -> None:
    torch.manual_seed(0)
    rows, weight = torch.randn(128, 200, 3).permute(2, 1, 0), torch.randn(96, 128)
    with torch.inference_mode():
        torch.testing.assert_close(products.linear(rows, weight), functional.linear(rows, weight))
        torch.testing.assert_close(
            products.linear(rows[:1].expand(4, -1, -1), weight), functional.linear(rows[:1].expand(4, -1, -1), weight)
        )


@pytest.mark.parametrize("queries", [1, 128, 700])
def test_attention_is_that_of_pytorch(by_onednn: bool, queries: int) -> None:
    torch.manual_seed(0)
    asked, keys, values = torch.randn(1, queries, 64).expand(2, -1, -1), torch.randn(2, 9000, 64) * 3, torch.randn(2, 9000, 64)
    with torch.inference_mode():
        expected = functional.scaled_dot_product_attention(asked, keys, values)
        torch.testing.assert_close(attend(asked, keys, values), expected, rtol=1e-4, atol=1e-5)


def test_gradients_go_through_linear(by_onednn: bool) -> None:
    torch.manual_seed(0)
    layer = products.Linear(8, 4)
    layer(torch.randn(5, 8)).square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_mixed_precision_stays_mixed(by_onednn: bool) -> None:
    layer = products.Linear(8, 4)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(5, 8)).dtype is torch.bfloat16
