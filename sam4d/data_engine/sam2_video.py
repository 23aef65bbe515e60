"""SAM 2 for videos (Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024), in the implementation of the package transformers
(extra `vfm`), with weights that the user has: a folder as `save_pretrained` writes it. Nothing is downloaded, nothing in the folder is run.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from sam4d.network.predictor import device_named
from sam4d.predictor import DeviceName
from sam4d.structures import InputError, UInt8Array

MODEL_TYPE = "sam2_video"
CONFIG_FILE = "config.json"
WEIGHTS_ENDING = ".safetensors"
CONFIG_LIMIT_BYTES = 2**20

# What its images were brought to in training: ImageNet's mean and deviation of red, green and blue, of values from 0 to 1.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)

STABILITY_OFFSET = 1.0
"""A mask is stable where its logits cut at this value and at its negative are nearly the same (Segment Anything, automatic masks)."""


@dataclass(frozen=True, eq=False)
class ProposedMasks:
    """logits: float32 (M, h, w), above 0 inside, of the whole image at the network's own resolution. scores: float32 (M,), the IoU that the
    network expects. stability: float32 (M,), from 0 to 1."""

    logits: Tensor
    scores: Tensor
    stability: Tensor


class Sam2Video:
    """The network, and what the data engine asks of it. Read it with `Sam2Video.load`.

    Masks are logits, float32 (h, w), at the network's own resolution; `image_size_px` is the width and height of its input, to which every
    image is stretched.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        """model: a `transformers.Sam2VideoModel`, in which types end."""
        self._model = model.to(device).eval()
        self.device = device
        self.image_size_px: int = model.config.image_size

    @classmethod
    def load(cls, folder: str | Path, device: DeviceName = "auto") -> Sam2Video:
        """The network of a folder with `config.json` and weights in `.safetensors` files.

        Raises:
            InputError: transformers is not installed; no such folder, another architecture, weights that are missing, damaged or do not fit
                the configuration.
        """
        if importlib.util.find_spec("transformers") is None:
            raise InputError("SAM 2", "transformers, which runs it (pip install '.[vfm]')", "none installed")
        place = Path(folder)
        _require_sam2_video(place)
        from huggingface_hub.errors import StrictDataclassError
        from transformers import Sam2VideoModel
        from transformers.utils import logging

        # Its own report of what fits and a bar that nobody asked for; what does not fit is said below.
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            model, fit = Sam2VideoModel.from_pretrained(  # nosec B615 # a folder; nobody else is asked
                str(place.resolve()),
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError, StrictDataclassError) as error:
            raise InputError(str(place), "weights of SAM 2 for videos that fit their config.json", _one_line(error)) from None
        wrong = {kind: len(fit[f"{kind}_keys"]) for kind in ("missing", "mismatched")}
        if any(wrong.values()):
            found = ", ".join(f"{count} {kind}" for kind, count in wrong.items() if count)
            raise InputError(str(place), "all tensors of SAM 2 for videos as its config.json has them", found)
        return cls(model, device_named(device))

    def prepared(self, image: UInt8Array) -> Tensor:
        """An image, uint8 (H, W, 3), RGB, as the network takes it: float32 (1, 3, size, size)."""
        values = torch.from_numpy(np.array(image)).to(self.device).permute(2, 0, 1)[None].float() / 255
        size = (self.image_size_px, self.image_size_px)
        values = functional.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
        return (values - values.new_tensor(MEAN)[:, None, None]) / values.new_tensor(DEVIATION)[:, None, None]

    @torch.inference_mode()
    def propose(self, prepared: Tensor, points: Tensor, points_at_once: int, least_score: float, least_stability: float) -> ProposedMasks:
        """The masks that the network has for each of the points by itself, those that are good enough.

        Args:
            prepared: of `prepared`.
            points: float32 (P, 2), (u, v) in pixels of the network's input.
            points_at_once: how many go through the network together.
        """
        found = []
        embeddings = self._model.get_image_embeddings(prepared)
        positions = self._model.get_image_wide_positional_embeddings()
        for some in torch.split(points.to(self.device), points_at_once):
            labels = torch.ones((1, len(some), 1), dtype=torch.int32, device=self.device)
            sparse, dense = self._model.get_prompt_embeddings(input_points=some[None, :, None, :], input_labels=labels)
            logits, scores, _, there = self._model.mask_decoder(
                image_embeddings=embeddings[-1],
                image_positional_embeddings=positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
                high_resolution_features=embeddings[:-1],
            )
            # (1, P, masks, h, w); `there` says for each point whether there is an object at all.
            good = (scores[0] >= least_score) & (there[0] > 0)
            logits, scores = logits[0][good], scores[0][good]
            inner = (logits > STABILITY_OFFSET).sum(dim=(1, 2))
            outer = (logits > -STABILITY_OFFSET).sum(dim=(1, 2))
            stability = inner / outer.clamp(min=1)
            stable = (stability >= least_stability) & (inner > 0)
            found.append((logits[stable], scores[stable], stability[stable]))
        if not found:
            side = embeddings[0].shape[-1]
            return ProposedMasks(prepared.new_zeros((0, side, side)), prepared.new_zeros(0), prepared.new_zeros(0))
        return ProposedMasks(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def follow(self, prepared: Tensor, masks: Mapping[int, Tensor]) -> FollowedObjects:
        """Objects, {number: logits (h, w)}, at least one, to be found again in the images that follow."""
        return FollowedObjects(self._model, self.device, self.image_size_px, prepared, masks)


class FollowedObjects:
    """The objects of one image on their way through those that follow. What it remembers grows with the images: use it for a few."""

    def __init__(self, model: Any, device: torch.device, image_size_px: int, prepared: Tensor, masks: Mapping[int, Tensor]) -> None:
        from transformers import Sam2VideoInferenceSession

        self._model = model
        self._session: Any = Sam2VideoInferenceSession(
            inference_device=device, inference_state_device=device, video_storage_device=device, dtype=torch.float32
        )
        self._numbers: Sequence[int] = tuple(masks)
        self._images = 0
        for number, logits in masks.items():
            whole = functional.interpolate(logits[None, None], size=(image_size_px, image_size_px), mode="bilinear", align_corners=False)
            self._session.add_mask_inputs(self._session.obj_id_to_idx(number), 0, whole > 0)
        self._session.obj_with_new_inputs = list(masks)
        self.in_next(prepared)

    def in_next(self, prepared: Tensor) -> dict[int, Tensor]:
        """Each object's mask in the next image, {number: logits (h, w)}, below 0 everywhere where it is not seen."""
        output = self._model(inference_session=self._session, frame=prepared, frame_idx=self._images)
        self._session.processed_frames.pop(self._images)
        for kept in self._session.output_dict_per_obj.values():
            for outputs in kept.values():
                # 4 MB an object and image that nothing reads again.
                outputs.get(self._images, {}).pop("high_res_masks", None)
        self._images += 1
        return dict(zip(self._numbers, output.pred_masks[:, 0], strict=True))


def _require_sam2_video(folder: Path) -> None:
    """Raises InputError where a folder's description is not that of the network, or weights are missing."""
    expected = f"a folder with SAM 2's {CONFIG_FILE} and its weights in {WEIGHTS_ENDING} files"
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise InputError(str(folder), expected, f"no {CONFIG_FILE}" if folder.is_dir() else "no folder")
    try:
        with file.open("rb") as stream:
            config = json.loads(stream.read(CONFIG_LIMIT_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(str(file), "the JSON that describes a network", _one_line(error)) from None
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type != MODEL_TYPE:
        raise InputError(f"{file}: model_type", repr(MODEL_TYPE), repr(model_type)[:80])
    if not isinstance(config.get("image_size", 1024), int):
        raise InputError(f"{file}: image_size", "one number", repr(config["image_size"])[:80])
    if not any(folder.glob(f"*{WEIGHTS_ENDING}")):
        raise InputError(str(folder), expected, f"no {WEIGHTS_ENDING} file")


def _one_line(error: Exception) -> str:
    """The start of what a library says."""
    text = " ".join("".join(character if character.isprintable() else " " for character in str(error)).split())
    return text[:160] or type(error).__name__
