"""A synthetic drive with exact masks, points, cuboids and poses: for the demo, for tests and for benchmarks."""

from sam4d.simulation.conditions import HARD, LENS, USUAL, Conditions
from sam4d.simulation.drive import SyntheticDrive, simulate_drive
from sam4d.simulation.sensors import CAMERA_YAWS_DEG

__all__ = ["CAMERA_YAWS_DEG", "HARD", "LENS", "USUAL", "Conditions", "SyntheticDrive", "simulate_drive"]
