"""Waymo-4DSeg labels that lie apart from their drive: the inverse pair, and one line where they are another drive's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.exports import read_waymo_4dseg_label_files, write_sequence, write_whole_files
from converters.exports.waymo_4dseg import waymo_4dseg_label_files
from converters.sequences import open_sequence
from sam4d.structures import Clip, InputError
from tests.converters.exports.read_back import labels_of, masks_of, points_of
from tests.converters.tiny_recording import tiny_clip, tiny_masklets


def written(folder: Path, clip: Clip) -> Path:
    write_whole_files({folder / path: data for path, data in waymo_4dseg_label_files(clip, tiny_masklets()).items()})
    return folder


@pytest.mark.parametrize("place", [".", "sam4d_labels", "sam4d_labels/tiny"])
@pytest.mark.parametrize("in_files", [True, False])
def test_written_labels_read_back(tmp_path: Path, place: str, in_files: bool) -> None:
    clip = tiny_clip()
    if in_files:
        write_sequence(clip, tmp_path / "drive")
        clip = open_sequence(tmp_path / "drive")
    found = read_waymo_4dseg_label_files(written(tmp_path / "labels", clip) / place, clip)
    assert labels_of(found) == {1: "Car", 12: "Straßenschild"}
    masks, points = masks_of(tiny_masklets()), points_of(tiny_masklets())
    assert (set(masks_of(found)), set(points_of(found))) == (set(masks), set(points))
    assert all(np.array_equal(mask, masks[key]) for key, mask in masks_of(found).items())
    assert all(np.array_equal(mask, points[key]) for key, mask in points_of(found).items())


def test_labels_of_another_drive_are_refused(tmp_path: Path) -> None:
    clip = tiny_clip()
    folder = written(tmp_path, clip)
    with pytest.raises(InputError, match=r"000002.json: expected labels called as one of the clip's sweeps, like 000000.json, found"):
        read_waymo_4dseg_label_files(folder, clip.window(0, 2))
    with pytest.raises(InputError, match=r"expected labels of Waymo-4DSeg, sam4d_labels/other/000000.json and so on, found none"):
        read_waymo_4dseg_label_files(folder, replace(clip, name="other"))
    with pytest.raises(InputError, match=r"sensors.front: expected LiDAR_TOP or one of the cameras rear, found 'front'"):
        read_waymo_4dseg_label_files(folder, replace(clip, cameras={"rear": clip.cameras["rear"]}))
    narrow = replace(clip.cameras["front"], width_px=20)
    with pytest.raises(InputError, match=r"000000.json: .*image_mask.size: expected \[16, 20\], found \[16, 24\]"):
        read_waymo_4dseg_label_files(folder, replace(clip, cameras=dict(clip.cameras) | {"front": narrow}))
    file = folder / "sam4d_labels/tiny/000000.json"
    document = json.loads(file.read_text())
    document["sensors"]["front"]["objects"][0]["image_mask"]["counts"] = "99"
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"objects\[0\].image_mask.counts: expected runs that fill 384 pixels"):
        read_waymo_4dseg_label_files(folder, clip)
