"""The tiny recording, written in the layouts that other people record in."""

from __future__ import annotations

import json
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from converters.exports import kitti_tracking_files, write_sequence
from converters.exports.waymo_4dseg import waymo_4dseg_label_files
from converters.exports.whole_output import write_whole_files
from converters.point_cloud_files import format_pcd
from converters.sequences import open_sequence
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, Cuboid, Masklet
from tests.converters.tiny_recording import tiny_clip, tiny_masklets


def straight(clip: Clip) -> Clip:
    """Without lens distortion, which these layouts have no place for."""
    return replace(clip, cameras={name: replace(camera, distortion=()) for name, camera in clip.cameras.items()})


def assert_same_recording(found: Clip, expected: Clip, *, poses: bool = True) -> None:
    assert set(found.cameras) == set(expected.cameras)
    for name, camera in expected.cameras.items():
        back = found.cameras[name]
        assert (back.width_px, back.height_px) == (camera.width_px, camera.height_px)
        np.testing.assert_allclose(
            [back.fx_px, back.fy_px, back.cx_px, back.cy_px], [camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px], atol=1e-9
        )
        np.testing.assert_allclose(back.lidar_SE3_cam.matrix, camera.lidar_SE3_cam.matrix, atol=1e-6)
    assert len(found) == len(expected)
    for one, other in zip(found.frames, expected.frames, strict=True):
        sweep, given = one.load_sweep(), other.load_sweep()
        np.testing.assert_array_equal(sweep.points_m, given.points_m)
        np.testing.assert_array_equal(sweep.intensity, given.intensity)
        assert set(one.load_images) == set(other.load_images)
        for name, load in other.load_images.items():
            np.testing.assert_array_equal(one.load_images[name](), load())
        if poses:
            assert one.world_SE3_lidar is not None
            assert other.world_SE3_lidar is not None
            np.testing.assert_allclose(one.world_SE3_lidar.matrix, other.world_SE3_lidar.matrix, atol=1e-9)


