"""A recording's own files, as exporters name and copy them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from converters.sequences.image_file import encode_png
from converters.sequences.sequence_folder import ImageFile, SweepFile
from sam4d.structures import Clip, UInt8Array


def frame_names(clip: Clip) -> tuple[str, ...]:
    """A name per frame: its sweep's file name without the ending, where those differ; else the frame's number in six digits."""
    stems = [PurePosixPath(frame.load_sweep.path).stem for frame in clip.frames if isinstance(frame.load_sweep, SweepFile)]
    if len({*stems}) == len(clip):
        return tuple(stems)
    return tuple(f"{index:06d}" for index in range(len(clip)))


def sweep_path(clip: Clip, frame_index: int) -> str:
    """The sweep's place in the drive; where a sequence folder would have it, for a sweep that is no file."""
    load = clip.frames[frame_index].load_sweep
    return load.path if isinstance(load, SweepFile) else f"sweeps/{frame_index:06d}.pcd"


def image_path(clip: Clip, frame_index: int, camera: str) -> str:
    """The image's place in the drive; where a sequence folder would have it, for an image that is no file."""
    load = clip.frames[frame_index].load_images[camera]
    return load.path if isinstance(load, ImageFile) else f"images/{camera}/{frame_index:06d}.png"


def image_file(load: Callable[[], UInt8Array]) -> tuple[str, Callable[[], bytes]]:
    """The ending and the bytes of an image's file: the file as it is, or a PNG of an image that is no file."""
    if isinstance(load, ImageFile):
        return PurePosixPath(load.path).suffix, load.file_bytes
    return ".png", lambda: encode_png(load())
