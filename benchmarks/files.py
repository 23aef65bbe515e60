"""How fast files, masks and pictures are read and written, beside the tools of the field."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from label_studio_sdk.converter import brush as sdk_brush
from pypcd4.pypcd4 import PointCloud

from backend.derived_files import DerivedFiles
from backend.drive_place import local_place
from benchmarks.drive import Drive
from benchmarks.figure import Figure, seconds_of
from converters.birds_eye import render_birds_eye
from converters.brush_rle import decode_mask, encode_mask
from converters.exports import label_files
from converters.exports.whole_output import file_bytes
from converters.point_cloud_files import PcdEncoding, format_pcd, parse_pcd
from converters.reconcile import regions_to_masklets
from converters.regions import masklet_to_regions
from converters.sequences import check_sequence, read_masklets
from converters.sequences.sequence_folder import ImageFile, SweepFile
from converters.tasks import TaskWindow
from sam4d.geometry import BirdsEyeView, BoolArray
from sam4d.structures import Float32Array, Sweep

PCD_POINTS = 170_000
MASK_SHAPE, BLOBS = (1280, 1920), 200
FASTER_THAN_THE_SDK = 5.0
EXPORTED_OBJECTS = 10


def alternating(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """Each action's fastest round, in seconds; they take turns."""
    fastest = [float("inf")] * len(actions)
    for _ in range(rounds):
        fastest = [min(before, seconds_of(action)[1]) for before, action in zip(fastest, actions, strict=True)]
    return fastest


def point_clouds(drive: Drive) -> list[Figure]:
    """PCD files in all three encodings, x, y, z and intensity as float32, read by us and by pypcd4."""
    random = np.random.default_rng(0)
    points_m = random.normal(0, 30, (PCD_POINTS, 3)).astype(np.float32)
    intensity = random.uniform(0, 255, PCD_POINTS).astype(np.float32)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for encoding in get_args(PcdEncoding):
            file = Path(folder) / f"{encoding}.pcd"
            file.write_bytes(format_pcd(Sweep(points_m, intensity), encoding))

            def ours(file: Path = file) -> Sweep:
                return parse_pcd(file.read_bytes(), str(file))

            def theirs(file: Path = file) -> Float32Array:
                table: Float32Array = PointCloud.from_path(str(file)).numpy(("x", "y", "z", "intensity")).astype(np.float32, copy=False)
                return table

            ours_s, theirs_s = alternating(3 if drive.quick else 15, ours, theirs)
            _require(np.array_equal(ours().points_m, points_m) and np.array_equal(theirs()[:, :3], points_m), f"{encoding} as written")
            name = f"PCD of {PCD_POINTS // 1000} k points, {encoding}"
            figures.append(Figure(name, 1000 * ours_s, "ms", "pypcd4", 1000 * theirs_s, at_most=1000 * theirs_s))
    return figures


def blobs() -> BoolArray:
    """A mask of many discs, as small objects and speckle make it."""
    random = np.random.default_rng(0)
    height, width = MASK_SHAPE
    mask = np.zeros(MASK_SHAPE, dtype=np.uint8)
    for _ in range(BLOBS):
        center = (int(random.integers(width)), int(random.integers(height)))
        cv2.circle(mask, center, int(random.integers(5, 40)), 1, cv2.FILLED)
    return mask.astype(np.bool_)


def brush_masks(drive: Drive) -> list[Figure]:
    """Brush RLE, beside Label Studio's own codec; both write and read the same."""
    mask = blobs()
    numbers = mask.astype(np.uint8) * 255
    rle = encode_mask(mask)
    _require(rle == list(sdk_brush.mask2rle(numbers)), "the SDK's own bytes")  # type: ignore[no-untyped-call]
    theirs = sdk_brush.decode_rle(rle).reshape(*MASK_SHAPE, 4)[..., 3] >= 128
    _require(np.array_equal(decode_mask(rle, *MASK_SHAPE), mask) and np.array_equal(theirs, mask), "the mask that was encoded")
    rounds = 3 if drive.quick else 9
    encode = alternating(rounds, lambda: encode_mask(mask), lambda: sdk_brush.mask2rle(numbers))  # type: ignore[no-untyped-call]
    decode = alternating(rounds, lambda: decode_mask(rle, *MASK_SHAPE), lambda: sdk_brush.decode_rle(rle))
    return [
        Figure(f"brush RLE, {name}, times as fast as label-studio-sdk", theirs_s / ours_s, "times", "1", 1.0, at_least=FASTER_THAN_THE_SDK)
        for name, (ours_s, theirs_s) in (("encode", encode), ("decode", decode))
    ]


