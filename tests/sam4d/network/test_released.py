"""The session against what the released network's own session gives with known weights on real input, by way of the public interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.sequences import open_sequence
from sam4d import BoxPrompt, Clip, Frame, MaskPrompt, ObjectMasks, PointPrompt, Sweep
from sam4d.network.predictor import NetworkPredictor
from sam4d.predictor import Session
from tests.sam4d.modeling.reference import FIRST_FRAME, POINT_STRIDE, reference_arrays

CAMERA = "front"
CLICK, SECOND_CLICK, LIDAR_CLICK, IMAGE_BOX, LIDAR_BOX = 1, 1, 2, 3, 4

Arrays = Mapping[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def clip(shared_data: Path) -> Clip:
    """Three frames, one camera, every fourth point."""
    whole = open_sequence(shared_data / "pandaset_001").window(FIRST_FRAME, 3)

    def thinned(frame: Frame) -> Frame:
        def load_sweep() -> Sweep:
            return Sweep(frame.load_sweep().points_m[::POINT_STRIDE])

        return replace(frame, load_sweep=load_sweep, load_images={CAMERA: frame.load_images[CAMERA]})

    return replace(whole, cameras={CAMERA: whole.cameras[CAMERA]}, frames=tuple(thinned(frame) for frame in whole.frames))


@pytest.fixture(scope="module")
def expected() -> Arrays:
    return {**reference_arrays("reference.npz"), **reference_arrays("reference_prompts.npz")}


@pytest.fixture
def session(released: NetworkPredictor, clip: Clip) -> Session:
    return released.open(clip)


def assert_agrees(masks: ObjectMasks, expected: Arrays, key: str, *, tolerance: float = 1e-3, smallest_iou: float = 0.999) -> None:
    """Logits in units of their range; the masks by where the logits are positive."""
    assert masks.lidar_logits is not None
    for name, found in (("image_low_res_logits", masks.camera_logits[CAMERA]), ("lidar_point_logits", masks.lidar_logits)):
        wanted = expected[f"{key}/{name}"].astype(np.float32)
        error = float(np.abs(found - wanted).max() / (wanted.max() - wanted.min()))
        iou = float(((found > 0) & (wanted > 0)).sum() / max(1, ((found > 0) | (wanted > 0)).sum()))
        print(f"{key}/{name}: error {error:.2g} of the range, IoU {iou:.5f}")
        assert error <= tolerance, name
        assert iou >= smallest_iou, name
    assert np.array_equal(masks.lidar_mask, masks.lidar_logits > 0)


def assert_follows(masks: ObjectMasks, expected: Arrays, key: str) -> None:
    """Memories are rounded to bfloat16, which amplifies what differs in the last digits."""
    assert_agrees(masks, expected, key, tolerance=5e-3, smallest_iou=0.998)


def lidar_click(expected: Arrays) -> PointPrompt:
    return PointPrompt(LIDAR_CLICK, 0, "lidar", [expected["lidar_prompt_xyz"].astype(np.float64).tolist()], [1])


@pytest.mark.slow
def test_clicks_and_boxes_corrections_and_what_follows(session: Session, expected: Arrays) -> None:
    first = session.add_prompt(PointPrompt(CLICK, 0, CAMERA, [[900, 620]], [1]))
    assert_agrees(first, expected, "image_click/0")
    followed = {frame.frame_index: frame.objects[CLICK] for frame in session.propagate()}
    assert_agrees(followed[0], expected, "image_click/0")
    for frame_index in (1, 2):
        assert_follows(followed[frame_index], expected, f"image_click/{frame_index}")
    session.remove_object(CLICK)

    assert_agrees(session.add_prompt(lidar_click(expected)), expected, "lidar_click/0")
    assert_agrees(session.add_prompt(BoxPrompt(IMAGE_BOX, 0, CAMERA, [800, 520, 1100, 700])), expected, "image_box/0")
    assert_agrees(session.add_prompt(BoxPrompt(LIDAR_BOX, 0, "lidar", [0, 13, 4, 18])), expected, "lidar_box/0")
    frames = {frame.frame_index: frame for frame in session.propagate()}
    assert_follows(frames[2].objects[LIDAR_CLICK], expected, "lidar_click/2")
    assert_follows(frames[2].objects[LIDAR_BOX], expected, "lidar_box/2")

    corrected = session.add_prompt(PointPrompt(LIDAR_CLICK, 1, CAMERA, [[1000, 640]], [0]))
    assert_follows(corrected, expected, "correction/1")
    after = {frame.frame_index: frame for frame in session.propagate(1)}
    assert_follows(after[1].objects[LIDAR_CLICK], expected, "correction/1")
    assert_follows(after[2].objects[LIDAR_CLICK], expected, "after_correction/2")
    # Nobody corrected the other object: its answers stand, to the object.
    assert after[2].objects[LIDAR_BOX] is frames[2].objects[LIDAR_BOX]


@pytest.mark.slow
def test_a_second_click_on_the_frame_refines_the_first_answer(session: Session, expected: Arrays) -> None:
    session.add_prompt(PointPrompt(SECOND_CLICK, 0, CAMERA, [[900, 620]], [1]))
    second = session.add_prompt(PointPrompt(SECOND_CLICK, 0, CAMERA, [[1000, 650]], [0]))
    assert_agrees(second, expected, "second_click/0")


@pytest.mark.slow
def test_a_given_mask_is_followed_backwards(session: Session, clip: Clip, expected: Arrays) -> None:
    camera_mask = np.zeros((1080, 1920), dtype=np.bool_)
    camera_mask[520:700, 800:1100] = True
    lidar_mask = np.linalg.norm(clip.frames[2].load_sweep().points_m - np.array([2, 15, 0.8]), axis=1) < 3
    given = session.add_prompt([MaskPrompt(1, 2, CAMERA, camera_mask), MaskPrompt(1, 2, "lidar", lidar_mask)])
    assert_agrees(given, expected, "mask/2")
    followed = {frame.frame_index: frame.objects[1] for frame in session.propagate(2, reverse=True)}
    for frame_index in (1, 0):
        assert_follows(followed[frame_index], expected, f"mask_reverse/{frame_index}")
