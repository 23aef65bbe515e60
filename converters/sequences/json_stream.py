"""A JSON file read from its beginning to its end, a piece at a time: only the piece that was asked for is held, never the document."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar

import ijson

from converters.sequences.json_field import JsonField
from converters.sequences.sequence_folder import open_file
from sam4d.structures import InputError

_Event: TypeAlias = tuple[str, object]
_Place = TypeVar("_Place", str, int)

_NESTING_LIMIT = 64
_PARTS_LIMIT = 100_000
"""Of one value that is held whole, and members of one object."""

_KEY_SHOWN = 80
_OPENING, _CLOSING = ("start_map", "start_array"), ("end_map", "end_array")


class JsonStream:
    """A place in a JSON document. What comes next there is asked for once, as `members`, `elements` or `value`; what nobody asks for is
    passed over. Iterate `members` and `elements` to their end.

    Every method raises InputError, naming the place, where the value is of another type, an object has a key twice, or the document is
    broken off, damaged or no JSON.
    """

    def __init__(self, stream: BinaryIO, file: str) -> None:
        """stream: at the document's beginning. file: what errors call it."""
        self._events: Iterator[_Event] = ijson.basic_parse(stream, use_float=True)
        self._file = file
        self._path = ""
        self._next: _Event | None = None
        self._is_unread = True

    @classmethod
    @contextlib.contextmanager
    def open(cls, file: Path) -> Iterator[JsonStream]:
        """A file's document; that nothing follows it is checked at the end of the block. Raises InputError where it cannot be read."""
        with open_file(file) as stream:
            if stream.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
                stream.read(len(codecs.BOM_UTF8))
            document = cls(stream, str(file))
            yield document
            document._pass_over()
            document._require_end()

    def here(self, value: object) -> JsonField:
        """A value as one that stands at this place."""
        return JsonField(value, self._file, self._path)

    def members(self) -> Iterator[str]:
        """The keys of the object that comes next, in the file's order; what comes next at each of them is its value."""
        self._enter("start_map", "an object")
        outer = self._path
        seen: set[str] = set()
        while (event := self._take())[0] != "end_map":
            key = self._new_key(event[1], seen, outer)
            self._path = _below(outer, key)
            yield from self._at_value(key)
        self._path = outer

    def elements(self) -> Iterator[int]:
        """The places 0, 1, ... of the list that comes next; what comes next at each of them is its element."""
        self._enter("start_array", "a list")
        outer, index = self._path, 0
        while self._peek()[0] != "end_array":
            self._path = f"{outer}[{index}]"
            yield from self._at_value(index)
            index += 1
        self._take()
        self._path = outer

    def value(self) -> JsonField:
        """All of what comes next."""
        self._is_unread = False
        return self.here(self._built(self._path, [0], 0))

    def _at_value(self, place: _Place) -> Iterator[_Place]:
        self._is_unread = True
        yield place
        self._pass_over()

    def _enter(self, opening: str, expected: str) -> None:
        event, value = self._peek()
        if event != opening:
            found = {"start_map": "an object", "start_array": "a list"}.get(event)
            raise self.here(value).wrong(expected) if found is None else InputError(self.here(None).where, expected, found)
        self._take()
        self._is_unread = False

    def _pass_over(self) -> None:
        """What comes next, where nobody asked for it."""
        if not self._is_unread:
            return
        self._is_unread = False
        depth = 0
        while True:
            event, _ = self._take()
            depth += (event in _OPENING) - (event in _CLOSING)
            if depth == 0:
                return

    def _built(self, path: str, parts: list[int], depth: int) -> object:
        """parts: how many the whole value has had so far."""
        event, value = self._take()
        parts[0] += 1
        if depth > _NESTING_LIMIT:
            raise InputError(f"{self._file}: {path}", "a value", "one nested too deeply")
        if parts[0] > _PARTS_LIMIT:
            raise InputError(f"{self._file}: {path}", "a value", "one of too many parts")
        if event == "start_map":
            members: dict[str, object] = {}
            seen: set[str] = set()
            while (member := self._take())[0] != "end_map":
                key = self._new_key(member[1], seen, path)
                members[key] = self._built(_below(path, key), parts, depth + 1)
            return members
        if event == "start_array":
            elements: list[object] = []
            while self._peek()[0] != "end_array":
                elements.append(self._built(f"{path}[{len(elements)}]", parts, depth + 1))
            self._take()
            return elements
        return value

    def _new_key(self, key: object, seen: set[str], path: str) -> str:
        assert isinstance(key, str)
        if key in seen:
            raise InputError(f"{self._file}: {_below(path, key)}", "one value", "two of this name")
        if len(seen) == _PARTS_LIMIT:
            raise InputError(f"{self._file}: {path}", "an object", f"one of more than {_PARTS_LIMIT} members")
        seen.add(key)
        return key

    def _peek(self) -> _Event:
        if self._next is None:
            self._next = self._parsed()
            if self._next is None:
                raise self._no_json("it ends")
        return self._next

    def _take(self) -> _Event:
        event = self._peek()
        self._next = None
        return event

    def _parsed(self) -> _Event | None:
        """The parser's next event, None at the end."""
        try:
            return next(self._events, None)
        except (ijson.JSONError, ValueError) as error:
            # After its first line the parser draws the place; a document that is not UTF-8 it quotes as bytes.
            raise self._no_json(str(error).removeprefix("b'").replace("\\n", "\n").split("\n")[0]) from None
        except OSError as error:
            raise InputError(self._file, "a readable file", error.strerror or str(error)) from None

    def _require_end(self) -> None:
        if self._parsed() is not None:
            raise self._no_json("more follows its end")

    def _no_json(self, reason: str) -> InputError:
        place = f"at {self._path}" if self._path else "at its beginning"
        printable = "".join(character if character.isprintable() else "?" for character in f"{place}: {reason}")
        return InputError(self._file, "JSON", f"what is none ({printable[:200]})")


def _below(path: str, key: str) -> str:
    shown = key if key.isprintable() and len(key) <= _KEY_SHOWN else repr(key[:_KEY_SHOWN])
    return f"{path}.{shown}" if path else shown
