"""Votes of image masklets on voxels: which of them are one object, and which voxels are its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix, triu
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from sam4d.data_engine.large_structures import held_shares
from sam4d.data_engine.masklet_source import MaskletSource
from sam4d.data_engine.pixel_voxels import pixel_voxels
from sam4d.data_engine.reconstruction import Reconstruction
from sam4d.data_engine.voxels import Int64Array
from sam4d.structures import LIDAR, Masklet

BETTER_WEIGHT = 0.75
"""In an object's score, of the kind of sensor that agrees better with it."""

Track: TypeAlias = tuple[str, int]
"""Sensor (a camera's name or "lidar") and track."""


@dataclass(frozen=True)
class FusionSettings:
    """What counts as one object.

    least_share: of the images and sweeps that see a voxel, those that must vote for an object. same_share: of the smaller masklet's voxels,
    those that two masklets must share to be one object. gap_m, gap_per_metre: voxels of one object hang together over gaps of this length,
    longer ones far from the sensor. least_piece: of an object's votes, what a piece that hangs apart must have to be kept. least_voxels:
    of an object. least_low: of the sweeps that hit a voxel as low as the ground, those that must take it for an object's. claim_share: of
    the votes for the track with most of a sensor's votes on a voxel, those with which another track claims it as well. turns_share: of the
    smaller masklet's voxels, those that two masklets of the sweeps must share to be one object although a sweep shows them side by side.
    least_score, most_held: of an object that nothing but the engine's own masks shows, its score, and of its voxels those that touch
    something larger.
    """

    least_share: float = 0.4
    same_share: float = 0.3
    gap_m: float = 0.4
    gap_per_metre: float = 0.012
    least_piece: float = 0.25
    least_voxels: int = 3
    least_low: float = 0.5
    claim_share: float = 0.5
    turns_share: float = 0.5
    least_score: float = 0.3
    most_held: float = 0.1


@dataclass(frozen=True, eq=False)
class FusedObject:
    """voxels: int64 (K,), sorted. tracks: the masklets that are this object. score in [0, 1]: how far its masklets agree with it, by
    `_scores`."""

    voxels: Int64Array
    tracks: tuple[Track, ...]
    label: str
    score: float


@dataclass(frozen=True, eq=False)
class Votes:
    """tracks: the masklets, (T,). by_track: how many images or sweeps show a voxel as a masklet's, sparse int32 (T, V). seen: how many show
    it at all, int32 (V,). shown: of each masklet, the images and sweeps that show it: two that one shows side by side are two objects."""

    tracks: tuple[Track, ...]
    by_track: csr_matrix
    seen: NDArray[np.int32]
    shown: tuple[frozenset[int], ...]


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
        points_m = frame.load_sweep().points_m
        voxel_of_point = scene.voxels_of_points(frame_index, points_m)
        unplaced_m = points_m[(voxel_of_point < 0) & np.isfinite(points_m).all(axis=1)]
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
            table = pixel_voxels(clip.cameras[camera], voxels, places_m, scene.settings.voxel_m, unplaced_m)
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
    shown_by: list[set[int]] = [set() for _ in number]
    for look, numbers in enumerate(side_by_side):
        for index in numbers:
            shown_by[index].add(look)
    return Votes(tuple(number), by_track, seen, tuple(map(frozenset, shown_by)))


