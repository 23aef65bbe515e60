"""What a session knows of one object: its prompts, the answers that stand, and what is remembered of them (arXiv 2506.21547, memory).

Frames with prompts condition all others near them; frames in between are tracked, in one direction at a time. A new answer to prompts waits
until the next propagation: only then is it remembered and the tracked answer that it corrects forgotten, as the released network does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from numpy.typing import NDArray
from torch import Tensor

from sam4d.modeling.encoded_frame import Decoded
from sam4d.modeling.memory import FrameMemory
from sam4d.modeling.memory_recall import Recall, recall
from sam4d.structures import CameraMasks, Float32Array, ObjectMasks, Prompt

Basis: TypeAlias = tuple[tuple[str, Recall, tuple[int, ...]], ...]
"""What a tracked answer was made from: by pass, the frames that were looked at and the versions of their answers."""


@dataclass(frozen=True, eq=False)
class FrameAnswer:
    """One object on one frame.

    version: no other answer of the session has the same. passes: what the network said by camera, batches of one object; LiDAR logits are
    those fused over the cameras. points_m: float32 (P, 3), some of the object's points, LiDAR frame. memories: what is remembered, by
    camera; empty until it is needed. basis: None where the answer is one to prompts.
    """

    version: int
    masks: ObjectMasks
    passes: Mapping[str, Decoded]
    points_m: Float32Array
    memories: Mapping[str, FrameMemory] = field(default_factory=dict)
    basis: Basis | None = None

    @property
    def held_bytes(self) -> int:
        """What forgetting it would free."""
        arrays: list[Tensor | NDArray[Any]] = [self.points_m, self.masks.lidar_mask]
        cameras = self.masks.camera_masks
        if isinstance(cameras, CameraMasks):
            arrays += [crop for _, _, _, crop in cameras.crops.values()]
        if self.masks.lidar_logits is not None:
            arrays.append(self.masks.lidar_logits)
        for decoded in self.passes.values():
            arrays += [decoded.camera_low_res_logits, decoded.lidar_low_res_logits]
        # fused over the passes, which share it
        arrays += [decoded.lidar_logits for decoded in [*self.passes.values()][:1]]
        for memory in self.memories.values():
            arrays += [memory.camera, memory.lidar, memory.place.lidar_positions_m, memory.place.rays.directions]
        # Logits of the answer and of its masks may be the same memory.
        buffers = {array.data_ptr() if isinstance(array, Tensor) else array.ctypes.data: array.nbytes for array in arrays}
        return sum(buffers.values())


@dataclass(eq=False)
class TrackedObject:
    """One object of a session.

    prompts: by frame, in the order given. waiting: answers to prompts since the last propagation. conditioning: earlier ones. tracked:
    answers on frames without prompts. passed: frames that a propagation went over, and whether it went backwards. used: when a
    tracked answer was looked at last.
    """

    prompts: dict[int, tuple[Prompt, ...]] = field(default_factory=dict)
    waiting: dict[int, FrameAnswer] = field(default_factory=dict)
    conditioning: dict[int, FrameAnswer] = field(default_factory=dict)
    tracked: dict[int, FrameAnswer] = field(default_factory=dict)
    passed: dict[int, bool] = field(default_factory=dict)
    used: dict[int, int] = field(default_factory=dict)

    @property
    def prompted(self) -> set[int]:
        return self.waiting.keys() | self.conditioning.keys()

    def standing(self, frame_index: int) -> FrameAnswer | None:
        """The answer that counts on a frame."""
        for answers in (self.waiting, self.conditioning, self.tracked):
            if frame_index in answers:
                return answers[frame_index]
        return None

    def remembered(self, frame_index: int) -> FrameAnswer:
        """The answer on a frame that `recall` names."""
        return self.conditioning[frame_index] if frame_index in self.conditioning else self.tracked[frame_index]

    def source(self, frame_index: int, *, reverse: bool) -> int | None:
        """The nearest prompted frame that a pass in this direction goes over before it comes to `frame_index`; None where there is none."""
        if reverse:
            return min((frame for frame in self.prompted if frame > frame_index), default=None)
        return max((frame for frame in self.prompted if frame < frame_index), default=None)

    def recall(self, frame_index: int, camera: str, frame_count: int, *, reverse: bool) -> Recall:
        """What one camera's pass looks at."""
        prompted = [frame for frame, answer in self.conditioning.items() if camera in answer.memories]
        tracked = [
            frame
            for frame, answer in self.tracked.items()
            if frame != frame_index and frame not in self.conditioning and camera in answer.memories
        ]
        return recall(frame_index, prompted, tracked, frame_count, reverse=reverse)

    def basis(self, recalls: Mapping[str, Recall]) -> Basis:
        return tuple(
            (camera, looked_at, tuple(self.remembered(frame).version for frame in frames_of(looked_at)))
            for camera, looked_at in sorted(recalls.items())
        )

    def settle(self, frame_index: int, memories: Mapping[str, FrameMemory]) -> None:
        """A waiting answer becomes one that conditions the others, with what is remembered of it."""
        self.conditioning[frame_index] = replace(self.waiting.pop(frame_index), memories=memories)
        self.tracked.pop(frame_index, None)


def frames_of(looked_at: Recall) -> tuple[int, ...]:
    """Every frame that is looked at, ascending."""
    return tuple(sorted({frame for frame, _ in (*looked_at.memories, *looked_at.pointers)}))
