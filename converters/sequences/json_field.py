"""A value inside a JSON file that knows where it stands, so that every complaint about it can say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sam4d.structures import InputError

LARGEST = 1e12
"""No number of a recording is larger: metres, pixels, or seconds since 1970. Products of a few such numbers stay finite."""
FINITE_NUMBER = f"a finite number, at most {LARGEST:.0e} in size".replace("e+", "e")


@dataclass(frozen=True)
class JsonField:
    """One value of a JSON document. `path` is how its place is written in messages, for example `frames[3].sweep`.

    Every method that asks for a type raises InputError where the value is of another one.
    """

    value: object
    file: str
    path: str = ""

    @classmethod
    def parse(cls, data: bytes, file: str) -> JsonField:
        """The document's root. Raises InputError where the bytes are not JSON."""
        try:
            return cls(json.loads(data), file)
        except RecursionError:
            raise InputError(file, "JSON", "values nested too deeply") from None
        except ValueError as error:
            raise InputError(file, "JSON", f"{len(data)} bytes that are not ({error})") from None

    @property
    def where(self) -> str:
        return f"{self.file}: {self.path}" if self.path else self.file

    def wrong(self, expected: str) -> InputError:
        """The error that says what was expected here instead of this value."""
        return InputError(self.where, expected, _short(self.value))

    def has(self, key: str) -> bool:
        """Whether this object holds the key with another value than null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def require(self, *keys: str) -> None:
        """Raises InputError where this object lacks one of the keys."""
        for key in keys:
            _ = self[key]

    def __getitem__(self, key: str | int) -> JsonField:
        if isinstance(key, int):
            return JsonField(self._list()[key], self.file, f"{self.path}[{key}]")
        members = self._object()
        path = f"{self.path}.{key}" if self.path else key
        if key not in members:
            raise InputError(f"{self.file}: {path}", "a value", "nothing")
        return JsonField(members[key], self.file, path)

    def items(self) -> Iterator[tuple[str, JsonField]]:
        """Members of an object, in the file's order."""
        for key in self._object():
            yield key, self[key]

    def elements(self) -> list[JsonField]:
        """Elements of a list."""
        return [self[index] for index in range(len(self._list()))]

    def text(self) -> str:
        """A string that is not empty and holds no control characters."""
        if not isinstance(self.value, str) or not self.value.strip() or not self.value.isprintable():
            raise self.wrong("a text that is not empty")
        return self.value

    def integer(self, least: int | None = None, most: int | None = None) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.wrong("a whole number")
        if (least is not None and self.value < least) or (most is not None and self.value > most):
            raise self.wrong(f"a whole number from {least}" + ("" if most is None else f" to {most}"))
        return self.value

    def number(self) -> float:
        """A finite number, of a size that a recording may hold (`LARGEST`)."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
            raise self.wrong(FINITE_NUMBER)
        return float(value)

    def numbers(self, *lengths: int) -> tuple[float, ...]:
        """A list of finite numbers of one of these lengths."""
        numbers = tuple(element.number() for element in self.elements())
        if len(numbers) not in lengths:
            raise InputError(self.where, f"{' or '.join(map(str, lengths))} numbers", str(len(numbers)))
        return numbers

    def _object(self) -> dict[str, object]:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value

    def _list(self) -> list[object]:
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return self.value


def _short(value: object) -> str:
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
