"""What every exporter asks of the objects that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sam4d.structures import InputError, Masklet


def require_distinct_objects(masklets: Sequence[Masklet]) -> None:
    """Raises InputError where two masklets have one object id."""
    for object_id, count in Counter(masklet.object_id for masklet in masklets).items():
        if count > 1:
            raise InputError(f"object {object_id}", "one masklet per object id", f"{count} masklets")
