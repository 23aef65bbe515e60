"""Reconstructed scenes among the files that Label Studio serves, where the 3D view of their tasks finds them.

The drive's description for the 3D view lists them; all lie in its folder and go with it when the drive is imported anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from backend.derived_files import VIEWER_CLIP, derived_folder
from backend.drive_place import DrivePlace, bucket_place, local_files_address, local_place
from backend.sequence_address import BucketFolder, LocalFiles, parse_sequence_address
from converters.exports.resumable_directory import write_whole
from converters.exports.whole_output import readable_errors
from converters.scene_file import encode_scene
from converters.tasks import TaskWindow
from sam4d.structures import InputError, VoxelScene

SCENES = "scenes"


def place_scene(
    data_root: Path, window: TaskWindow, scene: VoxelScene, label_studio_url: str | None = None, project_id: int | None = None
) -> bool:
    """Show a scene in the 3D view of a task, or of all tasks where the window is the whole drive; an earlier one of the window goes.

    False where nothing shows it: the drive was imported without a 3D view, or is none that was imported.

    Args:
        data_root: what Label Studio serves as its local files.
        window: whose frames the scene's are.
        project_id: whose bucket a drive with s3:// lies in.

    Raises:
        InputError: a scene of another number of frames, a description that is none, a folder that cannot be written.
    """
    if scene.frame_count != window.frame_count:
        raise InputError(f"scene of {scene.clip_name}", f"one of {window.frame_count} frames", f"{scene.frame_count}")
    drive = _place_of(window.sequence, label_studio_url, project_id)
    if drive is None:
        return False
    folder = derived_folder(drive, window.birds_eye)
    description_file = data_root / folder / VIEWER_CLIP
    if not description_file.is_file():
        return False
    with readable_errors(description_file):
        description = _read(description_file)
        data = encode_scene(scene)
        frames = f"{window.first_frame:06d}_{window.frame_count:06d}"
        # A name of its own: browsers keep what they have of an address.
        place = folder / SCENES / f"{frames}_{hashlib.sha256(data).hexdigest()[:12]}.s4ds"
        write_whole(data_root / place, data)
        entry = {
            "address": local_files_address(PurePosixPath(place)),
            "first_frame": window.first_frame,
            "frame_count": window.frame_count,
        }
        others = [
            other
            for other in description.get("scenes", [])
            if (other["first_frame"], other["frame_count"]) != (window.first_frame, window.frame_count)
        ]
        write_whole(description_file, json.dumps({**description, "scenes": [*others, entry]}).encode())
        for file in (data_root / folder / SCENES).glob(f"{frames}_*.s4ds"):
            if file.name != place.name:
                file.unlink(missing_ok=True)
    return True


def _place_of(sequence: str, label_studio_url: str | None, project_id: int | None) -> DrivePlace | None:
    source = parse_sequence_address(sequence, label_studio_url)
    if isinstance(source, LocalFiles):
        return local_place(Path(source.folder))
    if isinstance(source, BucketFolder) and project_id is not None:
        return bucket_place(source, project_id)
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        description = json.loads(file.read_bytes())
    except ValueError:
        description = None
    if not isinstance(description, dict):
        raise InputError(str(file), "the description of a drive (`sam4d import` writes it)", "something else")
    return description
