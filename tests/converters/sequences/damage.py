"""What is done to a file of a recording, and the line that should tell of it."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather


@dataclass(frozen=True)
class Case:
    """What is done to a file of the drive, and the line that tells."""

    file: str
    change: Callable[[Path], object]
    message: str


def removed(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 + 1])


def linked_out(file: Path) -> None:
    """The file, whole, at a place outside of the drive."""
    outside = file.resolve().parents[len(file.parts) - 1 - file.parts.index("drive")] / f"outside-{file.name}"
    shutil.move(file, outside)
    file.symlink_to(outside)


def text(old: str, new: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        before = file.read_text()
        assert old in before
        file.write_text(before.replace(old, new, 1))

    return change


def document(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def changed(file: Path) -> None:
        value = json.loads(file.read_text())
        change(value)
        file.write_text(json.dumps(value))

    return changed


def lacking(path: str) -> Callable[[Any], object]:
    """Without the member at a path like `0.meta.name`."""

    def change(value: Any) -> None:
        *parents, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
        for key in parents:
            value = value[key]
        del value[last]

    return change


def pickled(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def changed(file: Path) -> None:
        value = pickle.loads(file.read_bytes())
        change(value)
        file.write_bytes(pickle.dumps(value))

    return changed


def columns(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def changed(file: Path) -> None:
        value = feather.read_table(str(file)).to_pydict()  # type: ignore[no-untyped-call]
        change(value)
        feather.write_feather(pa.table(value), str(file), compression="lz4")  # type: ignore[no-untyped-call]

    return changed


class Hostile:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("ran",)


def hostile(file: Path) -> None:
    file.write_bytes(pickle.dumps({"frames": [Hostile()]}))


def hostile_gzip(file: Path) -> None:
    file.write_bytes(gzip.compress(pickle.dumps(Hostile())))


def hostile_npz(file: Path) -> None:
    """An array of objects, which numpy would unpickle."""
    np.savez(file, data=np.array([Hostile()] * 4, dtype=object))


def huge_image(file: Path) -> None:
    """An image whose header says 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1) + b"IDAT" + bytes(5))


def huge_npz(file: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000, 64), }"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n")
    file.write_bytes(stream.getvalue())


def huge_pcd(file: Path) -> None:
    head, _, _ = file.read_bytes().partition(b"DATA")
    file.write_bytes(head.replace(b"60", b"999999999") + b"DATA binary\n")


def renamed_sweep(ending: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    """In a plain folder: the first sweep as a file of another kind."""

    def changed(file: Path) -> None:
        file.unlink()
        change(file.with_suffix(ending))

    return changed


def first_sweep_is(path: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    """In a sequence folder: its first sweep lies elsewhere."""

    def changed(file: Path) -> None:
        change(file.parent / path)
        document(lambda d: d["frames"][0].update(sweep=path))(file)

    return changed


def same_times(file: Path) -> None:
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0]] * len(lines)) + "\n")
