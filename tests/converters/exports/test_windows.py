"""Windows of a drive joined: one track per object, conflicts by rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.exports import Window, join_windows
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Cuboid, InputError, Masklet, ObjectMasks
from tests.converters.tiny_recording import assert_same_masklets


def cut(masklet: Masklet, first_frame: int, frame_count: int, object_id: int) -> Masklet:
    """The part of a masklet in a window, as an annotator of that window would have labelled it."""
    frames = range(first_frame, first_frame + frame_count)
    masks = {
        k - first_frame: replace(masklet.masks[k], object_id=object_id, frame_index=k - first_frame) for k in frames if k in masklet.masks
    }
    cuboids = {k - first_frame: masklet.cuboids[k] for k in frames if k in masklet.cuboids}
    return Masklet(object_id, masklet.label, masks, cuboids)


def points(object_id: int, frame_index: int, first: int, last: int, score: float = 0.5) -> ObjectMasks:
    mask = np.zeros(100, dtype=np.bool_)
    mask[first:last] = True
    return ObjectMasks(object_id, frame_index, {}, mask, score)


def pixels(object_id: int, frame_index: int, left: int, right: int, score: float = 0.5) -> ObjectMasks:
    mask = np.zeros((10, 100), dtype=np.bool_)
    mask[2:5, left:right] = True
    return ObjectMasks(object_id, frame_index, {"front": mask}, np.zeros(100, dtype=np.bool_), score)


def test_windows_of_the_synthetic_drive_give_the_drive_back(small_drive: SyntheticDrive) -> None:
    visible = [
        replace(item, masks={k: m for k, m in item.masks.items() if not m.is_empty}, cuboids=dict(item.cuboids))
        for item in small_drive.masklets
    ]
    # Only what can be recognised on the common frames 1 and 2 can be one object of both windows.
    known = [item for item in visible if any(k in item.masks or k in item.cuboids for k in (1, 2))]
    windows = []
    for first_frame, frame_count in ((0, 3), (1, 3)):
        order = known if first_frame == 0 else known[::-1]
        windows.append(
            Window(first_frame, frame_count, tuple(cut(item, first_frame, frame_count, 100 + k) for k, item in enumerate(order)))
        )
    joined = join_windows(windows[::-1])
    expected = tuple(
        replace(item, object_id=k, masks={i: replace(m, object_id=k) for i, m in sorted(item.masks.items())})
        for k, item in enumerate(known, start=1)
    )
    assert len(known) >= 3
    assert_same_masklets(joined, expected)


def test_one_window_keeps_everything_but_its_object_ids() -> None:
    joined = join_windows([Window(5, 2, (Masklet(9, "Car", {1: points(9, 1, 0, 10)}),))])
    assert [(item.object_id, list(item.masks)) for item in joined] == [(1, [6])]
    assert (joined[0].masks[6].object_id, joined[0].masks[6].frame_index) == (1, 6)


def test_a_chain_of_windows_is_one_track() -> None:
    windows = [Window(first, 3, (Masklet(first + 1, "Car", {k: points(first + 1, k, 10, 30) for k in range(3)}),)) for first in (0, 2, 4)]
    (joined,) = join_windows(windows)
    assert list(joined.masks) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("start", "count"), [(8, 1), (12, 2)])
def test_objects_that_hardly_overlap_are_two(start: int, count: int) -> None:
    first = Window(0, 2, (Masklet(1, "Car", {1: points(1, 1, 0, 20)}),))
    second = Window(1, 2, (Masklet(1, "Car", {0: points(1, 0, start, start + 20)}),))
    assert len(join_windows([first, second])) == count


def test_another_label_is_another_object() -> None:
    first = Window(0, 2, (Masklet(1, "Car", {1: points(1, 1, 0, 20)}),))
    second = Window(1, 2, (Masklet(1, "Van", {0: points(1, 0, 0, 20)}),))
    assert [item.label for item in join_windows([first, second])] == ["Car", "Van"]


def test_the_best_assignment_in_sum_is_taken() -> None:
    """A takes the better of two partners only if that leaves the rest with nothing worse."""
    first = Window(0, 1, (Masklet(1, "Car", {0: points(1, 0, 0, 20)}), Masklet(2, "Car", {0: points(2, 0, 12, 30)})))
    second = Window(
        0, 2, (Masklet(1, "Car", {0: points(1, 0, 8, 28), 1: points(1, 1, 50, 60)}), Masklet(2, "Car", {0: points(2, 0, 0, 16)}))
    )
    joined = join_windows([first, second])
    assert len(joined) == 2
    assert list(joined[1].masks) == [0, 1]


def test_pixels_and_cuboids_match_where_there_are_no_points() -> None:
    box = Cuboid((10.0, 2.0, 0.0), (4.0, 2.0, 1.5), 0.5)
    turned = replace(box, center_m=(10.3, 2.0, 0.0), yaw_rad=0.5 + np.pi)
    far = replace(box, center_m=(20.0, 2.0, 0.0))
    first = Window(0, 2, (Masklet(1, "Car", {1: pixels(1, 1, 0, 20)}), Masklet(2, "Car", {}, {1: box}), Masklet(3, "Car", {}, {1: far})))
    second = Window(1, 2, (Masklet(1, "Car", {}, {0: turned}), Masklet(2, "Car", {0: pixels(2, 0, 2, 22)})))
    joined = join_windows([first, second])
    assert len(joined) == 3
    assert joined[1].cuboids == {1: turned}
    assert joined[0].masks[1].camera_masks["front"][2, 20]


class TestConflicts:
    def join(self, before: float, after: float) -> Masklet:
        box = Cuboid((10.0, 2.0, 0.0), (4.0, 2.0, 1.5), 0.5)
        first = Window(0, 2, (Masklet(1, "Car", {1: points(1, 1, 0, 20, before)}, {1: box}),))
        second = Window(1, 2, (Masklet(1, "Car", {0: points(1, 0, 0, 18, after)}, {0: replace(box, yaw_rad=0.6)}),))
        (joined,) = join_windows([first, second])
        return joined

    def test_the_higher_score_wins_with_its_cuboid(self) -> None:
        joined = self.join(0.9, 0.8)
        assert (joined.masks[1].lidar_mask.sum(), joined.cuboids[1].yaw_rad) == (20, 0.5)
        joined = self.join(0.8, 0.9)
        assert (joined.masks[1].lidar_mask.sum(), joined.cuboids[1].yaw_rad) == (18, 0.6)

    def test_the_later_window_wins_between_equals(self) -> None:
        joined = self.join(0.8, 0.8)
        assert (joined.masks[1].lidar_mask.sum(), joined.cuboids[1].yaw_rad) == (18, 0.6)

    def test_what_only_one_window_shows_stays(self) -> None:
        first = Window(0, 3, (Masklet(1, "Car", {k: points(1, k, 0, 20) for k in range(3)}),))
        nothing = ObjectMasks(1, 1, {}, np.zeros(100, dtype=np.bool_), 0.0)
        second = Window(1, 2, (Masklet(1, "Car", {0: points(1, 0, 0, 20), 1: nothing}),))
        (joined,) = join_windows([first, second])
        assert list(joined.masks) == [0, 1, 2]
        assert not joined.masks[2].is_empty


def test_windows_without_common_frames_are_never_guessed_together() -> None:
    windows = [Window(first, 2, (Masklet(1, "Car", {k: points(1, k, 0, 20) for k in range(2)}),)) for first in (0, 2)]
    assert [list(item.masks) for item in join_windows(windows)] == [[0, 1], [2, 3]]


def test_no_windows_and_empty_ones() -> None:
    assert join_windows([]) == ()
    assert join_windows([Window(0, 3, ()), Window(2, 3, ())]) == ()


def test_bad_input() -> None:
    with pytest.raises(InputError, match="window from frame 4: object 1: expected frames within the window's 2, found frame 2"):
        join_windows([Window(4, 2, (Masklet(1, "Car", {2: points(1, 2, 0, 5)}),))])
    other = ObjectMasks(1, 0, {}, np.ones(99, dtype=np.bool_), 1.0)
    with pytest.raises(InputError, match="expected 100 points as in the other window, found 99"):
        join_windows([Window(0, 2, (Masklet(1, "Car", {1: points(1, 1, 0, 5)}),)), Window(1, 2, (Masklet(1, "Car", {0: other}),))])
