"""Which layout a path holds, and the drive or its labels in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converters.sequences.argoverse import argoverse_folder, argoverse_names, open_argoverse, read_argoverse_labels
from converters.sequences.cuboid_tracks import cuboid_masklets
from converters.sequences.kitti import (
    is_kitti_raw,
    kitti_tracking_names,
    open_kitti_raw,
    open_kitti_tracking,
    read_kitti_tracking_labels,
)
from converters.sequences.labels import CUBOIDS_FILE, MASKS_FILE, read_cuboid_labels, read_masklets
from converters.sequences.nuscenes import find_nuscenes, nuscenes_names, open_nuscenes, read_nuscenes_labels
from converters.sequences.pandaset import open_pandaset, pandaset_folder, pandaset_names
from converters.sequences.pandaset_labels import read_pandaset_labels
from converters.sequences.plain_folder import find_sweeps, open_plain_folder
from converters.sequences.rising_times import require_rising_times
from converters.sequences.sequence_folder import SEQUENCE_FILE, open_sequence_folder
from converters.sequences.supervisely import open_supervisely, supervisely_folder, supervisely_names
from converters.sequences.supervisely_labels import read_supervisely_labels
from converters.sequences.waymo_4dseg import META, open_waymo_4dseg, read_waymo_4dseg_labels, waymo_4dseg_names
from sam4d.structures import Clip, InputError, Masklet

LAYOUTS = (
    "sequence folder, Waymo-4DSeg, KITTI raw, KITTI tracking, nuScenes, Argoverse 2, PandaSet, Supervisely episodes, "
    "a plain folder of sweeps"
)


def open_sequence(path: str | Path, name: str | None = None, *, between_keyframes: bool = False, allow_missing: bool = False) -> Clip:
    """The clip at a path, of any known layout (docs/formats.md), which is recognised by itself.

    The description is checked at once; sweeps and images are read when a frame is asked for them.

    Args:
        name: which one, where a layout holds several sequences.
        between_keyframes: the sweeps between labelled keyframes are frames, too, in the one layout that has such (nuScenes).
        allow_missing: in layouts whose frames are whatever files lie there (KITTI, PandaSet, plain folders), sweeps, images and records
            may be missing. Otherwise what can be noticed of it is refused.

    Raises:
        InputError: naming file and field, what was expected and what was found; several sequences and no name; an unknown layout;
            frames whose times do not rise; a missing file.
    """
    clip = _open(path, name, between_keyframes, allow_missing)
    require_rising_times(clip, path)
    return clip


def _open(path: str | Path, name: str | None, between_keyframes: bool, allow_missing: bool) -> Clip:
    place = Path(path)
    tables = find_nuscenes(place)
    if between_keyframes and tables is None:
        raise InputError(str(path), "nuScenes, the layout with sweeps between keyframes", "another one")
    root, one = _waymo_place(place)
    if root is not None:
        return open_waymo_4dseg(root, _chosen(waymo_4dseg_names(root), one or name, path))
    if place.name == SEQUENCE_FILE or (place / SEQUENCE_FILE).is_file() or not place.is_dir():
        return open_sequence_folder(path)
    if is_kitti_raw(place):
        return open_kitti_raw(place, allow_missing=allow_missing)
    tracking = kitti_tracking_names(place)
    if tracking:
        return open_kitti_tracking(place, _chosen(tracking, name, path), allow_missing=allow_missing)
    if tables is not None:
        return open_nuscenes(tables, _chosen(nuscenes_names(tables), name, path), between_keyframes=between_keyframes)
    logs, drives, episodes = argoverse_names(place), pandaset_names(place), supervisely_names(place)
    if logs:
        return open_argoverse(argoverse_folder(place, _chosen(logs, name, path)))
    if drives:
        return open_pandaset(pandaset_folder(place, _chosen(drives, name, path)), allow_missing=allow_missing)
    if episodes:
        return open_supervisely(supervisely_folder(place, _chosen(episodes, name, path)))
    if find_sweeps(place):
        return open_plain_folder(place, allow_missing=allow_missing)
    raise InputError(str(path), f"a drive in a known layout ({LAYOUTS}), for example a folder with a {SEQUENCE_FILE}", "none of them")


def read_labels(path: str | Path, clip: Clip, name: str | None = None) -> tuple[Masklet, ...]:
    """The labelled objects of the clip that `open_sequence` gives for the same path and name; none where the layout has no labels there.

    Tracks whose names are no numbers are numbered in the order in which they appear.

    Raises:
        InputError: naming file and field.
    """
    place = Path(path)
    root, one = _waymo_place(place)
    if root is not None:
        return read_waymo_4dseg_labels(root, _chosen(waymo_4dseg_names(root), one or name, path), clip)
    folder = place.parent if place.name == SEQUENCE_FILE else place
    if (folder / SEQUENCE_FILE).is_file():
        if (folder / MASKS_FILE).is_file():
            return read_masklets(folder, clip)
        return cuboid_masklets(read_cuboid_labels(folder)) if (folder / CUBOIDS_FILE).is_file() else ()
    tracking = kitti_tracking_names(place)
    if tracking:
        return cuboid_masklets(read_kitti_tracking_labels(place, _chosen(tracking, name, path), clip))
    tables = find_nuscenes(place)
    if tables is not None:
        return cuboid_masklets(read_nuscenes_labels(tables, _chosen(nuscenes_names(tables), name, path), clip))
    logs, drives, episodes = argoverse_names(place), pandaset_names(place), supervisely_names(place)
    if logs:
        return cuboid_masklets(read_argoverse_labels(argoverse_folder(place, _chosen(logs, name, path)), clip))
    if drives:
        return read_pandaset_labels(pandaset_folder(place, _chosen(drives, name, path)), clip)
    if episodes:
        return read_supervisely_labels(supervisely_folder(place, _chosen(episodes, name, path)), clip)
    return ()


def _waymo_place(path: Path) -> tuple[Path | None, str | None]:
    """The layout's root and, where the path is one sequence's pickle, that sequence's name."""
    if path.suffix == ".pkl" and path.parent.name == META:
        return path.parent.parent, path.stem
    return (path, None) if (path / META).is_dir() else (None, None)


def _chosen(names: Sequence[str], name: str | None, path: str | Path) -> str:
    if name is not None:
        if name not in names:
            raise InputError(str(path), f"one of the sequences {_listed(names)}", repr(name[:80]))
        return name
    if len(names) != 1:
        raise InputError(str(path), f"the name of one of its sequences (--sequence): {_listed(names)}", f"{len(names)} sequences")
    return names[0]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "(there are none)"
