"""PandaSet as it is published: sweeps and boxes in the world, brought back to the LiDAR; and one line where something is wrong."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest

from converters.sequences import open_sequence, read_labels
from sam4d.geometry import SE3
from sam4d.structures import Clip, Cuboid, InputError
from tests.converters.sequences.recordings import straight, write_image
from tests.converters.tiny_recording import tiny_clip

Labelled: TypeAlias = tuple[str, str, Cuboid, int, str]
"""Track, label, cuboid, which LiDAR, and the other LiDAR's track."""
CUBOIDS: tuple[Labelled, ...] = (
    ("a", "Car", Cuboid((8.0, 1.0, -0.5), (4.5, 1.9, 1.6), 0.4), -1, ""),
    ("b", "Pedestrian", Cuboid((3.0, -2.0, 0.0), (0.7, 0.6, 1.8), -3.0), 0, "c"),
    ("c", "Pedestrian", Cuboid((3.1, -2.0, 0.0), (0.7, 0.6, 1.8), -3.0), 1, "b"),
)
"""The third is the second again, seen by the other LiDAR."""


def write_table(file: Path, columns: dict[str, Any]) -> None:
    table = pd.DataFrame(
        {name: pd.Series(values, dtype=object if isinstance(values[0], str) else None) for name, values in columns.items()}
    )
    table.columns = pd.Index(list(columns), dtype=object)
    stream = io.BytesIO()
    table.to_pickle(stream, compression=None, protocol=4)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(stream.getvalue()))


def pose(transform: SE3) -> dict[str, dict[str, float]]:
    return {
        "position": dict(zip("xyz", transform.translation_m.tolist(), strict=True)),
        "heading": dict(zip("wxyz", transform.rotation_wxyz.tolist(), strict=True)),
    }


def write_pandaset(folder: Path, clip: Clip, labelled: Sequence[Labelled] = CUBOIDS) -> None:
    for index, frame in enumerate(clip.frames):
        assert frame.world_SE3_lidar is not None
        sweep = frame.load_sweep()
        assert sweep.intensity is not None
        world_m = frame.world_SE3_lidar.apply(sweep.points_m.astype(np.float64))
        columns: dict[str, Any] = dict(zip("xyz", world_m.T, strict=True))
        write_table(
            folder / f"lidar/{index:02d}.pkl.gz", {**columns, "i": sweep.intensity, "t": world_m[:, 0], "d": np.arange(len(sweep)) % 2}
        )
        boxes = [cuboid.moved(frame.world_SE3_lidar) for _, _, cuboid, _, _ in labelled]
        write_table(
            folder / f"annotations/cuboids/{index:02d}.pkl.gz",
            {
                "uuid": [item[0] for item in labelled],
                "label": [item[1] for item in labelled],
                "yaw": [box.yaw_rad - np.pi / 2 for box in boxes],
                "stationary": [True] * len(boxes),
                **{f"position.{axis}": [box.center_m[k] for box in boxes] for k, axis in enumerate("xyz")},
                **{f"dimensions.{axis}": [box.size_lwh_m[k] for box in boxes] for k, axis in ((1, "x"), (0, "y"), (2, "z"))},
                "cuboids.sensor_id": [item[3] for item in labelled],
                "cuboids.sibling_id": [item[4] for item in labelled],
            },
        )
        for name, load in frame.load_images.items():
            # Not quite the pixels: JPEG.
            write_image(folder / f"camera/{name}/{index:02d}.jpg", load())
    poses = [frame.world_SE3_lidar for frame in clip.frames if frame.world_SE3_lidar is not None]
    (folder / "lidar/poses.json").write_text(json.dumps([pose(each) for each in poses]))
    (folder / "lidar/timestamps.json").write_text(json.dumps([1_557_539_924.5 + 0.1 * index for index in range(len(clip))]))
    for name, camera in clip.cameras.items():
        place = folder / "camera" / name
        lens = {"fx": camera.fx_px, "fy": camera.fy_px, "cx": camera.cx_px, "cy": camera.cy_px}
        (place / "intrinsics.json").write_text(json.dumps(lens))
        (place / "poses.json").write_text(json.dumps([pose(each @ camera.lidar_SE3_cam) for each in poses]))


def test_recording_comes_back(tmp_path: Path) -> None:
    tiny = straight(tiny_clip(gaps=False))
    write_pandaset(tmp_path / "001", tiny)
    found = open_sequence(tmp_path / "001")
    assert (found.name, found.forward, set(found.cameras)) == ("001", "+x", {"front", "rear"})
    assert [frame.timestamp_ns for frame in found.frames] == [1_557_539_924_500_000_000 + 100_000_000 * k for k in range(3)]
    for name, camera in tiny.cameras.items():
        back = found.cameras[name]
        np.testing.assert_allclose(back.lidar_SE3_cam.matrix, camera.lidar_SE3_cam.matrix, atol=1e-9)
        assert (back.width_px, back.height_px, back.fx_px, back.cy_px) == (24, 16, camera.fx_px, camera.cy_px)
    for one, other in zip(found.frames, tiny.frames, strict=True):
        sweep, given = one.load_sweep(), other.load_sweep()
        np.testing.assert_allclose(sweep.points_m, given.points_m, atol=1e-5)
        np.testing.assert_array_equal(sweep.intensity, given.intensity)
        assert one.world_SE3_lidar is not None
        assert other.world_SE3_lidar is not None
        np.testing.assert_allclose(one.world_SE3_lidar.matrix, other.world_SE3_lidar.matrix, atol=1e-9)
        assert set(one.load_images) == set(other.load_images)
        assert all(load().shape == (16, 24, 3) for load in one.load_images.values())


