"""What the geometric engine can be given to be otherwise: written, read, refused, and told in its version."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.exports import write_sequence
from converters.sequences import open_sequence
from sam4d.geometric.parameters import (
    BOUNDS,
    DEFAULT_PARAMETERS,
    GeometricParameters,
    parameters_from_json,
    parameters_to_json,
    read_parameters,
    write_parameters,
)
from sam4d.geometric.predictor import VERSION, GeometricPredictor
from sam4d.geometric.scene import prepare_frame
from sam4d.geometric.stored_scene import keep_scene, stored_scene
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.sam4d.frame_stores import DictStore

within = st.builds(GeometricParameters, **{name: st.floats(least, most) for name, (least, most) in BOUNDS.items()})


@given(within)
def test_json_gives_back_what_was_written(parameters: GeometricParameters) -> None:
    assert parameters_from_json(json.loads(json.dumps(parameters_to_json(parameters)))) == parameters


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    parameters = replace(DEFAULT_PARAMETERS, gap_m=0.3, ground_step_m=0.4)
    write_parameters(tmp_path / "parameters.json", parameters)
    assert read_parameters(tmp_path / "parameters.json") == parameters
    assert [path.name for path in tmp_path.iterdir()] == ["parameters.json"]


def test_every_parameter_has_bounds_around_its_usual_value() -> None:
    assert [field.name for field in fields(GeometricParameters)] == list(BOUNDS)
    for name, value in parameters_to_json(DEFAULT_PARAMETERS).items():
        least, most = BOUNDS[name]
        assert 0 < least < value < most


def test_what_a_file_does_not_name_is_as_usual() -> None:
    assert parameters_from_json({"gap_m": 0.3}) == replace(DEFAULT_PARAMETERS, gap_m=0.3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "{path}: expected a JSON object of numbers by name, found list"),
        ('{"gap": 1}', "{path}: gap: expected one of ground_clearance_m, .*, found an unknown name"),
        ('{"gap_m": 2}', "{path}: gap_m: expected a number from 0.08 to 0.5, found 2"),
        ('{"gap_m": "0.2"}', "{path}: gap_m: expected a number from 0.08 to 0.5, found '0.2'"),
        ('{"gap_m": true}', "{path}: gap_m: expected a number from 0.08 to 0.5, found True"),
        ('{"match_m": NaN}', "{path}: match_m: expected a number from 0.1 to 0.6, found nan"),
        ('{"match_m": 1' + "0" * 400 + "}", "{path}: match_m: expected a number from 0.1 to 0.6, found 10+"),
        ("{", "{path}: expected geometric parameters as JSON, found .*"),
        ("\N{EURO SIGN}", "{path}: expected geometric parameters as JSON, found .*"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "parameters.json"
    path.write_bytes(content.encode("cp1252" if content == "\N{EURO SIGN}" else "utf-8"))
    with pytest.raises(InputError) as refused:
        read_parameters(path)
    assert re.fullmatch(message.replace("{path}", re.escape(str(path))), str(refused.value))
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: expected a readable file of geometric parameters"):
        read_parameters(tmp_path / "none.json")


def test_the_version_tells_of_other_parameters_only() -> None:
    assert GeometricPredictor().version == GeometricPredictor(parameters=GeometricParameters()).version == VERSION
    other = build_predictor("geometric", parameters=replace(DEFAULT_PARAMETERS, gap_m=0.3))
    assert re.fullmatch(re.escape(VERSION) + r"\+[0-9a-f]{8}", other.version)
    assert other.version == GeometricPredictor(parameters=replace(DEFAULT_PARAMETERS, gap_m=0.3)).version
    assert other.version != GeometricPredictor(parameters=replace(DEFAULT_PARAMETERS, gap_m=0.31)).version


def test_stored_frames_are_of_the_ground_that_was_asked_for(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    write_sequence(small_drive.clip, tmp_path / "drive")
    clip, store = open_sequence(tmp_path / "drive"), DictStore()
    higher = replace(DEFAULT_PARAMETERS, ground_clearance_m=0.4)
    for parameters in (DEFAULT_PARAMETERS, higher):
        assert keep_scene(clip, 0, store, parameters) is not None
    for parameters in (DEFAULT_PARAMETERS, higher):
        found = stored_scene(clip, 0, store, parameters)
        np.testing.assert_array_equal(found.is_ground, prepare_frame(clip, 0, parameters).is_ground)
        assert found.parameters == parameters
    assert stored_scene(clip, 0, store, higher).is_ground.sum() > stored_scene(clip, 0, store).is_ground.sum()
    held = len(store.arrays)
    # Of what changes nothing in them there is one.
    keep_scene(clip, 0, store, replace(higher, gap_m=0.3, match_m=0.3))
    assert len(store.arrays) == held
