"""The pictures of the README, made from the synthetic drive: `python docs/make_pictures.py` writes docs/images/labelled_frame.png.

Every mask, point and cuboid in it is what the engine gives for one click per object; `--truth` draws the exact labels instead.
"""

from __future__ import annotations

import argparse
import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sam4d
from converters.birds_eye import render_birds_eye
from sam4d.cuboids import fit_cuboids
from sam4d.geometry import BirdsEyeView
from sam4d.simulation import SyntheticDrive, simulate_drive
from sam4d.structures import Clip, Cuboid, Masklet, ObjectMasks, UInt8Array

WIDTH_PX, HEIGHT_PX = 1360, 850
GAP_PX = 8
BACKGROUND = (24, 26, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", action="store_true", help="draw the exact labels instead of the engine's answer to one click per object")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=5, help="length of the drive")
    parser.add_argument("--frame", type=int, default=2, help="the frame that is shown; clicks are made on frame 0")
    parser.add_argument("--objects", type=int, default=16, help="how many objects, those with the most points first")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "labelled_frame.png")
    arguments = parser.parse_args()
    drive = simulate_drive(arguments.seed, arguments.frames, image_size_px=(1280, 800))
    chosen = objects_with_most_points(drive, arguments.objects)
    masklets = chosen if arguments.truth else [one_click(drive.clip, masklet) for masklet in chosen]
    picture = labelled_frame(drive.clip, masklets, arguments.frame)
    arguments.output.parent.mkdir(exist_ok=True)
    save(picture, arguments.output)
    print(f"{arguments.output}: {len(masklets)} objects, {arguments.output.stat().st_size // 1000} kB")


def objects_with_most_points(drive: SyntheticDrive, count: int) -> list[Masklet]:
    """Objects that a camera shows well on frame 0, those with the most points first."""
    shown = [m for m in drive.masklets if 0 in m.masks and m.masks[0].lidar_mask.any() and _best_view(m.masks[0])[0] > 500]
    return sorted(shown, key=lambda masklet: -int(masklet.masks[0].lidar_mask.sum()))[:count]


def _best_view(masks: ObjectMasks) -> tuple[int, str]:
    """Area in pixels in the camera that shows the object largest, and that camera."""
    return max((int(mask.sum()), camera) for camera, mask in masks.camera_masks.items())


def one_click(clip: Clip, truth: Masklet) -> Masklet:
    """What the engine answers, over the clip, to one click in the middle of the object, in the camera that shows it largest."""
    _, camera = _best_view(truth.masks[0])
    depth = cv2.distanceTransform(np.pad(truth.masks[0].camera_masks[camera].astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    v, u = np.unravel_index(int(depth.argmax()), depth.shape)
    session = sam4d.build_predictor().open(clip)
    session.add_prompt(sam4d.PointPrompt(truth.object_id, 0, camera, [[float(u) + 0.5, float(v) + 0.5]], [1]))
    masks = {frame.frame_index: frame.objects[truth.object_id] for frame in session.propagate()}
    masklet = Masklet(truth.object_id, truth.label, masks)
    cuboids = {index: cuboid for index, cuboid in enumerate(fit_cuboids(masklet, clip)) if cuboid is not None}
    return Masklet(truth.object_id, truth.label, masks, cuboids)


def labelled_frame(clip: Clip, masklets: Sequence[Masklet], frame_index: int) -> UInt8Array:
    """The front camera above the two others, the bird's-eye view beside them, uint8 (H, W, 3), RGB."""
    colours = {masklet.object_id: _colour(rank) for rank, masklet in enumerate(masklets)}
    masks = {m.object_id: m.masks[frame_index] for m in masklets if frame_index in m.masks}
    cuboids = {m.object_id: m.cuboids[frame_index] for m in masklets if frame_index in m.cuboids}
    left_width = round((HEIGHT_PX - GAP_PX - GAP_PX / 2 * 0.625) / (0.625 * 1.5))
    half_width = (left_width - GAP_PX) // 2
    half_height = round(half_width * 0.625)
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), BACKGROUND, np.uint8)
    places = {
        "front": (0, 0, left_width, HEIGHT_PX - GAP_PX - half_height),
        "front_left": (0, HEIGHT_PX - half_height, half_width, half_height),
        "front_right": (left_width - half_width, HEIGHT_PX - half_height, half_width, half_height),
    }
    for name, (left, top, width, height) in places.items():
        image = camera_view(clip.frames[frame_index].load_images[name](), masks, name, colours)
        small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        picture[top : top + height, left : left + width] = _titled(small, name)
    view_width = WIDTH_PX - left_width - GAP_PX
    picture[:, -view_width:] = _titled(seen_from_above(clip, frame_index, masks, cuboids, colours, view_width), "LiDAR from above")
    return picture


