"""The learning curve as files: a line of JSON per step, and events as TensorBoard reads them.

TensorBoard's files are records of the protocol buffer `Event` (tensorboard/compat/proto/event.proto), each with its length and with
checksums (TFRecord, CRC-32C), both masked. Of the messages four fields are needed, so they are put together here.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sam4d.training.failures import writing
from sam4d.training.learning_curve import CurvePoint

LINES = "curve.jsonl"
EVENTS = "events.out.tfevents.0000000000.sam4d"
"""TensorBoard knows its files by the beginning of the name."""

_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8


class CurveLog:
    """Writes both files anew from the steps that are known, then goes on with them. A context manager.

    Raises TrainingFailed where they cannot be written.
    """

    def __init__(self, folder: Path, curve: Sequence[CurvePoint], *, time_s: float) -> None:
        """time_s: of all events, seconds since 1970: the same run gives the same file."""
        self._time_s = time_s
        self._paths = (folder / LINES, folder / EVENTS)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lines: IO[bytes] = self._paths[0].open("wb")
            self._events: IO[bytes] = self._paths[1].open("wb")
            self._events.write(_record(_double(1, time_s) + _bytes(3, b"brain.Event:2")))
        for point in curve:
            self.add(point)

    def add(self, point: CurvePoint) -> None:
        with writing(self._paths[0]):
            self._lines.write(json.dumps(point.as_fields()).encode() + b"\n")
            self._lines.flush()
        with writing(self._paths[1]):
            values = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in point.scalars().items())
            self._events.write(_record(_double(1, self._time_s) + _whole(2, point.step) + _bytes(5, values)))
            self._events.flush()

    def close(self) -> None:
        self._lines.close()
        self._events.close()

    def __enter__(self) -> CurveLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli, as iSCSI has it (RFC 3720)."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        return value

    return tuple(entry(byte) for byte in range(256))


def _masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF)


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _masked(length) + message + _masked(message)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)
