"""What can be measured, by name; each part runs in a process of its own, so that its memory is its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import TypeAlias

from backend.embedded import terminated_like_interrupted
from benchmarks import files, labelling, prewarmed, service
from benchmarks.drive import Drive
from benchmarks.figure import Figure, forget_peak, peak_megabytes

Part: TypeAlias = Callable[[Drive], list[Figure]]

PARTS: Mapping[str, Part] = {
    "clicks": labelling.geometric_clicks,
    "prewarm": prewarmed.prewarmed_clicks,
    "objects": labelling.geometric_objects,
    "growth": labelling.geometric_growth,
    "network": labelling.network,
    "prewarm-network": prewarmed.prewarmed_network_clicks,
    "pcd": files.point_clouds,
    "brush": files.brush_masks,
    "birds-eye": files.pictures,
    "import": files.imports,
    "export": files.exports,
    "labellers": service.labellers,
}

NETWORK_PARTS = ("network", "prewarm-network")
"""Those that run the SAM4D network."""


def measured(name: str, drive: Drive) -> list[Figure]:
    """The figures of a part and the memory it took at the most; to be run in a process of its own."""
    before_mb = forget_peak()
    figures = PARTS[name](drive)
    return [*figures, Figure(f"peak memory of this part ({name})", peak_megabytes(), "MB", "before it began", before_mb)]


def apart(name: str, drive: Drive) -> list[Figure]:
    """As `measured`, in another process, which ends with the call. Raises SystemExit where it ended without figures."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send_figures, args=(name, drive, sending))
    process.start()
    sending.close()
    try:
        figures: list[Figure] = receiving.recv()
        return figures
    except EOFError:
        raise SystemExit(f"benchmarks: the part {name!r} ended without figures") from None
    finally:
        process.terminate()
        process.join()


def _send_figures(name: str, drive: Drive, sending: Connection) -> None:
    # What ends it ends the servers that it started, too.
    with terminated_like_interrupted():
        try:
            sending.send(measured(name, drive))
        except KeyboardInterrupt:
            raise SystemExit(1) from None
