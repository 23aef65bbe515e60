"""The regions of a Label Studio `result` list that are masks or cuboids of ours or drawn with our tools, checked and typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from converters.brush_strokes import painted_mask
from converters.coordinates import Rectangle
from converters.finite_numbers import FINITE_NUMBER, is_finite_number
from converters.label_config import BIRDS_EYE, CUBOID, CUBOID_HEIGHT, CUBOID_Z, brush_tag, camera_tags
from converters.region_meta import RegionMeta, parse_meta
from sam4d.geometry import BirdsEyeView, BoolArray
from sam4d.structures import Clip, InputError

BIRDS_EYE_BRUSH = brush_tag(BIRDS_EYE)
_NUMBERS = (CUBOID_Z, CUBOID_HEIGHT)


@dataclass(frozen=True, eq=False)
class DrawnRegion:
    """One region as it stands in Label Studio.

    order: its place in the list. tag: the control it was made with. camera: of a camera's brush. rectangle and numbers (by tag, in
    order): of a cuboid's footprint. painted (RLE and strokes, as `converters.brush_strokes` reads them) and size_px (height, width): of a
    brush.
    """

    identity: str
    order: int
    tag: str
    frame_index: int
    label: str
    meta: RegionMeta | None
    camera: str | None = None
    rectangle: Rectangle | None = None
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    painted: Mapping[str, object] = field(default_factory=dict)
    size_px: tuple[int, int] = (0, 0)

    @property
    def where(self) -> str:
        return f"region {self.identity}"

    def decode(self) -> BoolArray:
        """The brush's mask, bool (H, W). Raises InputError for RLE that is not one of the image's size and strokes that are none."""
        return painted_mask(self.painted, *self.size_px, where=self.where)


def parse_regions(results: Iterable[Mapping[str, object]], clip: Clip, view: BirdsEyeView) -> list[DrawnRegion]:
    """Masks and cuboid footprints, in their order, without absent and empty ones. All else is left out: prompts that were left over, key
    points that carry a mask, relations, results of other tags.

    Raises:
        InputError: a frame outside the clip, a camera without an image there, a label, rectangle, number or meta that is none.
    """
    cameras = {brush_tag(tag): camera for camera, tag in camera_tags(clip.cameras).items()}
    entries = list(results)
    numbers: dict[str, dict[str, list[float]]] = {}
    for order, result in enumerate(entries):
        if not isinstance(result, Mapping):
            raise InputError(f"result {order}", "an object", type(result).__name__)
        if result.get("from_name") in _NUMBERS and result.get("type") == "number":
            where = f"region {result.get('id')}, {result['from_name']}"
            number = _finite(_value(result, where).get("number"), where)
            numbers.setdefault(str(result.get("id")), {}).setdefault(str(result["from_name"]), []).append(number)

    regions = []
    for order, result in enumerate(entries):
        tag, kind = result.get("from_name"), result.get("type")
        # A region that lost its label comes without "labels" in its type.
        if tag == CUBOID and kind in ("rectanglelabels", "rectangle"):
            region = _rectangle(result, order, clip, numbers.get(str(result.get("id")), {}))
        elif tag == BIRDS_EYE_BRUSH and kind in ("brushlabels", "brush"):
            region = _brush(result, order, clip, None, (view.size_px, view.size_px))
        elif tag in cameras and kind in ("brushlabels", "brush"):
            camera = clip.cameras[cameras[str(tag)]]
            region = _brush(result, order, clip, camera.name, (camera.height_px, camera.width_px))
        else:
            continue
        if region is not None:
            regions.append(region)
    return regions


def _rectangle(result: Mapping[str, object], order: int, clip: Clip, numbers: Mapping[str, list[float]]) -> DrawnRegion | None:
    where = f"region {result.get('id')}"
    meta = parse_meta(result.get("meta"), where)
    if meta is not None and meta.absent:
        return None
    value = _value(result, where)
    x, y, width, height = (_finite(value.get(key), f"{where}, value.{key}") for key in ("x", "y", "width", "height"))
    rotation = _finite(value.get("rotation", 0), f"{where}, value.rotation")
    if width <= 0 or height <= 0:
        raise InputError(where, "a rectangle with width and height above 0", f"{width} x {height} percent")
    height_m = numbers.get(CUBOID_HEIGHT, [])
    if any(number <= 0 for number in height_m):
        raise InputError(f"{where}, {CUBOID_HEIGHT}", "a height above 0 metres", str(min(height_m)))
    return DrawnRegion(
        identity=str(result.get("id")),
        order=order,
        tag=CUBOID,
        frame_index=_frame_index(result, clip, where),
        label=_label(value, "rectanglelabels", meta, where),
        meta=meta,
        rectangle=Rectangle(x, y, width, height, rotation),
        numbers={name: tuple(numbers.get(name, ())) for name in _NUMBERS},
    )


def _brush(result: Mapping[str, object], order: int, clip: Clip, camera: str | None, size_px: tuple[int, int]) -> DrawnRegion | None:
    where = f"region {result.get('id')}"
    meta = parse_meta(result.get("meta"), where)
    if meta is not None and meta.absent:
        return None
    value = _value(result, where)
    frame_index = _frame_index(result, clip, where)
    if camera is not None and camera not in clip.frames[frame_index].load_images:
        raise InputError(where, f"a frame with an image of {camera}", f"frame {frame_index}, which has none")
    size = (result.get("original_height", size_px[0]), result.get("original_width", size_px[1]))
    if size != size_px:
        raise InputError(where, f"an image of {size_px[1]}x{size_px[0]} pixels", f"one of {size[1]}x{size[0]}")
    region = DrawnRegion(
        identity=str(result.get("id")),
        order=order,
        tag=str(result["from_name"]),
        frame_index=frame_index,
        label=_label(value, "brushlabels", meta, where),
        meta=meta,
        camera=camera,
        painted=value,
        size_px=size_px,
    )
    # An empty brush that says all about its object is the one that keeps what nothing shows.
    keeps_object = meta is not None and meta.is_complete
    return region if keeps_object or np.any(region.decode()) else None


def _value(result: Mapping[str, object], where: str) -> Mapping[str, object]:
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise InputError(f"{where}, value", "an object", type(value).__name__)
    return value


def _label(value: Mapping[str, object], key: str, meta: RegionMeta | None, where: str) -> str:
    labels = value.get(key)
    if isinstance(labels, list) and labels and isinstance(labels[0], str):
        return labels[0]
    if meta is None:
        raise InputError(where, "a label", "none")
    return meta.label


def _frame_index(result: Mapping[str, object], clip: Clip, where: str) -> int:
    index = result.get("item_index", 0)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(clip):
        raise InputError(f"{where}, item_index", f"a frame of the task, 0 to {len(clip) - 1}", repr(index)[:40])
    return index


def _finite(value: object, where: str) -> float:
    if not is_finite_number(value):
        raise InputError(where, FINITE_NUMBER, repr(value)[:40])
    return float(value)
