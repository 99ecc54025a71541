"""How far and how fast people went, whatever boxes tremble and names jump."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mctrack.sinks.paths import GroundPath, ground_paths, travelled
from mctrack.sinks.reader import StoreReader
from mctrack.sinks.schema import Boxes, CameraInfo
from mctrack.types import FloatArray, IntArray

TIME_S: FloatArray = np.arange(0, 60, 0.1)


def walk(
    x: NDArray[Any], y: NDArray[Any] | float = 0.0, noise_m: float = 0.0, time_s: NDArray[Any] = TIME_S
) -> GroundPath:
    xy = np.stack([x, np.broadcast_to(y, x.shape)], axis=1)
    return GroundPath(np.asarray(time_s, np.float64), xy + np.random.default_rng(0).normal(0, noise_m, xy.shape))


@pytest.mark.parametrize("noise_m", [0.0, 0.03, 0.1])
def test_jitter_adds_little(noise_m: float) -> None:
    straight = travelled(walk(1.3 * TIME_S, noise_m=noise_m))
    assert straight.distance_m == pytest.approx(77.9, rel=0.02)
    assert straight.mean_m_s == pytest.approx(1.3, rel=0.02)
    assert 1.29 < straight.top_m_s < 1.31 + 4 * noise_m
    around = travelled(walk(1.5 * np.cos(TIME_S), 1.5 * np.sin(TIME_S), noise_m))
    assert around.distance_m == pytest.approx(1.5 * 59.9, rel=0.07)
    standing = travelled(walk(np.zeros(600), noise_m=noise_m))
    # the sum of all steps would be 106 m at 10 cm
    assert standing.distance_m <= 60 * noise_m
    assert standing.top_m_s < 0.5


def test_half_the_time_standing() -> None:
    way = travelled(walk(np.minimum(1.4 * TIME_S, 42.0), noise_m=0.02))
    assert way.distance_m == pytest.approx(42, rel=0.02)
    assert way.mean_m_s == pytest.approx(0.7, rel=0.03)
    assert way.top_m_s == pytest.approx(1.4, abs=0.1)


def test_a_jump_is_no_sprint() -> None:
    way = travelled(walk(1.3 * TIME_S, 3.0 * (TIME_S > 30)))
    assert way.distance_m == pytest.approx(77.9, rel=0.01)
    assert way.top_m_s == pytest.approx(1.3, abs=0.02)


def test_who_is_away_walks_nowhere_we_know_of() -> None:
    time_s = np.asarray(TIME_S[(TIME_S < 20) | (TIME_S >= 40)], float)
    way = travelled(walk(time_s, time_s=time_s))
    assert way.located_s == pytest.approx(39.8)
    assert way.distance_m == pytest.approx(39.8, rel=0.01)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_glimpses(n: int) -> None:
    way = travelled(walk(0.1 * np.arange(n), time_s=0.1 * np.arange(n)))
    assert way.distance_m <= 0.1 * (n - 1) + 1e-9
    assert way.top_m_s <= 1.0 + 1e-9
    assert np.isfinite([way.distance_m, way.mean_m_s, way.top_m_s]).all()


class Recorded(StoreReader):
    """Two cameras of different rates; nobody's database. One identity in both, and a track without a name."""

    def __init__(self, fps: tuple[float, float] = (10.0, 5.0)) -> None:
        self.fps = dict(zip("ab", fps, strict=True))

    def cameras(self) -> list[CameraInfo]:
        return [CameraInfo(name, name, 640, 480, fps) for name, fps in self.fps.items()]

    def frame_times(self, camera: str) -> tuple[IntArray, FloatArray]:
        n = round(4 * self.fps[camera])
        return np.arange(n), np.arange(n) / self.fps[camera]

    def boxes(self, camera: str, confirmed_only: bool = True, with_global: bool = True) -> Boxes:
        index, time_s = self.frame_times(camera)
        n = len(index)
        ground = np.stack([time_s + (0.2 if camera == "b" else 0.0), np.zeros(n)], axis=1)
        ground[0] = np.nan
        one = np.ones(n, np.int64)
        named = Boxes(index, one, 7 * one, np.zeros((n, 4)), np.ones(n), one, np.zeros(n, bool), ground)
        nameless = Boxes(index, 2 * one, -one, np.zeros((n, 4)), np.ones(n), one, np.zeros(n, bool), 5 + ground)
        fields = ("frame_index", "track_id", "global_id", "xyxy", "score", "state", "filled", "ground_m")
        return Boxes(*(np.concatenate([getattr(named, f), getattr(nameless, f)]) for f in fields))


def test_paths_of_several_cameras_are_one() -> None:
    paths = ground_paths(Recorded())
    assert list(paths) == [7]
    assert np.all(np.diff(paths[7].time_s) > 0)
    assert len(paths[7].time_s) == 39
    np.testing.assert_allclose(paths[7].xy_m[paths[7].time_s == 0.1], [[0.1, 0.0]])
    np.testing.assert_allclose(paths[7].xy_m[np.isclose(paths[7].time_s, 0.2)], [[0.3, 0.0]])  # between the two cameras


def test_a_slow_camera_leaves_no_gaps() -> None:
    paths = ground_paths(Recorded((0.5, 0.5)))
    assert len(paths[7].stretches()) == 1
    assert len(ground_paths(Recorded())[7].stretches()) == 1
