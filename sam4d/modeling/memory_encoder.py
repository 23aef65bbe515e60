"""The memory encoders: a frame's raw top-level features and an object's mask become what the object is remembered by (arXiv 2506.21547).

One for the camera and one for the LiDAR, of the same build: the mask is brought down to the features' resolution, added to
the projected features, and fused by two ConvNeXt blocks. They follow SAM 2's (arXiv 2408.00714), with sparse convolutions for the LiDAR.
Where an object is absent, its `no_obj_embed_spatial` is added afterwards, which is not done here.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam4d.modeling.configuration import RELEASED, NetworkConfiguration
from sam4d.modeling.layer_norm import LayerNorm2d
from sam4d.modeling.products import Linear
from sam4d.modeling.sparse_conv import Cells, DownConv, SparseModule, SparseSequential, SparseTensor, SubmanifoldConv

INNER_MASK_WIDTHS = (1, 4, 16, 64)
"""Channels of a mask on its way to the width of the features."""

BLOCKS = 2
NORM_EPS = 1e-6


class ImageMemoryEncoder(nn.Module):
    """Camera memories of B objects."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        width = configuration.width
        self.image_size_px = configuration.image_size_px
        self.mask_downsampler = _ImageMaskDownsampler(width)
        self.pix_feat_proj = nn.Conv2d(width, width, 1)
        self.fuser = _Fuser(nn.Sequential(*(_ImageBlock(width) for _ in range(BLOCKS))))

    def forward(self, feature: Tensor, mask_logits: Tensor) -> Tensor:
        """Encode.

        Args:
            feature: float (1 or B, C, G, G), the raw top level of the image encoder.
            mask_logits: float (B, 1, H, W), of any size: brought to the network image's size here, and used as they are where they have it.

        Returns:
            float (B, C, G, G).
        """
        size = (self.image_size_px, self.image_size_px)
        if mask_logits.shape[2:] != size:
            mask_logits = functional.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False)
        fused: Tensor = self.fuser.layers(self.pix_feat_proj(feature) + self.mask_downsampler.encoder(_mask_values(mask_logits)))
        return fused


class LidarMemoryEncoder(nn.Module):
    """LiDAR memories of B objects, on the M voxels at stride 16."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        width, kernel_size = configuration.width, configuration.memory_kernel_size
        self.mask_downsampler = _LidarMaskDownsampler(width)
        self.pix_feat_proj = SubmanifoldConv(width, width, 1, bias=True)
        self.fuser = _Fuser(SparseSequential(*(_LidarBlock(width, kernel_size) for _ in range(BLOCKS))))

    def forward(self, feature: SparseTensor, point_logits: Tensor, point_cells: Cells) -> Tensor:
        """Encode.

        Args:
            feature: the raw top level of the LiDAR encoder, float (M, C).
            point_logits: float (B, N), one per point of the sweep.
            point_cells: the voxel of every point, N rows; of points in one voxel the last one's logit counts.

        Returns:
            float (B, M, C).
        """
        values = _mask_values(point_logits).transpose(0, 1).unsqueeze(2)
        mask: SparseTensor = self.mask_downsampler.encoder(SparseTensor(point_cells, values))
        if mask.cells is not feature.cells and not torch.equal(mask.coordinates, feature.coordinates):
            raise ValueError(f"points of the {len(feature.cells)} voxels of the features expected, found {len(mask.cells)} other voxels")
        projected = self.pix_feat_proj(feature).features[:, None]
        fused: SparseTensor = self.fuser.layers(feature.with_features(projected + mask.features))
        return fused.features.transpose(0, 1)


class _ImageMaskDownsampler(nn.Module):
    """`encoder`: mask (B, 1, H, W) -> (B, C, H / 16, W / 16)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((*INNER_MASK_WIDTHS, width)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), LayerNorm2d(after, NORM_EPS), nn.GELU()]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(width, width, 1))


class _LidarMaskDownsampler(nn.Module):
    """`encoder`: mask (N, B, 1) on the points' cells -> (M, B, C) at stride 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((*INNER_MASK_WIDTHS, width)):
            layers += [DownConv(before, after, 2), nn.LayerNorm(after, NORM_EPS), nn.GELU()]
        self.encoder = SparseSequential(*layers, SubmanifoldConv(width, width, 1, bias=True))


class _Fuser(nn.Module):
    """Holds the blocks under the name `layers`."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers


class _ImageBlock(nn.Module):
    """ConvNeXt block (arXiv 2201.03545): depthwise 7x7, then a perceptron on every pixel, scaled and added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, NORM_EPS)
        self.pwconv1 = Linear(width, 4 * width)
        self.pwconv2 = Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), NORM_EPS))

    def forward(self, image: Tensor) -> Tensor:
        """float (B, C, H, W) -> the same."""
        pixels = self.norm(self.dwconv(image).movedim(1, -1))
        change: Tensor = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(pixels)))
        return image + change.movedim(-1, 1)


class _LidarBlock(SparseModule):
    """The same with a full convolution (7x7x7 in the released model), all without bias."""

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = SubmanifoldConv(width, width, kernel_size)
        self.norm = nn.LayerNorm(width, NORM_EPS)
        self.pwconv1 = SubmanifoldConv(width, 4 * width, 1)
        self.pwconv2 = SubmanifoldConv(4 * width, width, 1)
        self.gamma = nn.Parameter(torch.full((width,), NORM_EPS))

    def forward(self, x: SparseTensor) -> SparseTensor:
        hidden = self.conv(x)
        hidden = self.pwconv1(hidden.with_features(self.norm(hidden.features)))
        hidden = self.pwconv2(hidden.with_features(functional.gelu(hidden.features)))
        return x.with_features(x.features + self.gamma * hidden.features)


def _mask_values(logits: Tensor) -> Tensor:
    """Logits -> -10 (outside) to 10 (inside)."""
    return torch.sigmoid(logits) * 20 - 10
