"""How much of an answer a browser bears: Label Studio decodes and redraws every mask that it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from converters.regions import Region

BYTES_PER_NUMBER = 4
"""A number from 0 to 255 and its comma."""
BYTES_WITHOUT_MASK = 1000


def region_bytes(region: Region) -> int:
    """About what a region takes as JSON, without writing it."""
    value, meta = region.get("value"), region.get("meta")
    rle = value.get("rle", ()) if isinstance(value, Mapping) else ()
    points = meta.get("sam4d") if isinstance(meta, Mapping) else None
    counts = points.get("points") if isinstance(points, Mapping) else None
    text = counts.get("counts", "") if isinstance(counts, Mapping) else ""
    return BYTES_WITHOUT_MASK + BYTES_PER_NUMBER * len(rle) + len(str(text))


def frames_that_fit(regions: Iterable[Region], most_bytes: int, nearest_to: int) -> set[int]:
    """The frames whose regions fit together, those nearest to a frame first; the nearest always."""
    sizes: dict[int, int] = {}
    for region in regions:
        frame_index = cast(int, region["item_index"])
        sizes[frame_index] = sizes.get(frame_index, 0) + region_bytes(region)
    kept: set[int] = set()
    total = 0
    for frame_index in sorted(sizes, key=lambda frame: (abs(frame - nearest_to), frame)):
        total += sizes[frame_index]
        if kept and total > most_bytes:
            break
        kept.add(frame_index)
    return kept
