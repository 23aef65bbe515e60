from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.label_config import LONGEST_CONFIG, LabelConfig, build_label_config, camera_tags, label_colours, parse_label_config
from sam4d.structures import InputError

GOLDEN = Path(__file__).parent / "golden" / "label_config.xml"
CAMERAS = ("front", "rear left")
LABELS = ("Car", "Pedestrian")

names = st.text(min_size=1, max_size=8).filter(lambda name: name != "lidar")
camera_lists = st.lists(names, max_size=5, unique=True)
labels = st.lists(st.text(min_size=1, max_size=8).filter(lambda label: label.isprintable() and label.strip()), min_size=1, unique=True)


def test_the_configuration_is_the_golden_one() -> None:
    assert build_label_config(CAMERAS, LABELS) + "\n" == GOLDEN.read_text(encoding="utf-8")


@given(camera_lists, labels)
def test_what_is_built_is_read_back(cameras: list[str], labels: list[str]) -> None:
    config = parse_label_config(build_label_config(cameras, labels), cameras)
    assert config == LabelConfig(tuple(labels), tuple(camera_tags(cameras).values()))


@given(camera_lists)
def test_tags_are_distinct_and_safe(cameras: list[str]) -> None:
    tags = camera_tags(cameras)
    assert list(tags) == cameras
    all_names = [name for tag in tags.values() for name in (tag, f"brush_{tag}", f"kp_{tag}", f"box_{tag}")]
    all_names += ["bev", "cuboid_bev", "brush_bev", "kp_bev", "box_bev", "z", "h", "sequence", "first_frame", "birds_eye"]
    assert len(set(all_names)) == len(all_names)
    assert all(name.isidentifier() and name.isascii() for name in all_names)


def test_names_that_are_tags_already_stay() -> None:
    assert camera_tags(["cam 1", "cam_1", "front", "02", "bev", "kp_front"]) == {
        "cam 1": "cam_1_",
        "cam_1": "cam_1",
        "front": "front",
        "02": "camera_02",
        "bev": "camera_bev",
        "kp_front": "camera_kp_front",
    }


@pytest.mark.parametrize("cameras", [["lidar"], ["front", "front"]])
def test_impossible_camera_names_are_refused(cameras: list[str]) -> None:
    with pytest.raises(InputError, match="camera names: expected distinct names"):
        build_label_config(cameras, LABELS)


@pytest.mark.parametrize("labels", [[], ["Car", "Car"], [" "], ["Car\x00"]])
def test_impossible_labels_are_refused(labels: list[str]) -> None:
    with pytest.raises(InputError, match="labels: expected at least one"):
        build_label_config(CAMERAS, labels)


def test_colours_are_distinct_and_stay_when_labels_are_added() -> None:
    many = [f"label {number}" for number in range(60)]
    colours = label_colours(many)
    assert len(set(colours.values())) == 60
    assert label_colours(many[:7]) == {label: colours[label] for label in many[:7]}


def test_a_lidar_only_drive_has_the_birds_eye_view_alone() -> None:
    xml = build_label_config((), LABELS)
    assert [image.attrib["name"] for image in fromstring(xml).iter("Image")] == ["bev"]
    assert parse_label_config(xml) == LabelConfig(LABELS, ())


def test_smart_tools_are_only_smart_and_results_are_not() -> None:
    page = fromstring(build_label_config(CAMERAS, LABELS))
    smart = {element.attrib["name"]: element.attrib.get("smartOnly") for element in page.iter() if element.attrib.get("smart") == "true"}
    assert set(smart) == {f"{tool}_{image}" for tool in ("kp", "box") for image in ("front", "rear_left", "bev")}
    assert set(smart.values()) == {"true"}


def test_the_place_of_the_3d_view_is_at_the_top() -> None:
    page = fromstring(build_label_config(CAMERAS, LABELS, viewer=True))
    assert page[0].attrib == {"value": "$viewer_html"}
    assert parse_label_config(build_label_config(CAMERAS, LABELS, viewer=True)) == parse_label_config(build_label_config(CAMERAS, LABELS))


def test_other_tags_labels_and_orders_are_welcome() -> None:
    xml = build_label_config(CAMERAS, LABELS)
    xml = xml.replace('<Label value="Car"', '<Label value="Bus" background="#000"/><Label value="Car"')
    xml = xml.replace('<Label value="Pedestrian"', '<Label value="Person"')
    xml = xml.replace("</View>", '<Choices name="weather" toName="front"><Choice value="rain"/></Choices></View>', 1)
    xml = xml.replace("</View>", '<Image name="map" value="$map"/></View>', 1)
    config = parse_label_config(xml)
    assert config == LabelConfig(("Bus", "Car", "Person"), ("front", "rear_left"))
    assert config.images == ("front", "rear_left", "bev")


def test_only_labels_that_every_result_tag_offers_count() -> None:
    xml = build_label_config(("front",), ("Car", "Bus"))
    head, cuboids = xml.split('name="cuboid_bev"')
    assert parse_label_config(f'{head}name="cuboid_bev"{cuboids.replace("Bus", "Coach", 1)}').labels == ("Car",)
    head, cuboids = build_label_config(("front",), ("Car",)).split('name="cuboid_bev"')
    with pytest.raises(InputError, match="every mask and cuboid tag offers, found cuboid_bev: Van; brush_front: Car"):
        parse_label_config(f'{head}name="cuboid_bev"{cuboids.replace("Car", "Van", 1)}')


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('name="z"', 'name="zz"', "no Number z"),
        ('name="brush_front"', 'name="mask_front"', "no BrushLabels brush_front"),
        ('name="kp_bev"', 'name="points"', "no KeyPointLabels kp_bev"),
        ('name="cuboid_bev" toName="bev"', 'name="cuboid_bev" toName="front"', "RectangleLabels cuboid_bev where RectangleLabels to bev"),
        ("Number name", "TextArea name", "TextArea z where Number to bev is expected, TextArea h where"),
        ('valueList="$front"', 'value="$front"', "Image front without valueList"),
    ],
)
def test_missing_and_wrong_tags_are_named(old: str, new: str, found: str) -> None:
    xml = build_label_config(CAMERAS, LABELS)
    assert old in xml
    with pytest.raises(InputError) as error:
        parse_label_config(xml.replace(old, new))
    assert "sam4d label-config" in str(error.value)
    assert found in error.value.found
    assert "\n" not in str(error.value)


def test_a_camera_of_the_clip_without_a_block_is_named() -> None:
    xml = build_label_config(("front",), LABELS)
    with pytest.raises(InputError, match="no Image rear_left, no BrushLabels brush_rear_left, no KeyPointLabels kp_rear_left"):
        parse_label_config(xml, CAMERAS)
    assert parse_label_config(build_label_config(CAMERAS, LABELS), ("front",)).cameras == ("front",)


@pytest.mark.parametrize(
    "xml", ["", "<View>", "no xml", '<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', '<View><Image name="a" value="$a"/></View>']
)
def test_foreign_or_hostile_configurations_get_one_line(xml: str) -> None:
    with pytest.raises(InputError, match=r"^label config: expected [^\n]*$"):
        parse_label_config(xml)


def test_a_configuration_that_is_far_too_long_is_not_read() -> None:
    xml = build_label_config(CAMERAS, LABELS)
    assert parse_label_config(xml + " " * (LONGEST_CONFIG - len(xml)))
    with pytest.raises(InputError, match=f"at most {LONGEST_CONFIG} characters"):
        parse_label_config(xml + " " * (LONGEST_CONFIG + 1 - len(xml)))
