from __future__ import annotations

import torch

from sam4d.training.averaging import WeightAverage


def test_the_average_of_one_value_is_that_value() -> None:
    values = {"a": torch.tensor([2.0, -1.0])}
    average = WeightAverage(values, 0.9)
    for step in range(1, 50):
        average.update(values, step)
    assert torch.equal(average.tensors["a"], values["a"])


def test_it_follows_as_fast_as_it_forgets() -> None:
    average = WeightAverage({"a": torch.zeros(1)}, 0.9)
    for step in range(1000, 1020):
        average.update({"a": torch.ones(1)}, step)
    torch.testing.assert_close(average.tensors["a"], torch.tensor([1 - 0.9**20]))


def test_where_it_began_is_soon_forgotten() -> None:
    average = WeightAverage({"a": torch.zeros(1)}, 0.999)
    for step in range(1, 21):
        average.update({"a": torch.ones(1)}, step)
    assert average.tensors["a"].item() > 0.999


def test_counts_are_taken_as_they_are() -> None:
    average = WeightAverage({"count": torch.tensor(3)}, 0.9)
    average.update({"count": torch.tensor(8)}, 1)
    assert average.tensors["count"].item() == 8


def test_it_stands_in_for_the_weights_only_within_the_block() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    average = WeightAverage({"a": torch.zeros(2)}, 0.9)
    with average.in_place_of({"a": weight}):
        assert not weight.any()
    assert torch.equal(weight, torch.ones(2))
