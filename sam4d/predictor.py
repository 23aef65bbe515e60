"""The contract between the product and an engine, and the one place where engines are chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from sam4d.frame_store import FrameStore, Kept
from sam4d.geometry import BoolArray
from sam4d.structures import Clip, FrameMasks, InputError, ObjectMasks, Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from sam4d.geometric.parameters import GeometricParameters

EngineName: TypeAlias = Literal["auto", "geometric", "sam4d"]
DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
SparseConvolution: TypeAlias = Literal["torch", "spconv"]


class Session(Protocol):
    """Objects being segmented and followed in one clip. For one thread at a time."""

    @property
    def clip(self) -> Clip: ...

    @property
    def object_ids(self) -> tuple[int, ...]: ...

    def add_prompt(self, prompt: Prompt | Sequence[Prompt], *, replace: bool = False) -> ObjectMasks:
        """Segment one object on one frame.

        Args:
            prompt: one prompt, or several of the same object and frame (for any sensors). They add to those given before.
            replace: drop the object's earlier prompts on that frame first.

        Raises:
            InputError: unknown sensor, frame outside the clip, image missing on the frame, coordinates outside the image
                or not finite, a mask of the wrong shape, prompts of several objects or frames.
        """
        ...

    def propagate(
        self, start: int = 0, stop: int | None = None, *, reverse: bool = False, object_ids: Collection[int] | None = None
    ) -> Iterator[FrameMasks]:
        """Follow objects, lazily, one frame at a time, `start` first, up to but not including `stop`
        (the clip's end, or with `reverse` down to frame 0, where it is None). A frame that holds prompts of an object keeps what they gave.
        Frames that a pass reaches before any prompted one give what an earlier pass found there, else empty masks with score 0.

        Args:
            object_ids: these objects only; all where it is None. Ids that the session does not have are passed over.

        Raises:
            InputError: `start` outside the clip.
        """
        ...

    def remove_object(self, object_id: int) -> None:
        """Raises InputError where there is no such object."""
        ...

    def prompts_for(self, object_id: int, frame_index: int, lidar_mask: BoolArray) -> Sequence[Prompt]:
        """How to ask this engine for what was found without it: an object's points, bool (N,) over the frame's sweep, at least one."""
        ...


class Predictor(Protocol):
    """An engine. Safe to use from many threads; each session from one at a time."""

    @property
    def version(self) -> str:
        """Shown in Label Studio as the model version: engine and what distinguishes its answers."""
        ...

    def open(self, clip: Clip) -> Session: ...


class PrewarmingPredictor(Predictor, Protocol):
    """An engine that can do a frame's work before anybody clicks."""

    def prewarm(self, clip: Clip, frame_index: int) -> Kept | None:
        """Put what a click on a frame needs into the engine's store, unless it is there.

        Returns what the frame takes there, part by part, for frames share some; None where it cannot be kept: the engine has no store or
        the store no room, or the clip's loaders do not know their content (`frame_store.KnownContent`).

        Raises InputError where the clip has no such frame, or its files cannot be read.
        """
        ...


def build_predictor(
    engine: EngineName = "auto",
    *,
    checkpoint: Path | str | Mapping[str, Tensor] | None = None,
    device: DeviceName = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    sparse_convolution: SparseConvolution = "torch",
    store: FrameStore | None = None,
    parameters: GeometricParameters | None = None,
) -> PrewarmingPredictor:
    """The engine by name.

    Args:
        engine: "geometric" needs no weights. "sam4d" is the network. "auto" is the network where a checkpoint is given, else geometric.
        checkpoint: the network's weights, a `.pth` or `.safetensors` file, or the tensors by name.
        device: for the network; "auto" is CUDA where there is some.
        precision: for the network; "auto" is bfloat16 on CUDA and float32 on the CPU.
        compiled: compile what can be (torch.compile).
        sparse_convolution: for the network; "spconv" leaves the larger part of it to spconv-cu120, which is meant for CUDA.
        store: where the engine looks for what it needs of a frame whatever is clicked, before it makes it; filled by `prewarm`.
        parameters: of the geometric engine; the usual ones where it is None.

    Raises:
        InputError: an unknown engine, the network without a checkpoint or with one that is not its own, a device that is not there.
    """
    if engine not in ("auto", "geometric", "sam4d"):
        raise InputError("engine", "auto, geometric or sam4d", repr(engine))
    if engine == "geometric" or (engine == "auto" and checkpoint is None):
        from sam4d.geometric.parameters import DEFAULT_PARAMETERS
        from sam4d.geometric.predictor import GeometricPredictor

        return GeometricPredictor(store, parameters or DEFAULT_PARAMETERS)
    if checkpoint is None:
        raise InputError("checkpoint", "the network's weights (SAM4D_CHECKPOINT), because the engine is sam4d", "none")
    from sam4d.network.predictor import NetworkPredictor

    return NetworkPredictor(checkpoint, device, precision, compiled=compiled, sparse_convolution=sparse_convolution, store=store)
