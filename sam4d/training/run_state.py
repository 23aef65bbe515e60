"""What a training that was interrupted, or killed, goes on from: one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from sam4d.checkpoint import write_safetensors
from sam4d.structures import InputError
from sam4d.training.failures import writing
from sam4d.training.learning_curve import CurvePoint
from sam4d.training.plan import TrainingPlan
from sam4d.whole_file import PART

FORMAT = "sam4d training state 1"
STATES_KEPT = 2

_PREFIX, _SUFFIX = "state-", ".safetensors"
_PARTS = ("weights", "average", "best", "moments")


@dataclass(frozen=True, eq=False)
class Best:
    """The judgement that was best so far. step: after which; 0 is before the first. waited: judgements since."""

    step: int
    score: float
    waited: int


@dataclass(frozen=True, eq=False)
class RunState:
    """Everything after `step` steps; samples depend on the plan's seed and the step alone, so no generator's state is among it.

    weights, average, best_weights: by the network's names, what training changes. moments: the optimiser's, as `parameters.moments`
    names them. best: None where nothing was judged, with `best_weights` empty. finished: no step follows, as patience has ended.
    """

    step: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    curve: tuple[CurvePoint, ...]
    best: Best | None
    best_weights: Mapping[str, Tensor]
    finished: bool


def write_state(folder: Path, state: RunState, plan: TrainingPlan, beginning: str) -> Path:
    """Write a state beside the earlier ones, of which the last one is kept.

    Args:
        beginning: digest of the weights that training began with.

    Raises TrainingFailed where it cannot be written; the earlier states stand.
    """
    path = folder / f"{_PREFIX}{state.step:08d}{_SUFFIX}"
    kinds = zip(_PARTS, (state.weights, state.average, state.best_weights, state.moments), strict=True)
    tensors = {f"{kind}/{name}": tensor for kind, part in kinds for name, tensor in part.items()}
    about = {
        "format": FORMAT,
        "step": state.step,
        "plan": plan.as_fields(),
        "beginning": beginning,
        "curve": [point.as_fields() for point in state.curve],
        "best": None if state.best is None else vars(state.best),
        "finished": state.finished,
    }
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        write_safetensors(path, tensors, {"about": json.dumps(about)})
        for older in (*states_in(folder)[:-STATES_KEPT], *folder.glob(f".{_PREFIX}*{PART}")):
            older.unlink(missing_ok=True)
    return path


def states_in(folder: Path) -> list[Path]:
    """The states in a folder, the last one last."""
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))


def read_last_state(folder: Path, plan: TrainingPlan, beginning: str, shapes: Mapping[str, Tensor]) -> RunState | None:
    """The last state in a folder; None where there is none.

    Args:
        plan: of the training that is to go on. beginning: as in `write_state`. shapes: what training changes, by name.

    Raises InputError where the file is damaged or none of ours, or of another plan, network or beginning.
    """
    paths = states_in(folder)
    if not paths:
        return None
    path = paths[-1]
    where = f"training state {path}"
    tensors, about = _read(path)
    difference = plan.difference(about["plan"])
    if difference is not None:
        raise InputError(where, "the plan of the training that is to go on; another one needs a folder of its own", difference)
    if about["beginning"] != beginning:
        raise InputError(where, "a training that began with the same weights; another one needs a folder of its own", "other weights")
    parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in _PARTS}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        parts.setdefault(kind, {})[name] = tensor
    wanted = {name: tuple(tensor.shape) for name, tensor in shapes.items()}
    kinds = ("weights", "average", *(("best",) if about["best"] is not None else ()))
    if any({name: tuple(tensor.shape) for name, tensor in parts[kind].items()} != wanted for kind in kinds):
        raise InputError(where, f"the {len(wanted)} tensors that the plan learns", f"{len(parts['weights'])} others")
    return RunState(
        step=about["step"],
        weights=parts["weights"],
        average=parts["average"],
        moments=parts["moments"],
        curve=tuple(CurvePoint(**point) for point in about["curve"]),
        best=None if about["best"] is None else Best(**about["best"]),
        best_weights=parts["best"],
        finished=about["finished"],
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    expected = "a state that a training wrote, complete (without this file it goes on from the one before)"
    tensors: dict[str, Tensor] = {}
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118  (no mapping)
                tensors[key] = file.get_tensor(key).clone()
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"training state {path}", expected, f"{path.stat().st_size} bytes that are damaged or of another kind") from error
    try:
        about = json.loads(metadata.get("about", "null"))
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"training state {path}", expected, "tensors of something else")
    return tensors, about