def camera_view(
    image: UInt8Array, masks: Mapping[int, ObjectMasks], camera: str, colours: Mapping[int, tuple[int, int, int]]
) -> UInt8Array:
    """The image with every object's mask in its colour, outlined."""
    # The grain of the simulated sensor says nothing here and would treble the file.
    painted = cv2.bilateralFilter(image, 5, 18, 3).astype(np.float32)
    for object_id, object_masks in masks.items():
        mask = object_masks.camera_masks[camera]
        colour = np.array(colours[object_id], np.float32)
        painted[mask] = 0.55 * painted[mask] + 0.45 * colour
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(painted, outlines, -1, colours[object_id], 2, cv2.LINE_AA)
    return painted.astype(np.uint8)


def seen_from_above(
    clip: Clip,
    frame_index: int,
    masks: Mapping[int, ObjectMasks],
    cuboids: Mapping[int, Cuboid],
    colours: Mapping[int, tuple[int, int, int]],
    width_px: int,
) -> UInt8Array:
    """The sweep from above, forward up, points of objects in their colours, cuboids with their heading; the vehicle low in the picture."""
    sweep = clip.frames[frame_index].load_sweep()
    metres_per_pixel = 0.058
    view = BirdsEyeView(range_m=50.0, metres_per_pixel=metres_per_pixel, forward=clip.forward)
    # The colours of height give way to those of the objects.
    grey = render_birds_eye(sweep, view).mean(axis=2, keepdims=True) * 0.8
    canvas = np.ascontiguousarray(np.clip(grey + np.array(BACKGROUND), 0, 255).astype(np.uint8))
    for object_id, object_masks in masks.items():
        for u, v in view.to_pixels(sweep.points_m[object_masks.lidar_mask]).astype(int).tolist():
            cv2.circle(canvas, (u, v), 2, colours[object_id], -1, cv2.LINE_AA)
    for object_id, cuboid in cuboids.items():
        corners = view.to_pixels(cuboid.corners_m()[:4])
        cv2.polylines(canvas, [_subpixel(corners)], True, colours[object_id], 2, cv2.LINE_AA, 4)
        heading = np.stack([corners.mean(axis=0), corners[[0, 3]].mean(axis=0)])
        cv2.polylines(canvas, [_subpixel(heading)], False, colours[object_id], 2, cv2.LINE_AA, 4)
    middle = view.size_px // 2
    cv2.circle(canvas, (middle, middle), 7, (255, 255, 255), 2, cv2.LINE_AA)
    top = middle - round(HEIGHT_PX * 0.82)
    return np.ascontiguousarray(canvas[top : top + HEIGHT_PX, middle - width_px // 2 : middle - width_px // 2 + width_px])


def _subpixel(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(points * 16).astype(np.int32)


def _titled(image: UInt8Array, title: str) -> UInt8Array:
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(image, title, (12, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, width, cv2.LINE_AA)
    return image


def _colour(rank: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((0.08 + rank * 0.618034) % 1, 0.85 if rank % 2 else 0.65, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def save(picture: UInt8Array, path: Path) -> None:
    """As a PNG of 256 colours: a quarter of the size, and no difference to be seen."""
    Image.fromarray(picture).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
