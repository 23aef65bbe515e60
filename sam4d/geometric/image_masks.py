"""The mask of one object in one camera: its points say where, the image says up to which edge.

The object's visible points span a support; around its border lies a band in which the points cannot tell. There, colours and edges of the
image decide (GrabCut on a crop scaled to a workable size; then the border moves to the edge beside it). Nearer things seen in front of the
object are cut out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam4d.geometric.image_crop import ImageCrop, pixels_inside
from sam4d.geometric.image_edges import fitted_to_edges
from sam4d.geometric.mask_corrections import touched_changes
from sam4d.geometric.point_surfaces import gap_between_beams, is_slim, seen_rows, spanned_area
from sam4d.geometric.scene import CameraView, FrameScene
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import BoxPrompt, Camera, Float32Array, MaskPrompt, PointPrompt, Prompt, UInt8Array


@dataclass(frozen=True)
class ImageMaskSettings:
    """Sizes in pixels of the scaled crop unless the name says otherwise."""

    longest_side: int = 160
    """The object is scaled to this length: more shows no more of its outline, but costs more."""
    edge_longest_side: int = 400
    """The crop's, where its border is fitted to the edges: only what is larger is scaled down there."""
    largest_scale: float = 3.0
    """Small objects are scaled up at most so many times: their outline lies between the camera's pixels."""
    between_beams: float = 0.45
    """Objects reach beyond their highest and lowest points by about this part of the gap between beams."""
    band: float = 0.7
    """Width of the open band outside the support, in the usual distances between points; inside it is `sure` times as wide."""
    sure: float = 0.3
    least_band: float = 0.02
    """At least this part of the crop, for cameras and LiDAR never agree to the pixel."""
    overhang: float = 0.3
    """Objects reach beyond their outermost points by about this part of the distance between points."""
    hiding: float = 0.25
    """What hides the object is sure so many times the distance between points around its own; its edge is for the image to say."""
    foot_m: float = 0.15
    sill_m: float = 0.7
    """Points up to foot_m above the ground are of what stands on it, those up to sill_m of what hangs above it."""
    clearance_m: float = 0.3
    """What hangs above the ground, a bumper or a sill, goes down to about this height at least."""
    click_radius: int = 3
    click_object_rad: float = 0.08
    """Half the extent assumed of an object of which a camera click is all that is known."""
    most_points: int = 1500
    iterations: int = 1


DEFAULT_IMAGE_MASK_SETTINGS = ImageMaskSettings()


def segment_camera(
    scene: FrameScene,
    camera: Camera,
    lidar_mask: BoolArray,
    prompts: Sequence[Prompt],
    settings: ImageMaskSettings = DEFAULT_IMAGE_MASK_SETTINGS,
) -> BoolArray:
    """The object's mask in one camera, bool (H, W) of the original image.

    Args:
        lidar_mask: bool (N,), the object's points.
        prompts: the object's prompts; those of other sensors are passed over. A mask is taken as it is, and clicks correct it.

    Raises:
        InputError: the frame has no image of this camera.
    """
    mask = np.zeros((camera.height_px, camera.width_px), dtype=np.bool_)
    hints = _Hints.of(camera, prompts)
    view = scene.view(camera)
    rows = seen_rows(scene, view, lidar_mask)
    if hints.mask is not None and not len(hints.clicks):
        return hints.mask
    bounds = _bounds(view.pixels[rows], hints, camera, settings)
    if bounds is None:
        return mask
    crop = ImageCrop.around(bounds, camera, settings.longest_side, settings.largest_scale)
    image = crop.cut(scene.image(camera.name))
    trimap = _trimap(scene, camera, view, image, lidar_mask, rows, hints, crop, settings)
    small = _cut(image, trimap, settings)
    small = _cleaned(small, trimap, hints, crop)
    if hints.mask is None:
        crop.paste(small, mask)
        _fit_to_edges(mask, scene.image(camera.name), view.pixels[rows], hints, crop.at_most(settings.edge_longest_side), settings)
        return mask
    clicks = crop.to_crop(hints.positive), crop.to_crop(hints.negative)
    added, removed = touched_changes(crop.cut_mask(hints.mask), small, *clicks, reach_px=settings.click_radius + 1)
    for change, becomes in ((added, True), (removed, False)):
        mask[:] = False
        crop.paste(change, mask)
        hints.mask[mask] = becomes
    return hints.mask


