from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from backend.labelled_folders import open_labelled_folder
from converters.exports.sequence_folder import write_labels, write_sequence
from sam4d.structures import InputError
from sam4d.training.windows import read_window, sample_window
from tests.converters.sequences.recordings import straight, write_waymo_4dseg
from tests.converters.tiny_recording import tiny_clip, tiny_masklets


def test_a_waymo_4dseg_folder_is_learnt_from(tmp_path: Path) -> None:
    clip, masklets = straight(tiny_clip()), tiny_masklets()
    write_waymo_4dseg(tmp_path, clip, masklets)
    labelled = open_labelled_folder(tmp_path)
    assert [masklet.object_id for masklet in labelled.masklets] == [1, 12]
    assert labelled.labelled_frames == (0, 1, 2)
    assert labelled.labelled_cameras == ("front",)
    sample = read_window(sample_window([labelled], default_rng(0)))
    car = masklets[0]
    for frame in sample.frames:
        assert frame.camera_truths is not None
        if frame.frame_index in car.masks:
            place = sample.object_ids.index(1)
            masks = car.masks[frame.frame_index]
            np.testing.assert_array_equal(frame.camera_truths[place], masks.camera_masks["front"])
            np.testing.assert_array_equal(frame.lidar_truths[place], masks.lidar_mask)
            np.testing.assert_array_equal(frame.image, clip.frames[frame.frame_index].load_images["front"]())


def test_frames_without_labels_are_unknown(tmp_path: Path) -> None:
    car = tiny_masklets()[0]
    write_waymo_4dseg(tmp_path, straight(tiny_clip()), (car,))
    assert open_labelled_folder(tmp_path).labelled_frames == (0, 2)


def test_a_sequence_folder_with_masks_is_learnt_from(tmp_path: Path) -> None:
    clip, masklets = tiny_clip(), tiny_masklets()
    write_sequence(clip, tmp_path / "drive")
    write_labels(clip, masklets, tmp_path / "drive")
    labelled = open_labelled_folder(tmp_path / "drive")
    assert [masklet.object_id for masklet in labelled.masklets] == [1, 12]
    assert labelled.labelled_frames == (0, 1, 2)
    assert labelled.labelled_cameras == ("front",)


def test_labels_without_masks_teach_nothing(tmp_path: Path) -> None:
    clip = tiny_clip()
    write_sequence(clip, tmp_path / "drive")
    cuboids = tuple(replace(masklet, masks={}) for masklet in tiny_masklets())
    for masklets in ((), cuboids):
        write_labels(clip, masklets, tmp_path / "drive", overwrite=True)
        with pytest.raises(InputError, match=r"drive: expected labels with masks, as in Waymo-4DSeg .*, found none"):
            open_labelled_folder(tmp_path / "drive")
