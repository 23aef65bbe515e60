"""Labels and recordings, written to files. An exporter leaves its whole output behind or none of it."""

from __future__ import annotations

from converters.exports.kitti_tracking import read_kitti_tracking, write_kitti_tracking
from converters.exports.sequence_folder import write_labels, write_sequence
from converters.exports.windows import Window, join_windows

__all__ = ["Window", "join_windows", "read_kitti_tracking", "write_kitti_tracking", "write_labels", "write_sequence"]
