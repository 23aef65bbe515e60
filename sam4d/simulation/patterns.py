"""How the surfaces of the simulated street look: paint, glass, tyres, walls with windows, leaves, asphalt."""

from __future__ import annotations

import numpy as np

from sam4d.geometry import BoolArray
from sam4d.simulation.solids import Colour, Floats, Pattern, Surface, layered, noise, turned, uniform

GLASS = uniform((0.025, 0.035, 0.045), reflectance=0.06, gloss=0.75)
TYRE = uniform((0.012, 0.012, 0.013), reflectance=0.04)
RIM = uniform((0.42, 0.43, 0.45), reflectance=0.5, gloss=0.25)
TRIM = uniform((0.02, 0.02, 0.022), reflectance=0.05, gloss=0.05)
STEEL = uniform((0.23, 0.24, 0.25), reflectance=0.4, gloss=0.15)
HEADLIGHT = uniform((0.85, 0.87, 0.9), reflectance=0.9, gloss=0.5)
TAIL_LIGHT = uniform((0.5, 0.012, 0.01), reflectance=0.95, gloss=0.3)
PLATE = uniform((0.75, 0.76, 0.72), reflectance=1.0)
BARK = uniform((0.09, 0.06, 0.04), reflectance=0.25)


def wheel(radius_m: float) -> Pattern:
    """Tyre, rim with five spokes and hub; the axle along z."""

    def in_rim(points: Floats) -> BoolArray:
        radius = np.hypot(points[0], points[1])
        spoke = np.cos(5 * np.arctan2(points[1], points[0])) > -0.1
        rim = (radius < 0.66 * radius_m) & (spoke | (radius < 0.2 * radius_m) | (radius > 0.58 * radius_m))
        return np.asarray(rim, dtype=np.bool_)

    return layered(TYRE, (in_rim, RIM))


def car_body(
    colour: Colour,
    length_m: float,
    width_m: float,
    headlights_m: tuple[float, float],
    tail_lights_m: tuple[float, float],
    seams_m: tuple[float, ...],
) -> Pattern:
    """Paint with door seams and handles, dark sills, a grille, number plates and lamps. Points in the object's frame."""
    front, rear, side = length_m / 2, -length_m / 2, width_m / 2

    def between(points: Floats, heights_m: tuple[float, float]) -> BoolArray:
        return np.asarray((points[2] > heights_m[0]) & (points[2] < heights_m[1]), dtype=np.bool_)

    def headlight(points: Floats) -> BoolArray:
        return np.asarray((points[0] > front - 0.42) & (np.abs(points[1]) > 0.48 * side) & between(points, headlights_m), dtype=np.bool_)

    def tail_light(points: Floats) -> BoolArray:
        return np.asarray((points[0] < rear + 0.28) & (np.abs(points[1]) > 0.56 * side) & between(points, tail_lights_m), dtype=np.bool_)

    def grille(points: Floats) -> BoolArray:
        slats = np.mod(points[2], 0.06) > 0.018
        upper = between(points, (headlights_m[0] + 0.02, headlights_m[1] - 0.02)) & (np.abs(points[1]) < 0.44 * side)
        lower = between(points, (0.3, headlights_m[0] - 0.16)) & (np.abs(points[1]) < 0.6 * side)
        return np.asarray((points[0] > front - 0.15) & (upper | lower) & slats, dtype=np.bool_)

    def plate(points: Floats) -> BoolArray:
        ahead = (points[0] > front - 0.12) & between(points, (headlights_m[0] - 0.14, headlights_m[0] - 0.02))
        behind = (points[0] < rear + 0.12) & between(points, (tail_lights_m[0] - 0.16, tail_lights_m[0] - 0.04))
        return np.asarray((ahead | behind) & (np.abs(points[1]) < 0.26), dtype=np.bool_)

    def seam(points: Floats) -> BoolArray:
        at_seam = np.zeros(points.shape[1], np.bool_)
        for seam_m in seams_m:
            at_seam |= np.abs(points[0] - seam_m) < 0.01
        return np.asarray(at_seam & (np.abs(points[1]) > 0.8 * side) & (points[2] > 0.36), dtype=np.bool_)

    def handle(points: Floats) -> BoolArray:
        at_handle = np.zeros(points.shape[1], np.bool_)
        for seam_m in seams_m[1:]:
            at_handle |= np.abs(points[0] - seam_m - 0.16) < 0.09
        return np.asarray(
            at_handle & (np.abs(points[1]) > 0.8 * side) & (np.abs(points[2] - tail_lights_m[1] - 0.0) < 0.016), dtype=np.bool_
        )

    return layered(
        uniform(colour, reflectance=0.25 + 0.5 * max(colour), gloss=0.3),
        (lambda points: points[2] < 0.3, TRIM),
        (lambda points: (points[0] < rear + 0.12) & (points[2] < 0.42), TRIM),
        (grille, TRIM),
        (seam, TRIM),
        (handle, TRIM),
        (headlight, HEADLIGHT),
        (tail_light, TAIL_LIGHT),
        (plate, PLATE),
    )


