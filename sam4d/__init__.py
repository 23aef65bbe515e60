"""One object in every camera, every sweep and every frame of a driving clip, from one click."""

from sam4d.cuboids import fit_cuboids
from sam4d.predictor import Predictor, Session, build_predictor
from sam4d.structures import (
    LIDAR,
    BoxPrompt,
    Camera,
    Clip,
    Cuboid,
    Frame,
    FrameMasks,
    InputError,
    LabelledCuboid,
    Masklet,
    MaskPrompt,
    ObjectMasks,
    PointPrompt,
    Prompt,
    Sweep,
)

__all__ = [
    "LIDAR",
    "BoxPrompt",
    "Camera",
    "Clip",
    "Cuboid",
    "Frame",
    "FrameMasks",
    "InputError",
    "LabelledCuboid",
    "MaskPrompt",
    "Masklet",
    "ObjectMasks",
    "PointPrompt",
    "Predictor",
    "Prompt",
    "Session",
    "Sweep",
    "build_predictor",
    "fit_cuboids",
]
