"""One measured figure, what it stands beside, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

Answer = TypeVar("Answer")

LINEAR = 1.1
"""Exponents up to here count as linear: at small sizes caches help, at large ones they do not."""


@dataclass(frozen=True)
class Figure:
    """A value, and in the same unit that of a peer or a physical limit in the same run. at_most, at_least: what the value must be.

    Seconds are the processor's, because other programs on a machine disturb them little; where they are the clock's, the name says so.
    """

    name: str
    value: float
    unit: str
    beside: str = ""
    beside_value: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_kept(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (self.at_least is None or self.value >= self.at_least)


def seconds_of(action: Callable[[], Answer], rounds: int = 1) -> tuple[Answer, float]:
    """The answer of the last round, and the processor time of the fastest."""
    fastest = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        answer = action()
        fastest = min(fastest, time.process_time() - began)
    return answer, fastest


def growth(name: str, seconds: Mapping[int, float], unit: str) -> Figure:
    """The exponent k of time ~ size^k, fitted to {size: seconds} on logarithmic scales."""
    exponent = float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])
    shown = ", ".join(f"{size:g}: {value:.2f}" for size, value in seconds.items())
    return Figure(f"growth with {name}, time ~ n^k", exponent, "k", f"seconds by {unit}: {shown}", at_most=LINEAR)


def peak_megabytes(process: int | str = "self") -> float:
    """The most memory that a process held since it began, or since `forget_peak`."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def forget_peak() -> float:
    """From now on the peak counts anew, from what is held now (returned, in megabytes)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_megabytes()
