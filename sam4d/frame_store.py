"""What an engine makes of a frame whatever people click, kept so that the first click need not wait for it.

An engine asks for arrays by a key made of the content of the files behind a frame, of what else goes into the arrays, and of its own
version. So nothing that is found can be out of date, and a store may lose anything at any time: it is then made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

from sam4d.structures import Camera

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

Kept: TypeAlias = Mapping[str, int]
"""How many bytes entries of a store take, but for a few hundred, by their keys: frames may share some."""


class FrameStore(Protocol):
    """Arrays by key. Safe to use from many threads."""

    def get(self, key: str) -> Arrays | None:
        """The arrays; None where they are not there, or not as they were put.

        One that may be written to is the caller's own: what is written into it changes nothing in the store.
        """
        ...

    def put(self, key: str, arrays: Arrays) -> bool:
        """Keep them; False where it cannot be done, as for lack of space."""
        ...


@runtime_checkable
class KnownContent(Protocol):
    """A loader of sweeps or images (`structures.Frame`) that can tell what it would load without loading it."""

    def content_digest(self) -> str | None:
        """Of the file's bytes and all that decides how they are read; None where it cannot tell.

        Raises InputError where the file cannot be read.
        """
        ...


def content_key(kind: str, load: object, *, cameras: Mapping[str, Camera] | None = None) -> str | None:
    """What arrays are stored under, 64 hexadecimal digits; None where the loader does not know its content.

    Args:
        kind: what the arrays are, and the version of what makes them.
        load: the loader of the sweep or the image that they are made of.
        cameras: whose calibration goes into them.
    """
    content = load.content_digest() if isinstance(load, KnownContent) else None
    if content is None:
        return None
    return _digest(f"{kind}\n{content}\n", cameras or {})


def calibration_key(kind: str, camera: Camera) -> str:
    """Likewise, of arrays into which nothing but a camera's calibration goes."""
    return _digest(f"{kind}\n", {camera.name: camera})


def _digest(what: str, cameras: Mapping[str, Camera]) -> str:
    digest = hashlib.sha256(what.encode())
    for name, camera in sorted(cameras.items()):
        intrinsics = (camera.width_px, camera.height_px, camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, camera.distortion)
        digest.update(f"{name}\n{intrinsics!r}\n".encode())
        digest.update(camera.lidar_SE3_cam.rotation.tobytes() + camera.lidar_SE3_cam.translation_m.tobytes())
    return digest.hexdigest()


def keep(
    store: FrameStore, key: str | None, make: Callable[[], Arrays], is_right: Callable[[Arrays], bool] = lambda found: True
) -> Kept | None:
    """Have a store hold what is made, unless it does already.

    Args:
        is_right: whether what the store has can be used; else it is made anew.

    Returns:
        What it takes there; None where there is no key, or the store could not keep it.
    """
    if key is None:
        return None
    arrays = store.get(key)
    if arrays is None or not is_right(arrays):
        arrays = make()
        if not store.put(key, arrays):
            return None
    return {key: sum(array.nbytes for array in arrays.values())}


def together(parts: Iterable[Kept | None]) -> Kept | None:
    """What `keep` returned, as one; None where any of them is."""
    everything: dict[str, int] = {}
    for part in parts:
        if part is None:
            return None
        everything |= part
    return everything
