"""What moves in the simulated street, and what could: cars, trucks, pedestrians, cyclists, each built of several solids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from sam4d.geometry import SE3, Float64Array
from sam4d.simulation import patterns
from sam4d.simulation.patterns import GLASS, STEEL, TRIM, TYRE
from sam4d.simulation.solids import Colour, Cylinder, Pattern, Ring, Solid, box, ellipsoid, layered, limb, polyhedron, rod, uniform

PAINTS: tuple[Colour, ...] = (
    (0.62, 0.63, 0.64),
    (0.36, 0.38, 0.40),
    (0.035, 0.037, 0.042),
    (0.12, 0.13, 0.14),
    (0.42, 0.028, 0.024),
    (0.025, 0.075, 0.26),
    (0.05, 0.15, 0.12),
    (0.48, 0.42, 0.30),
    (0.09, 0.25, 0.38),
)
CLOTHES: tuple[Colour, ...] = (
    (0.35, 0.05, 0.05),
    (0.05, 0.12, 0.33),
    (0.55, 0.53, 0.48),
    (0.05, 0.22, 0.12),
    (0.62, 0.42, 0.06),
    (0.04, 0.04, 0.05),
    (0.33, 0.12, 0.30),
)
TROUSERS: tuple[Colour, ...] = ((0.03, 0.04, 0.09), (0.05, 0.05, 0.05), (0.16, 0.13, 0.09), (0.09, 0.11, 0.15))
SKINS: tuple[Colour, ...] = ((0.55, 0.35, 0.25), (0.32, 0.19, 0.12), (0.13, 0.075, 0.05))


@dataclass(frozen=True)
class Actor:
    """An object that is labelled.

    pose: time in seconds -> world_SE3_object; the object's x points ahead, z up, its origin is on the ground.
    solids: time in seconds -> its parts then.
    """

    label: str
    pose: Callable[[float], SE3]
    solids: Callable[[float], tuple[Solid, ...]]


def _wheels(axles_m: tuple[float, ...], track_m: float, radius_m: float, width_m: float) -> list[Solid]:
    """Wheels and the dark arches they stand in; `track_m` is measured between the wheels' outer faces."""
    quarter_turn = SE3(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), np.zeros(3))
    solids = []
    for x in axles_m:
        for side in (-1, 1):
            center = np.array([x, side * (track_m - width_m) / 2, radius_m])
            upright = SE3(quarter_turn.rotation, center)
            solids.append(Solid(Cylinder(radius_m, radius_m, width_m / 2), upright, patterns.wheel(radius_m)))
            arch = SE3(quarter_turn.rotation, center + np.array([0, -side * 0.012, 0.03]))
            solids.append(Solid(Cylinder(radius_m + 0.06, radius_m + 0.03, width_m / 2), arch, TRIM))
    return solids


def _hull(profile: list[tuple[float, float, float]], pattern: Pattern) -> Solid:
    """A body from its side view: (x, z, half width) of each corner."""
    return polyhedron(np.array([[x, side * half, z] for x, z, half in profile for side in (-1, 1)]), pattern)


