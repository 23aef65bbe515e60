"""Thousands of damaged files through every reader, each in a process of its own; run by test_damaged_files.py.

    python -m tests.converters.damaged_files COUNT

Each is a valid file with some bytes changed, cut out, doubled or replaced by numbers that sizes are rarely meant to be; half of the changes
fall on its beginning, where headers stand. The seed is fixed: what fails once fails again, and is written down as the number of the file.
"""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import json
import multiprocessing
import os
import pickle
import resource
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import laspy
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pyarrow import feather

from converters.exports import label_files, write_sequence
from converters.exports.whole_output import file_bytes
from converters.kitti_lines import parse_label_line
from converters.las_files import parse_las
from converters.pickled_table import decompress, load_table
from converters.ply_files import parse_ply
from converters.point_cloud_files import format_pcd, parse_pcd
from converters.safe_pickle import load_pickle
from converters.scene_file import decode_scene, encode_scene
from converters.sequences import read_masklets, read_sequence
from converters.sequences.argoverse import parse_argoverse_sweep
from converters.sequences.bitmap_figures import decode_bitmap, encode_bitmap
from converters.sequences.image_file import decode_image, encode_png
from converters.sequences.kitti_text import oxts_poses, parse_calibration, parse_oxts
from converters.sequences.labels import MASKS_FILE
from converters.sweep_arrays import parse_npz
from converters.sweep_files import parse_four_columns
from sam4d.geometry import SE3
from sam4d.structures import InputError, Sweep
from tests.converters.tiny_recording import tiny_clip, tiny_masklets
from tests.converters.tiny_scene import tiny_scene

HEADER_BYTES = 300
ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
ODD_TEXTS = (b"-1", b"0", b"nan", b"1e400", b"9" * 30, b"\n", b" ", b'"', b"null", b"[", b"{}", b"\xff", b"\0")
RANDOM = np.random.default_rng(4)
POINTS_M = RANDOM.normal(0, 30, (12, 3)).astype(np.float32)
SWEEP = Sweep(POINTS_M, RANDOM.uniform(0, 255, 12).astype(np.float32))
ROWS = np.column_stack([SWEEP.points_m, np.asarray(SWEEP.intensity)])


@dataclass(frozen=True)
class Reader:
    """files: valid ones. read: reads one to its end. packed: what becomes of the bytes after they were damaged."""

    files: Sequence[bytes]
    read: Callable[[bytes, str], object]
    packed: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True)
class Outcome:
    """read and refused: numbers of files. growth_bytes: of the process over the second half of them. peak_bytes: the most that it took
    beyond what it began with."""

    read: int
    refused: int
    process_seconds: float
    growth_bytes: int
    peak_bytes: int


def las(compressed: bool, version: str = "1.2", point_format: int = 1) -> bytes:
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.scales = np.full(3, 0.001)
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = POINTS_M.astype(np.float64).T
    cloud.intensity = np.asarray(SWEEP.intensity).astype(np.uint16)
    stream = io.BytesIO()
    cloud.write(stream, do_compress=compressed)
    return stream.getvalue()


def ply(encoding: str) -> bytes:
    names = ("x", "y", "z", "intensity")
    header = f"ply\nformat {encoding} 1.0\nelement vertex {len(ROWS)}\n" + "".join(f"property float {name}\n" for name in names)
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    if encoding == "ascii":
        return (header + "".join(" ".join(map(str, row)) + "\n" for row in ROWS.tolist()) + "3 0 1 2\n").encode()
    order = "<" if "little" in encoding else ">"
    return header.encode() + ROWS.astype(f"{order}f4").tobytes() + struct.pack(f"{order}B3i", 3, 0, 1, 2)


def npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(array: bytes) -> bytes:
    """An archive whose check sum fits, so that the reader comes to the array."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.npy", array)
    return stream.getvalue()


def npz(compressed: bool) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, data=ROWS)
    return stream.getvalue()


def feather_file(compression: str) -> bytes:
    table = pa.table({name: ROWS[:, column] for column, name in enumerate(("x", "y", "z", "intensity"))})
    stream = io.BytesIO()
    feather.write_feather(table, stream, compression=compression)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def table() -> bytes:
    labels = pd.Series(["car"] * len(ROWS), dtype=object)
    columns = {"x": ROWS[:, 0], "label": labels, "i": np.arange(len(ROWS))}
    frame = pd.DataFrame(columns)
    frame.columns = pd.Index(list(columns), dtype=object)
    return pickle.dumps(frame)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG")
    return stream.getvalue()


def description() -> bytes:
    """A `sequence.json` of three frames."""
    with tempfile.TemporaryDirectory() as folder:
        write_sequence(tiny_clip(), Path(folder) / "drive")
        return (Path(folder) / "drive" / "sequence.json").read_bytes()


def read_description(data: bytes, where: str) -> object:
    clip = read_sequence(lambda path: data, where)
    return clip.window(0, len(clip))


def labels() -> bytes:
    """A `masks.json` of three objects."""
    return file_bytes(label_files(CLIP, tiny_masklets())[MASKS_FILE])


def read_labels(data: bytes, where: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cuboids.json").write_text('{"frames": [null, null, null]}')
        (Path(folder) / "masks.json").write_bytes(data)
        return read_masklets(Path(folder) / "masks.json", CLIP)


def bitmap() -> bytes:
    """The image in a figure of Supervisely's."""
    return zlib.decompress(base64.b64decode(encode_bitmap(PART, 0, 0)["data"]))


def read_bitmap(data: bytes, where: str) -> object:
    return decode_bitmap({"data": base64.b64encode(zlib.compress(data)).decode(), "origin": [2, 3]}, (16, 24), where)


def read_calibration(data: bytes, where: str) -> object:
    return parse_calibration(data.decode("utf-8", "replace"), where)


def read_label_lines(data: bytes, where: str) -> object:
    return [parse_label_line(line, SE3.identity(), where) for line in data.decode("utf-8", "replace").splitlines()]


CLIP = tiny_clip()
PART = np.random.default_rng(5).random((7, 11)) < 0.5
PICTURE = CLIP.frames[0].load_images["front"]()
CALIBRATION = b"P0: 1 0 0 0 0 1 0 0 0 0 1 0\nR_rect 1 0 0 0 1 0 0 0 1\nTr_velo_cam 0 -1 0 0.1 0 0 -1 -0.2 1 0 0 0.3\n"
OXTS = b"49.0 8.4 112.8 0.02 0.01 -1.2 " + b"0.5 " * 24 + b"\n"
LABEL_LINE = b"0 7 Car 0 0 -1.57 599.41 156.40 629.75 189.25 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"
VALUES = {"frames": [{"pose": np.eye(4), "path": {"pcd": "a.npz"}, "n": np.float32(1.5)}] * 2, "time": 12, "ok": True, "none": None}

