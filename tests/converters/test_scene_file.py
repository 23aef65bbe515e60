"""A scene comes back from its file as it was; what is none is refused in one line."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from converters.scene_file import VOXELS_LIMIT, decode_scene, encode_scene
from sam4d.structures import InputError, Voxels, VoxelScene
from tests.converters.tiny_scene import scenes, tiny_scene, voxels


def assert_equal_voxels(found: Voxels, wanted: Voxels) -> None:
    for one, other in zip(vars(found).values(), vars(wanted).values(), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@given(scene=scenes())
def test_a_scene_comes_back(scene: VoxelScene) -> None:
    found = decode_scene(encode_scene(scene), "a scene")
    for name in ("clip_name", "frame_count", "voxel_m", "objects"):
        assert getattr(found, name) == getattr(scene, name)
    np.testing.assert_array_equal(found.world_SE3_static.matrix, scene.world_SE3_static.matrix)
    assert_equal_voxels(found.static, scene.static)
    assert len(found.moving) == len(scene.moving)
    for body, wanted in zip(found.moving, scene.moving, strict=True):
        assert_equal_voxels(body.voxels, wanted.voxels)
        assert list(body.world_SE3_body) == list(wanted.world_SE3_body)
        for frame, pose in wanted.world_SE3_body.items():
            np.testing.assert_array_equal(body.world_SE3_body[frame].matrix, pose.matrix)


def test_what_moves_is_where_it_is_on_a_frame() -> None:
    scene = tiny_scene((100.0, 0.0, 0.0))
    assert len(scene) == 18
    for frame in range(3):
        places_m, there = scene.at(frame)
        assert len(places_m) == len(there) == 18
        # static x points along the world's y; the cart is 5 m to the left of the static frame's x axis
        np.testing.assert_allclose(places_m[-1], [100.0 - 5.0 - 0.25, 2.0 * frame + 0.25, 0.25], atol=1e-9)
        assert there.object_ids[-1] == 3
    places_m, there = scene.at(3)
    assert len(places_m) == len(there) == 16
    assert set(there.object_ids.tolist()) == {0, 7}


def test_heights_are_above_the_ground_below_even_on_a_slope() -> None:
    """A ramp of 40 voxels that rises a voxel in four, with a post at its end, and something that floats in its own frame."""
    ramp = [[x, y, x // 4] for x in range(40) for y in range(4)]
    post = [[39, 1, 10 + z] for z in range(1, 7)]
    scene = tiny_scene()
    moving = scene.moving[0]
    sloped = VoxelScene(
        "ramp", 4, 0.25, scene.world_SE3_static, voxels(ramp + post, [0] * 166, [True] * 160 + [False] * 6), (moving,), scene.objects
    )
    data = encode_scene(sloped)
    count = len(sloped)
    heights_at = len(data) - count - 4 * -(-count // 2)
    heights_cm = np.frombuffer(data, "<i2", count, heights_at)
    assert np.abs(heights_cm[:160]).max() <= 25
    np.testing.assert_allclose(heights_cm[160:166], 25 * np.arange(2, 8) - 12, atol=26)
    assert (np.diff(heights_cm[160:166]) == 25).all()
    assert heights_cm[166:].tolist() == [0, 0]


def with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
    data = encode_scene(tiny_scene())
    size = struct.unpack_from("<I", data, 8)[0]
    header = json.loads(data[16 : 16 + size])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return data[:8] + struct.pack("<I", len(text)) + data[12:16] + text + data[16 + size :]


def patched(at: int, value: bytes) -> bytes:
    data = bytearray(encode_scene(tiny_scene()))
    at %= len(data)
    data[at : at + len(value)] = value
    return bytes(data)


def poses_of(header: dict[str, Any]) -> dict[str, object]:
    poses: dict[str, object] = header["moving"][0]["world_SE3_body"]
    return poses


POSE = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "expected a reconstructed scene", id="nothing"),
        pytest.param(b"S4DC" + bytes(60), "expected a reconstructed scene", id="a sweep"),
        pytest.param(patched(4, b"\x02"), "expected a scene of layout 1, found layout 2", id="another layout"),
        pytest.param(patched(12, struct.pack("<I", 2**31)), "2147483648 voxels", id="more voxels than there can be"),
        pytest.param(patched(12, struct.pack("<I", VOXELS_LIMIT)), f"for {VOXELS_LIMIT} voxels", id="more voxels than the file holds"),
        pytest.param(patched(8, struct.pack("<I", 2**26)), "expected a header of at most", id="too large a header"),
        pytest.param(patched(16, b"x"), "expected JSON", id="a header that is none"),
        pytest.param(encode_scene(tiny_scene())[:-1], "for 18 voxels", id="an end that is missing"),
        pytest.param(encode_scene(tiny_scene()) + b"\0", "for 18 voxels", id="bytes after the end"),
        pytest.param(patched(-1, b"\x02"), "expected 0 or 1 for every voxel", id="half ground"),
        pytest.param(with_header(lambda header: header.pop("objects")), "objects: expected a value", id="no objects"),
        pytest.param(with_header(lambda header: header.update(objects=header["objects"][:1])), "some of object 7", id="an unknown object"),
        pytest.param(with_header(lambda header: header["objects"].append(header["objects"][0])), "different numbers", id="an object twice"),
        pytest.param(with_header(lambda header: header["objects"][0].update(score=2)), "from 0 to 1", id="a score of two"),
        pytest.param(with_header(lambda header: header["objects"][0].update(label=5)), "expected a text", id="a label that is none"),
        pytest.param(with_header(lambda header: header.update(static=17)), "parts of 18 voxels together, found 19", id="parts too large"),
        pytest.param(with_header(lambda header: header.update(voxel_m=0)), "a length in metres above 0", id="voxels of no size"),
        pytest.param(with_header(lambda header: header.update(voxel_m=float("nan"))), "finite number", id="a size that is no number"),
        pytest.param(with_header(lambda header: header.update(frame_count=0)), "from 1 to", id="no frame"),
        pytest.param(with_header(lambda header: header.update(world_SE3_static=[1.0] * 16)), "last row", id="no pose"),
        pytest.param(with_header(lambda header: header.update(world_SE3_static=[2.0, *POSE[1:]])), "a rotation expected", id="a stretch"),
        pytest.param(
            with_header(lambda header: header["moving"][0]["world_SE3_body"].update({"4": POSE})), "frames from 0 to 3", id="frame"
        ),
        pytest.param(
            with_header(lambda header: header["moving"][0]["world_SE3_body"].update({"٣": POSE})), "frames from 0 to 3", id="digit"
        ),
        pytest.param(with_header(lambda header: header.update(moving={})), "expected a list", id="moving that is no list"),
    ],
)
def test_what_is_none_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(InputError) as refused:
        decode_scene(data, "scene.s4ds")
    assert says in str(refused.value)
    assert str(refused.value).startswith("scene.s4ds")
    assert "\n" not in str(refused.value)


def test_a_header_nested_too_deeply() -> None:
    text = b"[" * 100_000
    with pytest.raises(InputError, match="nested too deeply"):
        decode_scene(struct.pack("<4sIII", b"S4DS", 1, len(text), 0) + text, "scene.s4ds")
