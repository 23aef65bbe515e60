"""The nouns: what is recorded (Clip), what people ask (prompts) and what they get (masks, masklets, cuboids).

Frozen, typed, numpy only. Every array is documented with shape, dtype, unit and frame. CONVENTIONS.md holds the glossary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam4d.geometry import SE3, Axis, BoolArray, Float64Array, project_pinhole, unproject_pinhole

Float32Array: TypeAlias = NDArray[np.float32]
UInt8Array: TypeAlias = NDArray[np.uint8]

LIDAR = "lidar"
"""The name of the LiDAR among the sensors; no camera may be called so."""


class InputError(ValueError):
    """Something a user gave is not what was expected. The message is one line: where, what was expected, what was found.

    Args:
        where: the file, field, prompt or address at fault.
        expected: what would have been right.
        found: what came.
    """

    def __init__(self, where: str, expected: str, found: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}")
        self.where = where
        self.expected = expected
        self.found = found


@dataclass(frozen=True)
class Camera:
    """A calibrated pinhole camera fixed to the LiDAR.

    `distortion` is () for rectified images or (k1, k2, p1, p2, k3) (Brown, as in OpenCV).
    `lidar_SE3_cam` maps the camera frame (x right, y down, z forward) to the LiDAR frame.
    """

    name: str
    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    lidar_SE3_cam: SE3
    distortion: tuple[float, ...] = ()

    def project(self, points_lidar_m: NDArray[np.floating]) -> tuple[Float64Array, Float64Array, BoolArray]:
        """LiDAR-frame points (N, 3) in metres -> pixels float64 (N, 2), depth in metres float64 (N,), visible bool (N,).

        `visible` says that the pixel is meaningful and inside the image; occlusion is not considered.
        """
        points_cam_m = self.lidar_SE3_cam.inverse().apply(points_lidar_m)
        pixels, valid = project_pinhole(points_cam_m, self.fx_px, self.fy_px, self.cx_px, self.cy_px, self.distortion)
        inside = (pixels[:, 0] >= 0) & (pixels[:, 1] >= 0) & (pixels[:, 0] < self.width_px) & (pixels[:, 1] < self.height_px)
        return pixels, points_cam_m[:, 2], valid & inside

    def rays(self, pixels: NDArray[np.floating]) -> tuple[Float64Array, Float64Array]:
        """Pixels (u, v), (N, 2) -> origin float64 (3,) and unit directions float64 (N, 3), both in the LiDAR frame."""
        directions = (
            unproject_pinhole(pixels, self.fx_px, self.fy_px, self.cx_px, self.cy_px, self.distortion) @ self.lidar_SE3_cam.rotation.T
        )
        return self.lidar_SE3_cam.translation_m, directions / np.linalg.norm(directions, axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Sweep:
    """One turn of the LiDAR, in the LiDAR frame of its frame.

    points_m: float32 (N, 3), x y z in metres. Rows that are not finite (no return) are kept, so that masks index the
    file's own rows; they belong to no object. intensity: float32 (N,) in the source's own range, or None.
    """

    points_m: Float32Array
    intensity: Float32Array | None = None

    def __len__(self) -> int:
        return len(self.points_m)


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment of a clip. Sweeps and images are read when asked for; nothing is kept here.

    load_images holds only the cameras that have an image on this frame; an image is uint8 (H, W, 3), RGB.
    """

    load_sweep: Callable[[], Sweep]
    load_images: Mapping[str, Callable[[], UInt8Array]]
    world_SE3_lidar: SE3 | None = None
    timestamp_ns: int | None = None


@dataclass(frozen=True, eq=False)
class Clip:
    """A recorded drive, or a window of one. `forward` is the LiDAR axis along which the vehicle drives."""

    name: str
    cameras: Mapping[str, Camera]
    frames: tuple[Frame, ...]
    forward: Axis = "+x"

    def __len__(self) -> int:
        return len(self.frames)

    def window(self, first_frame: int, frame_count: int) -> Clip:
        """The clip of `frame_count` frames from `first_frame` on; frame indices start at 0 again."""
        if first_frame < 0 or frame_count < 1 or first_frame + frame_count > len(self.frames):
            raise InputError(
                f"window of clip {self.name}",
                f"frames within 0 to {len(self.frames) - 1}",
                f"{frame_count} frames from frame {first_frame}",
            )
        return replace(self, frames=self.frames[first_frame : first_frame + frame_count])

    def lidar_SE3_lidar(self, to_frame: int, from_frame: int) -> SE3:
        """Ego motion: maps `from_frame`'s LiDAR coordinates to `to_frame`'s. The identity where a pose is missing."""
        to_pose, from_pose = self.frames[to_frame].world_SE3_lidar, self.frames[from_frame].world_SE3_lidar
        if to_pose is None or from_pose is None:
            return SE3.identity()
        return to_pose.inverse() @ from_pose


