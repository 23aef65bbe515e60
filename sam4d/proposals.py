"""Objects to pre-annotate when nobody has clicked yet: what stands free, has a road user's size and persists over frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from sam4d.cuboids import fit_cuboids_together
from sam4d.geometric.clusters import Cluster, find_clusters
from sam4d.geometric.ego_motion import estimate_ego_motion
from sam4d.geometric.parameters import DEFAULT_PARAMETERS, GeometricParameters
from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometry import SE3, BoolArray, Float64Array
from sam4d.object_kinds import Kind, choose_label, kind_of_size, label_of_kind
from sam4d.predictor import Session
from sam4d.structures import Clip, FrameMasks, Masklet, ObjectMasks

__all__ = ["MOST_PROPOSALS", "Proposal", "choose_label", "propose_masklets", "propose_objects"]

MOST_PROPOSALS = 40
MOVING_M_PER_FRAME = 0.12

CLEAR_PLAUSIBILITY = 0.7
"""What looks so much like a road user is proposed although it does not persist."""

LEAST_SCORE = 0.4
"""An engine that is less sure of its own answer has not found the object."""

SAME_OBJECT_IOU = 0.7


@dataclass(frozen=True, eq=False)
class Proposal:
    """One object that persists. lidar_mask bool (N,) on the frame that shows it best; score in (0, 1]."""

    object_id: int
    kind: Kind
    frame_index: int
    lidar_mask: BoolArray
    score: float


@dataclass
class _Chain:
    """Clusters of one object. position_m, origin_m (where it was first) and velocity_m per frame: (2,), in the newest LiDAR frame."""

    clusters: list[Cluster]
    position_m: Float64Array
    origin_m: Float64Array
    velocity_m: Float64Array = field(default_factory=lambda: np.zeros(2))
    missed: int = 0

    @property
    def moves(self) -> bool:
        """What is seen of a standing object shifts a little as well, but not along a line and not as far."""
        net = float(np.hypot(*(self.position_m - self.origin_m)))
        return len(self.clusters) > 3 and net > max(1.0, MOVING_M_PER_FRAME * len(self.clusters))


def propose_objects(
    clip: Clip,
    most: int = MOST_PROPOSALS,
    on_frame: Callable[[int], None] | None = None,
    unwanted: Collection[Kind] = (),
    parameters: GeometricParameters = DEFAULT_PARAMETERS,
) -> list[Proposal]:
    """The `most` best objects of a clip that are of no unwanted kind, best first, numbered from 1. The clip's frames are prepared one
    after the other.

    Args:
        on_frame: called with each frame's index when it is done.
        parameters: say what is ground.
    """
    chains: list[_Chain] = []
    finished: list[_Chain] = []
    point_counts: list[int] = []
    before: FrameScene | None = None
    motion: SE3 | None = None
    for frame_index in range(len(clip)):
        scene = prepare_frame(clip, frame_index, parameters)
        point_counts.append(len(scene))
        if before is not None:
            motion = _ego_motion(clip, scene, before, motion)
        chains, ended = _associate(chains, find_clusters(scene), motion)
        finished += ended
        before = scene
        if on_frame is not None:
            on_frame(frame_index)
    return _best(finished + chains, point_counts, most, unwanted)


def propose_masklets(
    session: Session,
    labels: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    most: int = MOST_PROPOSALS,
    parameters: GeometricParameters = DEFAULT_PARAMETERS,
) -> list[Masklet]:
    """Pre-annotation: the session is asked for every proposal and follows it both ways; cuboids are fitted.

    Answers of which the engine itself is unsure are dropped, and so is one of two that cover the same points.

    Args:
        session: any engine's; keeps the proposals as objects beside those it has.
        labels: the project's own, one of which every masklet gets (`choose_label`).
        progress: called with (steps done, steps in all).
        parameters: say what is ground where objects are looked for.

    Returns:
        Masklets of the new objects, best first; frames that do not show an object are left out.
    """
    clip = session.clip
    steps = 3 * len(clip)
    report = progress or (lambda done, total: None)
    # A project that has no word for signs does not want them, and its other labels would be wrong.
    unwanted: frozenset[Kind] = frozenset() if label_of_kind("pole", labels) is not None else frozenset({"pole"})
    proposals = propose_objects(clip, most, lambda frame_index: report(frame_index + 1, steps), unwanted, parameters)
    first_id = max(session.object_ids, default=0) + 1
    proposals = [replace(proposal, object_id=first_id + k) for k, proposal in enumerate(proposals)]
    proposals = _confirmed(session, proposals)
    shown: dict[int, dict[int, ObjectMasks]] = {proposal.object_id: {} for proposal in proposals}
    starts = {proposal.object_id: proposal.frame_index for proposal in proposals}
    if proposals:
        for done, frame in enumerate(session.propagate(min(starts.values()))):
            _collect(frame, shown, lambda object_id, frame_index: frame_index >= starts[object_id])
            report(len(clip) + min(starts.values()) + done + 1, steps)
        for done, frame in enumerate(session.propagate(max(starts.values()), reverse=True)):
            _collect(frame, shown, lambda object_id, frame_index: frame_index < starts[object_id])
            report(2 * len(clip) + done + 1, steps)
    masklets = [
        Masklet(proposal.object_id, choose_label(proposal.kind, labels), dict(sorted(shown[proposal.object_id].items())))
        for proposal in proposals
    ]
    fitted = fit_cuboids_together(masklets, clip)
    report(steps, steps)
    return [
        replace(masklet, cuboids={k: cuboid for k, cuboid in enumerate(cuboids) if cuboid is not None})
        for masklet, cuboids in zip(masklets, fitted, strict=True)
    ]


def _confirmed(session: Session, proposals: Sequence[Proposal]) -> list[Proposal]:
    """Those that the engine answers well, each with points of its own, best first. The others are no objects of the session."""
    answers: dict[int, ObjectMasks] = {}
    for proposal in sorted(proposals, key=lambda proposal: proposal.frame_index):
        prompts = session.prompts_for(proposal.object_id, proposal.frame_index, proposal.lidar_mask)
        answers[proposal.object_id] = session.add_prompt(prompts)
    kept: list[Proposal] = []
    for proposal in proposals:
        answer = answers[proposal.object_id]
        same_frame = [answers[other.object_id] for other in kept if other.frame_index == proposal.frame_index]
        if answer.score < LEAST_SCORE or any(_overlap(answer, other) > SAME_OBJECT_IOU for other in same_frame):
            session.remove_object(proposal.object_id)
        else:
            kept.append(proposal)
    return kept


def _overlap(one: ObjectMasks, other: ObjectMasks) -> float:
    """Intersection over union of the points, or where neither has any, the largest of the cameras'."""
    if one.lidar_mask.any() or other.lidar_mask.any():
        return _iou(one.lidar_mask, other.lidar_mask)
    return max((_iou(mask, other.camera_masks[name]) for name, mask in one.camera_masks.items() if name in other.camera_masks), default=0.0)


