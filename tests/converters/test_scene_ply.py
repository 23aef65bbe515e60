"""The scene as a point cloud: read back, everything is where the scene says, however far away the world's origin is."""

from __future__ import annotations

import numpy as np
import pytest

from converters.ply_files import format_ply, parse_ply
from converters.scene_ply import object_rgb, scene_ply
from tests.converters.tiny_scene import tiny_scene


def header_and_rows(data: bytes) -> tuple[list[str], np.ndarray[tuple[int, ...], np.dtype[np.void]]]:
    """By what the PLY format says, without our reader."""
    text, _, body = data.partition(b"end_header\n")
    lines = text.decode("ascii").splitlines()
    types = {"float": "<f4", "uchar": "u1", "int": "<i4"}
    layout = [(line.split()[2], types[line.split()[1]]) for line in lines if line.startswith("property")]
    rows = np.frombuffer(body, dtype=layout)
    assert f"element vertex {len(rows)}" in lines
    return lines, rows


@pytest.mark.parametrize("origin_m", [(0.0, 0.0, 0.0), (458_321.2, 5_429_876.9, 112.4)], ids=["near", "far"])
@pytest.mark.parametrize("frame_index", [0, 2, 3])
def test_places_are_those_of_the_frame_to_a_tenth_of_a_millimetre(origin_m: tuple[float, float, float], frame_index: int) -> None:
    scene = tiny_scene(origin_m)
    places_m, voxels = scene.at(frame_index)
    data = scene_ply(scene, frame_index)
    lines, rows = header_and_rows(data)
    offset_m = np.array([float(word) for word in next(line for line in lines if "add offset" in line).split()[6:9]])
    assert (offset_m == 0).all() == (origin_m[0] == 0)
    read = parse_ply(data, "scene.ply").points_m
    np.testing.assert_array_equal(read, np.stack([rows[axis] for axis in "xyz"], axis=1))
    assert np.abs(read.astype(np.float64) + offset_m - places_m).max() < 1e-4
    np.testing.assert_array_equal(rows["object_id"], voxels.object_ids)
    np.testing.assert_array_equal(rows["is_ground"], voxels.is_ground)


def test_colours_and_labels_tell_objects_apart() -> None:
    lines, rows = header_and_rows(scene_ply(tiny_scene(), 0))
    colours = np.stack([rows[name] for name in ("red", "green", "blue")], axis=1)
    for object_id in (3, 7):
        assert {tuple(colour) for colour in colours[rows["object_id"] == object_id].tolist()} == {object_rgb(object_id)}
    assert len({tuple(colour) for colour in colours.tolist()}) == 3
    assert 'comment label_id 1 "Cart"' in lines
    assert r'comment label_id 2 "Pole \"\u00f6\"\n"' in lines
    assert 'comment object_id 3 "Cart" score 0.750' in lines
    assert set(rows["label_id"][rows["object_id"] == 3]) == {1}
    assert set(rows["label_id"][rows["object_id"] == 7]) == {2}
    assert set(rows["label_id"][rows["object_id"] == 0]) == {0}
    assert 'comment scene of "a tiny clip", frame 0 of 4, voxels of 0.5 m' in lines


def test_columns_of_every_type_are_written_and_others_refused() -> None:
    columns = {
        name: np.array([1, 2], dtype=kind)
        for name, kind in {"x": ">f4", "y": "f8", "z": "i1", "a": "u1", "b": ">i2", "c": "u2", "d": "i4", "e": "u4"}.items()
    }
    data = format_ply(columns)
    np.testing.assert_array_equal(parse_ply(data, "a.ply").points_m, [[1, 1, 1], [2, 2, 2]])
    assert len(parse_ply(format_ply({axis: np.zeros(0, dtype=np.float32) for axis in "xyz"}), "a.ply")) == 0
    with pytest.raises(ValueError, match="int64"):
        format_ply({"x": np.zeros(2, dtype=np.int64)})
    with pytest.raises(ValueError, match="printable"):
        format_ply(columns, ["a\nb"])
