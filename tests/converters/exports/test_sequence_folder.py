"""Sequence folders and labels out: the inverse pairs, and never half an output."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.exports import write_labels, write_sequence
from converters.point_cloud_files import PcdEncoding
from converters.sequences import open_sequence, read_cuboid_labels, read_masklets
from sam4d.geometry import SE3
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, Cuboid, Frame, InputError, LabelledCuboid, Masklet, ObjectMasks, Sweep
from tests.converters.tiny_recording import FRAME_COUNT, POINT_COUNT, assert_same_masklets, tiny_clip, tiny_masklets, tiny_masks

GOLDEN = Path(__file__).with_name("golden")


def assert_same_clip(found: Clip, expected: Clip) -> None:
    assert (found.name, found.forward, tuple(found.cameras)) == (expected.name, expected.forward, tuple(expected.cameras))
    for name, camera in expected.cameras.items():
        assert replace(found.cameras[name], lidar_SE3_cam=camera.lidar_SE3_cam) == camera
        np.testing.assert_allclose(found.cameras[name].lidar_SE3_cam.matrix, camera.lidar_SE3_cam.matrix, atol=1e-12)
    assert len(found) == len(expected)
    for one, other in zip(found.frames, expected.frames, strict=True):
        assert one.timestamp_ns == other.timestamp_ns
        assert (one.world_SE3_lidar is None) == (other.world_SE3_lidar is None)
        if one.world_SE3_lidar is not None and other.world_SE3_lidar is not None:
            np.testing.assert_allclose(one.world_SE3_lidar.matrix, other.world_SE3_lidar.matrix, atol=1e-12)
        sweep, expected_sweep = one.load_sweep(), other.load_sweep()
        np.testing.assert_array_equal(sweep.points_m, expected_sweep.points_m)
        if expected_sweep.intensity is None:
            assert sweep.intensity is None
        else:
            np.testing.assert_array_equal(sweep.intensity, expected_sweep.intensity)
        assert list(one.load_images) == list(other.load_images)
        for name, load_image in other.load_images.items():
            np.testing.assert_array_equal(one.load_images[name](), load_image())


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("cameras", [True, False])
@pytest.mark.parametrize("poses", [True, False])
def test_a_written_clip_reads_back_as_it_was(tmp_path: Path, encoding: PcdEncoding, cameras: bool, poses: bool) -> None:
    clip = tiny_clip(cameras=cameras, poses=poses, forward="-y", name="Fahrt 1, Süd")
    write_sequence(clip, tmp_path / "drive", encoding=encoding)
    assert_same_clip(open_sequence(tmp_path / "drive"), clip)


angles = st.floats(-np.pi, np.pi)
metres = st.floats(-1e5, 1e5)


@given(
    quaternion=arrays.arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1),
    translation=st.tuples(metres, metres, metres),
    timestamp_ns=st.none() | st.integers(-(2**70), 2**70),
    name=st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20),
)
def test_any_pose_time_and_name_survive(
    tmp_path_factory: pytest.TempPathFactory,
    quaternion: np.typing.NDArray[np.float64],
    translation: tuple[float, float, float],
    timestamp_ns: int | None,
    name: str,
) -> None:
    pose = SE3.from_quaternion(quaternion / np.linalg.norm(quaternion), translation)
    camera = replace(tiny_clip().cameras["front"], lidar_SE3_cam=pose)
    frame = Frame(lambda: Sweep(np.ones((1, 3), dtype=np.float32)), {}, pose, timestamp_ns)
    clip = Clip(name, {"front": camera}, (frame,), "+y")
    folder = tmp_path_factory.mktemp("clips") / "drive"
    write_sequence(clip, folder)
    assert_same_clip(open_sequence(folder), clip)


def test_the_synthetic_drive_survives_with_its_labels(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    write_sequence(small_drive.clip, tmp_path / "drive", masklets=small_drive.masklets)
    clip = open_sequence(tmp_path / "drive")
    assert_same_clip(clip, small_drive.clip)
    assert_same_masklets(read_masklets(tmp_path / "drive", clip), small_drive.masklets)


def test_images_of_a_sequence_folder_are_copied_as_they_are(tmp_path: Path) -> None:
    write_sequence(tiny_clip(), tmp_path / "a")
    image = tmp_path / "a" / "images" / "front" / "000001.png"
    image.write_bytes(image.read_bytes() + b"trailing bytes of an odd writer")
    write_sequence(open_sequence(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "b" / "images" / "front" / "000001.png").read_bytes() == image.read_bytes()


def test_labels_equal_the_golden_files(tmp_path: Path) -> None:
    write_labels(tiny_clip(), tiny_masklets(), tmp_path)
    for name in ("cuboids.json", "masks.json"):
        assert json.loads((tmp_path / "labels" / name).read_text()) == json.loads((GOLDEN / name).read_text())
    assert_same_masklets(read_masklets(GOLDEN / "masks.json", tiny_clip()), tiny_masklets())


def test_labels_read_back_as_they_were(tmp_path: Path) -> None:
    write_sequence(tiny_clip(), tmp_path / "drive", masklets=tiny_masklets())
    clip = open_sequence(tmp_path / "drive")
    for path in (tmp_path / "drive", tmp_path / "drive" / "sequence.json", tmp_path / "drive" / "labels" / "masks.json"):
        assert_same_masklets(read_masklets(path, clip), tiny_masklets())
    cuboids = read_cuboid_labels(tmp_path / "drive")
    assert cuboids[1] == (LabelledCuboid("7", "Person on a bicycle", tiny_masklets()[1].cuboids[1]),)
    assert [len(frame or ()) for frame in cuboids] == [1, 1, 1]


cuboids = st.builds(
    Cuboid, st.tuples(metres, metres, metres), st.tuples(*[st.floats(0, 30)] * 3), st.floats(-np.pi, np.pi, exclude_max=True)
)


def objects_on_frame(frame_index: int) -> st.SearchStrategy[ObjectMasks]:
    return st.builds(
        lambda front, points, score: ObjectMasks(1, frame_index, {"front": front}, points, score),
        arrays.arrays(np.bool_, (16, 24)),
        arrays.arrays(np.bool_, POINT_COUNT),
        st.floats(0, 1),
    )


@given(
    masks=st.fixed_dictionaries({}, optional={index: objects_on_frame(index) for index in range(FRAME_COUNT)}),
    boxes=st.dictionaries(st.integers(0, FRAME_COUNT - 1), cuboids),
    label=st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20),
)
def test_any_masklet_survives(
    tmp_path_factory: pytest.TempPathFactory, masks: dict[int, ObjectMasks], boxes: dict[int, Cuboid], label: str
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    masklet = Masklet(1, label, dict(sorted(masks.items())), boxes)
    write_labels(tiny_clip(), [masklet], folder)
    assert_same_masklets(read_masklets(folder, tiny_clip()), (masklet,))


class TestNeverHalfAnOutput:
    def failing_clip(self) -> Clip:
        clip = tiny_clip()

        def fail() -> Sweep:
            raise InputError("sweeps/000002.pcd", "points", "a broken disk")

        return replace(clip, frames=(*clip.frames[:2], replace(clip.frames[2], load_sweep=fail)))

    def test_a_failure_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="a broken disk"):
            write_sequence(self.failing_clip(), tmp_path / "drive")
        assert list(tmp_path.iterdir()) == []

    def test_a_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        write_sequence(tiny_clip(), tmp_path / "drive")
        with pytest.raises(InputError, match="a broken disk"):
            write_sequence(self.failing_clip(), tmp_path / "drive", overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["drive"]
        assert_same_clip(open_sequence(tmp_path / "drive"), tiny_clip())

    def test_a_folder_with_files_is_kept_unless_told_otherwise(self, tmp_path: Path) -> None:
        (tmp_path / "drive").mkdir()
        write_sequence(tiny_clip(), tmp_path / "drive")
        with pytest.raises(InputError, match=r"drive: expected an empty folder or nothing .*, found a folder with files"):
            write_sequence(tiny_clip(name="other"), tmp_path / "drive")
        assert open_sequence(tmp_path / "drive").name == "tiny"
        write_sequence(tiny_clip(name="other"), tmp_path / "drive", overwrite=True)
        assert open_sequence(tmp_path / "drive").name == "other"
        assert [path.name for path in tmp_path.iterdir()] == ["drive"]

    def test_a_file_is_never_replaced_by_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "drive").write_text("mine")
        with pytest.raises(InputError, match="drive: expected a folder or nothing, found a file"):
            write_sequence(tiny_clip(), tmp_path / "drive", overwrite=True)
        assert (tmp_path / "drive").read_text() == "mine"

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="expected a place that can be written"):
            write_sequence(tiny_clip(), tmp_path / "file" / "drive")

    def test_labels_are_kept_unless_told_otherwise(self, tmp_path: Path) -> None:
        labels = tmp_path / "labels"
        labels.mkdir()
        (labels / "classes.json").write_text("{}")
        write_labels(tiny_clip(), tiny_masklets(), tmp_path)
        with pytest.raises(InputError, match=r"cuboids\.json: expected nothing .*, found a file"):
            write_labels(tiny_clip(), [], tmp_path)
        assert_same_masklets(read_masklets(tmp_path, tiny_clip()), tiny_masklets())
        write_labels(tiny_clip(), [], tmp_path, overwrite=True)
        assert read_masklets(tmp_path, tiny_clip()) == ()
        assert sorted(path.name for path in labels.iterdir()) == ["classes.json", "cuboids.json", "masks.json"]

    def test_a_mask_that_cannot_be_written_leaves_no_labels(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="object 1: expected frames from 0 to 2, found frame 3"):
            write_labels(tiny_clip(), [Masklet(1, "Car", {3: tiny_masks(1, 3)})], tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_masklets_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for masklets, message in (
        ([Masklet(1, "Car", {}), Masklet(1, "Van", {})], "object 1: expected one masklet per object id, found 2 masklets"),
        ([Masklet(1, " ", {})], "object 1: expected a label"),
    ):
        with pytest.raises(InputError, match=message):
            write_labels(tiny_clip(), masklets, tmp_path)


def test_a_clip_that_is_none_is_refused(tmp_path: Path) -> None:
    clip = tiny_clip()
    with pytest.raises(InputError, match="at least one frame"):
        write_sequence(replace(clip, frames=()), tmp_path / "drive")
    with pytest.raises(InputError, match=r"letters, digits"):
        write_sequence(replace(clip, cameras={"../front": clip.cameras["front"]}), tmp_path / "drive")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "change", "where", "expected", "found"),
    [
        ("masks", lambda d: d.update(version=3), "version", "layout version 1", "3"),
        ("masks", lambda d: d["objects"][0].pop("label"), "objects[0].label", "a value", "nothing"),
        ("masks", lambda d: d["objects"][1].update(object_id=1), "objects[1].object_id", "ids that differ", "1"),
        ("masks", lambda d: d.pop("version"), "version", "a value", "nothing"),
        ("masks", lambda d: d.pop("objects"), "objects", "a value", "nothing"),
        ("masks", lambda d: d.update(objects={}), "objects", "a list", "an object"),
        ("masks", lambda d: d["objects"][0].pop("frames"), "objects[0].frames", "a value", "nothing"),
        ("masks", lambda d: d["objects"][0]["frames"][1].update(frame_index=0), "objects[0].frames[1].frame_index", "that differ", "0"),
        ("masks", lambda d: d["objects"][0].update(object_id="1"), "objects[0].object_id", "whole number", "'1'"),
        ("masks", lambda d: d["objects"][0]["frames"][0].update(frame_index=3), "objects[0].frames[0].frame_index", "0 to 2", "3"),
        ("masks", lambda d: d["objects"][0]["frames"][0].update(score=1.5), "objects[0].frames[0].score", "0 to 1", "1.5"),
        (
            "masks",
            lambda d: d["objects"][0]["frames"][0]["cameras"].update(left={}),
            "objects[0].frames[0].cameras.left",
            "front, rear",
            "left",
        ),
        (
            "masks",
            lambda d: d["objects"][0]["frames"][0]["cameras"]["front"].update(size=[24, 16]),
            "objects[0].frames[0].cameras.front.size",
            "[16, 24]",
            "[24, 16]",
        ),
        (
            "masks",
            lambda d: d["objects"][0]["frames"][0]["lidar"].update(size=[10**12, 1]),
            "objects[0].frames[0].lidar.size[0]",
            "0 to 10000000",
            "1000000000000",
        ),
        ("masks", lambda d: d["objects"][2]["frames"][0]["lidar"].update(counts="1"), "objects[2].frames[0].lidar.counts", "60", "1"),
        ("cuboids", lambda d: d.pop("frames"), "frames", "a value", "nothing"),
        ("cuboids", lambda d: d["frames"].pop(), "frames", "3 frames", "2"),
        ("cuboids", lambda d: d["frames"][0][0].update(center_m=[1, 2]), "frames[0][0].center_m", "3 numbers", "2"),
        ("cuboids", lambda d: d["frames"][0][0].update(size_lwh_m=[1, -2, 1]), "frames[0][0].size_lwh_m", "not negative", "list of 3"),
        ("cuboids", lambda d: d["frames"][0][0].update(yaw_rad=180), "frames[0][0].yaw_rad", "radians", "180"),
        ("cuboids", lambda d: d["frames"][0][0].update(yaw_rad=float("nan")), "frames[0][0].yaw_rad", "finite", "nan"),
        ("cuboids", lambda d: d["frames"][0][0].update(track_id=5), "frames[0][0].track_id", "text", "5"),
    ],
)
def test_wrong_labels_name_file_and_field(
    tmp_path: Path, file: str, change: Callable[[dict[str, Any]], object], where: str, expected: str, found: str
) -> None:
    write_labels(tiny_clip(), tiny_masklets(), tmp_path)
    path = tmp_path / "labels" / f"{file}.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as error:
        read_masklets(tmp_path, tiny_clip())
    assert error.value.where == f"{path}: {where}"
    assert expected in error.value.expected
    assert found in error.value.found


def test_members_may_stand_in_any_order(tmp_path: Path) -> None:
    """As another program may write them: the version last, and an object's number after its masks."""
    write_labels(tiny_clip(), tiny_masklets(), tmp_path)
    file = tmp_path / "labels/masks.json"

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(each) for key, each in reversed(value.items())}
        return [turned(each) for each in value] if isinstance(value, list) else value

    document = {"comment": ["by hand"], **turned(json.loads(file.read_text()))}
    file.write_text(json.dumps(document), encoding="utf-8-sig")
    assert_same_masklets(read_masklets(tmp_path, tiny_clip()), tiny_masklets())


@pytest.mark.parametrize("size", [0, 1, 20, 300, -20, -2])
def test_masks_that_are_broken_off_are_one_line(tmp_path: Path, size: int) -> None:
    write_labels(tiny_clip(), tiny_masklets(), tmp_path)
    file = tmp_path / "labels/masks.json"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match=r"masks\.json: expected JSON, found what is none \(at .*premature EOF\)$"):
        read_masklets(tmp_path, tiny_clip())


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cuboids\.json: expected a readable file, found no such file"):
        read_cuboid_labels(tmp_path)
