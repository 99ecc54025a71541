"""FIDI's fidelity counts against a slow loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reid_models import fidelity as module
from reid_models.errors import ReidError
from reid_models.fidelity import fidelity


def slow(features: np.ndarray, pid: list[int]) -> tuple[float, float, int]:
    first = second = anchors = 0
    for a in range(len(pid)):
        near = [math.dist(features[a], features[i]) for i in range(len(pid)) if i != a and pid[i] == pid[a] >= 0]
        far = [math.dist(features[a], features[i]) for i in range(len(pid)) if pid[i] >= 0 and pid[i] != pid[a] >= 0]
        if near and far:
            anchors += 1
            first += sum(d < max(near) for d in far)
            second += sum(d > min(far) for d in near)
    return first / anchors, second / anchors, anchors


@pytest.mark.parametrize("chunk", [1, 70, 4_000_000])
def test_equals_a_slow_loop(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    pid = [*rng.integers(-1, 6, 40), 99]  # 99 has one picture: no anchor, but somebody else to all others
    features = rng.normal(size=(41, 5)) + np.array(pid)[:, None] * 0.3
    found = fidelity(features.astype(np.float32), np.array(pid))
    expected = slow(features.astype(np.float32).astype(float), pid)
    assert (found.error_1, found.error_2, found.anchors) == pytest.approx(expected, rel=1e-12)
    assert found.error_1 > 1
    assert found.error_2 > 0.1


def test_by_hand() -> None:
    # a 0 and 4, b 1 and 9: from 0 the farthest own is at 4 and b's 1 is nearer, and so on
    found = fidelity(np.array([[0.0], [4.0], [1.0], [9.0]]), np.array([0, 0, 1, 1]))
    # Error-I: anchor 0: {1}; 4: {1}; 1: {0, 4}; 9: {4}, 0 is beyond 8      Error-II: every anchor's one positive
    assert found == module.Fidelity(5 / 4, 1.0, 4)


def test_a_perfect_space_and_a_collapsed_one() -> None:
    pid = np.repeat(np.arange(20), 3)
    perfect = np.eye(20)[pid] * 100 + 1e4
    assert fidelity(perfect, pid) == module.Fidelity(0, 0, 60)
    assert fidelity(np.full((60, 7), 0.1), pid) == module.Fidelity(0, 0, 60)  # all equal: no distance is smaller


@pytest.mark.parametrize(("features", "pid", "message"), [
    (np.zeros((3, 2)), np.zeros(4), "do not fit"),
    (np.zeros(3), np.zeros(3), "do not fit"),
    (np.full((2, 2), np.nan), np.zeros(2), "NaN"),
    (np.zeros((3, 2)), np.zeros(3, int), "no picture has both"),
    (np.zeros((3, 2)), np.arange(3), "no picture has both"),
    (np.zeros((0, 2)), np.zeros(0, int), "no picture has both"),
])
def test_what_cannot_be_counted(features: np.ndarray, pid: np.ndarray, message: str) -> None:
    with pytest.raises(ReidError, match=message):
        fidelity(features, pid)
