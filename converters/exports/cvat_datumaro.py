"""CVAT's "Datumaro 3D 1.0": `cvat/NAME/annotations/default.json`, every frame's cuboids, as CVAT takes annotations of a 3D task.

A cuboid has its centre, its turns about x, y and z and its size along its own x (length), y (width) and z (height) in the LiDAR frame.
The track is the attribute `track_id`; `keyframe` makes CVAT keep it, and CVAT hides a track on the frames between by itself. Layout:
Datumaro's own format, docs.cvat.ai "Datumaro".
"""

from __future__ import annotations

from collections.abc import Sequence

from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonArray, json_file
from converters.exports.recorded_files import frame_names, image_path, sweep_path
from converters.exports.whole_output import FileContent, file_name
from sam4d.geometry import wrap_angle
from sam4d.structures import Clip, Masklet

POINT_CLOUD_MEDIA = 6
"""Datumaro's number for items that are point clouds."""


def cvat_datumaro_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A clip's cuboids, {relative path: content}. Frames on which nothing is labelled are listed, too.

    Raises:
        InputError: two masklets with one object id.
    """
    require_distinct_objects(masklets)
    labels = sorted({masklet.label for masklet in masklets})
    document = {
        "dm_format_version": "1.0",
        "media_type": POINT_CLOUD_MEDIA,
        "infos": {"name": clip.name},
        "categories": {
            "label": {"labels": [{"name": label, "parent": "", "attributes": []} for label in labels], "attributes": ["occluded"]},
        },
        "items": JsonArray(lambda: (_item(clip, masklets, labels, index, name) for index, name in enumerate(frame_names(clip)))),
    }
    return {f"cvat/{file_name(clip.name)}/annotations/default.json": json_file(document)}


def _item(clip: Clip, masklets: Sequence[Masklet], labels: Sequence[str], frame_index: int, name: str) -> dict[str, object]:
    annotations: list[dict[str, object]] = []
    for masklet in masklets:
        cuboid = masklet.cuboids.get(frame_index)
        if cuboid is not None:
            annotations.append(
                {
                    "id": len(annotations),
                    "type": "cuboid_3d",
                    "group": 0,
                    "label_id": labels.index(masklet.label),
                    "position": [float(value) for value in cuboid.center_m],
                    "rotation": [0.0, 0.0, float(wrap_angle(cuboid.yaw_rad))],
                    "scale": [float(value) for value in cuboid.size_lwh_m],
                    "attributes": {"track_id": masklet.object_id, "keyframe": True, "occluded": False},
                }
            )
    images = [
        {"path": image_path(clip, frame_index, camera), "size": [clip.cameras[camera].height_px, clip.cameras[camera].width_px]}
        for camera in clip.frames[frame_index].load_images
    ]
    return {
        "id": name,
        "annotations": annotations,
        "attr": {"frame": frame_index},
        "point_cloud": {"path": sweep_path(clip, frame_index)},
        **({"related_images": images} if images else {}),
    }
