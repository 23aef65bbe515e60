"""What a region of ours carries in `meta.sam4d`, and its id: the only places that survive every edit in Label Studio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.coco_rle import CocoRle
from converters.finite_numbers import FINITE_NUMBER, is_finite_number
from sam4d.structures import Cuboid, InputError

SCHEMA = 1
"""Of what `RegionMeta.to_json` writes. One more where an older reader would misunderstand it; `parse_meta` reads all that came before."""

_KEY = "sam4d"


@dataclass(frozen=True)
class RegionMeta:
    """Which object on which frame a region shows, and what the engine found.

    label: as it was written, so that a change shows. has_rectangle: the object's cuboid was drawn on the bird's-eye view; then the
    rectangle alone carries cuboid, points and score. Else (no cuboid, or its centre lies outside the view) every region of the object on
    the frame carries them. absent: nothing is there any more; the region only replaces one that was. by_hand: a person set the cuboid.
    agreement: how well points and camera masks agree, 0 to 1 (`converters.agreement`), where a camera sees the object.
    """

    object_id: int
    frame_index: int
    label: str
    version: str
    has_rectangle: bool
    absent: bool = False
    cuboid: Cuboid | None = None
    points: Mapping[str, object] | CocoRle | None = None
    score: float = 0.0
    by_hand: bool = False
    agreement: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the region says all about the object on its frame."""
        return self.points is not None and not self.absent

    def to_json(self) -> dict[str, object]:
        """The value of a result's `meta`."""
        fields: dict[str, object] = {
            "schema": SCHEMA,
            "object_id": self.object_id,
            "frame_index": self.frame_index,
            "label": self.label,
            "version": self.version,
            "has_rectangle": self.has_rectangle,
        }
        if self.absent:
            fields["absent"] = True
        elif self.points is not None:
            fields |= {"cuboid": _cuboid_to_json(self.cuboid), "points": dict(self.points), "score": self.score}
            if self.by_hand:
                fields["by_hand"] = True
            if self.agreement is not None:
                fields["agreement"] = round(self.agreement, 3)
        return {_KEY: fields}


def region_id(object_id: int, frame_index: int, tag: str) -> str:
    """The id of an object's region on a frame, by the control tag that it belongs to: the same in every answer."""
    return f"o{object_id}-f{frame_index}-{tag}"


def parse_meta(meta: object, where: str) -> RegionMeta | None:
    """A result's `meta` -> ours, or None where it is not ours.

    Raises:
        InputError: `meta.sam4d` that was not written by `RegionMeta.to_json`, or by that of a newer version.
            The points stay as they are: only the sweep knows N.
    """
    fields = meta.get(_KEY) if isinstance(meta, Mapping) else None
    if fields is None:
        return None
    where = f"{where}, meta.{_KEY}"
    if not isinstance(fields, Mapping):
        raise InputError(where, "an object", type(fields).__name__)
    # What was written before schemas were numbered is of the first one.
    schema = _count(fields.get("schema", 1), f"{where}.schema")
    if schema > SCHEMA:
        raise InputError(f"{where}.schema", f"at most {SCHEMA} (a newer backend wrote it: upgrade this one)", str(schema))
    label, version = fields.get("label"), fields.get("version", "")
    if not isinstance(label, str) or not isinstance(version, str):
        raise InputError(where, "texts label and version", f"{label!r:.40} and {version!r:.40}")
    absent, has_rectangle = fields.get("absent", False), fields.get("has_rectangle")
    if not isinstance(absent, bool) or not isinstance(has_rectangle, bool):
        raise InputError(where, "has_rectangle and absent to be true or false", f"{has_rectangle!r:.40} and {absent!r:.40}")
    points, score = fields.get("points"), fields.get("score", 0.0)
    if points is not None and not isinstance(points, Mapping):
        raise InputError(f"{where}.points", "COCO run lengths", type(points).__name__)
    if not is_finite_number(score) or not 0 <= score <= 1:
        raise InputError(f"{where}.score", "a number from 0 to 1", repr(score)[:40])
    by_hand, agreement = fields.get("by_hand", False), fields.get("agreement")
    if not isinstance(by_hand, bool):
        raise InputError(f"{where}.by_hand", "true or false", repr(by_hand)[:40])
    if agreement is not None and (not is_finite_number(agreement) or not 0 <= agreement <= 1):
        raise InputError(f"{where}.agreement", "a number from 0 to 1", repr(agreement)[:40])
    return RegionMeta(
        object_id=_count(fields.get("object_id"), f"{where}.object_id"),
        frame_index=_count(fields.get("frame_index"), f"{where}.frame_index"),
        label=label,
        version=version,
        has_rectangle=has_rectangle,
        absent=absent,
        cuboid=cuboid_from_json(fields.get("cuboid"), f"{where}.cuboid"),
        points=points,
        score=float(score),
        by_hand=by_hand,
        agreement=None if agreement is None else float(agreement),
    )


def _cuboid_to_json(cuboid: Cuboid | None) -> dict[str, object] | None:
    if cuboid is None:
        return None
    return {"center_m": list(cuboid.center_m), "size_lwh_m": list(cuboid.size_lwh_m), "yaw_rad": cuboid.yaw_rad}


def cuboid_from_json(fields: object, where: str) -> Cuboid | None:
    """{"center_m", "size_lwh_m", "yaw_rad"} or null. Raises InputError for anything else."""
    if fields is None:
        return None
    if not isinstance(fields, Mapping):
        raise InputError(where, "an object or null", type(fields).__name__)
    x, y, z = _three_numbers(fields.get("center_m"), f"{where}.center_m")
    length, width, height = _three_numbers(fields.get("size_lwh_m"), f"{where}.size_lwh_m")
    yaw_rad = fields.get("yaw_rad")
    if not is_finite_number(yaw_rad):
        raise InputError(f"{where}.yaw_rad", FINITE_NUMBER, repr(yaw_rad)[:40])
    if min(length, width, height) <= 0:
        raise InputError(f"{where}.size_lwh_m", "three lengths above 0", f"{length}, {width}, {height}")
    return Cuboid((x, y, z), (length, width, height), float(yaw_rad))


def _three_numbers(value: object, where: str) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 3 or not all(map(is_finite_number, value)):
        raise InputError(where, f"three numbers, each {FINITE_NUMBER}", repr(value)[:80])
    return float(value[0]), float(value[1]), float(value[2])


def _count(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(where, "a whole number from 0 on", repr(value)[:40])
    return value
