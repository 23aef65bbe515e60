from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng

from sam4d.network.encoded_clip import BLIND
from sam4d.network.stored_features import GREY
from sam4d.structures import CameraMasks, Frame, InputError, Masklet, ObjectMasks, Sweep
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.windows import LATE_WEIGHT, TrainingWindow, read_window, sample_window
from tests.sam4d.training.tiny_sample import HEIGHT, POINTS, WIDTH, clip

EVERY = range(12)


def test_eight_consecutive_frames_either_way_and_the_same_ones_again() -> None:
    clips = [clip({1: EVERY}), clip({2: EVERY})]
    random = default_rng(0)
    windows = [sample_window(clips, random) for _ in range(300)]
    assert sample_window(clips, default_rng(0)) == windows[0]
    steps = Counter(step for window in windows for step in {int(each) for each in np.diff(window.frame_indices)})
    assert all(len(window.frame_indices) == 8 for window in windows)
    assert set(steps) == {-1, 1}
    assert abs(steps[1] / 300 - 0.5) < 0.08
    assert {window.frame_indices[0] for window in windows} == {*range(5), *range(7, 12)}
    assert {id(window.labelled) for window in windows} == {id(each) for each in clips}


def test_a_short_clip_gives_what_it_has() -> None:
    window = sample_window([clip({1: range(3)}, frame_count=3)], default_rng(0))
    assert sorted(window.frame_indices) == [0, 1, 2]
    assert sample_window([clip({1: [0]}, frame_count=1)], default_rng(0)).frame_indices == (0,)


def test_only_labelled_frames_are_shown_and_windows_begin_where_something_is() -> None:
    labelled = clip({1: [3, 4]}, labelled_frames=[0, 2, 3, 4, 7])
    random = default_rng(1)
    drawn = {sample_window([labelled], random, most_frames=2).frame_indices for _ in range(60)}
    assert drawn == {(3, 4), (4, 7), (4, 3), (3, 2)}


def test_six_objects_of_more_and_those_on_the_first_frame_rather() -> None:
    random = default_rng(2)
    labelled = clip({**dict.fromkeys(range(1, 5), EVERY), **dict.fromkeys(range(5, 9), EVERY[6:])})
    counts: Counter[str] = Counter()
    total = 0
    for _ in range(600):
        window = sample_window([labelled], random, most_objects=2)
        assert len(window.object_ids) == 2
        assert window.object_ids == tuple(sorted(set(window.object_ids)))
        if window.frame_indices[0] < 6 and window.frame_indices[-1] >= 6:
            total += 1
            counts.update("late" if each > 4 else "early" for each in window.object_ids)
    # Drawn one after the other from weights 1 (four) and LATE_WEIGHT (four).
    first = LATE_WEIGHT / (1 + LATE_WEIGHT)
    assert total > 100
    assert first * 0.7 < counts["late"] / (counts["late"] + counts["early"]) < first * 1.6
    assert len(sample_window([clip(dict.fromkeys(range(1, 9), EVERY))], random).object_ids) == 6


def test_a_labelled_camera_that_shows_something_is_looked_through() -> None:
    labelled = clip({1: EVERY}, camera_names=("left", "front", "right"), labelled_cameras=("left", "front"))
    masklet = labelled.masklets[0]
    shown = {index: replace(masks, camera_masks={"front": masks.camera_masks["front"]}) for index, masks in masklet.masks.items()}
    assert {sample_window([labelled], default_rng(seed)).camera for seed in range(30)} == {"left", "front"}
    labelled = replace(labelled, masklets=(replace(masklet, masks=shown),))
    assert {sample_window([labelled], default_rng(seed)).camera for seed in range(30)} == {"front"}


