"""Which object every point of a sweep belongs to, for layouts that give a point one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam4d.structures import InputError, Masklet


@dataclass(frozen=True, eq=False)
class PointOwners:
    """The object of every point of one frame.

    object_ids: int64 (N,), -1 where a point belongs to no object. contested: how many points several objects claimed.
    """

    object_ids: NDArray[np.int64]
    contested: int


def least_sure_first(masklets: Sequence[Masklet], frame_index: int) -> list[Masklet]:
    """Those with masks on the frame, by ascending score, between equals the later first: of these written one over the other, the surest
    stays."""
    shown = [masklet for masklet in reversed(masklets) if frame_index in masklet.masks]
    return sorted(shown, key=lambda masklet: masklet.masks[frame_index].score)


def point_owners(masklets: Sequence[Masklet], frame_index: int, point_count: int, where: str) -> PointOwners:
    """A point that several objects claim belongs to the one of the highest score; between equals, to the one given first.

    Raises:
        InputError: a point mask of another length than the sweep.
    """
    owners = np.full(point_count, -1, dtype=np.int64)
    claims = np.zeros(point_count, dtype=np.int64)
    for masklet in least_sure_first(masklets, frame_index):
        mask = masklet.masks[frame_index].lidar_mask
        if len(mask) != point_count:
            raise InputError(
                f"{where}: object {masklet.object_id} on frame {frame_index}", f"a mask of {point_count} points", f"{len(mask)}"
            )
        owners[mask] = masklet.object_id
        claims += mask
    return PointOwners(owners, int((claims > 1).sum()))
