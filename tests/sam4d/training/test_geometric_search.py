"""The search finds back from bad parameters, keeps what is good, and goes on where it was interrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sam4d.geometric.parameters import BOUNDS, DEFAULT_PARAMETERS, GeometricParameters, parameters_to_json
from sam4d.geometric.predictor import GeometricPredictor
from sam4d.simulation import simulate_drive
from sam4d.structures import InputError
from sam4d.training import geometric_search
from sam4d.training.frames_in_memory import FramesInMemory, named
from sam4d.training.geometric_search import SearchResult, search_parameters
from sam4d.training.held_out import HeldOut, JudgedObject, Stopped, is_better, judge
from sam4d.training.labelled_clip import LabelledClip

GOOD = replace(DEFAULT_PARAMETERS, gap_m=0.3, match_m=0.2)


def small_clip(seed: int, frame_count: int = 2) -> LabelledClip:
    drive = simulate_drive(seed, frame_count, camera_names=("front",), image_size_px=(160, 100), beam_count=32, azimuth_count=300)
    return LabelledClip.whole(drive.clip, drive.masklets)


@pytest.fixture(scope="module")
def clip() -> LabelledClip:
    return small_clip(3)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[GeometricParameters]:
    """What was judged; `GOOD` is best, and everything else the worse the farther it is from there."""
    asked: list[GeometricParameters] = []

    def judge_by_distance(predictor: GeometricPredictor, *_: object, **__: object) -> HeldOut:
        asked.append(predictor.parameters)
        wanted, given = parameters_to_json(GOOD), parameters_to_json(predictor.parameters)
        off = sum(abs(given[name] / value - 1) for name, value in wanted.items())
        return HeldOut("test", (JudgedObject(0, "clip", 1, None, 1 / (1 + off), None, None),))

    monkeypatch.setattr(geometric_search, "judge", judge_by_distance)
    monkeypatch.setattr(GeometricPredictor, "prewarm", lambda *_: None)
    return asked


def test_it_finds_what_is_better(clip: LabelledClip, judged: list[GeometricParameters]) -> None:
    result = search_parameters([clip], most_evaluations=100)
    assert result.best_score > 0.85 > result.start_score + 0.2
    assert (result.best.gap_m, result.best.match_m) == pytest.approx((0.3, 0.2), rel=0.1)
    assert result.evaluations == len(judged) == len({parameters.digest for parameters in judged})
    assert all(least <= getattr(parameters, name) <= most for parameters in judged for name, (least, most) in BOUNDS.items())


def test_it_keeps_what_is_good(clip: LabelledClip, judged: list[GeometricParameters]) -> None:
    result = search_parameters([clip], GOOD, most_evaluations=100)
    assert (result.best, result.best_score) == (GOOD, result.start_score)
    assert result.evaluations == len(judged) == 1 + 2 * len(BOUNDS) * len(geometric_search.STEPS)
    assert "nothing is better" in str(result)


def test_what_one_object_alone_gains_is_chance(clip: LabelledClip, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge_by_gap(predictor: GeometricPredictor, *_: object, **__: object) -> HeldOut:
        # With a wider gap the first object gains a lot and the others nothing; with a narrower one all gain a little.
        wider, narrower = (float(way * (predictor.parameters.gap_m - 0.2) > 0) for way in (1, -1))
        scores = (0.5 + 0.4 * wider + 0.01 * narrower, 0.6 + 0.01 * narrower, 0.7 + 0.02 * narrower)
        return HeldOut("test", tuple(JudgedObject(0, "clip", k, None, score, None, None) for k, score in enumerate(scores)))

    monkeypatch.setattr(geometric_search, "judge", judge_by_gap)
    monkeypatch.setattr(GeometricPredictor, "prewarm", lambda *_: None)
    result = search_parameters([clip], most_evaluations=100)
    assert result.best.gap_m < DEFAULT_PARAMETERS.gap_m
    assert result.best == replace(DEFAULT_PARAMETERS, gap_m=result.best.gap_m)


def test_it_ends_with_its_budget(clip: LabelledClip, judged: list[GeometricParameters]) -> None:
    told: list[tuple[int, int]] = []
    result = search_parameters([clip], most_evaluations=7, progress=lambda *done: told.append(done))
    assert result.evaluations == len(judged) == 7
    assert told == [(done, 7) for done in range(1, 8)]
    alone = search_parameters([clip], most_evaluations=1)
    assert (alone.best, alone.evaluations) == (DEFAULT_PARAMETERS, 1)


def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path, clip: LabelledClip, judged: list[GeometricParameters]) -> None:
    whole = search_parameters([clip], most_evaluations=30)
    judged.clear()

    def interrupted(done: int, _: int) -> None:
        if done == 11:
            raise KeyboardInterrupt

    kept = tmp_path / "judged.json"
    with pytest.raises(KeyboardInterrupt):
        search_parameters([clip], most_evaluations=30, kept=kept, progress=interrupted)
    assert search_parameters([clip], most_evaluations=30, kept=kept) == whole
    assert len(judged) == 30
    assert search_parameters([clip], most_evaluations=30, kept=kept) == whole
    assert len(judged) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["judged.json"]


@pytest.mark.parametrize("change", ["another clip", "damaged", "other fields"])
def test_what_was_judged_of_something_else_does_not_count(
    tmp_path: Path, clip: LabelledClip, judged: list[GeometricParameters], change: str
) -> None:
    kept = tmp_path / "judged.json"
    search_parameters([clip], most_evaluations=3, kept=kept)
    if change == "another clip":
        clip = replace(clip, masklets=clip.masklets[1:])
    elif change == "damaged":
        kept.write_bytes(kept.read_bytes()[:-30])
    else:
        kept.write_text(json.dumps({"of": json.loads(kept.read_text())["of"], "judged": [{"parameters": {"gap": 1}, "scores": [1]}]}))
    search_parameters([clip], most_evaluations=3, kept=kept)
    assert len(judged) == 6


def test_it_can_be_stopped(clip: LabelledClip) -> None:
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    with pytest.raises(Stopped):
        search_parameters([clip], most_evaluations=50, stop=soon)


def test_clips_without_objects_are_refused(clip: LabelledClip) -> None:
    with pytest.raises(InputError, match="clips to learn from: expected a labelled object"):
        search_parameters([replace(clip, masklets=())])
    with pytest.raises(InputError, match="clips to learn from"):
        search_parameters([])


@pytest.mark.parametrize("which", [0, 1])
def test_the_engine_answers_at_its_bounds(clip: LabelledClip, which: int) -> None:
    extreme = GeometricParameters(**{name: bounds[which] for name, bounds in BOUNDS.items()})
    assert 0 <= judge(GeometricPredictor(parameters=extreme), [clip]).score < judge(GeometricPredictor(), [clip]).score


def test_prepared_frames_in_memory_change_nothing(clip: LabelledClip) -> None:
    plain = judge(GeometricPredictor(), [clip])
    for most_bytes in (0, 300_000, 1 << 28):
        predictor = GeometricPredictor(FramesInMemory(most_bytes))
        kept = named(clip, "0", (0, 1))
        for _ in range(2):
            predictor.prewarm(kept.clip, 0)
            predictor.prewarm(kept.clip, 1)
            assert judge(predictor, [kept]) == plain


def test_memory_is_bounded(clip: LabelledClip) -> None:
    roomy, tight = (search_parameters([clip], most_evaluations=3, memory_bytes=most_bytes) for most_bytes in (1 << 28, 1000))
    assert roomy == tight


@pytest.mark.slow
def test_it_recovers_from_bad_parameters() -> None:
    training, held_out = [small_clip(3, 3)], [small_clip(4, 3)]
    bad = replace(DEFAULT_PARAMETERS, gap_m=0.09, gap_per_metre=0.003)
    result: SearchResult = search_parameters(training, bad, most_evaluations=25, objects_per_clip=8)
    assert result.best_score > result.start_score + 0.15
    before, after = (judge(GeometricPredictor(parameters=parameters), held_out) for parameters in (bad, result.best))
    assert is_better(before, after)
    assert not is_better(after, before)
    assert after.score > judge(GeometricPredictor(), held_out).score - 0.05
