"""Results grouped by class, distance and point count, and written as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

import numpy as np

DISTANCES_M = (0.0, 20.0, 40.0, 80.0, float("inf"))
POINT_COUNTS = (0.0, 30.0, 100.0, 300.0, 1000.0, float("inf"))


class Grouped(Protocol):
    """What every result says of its object."""

    @property
    def label(self) -> str: ...

    @property
    def point_count(self) -> int: ...

    @property
    def distance_m(self) -> float: ...


ResultT = TypeVar("ResultT", bound=Grouped)


@dataclass(frozen=True)
class Column(Generic[ResultT]):
    """One figure of a group of results; None where the group has none."""

    name: str
    figure: Callable[[Sequence[ResultT]], float | None]
    decimals: int = 3


@dataclass(frozen=True)
class Row:
    """A group's name, how many results it holds, and its figures in the order of the table's columns."""

    group: str
    count: int
    figures: tuple[float | None, ...]


@dataclass(frozen=True)
class Table:
    """Rows: all results, then by class, by distance, by point count."""

    title: str
    counted: str
    columns: tuple[str, ...]
    decimals: tuple[int, ...]
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        lines = [f"| {self.title} | {self.counted} | " + " | ".join(self.columns) + " |", "|---|" + "---|" * (1 + len(self.columns))]
        for row in self.rows:
            figures = " | ".join(
                "" if figure is None else f"{figure:.{decimals}f}" for figure, decimals in zip(row.figures, self.decimals, strict=True)
            )
            lines.append(f"| {row.group} | {row.count} | {figures} |")
        return "\n".join(lines)


def tabulate(title: str, counted: str, columns: Sequence[Column[ResultT]], results: Sequence[ResultT]) -> Table:
    """A table of results, the empty groups left out."""
    groups: list[tuple[str, list[ResultT]]] = [("all", list(results))]
    for label in sorted({result.label for result in results}):
        groups.append((label, [result for result in results if result.label == label]))
    for low, high in pairwise(DISTANCES_M):
        groups.append((span(low, high, "m"), [result for result in results if low <= result.distance_m < high]))
    for low, high in pairwise(POINT_COUNTS):
        groups.append((span(low, high, "points"), [result for result in results if low <= result.point_count < high]))
    rows = [Row(name, len(members), tuple(column.figure(members) for column in columns)) for name, members in groups if members]
    return Table(title, counted, tuple(column.name for column in columns), tuple(column.decimals for column in columns), tuple(rows))


def span(low: float, high: float, unit: str) -> str:
    return f"{low:g} to {high:g} {unit}" if np.isfinite(high) else f"from {low:g} {unit}"


def mean_of(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def median_of(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
