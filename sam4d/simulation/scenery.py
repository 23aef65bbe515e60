"""What stands along the simulated street and is not labelled: buildings, trees, lamp posts, signs, low walls."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from sam4d.geometry import SE3
from sam4d.simulation import patterns
from sam4d.simulation.patterns import STEEL, TRIM
from sam4d.simulation.solids import Colour, Cylinder, Foliage, Solid, box, rod, uniform
from sam4d.simulation.street import Street

Placed = tuple[SE3, tuple[Solid, ...]]

FACADES: tuple[Colour, ...] = (
    (0.46, 0.38, 0.28),
    (0.40, 0.20, 0.13),
    (0.50, 0.47, 0.42),
    (0.30, 0.33, 0.36),
    (0.52, 0.42, 0.22),
    (0.36, 0.42, 0.38),
    (0.55, 0.50, 0.46),
)


def build_scenery(street: Street, random: Generator, first_m: float, last_m: float) -> list[Placed]:
    """Everything that stands along the street between two stations."""
    placed: list[Placed] = []
    for side in (-1, 1):
        placed += _facades(street, random, side, first_m, last_m)
        placed += _kerbside(street, random, side, first_m, last_m)
    return placed


def build_vegetation(street: Street, random: Generator, first_m: float, last_m: float) -> list[Placed]:
    """Bushes along the walls and, between the parked cars and the pavement, close to whoever stands there."""
    placed: list[Placed] = []
    for side in (-1, 1):
        for lateral_m, least_m, most_m in (
            (street.half_width_m + street.pavement_width_m - 0.35, 2.0, 7.0),
            (street.half_width_m + 0.5, 9.0, 16.0),
        ):
            station = first_m + float(random.uniform(0, 5))
            while station < last_m:
                if abs(station - street.crossing_m) > 4:
                    placed.append((street.upright(station, side * lateral_m), bush(random)))
                station += float(random.uniform(least_m, most_m))
    return placed


def bush(random: Generator) -> tuple[Solid, ...]:
    """Knee to chest high, of a few masses of leaves."""
    green = (0.05 + 0.04 * float(random.random()), 0.11 + 0.04 * float(random.random()), 0.03)
    parts = []
    for _ in range(3):
        width, height = float(random.uniform(0.3, 0.5)), float(random.uniform(0.3, 0.65))
        place = np.array([float(random.uniform(-0.4, 0.4)), float(random.uniform(-0.1, 0.1)), 0.75 * height])
        salt = int(random.integers(1 << 16))
        parts.append(
            Solid(Foliage((width, 0.7 * width, height), salt), SE3(np.eye(3), place), patterns.leaves(green, salt), roughness_m=0.08)
        )
    return tuple(parts)


def _facades(street: Street, random: Generator, side: int, first_m: float, last_m: float) -> list[Placed]:
    placed: list[Placed] = []
    front_m = street.half_width_m + street.pavement_width_m
    station = first_m + float(random.uniform(0, 8))
    last_colour = -1
    while station < last_m:
        if random.random() < 0.16:
            gap = float(random.uniform(9, 14))
            placed += _garden(street, random, side, station, gap)
            station += gap
            continue
        length = float(random.uniform(9, 17))
        depth, storeys, storey = 10.0, int(random.integers(2, 6)), float(random.uniform(3.0, 3.4))
        height, base = storeys * storey + 0.6, 2.0
        setback = float(random.choice([0.0, 0.0, 0.6, 1.8]))
        choice = int(random.integers(len(FACADES)))
        choice = (choice + 1) % len(FACADES) if choice == last_colour else choice
        last_colour = choice
        colour = FACADES[choice]
        lateral = side * (front_m + setback + depth / 2)
        place = street.upright(station + length / 2, lateral)
        bay = length / max(round(length / float(random.uniform(2.4, 3.2))), 1)
        salt = int(random.integers(1 << 16))
        shop = bool(random.random() < 0.5)
        # The foot lies below the pavement, whose slope the upright building does not follow.
        centre_z = (height - base) / 2
        look = patterns.wall(colour, storey, bay, centre_z, shop, salt)
        parts = [box((0, 0, centre_z), (length, depth, height + base), look)]
        trim = uniform((0.40, 0.39, 0.36), reflectance=0.4)
        parts.append(box((0, -side * (depth / 2 + 0.1), height - 0.25), (length, 0.3, 0.35), trim))
        if shop:
            awning = uniform(((0.35, 0.05, 0.05), (0.05, 0.18, 0.12), (0.08, 0.12, 0.3), (0.4, 0.3, 0.08))[int(random.integers(4))])
            parts.append(box((0, -side * (depth / 2 + 0.45), storey - 0.15), (length * 0.8, 0.9, 0.1), awning))
        else:
            parts.append(box((bay / 2, -side * (depth / 2 + 0.25), 0.1), (1.5, 0.5, 0.3), trim))
            parts.append(box((bay / 2, -side * (depth / 2 + 0.01), 1.35), (bay * 0.62, 0.08, 2.8), trim))
            parts.append(box((bay / 2, -side * (depth / 2 + 0.03), 1.3), (1.05, 0.08, 2.1), uniform((0.12, 0.06, 0.035), 0.25)))
        placed.append((place, tuple(parts)))
        # Along the outside of the bend neighbours would overlap or part: the next one starts where this one ends at its front.
        station += length / (1 - side * front_m * street.curvature_per_m) + (0.05 if random.random() < 0.75 else 2.5)
    return placed


def _garden(street: Street, random: Generator, side: int, station_m: float, length_m: float) -> list[Placed]:
    """A gap between buildings: a low brick wall and trees behind it."""
    front_m = street.half_width_m + street.pavement_width_m
    middle = station_m + length_m / 2
    brick = patterns.brick((0.30, 0.13, 0.09), int(random.integers(1 << 16)))
    placed: list[Placed] = [
        (street.upright(middle, side * (front_m + 0.3)), (box((0, 0, 0.35), (length_m - 0.4, 0.3, 1.3), brick),)),
    ]
    for _ in range(2):
        place = street.upright(middle + float(random.uniform(-0.3, 0.3)) * length_m, side * (front_m + float(random.uniform(3, 7))))
        placed.append((place, tree(random, float(random.uniform(6, 9)))))
    hedge = patterns.leaves((0.05, 0.11, 0.03), int(random.integers(1 << 16)))
    placed.append((street.upright(middle, side * (front_m + 12)), (box((0, 0, 2), (length_m + 4, 1.5, 6), hedge),)))
    return placed


def _kerbside(street: Street, random: Generator, side: int, first_m: float, last_m: float) -> list[Placed]:
    """Lamp posts, trees, signs, bins and bollards on the pavement, near the curb."""
    placed: list[Placed] = []
    edge = street.half_width_m + 0.6
    station = first_m + float(random.uniform(0, 10))
    kinds = ["lamp", "tree", "tree", "sign", "tree", "bin"]
    turn = int(random.integers(len(kinds)))
    while station < last_m:
        if abs(station - street.crossing_m) < 3:
            station += 4.5
        place = street.upright(station, side * edge, yaw_rad=0.0 if side < 0 else np.pi)
        kind = kinds[turn % len(kinds)]
        if kind == "lamp":
            placed.append((place, lamp_post()))
        elif kind == "tree":
            placed.append((place, tree(random, float(random.uniform(6.5, 8.0)))))
        elif kind == "sign":
            placed.append((place, sign(random)))
        else:
            bin_colour = uniform((0.03, 0.09, 0.05), reflectance=0.3)
            placed.append((place, (rod((0, 0, -0.1), (0, 0, 0.9), 0.25, bin_colour),)))
        turn += 1
        station += float(random.uniform(6.5, 10.0))
    return placed


def lamp_post() -> tuple[Solid, ...]:
    """Eight metres high, its arm over the road (to its left)."""
    return (
        rod((0, 0, -0.1), (0, 0, 8.0), 0.075, STEEL),
        rod((0, 0, -0.1), (0, 0, 1.1), 0.12, STEEL),
        rod((0, 0, 7.9), (0, 1.8, 8.2), 0.045, STEEL),
        box((0, 1.9, 8.18), (0.28, 0.7, 0.12), TRIM),
    )


def sign(random: Generator) -> tuple[Solid, ...]:
    """A traffic sign on a pole, facing traffic."""
    colour: Colour = ((0.5, 0.02, 0.02), (0.02, 0.08, 0.4), (0.65, 0.5, 0.03))[int(random.integers(3))]
    face = uniform(colour, reflectance=1.0, gloss=0.1)
    disc = SE3(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]), np.array([-0.05, 0.0, 2.45]))
    white = SE3(disc.rotation, np.array([-0.052, 0.0, 2.45]))
    return (
        rod((0, 0, -0.1), (0, 0, 2.8), 0.035, STEEL),
        Solid(Cylinder(0.33, 0.33, 0.012), disc, face),
        Solid(Cylinder(0.22, 0.22, 0.014), white, uniform((0.75, 0.75, 0.75), reflectance=1.0)),
    )


def tree(random: Generator, height_m: float) -> tuple[Solid, ...]:
    """A trunk and a crown of several masses of leaves, pruned high enough for cars to park beneath."""
    crown = height_m * 0.7
    parts = [rod((0, 0, -0.2), (0, 0, crown), 0.13, patterns.BARK)]
    green = (0.06 + 0.04 * float(random.random()), 0.115 + 0.04 * float(random.random()), 0.035)
    for mass in range(8):
        turn, out = 2.4 * mass + float(random.uniform(-0.4, 0.4)), float(random.uniform(0.35, 1.0)) * (mass > 0)
        place = np.array([out * np.cos(turn), out * np.sin(turn), crown + 0.2 * mass - 0.75 + float(random.uniform(-0.25, 0.25))])
        size = float(random.uniform(0.75, 1.1)) * (1.15 if mass == 0 else 1.0)
        salt = int(random.integers(1 << 16))
        shape = Foliage((size, size * float(random.uniform(0.85, 1.1)), size * 0.8), salt)
        parts.append(Solid(shape, SE3(np.eye(3), place), patterns.leaves(green, salt), roughness_m=0.15))
    return tuple(parts)
