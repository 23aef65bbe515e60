"""An object's masks over a whole drive, kept small: unpacked one frame at a time, when one is asked for.

A mask of 170 thousand points takes 170 kB, an object on 200 frames 34 MB and more; packed, a few hundred bytes a frame.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

import numpy as np

from sam4d.geometry import BoolArray
from sam4d.structures import CameraMasks, MaskCrop, ObjectMasks


@dataclass(frozen=True)
class _Bits:
    """A mask of any shape."""

    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, mask: BoolArray) -> _Bits:
        return cls(mask.shape, zlib.compress(np.packbits(mask).tobytes(), 1))

    def mask(self) -> BoolArray:
        bits = np.frombuffer(zlib.decompress(self.data), dtype=np.uint8)
        size = int(np.prod(self.shape))
        mask: BoolArray = np.unpackbits(bits, count=size).view(np.bool_).reshape(self.shape)
        return mask


@dataclass(frozen=True)
class _Packed:
    """One frame. crops: {camera: (size of the image, top, left, the mask around the object)}."""

    object_id: int
    score: float
    points: _Bits
    crops: Mapping[str, tuple[tuple[int, int], int, int, _Bits]]
    is_empty: bool


class PackedMasks(MutableMapping[int, ObjectMasks]):
    """{frame index: ObjectMasks}. What is read is a new object each time; a network's logits are not kept."""

    def __init__(self, masks: Mapping[int, ObjectMasks] | None = None) -> None:
        self._frames: dict[int, _Packed] = {}
        for frame_index, shown in (masks or {}).items():
            self[frame_index] = shown

    @classmethod
    def of(cls, masks: Mapping[int, ObjectMasks]) -> PackedMasks:
        """The masks themselves where they are packed already."""
        return masks if isinstance(masks, cls) else cls(masks)

    def shifted(self, by_frames: int) -> PackedMasks:
        """The masks that are not empty, so many frames later."""
        moved = PackedMasks()
        moved._frames = {frame + by_frames: packed for frame, packed in self._frames.items() if not packed.is_empty}
        return moved

    def as_object(self, object_id: int) -> PackedMasks:
        """The same masks, of another object's number, in the order of their frames."""
        renumbered = PackedMasks()
        for frame, packed in sorted(self._frames.items()):
            renumbered._frames[frame] = _Packed(object_id, packed.score, packed.points, packed.crops, packed.is_empty)
        return renumbered

    def __getitem__(self, frame_index: int) -> ObjectMasks:
        packed = self._frames[frame_index]
        crops: dict[str, MaskCrop] = {name: (size, top, left, crop.mask()) for name, (size, top, left, crop) in packed.crops.items()}
        return ObjectMasks(packed.object_id, frame_index, CameraMasks.of_crops(crops), packed.points.mask(), packed.score)

    def __setitem__(self, frame_index: int, shown: ObjectMasks) -> None:
        cameras = shown.camera_masks if isinstance(shown.camera_masks, CameraMasks) else CameraMasks(shown.camera_masks)
        crops = {name: (size, top, left, _Bits.of(crop)) for name, (size, top, left, crop) in cameras.crops.items()}
        self._frames[frame_index] = _Packed(shown.object_id, shown.score, _Bits.of(shown.lidar_mask), crops, shown.is_empty)

    def __delitem__(self, frame_index: int) -> None:
        del self._frames[frame_index]

    def __contains__(self, frame_index: object) -> bool:
        return frame_index in self._frames

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)
