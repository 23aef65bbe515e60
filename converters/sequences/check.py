"""Read a whole clip once, before a project is made of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converters.sequences.sequence_folder import SweepFile
from sam4d.structures import Clip, Frame, InputError, Sweep


def check_sequence(clip: Clip, on_frame: Callable[[int, int], None] | None = None) -> tuple[str, ...]:
    """Read every sweep and every image of a clip.

    Args:
        on_frame: called after each frame with the number read and the number in all, for a progress bar.

    Returns:
        What is odd but no obstacle, one line each: points that are not finite, cameras without images, frames without a pose,
        a camera that sees no point at all.

    Raises:
        InputError: a sweep or an image that cannot be read, or a sweep without a single finite point.
    """
    notes: list[str] = []
    seen_points: dict[str, int] = {}
    for index, frame in enumerate(clip.frames):
        sweep = frame.load_sweep()
        finite = np.isfinite(sweep.points_m).all(axis=1)
        if not finite.any():
            name = _sweep_name(frame, index, whole=True)
            raise InputError(name, "at least one point with finite coordinates", f"none among {len(sweep)} points")
        if not finite.all():
            notes.append(f"{_sweep_name(frame, index)}: {int((~finite).sum())} of {len(sweep)} points are not finite")
        for load_image in frame.load_images.values():
            load_image()
        for name in frame.load_images:
            if not seen_points.get(name):
                seen_points[name] = _points_in_view(clip, name, sweep)
        if on_frame is not None:
            on_frame(index + 1, len(clip))
    blind = [name for name in clip.cameras if name not in seen_points]
    if blind:
        notes.append(f"no image on any frame from camera{'s' if len(blind) > 1 else ''} {', '.join(blind)}")
    notes += [
        f"camera {name}: no LiDAR point falls into its images; check lidar_SE3_cam" for name, count in seen_points.items() if not count
    ]
    return (*notes, *_image_notes(clip), *_pose_notes(clip))


def _points_in_view(clip: Clip, camera: str, sweep: Sweep) -> int:
    return int(clip.cameras[camera].project(sweep.points_m)[2].sum())


def _image_notes(clip: Clip) -> list[str]:
    notes = []
    for name in clip.cameras:
        missing = [index for index, frame in enumerate(clip.frames) if name not in frame.load_images]
        if 0 < len(missing) < len(clip):
            notes.append(f"camera {name}: no image on {_frames(missing)}")
    return notes


def _pose_notes(clip: Clip) -> list[str]:
    missing = [index for index, frame in enumerate(clip.frames) if frame.world_SE3_lidar is None]
    if not missing:
        return []
    return ["no poses: ego motion is not compensated" if len(missing) == len(clip) else f"no pose on {_frames(missing)}"]


def _frames(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:5]))
    return f"frame{'s' if len(indices) > 1 else ''} {shown}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")


def _sweep_name(frame: Frame, index: int, *, whole: bool = False) -> str:
    """Within its drive, or `whole` with the drive's folder before it."""
    sweep = frame.load_sweep
    if not isinstance(sweep, SweepFile):
        return f"sweep of frame {index}"
    return f"{sweep.where}/{sweep.path}" if whole else sweep.path
