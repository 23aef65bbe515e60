"""JSON that is made while it is written: labels of a long drive do not fit into memory as one document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class JsonArray:
    """An array whose elements are made one after the other, each on a line of its own. `elements` is called once per writing."""

    elements: Callable[[], Iterable[object]]


@dataclass(frozen=True)
class JsonMembers:
    """An object whose members are made one after the other, each on a line of its own."""

    members: Callable[[], Iterable[tuple[str, object]]]


def json_file(document: object) -> Callable[[], Iterator[bytes]]:
    """A file's content for `write_whole_files`: the document and a line feed. Numbers that are not finite raise ValueError."""
    return lambda: json_pieces(document)


def json_pieces(document: object) -> Iterator[bytes]:
    """The document in UTF-8, piece by piece."""
    yield from (piece.encode() for piece in _pieces(document))
    yield b"\n"


def _pieces(value: object) -> Iterator[str]:
    if isinstance(value, JsonArray):
        yield from _between("[", "]", (((), element) for element in value.elements()))
    elif isinstance(value, JsonMembers):
        yield from _between("{", "}", (((key,), member) for key, member in value.members()))
    elif isinstance(value, dict) and any(_is_made_later(member) for member in value.values()):
        yield from _between("{", "}", (((key,), member) for key, member in value.items()))
    elif isinstance(value, list) and any(_is_made_later(element) for element in value):
        yield from _between("[", "]", (((), element) for element in value))
    else:
        yield json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _between(opening: str, closing: str, items: Iterable[tuple[tuple[str, ...], object]]) -> Iterator[str]:
    yield opening
    before = "\n"
    for keys, value in items:
        yield before + "".join(f"{json.dumps(key, ensure_ascii=False)}: " for key in keys)
        yield from _pieces(value)
        before = ",\n"
    yield closing


def _is_made_later(value: object) -> bool:
    """Whether an array or object that is made while it is written is in it."""
    if isinstance(value, dict):
        return any(_is_made_later(member) for member in value.values())
    return isinstance(value, JsonArray | JsonMembers) or (isinstance(value, list) and any(_is_made_later(element) for element in value))
