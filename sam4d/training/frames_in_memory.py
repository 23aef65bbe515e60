"""Clips that are gone through again and again: what an engine prepares of their frames stays in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from sam4d.frame_store import Arrays
from sam4d.training.labelled_clip import LabelledClip

LoadedT = TypeVar("LoadedT")


@dataclass(frozen=True)
class NamedLoader(Generic[LoadedT]):
    """A loader of a sweep or an image whose content is known by a name, as `frame_store.KnownContent` wants it."""

    load: Callable[[], LoadedT]
    name: str

    def __call__(self) -> LoadedT:
        return self.load()

    def content_digest(self) -> str:
        return self.name


def named(labelled: LabelledClip, name: str, with_images: Collection[int]) -> LabelledClip:
    """The clip with loaders that a store can tell apart, and without cameras that nobody labelled: nothing is compared with their masks.

    Args:
        name: another one for every clip of a store.
        with_images: frame indices; the others lose their images.
    """
    clip = labelled.clip
    cameras = {camera: clip.cameras[camera] for camera in labelled.labelled_cameras}
    frames = tuple(
        replace(
            frame,
            load_sweep=NamedLoader(frame.load_sweep, f"{name}/{index}"),
            load_images={
                camera: NamedLoader(frame.load_images[camera], f"{name}/{index}/{camera}")
                for camera in cameras
                if camera in frame.load_images and index in with_images
            },
        )
        for index, frame in enumerate(clip.frames)
    )
    return replace(labelled, clip=replace(clip, cameras=cameras, frames=frames))


class FramesInMemory:
    """Implements `frame_store.FrameStore`. What was asked for longest ago makes room. For one thread at a time."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._entries: OrderedDict[str, Arrays] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Arrays | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: str, arrays: Arrays) -> bool:
        size = _bytes_of(arrays)
        if size > self.most_bytes:
            return False
        kept = {name: array.view() for name, array in arrays.items()}
        for array in kept.values():
            array.setflags(write=False)
        self._bytes += size - _bytes_of(self._entries.pop(key, {}))
        self._entries[key] = kept
        while self._bytes > self.most_bytes:
            self._bytes -= _bytes_of(self._entries.popitem(last=False)[1])
        return True


def _bytes_of(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
