"""Votes of image masklets on voxels: which of them are one object, and which voxels are its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from sam4d.data_engine.masklet_source import MaskletSource
from sam4d.data_engine.pixel_voxels import pixel_voxels
from sam4d.data_engine.reconstruction import Reconstruction
from sam4d.data_engine.voxels import Int64Array
from sam4d.structures import LIDAR, Masklet

Track: TypeAlias = tuple[str, int]
"""Sensor (a camera's name or "lidar") and track."""


@dataclass(frozen=True)
class FusionSettings:
    """What counts as one object.

    least_share: of the images and sweeps that see a voxel, those that must vote for an object. same_share: of the smaller masklet's voxels,
    those that two masklets must share to be one object. gap_m, gap_per_metre: voxels of one object hang together over gaps of this length,
    longer ones far from the sensor. least_piece: of an object's votes, what a piece that hangs apart must have to be kept. least_voxels:
    of an object.
    """

    least_share: float = 0.4
    same_share: float = 0.3
    gap_m: float = 0.4
    gap_per_metre: float = 0.012
    least_piece: float = 0.25
    least_voxels: int = 3


@dataclass(frozen=True, eq=False)
class FusedObject:
    """voxels: int64 (K,), sorted. tracks: the masklets that are this object. score in [0, 1]: of the images and sweeps that see its voxels,
    the share that agree."""

    voxels: Int64Array
    tracks: tuple[Track, ...]
    label: str
    score: float


@dataclass(frozen=True, eq=False)
class Votes:
    """tracks: the masklets, (T,). by_track: how many images or sweeps show a voxel as a masklet's, sparse int32 (T, V). seen: how many show
    it at all, int32 (V,). together: bool (T, T), which masklets one image or sweep shows side by side, so that they are two objects."""

    tracks: tuple[Track, ...]
    by_track: csr_matrix
    seen: NDArray[np.int32]
    together: NDArray[np.bool_]


def count_votes(
    scene: Reconstruction, source: MaskletSource, point_masklets: Sequence[Masklet] = (), progress: Callable[[int, int], None] | None = None
) -> Votes:
    """Ask every image of the clip about every voxel that it sees, and every sweep about every voxel that it hits.

    Args:
        point_masklets: what was found in the sweeps; their `lidar_mask` alone counts.
    """
    clip = scene.clip
    report = progress or (lambda done, total: None)
    number: dict[Track, int] = {}
    seen = np.zeros(len(scene), dtype=np.int32)
    rows: list[Int64Array] = []
    columns: list[Int64Array] = []
    side_by_side: list[list[int]] = []
    for frame_index, frame in enumerate(clip.frames):
        voxel_of_point = scene.voxels_of_points(frame_index, frame.load_sweep().points_m)
        seen[np.unique(voxel_of_point[voxel_of_point >= 0])] += 1
        numbers = []
        for masklet in point_masklets:
            masks = masklet.masks.get(frame_index)
            own = voxel_of_point[masks.lidar_mask] if masks is not None else voxel_of_point[:0]
            hit = np.unique(own[own >= 0])
            if len(hit):
                numbers.append(number.setdefault((LIDAR, masklet.object_id), len(number)))
                rows.append(np.full(len(hit), numbers[-1]))
                columns.append(hit)
        side_by_side.append(numbers)
        voxels, places_m = scene.places_at(frame_index)
        for camera in frame.load_images:
            table = pixel_voxels(clip.cameras[camera], voxels, places_m, scene.settings.voxel_m)
            tracks = source.tracks_in(frame_index, camera)
            said = table.tracks_of_voxels(tracks)
            seen[table.voxels] += 1
            shown = [int(track) for track in np.unique(tracks) if track]
            numbers = [number.setdefault((camera, track), len(number)) for track in shown]
            side_by_side.append(numbers)
            voted = said > 0
            translate = np.zeros(max(shown, default=0) + 1, dtype=np.int64)
            translate[shown] = numbers
            rows.append(translate[said[voted]])
            columns.append(table.voxels[voted])
        report(frame_index + 1, len(clip))
    row, column = (np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64) for parts in (rows, columns))
    by_track = coo_matrix((np.ones(len(row), dtype=np.int32), (row, column)), shape=(len(number), len(scene))).tocsr()
    together = np.zeros((len(number), len(number)), dtype=np.bool_)
    for numbers in side_by_side:
        together[np.ix_(numbers, numbers)] = True
    np.fill_diagonal(together, False)
    return Votes(tuple(number), by_track, seen, together)


