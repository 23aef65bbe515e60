"""Images put right what was followed in the sweeps: who was taken for another, and what only images show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.tracks_in_images import follow_in_images
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, Cuboid, Frame, Masklet, ObjectMasks, Sweep

FRAMES = 8
CAMERA = Camera("front", 400, 200, 200.0, 200.0, 200.0, 100.0, SE3(np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.zeros(3)))
OTHER_TRACK, OWN_TRACK, UNFOUND_TRACK = 7, 8, 9


def upright_plate(y_m: float) -> NDArray[np.float32]:
    """1 m wide and high, 10 m ahead, 0.5 m above the ground."""
    y, z = np.meshgrid(np.arange(-0.5, 0.5, 0.1), np.arange(-1.0, 0.0, 0.1))
    return np.column_stack([np.full(y.size, 10.0), y_m + y.ravel(), z.ravel()]).astype(np.float32)


def ground() -> NDArray[np.float32]:
    x, y = np.meshgrid(np.arange(2, 40, 0.4), np.arange(-12, 12, 0.4))
    return np.column_stack([x.ravel(), y.ravel(), np.full(x.size, -1.5)]).astype(np.float32)


PLATES_M = (0.0, 4.0, -4.0)
COUNT = len(upright_plate(0.0))


def rows(plate: int) -> slice:
    return slice(plate * COUNT, (plate + 1) * COUNT)


def clip() -> Clip:
    sweep = Sweep(np.concatenate([*map(upright_plate, PLATES_M), ground()]))
    image = np.zeros((200, 400, 3), dtype=np.uint8)
    return Clip("plates", {"front": CAMERA}, tuple(Frame(lambda: sweep, {"front": lambda: image}, SE3.identity()) for _ in range(FRAMES)))


class Plates:
    """A track per plate; those missing on a frame are named."""

    def __init__(self, missing: Mapping[int, tuple[int, ...]] | None = None) -> None:
        self._missing = missing or {}

    def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
        tracks = np.zeros((200, 400), dtype=np.int32)
        for track, y_m in zip((OWN_TRACK, OTHER_TRACK, UNFOUND_TRACK), PLATES_M, strict=True):
            if track not in self._missing.get(frame_index, ()):
                middle = int(200 - 20 * y_m)
                tracks[98:122, middle - 12 : middle + 12] = track
        return tracks

    def label_of(self, camera: str, track: int) -> str:
        return "Car"


def masklet(plates: Mapping[int, tuple[int, ...]]) -> Masklet:
    """The plates that it holds on each frame."""
    size = len(clip().frames[0].load_sweep())
    masks = {}
    for frame, held in plates.items():
        mask = np.zeros(size, dtype=np.bool_)
        for plate in held:
            mask[rows(plate)] = True
        masks[frame] = ObjectMasks(1, frame, {}, mask, 1.0)
    return Masklet(1, "Car", masks, {frame: Cuboid((10.0, 0.0, -0.5), (1.0, 1.0, 1.0), 0.0) for frame in masks})


def test_frames_on_which_it_went_over_to_another_go_and_images_fill_them() -> None:
    found = masklet({frame: (0,) if frame < 6 else (1,) for frame in range(FRAMES)})
    followed = follow_in_images([found], clip(), Plates())
    assert sorted(followed.masklets[0].masks) == list(range(6))
    body = next(body for body in followed.bodies if body.object_id == 1)
    assert sorted(body.masks) == list(range(FRAMES)) == sorted(body.cuboids)
    for mask in body.masks.values():
        assert mask[rows(0)].all()
        assert not mask[COUNT:].any()


def test_frames_on_which_it_holds_two_go() -> None:
    found = masklet({frame: (0, 1) if 1 < frame < 6 else (0,) for frame in range(FRAMES)})
    # On frame 3 the other's mask is missing: it is held there all the same.
    followed = follow_in_images([found], clip(), Plates({3: (OTHER_TRACK,)}))
    assert sorted(followed.masklets[0].masks) == [0, 1, 6, 7]


def test_where_it_was_lost_for_long_images_say_whether_it_is_the_same() -> None:
    found = masklet({frame: (1,) if frame == 0 else (0,) for frame in (0, 5, 6, 7)})
    # On frame 0 both masks are missing: nothing says that it is another there, and nothing that it is the same.
    missing = Plates({0: (OWN_TRACK, OTHER_TRACK)})
    assert sorted(follow_in_images([found], clip(), missing).masklets[0].masks) == [5, 6, 7]
    confirmed = masklet(dict.fromkeys((0, 5, 6, 7), (0,)))
    assert sorted(follow_in_images([confirmed], clip(), Plates()).masklets[0].masks) == [0, 5, 6, 7]


def test_what_its_images_call_by_another_name_gets_that_and_cuboids_of_its_size() -> None:
    class Truck(Plates):
        def label_of(self, camera: str, track: int) -> str:
            return "Truck"

    found = masklet(dict.fromkeys(range(FRAMES), (0,)))
    for source, label, longer in ((Plates(), "Car", False), (Truck(), "Truck", True)):
        followed = follow_in_images([found], clip(), source)
        body = next(body for body in followed.bodies if body.object_id == 1)
        assert followed.masklets[0].label == label
        assert (max(body.cuboids[0].size_lwh_m) > 5) == longer


def test_a_mask_that_is_missing_proves_nothing() -> None:
    found = masklet(dict.fromkeys(range(FRAMES), (0,)))
    followed = follow_in_images([found], clip(), Plates({2: (OWN_TRACK,), 5: (OWN_TRACK, OTHER_TRACK)}))
    assert sorted(followed.masklets[0].masks) == list(range(FRAMES))


def test_what_only_images_show_is_a_body_of_its_own() -> None:
    found = masklet(dict.fromkeys(range(FRAMES), (0,)))
    steps: list[tuple[int, int]] = []
    followed = follow_in_images([found], clip(), Plates(), lambda done, total: steps.append((done, total)))
    assert len(followed.masklets) == 1
    alone = [body for body in followed.bodies if body.object_id != 1]
    assert len({body.object_id for body in alone}) == 2
    held = {plate for body in alone for plate in (1, 2) if all(mask[rows(plate)].all() for mask in body.masks.values())}
    assert held == {1, 2}
    assert steps == [(done, FRAMES) for done in range(1, FRAMES + 1)]


class EachImageByItself(Plates):
    """Masks without ids over time: every image numbers its tracks anew."""

    def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
        tracks = super().tracks_in(frame_index, camera)
        return np.where(tracks > 0, tracks + 100 * frame_index, 0).astype(np.int32)


def test_tracks_of_one_image_each_take_no_frames_away() -> None:
    found = masklet(dict.fromkeys(range(FRAMES), (0,)))
    followed = follow_in_images([found], clip(), EachImageByItself())
    assert sorted(followed.masklets[0].masks) == list(range(FRAMES))
    assert [body.object_id for body in followed.bodies] == [1]


def test_points_far_from_an_object_are_not_its_own() -> None:
    class Wide(Plates):
        """The mask of the first plate runs over the second one."""

        def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
            tracks = super().tracks_in(frame_index, camera)
            return np.where(tracks == OTHER_TRACK, OWN_TRACK, tracks)

    found = masklet(dict.fromkeys(range(FRAMES), (0,)))
    body = next(body for body in follow_in_images([found], clip(), Wide()).bodies if body.object_id == 1)
    assert sorted(body.masks) == list(range(FRAMES))
    assert all(mask[rows(0)].all() and not mask[rows(1)].any() for mask in body.masks.values())
