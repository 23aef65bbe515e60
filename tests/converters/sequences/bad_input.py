"""Every layout and the same list of bad input, as a table. What does not apply to a layout says why, so that no cell is forgotten."""

from __future__ import annotations

import gzip
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from converters.exports import write_sequence
from sam4d.geometry import SE3
from tests.converters.sequences.damage import (
    Case,
    columns,
    cut,
    document,
    first_sweep_is,
    hostile,
    hostile_gzip,
    hostile_npz,
    huge_image,
    huge_npz,
    huge_pcd,
    lacking,
    linked_out,
    pickled,
    removed,
    renamed_sweep,
    same_times,
    text,
)
from tests.converters.sequences.recordings import (
    straight,
    write_kitti_raw,
    write_kitti_tracking,
    write_plain_folder,
    write_tiny_nuscenes,
    write_waymo_4dseg,
)
from tests.converters.sequences.test_argoverse import TIMES_NS, write_argoverse
from tests.converters.sequences.test_pandaset import write_classes, write_pandaset
from tests.converters.sequences.test_supervisely import write_supervisely
from tests.converters.tiny_recording import tiny_clip, tiny_masklets

Bad: TypeAlias = Literal[
    "missing file",
    "broken off file",
    "wrong count",
    "calibration without a key",
    "unknown category",
    "overlapping times",
    "hostile pickle",
    "path that leaves the sequence",
    "claim of ten gigabytes",
]

RAW = "2011_09_26/2011_09_26_drive_0001_sync"
FREE_TEXT = "labels are free texts; an import tells those that its project does not have"
NO_PICKLE = "no file of this layout is a pickle"
NO_TIMES = "frames have no times"


def without_poses(sweep: Path) -> None:
    sweep.unlink()
    (sweep.parents[1] / "poses.txt").unlink()


def write_sequence_folder(folder: Path) -> None:
    write_sequence(tiny_clip(), folder, masklets=tiny_masklets())


def write_raw(folder: Path) -> None:
    tiny = straight(tiny_clip())
    write_kitti_raw(folder, tiny, tiny.cameras["front"], SE3.identity(), [[49.0, 8.4, 110.0, 0.0, 0.0, 0.1 * k] for k in range(3)])


def write_classified_pandaset(folder: Path) -> None:
    write_pandaset(folder, straight(tiny_clip(gaps=False)))
    write_classes(folder, straight(tiny_clip()))


@dataclass(frozen=True)
class Layout:
    """write: a whole drive into a folder. place: of the drive in it."""

    write: Callable[[Path], object]
    place: str = "."


LAYOUTS: Mapping[str, Layout] = {
    "sequence folder": Layout(write_sequence_folder),
    "Waymo-4DSeg": Layout(lambda folder: write_waymo_4dseg(folder, straight(tiny_clip()), tiny_masklets())),
    "KITTI raw": Layout(write_raw, RAW),
    "KITTI tracking": Layout(write_kitti_tracking),
    "nuScenes": Layout(write_tiny_nuscenes),
    "PandaSet": Layout(write_classified_pandaset),
    "CVAT 3D upload": Layout(lambda folder: write_plain_folder(folder, cvat=True)),
    "Supervisely": Layout(lambda folder: write_supervisely(folder, straight(tiny_clip()))),
    "Argoverse 2": Layout(lambda folder: write_argoverse(folder, straight(tiny_clip()))),
}


NOT_LATER = r"frame 1: timestamp_ns: expected a time after that of frame 0, \d+, found "
NO_FILE = "expected a readable file, found no such file"
OUTSIDE = "expected a file inside the sequence's folder, found a link to"
FIRST_FRONT = "related_images/s0_pcd/front.png"

