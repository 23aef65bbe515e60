"""CVAT's "Kitti Raw Format 1.0": `cvat/NAME/tracklet_labels.xml` and `frame_list.txt`.

The file has the layout of KITTI's raw recordings, with CVAT's meaning: `w`, `h` and `l` are the sizes along the cuboid's own x, y and z
(length, width and height), and `tx ty tz` is the centre. KITTI's own tools expect width, height and length, and the bottom centre.

A tracklet has one size and no gaps (readers count its poses, whichever of them they skip), so that a track is as many tracklets as it has
sizes and runs of consecutive frames; their attribute `object_id` is the track's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree  # for writing; nothing is parsed here

from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.recorded_files import frame_names
from converters.exports.whole_output import file_name
from sam4d.geometry import wrap_angle
from sam4d.structures import Clip, Cuboid, Masklet

_HEADER = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<!DOCTYPE boost_serialization>\n'
_LABELLED, _VISIBLE, _IN_IMAGE, _UNSET = 2, 0, 0, -1


def cvat_tracklet_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, bytes]:
    """A clip's cuboids, {relative path: content}.

    Raises:
        InputError: two masklets with one object id.
    """
    require_distinct_objects(masklets)
    runs = [(masklet, run) for masklet in masklets for run in tracklet_runs(masklet)]
    root = ElementTree.Element("boost_serialization", {"signature": "serialization::archive", "version": "9"})
    tracklets = ElementTree.SubElement(root, "tracklets", {"class_id": "0", "tracking_level": "0", "version": "0"})
    _add(tracklets, "count", len(runs))
    _add(tracklets, "item_version", 1)
    for number, (masklet, run) in enumerate(runs):
        # Boost tells the class of the items once, with the first of them.
        first = {"class_id": "1", "tracking_level": "0", "version": "1"} if number == 0 else {}
        _add_tracklet(ElementTree.SubElement(tracklets, "item", first), masklet, run, number == 0)
    ElementTree.indent(root)
    folder = f"cvat/{file_name(clip.name)}"
    names = "".join(f"{index} {name}\n" for index, name in enumerate(frame_names(clip)))
    return {
        f"{folder}/tracklet_labels.xml": (_HEADER + ElementTree.tostring(root, encoding="unicode") + "\n").encode(),
        f"{folder}/frame_list.txt": names.encode(),
    }


def tracklet_runs(masklet: Masklet) -> Iterator[dict[int, Cuboid]]:
    """The object's cuboids in runs of consecutive frames and of one size, {frame index: cuboid} each."""
    frames = enumerate(sorted(masklet.cuboids))
    for _, run in itertools.groupby(frames, key=lambda item: (item[1] - item[0], masklet.cuboids[item[1]].size_lwh_m)):
        yield {frame_index: masklet.cuboids[frame_index] for _, frame_index in run}


def _add_tracklet(item: ElementTree.Element, masklet: Masklet, run: dict[int, Cuboid], first: bool) -> None:
    first_frame = min(run)
    length, width, height = run[first_frame].size_lwh_m
    _add(item, "objectType", masklet.label)
    for key, size_m in (("h", width), ("w", length), ("l", height)):
        _add(item, key, float(size_m))
    _add(item, "first_frame", first_frame)
    poses = ElementTree.SubElement(item, "poses", {"class_id": "2", "tracking_level": "0", "version": "0"} if first else {})
    _add(poses, "count", len(run))
    _add(poses, "item_version", 2)
    for frame_index, cuboid in run.items():
        is_first = first and frame_index == first_frame
        pose = ElementTree.SubElement(poses, "item", {"class_id": "3", "tracking_level": "0", "version": "1"} if is_first else {})
        for key, metres in zip(("tx", "ty", "tz"), cuboid.center_m, strict=True):
            _add(pose, key, float(metres))
        for key, radians in (("rx", 0.0), ("ry", 0.0), ("rz", float(wrap_angle(cuboid.yaw_rad)))):
            _add(pose, key, radians)
        for key, state in (("state", _LABELLED), ("occlusion", _VISIBLE), ("occlusion_kf", 0), ("truncation", _IN_IMAGE)):
            _add(pose, key, state)
        for key in ("amt_occlusion", "amt_border_l", "amt_border_r", "amt_occlusion_kf", "amt_border_kf"):
            _add(pose, key, _UNSET)
    _add(item, "finished", 1)
    attribute = ElementTree.SubElement(ElementTree.SubElement(item, "attributes"), "attribute")
    _add(attribute, "name", "object_id")
    _add(attribute, "value", masklet.object_id)


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)
