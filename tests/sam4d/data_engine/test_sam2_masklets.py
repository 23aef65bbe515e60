"""SAM 2: the package's real network and the real loading code with random weights. What it says is noise, how it is asked is not."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from sam4d.data_engine.sam2_masklets import Sam2Settings, segment_images
from sam4d.data_engine.sam2_video import MEAN, FollowedObjects, ProposedMasks, Sam2Video
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, UInt8Array
from tests.sam4d.data_engine.tiny_sam2 import IMAGE_SIZE_PX, write_tiny_sam2

ANYTHING = Sam2Settings(
    window_images=2, points_per_side=4, points_at_once=5, least_score=0, least_stability=0, largest_share=0.9, most_objects=5
)
"""Random weights are sure of nothing."""


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam2") / "tiny"
    write_tiny_sam2(folder)
    return folder


@pytest.fixture(scope="session")
def network(weights: Path) -> Sam2Video:
    return Sam2Video.load(weights, "cpu")


def test_a_drive_gets_tracks_in_all_images_the_same_each_time(network: Sam2Video, small_drive: SyntheticDrive) -> None:
    clip = small_drive.clip
    done: list[tuple[int, int]] = []
    source, again = segment_images(clip, network, ANYTHING, lambda *counts: done.append(counts)), segment_images(clip, network, ANYTHING)
    for name, camera in clip.cameras.items():
        shown = []
        for frame_index in range(len(clip)):
            tracks = source.tracks_in(frame_index, name)
            assert tracks.shape == (camera.height_px, camera.width_px)
            assert tracks.dtype == np.int32
            assert np.array_equal(tracks, again.tracks_in(frame_index, name))
            shown.append({int(track) for track in np.unique(tracks) if track})
        # Within a window nothing new appears, and over its end the first track goes on.
        assert shown[1] <= shown[0]
        assert shown[3] <= shown[2]
        assert 1 <= len(shown[2]) <= ANYTHING.most_objects
        assert 1 in shown[0] & shown[2]
        assert max(shown[0]) < max(shown[2] - shown[0], default=max(shown[0]) + 1), "numbers are not used twice"
        assert source.label_of(name, 1) == ""
    assert done == [(2, 8), (4, 8), (6, 8), (8, 8)]


def test_nothing_good_enough_leaves_the_images_empty(network: Sam2Video, small_drive: SyntheticDrive) -> None:
    source = segment_images(small_drive.clip, network, Sam2Settings(points_per_side=2, least_score=1.0))
    assert not source.tracks_in(0, "front").any()


def test_an_image_of_the_mean_colour_is_all_zeros(network: Sam2Video) -> None:
    image = np.broadcast_to(np.round(255 * np.array(MEAN)).astype(np.uint8), (30, 50, 3))
    prepared = network.prepared(image)
    assert prepared.shape == (1, 3, IMAGE_SIZE_PX, IMAGE_SIZE_PX)
    assert float(prepared.abs().max()) < 0.01
    assert float(network.prepared(np.full((30, 50, 3), 255, dtype=np.uint8))[0, 0, 0, 0]) == pytest.approx((1 - 0.485) / 0.229, abs=1e-4)


def test_proposals_are_what_the_package_makes_of_a_click(network: Sam2Video, small_drive: SyntheticDrive) -> None:
    from transformers import Sam2VideoInferenceSession

    prepared = network.prepared(small_drive.clip.frames[0].load_images["front"]())
    points = torch.tensor([[20.0, 30.0], [100.0, 64.0], [64.0, 100.0]])
    found = network.propose(prepared, points, 2, 0.0, 0.0)
    assert len(found.logits) == len(found.scores) == len(found.stability)
    assert 0 <= float(found.stability.min()) <= float(found.stability.max()) <= 1
    session: Any = Sam2VideoInferenceSession(dtype=torch.float32)
    for number, point in enumerate(points):
        inputs = {"point_coords": point[None, None, None], "point_labels": torch.ones((1, 1, 1), dtype=torch.int32)}
        session.add_point_inputs(session.obj_id_to_idx(number), 0, inputs)
    session.obj_with_new_inputs = [0, 1, 2]
    for best in network._model(inference_session=session, frame=prepared, frame_idx=0).pred_masks[:, 0]:
        assert any(torch.allclose(best, logits, atol=1e-4) for logits in found.logits)


def test_what_is_forgotten_is_not_needed(network: Sam2Video, small_drive: SyntheticDrive) -> None:
    from transformers import Sam2VideoInferenceSession

    images = [network.prepared(frame.load_images["front"]()) for frame in small_drive.clip.frames]
    masks = torch.full((2, 32, 32), -5.0)
    masks[0, 4:12, 6:20] = masks[1, 15:30, 2:9] = 5.0
    followed = network.follow(images[0], {4: masks[0], 9: masks[1]})
    session: Any = Sam2VideoInferenceSession(dtype=torch.float32)
    for number, logits in zip((4, 9), masks, strict=True):
        size = (IMAGE_SIZE_PX, IMAGE_SIZE_PX)
        whole = torch.nn.functional.interpolate(logits[None, None], size=size, mode="bilinear", align_corners=False)
        session.add_mask_inputs(session.obj_id_to_idx(number), 0, whole > 0)
    session.obj_with_new_inputs = [4, 9]
    network._model(inference_session=session, frame=images[0], frame_idx=0)
    for index, image in enumerate(images[1:], start=1):
        expected = network._model(inference_session=session, frame=image, frame_idx=index)
        found = followed.in_next(image)
        assert list(found) == expected.object_ids == [4, 9]
        torch.testing.assert_close(torch.stack(list(found.values())), expected.pred_masks[:, 0])
    assert len(followed._session.processed_frames) == 0


class TruthfulNetwork(Sam2Video):
    """Answers as a network would that knows the drive: a point's object, or the object and a wheel of it; nothing for the street."""

    image_size_px = 64

    def __init__(self, drive: SyntheticDrive, camera: str) -> None:
        self.drive, self.camera = drive, camera
        self.device = torch.device("cpu")
        self.images = [frame.load_images[camera]() for frame in drive.clip.frames]
        self.asked: list[int] = []

    def truth(self, frame_index: int, number: int) -> Tensor:
        masklet = next(each for each in self.drive.masklets if each.object_id == number)
        masks = masklet.masks.get(frame_index)
        size = self.drive.clip.cameras[self.camera]
        mask = np.zeros((size.height_px, size.width_px), dtype=np.bool_) if masks is None else masks.camera_masks[self.camera]
        return torch.where(torch.from_numpy(mask), 4.0, -4.0)

    def prepared(self, image: UInt8Array) -> Tensor:
        return torch.tensor(next(index for index, each in enumerate(self.images) if np.array_equal(each, image)))

    def propose(self, prepared: Tensor, points: Tensor, points_at_once: int, least_score: float, least_stability: float) -> ProposedMasks:
        self.asked.append(len(points))
        size = self.drive.clip.cameras[self.camera]
        columns = (points[:, 0] / self.image_size_px * size.width_px).long()
        rows = (points[:, 1] / self.image_size_px * size.height_px).long()
        found = []
        for masklet in self.drive.masklets:
            logits = self.truth(int(prepared), masklet.object_id)
            for _ in range(int((logits[rows, columns] > 0).sum())):
                part = logits.clone()
                part[rows.min() : rows.max(), : int(torch.nonzero(logits > 0)[:, 1].float().mean())] = -4.0
                found += [logits, part]
        empty = torch.zeros((0, size.height_px, size.width_px))
        stacked = torch.stack(found) if found else empty
        return ProposedMasks(stacked, torch.full((len(found),), 0.9), torch.ones(len(found)))

    def follow(self, prepared: Tensor, masks: Mapping[int, Tensor]) -> FollowedObjects:
        return TruthfulFollowing(self, int(prepared), masks)


