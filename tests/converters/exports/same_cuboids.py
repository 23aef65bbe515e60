"""What a round trip must keep of cuboids: 1 mm and 0.01 degrees."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from hypothesis import strategies as st

from sam4d.geometry import wrap_angle
from sam4d.structures import Cuboid

Key = TypeVar("Key", bound=Hashable)

_metres = st.floats(-1e4, 1e4)
cuboids = st.builds(Cuboid, st.tuples(_metres, _metres, _metres), st.tuples(*[st.floats(0, 50)] * 3), st.floats(-np.pi, np.pi))


def assert_same_cuboids(
    found: Mapping[Key, Cuboid],
    expected: Mapping[Key, Cuboid],
    *,
    within_m: float = 0.001,
    within_rad: float = float(np.radians(0.01)),
) -> None:
    """The same keys, and under each the same cuboid."""
    assert set(found) == set(expected)
    for key, cuboid in expected.items():
        np.testing.assert_allclose(
            [*found[key].center_m, *found[key].size_lwh_m], [*cuboid.center_m, *cuboid.size_lwh_m], rtol=0, atol=within_m
        )
        assert abs(wrap_angle(found[key].yaw_rad - cuboid.yaw_rad)) <= within_rad
