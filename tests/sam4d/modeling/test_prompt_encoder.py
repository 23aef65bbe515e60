"""Prompts as tokens and dense maps: labels, order, and what each sensor's decoder gets to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam4d.geometry import SE3
from sam4d.modeling.positional_encoding import UnionPositionalEncoding
from sam4d.modeling.prompt_encoder import (
    CameraPromptEncoder,
    LidarPromptEncoder,
    PromptPoints,
    SensorPoints,
    encode_points,
    network_pixels,
)
from sam4d.modeling.sparse_conv import Cells
from sam4d.structures import BoxPrompt, Camera, PointPrompt
from tests.sam4d.modeling.reference import tensor_shapes

CAMERA = Camera("front", 1920, 1080, 1000.0, 1010.0, 950.0, 530.0, SE3.identity())
CLICK = PointPrompt(0, 0, "front", [[900, 620], [1000, 650]], [1, 0])
BOX = BoxPrompt(0, 0, "front", [800, 520, 1100, 700])
LIDAR_CLICK = PointPrompt(0, 0, "lidar", [[2.0, 15.0, 0.8]], [1])
LIDAR_BOX = BoxPrompt(0, 0, "lidar", [0, 13, 4, 18])


@pytest.fixture
def encoders() -> tuple[UnionPositionalEncoding, CameraPromptEncoder, LidarPromptEncoder]:
    torch.manual_seed(0)
    return UnionPositionalEncoding().eval(), CameraPromptEncoder().eval(), LidarPromptEncoder().eval()


Encoders = tuple[UnionPositionalEncoding, CameraPromptEncoder, LidarPromptEncoder]


def test_prompts_as_points() -> None:
    points = PromptPoints.of([CLICK, LIDAR_CLICK, BOX, LIDAR_BOX, PointPrompt(0, 0, "rear", [[1, 1]], [1])], "front")
    assert points.camera.coordinates.tolist() == [[800, 520], [1100, 700], [900, 620], [1000, 650]]
    assert points.camera.labels.tolist() == [2, 3, 1, 0]
    assert points.lidar.coordinates.tolist() == [[0, 13, 0], [4, 18, 0], [2, 15, 0.8]]
    assert points.lidar.labels.tolist() == [2, 3, 1]


def test_when_prompts_are_ambiguous() -> None:
    click = PointPrompt(0, 0, "front", [[900, 620]], [1])
    assert PromptPoints().is_ambiguous
    assert PromptPoints.of([click], "front").is_ambiguous
    assert PromptPoints.of([LIDAR_CLICK], "front").is_ambiguous
    assert PromptPoints.of([click, LIDAR_CLICK, LIDAR_BOX], "front").is_ambiguous  # counted in the camera alone
    assert not PromptPoints.of([CLICK], "front").is_ambiguous
    assert not PromptPoints.of([LIDAR_BOX], "front").is_ambiguous


def test_pixels_as_the_network_sees_them() -> None:
    assert network_pixels(np.array([[900.0, 620.0], [1919.9, 1079.9]]), CAMERA, 768).tolist() == [[360.5, 440.5], [767.5, 767.5]]


def test_a_label_for_every_point() -> None:
    with pytest.raises(ValueError, match="a label for every point"):
        SensorPoints(np.zeros((2, 2)), np.zeros(1, dtype=np.int64))


def test_tokens_of_both_sensors(encoders: Encoders) -> None:
    positions, camera_encoder, lidar_encoder = encoders
    for_camera, for_lidar = encode_points(PromptPoints.of([CLICK, LIDAR_CLICK], "front"), CAMERA, *encoders)
    pixels = positions.pixels(CAMERA, network_pixels(np.asarray(CLICK.coordinates), CAMERA, 768))
    embeddings = [embedding.get_parameter("weight") for embedding in camera_encoder.point_embeddings]
    camera = torch.cat([pixels[:1] + embeddings[1], pixels[1:] + embeddings[0], camera_encoder.not_a_point_embed.weight])
    positive = lidar_encoder.point_embeddings[1].get_parameter("weight")
    lidar = torch.cat([positions.positions(torch.tensor([[2.0, 15.0, 0.8]])) + positive, lidar_encoder.not_a_point_embed.weight])
    torch.testing.assert_close(for_lidar, torch.cat([lidar, camera])[None])
    torch.testing.assert_close(for_camera, torch.cat([camera, lidar, camera])[None])


def test_a_sensor_without_prompts_is_padded_twice(encoders: Encoders) -> None:
    _, camera_encoder, lidar_encoder = encoders
    camera, lidar = (each.not_a_point_embed.weight for each in (camera_encoder, lidar_encoder))
    for_camera, for_lidar = encode_points(PromptPoints(), CAMERA, *encoders)
    torch.testing.assert_close(for_lidar, torch.cat([lidar, lidar, camera, camera])[None])
    torch.testing.assert_close(for_camera, torch.cat([camera, camera, lidar, lidar, camera, camera])[None])


def test_padding_has_no_place(encoders: Encoders) -> None:
    camera_encoder = encoders[1]
    tokens = camera_encoder.embed_points(torch.randn(1, 256), torch.tensor([-1]))
    torch.testing.assert_close(tokens, camera_encoder.not_a_point_embed.weight.expand(1, 2, 256))


def test_masks_in_a_batch_are_those_one_by_one(encoders: Encoders) -> None:
    _, camera_encoder, lidar_encoder = encoders
    generator = torch.Generator().manual_seed(1)
    masks = torch.randn(2, 192, 192, generator=generator)
    dense = camera_encoder.embed_mask(masks)
    assert dense.shape == (2, 256, 48, 48)
    torch.testing.assert_close(dense[1:], camera_encoder.embed_mask(masks[1:]))

    cells = Cells(torch.unique(torch.randint(0, 12, (300, 3), generator=generator), dim=0))
    voxel_masks = torch.randn(2, len(cells), generator=generator)
    voxel_dense = lidar_encoder.embed_mask(cells, voxel_masks)
    assert voxel_dense.shape == (2, len(cells.coarser(2).cells.coarser(2).cells), 256)
    torch.testing.assert_close(voxel_dense[1:], lidar_encoder.embed_mask(cells, voxel_masks[1:]))


def test_no_masks(encoders: Encoders) -> None:
    _, camera_encoder, lidar_encoder = encoders
    torch.testing.assert_close(camera_encoder.embed_mask(None)[:, :, 0, 0], camera_encoder.no_mask_embed.weight)
    cells = Cells(torch.zeros(1, 3, dtype=torch.int64))
    torch.testing.assert_close(lidar_encoder.embed_mask(cells, None)[0], lidar_encoder.no_mask_embed.weight)


@pytest.mark.parametrize(
    ("encoder", "prefix"),
    [(CameraPromptEncoder, "pure_model.head.sam.sam_prompt_encoder."), (LidarPromptEncoder, "pure_model.head.sam.psam_prompt_encoder.")],
)
def test_names_and_shapes_are_the_released_ones(encoder: type[torch.nn.Module], prefix: str) -> None:
    wanted = {name.removeprefix(prefix): shape for name, shape in tensor_shapes().items() if name.startswith(prefix)}
    assert {name: tuple(tensor.shape) for name, tensor in encoder().state_dict().items()} == wanted
