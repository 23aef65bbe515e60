"""What the first click on a frame costs when `sam4d prewarm` has been there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import sam4d
from backend.disk_cache import DiskCache
from backend.disk_frame_store import DiskFrameStore
from benchmarks.drive import Drive
from benchmarks.figure import Figure, seconds_of
from benchmarks.labelling import click

MOST_TIMES_A_FURTHER_CLICK = 1.2
ROUNDS = 3


def prewarmed_clicks(drive: Drive) -> list[Figure]:
    """Processor time, each click the best of three, means over objects: on a frame not looked at before, and the same click again."""
    clip = drive.open()
    targets = drive.targets(clip, 4 if drive.quick else 10)
    cold_s: list[float] = []
    prewarmed_s: list[float] = []
    further_s: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        predictor = sam4d.build_predictor("geometric", store=DiskFrameStore(DiskCache(Path(folder), 10**10)))
        prewarm_s = seconds_of(lambda: predictor.prewarm(clip, 0))[1]
        for target in targets:
            prompt = click(1, target)
            rounds = []
            for _ in range(ROUNDS):
                fresh, stored = sam4d.build_predictor("geometric").open(clip), predictor.open(clip)
                rounds.append(
                    (
                        seconds_of(lambda: fresh.add_prompt(prompt))[1],  # noqa: B023
                        seconds_of(lambda: stored.add_prompt(prompt))[1],  # noqa: B023
                        seconds_of(lambda: fresh.add_prompt(prompt, replace=True))[1],  # noqa: B023
                    )
                )
            for seconds, values in zip((cold_s, prewarmed_s, further_s), zip(*rounds, strict=True), strict=True):
                seconds.append(min(values))
    cold, prewarmed, further = (sum(seconds) / len(seconds) for seconds in (cold_s, prewarmed_s, further_s))
    return [
        Figure("prewarming a frame (processor time)", prewarm_s, "s", "first click without it", cold),
        Figure("first click on a prewarmed frame (processor time)", prewarmed, "s", "further click", further),
        Figure(
            "first click, prewarmed, in further clicks",
            prewarmed / further,
            "x",
            "without prewarming",
            cold / further,
            at_most=MOST_TIMES_A_FURTHER_CLICK,
        ),
    ]
