"""Checkpoint files: both formats load the same, and nothing that is wrong, partial or cut off gets in."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from sam4d.checkpoint import check_fits, differences, load_checkpoint, read_checkpoint, write_checkpoint
from sam4d.modeling.configuration import RELEASED, TINY
from sam4d.structures import InputError

ROOT = Path(__file__).parents[2]


class Network(nn.Module):
    """Small, with parameters and a counter, as the real one has."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(Network().state_dict())


def save(weights: Mapping[str, Tensor], path: Path) -> Path:
    if path.suffix == ".pth":
        torch.save({"model": dict(weights)}, path)
    else:
        safetensors.torch.save_file(dict(weights), path)
    return path


@pytest.fixture(params=["weights.pth", "weights.safetensors"])
def saved(request: pytest.FixtureRequest, tmp_path: Path, weights: dict[str, Tensor]) -> Path:
    return save(weights, tmp_path / str(request.param))


def test_a_file_goes_into_a_network(saved: Path, weights: dict[str, Tensor]) -> None:
    network = Network()
    checkpoint = load_checkpoint(saved, network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert checkpoint.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert checkpoint.digest == checkpoint.sha256[:12]
    assert checkpoint.value_count == sum(tensor.numel() for tensor in weights.values())


def test_a_file_is_compared_with_a_network_that_has_no_memory(saved: Path) -> None:
    with torch.device("meta"):
        check_fits(read_checkpoint(saved), Network())


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_another_network_s_file_changes_nothing(tmp_path: Path, name: str, weights: dict[str, Tensor]) -> None:
    del weights["first.bias"]
    weights["second.weight"] = torch.zeros(1)
    weights["norm.weight"] = torch.zeros(5)
    network = Network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError) as refused:
        load_checkpoint(save(weights, tmp_path / name), network)
    assert refused.value.expected == "the 7 tensors of Network"
    assert refused.value.found == "1 missing (first.bias); 1 unexpected (second.weight); 1 misshaped (norm.weight [5] instead of [4])"
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_long_list_is_cut_short() -> None:
    found = differences({}, {f"layer.{index}": torch.zeros(1) for index in range(9)})
    assert str(found) == "9 missing (layer.0, layer.1, layer.2, layer.3, layer.4 and 4 more)"
    assert not differences({}, {})


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"complete, found [0-9]+ bytes that are cut off, damaged or of another kind") as refused:
        read_checkpoint(saved)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_file_of_another_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(InputError, match="2200 bytes that are cut off, damaged or of another kind"):
        read_checkpoint(tmp_path / name)


class Trap:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"model": Trap(tmp_path / "sprung")}, tmp_path / "weights.pth")
    (tmp_path / "pickled.pth").write_bytes(pickle.dumps({"model": Trap(tmp_path / "sprung")}))
    for name in ("weights.pth", "pickled.pth"):
        with pytest.raises(InputError, match=r"complete, found [0-9]+ bytes"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"state_dict": {}, "epoch": 3}, "the entries state_dict, epoch"),
        (torch.zeros(1), "Tensor"),
        ({"model": torch.zeros(1)}, "the entries model"),
        ({"model": {"first.weight": torch.zeros(1), "epoch": 3}}, "epoch: int"),
    ],
)
def test_something_else_than_tensors_by_name(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError) as refused:
        read_checkpoint(tmp_path / "weights.pth")
    assert refused.value.found == found


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file, found nothing"):
        read_checkpoint(tmp_path / "weights.pth")
    with pytest.raises(InputError, match="expected a file, found a folder"):
        read_checkpoint(tmp_path)
    (tmp_path / "weights.onnx").touch()
    with pytest.raises(InputError, match=r"ends in \.pth or \.safetensors, found weights\.onnx"):
        read_checkpoint(str(tmp_path / "weights.onnx"))


def test_what_is_written_is_read(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, weights, TINY, {"made": "by a test"})
    read = read_checkpoint(path)
    assert read.configuration == TINY
    assert read.about == {"made": "by a test"}
    assert read.tensors.keys() == weights.keys()
    assert all(torch.equal(read.tensors[name], weights[name]) for name in weights)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_says_no_sizes_has_the_released_ones(saved: Path) -> None:
    assert read_checkpoint(saved).configuration == RELEASED


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ("{", "configuration: expected the network's sizes as JSON, found '{'"),
        ("[]", "configuration: expected the entries image_size_px, width, .*, found list"),
        ('{"width": 3}', "configuration: expected the entries image_size_px, width, .*, found width"),
        (TINY.to_json().replace("384", "385"), "configuration, image_size_px: expected a multiple of 32, found 385"),
        (TINY.to_json().replace("384", '"384"'), "configuration, image_size_px: expected a whole number from 1 to 65536, found 384"),
        (TINY.to_json().replace("[128, 64]", "[128]"), r"configuration, lidar_decoder_widths: expected 2 whole numbers .*, found \(128,\)"),
    ],
)
def test_sizes_that_are_none(tmp_path: Path, weights: dict[str, Tensor], sizes: str, expected: str) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(weights, path, {"configuration": sizes})
    with pytest.raises(InputError, match=f"^checkpoint .*weights.safetensors, {expected}"):
        read_checkpoint(path)


def test_nothing_half_written_stays(tmp_path: Path, weights: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, weights, TINY)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"with room for 0\.0 MB, found No space left on device$"):
        write_checkpoint(path, {name: tensor + 1 for name, tensor in weights.items()}, TINY)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A process that may write no large files is told the same by the system, at the same place, as on a full disk."""
    program = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from sam4d.checkpoint import write_checkpoint\n"
        "from sam4d.modeling.configuration import TINY\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    write_checkpoint(Path(sys.argv[1]), {'many': torch.zeros(1_000_000)}, TINY)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "weights.safetensors")], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert found.count("\n") == 1
    assert found.startswith(f"file {tmp_path}/weights.safetensors: expected a folder that can be written to, with room for 4.0 MB, found ")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_to_write_to(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match="expected a folder that can be written to"):
        write_checkpoint(tmp_path / "nowhere" / "weights.safetensors", weights, TINY)
    with pytest.raises(InputError, match=r"ends in \.safetensors, found weights\.pth"):
        write_checkpoint(tmp_path / "weights.pth", weights, TINY)
