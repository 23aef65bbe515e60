"""From what the network says of one object to the masks that people see, and from masks that people give to what the network needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sam4d.geometric.image_masks import segment_camera
from sam4d.geometric.scene import prepare_frame
from sam4d.geometric.segmentation import segment_points
from sam4d.geometry import BoolArray
from sam4d.modeling.encoded_frame import Decoded
from sam4d.network.encoded_clip import FrameOfClip
from sam4d.structures import LIDAR, Clip, Float32Array, MaskPrompt, ObjectMasks

SAMPLED_POINTS = 64


def object_masks(object_id: int, frame_index: int, frame: FrameOfClip, passes: Mapping[str, Decoded]) -> ObjectMasks:
    """The masks, logits and score of one object. A camera without a pass does not show it.

    The score is the mean of the mask qualities that the network predicts for the sensors that show the object; 0 where none does.
    """
    camera_masks: dict[str, BoolArray] = {}
    camera_logits: dict[str, Float32Array] = {}
    qualities: list[float] = []
    for name in frame.camera_names:
        camera = frame.cameras[name]
        if name not in passes:
            camera_masks[name] = np.zeros((camera.height_px, camera.width_px), dtype=np.bool_)
            continue
        decoded = passes[name]
        camera_masks[name] = (decoded.camera_logits(camera.height_px, camera.width_px)[0] > 0).cpu().numpy()
        camera_logits[name] = decoded.camera_low_res_logits[0].float().cpu().numpy()
        if camera_masks[name].any():
            qualities.append(float(decoded.predicted_iou[0, 0]))
    lidar_logits = next(iter(passes.values())).lidar_logits[0]
    lidar_mask = frame.mask_of_sweep(lidar_logits > 0)
    if lidar_mask.any():
        qualities += [float(decoded.predicted_iou[0, 1]) for decoded in passes.values() if decoded.object_score[0, 1] > 0]
    score = float(np.clip(np.mean(qualities), 0.0, 1.0)) if qualities else 0.0
    return ObjectMasks(object_id, frame_index, camera_masks, lidar_mask, score, camera_logits, frame.logits_of_sweep(lidar_logits))


def sample_of(points_m: Float32Array) -> Float32Array:
    """Some of an object's points (N, 3), spread over all of them: at most 64."""
    step = max(1, -(-len(points_m) // SAMPLED_POINTS))
    return np.ascontiguousarray(points_m[::step])


def spread_points(points_m: Float32Array) -> Float32Array:
    """Three points of an object (N, 3) that say where it is: in its middle and between the middle and both ends of its longer side."""
    spread = np.ptp(points_m[:, :2], axis=0)
    along = points_m[:, int(np.argmax(spread))]
    chosen: list[int] = []
    for share in (0.5, 0.2, 0.8):
        near = np.abs(along - np.quantile(along, share))
        slice_rows = np.flatnonzero(near <= max(0.1, float(np.quantile(near, 0.1))))
        middle = np.median(points_m[slice_rows], axis=0)
        chosen.append(int(slice_rows[np.argmin(np.linalg.norm(points_m[slice_rows] - middle, axis=1))]))
    return points_m[list(dict.fromkeys(chosen))]


def filled_masks(clip: Clip, given: Sequence[MaskPrompt]) -> tuple[Mapping[str, BoolArray], BoolArray]:
    """Masks of one object in every camera with an image on the frame, and over the sweep's rows.

    Sensors for which none is given are filled in: points from what lies in the camera masks, less what is seen through or past the
    object; camera masks from the object's points and the edges in the image. Both are those of the geometric engine.
    """
    frame_index = given[0].frame_index
    cameras = {name: clip.cameras[name] for name in clip.frames[frame_index].load_images}
    camera_masks: dict[str, BoolArray] = {prompt.sensor: prompt.mask for prompt in given if prompt.sensor != LIDAR}
    lidar = [prompt.mask for prompt in given if prompt.sensor == LIDAR]
    if not any(prompt.mask.any() for prompt in given):
        count = len(lidar[0]) if lidar else len(clip.frames[frame_index].load_sweep())
        nothing = {name: np.zeros((camera.height_px, camera.width_px), dtype=np.bool_) for name, camera in cameras.items()}
        return nothing, np.zeros(count, dtype=np.bool_)
    if lidar and camera_masks.keys() == cameras.keys():
        return camera_masks, np.asarray(np.logical_or.reduce(lidar))
    scene = prepare_frame(clip, frame_index)
    lidar_mask: BoolArray = np.logical_or.reduce(lidar) if lidar else segment_points(scene, clip, given).mask
    for name, camera in cameras.items():
        if name not in camera_masks:
            camera_masks[name] = segment_camera(scene, camera, lidar_mask, ())
    return camera_masks, lidar_mask
