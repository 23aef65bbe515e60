"""Segments.ai: golden files, frames and lenses, and the service's own models take sample and label."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.exports import FileContent, segments_files, write_whole_files
from converters.exports.segments import ego_poses
from converters.exports.whole_output import file_bytes
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError, Masklet, ObjectMasks
from tests.converters.exports.peers import ask_peer, needs_peers
from tests.converters.exports.read_back import segments_bitmap, segments_pose
from tests.converters.tiny_recording import tiny_clip, tiny_masklets, tiny_masks

GOLDEN = Path(__file__).with_name("golden")


def document(files: Mapping[str, FileContent], path: str) -> Any:
    return json.loads(file_bytes(files[path]))


def sensors_of(files: Mapping[str, FileContent], path: str) -> dict[str, Any]:
    return {sensor["name"]: sensor["attributes"]["frames"] for sensor in document(files, path)["sensors"]}


def test_without_a_pose_on_every_frame_cuboids_are_in_the_lidars_frame() -> None:
    clip = tiny_clip()
    broken = replace(clip, frames=(replace(clip.frames[0], world_SE3_lidar=None), *clip.frames[1:]))
    assert ego_poses(broken) is None
    for without in (broken, tiny_clip(poses=False)):
        files = segments_files(without, tiny_masklets())
        (each,) = sensors_of(files, "segments/tiny/label.json")["lidar"][0]["annotations"]
        assert tuple(each["position"].values()) == tiny_masklets()[0].cuboids[0].center_m
        assert "ego_pose" not in sensors_of(files, "segments/tiny/sample.json")["lidar"][1]
    first = sensors_of(segments_files(clip, ()), "segments/tiny/sample.json")["lidar"][0]["ego_pose"]
    assert first["position"] == {"x": 0, "y": 0, "z": 0}


def test_cameras_keep_their_lens_and_their_convention() -> None:
    clip = tiny_clip()
    sample = sensors_of(segments_files(clip, ()), "segments/tiny/sample.json")
    assert [image["name"] for image in sample["lidar"][1]["images"]] == ["front"]
    assert [len(sample[camera]) for camera in ("front", "rear")] == [3, 2], "rear has no image on one frame"
    (image,) = sample["lidar"][1]["images"]
    assert image["camera_convention"] == "OpenCV"
    assert image["distortion"] == {"model": "brown-conrady", "coefficients": {"k1": 0.01, "k2": -0.02, "p1": 0.001, "p2": 0.0, "k3": 0.0}}
    assert image["intrinsics"]["intrinsic_matrix"] == [[12.0, 0.0, 12.25], [0.0, 12.5, 8.0], [0.0, 0.0, 1.0]]
    found = segments_pose(image["extrinsics"]["translation"], image["extrinsics"]["rotation"])
    np.testing.assert_allclose(found.matrix, clip.cameras["front"].lidar_SE3_cam.matrix, atol=1e-12)
    times = [frame.get("timestamp") for frame in sample["lidar"]]
    assert times == [frame.timestamp_ns for frame in clip.frames]


def test_the_label_equals_the_golden_one() -> None:
    """But for the last bits, which differ between processors."""
    files = segments_files(tiny_clip(), tiny_masklets())
    found = {name: document(files, f"segments/tiny/{name}.json") for name in ("categories", "sample", "label")}
    assert rounded(json.dumps(found)) == rounded((GOLDEN / "segments.json").read_text())


def rounded(text: str) -> Any:
    return json.loads(text, parse_float=lambda number: round(float(number), 9))


READ = """
import io, json, sys
from pathlib import Path
import numpy
from PIL import Image
from segments import typing
from segments.utils import bitmap2file
folder = Path(sys.argv[1])
sample = typing.MultiSensorSampleAttributes.model_validate_json((folder / "sample.json").read_text())
label = typing.MultiSensorLabelAttributes.model_validate_json((folder / "label.json").read_text())
by_name = {sensor.name: sensor for sensor in label.sensors}
cuboid = by_name["lidar"].attributes.frames[0].annotations[0]
same = 0
for path in sorted(folder.glob("bitmaps/*/*.png")):
    mine = numpy.asarray(Image.open(path))
    ids = numpy.array(mine).view(numpy.uint32)[:, :, 0] & 0xFFFFFF
    theirs = numpy.asarray(Image.open(bitmap2file(ids.astype(numpy.uint32))))
    assert (mine == theirs).all()
    same += 1
print(json.dumps({
    "kinds": {sensor.name: type(sensor).__name__ for sensor in label.sensors},
    "frames": {sensor.name: len(sensor.attributes.frames) for sensor in sample.sensors},
    "points": [len(frame.point_annotations) for frame in by_name["lidar points"].attributes.frames],
    "convention": sample.sensors[0].attributes.frames[0].images[0].camera_convention,
    "size": [cuboid.dimensions.x, cuboid.dimensions.y, cuboid.dimensions.z], "track": cuboid.track_id,
    "bitmaps": same,
}))
"""


@needs_peers
def test_their_own_models_take_it(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    clip, masklets = small_drive.clip, tuple(small_drive.masklets)
    write_whole_files({tmp_path / path: content for path, content in segments_files(clip, masklets).items()})
    found = ask_peer(READ, tmp_path / "segments" / clip.name)
    assert found["kinds"] == {
        "lidar": "MultiSensorPointcloudSequenceCuboidLabelAttributes",
        "lidar points": "MultiSensorPointcloudSequenceSegmentationLabelAttributes",
        **dict.fromkeys(clip.cameras, "MultiSensorImageSequenceSegmentationLabelAttributes"),
    }
    assert found["frames"] == dict.fromkeys(["lidar", "lidar points", *clip.cameras], len(clip))
    assert found["points"] == [len(frame.load_sweep()) for frame in clip.frames]
    assert found["convention"] == "OpenCV"
    first = next(masklet for masklet in masklets if 0 in masklet.cuboids)
    assert (found["track"], found["size"]) == (first.object_id, list(first.cuboids[0].size_lwh_m))
    assert found["bitmaps"] > 4


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    clip, (car, *_) = tiny_clip(), tiny_masklets()
    with pytest.raises(InputError, match="one masklet per object id"):
        segments_files(clip, [car, car])
    for object_id in (0, 2**24):
        with pytest.raises(InputError, match=f"from 1 to 16777215, found {object_id}"):
            segments_files(clip, [replace(car, object_id=object_id)])
    short = ObjectMasks(1, 0, {}, np.ones(6, dtype=np.bool_), 0.5)
    with pytest.raises(InputError, match="object 1 on frame 0: expected a mask of 60 points, found 6"):
        write_whole_files({tmp_path / path: content for path, content in segments_files(clip, [replace(car, masks={0: short})]).items()})
    assert list(tmp_path.iterdir()) == []


def test_large_object_ids_fill_all_three_bytes(tmp_path: Path) -> None:
    masklet = Masklet(0xABCDEF, "Car", {0: tiny_masks(0xABCDEF, 0)})
    write_whole_files({tmp_path / path: content for path, content in segments_files(tiny_clip(), [masklet]).items()})
    found = segments_bitmap(tmp_path / "segments/tiny/bitmaps/front/000000.png")
    np.testing.assert_array_equal(found == 0xABCDEF, masklet.masks[0].camera_masks["front"])
    assert set(np.unique(found).tolist()) == {0, 0xABCDEF}
