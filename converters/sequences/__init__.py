"""Recorded drives and their labels, read from files."""

from __future__ import annotations

from converters.sequences.check import check_sequence
from converters.sequences.labels import read_cuboid_labels, read_masklets
from converters.sequences.layouts import open_sequence, read_labels
from converters.sequences.sequence_folder import ReadBytes, open_sequence_folder, read_sequence

__all__ = [
    "ReadBytes",
    "check_sequence",
    "open_sequence",
    "open_sequence_folder",
    "read_cuboid_labels",
    "read_labels",
    "read_masklets",
    "read_sequence",
]
