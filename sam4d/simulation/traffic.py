"""Who is in the simulated street: parked cars, traffic both ways, people on the pavements and on the crossing, cyclists."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from sam4d.geometry import SE3
from sam4d.simulation.actors import Actor, car, cyclist, pedestrian, truck, van
from sam4d.simulation.solids import Solid
from sam4d.simulation.street import Street

PARKED_FROM_M, PARKED_TO_M = -32.0, 95.0


def build_traffic(street: Street, random: Generator) -> list[Actor]:
    """All labelled objects, in the order of their ids."""
    return [
        *_driving(street, random),
        *_cycling(street, random),
        *_walking(street, random),
        *_parked(street, random),
    ]


def _still(solids: tuple[Solid, ...]) -> Callable[[float], tuple[Solid, ...]]:
    return lambda _time_s: solids


def _along(street: Street, station_m: float, lateral_m: float, speed_m_s: float, upright: bool = False) -> Callable[[float], SE3]:
    """Along the street at a constant speed; a negative speed comes towards us and faces that way."""
    place = street.upright if upright else street.resting
    turn = 0.0 if speed_m_s >= 0 else np.pi
    return lambda time_s: place(station_m + speed_m_s * time_s, lateral_m, turn)


def _driving(street: Street, random: Generator) -> list[Actor]:
    lane = street.lane_m
    lead = _along(street, float(random.uniform(15, 18)), -lane, float(random.uniform(6.4, 7.4)))
    behind = _along(street, float(random.uniform(-14, -11)), -lane, float(random.uniform(6.6, 7.2)))
    first, second = float(random.uniform(24, 30)), float(random.uniform(60, 68))
    return [
        Actor("Car", lead, _still(car(random))),
        Actor("Car", _along(street, first, lane, -float(random.uniform(7, 9))), _still(car(random))),
        Actor("Truck", _along(street, second, lane, -float(random.uniform(6, 8))), _still(truck(random))),
        Actor("Car", _along(street, second + 14, lane, -float(random.uniform(7, 8))), _still(car(random))),
        Actor("Car", behind, _still(car(random))),
    ]


def _cycling(street: Street, random: Generator) -> list[Actor]:
    # Between the parked cars and the lane.
    edge = street.half_width_m - 2.25 - 0.65
    return [
        Actor("Cyclist", _along(street, float(random.uniform(8, 10)), -edge, float(random.uniform(4.2, 5.2)), True), cyclist(random)),
        Actor("Cyclist", _along(street, float(random.uniform(20, 29)), edge, -float(random.uniform(4, 5)), True), cyclist(random)),
    ]


def _walking(street: Street, random: Generator) -> list[Actor]:
    actors = []
    for side in (-1, 1):
        station = float(random.uniform(-6, 4))
        for _ in range(4):
            speed = float(random.uniform(1.0, 1.6)) * (1 if random.random() < 0.5 else -1)
            # Those who come towards us keep to the walls.
            lateral = side * (street.half_width_m + float(random.uniform(1.2, 1.5) if speed > 0 else random.uniform(2.1, 2.5)))
            actors.append(Actor("Pedestrian", _along(street, station, lateral, speed, True), pedestrian(random, abs(speed))))
            station += float(random.uniform(6, 13))
    crossing, speed = street.crossing_m + float(random.uniform(-0.8, 0.8)), float(random.uniform(1.1, 1.4))
    start = float(random.uniform(3.5, 5.0))
    waiting = street.upright(street.crossing_m - 1.0, -street.half_width_m - 0.7, np.pi / 2)
    return [
        *actors,
        Actor("Pedestrian", lambda time_s: street.upright(crossing, start - speed * time_s, -np.pi / 2), pedestrian(random, speed)),
        Actor("Pedestrian", lambda _time_s: waiting, pedestrian(random, 0.0)),
    ]


def _parked(street: Street, random: Generator) -> list[Actor]:
    actors = []
    for side in (-1, 1):
        station = PARKED_FROM_M + float(random.uniform(0, 6))
        while station < PARKED_TO_M:
            if abs(station - street.crossing_m) > 6.5 and random.random() < 0.78:
                large = random.random() < 0.14
                lateral = side * (street.half_width_m - 1.15 + float(random.uniform(-0.08, 0.08)))
                # On the left they face the other way.
                yaw = (0.0 if side < 0 else np.pi) + float(random.uniform(-0.025, 0.025))
                pose = street.resting(station, lateral, yaw)
                solids = van(random) if large else car(random)
                actors.append(Actor("Car", lambda _time_s, pose=pose: pose, _still(solids)))  # type: ignore[misc]
            station += float(random.uniform(6.2, 7.4))
    return actors
