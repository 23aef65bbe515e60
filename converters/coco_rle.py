"""COCO's compressed run lengths: masks as short texts. A mask over a sweep's points (N,) is one of size (N, 1).

pycocotools writes them. Reading is done here, because its C code trusts the runs it is given and files may hold any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sam4d.geometry import BoolArray
from sam4d.structures import InputError

_RUNS_LIMIT = 2**31 - 1
_EDGES_LIMIT = 200
"""Of polygons, times the sum of the image's sides: pycocotools takes memory for every pixel of every edge."""


class CocoRle(TypedDict):
    """`size` is [rows, columns], `counts` the compressed runs in column order, zeros first."""

    size: list[int]
    counts: str


def encode_rle(mask: BoolArray) -> CocoRle:
    """A mask, bool (H, W), or bool (N,) which becomes one of size (N, 1)."""
    grid = np.asarray(mask, dtype=np.bool_)
    if grid.ndim == 1:
        grid = grid[:, None]
    if grid.ndim != 2:
        raise ValueError(f"a mask of shape (H, W) or (N,) expected, found {grid.shape}")
    if grid.size == 0:
        # No pixels, no runs; pycocotools writes a text that it does not read back.
        return CocoRle(size=list(grid.shape), counts="0")
    if not grid.any():
        # Most masks of a drive are empty, and turning a large one into column order is the slow part.
        encoded = coco_mask.frPyObjects({"size": list(grid.shape), "counts": [grid.size]}, *grid.shape)
    else:
        encoded = coco_mask.encode(np.asfortranarray(grid, dtype=np.uint8))
    return CocoRle(size=list(grid.shape), counts=encoded["counts"].decode("ascii"))


def decode_rle(rle: object, shape: tuple[int, ...], where: str) -> BoolArray:
    """The mask of a `CocoRle`, bool of the given shape: (H, W), or (N,) for one of size (N, 1). Inverse of `encode_rle`. The runs may also
    be a list of numbers, which is COCO's other way to write them.

    Raises:
        InputError: not such a dictionary, another size than the shape, or runs that do not fill it exactly.
    """
    size = [shape[0], shape[1] if len(shape) == 2 else 1]
    if not isinstance(rle, Mapping) or not isinstance(rle.get("counts"), str | list):
        raise InputError(where, "COCO run lengths: an object with size and counts", _short(rle))
    if rle.get("size") != size:
        raise InputError(f"{where}.size", str(size), _short(rle.get("size")))
    counts = rle["counts"]
    total = size[0] * size[1]
    if isinstance(counts, list):
        runs = _listed_runs(counts, f"{where}.counts")
    else:
        runs = _runs(counts.encode("utf-8", "surrogatepass"), f"{where}.counts")
    if (runs < 0).any() or int(runs.sum()) != total:
        negative = int((runs < 0).sum())
        raise InputError(
            f"{where}.counts", f"runs that fill {total} pixels", f"{negative} negative runs" if negative else f"runs of {int(runs.sum())}"
        )
    if len(runs) <= 1:
        return np.zeros(shape, dtype=np.bool_)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(columns.reshape(size, order="F").reshape(shape))


def decode_polygons(polygons: Sequence[Sequence[float]], shape: tuple[int, int], where: str) -> BoolArray:
    """What lies in one of the polygons, bool (H, W), by COCO's own rule for the pixels at the edges.

    Args:
        polygons: each [u, v, u, v, ...] of three corners or more, pixels of the image or near it; at least one.

    Raises:
        InputError: edges that are longer than those of anything seen in an image.
    """
    limit_px = _EDGES_LIMIT * sum(shape)
    corners = [np.reshape([*polygon, *polygon[:2]], (-1, 2)) for polygon in polygons]
    length_px = sum(float(np.abs(np.diff(each, axis=0)).sum()) for each in corners)
    if length_px > limit_px:
        raise InputError(where, f"polygons with edges of {limit_px} pixels at the most", f"{length_px:.0f} pixels")
    runs = coco_mask.merge(coco_mask.frPyObjects([list(polygon) for polygon in polygons], *shape))
    return decode_rle({"size": list(shape), "counts": runs["counts"].decode("ascii")}, shape, where)


def _listed_runs(counts: list[object], where: str) -> NDArray[np.int64]:
    for run in counts:
        if isinstance(run, bool) or not isinstance(run, int) or not 0 <= run <= _RUNS_LIMIT:
            raise InputError(where, f"runs from 0 to {_RUNS_LIMIT}", _short(run))
    return np.array(counts, dtype=np.int64)


def _runs(counts: bytes, where: str) -> NDArray[np.int64]:
    """The run lengths in the text: groups of five bits, least first, bit 5 says that another group follows, bit 4 of the last is the sign;
    from the fourth on each is the difference to the run two before."""
    groups = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    last = (groups & 32) == 0
    if len(groups) == 0 or groups.min() < 0 or groups.max() > 63 or not last[-1]:
        raise InputError(where, "compressed runs of the characters '0' to 'o'", f"a text of {len(counts)} characters that breaks the code")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise InputError(where, f"runs of at most {_RUNS_LIMIT}", f"one of {int(lengths.max())} characters")
    shifts = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    values = np.add.reduceat((groups & 31) << shifts, starts)
    values -= np.where(groups[ends] & 16, np.int64(1) << (5 * lengths), 0)
    for parity in (1, 2):
        # Runs 1, 3, 5, ... and 2, 4, 6, ... are two chains of differences; run 0 stands alone.
        values[parity::2] = np.cumsum(values[parity::2])
    if np.abs(values).max() > _RUNS_LIMIT:
        raise InputError(where, f"runs of at most {_RUNS_LIMIT}", str(int(np.abs(values).max())))
    return values


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
