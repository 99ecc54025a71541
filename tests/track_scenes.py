"""Seeded synthetic scenes for the tracker's tests: people as boxes, seen by an imperfect detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mctrack.track.camera_tracker import CameraTracker
from mctrack.types import Detections, Tracks

Array = NDArray[np.float64]
FPS = 10.0
NOBODY = Detections.empty()


@dataclass(frozen=True)
class Scene:
    """What a scene holds.

    Attributes:
        people, steps, fps: size and frame rate. width_px, height_px: where people walk.
        miss, low, false: shares of boxes that are missing, have a low score, or are wrong.
        jitter_px: standard deviation of every edge.
        dim: size of the embeddings; 0: none. look_noise: how far a person's crops differ from each other.
        absence: share of people who are away for ``away_s`` seconds once.
        jolt_px: every 20th frame the camera moves by about this much.
        irregular: frame intervals vary by a half.
    """

    people: int = 12
    steps: int = 90
    fps: float = 15.0
    width_px: float = 900.0
    height_px: float = 500.0
    miss: float = 0.05
    low: float = 0.1
    false: float = 0.02
    jitter_px: float = 1.5
    dim: int = 0
    look_noise: float = 0.1
    absence: float = 0.0
    away_s: float = 2.5
    jolt_px: float = 0.0
    irregular: bool = False


@dataclass(frozen=True, eq=False)
class View:
    """One frame: time, detections, and (n,) who each detection shows, −1 where nobody."""

    time_s: float
    detections: Detections
    person: NDArray[np.int64]


def play(scene: Scene, seed: int) -> Iterator[View]:
    """The scene's frames, always the same for a seed."""
    s, rng = scene, np.random.default_rng(seed)
    tall = rng.uniform(60, 140, s.people)
    size = np.stack([0.4 * tall, tall], axis=1)
    limit = np.array([s.width_px, s.height_px])
    centre, speed = rng.uniform(0, 1, (s.people, 2)) * limit, rng.normal(0, 0.5, (s.people, 2)) * tall[:, None]
    looks = _unit(rng.normal(size=(s.people, max(s.dim, 1))))
    leaves_s = np.where(rng.random(s.people) < s.absence, rng.uniform(1, max(s.steps / s.fps, 1), s.people), np.inf)
    camera, time_s = np.zeros(2), 0.0
    for step in range(s.steps):
        dt = rng.uniform(0.5, 1.5) / s.fps if s.irregular else 1 / s.fps
        time_s += dt
        centre = centre + speed * dt
        speed = np.where((centre < 0) & (speed < 0) | (centre > limit) & (speed > 0), -speed, speed)
        if s.jolt_px and step % 20 == 19:
            camera = camera + rng.normal(0, s.jolt_px, 2)
        here = ~((time_s > leaves_s) & (time_s < leaves_s + s.away_s)) & (rng.random(s.people) >= s.miss)
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) + np.tile(camera, 2)
        boxes += rng.normal(0, s.jitter_px, boxes.shape)
        score = np.where(rng.random(s.people) < s.low, rng.uniform(0.15, 0.55, s.people), rng.uniform(0.8, 1, s.people))
        stray = int(rng.binomial(s.people, s.false))
        corner = rng.uniform(0, 1, (stray, 2)) * limit
        wrong = np.concatenate([corner, corner + rng.uniform(30, 120, (stray, 2))], axis=1)
        look = _unit(looks + s.look_noise * rng.normal(size=looks.shape))
        wrong_look = _unit(rng.normal(size=(stray, looks.shape[1])))
        embedding = np.concatenate([look[here], wrong_look]).astype(np.float32) if s.dim else None
        found = Detections(
            np.concatenate([boxes[here], wrong]),
            np.concatenate([score[here], rng.uniform(0.3, 1, stray)]),
            embedding,
        )
        yield View(time_s, found, np.concatenate([np.flatnonzero(here), np.full(stray, -1)]))


def _unit(rows: Array) -> Array:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def seen(*centres: tuple[float, float], score: float = 0.95, looks: np.ndarray | None = None) -> Detections:
    """People of 40 × 100 px at these centres."""
    c = np.array(centres, float).reshape(-1, 2)
    half = np.array([20, 50])
    return Detections(np.concatenate([c - half, c + half], axis=1), np.full(len(c), score), looks)


def follow(
    tracker: CameraTracker, frames: Iterable[Detections], first: int = 0, fps: float = FPS
) -> list[Tracks]:
    """The tracker's results on frames in a row, from number ``first`` on."""
    return [tracker.update(d, i / fps) for i, d in enumerate(frames, first)]


def same(a: Tracks, b: Tracks, atol: float = 0.0) -> None:
    """Assert that two results are equal, boxes and times to ``atol``."""
    for name in ("track_id", "state", "detection_index"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("xyxy", "score", "time_since_update"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=atol)
    assert (a.embedding is None) == (b.embedding is None)
    if a.embedding is not None and b.embedding is not None:
        np.testing.assert_array_equal(a.embedding, b.embedding)
