"""Windows of labelled clips, and what a window shows: a few objects on a few frames, seen by one camera and the LiDAR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sam4d.geometry import SE3, Axis, BoolArray
from sam4d.network.encoded_clip import BLIND, blind_camera
from sam4d.network.stored_features import GreyImage
from sam4d.structures import Camera, CameraMasks, Float32Array, InputError, Masklet, ObjectMasks, UInt8Array
from sam4d.training.labelled_clip import LabelledClip

MOST_FRAMES = 8
MOST_OBJECTS = 6

SHOWN_PIXELS, SHOWN_POINTS = 16, 3
"""A sensor with less of an object does not show enough of it to ask for it there. It still counts as present."""

TRIES = 100
"""Windows that are drawn until one shows enough of any object."""

LATE_WEIGHT = 0.2
"""How likely an object that the first frame does not show is chosen, relative to one that it shows."""


@dataclass(frozen=True)
class TrainingWindow:
    """What is trained on at once.

    camera: the one that is looked through; `BLIND` for a clip without cameras. frame_indices: of the clip, in the order in which they are
    seen, which may be backwards. object_ids: ascending.
    """

    labelled: LabelledClip
    camera: str
    frame_indices: tuple[int, ...]
    object_ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TrainingFrame:
    """One frame of a sample, of K objects.

    frame_index: in the clip. image: uint8 (H, W, 3), RGB; grey where the camera has none here. points_m: float32 (N, 3), metres, LiDAR
    frame, all finite. camera_truths: bool (K, H, W), or None where nothing is known of what the camera shows. lidar_truths: bool (K, N).
    """

    frame_index: int
    image: UInt8Array
    camera: Camera
    points_m: Float32Array
    world_SE3_lidar: SE3
    camera_truths: BoolArray | None
    lidar_truths: BoolArray

    @property
    def camera_present(self) -> BoolArray | None:
        """Which objects the camera shows any pixel of, bool (K,); None where that is not known."""
        return None if self.camera_truths is None else np.asarray(self.camera_truths.any(axis=(1, 2)))

    @property
    def lidar_present(self) -> BoolArray:
        """Which objects have a point, bool (K,)."""
        return np.asarray(self.lidar_truths.any(axis=1))

    def camera_shows(self, index: int) -> bool:
        """Whether the camera shows enough of an object, by its place among the sample's, to ask for it there."""
        return self.camera_truths is not None and int(self.camera_truths[index].sum()) >= SHOWN_PIXELS

    def lidar_shows(self, index: int) -> bool:
        """Likewise for the LiDAR."""
        return int(self.lidar_truths[index].sum()) >= SHOWN_POINTS


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """A window as it is seen, in the order in which it is seen: everything that an augmentation changes together.

    object_ids: K of them, the order of all truths. forward: the LiDAR axis along which the vehicle drives.
    """

    name: str
    frames: tuple[TrainingFrame, ...]
    object_ids: tuple[int, ...]
    forward: Axis = "+x"

    def __len__(self) -> int:
        return len(self.frames)

    def first_shown(self, index: int) -> int | None:
        """The place of the first frame on which an object can be asked for; None where there is none."""
        return next((place for place, frame in enumerate(self.frames) if frame.camera_shows(index) or frame.lidar_shows(index)), None)


def sample_window(
    clips: Sequence[LabelledClip], random: Generator, *, most_frames: int = MOST_FRAMES, most_objects: int = MOST_OBJECTS
) -> TrainingWindow:
    """A window of one of the clips; the same state of `random` gives the same window.

    It starts at any labelled frame that shows an object, and goes forwards or backwards over the labelled frames from there, as many as
    wanted or as the clip has. Objects of which the first frame shows enough are preferred; others that come within the window occur.

    Raises:
        InputError: no labelled frame of any clip shows enough of an object.
    """
    starts = [_starts(labelled, most_frames) for labelled in clips]
    weights = np.array([len(of_clip) for of_clip in starts], dtype=np.float64)
    for _ in range(TRIES if weights.any() else 0):
        chosen = int(random.choice(len(clips), p=weights / weights.sum()))
        frame_indices = starts[chosen][int(random.integers(len(starts[chosen])))]
        camera = _camera(clips[chosen], frame_indices[0], random)
        object_ids = _objects(clips[chosen], camera, frame_indices, most_objects, random)
        if object_ids:
            return TrainingWindow(clips[chosen], camera, frame_indices, object_ids)
    expected = f"an object of {SHOWN_POINTS} points or {SHOWN_PIXELS} pixels on a labelled frame"
    raise InputError("clips to learn from", expected, f"none in {len(clips)} clips")


