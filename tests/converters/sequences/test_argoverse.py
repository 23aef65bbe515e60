"""Argoverse 2 sensor logs as they are published; and one line where something is missing or wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from converters.sequences import open_sequence, read_labels
from sam4d.geometry import SE3
from sam4d.structures import Clip, Cuboid, InputError
from tests.converters.sequences.recordings import straight, write_image
from tests.converters.tiny_recording import tiny_clip

CUBOIDS = (
    ("5f2e", "REGULAR_VEHICLE", Cuboid((8.0, 1.0, -0.5), (4.5, 1.9, 1.6), 0.4)),
    ("77aa", "PEDESTRIAN", Cuboid((3.0, -2.0, 0.0), (0.7, 0.6, 1.8), -3.0)),
)
TIMES_NS = [315_966_265_659_927_216 + 100_000_000 * index for index in range(3)]


def write_table(file: Path, columns: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pa.table(columns), str(file), compression="lz4")  # type: ignore[no-untyped-call]


def poses(transforms: list[SE3]) -> dict[str, Any]:
    quaternions = np.array([each.rotation_wxyz for each in transforms]).reshape(-1, 4)
    places_m = np.array([each.translation_m for each in transforms]).reshape(-1, 3)
    columns = {f"q{axis}": quaternions[:, k] for k, axis in enumerate("wxyz")}
    return {**columns, **{f"t{axis}_m": places_m[:, k] for k, axis in enumerate("xyz")}}


def write_argoverse(log: Path, clip: Clip) -> None:
    """Images are recorded 20 ms after their sweep, and once more 30 ms before it."""
    for time_ns, frame in zip(TIMES_NS, clip.frames, strict=True):
        sweep = frame.load_sweep()
        assert sweep.intensity is not None
        columns = dict(zip("xyz", sweep.points_m.astype(np.float16).T, strict=True))
        write_table(log / f"sensors/lidar/{time_ns}.feather", {**columns, "intensity": sweep.intensity.astype(np.uint8)})
        for name, load in frame.load_images.items():
            write_image(log / f"sensors/cameras/{name}/{time_ns + 20_000_000}.jpg", load())
            write_image(log / f"sensors/cameras/{name}/{time_ns - 30_000_000}.jpg", 0 * load())
    world = [frame.world_SE3_lidar for frame in clip.frames if frame.world_SE3_lidar is not None]
    # The vehicle's pose is known at other times, too.
    times_ns = [time_ns + shift for time_ns in TIMES_NS for shift in (0, 50_000_000)]
    write_table(log / "city_SE3_egovehicle.feather", {"timestamp_ns": times_ns, **poses([each for each in world for _ in range(2)])})
    cameras = list(clip.cameras.values())
    names = {"sensor_name": [camera.name for camera in cameras] + ["up_lidar"]}
    placed = [camera.lidar_SE3_cam for camera in cameras] + [SE3.identity()]
    write_table(log / "calibration/egovehicle_SE3_sensor.feather", {**names, **poses(placed)})
    lenses: dict[str, Any] = {f"{key}_px": [getattr(camera, f"{key}_px") for camera in cameras] for key in ("fx", "fy", "cx", "cy")}
    sizes = {"width_px": [camera.width_px for camera in cameras], "height_px": [camera.height_px for camera in cameras]}
    distortion = {key: [0.1] * len(cameras) for key in ("k1", "k2", "k3")}
    write_table(log / "calibration/intrinsics.feather", {"sensor_name": names["sensor_name"][:-1], **lenses, **distortion, **sizes})
    boxes = [cuboid for _ in TIMES_NS for _, _, cuboid in CUBOIDS]
    write_table(
        log / "annotations.feather",
        {
            "timestamp_ns": np.repeat(TIMES_NS, len(CUBOIDS)),
            "track_uuid": [track for _ in TIMES_NS for track, _, _ in CUBOIDS],
            "category": pa.array([label for _ in TIMES_NS for _, label, _ in CUBOIDS]).dictionary_encode(),
            **{name: [box.size_lwh_m[k] for box in boxes] for k, name in enumerate(("length_m", "width_m", "height_m"))},
            **poses([box.lidar_SE3_cuboid for box in boxes]),
        },
    )


def test_recording_and_labels_come_back(tmp_path: Path) -> None:
    tiny = straight(tiny_clip())
    write_argoverse(tmp_path / "log", tiny)
    found = open_sequence(tmp_path / "log")
    assert (found.name, found.forward) == ("log", "+x")
    assert [frame.timestamp_ns for frame in found.frames] == TIMES_NS
    for name, camera in tiny.cameras.items():
        back = found.cameras[name]
        np.testing.assert_allclose(back.lidar_SE3_cam.matrix, camera.lidar_SE3_cam.matrix, atol=1e-12)
        assert (back.width_px, back.height_px, back.fx_px, back.fy_px, back.distortion) == (24, 16, camera.fx_px, camera.fy_px, ())
    for one, other in zip(found.frames, tiny.frames, strict=True):
        sweep, given = one.load_sweep(), other.load_sweep()
        np.testing.assert_array_equal(sweep.points_m, given.points_m.astype(np.float16).astype(np.float32))
        assert given.intensity is not None
        np.testing.assert_array_equal(sweep.intensity, given.intensity.astype(np.uint8))
        assert one.world_SE3_lidar is not None
        assert other.world_SE3_lidar is not None
        np.testing.assert_allclose(one.world_SE3_lidar.matrix, other.world_SE3_lidar.matrix, atol=1e-9)
        assert set(one.load_images) == set(other.load_images)
        assert all(load().mean() > 50 for load in one.load_images.values())
    labels = read_labels(tmp_path / "log", found)
    assert [masklet.label for masklet in labels] == ["REGULAR_VEHICLE", "PEDESTRIAN"]
    for masklet, (_, _, cuboid) in zip(labels, CUBOIDS, strict=True):
        assert list(masklet.cuboids) == [0, 1, 2]
        for found_cuboid in masklet.cuboids.values():
            np.testing.assert_allclose(
                [*found_cuboid.center_m, *found_cuboid.size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], atol=1e-9
            )
            assert abs(np.sin((found_cuboid.yaw_rad - cuboid.yaw_rad) / 2)) < 1e-9


def test_without_annotations_or_images_there_are_none(tmp_path: Path) -> None:
    write_argoverse(tmp_path / "log", straight(tiny_clip(cameras=False)))
    (tmp_path / "log/annotations.feather").unlink()
    found = open_sequence(tmp_path)
    assert (found.name, dict(found.cameras), read_labels(tmp_path, found)) == ("log", {}, ())


def _changed(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    columns = feather.read_table(str(file)).to_pydict()  # type: ignore[no-untyped-call]
    change(columns)
    write_table(file, columns)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "city_SE3_egovehicle.feather",
            lambda c: c["timestamp_ns"].__setitem__(0, 5),
            r"a pose at 315966265659927216, the time of a sweep",
        ),
        ("city_SE3_egovehicle.feather", lambda c: c.pop("qw"), r"egovehicle.feather: qw: expected a column"),
        ("city_SE3_egovehicle.feather", lambda c: c["tx_m"].__setitem__(0, float("nan")), r"row 0: expected a translation of finite"),
        ("city_SE3_egovehicle.feather", lambda c: c["qw"].__setitem__(0, 3.0), r"row 0: expected a rotation"),
        ("calibration/intrinsics.feather", lambda c: c["sensor_name"].__setitem__(0, "other"), "a row of the camera front, found 'other'"),
        ("calibration/intrinsics.feather", lambda c: c["fx_px"].__setitem__(0, 0.0), "front: expected focal lengths above 0"),
        ("calibration/intrinsics.feather", lambda c: c["width_px"].__setitem__(0, 10**8), "front: expected an image of at most"),
        ("annotations.feather", lambda c: c["length_m"].__setitem__(0, -1.0), "expected numbers from 0 on"),
        ("annotations.feather", lambda c: c["category"].__setitem__(1, ""), "row 1: expected a track and a category"),
        ("annotations.feather", lambda c: c["category"].__setitem__(1, None), "category: expected a value in every row, found 1 empty"),
        ("annotations.feather", lambda c: c.update(category=[1] * 6), "category: expected a column of texts, found int64"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, file: str, change: Callable[[dict[str, Any]], None], message: str) -> None:
    write_argoverse(tmp_path, straight(tiny_clip()))
    _changed(tmp_path / file, change)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path, open_sequence(tmp_path))


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    write_argoverse(tmp_path, straight(tiny_clip()))
    sweep = tmp_path / f"sensors/lidar/{TIMES_NS[0]}.feather"
    sweep.write_bytes(sweep.read_bytes()[:200])
    with pytest.raises(InputError, match=r"216.feather: expected a whole feather file, found a broken one"):
        open_sequence(tmp_path).frames[0].load_sweep()
    (tmp_path / "calibration/intrinsics.feather").unlink()
    with pytest.raises(InputError, match=r"intrinsics.feather: expected a readable file, found no such file"):
        open_sequence(tmp_path)
