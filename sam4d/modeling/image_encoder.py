"""The camera's encoder: Hiera with windows, and the neck that brings its levels to one width.

Hiera: arXiv 2306.00989, in the form of SAM 2 (arXiv 2408.00714), as the SAM4D model has it (arXiv 2506.21547).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from sam4d.modeling.attention import by_rows
from sam4d.modeling.configuration import RELEASED, STAGES, NetworkConfiguration
from sam4d.modeling.products import Linear, linear
from sam4d.modeling.recomputation import computed_again
from sam4d.structures import UInt8Array

_MEAN_RGB = (0.485, 0.456, 0.406)
_STD_RGB = (0.229, 0.224, 0.225)

_COARSE_MAP_SIZE = 7
"""Of the position embedding's coarse map over the image, on each side."""

_LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """float32 (B, width, H / s, W / s) for s = 4, 8 and 16; before the mask decoder's own projections of the two finer ones."""

    stride4: Tensor
    stride8: Tensor
    stride16: Tensor


def prepare_image(image: UInt8Array, size_px: int) -> Tensor:
    """An image uint8 (H, W, 3), RGB -> float32 (3, size_px, size_px), resized (bicubic; the aspect ratio is not kept) and normalised."""
    resized = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized, dtype=np.float32) / np.float32(255)
    mean, std = np.array(_MEAN_RGB, dtype=np.float32), np.array(_STD_RGB, dtype=np.float32)
    return torch.from_numpy((pixels - mean) / std).permute(2, 0, 1).contiguous()


