"""What a frame is to the network, independent of objects and prompts: encoded once, decoded many times.

Sizes here and in the other files: C channels (256 in the released model), a grid of G x G = L positions at stride 16 (48 x 48 = 2304),
M voxels at stride 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from sam4d.geometry import SE3
from sam4d.modeling.lidar_encoder import VoxelisedSweep
from sam4d.modeling.point_logits import PointMixing
from sam4d.modeling.positional_encoding import Rays
from sam4d.modeling.sparse_conv import SparseTensor
from sam4d.structures import Camera

Levels: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""What the encoder finds of an image at strides 4, 8 and 16, as in `CameraFeatures`."""


@dataclass(frozen=True, eq=False)
class CameraGrid:
    """The G x G = L positions at stride 16 of a camera's images, row by row: the same on all of its frames.

    sine: float32 (1, L, C), the camera's own position encoding. shared: (1, L, C), the one it shares with the LiDAR.
    rays: of the positions, in the frame's LiDAR frame.
    """

    sine: Tensor
    shared: Tensor
    rays: Rays


@dataclass(frozen=True, eq=False)
class CameraFeatures:
    """One image.

    stride4: float32 (1, C / 8, 4 G, 4 G) and stride8: (1, C / 4, 2 G, 2 G), ready for the mask decoder. stride16: (1, C, G, G), raw.
    grid: where the positions at stride 16 are. calibration: the camera.
    """

    stride4: Tensor
    stride8: Tensor
    stride16: Tensor
    grid: CameraGrid
    calibration: Camera

    @property
    def levels(self) -> Levels:
        return self.stride4, self.stride8, self.stride16

    @property
    def tokens(self) -> Tensor:
        """The raw top level as tokens, (1, L, C)."""
        return self.stride16.flatten(2).transpose(1, 2)

    @property
    def positions(self) -> Tensor:
        """(1, L, C)."""
        return self.grid.sine + self.grid.shared


@dataclass(frozen=True, eq=False)
class LidarFeatures:
    """One sweep of N points, with M voxels at stride 16.

    stride4 (C / 8 channels) and stride8 (C / 4): ready for the mask decoder. stride16: C channels, raw.
    positions_m: float32 (M, 3), mean of each voxel's points, LiDAR frame. positions: (1, M, C), their encoding, both terms of it.
    sweep: the points and their fine voxels. mixing: voxel logits to point logits.
    """

    stride4: SparseTensor
    stride8: SparseTensor
    stride16: SparseTensor
    positions_m: Tensor
    positions: Tensor
    sweep: VoxelisedSweep
    mixing: PointMixing

    @property
    def tokens(self) -> Tensor:
        """The raw top level as tokens, (1, M, C)."""
        return self.stride16.features[None]


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """One camera and one sweep of a frame, and where the vehicle was."""

    camera: CameraFeatures
    lidar: LidarFeatures
    world_SE3_lidar: SE3


@dataclass(frozen=True, eq=False)
class ConditionedFeatures:
    """Top-level features of both sensors as B objects' memories let them be seen (B = 1: the same for every object).

    camera: float32 (B, L, C). lidar: (B, M, C).
    """

    camera: Tensor
    lidar: Tensor


@dataclass(frozen=True, eq=False)
class Decoded:
    """What the network says of B objects on one frame.

    camera_low_res_logits: float32 (B, 4 G, 4 G). lidar_low_res_logits: (B, M4), per stride-4 voxel. lidar_logits: (B, N), per point.
    camera_pointer, lidar_pointer: (B, C). object_score: (B, 2), logits, camera then LiDAR. predicted_iou: (B, 2), 0 to 1.
    camera_given_logits: (B, 16 G, 16 G) where the answer is a given mask, which is remembered at this resolution; else None.
    """

    camera_low_res_logits: Tensor
    lidar_low_res_logits: Tensor
    lidar_logits: Tensor
    camera_pointer: Tensor
    lidar_pointer: Tensor
    object_score: Tensor
    predicted_iou: Tensor
    camera_given_logits: Tensor | None = None

    @classmethod
    def join(cls, answers: Sequence[Decoded]) -> Decoded:
        """The answers for several batches of objects on the same frame, as one. Either all of them are given masks, or none is."""
        given = [answer.camera_given_logits for answer in answers if answer.camera_given_logits is not None]
        if given and len(given) < len(answers):
            raise ValueError(f"given masks only, or none of them, expected; found {len(given)} among {len(answers)}")
        return cls(
            camera_low_res_logits=torch.cat([answer.camera_low_res_logits for answer in answers]),
            lidar_low_res_logits=torch.cat([answer.lidar_low_res_logits for answer in answers]),
            lidar_logits=torch.cat([answer.lidar_logits for answer in answers]),
            camera_pointer=torch.cat([answer.camera_pointer for answer in answers]),
            lidar_pointer=torch.cat([answer.lidar_pointer for answer in answers]),
            object_score=torch.cat([answer.object_score for answer in answers]),
            predicted_iou=torch.cat([answer.predicted_iou for answer in answers]),
            camera_given_logits=torch.cat(given) if given else None,
        )

    def of_object(self, index: int) -> Decoded:
        """The answer for one object of the batch, which stays a batch of 1."""
        one = slice(index, index + 1)
        return Decoded(
            camera_low_res_logits=self.camera_low_res_logits[one],
            lidar_low_res_logits=self.lidar_low_res_logits[one],
            lidar_logits=self.lidar_logits[one],
            camera_pointer=self.camera_pointer[one],
            lidar_pointer=self.lidar_pointer[one],
            object_score=self.object_score[one],
            predicted_iou=self.predicted_iou[one],
            camera_given_logits=None if self.camera_given_logits is None else self.camera_given_logits[one],
        )

    def camera_logits(self, height_px: int, width_px: int) -> Tensor:
        """float32 (B, height, width) at the camera's own size; a mask is where this is above 0."""
        best = self.camera_low_res_logits if self.camera_given_logits is None else self.camera_given_logits
        resized: Tensor = functional.interpolate(best[:, None], size=(height_px, width_px), mode="bilinear", align_corners=False)
        return resized[:, 0]
