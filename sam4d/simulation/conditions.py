"""What makes a simulated drive easy or hard."""

from __future__ import annotations

from dataclasses import dataclass

LENS = (-0.28, 0.07, 0.0004, -0.0006, 0.0)
"""The distortion of a common wide lens."""


@dataclass(frozen=True)
class Conditions:
    """The road, who and what is on it, and how the LiDAR measures.

    Args:
        grade, bank, sag_per_m: z = grade x + bank y + sag x^2 of the road.
        curb_height_m: of both pavements.
        vegetation: bushes and hedges along the pavements.
        groups: people who walk and stand close together, and beside parked cars.
        trailers: a truck that draws one; both are one object.
        range_noise_m: standard deviation of every range.
        lost_share: of the returns, lost at random on top of those that dark, distant and grazed surfaces lose.
        stray_share: of the returns, replaced by echoes of dust and rain nearer to the sensor, which belong to no object.
        rolling_shutter: the LiDAR measures while it turns, a tenth of a second for a sweep with the frame's time in its middle; points stay
            where the moving sensor saw them.
    """

    grade: float = 0.012
    bank: float = 0.006
    sag_per_m: float = 0.00015
    curb_height_m: float = 0.14
    vegetation: bool = False
    groups: bool = False
    trailers: bool = False
    range_noise_m: float = 0.015
    lost_share: float = 0.0
    stray_share: float = 0.0
    rolling_shutter: bool = False


USUAL = Conditions()
HARD = Conditions(
    grade=0.04,
    bank=0.02,
    sag_per_m=0.0004,
    curb_height_m=0.18,
    vegetation=True,
    groups=True,
    trailers=True,
    range_noise_m=0.03,
    lost_share=0.12,
    stray_share=0.002,
    rolling_shutter=True,
)
