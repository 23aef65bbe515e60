"""How long a labeller waits: opening a clip, the first click, a further click, all frames; and the memory it takes.

    python benchmarks/interactive.py SEQUENCE [--json]

The clicks are the protocol's (README, `sam4d evaluate`): one point on each labelled object, or without labels on the
points nearest to the vehicle that are not ground. Every click is answered for all sensors of its frame.

`processor_...`: seconds of processor time, which others on the machine do not change much. A first click is one on a frame that was
not looked at before, in a process that has the code loaded; "prewarmed" after `sam4d prewarm`, the store on disk; a further one is the
same click again. Each is the best of three, summed over the objects; `prewarmed_ratio` is prewarmed over further, of the sums and of
the worst object.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

import sam4d
from backend.disk_cache import DiskCache
from backend.disk_frame_store import DiskFrameStore
from converters.sequences import open_sequence, read_cuboid_labels
from converters.sequences.labels import CUBOIDS_FILE

Answer = TypeVar("Answer")


def timed(action: Callable[[], Answer]) -> tuple[Answer, float]:
    started = time.perf_counter()
    return action(), time.perf_counter() - started


def click_targets(sequence: str, clip: sam4d.Clip, count: int) -> list[list[float]]:
    """LiDAR-frame points (x, y, z) of frame 0 on `count` different objects, nearest first."""
    points_m = clip.frames[0].load_sweep().points_m
    targets = []
    labels = read_cuboid_labels(sequence)[0] if (Path(sequence) / CUBOIDS_FILE).exists() else None
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


def processor_s(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def prewarm_figures(clip: sam4d.Clip, targets: list[list[float]]) -> dict[str, float | None]:
    cold: list[float] = []
    prewarmed: list[float] = []
    further: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = DiskFrameStore(DiskCache(Path(folder), 10**10))
        predictor = sam4d.build_predictor("geometric", store=store)
        took_s = processor_s(lambda: predictor.prewarm(clip, 0))
        held_bytes = predictor.prewarm(clip, 0)
        for target in targets:
            prompt = sam4d.PointPrompt(1, 0, sam4d.LIDAR, [target], [1])
            times: list[tuple[float, float, float]] = []
            for _ in range(3):
                fresh, stored = sam4d.build_predictor("geometric").open(clip), predictor.open(clip)
                first_s = processor_s(lambda fresh=fresh, prompt=prompt: fresh.add_prompt(prompt))  # type: ignore[misc]
                stored_s = processor_s(lambda stored=stored, prompt=prompt: stored.add_prompt(prompt))  # type: ignore[misc]
                again_s = processor_s(lambda fresh=fresh, prompt=prompt: fresh.add_prompt(prompt, replace=True))  # type: ignore[misc]
                times.append((first_s, stored_s, again_s))
            for figures, values in zip((cold, prewarmed, further), zip(*times, strict=True), strict=True):
                figures.append(min(values))
    return {
        "processor_prewarm_frame_s": took_s,
        "prewarmed_frame_mb": None if held_bytes is None else held_bytes / 1e6,
        "processor_first_click_s": sum(cold),
        "processor_first_click_prewarmed_s": sum(prewarmed),
        "processor_further_click_s": sum(further),
        "prewarmed_ratio": sum(prewarmed) / sum(further),
        "prewarmed_ratio_worst_object": max(one / other for one, other in zip(prewarmed, further, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence")
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    clip, clip_s = timed(lambda: open_sequence(arguments.sequence))
    session, open_s = timed(lambda: sam4d.build_predictor("geometric").open(clip))
    targets = click_targets(arguments.sequence, clip, arguments.objects)
    clicks_s = []
    for object_id, target in enumerate(targets, start=1):
        prompt = sam4d.PointPrompt(object_id, 0, sam4d.LIDAR, [target], [1])
        clicks_s.append(timed(lambda prompt=prompt: session.add_prompt(prompt))[1])  # type: ignore[misc]
    again = sam4d.PointPrompt(1, 0, sam4d.LIDAR, [[targets[0][0] + 0.2, targets[0][1], targets[0][2]]], [1])
    _, further_s = timed(lambda: session.add_prompt(again))
    _, all_objects_s = timed(lambda: list(session.propagate()))
    alone = sam4d.build_predictor("geometric").open(clip)
    alone.add_prompt(sam4d.PointPrompt(1, 0, sam4d.LIDAR, [targets[0]], [1]))
    _, one_object_s = timed(lambda: list(alone.propagate()))
    figures = {
        "frames": len(clip),
        "cameras": len(clip.cameras),
        "points_per_sweep": len(clip.frames[0].load_sweep()),
        "open_clip_s": clip_s + open_s,
        "first_click_s": clicks_s[0],
        "click_on_another_object_median_s": float(np.median(clicks_s[1:])) if len(clicks_s) > 1 else None,
        "click_on_another_object_worst_s": max(clicks_s[1:]) if len(clicks_s) > 1 else None,
        "further_click_s": further_s,
        "one_object_all_frames_s": one_object_s,
        f"{len(targets)}_objects_all_frames_s": all_objects_s,
        **prewarm_figures(clip, targets),
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:36} {value:.3f}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    main()
