"""Labels that a drive brings along: what a task gets of them, and how much of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.existing_labels import existing_regions
from converters.reconcile import regions_to_masklets
from converters.tasks import TaskWindow
from sam4d import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError, Masklet

PREDICTOR = build_predictor(engine="geometric")


def boxes(drive: SyntheticDrive, count: int) -> list[Masklet]:
    """The objects with the most points, with their cuboids alone."""
    objects = sorted(drive.masklets, key=lambda masklet: -sum(int(masks.lidar_mask.sum()) for masks in masklet.masks.values()))
    return [replace(masklet, masks={}) for masklet in objects if masklet.cuboids][:count]


def test_further_objects_get_their_cuboids_alone(small_drive: SyntheticDrive) -> None:
    clip = small_drive.clip.window(1, 2)
    window = TaskWindow("/data/local-files/?d=street", 1, 2)
    masklets = boxes(small_drive, 6)
    everything = existing_regions(masklets, window, clip, PREDICTOR, 10_000)
    assert (everything.objects, everything.cuboids_alone, everything.left_out) == (6, 0, 0)
    assert sum(region["type"] == "brushlabels" for region in everything.regions) > 12

    few = existing_regions(masklets, window, clip, PREDICTOR, 10)
    assert few.objects == 6
    assert 1 <= few.cuboids_alone < 6
    assert sum(region["type"] == "brushlabels" for region in few.regions) <= 10
    back = {masklet.object_id: masklet for masklet in regions_to_masklets(few.regions, window, clip)}
    assert len(back) == 6
    for masklet in masklets:
        for index, cuboid in masklet.cuboids.items():
            if 1 <= index < 3:
                assert back[masklet.object_id].cuboids[index - 1] == cuboid
                assert back[masklet.object_id].masks[index - 1].score == 1.0


def test_masks_without_a_cuboid_are_shown_or_said_to_be_left_out(small_drive: SyntheticDrive) -> None:
    clip, window = small_drive.clip.window(0, 2), TaskWindow("/data/local-files/?d=street", 0, 2)
    masklets = [
        replace(masklet, cuboids={}) for masklet in small_drive.masklets if 0 in masklet.masks and masklet.masks[0].lidar_mask.any()
    ]
    found = existing_regions(masklets[:3], window, clip, PREDICTOR, 1)
    assert (found.objects, found.cuboids_alone, found.left_out) == (1, 0, 2)


def test_cameras_are_asked_where_only_points_are_labelled(small_drive: SyntheticDrive) -> None:
    clip, window = small_drive.clip.window(0, 1), TaskWindow("/data/local-files/?d=street", 0, 1)
    whole = max(small_drive.masklets, key=lambda masklet: int(masklet.masks[0].lidar_mask.sum()) if 0 in masklet.masks else 0)
    points = replace(whole, cuboids={}, masks={0: replace(whole.masks[0], camera_masks={})})
    (back,) = regions_to_masklets(existing_regions([points], window, clip, PREDICTOR, 100).regions, window, clip)
    np.testing.assert_array_equal(back.masks[0].lidar_mask, whole.masks[0].lidar_mask)
    assert back.masks[0].camera_masks.seen_by == whole.masks[0].camera_masks.seen_by  # type: ignore[attr-defined]


def test_labels_that_do_not_fit_the_drive_are_named(small_drive: SyntheticDrive) -> None:
    clip, window = small_drive.clip.window(0, 1), TaskWindow("/data/local-files/?d=street", 0, 1)
    whole = next(masklet for masklet in small_drive.masklets if 0 in masklet.masks and 0 in masklet.cuboids)
    short = replace(whole, masks={0: replace(whole.masks[0], lidar_mask=np.ones(7, dtype=np.bool_))})
    with pytest.raises(InputError, match=rf"labels of object {whole.object_id}: expected a mask of \d+ points, as the sweep has, found 7"):
        existing_regions([short], window, clip, PREDICTOR, 100)
    flat = replace(whole, masks={}, cuboids={0: replace(whole.cuboids[0], size_lwh_m=(4.0, 2.0, 0.0))})
    with pytest.raises(InputError, match=rf"the cuboid of object {whole.object_id}: expected a length, width and height above 0"):
        existing_regions([flat], window, clip, PREDICTOR, 100)