def _fit_to_edges(
    mask: BoolArray, image: UInt8Array, own_pixels: Float32Array, hints: _Hints, crop: ImageCrop, settings: ImageMaskSettings
) -> None:
    """Moves the border of a mask, bool (H, W), to the image's edges, but over neither prompts nor the object's own points, (K, 2)."""
    said = np.full(crop.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    own = pixels_inside(crop.to_crop(own_pixels), crop.shape)
    said[own[:, 1], own[:, 0]] = cv2.GC_FGD
    if hints.box is not None:
        said[_outside(hints.box, crop)] = cv2.GC_BGD
    _paint_clicks(said, hints, crop, settings)
    may_change = (said == cv2.GC_PR_FGD) | (said == cv2.GC_PR_BGD)
    crop.paste(fitted_to_edges(crop.cut_mask(mask), crop.cut(image), np.asarray(may_change)), mask)


@dataclass(frozen=True, eq=False)
class _Hints:
    """What prompts say in this camera: clicks float64 (C, 2) with labels int64 (C,), box (4,) and mask where given."""

    clicks: Float64Array
    labels: NDArray[np.int64]
    box: Float64Array | None
    mask: BoolArray | None

    @classmethod
    def of(cls, camera: Camera, prompts: Sequence[Prompt]) -> _Hints:
        clicks: list[Float64Array] = [np.zeros((0, 2))]
        labels: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        box: Float64Array | None = None
        mask: BoolArray | None = None
        for prompt in prompts:
            if prompt.sensor != camera.name:
                continue
            match prompt:
                case PointPrompt():
                    clicks.append(np.asarray(prompt.coordinates, dtype=np.float64).reshape(-1, 2))
                    labels.append(np.asarray(prompt.labels, dtype=np.int64))
                case BoxPrompt():
                    box = np.asarray(prompt.box, dtype=np.float64)
                case MaskPrompt():
                    mask = prompt.mask.copy() if mask is None else mask | prompt.mask
        return cls(np.concatenate(clicks), np.concatenate(labels), box, mask)

    @property
    def positive(self) -> Float64Array:
        return np.asarray(self.clicks[self.labels == 1])

    @property
    def negative(self) -> Float64Array:
        return np.asarray(self.clicks[self.labels == 0])


def _bounds(pixels: NDArray[np.float32], hints: _Hints, camera: Camera, settings: ImageMaskSettings) -> Float64Array | None:
    """[u0, v0, u1, v1] around all that speaks for the object; None where nothing does."""
    if hints.box is not None:
        return hints.box
    spoken = [pixels.astype(np.float64), hints.positive]
    if hints.mask is not None and hints.mask.any():
        ys, xs = np.flatnonzero(hints.mask.any(axis=1)), np.flatnonzero(hints.mask.any(axis=0))
        spoken.append(np.array([[xs[0], ys[0]], [xs[-1] + 1, ys[-1] + 1]], dtype=np.float64))
    places = np.concatenate(spoken)
    if not len(places):
        return None
    bounds: Float64Array = np.concatenate([places.min(axis=0), places.max(axis=0)])
    if not len(pixels) and hints.mask is None:
        half = settings.click_object_rad * camera.fx_px
        bounds += np.array([-half, -half, half, half])
    return bounds


def _trimap(
    scene: FrameScene,
    camera: Camera,
    view: CameraView,
    image: UInt8Array,
    lidar_mask: BoolArray,
    rows: NDArray[np.int64],
    hints: _Hints,
    crop: ImageCrop,
    settings: ImageMaskSettings,
) -> UInt8Array:
    """What points and prompts say about each pixel of the crop, in OpenCV's GrabCut labels, uint8 (h, w)."""
    shape = crop.shape
    trimap = np.full(shape, cv2.GC_BGD, dtype=np.uint8)
    places = pixels_inside(crop.to_crop(view.pixels[rows]), shape)
    if hints.mask is not None:
        trimap[crop.cut_mask(hints.mask)] = cv2.GC_PR_FGD
    elif len(places):
        _paint_points(trimap, scene, camera, view, lidar_mask, rows, crop, settings)
    else:
        _paint_guess(trimap, image, hints, crop)
    if hints.box is not None:
        outside = _outside(hints.box, crop)
        if len(places):
            # The box ends where the object ends: what the points left open inside it is for the image to say.
            trimap[(trimap == cv2.GC_BGD) & ~outside & ~_far_from(trimap, 0.25 * min(shape))] = cv2.GC_PR_BGD
        trimap[outside] = cv2.GC_BGD
    _paint_clicks(trimap, hints, crop, settings)
    return trimap


def _outside(box: Float64Array, crop: ImageCrop) -> BoolArray:
    """What of the crop, bool (h, w), lies outside a box (4,) in pixels of the image."""
    corners = np.round(crop.to_crop(box.reshape(2, 2))).astype(int)
    outside = np.ones(crop.shape, dtype=np.bool_)
    outside[max(0, corners[0, 1]) : corners[1, 1], max(0, corners[0, 0]) : corners[1, 0]] = False
    return outside


def _far_from(trimap: UInt8Array, distance: float) -> BoolArray:
    unknown = (trimap == cv2.GC_BGD).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(unknown, cv2.DIST_L2, 3) > distance)


