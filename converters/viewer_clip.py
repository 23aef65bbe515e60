"""What the 3D view must know of a drive: poses, cameras, and where its clouds and images lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from converters.label_config import camera_tags
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, InputError

VIEWER_CLIP_VERSION = 1


def describe_clip(clip: Clip, cloud_addresses: Sequence[str], image_addresses: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The whole clip, JSON. Poses are 16 numbers, row after row of the homogeneous matrix, or null.

    Args:
        cloud_addresses: one per frame (`converters.cloud_file`).
        image_addresses: {camera name: one per frame}.

    Raises:
        InputError: a list whose length is not the clip's.
    """
    tags = camera_tags(clip.cameras)
    for name, addresses in {"clouds": cloud_addresses, **image_addresses}.items():
        if len(addresses) != len(clip):
            raise InputError(f"addresses of {name}", f"one per frame ({len(clip)})", f"{len(addresses)}")
    frames = [
        {
            "cloud": cloud_addresses[index],
            "images": {tags[name]: image_addresses[name][index] for name in frame.load_images},
            "world_SE3_lidar": _matrix(frame.world_SE3_lidar),
            "timestamp_ns": frame.timestamp_ns,
        }
        for index, frame in enumerate(clip.frames)
    ]
    cameras = {tags[name]: _camera(camera) for name, camera in clip.cameras.items()}
    return {"version": VIEWER_CLIP_VERSION, "name": clip.name, "forward": clip.forward, "cameras": cameras, "frames": frames}


def _camera(camera: Camera) -> dict[str, object]:
    return {
        "name": camera.name,
        "width_px": camera.width_px,
        "height_px": camera.height_px,
        "fx_px": camera.fx_px,
        "fy_px": camera.fy_px,
        "cx_px": camera.cx_px,
        "cy_px": camera.cy_px,
        "distortion": list(camera.distortion),
        "lidar_SE3_cam": _matrix(camera.lidar_SE3_cam),
    }


def _matrix(pose: SE3 | None) -> list[float] | None:
    return None if pose is None else [float(value) for value in pose.matrix.ravel()]