def _iou(one: BoolArray, other: BoolArray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _collect(frame: FrameMasks, shown: dict[int, dict[int, ObjectMasks]], wanted: Callable[[int, int], bool]) -> None:
    for object_id, masks in frame.objects.items():
        if object_id in shown and wanted(object_id, frame.frame_index) and not masks.is_empty:
            shown[object_id][frame.frame_index] = masks


def _ego_motion(clip: Clip, scene: FrameScene, before: FrameScene, previous: SE3 | None) -> SE3:
    to_frame, from_frame = clip.frames[scene.frame_index], clip.frames[before.frame_index]
    if to_frame.world_SE3_lidar is None or from_frame.world_SE3_lidar is None:
        return estimate_ego_motion(scene, before, previous)
    return clip.lidar_SE3_lidar(scene.frame_index, before.frame_index)


def _associate(chains: list[_Chain], clusters: list[Cluster], motion: SE3 | None) -> tuple[list[_Chain], list[_Chain]]:
    """Chains go on with the clusters where they are expected; returns those that live and those that ended."""
    motion = motion or SE3.identity()
    expected = np.zeros((len(chains), 2))
    standing = np.zeros((len(chains), 2))
    for k, chain in enumerate(chains):
        standing[k] = motion.apply(np.append(chain.position_m, 0.0))[:2]
        chain.origin_m = motion.apply(np.append(chain.origin_m, 0.0))[:2]
        chain.velocity_m = (motion.rotation @ np.append(chain.velocity_m, 0.0))[:2]
        expected[k] = standing[k] + chain.velocity_m
    cost = _costs(chains, expected, clusters)
    taken: set[int] = set()
    found: set[int] = set()
    for row, column in zip(*linear_sum_assignment(cost), strict=True):
        if cost[row, column] >= 1:
            continue
        chain, cluster = chains[row], clusters[column]
        step = cluster.center_m - standing[row]
        # Centres of what is seen of an object jump a little from frame to frame even where it stands.
        chain.velocity_m = 0.5 * chain.velocity_m + 0.5 * step if len(chain.clusters) > 1 else 0.7 * step
        chain.position_m, chain.missed = cluster.center_m, 0
        chain.clusters.append(cluster)
        taken.add(int(column))
        found.add(int(row))
    living: list[_Chain] = []
    ended: list[_Chain] = []
    for k, chain in enumerate(chains):
        if k not in found:
            chain.missed += 1
            chain.position_m = expected[k]
        (living if chain.missed <= 2 else ended).append(chain)
    living += [_Chain([cluster], cluster.center_m, cluster.center_m) for column, cluster in enumerate(clusters) if column not in taken]
    return living, ended


def _costs(chains: list[_Chain], expected_m: Float64Array, clusters: list[Cluster]) -> Float64Array:
    """(chains, clusters): distance and change of size, 1 where they do not fit any more."""
    if not chains or not clusters:
        return np.ones((len(chains), len(clusters)))
    centers = np.array([cluster.center_m for cluster in clusters])
    longer = np.array([cluster.longer_m for cluster in clusters])
    height = np.array([cluster.height_m for cluster in clusters])
    last = [chain.clusters[-1] for chain in chains]
    chain_longer, chain_height = np.array([c.longer_m for c in last]), np.array([c.height_m for c in last])
    young = np.array([len(chain.clusters) < 2 for chain in chains])
    gate = np.where(young, 0.6 + 0.35 * chain_longer, 0.5 + 0.15 * chain_longer)
    distance = np.linalg.norm(expected_m[:, None] - centers[None], axis=2) / gate[:, None]
    size = np.abs(chain_longer[:, None] - longer) / (0.5 + 0.5 * np.maximum(chain_longer[:, None], longer))
    tall = np.abs(chain_height[:, None] - height) / 1.2
    return np.asarray(np.minimum(0.7 * distance + 0.3 * size + 0.3 * tall, 1.0) + (distance > 1))


def _best(chains: list[_Chain], point_counts: Sequence[int], most: int, unwanted: Collection[Kind]) -> list[Proposal]:
    frame_count = len(point_counts)
    least = min(3, frame_count)
    rated: list[tuple[float, Kind, Cluster]] = []
    for chain in chains:
        best = max(chain.clusters, key=lambda cluster: len(cluster.rows) * cluster.plausibility)
        if len(chain.clusters) < least and best.plausibility < CLEAR_PLAUSIBILITY:
            continue
        persistence = len(chain.clusters) / max(least, chain.clusters[-1].frame_index - chain.clusters[0].frame_index + 1)
        kind = _kind(chain)
        if kind in unwanted:
            continue
        nearness = 1 - 0.3 * min(1.0, float(np.hypot(*best.center_m)) / 60)
        looks = float(np.mean([cluster.plausibility for cluster in chain.clusters])) + (0.25 if chain.moves else 0.0)
        rated.append((float(np.clip(looks * (0.5 + 0.5 * persistence) * nearness, 0.01, 1.0)), kind, best))
    rated.sort(key=lambda item: -item[0])
    proposals: list[Proposal] = []
    for object_id, (score, kind, cluster) in enumerate(rated[:most], start=1):
        mask = np.zeros(point_counts[cluster.frame_index], dtype=np.bool_)
        mask[cluster.rows] = True
        proposals.append(Proposal(object_id, kind, cluster.frame_index, mask, score))
    return proposals


def _kind(chain: _Chain) -> Kind:
    """By the size it shows over time and its speed: the largest view tells most, since nothing shows more than there is."""
    longer = float(np.percentile([cluster.longer_m for cluster in chain.clusters], 75))
    shorter = float(np.percentile([cluster.shorter_m for cluster in chain.clusters], 75))
    height = float(np.percentile([cluster.height_m for cluster in chain.clusters], 75))
    kind = kind_of_size(longer, shorter, height)
    usual = Counter(cluster.kind for cluster in chain.clusters).most_common(1)[0][0]
    # Nobody on foot does 4 m/s.
    if kind == "pedestrian" and chain.moves and float(np.hypot(*chain.velocity_m)) > 0.4:
        return "cyclist"
    return usual if kind in ("object", "pole") or usual == "pole" else kind
