"""A long drive of six cameras is imported with its labels in the memory of a short one."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from backend.label_studio import LabelStudioClient, Project, Result, Task
from backend.projects import ImportOptions, WithLabels, import_sequences
from converters.exports import write_sequence
from converters.packed_masks import MaskStore, PackedMasks
from sam4d.predictor import build_predictor
from sam4d.structures import Clip, Masklet, ObjectMasks, Sweep
from tests.converters.tiny_recording import tiny_camera, tiny_clip

CAMERAS = tuple(f"camera_{number}" for number in range(6))
WIDTH, HEIGHT, POINTS = 320, 200, 4_000
FRAME_BYTES = len(CAMERAS) * WIDTH * HEIGHT * 3
"""Of the images of one frame, as they are once they are read."""


@dataclass
class Tasks:
    """In place of a Label Studio: counts, and keeps nothing."""

    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    added: int = 0
    regions: int = 0

    def check_access(self) -> str:
        return "anna@example.com"

    def find_project(self, title: str) -> Project | None:
        return None

    def create_project(self, title: str, label_config: str, **_: object) -> Project:
        return Project(1, title, label_config)

    def ensure_local_files(self, *_: object) -> None:
        pass

    def tasks(self, project: Project) -> list[Task]:
        return []

    def add_tasks(self, project: Project, data: Sequence[Mapping[str, Any]]) -> list[int]:
        self.added += len(data)
        return [next(self.numbers) for _ in data]

    def add_annotation(self, task_id: int, result: Sequence[Result]) -> None:
        self.regions += len(result)


def write_drive(folder: Path, frame_count: int) -> Clip:
    """Its images are large once they are read; one object is masked in all cameras, one point in ten."""
    random = np.random.default_rng(0)
    sweep = Sweep(random.normal([8.0, 0.0, 0.0], 3.0, (POINTS, 3)).astype(np.float32), random.uniform(0, 255, POINTS).astype(np.float32))
    pixels = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    cameras = {name: replace(tiny_camera(name), width_px=WIDTH, height_px=HEIGHT) for name in CAMERAS}
    frame = replace(tiny_clip().frames[0], load_sweep=lambda: sweep, load_images={name: lambda: pixels for name in CAMERAS})
    clip = Clip("long", cameras, tuple(replace(frame, timestamp_ns=10**8 * index) for index in range(frame_count)))
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[50:150, 100:200] = random.random((100, 100)) < 0.5
    masks = PackedMasks(store=MaskStore())
    for index in range(frame_count):
        masks[index] = ObjectMasks(1, index, dict.fromkeys(CAMERAS, mask), np.arange(POINTS) % 10 == 0, 1.0)
    write_sequence(clip, folder, masklets=[Masklet(1, "Car", masks)])
    return clip


def peak_of_import(frame_count: int, place: Path) -> int:
    write_drive(place / "recorded", frame_count)
    (place / "data").mkdir()
    tasks = Tasks()
    gc.collect()
    tracemalloc.start()
    try:
        _, (imported,) = import_sequences(
            cast(LabelStudioClient, tasks),
            "long drives",
            [place / "recorded"],
            data_root=place / "data",
            backend=None,
            model_version="v",
            options=ImportOptions(frames_per_task=5, overlap=0, range_m=10.0),
            with_labels=WithLabels(build_predictor(), 1000),
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (imported.new_tasks, tasks.added, imported.labelled_objects) == (frame_count // 5, frame_count // 5, frame_count // 5)
    assert tasks.regions >= frame_count * len(CAMERAS)
    return peak


def test_six_times_as_many_frames_are_imported_in_little_more(tmp_path: Path) -> None:
    for name in ("first", "short", "long"):
        (tmp_path / name).mkdir()
    peak_of_import(5, tmp_path / "first")  # what is imported and cached once
    short, long = peak_of_import(10, tmp_path / "short"), peak_of_import(60, tmp_path / "long")
    # Fifty frames more: less than the images of one of them.
    assert long - short < FRAME_BYTES, (short, long)
