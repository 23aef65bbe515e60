"""Reconstructed scenes of a few voxels."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sam4d.geometry import SE3
from sam4d.structures import MovingVoxels, SceneObject, Voxels, VoxelScene


def tiny_scene(origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> VoxelScene:
    """Ground of 4 x 3 voxels of 0.5 m, a pole of four on it that is object 7, and a cart of two, object 3, that moves along x by 2 m a
    frame and is gone on the last of four frames."""
    ground = [[x, y, -1] for x in range(4) for y in range(3)]
    pole = [[1, 1, z] for z in range(4)]
    world_SE3_static = SE3.from_yaw(np.pi / 2, origin_m)
    return VoxelScene(
        clip_name="a tiny clip",
        frame_count=4,
        voxel_m=0.5,
        world_SE3_static=world_SE3_static,
        static=voxels(ground + pole, [0] * 12 + [7] * 4, [True] * 12 + [False] * 4),
        moving=(
            MovingVoxels(
                voxels([[-1, 0, 0], [0, 0, 0]], [3, 3], [False, False]),
                {frame: world_SE3_static @ SE3.from_yaw(0.0, [2.0 * frame, 5.0, 0.0]) for frame in range(3)},
            ),
        ),
        objects=(SceneObject(3, "Cart", 0.75), SceneObject(7, 'Pole "ö"\n', 1.0)),
    )


def voxels(cells: list[list[int]], object_ids: list[int], is_ground: list[bool]) -> Voxels:
    return Voxels(np.array(cells, dtype=np.int32).reshape(-1, 3), np.array(object_ids, dtype=np.int32), np.array(is_ground, dtype=np.bool_))


@st.composite
def scenes(draw: st.DrawFn) -> VoxelScene:
    """Any scene that a file can hold."""
    objects = draw(st.lists(st.integers(1, 2**31 - 1), max_size=4, unique=True))
    frame_count = draw(st.integers(1, 5))

    def pose() -> SE3:
        angle, *place = draw(st.tuples(st.floats(-7, 7), *[st.floats(-1e7, 1e7)] * 3))
        return SE3.from_yaw(angle, place)

    def part() -> Voxels:
        count = draw(st.integers(0, 5))
        cells = draw(st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=3, max_size=3), min_size=count, max_size=count))
        owners = draw(st.lists(st.sampled_from([0, *objects]), min_size=count, max_size=count))
        return voxels(cells, owners, draw(st.lists(st.booleans(), min_size=count, max_size=count)))

    frames = st.lists(st.integers(0, frame_count - 1), unique=True, max_size=frame_count)
    return VoxelScene(
        clip_name=draw(st.text(max_size=5)),
        frame_count=frame_count,
        voxel_m=draw(st.floats(0.01, 10)),
        world_SE3_static=pose(),
        static=part(),
        moving=tuple(MovingVoxels(part(), {frame: pose() for frame in draw(frames)}) for _ in range(draw(st.integers(0, 3)))),
        objects=tuple(SceneObject(each, draw(st.text(max_size=5)), draw(st.floats(0, 1))) for each in objects),
    )
