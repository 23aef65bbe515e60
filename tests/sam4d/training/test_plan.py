from __future__ import annotations

import itertools
import json

import pytest

from sam4d.structures import InputError
from sam4d.training.plan import TrainingPlan


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "all"),
        ("steps", 0),
        ("steps", 2.5),
        ("steps", True),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warm_up_steps", -1),
        ("weight_decay", -0.1),
        ("gradient_clip", 0),
        ("accumulation", 0),
        ("precision", "float16"),
        ("statistics", "new"),
        ("average_decay", 1.0),
        ("frames", 9),
        ("objects", 0),
        ("clicks", 8),
        ("checkpointed", 1),
    ],
)
def test_a_field_out_of_its_range_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        TrainingPlan(**{field: value})  # type: ignore[arg-type]


def test_a_cpu_gets_less_of_everything_and_never_more() -> None:
    assert TrainingPlan().on_a_cpu() == TrainingPlan(frames=3, objects=3, clicks=2, held_out_windows=4)
    small = TrainingPlan(frames=2, objects=1, clicks=0, held_out_windows=0)
    assert small.on_a_cpu() == small


def test_rates_rise_and_fall() -> None:
    plan = TrainingPlan(steps=100, warm_up_steps=10)
    shares = [plan.rate_share(step) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == shares[10] == 1
    assert all(earlier >= later for earlier, later in itertools.pairwise(shares[10:]))
    assert 0 < shares[-1] < 0.001


def test_rates_without_warm_up() -> None:
    assert TrainingPlan(steps=1, warm_up_steps=0).rate_share(0) == 1


def test_a_plan_of_json_is_the_same_plan() -> None:
    plan = TrainingPlan(steps=7)
    assert plan.difference(json.loads(json.dumps(plan.as_fields()))) is None


def test_what_changes_nothing_makes_no_difference() -> None:
    plan = TrainingPlan()
    assert plan.difference(TrainingPlan(checkpointed=True, device="cpu").as_fields()) is None
    assert plan.difference(TrainingPlan(seed=3).as_fields()) == "seed 3, not 0"
