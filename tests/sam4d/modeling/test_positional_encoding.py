"""Positional encodings against their plain definition, and against the released network's numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from converters.sequences import open_sequence
from sam4d.geometry import SE3, Float64Array
from sam4d.modeling.positional_encoding import EgoPoseEncoder, Rays, UnionPositionalEncoding, distance_sine, motion_vector
from sam4d.structures import Camera
from tests.sam4d.modeling.reference import reference_arrays, reference_weights, tensor_shapes

LIDAR_SE3_CAM = SE3(Rotation.from_euler("xyz", [-1.6, 0.1, 0.2]).as_matrix(), np.array([0.3, 0.5, -0.2]))
CAMERA = Camera("front", 1920, 1080, 1000.0, 1010.0, 950.0, 530.0, LIDAR_SE3_CAM)
MOTION = SE3(Rotation.from_euler("xyz", [0.01, -0.02, 0.3]).as_matrix(), np.array([4.0, -1.0, 0.1]))


@pytest.fixture
def encoding() -> UnionPositionalEncoding:
    torch.manual_seed(0)
    return UnionPositionalEncoding().eval()


def points_along_rays(network_pixels: Float64Array, motion: SE3) -> Float64Array:
    """(N, 128, 3): image augmentation undone, times depth, inverse intrinsics, to the LiDAR, then moved."""
    intrinsics = np.array([[CAMERA.fx_px, 0, CAMERA.cx_px], [0, CAMERA.fy_px, CAMERA.cy_px], [0, 0, 1]])
    points = []
    for u, v in network_pixels:
        pixel = np.array([u * CAMERA.width_px / 768, v * CAMERA.height_px / 768, 1.0])
        points.append([motion.apply(LIDAR_SE3_CAM.apply(np.linalg.inv(intrinsics) @ (pixel * (1.0 + 0.6 * step)))) for step in range(128)])
    return np.array(points)


def through_all_inputs(encoding: UnionPositionalEncoding, points_m: Float64Array) -> Tensor:
    """The shared term as it is defined: 384 numbers, depth by depth, through the perceptron."""
    embedded: Tensor = encoding.union_pe_layer.mlp_embedding.double()(torch.from_numpy(points_m.reshape(len(points_m), -1)))
    return embedded.float()


def test_the_shared_term_of_pixels(encoding: UnionPositionalEncoding) -> None:
    pixels = np.array([[0.5, 0.5], [400.5, 300.5], [767.5, 10.5]])
    found = encoding.shared_of_rays(Rays.of_pixels(CAMERA, pixels, 768).moved(MOTION))
    torch.testing.assert_close(found, through_all_inputs(encoding, points_along_rays(pixels, MOTION)), rtol=1e-5, atol=1e-5)


def test_the_shared_term_of_positions(encoding: UnionPositionalEncoding) -> None:
    positions_m = np.array([[1.0, 2.0, 3.0], [-40.0, 10.0, 0.5]])
    found = encoding.shared_of_positions(torch.from_numpy(positions_m).float())
    repeated = np.repeat(positions_m[:, None], 128, axis=1)
    torch.testing.assert_close(found, through_all_inputs(encoding, repeated), rtol=1e-5, atol=1e-5)


def test_the_grid_is_its_pixels_row_by_row(encoding: UnionPositionalEncoding) -> None:
    row, column = 7, 30
    pixel = np.array([[column * 16 + 8.0, row * 16 + 8.0]])
    grid = Rays.of_grid(CAMERA, 768)
    assert grid.directions.shape == (2304, 3)
    np.testing.assert_allclose(grid.directions[row * 48 + column], Rays.of_pixels(CAMERA, pixel, 768).directions[0])
    torch.testing.assert_close(encoding.grid_sine()[row * 48 + column], encoding.camera_sine(torch.from_numpy(pixel).float())[0])


def test_the_camera_s_sine_term(encoding: UnionPositionalEncoding) -> None:
    found = encoding.camera_sine(torch.tensor([[192.5, 576.5]]))[0]
    u, v = 2 * math.pi * 192.5 / 768, 2 * math.pi * 576.5 / 768
    wanted = [math.sin(v), math.cos(v)] * 64 + [math.sin(u), math.cos(u)] * 64
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0, atol=1e-5)


def test_motion_as_numbers() -> None:
    vector = motion_vector(MOTION).numpy()
    np.testing.assert_allclose(vector[:3], Rotation.from_matrix(MOTION.rotation).as_rotvec(), atol=1e-6)
    np.testing.assert_allclose(vector[3:], MOTION.translation_m, rtol=1e-6)
    assert not motion_vector(SE3.identity()).any()


def test_an_ego_motion_s_scale() -> None:
    encoder = EgoPoseEncoder(256)
    encoder.load_state_dict({"d_max": torch.tensor(-2.0)}, strict=False)
    motion = torch.tensor([[math.pi, 0.0, 0.0, 2.0, 4.0, 0.0]])
    torch.testing.assert_close(encoder(motion), encoder.fc(torch.tensor([[1.0, 0.0, 0.0, 1.0, 2.0, 0.0]])), rtol=1e-5, atol=1e-5)


def test_distances_in_time() -> None:
    phases = [0.25 / 10000 ** (2 * (index // 2) / 128) for index in range(128)]
    wanted = [*map(math.sin, phases), *map(math.cos, phases)]
    torch.testing.assert_close(distance_sine(torch.tensor([1.0, 0.25]), 256)[1], torch.tensor(wanted))


@pytest.mark.parametrize(("module", "prefix"), [(UnionPositionalEncoding(), "union_pe_func."), (EgoPoseEncoder(256), "ego_pose_encoder.")])
def test_names_and_shapes_are_the_released_ones(module: torch.nn.Module, prefix: str) -> None:
    wanted = {name.removeprefix(prefix): shape for name, shape in tensor_shapes().items() if name.startswith(prefix)}
    assert {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()} == wanted


def test_encodings_agree_with_the_released_network(shared_data: Path) -> None:
    expected = {key: array.astype(np.float32) for key, array in reference_arrays("reference.npz").items() if "coords" not in key}
    encoding = UnionPositionalEncoding().eval()
    encoding.load_state_dict(reference_weights(encoding, "union_pe_func."), strict=True)
    camera = open_sequence(shared_data / "pandaset_001").cameras["front"]
    positions_m = torch.from_numpy(expected["backbone/0/lidar_stride16_positions_m"])[::16]
    with torch.inference_mode():
        found = {
            "camera_pe_sample": encoding.shared_of_rays(Rays.of_grid(camera, 768)).T.view(256, 48, 48)[::4, ::4, ::4],
            "image_sine_sample": encoding.grid_sine().T.view(256, 48, 48)[::4, ::4, ::4],
            "lidar_pe_sample": encoding.shared_of_positions(positions_m),
            "lidar_sine_sample": encoding.lidar_sine(positions_m),
        }
    # The reference is rounded to float16, and so are the positions that the LiDAR's encodings are made from here: up to 3 cm at 70 m.
    tolerances = {"camera_pe_sample": 5e-4, "image_sine_sample": 5e-4, "lidar_pe_sample": 1e-3, "lidar_sine_sample": 0.04}
    for name, value in found.items():
        wanted = expected[f"pe/0/{name}"]
        np.testing.assert_allclose(value.numpy(), wanted, rtol=0, atol=tolerances[name] * np.abs(wanted).max(), err_msg=name)
