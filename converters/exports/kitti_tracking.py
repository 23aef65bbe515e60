"""KITTI tracking out: `label_02/NAME.txt` and `calib/NAME.txt`.

A line is `frame id type truncated occluded alpha x1 y1 x2 y2 h w l x y z ry`: the box's bottom centre and its turn `ry` about y, in the
camera's level frame (`kitti_camera.KittiCamera`), which the calibration file relates to the LiDAR and the image. Layout: the
development kit of the KITTI tracking benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.kitti_camera import KittiCamera, format_calibration, kitti_camera, projected_box
from converters.exports.whole_output import file_name, write_whole_files
from converters.kitti_lines import KittiObject, format_label_line
from sam4d.structures import CameraMasks, Clip, Masklet, ObjectMasks

UNKNOWN_BOX_PX = (-1.0, -1.0, -1.0, -1.0)
"""The 2D box of an object that the camera does not see."""


def write_kitti_tracking(
    clip: Clip, masklets: Sequence[Masklet], directory: str | Path, camera: str | None = None, *, overwrite: bool = False
) -> None:
    """Write `kitti_tracking_files` into a directory, which several clips may share.

    Raises:
        InputError: as `kitti_tracking_files`, or files that exist already and may not be overwritten.
    """
    files = kitti_tracking_files(clip, masklets, camera)
    write_whole_files({Path(directory) / path: data for path, data in files.items()}, overwrite=overwrite)


def kitti_tracking_files(clip: Clip, masklets: Sequence[Masklet], camera: str | None = None) -> dict[str, bytes]:
    """A clip's objects as KITTI tracking labels, {relative path: content}: every one with a cuboid or with a mask in the chosen camera.

    The 2D box is that of the object's mask where there is one, else that of the projected cuboid; an object out of the camera's view has
    `UNKNOWN_BOX_PX`, truncated 2, occluded 3. Characters that a type may not hold (spaces) are written as in addresses (%20).

    Args:
        camera: the camera to write for; None chooses the one that looks most nearly forward, and for a drive without cameras a nominal
            one at the LiDAR's origin (1242 x 375 pixels, focal length 721.5).

    Raises:
        InputError: no such camera, or two masklets with one object id.
    """
    kitti = kitti_camera(clip, camera)
    require_distinct_objects(masklets)
    items = [item for index in range(len(clip)) for item in kitti_objects(masklets, index, kitti)]
    lines = [format_label_line(item, kitti.rect_SE3_lidar) + "\n" for item in items]
    name = file_name(clip.name)
    return {f"label_02/{name}.txt": "".join(lines).encode(), f"calib/{name}.txt": format_calibration(kitti).encode()}


def kitti_object_files(clip: Clip, masklets: Sequence[Masklet], camera: str | None = None) -> dict[str, bytes]:
    """The same as labels of KITTI's object benchmark, a file per frame: `NAME/label_2/000000.txt` and `NAME/calib/000000.txt`.

    Its lines are those of the tracking benchmark without frame and id: which object is which over the frames is lost.

    Raises:
        InputError: as `kitti_tracking_files`.
    """
    kitti = kitti_camera(clip, camera)
    require_distinct_objects(masklets)
    folder, calibration = file_name(clip.name), format_calibration(kitti, "object").encode()
    files: dict[str, bytes] = {}
    for frame_index in range(len(clip)):
        lines = [format_label_line(item, kitti.rect_SE3_lidar) for item in kitti_objects(masklets, frame_index, kitti)]
        files[f"{folder}/label_2/{frame_index:06d}.txt"] = "".join(line.split(" ", 2)[2] + "\n" for line in lines).encode()
        files[f"{folder}/calib/{frame_index:06d}.txt"] = calibration
    return files


def kitti_objects(masklets: Sequence[Masklet], frame_index: int, kitti: KittiCamera) -> list[KittiObject]:
    """What one frame shows, ascending by object id."""
    items = [_kitti_object(masklet, frame_index, kitti) for masklet in sorted(masklets, key=lambda item: item.object_id)]
    return [item for item in items if item is not None]


def _kitti_object(masklet: Masklet, frame_index: int, kitti: KittiCamera) -> KittiObject | None:
    cuboid = masklet.cuboids.get(frame_index)
    mask_box, mask_area_px = _mask_box(masklet.masks.get(frame_index), kitti.camera.name)
    if cuboid is None and mask_box is None:
        return None
    projection = None if cuboid is None else projected_box(cuboid, kitti.camera)
    truncated, occluded = 2, 3
    if projection is not None:
        box, cut_off = projection
        truncated = 0 if cut_off < 0.15 else 1 if cut_off < 0.5 else 2
        if mask_area_px is not None:
            # Even a free-standing object leaves half of its cuboid's box empty.
            filled = mask_area_px / ((box[2] - box[0]) * (box[3] - box[1]))
            occluded = 0 if filled >= 0.4 else 1 if filled >= 0.15 else 2
    elif mask_box is not None:
        camera = kitti.camera
        at_border = mask_box[0] <= 0 or mask_box[1] <= 0 or mask_box[2] >= camera.width_px or mask_box[3] >= camera.height_px
        truncated = int(at_border)
    shown = mask_box or (projection[0] if projection is not None else UNKNOWN_BOX_PX)
    return KittiObject(frame_index, masklet.object_id, masklet.label, truncated, occluded, shown, cuboid)


def _mask_box(masks: ObjectMasks | None, camera: str) -> tuple[tuple[float, float, float, float] | None, int | None]:
    """The box around an object's mask in a camera, None where it is empty, and the mask's area, None where nobody looked."""
    if masks is None or camera not in masks.camera_masks:
        return None, None
    crops = masks.camera_masks if isinstance(masks.camera_masks, CameraMasks) else CameraMasks(masks.camera_masks)
    u0, v0, u1, v1 = crops.box(camera)
    return ((float(u0), float(v0), float(u1), float(v1)) if u1 > u0 else None), crops.area_px(camera)
