"""Numbers of a run's configuration: every key has a range, and what is outside is told in a line, before anything."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from mctrack.associate import CameraView
from mctrack.associate.online import OnlineAssociator
from mctrack.cli import main
from mctrack.config import AssociateConfig, RunConfig, TrackConfig, load_config
from mctrack.config_checks import RANGES, Range, check_numbers
from mctrack.errors import ConfigError
from mctrack.run import run
from mctrack.track.camera_tracker import CameraTracker
from mctrack.track.kalman import MotionNoise
from mctrack.track.motdt import OPTION_RANGES, MotdtOptions, MotdtTracker
from mctrack.types import Detections

NAN, INFINITY = math.nan, math.inf


def numeric_keys(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Key and type of every field that holds numbers, also in a dict or a list."""
    hints = get_type_hints(cls)
    for f in fields(cls):
        hint = hints[f.name]
        if is_dataclass(hint):
            yield from numeric_keys(hint, f"{prefix}{f.name}.")
        elif _leaves(hint) & {int, float}:
            yield prefix + f.name, hint


def _leaves(hint: Any) -> set[Any]:
    parts = get_args(hint)
    return set().union(*map(_leaves, parts)) if parts else {hint}


KEYS = dict(numeric_keys(RunConfig))


def test_every_number_has_a_range_and_every_range_a_number() -> None:
    assert len(KEYS) > 60
    for key, hint in KEYS.items():
        kind = get_origin(hint)
        if kind is dict:
            assert any(k.startswith(f"{key}.") for k in RANGES), f"mctrack/config_checks.py: no range for {key}.*"
        else:
            assert kind in (None, Union, types.UnionType)
            assert key in RANGES, f"mctrack/config_checks.py: no range for {key}"
            assert RANGES[key].whole == (int in _leaves(hint)), key
    assert {k for k in RANGES if k.removesuffix(".*") not in KEYS and not k.startswith("track.noise.")} == set()
    for allowed in (*RANGES.values(), *OPTION_RANGES.values()):
        assert math.isfinite(allowed.low)
        assert math.isfinite(allowed.high)
        assert NAN not in allowed
        assert INFINITY not in allowed
        assert -INFINITY not in allowed


def test_names_in_mappings_are_those_of_what_they_set() -> None:
    assert [k.removeprefix("track.noise.") for k in RANGES if k.startswith("track.noise.")] == [
        f.name for f in fields(MotionNoise)]
    assert list(OPTION_RANGES) == [f.name for f in fields(MotdtOptions)]
    for name, value in vars(MotdtOptions()).items():
        assert OPTION_RANGES[name].whole == isinstance(value, int)


def test_the_defaults_are_in_range() -> None:
    check_numbers(RunConfig())
    CameraTracker(TrackConfig(noise=vars(MotionNoise())))
    MotdtTracker(TrackConfig(options=vars(MotdtOptions())))


def test_ranges_say_what_they_hold() -> None:
    for allowed, text, inside, outside in (
        (Range(0, 1), "a number from 0 to 1", (0, 0.5, 1), (-0.1, 1.1)),
        (Range(0, 1, above=True), "a number above 0, at most 1", (1e-9, 1), (0, -0.0, 2)),
        (Range(0, 1, above=True, below=True), "a number above 0 and below 1", (0.5,), (0, 1)),
        (Range(1, 10**6, whole=True), "a whole number from 1 to 1000000", (1, 2.0, 10**6), (0, 2.5, 10**400)),
    ):
        assert str(allowed) == text
        assert all(v in allowed for v in inside)
        assert all(v not in allowed for v in outside)


