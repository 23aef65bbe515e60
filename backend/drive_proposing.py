"""The data engine as pre-annotation: a drive is labelled as a whole, and each task gets what its frames show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from backend.data_engine import DataEngine
from backend.kept_work import WorkFolder, digest_of
from backend.proposing import ProposedRegions, best_regions
from converters.label_config import LabelConfig
from converters.tasks import TaskWindow, within_window
from sam4d.data_engine.generate import Progress
from sam4d.structures import Clip, InputError, Masklet, VoxelScene


class DriveProposer:
    """A `proposing.Proposer`. A drive is labelled when the first of its tasks comes; an object has the same id in all of them.

    Args:
        work: what has been done of the project's drives. What is kept there gives the same objects in another run.
        show_scene: gets the window of each part of a drive, and its scene, for the 3D view.
    """

    def __init__(
        self,
        engine: DataEngine,
        work: WorkFolder,
        progress: Progress | None = None,
        show_scene: Callable[[TaskWindow, VoxelScene], None] | None = None,
    ) -> None:
        self._engine = engine
        self._show_scene = show_scene
        self._work = work
        self._progress = progress or (lambda step, done, total: None)
        self._address: str | None = None
        self._found: tuple[Masklet, ...] | InputError = ()

    @property
    def version(self) -> str:
        return self._engine.version

    def propose(self, window: TaskWindow, drive: Clip, config: LabelConfig, most_masks: int) -> ProposedRegions:
        clip = drive.window(window.first_frame, window.frame_count)
        if window.sequence != self._address:
            try:
                self._found = self._label(window, drive, config)
            except InputError as error:
                # The drive's other tasks fail for the same reason, and need not wait for it.
                self._found = error
            self._address = window.sequence
        if isinstance(self._found, InputError):
            raise self._found
        shown = [within_window(masklet, window) for masklet in self._found]
        return best_regions([masklet for masklet in shown if masklet.masks], window, clip, self.version, most_masks)

    def _label(self, window: TaskWindow, drive: Clip, config: LabelConfig) -> tuple[Masklet, ...]:
        made_of = digest_of(
            drive, self._engine.description, *config.labels, progress=lambda done, total: self._progress("reading the drive", done, total)
        )
        show_scene = self._show_scene

        def show(first_frame: int, scene: VoxelScene) -> None:
            if show_scene is not None:
                show_scene(replace(window, first_frame=first_frame, frame_count=scene.frame_count), scene)

        return self._engine.label(drive, config.labels, self._work.within(made_of[:16]), progress=self._progress, keep_scene=show)
