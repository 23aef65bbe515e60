"""Who is in the simulated street: parked cars, traffic both ways, people on the pavements and on the crossing, cyclists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from sam4d.geometry import SE3
from sam4d.simulation.actors import Actor, car, cyclist, pedestrian, truck, truck_with_trailer, van
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


def add_traffic(street: Street, random: Generator, traffic: Sequence[Actor], *, groups: bool, trailers: bool) -> list[Actor]:
    """Who makes it harder to tell one object from another; nobody is put where somebody else is."""
    added: list[Actor] = []
    if trailers:
        pose = _along(street, float(random.uniform(43, 45)), street.lane_m, -float(random.uniform(6.5, 7)))
        added.append(Actor("Truck", pose, _still(truck_with_trailer(random))))
    if groups:
        for actor in (*_groups(street, random), *_beside_cars(street, random)):
            if _is_free(actor, [*traffic, *added]):
                added.append(actor)
    return added


def _groups(street: Street, random: Generator) -> list[Actor]:
    """Three or four people who walk together, an arm's length apart."""
    actors = []
    for side in (-1, 1):
        for station in (float(random.uniform(9, 14)), float(random.uniform(20, 32))):
            speed = float(random.uniform(0.9, 1.3)) * (1 if random.random() < 0.5 else -1)
            for k in range(int(random.integers(3, 5))):
                along, across = 0.75 * (k // 2) + float(random.uniform(-0.05, 0.05)), 0.62 * (k % 2)
                lateral = side * (street.half_width_m + 1.5 + across)
                actors.append(Actor("Pedestrian", _along(street, station + along, lateral, speed, True), pedestrian(random, abs(speed))))
    return actors


def _beside_cars(street: Street, random: Generator) -> list[Actor]:
    """People at the doors of parked cars, a hand's breadth away from them."""
    actors = []
    for side in (-1, 1):
        for station in random.uniform(4, 40, 4):
            place = street.upright(float(station), side * (street.half_width_m - 2.5), float(random.uniform(-np.pi, np.pi)))
            actors.append(Actor("Pedestrian", lambda _time_s, place=place: place, pedestrian(random, 0.0)))  # type: ignore[misc]
    return actors


def _is_free(actor: Actor, others: Sequence[Actor]) -> bool:
    """Whether nobody on foot or on a bicycle comes within half a metre in the first two seconds; cars keep to places of their own."""
    slim = [other for other in others if other.label in ("Pedestrian", "Cyclist")]
    for time_s in (0.0, 0.5, 1.0, 1.5, 2.0):
        place = actor.pose(time_s).translation_m[:2]
        for other in slim:
            room_m = 1.4 if other.label == "Cyclist" else 0.55
            if float(np.hypot(*(other.pose(time_s).translation_m[:2] - place))) < room_m:
                return False
    return True


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