class ImageEncoder(nn.Sequential):
    """An image, prepared by `prepare_image`, to features of three strides."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__(Hiera(configuration), Neck(configuration.hiera_width, configuration.width))

    @property
    def trunk(self) -> Hiera:
        trunk = self[0]
        assert isinstance(trunk, Hiera)
        return trunk

    def forward(self, images: Tensor) -> ImageFeatures:
        """float32 (B, 3, H, W), H and W multiples of 32 -> ImageFeatures."""
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 32 or images.shape[3] % 32:
            raise ValueError(f"images (B, 3, H, W) with sides in multiples of 32 expected, found {tuple(images.shape)}")
        features: ImageFeatures = self[1](self[0](images))
        return features


class Hiera(nn.Module):
    """Four stages of blocks, each stage with half the resolution and twice the channels and heads of the one before."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        width, heads, window = configuration.hiera_width, 1, configuration.hiera_windows[0]
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, width, _COARSE_MAP_SIZE, _COARSE_MAP_SIZE))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, width, window, window))
        self.blocks = nn.ModuleList()
        for stage, count in enumerate(configuration.hiera_blocks):
            for position in range(count):
                opens_stage = stage > 0 and position == 0
                out_width = width * 2 if opens_stage else width
                heads = heads * 2 if opens_stage else heads
                is_global = len(self.blocks) in configuration.hiera_global_blocks
                self.blocks.append(HieraBlock(width, out_width, heads, 0 if is_global else window, pooled=opens_stage))
                # The block that opens a stage halves the resolution after its attention: it still has the windows from before.
                width, window = out_width, configuration.hiera_windows[stage]
        self.last_blocks = tuple(itertools.accumulate(configuration.hiera_blocks))
        self.checkpointed = False

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the stages' outputs (B, C, H / s, W / s) at strides s 4, 8, 16, 32, C doubling."""
        x: Tensor = self.patch_embed(images)
        x = x + self._position_embedding(x.shape[1], x.shape[2])
        outputs = []
        for count, block in enumerate(self.blocks, start=1):
            assert isinstance(block, HieraBlock)
            x = computed_again(block, x) if self.checkpointed else _by_bands(block, x)
            if count in self.last_blocks:
                outputs.append(x.permute(0, 3, 1, 2))
        return outputs

    def _position_embedding(self, height: int, width: int) -> Tensor:
        """(1, height, width, C): a coarse map over the image plus one that repeats in every window."""
        over_image = functional.interpolate(self.pos_embed, size=(height, width), mode="bicubic", align_corners=False)
        window = self.pos_embed_window.shape[-1]
        in_window = self.pos_embed_window.tile(1, 1, -(-height // window), -(-width // window))[:, :, :height, :width]
        return (over_image + in_window).permute(0, 2, 3, 1)


class PatchEmbed(nn.Module):
    """Patches of 7 x 7 pixels, every 4 pixels, as tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=7, stride=4, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 4, W / 4, C)."""
        patches: Tensor = self.proj(images)
        return patches.permute(0, 2, 3, 1)


class HieraBlock(nn.Module):
    """Attention within windows and a perceptron, both on normalised input and added.

    Args:
        width: channels of the input.
        out_width: channels of the output.
        heads: of the attention.
        window: side of a window in input tokens, 0 for attention over the whole image.
        pooled: whether queries are pooled 2 x 2, which halves the output's resolution.
    """

    def __init__(self, width: int, out_width: int, heads: int, window: int, *, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.norm1 = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.attn = WindowAttention(width, out_width, heads, window, pooled=pooled)
        self.norm2 = nn.LayerNorm(out_width, eps=_LAYER_NORM_EPS)
        self.mlp = Mlp(out_width, 4 * out_width)
        self.proj = Linear(width, out_width) if width != out_width else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) -> (B, H, W, out_width), or half of H and W where pooled."""
        normalised: Tensor = self.norm1(x)
        shortcut = x if self.proj is None else self.proj(normalised)
        if self.pooled:
            shortcut = _pool(shortcut)
        x = shortcut + self.attn(normalised)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, or within the whole image where `window` is 0; queries max-pooled 2 x 2 where `pooled`."""

    def __init__(self, width: int, out_width: int, heads: int, window: int, *, pooled: bool) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.pooled = pooled
        self.qkv = Linear(width, 3 * out_width)
        self.proj = Linear(out_width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) -> (B, H, W, out_width), or half of H and W where pooled."""
        height, width = x.shape[1:3]
        if self.window and height % self.window == width % self.window == 0:
            projected = self.qkv(_to_windows(x, self.window))
        elif self.window:
            # What fills up windows is zero before its projection, and attended to.
            projected = _to_windows(self.qkv(x), self.window, filled_with=self.qkv.bias)
        else:
            projected = self.qkv(x)
        queries, keys, values = projected.chunk(3, dim=-1)
        if self.pooled:
            queries, height, width = _pool(queries), height // 2, width // 2
        side = queries.shape[1:3]
        attended = functional.scaled_dot_product_attention(self._heads_first(queries), self._heads_first(keys), self._heads_first(values))
        attended = attended.transpose(1, 2).reshape(len(queries), *side, -1)
        if self.window:
            attended = _from_windows(attended, len(x), height, width)
        answer: Tensor = self.proj(attended)
        return answer

    def _heads_first(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, C / heads)."""
        batch, height, width, channels = x.shape
        return x.reshape(batch, height * width, self.heads, channels // self.heads).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Linear(width, hidden_width), Linear(hidden_width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        return by_rows(lambda rows: self.layers[1](functional.gelu(self.layers[0](rows))), x)


class Neck(nn.Module):
    """Every level to one width; the coarsest one is added to the next and then no longer needed."""

    def __init__(self, first_width: int, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Projection(first_width * 2**stage, width) for stage in reversed(range(STAGES)))

    def forward(self, levels: list[Tensor]) -> ImageFeatures:
        """The outputs of `Hiera`, finest first -> ImageFeatures."""
        stride32, stride16, stride8, stride4 = (conv(level) for conv, level in zip(self.convs, reversed(levels), strict=True))
        stride16 = stride16 + functional.interpolate(stride32, scale_factor=2.0, mode="nearest")
        return ImageFeatures(stride4, stride8, stride16)


class Projection(nn.Module):
    """A convolution over single pixels."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out_width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> (B, out_width, H, W)."""
        projected = linear(x.movedim(1, -1), self.conv.weight.flatten(1), self.conv.bias)
        return projected.movedim(-1, 1)


def _by_bands(block: HieraBlock, x: Tensor) -> Tensor:
    """A block's answer to (B, H, W, C), on a CPU one row of windows after the other where it looks no farther than its windows.

    What lies between its layers then stays in the caches, and no large memory is asked for again and again.
    """
    window = block.attn.window
    if x.device.type != "cpu" or not window or torch.is_grad_enabled():
        whole: Tensor = block(x)
        return whole
    return torch.cat([block(band) for band in torch.split(x, window, dim=1)], dim=1)


def _pool(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H / 2, W / 2, C): the maximum of 2 x 2 tokens."""
    return functional.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=2).permute(0, 2, 3, 1)


def _to_windows(x: Tensor, side: int, filled_with: Tensor | None = None) -> Tensor:
    """(B, H, W, C) -> (B * windows, side, side, C). Windows at the right and at the bottom are filled up with a vector (C,)."""
    batch, height, width, channels = x.shape
    windows = x.new_empty(batch, -(-height // side), -(-width // side), side, side, channels)
    if filled_with is not None:
        windows[:, -1, :, (height - 1) % side + 1 :] = filled_with.to(x.dtype)
        windows[:, :, -1, :, (width - 1) % side + 1 :] = filled_with.to(x.dtype)
    for part, pixels in _alike(windows, x):
        part.copy_(pixels)
    return windows.flatten(0, 2)


def _from_windows(windows: Tensor, batch: int, height: int, width: int) -> Tensor:
    """(batch * windows, side, side, C) -> (batch, height, width, C), without what filled the windows up. Inverse of `_to_windows`."""
    side, channels = windows.shape[2:]
    x = windows.new_empty(batch, height, width, channels)
    for part, pixels in _alike(windows.view(batch, -(-height // side), -(-width // side), side, side, channels), x):
        pixels.copy_(part)
    return x


def _alike(windows: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows (B, rows, columns, side, side, C) and pixels (B, H, W, C): the same places of both, in as few parts as have one shape each.

    These are the whole windows, those cut off at the right, those cut off at the bottom, and the one in the corner.
    """
    side = windows.shape[3]
    for top, rows, height in _whole_and_cut(x.shape[1], side):
        for left, columns, width in _whole_and_cut(x.shape[2], side):
            pixels = x[:, top : top + rows * height, left : left + columns * width]
            part = windows[:, top // side :, left // side :][:, :rows, :columns, :height, :width]
            yield part, pixels.view(len(x), rows, height, columns, width, -1).transpose(2, 3)


def _whole_and_cut(length: int, side: int) -> Iterator[tuple[int, int, int]]:
    """Of windows along a length: where they begin, how many, how long; first the whole ones, then one that is cut off."""
    whole = length // side
    if whole:
        yield 0, whole, side
    if length % side:
        yield whole * side, 1, length % side
