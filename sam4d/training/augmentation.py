"""The same window as it might have been recorded: other mountings, mirrored streets, other light, fewer points.

Whatever is done to pixels or points is done to calibration and ego poses as well, on all frames alike, so that points keep falling on the
pixels of the things that they are of. Prompts are drawn from a sample after this, and so need no change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from sam4d.geometry import SE3, Float64Array, project_pinhole, unproject_pinhole
from sam4d.network.stored_features import GREY
from sam4d.structures import Camera, Float32Array
from sam4d.training.windows import TrainingFrame, TrainingSample

GRID_STEP_PX = 8
"""Through a distorted lens, the way back is found for one pixel in so many each way, and in between linearly: within 0.05 pixels."""

OUTSIDE = -1e4
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class AugmentationRanges:
    """What is drawn, uniformly, each on both sides of no change: radians, metres, shares."""

    image_rotation_rad: float = float(np.deg2rad(25))
    mirrored_share: float = 0.5
    brightness: float = 0.1
    contrast: float = 0.03
    saturation: float = 0.03
    lidar_yaw_rad: float = float(np.deg2rad(45))
    lidar_shift_m: tuple[float, float, float] = (0.5, 0.5, 0.1)
    scale: float = 0.05
    most_dropped_share: float = 0.2


PAPER = AugmentationRanges()
"""25 degrees are the paper's, the light is that of SAM 2, the rest is usual for sweeps."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to a sample; without arguments, nothing.

    image_rotation_rad: the camera's content turns by this, from u towards v (clockwise), about the optical axis. mirrored: left and right.
    brightness, contrast, saturation: factors. lidar_yaw_rad, lidar_shift_m: the LiDAR's axes move so that its points do this. scale: of
    the whole world. dropped_share: of the points of each sweep, chosen by dropping_seed.
    """

    image_rotation_rad: float = 0.0
    mirrored: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    lidar_yaw_rad: float = 0.0
    lidar_shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    dropped_share: float = 0.0
    dropping_seed: int = 0


def draw_augmentation(random: Generator, ranges: AugmentationRanges = PAPER) -> Augmentation:
    """The same state of `random` gives the same augmentation."""

    def either_side(most: float) -> float:
        return float(random.uniform(-most, most))

    x_m, y_m, z_m = ranges.lidar_shift_m
    return Augmentation(
        image_rotation_rad=either_side(ranges.image_rotation_rad),
        mirrored=bool(random.random() < ranges.mirrored_share),
        brightness=1 + either_side(ranges.brightness),
        contrast=1 + either_side(ranges.contrast),
        saturation=1 + either_side(ranges.saturation),
        lidar_yaw_rad=either_side(ranges.lidar_yaw_rad),
        lidar_shift_m=(either_side(x_m), either_side(y_m), either_side(z_m)),
        scale=1 + either_side(ranges.scale),
        dropped_share=float(random.uniform(0, ranges.most_dropped_share)),
        dropping_seed=int(random.integers(2**32)),
    )


def augment(sample: TrainingSample, augmentation: Augmentation) -> TrainingSample:
    """Everything that the augmentation names, in an order in which none undoes another."""
    sample = change_light(sample, augmentation.brightness, augmentation.contrast, augmentation.saturation)
    sample = rotate_images(sample, augmentation.image_rotation_rad)
    if augmentation.mirrored:
        sample = mirror(sample)
    sample = scale_world(sample, augmentation.scale)
    sample = move_points(sample, SE3.from_yaw(augmentation.lidar_yaw_rad, augmentation.lidar_shift_m))
    return drop_points(sample, augmentation.dropped_share, augmentation.dropping_seed)


def rotate_images(sample: TrainingSample, angle_rad: float) -> TrainingSample:
    """The camera turned about its optical axis, so that what it shows turns by the angle from u towards v.

    What comes into view at the corners was never recorded: it is `GREY`, which the network sees as nothing, and counts as showing no
    object. A mask that reached into it would be wrong, as it is beyond the border of any image; and the network may as well learn that.
    """
    if angle_rad == 0:
        return sample
    turned: dict[int, tuple[Camera, tuple[Float32Array, Float32Array]]] = {}

    def rotate(frame: TrainingFrame) -> TrainingFrame:
        known = turned.get(id(frame.camera))
        if known is None:
            cam_SE3_turned = SE3.from_yaw(-angle_rad, np.zeros(3))
            camera = replace(frame.camera, lidar_SE3_cam=frame.camera.lidar_SE3_cam @ cam_SE3_turned)
            known = turned[id(frame.camera)] = (camera, _recorded_places(frame.camera, cam_SE3_turned))
        camera, (columns, rows) = known
        image = cv2.remap(frame.image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=GREY)
        truths = None
        if frame.camera_truths is not None:
            truths = np.zeros_like(frame.camera_truths)
            for mask, recorded in zip(truths, frame.camera_truths, strict=True):
                mask[:] = cv2.remap(recorded.view(np.uint8), columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        return replace(frame, image=np.asarray(image, dtype=np.uint8), camera=camera, camera_truths=truths)

    return _each(sample, rotate)


def mirror(sample: TrainingSample) -> TrainingSample:
    """Left for right, for the vehicle and for the camera: as if the street had been built and recorded in a mirror. Its own inverse."""
    lidar = np.diag([1.0, -1.0, 1.0] if sample.forward in ("+x", "-x") else [-1.0, 1.0, 1.0])
    image = np.diag([-1.0, 1.0, 1.0])

    def mirror_frame(frame: TrainingFrame) -> TrainingFrame:
        old = frame.camera
        distortion = old.distortion
        if distortion:
            k1, k2, p1, p2, k3 = distortion
            distortion = (k1, k2, p1, -p2, k3)
        mounted = SE3(lidar @ old.lidar_SE3_cam.rotation @ image, lidar @ old.lidar_SE3_cam.translation_m)
        camera = replace(old, cx_px=old.width_px - old.cx_px, lidar_SE3_cam=mounted, distortion=distortion)
        pose = frame.world_SE3_lidar
        truths = frame.camera_truths
        return replace(
            frame,
            image=np.ascontiguousarray(frame.image[:, ::-1]),
            camera=camera,
            points_m=frame.points_m * np.diagonal(lidar).astype(np.float32),
            world_SE3_lidar=SE3(lidar @ pose.rotation @ lidar, lidar @ pose.translation_m),
            camera_truths=None if truths is None else np.ascontiguousarray(truths[:, :, ::-1]),
        )

    return _each(sample, mirror_frame)


def change_light(sample: TrainingSample, brightness: float, contrast: float, saturation: float) -> TrainingSample:
    """Factors of all values, of their distance from the image's mean grey, and of their distance from their own grey."""
    if brightness == contrast == saturation == 1:
        return sample

    def change(frame: TrainingFrame) -> TrainingFrame:
        values = frame.image.astype(np.float32) * np.float32(brightness)
        grey = values @ np.array(LUMA, dtype=np.float32)
        mean = float(grey.mean())
        values = mean + contrast * (values - mean)
        grey = mean + contrast * (grey - mean)
        values = grey[..., None] + saturation * (values - grey[..., None])
        return replace(frame, image=np.clip(np.rint(values), 0, 255).astype(np.uint8))

    return _each(sample, change)


