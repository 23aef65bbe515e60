"""The picture of docs/data_engine.md, made from the synthetic drive: `python docs/make_data_engine_pictures.py`."""

from __future__ import annotations

import argparse
import colorsys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam4d.data_engine.bodies import Body
from sam4d.data_engine.fusion import FusedObject, count_votes, fuse
from sam4d.data_engine.reconstruction import Reconstruction, reconstruct
from sam4d.data_engine.transfer import masklets_of
from sam4d.predictor import build_predictor
from sam4d.proposals import propose_masklets
from sam4d.simulation import simulate_drive
from sam4d.simulation.worn_masklets import WornMasklets
from sam4d.structures import Clip, Masklet, UInt8Array

LABELS = ("Car", "Truck", "Pedestrian", "Cyclist", "Object")
SIDE_PX = 600
METRES_PER_PIXEL = 0.13
BACKGROUND = (24, 26, 30)
GREY = (120, 124, 132)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--frame", type=int, default=6)
    parser.add_argument("--camera", default="front")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "data_engine.png")
    arguments = parser.parse_args()
    drive = simulate_drive(arguments.seed, arguments.frames)
    clip, source, predictor = drive.clip, WornMasklets(drive), build_predictor("geometric")
    found = propose_masklets(predictor.open(clip), LABELS, None, 150)
    scene = reconstruct(clip, [Body.of(masklet) for masklet in found])
    objects = fuse(scene, source, count_votes(scene, source, found))
    masklets = masklets_of(objects, scene, source, predictor.open(clip))
    frame, camera = arguments.frame, arguments.camera
    image = clip.frames[frame].load_images[camera]()
    tracks = source.tracks_in(frame, camera)
    number = {track: index for index, fused in enumerate(objects) for sensor, track in fused.tracks if sensor == camera}
    given = [(tracks == track, number.get(int(track), 7)) for track in np.unique(tracks) if track]
    made = [
        (masklet.masks[frame].camera_masks[camera], index)
        for index, masklet in enumerate(masklets)
        if frame in masklet.masks and camera in masklet.masks[frame].camera_masks
    ]
    panels = [
        titled(all_sweeps(clip, frame), "all sweeps, one upon the other"),
        titled(from_above(scene, frame, []), "the scene and what moves in it, without trails"),
        titled(from_above(scene, frame, objects), "voxels by object, after the votes"),
        titled(wide(painted(image, given)), f"given: a fifth missing, the others worn (frame {frame})"),
        titled(wide(painted(image, made)), "made: masks that agree with the points"),
        titled(points_from_above(clip, masklets, frame), "the points of this one sweep"),
    ]
    picture = np.vstack([np.hstack(panels[:3]), np.hstack(panels[3:])])
    Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE).save(arguments.output, optimize=True)
    print(f"{arguments.output}: {len(objects)} objects, {arguments.output.stat().st_size // 1000} kB")


def colour(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.75, 1.0)
    return int(red * 255), int(green * 255), int(blue * 255)


def dots(points_m: NDArray[np.floating], colours: NDArray[np.uint8]) -> UInt8Array:
    """Seen from above, the vehicle in the middle, forwards up; later ones upon earlier ones."""
    canvas = np.full((SIDE_PX, SIDE_PX, 3), BACKGROUND, dtype=np.uint8)
    rows = (SIDE_PX * 0.75 - points_m[:, 0] / METRES_PER_PIXEL).astype(int)
    columns = (SIDE_PX / 2 - points_m[:, 1] / METRES_PER_PIXEL).astype(int)
    inside = (rows >= 0) & (rows < SIDE_PX) & (columns >= 0) & (columns < SIDE_PX)
    canvas[rows[inside], columns[inside]] = colours[inside]
    return canvas


def all_sweeps(clip: Clip, frame: int) -> UInt8Array:
    points = [clip.lidar_SE3_lidar(frame, other).apply(each.load_sweep().points_m[::3]) for other, each in enumerate(clip.frames)]
    points_m = np.concatenate(points)
    points_m = points_m[np.isfinite(points_m).all(axis=1) & (points_m[:, 2] > -1.4)]
    return dots(points_m, np.full((len(points_m), 3), GREY, dtype=np.uint8))


def from_above(scene: Reconstruction, frame: int, objects: list[FusedObject]) -> UInt8Array:
    voxels, places_m = scene.places_at(frame)
    colours = np.full((len(scene), 3), GREY, dtype=np.uint8)
    for index in range(1, len(scene.starts) - 1):
        colours[scene.part(index)] = (230, 230, 230)
    owned = np.zeros(len(scene), dtype=np.bool_)
    for index, fused in enumerate(objects):
        colours[fused.voxels], owned[fused.voxels] = colour(index), True
    standing = ~scene.is_ground[voxels]
    order = np.argsort(owned[voxels[standing]], kind="stable")
    return dots(places_m[standing][order], colours[voxels[standing]][order])


def points_from_above(clip: Clip, masklets: list[Masklet], frame: int) -> UInt8Array:
    points_m = clip.frames[frame].load_sweep().points_m
    colours = np.full((len(points_m), 3), (70, 74, 82), dtype=np.uint8)
    owned = np.zeros(len(points_m), dtype=np.bool_)
    for index, masklet in enumerate(masklets):
        if frame in masklet.masks:
            mask = masklet.masks[frame].lidar_mask
            colours[mask], owned[mask] = colour(index), True
    order = np.argsort(owned, kind="stable")
    finite = np.isfinite(points_m[order]).all(axis=1)
    return dots(points_m[order][finite], colours[order][finite])


def painted(image: UInt8Array, masks: list[tuple[NDArray[np.bool_], int]]) -> UInt8Array:
    picture = image.copy()
    for mask, index in masks:
        picture[mask] = (0.45 * picture[mask] + 0.55 * np.array(colour(index))).astype(np.uint8)
    return picture


def wide(image: UInt8Array) -> UInt8Array:
    """The middle of an image, as large as the other panels."""
    height, width = image.shape[:2]
    left = (width - height) // 2
    return np.asarray(cv2.resize(image[:, left : left + height], (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def titled(panel: UInt8Array, title: str) -> UInt8Array:
    panel = panel.copy()
    panel[:28] = BACKGROUND
    cv2.putText(panel, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.52, (240, 240, 240), 1, cv2.LINE_AA)
    return np.pad(panel, ((0, 6), (0, 6), (0, 0)), constant_values=0)


if __name__ == "__main__":
    main()