def cabin(colour: Colour, belt_m: float, roof_m: float, pillars_m: tuple[float, ...]) -> Pattern:
    """Windows between pillars below a painted roof. Points in the object's frame."""

    def window(points: Floats) -> BoolArray:
        open_side = (points[2] > belt_m + 0.05) & (points[2] < roof_m - 0.07)
        for pillar_m in pillars_m:
            open_side &= np.abs(points[0] - pillar_m) > 0.035
        return np.asarray(open_side, dtype=np.bool_)

    return layered(uniform(colour, reflectance=0.25 + 0.5 * max(colour), gloss=0.3), (window, GLASS))


def wall(colour: Colour, storey_m: float, bay_m: float, base_m: float, shop: bool, salt: int) -> Pattern:
    """A facade: rows of windows with frames, a darker base, shops. Points about the building's centre, `base_m` above the pavement."""

    def rows(points: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        # The walls along the street run in x, the gables in y: both carry windows.
        along = np.where(np.abs(points[1]) > np.abs(points[0]) * 0.2, points[0], points[1])
        up = points[2] + base_m
        return np.mod(along, bay_m) - bay_m / 2, np.mod(up, storey_m) - storey_m / 2, np.floor(up / storey_m), np.floor(along / bay_m)

    def pane(points: Floats, grow_m: float = 0.0) -> BoolArray:
        across, up, storey, _ = rows(points)
        half_width = np.where((storey < 1) & shop, bay_m * 0.42, bay_m * 0.24) + grow_m
        half_height = np.where((storey < 1) & shop, storey_m * 0.36, storey_m * 0.29) + grow_m
        return np.asarray((np.abs(across) < half_width) & (np.abs(up + 0.1) < half_height), dtype=np.bool_)

    def bar(points: Floats) -> BoolArray:
        across, up, _, _ = rows(points)
        return np.asarray(pane(points) & ((np.abs(across) < 0.035) | (np.abs(up - 0.35) < 0.03)), dtype=np.bool_)

    def curtain(points: Floats) -> BoolArray:
        _, up, storey, bay = rows(points)
        drawn = noise(np.stack([storey, bay]), 1.0, salt)
        return np.asarray(pane(points) & (storey >= 1) & (up > 0.75 - 1.8 * np.maximum(drawn - 0.55, 0)) & (drawn > 0.55), dtype=np.bool_)

    dim = tuple(0.55 * value for value in colour)
    pale = (0.45, 0.44, 0.41)

    def plaster(points: Floats) -> Surface:
        surface = uniform(colour, reflectance=0.35)(points)
        grain = 0.93 + 0.08 * noise(points, 0.07, salt) + 0.06 * noise(points, 0.9, salt + 1)
        return Surface(surface.colour * grain, surface.reflectance, surface.gloss)

    return layered(
        plaster,
        (lambda points: points[2] + base_m < 0.7, uniform((dim[0], dim[1], dim[2]), reflectance=0.3)),
        (lambda points: np.abs(points[2] + base_m - storey_m - 0.05) < 0.16, uniform(pale, reflectance=0.4)),
        (lambda points: pane(points, 0.1), uniform(pale, reflectance=0.4)),
        (pane, GLASS),
        (curtain, uniform((0.32, 0.3, 0.27), reflectance=0.3)),
        (bar, uniform(pale, reflectance=0.4)),
    )


def leaves(colour: Colour, salt: int) -> Pattern:
    """Foliage: patches of light and dark green."""

    def pattern(points: Floats) -> Surface:
        askew = turned(points)
        patches = 0.4 + 0.3 * noise(askew, 0.06, salt) + 0.3 * noise(points, 0.3, salt + 1) + 0.3 * noise(turned(askew), 0.11, salt + 2)
        surface = uniform(colour, reflectance=0.35)(points)
        return Surface(surface.colour * patches, surface.reflectance, surface.gloss)

    return pattern


def brick(colour: Colour, salt: int) -> Pattern:
    """Courses of brick; points about the solid's centre."""

    def pattern(points: Floats) -> Surface:
        course = np.floor(points[2] / 0.08)
        along = points[0] + points[1] + 0.11 * np.mod(course, 2)
        tone = 0.8 + 0.35 * noise(np.stack([np.floor(along / 0.22), course]), 1.0, salt)
        joint = (np.mod(points[2], 0.08) < 0.012) | (np.mod(along, 0.22) < 0.012)
        surface = uniform(colour, reflectance=0.3)(points)
        return Surface(surface.colour * np.where(joint, 0.9, tone).astype(points.dtype), surface.reflectance, surface.gloss)

    return pattern
