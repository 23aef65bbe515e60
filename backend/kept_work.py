"""What labelling a drive without a click has done so far, in a folder: an interrupted run goes on from there.

Results lie under the digest of all that they depend on, each there whole or not at all. A run that is not interrupted reads its own results
back as well: both give the same, and what is read back has its masks on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.exports import label_files, write_labels
from converters.exports.recorded_files import image_file
from converters.exports.resumable_directory import write_whole
from converters.exports.whole_output import file_bytes, readable_errors
from converters.packed_masks import MaskStore
from converters.sequences import read_masklets
from converters.sequences.labels import MASKS_FILE
from sam4d.data_engine.kept_work import Arrays
from sam4d.structures import Clip, InputError, Masklet

_CLAIMS = "output.json"
_SCENE = "scene.s4ds"


class WorkFolder:
    """A `sam4d.data_engine.kept_work.KeptWork`. The folder comes with the first result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._masks = MaskStore()

    def within(self, name: str) -> WorkFolder:
        """A folder in this one, for a part of the clip."""
        return WorkFolder(self.folder / name)

    def masklets(self, step: str, clip: Clip, make: Callable[[], Sequence[Masklet]]) -> tuple[Masklet, ...]:
        """Raises InputError where nothing can be written."""
        place = self.folder / step
        if (place / MASKS_FILE).is_file():
            # A file that lost its content with the power is as none.
            with contextlib.suppress(InputError):
                return read_masklets(place, clip, self._masks)
        write_labels(clip, make(), place, overwrite=True)
        return read_masklets(place, clip, self._masks)

    def arrays(self, step: str, make: Callable[[], Arrays]) -> Arrays:
        """Raises InputError where nothing can be written."""
        file = self.folder / f"{step}.npz"
        # As above; a file's own checksums tell.
        with contextlib.suppress(OSError, EOFError, ValueError, zipfile.BadZipFile):
            kept = io.BytesIO(file.read_bytes())
            with np.load(kept, allow_pickle=False) as arrays:
                return dict(arrays)
        made, packed = make(), io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **dict[str, Any](made))
        with readable_errors(self.folder):
            write_whole(file, packed.getvalue())
        return made

    def keep_scene(self, data: bytes) -> None:
        """Raises InputError where nothing can be written."""
        with readable_errors(self.folder):
            write_whole(self.folder / _SCENE, data)

    def kept_scene(self) -> bytes:
        """Raises InputError where none is kept."""
        with readable_errors(self.folder):
            return (self.folder / _SCENE).read_bytes()

    @property
    def is_begun(self) -> bool:
        return self.folder.is_dir()

    @property
    def claimed(self) -> frozenset[Path]:
        """The output files that an earlier run began to write: what is there of them is its own."""
        try:
            return frozenset(map(Path, json.loads((self.folder / _CLAIMS).read_bytes())))
        except (OSError, ValueError):
            return frozenset()

    def claim(self, files: Iterable[Path]) -> None:
        """Note the output files before the first is written."""
        with readable_errors(self.folder):
            write_whole(self.folder / _CLAIMS, json.dumps(sorted(map(str, files))).encode())

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def digest_of(clip: Clip, *made_with: str, progress: Callable[[int, int], None] = lambda done, total: None) -> str:
    """A clip, all its files' content included, and what it is worked on with."""
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        digest.update(json.dumps(values, default=lambda array: np.asarray(array).tolist()).encode())

    add(clip.name, clip.forward, made_with)
    for camera in clip.cameras.values():
        pose = camera.lidar_SE3_cam
        add(camera.name, camera.width_px, camera.height_px, camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, camera.distortion)
        add(pose.rotation, pose.translation_m)
    for index, frame in enumerate(clip.frames):
        world_pose, sweep = frame.world_SE3_lidar, frame.load_sweep()
        add(frame.timestamp_ns, None if world_pose is None else [world_pose.rotation, world_pose.translation_m], sweep.points_m.shape)
        digest.update(sweep.points_m.tobytes())
        for camera_name, load in frame.load_images.items():
            add(camera_name)
            digest.update(image_file(load)[1]())
        progress(index + 1, len(clip))
    return digest.hexdigest()


def digest_of_masklets(masklets: Sequence[Masklet], clip: Clip) -> str:
    digest = hashlib.sha256()
    for content in label_files(clip, masklets).values():
        digest.update(file_bytes(content))
    return digest.hexdigest()
