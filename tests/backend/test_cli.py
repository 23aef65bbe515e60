"""The command line as a script sees it: output, complaints and exit codes."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from backend.cli import build_parser, main
from backend.embedded import free_port
from converters.exports import write_sequence
from converters.label_config import parse_label_config
from converters.scene_file import decode_scene
from converters.sequences import open_sequence, read_masklets
from sam4d.checkpoint import write_checkpoint
from sam4d.modeling.configuration import TINY
from sam4d.modeling.initialisation import new_network
from sam4d.modeling.sam4d import Sam4D
from sam4d.simulation import SyntheticDrive
from tests.label_studio_server import LabelStudioServer

Kept = TypeVar("Kept")
VARIABLES = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "SAM4D_DATA_ROOT", "SAM4D_BACKEND_URL", "BASIC_AUTH_USER", "BASIC_AUTH_PASS")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Label Studio known, and `.sam4d` looked for in an empty folder."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recording(tmp_path: Path, small_drive: SyntheticDrive) -> Path:
    write_sequence(small_drive.clip, tmp_path / "drive")
    return tmp_path / "drive"


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error: one line."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_every_word_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for word in (
        "up",
        "demo",
        "doctor",
        "serve",
        "import",
        "preannotate",
        "prewarm",
        "export",
        "evaluate",
        "generate",
        "scene",
        "simulate",
        "label-config",
        "checkpoint",
        "refresh-viewer",
    ):
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args([word, "--help"])
        assert ended.value.code == 0
        assert f"usage: sam4d {word}" in capsys.readouterr().out


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"sam4d \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_the_3d_view_is_renewed_where_there_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["refresh-viewer"]) == 2
    assert "SAM4D_DATA_ROOT: expected the folder that Label Studio serves" in complaint(capsys)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(tmp_path))
    assert main(["refresh-viewer"]) == 0
    assert list(tmp_path.iterdir()) == []

    def is_read_only(data_root: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / "viewer").mkdir()
    (tmp_path / "viewer" / "sam4d.html").write_text("an older view")
    monkeypatch.setattr("backend.viewer_page.place_viewer", lambda data_root, page: is_read_only(data_root))
    assert main(["refresh-viewer"]) == 2
    assert "sam4d.html: expected a file that this version's can take the place of, found Read-only file system" in complaint(capsys)


def test_without_label_studio(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(recording), "--project", "drives"]) == 2
    assert complaint(capsys).startswith("sam4d: Label Studio: expected `sam4d up` in .sam4d, or LABEL_STUDIO_URL")


def test_an_address_without_a_token(recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:1")
    assert main(["preannotate", "drives"]) == 2
    assert "LABEL_STUDIO_API_KEY" in complaint(capsys)


def test_nobody_at_the_address(recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port(0, 'port')}"
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(recording.parent))
    for command in (["import", str(recording), "--project", "drives"], ["export", "drives", "--format", "sequence", "--output", "out"]):
        assert main(command) == 2
        assert f"Label Studio at {url}: expected an answer" in complaint(capsys)
    assert not Path("out").exists()


def test_a_variable_that_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAM4D_INTERACTIVE_SECONDS", "soon")
    assert main(["simulate", str(tmp_path / "drive")]) == 2
    assert "SAM4D_INTERACTIVE_SECONDS" in complaint(capsys)


def test_prewarm_needs_a_folder_that_the_server_has_too(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(recording.parent))
    for command in (["prewarm", "drives"], ["import", str(recording), "--project", "drives", "--prewarm"]):
        assert main(command) == 2
        assert complaint(capsys).startswith("sam4d: MODEL_DIR: expected the folder that the backend has as its MODEL_DIR")
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SAM4D_PREWARM_MEGABYTES", "0")
    assert main(["prewarm", "drives"]) == 2
    assert complaint(capsys).startswith("sam4d: SAM4D_PREWARM_MEGABYTES: expected room for prepared frames")


def test_ctrl_c(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("backend.commands.files.simulate_drive", interrupted)
    assert main(["simulate", "drive"]) == 130


def test_the_label_config_of_a_drive(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["label-config", str(recording), "--labels", "Car, Tram"]) == 0
    config = parse_label_config(capsys.readouterr().out, ["front_left", "front"])
    assert config.labels == ("Car", "Tram")


def test_a_simulated_drive_can_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "simulated"), "--frames", "1", "--seed", "5"]) == 0
    clip = open_sequence(tmp_path / "simulated")
    assert len(clip) == 1
    assert read_masklets(tmp_path / "simulated", clip)
    capsys.readouterr()
    assert main(["simulate", str(tmp_path / "simulated"), "--frames", "1"]) == 2


def test_a_labelled_drive_is_evaluated(tmp_path: Path, small_drive: SyntheticDrive, capsys: pytest.CaptureFixture[str]) -> None:
    write_sequence(small_drive.clip.window(0, 1), tmp_path / "plain")
    assert main(["evaluate", str(tmp_path / "plain")]) == 2
    assert "labels/cuboids.json" in complaint(capsys)

    shown = [replace(masklet, masks=first(masklet.masks), cuboids=first(masklet.cuboids)) for masklet in small_drive.masklets]
    write_sequence(small_drive.clip.window(0, 1), tmp_path / "labelled", masklets=shown)
    pictures = tmp_path / "worst"
    assert main(["evaluate", str(tmp_path / "labelled"), "--json", "--pictures", str(pictures)]) == 0
    said = capsys.readouterr()
    (recording,) = json.loads(said.out)["recordings"]
    clicks = next(table for table in recording["tables"] if table["title"] == "clicks in the LiDAR")
    assert clicks["rows"][0]["group"] == "all"
    assert clicks["rows"][0]["count"] == len(recording["clicks"])
    assert 0.5 < clicks["rows"][0]["figures"][0] <= 1
    titles = {table["title"] for table in recording["tables"]}
    assert titles >= {"clicks in a camera", "boxes in a camera", "camera masks, click in the LiDAR"}
    drawn = min(10, len(recording["clicks"]))
    assert sorted(path.name[:2] for path in pictures.iterdir()) == [f"{rank:02d}" for rank in range(1, drawn + 1)]
    assert str(pictures) in said.err
    assert main(["evaluate", str(tmp_path / "labelled"), "--parts", "clicks", "proposals"]) == 0
    shown_text = capsys.readouterr().out
    assert "| recording | objects | IoU, 1 click |" in shown_text
    assert "| objects found without a click |" in shown_text
    assert "| boxes in a camera |" not in shown_text
    assert main(["evaluate", str(tmp_path / "labelled"), "--engine", "sam4d"]) == 2
    assert "SAM4D_CHECKPOINT" in complaint(capsys)


def first(by_frame: Mapping[int, Kept]) -> dict[int, Kept]:
    return {index: value for index, value in by_frame.items() if index == 0}


@pytest.fixture
def known_label_studio(label_studio: LabelStudioServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabelStudioServer]:
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(label_studio.data_root))
    yield label_studio
    listed: Iterable[Any] = label_studio.client.projects.list(title="by command")
    for project in listed:
        label_studio.client.projects.delete(project.id)


@pytest.mark.xdist_group("label-studio")
def test_prewarm_what_was_imported(
    known_label_studio: LabelStudioServer,
    labelling_backend: object,
    recording: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("BASIC_AUTH_USER", labelling_backend.user)  # type: ignore[attr-defined]
    monkeypatch.setenv("BASIC_AUTH_PASS", labelling_backend.password)  # type: ignore[attr-defined]
    monkeypatch.setenv("SAM4D_BACKEND_URL", labelling_backend.url)  # type: ignore[attr-defined]
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "cache"))
    command = ["import", str(recording), "--project", "by command", "--frames-per-task", "3", "--overlap", "1", "--prewarm", "--json"]
    assert main(command) == 0
    prewarmed = json.loads(capsys.readouterr().out)["prewarmed"]
    assert (prewarmed["frames"], prewarmed["kept"], prewarmed["failures"]) == (4, 4, [])
    files = {path.name: path.stat().st_ino for path in (tmp_path / "cache" / "frames").iterdir()}
    assert len(files) == 4 * 3, "a sweep and two images of each frame"
    assert main(["prewarm", "by command"]) == 0
    assert "4 of 4 frames are prepared" in capsys.readouterr().out
    assert {path.name: path.stat().st_ino for path in (tmp_path / "cache" / "frames").iterdir()} == files
    monkeypatch.setenv("SAM4D_PREWARM_MEGABYTES", "2")
    assert main(["prewarm", "by command"]) == 0
    said = capsys.readouterr()
    assert re.search(r"[12] of 4 frames are prepared", said.out)
    assert "SAM4D_PREWARM_MEGABYTES (2) holds no more of this project's frames" in said.err


@pytest.mark.xdist_group("label-studio")
def test_import_preannotate_and_export(
    known_label_studio: LabelStudioServer,
    labelling_backend: object,
    recording: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BASIC_AUTH_USER", labelling_backend.user)  # type: ignore[attr-defined]
    monkeypatch.setenv("BASIC_AUTH_PASS", labelling_backend.password)  # type: ignore[attr-defined]
    monkeypatch.setenv("SAM4D_BACKEND_URL", labelling_backend.url)  # type: ignore[attr-defined]
    assert main(["import", str(recording), "--project", "by command", "--labels", "Car,Object", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["url"].startswith(known_label_studio.url)
    assert [(sequence["new_tasks"], sequence["tasks"]) for sequence in answer["sequences"]] == [(1, 1)]

    assert main(["export", "by command", "--format", "sequence", "--output", "out"]) == 2
    assert "at least one task with labels" in complaint(capsys)

    assert main(["preannotate", "by command", "--json"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)["tasks"]
    assert outcome["objects"] > 0

    export = ["export", "by command", "--format", "sequence", "--output", "out", "--include", "predictions"]
    assert main(export) == 0
    assert f"{outcome['objects']} objects from 1 of 1 tasks" in capsys.readouterr().out
    clip = open_sequence(recording)
    assert len(read_masklets(Path("out") / clip.name, clip)) == outcome["objects"]
    assert main(export) == 2
    assert "permission to overwrite" in complaint(capsys)
    assert main([*export, "--overwrite"]) == 0


def test_a_checkpoint_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    assert main(["checkpoint", "inspect", str(tmp_path / "weights.pth")]) == 2
    assert complaint(capsys).startswith(
        f"sam4d: checkpoint {tmp_path}/weights.pth: expected tensors saved by PyTorch, complete, found 10 bytes"
    )


def test_a_checkpoint_of_another_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {"blocks.0.weight": torch.zeros(2), "no_mem_embed": torch.zeros(2)}}, tmp_path / "weights.pth")
    assert main(["checkpoint", "inspect", str(tmp_path / "weights.pth")]) == 2
    said = complaint(capsys)
    assert "expected the 904 tensors of Sam4D, found 903 missing (ego_pose_encoder.d_max, " in said
    assert "and 898 more); 1 unexpected (blocks.0.weight); 1 misshaped (no_mem_embed [2] instead of [1, 1, 256])" in said


def test_a_checkpoint_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Sam4D().state_dict().items()}
    # One value, seen in every shape, so that the file is written without half a gigabyte of zeros.
    torch.save({"model": {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}}, tmp_path / "weights.pth")
    assert main(["checkpoint", "inspect", str(tmp_path / "weights.pth")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{tmp_path}/weights.pth: fits the SAM4D network"
    assert said[1].startswith("904 tensors, 121.8 million values (float32)")
    assert said[2].startswith("digest ")


def test_a_checkpoint_of_a_small_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = new_network(TINY, 0)
    write_checkpoint(tmp_path / "weights.safetensors", network.state_dict(), TINY, {"made of": "nothing\nyet"})
    assert main(["checkpoint", "inspect", str(tmp_path / "weights.safetensors")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{tmp_path}/weights.safetensors: fits the SAM4D network"
    assert said[2] == f"sizes {TINY.to_json()}"
    assert said[3] == "made of: nothing yet"
    assert said[4].startswith("digest ")


def test_a_drive_is_labelled_without_a_click(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(recording), str(tmp_path / "labels"), "--labels", "Car,Pedestrian,Object"]) == 0
    assert "4 frames" in capsys.readouterr().out
    clip = open_sequence(recording)
    (recording / "labels").mkdir(exist_ok=True)
    for file in (tmp_path / "labels").rglob("*.json"):
        (recording / "labels" / file.name).write_bytes(file.read_bytes())
    masklets = read_masklets(recording, clip)
    assert masklets
    assert {masklet.label for masklet in masklets} <= {"Car", "Pedestrian", "Object"}
    assert main(["generate", str(recording), str(tmp_path / "labels")]) == 2
    assert complaint(capsys)
    assert main(["generate", str(recording), str(tmp_path / "again"), "--with-masks", "--format", "waymo-4dseg"]) == 0
    assert list((tmp_path / "again").rglob("*"))


def test_the_scene_of_a_drive_is_kept_and_becomes_a_point_cloud_of_any_frame(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, cloud = tmp_path / "scene.s4ds", tmp_path / "scene.PLY"
    command = ["generate", str(recording), str(tmp_path / "labels"), "--scene", str(kept), "--scene", str(cloud), "--scene-frame", "2"]
    assert main([*command[:-1], "4"]) == 2
    assert "frame of the scene: expected one from 0 to 3, found 4" in complaint(capsys)
    assert main([*command[:4], str(tmp_path / "scene.pcd")]) == 2
    assert "expected a file of a scene (.s4ds) or a point cloud (.ply), found '.pcd'" in complaint(capsys)
    assert list(tmp_path.glob("scene*")) == []

    assert main(command) == 0
    scene = decode_scene(kept.read_bytes(), "scene.s4ds")
    clip = open_sequence(recording)
    assert (scene.clip_name, scene.frame_count) == (clip.name, 4)
    (masks,) = (tmp_path / "labels").rglob("cuboids.json")
    (recording / "labels").mkdir(exist_ok=True)
    for file in masks.parent.iterdir():
        (recording / "labels" / file.name).write_bytes(file.read_bytes())
    masklets = read_masklets(recording, clip)
    assert {each.object_id: each.label for each in scene.objects} == {masklet.object_id: masklet.label for masklet in masklets}
    # The scene is where the sweep is, and its objects are where their points are.
    for frame_index in (0, 2):
        places_m, voxels = scene.at(frame_index)
        pose = clip.frames[frame_index].world_SE3_lidar
        assert pose is not None
        points_m = pose.apply(clip.frames[frame_index].load_sweep().points_m)
        distances_m = []
        for masklet in masklets:
            own_m = points_m[masklet.masks[frame_index].lidar_mask] if frame_index in masklet.masks else points_m[:0]
            if len(own_m):
                distances_m.append(cKDTree(places_m[voxels.object_ids == masklet.object_id]).query(own_m)[0])
        # Points that have no voxel are what their own frame says they are.
        assert np.mean(np.concatenate(distances_m) <= scene.voxel_m * np.sqrt(3) / 2 + 1e-6) > 0.9

    capsys.readouterr()
    assert main(["scene", str(kept), str(tmp_path / "again.ply"), "--frame", "2"]) == 0
    assert (tmp_path / "again.ply").read_bytes() == cloud.read_bytes()
    assert "frame 2: " in capsys.readouterr().out
    assert main(["scene", str(kept), str(cloud)]) == 2
    assert "permission to overwrite" in complaint(capsys)
    assert main(["scene", str(cloud), str(tmp_path / "third.ply")]) == 2
    assert "expected a reconstructed scene" in complaint(capsys)


def test_a_drive_without_masks_has_none_to_start_from(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(recording), str(tmp_path / "labels"), "--with-masks"]) == 2
    assert "labels with masks in its images" in complaint(capsys)
    assert not (tmp_path / "labels").exists()


def test_the_settings_are_shown_without_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SAM4D_SESSION_MEGABYTES", "77")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a-secret")
    assert main(["serve", "--show-settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "SAM4D_SESSION_MEGABYTES" in line] == [["SAM4D_SESSION_MEGABYTES", "77", "default", "2048"]]
    assert [line.split() for line in lines if "LABEL_STUDIO_API_KEY" in line] == [["LABEL_STUDIO_API_KEY", "***", "default", "-"]]
    assert main(["serve", "--show-settings", "--json", "--engine", "geometric"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["SAM4D_SESSION_MEGABYTES"] == {"value": "77", "default": "2048"}
    assert shown["LABEL_STUDIO_API_KEY"] == {"value": "***", "default": ""}
    assert shown["SAM4D_ENGINE"]["value"] == "geometric", "as the server would have it"
    monkeypatch.setenv("SAM4D_SESSION_MEGABYTES", "many")
    assert main(["serve", "--show-settings"]) == 2
