from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from sam4d.geometry import SE3, Axis
from sam4d.network.stored_features import GREY
from sam4d.training.augmentation import (
    PAPER,
    Augmentation,
    augment,
    change_light,
    draw_augmentation,
    drop_points,
    mirror,
    move_points,
    rotate_images,
    scale_world,
)
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.windows import TrainingSample, TrainingWindow, read_window
from tests.sam4d.training.tiny_sample import camera, sample

DISTORTION = (-0.28, 0.07, 0.001, -0.002, 0.0)

angles = st.floats(-0.43, 0.43)
shifts = st.tuples(*(st.floats(-1, 1) for _ in range(3)))


def assert_same(one: TrainingSample, other: TrainingSample) -> None:
    """All but images and camera truths."""
    for ours, theirs in zip(one.frames, other.frames, strict=True):
        np.testing.assert_allclose(ours.points_m, theirs.points_m, atol=1e-4)
        np.testing.assert_allclose(ours.world_SE3_lidar.matrix, theirs.world_SE3_lidar.matrix, atol=1e-9)
        np.testing.assert_allclose(ours.camera.lidar_SE3_cam.matrix, theirs.camera.lidar_SE3_cam.matrix, atol=1e-9)
        assert (ours.camera.cx_px, ours.camera.cy_px, *ours.camera.distortion) == pytest.approx(
            (theirs.camera.cx_px, theirs.camera.cy_px, *theirs.camera.distortion)
        )
        np.testing.assert_array_equal(ours.lidar_truths, theirs.lidar_truths)


@given(angle=angles)
@settings(deadline=None, max_examples=30)
def test_points_fall_where_the_turned_image_shows_what_they_fell_on(angle: float) -> None:
    whole = sample(frame_count=1)
    before, after = whole.frames[0], rotate_images(whole, angle).frames[0]
    pixels, _, visible = before.camera.project(before.points_m)
    turned, _, _ = after.camera.project(after.points_m)
    centre = np.array([before.camera.cx_px, before.camera.cy_px])
    c, s = np.cos(angle), np.sin(angle)
    expected = (pixels - centre) @ np.array([[c, -s], [s, c]]).T + centre
    np.testing.assert_allclose(turned[visible], expected[visible], atol=1e-6)


@pytest.mark.parametrize("distortion", [(), DISTORTION])
def test_masks_and_pixels_turn_with_the_points(distortion: tuple[float, ...]) -> None:
    smooth = np.add.outer(np.arange(48) * 2.0, np.arange(64) * 2.0)[..., None].repeat(3, axis=2).astype(np.uint8)
    whole = sample(frame_count=1, model=camera(distortion=distortion))
    whole = replace(whole, frames=(replace(whole.frames[0], image=smooth),))
    before, after = whole.frames[0], rotate_images(whole, 0.35).frames[0]
    pixels, _, seen = before.camera.project(before.points_m)
    turned, _, still = after.camera.project(after.points_m)
    inner = seen & still & (np.abs(pixels - [32, 24]) < [30, 22]).all(axis=1) & (np.abs(turned - [32, 24]) < [30, 22]).all(axis=1)
    assert inner.sum() > 60
    was, now = np.floor(pixels[inner]).astype(int), np.floor(turned[inner]).astype(int)
    values = before.image[was[:, 1], was[:, 0], 0].astype(float) - after.image[now[:, 1], now[:, 0], 0]
    assert np.abs(values).max() <= 6
    assert before.camera_truths is not None
    assert after.camera_truths is not None
    agree = before.camera_truths[:, was[:, 1], was[:, 0]] == after.camera_truths[:, now[:, 1], now[:, 0]]
    assert agree.mean() > 0.93


def test_the_corners_of_a_turned_image_are_grey_and_show_nothing() -> None:
    whole = sample(frame_count=1)
    full = replace(whole.frames[0], camera_truths=np.ones_like(whole.frames[0].camera_truths))
    after = rotate_images(replace(whole, frames=(full,)), 0.4).frames[0]
    assert tuple(after.image[0, -1]) == GREY
    assert after.camera_truths is not None
    assert not after.camera_truths[:, 0, -1].any()
    assert after.camera_truths[:, 24, 32].all()


