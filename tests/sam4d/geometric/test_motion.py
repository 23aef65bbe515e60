"""Motion over the ground: arcs that add up, gates that follow from what is known, velocities that are learnt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sam4d.geometric.motion import Motion
from sam4d.geometry import Float64Array

speeds = st.floats(-30.0, 30.0)
turns = st.floats(-0.8, 0.8)
steps = st.floats(0.02, 1.0)
large = st.booleans()


def moving(x: float, y: float, turn: float, large: bool) -> Motion:
    unknown = Motion.unknown(large)
    return replace(unknown, velocity_m_per_s=np.array([x, y]), turn_rad_per_s=turn, velocity_variance=0.1 * np.eye(2), measured=3)


def allows(gate_m2: Float64Array, shift_m: Float64Array) -> bool:
    return float(shift_m @ np.linalg.inv(gate_m2) @ shift_m) <= 1


@given(speeds, speeds, turns, steps, large)
def test_two_half_steps_are_one_whole_step(x: float, y: float, turn: float, step_s: float, large: bool) -> None:
    motion = moving(x, y, turn, large)
    once, whole, whole_turn = motion.predicted(step_s)
    half, first, first_turn = motion.predicted(step_s / 2)
    twice, second, second_turn = half.predicted(step_s / 2)
    np.testing.assert_allclose(first + second, whole, atol=1e-9)
    np.testing.assert_allclose(twice.velocity_m_per_s, once.velocity_m_per_s, atol=1e-9)
    np.testing.assert_allclose([first_turn + second_turn, twice.unseen_s], [whole_turn, once.unseen_s])
    np.testing.assert_allclose(once.speed_m_per_s, motion.speed_m_per_s)


@given(speeds, speeds, turns, steps)
def test_the_way_is_an_arc(x: float, y: float, turn: float, step_s: float) -> None:
    _, shift, turned = moving(x, y, turn, True).predicted(step_s)
    way = np.linspace(0, turned, 2001)
    direction = np.stack([x * np.cos(way) - y * np.sin(way), x * np.sin(way) + y * np.cos(way)], axis=1)
    np.testing.assert_allclose(shift, np.trapezoid(direction, dx=step_s / 2000, axis=0), atol=1e-5)


@given(speeds, speeds, turns, steps, st.floats(-3.0, 3.0), large)
def test_other_axes_see_the_same_motion(x: float, y: float, turn: float, step_s: float, yaw: float, large: bool) -> None:
    motion = moving(x, y, turn, large)
    rotation = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    there, shift, _ = motion.rotated(yaw).predicted(step_s)
    here, own_shift, _ = motion.predicted(step_s)
    np.testing.assert_allclose(shift, rotation @ own_shift, atol=1e-9)
    np.testing.assert_allclose(there.velocity_variance, rotation @ here.velocity_variance @ rotation.T, atol=1e-9)
    np.testing.assert_allclose(motion.rotated(yaw).rotated(-yaw).velocity_m_per_s, motion.velocity_m_per_s, atol=1e-9)


@given(speeds, speeds, turns, steps, st.floats(0.05, 0.4), large)
def test_the_longer_unseen_the_wider_the_gate(x: float, y: float, turn: float, step_s: float, noise_m: float, large: bool) -> None:
    motion = moving(x, y, turn, large)
    areas = []
    for _ in range(3):
        motion, _, _ = motion.predicted(step_s)
        gate = motion.gate(noise_m)
        assert (np.linalg.eigvalsh(gate) > 0).all()
        areas.append(float(np.linalg.det(gate)))
    assert areas[0] <= areas[1] * (1 + 1e-9) <= areas[2] * (1 + 2e-9)


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(-0.04, 0.04), steps, large)
def test_what_is_seen_makes_the_motion_better_known(x: float, y: float, turn: float, step_s: float, large: bool) -> None:
    before, _, _ = moving(3.0, 1.0, 0.1, large).predicted(step_s)
    after = before.corrected(np.array([x, y]), turn, 0.1)
    assert (np.linalg.eigvalsh(before.velocity_variance - after.velocity_variance) > -1e-9).all()
    change = after.velocity_m_per_s - before.velocity_m_per_s
    assert float(change @ np.array([x, y])) >= 0
    assert float(np.hypot(*change)) <= float(np.hypot(x, y)) / step_s + 1e-9
    assert (after.unseen_s, after.measured) == (0.0, before.measured + 1)


@given(speeds, turns, steps)
def test_a_fast_car_is_looked_for_along_its_way_rather_than_beside_it(x: float, turn: float, step_s: float) -> None:
    motion, _, _ = replace(moving(np.copysign(8 + abs(x), x), 0.0, turn, True), velocity_variance=1e-6 * np.eye(2)).predicted(step_s)
    direction = motion.velocity_m_per_s / motion.speed_m_per_s
    aside = np.array([-direction[1], direction[0]])
    gate = motion.gate(0.1)
    assert direction @ gate @ direction >= aside @ gate @ aside - 1e-9


def test_a_constant_turn_is_learnt_from_noisy_places() -> None:
    random = np.random.default_rng(3)
    truth = moving(8.0, 0.0, 0.3, True)
    known = Motion.unknown(True)
    inside = 0
    for k in range(40):
        truth, true_shift, true_turn = truth.predicted(0.1)
        known, shift, turn = known.predicted(0.1)
        seen = true_shift - shift + random.normal(0, 0.05, 2)
        inside += allows(known.gate(0.05), seen)
        known = known.corrected(seen, true_turn - turn + random.normal(0, 0.005), 0.05)
        assert k < 5 or np.hypot(*(known.velocity_m_per_s - truth.velocity_m_per_s)) < 1.5
    assert inside == 40
    assert abs(known.turn_rad_per_s - 0.3) < 0.08


def test_a_neighbour_farther_off_than_the_motion_allows_is_outside_the_gate() -> None:
    walking, _, _ = moving(1.4, 0.0, 0.0, False).predicted(0.3)
    gate = walking.gate(0.1)
    assert allows(gate, np.array([0.4, 0.0]))
    assert not allows(gate, np.array([2.0, 0.0]))
