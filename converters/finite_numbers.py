"""Which numbers of a JSON document count as numbers."""

from __future__ import annotations

from typing import TypeGuard

LARGEST = 1e9
"""No place in metres, share in percent or angle is larger. Squares of what is stay within float32, and JSON's whole numbers, which may have
any length, within float64."""

FINITE_NUMBER = f"a finite number, at most {LARGEST:.0e} in size".replace("e+0", "e")


def is_finite_number(value: object) -> TypeGuard[int | float]:
    """Whether the value is a number that is finite and of a size that means something; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