@pytest.mark.parametrize("distortion", [(), DISTORTION])
def test_the_coarse_way_back_is_close_to_the_exact_one(distortion: tuple[float, ...]) -> None:
    """Turned and turned back, the middle of the image is what it was."""
    smooth = (127 + 100 * np.sin(np.add.outer(np.arange(48) / 9, np.arange(64) / 11)))[..., None].repeat(3, axis=2).astype(np.uint8)
    whole = sample(frame_count=1, model=camera(distortion=distortion))
    whole = replace(whole, frames=(replace(whole.frames[0], image=smooth),))
    back = rotate_images(rotate_images(whole, 0.3), -0.3)
    assert_same(back, whole)
    middle = np.s_[15:35, 20:42]
    assert np.abs(back.frames[0].image[middle].astype(int) - smooth[middle]).max() <= 3


@pytest.mark.parametrize("forward", ["+x", "-x", "+y", "-y"])
def test_mirrored_twice_is_as_before(forward: Axis) -> None:
    whole = replace(sample(model=camera(distortion=DISTORTION)), forward=forward)
    twice = mirror(mirror(whole))
    assert_same(twice, whole)
    for ours, theirs in zip(twice.frames, whole.frames, strict=True):
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.camera_truths, theirs.camera_truths)


@pytest.mark.parametrize("distortion", [(), DISTORTION])
@pytest.mark.parametrize("forward", ["+x", "-y"])
def test_mirrored_points_fall_on_the_mirrored_pixels(distortion: tuple[float, ...], forward: Axis) -> None:
    whole = replace(sample(model=camera(distortion=distortion)), forward=forward)
    for before, after in zip(whole.frames, mirror(whole).frames, strict=True):
        pixels, depth_m, seen = before.camera.project(before.points_m)
        mirrored, mirrored_depth_m, still = after.camera.project(after.points_m)
        np.testing.assert_array_equal(seen, still)
        np.testing.assert_allclose(mirrored[seen, 0], 64 - pixels[seen, 0], atol=1e-4)
        np.testing.assert_allclose(mirrored[seen, 1], pixels[seen, 1], atol=1e-4)
        np.testing.assert_allclose(mirrored_depth_m, depth_m, atol=1e-5)
        np.testing.assert_array_equal(after.image[:, 0], before.image[:, -1])


def test_a_mirrored_vehicle_still_drives_forward() -> None:
    first, second = mirror(sample()).frames
    moved = first.world_SE3_lidar.inverse() @ second.world_SE3_lidar
    assert moved.translation_m == pytest.approx([0.7, -0.1, 0])
    assert moved.yaw_rad == pytest.approx(-0.02)


@given(yaw=st.floats(-3, 3), shift=shifts, factor=st.floats(0.8, 1.25))
@settings(deadline=None, max_examples=30)
def test_moved_and_scaled_points_fall_on_the_same_pixels(yaw: float, shift: tuple[float, float, float], factor: float) -> None:
    whole = sample()
    changed = scale_world(move_points(whole, SE3.from_yaw(yaw, shift)), factor)
    for before, after in zip(whole.frames, changed.frames, strict=True):
        pixels, _, seen = before.camera.project(before.points_m)
        np.testing.assert_allclose(after.camera.project(after.points_m)[0][seen], pixels[seen], atol=1e-2)
        in_world = before.world_SE3_lidar.apply(before.points_m)
        np.testing.assert_allclose(after.world_SE3_lidar.apply(after.points_m), in_world * factor, atol=1e-4)
    back = move_points(scale_world(changed, 1 / factor), SE3.from_yaw(yaw, shift).inverse())
    assert_same(back, whole)


