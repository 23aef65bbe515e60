"""Prepared frames from a store: the same answers, bit by bit, without the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.exports import write_sequence
from converters.sequences import open_sequence
from sam4d.frame_store import content_key
from sam4d.geometric.stored_scene import SCENE_KIND
from sam4d.predictor import Predictor, build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import LIDAR, Clip, InputError, ObjectMasks, PointPrompt
from tests.sam4d.frame_stores import DictStore


@pytest.fixture
def clip(tmp_path: Path, small_drive: SyntheticDrive) -> Clip:
    write_sequence(small_drive.clip, tmp_path / "drive")
    return open_sequence(tmp_path / "drive")


@pytest.fixture
def truth_click(small_drive: SyntheticDrive) -> Callable[[int], PointPrompt]:
    def click(frame_index: int) -> PointPrompt:
        points_m = small_drive.clip.frames[frame_index].load_sweep().points_m
        everything = [masklet.masks[frame_index] for masklet in small_drive.masklets if frame_index in masklet.masks]
        in_front = [masks.lidar_mask for masks in everything if masks.camera_masks["front"].any()]
        mask = max(in_front, key=np.count_nonzero)
        return PointPrompt(1, frame_index, LIDAR, [points_m[mask][mask.sum() // 2]], [1])

    return click


def answers(predictor: Predictor, clip: Clip, prompt: PointPrompt) -> Iterator[ObjectMasks]:
    session = predictor.open(clip)
    yield session.add_prompt(prompt)
    for frame in session.propagate(prompt.frame_index):
        yield from frame.objects.values()


def assert_same_answers(one: Predictor, other: Predictor, clip: Clip, prompt: PointPrompt) -> None:
    for mine, yours in zip(answers(one, clip, prompt), answers(other, clip, prompt), strict=True):
        if mine.frame_index == prompt.frame_index:
            assert mine.lidar_mask.any()
            assert mine.camera_masks["front"].any()
        np.testing.assert_array_equal(mine.lidar_mask, yours.lidar_mask)
        assert mine.score == yours.score
        assert mine.camera_masks.keys() == yours.camera_masks.keys()
        for name, mask in mine.camera_masks.items():
            np.testing.assert_array_equal(mask, yours.camera_masks[name])


def not_to_be_called() -> Any:
    raise AssertionError("a stored frame is not read again")


def test_answers_are_the_same_with_and_without_a_store(clip: Clip, truth_click: Callable[[int], PointPrompt]) -> None:
    store = DictStore()
    plain, stored = build_predictor("geometric"), build_predictor("geometric", store=store)
    sizes = [stored.prewarm(clip, frame_index) for frame_index in range(len(clip))]
    assert all(size is not None and sum(size.values()) > 9000 * 12 for size in sizes)
    assert len(store.arrays) == len(clip) * (1 + len(clip.cameras))
    assert store.found == 0
    assert_same_answers(plain, stored, clip, truth_click(1))
    assert store.found >= 2 * (len(clip) - 1), "a sweep and an image of each frame"


def test_nothing_is_computed_for_a_stored_frame(
    clip: Clip, truth_click: Callable[[int], PointPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = build_predictor("geometric", store=DictStore())
    predictor.prewarm(clip, 0)
    for name in ("fit_ground", "_view"):
        monkeypatch.setattr(f"sam4d.geometric.scene.{name}", lambda *_: not_to_be_called())
    for name in ("parse_pcd", "decode_image"):
        monkeypatch.setattr(f"converters.sequences.sequence_folder.{name}", lambda *_: not_to_be_called())
    assert predictor.open(clip).add_prompt(truth_click(0)).lidar_mask.any()
    with pytest.raises(AssertionError, match="not read again"):
        predictor.open(clip).add_prompt(truth_click(1))


def test_what_is_there_is_passed_over(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = build_predictor("geometric", store=DictStore())
    size = predictor.prewarm(clip, 2)
    monkeypatch.setattr("sam4d.geometric.scene.fit_ground", lambda *_: not_to_be_called())
    assert predictor.prewarm(clip, 2) == size


def test_a_click_fills_no_store(clip: Clip, truth_click: Callable[[int], PointPrompt]) -> None:
    store = DictStore()
    build_predictor("geometric", store=store).open(clip).add_prompt(truth_click(0))
    assert not store.arrays


@pytest.mark.parametrize("change", ["sweep", "image", "calibration"])
def test_what_has_changed_is_prepared_anew(
    clip: Clip, tmp_path: Path, small_drive: SyntheticDrive, truth_click: Callable[[int], PointPrompt], change: str
) -> None:
    store = DictStore()
    stored = build_predictor("geometric", store=store)
    stored.prewarm(clip, 0)
    frame, cameras = small_drive.clip.frames[0], dict(small_drive.clip.cameras)
    if change == "sweep":
        sweep = frame.load_sweep()
        frame = replace(frame, load_sweep=lambda: replace(sweep, points_m=sweep.points_m + np.float32(0.25)))
    elif change == "image":
        image = frame.load_images["front"]()
        frame = replace(frame, load_images={**frame.load_images, "front": lambda: 255 - image})
    else:
        cameras["front"] = replace(cameras["front"], fx_px=cameras["front"].fx_px * 1.2)
    # At the same place as before.
    frames = (frame, *small_drive.clip.frames[1:])
    write_sequence(replace(small_drive.clip, cameras=cameras, frames=frames), tmp_path / "drive", overwrite=True)
    changed, before = open_sequence(tmp_path / "drive"), len(store.arrays)
    assert_same_answers(build_predictor("geometric"), stored, changed, truth_click(0))
    stored.prewarm(changed, 0)
    assert len(store.arrays) == before + 1
    assert_same_answers(build_predictor("geometric"), stored, changed, truth_click(0))


def test_loaders_that_do_not_know_their_content_are_read_each_time(
    small_drive: SyntheticDrive, truth_click: Callable[[int], PointPrompt]
) -> None:
    store = DictStore()
    predictor = build_predictor("geometric", store=store)
    assert content_key(SCENE_KIND, small_drive.clip.frames[0].load_sweep) is None
    assert predictor.prewarm(small_drive.clip, 0) is None
    assert not store.arrays
    assert_same_answers(build_predictor("geometric"), predictor, small_drive.clip, truth_click(0))


def test_a_store_without_room_costs_only_time(clip: Clip, truth_click: Callable[[int], PointPrompt]) -> None:
    predictor = build_predictor("geometric", store=DictStore(full=True))
    assert predictor.prewarm(clip, 0) is None
    assert_same_answers(build_predictor("geometric"), predictor, clip, truth_click(0))


def test_a_frame_that_is_not_there_or_cannot_be_read(clip: Clip, tmp_path: Path) -> None:
    predictor = build_predictor("geometric", store=DictStore())
    with pytest.raises(InputError, match="0 to 3, found 4"):
        predictor.prewarm(clip, 4)
    for path in (tmp_path / "drive").rglob("*.pcd"):
        path.unlink()
    with pytest.raises(InputError, match="a readable file"):
        predictor.prewarm(clip, 0)
    with pytest.raises(InputError, match="a readable file"):
        predictor.open(clip).add_prompt(PointPrompt(1, 0, LIDAR, [[0.0, 0.0, 0.0]], [1]))
