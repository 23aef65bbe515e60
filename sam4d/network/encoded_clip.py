"""A clip as the network sees it: every frame one sweep and one pass per camera, encoded when asked for and kept for a while."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from sam4d.frame_store import Kept, together
from sam4d.geometry import SE3, BoolArray
from sam4d.modeling.encoded_frame import CameraFeatures, CameraGrid, EncodedFrame, Levels, LidarFeatures
from sam4d.modeling.mask_selection import ABSENT_LOGIT
from sam4d.modeling.sam4d import Sam4D
from sam4d.network.kept_apart import keep_apart
from sam4d.network.stored_features import GreyImage, StoredFeatures
from sam4d.network.stored_sweep import StoredSweep
from sam4d.structures import Camera, Clip, Float32Array, Frame, InputError, UInt8Array

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")

BLIND = "(no camera)"
"""The pass of a drive without cameras. The released network knows no sweep without an image: it gets a grey one that looks forward."""

BLIND_SIZE_PX = 768
BLIND_FOCAL_PX = 550.0

_FORWARD_YAW_RAD = {"+x": 0.0, "+y": math.pi / 2, "-x": math.pi, "-y": -math.pi / 2}


class Network(Protocol):
    """The weights on their device, as a session uses them."""

    @property
    def model(self) -> Sam4D: ...

    @property
    def features(self) -> StoredFeatures: ...

    def computing(self) -> AbstractContextManager[Sam4D]: ...

    def both(self, first: Callable[[], FirstT], second: Callable[[], SecondT]) -> tuple[FirstT, SecondT]: ...


class FrameOfClip:
    """One frame: its sweep encoded once, its images when a pass asks for them.

    cameras: one pass each. camera_names: those with an image here; the image of any other one is grey. points_m: float32 (N, 3), the finite
    points of the sweep, metres, LiDAR frame, on the CPU. finite: which rows of the sweep they are.
    """

    def __init__(
        self, network: Network, frame: Frame, where: str, cameras: Mapping[str, Camera], grids: MutableMapping[str, CameraGrid]
    ) -> None:
        """grids: of the clip's cameras, as far as they are known; others are added."""
        self._network = network
        self._frame = frame
        self._where = where
        self._grids = grids
        self._stored = network.features.find_sweep(frame.load_sweep, cameras)
        self._lidar: LidarFeatures | None = None
        self._has_voxels_apart = False
        self._passes: dict[str, EncodedFrame] = {}
        self._lock = threading.Lock()
        self._seen: dict[str, BoolArray] = {}
        self.cameras = cameras
        self.camera_names = tuple(frame.load_images)
        self.finite: BoolArray
        self.points_m: Float32Array
        if self._stored is not None:
            self.finite, self.points_m = self._stored.finite, self._stored.points_m
            self._seen |= self._stored.seen
        else:
            points_m = frame.load_sweep().points_m
            self.finite = np.asarray(np.isfinite(points_m).all(axis=1))
            self.points_m = points_m[self.finite]
        self.world_SE3_lidar = frame.world_SE3_lidar or SE3.identity()

    def encoded(self, camera: str) -> EncodedFrame:
        """The pass of one camera.

        Raises InputError where image or sweep is none for the network; the message names the frame.
        """
        with self._lock:
            if camera not in self._passes:
                levels, swept = self._encode(camera)
                grid = self._grid(camera)
                self._passes[camera] = EncodedFrame(CameraFeatures(*levels, grid, self.cameras[camera]), swept, self.world_SE3_lidar)
            return self._passes[camera]

    def to_remember(self, camera: str) -> EncodedFrame:
        """The pass of one camera, `encoded`, with the voxels of the sweep's points: of a stored sweep they are found when first needed."""
        encoded = self.encoded(camera)
        with self._lock:
            if not self._has_voxels_apart:
                encoded.lidar.sweep.find_levels()
                keep_apart(encoded.lidar.sweep)
                self._has_voxels_apart = True
        return encoded

    def keep(self) -> Kept | None:
        """Have the network's store hold what all passes need; see `frame_store.keep`."""
        features, first = self._network.features, next(iter(self.cameras))

        def stored_sweep() -> StoredSweep:
            return StoredSweep.of(self.encoded(first).lidar, self.finite, {name: self.seen(name) for name in self.cameras})

        def levels_of(camera: str) -> Callable[[], Levels]:
            return lambda: self.encoded(camera).camera.levels

        def grid_of(camera: str) -> Callable[[], CameraGrid]:
            return lambda: self._grid(camera)

        kept = [features.keep_sweep(self._frame.load_sweep, self.cameras, stored_sweep)]
        kept += [features.keep_image(self._load_image(name), levels_of(name)) for name in self.cameras]
        kept += [features.keep_grid(camera, grid_of(name)) for name, camera in self.cameras.items()]
        return together(kept)

    def _encode(self, camera: str) -> tuple[Levels, LidarFeatures]:
        """Image and sweep, of which the store or an earlier pass may know one or both; what is computed lies apart."""
        model = self._network.model
        levels = self._network.features.find_image(self._load_image(camera))
        if self._lidar is None and self._stored is not None:
            self._lidar = self._stored.lidar(model.device)
        if levels is not None and self._lidar is not None:
            return levels, self._lidar
        # Outside of threads, for it may be that it cannot be read.
        image = self._image(camera) if levels is None else None
        if self._lidar is None:
            swept, seen = self._network.both(self._encode_sweep, lambda: model.look_at(image) if image is not None else None)
            keep_apart((swept, seen))
            self._lidar, self._has_voxels_apart = swept, True
        else:
            assert image is not None
            seen = model.look_at(image)
            keep_apart(seen)
        found = levels or seen
        assert found is not None
        return found, self._lidar

    def _grid(self, camera: str) -> CameraGrid:
        calibration = self.cameras[camera]
        if camera not in self._grids:
            grid = self._network.features.find_grid(calibration)
            if grid is None:
                grid = self._network.model.camera_grid(calibration)
                keep_apart(grid)
            self._grids[camera] = grid
        return self._grids[camera]

    def _encode_sweep(self) -> LidarFeatures:
        try:
            return self._network.model.encode_sweep(self.points_m)
        except InputError as error:
            raise InputError(f"sweep of {self._where}", error.expected, error.found) from None

    def seen(self, camera: str) -> BoolArray:
        """Which of the finite points lie inside the camera's image, bool (N,)."""
        if camera not in self._seen:
            self._seen[camera] = self.cameras[camera].project(self.points_m)[2]
        return self._seen[camera]

    def of_rows(self, mask: BoolArray) -> BoolArray:
        """A mask over the sweep's own rows -> over its finite points."""
        return mask[self.finite]

    def mask_of_sweep(self, mask: Tensor) -> BoolArray:
        """bool (N,) over the finite points -> over the sweep's own rows; a row that is not finite belongs to nothing."""
        rows = np.zeros(len(self.finite), dtype=np.bool_)
        rows[self.finite] = mask.cpu().numpy()
        return rows

    def logits_of_sweep(self, logits: Tensor) -> Float32Array:
        """Likewise, float32; not copied where every row of the sweep is finite and the logits are on the CPU."""
        if self.finite.all():
            whole: Float32Array = logits.float().cpu().numpy()
            return whole
        rows = np.full(len(self.finite), ABSENT_LOGIT, dtype=np.float32)
        rows[self.finite] = logits.float().cpu().numpy()
        return rows

    def _load_image(self, camera: str) -> Callable[[], UInt8Array]:
        size = self.cameras[camera]
        return self._frame.load_images.get(camera) or GreyImage(size.width_px, size.height_px)

    def _image(self, camera: str) -> UInt8Array:
        size = self.cameras[camera]
        image = self._load_image(camera)()
        if image.shape != (size.height_px, size.width_px, 3):
            where = f"image of camera {camera} of {self._where}"
            raise InputError(where, f"{size.width_px} x {size.height_px} pixels, RGB", " x ".join(map(str, image.shape[1::-1])))
        return image