def test_labels_come_back_once_each(tmp_path: Path) -> None:
    write_pandaset(tmp_path / "001", straight(tiny_clip(gaps=False)))
    labels = read_labels(tmp_path / "001", open_sequence(tmp_path / "001"))
    assert [masklet.label for masklet in labels] == ["Car", "Pedestrian"]
    for masklet, (_, _, cuboid, _, _) in zip(labels, CUBOIDS, strict=False):
        assert list(masklet.cuboids) == [0, 1, 2]
        for back in masklet.cuboids.values():
            np.testing.assert_allclose([*back.center_m, *back.size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], atol=1e-6)
            assert abs(np.sin((back.yaw_rad - cuboid.yaw_rad) / 2)) < 1e-9


def test_one_of_several_is_chosen_by_name_and_labels_may_be_missing(tmp_path: Path) -> None:
    for name in ("001", "002"):
        write_pandaset(tmp_path / name, straight(tiny_clip(gaps=False)))
    with pytest.raises(InputError, match=r"\(--sequence\): 001, 002, found 2 sequences"):
        open_sequence(tmp_path)
    (tmp_path / "002/annotations/cuboids/01.pkl.gz").unlink()
    labels = read_labels(tmp_path, open_sequence(tmp_path, "002", allow_missing=True), "002")
    assert [list(masklet.cuboids) for masklet in labels] == [[0, 2], [0, 2]]


CLASSES = {"7": "Road", "13": "Car", "30": "Pedestrian"}
CAR = Cuboid((8.0, 0.5, 0.0), (3.0, 1.0, 2.0), 0.4)


def write_classes(folder: Path, clip: Clip, road: Callable[[Any], Any] = lambda points_m: points_m[:, 2] < -0.5) -> None:
    """Points are road where `road` says so, and car elsewhere."""
    for index, frame in enumerate(clip.frames):
        write_table(folder / f"annotations/semseg/{index:02d}.pkl.gz", {"class": np.where(road(frame.load_sweep().points_m), 7, 13)})
    (folder / "annotations/semseg/classes.json").write_text(json.dumps(CLASSES))


def test_points_of_an_objects_class_in_its_cuboid_are_its_points(tmp_path: Path) -> None:
    tiny = straight(tiny_clip(gaps=False))
    write_pandaset(tmp_path, tiny, [("a", "Car", CAR, -1, ""), ("p", "Pedestrian", CAR, -1, ""), ("s", "Sign of no class", CAR, -1, "")])
    write_classes(tmp_path, tiny)
    (tmp_path / "annotations/semseg/01.pkl.gz").unlink()
    car, pedestrian, sign = read_labels(tmp_path, open_sequence(tmp_path, allow_missing=True))
    assert [list(each.cuboids) for each in (car, pedestrian, sign)] == [[0, 1, 2]] * 3
    # Where no point of the class stands inside, nothing is said: the cuboid alone counts, as on a frame without classes.
    assert [list(each.masks) for each in (car, pedestrian, sign)] == [[0, 2], [], []]
    for index, masks in car.masks.items():
        points_m = tiny.frames[index].load_sweep().points_m
        inside = CAR.contains(points_m)
        np.testing.assert_array_equal(masks.lidar_mask, inside & (points_m[:, 2] >= -0.5))
        assert 0 < masks.lidar_mask.sum() < inside.sum()
        assert (masks.object_id, masks.score, dict(masks.camera_masks)) == (1, 1.0, {})


