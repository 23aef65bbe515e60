"""Which reader a sweep's file is for, by its ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from converters.las_files import parse_las
from converters.ply_files import parse_ply
from converters.point_cloud_files import parse_pcd
from converters.sweep_arrays import parse_bin, parse_npz
from sam4d.structures import Sweep

BIN_COLUMNS = 4


def parse_four_columns(data: bytes, where: str) -> Sweep:
    """float32 rows x y z intensity."""
    return parse_bin(data, BIN_COLUMNS, where)


SWEEP_PARSERS: dict[str, Callable[[bytes, str], Sweep]] = {
    ".pcd": parse_pcd,
    ".ply": parse_ply,
    ".las": parse_las,
    ".laz": parse_las,
    ".bin": parse_four_columns,
    ".npz": parse_npz,
}
"""By the file's ending, in lower case."""


def sweep_parser(path: str) -> Callable[[bytes, str], Sweep]:
    """The reader of a file by its ending; PCD's where the ending says nothing."""
    return SWEEP_PARSERS.get(PurePosixPath(path).suffix.lower(), parse_pcd)
