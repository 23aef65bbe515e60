"""The network with its weights on a device, opened on clips."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from sam4d.checkpoint import Checkpoint, check_fits, digest_of, read_checkpoint
from sam4d.frame_store import FrameStore, Kept
from sam4d.modeling.configuration import RELEASED, NetworkConfiguration
from sam4d.modeling.sam4d import Sam4D
from sam4d.modeling.spconv_taps import use_spconv
from sam4d.network.encoded_clip import EncodedClip
from sam4d.network.session import NetworkSession
from sam4d.network.side_by_side import side_by_side
from sam4d.network.stored_features import StoredFeatures
from sam4d.predictor import DeviceName, Precision, SparseConvolution
from sam4d.structures import Clip, InputError

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")

MEGABYTE = 1024 * 1024
MEMORY_BYTES = {"cpu": 48 * MEGABYTE, "cuda": 2048 * MEGABYTE}
"""What a session may remember beyond the frames that attention reaches at the moment."""

FRAMES_KEPT = {"cpu": 4, "cuda": 24}
"""Encoded frames that a session holds: the clicked one and its surroundings, about 70 MB each with one camera."""


class NetworkPredictor:
    """Opens clips for the network. Any number of threads may share it: the weights are only read.

    Args:
        checkpoint: a `.pth` or `.safetensors` file, which says its network's sizes, or the tensors by name.
        device: "auto" is CUDA where PyTorch sees one.
        precision: "bfloat16" computes products in half the bits (on a CPU only where it has instructions for it); "auto" does so on CUDA.
        compiled: compile the image encoder with torch.compile; the first frame then takes a minute longer.
        sparse_convolution: "spconv" leaves the larger part of the sparse convolutions to spconv-cu120, which is meant for CUDA.
        store: where encoded frames are looked up, and put by `prewarm`.
        configuration: the sizes of the network that the tensors by name belong to.

    Raises:
        InputError: a checkpoint that is not this network's, CUDA asked for but absent, spconv asked for but not installed.
    """

    def __init__(
        self,
        checkpoint: Path | str | Mapping[str, Tensor],
        device: DeviceName = "auto",
        precision: Precision = "auto",
        *,
        compiled: bool = False,
        sparse_convolution: SparseConvolution = "torch",
        store: FrameStore | None = None,
        configuration: NetworkConfiguration = RELEASED,
    ) -> None:
        self.device = device_named(device)
        self._dtype = _dtype(precision, self.device)
        if isinstance(checkpoint, Mapping):
            read = Checkpoint(Path("(tensors)"), checkpoint, digest_of(checkpoint), configuration)
        else:
            read = read_checkpoint(checkpoint)
        with torch.device("meta"):
            model = Sam4D(read.configuration)
        check_fits(read, model)
        # Copied, so that neither the file nor the caller's tensors can change beneath a session.
        weights = {
            name: tensor.detach().to(self.device, torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
            for name, tensor in read.tensors.items()
        }
        model.load_state_dict(weights, strict=True, assign=True)
        self.model = model.eval().requires_grad_(False)
        if compiled:
            self.model.pure_model.backbone.image.compile()
        if sparse_convolution == "spconv":
            _use_spconv(self.model)
        elif sparse_convolution != "torch":
            raise InputError("sparse_convolution", "torch or spconv", repr(sparse_convolution))
        self._digest = read.digest
        self._threads = torch.get_num_threads()
        how = f"{self.device.type}, {sparse_convolution}, {'compiled' if compiled else 'as it is'}"
        # Tensors by name do not tell all sizes, so that the digest does not either.
        self.features = StoredFeatures(store, f"network features 3, {self.version}, {read.configuration.to_json()}, {how}", self.device)

    @property
    def version(self) -> str:
        return f"sam4d-{self._digest}" + ("-bf16" if self._dtype is torch.bfloat16 else "")

    def open(self, clip: Clip) -> NetworkSession:
        kind = self.device.type
        return NetworkSession(self, EncodedClip(self, clip, FRAMES_KEPT[kind]), MEMORY_BYTES[kind])

    def prewarm(self, clip: Clip, frame_index: int) -> Kept | None:
        """See `predictor.PrewarmingPredictor.prewarm`.

        Raises:
            MemoryError: the device has too little memory for the frame.
        """
        if not 0 <= frame_index < len(clip):
            raise InputError(f"frame of clip {clip.name}", f"0 to {len(clip) - 1}", str(frame_index))
        with self.computing():
            return EncodedClip(self, clip, 1).frame(frame_index).keep()

    @contextlib.contextmanager
    def computing(self) -> Iterator[Sam4D]:
        """The network for the duration of the block, in its precision.

        Raises:
            MemoryError: the device has too little memory left for what was asked; nothing else is lost.
        """
        # A thread begins with as many as another one had at that moment, see `side_by_side`.
        torch.set_num_threads(self._threads)
        with self._precision():
            try:
                yield self.model
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                # The frames of the traceback would hold on to what takes the memory.
                traceback.clear_frames(error.__traceback__)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                raise MemoryError(f"too little memory on the {self.device.type.upper()} for this frame and its objects") from None

    def both(self, first: Callable[[], FirstT], second: Callable[[], SecondT]) -> tuple[FirstT, SecondT]:
        """Two pieces of work within `computing`: on a CPU beside each other, on a GPU, which is full with one, in turn."""
        if self.device.type != "cpu":
            return first(), second()
        return side_by_side(first, second, self._precision)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.inference_mode(), torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not torch.float32):
            yield


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


def _use_spconv(model: Sam4D) -> None:
    try:
        use_spconv(model)
    except ImportError as error:
        raise InputError("sparse_convolution", "torch, or spconv where spconv-cu120 is installed", f"spconv, and {error}") from None


def device_named(name: DeviceName) -> torch.device:
    """Raises InputError where there is none of this name."""
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError("device", "auto, cpu or cuda", repr(name))
    if name == "cuda" and not available:
        raise InputError("device", "cpu, or cuda where there is a GPU that PyTorch can use", "cuda, and PyTorch sees no GPU")
    return torch.device(name)


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError("precision", "auto, float32 or bfloat16", repr(precision))
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