class TruthfulFollowing(FollowedObjects):
    def __init__(self, network: TruthfulNetwork, frame_index: int, masks: Mapping[int, Tensor]) -> None:
        self.network = network
        numbers = [masklet.object_id for masklet in network.drive.masklets]
        self.truth = {
            track: max(numbers, key=lambda number: int(((network.truth(frame_index, number) > 0) & (logits > 0)).sum()))
            for track, logits in masks.items()
        }

    def in_next(self, prepared: Tensor) -> dict[int, Tensor]:
        return {track: self.network.truth(int(prepared), number) for track, number in self.truth.items()}


def test_an_object_keeps_its_track_over_the_windows(street: SyntheticDrive) -> None:
    network = TruthfulNetwork(street, "front")
    settings = Sam2Settings(window_images=3, points_per_side=32, least_area_px=20)
    source = segment_images(of_one_camera(street, "front"), network, settings)
    tracks_of: dict[int, set[int]] = {}
    seen = 0
    for frame_index in range(len(street.clip)):
        tracks = source.tracks_in(frame_index, "front")
        for masklet in street.masklets:
            mask = masklet.masks[frame_index].camera_masks["front"] if frame_index in masklet.masks else None
            if mask is None or mask.sum() < 400:
                continue
            values, counts = np.unique(tracks[mask], return_counts=True)
            track = int(values[counts.argmax()])
            if track:
                seen += 1
                tracks_of.setdefault(masklet.object_id, set()).add(track)
                assert counts.max() > 0.9 * mask.sum(), "no part in front of the whole"
    assert seen >= 20
    assert all(len(tracks) == 1 for tracks in tracks_of.values())
    assert len(set.union(*tracks_of.values())) == len(tracks_of)
    assert len(network.asked) == 4
    assert max(network.asked[1:]) < network.asked[0] == 32 * 32, "points on what is followed are not asked again"