def read_window(window: TrainingWindow) -> TrainingSample:
    """Images, sweeps and truths of a window. Rows of a sweep that are not finite are left out, of its truths too.

    Raises:
        InputError: an image of another size than its camera's, a mask of another length than its sweep.
    """
    by_id = {masklet.object_id: masklet for masklet in window.labelled.masklets}
    masklets = [by_id[object_id] for object_id in window.object_ids]
    clip = window.labelled.clip
    frames = tuple(_read_frame(window, masklets, frame_index) for frame_index in window.frame_indices)
    return TrainingSample(clip.name, frames, window.object_ids, clip.forward)


def _read_frame(window: TrainingWindow, masklets: Sequence[Masklet], frame_index: int) -> TrainingFrame:
    clip = window.labelled.clip
    frame, where = clip.frames[frame_index], f"frame {frame_index} of {clip.name}"
    camera = clip.cameras[window.camera] if window.camera != BLIND else blind_camera(clip)
    load_image = frame.load_images.get(window.camera)
    image = (load_image or GreyImage(camera.width_px, camera.height_px))()
    if image.shape != (camera.height_px, camera.width_px, 3):
        expected = f"{camera.width_px} x {camera.height_px} pixels, RGB"
        raise InputError(f"image of camera {camera.name}, {where}", expected, " x ".join(map(str, image.shape[1::-1])))
    points_m = frame.load_sweep().points_m
    finite = np.asarray(np.isfinite(points_m).all(axis=1))
    shown = [masklet.masks.get(frame_index) for masklet in masklets]
    lidar_truths = np.zeros((len(masklets), int(finite.sum())), dtype=np.bool_)
    for truth, masks in zip(lidar_truths, shown, strict=True):
        if masks is not None:
            if masks.lidar_mask.shape != finite.shape:
                raise InputError(
                    f"object {masks.object_id}, {where}", f"a mask over the sweep's {len(finite)} points", f"{masks.lidar_mask.shape}"
                )
            truth[:] = masks.lidar_mask[finite]
    camera_truths = None
    if load_image is not None and window.camera in window.labelled.labelled_cameras:
        camera_truths = np.zeros((len(masklets), camera.height_px, camera.width_px), dtype=np.bool_)
        for truth, masks in zip(camera_truths, shown, strict=True):
            if masks is not None and window.camera in masks.camera_masks:
                truth[:] = masks.camera_masks[window.camera]
    pose = frame.world_SE3_lidar or SE3.identity()
    return TrainingFrame(frame_index, image, camera, points_m[finite], pose, camera_truths, lidar_truths)


def _starts(labelled: LabelledClip, most_frames: int) -> list[tuple[int, ...]]:
    """Every window of the longest possible length, both ways, whose first frame shows an object."""
    frames = labelled.labelled_frames
    length = min(most_frames, len(frames))
    showing = {index for masklet in labelled.masklets for index in masklet.masks}
    ahead = [frames[first : first + length] for first in range(len(frames) - length + 1)] if length else []
    both = [*ahead, *(window[::-1] for window in ahead)] if length > 1 else ahead
    return [window for window in both if window[0] in showing]


def _camera(labelled: LabelledClip, frame_index: int, random: Generator) -> str:
    """One of the labelled cameras that show an object on the frame; where there is none, one with an image, and so on."""
    clip = labelled.clip
    there = [masks for masklet in labelled.masklets if (masks := masklet.masks.get(frame_index)) is not None]
    with_image = [name for name in clip.frames[frame_index].load_images if name in labelled.labelled_cameras]
    showing = [name for name in with_image if any(_pixels(masks, name) >= SHOWN_PIXELS for masks in there)]
    choice = showing or with_image or list(clip.frames[frame_index].load_images) or list(clip.cameras) or [BLIND]
    return choice[int(random.integers(len(choice)))]


def _objects(labelled: LabelledClip, camera: str, frame_indices: Sequence[int], most_objects: int, random: Generator) -> tuple[int, ...]:
    """Chosen without replacement among those of which some frame shows enough."""
    known_camera = camera if camera in labelled.labelled_cameras else None
    weights: dict[int, float] = {}
    for masklet in labelled.masklets:
        shown = [_shows_enough(masklet.masks, index, known_camera) for index in frame_indices]
        if any(shown):
            weights[masklet.object_id] = 1.0 if shown[0] else LATE_WEIGHT
    if not weights:
        return ()
    chances = np.array(list(weights.values()))
    count = min(most_objects, len(weights))
    chosen = random.choice(list(weights), size=count, replace=False, p=chances / chances.sum())
    return tuple(sorted(int(object_id) for object_id in chosen))


def _shows_enough(masks: Mapping[int, ObjectMasks], frame_index: int, camera: str | None) -> bool:
    there = masks.get(frame_index)
    if there is None:
        return False
    return int(there.lidar_mask.sum()) >= SHOWN_POINTS or (camera is not None and _pixels(there, camera) >= SHOWN_PIXELS)


def _pixels(masks: ObjectMasks, camera: str) -> int:
    crops = masks.camera_masks
    assert isinstance(crops, CameraMasks)
    return crops.area_px(camera) if camera in crops.crops else 0
