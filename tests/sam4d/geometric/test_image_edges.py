"""A mask's border on the image's edges."""

from __future__ import annotations

import numpy as np
import pytest

from sam4d.geometric.image_edges import fitted_to_edges
from sam4d.geometry import BoolArray
from sam4d.structures import UInt8Array

EVERYWHERE = np.ones((60, 80), dtype=np.bool_)


def disk(radius: float) -> BoolArray:
    rows, columns = np.mgrid[0:60, 0:80]
    return np.asarray(np.hypot(rows - 29.5, columns - 39.5) < radius)


def image_of(mask: BoolArray, contrast: int) -> UInt8Array:
    """The mask brighter than its surroundings, over a slope of light that is much steeper, with a camera's noise."""
    light = 60 + 1.2 * np.arange(80) + contrast * mask
    noise = np.random.default_rng(0).normal(0, 1.4, (60, 80, 3))
    return np.clip(light[..., None] + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("wrong", "left"), [(-2, 0.75), (-1, 0.15), (1, 0.15), (2, 0.4)])
def test_a_border_beside_an_edge_moves_to_it(wrong: int, left: float) -> None:
    exact = disk(20)
    guess = disk(20 + wrong)
    fitted = fitted_to_edges(guess, image_of(exact, 40), EVERYWHERE)
    assert (fitted ^ exact).sum() < left * (guess ^ exact).sum()


def test_colours_elsewhere_in_the_image_do_not_count() -> None:
    # Left of the object all is darker than right of it: no colour tells object from background in the whole image.
    exact = disk(20)
    image = image_of(exact, 25)
    assert image[exact].min() < image[~exact].max() - 40
    assert (fitted_to_edges(disk(21), image, EVERYWHERE) ^ exact).sum() < 0.2 * (disk(21) ^ exact).sum()


def test_without_an_edge_the_border_stays() -> None:
    guess = disk(20)
    fitted = fitted_to_edges(guess, image_of(guess, 0), EVERYWHERE)
    assert (fitted ^ guess).sum() < 0.05 * guess.sum()


def test_an_edge_farther_away_is_another_thing() -> None:
    guess = disk(12)
    fitted = fitted_to_edges(guess, image_of(disk(20), 40), EVERYWHERE)
    assert not fitted[~disk(15)].any()
    assert fitted[disk(9)].all()


def test_what_may_not_change_stays() -> None:
    exact, guess = disk(20), disk(22)
    left = EVERYWHERE.copy()
    left[:, 40:] = False
    fitted = fitted_to_edges(guess, image_of(exact, 40), left)
    np.testing.assert_array_equal(fitted[:, 40:], guess[:, 40:])
    assert (fitted ^ exact)[:, :40].sum() < 0.4 * (guess ^ exact)[:, :40].sum()


@pytest.mark.parametrize("mask", [np.zeros((60, 80), dtype=np.bool_), np.ones((60, 80), dtype=np.bool_)])
def test_without_a_border_nothing_changes(mask: BoolArray) -> None:
    np.testing.assert_array_equal(fitted_to_edges(mask, image_of(disk(20), 40), EVERYWHERE), mask)


def test_a_border_at_the_images_own_border() -> None:
    exact = np.zeros((60, 80), dtype=np.bool_)
    exact[:30, :41] = True
    guess = np.zeros_like(exact)
    guess[:31, :40] = True
    fitted = fitted_to_edges(guess, image_of(exact, 40), EVERYWHERE)
    assert (fitted ^ exact).sum() <= 6
