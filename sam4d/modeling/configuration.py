"""How large the network is: the released model (arXiv 2506.21547), a small one that a CPU can train, and any other of the same build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

from sam4d.structures import InputError

FourSizes: TypeAlias = tuple[int, int, int, int]

STAGES = 4
"""Of both encoders. The camera's are at strides 4, 8, 16 and 32 pixels, the LiDAR's at 2, 4, 8 and 16 voxels."""

GRID_STRIDE_PX = 16
"""Pixels of the network's image along the edge of one position of the camera's top-level features."""

MASK_STRIDE_PX = 4
"""Pixels of the network's image along the edge of one mask logit."""

LARGEST = 65536
MOST_BLOCKS = 128


@dataclass(frozen=True)
class NetworkConfiguration:
    """Sizes, from which the shape of every tensor follows.

    image_size_px: width and height of the image that the network sees, a multiple of 32. width: channels of both sensors' top-level
    features and of all tokens, a multiple of 16.
    hiera_width: channels of the image encoder's first stage; each further stage has twice as many. hiera_blocks: blocks of each stage.
    hiera_windows: side of the attention's windows in each stage, in tokens, even in all stages that are followed by one.
    hiera_global_blocks: blocks, counted from 0 over all stages, that attend to the whole image.
    lidar_input_width, lidar_widths, lidar_blocks: channels of the LiDAR encoder's first layers, then channels and residual blocks of each
    stage down; the last has `width` channels. lidar_decoder_widths: channels of both stages up, at strides 8 and 4.
    memory_layers, memory_hidden_width: layers of the memory attention and what is between their perceptrons' layers.
    memory_kernel_size: voxels along the edge of what a block of the LiDAR's memory encoder sees, odd.
    decoder_hidden_width: of the mask decoder's perceptrons. shared_hidden_width: of the position encoding that both sensors share.

    Raises InputError for sizes that make no network.
    """

    image_size_px: int
    width: int
    hiera_width: int
    hiera_blocks: FourSizes
    hiera_windows: FourSizes
    hiera_global_blocks: tuple[int, ...]
    lidar_input_width: int
    lidar_widths: FourSizes
    lidar_blocks: FourSizes
    lidar_decoder_widths: tuple[int, int]
    memory_layers: int
    memory_hidden_width: int
    memory_kernel_size: int
    decoder_hidden_width: int
    shared_hidden_width: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            _check_numbers(name, value)
        counts = (*self.hiera_blocks, *self.lidar_blocks, self.memory_layers)
        blocks = sum(self.hiera_blocks)
        _check(sum(counts) <= MOST_BLOCKS, "blocks and layers", f"at most {MOST_BLOCKS} in all", sum(counts))
        _check(self.image_size_px % 32 == 0, "image_size_px", "a multiple of 32", self.image_size_px)
        _check(self.width % 16 == 0, "width", "a multiple of 16", self.width)
        _check(self.lidar_widths[-1] == self.width, "lidar_widths", f"the width {self.width} at the end", self.lidar_widths)
        _check(all(side % 2 == 0 for side in self.hiera_windows[:-1]), "hiera_windows", "even sides before the last", self.hiera_windows)
        _check(
            all(block < blocks for block in self.hiera_global_blocks), "hiera_global_blocks", f"below {blocks}", self.hiera_global_blocks
        )
        _check(self.memory_kernel_size % 2 == 1, "memory_kernel_size", "an odd number", self.memory_kernel_size)

    @property
    def grid_size(self) -> int:
        """Positions of the camera's top-level features along each side of the image."""
        return self.image_size_px // GRID_STRIDE_PX

    @property
    def mask_size(self) -> int:
        """Logits of a camera's mask along each side of the image, as the mask decoder gives them."""
        return self.image_size_px // MASK_STRIDE_PX

    def to_json(self) -> str:
        """An object of numbers and lists of them, on one line, in the order of the fields."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, where: str) -> NetworkConfiguration:
        """Inverse of `to_json`. Raises InputError, naming `where` and the entry at fault, for anything else."""
        try:
            content = json.loads(text)
        except ValueError:
            raise InputError(where, "the network's sizes as JSON", f"{text[:60]!r}") from None
        names = [field.name for field in fields(cls)]
        if not isinstance(content, Mapping) or set(content) != set(names):
            found = ", ".join(sorted(map(str, content))) if isinstance(content, Mapping) else type(content).__name__
            raise InputError(where, f"the entries {', '.join(names)}", found[:300] or "none")
        try:
            sizes: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
            return cls(**sizes)
        except InputError as error:
            raise InputError(f"{where}, {error.where}", error.expected, error.found) from None


def _check_numbers(name: str, value: object) -> None:
    """The right number of whole numbers."""
    lengths = {"hiera_blocks": STAGES, "hiera_windows": STAGES, "lidar_widths": STAGES, "lidar_blocks": STAGES, "lidar_decoder_widths": 2}
    lowest = 0 if name == "hiera_global_blocks" else 1
    several = name in lengths or name == "hiera_global_blocks"
    numbers = value if several and isinstance(value, tuple) else (value,)
    right = all(isinstance(number, int) and not isinstance(number, bool) and lowest <= number <= LARGEST for number in numbers)
    right = right and isinstance(value, tuple) == several and len(numbers) == lengths.get(name, len(numbers))
    count = f"{lengths.get(name, 'any number of')} whole numbers" if several else "a whole number"
    _check(right, name, f"{count} from {lowest} to {LARGEST}", value)


def _check(right: bool, name: str, expected: str, found: object) -> None:
    if not right:
        raise InputError(name, expected, f"{found}"[:100])


RELEASED = NetworkConfiguration(
    image_size_px=768,
    width=256,
    hiera_width=96,
    hiera_blocks=(1, 2, 11, 2),
    hiera_windows=(8, 4, 14, 7),
    hiera_global_blocks=(7, 10, 13),
    lidar_input_width=32,
    lidar_widths=(32, 64, 128, 256),
    lidar_blocks=(3, 4, 6, 3),
    lidar_decoder_widths=(256, 128),
    memory_layers=4,
    memory_hidden_width=2048,
    memory_kernel_size=7,
    decoder_hidden_width=2048,
    shared_hidden_width=1024,
)
"""The released model: Hiera-S, MinkUNet-34."""

TINY = NetworkConfiguration(
    image_size_px=384,
    width=128,
    hiera_width=48,
    hiera_blocks=(1, 2, 7, 2),
    hiera_windows=(8, 4, 12, 6),
    hiera_global_blocks=(5, 7, 9),
    lidar_input_width=16,
    lidar_widths=(16, 32, 64, 128),
    lidar_blocks=(2, 2, 2, 2),
    lidar_decoder_widths=(128, 64),
    memory_layers=2,
    memory_hidden_width=512,
    memory_kernel_size=3,
    decoder_hidden_width=512,
    shared_hidden_width=256,
)
"""`sam4d-tiny`: the depth of Hiera-T at half its width, MinkUNet-18 with 16 channels at its input."""
