"""An object's masks over a whole drive, kept small: unpacked one frame at a time, when one is asked for.

A mask of 170 thousand points takes 170 kB, an object on 200 frames 34 MB and more; packed, a few kilobytes a frame, and with a `MaskStore`
these lie on disk.
"""

from __future__ import annotations

import json
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sam4d.geometry import BoolArray
from sam4d.structures import CameraMasks, MaskCrop, ObjectMasks

_HEADER_SIZE_BYTES = 4


class MaskStore:
    """Packed masks of many objects in one temporary file, which goes with the last that holds the store. Safe to use from many threads."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sam4d-masks-")  # noqa: SIM115 (closed with the store)
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def keep(self, record: bytes) -> _Kept:
        """Raises OSError where the disk is full."""
        with self._lock:
            offset = self._file.seek(0, 2)
            self._file.write(record)
        return _OnDisk(self, offset, len(record))

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)


class _Kept(Protocol):
    def read(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _InMemory:
    record: bytes

    def read(self) -> bytes:
        return self.record


@dataclass(frozen=True, slots=True)
class _OnDisk:
    store: MaskStore
    offset: int
    size: int

    def read(self) -> bytes:
        return self.store.read(self.offset, self.size)


@dataclass(frozen=True, slots=True)
class _Frame:
    is_empty: bool
    kept: _Kept


class PackedMasks(MutableMapping[int, ObjectMasks]):
    """{frame index: ObjectMasks} of one object. What is read is a new object each time; a network's logits are not kept.

    Args:
        store: where the masks lie; None keeps them in memory. What is made of these masks (`shifted`, `as_object`) has the same store.
    """

    def __init__(self, masks: Mapping[int, ObjectMasks] | None = None, store: MaskStore | None = None) -> None:
        self._store = store
        self._object_id: int | None = None
        self._frames: dict[int, _Frame] = {}
        for frame_index, shown in (masks or {}).items():
            self[frame_index] = shown

    @classmethod
    def of(cls, masks: Mapping[int, ObjectMasks]) -> PackedMasks:
        """The masks themselves where they are packed already."""
        return masks if isinstance(masks, cls) else cls(masks)

    def shifted(self, by_frames: int) -> PackedMasks:
        """The masks that are not empty, so many frames later."""
        return self._other({frame + by_frames: each for frame, each in self._frames.items() if not each.is_empty}, self._object_id)

    def as_object(self, object_id: int) -> PackedMasks:
        """The same masks, of another object's number, in the order of their frames."""
        return self._other(dict(sorted(self._frames.items())), object_id)

    def _other(self, frames: dict[int, _Frame], object_id: int | None) -> PackedMasks:
        other = PackedMasks(store=self._store)
        other._frames, other._object_id = frames, object_id
        return other

    def __getitem__(self, frame_index: int) -> ObjectMasks:
        shown = _unpack(self._frames[frame_index].kept.read(), frame_index)
        return shown if self._object_id is None else _renumbered(shown, self._object_id)

    def __setitem__(self, frame_index: int, shown: ObjectMasks) -> None:
        record = _pack(shown)
        self._frames[frame_index] = _Frame(shown.is_empty, _InMemory(record) if self._store is None else self._store.keep(record))

    def __delitem__(self, frame_index: int) -> None:
        del self._frames[frame_index]

    def __contains__(self, frame_index: object) -> bool:
        return frame_index in self._frames

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


def _renumbered(shown: ObjectMasks, object_id: int) -> ObjectMasks:
    return ObjectMasks(object_id, shown.frame_index, shown.camera_masks, shown.lidar_mask, shown.score)


def _pack(shown: ObjectMasks) -> bytes:
    """A header that says what follows, and the bits of every mask; compressed."""
    cameras = shown.camera_masks if isinstance(shown.camera_masks, CameraMasks) else CameraMasks(shown.camera_masks)
    header = {
        "object_id": shown.object_id,
        "score": shown.score,
        "points": len(shown.lidar_mask),
        "cameras": [[name, *size, top, left, *crop.shape] for name, (size, top, left, crop) in cameras.crops.items()],
    }
    masks = [shown.lidar_mask, *(crop for _, _, _, crop in cameras.crops.values())]
    text = json.dumps(header).encode()
    bits = b"".join(np.packbits(mask).tobytes() for mask in masks)
    return zlib.compress(len(text).to_bytes(_HEADER_SIZE_BYTES, "little") + text + bits, 1)


def _unpack(record: bytes, frame_index: int) -> ObjectMasks:
    data = zlib.decompress(record)
    place = _HEADER_SIZE_BYTES + int.from_bytes(data[:_HEADER_SIZE_BYTES], "little")
    header: dict[str, Any] = json.loads(data[_HEADER_SIZE_BYTES:place])

    def next_mask(*shape: int) -> BoolArray:
        nonlocal place
        count = int(np.prod(shape))
        size = -(-count // 8)
        bits = np.frombuffer(data, dtype=np.uint8, count=size, offset=place)
        place += size
        mask: BoolArray = np.unpackbits(bits, count=count).view(np.bool_).reshape(shape)
        return mask

    lidar_mask = next_mask(header["points"])
    crops: dict[str, MaskCrop] = {
        name: ((height, width), top, left, next_mask(rows, columns)) for name, height, width, top, left, rows, columns in header["cameras"]
    }
    return ObjectMasks(header["object_id"], frame_index, CameraMasks.of_crops(crops), lidar_mask, header["score"])