def fuse(
    scene: Reconstruction, source: MaskletSource, votes: Votes, settings: FusionSettings | None = None, *, own_masks: bool = False
) -> list[FusedObject]:
    """Masklets of different cameras and times that share voxels become one object; each voxel goes to the object with most of its votes.

    Args:
        own_masks: the images' masks were made from the sweeps' masklets. Then what has the same number is one object, and nobody but the
            scene says what is none: what they hardly agree on from frame to frame, and pieces of trees and houses.
    """
    settings = settings or FusionSettings()
    objects = _joined(votes, settings, own_masks)
    if not objects:
        return []
    of_object = np.repeat(np.arange(len(objects)), [len(members) for members in objects])
    ones = np.ones(len(of_object), dtype=np.int32)
    member = coo_matrix((ones, (of_object, np.concatenate(objects))), shape=(len(objects), len(votes.tracks))).tocsr()
    by_object = (member @ votes.by_track).tocsc()
    owner, count = _winners(by_object)
    agreed = (owner >= 0) & (count >= settings.least_share * votes.seen)
    for index, body in enumerate(scene.bodies):
        part = scene.part(index + 1)
        size_m = np.array(next(iter(body.cuboids.values())).size_lwh_m)
        # What no masklet of the sweeps has is not thereby another's: images alone say whether it goes along.
        images = votes.seen[part] - scene.hits[part]
        agreed[part] = (owner[part] >= 0) & (count[part] >= settings.least_share * np.maximum(1, images))
        inside = (np.abs(scene.centers_m[part]) <= size_m / 2 + scene.settings.body_margin_m).all(axis=1)
        _one_object(part.start + np.flatnonzero(inside), by_object, owner, count, agreed)
    in_sweeps, in_images = _by_kind(votes, member)
    own = np.flatnonzero(agreed & (~scene.is_ground | _low_parts(scene, in_sweeps, owner, settings)))
    order = np.argsort(owner[own], kind="stable")
    own = own[order]
    bounds = np.searchsorted(owner[own], np.arange(len(objects) + 1))
    pieces: dict[int, Int64Array] = {}
    for index in range(len(objects)):
        voxels = _hanging_together(scene, own[bounds[index] : bounds[index + 1]], count, settings)
        if len(voxels) < settings.least_voxels:
            continue
        pieces[index] = np.sort(voxels)
    scores = _scores(scene, votes, pieces, in_sweeps, in_images)
    if own_masks:
        pieces = {index: voxels for index, voxels in pieces.items() if scores[index] >= settings.least_score}
        held = held_shares(scene, list(pieces.values()))
        pieces = {index: voxels for (index, voxels), share in zip(pieces.items(), held, strict=True) if share <= settings.most_held}
    fused = []
    for index, voxels in pieces.items():
        tracks = tuple(votes.tracks[member] for member in objects[index])
        labels = [label for sensor, track in tracks if sensor != LIDAR and (label := source.label_of(sensor, track))]
        label = max(set(labels), key=labels.count) if labels else ""
        fused.append(FusedObject(voxels, tracks, label, float(scores[index])))
    return fused


def _joined(votes: Votes, settings: FusionSettings, own_masks: bool) -> list[list[int]]:
    """Masklets by object: those that share most first, never two that one image shows side by side.

    Two of the sweeps that take the same voxels, now the one and now the other, are one object that was found twice, or a piece of it and
    the whole, however a single sweep parts them: objects that stand side by side do not share places over the frames.
    """
    claims = _claims(votes, settings)
    sizes = np.asarray(claims.sum(axis=1)).ravel()
    # Only masklets that share voxels make pairs: of thousands, each meets few.
    shared = triu(claims @ claims.T, k=1).tocoo()
    share = shared.data / np.maximum(1, np.minimum(sizes[shared.row], sizes[shared.col]))
    same = np.flatnonzero(share >= settings.same_share)
    same = same[np.argsort(-share[same], kind="stable")]
    by_number: dict[Track | int, list[int]] = {}
    for index, (sensor, track) in enumerate(votes.tracks):
        by_number.setdefault(track if own_masks else (sensor, track), []).append(index)
    group = {index: members for members in by_number.values() for index in members}
    shown = {id(members): set().union(*(votes.shown[index] for index in members)) for members in by_number.values()}
    is_sweep = [sensor == LIDAR for sensor, _ in votes.tracks]
    for pair in same:
        one, other = int(shared.row[pair]), int(shared.col[pair])
        first, second = group[one], group[other]
        by_turns = is_sweep[one] and is_sweep[other] and share[pair] >= settings.turns_share
        if first is second or not (by_turns or shown[id(first)].isdisjoint(shown[id(second)])):
            continue
        first.extend(second)
        shown[id(first)] |= shown[id(second)]
        for index in second:
            group[index] = first
    return list({id(members): members for members in group.values()}.values())


def _claims(votes: Votes, settings: FusionSettings) -> csr_matrix:
    """Which voxels each masklet shares with nobody of its sensor, or with few: what its mask ran over by chance is not its own. 0 or 1,
    int32 (T, V)."""
    entries = votes.by_track.tocoo()
    sensors = {sensor: index for index, sensor in enumerate(dict.fromkeys(sensor for sensor, _ in votes.tracks))}
    of_track = np.array([sensors[sensor] for sensor, _ in votes.tracks], dtype=np.int64)
    most = np.zeros((len(sensors), votes.by_track.shape[1]), dtype=np.int32)
    place = of_track[entries.row], entries.col
    np.maximum.at(most, place, entries.data)
    kept = entries.data >= settings.claim_share * most[place]
    ones = np.ones(int(kept.sum()), dtype=np.int32)
    return coo_matrix((ones, (entries.row[kept], entries.col[kept])), shape=votes.by_track.shape).tocsr()


def _winners(by_object: csr_matrix) -> tuple[Int64Array, NDArray[np.int32]]:
    """The object with most votes on each voxel, int64 (V,), -1 for none, and how many those are."""
    entries = by_object.tocoo()
    owner = np.full(by_object.shape[1], -1, dtype=np.int64)
    count = np.zeros(by_object.shape[1], dtype=np.int32)
    order = np.argsort(entries.data, kind="stable")
    # The last one written has most.
    owner[entries.col[order]], count[entries.col[order]] = entries.row[order], entries.data[order]
    return owner, count


