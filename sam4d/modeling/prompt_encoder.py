"""Prompts as the mask decoder reads them: tokens for clicks and boxes of both sensors, a dense map for masks (arXiv 2506.21547)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sam4d.geometry import Float64Array
from sam4d.modeling.configuration import RELEASED
from sam4d.modeling.layer_norm import LayerNorm2d
from sam4d.modeling.positional_encoding import UnionPositionalEncoding
from sam4d.modeling.sparse_conv import Cells, DownConv, FeatureBatchNorm, SparseModule, SparseSequential, SparseTensor, SubmanifoldConv
from sam4d.structures import LIDAR, BoxPrompt, Camera, PointPrompt

Int64Array = NDArray[np.int64]

NEGATIVE, POSITIVE, FIRST_CORNER, SECOND_CORNER = range(4)
"""Labels of prompt points. A box is two points, its corners, before all others."""

PADDING = -1
"""Label of a point that is none: every sensor has at least one of them at its end."""

_MASK_CHANNELS = (1, 4, 16)


@dataclass(frozen=True, eq=False)
class SensorPoints:
    """Prompt points of one object in one sensor.

    coordinates: float64 (P, 2), pixels (u, v) of the original image, or (P, 3), metres in the LiDAR frame. labels: int64 (P,).
    """

    coordinates: Float64Array
    labels: Int64Array

    def __post_init__(self) -> None:
        if self.coordinates.ndim != 2 or self.labels.shape != (len(self.coordinates),):
            raise ValueError(f"a label for every point expected, found {self.labels.shape} for {self.coordinates.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def none(cls, dimensions: int) -> SensorPoints:
        return cls(np.zeros((0, dimensions)), np.zeros(0, dtype=np.int64))

    @classmethod
    def of(cls, prompts: Sequence[PointPrompt | BoxPrompt], sensor: str) -> SensorPoints:
        """The points of those prompts that are for this sensor: boxes first, then clicks in their order."""
        boxes = [prompt for prompt in prompts if prompt.sensor == sensor and isinstance(prompt, BoxPrompt)]
        clicks = [prompt for prompt in prompts if prompt.sensor == sensor and isinstance(prompt, PointPrompt)]
        corners = np.concatenate([np.zeros((0, 2)), *(np.reshape(box.box, (2, 2)) for box in boxes)])
        if sensor == LIDAR:
            corners = np.pad(corners, ((0, 0), (0, 1)))  # a box seen from above lies at height 0
        return cls(
            np.concatenate([corners, *(np.asarray(click.coordinates) for click in clicks)]),
            np.concatenate([[FIRST_CORNER, SECOND_CORNER] * len(boxes), *(np.asarray(click.labels) for click in clicks)]).astype(np.int64),
        )


@dataclass(frozen=True, eq=False)
class PromptPoints:
    """Prompt points of one object on one frame, in the camera and in the LiDAR."""

    camera: SensorPoints = field(default_factory=lambda: SensorPoints.none(2))
    lidar: SensorPoints = field(default_factory=lambda: SensorPoints.none(3))

    @classmethod
    def of(cls, prompts: Sequence[PointPrompt | BoxPrompt], camera: str) -> PromptPoints:
        """Those of the prompts that are for this camera or for the LiDAR."""
        return cls(SensorPoints.of(prompts, camera), SensorPoints.of(prompts, LIDAR))

    @property
    def is_ambiguous(self) -> bool:
        """Whether there are too few points to know what is meant: 0 or 1, counted in the camera or, without any there, in the LiDAR."""
        return (len(self.camera) or len(self.lidar)) <= 1


@dataclass(frozen=True, eq=False)
class EncodedPrompts:
    """Prompts of B objects (or of any number of objects where B = 1).

    camera_tokens: float32 (B, Tc, C). lidar_tokens: (B, Tl, C). camera_dense: (B, C, G, G), or (1, C, 1, 1) without a mask.
    lidar_dense: (B, M, C) for the M stride-16 voxels, or (1, 1, C) without a mask.
    """

    camera_tokens: Tensor
    lidar_tokens: Tensor
    camera_dense: Tensor
    lidar_dense: Tensor


class SensorPromptEncoder(nn.Module):
    """What the prompt encoders of both sensors have in common: embeddings of labels, and of the absence of points and masks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)

    def embed_points(self, encodings: Tensor, labels: Tensor) -> Tensor:
        """Position encodings float32 (P, C) and labels int64 (P,) -> tokens (1, P + 1, C), or (1, 2, C) where P = 0."""
        padding = self.not_a_point_embed.weight
        by_label = torch.cat([embedding.weight for embedding in self._label_embeddings()])
        tokens = torch.where((labels == PADDING)[:, None], padding, encodings + by_label[labels.clamp(min=0)])
        return torch.cat([tokens, padding] if len(tokens) else [padding, padding])[None]

    def _label_embeddings(self) -> list[nn.Embedding]:
        return [embedding for embedding in self.point_embeddings if isinstance(embedding, nn.Embedding)]