@pytest.mark.parametrize(("assignment", "said"), [
    ("track.gate=nan", "track.gate is nan; expected a number above 0"),
    ("track.gate=0", "track.gate is 0.0; expected a number above 0"), ("track.gate=-1", "track.gate is -1.0"),
    ("detect.score=nan", "detect.score is nan; expected a number from 0 to 1"), ("detect.score=inf", "detect.score"),
    ("detect.min_height_px=nan", "detect.min_height_px"), ("detect.max_detections=0", "detect.max_detections"),
    ("detect.nms_iou=-1", "detect.nms_iou"), ("detect.input_size=100000", "a whole number from 16 to 4096"),
    ("reid.min_score=nan", "reid.min_score"), ("track.max_cost=0", "track.max_cost"),
    ("track.weight_motion=inf", "track.weight_motion"), ("track.n_init=0", "track.n_init"),
    ("track.n_init=1000000000", "track.n_init"), ("track.max_tracks=0", "track.max_tracks"),
    ("track.rebirth_s=nan", "track.rebirth_s"), ("track.noise={measure: nan}", "track.noise.measure is nan"),
    ("track.noise={measure: 0}", "track.noise.measure"), ("track.noise={measure: -1}", "track.noise.measure"),
    ("track.noise={measur: 1}", "track.noise: unknown key 'measur' (did you mean 'measure'?)"),
    ("track.options={appearance: nan}", "track.options.appearance is nan"),
    ("track={weight_overlap: 0, weight_motion: 0, weight_score: 0}", "expected one above 0"),
    ("associate.link_probability=1", "a number above 0 and below 1"), ("associate.wait_s=-1", "associate.wait_s"),
    ("associate.samples=0", "associate.samples"), ("associate.margin=nan", "associate.margin"),
    ("associate.transitions={cam1->cam1: [nan, 2]}", "associate.transitions.cam1->cam1 is nan"),
    ("video.offset_s={cam1: 1e30}", "video.offset_s.cam1 is 1e+30"), ("output.commit_s=0", "output.commit_s is 0"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(
    assignment: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "--cams", "missing.mp4", "--set", assignment])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, len(err.splitlines())) == (2, "", 1), err
    assert said in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("assignment", [
    "track.crowd_sigma=0", "track.rebirth_s=0", "track.rebirth_s=null", "track.duplicate_iou=2", "track.buffer=0",
    "track.tentative_cost=0", "track.max_dormant=0", "track.max_age_s=0", "track.high_score=0", "track.noise.accel=0",
    "associate.hindsight_s=0", "associate.margin=-1", "associate.new_probability=0", "video.reconnects=-1",
    "video.offset_s={a: -1.7e9}", "video.max_frames=null", "detect.min_height_px=0", "detect.nms_iou=1",
    "detect.max_detections=1000000", "associate.transitions={'a->b': [-5, 20]}", "output.checkpoint_s=0",
])  # fmt: skip
def test_what_makes_sense_is_allowed(assignment: str) -> None:
    load_config(RunConfig, assignments=[assignment])


def test_a_configuration_made_in_python_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"track\.gate is nan"):
        run(RunConfig(cams=["missing.mp4"], track=TrackConfig(gate=NAN)))


@pytest.mark.parametrize("motion", ["kalman", "filterpy"])
def test_trackers_on_their_own_refuse_noise_and_options(motion: str) -> None:
    for tracker in (CameraTracker, MotdtTracker):
        for noise, said in (({"measur": 1.0}, "did you mean 'measure'"), ({"measure": NAN}, "measure is nan")):
            with pytest.raises(ConfigError, match=said):
                tracker(TrackConfig(motion=motion, noise=noise))
    for options, said in (
        ({"appearance": NAN}, "appearance is nan"), ({"max_lost": NAN}, "max_lost is nan"),
        ({"min_hits": 2.5}, "a whole number"), ({"gallery": 0}, "gallery is 0"), ({"__init__": 1.0}, "unknown key"),
    ):
        with pytest.raises(ConfigError, match=said):
            MotdtTracker(TrackConfig(motion=motion, options=options))


# ---------------------------------------------------------------------- what is in range can be computed with


def ends(allowed: Range) -> tuple[float, float]:
    """The least and the greatest number in a range."""
    low = math.nextafter(allowed.low, 1) if allowed.above and not allowed.low else allowed.low
    high = math.nextafter(allowed.high, 0) if allowed.below else allowed.high
    return (int(low), int(high)) if allowed.whole else (low, high)


def watched(tracker: Any, associator: OnlineAssociator, rng: np.random.Generator) -> None:
    for k in range(30):
        x = np.array([100.0 + 3 * k, 200.0 - 2 * k, 400.0])
        xyxy = np.stack([x, np.full(3, 50.0), x + 40, np.full(3, 160.0)], axis=1) + rng.normal(0, 1, (3, 4))
        looks = np.eye(3, 8, dtype=np.float32)
        there = slice(0, 3 if k % 7 else 1)
        found = Detections(xyxy[there], np.array([0.9, 0.8, 0.95])[there], looks[there])
        tracks = tracker.update(found, k / 10)
        associator.update(k / 10, [CameraView("a", tracks, np.full(len(tracks), 0.9))])
        assert np.isfinite(tracks.xyxy).all()
    associator.finish()


def sharp(distance: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp((np.asarray(distance) - 0.3) / 0.05))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("key", [k for k in RANGES if k.startswith(("track.", "associate.")) and "*" not in k])
def test_the_ends_of_every_range_can_be_computed_with(key: str, rng: np.random.Generator) -> None:
    section, _, name = key.partition(".")
    for value in ends(RANGES[key]):
        track, associate = TrackConfig(n_init=2, max_age_s=0.15), AssociateConfig(samples=1, name_s=0.2)
        if name.startswith("noise."):
            track = replace(track, noise={name.removeprefix("noise."): value})
        elif section == "track":
            track = replace(track, **{name: value})
        else:
            associate = replace(associate, **{name: value})
        watched(CameraTracker(track, sharp), OnlineAssociator(associate, ["a"], sharp), rng)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", OPTION_RANGES)
def test_the_ends_of_motdts_options_can_be_computed_with(name: str, rng: np.random.Generator) -> None:
    for value in ends(OPTION_RANGES[name]):
        tracker = MotdtTracker(TrackConfig(options={name: float(value)}))
        watched(tracker, OnlineAssociator(AssociateConfig(), ["a"], sharp), rng)