def move_points(sample: TrainingSample, new_SE3_old: SE3) -> TrainingSample:
    """The LiDAR's axes lie elsewhere: its points move by the transform, while the world, the vehicle's way in it and the images stay."""

    def move(frame: TrainingFrame) -> TrainingFrame:
        return replace(
            frame,
            camera=replace(frame.camera, lidar_SE3_cam=new_SE3_old @ frame.camera.lidar_SE3_cam),
            points_m=new_SE3_old.apply(frame.points_m).astype(np.float32),
            world_SE3_lidar=frame.world_SE3_lidar @ new_SE3_old.inverse(),
        )

    return _each(sample, move)


def scale_world(sample: TrainingSample, factor: float) -> TrainingSample:
    """Everything that many times as large, the vehicle included: images stay as they are."""

    def scaled(pose: SE3) -> SE3:
        return SE3(pose.rotation, pose.translation_m * factor)

    def scale(frame: TrainingFrame) -> TrainingFrame:
        return replace(
            frame,
            camera=replace(frame.camera, lidar_SE3_cam=scaled(frame.camera.lidar_SE3_cam)),
            points_m=(frame.points_m * factor).astype(np.float32),
            world_SE3_lidar=scaled(frame.world_SE3_lidar),
        )

    return _each(sample, scale)


def drop_points(sample: TrainingSample, share: float, seed: int) -> TrainingSample:
    """Each sweep without that share of its points, others on each frame; at least one point stays."""
    if share == 0:
        return sample
    frames = []
    for place, frame in enumerate(sample.frames):
        count = len(frame.points_m)
        kept = np.sort(default_rng([seed, place]).permutation(count)[: max(1, round(count * (1 - share)))])
        frames.append(replace(frame, points_m=frame.points_m[kept], lidar_truths=frame.lidar_truths[:, kept]))
    return replace(sample, frames=tuple(frames))


def _each(sample: TrainingSample, change: Callable[[TrainingFrame], TrainingFrame]) -> TrainingSample:
    return replace(sample, frames=tuple(change(frame) for frame in sample.frames))


def _recorded_places(camera: Camera, cam_SE3_turned: SE3) -> tuple[Float32Array, Float32Array]:
    """Where each pixel of the turned camera lay in the recorded image: its column and its row as `cv2.remap` counts, float32 (H, W)."""
    step = GRID_STEP_PX if camera.distortion else 1
    us = np.linspace(0.5, camera.width_px - 0.5, -(-camera.width_px // step))
    vs = np.linspace(0.5, camera.height_px - 0.5, -(-camera.height_px // step))
    lens = (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, camera.distortion)
    rays = unproject_pinhole(np.stack(np.meshgrid(us, vs), axis=-1).reshape(-1, 2), *lens)
    pixels, valid = project_pinhole(cam_SE3_turned.apply(rays), *lens)
    places = (pixels - 0.5).reshape(len(vs), len(us), 2)
    inside = valid.reshape(len(vs), len(us)).astype(np.float64)
    if step == 1:
        columns, rows, seen = places[..., 0], places[..., 1], inside > 0
    else:
        across, down = _between(us, camera.width_px), _between(vs, camera.height_px)
        columns, rows = down @ places[..., 0] @ across.T, down @ places[..., 1] @ across.T
        seen = down @ inside @ across.T > 1 - 1e-6
    return np.where(seen, columns, OUTSIDE).astype(np.float32), np.where(seen, rows, OUTSIDE).astype(np.float32)


def _between(nodes: NDArray[np.floating], count: int) -> Float64Array:
    """Weights of the nodes for the middles of that many pixels, linear between two of them: float64 (count, nodes)."""
    middles = np.arange(count) + 0.5
    return np.stack([np.interp(middles, nodes, unit) for unit in np.eye(len(nodes))], axis=1)