def car(random: Generator) -> tuple[Solid, ...]:
    """A saloon, an estate or a small sports utility vehicle."""
    colour = PAINTS[int(random.integers(len(PAINTS)))]
    estate = random.random() < 0.45
    tall = 1.08 if random.random() < 0.35 else 1.0
    length, width, height = float(random.uniform(4.2, 4.8)), float(random.uniform(1.76, 1.88)), float(random.uniform(1.44, 1.52)) * tall
    front, side, belt, sill = length / 2, width / 2, 0.62 * height, 0.2
    axle = 0.295 * length
    seams = (0.17 * length, -0.03 * length, -0.235 * length)
    body = _hull(
        [
            (-front + 0.10, sill + 0.08, 0.82 * side),
            (-front, 0.46, 0.84 * side),
            (-front + 0.03, belt - 0.14, 0.84 * side),
            (-front + 0.14, belt, 0.82 * side),
            (-front + 0.42, 0.48, 0.99 * side),
            (-front + 0.55, sill, 0.97 * side),
            (-front + 0.6, 0.62, side),
            (-front + 0.5, belt - 0.02, 0.92 * side),
            (front - 0.62, 0.58, side),
            (front - 0.6, sill, 0.97 * side),
            (front - 0.34, 0.5, 0.95 * side),
            (front - 0.07, sill + 0.05, 0.74 * side),
            (front, 0.46, 0.72 * side),
            (front - 0.03, 0.68 * tall, 0.72 * side),
            (front - 0.16, 0.78 * tall, 0.72 * side),
            (front - 0.42, 0.76 * tall, 0.92 * side),
            (0.2 * length, belt, 0.88 * side),
            (-0.1 * length, belt + 0.01, 0.93 * side),
        ],
        patterns.car_body(colour, length, width, (0.585 * tall, 0.71 * tall), (belt - 0.24, belt - 0.08), seams),
    )
    rear_foot, rear_roof = (-0.475 * length, -0.40 * length) if estate else (-0.43 * length, -0.27 * length)
    roof = _hull(
        [
            (0.235 * length, belt - 0.02, 0.84 * side),
            (0.055 * length, height - 0.02, 0.66 * side),
            (-0.02 * length, height, 0.62 * side),
            (rear_roof + 0.1, height - 0.01, 0.63 * side),
            (rear_roof, height - 0.05, 0.64 * side),
            (rear_foot, belt - 0.02, 0.84 * side),
        ],
        patterns.cabin(colour, belt, height, (-0.045 * length, -0.25 * length, 0.145 * length)),
    )
    paint = uniform(colour, reflectance=0.4, gloss=0.22)
    mirrors = [ellipsoid((0.15 * length, s * (side - 0.02), belt + 0.08), (0.07, 0.09, 0.06), paint) for s in (-1, 1)]
    radius = 0.325 * (1.06 if tall > 1 else 1.0)
    return (body, roof, *mirrors, *_wheels((axle, -axle), width, radius, 0.21))


def van(random: Generator) -> tuple[Solid, ...]:
    """A delivery van."""
    colour = ((0.66, 0.66, 0.64), (0.06, 0.16, 0.36), (0.60, 0.36, 0.05))[int(random.integers(3))]
    length, width, height = float(random.uniform(5.2, 5.8)), 2.0, float(random.uniform(2.15, 2.4))
    front, side = length / 2, width / 2
    paint = patterns.car_body(colour, length, width, (0.72, 0.9), (0.75, 1.1), (0.32 * length, 0.14 * length, -0.12 * length))
    windows = layered(
        paint,
        (lambda p: (p[2] > 1.22) & (p[2] < height - 0.28) & (p[0] > 0.17 * length) & (np.abs(p[0] - 0.31 * length) > 0.03), GLASS),
        (lambda p: (p[0] < -front + 0.12) & (np.abs(np.abs(p[1]) - 0.36) < 0.28) & (p[2] > 1.3) & (p[2] < height - 0.35), GLASS),
    )
    body = _hull(
        [
            (-front, 0.34, 0.95 * side),
            (-front + 0.02, height - 0.1, 0.88 * side),
            (-front + 0.12, height, 0.82 * side),
            (0.17 * length, height, 0.82 * side),
            (0.23 * length, height - 0.1, 0.84 * side),
            (0.385 * length, 1.18, 0.92 * side),
            (front - 0.08, 0.98, 0.88 * side),
            (front, 0.55, 0.86 * side),
            (front - 0.1, 0.28, 0.86 * side),
            (0.3 * length, 0.28, side),
            (-0.45 * length, 0.28, side),
            (0.3 * length, 1.1, side),
            (-0.45 * length, 1.1, side),
        ],
        windows,
    )
    mirrors = [box((0.27 * length, s * (side + 0.06), 1.35), (0.12, 0.16, 0.26), TRIM) for s in (-1, 1)]
    return (body, *mirrors, *_wheels((0.31 * length, -0.31 * length), width, 0.36, 0.24))


