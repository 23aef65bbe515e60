"""The gradients of every module, against differences (float64; each input and each weight along a random direction of its own)."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import sam4d.modeling
from sam4d.geometry import SE3
from sam4d.modeling.attention import Attention, Perceptron
from sam4d.modeling.encoded_frame import CameraFeatures, CameraGrid, ConditionedFeatures, EncodedFrame, LidarFeatures
from sam4d.modeling.image_encoder import Hiera, HieraBlock, ImageEncoder, Mlp, Neck, PatchEmbed, Projection, WindowAttention
from sam4d.modeling.layer_norm import LayerNorm2d
from sam4d.modeling.lidar_encoder import MinkUNet, voxelise
from sam4d.modeling.mask_decoder import MaskDecoder
from sam4d.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer, MemoryCrossAttention, Remembered
from sam4d.modeling.memory_encoder import ImageMemoryEncoder, LidarMemoryEncoder
from sam4d.modeling.point_logits import point_mixing
from sam4d.modeling.positional_encoding import EgoPoseEncoder, GaussianSine, Rays, SharedTerm, UnionPositionalEncoding
from sam4d.modeling.products import Linear
from sam4d.modeling.prompt_encoder import CameraPromptEncoder, EncodedPrompts, LidarPromptEncoder, SensorPromptEncoder
from sam4d.modeling.sam4d import Sam4D
from sam4d.modeling.sam_head import SamHead
from sam4d.modeling.sparse_conv import (
    Cells,
    DownConv,
    FeatureBatchNorm,
    SparseModule,
    SparseSequential,
    SparseTensor,
    SubmanifoldConv,
    UpConv,
)
from sam4d.modeling.two_way_transformer import TwoWayBlock, TwoWayTransformer
from tests.sam4d.modeling.small import GRID, SMALL, camera, cells, points_m

Computed = Tensor | Sequence[Tensor]
C = SMALL.width
STEP = 1e-6


@dataclass(frozen=True, eq=False)
class Case:
    """A module, what is computed with it, and the shapes of the inputs that gradients go to as well."""

    make: Callable[[], nn.Module]
    compute: Callable[..., Computed]
    shapes: Sequence[tuple[int, ...]]


class _Computing(nn.Module):
    """A way of computing with a module, as a module."""

    def __init__(self, module: nn.Module, compute: Callable[..., Computed]) -> None:
        super().__init__()
        self.module = module
        self.compute = compute

    def forward(self, *inputs: Tensor) -> Computed:
        return self.compute(self.module, *inputs)


def called(module: nn.Module, *inputs: Tensor) -> Computed:
    answer: Computed = module(*inputs)
    return answer


def over_cells(module: nn.Module, features: Tensor) -> Tensor:
    answer: SparseTensor = module(SparseTensor(CELLS, features))
    return answer.features


def up(module: nn.Module, features: Tensor) -> Tensor:
    answer: SparseTensor = module(SparseTensor(COARSER, features), CELLS)
    return answer.features


def levels_of(module: Any, images: Tensor | Sequence[Tensor]) -> Computed:
    features = module(images)
    return features.stride4, features.stride8, features.stride16


def pyramid_of(module: nn.Module) -> Computed:
    pyramid = module(voxelise(points_m()))
    return pyramid.stride4.features, pyramid.stride8.features, pyramid.stride16.features


def attended(module: Any, features: Tensor, positions: Tensor, contents: Tensor, placed: Tensor) -> Computed:
    return called(module, features, positions, Remembered.placed(contents, placed))  # type: ignore[arg-type]


def lidar_memory(module: Any, features: Tensor, logits: Tensor) -> Computed:
    sweep = voxelise(points_m())
    return called(module, SparseTensor(top_cells(sweep.point_cells), features), logits, sweep.point_cells)  # type: ignore[arg-type]


def top_cells(point_cells: Cells) -> Cells:
    level = point_cells.distinct
    for _ in range(4):
        level = level.coarser(2).cells
    return level


def encodings(module: Any) -> Computed:
    pixels, positions_m = np.array([[3.5, 20.5], [60.5, 50.5]]), torch.tensor([[1.0, 2.0, 3.0], [-9.0, 4.0, 0.5]]).double()
    return module.pixels(camera(), pixels), module.positions(positions_m)


def shared_terms(module: Any, positions_m: Tensor) -> Computed:
    return module.of_rays(Rays.of_grid(camera(), SMALL.image_size_px)), module.of_positions(positions_m)


def tokens_of(module: Any, encodings: Tensor) -> Computed:
    tokens: Tensor = module.embed_points(encodings, torch.tensor([1, 0, 3, -1]))
    return tokens


def camera_candidates(module: Any, features: Tensor, positions: Tensor, prompts: Tensor, stride8: Tensor, stride4: Tensor) -> Computed:
    found = module.decode_camera(features, positions, prompts, stride8, stride4)
    return found.logits, found.predicted_iou, found.tokens, found.object_score


def lidar_candidates(module: Any, features: Tensor, positions: Tensor, prompts: Tensor, stride8: Tensor, stride4: Tensor) -> Computed:
    finer = SparseTensor(COARSER, stride8)
    found = module.decode_lidar(features, positions, prompts, TOP, finer, SparseTensor(CELLS, stride4))
    return found.logits, found.predicted_iou, found.tokens, found.object_score


def answers_of_both(module: Any, camera_tokens: Tensor, lidar_tokens: Tensor, stride8: Tensor, prompts: Tensor) -> Computed:
    """By the way of `candidates` and `decoded`, for two objects."""
    place = camera()
    grid = CameraGrid(torch.zeros(1, GRID**2, C).double(), torch.ones(1, GRID**2, C).double(), Rays.of_grid(place, SMALL.image_size_px))
    levels = torch.ones(1, C // 8, 4 * GRID, 4 * GRID), stride8, torch.ones(1, C, GRID, GRID)
    features4 = torch.ones(len(CELLS), C // 8)
    sweep = voxelise(points_m(50, 2.0))
    lidar = LidarFeatures(
        stride4=SparseTensor(CELLS, features4.double()),
        stride8=SparseTensor(COARSER, torch.ones(len(COARSER), C // 4).double()),
        stride16=SparseTensor(TOP, torch.ones(len(TOP), C).double()),
        positions_m=torch.zeros(len(TOP), 3),
        positions=torch.ones(1, len(TOP), C).double(),
        sweep=sweep,
        mixing=point_mixing(sweep.positions, CELLS),
    )
    frame = EncodedFrame(CameraFeatures(levels[0].double(), levels[1], levels[2].double(), grid, place), lidar, SE3.identity())
    nothing = torch.zeros(1, C, 1, 1).double(), torch.zeros(1, 1, C).double()
    encoded = EncodedPrompts(prompts, prompts * 2, *nothing)
    decoded = module.decoded(frame, *module.candidates(frame, ConditionedFeatures(camera_tokens, lidar_tokens), encoded), ambiguous=True)
    return (
        decoded.camera_low_res_logits,
        decoded.lidar_low_res_logits,
        decoded.lidar_logits,
        decoded.camera_pointer,
        decoded.lidar_pointer,
        decoded.object_score,
        decoded.predicted_iou,
    )


CELLS = cells()
COARSER = CELLS.coarser(2).cells
TOP = COARSER.coarser(2).cells
M, M8, M16 = len(CELLS), len(COARSER), len(TOP)
SWEEP_TOP = len(top_cells(voxelise(points_m()).point_cells))
L = GRID**2


def all_there(head: SamHead) -> SamHead:
    """No object is absent, whose masks and pointers would depend on nothing."""
    head.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(20.0)  # type: ignore[operator]
    return head


CASES: Mapping[str, Case] = {
    "linear": Case(lambda: Linear(3, 4), called, [(5, 3)]),
    "layer norm": Case(lambda: LayerNorm2d(3), called, [(2, 3, 4, 5)]),
    "attention": Case(lambda: Attention(8, 4, 2), called, [(2, 3, 8), (2, 5, 8), (2, 5, 8)]),
    "attention of one head": Case(lambda: Attention(8, 8, 1), called, [(1, 7, 8), (2, 5, 8), (2, 5, 8)]),
    "perceptron": Case(lambda: Perceptron((3, 5, 6, 2)), called, [(4, 3)]),
    "mlp in parts": Case(lambda: Mlp(4, 8), called, [(1030, 4)]),
    "patches": Case(lambda: PatchEmbed(4), called, [(1, 3, 16, 16)]),
    "windows": Case(lambda: WindowAttention(8, 8, 2, 4, pooled=False), called, [(2, 8, 8, 8)]),
    "windows that are cut off": Case(lambda: WindowAttention(8, 8, 2, 4, pooled=False), called, [(2, 6, 10, 8)]),
    "pooled windows that are cut off": Case(lambda: WindowAttention(8, 16, 2, 4, pooled=True), called, [(1, 6, 10, 8)]),
    "one window": Case(lambda: WindowAttention(8, 8, 2, 0, pooled=False), called, [(2, 4, 6, 8)]),
    "block": Case(lambda: HieraBlock(8, 8, 2, 4, pooled=False), called, [(1, 6, 6, 8)]),
    "block that opens a stage": Case(lambda: HieraBlock(8, 16, 2, 4, pooled=True), called, [(1, 6, 6, 8)]),
    "projection": Case(lambda: Projection(3, 4), called, [(2, 3, 4, 5)]),
    "neck": Case(
        lambda: Neck(2, 6), lambda neck, *levels: levels_of(neck, levels), [(1, 2, 16, 16), (1, 4, 8, 8), (1, 8, 4, 4), (1, 16, 2, 2)]
    ),
    "hiera": Case(lambda: Hiera(SMALL), called, [(1, 3, 96, 96)]),
    "image encoder": Case(lambda: ImageEncoder(SMALL), levels_of, [(1, 3, 96, 96)]),
    "normalisation": Case(lambda: FeatureBatchNorm(4), called, [(7, 4)]),
    "normalisation of several objects": Case(lambda: FeatureBatchNorm(4), called, [(7, 2, 4)]),
    "submanifold": Case(lambda: SubmanifoldConv(3, 4, 3, bias=True), over_cells, [(M, 3)]),
    "submanifold for several objects": Case(lambda: SubmanifoldConv(3, 4, 5), over_cells, [(M, 2, 3)]),
    "submanifold of single cells": Case(lambda: SubmanifoldConv(3, 4, 1, bias=True), over_cells, [(M, 2, 3)]),
    "down": Case(lambda: DownConv(3, 4, 2, bias=True), over_cells, [(M, 2, 3)]),
    "up": Case(lambda: UpConv(3, 4, 2, bias=True), up, [(M8, 2, 3)]),
    "one after the other": Case(
        lambda: SparseSequential(SubmanifoldConv(3, 4, 3), FeatureBatchNorm(4), nn.ReLU(inplace=True), DownConv(4, 2, 2)),
        over_cells,
        [(M, 3)],
    ),
    "lidar encoder": Case(lambda: MinkUNet(SMALL), pyramid_of, []),
    "gaussian sine": Case(lambda: GaussianSine(8), called, [(5, 3)]),
    "shared term": Case(lambda: SharedTerm(SMALL), shared_terms, [(5, 3)]),
    "encoding of both sensors": Case(lambda: UnionPositionalEncoding(SMALL), encodings, []),
    "ego pose": Case(lambda: EgoPoseEncoder(8), called, [(3, 6)]),
    "look": Case(lambda: MemoryCrossAttention(8), lambda m, *inputs: m.look(*inputs), [(1, 5, 8), (2, 7, 8), (2, 7, 8)]),
    "memory attention's layer": Case(lambda: MemoryAttentionLayer(8, 12), called, [(1, 5, 8), (2, 7, 8), (2, 7, 8)]),
    "memory attention": Case(lambda: MemoryAttention(8, 12, 2), attended, [(1, 5, 8), (1, 5, 8), (2, 7, 8), (1, 7, 8)]),
    "camera memory": Case(lambda: ImageMemoryEncoder(SMALL), called, [(1, C, GRID, GRID), (2, 1, 4 * GRID, 4 * GRID)]),
    "lidar memory": Case(lambda: LidarMemoryEncoder(SMALL), lidar_memory, [(SWEEP_TOP, C), (2, 400)]),
    "points of prompts": Case(lambda: SensorPromptEncoder(8), tokens_of, [(4, 8)]),
    "camera prompts": Case(lambda: CameraPromptEncoder(C), lambda m, mask: m.embed_mask(mask), [(2, 4 * GRID, 4 * GRID)]),
    "lidar prompts": Case(lambda: LidarPromptEncoder(C), lambda m, mask: m.embed_mask(CELLS, mask), [(2, M)]),
    "two-way block": Case(lambda: TwoWayBlock(16, 2, 24, first=False), called, [(2, 3, 16), (2, 6, 16), (2, 3, 16), (1, 6, 16)]),
    "first two-way block": Case(lambda: TwoWayBlock(16, 2, 24, first=True), called, [(2, 3, 16), (2, 6, 16), (2, 3, 16), (1, 6, 16)]),
    "two-way transformer": Case(lambda: TwoWayTransformer(16, 24, heads=2), called, [(2, 3, 16), (2, 6, 16), (1, 6, 16)]),
    "camera masks": Case(
        lambda: MaskDecoder(SMALL),
        camera_candidates,
        [(2, C, GRID, GRID), (1, L, C), (2, 3, C), (1, C // 4, 2 * GRID, 2 * GRID), (1, C // 8, 4 * GRID, 4 * GRID)],
    ),
    "lidar masks": Case(lambda: MaskDecoder(SMALL), lidar_candidates, [(2, M16, C), (1, M16, C), (2, 3, C), (M8, C // 4), (M, C // 8)]),
    "head": Case(lambda: all_there(SamHead(SMALL)), answers_of_both, [(2, L, C), (2, M16, C), (1, C // 4, 2 * GRID, 2 * GRID), (2, 3, C)]),
}


def weighed(module: nn.Module) -> nn.Module:
    """With weights that all matter: none is zero, and none so small that an error in its gradient would not be seen."""
    for name, parameter in module.named_parameters():
        near = 1.0 if name.endswith("gamma") else parameter
        parameter.data = (near + 0.1 * torch.randn_like(parameter)).double()
    return module.double()


@pytest.mark.parametrize("training", [True, False], ids=["training", "answering"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(name: str, training: bool) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    module = weighed(case.make()).train(training)
    parameters = dict(_Computing(module, case.compute).named_parameters())
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in case.shapes]

    def loss(*values: Tensor) -> Tensor:
        weights = dict(zip(parameters, values[len(inputs) :], strict=True))
        answer = functional_call(_Computing(module, case.compute), weights, values[: len(inputs)])
        answers = (answer,) if isinstance(answer, Tensor) else tuple(answer)
        # A loss reads every number in a way of its own.
        read = [(each * torch.linspace(1, 2, each.numel(), dtype=torch.float64).view(each.shape)).tanh() for each in answers]
        return torch.stack([each.sum() for each in read]).sum()

    values = [*inputs, *(parameter.detach().requires_grad_() for parameter in parameters.values())]
    names = [*(f"input {index}" for index in range(len(inputs))), *parameters]
    gradients = torch.autograd.grad(loss(*values), values, allow_unused=True)
    assert any(gradient is not None for gradient in gradients)
    for index, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        along = functional.normalize(torch.randn_like(value).flatten(), dim=0).view(value.shape)
        ahead, behind = (loss(*values[:index], value + step * along, *values[index + 1 :]).detach() for step in (STEP, -STEP))
        difference = float(ahead - behind) / (2 * STEP)
        found = 0.0 if gradient is None else float((gradient * along).sum())
        assert found == pytest.approx(difference, rel=1e-4, abs=1e-5), names[index]


def own_modules() -> set[type[nn.Module]]:
    found = set()
    for info in pkgutil.iter_modules(sam4d.modeling.__path__):
        module = importlib.import_module(f"sam4d.modeling.{info.name}")
        classes = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
        found |= {each for each in classes if issubclass(each, nn.Module)}
    return found


def test_no_module_is_left_out() -> None:
    """Every class is checked itself or as part of a larger one; `Sam4D` and what only holds its parts: `test_training`."""
    checked = {type(part) for case in CASES.values() for part in case.make().modules()}
    holders = {type(part) for part in Sam4D(SMALL).modules() if not list(part.parameters(recurse=False))}
    assert own_modules() - checked <= holders | {Sam4D, SparseModule}
    public = {each for each in own_modules() if not each.__name__.startswith("_")}
    assert public - checked == {Sam4D, SparseModule}
