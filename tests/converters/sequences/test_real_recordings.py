"""The real recordings, read from end to end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pypcd4.pypcd4 import PointCloud

from converters.exports import write_sequence
from converters.sequences import check_sequence, open_sequence, read_cuboid_labels
from sam4d.geometry import Axis


@dataclass(frozen=True)
class Recording:
    name: str
    frame_count: int
    image_count: int
    forward: Axis
    labelled: tuple[int, ...]
    notes: tuple[str, ...]
    intensity_limit: float


RECORDINGS = (
    Recording("pandaset_001", 6, 17, "+y", (151,), ("camera front_left: no image on frame 0",), 255),
    Recording("kitti_tracking_0000", 20, 0, "+x", (3,) * 5 + (4,) + (3,) * 14, (), 1),
    Recording("av2_7fab2350", 2, 0, "+x", (81, 81), ("no image on any frame from cameras ring_front_center, ring_front_left",), 255),
    Recording("kitti_raw_sfnd_short", 12, 12, "+x", (), (), 1),
)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_a_real_recording_is_read_completely(shared_data: Path, recording: Recording) -> None:
    folder = shared_data / recording.name
    clip = open_sequence(folder)
    assert (clip.name, len(clip), clip.forward) == (recording.name, recording.frame_count, recording.forward)
    assert sum(len(frame.load_images) for frame in clip.frames) == recording.image_count
    notes = check_sequence(clip)
    assert len(notes) == len(recording.notes)
    assert all(note.startswith(expected) for note, expected in zip(notes, recording.notes, strict=True))
    description = json.loads((folder / "sequence.json").read_text())
    for frame, entry in zip(clip.frames, description["frames"], strict=True):
        sweep = frame.load_sweep()
        theirs = PointCloud.from_path(folder / entry["sweep"])
        np.testing.assert_array_equal(sweep.points_m, theirs.numpy(("x", "y", "z")))
        np.testing.assert_array_equal(sweep.intensity, theirs.numpy(("intensity",))[:, 0])
        assert sweep.intensity is not None
        assert sweep.intensity.min() >= 0
        assert recording.intensity_limit / 4 < sweep.intensity.max() <= recording.intensity_limit
        assert frame.timestamp_ns == entry["timestamp_ns"]
        assert frame.world_SE3_lidar is not None
        np.testing.assert_allclose(frame.world_SE3_lidar.translation_m, entry["world_SE3_lidar"]["translation_m"], atol=0)
        np.testing.assert_allclose(frame.world_SE3_lidar.rotation_wxyz, np.array(entry["world_SE3_lidar"]["rotation_wxyz"]), atol=1e-9)
    for name, camera in clip.cameras.items():
        assert (camera.width_px, camera.height_px) == (description["cameras"][name]["width"], description["cameras"][name]["height"])


@pytest.mark.parametrize("recording", [item for item in RECORDINGS if item.labelled], ids=lambda recording: recording.name)
def test_real_cuboids_are_read_and_hold_points(shared_data: Path, recording: Recording) -> None:
    labels = read_cuboid_labels(shared_data / recording.name)
    assert tuple(len(frame) for frame in labels if frame is not None) == recording.labelled
    assert len(labels) == recording.frame_count
    points_m = open_sequence(shared_data / recording.name).frames[0].load_sweep().points_m
    assert labels[0] is not None
    filled = [item.cuboid.contains(points_m).sum() >= 5 for item in labels[0]]
    assert np.mean(filled) > 0.5


def test_the_encodings_of_a_real_recording_change_nothing(shared_data: Path, tmp_path: Path) -> None:
    clip = open_sequence(shared_data / "pandaset_001")
    write_sequence(clip.window(0, 2), tmp_path / "copy", encoding="binary_compressed")
    for one, other in zip(open_sequence(tmp_path / "copy").frames, clip.frames, strict=False):
        np.testing.assert_array_equal(one.load_sweep().points_m, other.load_sweep().points_m)
        for name, load_image in other.load_images.items():
            np.testing.assert_array_equal(one.load_images[name](), load_image())