READERS: dict[str, Callable[[], Reader]] = {
    "pcd-ascii": lambda: Reader([format_pcd(SWEEP, "ascii")], parse_pcd),
    "pcd-binary": lambda: Reader([format_pcd(SWEEP, "binary")], parse_pcd),
    "pcd-lzf": lambda: Reader([format_pcd(SWEEP, "binary_compressed")], parse_pcd),
    "ply": lambda: Reader([ply("ascii"), ply("binary_little_endian"), ply("binary_big_endian")], parse_ply),
    "las": lambda: Reader([las(False), las(False, "1.4", 6)], parse_las),
    "laz": lambda: Reader([las(True), las(True, "1.4", 7)], parse_las),
    "bin": lambda: Reader([ROWS.astype("<f4").tobytes()], parse_four_columns),
    "npz": lambda: Reader([npz(False), npz(True)], parse_npz),
    "npz-array": lambda: Reader([npy(ROWS), npy(np.asfortranarray(ROWS)), npy(np.ones((6, 5), ">i4"))], parse_npz, zipped),
    "feather": lambda: Reader([feather_file(name) for name in ("uncompressed", "lz4", "zstd")], parse_argoverse_sweep),
    "pickle": lambda: Reader([pickle.dumps(VALUES, protocol) for protocol in (0, 2, 4, 5)], load_pickle),
    "pickled-table": lambda: Reader([table()], load_table),
    "pickled-table-gzip": lambda: Reader([gzip.compress(table())], lambda data, where: load_table(decompress(data, where), where)),
    "sequence-json": lambda: Reader([description()], read_description),
    "masks-json": lambda: Reader([labels()], read_labels),
    "kitti-calibration": lambda: Reader([CALIBRATION], read_calibration),
    "kitti-oxts": lambda: Reader([OXTS * 3], lambda data, where: oxts_poses(parse_oxts(data, where))),
    "kitti-labels": lambda: Reader([LABEL_LINE * 2], read_label_lines),
    "bitmap": lambda: Reader([bitmap()], read_bitmap),
    "scene": lambda: Reader([encode_scene(tiny_scene())], decode_scene),
    "image": lambda: Reader([encode_png(PICTURE), jpeg(PICTURE)], lambda data, where: decode_image(data, 24, 16, where)),
}


def damaged(whole: bytes, numbers: Sequence[int]) -> bytes:
    """The file with up to four changes; `numbers`: random ones of 32 bits, 13 at least."""
    data = bytearray(whole)
    for change in range(1 + numbers[0] % 4):
        kind, place, value = numbers[1 + 3 * change : 4 + 3 * change]
        if not data:
            break
        at = place % len(data) if kind & 64 else place % min(len(data), HEADER_BYTES)
        choice = kind % 16
        if choice < 6:
            data[at] = value & 0xFF
        elif choice < 8:
            data[at] ^= 1 << (value % 8)
        elif choice < 10:
            data[at : at + 4] = struct.pack("<I", ODD_NUMBERS[value % len(ODD_NUMBERS)])
        elif choice < 12:
            data[at : at + value % 3] = ODD_TEXTS[(value >> 8) % len(ODD_TEXTS)]
        elif choice < 13:
            del data[at : at + 1 + value % 40]
        elif choice < 15:
            data[at:at] = data[at : at + 1 + value % 40]
        else:
            del data[at:]
    return bytes(data)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(reader: Reader, count: int, seed: int) -> Outcome:
    """Raises AssertionError where a file was neither read nor refused in one line."""
    for whole in reader.files:
        reader.read(reader.packed(whole), "a whole file")
    numbers = np.random.default_rng(seed).integers(0, 2**32, (count, 13), dtype=np.uint32)
    read = 0
    half = resident_bytes()
    began, peak_kb = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index, (whole, row) in enumerate(zip(itertools.cycle(reader.files), numbers.tolist(), strict=False)):
        if index == count // 2:
            half = resident_bytes()
        data = reader.packed(damaged(whole, row))
        try:
            reader.read(data, "a file")
            read += 1
        except InputError as error:
            if "\n" in str(error):
                raise AssertionError(f"file {index}: {error}") from error
        except BaseException as error:
            raise AssertionError(f"file {index}: {type(error).__name__}: {error}") from error
    peak_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb) * 1024
    return Outcome(read, count - read, time.process_time() - began, resident_bytes() - half, peak_bytes)


def examine(name: str, count: int) -> None:
    """What a reader did, as a line of JSON."""
    outcome = run(READERS[name](), count, seed=sum(name.encode()))
    print(json.dumps({"reader": name, **asdict(outcome)}), flush=True)


def main() -> None:
    """A fork per reader: what it must import is imported once, and one that aborts ends nothing else."""
    context = multiprocessing.get_context("fork")
    for name in READERS:
        child = context.Process(target=examine, args=(name, int(sys.argv[1])))
        child.start()
        child.join()
        if child.exitcode:
            print(f"{name} ended with {child.exitcode}", file=sys.stderr)


if __name__ == "__main__":
    main()
