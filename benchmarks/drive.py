"""The drive that is measured on: a synthetic one as large as a real one, or the user's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.exports import write_labels, write_sequence
from converters.sequences import open_sequence, read_cuboid_labels
from converters.sequences.labels import CUBOIDS_FILE
from sam4d.simulation import SyntheticDrive, simulate_drive
from sam4d.structures import Clip, Masklet

CAMERAS = ("front", "front_left", "front_right", "left", "right", "back")
BEAMS, AZIMUTHS = 128, 1400
"""About 168 thousand points, as PandaSet's sweeps have."""
BASE_FRAMES = 4
TASK_FRAMES = 20
NS_PER_FRAME = 100_000_000


@dataclass(frozen=True)
class Drive:
    """A sequence folder, and whether only the shorter measurements are wanted of it."""

    folder: Path
    quick: bool

    def open(self) -> Clip:
        return open_sequence(self.folder)

    def targets(self, clip: Clip, count: int) -> list[list[float]]:
        """LiDAR-frame points (x, y, z) of frame 0 on different labelled objects, nearest first; without labels, on the points that are
        nearest to the vehicle and not ground."""
        points_m = clip.frames[0].load_sweep().points_m
        targets = []
        labels = read_cuboid_labels(self.folder)[0] if (self.folder / CUBOIDS_FILE).exists() else None
        for labelled in labels or ():
            inside = points_m[labelled.cuboid.contains(points_m)]
            if len(inside) >= 30:
                centre = np.median(inside, axis=0)
                targets.append(inside[np.argmin(np.linalg.norm(inside - centre, axis=1))])
        if not targets:
            near = points_m[np.isfinite(points_m).all(axis=1) & (np.abs(points_m[:, 2] - np.nanmedian(points_m[:, 2]) - 1.0) < 0.5)]
            targets = list(near[np.argsort(np.linalg.norm(near[:, :2], axis=1))[:: max(1, len(near) // count)]])
        targets.sort(key=lambda target: float(np.linalg.norm(target[:2])))
        return [[float(value) for value in target] for target in targets[:count]]


def there_and_back(index: int, frame_count: int) -> int:
    """Frame `index` of a drive without end that is made of a few frames: forwards, backwards, forwards."""
    if frame_count == 1:
        return 0
    place = index % (2 * frame_count - 2)
    return min(place, 2 * frame_count - 2 - place)


def lengthened(clip: Clip, frame_count: int) -> Clip:
    """The clip with this many frames: cut, or gone through there and back."""
    frames = [clip.frames[there_and_back(index, len(clip))] for index in range(frame_count)]
    return replace(clip, frames=tuple(replace(frame, timestamp_ns=NS_PER_FRAME * (index + 1)) for index, frame in enumerate(frames)))


def with_cameras(clip: Clip, names: Sequence[str]) -> Clip:
    """The clip with these cameras only."""
    frames = [replace(frame, load_images={name: frame.load_images[name] for name in names}) for frame in clip.frames]
    return replace(clip, cameras={name: clip.cameras[name] for name in names}, frames=tuple(frames))


def lidar_drive(points: int) -> SyntheticDrive:
    """A few frames of about so many points, without cameras."""
    beams = 64 if points < 150_000 else 128
    return simulate_drive(frame_count=BASE_FRAMES, camera_names=(), beam_count=beams, azimuth_count=round(points / beams / 0.94))


def write_synthetic_drive(folder: Path, *, quick: bool, camera_count: int | None = None) -> Drive:
    """A task's worth of frames, there and back, with exact labels. The same every time.

    camera_count: of CAMERAS; None takes all, or three for the shorter measurements.
    """
    cameras = CAMERAS[: camera_count or (3 if quick else len(CAMERAS))]
    drive = simulate_drive(frame_count=BASE_FRAMES, camera_names=cameras, beam_count=BEAMS, azimuth_count=AZIMUTHS)
    write_sequence(drive.clip, folder)
    description = json.loads((folder / "sequence.json").read_text())
    order = [there_and_back(index, BASE_FRAMES) for index in range(TASK_FRAMES)]
    frames = [{**description["frames"][base], "timestamp_ns": NS_PER_FRAME * (index + 1)} for index, base in enumerate(order)]
    (folder / "sequence.json").write_text(json.dumps({**description, "frames": frames}))
    masklets = [
        Masklet(
            masklet.object_id,
            masklet.label,
            {index: replace(masklet.masks[base], frame_index=index) for index, base in enumerate(order) if base in masklet.masks},
            {index: masklet.cuboids[base] for index, base in enumerate(order) if base in masklet.cuboids},
        )
        for masklet in drive.masklets
    ]
    write_labels(open_sequence(folder), masklets, folder)
    return Drive(folder, quick)
