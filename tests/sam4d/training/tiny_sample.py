"""Samples and clips that are made up in no time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.random import default_rng

from sam4d.geometry import SE3, BoolArray
from sam4d.structures import Camera, Clip, Frame, Masklet, ObjectMasks, Sweep, UInt8Array
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.windows import TrainingFrame, TrainingSample

WIDTH, HEIGHT, POINTS = 64, 48, 400
LOOKING_AHEAD = SE3(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.array([0.3, 0.1, -0.2]))


def camera(name: str = "front", distortion: tuple[float, ...] = ()) -> Camera:
    return Camera(name, WIDTH, HEIGHT, 50.0, 50.0, 30.5, 25.25, LOOKING_AHEAD, distortion)


def points_ahead(seed: int, count: int = POINTS) -> Sweep:
    random = default_rng(seed)
    return Sweep(
        np.stack([random.uniform(4, 30, count), random.uniform(-9, 9, count), random.uniform(-3, 3, count)], axis=1).astype(np.float32)
    )


def sample(object_count: int = 3, frame_count: int = 2, seed: int = 0, model: Camera | None = None) -> TrainingSample:
    """Every object a rectangle of the image and the points behind it, on every frame; noise as images."""
    random = default_rng(seed)
    model = model or camera()
    frames = []
    for index in range(frame_count):
        points_m = points_ahead(seed * 100 + index).points_m
        truths = np.zeros((object_count, HEIGHT, WIDTH), dtype=np.bool_)
        for place, truth in enumerate(truths):
            left = 4 + place * (WIDTH - 8) // object_count
            truth[14:34, left : left + 12] = True
        pixels, _, visible = model.project(points_m)
        row, column = np.where(visible[:, None], np.floor(pixels), 0).astype(np.int64).T[::-1]
        lidar = truths[:, row, column] & visible
        image = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        pose = SE3.from_yaw(0.02 * index, [0.7 * index, 0.1 * index, 0.0])
        frames.append(TrainingFrame(index, image, model, points_m, pose, truths, lidar))
    return TrainingSample("tiny", tuple(frames), tuple(range(1, object_count + 1)))


def hidden_from_camera(whole: TrainingSample, index: int) -> TrainingSample:
    """The sample with an object that only the LiDAR shows."""
    frames = []
    for frame in whole.frames:
        assert frame.camera_truths is not None
        truths = frame.camera_truths.copy()
        truths[index] = False
        frames.append(replace(frame, camera_truths=truths))
    return replace(whole, frames=tuple(frames))


def unknown_camera(whole: TrainingSample) -> TrainingSample:
    return replace(whole, frames=tuple(replace(frame, camera_truths=None) for frame in whole.frames))


def clip(
    shown: Mapping[int, Sequence[int]],
    frame_count: int = 12,
    camera_names: Sequence[str] = ("front",),
    labelled_cameras: Sequence[str] | None = None,
    labelled_frames: Sequence[int] | None = None,
) -> LabelledClip:
    """{object id: the frames that show it, in every camera and by ten points}."""
    cameras = {name: camera(name) for name in camera_names}
    image: UInt8Array = np.full((HEIGHT, WIDTH, 3), 7, dtype=np.uint8)
    frames = tuple(
        Frame(partial(points_ahead, index), {name: lambda: image for name in cameras}, SE3.from_yaw(0.0, [float(index), 0, 0]))
        for index in range(frame_count)
    )
    masklets = tuple(
        Masklet(object_id, "Car", {each: _masks(object_id, each, camera_names) for each in on}) for object_id, on in shown.items()
    )
    named = tuple(cameras if labelled_cameras is None else labelled_cameras)
    return LabelledClip(Clip("tiny", cameras, frames), masklets, named, tuple(labelled_frames or range(frame_count)))


def _masks(object_id: int, frame_index: int, camera_names: Sequence[str]) -> ObjectMasks:
    lidar: BoolArray = np.zeros(POINTS, dtype=np.bool_)
    lidar[object_id * 10 : object_id * 10 + 10] = True
    pixels: BoolArray = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    pixels[object_id * 5 : object_id * 5 + 5, 10:30] = True
    return ObjectMasks(object_id, frame_index, dict.fromkeys(camera_names, pixels), lidar, 1.0)