def _paint_points(
    trimap: UInt8Array,
    scene: FrameScene,
    camera: Camera,
    view: CameraView,
    lidar_mask: BoolArray,
    rows: NDArray[np.int64],
    crop: ImageCrop,
    settings: ImageMaskSettings,
) -> None:
    shape = crop.shape
    rng = np.random.default_rng(0)
    chosen = rows if len(rows) <= settings.most_points else rng.choice(rows, settings.most_points, replace=False)
    slim = is_slim(scene, rows)
    support, spacing = spanned_area(crop.to_crop(view.pixels[chosen]), scene.points_m[chosen], slim, shape)
    in_crop = crop.rows_inside(view)
    gap = gap_between_beams(crop.to_crop(view.pixels[in_crop]))
    reach = int(settings.between_beams * min(gap, 0.3 * max(shape)))
    support = cv2.dilate(support.astype(np.uint8), np.ones((2 * reach + 1, 1), dtype=np.uint8)) > 0
    depth_m = float(np.median(view.depth_m[rows]))
    standing, feet = _feet(scene, camera, rows, slim, crop, settings)
    band = float(np.clip(settings.band * spacing, settings.least_band * max(shape), 0.2 * max(shape)))
    outside = cv2.distanceTransform((~support).astype(np.uint8), cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(np.pad(support, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    trimap[outside < band] = cv2.GC_PR_BGD
    trimap[(feet | (outside < settings.overhang * spacing)) & (trimap != cv2.GC_FGD)] = cv2.GC_PR_FGD
    trimap[(inside > settings.sure * band) | standing] = cv2.GC_FGD
    if len(rows) < 4:
        # Too few to span anything: a small spot around each.
        trimap[outside < settings.overhang * spacing + 1] = cv2.GC_FGD

    own = np.zeros(shape, dtype=np.bool_)
    own_places = pixels_inside(crop.to_crop(view.pixels[rows]), shape)
    own[own_places[:, 1], own_places[:, 0]] = True
    to_own = cv2.distanceTransform((~own).astype(np.uint8), cv2.DIST_L2, 5)
    others = in_crop[~lidar_mask[in_crop] & scene.valid[in_crop]]
    places = pixels_inside(crop.to_crop(view.pixels[others]), shape)
    if len(places) != len(others):
        others, places = others[: len(places)], places
    nearer = view.depth_m[others] < depth_m - max(0.7, 0.03 * depth_m)
    # The ground in front of an object is nearer than it, but hides nothing.
    hiding = np.zeros(shape, dtype=np.bool_)
    front = places[nearer & scene.is_object[others]]
    hiding[front[:, 1], front[:, 0]] = True
    if hiding.any():
        to_hiding = cv2.distanceTransform((~hiding).astype(np.uint8), cv2.DIST_L2, 5)
        hidden = (to_hiding < to_own) & (to_hiding < 1.5 * spacing + 1)
        trimap[hidden] = np.where(to_hiding[hidden] < settings.hiding * spacing + 1, cv2.GC_BGD, cv2.GC_PR_BGD)
    # Points behind, and on the ground, speak for background outside the support; inside it they came through glass.
    behind = places[~nearer | scene.is_ground[others]]
    behind = behind[~support[behind[:, 1], behind[:, 0]] & (to_own[behind[:, 1], behind[:, 0]] > 1)]
    known = np.zeros(shape, dtype=np.uint8)
    known[behind[:, 1], behind[:, 0]] = 1
    trimap[(known > 0) & (trimap != cv2.GC_FGD)] = cv2.GC_BGD


def _feet(
    scene: FrameScene, camera: Camera, rows: NDArray[np.int64], slim: bool, crop: ImageCrop, settings: ImageMaskSettings
) -> tuple[BoolArray, BoolArray]:
    """Below the object's lowest points, where all counts as ground: what belongs to it surely and likely, both bool (h, w).

    Wheels and feet reach the ground; what hangs above it, a bumper or a sill, goes on to its usual clearance although no beam met it there.
    """
    surely, likely, hanging = (np.zeros(crop.shape, dtype=np.uint8) for _ in range(3))
    low = rows[scene.height_m[rows] < (2 * settings.foot_m if slim else settings.sill_m)]
    low = low[:: max(1, len(low) // 200)]
    if not len(low):
        return surely > 0, likely > 0
    height_m = np.maximum(scene.height_m[low], 0)
    standing = height_m < settings.foot_m
    tops = np.round(crop.to_crop(scene.view(camera).pixels[low])).astype(int)
    thickness = max(1, round(0.025 * max(crop.shape)))
    for canvas, drop_m, chosen in (
        (surely, 0.7 * height_m, standing),
        (likely, np.minimum(height_m, settings.foot_m), standing | slim),
        (hanging, height_m - settings.clearance_m, (height_m > settings.clearance_m) & (not slim)),
    ):
        ends_m = scene.points_m[low].astype(np.float64)
        ends_m[:, 2] -= drop_m
        pixels, _, seen = camera.project(ends_m)
        ends = np.round(crop.to_crop(np.where(seen[:, None], pixels, 0))).astype(int)
        lines = np.stack([tops, ends], axis=1)[seen & chosen].astype(np.int32)
        cv2.polylines(canvas, list(lines), False, 1, thickness)
    # A single low point may be dirt on the road; a wheel or a foot shows several side by side.
    wide = np.ones((1, 2 * thickness + 1), dtype=np.uint8)
    wheels = cv2.morphologyEx(cv2.morphologyEx(surely, cv2.MORPH_CLOSE, wide[:, :thickness]), cv2.MORPH_OPEN, wide)
    below, bumpers = (np.asarray(cv2.morphologyEx(canvas, cv2.MORPH_CLOSE, wide)) > 0 for canvas in (likely, hanging))
    return (np.asarray(wheels) > 0) | bumpers, below


def _paint_guess(trimap: UInt8Array, image: UInt8Array, hints: _Hints, crop: ImageCrop) -> None:
    """No points: a box is filled by the object, a click is on something of one colour."""
    height, width = trimap.shape
    if hints.box is not None:
        (left, top), (right, bottom) = np.round(crop.to_crop(hints.box.reshape(2, 2))).astype(int)
        trimap[max(0, top) : bottom, max(0, left) : right] = cv2.GC_PR_FGD
        return
    ys, xs = np.mgrid[0:height, 0:width]
    smooth = cv2.bilateralFilter(image, 5, 30, 5)
    for x, y in crop.to_crop(hints.positive):
        trimap[trimap == cv2.GC_BGD] = cv2.GC_PR_BGD
        seed = (int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1)))
        alike = np.zeros((height + 2, width + 2), dtype=np.uint8)
        cv2.floodFill(smooth.copy(), alike, seed, (0, 0, 0), (20,) * 3, (20,) * 3, cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE)
        region = alike[1:-1, 1:-1] > 0
        if region.mean() > 0.6:
            # All of one colour around the click: what lies near it.
            region = np.hypot(xs - x, ys - y) < 0.2 * max(height, width)
        trimap[region] = cv2.GC_PR_FGD
    border = np.ones(trimap.shape, dtype=np.bool_)
    border[2:-2, 2:-2] = False
    trimap[border & (trimap == cv2.GC_PR_BGD)] = cv2.GC_BGD


def _paint_clicks(trimap: UInt8Array, hints: _Hints, crop: ImageCrop, settings: ImageMaskSettings) -> None:
    height, width = trimap.shape
    ys, xs = np.mgrid[0:height, 0:width]
    radius = settings.click_radius
    for clicks, sure, likely in ((hints.positive, cv2.GC_FGD, cv2.GC_PR_FGD), (hints.negative, cv2.GC_BGD, cv2.GC_PR_BGD)):
        for x, y in crop.to_crop(clicks):
            away = np.hypot(xs + 0.5 - x, ys + 0.5 - y)
            around = away < 4 * radius
            # A click outweighs what the points say around it, and the image says how far.
            trimap[around & (trimap != sure)] = likely
            trimap[away <= radius] = sure


def _cut(image: UInt8Array, trimap: UInt8Array, settings: ImageMaskSettings) -> BoolArray:
    """GrabCut from a trimap; the trimap itself where it leaves nothing open."""
    foreground = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    background = ~foreground
    # OpenCV needs samples of both for its five-colour models.
    if foreground.sum() < 8 or background.sum() < 8:
        return np.asarray(foreground)
    cv2.setRNGSeed(0)
    result = trimap.copy()
    model = np.zeros((1, 65))
    cv2.grabCut(image, result, (0, 0, 1, 1), model, model.copy(), settings.iterations, cv2.GC_INIT_WITH_MASK)
    cut = (result == cv2.GC_FGD) | (result == cv2.GC_PR_FGD)
    if cut.sum() < 0.35 * foreground.sum():
        # The image shows no contrast there: better what the points say.
        return np.asarray(foreground)
    return np.asarray(cut)


def _cleaned(cut: BoolArray, trimap: UInt8Array, hints: _Hints, crop: ImageCrop) -> BoolArray:
    """Without crumbs and holes that nothing speaks for."""
    opened = cv2.morphologyEx(cut.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), dtype=np.uint8)) > 0
    kept = np.where(trimap == cv2.GC_FGD, cut, opened | (cut & (cut.sum() < 60)))
    label, count = ndimage.label(kept)
    if count > 1:
        sizes = np.bincount(label.ravel())
        sizes[0] = 0
        said = np.bincount(label[(trimap == cv2.GC_FGD) & kept], minlength=count + 1) > 0
        said |= sizes >= max(20, 0.25 * sizes.max())
        said[0] = False
        kept = said[label]
    filled = ndimage.binary_fill_holes(kept)
    holes = filled & ~kept & (trimap != cv2.GC_BGD)
    result = np.asarray(kept | holes)
    for x, y in np.floor(crop.to_crop(hints.negative)).astype(int):
        if 0 <= y < result.shape[0] and 0 <= x < result.shape[1]:
            result[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = False
    return result
