"""How an object moves over the ground: constant speed along an arc (constant turn rate), and how far off that may be.

What is not known of the motion is carried as variances, so that where to look for an object follows from how well its motion is
known and for how long nobody saw it: a parked car is looked for where it stood, one that was hidden for a second farther along its way
than beside it. All vectors are (x, y) in the axes of one frame's LiDAR frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sam4d.geometry import Float64Array

FASTEST_M_PER_S = 30.0
FASTEST_SMALL_M_PER_S = 7.0
"""Nothing is faster, vehicles and people,"""
FASTEST_DEVIATIONS = 3.0
"""which is so many deviations of what is assumed before anything is known."""

AGILITY_M_PER_S = 1.8
AGILITY_SMALL_M_PER_S = 1.0
"""How much a velocity has changed after a second (standard deviation)."""

ASIDE = 0.4
"""What moves along its heading changes its velocity across it by this part as much."""
MOVING_M_PER_S = 2.0

USUAL_TURN_RAD_PER_S = 0.35
TURN_AGILITY_RAD_PER_S = 0.35
FASTEST_TURN_RAD_PER_S = 0.8
TURN_NOISE_RAD = 0.03

FARTHEST_M = 4.0
FARTHEST_UNKNOWN_M = 8.0
"""Wherever variances lead, nothing is looked for farther off, of known and of unknown motion."""


@dataclass(frozen=True)
class GateSettings:
    """How far off an object is looked for."""

    deviations: float = 3.0
    """An object farther off than so many standard deviations is another one."""
    slack_m: float = 0.35
    """What is seen of an object changes by about this much without any motion."""


DEFAULT_GATE_SETTINGS = GateSettings()


@dataclass(frozen=True, eq=False)
class Motion:
    """velocity_m_per_s float64 (2,) with velocity_variance (2, 2) in m^2/s^2; turn_rad_per_s about +z with turn_variance.

    large: a vehicle, by its size. measured: how often the motion was seen. unseen_s: since the place was last seen.
    """

    velocity_m_per_s: Float64Array
    velocity_variance: Float64Array
    turn_rad_per_s: float
    turn_variance: float
    large: bool
    measured: int = 0
    unseen_s: float = 0.0

    @classmethod
    def unknown(cls, large: bool) -> Motion:
        deviation = (FASTEST_M_PER_S if large else FASTEST_SMALL_M_PER_S) / FASTEST_DEVIATIONS
        return cls(np.zeros(2), deviation**2 * np.eye(2), 0.0, USUAL_TURN_RAD_PER_S**2 if large else 0.0, large)

    @property
    def speed_m_per_s(self) -> float:
        return float(np.hypot(*self.velocity_m_per_s))

    def rotated(self, yaw_rad: float) -> Motion:
        """The same motion in axes that are turned by -yaw_rad."""
        rotation = _rotation(yaw_rad)
        return replace(
            self,
            velocity_m_per_s=rotation @ self.velocity_m_per_s,
            velocity_variance=rotation @ self.velocity_variance @ rotation.T,
        )

    def predicted(self, step_s: float) -> tuple[Motion, Float64Array, float]:
        """After step_s seconds in which nobody saw it: (motion, shift (2,) in metres, turn in radians)."""
        turn = self.turn_rad_per_s * step_s
        # The integral of the turning velocity; sinc keeps it whole where nothing turns.
        along = np.sinc(turn / np.pi)
        aside = 0.5 * turn * np.sinc(turn / (2 * np.pi)) ** 2
        shift = step_s * np.array([[along, -aside], [aside, along]]) @ self.velocity_m_per_s
        moved = self.rotated(turn)
        agility = AGILITY_M_PER_S if self.large else AGILITY_SMALL_M_PER_S
        motion = replace(
            moved,
            velocity_variance=moved.velocity_variance + step_s * agility**2 * _spread(moved.velocity_m_per_s, self.large),
            turn_variance=self.turn_variance + (step_s * TURN_AGILITY_RAD_PER_S**2 if self.large else 0.0),
            unseen_s=self.unseen_s + step_s,
        )
        return motion, shift, turn

    def gate(self, noise_m: float, settings: GateSettings = DEFAULT_GATE_SETTINGS) -> Float64Array:
        """Where to look around the predicted place: float64 (2, 2), positive definite, in m^2; shifts s with s G^-1 s <= 1.

        Args:
            noise_m: how exactly a place is seen, standard deviation.
        """
        variance = 2 * noise_m**2 * np.eye(2) + self.velocity_variance * self.unseen_s**2
        values, vectors = np.linalg.eigh(variance)
        farthest_m = FARTHEST_M if self.measured else FARTHEST_UNKNOWN_M
        reach_m = np.minimum(settings.deviations * np.sqrt(values) + settings.slack_m, farthest_m)
        return np.asarray((vectors * reach_m**2) @ vectors.T)

    def corrected(self, shift_m: Float64Array, turn_rad: float, noise_m: float) -> Motion:
        """Seen `shift_m` (2,) away from the predicted place, turned by `turn_rad` against the prediction."""
        step_s = max(self.unseen_s, 1e-3)
        # Both ends of the way are seen with noise.
        noise = 2 * (noise_m / step_s) ** 2 * np.eye(2)
        gain = self.velocity_variance @ np.linalg.inv(self.velocity_variance + noise)
        left = np.eye(2) - gain
        turn_noise = 2 * (TURN_NOISE_RAD / step_s) ** 2
        turn_gain = self.turn_variance / (self.turn_variance + turn_noise)
        turn_rate = self.turn_rad_per_s + turn_gain * turn_rad / step_s
        return replace(
            self,
            velocity_m_per_s=self.velocity_m_per_s + gain @ shift_m / step_s,
            # Joseph's form stays symmetric and positive whatever is rounded.
            velocity_variance=left @ self.velocity_variance @ left.T + gain @ noise @ gain.T,
            turn_rad_per_s=float(np.clip(turn_rate, -FASTEST_TURN_RAD_PER_S, FASTEST_TURN_RAD_PER_S)),
            turn_variance=(1 - turn_gain) * self.turn_variance,
            measured=self.measured + 1,
            unseen_s=0.0,
        )


def _spread(velocity_m_per_s: Float64Array, large: bool) -> Float64Array:
    """Directions in which a velocity changes, (2, 2): of vehicles under way, along more than across."""
    speed = float(np.hypot(*velocity_m_per_s))
    if not large or speed < 1e-9:
        return np.eye(2)
    direction = velocity_m_per_s / speed
    aside = 1 - (1 - ASIDE**2) * min(1.0, speed / MOVING_M_PER_S)
    return np.asarray(aside * np.eye(2) + (1 - aside) * np.outer(direction, direction))


def _rotation(angle_rad: float) -> Float64Array:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, -sine], [sine, cosine]])
