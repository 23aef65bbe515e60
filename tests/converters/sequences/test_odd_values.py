"""Descriptions, calibrations and labels of every layout with values that nobody expects in them: read, or refused in one line."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.converters.one_line import one_line_at_most
from tests.converters.sequences.bad_input import LAYOUTS
from tests.converters.sequences.test_bad_input import read_everything

CHANGES = 60
MISSING = object()
ODD_VALUES = [MISSING, None, True, -1, 0, 1, 2**63, 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 1.5]
ODD_VALUES += ["", "x", "\0", "\ud800", "../x", "9" * 300, [], {}, [[]], [1, 2, 3], {"a": 1}]
ODD_WORDS = ["nan", "inf", "1e400", "1e308", "-1e308", "-1", "0", "x", "", "9" * 400, "\n", "\0", "é"]


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every value in a document, but for the rest of long lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*before, key)
        yield from places(each, (*before, key))


def odd_document(document: Any, chance: random.Random) -> Any:
    *parents, last = chance.choice([*places(document)])
    place = document
    for key in parents:
        place = place[key]
    value = chance.choice(ODD_VALUES)
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return document


def odd_json(data: bytes, chance: random.Random) -> bytes:
    return json.dumps(odd_document(json.loads(data), chance)).encode()


def odd_pickle(data: bytes, chance: random.Random) -> bytes:
    return pickle.dumps(odd_document(pickle.loads(data), chance))


def odd_text(data: bytes, chance: random.Random) -> bytes:
    words = data.decode().split(" ")
    words[chance.randrange(len(words))] = chance.choice(ODD_WORDS)
    return " ".join(words).encode()


CHANGE_OF: Mapping[str, Callable[[bytes, random.Random], bytes]] = {".json": odd_json, ".pkl": odd_pickle, ".txt": odd_text}


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "Argoverse 2"])
def test_odd_values_are_read_or_refused(tmp_path: Path, layout: str) -> None:
    """Argoverse has columns of one type each: tests.converters.test_feather."""
    LAYOUTS[layout].write(tmp_path)
    chance = random.Random(layout)
    files = sorted(file for file in tmp_path.rglob("*") if file.suffix in CHANGE_OF)
    for _ in range(CHANGES):
        file = chance.choice(files)
        whole = file.read_bytes()
        file.write_bytes(CHANGE_OF[file.suffix](whole, chance))
        with one_line_at_most():
            read_everything(tmp_path / LAYOUTS[layout].place)
        file.write_bytes(whole)
