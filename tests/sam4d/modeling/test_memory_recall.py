"""Which frames are looked at, by hand."""

from __future__ import annotations

from sam4d.modeling.memory_recall import Recall, recall


def test_a_second_frame_looks_at_the_first() -> None:
    assert recall(1, {0}, set(), 3) == Recall(memories=((0, 0),), pointers=((0, 1),), pointer_span=2)


def test_recent_frames_follow_the_prompted_one_and_the_nearest_has_the_highest_position() -> None:
    found = recall(10, {2}, set(range(3, 10)), 40)
    assert found.memories == ((2, 0), (4, 1), (5, 2), (6, 3), (7, 4), (8, 5), (9, 6))
    assert found.pointers == ((2, 8), (9, 1), (8, 2), (7, 3), (6, 4), (5, 5), (4, 6), (3, 7))
    assert found.pointer_span == 7


def test_a_prompted_frame_too_far_away_counts_as_a_tracked_one() -> None:
    found = recall(20, {0, 5, 18}, {19}, 40)
    assert found.memories == ((18, 0), (19, 6))
    assert found.pointers == ((18, 2), (19, 1))


def test_backwards_the_past_lies_ahead() -> None:
    found = recall(3, {1, 5}, {4}, 10, reverse=True)
    assert found.memories == ((1, 0), (5, 0), (4, 6))
    assert found.pointers == ((5, 2), (4, 1)), "a prompted frame on the far side gives its memory, not its pointer"


def test_a_corrected_frame_sees_itself() -> None:
    found = recall(5, {5}, set(), 10)
    assert (found.memories, found.pointers) == (((5, 0),), ((5, 0),))


def test_a_clip_of_one_frame_divides_by_one() -> None:
    assert recall(0, {0}, set(), 1).pointer_span == 1
