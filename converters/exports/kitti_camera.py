"""The camera that KITTI labels are written for: its level frame, its calibration file, and 2D boxes of cuboids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from sam4d.geometry import SE3, BirdsEyeView, Float64Array, project_pinhole
from sam4d.structures import Camera, Clip, Cuboid, InputError

KittiLayout: TypeAlias = Literal["tracking", "object", "odometry"]

_KEYS = {"tracking": ("R_rect", "Tr_velo_cam", "Tr_imu_velo"), "object": ("R0_rect:", "Tr_velo_to_cam:", "Tr_imu_to_velo:")}
_NEAR_M = 0.1
_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
_EDGE_STEPS = 33


@dataclass(frozen=True)
class KittiCamera:
    """A camera and its level frame, "rectified" in KITTI's words: same origin, y straight down along the LiDAR's -z, z the optical axis
    made horizontal. KITTI's boxes turn about y alone, so only in such a frame are upright boxes upright.
    """

    camera: Camera
    rect_SE3_cam: SE3

    @property
    def rect_SE3_lidar(self) -> SE3:
        return self.rect_SE3_cam @ self.camera.lidar_SE3_cam.inverse()

    @property
    def projection(self) -> Float64Array:
        """float64 (3, 4): level frame to pixels without lens distortion, KITTI's P."""
        camera = self.camera
        intrinsics = np.array([[camera.fx_px, 0.0, camera.cx_px], [0.0, camera.fy_px, camera.cy_px], [0.0, 0.0, 1.0]])
        return intrinsics @ self.rect_SE3_cam.inverse().matrix[:3]


def kitti_camera(clip: Clip, camera: str | None = None) -> KittiCamera:
    """The camera labels are written for: the named one, without a name the one that looks most nearly forward, and for a drive without
    cameras a nominal one at the LiDAR's origin that looks forward with the size and focal length of KITTI's own.

    Raises:
        InputError: the clip has no such camera.
    """
    yaw_rad = BirdsEyeView(forward=clip.forward).forward_yaw_rad
    forward = np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0])
    if camera is not None:
        if camera not in clip.cameras:
            raise InputError("camera", f"one of {', '.join(clip.cameras) or '(the clip has none)'}", repr(camera))
        chosen = clip.cameras[camera]
    elif clip.cameras:
        chosen = max(clip.cameras.values(), key=lambda candidate: float(candidate.lidar_SE3_cam.rotation[:, 2] @ forward))
    else:
        pose = SE3(_level_rotation(forward), np.zeros(3))
        chosen = Camera("nominal", 1242, 375, fx_px=721.5377, fy_px=721.5377, cx_px=621.0, cy_px=187.5, lidar_SE3_cam=pose)
    ahead = chosen.lidar_SE3_cam.rotation[:, 2] * [1.0, 1.0, 0.0]
    # A camera that looks straight up or down has no level direction of its own.
    level = _level_rotation(ahead / np.linalg.norm(ahead) if np.linalg.norm(ahead) > 1e-3 else forward)
    return KittiCamera(chosen, SE3(level.T @ chosen.lidar_SE3_cam.rotation, np.zeros(3)))


def format_calibration(kitti: KittiCamera, layout: KittiLayout = "tracking") -> str:
    """The calibration file of one of KITTI's benchmarks. P0 to P3 are all this camera.

    x_image ~ P2 R_rect Tr_velo_cam x_lidar in "tracking", P2 R0_rect Tr_velo_to_cam x_lidar in "object", P2 Tr x_lidar in "odometry".
    """
    p = _numbers(kitti.projection)
    rows = [f"P{index}: {p}" for index in range(4)]
    if layout == "odometry":
        return "\n".join([*rows, f"Tr: {_numbers(kitti.rect_SE3_lidar.matrix[:3])}"]) + "\n"
    rectification, to_camera, to_lidar = _KEYS[layout]
    rows.append(f"{rectification} {_numbers(kitti.rect_SE3_cam.rotation)}")
    rows.append(f"{to_camera} {_numbers(kitti.camera.lidar_SE3_cam.inverse().matrix[:3])}")
    rows.append(f"{to_lidar} {_numbers(np.eye(4)[:3])}")
    return "\n".join(rows) + "\n"


def projected_box(cuboid: Cuboid, camera: Camera) -> tuple[tuple[float, float, float, float], float] | None:
    """A cuboid's 2D box in an image, (u0, v0, u1, v1) cut off at the image's borders, and the share of the whole box that was cut off;
    None where nothing of it is in view."""
    corners_m = camera.lidar_SE3_cam.inverse().apply(cuboid.corners_m())
    starts, ends = corners_m[[a for a, _ in _EDGES]], corners_m[[b for _, b in _EDGES]]
    # Edges rather than corners: a lens bends them, and those that pass beside the camera are cut at the near plane.
    along = np.tile(np.linspace(0.0, 1.0, _EDGE_STEPS), (len(_EDGES), 1))
    crossing = (starts[:, 2] - _NEAR_M) * (ends[:, 2] - _NEAR_M) < 0
    depth_m = np.where(crossing, ends[:, 2] - starts[:, 2], 1.0)
    at_near = np.where(crossing, (_NEAR_M - starts[:, 2]) / depth_m, 0.0)
    along = np.concatenate([along, at_near[:, None]], axis=1)
    points_m = (starts[:, None] + along[:, :, None] * (ends - starts)[:, None]).reshape(-1, 3)
    pixels, valid = project_pinhole(points_m, camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, camera.distortion)
    pixels = pixels[valid & (points_m[:, 2] >= _NEAR_M * (1 - 1e-9))]
    if not len(pixels):
        return None
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    size = np.array([camera.width_px, camera.height_px], dtype=np.float64)
    shown_low, shown_high = np.clip(low, 0.0, size), np.clip(high, 0.0, size)
    if (shown_high <= shown_low).any():
        return None
    share = float(np.prod(shown_high - shown_low) / np.prod(high - low))
    return (float(shown_low[0]), float(shown_low[1]), float(shown_high[0]), float(shown_high[1])), 1.0 - share


def _level_rotation(ahead: Float64Array) -> Float64Array:
    """Columns right, down, ahead in the LiDAR frame."""
    return np.stack([[ahead[1], -ahead[0], 0.0], [0.0, 0.0, -1.0], ahead], axis=1)


def _numbers(matrix: Float64Array) -> str:
    return " ".join(f"{value:.12e}" for value in matrix.ravel())
