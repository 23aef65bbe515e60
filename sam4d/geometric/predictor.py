"""The engine that needs no weights: one frame's segmentation and the association over frames, behind a session."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from sam4d.frame_store import FrameStore, Kept
from sam4d.geometric.association import ObjectTrack, advance_tracks, begin_track
from sam4d.geometric.ego_motion import estimate_ego_motion
from sam4d.geometric.image_masks import segment_camera
from sam4d.geometric.parameters import DEFAULT_PARAMETERS, GeometricParameters
from sam4d.geometric.scene import FrameScene
from sam4d.geometric.segmentation import segment_points
from sam4d.geometric.stored_scene import keep_scene, stored_scene
from sam4d.geometry import SE3, BoolArray
from sam4d.predictor import Predictor
from sam4d.session import TrackingSession, empty_masks
from sam4d.structures import LIDAR, Clip, MaskPrompt, ObjectMasks, Prompt

VERSION = "geometric-0.2.0"

SCENES_KEPT = 6
"""Prepared frames held at once: the clicked one and its surroundings. One with three full-HD images takes about 30 MB."""

FRAME_S = 0.1
"""Between frames without timestamps."""


class GeometricPredictor:
    """Opens clips for the geometric engine. Any number of threads may share it.

    Args:
        store: where prepared frames are looked up, and put by `prewarm`.
        parameters: which the answers depend on.
    """

    def __init__(self, store: FrameStore | None = None, parameters: GeometricParameters = DEFAULT_PARAMETERS) -> None:
        self._store = store
        self._parameters = parameters

    @property
    def version(self) -> str:
        """`VERSION`, with eight digits that stand for the parameters where these are not the usual ones."""
        usual = self._parameters == DEFAULT_PARAMETERS
        return VERSION if usual else f"{VERSION}+{self._parameters.digest}"

    @property
    def parameters(self) -> GeometricParameters:
        return self._parameters

    def open(self, clip: Clip) -> TrackingSession[ObjectTrack]:
        return TrackingSession(clip, GeometricEngine(clip, self._store, self._parameters))

    def prewarm(self, clip: Clip, frame_index: int) -> Kept | None:
        """See `predictor.PrewarmingPredictor.prewarm`."""
        return keep_scene(clip, frame_index, self._store, self._parameters) if self._store is not None else None


def parameters_of(predictor: Predictor) -> GeometricParameters:
    """What another look at a sweep beside this engine's own goes by: the geometric engine's parameters, else the usual ones."""
    return predictor.parameters if isinstance(predictor, GeometricPredictor) else DEFAULT_PARAMETERS


class GeometricEngine:
    """`session.TrackingEngine` on one clip. Prepared frames are cached, the oldest dropped first."""

    def __init__(self, clip: Clip, store: FrameStore | None = None, parameters: GeometricParameters = DEFAULT_PARAMETERS) -> None:
        self._clip = clip
        self._store = store
        self._parameters = parameters
        self._scenes: OrderedDict[int, FrameScene] = OrderedDict()
        self._point_counts: dict[int, int] = {}
        self._estimated: dict[tuple[int, int], SE3] = {}

    def point_count(self, frame_index: int) -> int:
        if frame_index not in self._point_counts:
            self.scene(frame_index)
        return self._point_counts[frame_index]

    def scene(self, frame_index: int) -> FrameScene:
        """The prepared frame, from the cache where it is there."""
        if frame_index not in self._scenes:
            self._scenes[frame_index] = stored_scene(self._clip, frame_index, self._store, self._parameters)
            self._point_counts[frame_index] = len(self._scenes[frame_index])
            while len(self._scenes) > SCENES_KEPT:
                self._scenes.popitem(last=False)
        self._scenes.move_to_end(frame_index)
        return self._scenes[frame_index]

    def segment(self, prompts: Sequence[Prompt], tracked: ObjectMasks | None) -> ObjectMasks:
        object_id, frame_index = prompts[0].object_id, prompts[0].frame_index
        scene = self.scene(frame_index)
        masks = [prompt for prompt in prompts if isinstance(prompt, MaskPrompt)]
        if len(masks) == len(prompts) and not any(prompt.mask.any() for prompt in masks):
            # Somebody says that the object is not on this frame.
            return empty_masks(self._clip, object_id, frame_index, len(scene))
        given = list(prompts)
        if tracked is not None and tracked.lidar_mask.any() and not masks:
            given.insert(0, MaskPrompt(object_id, frame_index, LIDAR, tracked.lidar_mask))
        segment = segment_points(scene, self._clip, given)
        return self._object_masks(object_id, scene, segment.mask, segment.score, prompts)

    def begin(self, masks: ObjectMasks, earlier: ObjectTrack | None) -> ObjectTrack:
        return begin_track(self.scene(masks.frame_index), masks.lidar_mask, masks.score, earlier)

    def advance(
        self, tracks: Mapping[int, ObjectTrack], frame_index: int, standing: Mapping[int, ObjectMasks]
    ) -> dict[int, tuple[ObjectTrack, ObjectMasks]]:
        scene = self.scene(frame_index)
        taken = np.zeros(len(scene), dtype=np.bool_)
        for masks in standing.values():
            taken |= masks.lidar_mask
        sources = {track.frame_index for track in tracks.values()}
        motions = {source: self._ego_motion(frame_index, source) for source in sources}
        steps_s = {source: self._step_s(frame_index, source) for source in sources}
        followed = advance_tracks(tracks, scene, motions, steps_s, taken)
        camera_masks: dict[int, dict[str, BoolArray]] = {object_id: {} for object_id in followed}
        # Camera by camera: a wide rig has more images than the scene keeps decoded.
        for name in scene.cameras:
            for object_id, (_, mask) in followed.items():
                camera_masks[object_id][name] = segment_camera(scene, self._clip.cameras[name], mask, ())
        return {
            object_id: (track, ObjectMasks(object_id, frame_index, camera_masks[object_id], mask, track.score))
            for object_id, (track, mask) in followed.items()
        }

    def _object_masks(
        self, object_id: int, scene: FrameScene, lidar_mask: BoolArray, score: float, prompts: Sequence[Prompt]
    ) -> ObjectMasks:
        camera_masks = {
            name: segment_camera(scene, self._clip.cameras[name], lidar_mask, [p for p in prompts if p.sensor == name])
            for name in scene.cameras
        }
        return ObjectMasks(object_id, scene.frame_index, camera_masks, lidar_mask, score)

    def _step_s(self, to_frame: int, from_frame: int) -> float:
        to_ns, from_ns = self._clip.frames[to_frame].timestamp_ns, self._clip.frames[from_frame].timestamp_ns
        assumed = FRAME_S * max(1, abs(to_frame - from_frame))
        if to_ns is None or from_ns is None:
            return assumed
        step_s = abs(to_ns - from_ns) * 1e-9
        return step_s if 1e-3 < step_s < 60 else assumed

    def _ego_motion(self, to_frame: int, from_frame: int) -> SE3:
        frames = self._clip.frames
        if to_frame == from_frame or (frames[to_frame].world_SE3_lidar is not None and frames[from_frame].world_SE3_lidar is not None):
            return self._clip.lidar_SE3_lidar(to_frame, from_frame)
        key = (to_frame, from_frame)
        if key not in self._estimated:
            step = to_frame - from_frame
            guess = self._estimated.get((from_frame, from_frame - step))
            self._estimated[key] = estimate_ego_motion(self.scene(to_frame), self.scene(from_frame), guess)
            self._estimated[(from_frame, to_frame)] = self._estimated[key].inverse()
        return self._estimated[key]