def test_an_object_that_two_lidars_saw_has_the_points_of_both(tmp_path: Path) -> None:
    tiny = straight(tiny_clip(gaps=False))
    later = replace(CAR, center_m=(9.0, 0.5, 0.0))
    write_pandaset(tmp_path, tiny, [("a", "Car", CAR, 0, "b"), ("b", "Car", later, 1, "a"), ("c", "Car", later, 1, "elsewhere")])
    write_classes(tmp_path, tiny)
    first, alone = read_labels(tmp_path, open_sequence(tmp_path))
    for index, frame in enumerate(tiny.frames):
        points_m = frame.load_sweep().points_m
        car, seen_later = points_m[:, 2] >= -0.5, later.contains(points_m)
        np.testing.assert_array_equal(first.masks[index].lidar_mask, car & (CAR.contains(points_m) | seen_later))
        np.testing.assert_array_equal(alone.masks[index].lidar_mask, car & seen_later)
        assert first.masks[index].lidar_mask.sum() > alone.masks[index].lidar_mask.sum() > 0
        np.testing.assert_allclose(first.cuboids[index].center_m, CAR.center_m, atol=1e-6)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "00.pkl.gz",
            lambda file: write_table(file, {"class": [7, 13]}),
            "00.pkl.gz: class: expected a class for each of the sweep's 60 p",
        ),
        ("00.pkl.gz", lambda file: write_table(file, {"class": [7] * 59 + [99]}), "class: expected one of the classes of .*json, found 99"),
        (
            "00.pkl.gz",
            lambda file: write_table(file, {"class": [7] * 59 + [float("nan")]}),
            "class: expected one of the classes .*found nan",
        ),
        ("00.pkl.gz", lambda file: write_table(file, {"class": ["Car"] * 60}), "class: expected a column of numbers, found one of texts"),
        ("00.pkl.gz", lambda file: write_table(file, {"label": [7] * 60}), "00.pkl.gz: class: expected a column, found none among 'label'"),
        ("00.pkl.gz", lambda file: file.write_bytes(file.read_bytes()[:-9]), "semseg/00.pkl.gz: expected a whole gzip file"),
        ("00.pkl.gz", lambda file: file.write_bytes(gzip.compress(b"cos\nsystem\n(S'x'\ntR.")), "found the name os.system"),
        ("classes.json", lambda file: file.unlink(), "classes.json: expected a readable file, found no such file"),
        ("classes.json", lambda file: file.write_text('{"one": "Car"}'), "classes.json: one: expected the number of a class, found 'one'"),
        ("classes.json", lambda file: file.write_text('{"7": 1}'), "classes.json: 7: expected a text"),
    ],
)
def test_wrong_point_classes_are_named(tmp_path: Path, file: str, change: Callable[[Path], object], message: str) -> None:
    tiny = straight(tiny_clip(gaps=False))
    write_pandaset(tmp_path, tiny)
    write_classes(tmp_path, tiny)
    change(tmp_path / "annotations/semseg" / file)
    with pytest.raises(InputError, match=message):
        _read_all(tmp_path)


def _without(key: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        value = json.loads(data)
        del (value if isinstance(value, dict) else value[0])[key]
        return json.dumps(value).encode()

    return change


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "lidar/poses.json",
            lambda data: json.dumps(json.loads(data)[:1]).encode(),
            "poses.json: expected an entry for the file of number 01",
        ),
        ("lidar/poses.json", _without("heading"), r"poses.json: \[0\].heading: expected a value"),
        ("lidar/poses.json", lambda data: data.replace(b'"w": ', b'"w": 7'), r"heading: expected a rotation"),
        ("lidar/timestamps.json", lambda data: b"[1]", "timestamps.json: expected an entry for the file of number 01"),
        ("camera/front/intrinsics.json", _without("fx"), "intrinsics.json: fx: expected a value, found nothing"),
        ("camera/front/poses.json", lambda data: b"[]", "poses.json: expected an entry for the file of number 00"),
        ("camera/front/00.jpg", lambda data: data[:10], "00.jpg: expected an image"),
        ("lidar/00.pkl.gz", lambda data: data[:-9], "00.pkl.gz: expected a whole gzip file"),
        ("lidar/00.pkl.gz", lambda data: gzip.compress(b"cos\nsystem\n(S'x'\ntR."), "found the name os.system"),
        ("annotations/cuboids/00.pkl.gz", lambda data: data[:-9], "cuboids/00.pkl.gz: expected a whole gzip file"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, file: str, change: Callable[[bytes], bytes], message: str) -> None:
    folder = tmp_path / "001"
    write_pandaset(folder, straight(tiny_clip(gaps=False)))
    (folder / file).write_bytes(change((folder / file).read_bytes()))
    with pytest.raises(InputError, match=message):
        _read_all(folder)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1.0], "y": [2.0]}, "00.pkl.gz: z: expected a column"),
        ({"x": ["a"], "y": [2.0], "z": [1.0]}, "00.pkl.gz: x: expected a column of numbers, found one of texts"),
    ],
)
def test_a_wrong_column_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    folder = tmp_path / "001"
    write_pandaset(folder, straight(tiny_clip(gaps=False)))
    write_table(folder / "lidar/00.pkl.gz", columns)
    with pytest.raises(InputError, match=message):
        _read_all(folder)


def test_a_link_out_of_the_sequence_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "001"
    write_pandaset(folder, straight(tiny_clip(gaps=False)))
    (folder / "lidar/00.pkl.gz").rename(tmp_path / "outside.pkl.gz")
    (folder / "lidar/00.pkl.gz").symlink_to(tmp_path / "outside.pkl.gz")
    with pytest.raises(InputError, match="a file inside the sequence's folder, found a link"):
        _read_all(folder)


def _read_all(folder: Path) -> None:
    clip = open_sequence(folder)
    for frame in clip.frames:
        frame.load_sweep()
    read_labels(folder, clip)