def truck(random: Generator) -> tuple[Solid, ...]:
    """A box truck: cab, chassis, cargo box, three axles."""
    colour = ((0.5, 0.05, 0.04), (0.05, 0.12, 0.34), (0.60, 0.60, 0.58))[int(random.integers(3))]
    stripe = ((0.05, 0.2, 0.45), (0.5, 0.2, 0.02), (0.05, 0.3, 0.15))[int(random.integers(3))]
    length, width, height = float(random.uniform(7.2, 8.2)), 2.45, float(random.uniform(3.3, 3.6))
    front, side = length / 2, width / 2
    cab_height = 2.65
    cab = _hull(
        [
            (front - 1.85, 0.5, side - 0.1),
            (front - 0.03, 0.5, side - 0.12),
            (front, 1.3, side - 0.12),
            (front - 0.32, cab_height - 0.1, side - 0.22),
            (front - 0.5, cab_height, side - 0.26),
            (front - 1.85, cab_height, side - 0.22),
            (front - 1.85, 1.3, side - 0.08),
            (front - 0.6, 1.3, side - 0.08),
        ],
        layered(
            patterns.car_body(colour, length, width, (0.72, 0.9), (0.9, 0.92), (front - 0.55, front - 1.55)),
            (
                lambda p: (p[2] > 1.45) & (p[2] < cab_height - 0.32) & (p[0] > front - 1.45) & (np.abs(p[0] - front + 0.42) > 0.05),
                GLASS,
            ),
        ),
    )
    panel = layered(
        uniform((0.62, 0.62, 0.6), reflectance=0.5, gloss=0.06),
        (lambda p: np.abs(p[2] + 0.2) < 0.28, uniform(stripe, reflectance=0.4, gloss=0.06)),
        (lambda p: (np.abs(p[1]) < 0.02) & (np.abs(p[2]) < 1.15), TRIM),
        (lambda p: np.mod(p[0], 1.2) < 0.02, uniform((0.42, 0.42, 0.41), reflectance=0.4)),
    )
    cargo_length = length - 2.05
    cargo = box((-front + cargo_length / 2, 0, (0.95 + height) / 2), (cargo_length, width, height - 0.95), panel)
    chassis = box((-0.2, 0, 0.72), (length - 1.2, 1.0, 0.3), TRIM)
    bumper = box((-front + 0.08, 0, 0.55), (0.12, width - 0.1, 0.16), TRIM)
    lamps = [box((-front + 0.01, s * (side - 0.25), 0.68), (0.06, 0.35, 0.12), patterns.TAIL_LIGHT) for s in (-1, 1)]
    mirrors = [box((front - 0.3, s * (side + 0.05), 1.85), (0.1, 0.14, 0.42), TRIM) for s in (-1, 1)]
    axles = (front - 1.05, -front + 2.6, -front + 1.5)
    return (cab, cargo, chassis, bumper, *lamps, *mirrors, *_wheels(axles, width - 0.06, 0.46, 0.3))


def truck_with_trailer(random: Generator) -> tuple[Solid, ...]:
    """A box truck that draws a trailer on a bar."""
    ahead_m = 4.2
    drawing = [replace(solid, object_SE3_solid=SE3.from_yaw(0.0, [ahead_m, 0.0, 0.0]) @ solid.object_SE3_solid) for solid in truck(random)]
    length, width, height = float(random.uniform(5.5, 6.5)), 2.45, float(random.uniform(3.2, 3.5))
    panel = uniform((0.58, 0.58, 0.55), reflectance=0.5, gloss=0.06)
    middle = -0.9 - length / 2
    load = box((middle, 0, (0.95 + height) / 2), (length, width, height - 0.95), panel)
    chassis = box((middle, 0, 0.75), (length - 0.6, 1.0, 0.3), TRIM)
    bar = rod((-1.2, 0, 0.7), (0.6, 0, 0.7), 0.07, TRIM)
    return (*drawing, load, chassis, bar, *_wheels((middle + 0.7, middle - 0.7), width - 0.06, 0.46, 0.3))


