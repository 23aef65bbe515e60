"""What a sweep says of the space before its returns."""

from __future__ import annotations

import numpy as np

from sam4d.data_engine.visibility import SweepRanges


def wall(distance_m: float) -> np.ndarray:  # type: ignore[type-arg]
    """A wall ahead, seen from x = 0, densely."""
    y, z = np.meshgrid(np.arange(-5, 5, 0.02), np.arange(-1, 1, 0.02))
    return np.column_stack([np.full(y.size, distance_m), y.ravel(), z.ravel()])


def test_before_a_wall_is_empty_at_it_is_filled_and_behind_it_nobody_knows() -> None:
    ranges = SweepRanges(wall(10.0))
    places_m = np.array([[5.0, 0.1, 0.1], [10.0, 0.1, 0.1], [15.0, 0.1, 0.1], [-5.0, 0.0, 0.0]])
    assert ranges.seen_empty(places_m).tolist() == [True, False, False, False]
    assert ranges.seen_filled(places_m).tolist() == [False, True, False, False]


def test_what_returns_nothing_and_no_return_at_all_say_nothing() -> None:
    ranges = SweepRanges(np.full((5, 3), np.nan))
    assert not ranges.seen_empty(wall(3.0)).any()
    assert not ranges.seen_filled(wall(3.0)).any()


def test_of_two_returns_in_one_direction_the_nearer_counts() -> None:
    ranges = SweepRanges(np.concatenate([wall(10.0), wall(6.0)]))
    assert ranges.seen_empty(np.array([[8.0, 0.0, 0.0], [4.0, 0.0, 0.0]])).tolist() == [False, True]


def test_what_lies_beside_a_far_thing_is_not_seen_through() -> None:
    y, z = np.meshgrid(np.arange(-1, 1, 0.25), np.arange(-0.8, 0.8, 0.4))
    thing = np.column_stack([np.full(y.size, 60.0), y.ravel(), z.ravel()])
    ranges = SweepRanges(np.concatenate([thing, 9 * wall(10.0)]))
    edge, free = [[60.0, 0.95, 0.0]], [[60.0, 3.0, 0.0]]
    assert ranges.seen_empty(np.array(edge)).all()
    assert not ranges.seen_through(np.array(edge)).any()
    assert ranges.seen_through(np.array(free)).all()
