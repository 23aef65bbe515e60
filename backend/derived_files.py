"""What the import makes of a drive beside it: bird's-eye images, clouds for the 3D view, and images in place of those no browser shows.

They depend on the drive and the bird's-eye view alone, so that projects share them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from backend.drive_place import DrivePlace, local_files_address
from converters.birds_eye import render_birds_eye, render_placeholder
from converters.cloud_file import CLOUD_VERSION, encode_cloud
from converters.exports.resumable_directory import resumable_directory, was_begun, write_whole
from converters.sequences.image_file import encode_png
from converters.sequences.sequence_folder import SEQUENCE_FILE, ImageFile, SweepFile
from converters.viewer_clip import VIEWER_CLIP_VERSION, describe_clip
from sam4d.geometry import BirdsEyeView
from sam4d.structures import Clip, InputError

SHOWN_BY_BROWSERS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
STAMP = "made_from.json"
VIEWER_CLIP = "viewer.json"

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how many steps of it are done and how many there are."""


def derived_folder(place: DrivePlace, view: BirdsEyeView) -> Path:
    """Of what is made of a drive, relative to the data root."""
    return place.derived / f"{view.range_m:g}m_{view.metres_per_pixel:g}"


@dataclass(frozen=True)
class DerivedFiles:
    """A drive, where it lies, and the folder of what is made of it, relative to the data root."""

    clip: Clip
    place: DrivePlace
    folder: Path

    @classmethod
    def of(cls, clip: Clip, place: DrivePlace, view: BirdsEyeView) -> DerivedFiles:
        return cls(clip, place, derived_folder(place, view))

    @property
    def description_path(self) -> Path:
        """Of the clip, for the 3D view; relative to the data root."""
        return self.folder / VIEWER_CLIP

    def birds_eye_address(self, index: int) -> str:
        return local_files_address(self.folder / "bev" / f"{index:06d}.png")

    def cloud_address(self, index: int) -> str:
        return local_files_address(self.folder / "clouds" / f"{index:06d}.s4dc")

    def image_address(self, camera: str, index: int) -> str:
        """The camera's image on a frame, or what stands for it, as a task names it."""
        return self._image_address(camera, index, self.place.in_tasks)

    def _image_address(self, camera: str, index: int, address: Callable[[str], str]) -> str:
        load = self.clip.frames[index].load_images.get(camera)
        if load is None:
            return local_files_address(self.folder / "missing" / f"{camera}.png")
        if isinstance(load, ImageFile) and _shown_as_it_is(load):
            return address(load.path)
        return local_files_address(self.folder / "converted" / f"{camera}_{index:06d}.png")

    def render(self, data_root: Path, view: BirdsEyeView, progress: Progress) -> bool:
        """Make them where they are not there or not up to date (`made_from.json` says). True where there was nothing before.

        What an interrupted run made is kept, hidden beside their place, and gone on with.
        """
        target = data_root / self.folder
        made_from = json.dumps(
            {
                "sequence": hashlib.sha256(_description(self.clip)).hexdigest(),
                "birds_eye": asdict(view),
                "viewer": [VIEWER_CLIP_VERSION, CLOUD_VERSION],
            }
        )
        if _are_made(target, made_from):
            return False
        was_there = target.exists()
        try:
            with resumable_directory(target, made_from, overwrite=True, resume=was_begun(target, made_from)) as output:
                self._write(output, view, progress)
                write_whole(output / STAMP, made_from.encode())
        except InputError:
            # Another import of the same drive may have been quicker.
            if _are_made(target, made_from):
                return False
            raise
        return not was_there

    def _write(self, output: Path, view: BirdsEyeView, progress: Progress) -> None:
        clip = self.clip
        for index, frame in enumerate(clip.frames):
            birds_eye, cloud = output / "bev" / f"{index:06d}.png", output / "clouds" / f"{index:06d}.s4dc"
            if not (birds_eye.exists() and cloud.exists()):
                sweep = frame.load_sweep()
                write_whole(birds_eye, encode_png(render_birds_eye(sweep, view)))
                write_whole(cloud, encode_cloud(sweep))
            for name, load in frame.load_images.items():
                converted = output / "converted" / f"{name}_{index:06d}.png"
                if not _shown_as_it_is(load) and not converted.exists():
                    write_whole(converted, encode_png(load()))
            progress(f"rendering {clip.name}", index + 1, len(clip))
        for name, camera in clip.cameras.items():
            if any(name not in frame.load_images for frame in clip.frames):
                write_whole(output / "missing" / f"{name}.png", encode_png(render_placeholder(name, camera.width_px, camera.height_px)))
        frames = range(len(clip))
        images = {name: [self._image_address(name, index, self.place.in_viewer) for index in frames] for name in clip.cameras}
        description = describe_clip(clip, [self.cloud_address(index) for index in frames], images)
        write_whole(output / self.description_path.name, json.dumps(description).encode())


def _description(clip: Clip) -> bytes:
    """The sequence.json of a sequence folder, from where its sweeps are read."""
    load = clip.frames[0].load_sweep
    assert isinstance(load, SweepFile)
    return load.read_bytes(SEQUENCE_FILE)


def _are_made(folder: Path, made_from: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(json.loads((folder / STAMP).read_text(encoding="utf-8")) == json.loads(made_from))
    return False


def _shown_as_it_is(load: object) -> bool:
    return isinstance(load, ImageFile) and PurePosixPath(load.path).suffix.lower() in SHOWN_BY_BROWSERS