def pedestrian(random: Generator, stride_m_s: float) -> Callable[[float], tuple[Solid, ...]]:
    """Somebody on foot, swinging arms and legs when walking."""
    tall = float(random.uniform(0.9, 1.06))
    jacket = uniform(CLOTHES[int(random.integers(len(CLOTHES)))], reflectance=0.35)
    trousers = uniform(TROUSERS[int(random.integers(len(TROUSERS)))], reflectance=0.25)
    skin = uniform(SKINS[int(random.integers(len(SKINS)))], reflectance=0.4)
    hair = uniform(((0.02, 0.015, 0.01), (0.12, 0.07, 0.03), (0.3, 0.25, 0.2))[int(random.integers(3))], reflectance=0.1)
    phase = float(random.uniform(0, 2 * np.pi))
    bag = random.random() < 0.4
    swing_most = 0.42 * min(stride_m_s, 1.5) / 1.4

    def solids(time_s: float) -> tuple[Solid, ...]:
        swing = swing_most * np.sin(phase + 2 * np.pi * 0.9 * time_s) if stride_m_s else 0.06
        parts = []
        hip, shoulder = 0.92 * tall, 1.42 * tall
        for side, lean in ((-1, swing), (1, -swing)):
            y = 0.095 * side * tall
            knee = (0.46 * np.sin(lean) * tall + 0.02, y, hip - 0.45 * np.cos(lean) * tall)
            trail = lean - (0.5 * max(-lean, 0.0) + 0.05)
            foot = (knee[0] + 0.42 * np.sin(trail) * tall, y, max(knee[2] - 0.42 * np.cos(trail) * tall, 0.08))
            parts.append(limb((0, y, hip), knee, 0.092 * tall, trousers))
            parts.append(limb(knee, foot, 0.068 * tall, trousers))
            parts.append(ellipsoid((foot[0] + 0.06, y, foot[2] - 0.025), (0.14, 0.055, 0.05), TYRE))
            elbow = (0.3 * np.sin(-lean) * tall, 0.235 * side * tall, shoulder - 0.28 * np.cos(lean) * tall)
            hand = (elbow[0] + 0.12 + 0.1 * np.sin(-lean), 0.23 * side * tall, elbow[2] - 0.22 * tall)
            parts.append(limb((0, 0.2 * side * tall, shoulder), elbow, 0.062 * tall, jacket))
            parts.append(limb(elbow, hand, 0.05 * tall, jacket))
            parts.append(ellipsoid(hand, (0.05, 0.035, 0.07), skin))
        parts.append(ellipsoid((0, 0, 1.2 * tall), (0.135 * tall, 0.21 * tall, 0.33 * tall), jacket))
        parts.append(ellipsoid((0, 0, 0.97 * tall), (0.125 * tall, 0.175 * tall, 0.14 * tall), trousers))
        parts.append(rod((0, 0, 1.45 * tall), (0.01, 0, 1.56 * tall), 0.055, skin))
        parts.append(ellipsoid((0.02, 0, 1.64 * tall), (0.1, 0.08, 0.125), skin))
        parts.append(ellipsoid((-0.005, 0, 1.67 * tall), (0.105, 0.088, 0.115), hair))
        if bag:
            parts.append(ellipsoid((-0.19, 0, 1.24 * tall), (0.11, 0.15, 0.23), uniform((0.08, 0.09, 0.1), reflectance=0.2)))
        return tuple(parts)

    return solids


