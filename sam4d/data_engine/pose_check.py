"""Do the ego poses fit the sweeps? A map from wrong ones would be smeared, and nothing in it would say so.

What is refused can be labelled frame by frame (`per_frame`), and the message says how.
"""

from __future__ import annotations

import numpy as np

from sam4d.data_engine.visibility import SweepRanges
from sam4d.geometric.scene import FrameScene
from sam4d.structures import Clip, InputError

LEAST_OVERLAP = 0.7
"""Of the standing points that a later sweep says something about, those that it hits again. Right poses give 0.76 (between trees)
and more, those that are off by half a degree or 0.3 m from frame to frame less than 0.7."""
MOST_PAIRS = 12
WAYS_OUT = "sam4d convert --estimate-poses gives some; --per-frame does without"
STEPS = 3
"""Frames between the two sweeps that are compared: errors grow with the way."""


def pose_overlaps(clip: Clip) -> dict[tuple[int, int], float]:
    """For pairs of frames all over the clip: the share of standing points of the first that the second hits again, 0 to 1.

    Raises:
        InputError: a frame without an ego pose.
    """
    missing = [frame_index for frame_index, frame in enumerate(clip.frames) if frame.world_SE3_lidar is None]
    if missing and len(missing) == len(clip):
        raise InputError(f"clip {clip.name}", f"ego poses ({WAYS_OUT})", "none on any frame")
    if missing:
        raise InputError(
            f"clip {clip.name}, frame {missing[0]}", f"an ego pose on every frame ({WAYS_OUT})", f"none on {len(missing)} of {len(clip)}"
        )
    last = len(clip) - 1
    starts = np.unique(np.linspace(0, max(0, last - STEPS), min(MOST_PAIRS, max(1, last))).astype(int))
    overlaps = {}
    for start in map(int, starts):
        end = min(start + STEPS, last)
        if end == start:
            continue
        scene = FrameScene(clip.frames[start], start)
        later = SweepRanges(clip.frames[end].load_sweep().points_m)
        places_m = clip.lidar_SE3_lidar(end, start).apply(scene.points_m[scene.is_object])
        filled, empty = int(later.seen_filled(places_m).sum()), int(later.seen_empty(places_m).sum())
        overlaps[start, end] = filled / max(1, filled + empty)
    return overlaps


def check_poses(clip: Clip) -> None:
    """Raises InputError: a frame without an ego pose, or poses that put the same things of most sweeps in different places."""
    overlaps = pose_overlaps(clip)
    if not overlaps or float(np.median(list(overlaps.values()))) >= LEAST_OVERLAP:
        return
    (start, end), worst = min(overlaps.items(), key=lambda item: item[1])
    expected = f"ego poses with which sweeps hit the same things again ({LEAST_OVERLAP:.0%} of them; {WAYS_OUT})"
    raise InputError(f"clip {clip.name}, frames {start} and {end}", expected, f"{worst:.0%}")
