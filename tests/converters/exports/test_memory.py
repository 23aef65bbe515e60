"""Labels of a long drive are written and read piece by piece: what that takes does not grow with the number of frames."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.exports import labels_as, write_labels, write_whole_files
from converters.exports.formats import LabelFormat
from converters.packed_masks import MaskStore, PackedMasks
from converters.sequences import read_masklets
from sam4d.structures import Clip, Cuboid, Masklet, ObjectMasks
from tests.converters.tiny_recording import tiny_clip

OBJECTS = 8


def long_clip(frame_count: int) -> Clip:
    clip = tiny_clip()
    return replace(clip, frames=tuple(replace(clip.frames[0], timestamp_ns=10**8 * index) for index in range(frame_count)))


def long_masklets(clip: Clip) -> tuple[Masklet, ...]:
    """Objects whose masks lie on disk and do not compress."""
    generator, store, masklets = np.random.default_rng(0), MaskStore(), []
    point_count = len(clip.frames[0].load_sweep())
    for object_id in range(1, OBJECTS + 1):
        masks = PackedMasks(store=store)
        for index in range(len(clip)):
            shown = {name: generator.random((each.height_px, each.width_px)) < 0.5 for name, each in clip.cameras.items()}
            masks[index] = ObjectMasks(object_id, index, shown, generator.random(point_count) < 0.1, 0.5)
        cuboid = Cuboid((1.0, 2.0, 3.0), (4.0, 2.0, 1.5), 0.1)
        masklets.append(Masklet(object_id, "Car", masks, dict.fromkeys(range(len(clip)), cuboid)))
    return tuple(masklets)


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that the work takes beyond what there was before."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = work()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
        return peak
    finally:
        tracemalloc.stop()


def peak_of_writing(label_format: LabelFormat, frame_count: int, output: Path) -> int:
    clip = long_clip(frame_count)
    masklets = long_masklets(clip)
    return peak_bytes(
        lambda: write_whole_files({output / path: data for path, data in labels_as(label_format, clip, masklets).files.items()})
    )


def peak_of_reading(frame_count: int, folder: Path) -> int:
    """Masks alone: cuboids are numbers, and all of them are handed out."""
    clip = long_clip(frame_count)
    write_labels(clip, [replace(masklet, cuboids={}) for masklet in long_masklets(clip)], folder)
    return peak_bytes(lambda: read_masklets(folder, clip))


@pytest.mark.parametrize("label_format", ["sequence", "coco", "openlabel", "cvat-datumaro"])
def test_six_times_as_many_frames_take_little_more(label_format: LabelFormat, tmp_path: Path) -> None:
    peak_of_writing(label_format, 2, tmp_path / "first")  # what is imported and cached once
    short, long = (peak_of_writing(label_format, count, tmp_path / str(count)) for count in (20, 120))
    written = sum(path.stat().st_size for path in (tmp_path / "120").rglob("*") if path.is_file())
    assert written > 500_000, "enough to be seen"
    assert long - short < written / 4, (short, long, written)


def test_six_times_as_many_frames_are_read_in_little_more(tmp_path: Path) -> None:
    peak_of_reading(2, tmp_path / "first")
    short, long = (peak_of_reading(count, tmp_path / str(count)) for count in (20, 120))
    written = (tmp_path / "120/labels/masks.json").stat().st_size
    assert written > 500_000, "enough to be seen"
    # Where each mask lies is known; the document as one takes four times what is written.
    assert long - short < written / 2, (short, long, written)
