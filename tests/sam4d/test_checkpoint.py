"""Checkpoint files: both formats load the same, and nothing that is wrong, partial or cut off gets in."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from sam4d.checkpoint import check_fits, differences, load_checkpoint, read_checkpoint
from sam4d.structures import InputError


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
