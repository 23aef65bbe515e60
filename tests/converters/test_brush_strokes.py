"""Strokes that drafts keep apart from a brush's RLE, read as Label Studio draws them on a canvas when it submits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.brush_rle import encode_mask
from converters.brush_strokes import painted_mask
from sam4d.geometry import BoolArray
from sam4d.structures import InputError

HEIGHT_PX, WIDTH_PX = 50, 80
SQUARE = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
SQUARE[10:30, 20:40] = True


def stroke(*points_px: tuple[float, float], width_px: float = 6, kind: str = "add") -> dict[str, Any]:
    """As the editor writes it from a stage at 3/2 of the image's size."""
    return {
        "id": "a1",
        "type": kind,
        "points": [1.5 * coordinate for point in points_px for coordinate in point],
        "relativePoints": [100 * number for x, y in points_px for number in (x / WIDTH_PX, y / HEIGHT_PX)],
        "strokeWidth": 1.5 * width_px,
        "relativeStrokeWidth": 100 * width_px / WIDTH_PX,
        "eraserSize": 25,
    }


def painted(*touches: object, rle: BoolArray | None = None) -> BoolArray:
    value: dict[str, object] = {"format": "rle", "brushlabels": ["Car"], "touches": list(touches)}
    if rle is not None:
        value["rle"] = encode_mask(rle)
    return painted_mask(value, HEIGHT_PX, WIDTH_PX, "region r")


def distance_px(points_px: list[tuple[float, float]]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """From every pixel's centre to the path, (H, W)."""
    centres = np.stack(np.meshgrid(np.arange(WIDTH_PX) + 0.5, np.arange(HEIGHT_PX) + 0.5), axis=-1)
    nearest = np.full((HEIGHT_PX, WIDTH_PX), np.inf)
    for first, last in pairwise(points_px):
        start, along = np.array(first), np.subtract(last, first)
        share = np.clip((centres - start) @ along / max(float(along @ along), 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(centres - start - share[..., None] * along, axis=-1))
    return nearest


points = st.tuples(st.floats(-10, WIDTH_PX + 10), st.floats(-10, HEIGHT_PX + 10))


@given(st.lists(points, min_size=2, max_size=8), st.floats(2, 30))
def test_a_stroke_covers_what_lies_within_half_its_width_of_its_path(path_px: list[tuple[float, float]], width_px: float) -> None:
    mask, away_px = painted(stroke(*path_px, width_px=width_px)), distance_px(path_px)
    assert mask[away_px < width_px / 2 - 0.75].all()
    assert not mask[away_px > width_px / 2 + 0.75].any()


def test_a_dot_is_round_and_of_the_strokes_width() -> None:
    for dot in (stroke((40, 25), (40, 25), width_px=20), stroke((40, 25), width_px=20)):
        mask = painted(dot)
        assert mask.sum() == pytest.approx(np.pi * 10**2, rel=0.03)
        assert (np.argwhere(mask) + 0.5).mean(axis=0) == pytest.approx((25, 40), abs=0.15)
        assert (np.ptp(np.argwhere(mask), axis=0) + 1 == 20).all()


def test_strokes_come_on_top_of_the_rle_in_their_order() -> None:
    over, erased = stroke((10, 20), (50, 20)), stroke((30, 5), (30, 45), kind="eraser")
    added = painted(over, rle=SQUARE)
    assert (added >= SQUARE).all()
    assert added[20, 12]
    assert added[20, 48]
    cut = painted(erased, rle=SQUARE)
    assert (cut <= SQUARE).all()
    assert not cut[:, 28:32].any()
    assert np.array_equal(cut[:, :26], SQUARE[:, :26])
    assert not painted(over, erased, rle=SQUARE)[20, 30]
    assert painted(erased, over, rle=SQUARE)[20, 30]


def test_a_new_region_has_strokes_alone() -> None:
    alone = painted(stroke((10, 20), (50, 20)))
    assert alone.sum() == pytest.approx(40 * 6 + np.pi * 3**2, rel=0.05)
    nothing: tuple[object, ...] = (None, [])
    for rle in nothing:
        value = {"rle": rle, "touches": [stroke((10, 20), (50, 20))]}
        assert np.array_equal(painted_mask(value, HEIGHT_PX, WIDTH_PX, "region r"), alone)


def test_without_strokes_it_is_the_rle() -> None:
    assert np.array_equal(painted(rle=SQUARE), SQUARE)
    assert np.array_equal(painted_mask({"rle": encode_mask(SQUARE)}, HEIGHT_PX, WIDTH_PX, "region r"), SQUARE)


def test_pixels_of_the_editors_stage_say_nothing() -> None:
    """They depend on the size of the window."""
    drawn = stroke((10, 20), (50, 20))
    elsewhere = {**drawn, "points": [3.0, 4.0], "strokeWidth": 77.0}
    assert np.array_equal(painted(drawn), painted(elsewhere))
    sparse = {key: drawn[key] for key in ("relativePoints", "relativeStrokeWidth")}
    assert np.array_equal(painted(drawn), painted(sparse))


def test_a_stroke_outside_the_image_or_without_points_paints_nothing() -> None:
    assert not painted(stroke((-30, -30), (-20, -20))).any()
    assert not painted({"id": "a1", "type": "add", "points": [], "relativePoints": []}).any()


@pytest.mark.parametrize(
    ("touches", "where", "found"),
    [
        ("abc", "value.touches", "str"),
        ([5], "value.touches 0", "int"),
        ([{}, {**stroke((1, 2)), "type": "fill"}], "value.touches 1, type", "'fill'"),
        ([{**stroke((1, 2)), "relativePoints": [1.0, 2.0, 3.0]}], "relativePoints", "3 numbers"),
        ([{**stroke((1, 2)), "relativePoints": {"0": 1}}], "relativePoints", "dict"),
        ([{**stroke((1, 2)), "relativePoints": []}], "relativePoints", "none, only pixels of a screen of unknown size"),
        ([{**stroke((1, 2)), "relativePoints": [1.0, float("nan")]}], "relativePoints", "nan"),
        ([{**stroke((1, 2)), "relativePoints": [1.0, 1e9]}], "relativePoints", "1000000000.0"),
        ([{**stroke((1, 2)), "relativePoints": [1.0, "2"]}], "relativePoints", "'2'"),
        ([{**stroke((1, 2)), "relativeStrokeWidth": None}], "relativeStrokeWidth", "None"),
        ([{**stroke((1, 2)), "relativeStrokeWidth": 0}], "relativeStrokeWidth", "0"),
        ([{**stroke((1, 2)), "relativeStrokeWidth": 101}], "relativeStrokeWidth", "101"),
    ],
)
def test_what_is_no_stroke_is_refused(touches: object, where: str, found: str) -> None:
    with pytest.raises(InputError) as refused:
        painted_mask({"rle": encode_mask(SQUARE), "touches": touches}, HEIGHT_PX, WIDTH_PX, "region r")
    assert refused.value.where.startswith("region r, value.touches")
    assert refused.value.where.endswith(where)
    assert refused.value.found == found


def test_neither_rle_nor_strokes_is_refused() -> None:
    with pytest.raises(InputError, match=r"region r, value\.rle"):
        painted_mask({"format": "rle", "touches": []}, HEIGHT_PX, WIDTH_PX, "region r")
