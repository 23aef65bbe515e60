"""What the first click on a frame costs when `sam4d prewarm` has been there."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sam4d
from backend.disk_cache import DiskCache
from backend.disk_frame_store import DiskFrameStore
from backend.limits import MEGABYTE
from benchmarks.drive import Drive, with_cameras
from benchmarks.figure import Figure, seconds_of
from benchmarks.labelling import click
from benchmarks.network import random_weights
from sam4d.frame_store import FrameStore
from sam4d.predictor import Predictor, PrewarmingPredictor, Session

MOST_TIMES_A_FURTHER_CLICK = 1.2
ROUNDS = 5


def prewarmed_clicks(drive: Drive) -> list[Figure]:
    """The geometric engine; means over objects of one frame, all cameras."""
    clip = drive.open()
    with _store() as store:
        predictor = sam4d.build_predictor("geometric", store=store)
        prewarm_s = seconds_of(lambda: predictor.prewarm(clip, 0))[1]
        prompts = [click(1, target) for target in drive.targets(clip, 4 if drive.quick else 10)]
        # The first session of a process also imports and compiles.
        predictor.open(clip).add_prompt(prompts[0])
        cold_s = statistics.mean(_first_and_further(sam4d.build_predictor("geometric"), clip, prompt)[0] for prompt in prompts)
        return [
            Figure("prewarming a frame", prewarm_s, "s", "first click without it", cold_s),
            *_figures("", predictor, clip, prompts, cold_s),
        ]


def prewarmed_network_clicks(drive: Drive) -> list[Figure]:
    """The network with random weights; means over a click in the camera and one in the LiDAR on each of some frames, one camera."""
    clip = drive.open()
    clip = with_cameras(clip, list(clip.cameras)[:1])
    (camera,) = clip.cameras.values()
    frames = range(min(len(clip), 1 if drive.quick else 3))
    with _store() as store:
        predictor = sam4d.build_predictor("sam4d", checkpoint=random_weights(), device="cpu", store=store)
        prompts = []
        for frame_index in frames:
            points_m = clip.frames[frame_index].load_sweep().points_m
            prompts.append(click(1, points_m[len(points_m) // 3].tolist(), frame_index))
            prompts.append(sam4d.PointPrompt(1, frame_index, camera.name, [[camera.width_px / 2, camera.height_px / 2]], [1]))
        cold_s = _click_s(predictor.open(clip), prompts[0])[0]
        kept, prewarm_s = seconds_of(lambda: [predictor.prewarm(clip, frame_index) for frame_index in frames])
        kept_bytes = sum({key: size for part in kept if part is not None for key, size in part.items()}.values())
        return [
            Figure("network: prewarming a frame", prewarm_s / len(frames), "s", "first click without it", cold_s),
            Figure("network: disk for a prewarmed frame, one camera", kept_bytes / len(frames) / MEGABYTE, "MB"),
            *_figures("network: ", predictor, clip, prompts, cold_s),
        ]


@contextmanager
def _store() -> Iterator[FrameStore]:
    with tempfile.TemporaryDirectory() as folder:
        yield DiskFrameStore(DiskCache(Path(folder), 10**10))


def _figures(
    engine: str, predictor: PrewarmingPredictor, clip: sam4d.Clip, prompts: Sequence[sam4d.PointPrompt], cold_s: float
) -> list[Figure]:
    """The first click on a frame beside the same click again: medians of five rounds, means over the prompts."""
    clicks = [_first_and_further(predictor, clip, prompt) for prompt in prompts]
    first_s, first_clock_s, further_s, further_clock_s = (statistics.mean(values) for values in zip(*clicks, strict=True))
    name = f"{engine}first click, prewarmed, in further clicks"
    return [
        Figure(f"{engine}first click on a prewarmed frame", first_s, "s", "further click", further_s),
        Figure(name, first_s / further_s, "x", "without prewarming", cold_s / further_s, at_most=MOST_TIMES_A_FURTHER_CLICK),
        Figure(f"{engine}first click on a prewarmed frame, by the clock", first_clock_s, "s", "further click", further_clock_s),
    ]


def _first_and_further(predictor: Predictor, clip: sam4d.Clip, prompt: sam4d.PointPrompt) -> tuple[float, float, float, float]:
    """Medians: processor time and time by the clock of the first click of a session, and of the same click again."""
    rounds = []
    for _ in range(ROUNDS):
        session = predictor.open(clip)
        rounds.append((*_click_s(session, prompt), *_click_s(session, prompt)))
    first_s, first_clock_s, further_s, further_clock_s = (statistics.median(values) for values in zip(*rounds, strict=True))
    return first_s, first_clock_s, further_s, further_clock_s


def _click_s(session: Session, prompt: sam4d.PointPrompt) -> tuple[float, float]:
    """Processor time and time by the clock."""
    began, began_clock = time.process_time(), time.perf_counter()
    session.add_prompt(prompt, replace=True)
    return time.process_time() - began, time.perf_counter() - began_clock
