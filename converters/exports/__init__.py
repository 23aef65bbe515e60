"""Labels and recordings, written to files. An exporter leaves its whole output behind or none of it."""

from __future__ import annotations

from converters.exports.kitti_tracking import kitti_tracking_files, read_kitti_tracking, write_kitti_tracking
from converters.exports.sequence_folder import label_files, write_labels, write_sequence
from converters.exports.whole_output import file_name, write_whole_files
from converters.exports.windows import Window, join_windows

__all__ = [
    "Window",
    "file_name",
    "join_windows",
    "kitti_tracking_files",
    "label_files",
    "read_kitti_tracking",
    "write_kitti_tracking",
    "write_labels",
    "write_sequence",
    "write_whole_files",
]