def fuse(scene: Reconstruction, source: MaskletSource, votes: Votes, settings: FusionSettings | None = None) -> list[FusedObject]:
    """Masklets of different cameras and times that share voxels become one object; each voxel goes to the object with most of its votes."""
    settings = settings or FusionSettings()
    objects = _joined(votes, settings)
    if not objects:
        return []
    of_object = np.repeat(np.arange(len(objects)), [len(members) for members in objects])
    ones = np.ones(len(of_object), dtype=np.int32)
    member = coo_matrix((ones, (of_object, np.concatenate(objects))), shape=(len(objects), len(votes.tracks))).tocsr()
    by_object = (member @ votes.by_track).tocsc()
    owner, count = _winners(by_object)
    agreed = (owner >= 0) & (count >= settings.least_share * votes.seen)
    for index in range(1, len(scene.starts) - 1):
        _one_object(scene.part(index), by_object, owner, count, agreed)
    own = np.flatnonzero(agreed & ~scene.is_ground)
    order = np.argsort(owner[own], kind="stable")
    own = own[order]
    bounds = np.searchsorted(owner[own], np.arange(len(objects) + 1))
    fused = []
    for index, members in enumerate(objects):
        voxels = _hanging_together(scene, own[bounds[index] : bounds[index + 1]], count, settings)
        if len(voxels) < settings.least_voxels:
            continue
        tracks = tuple(votes.tracks[member] for member in members)
        labels = [label for sensor, track in tracks if sensor != LIDAR and (label := source.label_of(sensor, track))]
        score = float(count[voxels].sum() / np.maximum(votes.seen[voxels].sum(), 1))
        fused.append(FusedObject(np.sort(voxels), tracks, max(set(labels), key=labels.count) if labels else "", min(1.0, score)))
    return fused


def _joined(votes: Votes, settings: FusionSettings) -> list[list[int]]:
    """Masklets by object: those that share most first, never two that one image shows side by side."""
    claims = (votes.by_track > 0).astype(np.int32).tocsr()
    sizes = np.asarray(claims.sum(axis=1)).ravel()
    shared = (claims @ claims.T).tocoo()
    pairs = [
        (one, other, count / max(1, min(sizes[one], sizes[other])))
        for one, other, count in zip(shared.row, shared.col, shared.data, strict=True)
        if one < other
    ]
    group = {index: [index] for index in range(len(votes.tracks))}
    for one, other, share in sorted(pairs, key=lambda pair: -pair[2]):
        if share < settings.same_share:
            break
        first, second = group[one], group[other]
        if first is second or votes.together[np.ix_(first, second)].any():
            continue
        first.extend(second)
        for index in second:
            group[index] = first
    return list({id(members): members for members in group.values()}.values())


def _winners(by_object: csr_matrix) -> tuple[Int64Array, NDArray[np.int32]]:
    """The object with most votes on each voxel, int64 (V,), -1 for none, and how many those are."""
    entries = by_object.tocoo()
    owner = np.full(by_object.shape[1], -1, dtype=np.int64)
    count = np.zeros(by_object.shape[1], dtype=np.int32)
    order = np.argsort(entries.data, kind="stable")
    # The last one written has most.
    owner[entries.col[order]], count[entries.col[order]] = entries.row[order], entries.data[order]
    return owner, count


def _one_object(body: slice, by_object: csc_matrix, owner: Int64Array, count: NDArray[np.int32], agreed: NDArray[np.bool_]) -> None:
    """All of a moving body is one object: the one that most of its votes are for. Its cuboid is seldom so exact that each voxel finds out
    by itself."""
    for_object = np.asarray(by_object[:, body].sum(axis=1)).ravel()
    if for_object.any():
        winner = int(for_object.argmax())
        owner[body], agreed[body] = winner, True
        count[body] = by_object[winner, body].toarray().ravel()


def _hanging_together(scene: Reconstruction, voxels: Int64Array, count: NDArray[np.int32], settings: FusionSettings) -> Int64Array:
    """Without the pieces that lie apart and have few votes: what a mask showed past the object's edges."""
    if len(voxels) < 2:
        return voxels
    places_m = scene.centers_m[voxels]
    middle = np.median(places_m, axis=0)
    nearest = min(float(np.linalg.norm(scene.clip.lidar_SE3_lidar(0, frame).translation_m - middle)) for frame in range(len(scene.clip)))
    gap_m = settings.gap_m + settings.gap_per_metre * nearest
    pairs = cKDTree(places_m).query_pairs(gap_m, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(voxels), len(voxels)))
    _, piece = connected_components(graph, directed=False)
    weight = np.bincount(piece, weights=count[voxels])
    return np.asarray(voxels[(weight >= settings.least_piece * weight.max())[piece]], dtype=np.int64)
