"""Prepared frames of the geometric engine, from a store where they are there.

One entry holds a sweep with its ground and what every camera sees of it, and one each decoded image, so that a click reads of an image no
more than the rows around the object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam4d.frame_store import Arrays, FrameStore, Kept, content_key, keep, together
from sam4d.geometric.ground import Ground
from sam4d.geometric.parameters import DEFAULT_PARAMETERS, GeometricParameters
from sam4d.geometric.scene import CameraView, FrameScene, SurveyedSweep, no_such_frame, prepare_frame
from sam4d.structures import Camera, Clip, Frame, UInt8Array

SCENE_KIND = "geometric scene 1"
"""To be counted up with every change of what a scene holds: stored ones of another kind are not looked at."""

IMAGE_KIND = "image 1"

_VIEW_PARTS = ("pixels", "depth_m", "inside", "visible")


@dataclass(frozen=True)
class StoredImage:
    """A camera's image, decoded, from the store or by its own loader."""

    load: Callable[[], UInt8Array]
    store: FrameStore

    def __call__(self) -> UInt8Array:
        key = content_key(IMAGE_KIND, self.load)
        found = self.store.get(key) if key is not None else None
        return found["image"] if found is not None else self.load()

    def keep(self) -> Kept | None:
        return keep(self.store, content_key(IMAGE_KIND, self.load), lambda: {"image": self.load()})


def stored_scene(
    clip: Clip, frame_index: int, store: FrameStore | None, parameters: GeometricParameters = DEFAULT_PARAMETERS
) -> FrameScene:
    """As `prepare_frame`, and equal to it bit by bit; what the store has is not computed. Nothing is put into it."""
    if store is None or not 0 <= frame_index < len(clip):
        return prepare_frame(clip, frame_index, parameters)
    frame = clip.frames[frame_index]
    key = content_key(_kind(parameters), frame.load_sweep, cameras=_cameras(clip, frame))
    found = store.get(key) if key is not None else None
    frame = replace(frame, load_images={name: StoredImage(load, store) for name, load in frame.load_images.items()})
    if found is None:
        return FrameScene(frame, frame_index, parameters=parameters)
    views = {name: CameraView(*(found[f"{name}/{part}"] for part in _VIEW_PARTS)) for name in frame.load_images}
    return FrameScene(frame, frame_index, _surveyed(found), views, parameters)


def keep_scene(clip: Clip, frame_index: int, store: FrameStore, parameters: GeometricParameters = DEFAULT_PARAMETERS) -> Kept | None:
    """Have a store hold what a click on a frame needs; see `frame_store.keep`.

    Raises InputError where the clip has no such frame, or its files cannot be read.
    """
    if not 0 <= frame_index < len(clip):
        raise no_such_frame(clip, frame_index)
    frame = clip.frames[frame_index]
    cameras = _cameras(clip, frame)
    key = content_key(_kind(parameters), frame.load_sweep, cameras=cameras)
    scene = keep(store, key, lambda: _arrays(FrameScene(frame, frame_index, parameters=parameters), cameras))
    return together([scene, *(StoredImage(load, store).keep() for load in frame.load_images.values())])


def _kind(parameters: GeometricParameters) -> str:
    """Of what a sweep's ground is taken for, the kind tells; the other parameters change nothing that is stored."""
    return SCENE_KIND if parameters.ground == DEFAULT_PARAMETERS.ground else f"{SCENE_KIND} with {parameters.ground!r}"


def _cameras(clip: Clip, frame: Frame) -> dict[str, Camera]:
    return {name: clip.cameras[name] for name in frame.load_images}


def _arrays(scene: FrameScene, cameras: Mapping[str, Camera]) -> dict[str, NDArray[Any]]:
    ground = scene.ground
    arrays: dict[str, NDArray[Any]] = {
        "points_m": scene.points_m,
        "valid": scene.valid,
        "height_m": scene.height_m,
        "is_ground": scene.is_ground,
        "plane": ground.plane,
        "residual_m": ground.residual_m,
        "cell_m": np.array([ground.cell_m]),
    }
    for name, camera in cameras.items():
        view = scene.view(camera)
        arrays |= {f"{name}/{part}": getattr(view, part) for part in _VIEW_PARTS}
    return arrays


def _surveyed(found: Arrays) -> SurveyedSweep:
    ground = Ground(found["plane"], found["residual_m"], float(found["cell_m"][0]))
    return SurveyedSweep(found["points_m"], found["valid"], ground, found["height_m"], found["is_ground"])
