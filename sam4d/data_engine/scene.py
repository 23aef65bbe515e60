"""A reconstruction with its objects as a thing to keep and to look at, without the recording that it was made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam4d.data_engine.fusion import FusedObject
from sam4d.data_engine.reconstruction import Reconstruction
from sam4d.data_engine.voxels import voxel_cells
from sam4d.geometry import SE3
from sam4d.structures import MovingVoxels, SceneObject, Voxels, VoxelScene


def voxel_scene(scene: Reconstruction, objects: Sequence[FusedObject]) -> VoxelScene:
    """The scene of a clip; its objects are numbered from 1 in the order given, as `transfer.masklets_of` numbers their masklets."""
    clip = scene.clip
    object_ids = np.zeros(len(scene), dtype=np.int32)
    for object_id, fused in enumerate(objects, start=1):
        object_ids[fused.voxels] = object_id
    cells = voxel_cells(scene.keys).astype(np.int32)
    parts = [scene.part(index) for index in range(len(scene.starts) - 1)]
    static, *moving = [Voxels(cells[part], object_ids[part], scene.is_ground[part]) for part in parts]
    world_SE3_static = clip.frames[0].world_SE3_lidar or SE3.identity()
    return VoxelScene(
        clip_name=clip.name,
        frame_count=len(clip),
        voxel_m=scene.settings.voxel_m,
        world_SE3_static=world_SE3_static,
        static=static,
        moving=tuple(
            MovingVoxels(
                voxels,
                {
                    frame_index: world_SE3_static @ clip.lidar_SE3_lidar(0, frame_index) @ cuboid.lidar_SE3_cuboid
                    for frame_index, cuboid in sorted(body.cuboids.items())
                },
            )
            for voxels, body in zip(moving, scene.bodies, strict=True)
        ),
        objects=tuple(SceneObject(object_id, fused.label, fused.score) for object_id, fused in enumerate(objects, start=1)),
    )