def of_one_camera(drive: SyntheticDrive, camera: str) -> Clip:
    frames = tuple(replace(frame, load_images={camera: frame.load_images[camera]}) for frame in drive.clip.frames)
    return replace(drive.clip, cameras={camera: drive.clip.cameras[camera]}, frames=frames)


def test_it_is_loaded_without_a_word_to_anybody(weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing may be asked of the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    Sam2Video.load(weights, "cpu")
    assert "".join(capfd.readouterr()) == ""


def with_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def without_a_tensor(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["no_object_pointer"]
    tensors["no_memory_embedding"] = torch.zeros(1, 1, 7)
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "expected a folder with SAM 2's config.json and its weights in .safetensors files, found no folder"),
        (lambda folder: (folder / "config.json").unlink(), "found no config.json"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "config.json: expected the JSON that describes a network"),
        (lambda folder: (folder / "config.json").write_text("[]"), "model_type: expected 'sam2_video', found None"),
        (lambda folder: with_config(folder, model_type="sam_hq"), "model_type: expected 'sam2_video', found 'sam_hq'"),
        (lambda folder: with_config(folder, image_size=[64, 128]), r"image_size: expected one number, found \[64, 128\]"),
        (lambda folder: with_config(folder, num_maskmem="many"), "expected weights of SAM 2 for videos that fit their config.json, found"),
        (
            lambda folder: with_config(folder, num_maskmem=9),
            "expected all tensors of SAM 2 for videos as its config.json has them, found 1",
        ),
        (pickled, "found no .safetensors file"),
        (cut_off, "expected weights of SAM 2 for videos that fit their config.json, found"),
        (without_a_tensor, "as its config.json has them, found 1 missing, 1 mismatched"),
    ],
    ids=["folder", "config", "nested", "list", "other", "size", "type", "shape", "pickle", "cut", "tensor"],
)
def test_a_folder_of_something_else_is_refused(weights: Path, tmp_path: Path, damage: Any, message: str) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights, folder)
    damage(folder)
    with pytest.raises(InputError, match=message) as refused:
        Sam2Video.load(folder, "cpu")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