TABLE: Mapping[str, Mapping[Bad, list[Case] | str]] = {
    "sequence folder": {
        "missing file": [
            Case("sweeps/000001.pcd", removed, r"frames\[1\].sweep: expected a file sweeps/000001.pcd, found no such file"),
            Case("images/front/000000.png", removed, r"frames\[0\].images.front: expected a file .*, found no such file"),
            Case("labels/cuboids.json", removed, f"cuboids.json: {NO_FILE}"),
        ],
        "broken off file": [
            Case("sequence.json", cut, r"sequence.json: expected JSON, found \d+ bytes that are not"),
            Case("sweeps/000001.pcd", cut, r"sweeps/000001.pcd: POINTS: expected 960 bytes"),
            Case("images/front/000000.png", cut, "front/000000.png: expected a whole image"),
            Case("labels/masks.json", cut, r"masks.json: expected JSON, found what is none \(at objects"),
            Case("labels/cuboids.json", cut, r"cuboids.json: expected JSON, found \d+ bytes that are not"),
        ],
        "wrong count": [
            Case("sweeps/000001.pcd", lambda file: file.write_bytes(file.read_bytes().replace(b"POINTS 60", b"POINTS 61")), r"pcd: .*61"),
            Case("labels/cuboids.json", document(lambda d: d["frames"].pop()), "frames: expected 3 frames as in the sequence, found 2"),
            Case(
                "labels/masks.json",
                document(lambda d: d["objects"][0]["frames"][0]["lidar"].update(size=[59, 1])),
                "lidar.counts: expected runs that fill 59 pixels",
            ),
        ],
        "calibration without a key": [
            Case("sequence.json", document(lacking("cameras.front.lidar_SE3_cam")), "front.lidar_SE3_cam: expected a value"),
            Case("sequence.json", document(lacking("cameras.front.intrinsics.fy")), "intrinsics.fy: expected a value"),
        ],
        "unknown category": FREE_TEXT,
        "overlapping times": [
            Case("sequence.json", document(lambda d: d["frames"][1].update(timestamp_ns=5)), NOT_LATER),
            Case(
                "sequence.json",
                document(lambda d: d["frames"][1].update(timestamp_ns=d["frames"][0]["timestamp_ns"])),
                f"{NOT_LATER}17{'0' * 17}",
            ),
        ],
        "hostile pickle": [Case("sequence.json", first_sweep_is("sweeps/a.npz", hostile_npz), "a.npz: expected numbers.*found.*object")],
        "path that leaves the sequence": [
            Case("sequence.json", document(lambda d: d["frames"][0].update(sweep="../a.pcd")), "expected a path inside the sequence's"),
            Case("sequence.json", document(lambda d: d["frames"][0]["images"].update(front="/a.png")), "expected a path inside the seq"),
            Case("sweeps/000001.pcd", linked_out, r"frames\[1\].sweep: expected a file inside the sequence's folder, found a link to"),
            Case("labels/masks.json", linked_out, f"masks.json: {OUTSIDE}"),
            Case("labels/cuboids.json", linked_out, f"cuboids.json: {OUTSIDE}"),
        ],
        "claim of ten gigabytes": [
            Case("sweeps/000000.pcd", huge_pcd, r"pcd: .*expected .*found.*999999999"),
            Case("sequence.json", first_sweep_is("sweeps/a.npz", huge_npz), "9000000 rows of 64 numbers"),
            Case("images/front/000000.png", huge_image, "expected an image of 24 x 16 pixels, found one far too large"),
            Case(
                "labels/masks.json",
                document(lambda d: d["objects"][0]["frames"][0]["lidar"].update(size=[10**10, 1])),
                "size.0.: expected a whole number from 0 to 10000000",
            ),
        ],
    },
    "Waymo-4DSeg": {
        "missing file": [
            Case("pcds/tiny/1700000000100000.npz", removed, f"1700000000100000.npz: {NO_FILE}"),
            Case("undistort_images/tiny/1700000000000000/front.png", removed, f"front.png: {NO_FILE}"),
        ],
        "broken off file": [
            Case("meta_infos/tiny.pkl", cut, "tiny.pkl: expected a whole pickle"),
            Case("pcds/tiny/1700000000100000.npz", cut, "100000.npz: expected "),
            Case("undistort_images/tiny/1700000000100000/front.png", cut, "front.png: expected a whole image"),
            Case("sam4d_labels/tiny/1700000000100000.json", cut, "100000.json: expected JSON"),
        ],
        "wrong count": [
            Case(
                "pcds/tiny/1700000000000000.npz",
                lambda file: np.savez(file, data=np.ones((59, 4), dtype=np.float32)),
                r"lidar_mask.size: expected \[59, 1\], found \[60, 1\]",
            ),
            Case("pcds/tiny/1700000000000000.npz", lambda file: np.savez(file, data=np.ones((59, 2))), r"npz: expected numbers.*\(59, 2\)"),
        ],
        "calibration without a key": [
            Case(
                "meta_infos/tiny.pkl",
                pickled(lacking(f"frames.0.cams_info.front.{key}")),
                rf"frames\[0\].cams_info.front.{key}: expected a value, found nothing",
            )
            for key in ("camera2lidar", "camera_intrinsics")
        ],
        "unknown category": FREE_TEXT,
        "overlapping times": [
            Case("meta_infos/tiny.pkl", pickled(lambda d: d["frames"][1].update(path=d["frames"][0]["path"])), NOT_LATER),
        ],
        "hostile pickle": [
            Case("meta_infos/tiny.pkl", hostile, "expected a pickle of plain values and numpy arrays, found the name builtins.print"),
            Case("pcds/tiny/1700000000000000.npz", hostile_npz, "npz: expected numbers.*found.*object"),
        ],
        "path that leaves the sequence": [
            Case("meta_infos/tiny.pkl", pickled(lambda d: d["frames"][0].update(path={"pcd": "../a.npz"})), "expected a path below"),
            Case("pcds/tiny/1700000000000000.npz", linked_out, OUTSIDE),
            Case("sam4d_labels/tiny/1700000000000000.json", linked_out, OUTSIDE),
        ],
        "claim of ten gigabytes": [
            Case("pcds/tiny/1700000000000000.npz", huge_npz, "9000000 rows of 64 numbers"),
            Case("undistort_images/tiny/1700000000000000/front.png", huge_image, "front.png: expected an image"),
            Case(
                "sam4d_labels/tiny/1700000000000000.json",
                text('"size": [60, 1]', '"size": [2147483647, 1]'),
                r"lidar_mask.size: expected \[60, 1\], found \[2147483647, 1\]",
            ),
        ],
    },
    "KITTI raw": {
        "missing file": [
            *(Case(f"../{name}", removed, f"{name}: {NO_FILE}") for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt")),
            Case(
                "velodyne_points/data/0000000001.bin",
                removed,
                r"data: expected a file for each of the 3 entries of velodyne_points/timestamps.txt .*, found none for 0000000001$",
            ),
            Case(
                "image_02/data/0000000001.png",
                removed,
                r"image_02/data: expected a file for every frame of velodyne_points/data \(--allow-missing .*, found none for 0000000001$",
            ),
            Case("oxts/data/0000000000.txt", removed, "oxts/data: expected a file for every frame of .*, found none for 0000000000$"),
        ],
        "broken off file": [
            Case("velodyne_points/data/0000000001.bin", cut, "0000000001.bin: expected rows of 4 float32 numbers"),
            Case("image_02/data/0000000000.png", cut, "0000000000.png: expected a whole image"),
            Case("../calib_velo_to_cam.txt", cut, "calib_velo_to_cam.txt: "),
        ],
        "wrong count": [
            Case("../calib_velo_to_cam.txt", text("T: ", "T: 1 "), "calib_velo_to_cam.txt: T: expected 3 numbers, found 4"),
            Case("oxts/data/0000000001.txt", lambda file: file.write_text("49 8.4\n"), "line 2: expected 30 numbers"),
            Case("oxts/data/0000000001.txt", lambda file: file.write_text(""), "expected one record per file, found 2 in 3 files"),
        ],
        "calibration without a key": [
            Case("../calib_cam_to_cam.txt", text("P_rect_02", "P_rect_01"), "calib_cam_to_cam.txt: expected a line P_rect_02, found none"),
            Case("../calib_velo_to_cam.txt", text("R:", "Q:"), "calib_velo_to_cam.txt: expected a line R, found none"),
            Case("../calib_imu_to_velo.txt", text("T:", "Q:"), "calib_imu_to_velo.txt: expected a line T, found none"),
        ],
        "unknown category": "a raw drive has no labels",
        "overlapping times": [Case("velodyne_points/timestamps.txt", same_times, NOT_LATER)],
        "hostile pickle": NO_PICKLE,
        "path that leaves the sequence": [
            Case("velodyne_points/data/0000000001.bin", linked_out, OUTSIDE),
            Case("image_02/data/0000000000.png", linked_out, OUTSIDE),
            Case("../calib_cam_to_cam.txt", linked_out, OUTSIDE),
            Case("oxts/data/0000000001.txt", linked_out, OUTSIDE),
        ],
        # Rows of numbers have no header.
        "claim of ten gigabytes": [Case("image_02/data/0000000000.png", huge_image, "0000000000.png: expected an image")],
    },
    "KITTI tracking": {
        "missing file": [
            Case("velodyne/0000", shutil.rmtree, "expected a drive in a known layout"),
            Case("velodyne/0000/000001.bin", removed, "velodyne/0000: expected a file for every frame of image_02/0000 .*000001$"),
            Case("velodyne/0000/000002.bin", removed, "velodyne/0000: expected a file for every frame of image_02/0000 .*000002$"),
            Case("image_02/0000/000001.png", removed, "image_02/0000: expected a file for every frame of velodyne/0000 .*000001$"),
        ],
        "broken off file": [
            Case("velodyne/0000/000001.bin", cut, "000001.bin: expected rows of 4 float32 numbers"),
            Case("image_02/0000/000000.png", cut, "000000.png: expected a whole image"),
            Case("calib/0000.txt", cut, "0000.txt: "),
            Case("label_02/0000.txt", cut, "label_02/0000.txt: line .*: expected 17 values"),
        ],
        "wrong count": [
            Case("label_02/0000.txt", lambda file: file.write_text("0 1 Car 0\n"), "0000.txt: line 1: expected 17 values"),
            Case("calib/0000.txt", text("Tr_velo_cam ", "Tr_velo_cam 1 "), "0000.txt: Tr_velo_cam: expected 12 numbers, found 13"),
        ],
        "calibration without a key": [
            Case("calib/0000.txt", text(key, "Q"), f"0000.txt: expected a line {key}, found none")
            for key in ("P2", "R_rect", "Tr_velo_cam")
        ],
        "unknown category": FREE_TEXT,
        "overlapping times": NO_TIMES,
        "hostile pickle": NO_PICKLE,
        "path that leaves the sequence": [
            Case("velodyne/0000/000001.bin", linked_out, OUTSIDE),
            Case("image_02/0000/000000.png", linked_out, OUTSIDE),
            Case("calib/0000.txt", linked_out, OUTSIDE),
            Case("label_02/0000.txt", linked_out, OUTSIDE),
        ],
        "claim of ten gigabytes": [Case("image_02/0000/000000.png", huge_image, "000000.png: expected an image")],
    },
    "nuScenes": {
        "missing file": [
            Case("v1.0-mini/ego_pose.json", removed, f"ego_pose.json: {NO_FILE}"),
            Case("v1.0-mini/sample_annotation.json", removed, f"sample_annotation.json: {NO_FILE}"),
            Case("samples/LIDAR_TOP/1.pcd.bin", removed, f"1.pcd.bin: {NO_FILE}"),
            Case("samples/front/1.png", removed, f"front/1.png: {NO_FILE}"),
        ],
        "broken off file": [
            Case("v1.0-mini/sample_data.json", cut, r"sample_data.json: expected JSON, found \d+ bytes that are not"),
            Case("samples/LIDAR_TOP/1.pcd.bin", cut, "1.pcd.bin: expected rows of 5 float32 numbers"),
            Case("samples/front/1.png", cut, "front/1.png: expected a whole image"),
        ],
        "wrong count": [
            Case("v1.0-mini/ego_pose.json", document(lacking("0.translation.2")), r"\[0\].translation: expected 3 numbers, found 2"),
            Case("v1.0-mini/sample_annotation.json", document(lacking("0.size.2")), r"\[0\].size: expected 3 numbers, found 2"),
            Case("v1.0-mini/calibrated_sensor.json", document(lacking("1.camera_intrinsic.2")), "expected a 3 x 3 matrix"),
        ],
        "calibration without a key": [
            Case("v1.0-mini/calibrated_sensor.json", document(lacking(f"1.{key}")), rf"\[1\].{key}: expected a value, found nothing")
            for key in ("camera_intrinsic", "rotation", "translation")
        ],
        "unknown category": [
            Case(
                "v1.0-mini/instance.json",
                document(lambda d: d[0].update(category_token="none")),
                r"instance.json: \[0\].category_token: expected the token of a row that is there, found 'none'",
            )
        ],
        "overlapping times": [
            Case("v1.0-mini/sample_data.json", document(lambda d: [row.update(timestamp=1) for row in d]), NOT_LATER),
        ],
        "hostile pickle": NO_PICKLE,
        "path that leaves the sequence": [
            Case("v1.0-mini/sample_data.json", document(lambda d: d[0].update(filename="../a.bin")), f"a.bin: {NO_FILE}"),
            Case("samples/LIDAR_TOP/1.pcd.bin", linked_out, OUTSIDE),
            Case("v1.0-mini/scene.json", linked_out, OUTSIDE),
        ],
        "claim of ten gigabytes": [
            Case("samples/front/1.png", huge_image, "expected an image of 24 x 16 pixels, found one far too large"),
            Case("v1.0-mini/sample_data.json", document(lambda d: d[1].update(width=10**5, height=10**5)), "expected an image of"),
        ],
    },
    "PandaSet": {
        "missing file": [
            Case("camera/front/poses.json", removed, f"poses.json: {NO_FILE}"),
            Case("annotations/semseg/classes.json", removed, f"classes.json: {NO_FILE}"),
            Case("lidar/01.pkl.gz", removed, "lidar: expected a file for each of the 3 entries of lidar/poses.json .*, found none for 01$"),
            *(
                Case(f"{place}/01{ending}", removed, f"{place}: expected a file for every frame of lidar .*, found none for 01$")
                for place, ending in (("camera/front", ".jpg"), ("annotations/cuboids", ".pkl.gz"), ("annotations/semseg", ".pkl.gz"))
            ),
        ],
        "broken off file": [
            Case("lidar/poses.json", cut, "poses.json: expected JSON"),
            Case("lidar/01.pkl.gz", cut, "01.pkl.gz: expected a whole gzip file"),
            Case("annotations/cuboids/01.pkl.gz", cut, "cuboids/01.pkl.gz: expected a whole gzip file"),
            Case("annotations/semseg/01.pkl.gz", cut, "semseg/01.pkl.gz: expected a whole gzip file"),
            Case("camera/front/00.jpg", cut, "00.jpg: expected an image"),
        ],
        "wrong count": [
            Case("lidar/poses.json", document(lambda d: d.pop()), "poses.json: expected an entry for the file of number 02, found 2"),
            Case("lidar/timestamps.json", document(lambda d: d.pop()), "timestamps.json: expected an entry for the file of number 02"),
            Case(
                "annotations/semseg/00.pkl.gz",
                lambda file: shutil.copy(file.parent.parent / "cuboids/00.pkl.gz", file),
                "00.pkl.gz: class: expected a column",
            ),
        ],
        "calibration without a key": [
            Case("camera/front/intrinsics.json", document(lacking("cy")), "intrinsics.json: cy: expected a value, found nothing"),
            Case("camera/front/poses.json", document(lacking("0.heading")), r"\[0\].heading: expected a value, found nothing"),
        ],
        "unknown category": [
            Case("annotations/semseg/classes.json", document(lambda d: d.pop("7")), "class: expected one of the classes of .*, found 7")
        ],
        "overlapping times": [Case("lidar/timestamps.json", lambda file: file.write_text("[5, 5, 4]"), NOT_LATER)],
        "hostile pickle": [
            Case(f"{place}/00.pkl.gz", hostile_gzip, f"{place}/00.pkl.gz: expected a pickle of .*, found the name builtins.print")
            for place in ("lidar", "annotations/cuboids", "annotations/semseg")
        ],
        "path that leaves the sequence": [
            Case(file, linked_out, OUTSIDE)
            for file in ("lidar/00.pkl.gz", "lidar/poses.json", "camera/front/00.jpg", "annotations/cuboids/00.pkl.gz")
        ],
        "claim of ten gigabytes": [
            Case("camera/front/00.jpg", huge_image, "00.jpg: expected an image"),
            Case(
                "lidar/00.pkl.gz",
                # An array of 10 GB, of which nothing is there.
                lambda file: file.write_bytes(gzip.compress(b"\x80\x04" + b"B" + struct.pack("<I", 2**31) + b"abc.")),
                "00.pkl.gz: expected a whole pickle",
            ),
        ],
    },
    "CVAT 3D upload": {
        "missing file": [
            Case("pointcloud/s1.pcd", removed, "a line for each of the 2 sweeps, found 3"),
            Case(
                "pointcloud/s1.pcd", without_poses, "pointcloud: expected a file for every frame of related_images .*, found none for s1$"
            ),
            Case("related_images/s1_pcd", shutil.rmtree, "related_images: expected a file for every frame of pointcloud .*none for s1$"),
            Case("related_images/s1_pcd/rear.png", removed, "images of rear: expected a file for every frame of pointcloud .*none for s1$"),
        ],
        "broken off file": [
            Case("pointcloud/s1.pcd", cut, "s1.pcd: POINTS: expected 960 bytes"),
            Case("calibration.json", cut, "calibration.json: expected JSON"),
            Case(FIRST_FRONT, cut, "front.png: expected a whole image"),
            Case("poses.txt", cut, "poses.txt: "),
        ],
        "wrong count": [
            Case("poses.txt", lambda file: file.write_text("1 0 0 0 0 1 0 0 0 0 1 0\n"), "a line for each of the 3 sweeps, found 1"),
            Case("poses.txt", lambda file: file.write_text("1 0 0\n" * 3), "poses.txt: line 1: expected 12 numbers, found 3"),
        ],
        "calibration without a key": [
            Case("calibration.json", document(lacking("cameras.front.intrinsics")), "front.intrinsics: expected a value"),
            Case("calibration.json", document(lacking("cameras")), "calibration.json: cameras: expected a value"),
        ],
        "unknown category": "a folder of sweeps and images has no labels",
        "overlapping times": NO_TIMES,
        "hostile pickle": [Case("pointcloud/s0.pcd", renamed_sweep(".npz", hostile_npz), "s0.npz: expected numbers.*found.*object")],
        "path that leaves the sequence": [
            Case(file, linked_out, OUTSIDE) for file in ("pointcloud/s1.pcd", FIRST_FRONT, "calibration.json", "poses.txt")
        ],
        "claim of ten gigabytes": [
            Case("pointcloud/s0.pcd", huge_pcd, r"pcd: .*expected .*found.*999999999"),
            Case("pointcloud/s0.pcd", renamed_sweep(".npz", huge_npz), "9000000 rows of 64 numbers"),
            Case(FIRST_FRONT, huge_image, "expected an image of 24 x 16 pixels, found one far too large"),
        ],
    },
    "Supervisely": {
        "missing file": [
            Case("episode_1/pointcloud/scene.1.pcd", removed, f"scene.1.pcd: {NO_FILE}"),
        ],
        "broken off file": [
            Case("meta.json", cut, "meta.json: expected JSON"),
            Case("episode_1/annotation.json", cut, "annotation.json: expected JSON"),
            Case("episode_1/frame_pointcloud_map.json", cut, "frame_pointcloud_map.json: expected JSON"),
            Case("episode_1/related_images/scene_0_pcd/0-front.png.json", cut, "front.png.json: expected JSON"),
            Case("episode_1/related_images/scene_2_pcd/2-front.png.figures.json", cut, "figures.json: expected JSON"),
            Case("episode_1/related_images/scene_0_pcd/0-front.png", cut, "0-front.png: expected a whole image"),
            Case("episode_1/pointcloud/scene.1.pcd", cut, "scene.1.pcd: POINTS: expected 960 bytes"),
        ],
        "wrong count": [
            Case(
                "episode_1/related_images/scene_0_pcd/0-front.png.json",
                document(lambda d: d["meta"]["sensorsData"]["intrinsicMatrix"].pop()),
                "intrinsicMatrix: expected 9 numbers, found 8",
            ),
            Case("episode_1/frame_pointcloud_map.json", document(lambda d: d.pop("7")), r"index: expected a frame of frame_pointcloud_map"),
            Case("episode_1/annotation.json", text("[3, 8, 59]", "[3, 8, 60]"), "expected a whole number from 0 to 59, found 60"),
        ],
        "calibration without a key": [
            Case(
                "episode_1/related_images/scene_0_pcd/0-front.png.json",
                document(lacking(f"meta.sensorsData.{key}")),
                f"sensorsData.{key}: expected a value, found nothing",
            )
            for key in ("intrinsicMatrix", "extrinsicMatrix")
        ],
        "unknown category": [
            Case(
                "meta.json",
                document(lambda d: d["classes"].pop()),
                "expected one of the classes Car of meta.json, found 'Person'",
            )
        ],
        "overlapping times": [
            Case(
                "episode_1/related_images",
                lambda folder: [
                    document(lambda d: d["meta"].update(timestamp="2023-11-14T22:13:20Z"))(file) for file in folder.glob("*/*.png.json")
                ],
                NOT_LATER,
            )
        ],
        "hostile pickle": NO_PICKLE,
        "path that leaves the sequence": [
            Case("episode_1/frame_pointcloud_map.json", text("scene.1.pcd", "../../a.pcd"), "expected a path inside the sequence's folder"),
            Case("episode_1/pointcloud/scene.1.pcd", linked_out, OUTSIDE),
            Case("episode_1/related_images/scene_2_pcd/2-front.png.figures.json", linked_out, OUTSIDE),
            Case("episode_1/annotation.json", linked_out, OUTSIDE),
            Case("meta.json", linked_out, OUTSIDE),
        ],
        "claim of ten gigabytes": [
            Case("episode_1/pointcloud/scene.0.pcd", huge_pcd, r"pcd: .*expected .*found.*999999999"),
            Case("episode_1/related_images/scene_0_pcd/0-front.png", huge_image, "0-front.png: expected an image"),
        ],
    },
    "Argoverse 2": {
        "missing file": [
            Case("calibration/intrinsics.feather", removed, f"intrinsics.feather: {NO_FILE}"),
            Case("calibration/egovehicle_SE3_sensor.feather", removed, f"egovehicle_SE3_sensor.feather: {NO_FILE}"),
        ],
        "broken off file": [
            Case(f"sensors/lidar/{TIMES_NS[0]}.feather", cut, "feather: expected a whole feather file"),
            Case("annotations.feather", cut, "annotations.feather: expected a whole feather file"),
            Case(f"sensors/cameras/front/{TIMES_NS[0] + 20_000_000}.jpg", cut, "jpg: expected a whole image"),
        ],
        "wrong count": [
            Case(
                "city_SE3_egovehicle.feather",
                columns(lambda c: [values.pop(0) for values in c.values()]),
                f"egovehicle.feather: expected a pose at {TIMES_NS[0]}, the time of a sweep, found 5 poses",
            )
        ],
        "calibration without a key": [
            Case("calibration/intrinsics.feather", columns(lambda c: c.pop("fx_px")), "intrinsics.feather: fx_px: expected a column"),
            Case("calibration/egovehicle_SE3_sensor.feather", columns(lambda c: c.pop("qz")), "sensor.feather: qz: expected a column"),
        ],
        "unknown category": FREE_TEXT,
        "overlapping times": "sweeps are called by their times",
        "hostile pickle": NO_PICKLE,
        "path that leaves the sequence": [
            Case(file, linked_out, OUTSIDE)
            for file in (f"sensors/lidar/{TIMES_NS[0]}.feather", "annotations.feather", "calibration/intrinsics.feather")
        ],
        "claim of ten gigabytes": [
            Case(f"sensors/cameras/front/{TIMES_NS[0] + 20_000_000}.jpg", huge_image, "jpg: expected an image"),
            Case(
                "calibration/intrinsics.feather",
                columns(lambda c: c.update(width_px=[10**5] * 2, height_px=[10**5] * 2)),
                "expected an image of at most",
            ),
        ],
    },
}
