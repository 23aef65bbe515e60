"""COCO instances: read by pycocotools itself, the inverse pair, and other people's files."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from converters.exports import coco_files, read_coco, write_sequence, write_whole_files
from converters.exports.whole_output import file_bytes
from converters.sequences import open_sequence
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError, Masklet, ObjectMasks
from tests.converters.exports.read_back import labels_of, masks_of
from tests.converters.tiny_recording import POINT_COUNT, tiny_clip, tiny_masklets


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
    found = read_coco(tmp_path / path, tiny_clip())
    assert [(each.object_id, each.label, list(each.masks)) for each in found] == [(1, "Car", [0, 2]), (12, "Straßenschild", [1])]
    assert [each.masks[frame].score for each in found for frame in each.masks] == [0.75, 1 / 3, 0.0]
    assert {len(each.masks[frame].lidar_mask) for each in found for frame in each.masks} == {POINT_COUNT}
    expected = masks_of(masklets)
    assert set(masks_of(found)) == set(expected)
    for key, mask in masks_of(found).items():
        np.testing.assert_array_equal(mask, expected[key])


@given(data=st.data())
def test_any_masks_read_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    clip = tiny_clip()
    masklets = []
    for object_id in data.draw(st.lists(st.integers(1, 2**31 - 1), max_size=4, unique=True)):
        random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        masks = {
            frame_index: ObjectMasks(
                object_id,
                frame_index,
                {
                    name: random.random((16, 24)) < data.draw(st.sampled_from([0.0, 0.1, 0.9, 1.0]))
                    for name in clip.frames[frame_index].load_images
                },
                np.zeros(POINT_COUNT, dtype=np.bool_),
                data.draw(st.floats(0, 1)),
            )
            for frame_index in data.draw(st.sets(st.integers(0, 2)))
        }
        masklets.append(Masklet(object_id, data.draw(st.sampled_from(["Car", "Person on a bicycle", "車"])), masks))
    file = tmp_path_factory.mktemp("coco") / "coco.json"
    file.write_bytes(file_bytes(coco_files(clip, masklets)["coco/tiny.json"]))
    found = read_coco(file, clip)
    expected = masks_of(masklets)
    assert set(masks_of(found)) == set(expected)
    for key, mask in masks_of(found).items():
        np.testing.assert_array_equal(mask, expected[key])
    shown = {number for number, _, _ in expected}
    assert labels_of(found) == {number: label for number, label in labels_of(masklets).items() if number in shown}
    for each in found:
        other = next(masklet for masklet in masklets if masklet.object_id == each.object_id)
        assert {frame: masks.score for frame, masks in each.masks.items()} == {frame: other.masks[frame].score for frame in each.masks}


RECTANGLE = [3, 4, 9, 4, 9, 12, 3, 12]
"""The mask of `tiny_masks`."""


def somebodys(*annotations: dict[str, Any], file_name: str = "front/000000.png") -> dict[str, Any]:
    common = {"image_id": 7, "category_id": 3, "segmentation": [RECTANGLE]}
    return {
        "images": [
            {"id": 7, "file_name": file_name, "width": 24, "height": 16},
            {"id": 8, "file_name": "images/front/000001.png", "width": 24, "height": 16},
            {"id": 9, "file_name": "images/rear/000002.png", "width": 24, "height": 16},
        ],
        "annotations": [{"id": index, **common, **annotation} for index, annotation in enumerate(annotations)],
        "categories": [{"id": 3, "name": "car"}, {"id": 4, "name": "van"}],
    }


def read(folder: Path, document: object) -> tuple[Masklet, ...]:
    (folder / "coco.json").write_text(json.dumps(document))
    return read_coco(folder / "coco.json", tiny_clip())


def shown(masklets: tuple[Masklet, ...]) -> dict[int, list[tuple[int, str]]]:
    """{object id: (frame index, camera)}, of masks that are the rectangle."""
    expected = tiny_masklets()[0].masks[0].camera_masks["front"]
    assert all(np.array_equal(mask, expected) for mask in masks_of(masklets).values())
    return {each.object_id: [(frame, name) for frame, masks in each.masks.items() for name in masks.camera_masks] for each in masklets}


@pytest.mark.parametrize("holder", ["own", "attributes"])
@pytest.mark.parametrize("name", ["track_id", "instance_id"])
def test_a_track_is_one_object(tmp_path: Path, holder: str, name: str) -> None:
    def of_track(value: object, **others: object) -> dict[str, Any]:
        return {**({name: value} if holder == "own" else {"attributes": {"occluded": False, name: value}}), **others}

    document = somebodys(
        of_track(5), of_track(5, image_id=8), of_track(5, image_id=9), of_track("5", image_id=9), of_track(5, category_id=4, image_id=8)
    )
    found = read(tmp_path, document)
    # A number that another category has, or a text, gets one that is free.
    assert shown(found) == {5: [(0, "front"), (1, "front"), (2, "rear")], 1: [(2, "rear")], 2: [(1, "front")]}
    assert labels_of(found) == {5: "car", 1: "car", 2: "van"}


def test_masks_without_a_track_are_objects_of_one_image(tmp_path: Path) -> None:
    assert shown(read(tmp_path, somebodys({}, {}, {"image_id": 8}, {"track_id": None}))) == {
        1: [(0, "front")],
        2: [(0, "front")],
        3: [(1, "front")],
        4: [(0, "front")],
    }


def test_the_parts_of_an_object_are_one_mask(tmp_path: Path) -> None:
    halves = ([3, 4, 6, 4, 6, 12, 3, 12], [6, 4, 9, 4, 9, 12, 6, 12])
    assert shown(read(tmp_path, somebodys(*({"segmentation": [half], "track_id": 2} for half in halves)))) == {2: [(0, "front")]}
    assert shown(read(tmp_path, somebodys({"segmentation": list(halves), "track_id": 2}))) == {2: [(0, "front")]}


def test_what_has_no_mask_of_one_object_is_left_out(tmp_path: Path) -> None:
    runs = {"size": [16, 24], "counts": [0, 16 * 24]}
    left_out: tuple[dict[str, Any], ...] = (
        {"segmentation": []},
        {"segmentation": None},
        {"iscrowd": 1, "segmentation": runs},
        {"segmentation": [[-9, -9, -8, -9, -8, -8]]},
    )
    assert read(tmp_path, somebodys(*left_out)) == ()


@pytest.mark.parametrize(
    "name", ["images/front/000000.png", "front/000000.png", "/data/drive/images/front/000000.png", "front\\000000.png"]
)
def test_images_are_found_by_their_place(tmp_path: Path, name: str) -> None:
    assert shown(read(tmp_path, somebodys({}, file_name=name))) == {1: [(0, "front")]}


def test_masks_of_a_drive_in_files(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    write_sequence(small_drive.clip, tmp_path / "drive")
    clip = open_sequence(tmp_path / "drive")
    ((path, data),) = coco_files(clip, small_drive.masklets).items()
    write_whole_files({tmp_path / path: data})
    found, expected = masks_of(read_coco(tmp_path / path, clip)), masks_of(small_drive.masklets)
    assert set(found) == set(expected)
    assert all(np.array_equal(mask, expected[key]) for key, mask in found.items())


def with_image(**changes: object) -> dict[str, Any]:
    document = somebodys({})
    document["images"][0] |= changes
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (somebodys({"category_id": 9}), r"annotations\[0\].category_id: expected one of the categories, found 9"),
        (somebodys({"image_id": 99}), r"annotations\[0\].image_id: expected one of the images, found 99"),
        (somebodys({"segmentation": {"size": [3, 3], "counts": "9"}}), r"annotations\[0\].segmentation.size: expected \[16, 24\]"),
        (somebodys({"segmentation": {"size": [16, 24], "counts": [5]}}), r"segmentation.counts: expected runs that fill 384 pixels"),
        (somebodys({"segmentation": "all"}), r"annotations\[0\].segmentation: expected COCO run lengths"),
        (somebodys({"segmentation": [[1, 2, 3, 4]]}), r"segmentation\[0\]: expected u and v of three corners or more, found 4 numbers"),
        (somebodys({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}), r"segmentation\[0\]: expected u and v of three corners"),
        (somebodys({"segmentation": [[1, 2, 3, 4, 5, 1e300]]}), r"segmentation\[0\]\[5\]: expected a finite number"),
        (
            somebodys({"segmentation": [[1, 2, 3, 4, 49, 6]]}),
            r"segmentation\[0\]\[4\]: expected a pixel of the image of 24 x 16, or near it",
        ),
        (
            somebodys({"segmentation": [[0, 0, 24, 16, 0, 16] * 300]}),
            "segmentation: expected polygons with edges of 8000 pixels at the most",
        ),
        (somebodys({"track_id": 1.5}), r"annotations\[0\].track_id: expected a whole number or a text, found 1.5"),
        (somebodys({"score": "high"}), r"annotations\[0\].score: expected a finite number"),
        (somebodys(file_name="000000.png"), r"images\[0\].file_name: .* found '000000.png', which 2 of"),
        (
            somebodys(file_name="left/000000.png"),
            r"images\[0\].file_name: .* like images/front/000000.png, found 'left/000000.png', which none",
        ),
        (somebodys(file_name="../../etc/passwd"), r"images\[0\].file_name: expected the place of one of the clip's images"),
        (with_image(width=25), r"images\[0\].width: expected 24 pixels as the image has, found 25"),
        (with_image(height=None), r"images\[0\].height: expected a whole number, found null"),
        (with_image(id=8), r"images\[1\].id: expected ids that differ, found 8"),
        (with_image(file_name="images/rear/000002.png"), r"images\[2\].file_name: expected images that differ"),
        ({"images": [], "annotations": []}, "categories: expected a value, found nothing"),
        ([], "expected an object, found a list"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, document)
    assert "\n" not in str(refused.value)


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    text = json.dumps(somebodys({}, {}))
    for length in (0, 10, len(text) // 2, len(text) - 1):
        (tmp_path / "coco.json").write_text(text[:length])
        with pytest.raises(InputError, match="expected JSON, found what is none"):
            read_coco(tmp_path / "coco.json", tiny_clip())
    with pytest.raises(InputError, match=r"nothing\.json"):
        read_coco(tmp_path / "nothing.json", tiny_clip())
    assert read(tmp_path, somebodys()) == ()
    assert read_coco(tmp_path / "coco.json", replace(tiny_clip(), name="another")) == ()
