"""The data engine over a whole drive, however long: parts of it one after the other, their objects joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from backend.kept_work import WorkFolder
from converters.exports import Window, join_windows
from converters.packed_masks import PackedMasks
from converters.tasks import frame_windows
from sam4d.data_engine.generate import VERSION, Progress, generate_masklets
from sam4d.data_engine.masklet_source import MaskletSource
from sam4d.data_engine.per_frame import generate_masklets_per_frame
from sam4d.data_engine.pose_check import check_poses
from sam4d.data_engine.source_window import SourceWindow
from sam4d.predictor import Predictor
from sam4d.structures import Clip, Masklet, VoxelScene

DATA_ENGINE = "data-engine"
"""As the command line calls it."""

FRAMES_PER_PART = 40
SHARED_FRAMES = 8
"""By which objects of two parts are known to be the same."""


@dataclass(frozen=True)
class DataEngine:
    """Labels drives without a click.

    predictor: finds objects in the sweeps, and masks where no image has one. per_frame: without ego poses. frames_per_part: memory
    grows with them and not with the drive.
    """

    predictor: Predictor
    per_frame: bool = False
    frames_per_part: int = FRAMES_PER_PART

    @property
    def version(self) -> str:
        """Of its answers: its own, how it works, and the predictor's."""
        return "-".join([VERSION, *(["per-frame"] if self.per_frame else []), self.predictor.version])

    @property
    def description(self) -> str:
        """Of all that its answers depend on beside the drive, the labels and the source."""
        return f"{self.version}, {self.frames_per_part} frames at once, {SHARED_FRAMES} shared"

    def parts(self, clip: Clip) -> list[tuple[int, int]]:
        """(first frame, number of frames) of the parts that a clip is worked on in."""
        return frame_windows(len(clip), self.frames_per_part, min(SHARED_FRAMES, self.frames_per_part - 1))

    def check_poses(self, clip: Clip) -> None:
        """Raises InputError: ego poses that are missing, or do not fit the sweeps."""
        for first, count in self.parts(clip):
            check_poses(clip.window(first, count))

    def label(
        self,
        clip: Clip,
        labels: Sequence[str],
        work: WorkFolder,
        source: MaskletSource | None = None,
        progress: Progress | None = None,
        keep_scene: Callable[[int, VoxelScene], None] | None = None,
    ) -> tuple[Masklet, ...]:
        """All objects of the drive, best first, numbered from 1; their masks lie on disk.

        Args:
            work: what has been done of this very drive, with this engine, these labels and this source.
            source: image masklets of the whole drive.
            keep_scene: gets each part's first frame and scene before the part is kept. Its objects are numbered as the masklets are where
                the drive is one part; without ego poses there is none.

        Raises:
            InputError: as `generate_masklets`; no part is begun then.
        """
        parts = self.parts(clip)
        if not self.per_frame and len(parts) > 1:
            self.check_poses(clip)
        windows = []
        for index, (first, count) in enumerate(parts):
            part = clip.window(first, count)
            part_source = None if source is None else SourceWindow(source, first)
            part_work = work.within(f"frames-{first:06d}")
            report = _of_part(progress, index, len(parts))
            make: Callable[[], Sequence[Masklet]] = partial(
                generate_masklets_per_frame, part, self.predictor, labels, part_source, report, part_work
            )
            if not self.per_frame:
                keep = None if keep_scene is None else partial(keep_scene, first)
                make = partial(generate_masklets, part, self.predictor, labels, part_source, report, part_work, keep)
            windows.append(Window(first, count, part_work.masklets("labelled", part, make)))
        if len(windows) == 1:
            return tuple(windows[0].masklets)
        best = sorted(join_windows(windows, one_source=True), key=lambda masklet: -masklet.score)
        return tuple(
            replace(masklet, object_id=number, masks=PackedMasks.of(masklet.masks).as_object(number))
            for number, masklet in enumerate(best, start=1)
        )


def _of_part(progress: Progress | None, index: int, count: int) -> Progress | None:
    """Progress that says which part it is of, where there are several."""
    if progress is None or count == 1:
        return progress
    return lambda step, done, total: progress(f"{step} (part {index + 1} of {count})", done, total)
