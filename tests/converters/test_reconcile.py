"""What people change in Label Studio wins; everything else stays as the engine wrote it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.brush_rle import decode_mask, encode_mask
from converters.columns import under_mask
from converters.coordinates import footprint_of, footprint_to_rectangle
from converters.reconcile import regions_to_masklets
from converters.regions import masklet_to_regions
from sam4d.geometry import BoolArray, wrap_angle
from sam4d.structures import Cuboid, InputError, Masklet
from tests.converters.test_regions import assert_same, through_json
from tests.converters.tiny_task import CAR, VIEW, WINDOW, car_points, tiny_clip, tiny_masklet, tiny_sweep

Result = dict[str, Any]


def written(masklet: Masklet | None = None) -> list[Result]:
    return through_json(masklet_to_regions(masklet or tiny_masklet(), WINDOW, tiny_clip(), "v"))


def read(results: list[Result]) -> list[Masklet]:
    return regions_to_masklets(results, WINDOW, tiny_clip())


def pick(results: list[Result], identity: str, from_name: str | None = None) -> Result:
    return next(result for result in results if result["id"] == identity and from_name in (None, result["from_name"]))


def move_to(results: list[Result], identity: str, cuboid: Cuboid) -> None:
    """Drag, resize and turn a rectangle to a cuboid's footprint, as Label Studio shows it: in all results of the region."""
    rectangle = footprint_to_rectangle(footprint_of(cuboid), VIEW)
    for result in results:
        if result["id"] == identity:
            result["value"] |= vars(rectangle)


def repaint(result: Result, change: Callable[[BoolArray], None]) -> None:
    mask = decode_mask(result["value"]["rle"], result["original_height"], result["original_width"])
    change(mask)
    result["value"]["rle"] = encode_mask(mask)


def drawn(**fields: Any) -> Result:
    """A region made by hand: a fresh id, no meta."""
    return {"id": "Xy12", "item_index": 1, "image_rotation": 0, "origin": "manual", **fields}


def drawn_rectangle(cuboid: Cuboid, identity: str = "Xy12") -> Result:
    value = {**vars(footprint_to_rectangle(footprint_of(cuboid), VIEW)), "rectanglelabels": ["Bus"]}
    return drawn(id=identity, type="rectanglelabels", from_name="cuboid_bev", to_name="bev", value=value)


def drawn_brush(mask: BoolArray, image: str) -> Result:
    value = {"format": "rle", "rle": encode_mask(mask), "brushlabels": ["Bus"]}
    height, width = mask.shape
    return drawn(type="brushlabels", from_name=f"brush_{image}", to_name=image, value=value, original_width=width, original_height=height)


@given(
    st.floats(-12, 12),
    st.floats(-12, 12),
    st.floats(0.5, 9),
    st.floats(0.5, 4),
    st.floats(-np.pi, np.pi),
    st.floats(-2, 2),
    st.floats(0.3, 4),
)
def test_a_dragged_resized_and_turned_rectangle_is_the_cuboid(
    x: float, y: float, length: float, width: float, yaw: float, z: float, height: float
) -> None:
    results = written()
    wanted = Cuboid((x, y, round(z, 2)), (length, width, round(height, 2)), yaw)
    move_to(results, "o3-f1-cuboid_bev", wanted)
    pick(results, "o3-f1-cuboid_bev", "z")["value"]["number"] = round(z, 2)
    pick(results, "o3-f1-cuboid_bev", "h")["value"]["number"] = round(height, 2)
    (found,) = read(results)
    # A change under half of Label Studio's last digit is none: 0.005 percent of 40 m, 0.005 m in z and h.
    assert found.cuboids[1].center_m == pytest.approx(wanted.center_m, abs=0.006)
    assert found.cuboids[1].size_lwh_m == pytest.approx(wanted.size_lwh_m, abs=0.006)
    assert abs(wrap_angle(found.cuboids[1].yaw_rad - yaw)) < 1e-3
    untouched = {**found.masks, 1: replace(found.masks[1], score=tiny_masklet().masks[1].score)}
    assert_same(replace(found, masks=untouched, cuboids={0: CAR, 1: CAR, 2: CAR}), tiny_masklet())


def test_what_a_person_set_is_sure() -> None:
    results = written()
    move_to(results, "o3-f1-cuboid_bev", replace(CAR, center_m=(12.0, 3.0, -0.9)))
    (found,) = read(results)
    before = tiny_masklet().masks
    assert before[1].score < 1
    assert {frame: masks.score for frame, masks in found.masks.items()} == {0: before[0].score, 1: 1.0, 2: before[2].score}


