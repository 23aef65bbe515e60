"""Recorded drives and their labels, read from files."""

from __future__ import annotations

from pathlib import Path

from converters.sequences.check import check_sequence
from converters.sequences.labels import read_cuboid_labels, read_masklets
from converters.sequences.sequence_folder import ReadBytes, open_sequence_folder, read_sequence
from sam4d.structures import Clip


def open_sequence(path: str | Path) -> Clip:
    """The clip at a path, of any known layout: today the sequence folder (docs/formats.md).

    The description is checked at once; sweeps and images are read when a frame is asked for them.

    Raises:
        InputError: naming file and field, what was expected and what was found.
    """
    return open_sequence_folder(path)


__all__ = ["ReadBytes", "check_sequence", "open_sequence", "read_cuboid_labels", "read_masklets", "read_sequence"]
