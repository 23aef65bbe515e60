"""COCO instances: read by pycocotools itself, and the inverse pair."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from converters.exports import coco_files, read_coco, write_whole_files
from converters.exports.whole_output import file_bytes
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.converters.tiny_recording import tiny_clip, tiny_masklets


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
def test_pycocotools_reads_the_same_masks(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    clip, masklets = small_drive.clip, small_drive.masklets
    ((path, data),) = coco_files(clip, masklets).items()
    write_whole_files({tmp_path / path: data})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / path))
    shown = 0
    for annotation in coco.dataset["annotations"]:
        image = coco.imgs[annotation["image_id"]]
        masklet = next(each for each in masklets if each.object_id == annotation["track_id"])
        mask = masklet.masks[image["frame_index"]].camera_masks[image["camera"]]
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == mask.sum()
        assert coco.cats[annotation["category_id"]]["name"] == masklet.label
        u, v, width, height = annotation["bbox"]
        assert mask[v : v + height, u : u + width].sum() == mask.sum()
        shown += 1
    seen = [mask.any() for each in masklets for masks in each.masks.values() for mask in masks.camera_masks.values()]
    assert shown == np.count_nonzero(seen)
    assert shown > 20
    assert len(coco.imgs) == sum(len(frame.load_images) for frame in clip.frames)


def test_written_masks_read_back(tmp_path: Path) -> None:
    masklets = tiny_masklets()
    ((path, data),) = coco_files(tiny_clip(), masklets).items()
    write_whole_files({tmp_path / path: data})
    found = read_coco(tmp_path / path)
    assert {key: label for key, (label, _) in found.items()} == {
        (1, 0, "front"): "Car",
        (1, 2, "front"): "Car",
        (12, 1, "front"): "Straßenschild",
    }
    for (object_id, frame_index, camera), (_, mask) in found.items():
        expected = next(each for each in masklets if each.object_id == object_id).masks[frame_index].camera_masks[camera]
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda document: document["annotations"][0].update(category_id=9), r"annotations\[0\].category_id"),
        (lambda document: document["annotations"][0].update(image_id=99), r"annotations\[0\].image_id"),
        (lambda document: document["annotations"][0]["segmentation"].update(size=[3, 3]), r"annotations\[0\].segmentation.size"),
        (lambda document: document.pop("images"), "images"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: Any, field: str) -> None:
    document = json.loads(file_bytes(coco_files(tiny_clip(), tiny_masklets())["coco/tiny.json"]))
    change(document)
    (tmp_path / "coco.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=field):
        read_coco(tmp_path / "coco.json")
