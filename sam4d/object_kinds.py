"""What common road users are called and how large they usually are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["car", "truck", "bus", "pedestrian", "cyclist", "motorcycle", "pole", "object"]

# Words by kind, the most telling first; a project's label fits where it contains one of them.
_WORDS: dict[Kind, tuple[str, ...]] = {
    "car": ("car", "van", "vehicle", "automobile", "suv", "sedan", "pickup", "taxi"),
    "truck": ("truck", "lorry", "trailer", "large vehicle", "large_vehicle"),
    "bus": ("bus", "coach"),
    "pedestrian": ("pedestrian", "person", "human", "people", "walker"),
    "cyclist": ("cyclist", "bicyclist", "bicycle", "rider", "bike", "cycle"),
    "motorcycle": ("motorcyclist", "motorcycle", "motorbike", "scooter"),
    "pole": ("pole", "sign", "post", "bollard", "cone", "barrier"),
    "object": ("object", "unknown", "other", "misc", "thing"),
}

# Where a project lacks a kind, its users would file it here.
_NEIGHBOURS: dict[Kind, tuple[Kind, ...]] = {
    "truck": ("car",),
    "bus": ("truck", "car"),
    "motorcycle": ("cyclist",),
    "cyclist": ("motorcycle",),
    "car": (),
    "pedestrian": (),
    "pole": (),
    "object": (),
}


@dataclass(frozen=True)
class UsualSize:
    """Metres: what is usual, the least extent that is believed to be the whole object, and the most that is believed to be one.

    rounding_m: corners are rounded and seen by few beams, so that the points end before the object does.
    """

    length_m: float
    width_m: float
    height_m: float
    least_length_m: float
    least_width_m: float
    least_height_m: float
    most_length_m: float
    most_width_m: float
    most_height_m: float
    rounding_m: float


_SIZES: dict[Kind, UsualSize] = {
    "car": UsualSize(4.5, 1.85, 1.6, 3.5, 1.5, 1.1, 6.5, 2.4, 2.6, 0.1),
    "truck": UsualSize(7.5, 2.5, 3.0, 5.0, 2.0, 1.8, 20.0, 3.5, 4.5, 0.1),
    "bus": UsualSize(11.0, 2.7, 3.2, 7.0, 2.2, 2.4, 20.0, 3.5, 4.5, 0.1),
    "pedestrian": UsualSize(0.7, 0.65, 1.7, 0.4, 0.4, 1.0, 1.2, 1.2, 2.1, 0.05),
    "cyclist": UsualSize(1.75, 0.65, 1.7, 1.3, 0.45, 1.2, 2.3, 1.1, 2.2, 0.05),
    "motorcycle": UsualSize(2.0, 0.8, 1.5, 1.5, 0.5, 1.0, 2.8, 1.3, 2.2, 0.05),
}
_AS_SEEN = UsualSize(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, float("inf"), float("inf"), float("inf"), 0.0)


def choose_label(kind: Kind, labels: Sequence[str]) -> str:
    """The project's own label for a kind: by common names, else of a neighbouring kind, else "Object", else the first.

    Raises:
        ValueError: no labels.
    """
    if not labels:
        raise ValueError("a project has at least one label")
    return label_of_kind(kind, labels) or labels[0]


def label_of_kind(kind: Kind, labels: Sequence[str]) -> str | None:
    """The project's own label for a kind as `choose_label` says, None where it has neither one that fits nor an "Object"."""
    for candidate in (kind, *_NEIGHBOURS[kind], "object"):
        for label in labels:
            if label.strip().lower() in _WORDS[candidate]:
                return label
        for label in labels:
            if kind_of_label(label) == candidate:
                return label
    return None


def kind_of_label(label: str) -> Kind | None:
    """The kind that a label names, None where no common name is part of it. The longest name wins: a motorcycle is not a cycle."""
    name = label.strip().lower()
    found: list[tuple[int, Kind]] = [(len(word), kind) for kind, words in _WORDS.items() for word in words if word in name]
    return max(found)[1] if found else None


def is_vehicle(label: str) -> bool:
    """Whether a label names a car, truck or bus."""
    return kind_of_label(label) in ("car", "truck", "bus")


def usual_size(label: str, longer_m: float, shorter_m: float, height_m: float) -> UsualSize:
    """How large the object should be, by its label, else by the kind that its visible size suggests; as seen where neither tells."""
    kind = kind_of_label(label)
    if kind is None or kind in ("object", "pole"):
        kind = kind_of_size(longer_m, shorter_m, height_m)
    if kind == "car" and longer_m > _SIZES["car"].most_length_m and (kind_of_label(label) != "car" or "vehicle" in label.lower()):
        kind = "truck"
    return _SIZES.get(kind, _AS_SEEN)


def kind_of_size(longer_m: float, shorter_m: float, height_m: float) -> Kind:
    """What a visible size, hidden sides not counted, most likely is."""
    if longer_m > 8.0 and height_m > 2.3 and longer_m < 20 and shorter_m < 3.6:
        return "bus"
    if longer_m > 4.0 and height_m > 2.4 and longer_m < 20 and shorter_m < 3.6:
        return "truck"
    if 1.3 < longer_m < 6.5 and shorter_m < 2.8 and 0.9 < height_m < 2.4:
        return "cyclist" if longer_m < 2.2 and shorter_m < 0.9 and height_m > 1.4 else "car"
    if longer_m < 1.2 and 1.1 < height_m < 2.1:
        return "pedestrian"
    if longer_m < 0.8 and height_m >= 2.1:
        return "pole"
    return "object"
