"""What stays for a while is moved out from among what goes.

glibc gives out memory of up to 32 MB from heaps. Features of a frame, which stay, among what its computation takes for a moment leave gaps
there in other places on every frame, and the heaps grow over a drive although no more is in use.
"""

from __future__ import annotations

import mmap
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import is_dataclass

import torch
from torch import Tensor

from sam4d.modeling.sparse_conv import Cells

ALIGNED_BYTES = 64


def keep_apart(kept: object) -> None:
    """Move the CPU's tensors in dataclasses, cells and sequences, however deep, to a memory map of their own, in place.

    It is given back with the last of them. Tensors that share memory go on sharing it. Within inference mode. On systems other than
    Linux nothing happens.
    """
    if sys.platform != "linux":
        return
    sharing: dict[int, list[Tensor]] = defaultdict(list)
    for tensor in _tensors(kept, set()):
        if tensor.device.type == "cpu" and tensor.numel():
            sharing[tensor.untyped_storage().data_ptr()].append(tensor)
    starts, size = [], 0
    for tensors in sharing.values():
        starts.append(size)
        size += -(-tensors[0].untyped_storage().nbytes() // ALIGNED_BYTES) * ALIGNED_BYTES
    if not size:
        return
    private = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    apart = torch.frombuffer(private, dtype=torch.uint8).untyped_storage()
    for start, tensors in zip(starts, sharing.values(), strict=True):
        before = tensors[0].untyped_storage()
        apart[start : start + before.nbytes()].copy_(before)
        for tensor in tensors:
            tensor.set_(apart, start // tensor.itemsize + tensor.storage_offset(), tensor.size(), tensor.stride())


def _tensors(thing: object, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor within dataclasses, cells, dictionaries and sequences, once."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        yield thing
        return
    inner: list[object] = []
    if isinstance(thing, Cells) or is_dataclass(thing):
        inner = list(vars(thing).values())
    elif isinstance(thing, dict):
        inner = list(thing.values())
    elif isinstance(thing, tuple | list):
        inner = list(thing)
    for each in inner:
        yield from _tensors(each, seen)