def cyclist(random: Generator) -> Callable[[float], tuple[Solid, ...]]:
    """A bicycle with its rider, pedalling."""
    jersey = uniform(CLOTHES[int(random.integers(len(CLOTHES)))], reflectance=0.5)
    trousers = uniform(TROUSERS[int(random.integers(len(TROUSERS)))], reflectance=0.25)
    skin = uniform(SKINS[int(random.integers(len(SKINS)))], reflectance=0.4)
    frame = uniform(PAINTS[int(random.integers(len(PAINTS)))], reflectance=0.4, gloss=0.2)
    helmet = uniform(((0.6, 0.6, 0.6), (0.5, 0.06, 0.04), (0.05, 0.05, 0.06))[int(random.integers(3))], reflectance=0.6, gloss=0.2)
    phase = float(random.uniform(0, 2 * np.pi))
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

    def solids(time_s: float) -> tuple[Solid, ...]:
        radius, wheelbase = 0.34, 1.04
        crank, seat, head, bar = (-0.06, 0, 0.3), (-0.24, 0, 0.93), (0.36, 0, 0.88), (0.4, 0, 1.02)
        parts = []
        for x in (-wheelbase / 2, wheelbase / 2):
            place = SE3(upright, np.array([x, 0, radius]))
            parts.append(Solid(Ring(radius - 0.045, radius, 0.018), place, TYRE))
            parts.append(Solid(Cylinder(0.04, 0.04, 0.03), place, STEEL))
        rear, ahead = (-wheelbase / 2, 0, radius), (wheelbase / 2, 0, radius)
        for start, end in ((crank, seat), (crank, head), (seat, head), (rear, crank), (rear, seat), (head, ahead), (head, bar)):
            parts.append(rod(start, end, 0.018, frame))
        parts.append(rod((0.4, -0.27, 1.03), (0.4, 0.27, 1.03), 0.014, TRIM))
        parts.append(ellipsoid((-0.26, 0, 0.97), (0.13, 0.075, 0.035), TRIM))
        turn = phase + 2 * np.pi * 1.1 * time_s
        hip, shoulder = np.array([-0.2, 0, 1.02]), np.array([0.14, 0, 1.45])
        for side in (-1, 1):
            angle = turn + side * np.pi / 2
            pedal = np.array([crank[0] + 0.165 * np.cos(angle), 0.12 * side, crank[2] + 0.165 * np.sin(angle)])
            ankle = pedal + np.array([-0.06, 0, 0.09])
            joint = hip + np.array([0, 0.1 * side, 0])
            knee = _knee(joint, ankle, 0.45, 0.43)
            parts.append(limb(joint.tolist(), knee.tolist(), 0.085, trousers))
            parts.append(limb(knee.tolist(), ankle.tolist(), 0.06, trousers))
            parts.append(ellipsoid((pedal + np.array([0.02, 0, 0.03])).tolist(), (0.13, 0.045, 0.045), TYRE))
            arm = shoulder + np.array([0.0, 0.19 * side, -0.02])
            elbow, hand = np.array([0.24, 0.25 * side, 1.2]), np.array([0.4, 0.23 * side, 1.06])
            parts.append(limb(arm.tolist(), elbow.tolist(), 0.055, jersey))
            parts.append(limb(elbow.tolist(), hand.tolist(), 0.042, skin))
        parts.append(limb(hip.tolist(), shoulder.tolist(), 0.165, jersey))
        parts.append(ellipsoid((0.12, 0, 1.42), (0.12, 0.2, 0.11), jersey))
        parts.append(ellipsoid((0.25, 0, 1.63), (0.1, 0.08, 0.12), skin))
        parts.append(ellipsoid((0.235, 0, 1.69), (0.145, 0.1, 0.095), helmet))
        return tuple(parts)

    return solids


def _knee(hip: Float64Array, ankle: Float64Array, thigh_m: float, shin_m: float) -> Float64Array:
    """Where the knee is, bent forward, so that thigh and shin have their lengths."""
    reach = ankle - hip
    distance = min(float(np.linalg.norm(reach)), thigh_m + shin_m - 1e-3)
    along = (distance**2 + thigh_m**2 - shin_m**2) / (2 * distance)
    out = np.sqrt(max(thigh_m**2 - along**2, 0.0))
    unit = reach / np.linalg.norm(reach)
    forward = np.array([1.0, 0.0, 0.0]) - unit * unit[0]
    forward /= np.linalg.norm(forward)
    return np.asarray(hip + along * unit + out * forward)
