"""Labels and recordings, written to files. An exporter leaves its whole output behind or none of it."""

from __future__ import annotations

from converters.exports.coco import coco_files, read_coco
from converters.exports.cvat_datumaro import cvat_datumaro_files
from converters.exports.cvat_tracklets import cvat_tracklet_files
from converters.exports.formats import LABEL_FORMATS, LabelFormat, labels_as
from converters.exports.kitti_tracking import kitti_object_files, kitti_tracking_files, write_kitti_tracking
from converters.exports.nuscenes import nuscenes_files
from converters.exports.open_label import open_label_files, read_open_label
from converters.exports.segments import segments_files
from converters.exports.semantic_kitti import read_semantic_kitti, semantic_kitti_files
from converters.exports.sequence_folder import label_files, write_labels, write_sequence
from converters.exports.supervisely import supervisely_files
from converters.exports.waymo_4dseg import read_waymo_4dseg_label_files
from converters.exports.whole_output import FileContent, file_name, write_whole_files
from converters.exports.windows import Window, join_windows

__all__ = [
    "LABEL_FORMATS",
    "FileContent",
    "LabelFormat",
    "Window",
    "coco_files",
    "cvat_datumaro_files",
    "cvat_tracklet_files",
    "file_name",
    "join_windows",
    "kitti_object_files",
    "kitti_tracking_files",
    "label_files",
    "labels_as",
    "nuscenes_files",
    "open_label_files",
    "read_coco",
    "read_open_label",
    "read_semantic_kitti",
    "read_waymo_4dseg_label_files",
    "segments_files",
    "semantic_kitti_files",
    "supervisely_files",
    "write_kitti_tracking",
    "write_labels",
    "write_sequence",
    "write_whole_files",
]