def test_a_dragged_rectangle_keeps_its_exact_size_and_heading() -> None:
    results = written()
    move_to(results, "o3-f1-cuboid_bev", replace(CAR, center_m=(12.0, 3.0, 0.0)))
    (found,) = read(results)
    assert found.cuboids[1].center_m == pytest.approx((12.0, 3.0, -0.9), abs=1e-9)
    assert (found.cuboids[1].size_lwh_m, found.cuboids[1].yaw_rad) == (CAR.size_lwh_m, CAR.yaw_rad)
    assert found.cuboids[0] == CAR


def test_rounding_is_no_edit() -> None:
    results = written(tiny_masklet(cuboid=Cuboid((10.00123, 3.0, -0.90123), (4.0, 2.0, 1.40321), 0.3)))
    for result in results:
        for key in ("x", "y", "width", "height", "rotation"):
            if key in result["value"]:
                result["value"][key] = round(result["value"][key], 2)
    (found,) = read(results)
    assert found.cuboids[2] == Cuboid((10.00123, 3.0, -0.90123), (4.0, 2.0, 1.40321), 0.3)


def test_numbers_may_be_doubled_or_gone() -> None:
    results = written()
    z = pick(results, "o3-f1-cuboid_bev", "z")
    results.insert(0, copy.deepcopy(z))
    results[0]["value"]["number"] = 0.25
    results.remove(pick(results, "o3-f1-cuboid_bev", "h"))
    (found,) = read(results)
    assert found.cuboids[1] == Cuboid((10.0, 3.0, 0.25), CAR.size_lwh_m, CAR.yaw_rad)


def test_points_under_an_erased_part_of_the_brush_go() -> None:
    results = written()
    erased = np.zeros((VIEW.size_px, VIEW.size_px), dtype=np.bool_)
    erased[: VIEW.to_pixels(np.array([10.0, 3.0]))[1].astype(int)] = True
    repaint(pick(results, "o3-f1-brush_bev"), lambda mask: mask.__setitem__(erased, False))
    (found,) = read(results)
    expected = car_points() & ~under_mask(tiny_sweep().points_m, VIEW, erased)
    assert 0 < expected.sum() < car_points().sum()
    assert (found.masks[1].lidar_mask == expected).all()
    assert (found.masks[0].lidar_mask == car_points()).all()
    assert found.cuboids[1] == CAR


def test_points_under_an_added_part_come_in_the_objects_height_range() -> None:
    half = car_points() & (np.nan_to_num(tiny_sweep().points_m[:, 0]) < 10.0)
    masklet = tiny_masklet()
    masklet = replace(masklet, masks={0: replace(masklet.masks[0], lidar_mask=half)})
    results = written(masklet)
    repaint(pick(results, "o3-f0-brush_bev"), lambda mask: mask.__setitem__(slice(None), True))
    (found,) = read(results)
    assert (found.masks[0].lidar_mask == car_points()).all()


def test_without_a_cuboid_added_points_follow_the_points_there_are() -> None:
    half = car_points() & (np.nan_to_num(tiny_sweep().points_m[:, 0]) < 10.0)
    masklet = tiny_masklet(cuboid=None)
    results = written(replace(masklet, masks={0: replace(masklet.masks[0], lidar_mask=half)}))
    repaint(pick(results, "o3-f0-brush_bev"), lambda mask: mask.__setitem__(slice(None), True))
    (found,) = read(results)
    assert (found.masks[0].lidar_mask == car_points()).all()


def test_an_edited_camera_brush_is_the_mask() -> None:
    results = written()
    repaint(pick(results, "o3-f1-brush_front"), lambda mask: mask.__setitem__((slice(5, 9), slice(None)), False))
    (found,) = read(results)
    expected = np.zeros((20, 32), dtype=np.bool_)
    expected[9:12, 8:20] = True
    assert (found.masks[1].camera_masks["front"] == expected).all()
    assert (found.masks[0].camera_masks["front"] == tiny_masklet().masks[0].camera_masks["front"]).all()


