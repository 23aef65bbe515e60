"""Every layout that is written and read: any labels come back, and those of the real recordings."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.exports import LabelFormat, Window, join_windows, labels_as, write_sequence, write_whole_files
from converters.exports.nuscenes import CATEGORIES
from converters.exports.point_labels import point_owners
from converters.sequences import open_sequence, read_cuboid_labels
from converters.sequences.cuboid_tracks import cuboid_masklets
from sam4d.geometry import SE3, BoolArray
from sam4d.structures import Clip, Cuboid, Masklet, ObjectMasks
from tests.converters.exports.read_back import (
    READERS,
    Labels,
    Masks,
    Points,
    cuboids_of,
    everything_of,
    labels_of,
    masks_of,
    owned,
    points_of,
)
from tests.converters.exports.same_cuboids import Key, assert_same_cuboids, cuboids
from tests.converters.tiny_recording import FRAME_COUNT, POINT_COUNT, tiny_clip


def expected_of(label_format: LabelFormat, clip: Clip, masklets: Sequence[Masklet]) -> Labels:
    """What the layout promises to keep."""
    whole, boxes = labels_of(masklets), cuboids_of(masklets)
    if label_format in ("sequence", "openlabel"):
        return everything_of(masklets)
    if label_format == "nuscenes":
        # Tracks are numbered in the order in which they appear.
        order = dict.fromkeys(each.object_id for index in range(len(clip)) for each in masklets if index in each.cuboids)
        numbers = {object_id: number for number, object_id in enumerate(order, start=1)}
        labels = {numbers[each]: CATEGORIES.get(whole[each].casefold(), whole[each]) for each in order}
        return Labels(labels, {(numbers[number], index): box for (number, index), box in boxes.items()})
    if label_format == "supervisely":
        return Labels(whole, boxes, points_of(masklets), masks_of(masklets))
    cuboids_alone = label_format in ("kitti-tracking", "cvat-datumaro", "cvat-kitti-raw")
    kept = Labels(
        {},
        boxes if cuboids_alone or label_format == "segments" else None,
        points_of(masklets) if label_format == "waymo-4dseg" else None,
        masks_of(masklets) if label_format in ("waymo-4dseg", "coco") else None,
    )
    if label_format in ("semantic-kitti", "segments"):
        kept = replace(kept, points=surest_points(clip, masklets))
    if label_format == "segments":
        kept = replace(kept, masks=surest_pixels(clip, masklets))
    shown = {key[0] for part in (kept.cuboids, kept.points, kept.masks) for key in part or ()}
    return replace(kept, labels={number: whole[number] for number in shown})


def surest_points(clip: Clip, masklets: Sequence[Masklet]) -> Points:
    points: Points = {}
    for index, frame in enumerate(clip.frames):
        points |= owned(np.maximum(point_owners(masklets, index, len(frame.load_sweep()), "").object_ids, 0), index)
    return points


def surest_pixels(clip: Clip, masklets: Sequence[Masklet]) -> Masks:
    masks: Masks = {}
    for index, frame in enumerate(clip.frames):
        for name in frame.load_images:
            owners = np.zeros((clip.cameras[name].height_px, clip.cameras[name].width_px), dtype=np.int64)
            claims = [(each.masks[index].score, -each.object_id, each) for each in masklets if index in each.masks]
            for _, _, each in sorted(claims, key=lambda claim: claim[:2]):
                if name in each.masks[index].camera_masks:
                    owners[each.masks[index].camera_masks[name]] = each.object_id
            masks |= {(number, index, name): mask for (number, _), mask in owned(owners, index).items()}
    return masks


def assert_labels_come_back(label_format: LabelFormat, clip: Clip, masklets: Sequence[Masklet], folder: Path) -> None:
    files = labels_as(label_format, clip, masklets).files
    write_whole_files({folder / path: content for path, content in files.items()})
    found, expected = READERS[label_format](folder, clip), expected_of(label_format, clip, masklets)
    assert found.labels == expected.labels
    assert (found.cuboids is None) == (expected.cuboids is None)
    if found.cuboids is not None and expected.cuboids is not None:
        assert_same_cuboids(found.cuboids, expected.cuboids)
    assert_same_arrays(found.points, expected.points)
    assert_same_arrays(found.masks, expected.masks)


def assert_same_arrays(found: Mapping[Key, BoolArray] | None, expected: Mapping[Key, BoolArray] | None) -> None:
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert set(found) == set(expected)
        for key, mask in expected.items():
            assert np.array_equal(found[key], mask), key


@dataclass(frozen=True)
class DrawnObject:
    label: str
    boxes: Mapping[int, Cuboid]
    masks: Mapping[int, ObjectMasks] = field(default_factory=dict)


def drawn_masks(frame_index: int) -> st.SearchStrategy[ObjectMasks]:
    return st.builds(
        lambda front, points, score: ObjectMasks(0, frame_index, {"front": front}, points, score),
        arrays.arrays(np.bool_, (16, 24)),
        arrays.arrays(np.bool_, POINT_COUNT),
        st.floats(0, 1),
    )


def numbered(drawn: Sequence[DrawnObject]) -> tuple[Masklet, ...]:
    return tuple(
        Masklet(number, each.label, {index: replace(masks, object_id=number) for index, masks in each.masks.items()}, each.boxes)
        for number, each in enumerate(drawn, start=1)
    )


words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
objects = st.lists(
    st.builds(
        DrawnObject,
        words | st.sampled_from(["Car", "Pedestrian", "Traffic cone"]),
        st.dictionaries(st.integers(0, FRAME_COUNT - 1), cuboids),
        st.fixed_dictionaries({}, optional={index: drawn_masks(index) for index in range(FRAME_COUNT)}),
    ),
    max_size=3,
).map(numbered)
turns = arrays.arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)
poses_in_world = st.builds(
    lambda turn, place: SE3.from_quaternion(turn / np.linalg.norm(turn), place), turns, st.tuples(*[st.floats(-1e5, 1e5)] * 3)
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The tiny drive from files, as exports have it."""
    folder = tmp_path_factory.mktemp("recorded") / "drive"
    write_sequence(tiny_clip(), folder)
    return open_sequence(folder)


