"""What is proposed when nobody has clicked, and what it is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.sequences import open_sequence, read_cuboid_labels
from sam4d import LIDAR, MaskPrompt, build_predictor
from sam4d.geometric.parameters import GeometricParameters
from sam4d.geometric.predictor import GeometricPredictor, parameters_of
from sam4d.object_kinds import Kind, label_of_kind
from sam4d.proposals import choose_label, propose_masklets, propose_objects
from sam4d.simulation import SyntheticDrive
from tests.sam4d.geometric.street import Box, street_clip


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        ("car", ["Pedestrian", "Car", "Truck"], "Car"),
        ("car", ["Person", "Vehicle"], "Vehicle"),
        ("car", ["REGULAR_VEHICLE", "PEDESTRIAN"], "REGULAR_VEHICLE"),
        ("truck", ["Car", "Other Vehicle"], "Car"),
        ("bus", ["Car", "Truck"], "Truck"),
        ("pedestrian", ["Car", "person"], "person"),
        ("cyclist", ["Motorcycle", "Bicycle"], "Bicycle"),
        ("cyclist", ["Car", "Rider"], "Rider"),
        ("motorcycle", ["Bicycle", "Motorcyclist"], "Motorcyclist"),
        ("pedestrian", ["Car", "Object"], "Object"),
        ("pole", ["Tree", "House"], "Tree"),
    ],
)
def test_a_kind_gets_the_projects_own_label(kind: Kind, labels: list[str], expected: str) -> None:
    assert choose_label(kind, labels) == expected


@pytest.mark.parametrize(("labels", "expected"), [(["Car", "Sign"], "Sign"), (["Car", "Object"], "Object"), (["Car", "Person"], None)])
def test_a_project_may_have_no_word_for_a_kind(labels: list[str], expected: str | None) -> None:
    assert label_of_kind("pole", labels) == expected


def test_a_project_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one label"):
        choose_label("car", [])


def test_proposals_of_a_synthetic_drive_are_its_road_users(small_drive: SyntheticDrive) -> None:
    proposals = propose_objects(small_drive.clip)
    assert [proposal.object_id for proposal in proposals] == list(range(1, len(proposals) + 1))
    assert sorted((proposal.score for proposal in proposals), reverse=True) == [proposal.score for proposal in proposals]
    found = wanted = 0
    for truth in small_drive.masklets:
        for frame_index, masks in truth.masks.items():
            if masks.lidar_mask.sum() < 60:
                continue
            here = [p for p in proposals if p.frame_index == frame_index]
            overlaps = [float((p.lidar_mask & masks.lidar_mask).sum() / (p.lidar_mask | masks.lidar_mask).sum()) for p in here]
            # Every object has one best frame; on the others it counts as found if that one holds it.
            elsewhere = any(
                p.frame_index in truth.masks and (p.lidar_mask & truth.masks[p.frame_index].lidar_mask).sum() > 0.5 * p.lidar_mask.sum()
                for p in proposals
            )
            wanted += 1
            found += max(overlaps, default=0) > 0.5 or elsewhere
    assert wanted >= 8
    assert found >= 0.7 * wanted


def test_objects_are_looked_for_above_the_ground_that_was_learnt(small_drive: SyntheticDrive) -> None:
    """What is taken for ground up to half a metre is missing from every object."""
    high_ground = GeometricParameters(ground_clearance_m=0.5)
    usual = propose_objects(small_drive.clip)[0]
    learnt = propose_objects(small_drive.clip, parameters=parameters_of(GeometricPredictor(parameters=high_ground)))
    others = [each for each in learnt if each.frame_index == usual.frame_index and (each.lidar_mask & usual.lidar_mask).any()]
    assert others
    assert all(each.lidar_mask.sum() < usual.lidar_mask.sum() for each in others)
    assert propose_objects(small_drive.clip, parameters=parameters_of(GeometricPredictor()))[0].lidar_mask.sum() == usual.lidar_mask.sum()


def test_proposals_are_bounded_and_the_best_come_first(small_drive: SyntheticDrive) -> None:
    everything = propose_objects(small_drive.clip)
    few = propose_objects(small_drive.clip, most=3)
    assert len(few) == 3
    assert [proposal.score for proposal in few] == [proposal.score for proposal in everything[:3]]


def test_masklets_join_the_sessions_objects(small_drive: SyntheticDrive) -> None:
    clip = small_drive.clip
    session = build_predictor("geometric").open(clip)
    known = max(small_drive.masklets, key=lambda m: m.masks[0].lidar_mask.sum() if 0 in m.masks else 0)
    session.add_prompt(MaskPrompt(5, 0, LIDAR, known.masks[0].lidar_mask))
    steps: list[tuple[int, int]] = []
    masklets = propose_masklets(session, ["Person", "Vehicle"], lambda done, total: steps.append((done, total)), most=6)
    assert [masklet.object_id for masklet in masklets] == [6, 7, 8, 9, 10, 11]
    assert session.object_ids == (5, 6, 7, 8, 9, 10, 11)
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    for masklet in masklets:
        assert masklet.label in ("Person", "Vehicle")
        assert masklet.masks
        assert 0 < masklet.score <= 1
        assert all(not masks.is_empty for masks in masklet.masks.values())
        with_points = {k for k, masks in masklet.masks.items() if masks.lidar_mask.sum() >= 3}
        assert set(masklet.cuboids) == with_points
        for k, cuboid in masklet.cuboids.items():
            points = clip.frames[k].load_sweep().points_m[masklet.masks[k].lidar_mask]
            assert cuboid.contains(points, 0.5).mean() > 0.7


def test_a_sign_is_proposed_where_the_project_has_a_word_for_it() -> None:
    clip = street_clip({"sign": Box((12.0, 3.0), (0.7, 0.5, 1.0)), "kerb": Box((12.0, -3.0), (0.7, 0.5, 0.6))})[0]
    clip = replace(clip, frames=clip.frames * 3)
    (proposal,) = propose_objects(clip)
    assert proposal.kind == "pole"
    assert propose_objects(clip, unwanted={"pole"}) == []
    session = build_predictor("geometric").open(clip)
    assert [masklet.label for masklet in propose_masklets(session, ["Car", "Sign"])] == ["Sign"]
    assert propose_masklets(build_predictor("geometric").open(clip), ["Car", "Person"]) == []


@pytest.mark.slow
def test_labelled_objects_of_a_recording_are_proposed(shared_data: Path) -> None:
    folder = shared_data / "kitti_tracking_0000"
    clip, labels = open_sequence(folder).window(0, 5), read_cuboid_labels(folder)
    proposals = propose_objects(clip)
    hit: set[str] = set()
    for proposal in proposals:
        points = clip.frames[proposal.frame_index].load_sweep().points_m[proposal.lidar_mask]
        for labelled in labels[proposal.frame_index] or ():
            if labelled.cuboid.contains(points, 0.2).mean() > 0.7:
                hit.add(labelled.track_id)
    assert hit >= {"0", "1", "2"}
    assert len(proposals) <= 40
    assert all(np.isfinite(proposal.score) for proposal in proposals)
