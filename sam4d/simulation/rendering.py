"""From what a camera's rays meet to its image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from sam4d.geometry import SE3
from sam4d.simulation.light import HAZE_COLOUR, Light, clouds, sky
from sam4d.simulation.ray_casting import GROUND, Hits, RayGrid, Scene
from sam4d.simulation.solids import Floats
from sam4d.simulation.street import Street
from sam4d.simulation.surfaces import appearance, visible_rays
from sam4d.structures import Float32Array, UInt8Array

SUN_COLOUR = (1.75, 1.6, 1.36)
SKY_LIGHT = (0.40, 0.48, 0.60)
BOUNCED_LIGHT = (0.24, 0.22, 0.19)
HAZE_DISTANCE_M = 700.0
EXPOSURE = 0.82


def _tone(light: Floats) -> Float32Array:
    """Linear light -> display values from 0 to 255: a film's curve, with a little less colour than paint has."""
    steps = np.linspace(0, 2, 4096) ** 2
    curve = np.clip(steps * (2.51 * steps + 0.03) / (steps * (2.43 * steps + 0.59) + 0.14), 0, 1) ** (1 / 2.2)
    table = (255 * curve).astype(np.float32)
    grey = light.mean(axis=2, dtype=np.float32, keepdims=True)
    vivid = np.maximum(grey + np.float32(0.92) * (light - grey), 0)
    return np.asarray(table[np.minimum(np.sqrt(vivid * np.float32(EXPOSURE)) * np.float32(4095 / 2), 4095).astype(np.int32)])


def render(hits: Hits, grid: RayGrid, scene: Scene, street: Street, world_SE3_frame: SE3, light: Light, random: Generator) -> UInt8Array:
    """The image, uint8 (H, W, 3), RGB."""
    directions = world_SE3_frame.rotation.astype(np.float32) @ grid.directions.reshape(3, -1)
    radiance = np.empty_like(directions)
    rays, empty = visible_rays(hits), np.flatnonzero(~hits.found)
    above = sky(directions[:, empty], light.sun.direction)
    cover = clouds(directions[:, empty], 11)
    radiance[:, empty] = above + (np.array([[0.92], [0.93], [0.95]], np.float32) - above) * cover

    seen = appearance(hits, rays, grid, scene, street, world_SE3_frame)
    along = directions[:, rays]
    lit = light.direct(seen.points, seen.normals)
    upward = 0.5 + 0.5 * seen.normals[2]
    ambient = np.array(SKY_LIGHT, np.float32)[:, None] * upward + np.array(BOUNCED_LIGHT, np.float32)[:, None] * (1 - upward)
    ground = slice(np.count_nonzero(hits.solid == GROUND))
    ambient[:, ground] *= light.contact.open_sky(seen.points[:2, ground])
    colour = seen.colour * (ambient + np.array(SUN_COLOUR, np.float32)[:, None] * lit)

    shiny = np.flatnonzero(seen.gloss > 0.04)
    if len(shiny):
        inward, normals = along[:, shiny], seen.normals[:, shiny]
        cosine = (inward * normals).sum(axis=0)
        mirrored = inward - 2 * cosine * normals
        fresnel = seen.gloss[shiny] * (0.10 + 0.90 * (1 - np.minimum(np.abs(cosine), 1)) ** 4)
        reflected = np.where(mirrored[2] > 0.0, sky(mirrored, light.sun.direction), np.float32(0.16))
        # Walls hide most of the low sky.
        reflected *= np.clip(0.35 + 1.3 * mirrored[2], 0.3, 1.0)
        highlight = np.clip(light.sun.direction.astype(np.float32) @ mirrored, 0, 1) ** 90 * (lit[shiny] > 0) * 2.5 * seen.gloss[shiny]
        colour[:, shiny] = colour[:, shiny] * (1 - fresnel) + reflected * fresnel + highlight

    distance = hits.range_m.reshape(-1)[rays]
    haze = 1 - np.exp(-distance / np.float32(HAZE_DISTANCE_M))
    radiance[:, rays] = colour + (np.array(HAZE_COLOUR, np.float32)[:, None] - colour) * haze
    image = np.ascontiguousarray(grid.whole(radiance.reshape(3, *hits.range_m.shape)).transpose(1, 2, 0))
    # One ray per pixel leaves stairs at edges: a lens is never quite that sharp.
    image = _tone(cv2.GaussianBlur(image, (3, 3), 0.55).astype(np.float32, copy=False))
    grain = 2.0 * random.standard_normal(image.shape[:2], dtype=np.float32)
    image += grain[..., None]
    image += 1.2 * random.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + np.float32(0.5), 0, 255, out=image).astype(np.uint8)
