"""Labelled drives on disk as clips to learn from and to judge by: Waymo-4DSeg folders, sequence folders with masks, and the like."""

from __future__ import annotations

from pathlib import Path

from converters.sequences import open_sequence, read_labels
from sam4d.structures import CameraMasks, InputError, Masklet
from sam4d.training.labelled_clip import LabelledClip


def open_labelled_folder(path: str | Path, name: str | None = None) -> LabelledClip:
    """A drive of any layout whose labels have masks.

    What nobody may have looked at counts as unknown: frames without any object, and cameras that show none on any frame. Objects that have
    cuboids alone are left out.

    Args:
        name: which one, where a layout holds several sequences.

    Raises:
        InputError: what `open_sequence` and `read_labels` refuse; no object with a mask.
    """
    clip = open_sequence(path, name)
    masklets = tuple(masklet for masklet in read_labels(path, clip, name) if len(masklet.masks))
    if not masklets:
        raise InputError(str(path), "labels with masks, as in Waymo-4DSeg or in labels/masks.json of a sequence folder", "none")
    frames = sorted({index for masklet in masklets for index in masklet.masks})
    seen = {name for masklet in masklets for name in _seen_by(masklet)}
    return LabelledClip(clip, masklets, tuple(camera for camera in clip.cameras if camera in seen), tuple(frames))


def _seen_by(masklet: Masklet) -> set[str]:
    names: set[str] = set()
    for masks in masklet.masks.values():
        assert isinstance(masks.camera_masks, CameraMasks)
        names.update(masks.camera_masks.seen_by)
    return names