@dataclass(frozen=True, eq=False)
class PointPrompt:
    """Clicks on one object.

    coordinates: float64 (P, 2) pixels (u, v) of the original image, or (P, 3) metres (x, y, z) in that frame's LiDAR
    frame where `sensor` is "lidar". labels: int64 (P,), 1 positive, 0 negative.
    """

    object_id: int
    frame_index: int
    sensor: str
    coordinates: Float64Array | Sequence[Sequence[float]]
    labels: NDArray[np.int64] | Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "coordinates", np.asarray(self.coordinates, dtype=np.float64))
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class BoxPrompt:
    """A box around one object, float64 (4,).

    [u0, v0, u1, v1] in pixels, or on "lidar" [xmin, ymin, xmax, ymax] in metres, seen from above.
    """

    object_id: int
    frame_index: int
    sensor: str
    box: Float64Array | Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", np.asarray(self.box, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """The object itself: bool (H, W) in a camera, bool (N,) over the sweep's points on "lidar"."""

    object_id: int
    frame_index: int
    sensor: str
    mask: BoolArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", np.asarray(self.mask, dtype=np.bool_))


Prompt: TypeAlias = PointPrompt | BoxPrompt | MaskPrompt


MaskCrop: TypeAlias = tuple[tuple[int, int], int, int, BoolArray]
"""A mask cut to its object: height and width of the image, top and left of the crop, bool (h, w)."""


class CameraMasks(Mapping[str, BoolArray]):
    """Camera masks, {camera: bool (H, W)}, kept as crops around their object and made whole when asked for.

    A 20-frame task of a six-camera rig holds 120 masks per object: whole, that would be 250 MB. Cameras whose mask is empty are kept too
    (the camera was looked at), `seen_by` lists the others.
    """

    def __init__(self, masks: Mapping[str, BoolArray]) -> None:
        self._crops: dict[str, MaskCrop] = {}
        for name, mask in masks.items():
            rows = np.flatnonzero(mask.any(axis=1))
            if len(rows):
                columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
                top, left = int(rows[0]), int(columns[0])
                crop = np.array(mask[top : rows[-1] + 1, left : columns[-1] + 1], dtype=np.bool_)
            else:
                top, left, crop = 0, 0, np.zeros((0, 0), dtype=np.bool_)
            height, width = mask.shape
            self._crops[name] = ((height, width), top, left, crop)

    @classmethod
    def of_crops(cls, crops: Mapping[str, MaskCrop]) -> CameraMasks:
        """Inverse of `crops`."""
        masks = cls({})
        masks._crops = dict(crops)
        return masks

    @property
    def crops(self) -> Mapping[str, MaskCrop]:
        """The masks as they are kept; not to be written to."""
        return self._crops

    def __getitem__(self, camera: str) -> BoolArray:
        shape, top, left, crop = self._crops[camera]
        mask = np.zeros(shape, dtype=np.bool_)
        mask[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        return mask

    def __iter__(self) -> Iterator[str]:
        return iter(self._crops)

    def __len__(self) -> int:
        return len(self._crops)

    @property
    def seen_by(self) -> tuple[str, ...]:
        """The cameras whose mask is not empty."""
        return tuple(name for name, (_, _, _, crop) in self._crops.items() if crop.size)

    def area_px(self, camera: str) -> int:
        return int(self._crops[camera][3].sum())

    def box(self, camera: str) -> tuple[int, int, int, int]:
        """[u0, v0, u1, v1) around the mask; (0, 0, 0, 0) where it is empty."""
        _, top, left, crop = self._crops[camera]
        return left, top, left + crop.shape[1], top + crop.shape[0]

    def inside(self, camera: str, box: tuple[int, int, int, int]) -> BoolArray:
        """The part of the mask in a box [u0, v0, u1, v1) that lies within `box(camera)`; a view, not to be written to."""
        _, top, left, crop = self._crops[camera]
        return crop[box[1] - top : box[3] - top, box[0] - left : box[2] - left]


@dataclass(frozen=True, eq=False)
class ObjectMasks:
    """One object on one frame.

    camera_masks: {camera: bool (H, W)}, one for every camera with an image on the frame. lidar_mask: bool (N,).
    score in [0, 1]; 0 and empty masks where the object is not there. The network engine adds camera_logits
    {camera: float32 (192, 192)} and lidar_logits float32 (N,).
    """

    object_id: int
    frame_index: int
    camera_masks: Mapping[str, BoolArray]
    lidar_mask: BoolArray
    score: float
    camera_logits: Mapping[str, Float32Array] = field(default_factory=dict)
    lidar_logits: Float32Array | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.camera_masks, CameraMasks):
            object.__setattr__(self, "camera_masks", CameraMasks(self.camera_masks))

    @property
    def is_empty(self) -> bool:
        return not self.lidar_mask.any() and not any(mask.any() for mask in self.camera_masks.values())


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """All objects of a session on one frame, {object_id: ObjectMasks}."""

    frame_index: int
    objects: Mapping[int, ObjectMasks]


