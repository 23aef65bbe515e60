"""One frame of a clip, prepared once and independent of prompts: points, ground, and what each camera sees of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.ground import DEFAULT_GROUND_SETTINGS, Ground, GroundSettings, fit_ground, is_ground
from sam4d.geometric.parameters import DEFAULT_PARAMETERS, GeometricParameters
from sam4d.geometry import BoolArray
from sam4d.structures import Camera, Clip, Float32Array, Frame, InputError, Sweep, UInt8Array

IMAGES_KEPT = 3
"""Decoded images kept per frame: the clicked camera and its neighbours are asked for again and again, the rest of a wide rig is not."""

FARTHEST_M = 1e4
"""Coordinates beyond this, NaN and infinity are no returns."""

OCCLUSION_CELL_RAD = 0.004
"""Angular size of the cells in which nearer points hide farther ones: about the spacing of a dense LiDAR's beams."""

_VERTICAL = np.ones((3, 1), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class CameraView:
    """The sweep seen from one camera.

    pixels float32 (N, 2), original image; depth_m float32 (N,); inside bool (N,): the point falls into the image;
    visible bool (N,): inside, and not hidden behind nearer points.
    """

    pixels: Float32Array
    depth_m: Float32Array
    inside: BoolArray
    visible: BoolArray


@dataclass(frozen=True, eq=False)
class SurveyedSweep:
    """A sweep and the ground under it; see `FrameScene` for what each of them is."""

    points_m: Float32Array
    valid: BoolArray
    ground: Ground
    height_m: Float32Array
    is_ground: BoolArray

    @classmethod
    def of(cls, sweep: Sweep, settings: GroundSettings = DEFAULT_GROUND_SETTINGS) -> SurveyedSweep:
        with np.errstate(invalid="ignore"):
            x_valid, y_valid, z_valid = (np.abs(sweep.points_m[:, axis]) < FARTHEST_M for axis in range(3))
        valid: BoolArray = np.asarray(x_valid & y_valid & z_valid)
        points_m = np.where(valid[:, None], sweep.points_m, 0).astype(np.float32)
        ground = fit_ground(points_m[valid], settings)
        height_m = np.where(valid, points_m[:, 2] - ground.z_at(points_m), 0).astype(np.float32)
        return cls(points_m, valid, ground, height_m, is_ground(points_m, height_m, settings) & valid)


class FrameScene:
    """One frame prepared once.

    Attributes:
        frame_index: the frame within its clip.
        points_m: float32 (N, 3), LiDAR frame, as in the sweep; rows that are not finite are replaced by 0, see `valid`.
        valid: bool (N,), which rows are finite.
        height_m: float32 (N,) above the local ground; 0 where not valid.
        is_ground: bool (N,); rows that are not valid are neither ground nor object.
        ground: the surface itself.
        parameters: what the frame was prepared with, and is looked at with; growth: what they say of gaps between points.
    """

    def __init__(
        self,
        frame: Frame,
        frame_index: int,
        surveyed: SurveyedSweep | None = None,
        views: Mapping[str, CameraView] | None = None,
        parameters: GeometricParameters = DEFAULT_PARAMETERS,
    ) -> None:
        """surveyed, views by camera: what is known of the frame already; the sweep is not read where it is surveyed."""
        known = surveyed or SurveyedSweep.of(frame.load_sweep(), parameters.ground)
        self.parameters, self.growth = parameters, parameters.growth
        self.frame_index = frame_index
        self.points_m, self.valid = known.points_m, known.valid
        self.ground, self.height_m, self.is_ground = known.ground, known.height_m, known.is_ground
        self._frame = frame
        self._images: OrderedDict[str, UInt8Array] = OrderedDict()
        self._views = dict(views or {})

    def __len__(self) -> int:
        return len(self.points_m)

    @property
    def is_object(self) -> BoolArray:
        """bool (N,), what is valid and stands on the ground."""
        return self.valid & ~self.is_ground

    def upright_m(self, rows: NDArray[np.int64]) -> Float32Array:
        """x, y and height above ground of some points, float32 (K, 3): on a slope, objects stand upright in them."""
        return np.column_stack([self.points_m[rows, :2], self.height_m[rows]])

    def rows_between(self, low_m: NDArray[np.floating], high_m: NDArray[np.floating]) -> NDArray[np.int64]:
        """Points whose x and y lie strictly between (2,) and (2,), int64 (K,), ascending; rows that are not valid lie at 0."""
        # One axis after the other on what is left: several times faster than both on the whole sweep.
        x = self.points_m[:, 0]
        rows = np.flatnonzero((x > low_m[0]) & (x < high_m[0]))
        y = self.points_m[rows, 1]
        return np.asarray(rows[(y > low_m[1]) & (y < high_m[1])])

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that have an image on this frame."""
        return tuple(self._frame.load_images)

    def image(self, camera: str) -> UInt8Array:
        """The camera's image, uint8 (H, W, 3), RGB; decoded when first asked for. Raises InputError where the frame has none."""
        if camera not in self._frame.load_images:
            raise InputError(f"frame {self.frame_index}", f"an image of camera {camera}", "none")
        if camera not in self._images:
            self._images[camera] = self._frame.load_images[camera]()
            while len(self._images) > IMAGES_KEPT:
                self._images.popitem(last=False)
        self._images.move_to_end(camera)
        return self._images[camera]

    def forget_images(self) -> None:
        """Frees the decoded images; they are read again when asked for."""
        self._images.clear()

    def view(self, camera: Camera) -> CameraView:
        """Where the camera sees each point of the sweep; computed when first asked for."""
        if camera.name not in self._views:
            self._views[camera.name] = _view(self.points_m, self.valid, camera)
        return self._views[camera.name]


def prepare_frame(clip: Clip, frame_index: int, parameters: GeometricParameters = DEFAULT_PARAMETERS) -> FrameScene:
    """Reads and prepares one frame of a clip. Raises InputError where the clip has no such frame."""
    if not 0 <= frame_index < len(clip):
        raise no_such_frame(clip, frame_index)
    return FrameScene(clip.frames[frame_index], frame_index, parameters=parameters)


def no_such_frame(clip: Clip, frame_index: int) -> InputError:
    return InputError(f"frame of clip {clip.name}", f"0 to {len(clip) - 1}", str(frame_index))


def _view(points_m: Float32Array, valid: BoolArray, camera: Camera) -> CameraView:
    pixels = np.zeros((len(points_m), 2), dtype=np.float32)
    depth_m = np.zeros(len(points_m), dtype=np.float32)
    inside = np.zeros(len(points_m), dtype=np.bool_)
    # A cheap test in float32 first: most of a sweep is behind the camera.
    axis = camera.lidar_SE3_cam.rotation[:, 2].astype(np.float32)
    ahead = np.flatnonzero(valid & (points_m @ axis > camera.lidar_SE3_cam.translation_m @ camera.lidar_SE3_cam.rotation[:, 2] + 0.1))
    seen_pixels, seen_depth_m, seen = camera.project(points_m[ahead])
    pixels[ahead], depth_m[ahead], inside[ahead] = np.where(seen[:, None], seen_pixels, 0), seen_depth_m, seen
    visible = inside.copy()
    visible[inside] = ~_hidden(pixels[inside], depth_m[inside], camera)
    return CameraView(pixels, depth_m, inside, visible)


def _hidden(pixels: NDArray[np.float32], depth_m: NDArray[np.float32], camera: Camera) -> BoolArray:
    """Which points lie clearly behind the nearest point of their surroundings, bool (N,)."""
    cell_px = max(1.0, OCCLUSION_CELL_RAD * camera.fx_px)
    width, height = int(camera.width_px / cell_px) + 1, int(camera.height_px / cell_px) + 1
    column, row = (pixels[:, 0] / cell_px).astype(np.int64), (pixels[:, 1] / cell_px).astype(np.int64)
    nearest = np.full(width * height, np.inf, dtype=np.float32)
    np.minimum.at(nearest, row * width + column, depth_m)
    # Between two beams that hit a nearer thing, too; above its last beam it may well have ended.
    cells = nearest.reshape(height, width)
    above, below = (cv2.erode(cells, _VERTICAL, anchor=(0, end)).ravel() for end in (2, 0))
    around = np.minimum(nearest, np.maximum(above, below))
    return np.asarray(depth_m > around[row * width + column] * 1.06 + 0.6)