def test_truths_are_of_the_windows_objects_and_of_finite_points() -> None:
    labelled = clip({1: EVERY, 2: [4]})
    points_m = labelled.clip.frames[4].load_sweep().points_m.copy()
    points_m[[0, 12]] = np.nan
    frames = list(labelled.clip.frames)
    frames[4] = replace(frames[4], load_sweep=lambda: Sweep(points_m))
    labelled = replace(labelled, clip=replace(labelled.clip, frames=tuple(frames)))
    sample = read_window(TrainingWindow(labelled, "front", (5, 4), (1, 2)))
    later, earlier = sample.frames
    assert [frame.frame_index for frame in sample.frames] == [5, 4]
    assert sample.object_ids == (1, 2)
    assert earlier.points_m.shape == (POINTS - 2, 3)
    assert earlier.lidar_truths.sum(axis=1).tolist() == [9, 10]
    assert np.flatnonzero(earlier.lidar_truths[1]).tolist() == list(range(18, 28))
    assert later.lidar_present.tolist() == [True, False]
    assert later.camera_truths is not None
    assert later.camera_truths.shape == (2, HEIGHT, WIDTH)
    assert later.camera_truths[0, 5:10, 10:30].all()
    assert later.camera_present is not None
    assert later.camera_present.tolist() == [True, False]
    assert later.world_SE3_lidar.translation_m[0] == 5
    assert [sample.first_shown(index) for index in (0, 1)] == [0, 1]


def test_a_camera_that_nobody_looked_at_teaches_nothing() -> None:
    labelled = clip({1: EVERY}, labelled_cameras=())
    window = sample_window([labelled], default_rng(0))
    frame = read_window(window).frames[0]
    assert window.camera == "front"
    assert frame.camera_truths is None
    assert frame.camera_present is None
    assert not frame.camera_shows(0)
    assert frame.lidar_shows(0)


def test_a_frame_without_an_image_is_grey_and_teaches_nothing() -> None:
    labelled = clip({1: EVERY})
    frames = list(labelled.clip.frames)
    frames[1] = replace(frames[1], load_images={})
    labelled = replace(labelled, clip=replace(labelled.clip, frames=tuple(frames)))
    frame = read_window(TrainingWindow(labelled, "front", (0, 1), (1,))).frames[1]
    assert frame.camera_truths is None
    assert (frame.image == GREY).all()


def test_a_drive_without_cameras_is_learnt_from_all_the_same() -> None:
    labelled = clip({1: EVERY}, camera_names=())
    window = sample_window([labelled], default_rng(0))
    frame = read_window(window).frames[0]
    assert window.camera == BLIND
    assert frame.camera_truths is None
    assert frame.image.shape == (frame.camera.height_px, frame.camera.width_px, 3)
    assert frame.lidar_present.all()


def test_no_object_is_said() -> None:
    with pytest.raises(InputError, match=r"clips to learn from: expected an object of 3 points or 16 pixels .* found none in 1 clips"):
        sample_window([clip({})], default_rng(0))
    labelled = clip({1: EVERY})
    faint = replace(labelled.masklets[0], masks={0: _faint(labelled)})
    with pytest.raises(InputError, match="found none in 1 clips"):
        sample_window([replace(labelled, masklets=(faint,))], default_rng(0))
    with pytest.raises(InputError, match="found none in 0 clips"):
        sample_window([], default_rng(0))


def test_what_does_not_fit_is_refused() -> None:
    labelled = clip({1: EVERY})
    frame: Frame = labelled.clip.frames[0]
    image = np.zeros((10, 20, 3), dtype=np.uint8)
    odd = replace(labelled.clip, frames=(replace(frame, load_images={"front": lambda: image}),))
    with pytest.raises(InputError, match="image of camera front, frame 0 of tiny: expected 64 x 48 pixels, RGB, found 20 x 10"):
        read_window(TrainingWindow(replace(labelled, clip=odd), "front", (0,), (1,)))
    short = replace(labelled.clip, frames=(replace(frame, load_sweep=lambda: Sweep(np.zeros((5, 3), dtype=np.float32))),))
    with pytest.raises(InputError, match="object 1, frame 0 of tiny: expected a mask over the sweep's 5 points"):
        read_window(TrainingWindow(replace(labelled, clip=short), "front", (0,), (1,)))


def _faint(labelled: LabelledClip) -> ObjectMasks:
    masklet: Masklet = labelled.masklets[0]
    masks = masklet.masks[0]
    lidar = np.zeros(POINTS, dtype=np.bool_)
    lidar[0] = True
    return replace(masks, lidar_mask=lidar, camera_masks=CameraMasks({"front": np.zeros((HEIGHT, WIDTH), dtype=np.bool_)}))
