"""Files that are missing from a recording whose frames are whatever files lie in its folders."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from sam4d.structures import InputError

HOW_TO_GO_ON = "(--allow-missing goes on without)"
_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})")


def require_none_missing(
    folder: Path, sweeps: str, names: Sequence[str], beside: Mapping[str, Collection[str]], entries: Mapping[str, int] | None = None
) -> None:
    """Compare what lies beside the sweeps of a drive with the sweeps, both ways.

    Args:
        folder: the drive's. sweeps: where below it they lie, for example `velodyne_points/data`.
        names: of the sweeps' files, without ending.
        beside: {place below the folder: names, of the frames that have a file there}. A place without any file is a sensor that was not
            recorded, and is passed over.
        entries: {file below the folder: the number of its entries}, which belong to the frames called 0, 1, 2, ...

    Raises:
        InputError: naming the place and the frames: an image without its sweep or a sweep without its image, a sweep without an entry or
            an entry without its sweep, a hole in the numbering of the sweeps.
    """
    frames = set(names)
    for file, count in (entries or {}).items():
        numbers = {int(name): name for name in names if name.isascii() and name.isdecimal()}
        width = len(names[0])
        _require(folder, sweeps, f"each of the {count} entries of {file}", [f"{n:0{width}}" for n in range(count) if n not in numbers])
        _require(folder, file, f"every file of {sweeps}", sorted(frames - {numbers[n] for n in numbers if n < count}), "an entry")
    for place, others in beside.items():
        if others:
            _require(folder, sweeps, f"every frame of {place}", sorted({*others} - frames))
            _require(folder, place, f"every frame of {sweeps}", sorted(frames - {*others}))
    _require(folder, sweeps, f"every frame from {names[0]} to {names[-1]}", holes(names))


def holes(names: Sequence[str]) -> list[str]:
    """The names that a numbering leaves out: of `s0, s1, s3` it is `s2`.

    The numbers at the names' ends count by their least step, so that every tenth frame is no hole. Names that do not count so (times), and
    those of which as many are missing as are there (a selection), leave out none.
    """
    parts = [_NUMBERED.fullmatch(name) for name in names]
    known = [part for part in parts if part is not None]
    if len(known) != len(names) or len({part[1] for part in known}) != 1:
        return []
    numbers = sorted({int(part[2]) for part in known})
    steps = [after - before for before, after in pairwise(numbers)]
    if not steps or any(step % min(steps) for step in steps):
        return []
    step = min(steps)
    if (numbers[-1] - numbers[0]) // step + 1 >= 2 * len(numbers):
        return []
    prefix, width, there = known[0][1], min(len(part[2]) for part in known), set(numbers)
    return [f"{prefix}{number:0{width}}" for number in range(numbers[0], numbers[-1], step) if number not in there]


def _require(folder: Path, place: str, owner: str, missing: Sequence[str], thing: str = "a file") -> None:
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise InputError(str(folder / place), f"{thing} for {owner} {HOW_TO_GO_ON}", f"none for {shown}")
