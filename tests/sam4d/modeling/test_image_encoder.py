"""Hiera and its neck: what windows mean, and what the released network computes with known weights on a real image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from converters.sequences import open_sequence
from sam4d.modeling.image_encoder import HieraBlock, ImageEncoder, prepare_image
from tests.sam4d.modeling.reference import FIRST_FRAME, reference_arrays, reference_weights, tensor_shapes

PREFIX = "pure_model.backbone.image."
DECODER = "pure_model.head.sam.sam_mask_decoder."


def test_a_prepared_image() -> None:
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[..., 0] = 255
    prepared = prepare_image(image, 768)
    assert prepared.shape == (3, 768, 768)
    assert prepared.dtype == torch.float32
    wanted = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(prepared, wanted[:, None, None].expand(3, 768, 768))


def block(window: int, *, pooled: bool) -> HieraBlock:
    torch.manual_seed(0)
    return HieraBlock(8, 16 if pooled else 8, 2, window, pooled=pooled).eval()


@pytest.mark.parametrize("pooled", [False, True])
def test_one_window_over_everything_is_global_attention(pooled: bool) -> None:
    x = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    everywhere, windowed = block(0, pooled=pooled), block(8, pooled=pooled)
    torch.testing.assert_close(windowed(x), everywhere(x))


@pytest.mark.parametrize("pooled", [False, True])
def test_windows_do_not_see_each_other(pooled: bool) -> None:
    x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    windowed = block(4, pooled=pooled)
    side = 2 if pooled else 4
    torch.testing.assert_close(windowed(x)[:, side:, :side], windowed(x[:, 4:, :4].contiguous()))


@pytest.mark.parametrize("pooled", [False, True])
def test_zeros_that_fill_up_a_window_are_attended_to(pooled: bool) -> None:
    """Windows of 4 over 6 x 6 tokens: the last ones are half empty. The zeros come after the norm: a larger image would give others."""
    x = torch.randn(1, 6, 6, 8, generator=torch.Generator().manual_seed(1))
    windowed, everywhere = block(4, pooled=pooled), block(0, pooled=pooled)
    corner = functional.pad(windowed.norm1(x)[:, 4:, 4:], (0, 0, 0, 2, 0, 2))
    attended = everywhere.attn(corner)
    step = 2 if pooled else 1
    shortcut = (
        x if windowed.proj is None else functional.max_pool2d(windowed.proj(windowed.norm1(x)).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    )
    before = shortcut[:, 4 // step :, 4 // step :] + attended[:, : 2 // step, : 2 // step]
    torch.testing.assert_close(windowed(x)[:, 4 // step :, 4 // step :], before + windowed.mlp(windowed.norm2(before)))


def test_an_image_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        ImageEncoder()(torch.zeros(1, 3, 60, 64))


def test_names_and_shapes_are_the_released_ones() -> None:
    wanted = {name.removeprefix(PREFIX): shape for name, shape in tensor_shapes().items() if name.startswith(PREFIX)}
    assert {name: tuple(tensor.shape) for name, tensor in ImageEncoder().state_dict().items()} == wanted


def test_features_agree_with_the_released_network(shared_data: Path) -> None:
    expected = reference_arrays("reference.npz")
    encoder = ImageEncoder().eval()
    encoder.load_state_dict(reference_weights(encoder, PREFIX), strict=True)
    projections = torch.nn.ModuleDict({"conv_s0": torch.nn.Conv2d(256, 32, 1), "conv_s1": torch.nn.Conv2d(256, 64, 1)})
    projections.load_state_dict(reference_weights(projections, DECODER), strict=True)
    image = open_sequence(shared_data / "pandaset_001").frames[FIRST_FRAME].load_images["front"]()
    with torch.inference_mode():
        features = encoder(prepare_image(image, 768)[None])
        levels = {4: projections["conv_s0"](features.stride4), 8: projections["conv_s1"](features.stride8), 16: features.stride16}
    for stride, level in levels.items():
        assert list(level.shape[1:]) == expected[f"backbone/0/image_stride{stride}_shape"].tolist()
        wanted = expected[f"backbone/0/image_stride{stride}_sample"]
        step = level.shape[3] // 48
        tolerance = 5e-3 if wanted.dtype == np.float16 else 2e-5
        found = level[0, ::4, ::step, ::step][:, ::4, ::4].numpy()
        np.testing.assert_allclose(found, wanted.astype(np.float32), rtol=1e-3, atol=tolerance)
