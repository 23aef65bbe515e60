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
from urllib.parse import quote

from backend.label_studio_files import LOCAL_FILES_PATH
from converters.birds_eye import render_birds_eye, render_placeholder
from converters.cloud_file import CLOUD_VERSION, encode_cloud
from converters.exports.resumable_directory import resumable_directory, was_begun, write_whole
from converters.sequences.image_file import encode_png
from converters.sequences.sequence_folder import SEQUENCE_FILE, ImageFile
from converters.viewer_clip import VIEWER_CLIP_VERSION, describe_clip
from sam4d.geometry import BirdsEyeView
from sam4d.structures import Clip, InputError

SHOWN_BY_BROWSERS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
STAMP = "made_from.json"
VIEWER_CLIP = "viewer.json"

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how many steps of it are done and how many there are."""


def local_files_address(path: Path | PurePosixPath) -> str:
    """The address, relative to Label Studio's own, of a file or folder below its document root."""
    return f"{LOCAL_FILES_PATH}?d={quote(path.as_posix())}"


def derived_folder(drive: Path | PurePosixPath, view: BirdsEyeView) -> Path:
    """Of what is made of a drive; both relative to the data root."""
    return Path("derived") / drive / f"{view.range_m:g}m_{view.metres_per_pixel:g}"


@dataclass(frozen=True)
class DerivedFiles:
    """A drive's folder, and the folder of what is made of it, both relative to the data root."""

    clip: Clip
    drive: Path
    folder: Path

    @classmethod
    def of(cls, clip: Clip, drive: Path, view: BirdsEyeView) -> DerivedFiles:
        """drive: relative to the data root."""
        return cls(clip, drive, derived_folder(drive, view))

    @property
    def description_path(self) -> Path:
        """Of the clip, for the 3D view; relative to the data root."""
        return self.folder / VIEWER_CLIP

    def birds_eye_address(self, index: int) -> str:
        return local_files_address(self.folder / "bev" / f"{index:06d}.png")

    def cloud_address(self, index: int) -> str:
        return local_files_address(self.folder / "clouds" / f"{index:06d}.s4dc")

    def image_address(self, camera: str, index: int) -> str:
        """The camera's image on a frame, or what stands for it."""
        load = self.clip.frames[index].load_images.get(camera)
        if load is None:
            return local_files_address(self.folder / "missing" / f"{camera}.png")
        if isinstance(load, ImageFile) and _shown_as_it_is(load):
            return local_files_address(self.drive / load.path)
        return local_files_address(self.folder / "converted" / f"{camera}_{index:06d}.png")

    def render(self, data_root: Path, view: BirdsEyeView, progress: Progress) -> bool:
        """Make them where they are not there or not up to date (`made_from.json` says). True where there was nothing before.

        What an interrupted run made is kept, hidden beside their place, and gone on with.
        """
        target, drive = data_root / self.folder, data_root / self.drive
        made_from = json.dumps(
            {
                "sequence": hashlib.sha256((drive / SEQUENCE_FILE).read_bytes()).hexdigest(),
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
        images = {name: [self.image_address(name, index) for index in frames] for name in clip.cameras}
        description = describe_clip(clip, [self.cloud_address(index) for index in frames], images)
        write_whole(output / self.description_path.name, json.dumps(description).encode())


def _are_made(folder: Path, made_from: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(json.loads((folder / STAMP).read_text(encoding="utf-8")) == json.loads(made_from))
    return False


def _shown_as_it_is(load: object) -> bool:
    return isinstance(load, ImageFile) and PurePosixPath(load.path).suffix.lower() in SHOWN_BY_BROWSERS