def pictures(drive: Drive) -> list[Figure]:
    sweep = drive.open().frames[0].load_sweep()
    view = BirdsEyeView()
    bounds = [[-view.range_m, view.range_m]] * 2
    drawn, histogram = alternating(
        3,
        lambda: render_birds_eye(sweep, view),
        lambda: np.histogram2d(sweep.points_m[:, 0], sweep.points_m[:, 1], bins=view.size_px, range=bounds),
    )
    return [Figure(f"bird's-eye picture of {len(sweep)} points", 1000 * drawn, "ms", "numpy.histogram2d", 1000 * histogram)]


def imports(drive: Drive) -> list[Figure]:
    """All that an import does for a frame but Label Studio's own part: checks, bird's-eye picture, cloud of the 3D view."""
    clip = drive.open()
    view = BirdsEyeView(forward=clip.forward)
    root = drive.folder.parent
    derived = DerivedFiles.of(clip, local_place(Path(drive.folder.name)), view)

    def read_everything() -> None:
        for frame in clip.frames:
            frame.load_sweep()
            for load in frame.load_images.values():
                load()

    check_s = seconds_of(lambda: check_sequence(clip))[1]
    with tempfile.TemporaryDirectory() as scratch:
        data_root = Path(scratch)
        (data_root / drive.folder.name).symlink_to(root.resolve() / drive.folder.name)
        render_s = seconds_of(lambda: derived.render(data_root, view, lambda *_: None))[1]
        written = sum(file.stat().st_size for file in (data_root / derived.folder).rglob("*") if file.is_file())
    read_s = seconds_of(read_everything)[1]
    frames = len(clip)
    return [
        Figure("import, per frame", (check_s + render_s) / frames, "s", "its sweep and images read", read_s / frames),
        Figure("files made by the import, per frame", written / frames / 1e6, "MB", "the recording's own", recorded_bytes(drive) / 1e6),
    ]


def exports(drive: Drive) -> list[Figure]:
    """A task's regions become files: of the objects with most points."""
    clip = drive.open()
    found = sorted(read_masklets(drive.folder, clip), key=lambda each: -sum(int(masks.lidar_mask.sum()) for masks in each.masks.values()))
    masklets = found[:EXPORTED_OBJECTS]
    if not masklets:
        return []
    window = TaskWindow("/data/local-files/?d=drive", 0, len(clip), BirdsEyeView(forward=clip.forward))
    regions, written_s = seconds_of(lambda: [region for each in masklets for region in masklet_to_regions(each, window, clip, "benchmark")])
    text, dumped_s = seconds_of(lambda: json.dumps(regions))
    parsed_s = seconds_of(lambda: json.loads(text))[1]
    read, read_s = seconds_of(lambda: regions_to_masklets(regions, window, clip))
    files_s = seconds_of(lambda: [file_bytes(content) for content in label_files(clip, read).values()])[1]
    frames = len(clip)
    shown = sum(len(each.masks) for each in masklets)
    png_bytes = sum(
        len(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1])
        for each in masklets
        for masks in each.masks.values()
        for mask in masks.camera_masks.values()
        if mask.any()
    )
    objects = f"{len(masklets)} objects"
    return [
        Figure(f"regions for Label Studio, per frame of {objects}", written_s / frames, "s", "their JSON written", dumped_s / frames),
        Figure(f"export, per frame of {objects}", (read_s + files_s) / frames, "s", "their JSON parsed", parsed_s / frames),
        Figure("regions as JSON, per object and frame", len(text) / shown / 1000, "kB", "the masks as PNG", png_bytes / shown / 1000),
    ]


def recorded_bytes(drive: Drive) -> float:
    """Of a frame's own files, on average; 0 where they are not those of a sequence folder."""
    clip = drive.open()
    loads = [load for frame in clip.frames for load in (frame.load_sweep, *frame.load_images.values())]
    return sum((drive.folder / load.path).stat().st_size for load in loads if isinstance(load, SweepFile | ImageFile)) / len(clip)


def _require(right: bool, what: str) -> None:
    if not right:
        raise SystemExit(f"benchmarks: expected {what}, found something else")
