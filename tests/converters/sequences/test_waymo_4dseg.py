"""Waymo-4DSeg read as it was recorded; and one line where something is missing or wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence, read_labels
from sam4d.structures import InputError
from tests.converters.sequences.recordings import (
    assert_same_recording,
    straight,
    write_waymo_4dseg,
)
from tests.converters.tiny_recording import assert_same_masks, tiny_clip, tiny_masklets


class TestWaymo4DSeg:
    def test_recording_and_labels_come_back(self, tmp_path: Path) -> None:
        clip, masklets = straight(tiny_clip()), tiny_masklets()
        write_waymo_4dseg(tmp_path, clip, masklets)
        found = open_sequence(tmp_path)
        assert_same_recording(found, clip)
        assert [frame.timestamp_ns for frame in found.frames] == [1_700_000_000_000_000_000 + 100_000_000 * k for k in range(3)]
        labels = {masklet.object_id: masklet for masklet in read_labels(tmp_path, found)}
        assert {number: masklet.label for number, masklet in labels.items()} == {1: "Car", 12: "Straßenschild"}
        for masklet in masklets:
            for frame_index, masks in masklet.masks.items():
                back = labels[masklet.object_id].masks[frame_index]
                seen = {name: mask for name, mask in masks.camera_masks.items() if mask.any()}
                assert_same_masks(back, replace(masks, camera_masks=seen))

    def test_one_of_several_is_chosen_by_name_or_by_its_file(self, tmp_path: Path) -> None:
        for name in ("first", "second"):
            write_waymo_4dseg(tmp_path, replace(straight(tiny_clip()), name=name), ())
        with pytest.raises(InputError, match=r"\(--sequence\): first, second, found 2 sequences"):
            open_sequence(tmp_path)
        with pytest.raises(InputError, match="one of the sequences first, second, found 'third'"):
            open_sequence(tmp_path, "third")
        assert open_sequence(tmp_path, "second").name == "second"
        assert open_sequence(tmp_path / "meta_infos" / "first.pkl").name == "first"

    def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(self, tmp_path: Path) -> None:
        write_waymo_4dseg(tmp_path, straight(tiny_clip()), ())

        class Hostile:
            def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
                return Path.mkdir, (tmp_path / "ran",)  # type: ignore[return-value]

        (tmp_path / "meta_infos/tiny.pkl").write_bytes(pickle.dumps({"frames": [Hostile()]}))
        with pytest.raises(InputError, match=r"tiny.pkl: expected a pickle of plain values and numpy arrays, found the name"):
            open_sequence(tmp_path)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("lidar2world", np.eye(4) * 2, r"frames\[0\].lidar2world: expected a rotation and a translation"),
            ("lidar2world", np.eye(3), r"frames\[0\].lidar2world: expected a 4 x 4 matrix"),
            ("path", {"pcd": "../outside.npz"}, r"frames\[0\].path.pcd: expected a path below"),
            ("path", {}, r"frames\[0\].path.pcd: expected a value"),
            ("cams_info", [], r"frames\[0\].cams_info: expected an object"),
        ],
    )
    def test_a_wrong_field_is_named(self, tmp_path: Path, field: str, value: object, message: str) -> None:
        write_waymo_4dseg(tmp_path, straight(tiny_clip()), ())
        file = tmp_path / "meta_infos/tiny.pkl"
        meta = pickle.loads(file.read_bytes())
        meta["frames"][0][field] = value
        file.write_bytes(pickle.dumps(meta))
        with pytest.raises(InputError, match=message):
            open_sequence(tmp_path)
