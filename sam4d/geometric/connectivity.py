"""Which points hang together, worked out on the cells of a grid so that dense surfaces cost no more than sparse ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

CELLS_PER_LINK = 1.6
"""Cells of this part of a length that touch (26 neighbours) connect points up to about that length apart."""

_BITS = 20
_HALF_NEIGHBOURHOOD = [
    (x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) > (0, 0, 0)
]  # fmt: skip


def connected_groups(positions: NDArray[np.floating]) -> NDArray[np.int64]:
    """Positions (K, 3) in units of the length that connects -> group of each, int64 (K,), numbered from 0.

    Positions span less than a million lengths.
    """
    if len(positions) == 0:
        return np.zeros(0, dtype=np.int64)
    cell = np.floor(positions * CELLS_PER_LINK).astype(np.int64)
    cell -= cell.min(axis=0) - 1
    key = (cell[:, 0] << (2 * _BITS)) | (cell[:, 1] << _BITS) | cell[:, 2]
    occupied, inverse = np.unique(key, return_inverse=True)
    here: list[NDArray[np.int64]] = []
    there: list[NDArray[np.int64]] = []
    for x, y, z in _HALF_NEIGHBOURHOOD:
        neighbour = occupied + ((x << (2 * _BITS)) + (y << _BITS) + z)
        index = np.minimum(np.searchsorted(occupied, neighbour), len(occupied) - 1)
        touching = np.flatnonzero(occupied[index] == neighbour)
        here.append(touching)
        there.append(index[touching].astype(np.int64))
    rows, columns = np.concatenate(here), np.concatenate(there)
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(occupied), len(occupied)))
    _, group = connected_components(graph, directed=False)
    result: NDArray[np.int64] = np.asarray(group, dtype=np.int64)[inverse.ravel()]
    return result
