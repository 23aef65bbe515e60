"""Which of several regions around a click is taken for the object."""

from __future__ import annotations

import numpy as np
import pytest

from sam4d.geometric.growing import grow, usual_gap
from sam4d.geometry import BoolArray
from sam4d.structures import Float32Array

RANGE_M = 14.0


def block(x_m: tuple[float, float], y_m: tuple[float, float], top_m: float) -> Float32Array:
    """The points of a solid thing's sides, a hand's breadth apart."""
    x, y, z = (np.linspace(low, high, max(2, round((high - low) / 0.12) + 1)) for low, high in (x_m, y_m, (0.25, top_m)))
    grid = np.stack([part.ravel() for part in np.meshgrid(x, y, z)], axis=1)
    side = np.isin(grid[:, 0], x[[0, -1]]) | np.isin(grid[:, 1], y[[0, -1]])
    return np.asarray(grid[side], dtype=np.float32)


def grown_from(things: list[Float32Array], clicked: int) -> tuple[BoolArray, list[BoolArray]]:
    points = np.concatenate(things)
    owner = np.repeat(np.arange(len(things)), [len(thing) for thing in things])
    own = np.flatnonzero(owner == clicked)
    seed = own[[((points[own] - np.median(points[own], axis=0)) ** 2).sum(axis=1).argmin()]]
    return grow(points, seed, usual_gap(RANGE_M)).mask, [owner == k for k in range(len(things))]


@pytest.mark.parametrize("clicked", [0, 1, 2])
@pytest.mark.parametrize("apart_m", [0.35, 0.45])
def test_one_of_a_group_of_people_is_one_person(clicked: int, apart_m: float) -> None:
    people = [block((RANGE_M, RANGE_M + 0.35), (k * (0.45 + apart_m), k * (0.45 + apart_m) + 0.45), 1.75) for k in range(3)]
    mask, owned = grown_from(people, clicked)
    assert mask[owned[clicked]].all()
    assert not mask[~owned[clicked]].any()


def test_a_car_beside_which_another_one_stands_is_one_car() -> None:
    cars = [block((RANGE_M, RANGE_M + 4.4), (y, y + 1.8), 1.5) for y in (0.0, 2.3)]
    mask, owned = grown_from(cars, 0)
    np.testing.assert_array_equal(mask, owned[0])


@pytest.mark.parametrize("clicked", [0, 1])
def test_a_person_beside_a_car_is_no_part_of_it(clicked: int) -> None:
    car = block((RANGE_M, RANGE_M + 3.9), (0.0, 1.5), 1.45)
    person = block((RANGE_M + 1.5, RANGE_M + 1.95), (1.9, 2.3), 1.75)
    mask, owned = grown_from([car, person], clicked)
    np.testing.assert_array_equal(mask, owned[clicked])


def test_a_van_keeps_the_seat_that_is_seen_through_its_windows() -> None:
    van = block((RANGE_M, RANGE_M + 4.4), (0.0, 1.8), 1.9)
    seat = block((RANGE_M + 3.5, RANGE_M + 3.8), (0.5, 1.2), 1.6)
    mask, _ = grown_from([van, seat], 0)
    assert mask.all()
