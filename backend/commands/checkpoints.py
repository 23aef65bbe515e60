"""checkpoint inspect: a look at a file before a server is pointed at it."""

from __future__ import annotations

import argparse

from backend.commands.output import say
from backend.errors import one_line
from backend.settings import Settings


def run_inspect(arguments: argparse.Namespace, settings: Settings) -> int:
    # Here, so that no other word waits for PyTorch.
    import torch

    from sam4d.checkpoint import check_fits, read_checkpoint
    from sam4d.modeling.configuration import RELEASED
    from sam4d.modeling.sam4d import Sam4D

    checkpoint = read_checkpoint(arguments.checkpoint)
    with torch.device("meta"):
        network = Sam4D(checkpoint.configuration)
    check_fits(checkpoint, network)
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values()})
    say(f"{checkpoint.path}: fits the SAM4D network")
    say(f"{len(checkpoint.tensors)} tensors, {checkpoint.value_count / 1e6:.1f} million values ({', '.join(dtypes)})")
    if checkpoint.configuration != RELEASED:
        say(f"sizes {checkpoint.configuration.to_json()}")
    for name, value in sorted(checkpoint.about.items()):
        say(one_line(f"{name}: {value}"))
    say(f"digest {checkpoint.digest} (SHA-256 {checkpoint.sha256})")
    return 0