def test_dropped_points_are_others_on_each_frame_and_truths_stay_theirs() -> None:
    whole = sample()
    fewer = drop_points(whole, 0.25, seed=3)
    for before, after in zip(whole.frames, fewer.frames, strict=True):
        assert len(after.points_m) == 300
        rows = [int(np.flatnonzero((before.points_m == point).all(axis=1))[0]) for point in after.points_m]
        assert rows == sorted(rows)
        np.testing.assert_array_equal(after.lidar_truths, before.lidar_truths[:, rows])
    again = drop_points(whole, 0.25, seed=3)
    np.testing.assert_array_equal(again.frames[1].points_m, fewer.frames[1].points_m)
    same_points = drop_points(replace(whole, frames=(whole.frames[0], whole.frames[0])), 0.25, seed=3).frames
    assert not np.array_equal(same_points[0].points_m, same_points[1].points_m)
    assert all(len(frame.points_m) == 1 for frame in drop_points(whole, 1.0, seed=0).frames)


def test_light_changes_pixels_alone() -> None:
    whole = sample(frame_count=1)
    brighter = change_light(whole, 1.5, 1.0, 1.0)
    assert_same(brighter, whole)
    expected = np.clip(whole.frames[0].image * 1.5, 0, 255)
    assert np.abs(brighter.frames[0].image - expected).max() <= 0.51
    grey = change_light(whole, 1.0, 1.0, 0.0).frames[0].image.astype(int)
    assert np.ptp(grey, axis=2).max() == 0
    assert change_light(whole, 1.0, 0.0, 1.0).frames[0].image.astype(int).mean(axis=2).std() < whole.frames[0].image.mean(axis=2).std()


def test_nothing_named_changes_nothing() -> None:
    whole = sample()
    same = augment(whole, Augmentation())
    assert_same(same, whole)
    np.testing.assert_array_equal(same.frames[0].image, whole.frames[0].image)


def test_drawn_augmentations_stay_within_their_ranges_and_repeat() -> None:
    random = default_rng(5)
    drawn = [draw_augmentation(random) for _ in range(400)]
    assert draw_augmentation(default_rng(5)) == drawn[0]
    turns = np.array([each.image_rotation_rad for each in drawn])
    assert np.abs(turns).max() <= np.deg2rad(25)
    assert np.abs(turns).max() > np.deg2rad(24)
    assert abs(np.mean([each.mirrored for each in drawn]) - 0.5) < 0.08
    assert max(abs(each.scale - 1) for each in drawn) <= PAPER.scale
    assert max(each.dropped_share for each in drawn) <= PAPER.most_dropped_share


@pytest.mark.parametrize("seed", range(4))
def test_after_everything_a_simulated_drives_points_still_fall_on_their_objects_pixels(small_clip: LabelledClip, seed: int) -> None:
    objects = tuple(masklet.object_id for masklet in small_clip.masklets)
    plain = read_window(TrainingWindow(small_clip, "front", (0, 3), objects))
    changed = augment(plain, draw_augmentation(default_rng(seed)))
    assert _agreement(plain) > 0.9
    assert _agreement(changed) > _agreement(plain) - 0.05


def _agreement(whole: TrainingSample) -> float:
    """Share of the objects' points, where the image shows them, that fall on a pixel of their object or beside one."""
    hits = total = 0
    for frame in whole.frames:
        assert frame.camera_truths is not None
        pixels, _, seen = frame.camera.project(frame.points_m)
        for mask, points in zip(frame.camera_truths, frame.lidar_truths, strict=True):
            if mask.sum() < 40:
                continue
            chosen = np.floor(pixels[points & seen]).astype(int)
            near = np.zeros(len(chosen), dtype=bool)
            for du, dv in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
                near |= mask[np.clip(chosen[:, 1] + dv, 0, mask.shape[0] - 1), np.clip(chosen[:, 0] + du, 0, mask.shape[1] - 1)]
            hits, total = hits + int(near.sum()), total + len(near)
    return hits / total
