"""The tracker's results on two synthetic scenes, kept to the pixel: speeding it up must not change what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from track_scenes import Scene, play

from mctrack.config import TrackConfig
from mctrack.track.camera_tracker import CameraTracker
from mctrack.track.kalman import MotionNoise

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "track_synthetic.txt"
# every value of the defaults on the day the file was written, so that tuning them does not touch this test
NOISE = MotionNoise(0.2, 0.7, 0.12, 0.1, 0.05, 0.07, 1.0, 10.0, 0.5, 1.2)
CONFIG = {
    "high_score": 0.6, "low_score": 0.1, "new_score": 0.8, "crowd_sigma": 0.5, "n_init": 4, "max_age_s": 1.5,
    "gate": 30.0, "max_cost": 0.75, "weight_overlap": 0.7, "weight_motion": 0.7, "weight_score": 0.1,
    "weight_appearance": 0.5, "tentative_cost": 0.1, "low_iou": 0.4, "low_gap_s": 0.0, "low_s": 1e9,
    "duplicate_iou": 0.7, "consensus_motion": True, "rebirth_s": 30.0, "rebirth_probability": 0.7,
    "rebirth_margin": 0.05, "rebirth_speed": 1.5, "max_tracks": 1000, "max_dormant": 200,
}  # fmt: skip
SCENES = {
    "motion": (Scene(people=10, steps=80, jolt_px=25.0, irregular=True), {"buffer": 0.0, "buffer_growth": 0.0}),
    "reid": (Scene(people=8, steps=120, dim=16, absence=0.6), {"buffer": 0.1, "buffer_growth": 0.2}),
}


def run_scene(name: str, motion: str = "kalman") -> np.ndarray:
    """(n, 8) rows of frame, track_id, state, detection_index, xyxy."""
    scene, extra = SCENES[name]
    noise = dict(vars(NOISE))
    tracker = CameraTracker(TrackConfig(motion=motion, noise=noise, **CONFIG, **extra))
    rows = []
    for frame, view in enumerate(play(scene, seed=7)):
        t = tracker.update(view.detections, view.time_s)
        rows.append(np.c_[np.full(len(t), frame), t.track_id, t.state, t.detection_index, t.xyxy])
    return np.concatenate(rows)


def read_golden(name: str) -> np.ndarray:
    lines = [line.split(",", 1) for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    return np.array([[float(v) for v in rest.split(",")] for scene, rest in lines if scene == name])


def write_golden() -> None:
    """Make the file anew; only where the algorithm itself is meant to change (see the file's head)."""
    head = [line for line in GOLDEN.read_text().splitlines() if line.startswith("#")] if GOLDEN.exists() else []
    body = [
        f"{name}," + ",".join([*(f"{int(v)}" for v in row[:4]), *(f"{v:.4f}" for v in row[4:])])
        for name in SCENES
        for row in run_scene(name)
    ]
    GOLDEN.write_text("\n".join(head + body) + "\n")


@pytest.mark.parametrize("name", SCENES)
def test_results_equal_the_golden_file(name: str) -> None:
    expected, found = read_golden(name), run_scene(name)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found[:, :4], expected[:, :4])
    np.testing.assert_allclose(found[:, 4:], expected[:, 4:], rtol=0, atol=1e-3)


def test_golden_scenes_exercise_what_they_should() -> None:
    """Absences that only re-birth can bridge, coasting, tentative tracks, and no ID twice in a frame."""
    for name in SCENES:
        rows = read_golden(name)
        assert {0, 1, 2} <= set(rows[:, 2])
        assert len(np.unique(rows[:, :2], axis=0)) == len(rows)
    reid = read_golden("reid")
    gaps = [np.diff(reid[(reid[:, 1] == i) & (reid[:, 3] >= 0), 0]).max(initial=0) for i in np.unique(reid[:, 1])]
    assert max(gaps) > 1.5 * 15
