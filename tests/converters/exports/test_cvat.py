"""CVAT's Datumaro 3D and Kitti Raw: golden files, where tracks break, and Datumaro itself reads the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from defusedxml import ElementTree

from converters.exports import cvat_datumaro_files, cvat_tracklet_files, write_whole_files
from converters.exports.whole_output import file_bytes
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Cuboid, InputError, Masklet
from tests.converters.exports.peers import ask_peer, needs_peers
from tests.converters.exports.read_back import cuboids_of, labels_of, text_of
from tests.converters.exports.same_cuboids import assert_same_cuboids
from tests.converters.tiny_recording import tiny_clip, tiny_masklets

GOLDEN = Path(__file__).with_name("golden")


def test_the_files_equal_the_golden_ones() -> None:
    files = cvat_datumaro_files(tiny_clip(), tiny_masklets()) | cvat_tracklet_files(tiny_clip(), tiny_masklets())
    assert sorted(files) == ["cvat/tiny/annotations/default.json", "cvat/tiny/frame_list.txt", "cvat/tiny/tracklet_labels.xml"]
    assert json.loads(file_bytes(files["cvat/tiny/annotations/default.json"])) == json.loads((GOLDEN / "cvat_datumaro.json").read_text())
    assert file_bytes(files["cvat/tiny/tracklet_labels.xml"]).decode() == (GOLDEN / "cvat_tracklet_labels.xml").read_text()
    assert files["cvat/tiny/frame_list.txt"] == b"0 000000\n1 000001\n2 000002\n"


def test_a_track_breaks_where_its_frames_or_its_size_do() -> None:
    small, large = Cuboid((1, 2, 3), (4, 2, 1), 0.0), Cuboid((1, 2, 3), (5, 2, 1), 0.0)
    for boxes, firsts in (({0: small, 1: small, 2: small}, [0]), ({0: small, 2: small}, [0, 2]), ({0: small, 1: large, 2: large}, [0, 1])):
        data = cvat_tracklet_files(tiny_clip(), [Masklet(5, "Car", {}, boxes)])["cvat/tiny/tracklet_labels.xml"]
        assert [int(text_of(item, "first_frame")) for item in ElementTree.fromstring(data).findall("tracklets/item")] == firsts


@pytest.mark.parametrize("files", [cvat_datumaro_files, cvat_tracklet_files])
def test_two_objects_of_one_id_are_refused(files: Any) -> None:
    car, *_ = tiny_masklets()
    with pytest.raises(InputError, match="one masklet per object id"):
        files(tiny_clip(), [car, car])


READ = """
import json, sys
import datumaro
def read(path, kind):
    dataset = datumaro.Dataset.import_from(path, kind)
    labels = dataset.categories()[datumaro.AnnotationType.label]
    return [{
        "name": item.id, "frame": item.attributes["frame"], "sweep": item.media.path, "images": len(item.media.extra_images),
        "cuboids": [
            [labels[each.label].name, each.attributes["track_id"], each.attributes.get("object_id")]
            + [*each.position, *each.rotation, *each.scale]
            for each in item.annotations
        ],
    } for item in dataset]
print(json.dumps([read(sys.argv[1], "datumaro"), read(sys.argv[1], "kitti_raw")]))
"""


@needs_peers
def test_datumaro_reads_the_same(tmp_path: Path, small_drive: SyntheticDrive) -> None:
    clip, masklets = small_drive.clip, tuple(small_drive.masklets)
    files = cvat_datumaro_files(clip, masklets) | cvat_tracklet_files(clip, masklets)
    write_whole_files({tmp_path / path: data for path, data in files.items()})
    by_json, by_tracklets = ask_peer(READ, tmp_path / "cvat" / clip.name)
    for items in (by_json, by_tracklets):
        assert {item["frame"]: item["name"] for item in items} == {index: f"{index:06d}" for index in range(len(clip))}
    assert all(item["images"] == len(clip.cameras) and item["sweep"].endswith(f"{item['name']}.pcd") for item in by_json)
    wanted = cuboids_of(masklets)
    assert len(wanted) > 20
    labels = labels_of(masklets)
    found_json, found_tracklets = {}, {}
    for item in by_json:
        for label, track, _, *numbers in item["cuboids"]:
            assert label == labels[track]
            found_json[track, item["frame"]] = Cuboid(tuple(numbers[:3]), tuple(numbers[6:]), numbers[5])
    for item in by_tracklets:
        for label, _, object_id, *numbers in item["cuboids"]:
            # This Datumaro takes the sizes as h, w, l; CVAT's own takes them as w, h, l.
            y_m, x_m, z_m = numbers[6:]
            assert label == labels[object_id]
            found_tracklets[object_id, item["frame"]] = Cuboid(tuple(numbers[:3]), (x_m, y_m, z_m), numbers[5])
    # Datumaro itself rounds what it reads to two digits.
    for found in (found_json, found_tracklets):
        assert_same_cuboids(found, wanted, within_m=0.00501, within_rad=0.00501)
    assert np.isfinite([cuboid.yaw_rad for cuboid in found_json.values()]).all()
