"""Labelled clips from simulated drives: what the network can be trained on, and the whole loop tried on, without anyone's recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sam4d.simulation.conditions import USUAL, Conditions
from sam4d.simulation.drive import SyntheticDrive, simulate_drive
from sam4d.training.labelled_clip import LabelledClip


@dataclass(frozen=True)
class SyntheticRecipe:
    """Which drives. The same recipe gives the same clips, to the bit.

    seeds: a drive each. frame_count, camera_names, image_size_px (width, height), beam_count and azimuth_count, conditions: as in
    `simulate_drive`.
    """

    seeds: tuple[int, ...]
    frame_count: int = 12
    camera_names: tuple[str, ...] = ("front",)
    image_size_px: tuple[int, int] = (480, 320)
    beam_count: int = 32
    azimuth_count: int = 900
    conditions: Conditions = USUAL


SMALL = SyntheticRecipe(seeds=(0,), frame_count=8, image_size_px=(192, 128), beam_count=16, azimuth_count=360)
"""One drive that is simulated in a few seconds, for tests."""


def synthetic_clips(recipe: SyntheticRecipe, on_clip: Callable[[int, int], None] | None = None) -> Iterator[LabelledClip]:
    """The recipe's clips, one after the other, every frame and camera labelled.

    Args:
        on_clip: told (done, all) after each.
    """
    for done, seed in enumerate(recipe.seeds, 1):
        yield labelled(_drive(recipe, seed))
        if on_clip is not None:
            on_clip(done, len(recipe.seeds))


def labelled(drive: SyntheticDrive) -> LabelledClip:
    """Everything about a simulated drive is known."""
    return LabelledClip.whole(drive.clip, drive.masklets)


def _drive(recipe: SyntheticRecipe, seed: int) -> SyntheticDrive:
    return simulate_drive(
        seed,
        recipe.frame_count,
        camera_names=recipe.camera_names,
        image_size_px=recipe.image_size_px,
        beam_count=recipe.beam_count,
        azimuth_count=recipe.azimuth_count,
        conditions=recipe.conditions,
    )
