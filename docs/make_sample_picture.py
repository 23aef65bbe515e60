"""The picture of docs/learning.md: a training sample before and after augmentation: `python docs/make_sample_picture.py`."""

from __future__ import annotations

import argparse
import colorsys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sam4d.simulation import simulate_drive
from sam4d.structures import LIDAR, BoxPrompt, PointPrompt, UInt8Array
from sam4d.training.augmentation import Augmentation, augment
from sam4d.training.prompt_sampling import AskingHabits, PromptPlan, sample_plans
from sam4d.training.synthetic_clips import labelled
from sam4d.training.windows import SHOWN_PIXELS, TrainingFrame, TrainingSample, TrainingWindow, read_window

CLICKS_AND_BOXES = AskingHabits(mask_share=0.0, box_share=0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "training_sample.png")
    arguments = parser.parse_args()
    clip = labelled(simulate_drive(arguments.seed, 1, camera_names=("front",), image_size_px=(640, 400)))
    areas = {masklet.object_id: int(masklet.masks[0].camera_masks["front"].sum()) for masklet in clip.masklets if 0 in masklet.masks}
    largest = sorted(areas, key=lambda object_id: -areas[object_id])[:6]
    sample = read_window(TrainingWindow(clip, "front", (0,), tuple(sorted(largest))))
    changed = augment(sample, Augmentation(np.deg2rad(14), True, 1.06, 1.02, 0.98, np.deg2rad(30), (0.3, -0.2, 0.05), 1.03, 0.15, 1))
    random = np.random.default_rng(arguments.seed)
    panels = [_panel(each, sample_plans(each, random, CLICKS_AND_BOXES)) for each in (sample, changed)]
    gap = np.full((panels[0].shape[0], 8, 3), 255, dtype=np.uint8)
    Image.fromarray(np.concatenate([panels[0], gap, panels[1]], axis=1)).quantize(128).save(arguments.output, optimize=True)


def _panel(sample: TrainingSample, plans: tuple[PromptPlan, ...]) -> UInt8Array:
    """Outlines of the truth, the objects' points where the calibration puts them, and what is asked: dots and boxes in white."""
    frame = sample.frames[0]
    picture = frame.image.copy()
    pixels, _, visible = frame.camera.project(frame.points_m)
    for index in range(len(sample.object_ids)):
        _draw_object(picture, frame, index, pixels[frame.lidar_truths[index] & visible])
    for plan in plans:
        for prompt in plan.prompts:
            if isinstance(prompt, BoxPrompt) and prompt.sensor != LIDAR:
                u0, v0, u1, v1 = (round(float(each)) for each in prompt.box)
                cv2.rectangle(picture, (u0, v0), (u1, v1), (255, 255, 255), 1, cv2.LINE_AA)
            elif isinstance(prompt, PointPrompt):
                places = np.asarray(prompt.coordinates)
                at = frame.camera.project(places)[0][0] if prompt.sensor == LIDAR else places[0]
                cv2.circle(picture, (round(float(at[0])), round(float(at[1]))), 5, (0, 0, 0), -1, cv2.LINE_AA)
                cv2.circle(picture, (round(float(at[0])), round(float(at[1]))), 4, (255, 255, 255), -1, cv2.LINE_AA)
    return picture


def _draw_object(picture: UInt8Array, frame: TrainingFrame, index: int, pixels: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    assert frame.camera_truths is not None
    colour = [int(255 * each) for each in colorsys.hsv_to_rgb((index * 0.61803) % 1, 0.85, 1.0)]
    if frame.camera_truths[index].sum() >= SHOWN_PIXELS:
        outlines, _ = cv2.findContours(frame.camera_truths[index].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour, 1, cv2.LINE_AA)
    for u, v in pixels[::2]:
        cv2.circle(picture, (int(u), int(v)), 1, colour, -1)


if __name__ == "__main__":
    main()