@pytest.mark.parametrize("label_format", READERS)
@given(masklets=objects, poses=st.lists(poses_in_world, min_size=FRAME_COUNT, max_size=FRAME_COUNT))
def test_any_labels_come_back(
    recorded: Clip,
    tmp_path_factory: pytest.TempPathFactory,
    label_format: LabelFormat,
    masklets: tuple[Masklet, ...],
    poses: list[SE3],
) -> None:
    frames = tuple(replace(frame, world_SE3_lidar=pose) for frame, pose in zip(recorded.frames, poses, strict=True))
    folder = tmp_path_factory.mktemp(label_format)
    assert_labels_come_back(label_format, replace(recorded, frames=frames), masklets, folder)
    shutil.rmtree(folder)


def with_masks(clip: Clip, masklet: Masklet) -> Masklet:
    """The points in the cuboids, and the pixels that they fall on."""
    masks = {}
    for index, cuboid in masklet.cuboids.items():
        points_m = clip.frames[index].load_sweep().points_m
        inside = cuboid.contains(points_m)
        camera_masks = {}
        for name in clip.frames[index].load_images:
            camera = clip.cameras[name]
            pixels, _, visible = camera.project(points_m[inside])
            mask = np.zeros((camera.height_px, camera.width_px), dtype=np.bool_)
            columns, rows = pixels[visible].astype(np.int64).T
            mask[rows, columns] = True
            camera_masks[name] = mask
        masks[index] = ObjectMasks(masklet.object_id, index, camera_masks, inside, 0.5)
    return replace(masklet, masks=masks)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pandaset_001", "kitti_tracking_0000", "av2_7fab2350"])
def test_labels_of_real_recordings_come_back(shared_data: Path, tmp_path: Path, name: str) -> None:
    clip = open_sequence(shared_data / name)
    labelled = cuboid_masklets(read_cuboid_labels(shared_data / name))
    masklets = tuple(map(partial(with_masks, clip), labelled))
    assert sum(len(masklet.cuboids) for masklet in masklets) > 60
    for label_format in READERS:
        assert_labels_come_back(label_format, clip, masklets, tmp_path / label_format)


@pytest.mark.parametrize("label_format", READERS)
def test_windows_of_a_drive_come_back_as_one_track(recorded: Clip, tmp_path: Path, label_format: LabelFormat) -> None:
    """Two tasks that share a frame, whose engines counted their objects differently."""
    boxes = {index: Cuboid((8.0 + index, 0.0, -0.4), (4.2, 1.8, 1.5), 0.1) for index in range(FRAME_COUNT)}
    front = np.zeros((16, 24), dtype=np.bool_)
    front[4:12, 3:9] = True

    def seen(object_id: int, frames: int, first: int) -> Masklet:
        masks = {index: ObjectMasks(object_id, index, {"front": front}, np.arange(POINT_COUNT) % 5 == 3, 0.75) for index in range(frames)}
        return Masklet(object_id, "Car", masks, {index: boxes[first + index] for index in range(frames)})

    (joined,) = join_windows([Window(0, 2, (seen(4, 2, 0),)), Window(1, 2, (seen(9, 2, 1),))])
    assert set(joined.cuboids) == {0, 1, 2}
    assert_labels_come_back(label_format, recorded, [joined], tmp_path)
