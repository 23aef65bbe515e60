"""Labels of a Supervisely episode: `annotation.json`, and `IMAGE.figures.json` beside the images.

Of the figures, cuboids (`cuboid_3d`) and points (`point_cloud`) in sweeps and masks (`bitmap`) in images are read. Inverse of
`converters.exports.supervisely_files`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from converters.columns import standing_inside
from converters.packed_masks import MaskStore, PackedMasks
from converters.sequences.bitmap_figures import decode_bitmap
from converters.sequences.json_field import JsonField
from converters.sequences.sequence_folder import FolderReader, ImageFile, read_file
from converters.sequences.supervisely import FRAMES, sweeps_by_number
from sam4d.geometry import BoolArray
from sam4d.structures import Clip, Cuboid, Float32Array, Frame, Masklet, ObjectMasks

ANNOTATION, META, IMAGE_FIGURES = "annotation.json", "meta.json", ".figures.json"


def read_supervisely_labels(folder: Path, clip: Clip) -> tuple[Masklet, ...]:
    """The objects of an episode that have a figure, in the file's order, numbered from 1: cuboids, and as masks points and bitmaps.

    A cuboid's dimensions are width, length and height (x, y, z), its length lies along its y axis, and only the turn about z counts. An
    object that has a cuboid and masks in images, but no points there, gets the points that stand inside the cuboid. None where the
    episode has no annotation.json: what nobody labelled is uploaded so.

    Raises:
        InputError: naming file and field: an object or class that is not there, a frame that the episode does not have, points that the
            sweep does not have, two cuboids of one object on one frame, a bitmap that its image has no room for.
    """
    if not (folder / ANNOTATION).is_file():
        return ()
    reader = FolderReader(folder.resolve())
    root = JsonField.parse(read_file(reader, ANNOTATION, str(folder)), f"{folder}/{ANNOTATION}")
    labels = _labels(root, folder)
    figures = _figures_by_frame(root, [*sweeps_by_number(reader, folder)])
    cuboids: dict[str, dict[int, Cuboid]] = {key: {} for key in labels}
    store = MaskStore()
    masks: dict[str, PackedMasks] = {key: PackedMasks(store=store) for key in labels}
    for frame_index, frame in enumerate(clip.frames):
        shown = _Shown(frame)
        for figure in figures[frame_index]:
            key = _object_of(figure, labels)
            kind, geometry = figure["geometryType"].text(), figure["geometry"]
            if kind == "cuboid_3d":
                if frame_index in cuboids[key]:
                    raise figure["objectKey"].wrong("one cuboid per object and frame")
                cuboids[key][frame_index] = _cuboid(geometry)
            elif kind == "point_cloud":
                shown.add_points(key, geometry["indices"])
        for camera, load in frame.load_images.items():
            assert isinstance(load, ImageFile)
            for figure in _image_figures(reader, folder, f"{load.path}{IMAGE_FIGURES}"):
                # Figures may hang on no object, which then has no place in the drive.
                if figure.has("objectKey") and figure["geometryType"].text() == "bitmap":
                    shape = (clip.cameras[camera].height_px, clip.cameras[camera].width_px)
                    shown.add_bitmap(_object_of(figure, labels), camera, figure["geometry"]["bitmap"], shape)
        for key in (key for key in labels if shown.shows(key)):
            lidar_mask = shown.lidar_mask(key, cuboids[key].get(frame_index))
            masks[key][frame_index] = ObjectMasks(0, frame_index, shown.bitmaps[key], lidar_mask, 1.0)
    objects = [key for key in labels if cuboids[key] or masks[key]]
    return tuple(
        Masklet(object_id, labels[key], masks[key].as_object(object_id), dict(sorted(cuboids[key].items())))
        for object_id, key in enumerate(objects, start=1)
    )


@dataclass
class _Shown:
    """What the figures of one frame show, by the key of their object. Its sweep is read once, and only where a mask asks for it."""

    frame: Frame
    points: dict[str, BoolArray] = field(default_factory=dict)
    bitmaps: dict[str, dict[str, BoolArray]] = field(default_factory=lambda: defaultdict(dict))
    _points_m: Float32Array | None = None

    @property
    def points_m(self) -> Float32Array:
        if self._points_m is None:
            self._points_m = self.frame.load_sweep().points_m
        return self._points_m

    def add_points(self, key: str, indices: JsonField) -> None:
        mask = self.points.setdefault(key, np.zeros(len(self.points_m), dtype=np.bool_))
        mask[[element.integer(0, len(mask) - 1) for element in indices.elements()]] = True

    def add_bitmap(self, key: str, camera: str, bitmap: JsonField, shape: tuple[int, int]) -> None:
        mask = decode_bitmap(bitmap.value, shape, bitmap.where)
        before = self.bitmaps[key].get(camera)
        self.bitmaps[key][camera] = mask if before is None else mask | before

    def shows(self, key: str) -> bool:
        return key in self.points or key in self.bitmaps

    def lidar_mask(self, key: str, cuboid: Cuboid | None) -> BoolArray:
        """Of an object that is shown."""
        if key in self.points:
            return self.points[key]
        return np.zeros(len(self.points_m), dtype=np.bool_) if cuboid is None else standing_inside(self.points_m, cuboid)


def _labels(root: JsonField, folder: Path) -> dict[str, str]:
    """{key of an object: its class}."""
    classes = _classes(folder)
    labels: dict[str, str] = {}
    for item in root["objects"].elements():
        if classes is not None and item["classTitle"].value not in classes:
            raise item["classTitle"].wrong(f"one of the classes {', '.join(sorted(classes))[:200] or '(there are none)'} of {META}")
        key = _key(item["key"])
        if key in labels:
            raise item["key"].wrong("keys that differ")
        labels[key] = item["classTitle"].text()
    return labels


def _figures_by_frame(root: JsonField, numbers: Sequence[int]) -> Mapping[int, list[JsonField]]:
    """{index of a frame: its figures}. numbers: of the frames, as the episode counts them."""
    index_of = {number: index for index, number in enumerate(numbers)}
    figures: dict[int, list[JsonField]] = defaultdict(list)
    for entry in root["frames"].elements():
        number = entry["index"].integer(0)
        if number not in index_of:
            raise entry["index"].wrong(f"a frame of {FRAMES}")
        figures[index_of[number]] += entry["figures"].elements()
    return figures


def _image_figures(reader: FolderReader, folder: Path, path: str) -> list[JsonField]:
    """The figures of an image; none where the file is not there."""
    if not (folder / path).is_file():
        return []
    return JsonField.parse(read_file(reader, path, str(folder)), f"{folder}/{path}").elements()


def _object_of(figure: JsonField, labels: Mapping[str, str]) -> str:
    key = _key(figure["objectKey"])
    if key not in labels:
        raise figure["objectKey"].wrong("the key of one of the objects")
    return key


def _key(field: JsonField) -> str:
    """Keys are UUIDs, which annotations of sweeps write without hyphens and those of images with them."""
    return field.text().replace("-", "").lower()


def _classes(folder: Path) -> set[str] | None:
    """The titles of the project's classes; None where its meta.json is not there."""
    project = folder.resolve().parent
    if not (project / META).is_file():
        return None
    root = JsonField.parse(read_file(FolderReader(project), META, str(project)), f"{project}/{META}")
    return {item["title"].text() for item in root["classes"].elements()}


def _cuboid(geometry: JsonField) -> Cuboid:
    x, y, z = (geometry["position"][axis].number() for axis in "xyz")
    width, length, height = (geometry["dimensions"][axis].number() for axis in "xyz")
    if min(width, length, height) < 0:
        raise geometry["dimensions"].wrong("lengths that are not negative")
    yaw_rad = geometry["rotation"]["z"].number() + np.pi / 2
    return Cuboid((x, y, z), (length, width, height), float(np.arctan2(np.sin(yaw_rad), np.cos(yaw_rad))))
