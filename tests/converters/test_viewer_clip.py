from __future__ import annotations

import json

import numpy as np
import pytest

from converters.viewer_clip import describe_clip
from sam4d.structures import InputError
from tests.converters.tiny_recording import FRONT_POSE, tiny_clip

ADDRESSES = {name: [f"/{name}/{k}" for k in range(3)] for name in ("front", "rear")}
CLOUDS = ["/0", "/1", "/2"]


def test_what_is_said_of_a_drive() -> None:
    clip = tiny_clip(forward="-y")
    said = json.loads(json.dumps(describe_clip(clip, CLOUDS, ADDRESSES), allow_nan=False))
    assert (said["version"], said["name"], said["forward"]) == (1, "tiny", "-y")
    assert [frame["cloud"] for frame in said["frames"]] == CLOUDS
    assert said["frames"][1]["images"] == {"front": "/front/1"}, "a missing image is not there, whatever stands for it on the page"
    pose = clip.frames[2].world_SE3_lidar
    assert pose is not None
    assert np.array(said["frames"][2]["world_SE3_lidar"]).reshape(4, 4) == pytest.approx(pose.matrix)
    camera = said["cameras"]["front"]
    assert np.array(camera["lidar_SE3_cam"]).reshape(4, 4) == pytest.approx(FRONT_POSE.matrix)
    assert (camera["width_px"], camera["fy_px"], len(camera["distortion"])) == (24, 12.5, 5)


def test_a_drive_without_poses_or_cameras() -> None:
    said = describe_clip(tiny_clip(cameras=False, poses=False), CLOUDS, {})
    assert said["cameras"] == {}
    frames = said["frames"]
    assert isinstance(frames, list)
    assert [frame["world_SE3_lidar"] for frame in frames] == [None] * 3


def test_lists_that_do_not_fit_the_drive() -> None:
    with pytest.raises(InputError, match=r"addresses of clouds: expected one per frame \(3\), found 2"):
        describe_clip(tiny_clip(), CLOUDS[:2], ADDRESSES)
    with pytest.raises(InputError, match="addresses of rear"):
        describe_clip(tiny_clip(), CLOUDS, {**ADDRESSES, "rear": []})
