"""Drives below the data root, where Label Studio and the backend find them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from converters.exports.whole_output import whole_directory
from converters.sequences.sequence_folder import SEQUENCE_FILE, ImageFile, SweepFile
from sam4d.structures import Clip, InputError


def bring_in(clip: Clip, source: Path, data_root: Path, undo: list[Callable[[], None]]) -> Path:
    """The drive's folder below the data root, where it is or brought in.

    Args:
        source: its folder now, without links.
        undo: gets what takes the drive away again, where it was brought in.

    Raises:
        InputError: another drive of its name is there, or no room.
    """
    if source.is_relative_to(data_root):
        if source == data_root:
            raise InputError(str(source), "a folder below the data root", "the data root itself")
        return source
    target = data_root / "sequences" / source.name
    if target.exists():
        if not _same_files(clip, source, target):
            raise InputError(str(target), f"the drive of {source}, or nothing", "another drive of this name; rename the new one's folder")
        return target
    try:
        with whole_directory(target) as folder:
            for name in (SEQUENCE_FILE, *_files(clip)):
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy((source / name).resolve(), place)
    except OSError as error:
        raise InputError(str(target), "room for the drive's files", error.strerror or str(error)) from None
    undo.append(lambda: remove_folder(target, data_root))
    return target


def _files(clip: Clip) -> Iterator[str]:
    for frame in clip.frames:
        for load in (frame.load_sweep, *frame.load_images.values()):
            if isinstance(load, SweepFile | ImageFile):
                yield load.path


def _same_files(clip: Clip, source: Path, folder: Path) -> bool:
    """By description and file sizes: sweeps of different drives hardly ever agree in all of them."""
    with contextlib.suppress(OSError):
        return (folder / SEQUENCE_FILE).read_bytes() == (source / SEQUENCE_FILE).read_bytes() and all(
            (folder / name).stat().st_size == (source / name).stat().st_size for name in _files(clip)
        )
    return False


def _link_or_copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        # another file system, or one without links
        shutil.copyfile(source, target)


def remove_folder(folder: Path, data_root: Path) -> None:
    """The folder with all that is in it, and the folders above it that are left empty, below the data root."""
    shutil.rmtree(folder)
    for parent in folder.parents:
        if parent == data_root or any(parent.iterdir()):
            return
        parent.rmdir()