class EncodedClip:
    """The frames of a clip, the least recently used ones forgotten when there are more than `most`."""

    def __init__(self, network: Network, clip: Clip, most: int) -> None:
        self.clip = clip
        self._network = network
        self._most = most
        self._frames: OrderedDict[int, FrameOfClip] = OrderedDict()
        self._grids: dict[str, CameraGrid] = {}
        self._point_counts: dict[int, int] = {}

    def cameras(self, frame_index: int) -> dict[str, Camera]:
        """The cameras whose passes a frame has: those with an image, or the first one where there is none."""
        names = tuple(self.clip.frames[frame_index].load_images) or tuple(self.clip.cameras)[:1]
        return {name: self.clip.cameras[name] for name in names} or {BLIND: blind_camera(self.clip)}

    def frame(self, frame_index: int) -> FrameOfClip:
        if frame_index not in self._frames:
            while len(self._frames) >= self._most:
                self._frames.popitem(last=False)
            cameras = self.cameras(frame_index)
            frame = FrameOfClip(self._network, self.clip.frames[frame_index], f"frame {frame_index}", cameras, self._grids)
            self._frames[frame_index] = frame
            self._point_counts[frame_index] = len(frame.finite)
        self._frames.move_to_end(frame_index)
        return self._frames[frame_index]

    def point_count(self, frame_index: int) -> int:
        """Rows of a frame's sweep."""
        if frame_index not in self._point_counts:
            self.frame(frame_index)
        return self._point_counts[frame_index]


def fused_logits(frame: FrameOfClip, logits: Sequence[tuple[str, Tensor]]) -> Tensor:
    """Logits of a sweep's points from the passes of several cameras, float32 (N,) each, as one.

    A point takes the mean of the passes whose camera sees it; one that none of them sees, the mean of all.
    """
    if len(logits) == 1:
        return logits[0][1]
    values = torch.stack([each for _, each in logits])
    seen = torch.stack([torch.from_numpy(frame.seen(camera)) for camera, _ in logits]).to(values)
    weights = torch.where(seen.sum(dim=0) > 0, seen, 1.0)
    return (values * weights).sum(dim=0) / weights.sum(dim=0)


def blind_camera(clip: Clip) -> Camera:
    """The camera of the pass `BLIND`: it looks forward from the LiDAR."""
    yaw = _FORWARD_YAW_RAD[clip.forward]
    right, forward = (math.sin(yaw), -math.cos(yaw), 0.0), (math.cos(yaw), math.sin(yaw), 0.0)
    rotation = np.array([right, (0.0, 0.0, -1.0), forward]).T
    pose = SE3(rotation, np.zeros(3))
    centre = BLIND_SIZE_PX / 2
    return Camera(BLIND, BLIND_SIZE_PX, BLIND_SIZE_PX, BLIND_FOCAL_PX, BLIND_FOCAL_PX, centre, centre, pose)