def _by_kind(votes: Votes, member: csr_matrix) -> tuple[csr_matrix, csr_matrix]:
    """The votes of sweeps and those of images for each object, sparse int32 (objects, V)."""
    is_sweep = np.array([sensor == LIDAR for sensor, _ in votes.tracks], dtype=np.bool_)
    sweeps, images = (member[:, kind] @ votes.by_track[kind] for kind in (np.flatnonzero(is_sweep), np.flatnonzero(~is_sweep)))
    return sweeps, images


def _scores(
    scene: Reconstruction, votes: Votes, pieces: Mapping[int, Int64Array], in_sweeps: csr_matrix, in_images: csr_matrix
) -> NDArray[np.float64]:
    """How sure each object is, float64 (objects,), in [0, 1].

    For sweeps and for images: intersection over union of what masklets claim and what is seen of the object's voxels, counted in votes.
    Worn masks agree less on small objects whose points are exact, so the better of the two weighs most; but what sweeps alone take for an
    object is often none.
    """
    owner = np.full(len(scene), -1, dtype=np.int64)
    for index, voxels in pieces.items():
        owner[voxels] = index
    sweeps = _agreement(in_sweeps, owner, scene.hits)
    if not scene.clip.cameras:
        return sweeps
    images = _agreement(in_images, owner, votes.seen - scene.hits)
    return np.asarray(BETTER_WEIGHT * np.maximum(sweeps, images) + (1 - BETTER_WEIGHT) * np.minimum(sweeps, images))


def _agreement(by_object: csr_matrix, owner: Int64Array, seen: NDArray[np.int32]) -> NDArray[np.float64]:
    entries = by_object.tocoo()
    own = owner[entries.col] == entries.row
    count = by_object.shape[0]
    claimed = np.bincount(entries.row, weights=entries.data, minlength=count)
    both = np.bincount(entries.row[own], weights=entries.data[own], minlength=count)
    owned = owner >= 0
    looked = np.bincount(owner[owned], weights=seen[owned], minlength=count)
    return np.asarray(np.minimum(1.0, both / np.maximum(1, claimed + looked - both)))


def _low_parts(scene: Reconstruction, in_sweeps: csr_matrix, owner: Int64Array, settings: FusionSettings) -> NDArray[np.bool_]:
    """Voxels of the ground's height that most sweeps take for their owner's, bool (V,). Images are not asked: their masks run over."""
    entries = in_sweeps.tocoo()
    own = owner[entries.col] == entries.row
    count = np.bincount(entries.col[own], weights=entries.data[own], minlength=len(scene))
    return np.asarray(count >= np.maximum(1, settings.least_low * scene.hits))


def _one_object(body: Int64Array, by_object: csc_matrix, owner: Int64Array, count: NDArray[np.int32], agreed: NDArray[np.bool_]) -> None:
    """All voxels in a moving body's cuboid are one object's: the one that most of their votes are for. It is seldom so exact that each
    voxel finds out by itself."""
    for_object = np.asarray(by_object[:, body].sum(axis=1)).ravel()
    if for_object.any():
        winner = int(for_object.argmax())
        owner[body], agreed[body] = winner, True
        count[body] = by_object[winner, body].toarray().ravel()


def _hanging_together(scene: Reconstruction, voxels: Int64Array, count: NDArray[np.int32], settings: FusionSettings) -> Int64Array:
    """Without the pieces that lie apart and have few votes: what a mask showed past the object's edges."""
    if len(voxels) < 2:
        return voxels
    part = np.searchsorted(scene.starts, voxels, side="right")
    kept, weights = [], []
    for index in np.unique(part):
        own = voxels[part == index]
        piece = _pieces(scene, int(index) - 1, own, settings)
        kept.append((own, piece))
        weights.append(np.bincount(piece, weights=count[own]))
    most = max(float(weight.max()) for weight in weights)
    chosen = [own[(weight >= settings.least_piece * most)[piece]] for (own, piece), weight in zip(kept, weights, strict=True)]
    return np.asarray(np.concatenate(chosen), dtype=np.int64)


def _pieces(scene: Reconstruction, part: int, voxels: Int64Array, settings: FusionSettings) -> Int64Array:
    """Which voxels of one part (0 the static scene, else a body) hang together, numbered from 0, int64 (K,)."""
    places_m = scene.centers_m[voxels]
    if part:
        nearest = min(float(np.linalg.norm(cuboid.center_m)) for cuboid in scene.bodies[part - 1].cuboids.values())
    else:
        middle = np.median(places_m, axis=0)
        nearest = min(
            float(np.linalg.norm(scene.clip.lidar_SE3_lidar(0, frame).translation_m - middle)) for frame in range(len(scene.clip))
        )
    gap_m = settings.gap_m + settings.gap_per_metre * nearest
    pairs = cKDTree(places_m).query_pairs(gap_m, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(voxels), len(voxels)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
