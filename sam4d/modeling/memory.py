"""What is remembered of a frame (arXiv 2506.21547, motion-aware memory)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from sam4d.geometry import SE3
from sam4d.modeling.encoded_frame import EncodedFrame
from sam4d.modeling.positional_encoding import Rays


@dataclass(frozen=True, eq=False)
class FramePlace:
    """Where a frame's memories are, shared by all objects.

    rays: of the camera's L grid positions, and lidar_positions_m: float32 (M, 3), both in the frame's own LiDAR frame. The camera's own
    encoding is the same on every frame and not kept.
    """

    world_SE3_lidar: SE3
    rays: Rays
    lidar_positions_m: Tensor

    @classmethod
    def of(cls, frame: EncodedFrame) -> FramePlace:
        # A copy, since memories stay longer than the frame's features, whose memory may be one.
        return cls(frame.world_SE3_lidar, frame.camera.grid.rays, frame.lidar.positions_m.clone())


@dataclass(frozen=True, eq=False)
class FrameMemory:
    """One frame as B objects remember it.

    camera: bfloat16 (B, L, C) and lidar: bfloat16 (B, M, C), the encoded memories; the released model rounds them.
    camera_pointer, lidar_pointer: float32 (B, C), not rounded.
    """

    place: FramePlace
    camera: Tensor
    lidar: Tensor
    camera_pointer: Tensor
    lidar_pointer: Tensor

    @classmethod
    def join(cls, memories: Sequence[FrameMemory]) -> FrameMemory:
        """The memories that several batches of objects have of the same frame, as one."""
        return cls(
            memories[0].place,
            torch.cat([memory.camera for memory in memories]),
            torch.cat([memory.lidar for memory in memories]),
            torch.cat([memory.camera_pointer for memory in memories]),
            torch.cat([memory.lidar_pointer for memory in memories]),
        )

    def of_object(self, index: int) -> FrameMemory:
        """What one object of the batch remembers, which stays a batch of 1."""
        one = slice(index, index + 1)
        return FrameMemory(self.place, self.camera[one], self.lidar[one], self.camera_pointer[one], self.lidar_pointer[one])


Memories: TypeAlias = Mapping[int, FrameMemory]
"""Memories by frame index, all of the same objects."""