class CameraPromptEncoder(SensorPromptEncoder):
    """Prompts in a camera."""

    def __init__(self, width: int = RELEASED.width) -> None:
        super().__init__(width)
        one, few, more = _MASK_CHANNELS
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(one, few, kernel_size=2, stride=2),
            LayerNorm2d(few),
            nn.GELU(),
            nn.Conv2d(few, more, kernel_size=2, stride=2),
            LayerNorm2d(more),
            nn.GELU(),
            nn.Conv2d(more, width, kernel_size=1),
        )

    def embed_mask(self, mask: Tensor | None) -> Tensor:
        """float32 (B, 4 G, 4 G), logits of an earlier answer or a mask as 0 and 1 -> (B, C, G, G); no mask -> (1, C, 1, 1)."""
        if mask is None:
            return self.no_mask_embed.weight[:, :, None, None]
        dense: Tensor = self.mask_downscaling(mask[:, None])
        return dense


class LidarPromptEncoder(SensorPromptEncoder):
    """Prompts in the LiDAR."""

    def __init__(self, width: int = RELEASED.width) -> None:
        super().__init__(width)
        one, few, more = _MASK_CHANNELS
        self.mask_downscaling = SparseSequential(_MaskLevel(one, few), _MaskLevel(few, more), SubmanifoldConv(more, width, 1))

    def embed_mask(self, cells: Cells, mask: Tensor | None) -> Tensor:
        """float32 (B, M4), one value per stride-4 cell as for a camera -> (B, M, C) on the stride-16 cells; no mask -> (1, 1, C)."""
        if mask is None:
            return self.no_mask_embed.weight[None]
        dense: Tensor = self.mask_downscaling(SparseTensor(cells, mask.T[:, :, None])).features
        return dense.transpose(0, 1)


class _MaskLevel(SparseModule):
    """To half the resolution."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.net = SparseSequential(DownConv(width, out_width, 2), FeatureBatchNorm(out_width), nn.ReLU())

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.net(x)  # type: ignore[no-any-return]


def encode_points(
    points: PromptPoints,
    camera: Camera,
    positions: UnionPositionalEncoding,
    camera_encoder: CameraPromptEncoder,
    lidar_encoder: LidarPromptEncoder,
) -> tuple[Tensor, Tensor]:
    """Tokens of one object's points for the camera's decoder, float32 (1, Tc, C), and for the LiDAR's, (1, Tl, C).

    Both decoders see the points of both sensors. The camera's own come twice there: that is how the released model was trained.
    """
    device = camera_encoder.no_mask_embed.weight.device
    pixels = network_pixels(points.camera.coordinates, camera, positions.image_size_px)
    xyz_m = torch.tensor(points.lidar.coordinates, dtype=torch.float32, device=device)
    camera_tokens = camera_encoder.embed_points(positions.pixels(camera, pixels), torch.tensor(points.camera.labels, device=device))
    lidar_tokens = lidar_encoder.embed_points(positions.positions(xyz_m), torch.tensor(points.lidar.labels, device=device))
    for_lidar = torch.cat([lidar_tokens, camera_tokens], dim=1)
    return torch.cat([camera_tokens, for_lidar], dim=1), for_lidar


def network_pixels(pixels: Float64Array, camera: Camera, image_size_px: int) -> Float64Array:
    """Pixels (u, v), float64 (P, 2), of the original image -> centres of the pixels of the network's image in which they lie."""
    size = np.array([camera.width_px, camera.height_px], dtype=np.float64)
    return np.floor(pixels / size * image_size_px) + 0.5
