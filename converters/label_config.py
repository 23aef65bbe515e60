"""The labelling configuration: tags for every camera and for the bird's-eye view.

Tag names are the contract with every result in Label Studio. Of a camera whose image tag is `front`: `brush_front` (its mask), the
smart tools `kp_front` (clicks) and `box_front` (boxes). Of the bird's-eye view: `bev`, `cuboid_bev`
(rotated footprint), `brush_bev` (points from above), the Numbers `z` and `h`, and `kp_bev`, `box_bev`.

There is no smart brush: Label Studio 1.23.2 shows one but asks the backend nothing when it is used.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from sam4d.structures import LIDAR, InputError

BIRDS_EYE = "bev"
CUBOID = "cuboid_bev"
CUBOID_Z = "z"
CUBOID_HEIGHT = "h"
VIEWER_HTML = "viewer_html"
LONGEST_CONFIG = 1_000_000
"""Characters; one of twenty cameras and a hundred labels has a third of that."""
_PREFIXES = ("brush", "kp", "box")
_HINT = (
    "Auto-Annotation and Auto-Accept on. Choose a Click label and the pink tool (M), then click on an object: the rest follows. "
    "Inside a mask: Ctrl+click adds, Ctrl+Alt+click takes away (Esc first if a region is selected)."
)
_RESERVED = {BIRDS_EYE, CUBOID, CUBOID_Z, CUBOID_HEIGHT, LIDAR, "sequence", "first_frame", "birds_eye", VIEWER_HTML, "viewer"}


def brush_tag(image: str) -> str:
    """The brush that holds masks (on `bev`: points from above) of an image tag."""
    return f"brush_{image}"


def click_tag(image: str) -> str:
    """The smart key point of an image tag."""
    return f"kp_{image}"


def box_tag(image: str) -> str:
    """The smart rectangle of an image tag."""
    return f"box_{image}"


@dataclass(frozen=True)
class LabelConfig:
    """What of a project's configuration matters here.

    labels: those that every one of our result tags offers, in the order of the bird's-eye cuboid's.
    cameras: image tags of the cameras, in the order of the page (a camera's tag is `camera_tags(...)[name]`).
    """

    labels: tuple[str, ...]
    cameras: tuple[str, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The image tags: every camera's and the bird's-eye view's."""
        return (*self.cameras, BIRDS_EYE)


def camera_tags(cameras: Iterable[str]) -> dict[str, str]:
    """{camera name: tag name}; a name that is a tag name already stays as it is, others are made one (letters, digits, _), all distinct.

    Raises:
        InputError: a camera called `lidar`, or two cameras of one name.
    """
    names = list(cameras)
    if LIDAR in names or len(set(names)) != len(names):
        raise InputError("camera names", f"distinct names other than {LIDAR!r}", ", ".join(map(repr, names)))
    tags: dict[str, str] = {}
    # Names that need no change go first, so that a changed name never takes theirs.
    for name in sorted(names, key=lambda name: (_tag_name(name) != name, names.index(name))):
        tag = _tag_name(name)
        while tag in tags.values():
            tag += "_"
        tags[name] = tag
    return {name: tags[name] for name in names}


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """{label: "#rrggbb"}, distinct; labels added at the end leave the others' colours as they are."""
    colours = {}
    for place, label in enumerate(labels):
        # Steps of the golden angle keep any number of hues apart; lightness sets neighbours further apart.
        red, green, blue = colorsys.hls_to_rgb((place * 0.61803398875) % 1.0, (0.55, 0.42, 0.68)[place % 3], 0.85)
        colours[label] = f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
    return colours


def build_label_config(cameras: Iterable[str], labels: Sequence[str], *, viewer: bool = False) -> str:
    """The configuration for these cameras (names as in the clip; none for a LiDAR-only drive) and labels.

    Args:
        viewer: begin with the place of the 3D view, `$viewer_html` of the task.

    Raises:
        InputError: no label, one that is empty or not printable, two of one name; camera names as in `camera_tags`.
    """
    if not labels or any(not label.strip() or not label.isprintable() for label in labels) or len(set(labels)) != len(labels):
        raise InputError("labels", "at least one, distinct, printable and not empty", repr(list(labels)))
    colours = label_colours(labels)
    page = Element("View")
    if viewer:
        SubElement(page, "Markdown", value=f"${VIEWER_HTML}")
    SubElement(page, "Header", value=_HINT, size="6")
    row = SubElement(page, "View", style="display:flex;flex-wrap:wrap;gap:8px")
    for camera, tag in camera_tags(cameras).items():
        block = _image_block(row, camera, tag)
        # Clicks first: their labels get the easy keys, and the first smart tool is the one that Label Studio offers.
        _smart_tools(block, tag, colours)
        _labels(block, "Mask", "BrushLabels", brush_tag(tag), tag, colours, smart="false")
    block = _image_block(row, "LiDAR, bird's-eye view", BIRDS_EYE)
    _smart_tools(block, BIRDS_EYE, colours)
    _labels(block, "Cuboid", "RectangleLabels", CUBOID, BIRDS_EYE, colours, canRotate="true", smart="false")
    _labels(block, "Points", "BrushLabels", brush_tag(BIRDS_EYE), BIRDS_EYE, colours, smart="false")
    for name, title in ((CUBOID_Z, "Centre height z, metres"), (CUBOID_HEIGHT, "Height h, metres")):
        field = SubElement(block, "View", visibleWhen="region-selected", whenTagName=CUBOID)
        SubElement(field, "Header", value=title, size="6")
        SubElement(field, "Number", name=name, toName=BIRDS_EYE, perRegion="true", step="0.01")
    indent(page, " ")
    return tostring(page, encoding="unicode")


def parse_label_config(xml: str, cameras: Iterable[str] | None = None) -> LabelConfig:
    """Read a project's configuration; other tags and labels, any order and any layout are welcome.

    Required are the tags that results are written to and the clicks' tags; `box_` tags may be left out.

    Args:
        cameras: names of the clip's cameras, each of which must then have its block; None accepts the cameras found.

    Raises:
        InputError: no XML, a very long one, tags missing or of another kind, no label that all our tags offer. It lists the tags and says
            how to get the right configuration.
    """
    if len(xml) > LONGEST_CONFIG:
        raise InputError("label config", f"at most {LONGEST_CONFIG} characters", str(len(xml)))
    try:
        root = fromstring(xml)
    except (ParseError, DefusedXmlException, ValueError, TypeError) as error:
        raise InputError("label config", "well-formed XML", str(error).splitlines()[0] or type(error).__name__) from None
    tags: dict[str, Element] = {element.attrib["name"]: element for element in root.iter() if element.attrib.get("name")}
    # A user's own images, without any of our tools, are not cameras.
    found = [
        name
        for name, element in tags.items()
        if element.tag == "Image" and name != BIRDS_EYE and any(f"{prefix}_{name}" in tags for prefix in _PREFIXES)
    ]
    if cameras is not None:
        wanted = list(camera_tags(cameras).values())
        found = [name for name in found if name in wanted] + [name for name in wanted if name not in found]
    _require(tags, found)
    results = [CUBOID, *(brush_tag(image) for image in (*found, BIRDS_EYE))]
    offered = [[child.attrib["value"] for child in tags[name].iter("Label") if child.attrib.get("value")] for name in results]
    everywhere = set(offered[0]).intersection(*offered)
    labels = tuple(dict.fromkeys(label for label in offered[0] if label in everywhere))
    if not labels:
        lists = "; ".join(f"{name}: {', '.join(values) or 'none'}" for name, values in zip(results, offered, strict=True))
        raise InputError("label config", "at least one label that every mask and cuboid tag offers", lists)
    return LabelConfig(labels=labels, cameras=tuple(found))


def _require(tags: Mapping[str, Element], cameras: Sequence[str]) -> None:
    """Raises InputError where a tag is missing, of another kind or points elsewhere."""
    needed = {BIRDS_EYE: ("Image", ""), CUBOID: ("RectangleLabels", BIRDS_EYE)}
    needed |= {CUBOID_Z: ("Number", BIRDS_EYE), CUBOID_HEIGHT: ("Number", BIRDS_EYE)}
    for image in (BIRDS_EYE, *cameras):
        needed |= {image: ("Image", ""), brush_tag(image): ("BrushLabels", image), click_tag(image): ("KeyPointLabels", image)}
    optional = {box_tag(image): ("RectangleLabels", image) for image in (BIRDS_EYE, *cameras)}

    missing = [f"{kind} {name}" for name, (kind, _) in needed.items() if name not in tags]
    wrong = []
    for name, (kind, image) in (needed | optional).items():
        element = tags.get(name)
        if element is None:
            continue
        if element.tag != kind or (image and element.attrib.get("toName") != image):
            wrong.append(f"{element.tag} {name} where {kind}{f' to {image}' if image else ''} is expected")
        elif kind == "Image" and not element.attrib.get("valueList"):
            wrong.append(f"Image {name} without valueList")
    if missing or wrong:
        found = ", ".join([*(f"no {tag}" for tag in missing), *wrong])
        raise InputError("label config", "our tags (`sam4d label-config SEQUENCE --labels ...` prints a right one)", found)


def _tag_name(camera: str) -> str:
    tag = re.sub(r"[^A-Za-z0-9_]", "_", camera) or "camera"
    starts_like_ours = tag.partition("_")[0] in _PREFIXES and "_" in tag
    return f"camera_{tag}" if tag in _RESERVED or starts_like_ours or tag[0].isdigit() else tag


def _image_block(row: Element, title: str, tag: str) -> Element:
    block = SubElement(row, "View", style="flex:1 1 45%;min-width:560px")
    # XML cannot hold control characters.
    SubElement(block, "Header", value="".join(character if character.isprintable() else "?" for character in title), size="4")
    SubElement(block, "Image", name=tag, valueList=f"${tag}", zoomControl="true", crosshair="true")
    return block


def _smart_tools(block: Element, image: str, colours: Mapping[str, str]) -> None:
    _labels(block, "Click", "KeyPointLabels", click_tag(image), image, colours, smart="true", smartOnly="true")
    _labels(block, "Box", "RectangleLabels", box_tag(image), image, colours, smart="true", smartOnly="true")


def _labels(block: Element, title: str, kind: str, name: str, image: str, colours: Mapping[str, str], **attributes: str) -> None:
    """A row: what it is for, then its labels; without the title all rows of an image look the same."""
    row = SubElement(block, "View", style="display:flex;align-items:baseline;gap:8px")
    SubElement(row, "Header", value=title, size="6")
    element = SubElement(row, kind, {"name": name, "toName": image, **attributes})
    for label, colour in colours.items():
        SubElement(element, "Label", value=label, background=colour)
