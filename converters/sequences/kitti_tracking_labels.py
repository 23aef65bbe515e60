"""Labels of KITTI's tracking benchmark, `label_02/NAME.txt` with `calib/NAME.txt`. Inverse of `converters.exports.write_kitti_tracking`."""

from __future__ import annotations

from pathlib import Path

from converters.kitti_lines import KittiObject, parse_label_line
from converters.sequences.kitti_text import parse_calibration
from converters.sequences.sequence_folder import FolderReader, read_file
from sam4d.structures import InputError


def read_kitti_tracking(directory: str | Path, name: str) -> tuple[KittiObject, ...]:
    """The objects of `label_02/NAME.txt`, cuboids mapped to the LiDAR frame by `calib/NAME.txt`; DontCare lines are left out.

    Raises:
        InputError: naming file and line.
    """
    label_file, calibration_file = Path(directory) / "label_02" / f"{name}.txt", Path(directory) / "calib" / f"{name}.txt"
    rect_SE3_lidar = parse_calibration(_read_text(calibration_file), str(calibration_file))
    objects = []
    for number, line in enumerate(_read_text(label_file).splitlines(), start=1):
        if line.strip():
            item = parse_label_line(line, rect_SE3_lidar, f"{label_file}: line {number}")
            if item.label != "DontCare":
                objects.append(item)
    return tuple(objects)


def _read_text(file: Path) -> str:
    try:
        return read_file(FolderReader(file.parent.resolve()), file.name, str(file.parent)).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(str(file), "a text", "bytes that are not UTF-8") from None
