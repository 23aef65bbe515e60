"""A mask over the sweep changed by further clicks, each where it is: a click in the middle of an error says how far the error reaches.

So a positive click close to the mask adds what lies around it, one far away a piece of its own; a negative click takes what lies nearer to
it than to the positive ones. The rest of the mask stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from sam4d.geometric.clicked_points import ClickedPoint
from sam4d.geometric.growing import IndexArray, groups_at_gap, grow, middle_of, nearer_to, size_plausibility, usual_gap
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray
from sam4d.structures import Float32Array

NEIGHBOURHOOD_M = 14.0
HIGHEST_M = 5.0

ERROR_REACH = 1.5
"""An error is taken to reach so many times as far from its middle as the mask is away from there."""

REMOVED_REACH = 0.3
"""Where nothing parts a negative click from the positive ones, it takes so much of the way to them."""

OFF_MIDDLE = 0.7
"""Of the spread of some points: a click within it means all of them."""

APART_M = 1.5
"""Two clicks farther apart than this may be on two ends of one object, whose middle is wanted as well."""

SEPARATING_FACTORS = (2.4, 1.8, 1.35, 1.0, 0.75)
"""Of the usual gap: where one of these parts a negative click from the positive ones, it is where the object ends."""

GROUND_PATCH_M = 0.5
LOW_MARGIN_M = 0.04


def edited(
    scene: FrameScene,
    allowed: BoolArray,
    mask: BoolArray,
    done: Sequence[ClickedPoint],
    clicks: Sequence[ClickedPoint],
    agreement: Callable[[IndexArray], float] | None = None,
) -> BoolArray:
    """The mask, bool (N,), after clicks one after the other.

    Args:
        allowed: bool (N,), points that may be added.
        done: clicks that the mask respects already.
    """
    mask = mask.copy()
    earlier = list(done)
    for click in clicks:
        rows = {label: np.array([c.row for c in earlier if c.label == label], dtype=np.int64) for label in (0, 1)}
        if scene.is_ground[click.row]:
            mask = _with_ground(scene, mask, click)
        elif click.label == 1 and not mask[click.row]:
            mask = _with_piece(scene, allowed, mask, click.row, rows[1], rows[0], agreement)
        elif click.label == 0 and mask[click.row]:
            mask = _without_piece(scene, mask, click.row, rows[1][mask[rows[1]]])
        earlier.append(click)
    return mask


def ground_patch(scene: FrameScene, clicks: Sequence[ClickedPoint]) -> BoolArray:
    """The ground around clicks on it, bool (N,)."""
    patch = np.zeros(len(scene), dtype=np.bool_)
    for click in clicks:
        patch |= ((scene.points_m - scene.points_m[click.row]) ** 2).sum(axis=1) < GROUND_PATCH_M**2
    return patch & scene.is_ground


def around(scene: FrameScene, row: int, reach_m: float = NEIGHBOURHOOD_M) -> BoolArray:
    """Which points lie in a square about a point, below the highest that objects reach, bool (N,)."""
    near = scene.height_m < HIGHEST_M
    # One axis after the other: several times faster than both together.
    for axis in (0, 1):
        near &= np.abs(scene.points_m[:, axis] - scene.points_m[row, axis]) < reach_m
    return np.asarray(near)


def gap_at(scene: FrameScene, row: int) -> float:
    return usual_gap(float(np.hypot(*scene.points_m[row, :2])), scene.growth)


def _with_piece(
    scene: FrameScene,
    allowed: BoolArray,
    mask: BoolArray,
    row: int,
    positive: IndexArray,
    negative: IndexArray,
    agreement: Callable[[IndexArray], float] | None,
) -> BoolArray:
    gap_m = gap_at(scene, row)
    near = around(scene, row)
    own = np.flatnonzero(mask)
    away_m = float(_distances(scene, own, row).min()) if len(own) else np.inf
    rows = np.union1d(np.flatnonzero((allowed | mask) & near), [row])
    if len(negative):
        rows = np.union1d(rows[_is_nearer(scene, rows, np.append(positive, row), negative, gap_m)], [row])

    def piece_of(candidates: IndexArray) -> IndexArray:
        evidence = None if agreement is None else lambda part: agreement(np.union1d(own, candidates[part]))
        return candidates[grow(scene.upright_m(candidates), np.searchsorted(candidates, [row]), gap_m, evidence, scene.growth).mask]

    candidates = rows[~mask[rows]]
    piece = piece_of(candidates)
    if not _is_middle(scene, piece, row):
        piece = piece_of(candidates[_distances(scene, candidates, row) <= max(ERROR_REACH * away_m, gap_m)])
    grown = mask.copy()
    grown[piece] = True
    if away_m > APART_M and len(positive) and np.isin(positive, rows).all():
        whole = grow(scene.upright_m(rows), np.searchsorted(rows, np.append(positive, row)), gap_m, settings=scene.growth)
        together = rows[whole.mask]
        plausible = whole.plausibility >= size_plausibility(scene.upright_m(np.flatnonzero(grown)), scene.growth) - 1e-6
        if plausible and mask[together].sum() > 0.8 * mask.sum():
            grown[together] = True
    return grown


def _without_piece(scene: FrameScene, mask: BoolArray, row: int, positive: IndexArray) -> BoolArray:
    rows = np.flatnonzero(mask)
    gap_m = gap_at(scene, row)
    if not len(positive):
        # Nothing says where the object is, but its middle, seen from the wrong place, is a good guess.
        away = np.hypot(*(scene.points_m[rows, :2] - scene.points_m[row, :2]).T)
        far = rows[away >= np.median(away)]
        positive = far[[middle_of(scene.points_m[far])]]
    points = scene.upright_m(rows)
    seeds, clicked = np.searchsorted(rows, positive), int(np.searchsorted(rows, row))
    taken: IndexArray | None = None
    for factor in SEPARATING_FACTORS:
        group = groups_at_gap(points, factor * gap_m, scene.growth)
        piece = rows[group == group[clicked]]
        if not (group[seeds] == group[clicked]).any() and _is_middle(scene, piece, row):
            taken = piece
            break
    if taken is None:
        taken = rows[~_is_nearer(scene, rows, positive, np.array([row]), gap_m)]
        if not _is_middle(scene, taken, row):
            to_seed_m = float(_distances(scene, positive, row).min())
            taken = taken[_distances(scene, taken, row) <= max(REMOVED_REACH * to_seed_m, 0.5 * gap_m)]
    kept = mask.copy()
    kept[taken] = False
    kept[positive] = True
    kept[row] = False
    return kept


def _distances(scene: FrameScene, rows: IndexArray, row: int) -> Float32Array:
    """Metres from one point, (K,)."""
    return np.asarray(np.sqrt(((scene.upright_m(rows) - scene.upright_m(np.array([row]))) ** 2).sum(axis=1)), dtype=np.float32)


def _is_middle(scene: FrameScene, rows: IndexArray, row: int) -> bool:
    """Whether a click is about where somebody would click to mean all of these points: in their middle."""
    if len(rows) < 3:
        return True
    points = scene.upright_m(rows)
    median = np.median(points, axis=0)
    spread = float(np.sqrt(((points - median) ** 2).sum(axis=1).mean()))
    nearest = float(np.sqrt(((points - median) ** 2).sum(axis=1).min()))
    offset = float(np.sqrt(((scene.upright_m(np.array([row]))[0] - median) ** 2).sum()))
    return offset < nearest + OFF_MIDDLE * spread


def _is_nearer(scene: FrameScene, rows: IndexArray, positive: IndexArray, negative: IndexArray, gap_m: float) -> BoolArray:
    """Which of the rows, bool (K,), are nearer to a positive click than to a negative one; clicks that are not among them count, too."""
    rivals = negative[around(scene, int(positive[-1]), 2 * NEIGHBOURHOOD_M)[negative]]
    if not len(rivals):
        return np.ones(len(rows), dtype=np.bool_)
    everything = np.unique(np.concatenate([rows, positive, rivals]))
    seeds, others = np.searchsorted(everything, positive), np.searchsorted(everything, rivals)
    own = nearer_to(scene.upright_m(everything), seeds, others, gap_m, scene.growth)
    own[np.searchsorted(everything, rivals)] = False
    own[np.searchsorted(everything, positive)] = True
    return np.asarray(own[np.searchsorted(everything, rows)])


def _with_ground(scene: FrameScene, mask: BoolArray, click: ClickedPoint) -> BoolArray:
    """A click on what counts as ground: it says so of what lies around it, and of what lies higher under the object."""
    patch = ground_patch(scene, [click])
    if click.label == 0:
        return np.asarray(mask & ~patch)
    if mask.any():
        places = np.vstack([scene.points_m[mask, :2], scene.points_m[click.row, :2]])
        corner = places[0]
        rectangle = cv2.boxPoints(cv2.minAreaRect((places - corner).astype(np.float32)))
        near = np.flatnonzero(scene.is_ground & around(scene, click.row) & (scene.height_m > scene.height_m[click.row] - LOW_MARGIN_M))
        sides = np.roll(rectangle, -1, axis=0) - rectangle
        offsets = (scene.points_m[near, :2] - corner)[:, None] - rectangle[None]
        turned = sides[None, :, 0] * offsets[..., 1] - sides[None, :, 1] * offsets[..., 0]
        inside = (turned >= -1e-3).all(axis=1) | (turned <= 1e-3).all(axis=1)
        patch[near[inside]] = True
    return np.asarray(mask | patch)
