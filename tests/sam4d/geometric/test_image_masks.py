"""Camera masks from points, image and prompts, against exact ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam4d.evaluation import mask_iou
from sam4d.geometric.image_masks import segment_camera
from sam4d.geometric.scene import prepare_frame
from sam4d.geometry import BoolArray
from sam4d.simulation import SyntheticDrive
from sam4d.structures import BoxPrompt, Clip, Frame, InputError, MaskPrompt, PointPrompt, Sweep
from tests.sam4d.geometric.street import CAR, FRONT, WALL, Box, render, scan, street_clip

BOXES = {"car": CAR, "sign": Box((9.0, -4.0), (0.6, 0.6, 2.0), (210, 180, 40)), "wall": WALL}


def no_points(count: int) -> BoolArray:
    return np.zeros(count, dtype=np.bool_)


@pytest.mark.parametrize("name", ["car", "sign"])
def test_points_and_image_give_the_outline(name: str) -> None:
    _, scene, owned, masks = street_clip(BOXES)
    # Only what stands clear of the ground: the engine's own masks miss the lowest part, too.
    answer = segment_camera(scene, FRONT, owned[name] & scene.is_object, [])
    assert answer.shape == (FRONT.height_px, FRONT.width_px)
    assert mask_iou(answer, masks[name]) > 0.88


def test_the_image_counts_and_not_only_the_points() -> None:
    _, scene, owned, masks = street_clip(BOXES)
    # Points on the left half of the car only: its colour says that the rest close by belongs to it.
    pixels = scene.view(FRONT).pixels
    middle = np.median(pixels[owned["car"]][:, 0])
    some = owned["car"] & scene.is_object & (pixels[:, 0] < middle + 12)
    box = np.array([pixels[owned["car"]].min(axis=0), pixels[owned["car"]].max(axis=0) + 1]).ravel()
    answer = segment_camera(scene, FRONT, some, [BoxPrompt(1, 0, "front", box)])
    right = masks["car"].copy()
    right[:, : int(middle) + 14] = False
    assert answer[right].mean() > 0.6


def test_what_stands_in_front_is_cut_out() -> None:
    boxes = {"car": CAR, "post": Box((7.0, 1.75), (0.3, 0.3, 2.5), (20, 160, 60)), "wall": WALL}
    _, scene, owned, masks = street_clip(boxes)
    answer = segment_camera(scene, FRONT, owned["car"] & scene.is_object, [])
    assert mask_iou(answer, masks["car"]) > 0.8
    assert answer[masks["post"]].mean() < 0.15


def test_an_object_hidden_from_the_camera_has_no_mask_there() -> None:
    boxes = {"van": Box((8.0, 0.0), (3.0, 2.5, 2.2)), "wall": WALL}
    clip, scene, _, _ = street_clip(boxes)
    behind = np.random.default_rng(0).uniform((13, -0.3, -1.4), (13.5, 0.3, -0.4), (80, 3)).astype(np.float32)
    points = np.concatenate([scene.points_m, behind])
    scene = prepare_frame(Clip("hidden", clip.cameras, (replace(clip.frames[0], load_sweep=lambda: Sweep(points)),)), 0)
    mask = no_points(len(points))
    mask[-len(behind) :] = True
    assert scene.view(FRONT).inside[mask].all()
    assert not segment_camera(scene, FRONT, mask, []).any()


def test_a_mask_prompt_is_the_mask_and_clicks_correct_it() -> None:
    _, scene, owned, masks = street_clip(BOXES)
    prompt = MaskPrompt(1, 0, "front", masks["car"])
    np.testing.assert_array_equal(segment_camera(scene, FRONT, owned["car"], [prompt]), masks["car"])
    rows, columns = np.nonzero(masks["car"])
    negative = PointPrompt(1, 0, "front", [[float(columns.max() - 6), float(np.median(rows))]], [0])
    corrected = segment_camera(scene, FRONT, owned["car"], [prompt, negative])
    assert not corrected[int(np.median(rows)), columns.max() - 6]
    assert 0 < corrected.sum() < masks["car"].sum()


def test_what_was_painted_elsewhere_outlives_a_click() -> None:
    """A stroke apart from the object, and its ragged edge: neither looks like the object, and no click speaks of them."""
    _, scene, owned, masks = street_clip(BOXES)
    rows, columns = np.nonzero(masks["car"])
    painted = masks["car"].copy()
    painted[rows.min() - 20 : rows.min() - 16, columns.min() : columns.max()] = True
    painted[rows.max() - 2 : rows.max() + 9, columns.min() : columns.min() + 30] = True
    middle = int(np.median(rows))
    negative = PointPrompt(1, 0, "front", [[float(columns.max() - 6), float(middle)]], [0])
    positive = PointPrompt(1, 0, "front", [[float(np.median(columns)), float(middle)]], [1])
    prompt = MaskPrompt(1, 0, "front", painted)
    np.testing.assert_array_equal(segment_camera(scene, FRONT, owned["car"], [prompt, positive]), painted)
    corrected = segment_camera(scene, FRONT, owned["car"], [prompt, negative])
    assert not corrected[middle, columns.max() - 6]
    assert corrected[painted & ~masks["car"]].all()


@pytest.mark.parametrize("how", ["click", "box"])
def test_objects_without_points_are_found_in_the_image(how: str) -> None:
    image, masks = render(BOXES)
    points, owned = scan(BOXES)
    kept = points[~owned["sign"]]
    clip = Clip("no points", {"front": FRONT}, (Frame(lambda: Sweep(kept), {"front": lambda: image}),))
    rows, columns = np.nonzero(masks["sign"])
    prompt = (
        PointPrompt(1, 0, "front", [[float(np.median(columns)), float(np.median(rows))]], [1])
        if how == "click"
        else BoxPrompt(1, 0, "front", [columns.min() - 2, rows.min() - 2, columns.max() + 3, rows.max() + 3])
    )
    answer = segment_camera(prepare_frame(clip, 0), FRONT, no_points(len(kept)), [prompt])
    assert mask_iou(answer, masks["sign"]) > (0.5 if how == "click" else 0.85)


def test_clicks_are_respected() -> None:
    _, scene, owned, masks = street_clip(BOXES)
    rows, columns = np.nonzero(masks["car"])
    negative = PointPrompt(1, 0, "front", [[float(np.median(columns)), float(np.median(rows))]], [0])
    before = segment_camera(scene, FRONT, owned["car"], [])
    after = segment_camera(scene, FRONT, owned["car"], [negative])
    assert before[int(np.median(rows)), int(np.median(columns))]
    assert not after[int(np.median(rows)), int(np.median(columns))]
    assert after.sum() < before.sum()
    place = (int(rows.min()) - 3, int(np.median(columns)))
    positive = PointPrompt(1, 0, "front", [[place[1] + 0.5, place[0] + 0.5]], [1])
    assert segment_camera(scene, FRONT, owned["car"], [positive])[place]


def test_a_box_bounds_the_mask() -> None:
    _, scene, owned, masks = street_clip(BOXES)
    rows, columns = np.nonzero(masks["car"])
    box = [columns.min(), rows.min(), float(np.median(columns)), rows.max()]
    answer = segment_camera(scene, FRONT, owned["car"], [BoxPrompt(1, 0, "front", box)])
    assert answer.any()
    assert not answer[:, int(np.median(columns)) + 3 :].any()


def test_lens_distortion_is_taken_into_account() -> None:
    camera = replace(FRONT, distortion=(-0.25, 0.06, 0.001, -0.001, 0.0))
    points, owned = scan(BOXES)
    image, masks = render(BOXES, camera)
    clip = Clip("distorted", {"front": camera}, (Frame(lambda: Sweep(points), {"front": lambda: image}),))
    scene = prepare_frame(clip, 0)
    assert mask_iou(segment_camera(scene, camera, owned["sign"] & scene.is_object, []), masks["sign"]) > 0.85


def test_nothing_gives_nothing() -> None:
    clip, scene, owned, _ = street_clip(BOXES)
    assert not segment_camera(scene, FRONT, no_points(len(scene)), []).any()
    negative = PointPrompt(1, 0, "front", [[5.0, 5.0]], [0])
    assert not segment_camera(scene, FRONT, no_points(len(scene)), [negative]).any()
    bare = prepare_frame(Clip("bare", clip.cameras, (replace(clip.frames[0], load_images={}),)), 0)
    with pytest.raises(InputError, match="image of camera front"):
        segment_camera(bare, FRONT, owned["car"], [])


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_a_few_points_are_enough_for_a_small_mask(count: int) -> None:
    _, scene, owned, masks = street_clip(BOXES)
    rows = np.flatnonzero(owned["sign"] & scene.is_object)
    few = no_points(len(scene))
    few[rows[np.linspace(0, len(rows) - 1, count).astype(int)]] = True
    answer = segment_camera(scene, FRONT, few, [])
    assert 0 < answer.sum() < 2 * masks["sign"].sum()


def test_masks_of_a_synthetic_drive(small_drive: SyntheticDrive) -> None:
    clip = small_drive.clip
    scene = prepare_frame(clip, 0)
    ious = [
        mask_iou(segment_camera(scene, clip.cameras[camera], masklet.masks[0].lidar_mask, []), truth)
        for masklet in small_drive.masklets
        if 0 in masklet.masks
        for camera, truth in masklet.masks[0].camera_masks.items()
        if truth.sum() >= 400 and masklet.masks[0].lidar_mask.sum() >= 30
    ]
    assert len(ious) >= 2
    assert float(np.mean(ious)) > 0.7


def test_a_bumper_reaches_down_to_its_clearance_without_points() -> None:
    # The same grey as the road: neither colours nor points tell where the car ends below its lowest beam.
    car = replace(CAR, colour=(96, 96, 96))
    _, scene, owned, masks = street_clip({"car": car, "wall": WALL})
    high = owned["car"] & (scene.height_m > 0.5)
    answer = segment_camera(scene, FRONT, high, [])
    rows = np.flatnonzero(masks["car"].any(axis=1))
    pixels_per_metre = len(rows) / car.size_m[2]
    missing_m = (rows.max() - np.flatnonzero(answer.any(axis=1)).max()) / pixels_per_metre
    assert missing_m < 0.4


def test_a_far_car_goes_on_up_to_the_edge_of_the_post_before_it() -> None:
    boxes = {
        "car": Box((24.0, 3.0), (4.4, 1.8, 1.5)),
        "post": Box((12.0, 1.5), (0.3, 0.3, 2.5), (20, 160, 60)),
        "wall": Box((45.0, 0.0), (0.4, 40.0, 6.0), WALL.colour),
    }
    _, scene, owned, masks = street_clip(boxes)
    answer = segment_camera(scene, FRONT, owned["car"] & scene.is_object, [])
    beside = np.zeros_like(answer)
    for shift in (-2, -1, 1, 2):
        beside |= np.roll(masks["post"], shift, axis=1)
    # No beam meets the post's very edge, so that the points alone would leave a gap beside it.
    assert answer[beside & masks["car"]].mean() > 0.6
    assert mask_iou(answer, masks["car"]) > 0.9
    assert answer[masks["post"]].mean() < 0.05


def test_the_outline_lies_on_the_images_edge() -> None:
    # Before its border moves to the edges, 0.911 of the sign's mask is right.
    _, scene, owned, masks = street_clip(BOXES)
    assert mask_iou(segment_camera(scene, FRONT, owned["sign"] & scene.is_object, []), masks["sign"]) > 0.92


def test_edges_do_not_outweigh_prompts() -> None:
    _, scene, owned, masks = street_clip(BOXES)
    rows, columns = np.nonzero(masks["car"])
    # The box ends a pixel before the car does, where the edge draws most.
    box = [columns.min() + 1, rows.min() + 1, columns.max(), rows.max()]
    answer = segment_camera(scene, FRONT, owned["car"], [BoxPrompt(1, 0, "front", box)])
    outside = masks["car"].copy()
    outside[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = False
    assert answer[outside].mean() < 0.1
