"""The memory encoders: names, batches of objects, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sam4d.modeling.lidar_encoder import VoxelisedSweep, voxelise
from sam4d.modeling.memory_encoder import ImageMemoryEncoder, LidarMemoryEncoder
from sam4d.modeling.sparse_conv import SparseTensor, SubmanifoldConv
from tests.sam4d.modeling.reference import tensor_shapes

WIDTH = 256


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def lidar_encoder() -> LidarMemoryEncoder:
    torch.manual_seed(1)
    return LidarMemoryEncoder().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def image_encoder() -> ImageMemoryEncoder:
    torch.manual_seed(2)
    return ImageMemoryEncoder().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sweep() -> VoxelisedSweep:
    return voxelise(np.random.default_rng(0).uniform(0, 12, size=(600, 3)))


def lidar_feature(sweep: VoxelisedSweep) -> SparseTensor:
    cells = sweep.point_cells
    for _ in range(4):
        cells = cells.coarser(2).cells
    return SparseTensor(cells, torch.randn(len(cells), WIDTH))


@pytest.mark.parametrize(("sensor", "encoder"), [("image", ImageMemoryEncoder), ("point", LidarMemoryEncoder)])
def test_the_names_are_the_released_ones(sensor: str, encoder: type[nn.Module]) -> None:
    prefix = f"pure_model.fusion.memory_encoder.{sensor}."
    expected = {name.removeprefix(prefix): shape for name, shape in tensor_shapes().items() if name.startswith(prefix)}
    with torch.device("meta"):
        state = encoder().state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected


def test_camera_objects_do_not_see_one_another(image_encoder: ImageMemoryEncoder) -> None:
    feature, logits = torch.randn(1, WIDTH, 48, 48), torch.randn(2, 1, 192, 192) * 5
    together = image_encoder(feature, logits)
    assert together.shape == (2, WIDTH, 48, 48)
    torch.testing.assert_close(together[1:], image_encoder(feature, logits[1:]))
    full = functional.interpolate(logits, size=(768, 768), mode="bilinear", align_corners=False)
    assert torch.equal(together, image_encoder(feature, full))


def test_without_blocks_a_memory_is_the_feature_and_the_mask(image_encoder: ImageMemoryEncoder) -> None:
    feature, logits = torch.randn(1, WIDTH, 48, 48), torch.randn(1, 1, 768, 768)
    mask = logits.sigmoid() * 20 - 10
    for layer in image_encoder.mask_downsampler.encoder:
        mask = layer(mask)
    fused = image_encoder.pix_feat_proj(feature) + mask
    # The blocks' gamma starts at a millionth.
    torch.testing.assert_close(image_encoder(feature, logits), fused, atol=1e-4, rtol=0)


def test_a_camera_block_is_a_perceptron_over_normalised_surroundings(image_encoder: ImageMemoryEncoder) -> None:
    block = next(image_encoder.fuser.layers.children())
    image = torch.randn(1, WIDTH, 9, 9)
    state = {**block.state_dict(), "gamma": torch.full((WIDTH,), 0.7)}
    result = torch.func.functional_call(block, state, (image,))
    window = functional.pad(image, (3, 3, 3, 3))[0, :, 2 : 2 + 7, 4 : 4 + 7]
    pixel = (window * state["dwconv.weight"][:, 0]).sum(dim=(1, 2)) + state["dwconv.bias"]
    pixel = (pixel - pixel.mean()) / (pixel.var(unbiased=False) + 1e-6).sqrt() * state["norm.weight"] + state["norm.bias"]
    hidden = functional.gelu(state["pwconv1.weight"] @ pixel + state["pwconv1.bias"])
    expected = image[0, :, 2, 4] + 0.7 * (state["pwconv2.weight"] @ hidden + state["pwconv2.bias"])
    torch.testing.assert_close(result[0, :, 2, 4], expected, atol=1e-5, rtol=1e-5)


def test_lidar_objects_do_not_see_one_another(lidar_encoder: LidarMemoryEncoder, sweep: VoxelisedSweep) -> None:
    feature, logits = lidar_feature(sweep), torch.randn(2, len(sweep)) * 5
    together = lidar_encoder(feature, logits, sweep.point_cells)
    assert together.shape == (2, len(feature.cells), WIDTH)
    torch.testing.assert_close(together[1:], lidar_encoder(feature, logits[1:], sweep.point_cells), atol=1e-5, rtol=1e-4)


def test_a_lidar_memory_is_as_far_as_its_parts(lidar_encoder: LidarMemoryEncoder, sweep: VoxelisedSweep) -> None:
    feature, logits = lidar_feature(sweep), torch.randn(1, len(sweep)) * 5
    state = {name: torch.full_like(value, 0.7) if name.endswith("gamma") else value for name, value in lidar_encoder.state_dict().items()}
    result = torch.func.functional_call(lidar_encoder, state, (feature, logits, sweep.point_cells))

    mask = SparseTensor(sweep.point_cells, (logits[0].sigmoid() * 20 - 10)[:, None])
    x = (
        lidar_encoder.mask_downsampler.encoder(mask).features
        + feature.features @ state["pix_feat_proj.kernel"]
        + state["pix_feat_proj.bias"]
    )
    for layer in ("fuser.layers.0.", "fuser.layers.1."):
        conv = SubmanifoldConv(WIDTH, WIDTH, 7)
        conv.load_state_dict({"kernel": state[layer + "conv.kernel"]})
        hidden = functional.layer_norm(conv(feature.with_features(x)).features, (WIDTH,), eps=1e-6)
        hidden = functional.gelu(hidden @ state[layer + "pwconv1.kernel"]) @ state[layer + "pwconv2.kernel"]
        x = x + 0.7 * hidden
    torch.testing.assert_close(result[0], x, atol=1e-4, rtol=1e-4)


def test_of_points_in_one_voxel_the_last_counts(lidar_encoder: LidarMemoryEncoder) -> None:
    points = np.random.default_rng(1).uniform(0, 6, size=(300, 3))
    sweep = voxelise(np.concatenate([points, points]))
    feature, logits = lidar_feature(sweep), torch.randn(1, 600)
    memory = lidar_encoder(feature, logits, sweep.point_cells)
    assert torch.equal(memory, lidar_encoder(feature, torch.cat([torch.zeros(1, 300), logits[:, 300:]], dim=1), sweep.point_cells))
    assert not torch.equal(memory, lidar_encoder(feature, torch.cat([logits[:, :300], torch.zeros(1, 300)], dim=1), sweep.point_cells))


def test_points_of_another_sweep_are_refused(lidar_encoder: LidarMemoryEncoder, sweep: VoxelisedSweep) -> None:
    other = voxelise(np.random.default_rng(5).uniform(0, 30, size=(600, 3)))
    with pytest.raises(ValueError, match="other voxels"):
        lidar_encoder(lidar_feature(sweep), torch.zeros(1, 600), other.point_cells)
