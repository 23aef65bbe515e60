"""Checkpoint files of the network: read without running anything in them, compared tensor by tensor, named by digest, written whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sam4d.modeling.configuration import RELEASED, NetworkConfiguration
from sam4d.structures import InputError
from sam4d.whole_file import replacing

SUFFIXES = (".pth", ".safetensors")
LISTED_TENSORS = 5
"""So many tensors of a kind are named where a file is refused; the others are counted."""

DIGEST_CHARACTERS = 12

CONFIGURATION = "configuration"
"""The entry of a safetensors file's metadata that holds the network's sizes as JSON."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A file's tensors, on the CPU, and the SHA-256 of the file, 64 hexadecimal characters.

    configuration: the sizes that the file says the network has; of one that says nothing, the released ones. about: what else it says.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str
    configuration: NetworkConfiguration = RELEASED
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The short form by which the file is known, 12 characters."""
        return self.sha256[:DIGEST_CHARACTERS]

    @property
    def value_count(self) -> int:
        return sum(tensor.numel() for tensor in self.tensors.values())


@dataclass(frozen=True)
class Differences:
    """How a file's tensors differ from a network's. Names are sorted; misshaped: (name, shape wanted, shape found)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshaped)

    def __str__(self) -> str:
        reshaped = [f"{name} {list(found)} instead of {list(wanted)}" for name, wanted, found in self.misshaped]
        kinds = (("missing", self.missing), ("unexpected", self.unexpected), ("misshaped", reshaped))
        return "; ".join(f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds if names)


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a `.pth` file that holds {"model": tensors by name}, as the authors distribute it, or a `.safetensors` file.

    Raises:
        InputError: no such file, another kind of file, one that is cut off or damaged, one that holds something else than tensors, or
            sizes that are none.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path}", "a file", "a folder" if path.is_dir() else "nothing")
    if path.suffix not in SUFFIXES:
        raise InputError(f"checkpoint {path}", f"a file that ends in {' or '.join(SUFFIXES)}", path.name)
    if path.suffix == ".pth":
        return Checkpoint(path, _read_pth(path), _sha256(path))
    tensors, about = _read_safetensors(path)
    sizes = about.pop(CONFIGURATION, None)
    configuration = RELEASED if sizes is None else NetworkConfiguration.from_json(sizes, f"checkpoint {path}, {CONFIGURATION}")
    return Checkpoint(path, tensors, _sha256(path), configuration, about)


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], configuration: NetworkConfiguration, about: Mapping[str, str] | None = None
) -> None:
    """Write a network's tensors and sizes to a `.safetensors` file, whole or not at all: an older one stands until it is complete.

    Args:
        about: more to keep with them, which is neither a tensor nor a size.

    Raises:
        InputError: another suffix, or a folder that cannot be written to or has no room.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"checkpoint {path}", "a file that ends in .safetensors", path.name)
    write_safetensors(path, tensors, {**(about or {}), CONFIGURATION: configuration.to_json()})


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write any tensors, whole or not at all, and so that they survive the machine; see `write_checkpoint` for what is raised."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(path) as part:
            safetensors.torch.save_file(on_cpu, part, dict(metadata))
    except (OSError, safetensors.SafetensorError) as error:
        megabytes = sum(tensor.nbytes for tensor in on_cpu.values()) / 1e6
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"file {path}", f"a folder that can be written to, with room for {megabytes:.1f} MB", why) from error


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and values, in the order of the names, 64 hexadecimal characters: for tensors without a file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def differences(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Differences:
    """Compare names and shapes with those that are wanted."""
    return Differences(
        missing=tuple(sorted(wanted.keys() - tensors.keys())),
        unexpected=tuple(sorted(tensors.keys() - wanted.keys())),
        misshaped=tuple(
            (name, tuple(wanted[name].shape), tuple(tensors[name].shape))
            for name in sorted(wanted.keys() & tensors.keys())
            if wanted[name].shape != tensors[name].shape
        ),
    )


def check_fits(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Raises InputError, naming the tensors at fault, where the file is not one for this network. The network may be on the meta device."""
    wanted = model.state_dict()
    found = differences(checkpoint.tensors, wanted)
    if found:
        raise InputError(f"checkpoint {checkpoint.path}", f"the {len(wanted)} tensors of {type(model).__name__}", str(found))


def load_checkpoint(path: Path | str, model: nn.Module) -> Checkpoint:
    """Read a file into a network, all or nothing; see `read_checkpoint` and `check_fits` for what is refused."""
    checkpoint = read_checkpoint(path)
    check_fits(checkpoint, model)
    model.load_state_dict(checkpoint.tensors, strict=True)
    return checkpoint


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes end in any of a dozen exceptions
        raise InputError(f"checkpoint {path}", "tensors saved by PyTorch, complete", _unreadable(path, error)) from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        found = f"the entries {_listed([str(key) for key in content])}" if isinstance(content, dict) else type(content).__name__
        raise InputError(f"checkpoint {path}", "tensors by name under the entry 'model'", found)
    others = [
        f"{name}: {type(value).__name__}" for name, value in model.items() if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if others:
        raise InputError(f"checkpoint {path}", "nothing but tensors by name under the entry 'model'", _listed(others))
    return dict(model)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the metadata."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return safetensors.torch.load_file(path, device="cpu"), dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"checkpoint {path}", "a safetensors file, complete", _unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    """PyTorch's own messages advise to trust the file, and run over many lines."""
    return f"{path.stat().st_size} bytes that are cut off, damaged or of another kind ({type(error).__name__})"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED_TENSORS
    return ", ".join(names[:LISTED_TENSORS]) + (f" and {more} more" if more > 0 else "")