def write_image(file: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def write_waymo_4dseg(root: Path, clip: Clip, masklets: tuple[Masklet, ...]) -> None:
    frames = []
    for index, frame in enumerate(clip.frames):
        stamp = f"{1_700_000_000_000_000 + 100_000 * index}"
        sweep = frame.load_sweep()
        assert sweep.intensity is not None
        file = root / f"pcds/{clip.name}/{stamp}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, data=np.column_stack([sweep.points_m, sweep.intensity]))
        cams = {}
        for name, load in frame.load_images.items():
            camera = clip.cameras[name]
            write_image(root / f"undistort_images/{clip.name}/{stamp}/{name}.png", load())
            cams[name] = {
                "data_path": f"/somebodys/disk/undistort_images/{clip.name}/{stamp}/{name}.png",
                "camera_intrinsics": np.array([[camera.fx_px, 0, camera.cx_px], [0, camera.fy_px, camera.cy_px], [0, 0, 1]]),
                "camera2lidar": camera.lidar_SE3_cam.matrix.astype(np.float32),
            }
        assert frame.world_SE3_lidar is not None
        frames.append({"cams_info": cams, "path": {"pcd": f"pcds/{clip.name}/{stamp}.npz"}, "lidar2world": frame.world_SE3_lidar.matrix})
    (root / "meta_infos").mkdir(exist_ok=True)
    (root / "meta_infos" / f"{clip.name}.pkl").write_bytes(pickle.dumps({"seq_name": clip.name, "frames": frames}))
    if masklets:
        read = open_sequence(root / "meta_infos" / f"{clip.name}.pkl")
        write_whole_files({root / path: data for path, data in waymo_4dseg_label_files(read, masklets).items()})


def write_kitti_raw(root: Path, clip: Clip, camera: Camera, imu_SE3_lidar: SE3, oxts: list[list[float]], *, gaps: bool = False) -> Path:
    """One camera as KITTI's image_02, whose projection says that it stands 6 cm beside the reference camera.

    gaps: there is no image on frame 1.
    """
    drive = root / "2011_09_26" / "2011_09_26_drive_0001_sync"
    rect_SE3_lidar = camera.lidar_SE3_cam.inverse()
    beside_m = np.array([0.06, 0.0, 0.0])
    reference = rect_SE3_lidar.translation_m - beside_m
    drive.mkdir(parents=True)
    day = drive.parent
    k = np.array([[camera.fx_px, 0, camera.cx_px], [0, camera.fy_px, camera.cy_px], [0, 0, 1]])
    p = np.column_stack([k, k @ beside_m])
    text = f"calib_time: 09-Jan-2012 13:57:47\nR_rect_00: {numbers(np.eye(3))}\nP_rect_02: {numbers(p)}\n"
    (day / "calib_cam_to_cam.txt").write_text(text)
    (day / "calib_velo_to_cam.txt").write_text(f"R: {numbers(rect_SE3_lidar.rotation)}\nT: {numbers(reference)}\n")
    lidar_SE3_imu = imu_SE3_lidar.inverse()
    (day / "calib_imu_to_velo.txt").write_text(f"R: {numbers(lidar_SE3_imu.rotation)}\nT: {numbers(lidar_SE3_imu.translation_m)}\n")
    for index, (frame, record) in enumerate(zip(clip.frames, oxts, strict=True)):
        write_bin(drive / f"velodyne_points/data/{index:010d}.bin", frame)
        if index != 1 or not gaps:
            write_image(drive / f"image_02/data/{index:010d}.png", frame.load_images["front"]())
        file = drive / f"oxts/data/{index:010d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(" ".join(map(repr, [*record, *[0.0] * 24])) + "\n")
    times = "".join(f"2011-09-26 13:02:25.{index}94360375\n" for index in range(len(clip)))
    (drive / "velodyne_points" / "timestamps.txt").write_text(times)
    return drive


def write_bin(file: Path, frame: object) -> None:
    sweep = frame.load_sweep()  # type: ignore[attr-defined]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(np.column_stack([sweep.points_m, sweep.intensity]).astype("<f4").tobytes())


def write_kitti_tracking(root: Path) -> Clip:
    """The tiny recording as sequence 0000, with the labels and the calibration that our own exporter writes."""
    tiny = straight(tiny_clip(poses=False))
    files = kitti_tracking_files(tiny, tiny_masklets(), "front")
    write_whole_files({root / path.replace("tiny", "0000"): data for path, data in files.items()})
    for index, frame in enumerate(tiny.frames):
        write_bin(root / f"velodyne/0000/{index:06d}.bin", frame)
        write_image(root / f"image_02/0000/{index:06d}.png", frame.load_images["front"]())
    return tiny


def write_plain_folder(folder: Path, *, cvat: bool, gaps: bool = False) -> Clip:
    """The tiny recording with its calibration and poses; images as CVAT has them, or by camera, with its gaps or without."""
    clip = tiny_clip(gaps=gaps)
    (folder / "pointcloud").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_sequence(clip, Path(scratch) / "drive")
        description = json.loads((Path(scratch) / "drive/sequence.json").read_text())
    (folder / "calibration.json").write_text(json.dumps({"cameras": description["cameras"], "forward": "+x"}))
    for index, frame in enumerate(clip.frames):
        (folder / f"pointcloud/s{index}.pcd").write_bytes(format_pcd(frame.load_sweep()))
        for name, load in frame.load_images.items():
            write_image(folder / (f"related_images/s{index}_pcd/{name}.png" if cvat else f"images/{name}/s{index}.png"), load())
    poses = [frame.world_SE3_lidar for frame in clip.frames]
    lines = [" ".join(repr(float(value)) for value in pose.matrix[:3].ravel()) for pose in poses if pose is not None]
    (folder / "poses.txt").write_text("\n".join(lines) + "\n")
    return clip


EGO_SE3_LIDAR = SE3.from_yaw(-np.pi / 2, [0.9, 0.0, 1.8])
LIDAR_BOXES = (
    (Cuboid((8.0, 1.0, -0.5), (4.5, 1.9, 1.6), 0.4), "car-1", "vehicle.car"),
    (Cuboid((3.0, -2.0, 0.0), (0.7, 0.6, 1.8), -3.0), "p", "human"),
)


def write_tiny_nuscenes(root: Path) -> Clip:
    """The tiny recording in nuScenes' layout, with LIDAR_BOXES on every frame."""
    tiny = straight(tiny_clip())
    boxes = [
        [(name, category, frame.world_SE3_lidar @ cuboid.lidar_SE3_cuboid, cuboid.size_lwh_m) for cuboid, name, category in LIDAR_BOXES]
        for frame in tiny.frames
        if frame.world_SE3_lidar is not None
    ]
    write_nuscenes(root, tiny, EGO_SE3_LIDAR, boxes)
    return tiny


def write_nuscenes(root: Path, clip: Clip, ego_SE3_lidar: SE3, boxes: list[list[tuple[str, str, SE3, tuple[float, float, float]]]]) -> None:
    """boxes: by frame (instance, category, world_SE3_box, size l w h)."""
    tables: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("scene", "sample", "sample_data", "sensor", "calibrated_sensor", "ego_pose", "sample_annotation")
    }
    for channel in ("LIDAR_TOP", *clip.cameras):
        ego_SE3_sensor = ego_SE3_lidar if channel == "LIDAR_TOP" else ego_SE3_lidar @ clip.cameras[channel].lidar_SE3_cam
        intrinsic: list[list[float]] = []
        if channel != "LIDAR_TOP":
            camera = clip.cameras[channel]
            intrinsic = [[camera.fx_px, 0.0, camera.cx_px], [0.0, camera.fy_px, camera.cy_px], [0.0, 0.0, 1.0]]
        tables["sensor"].append({"token": f"s-{channel}", "channel": channel, "modality": "any"})
        calibration = {"token": f"c-{channel}", "sensor_token": f"s-{channel}", "camera_intrinsic": intrinsic, **pose(ego_SE3_sensor)}
        tables["calibrated_sensor"].append(calibration)
    for index, frame in enumerate(clip.frames):
        following = f"f{index + 1}" if index + 1 < len(clip) else ""
        tables["sample"].append({"token": f"f{index}", "next": following, "prev": "", "scene_token": "scene", "timestamp": 0})
        assert frame.world_SE3_lidar is not None
        tables["ego_pose"].append({"token": f"e{index}", **pose(frame.world_SE3_lidar @ ego_SE3_lidar.inverse())})
        for channel in ("LIDAR_TOP", *frame.load_images):
            row: dict[str, object] = {
                "token": f"{channel}{index}",
                "sample_token": f"f{index}",
                "calibrated_sensor_token": f"c-{channel}",
                "ego_pose_token": f"e{index}",
                "is_key_frame": True,
                "timestamp": 1_600_000_000_000_000 + 500_000 * index,
            }
            if channel == "LIDAR_TOP":
                sweep = frame.load_sweep()
                file = root / f"samples/LIDAR_TOP/{index}.pcd.bin"
                file.parent.mkdir(parents=True, exist_ok=True)
                ring = np.zeros(len(sweep), dtype=np.float32)
                assert sweep.intensity is not None
                file.write_bytes(np.column_stack([sweep.points_m, sweep.intensity, ring]).astype("<f4").tobytes())
                row |= {"filename": f"samples/LIDAR_TOP/{index}.pcd.bin", "width": 0, "height": 0}
            else:
                write_image(root / f"samples/{channel}/{index}.png", frame.load_images[channel]())
                row |= {"filename": f"samples/{channel}/{index}.png", "width": 24, "height": 16}
            tables["sample_data"].append(row)
        # A sweep between keyframes, which is no frame.
        tables["sample_data"].append({**tables["sample_data"][-1], "token": f"x{index}", "is_key_frame": False})
        for instance, _, world_SE3_box, (length, width, height) in boxes[index]:
            annotation = {"token": f"a{index}{instance}", "sample_token": f"f{index}", "instance_token": instance}
            tables["sample_annotation"].append({**annotation, "size": [width, length, height], **pose(world_SE3_box)})
    tables["scene"].append({"token": "scene", "name": clip.name, "first_sample_token": "f0"})
    known = {instance: category for frame in boxes for instance, category, *_ in frame}
    tables["instance"] = [{"token": instance, "category_token": f"cat-{category}"} for instance, category in known.items()]
    tables["category"] = [{"token": f"cat-{category}", "name": category} for category in sorted({*known.values()})]
    (root / "v1.0-mini").mkdir(parents=True)
    for name, rows in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))


def pose(transform: SE3) -> dict[str, object]:
    return {"rotation": transform.rotation_wxyz.tolist(), "translation": transform.translation_m.tolist()}


def numbers(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " ".join(repr(float(value)) for value in array.ravel())
