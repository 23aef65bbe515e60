"""The few numbers that decide most of what this engine answers, and that another sensor or another street may want otherwise.

They are what is learnt from a team's corrections; everything else stays as it is written where it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType

from sam4d.geometric.ground import GroundSettings
from sam4d.geometric.growing import GrowthSettings
from sam4d.geometric.motion import GateSettings
from sam4d.geometric.registration import MatchSettings
from sam4d.structures import InputError
from sam4d.whole_file import write_whole

BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "ground_clearance_m": (0.08, 0.5),
        "ground_clearance_per_metre": (0.0001, 0.004),
        "ground_step_m": (0.1, 0.6),
        "least_foot_m": (0.02, 0.2),
        "gap_m": (0.08, 0.5),
        "gap_per_metre": (0.002, 0.03),
        "vertical_scale": (0.2, 1.0),
        "match_m": (0.1, 0.6),
        "link_m": (0.1, 0.6),
        "gate_deviations": (1.0, 8.0),
    }
)
"""Least and most of each parameter: beyond them no sensor and no street leads."""


def _checked(name: str, value: object) -> float:
    least, most = BOUNDS[name]
    expected = f"a number from {least:g} to {most:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InputError(name, expected, repr(value)[:40])
    return float(value)


@dataclass(frozen=True)
class GeometricParameters:
    """Lengths in metres; each within `BOUNDS`.

    Raises InputError: one is no finite number or out of bounds.
    """

    ground_clearance_m: float = 0.2
    """Ground: points lower than this above the surface are of it,"""
    ground_clearance_per_metre: float = 0.0005
    """and per metre of range so much more."""
    ground_step_m: float = 0.25
    """A square metre whose lowest point lies so far above the surface shows no ground."""
    least_foot_m: float = 0.07
    """Ground under an object that lies higher than this is of the object."""
    gap_m: float = 0.2
    """Distance: points of one thing lie about so far apart at most,"""
    gap_per_metre: float = 0.0075
    """and per metre of range so much more."""
    vertical_scale: float = 0.5
    """How much of a distance counts upwards."""
    match_m: float = 0.25
    """Gating: what lies so near to where an object's surface is expected is of the object; farther off, where points lie sparsely."""
    link_m: float = 0.25
    """What hangs together at such gaps is taken along with an object; farther off at wider ones."""
    gate_deviations: float = 3.0
    """An object is looked for within so many standard deviations of where its motion leads."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            object.__setattr__(self, name, _checked(name, value))

    @property
    def ground(self) -> GroundSettings:
        return GroundSettings(
            clearance_m=self.ground_clearance_m, clearance_per_metre=self.ground_clearance_per_metre, step_m=self.ground_step_m
        )

    @property
    def growth(self) -> GrowthSettings:
        return GrowthSettings(gap_m=self.gap_m, gap_per_metre=self.gap_per_metre, vertical_scale=self.vertical_scale)

    @property
    def matching(self) -> MatchSettings:
        return MatchSettings(near_m=self.match_m, link_m=self.link_m)

    @property
    def gate(self) -> GateSettings:
        return GateSettings(deviations=self.gate_deviations)

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that stand for these values."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


DEFAULT_PARAMETERS = GeometricParameters()


def parameters_to_json(parameters: GeometricParameters) -> dict[str, float]:
    """{name: value}. Inverse of `parameters_from_json`."""
    return {field.name: getattr(parameters, field.name) for field in fields(parameters)}


def parameters_from_json(content: object, where: str = "geometric parameters") -> GeometricParameters:
    """What an earlier version did not know keeps its usual value.

    Args:
        where: named in errors.

    Raises:
        InputError: no object of numbers, an unknown name, a value out of bounds.
    """
    if not isinstance(content, dict):
        raise InputError(where, "a JSON object of numbers by name", type(content).__name__)
    for name in content:
        if name not in BOUNDS:
            raise InputError(f"{where}: {name}", "one of " + ", ".join(BOUNDS), "an unknown name")
    try:
        return GeometricParameters(**content)
    except InputError as wrong:
        raise InputError(f"{where}: {wrong.where}", wrong.expected, wrong.found) from None


def read_parameters(path: Path) -> GeometricParameters:
    """Raises InputError: the file cannot be read, is no JSON, or does not hold parameters."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        raise InputError(str(path), "a readable file of geometric parameters", wrong.strerror or type(wrong).__name__) from wrong
    except ValueError as wrong:
        raise InputError(str(path), "geometric parameters as JSON", str(wrong)) from wrong
    return parameters_from_json(content, str(path))


def write_parameters(path: Path, parameters: GeometricParameters) -> None:
    """The whole file or none of it. Raises OSError: it cannot be written."""
    write_whole(path, json.dumps(parameters_to_json(parameters), indent=2) + "\n")
