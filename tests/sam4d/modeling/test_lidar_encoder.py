"""Voxels of a sweep and MinkUNet-34, against properties and, where at hand, the released network's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from converters.sequences.sequence_folder import open_sequence_folder
from sam4d import InputError
from sam4d.modeling.lidar_encoder import LidarPyramid, MinkUNet, VoxelisedSweep, voxelise
from sam4d.modeling.sparse_conv import SubmanifoldConv
from tests.sam4d.modeling.reference import FIRST_FRAME, POINT_STRIDE, reference_arrays, reference_weights, tensor_shapes

STATE_PREFIX = "pure_model.backbone.point.sparse_3d.0."
DECODER_PREFIX = "pure_model.head.sam.sam_mask_decoder."


@pytest.fixture(scope="module")
def reference_sweep(shared_data: Path) -> VoxelisedSweep:
    clip = open_sequence_folder(shared_data / "pandaset_001")
    return voxelise(clip.frames[FIRST_FRAME].load_sweep().points_m[::POINT_STRIDE])


@pytest.fixture(scope="module")
def reference_pyramid(reference_sweep: VoxelisedSweep) -> LidarPyramid:
    model = MinkUNet()
    model.load_state_dict(reference_weights(model, STATE_PREFIX))
    with torch.inference_mode():
        pyramid: LidarPyramid = model.eval()(reference_sweep)
    return pyramid


def test_the_names_are_the_released_ones() -> None:
    expected = {name.removeprefix(STATE_PREFIX): shape for name, shape in tensor_shapes().items() if name.startswith(STATE_PREFIX)}
    assert {name: tuple(tensor.shape) for name, tensor in MinkUNet().state_dict().items()} == expected


def test_the_cells_are_those_of_the_released_network(reference_pyramid: LidarPyramid) -> None:
    arrays = reference_arrays("reference.npz")
    assert np.array_equal(reference_pyramid.stride4.coordinates.numpy(), arrays["backbone/0/lidar_stride4_coords"])
    assert np.array_equal(reference_pyramid.stride16.coordinates.numpy(), arrays["backbone/0/lidar_stride16_coords"])
    expected = arrays["backbone/0/lidar_stride16_positions_m"].astype(np.float32)
    np.testing.assert_allclose(reference_pyramid.positions_m.numpy(), expected, rtol=6e-4, atol=1e-4)


@pytest.mark.parametrize(("stride", "projection"), [(4, "conv_s0_pts."), (8, "conv_s1_pts."), (16, None)])
def test_the_features_are_those_of_the_released_network(reference_pyramid: LidarPyramid, stride: int, projection: str | None) -> None:
    features = {4: reference_pyramid.stride4, 8: reference_pyramid.stride8, 16: reference_pyramid.stride16}[stride]
    arrays = reference_arrays("reference.npz")
    expected = arrays[f"backbone/0/lidar_stride{stride}_sample"].astype(np.float32)
    if projection is not None:
        conv = SubmanifoldConv(features.features.shape[1], expected.shape[1], 1)
        conv.load_state_dict(reference_weights(conv, DECODER_PREFIX + projection))
        with torch.inference_mode():
            features = conv(features)
    assert list(features.features.shape) == arrays[f"backbone/0/lidar_stride{stride}_shape"].tolist()
    np.testing.assert_allclose(features.features[::16].numpy(), expected, rtol=1e-3, atol=2e-4 * float(np.abs(expected).max()))


def test_voxels_of_points() -> None:
    points = np.array([[-0.07, 0.0, 1.0]] * 9 + [[0.149, 0.3, 1.1]], dtype=np.float32)
    sweep = voxelise(points)
    # -1.4 steps of 5 cm are cut to -1, 2.98 to 2: three steps or one voxel apart.
    assert sweep.point_cells.coordinates.tolist() == [[0, 0, 0]] * 9 + [[1, 2, 0]]
    assert sweep.point_cells.distinct.coordinates.tolist() == [[0, 0, 0], [1, 2, 0]]
    np.testing.assert_allclose(sweep.positions[-1].numpy(), [1, 2, 2 / 3], atol=1e-6)


def test_two_roundings_decide_the_voxel() -> None:
    points = np.zeros((4000, 3), dtype=np.float32)
    points[:, 0] = (np.arange(4000) + 0.5) * 0.05
    positions = voxelise(points).positions[:, 0].numpy()
    steps = np.arange(4000, dtype=np.float32)
    assert np.array_equal(positions, (steps * np.float32(0.05)) / np.float32(0.15))
    assert (np.floor(positions) != np.arange(4000) // 3).any()


def test_sweeps_that_are_none_are_refused() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with pytest.raises(InputError, match="at least 10 points"):
        voxelise(points[:9])
    with pytest.raises(InputError, match="at least 10 points"):
        voxelise(points[:, :2])
    with pytest.raises(InputError, match="2 points that are not"):
        voxelise(np.concatenate([points, np.full((2, 3), np.nan, np.float32)]))
    with pytest.raises(InputError, match="km of one another"):
        voxelise(np.concatenate([points, [[1e9, 0, 0]]]))
    with pytest.raises(InputError, match="more than 5 m"):
        MinkUNet().eval()(voxelise(points * 0.01))


def test_positions_are_the_means_of_the_points() -> None:
    points = np.random.default_rng(2).uniform(0, 12, size=(400, 3)).astype(np.float32)
    sweep = voxelise(points)
    with torch.inference_mode():
        pyramid = MinkUNet().eval()(sweep)
    cells = sweep.point_cells.coordinates.numpy() // 16
    for cell, mean in zip(pyramid.stride16.coordinates.numpy(), pyramid.positions_m.numpy(), strict=True):
        np.testing.assert_allclose(mean, points[(cells == cell).all(axis=1)].mean(axis=0), rtol=1e-5)
    assert pyramid.stride4.features.shape[1] == 128
    assert pyramid.stride8.features.shape[1] == 256
