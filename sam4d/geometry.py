"""Rigid transforms, the pinhole camera and the bird's-eye view: arrays in, arrays out, float64 throughout.

`A_SE3_B` maps coordinates in frame B to coordinates in frame A, so that inner frames cancel when transforms are
composed: `world_SE3_lidar @ lidar_SE3_cam` is `world_SE3_cam`. See CONVENTIONS.md for the axes of every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64Array: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
Axis: TypeAlias = Literal["+x", "-x", "+y", "-y"]

ROTATION_TOLERANCE = 1e-4
"""How far R @ R.T may be from the identity before a matrix is refused as a rotation."""

_AXIS_VECTORS: dict[str, tuple[float, float]] = {"+x": (1.0, 0.0), "-x": (-1.0, 0.0), "+y": (0.0, 1.0), "-y": (0.0, -1.0)}


@dataclass(frozen=True, eq=False)
class SE3:
    """A rigid transform: a rotation, float64 (3, 3), and a translation in metres, float64 (3,).

    Raises ValueError where the rotation is no rotation (not orthonormal, or a reflection) or a value is not finite.
    """

    rotation: Float64Array
    translation_m: Float64Array

    def __post_init__(self) -> None:
        rotation = np.array(self.rotation, dtype=np.float64)
        translation_m = np.array(self.translation_m, dtype=np.float64)
        if rotation.shape != (3, 3) or translation_m.shape != (3,):
            raise ValueError(
                f"a rotation of shape (3, 3) and a translation of shape (3,) expected, found {rotation.shape} and {translation_m.shape}"
            )
        if not (np.isfinite(rotation).all() and np.isfinite(translation_m).all()):
            raise ValueError("finite numbers expected, found NaN or infinity")
        error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        if error > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
            raise ValueError(
                f"a rotation expected, found a matrix {error:.3g} away from orthonormal, determinant {np.linalg.det(rotation):.3g}"
            )
        rotation.setflags(write=False)
        translation_m.setflags(write=False)
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation_m", translation_m)

    @classmethod
    def identity(cls) -> SE3:
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> SE3:
        """From a homogeneous matrix (4, 4)."""
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ValueError(f"a matrix of shape (4, 4) expected, found {matrix.shape}")
        return cls(matrix[:3, :3], matrix[:3, 3])

    @classmethod
    def from_quaternion(cls, rotation_wxyz: ArrayLike, translation_m: ArrayLike) -> SE3:
        """From a quaternion (w, x, y, z), which is normalised here if it is within 1 % of unit length."""
        quaternion = np.asarray(rotation_wxyz, dtype=np.float64)
        if quaternion.shape != (4,):
            raise ValueError(f"a quaternion of 4 numbers (w, x, y, z) expected, found shape {quaternion.shape}")
        norm = float(np.linalg.norm(quaternion))
        if not abs(norm - 1.0) < 0.01:
            raise ValueError(f"a unit quaternion expected, found length {norm:.4g}")
        w, x, y, z = quaternion / norm
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        return cls(rotation, np.asarray(translation_m, dtype=np.float64))

    @classmethod
    def from_yaw(cls, yaw_rad: float, translation_m: ArrayLike) -> SE3:
        """A turn of `yaw_rad` about +z, then the translation."""
        c, s = np.cos(yaw_rad), np.sin(yaw_rad)
        return cls(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), np.asarray(translation_m, dtype=np.float64))

    @property
    def matrix(self) -> Float64Array:
        """Homogeneous, float64 (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.translation_m
        return matrix

    @property
    def rotation_wxyz(self) -> Float64Array:
        """The rotation as a unit quaternion (w, x, y, z) with w >= 0."""
        # The eigenvector of the largest eigenvalue is stable for every angle (Bar-Itzhack 2000).
        r = self.rotation
        k = np.array(
            [
                [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
                [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
                [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
                [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
            ]
        )
        quaternion = np.linalg.eigh(k)[1][:, -1]
        return quaternion if quaternion[0] >= 0 else -quaternion

    @property
    def yaw_rad(self) -> float:
        """The turn about +z of this transform's x axis, in (-pi, pi]; exact where the rotation is about z alone."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    def inverse(self) -> SE3:
        return SE3(self.rotation.T, -self.rotation.T @ self.translation_m)

    def __matmul__(self, other: SE3) -> SE3:
        return SE3(self.rotation @ other.rotation, self.rotation @ other.translation_m + self.translation_m)

    def apply(self, points_m: NDArray[np.floating]) -> Float64Array:
        """Points (..., 3) in the inner frame -> float64 (..., 3) in the outer frame. Rows that are not finite stay so."""
        with np.errstate(invalid="ignore"):
            return np.asarray(points_m, dtype=np.float64) @ self.rotation.T + self.translation_m


def project_pinhole(
    points_cam_m: NDArray[np.floating], fx_px: float, fy_px: float, cx_px: float, cy_px: float, distortion: Sequence[float] = ()
) -> tuple[Float64Array, BoolArray]:
    """Project camera-frame points (x right, y down, z forward).

    Args:
        points_cam_m: (N, 3) in metres.
        distortion: () or (k1, k2, p1, p2, k3), the Brown model as in OpenCV.

    Returns:
        Pixels (u, v), float64 (N, 2), and which of them are meaningful, bool (N,): in front of the camera, finite, and
        inside the radius to which the distortion polynomial is monotonic (beyond it the polynomial folds points that
        lie far outside the field of view back into the image).
    """
    points = np.asarray(points_cam_m, dtype=np.float64)
    valid = np.isfinite(points).all(axis=1) & (points[:, 2] > 1e-3)
    depth_m = np.where(valid, points[:, 2], 1.0)
    x = np.where(valid, points[:, 0], 0.0) / depth_m
    y = np.where(valid, points[:, 1], 0.0) / depth_m
    if len(distortion):
        k1, k2, p1, p2, k3 = distortion
        r2 = x * x + y * y
        valid &= r2 < _monotonic_radius_squared(k1, k2, k3)
        # Points outside that radius may overflow: they are invalid anyway.
        r2 = np.where(valid, r2, 0.0)
        x, y = np.where(valid, x, 0.0), np.where(valid, y, 0.0)
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        x, y = (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y)
    return np.stack([fx_px * x + cx_px, fy_px * y + cy_px], axis=1), valid


def unproject_pinhole(
    pixels: NDArray[np.floating], fx_px: float, fy_px: float, cx_px: float, cy_px: float, distortion: Sequence[float] = ()
) -> Float64Array:
    """Rays of pixels (u, v), float (N, 2): camera-frame points at depth z = 1, float64 (N, 3). Inverse of `project_pinhole`."""
    pixels = np.asarray(pixels, dtype=np.float64)
    target = np.stack([(pixels[:, 0] - cx_px) / fx_px, (pixels[:, 1] - cy_px) / fy_px], axis=1)
    xy = target.copy()
    if len(distortion):
        # Newton's method on the two equations; the fixed-point iteration of OpenCV diverges for wide lenses.
        k1, k2, p1, p2, k3 = distortion
        for _ in range(20):
            x, y = xy[:, 0], xy[:, 1]
            r2 = x * x + y * y
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            slope = 2 * (k1 + r2 * (2 * k2 + 3 * r2 * k3))
            fx = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - target[:, 0]
            fy = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - target[:, 1]
            a = radial + x * x * slope + 2 * p1 * y + 6 * p2 * x
            b = x * y * slope + 2 * p1 * x + 2 * p2 * y
            d = radial + y * y * slope + 6 * p1 * y + 2 * p2 * x
            determinant = a * d - b * b
            determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
            xy = xy - np.stack([(d * fx - b * fy) / determinant, (a * fy - b * fx) / determinant], axis=1)
    return np.concatenate([xy, np.ones((len(xy), 1))], axis=1)


def _monotonic_radius_squared(k1: float, k2: float, k3: float) -> float:
    """The smallest r^2 > 0 at which r * (1 + k1 r^2 + k2 r^4 + k3 r^6) stops growing, or infinity."""
    roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
    positive = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return float(positive.min()) if len(positive) else float("inf")


@dataclass(frozen=True)
class BirdsEyeView:
    """The square image seen from above: the vehicle's forward direction is up, its left is left, the LiDAR is the centre.

    Args:
        range_m: the image reaches this far ahead, behind, left and right of the LiDAR.
        metres_per_pixel: length of a pixel's side.
        forward: the LiDAR axis along which the vehicle drives.
    """

    range_m: float = 50.0
    metres_per_pixel: float = 0.1
    forward: Axis = "+x"

    @property
    def size_px(self) -> int:
        """Width and height of the image."""
        return int(np.ceil(2 * self.range_m / self.metres_per_pixel - 1e-9))

    @property
    def forward_yaw_rad(self) -> float:
        """Direction of the vehicle's forward axis in the LiDAR frame, about +z."""
        x, y = _AXIS_VECTORS[self.forward]
        return float(np.arctan2(y, x))

    def to_pixels(self, points_m: NDArray[np.floating]) -> Float64Array:
        """LiDAR-frame points (..., 2 or 3) in metres -> pixels (u, v), float64 (..., 2), continuous: a pixel's centre is at +0.5."""
        points = np.asarray(points_m, dtype=np.float64)
        fx, fy = _AXIS_VECTORS[self.forward]
        ahead = points[..., 0] * fx + points[..., 1] * fy
        left = -points[..., 0] * fy + points[..., 1] * fx
        return np.stack([(self.range_m - left) / self.metres_per_pixel, (self.range_m - ahead) / self.metres_per_pixel], axis=-1)

    def to_metres(self, pixels: NDArray[np.floating]) -> Float64Array:
        """Pixels (u, v), (..., 2), continuous -> LiDAR-frame (x, y), float64 (..., 2) in metres. Inverse of `to_pixels`."""
        pixels = np.asarray(pixels, dtype=np.float64)
        fx, fy = _AXIS_VECTORS[self.forward]
        left = self.range_m - pixels[..., 0] * self.metres_per_pixel
        ahead = self.range_m - pixels[..., 1] * self.metres_per_pixel
        return np.stack([ahead * fx - left * fy, ahead * fy + left * fx], axis=-1)


def wrap_angle(angle_rad: float) -> float:
    """Into [-pi, pi)."""
    return float((angle_rad + np.pi) % (2 * np.pi) - np.pi)