@dataclass(frozen=True)
class Cuboid:
    """A box in one frame's LiDAR frame: centre, size (length along the heading, width, height), heading about +z. Metres, radians."""

    center_m: tuple[float, float, float]
    size_lwh_m: tuple[float, float, float]
    yaw_rad: float

    @property
    def lidar_SE3_cuboid(self) -> SE3:
        return SE3.from_yaw(self.yaw_rad, self.center_m)

    def corners_m(self) -> Float64Array:
        """float64 (8, 3), LiDAR frame: bottom face then top face, each front-left, rear-left, rear-right, front-right."""
        length, width, height = self.size_lwh_m
        signs = np.array([[x, y, z] for z in (-1, 1) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))], dtype=np.float64)
        return self.lidar_SE3_cuboid.apply(signs * np.array([length, width, height]) / 2)

    def contains(self, points_m: NDArray[np.floating], margin_m: float = 0.0) -> BoolArray:
        """Which LiDAR-frame points (N, 3) lie inside, bool (N,), the box grown by the margin on every side."""
        local = self.lidar_SE3_cuboid.inverse().apply(points_m)
        return np.asarray((np.abs(local) <= np.array(self.size_lwh_m) / 2 + margin_m).all(axis=1))

    def moved(self, a_SE3_b: SE3) -> Cuboid:
        """The same box of frame B in frame A; keeps it upright (roll and pitch of the transform move only the centre)."""
        x, y, z = a_SE3_b.apply(np.array(self.center_m))
        heading = a_SE3_b.rotation @ np.array([np.cos(self.yaw_rad), np.sin(self.yaw_rad), 0.0])
        return replace(self, center_m=(float(x), float(y), float(z)), yaw_rad=float(np.arctan2(heading[1], heading[0])))


@dataclass(frozen=True)
class LabelledCuboid:
    """A cuboid that somebody labelled, with the identity of its track over the frames."""

    track_id: str
    label: str
    cuboid: Cuboid


@dataclass(frozen=True, eq=False)
class Masklet:
    """One object over a clip: its label, its masks and its cuboids by frame index. A frame without an entry does not show it."""

    object_id: int
    label: str
    masks: Mapping[int, ObjectMasks]
    cuboids: Mapping[int, Cuboid] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean score over the frames that show the object; 0 where none does."""
        scores = [masks.score for masks in self.masks.values() if masks.score > 0]
        return float(np.mean(scores)) if scores else 0.0


@dataclass(frozen=True, eq=False)
class Voxels:
    """Filled cubes of one size, in the frame of the thing that they are.

    cells: int32 (K, 3), the cube's lowest corner divided by its side. object_ids: int32 (K,), 0 for none. is_ground: bool (K,), of the
    surface that things stand on.
    """

    cells: NDArray[np.int32]
    object_ids: NDArray[np.int32]
    is_ground: BoolArray

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True, eq=False)
class MovingVoxels:
    """A thing that moves: its voxels in its own frame, and {frame index: where that is}, for the frames on which it is there."""

    voxels: Voxels
    world_SE3_body: Mapping[int, SE3]


@dataclass(frozen=True)
class SceneObject:
    """An object that voxels belong to. score in [0, 1]."""

    object_id: int
    label: str
    score: float


@dataclass(frozen=True, eq=False)
class VoxelScene:
    """A clip reconstructed: what stands, once, and what moves, each in a frame of its own.

    voxel_m: a voxel's side in metres. world_SE3_static: the frame of the static voxels; its translation is their origin in the world.
    """

    clip_name: str
    frame_count: int
    voxel_m: float
    world_SE3_static: SE3
    static: Voxels
    moving: tuple[MovingVoxels, ...]
    objects: tuple[SceneObject, ...]

    def __len__(self) -> int:
        return len(self.static) + sum(len(body.voxels) for body in self.moving)

    def at(self, frame_index: int) -> tuple[Float64Array, Voxels]:
        """Everything that is there on a frame: the voxels' middles in the world, float64 (K, 3), metres, and the voxels themselves."""
        there = [(self.static, self.world_SE3_static)]
        there += [(body.voxels, body.world_SE3_body[frame_index]) for body in self.moving if frame_index in body.world_SE3_body]
        places = [world_SE3_part.apply((voxels.cells + 0.5) * self.voxel_m) for voxels, world_SE3_part in there]
        cells, object_ids, is_ground = zip(*((part.cells, part.object_ids, part.is_ground) for part, _ in there), strict=True)
        return np.concatenate(places), Voxels(np.concatenate(cells), np.concatenate(object_ids), np.concatenate(is_ground))