@pytest.mark.parametrize("kinds", [("add",), ("add", "eraser"), ("eraser",)])
def test_strokes_of_a_draft_count_as_what_they_paint(kinds: tuple[str, ...]) -> None:
    """As if they were in the RLE: strokes over the whole image, an eraser over its left half; in a camera and seen from above."""
    strokes: dict[str, Result] = {
        "add": {"type": "add", "relativePoints": [0, 50, 100, 50], "relativeStrokeWidth": 100},
        "eraser": {"type": "eraser", "relativePoints": [25, -10, 25, 110], "relativeStrokeWidth": 50},
    }

    def paint(mask: BoolArray) -> None:
        for kind in kinds:
            mask[:, : mask.shape[1] // (2 if kind == "eraser" else 1)] = kind == "add"

    stroked, repainted = written(), written()
    for identity in ("o3-f1-brush_front", "o3-f1-brush_bev"):
        pick(stroked, identity)["value"]["touches"] = [strokes[kind] for kind in kinds]
        repaint(pick(repainted, identity), paint)
    assert_same(read(stroked)[0], read(repainted)[0])


def test_a_new_brush_in_a_draft_has_strokes_alone() -> None:
    everything = {"type": "add", "relativePoints": [0, 50, 100, 50], "relativeStrokeWidth": 100}
    by_hand = drawn_brush(np.zeros((VIEW.size_px, VIEW.size_px), dtype=np.bool_), "bev")
    by_hand["value"] = {"format": "rle", "touches": [everything], "brushlabels": ["Bus"]}
    (bus,) = read([by_hand])
    assert bus.label == "Bus"
    assert bus.masks[1].lidar_mask.any()


def test_a_relabelled_region_relabels_the_object() -> None:
    results = written() + written(tiny_masklet(object_id=5))
    pick(results, "o3-f2-brush_front")["value"]["brushlabels"] = ["Truck"]
    assert [masklet.label for masklet in read(results)] == ["Truck", "Car"]


def test_of_several_new_labels_the_most_frequent_wins_then_the_earliest() -> None:
    results = written()
    pick(results, "o3-f2-brush_front")["value"]["brushlabels"] = ["Truck"]
    pick(results, "o3-f1-cuboid_bev")["value"]["rectanglelabels"] = ["Bus"]
    assert read(results)[0].label == "Bus"
    pick(results, "o3-f2-brush_bev")["value"]["brushlabels"] = ["Truck"]
    assert read(results)[0].label == "Truck"


def test_a_deleted_rectangle_removes_the_object_from_the_frame() -> None:
    results = [result for result in written() if result["id"] != "o3-f1-cuboid_bev"]
    (found,) = read(results)
    assert sorted(found.masks) == [0, 2]
    assert sorted(found.cuboids) == [0, 2]


def test_a_deleted_camera_brush_empties_that_mask_only() -> None:
    (found,) = read([result for result in written() if result["id"] != "o3-f0-brush_front"])
    assert not found.masks[0].camera_masks["front"].any()
    assert found.masks[0].camera_masks["rear left"].any()
    assert (found.masks[0].lidar_mask == car_points()).all()
    assert found.cuboids[0] == CAR


def test_a_deleted_birds_eye_brush_takes_the_points_only() -> None:
    (found,) = read([result for result in written() if result["id"] != "o3-f0-brush_bev"])
    assert not found.masks[0].lidar_mask.any()
    assert found.masks[0].camera_masks["front"].any()
    assert found.cuboids[0] == CAR


def test_without_a_rectangle_each_deleted_region_takes_its_part() -> None:
    results = written(tiny_masklet(cuboid=None))
    (found,) = read([result for result in results if result["id"] != "o3-f0-brush_front"])
    assert not found.masks[0].camera_masks["front"].any()
    assert found.masks[0].camera_masks["rear left"].any()
    (found,) = read([result for result in results if result["item_index"] != 0])
    assert sorted(found.masks) == [1, 2]


def test_all_regions_deleted_is_no_object() -> None:
    assert read([]) == []


def test_a_hand_drawn_rectangle_is_a_new_object_with_the_points_inside() -> None:
    wider = replace(CAR, size_lwh_m=(4.4, 2.4, 1.0))
    first, second = read([*written(), drawn_rectangle(wider)])
    assert_same(first, tiny_masklet())
    assert (second.object_id, second.label, sorted(second.masks)) == (4, "Bus", [1])
    assert (second.masks[1].lidar_mask & ~car_points()).sum() == 0
    # The lowest 0.2 m above the ground are not told from it.
    assert second.masks[1].lidar_mask.sum() > 0.8 * car_points().sum()
    cuboid = second.cuboids[1]
    assert cuboid.center_m[:2] == pytest.approx((10.0, 3.0))
    assert cuboid.size_lwh_m[:2] == pytest.approx((4.4, 2.4))
    assert cuboid.yaw_rad == pytest.approx(0.3)
    top = float(tiny_sweep().points_m[car_points(), 2].max())
    assert cuboid.center_m[2] - cuboid.size_lwh_m[2] / 2 == pytest.approx(-1.7, abs=0.05)
    assert cuboid.center_m[2] + cuboid.size_lwh_m[2] / 2 == pytest.approx(top, abs=0.05)


def test_a_hand_drawn_rectangle_faces_along_its_longer_side() -> None:
    across = replace(CAR, center_m=(-10.0, 0.0, 0.0), size_lwh_m=(2.0, 5.0, 1.0), yaw_rad=0.0)
    (found,) = read([drawn_rectangle(across)])
    assert found.cuboids[1].size_lwh_m == pytest.approx((5.0, 2.0, 1.6))
    assert found.cuboids[1].center_m == pytest.approx((-10.0, 0.0, -0.9), abs=0.05)
    assert found.cuboids[1].yaw_rad == pytest.approx(-np.pi / 2)


def test_numbers_of_a_hand_drawn_rectangle_count() -> None:
    numbers = [drawn(type="number", from_name=name, to_name="bev", value={"number": value}) for name, value in (("z", 1.5), ("h", 3))]
    (found,) = read([drawn_rectangle(CAR), *numbers])
    assert found.cuboids[1].center_m[2] == 1.5
    assert found.cuboids[1].size_lwh_m[2] == 3.0


def test_hand_drawn_brushes_are_new_objects() -> None:
    on_camera = np.zeros((20, 32), dtype=np.bool_)
    on_camera[2:6, 3:9] = True
    from_above = np.ones((VIEW.size_px, VIEW.size_px), dtype=np.bool_)
    seen, above = read([drawn_brush(on_camera, "rear_left"), drawn_brush(from_above, "bev")])
    assert (seen.masks[1].camera_masks["rear left"] == on_camera).all()
    assert not seen.masks[1].camera_masks["front"].any()
    assert not seen.masks[1].lidar_mask.any()
    assert (above.masks[1].lidar_mask & ~car_points()).sum() == 0
    assert above.masks[1].lidar_mask.sum() > 0.8 * car_points().sum()
    assert not seen.cuboids
    assert not above.cuboids


def test_a_rectangle_pasted_on_another_frame_brings_the_object_there() -> None:
    masklet = replace(tiny_masklet(), masks={0: tiny_masklet().masks[0]}, cuboids={0: CAR})
    results = written(masklet)
    pasted = copy.deepcopy(pick(results, "o3-f0-cuboid_bev"))
    results.append(pasted | {"id": "pasted", "item_index": 2})
    (found,) = read(results)
    assert sorted(found.masks) == [0, 2]
    assert found.cuboids[2].size_lwh_m == pytest.approx(CAR.size_lwh_m)
    assert found.masks[2].lidar_mask.sum() > 0.7 * car_points().sum()


def test_a_copy_where_the_object_is_already_is_a_new_object() -> None:
    results = written()
    results.insert(0, copy.deepcopy(pick(results, "o3-f0-cuboid_bev")) | {"id": "copy"})
    move_to(results, "copy", replace(CAR, center_m=(-5.0, -5.0, 0.0)))
    original, duplicate = read(results)
    assert_same(original, tiny_masklet())
    assert (duplicate.object_id, sorted(duplicate.masks)) == (4, [0])
    assert duplicate.cuboids[0].center_m[:2] == pytest.approx((-5.0, -5.0))


def test_renamed_ids_do_not_matter() -> None:
    results = written()
    for result in results:
        result["id"] = f"{hash(result['id'])}"
    (found,) = read(results)
    assert_same(found, tiny_masklet())


def test_left_over_prompts_and_other_tags_are_dropped() -> None:
    rle = encode_mask(np.ones((20, 32), dtype=np.bool_))
    value = {"x": 1, "y": 1, "width": 0.3, "keypointlabels": ["Car"], "format": "rle", "rle": rle}
    stray: list[Result] = [
        drawn(type="keypointlabels", from_name="kp_front", to_name="front", value=value),
        {**pick(written(), "o3-f0-brush_front"), "type": "keypointlabels", "from_name": "kp_front", "value": value},
        drawn(type="keypointlabels", from_name="brush_front", to_name="front", value=value),
        drawn(type="rectanglelabels", from_name="box_front", to_name="front", value={"x": 1, "y": 1, "width": 2, "height": 3}),
        drawn(type="choices", from_name="weather", to_name="front", value={"choices": ["rain"]}),
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        drawn_brush(np.zeros((20, 32), dtype=np.bool_), "front"),
    ]
    (found,) = read([*stray, *written(), *stray])
    assert_same(found, tiny_masklet())


def test_notes_in_the_meta_are_no_matter() -> None:
    results = written()
    for result in results:
        result["meta"]["text"] = ["check again"]
    assert_same(read(results)[0], tiny_masklet())
    by_hand = drawn_rectangle(CAR) | {"meta": {"text": ["a bus?"]}}
    assert len(read([by_hand])) == 1


def damage(path: str, value: object) -> Callable[[Result], None]:
    """Set `a.b.c` in a result."""

    def change(result: Result) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            result = result[parent]
        result[last] = value

    return change


@pytest.mark.parametrize(
    ("identity", "change", "found"),
    [
        ("cuboid_bev", damage("meta.sam4d", [1]), "meta.sam4d: expected an object, found list"),
        (
            "cuboid_bev",
            damage("meta.sam4d.schema", 2),
            r"meta.sam4d.schema: expected at most 1 \(a newer backend wrote it",
        ),
        ("cuboid_bev", damage("meta.sam4d.schema", "1"), "meta.sam4d.schema: expected a whole number from 0 on, found '1'"),
        ("cuboid_bev", damage("meta.sam4d.object_id", "three"), "meta.sam4d.object_id: expected a whole number from 0 on, found 'three'"),
        ("cuboid_bev", damage("meta.sam4d.frame_index", True), "meta.sam4d.frame_index: expected a whole number"),
        ("cuboid_bev", damage("meta.sam4d.label", None), "meta.sam4d: expected texts label and version, found None"),
        ("brush_front", damage("meta.sam4d.has_rectangle", 1), "meta.sam4d: expected has_rectangle and absent to be true or false"),
        ("cuboid_bev", damage("meta.sam4d.score", float("nan")), "meta.sam4d.score: expected a number from 0 to 1, found nan"),
        ("cuboid_bev", damage("meta.sam4d.cuboid", None), "meta.sam4d.cuboid: expected the rectangle's cuboid, found none"),
        ("cuboid_bev", damage("meta.sam4d.cuboid.center_m", [1, 2]), "meta.sam4d.cuboid.center_m: expected three numbers"),
        ("cuboid_bev", damage("meta.sam4d.cuboid.size_lwh_m", [1, 2, 0]), "meta.sam4d.cuboid.size_lwh_m: expected three lengths above 0"),
        (
            "cuboid_bev",
            damage("meta.sam4d.cuboid.yaw_rad", "x"),
            "meta.sam4d.cuboid.yaw_rad: expected a finite number, at most 1e9 in size, found 'x'",
        ),
        ("cuboid_bev", damage("meta.sam4d.points", "abc"), "meta.sam4d.points: expected COCO run lengths, found str"),
        ("cuboid_bev", damage("meta.sam4d.points.size", [9, 1]), r"meta.sam4d.points.size: expected \[10610, 1\], found \[9, 1\]"),
        ("cuboid_bev", damage("value.x", float("inf")), "value.x: expected a finite number, at most 1e9 in size, found inf"),
        ("cuboid_bev", damage("value.width", -1), ": expected a rectangle with width and height above 0"),
        ("cuboid_bev", damage("value", 3), "value: expected an object, found int"),
        ("brush_front", damage("value.rle", [1, 2]), "value.rle: expected brush RLE"),
        ("brush_front", damage("original_width", 64), ": expected an image of 32x20 pixels, found one of 64x20"),
        ("brush_front", damage("item_index", 3), "item_index: expected a frame of the task, 0 to 2, found 3"),
        ("brush_rear_left", damage("item_index", 2), ": expected a frame with an image of rear left, found frame 2, which has none"),
    ],
)
def test_what_cannot_be_read_names_the_region(identity: str, change: Callable[[Result], None], found: str) -> None:
    results = written()
    change(pick(results, f"o3-f0-{identity}"))
    with pytest.raises(InputError, match=rf"^region o3-f0-{identity}(, )?{found}"):
        read(results)


def test_numbers_and_labels_that_are_none_are_refused() -> None:
    results = written()
    pick(results, "o3-f0-cuboid_bev", "h")["value"]["number"] = -1
    with pytest.raises(InputError, match="region o3-f0-cuboid_bev, h: expected a height above 0 metres, found -1"):
        read(results)
    unlabelled = drawn_rectangle(CAR)
    del unlabelled["value"]["rectanglelabels"]
    with pytest.raises(InputError, match="region Xy12: expected a label, found none"):
        read([unlabelled | {"type": "rectangle"}])
    with pytest.raises(InputError, match="result 1: expected an object, found str"):
        regions_to_masklets([drawn_rectangle(CAR), "x"], WINDOW, tiny_clip())  # type: ignore[list-item]


def test_a_region_of_ours_that_lost_its_label_keeps_the_written_one() -> None:
    results = written()
    brush = pick(results, "o3-f0-brush_front")
    brush["type"] = "brush"
    del brush["value"]["brushlabels"]
    assert_same(read(results)[0], tiny_masklet())
