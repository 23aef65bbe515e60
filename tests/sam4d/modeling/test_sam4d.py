"""The whole network: the released checkpoint's names, and what the released network computes with known weights on real input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from converters.sequences import open_sequence
from sam4d.modeling.encoded_frame import Decoded, EncodedFrame
from sam4d.modeling.memory import FrameMemory
from sam4d.modeling.memory_recall import recall
from sam4d.modeling.prompt_encoder import FIRST_CORNER, SECOND_CORNER, PromptPoints, SensorPoints
from sam4d.modeling.sam4d import Sam4D
from tests.sam4d.modeling.reference import FIRST_FRAME, POINT_STRIDE, reference_arrays, reference_weights, tensor_shapes

CAMERA = "front"
FRAMES = 3

Frames = Mapping[int, EncodedFrame]
Arrays = Mapping[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def model() -> Sam4D:
    model = Sam4D().eval()
    model.load_state_dict(reference_weights(model), strict=True)
    return model


@pytest.fixture(scope="module")
def frames(model: Sam4D, shared_data: Path) -> Frames:
    clip = open_sequence(shared_data / "pandaset_001")
    encoded = {}
    for index in range(FRAMES):
        frame = clip.frames[FIRST_FRAME + index]
        assert frame.world_SE3_lidar is not None
        with torch.inference_mode():
            encoded[index] = model.encode_frame(
                frame.load_images[CAMERA](),
                clip.cameras[CAMERA],
                frame.load_sweep().points_m[::POINT_STRIDE],
                frame.world_SE3_lidar,
            )
    return encoded


@pytest.fixture(scope="module")
def expected() -> Arrays:
    return {**reference_arrays("reference.npz"), **reference_arrays("reference_prompts.npz")}


def test_every_tensor_of_the_released_checkpoint_has_its_place() -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in Sam4D().state_dict().items()}
    theirs = tensor_shapes()
    assert len(theirs) == 904
    assert {name: ours.get(name) for name in theirs} == theirs
    assert set(ours) == set(theirs)


def assert_agrees(
    decoded: Decoded,
    expected: Arrays,
    key: str,
    *,
    logit_tolerance: float = 1e-3,
    pointer_tolerance: float = 1e-4,
    smallest_iou: float = 0.999,
) -> None:
    """Logits are compared in units of their range."""
    for name, found in (
        ("image_low_res_logits", decoded.camera_low_res_logits),
        ("lidar_low_res_logits", decoded.lidar_low_res_logits),
        ("lidar_point_logits", decoded.lidar_logits),
    ):
        wanted = torch.from_numpy(expected[f"{key}/{name}"].astype(np.float32))
        extent = float(wanted.max() - wanted.min())
        error = float((found[0] - wanted).abs().max()) / extent
        iou = float(((found[0] > 0) & (wanted > 0)).sum() / ((found[0] > 0) | (wanted > 0)).sum().clamp(min=1))
        print(f"{key}/{name}: error {error:.2g} of the range, IoU {iou:.5f}")
        assert error <= logit_tolerance, name
        assert iou >= smallest_iou, name
    for name, found in (("image_obj_ptr", decoded.camera_pointer), ("lidar_obj_ptr", decoded.lidar_pointer)):
        error = float(np.abs(found[0].numpy() - expected[f"{key}/{name}"]).max())
        print(f"{key}/{name}: error {error:.2g}")
        assert error <= pointer_tolerance, name
    scores = torch.from_numpy(expected[f"{key}/object_score_logits"].astype(np.float32))
    torch.testing.assert_close(decoded.object_score[0], scores, rtol=0, atol=logit_tolerance * 10)


def prompt(
    camera: Sequence[tuple[float, float]] = (), lidar: NDArray[np.floating] | None = None, labels: Sequence[int] = (1,)
) -> PromptPoints:
    """Points in one sensor, all others without."""
    numbers = np.asarray(labels, dtype=np.int64)
    if lidar is not None:
        return PromptPoints(lidar=SensorPoints(np.asarray(lidar, dtype=np.float64), numbers))
    return PromptPoints(camera=SensorPoints(np.asarray(camera, dtype=np.float64), numbers))


IMAGE_CLICK = prompt([(900, 620)])
IMAGE_BOX = prompt([(800, 520), (1100, 700)], labels=(FIRST_CORNER, SECOND_CORNER))
LIDAR_BOX = prompt(lidar=np.array([[0, 13, 0], [4, 18, 0]]), labels=(FIRST_CORNER, SECOND_CORNER))


def earlier_logits(earlier: Decoded | None) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    return (None, None) if earlier is None else (earlier.camera_low_res_logits, earlier.lidar_low_res_logits)


def first_answer(model: Sam4D, frame: EncodedFrame, points: PromptPoints, earlier: Decoded | None = None) -> Decoded:
    with torch.inference_mode():
        prompts = model.encode_prompts(frame, points, *earlier_logits(earlier))
        return model.decode(frame, model.begin(frame), prompts, ambiguous=points.is_ambiguous)


@pytest.mark.parametrize("key", ["image_click/0", "image_box/0", "lidar_click/0", "lidar_box/0"])
def test_a_first_prompt_gets_the_released_networks_answer(model: Sam4D, frames: Frames, expected: Arrays, key: str) -> None:
    lidar_click = prompt(lidar=expected["lidar_prompt_xyz"].astype(np.float64)[None])
    points = {"image_click/0": IMAGE_CLICK, "image_box/0": IMAGE_BOX, "lidar_click/0": lidar_click, "lidar_box/0": LIDAR_BOX}[key]
    assert_agrees(first_answer(model, frames[0], points), expected, key)


def test_a_second_click_refines_the_first_answer(model: Sam4D, frames: Frames, expected: Arrays) -> None:
    first = first_answer(model, frames[0], IMAGE_CLICK)
    assert_agrees(first_answer(model, frames[0], prompt([(900, 620), (1000, 650)], labels=(1, 0)), first), expected, "second_click/0")


def followed(
    model: Sam4D, frames: Frames, memories: dict[int, FrameMemory], frame_index: int, prompted: Collection[int], *, reverse: bool = False
) -> Decoded:
    """The objects on a frame without prompts, as their memories say; the frame is then remembered too."""
    with torch.inference_mode():
        frame = frames[frame_index]
        looked_at = recall(frame_index, prompted, set(memories) - set(prompted), len(frames), reverse=reverse)
        features = model.condition(frame, looked_at, memories)
        decoded = model.decode(frame, features, model.encode_prompts(frame, PromptPoints()), ambiguous=True)
        memories[frame_index] = model.remember(frame, decoded)
    return decoded


def remembered(model: Sam4D, frame: EncodedFrame, decoded: Decoded) -> FrameMemory:
    with torch.inference_mode():
        return model.remember(frame, decoded)


AFTER_PROPAGATION = {"logit_tolerance": 5e-3, "pointer_tolerance": 3e-4, "smallest_iou": 0.998}
"""Memories are rounded to bfloat16, which amplifies what differs in the last digits."""


@pytest.mark.slow
def test_a_click_is_followed_as_the_released_network_does(model: Sam4D, frames: Frames, expected: Arrays) -> None:
    memories = {0: remembered(model, frames[0], first_answer(model, frames[0], IMAGE_CLICK))}
    for frame_index in (1, 2):
        assert_agrees(followed(model, frames, memories, frame_index, {0}), expected, f"image_click/{frame_index}", **AFTER_PROPAGATION)


@pytest.mark.slow
def test_a_correction_is_followed_as_the_released_network_does(model: Sam4D, frames: Frames, expected: Arrays) -> None:
    click = prompt(lidar=expected["lidar_prompt_xyz"].astype(np.float64)[None])
    memories = {0: remembered(model, frames[0], first_answer(model, frames[0], click))}
    before = dict(memories)
    tracked = followed(model, frames, memories, 1, {0})
    assert_agrees(followed(model, frames, memories, 2, {0}), expected, "lidar_click/2", **AFTER_PROPAGATION)

    correction = prompt([(1000, 640)], labels=(0,))
    with torch.inference_mode():
        features = model.condition(frames[1], recall(1, {0}, set(), FRAMES), before)
        prompts = model.encode_prompts(frames[1], correction, *earlier_logits(tracked))
        corrected = model.decode(frames[1], features, prompts, ambiguous=correction.is_ambiguous)
    assert_agrees(corrected, expected, "correction/1", **AFTER_PROPAGATION)

    memories = {**before, 1: remembered(model, frames[1], corrected)}
    assert_agrees(followed(model, frames, memories, 2, {0, 1}), expected, "after_correction/2", **AFTER_PROPAGATION)


@pytest.mark.slow
def test_a_given_mask_is_followed_backwards_as_the_released_network_does(model: Sam4D, frames: Frames, expected: Arrays) -> None:
    camera_mask = np.zeros((1080, 1920), dtype=np.bool_)
    camera_mask[520:700, 800:1100] = True
    points_m = frames[2].lidar.sweep.points_m.numpy()
    lidar_mask = np.linalg.norm(points_m - np.array([2, 15, 0.8]), axis=1) < 3
    with torch.inference_mode():
        given = model.decode_mask(frames[2], camera_mask, lidar_mask)
    assert_agrees(given, expected, "mask/2")
    memories = {2: remembered(model, frames[2], given)}
    for frame_index in (1, 0):
        decoded = followed(model, frames, memories, frame_index, {2}, reverse=True)
        assert_agrees(decoded, expected, f"mask_reverse/{frame_index}", **AFTER_PROPAGATION)


@pytest.mark.slow
def test_objects_are_followed_together_as_they_are_alone(model: Sam4D, frames: Frames, expected: Arrays) -> None:
    click = prompt(lidar=expected["lidar_prompt_xyz"].astype(np.float64)[None])
    answers = Decoded.join([first_answer(model, frames[0], points) for points in (click, LIDAR_BOX)])
    memories = {0: remembered(model, frames[0], answers)}
    followed(model, frames, memories, 1, {0})
    together = followed(model, frames, memories, 2, {0})
    assert_agrees(together.of_object(0), expected, "lidar_click/2", **AFTER_PROPAGATION)
    assert_agrees(together.of_object(1), expected, "lidar_box/2", **AFTER_PROPAGATION)
