"""Who counts on the ground plane of a generated scene."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mctrack.synth.scene import load_scene
from mctrack.synth.truth import write_ground


class Moves:
    """Person 0 stands in the room, 1 behind its door and 2, out of every picture but for one frame, too; 3 is away."""

    xy = np.zeros((1, 4, 2))

    def pose(self, person: int, time_s: float) -> tuple[int, Any] | None:
        return None if person == 3 else (0, SimpleNamespace(x_m=2.5 + person, y_m=3.0 if person == 0 else 7.0))


def test_whoever_is_inside_or_seen_counts_and_nobody_behind_a_wall_does(tmp_path: Path) -> None:
    areas = load_scene("lab").areas
    seen = [[SimpleNamespace(person=2, visibility=v)] for v in (0.05, 0.4, 0.0)]  # 5 Hz: each frame is near 3 moments
    truth: Any = SimpleNamespace(shots=SimpleNamespace(time_s=np.arange(3) / 5), camera=SimpleNamespace(fps=5.0),
                                 frames=seen)  # fmt: skip
    quick: Any = SimpleNamespace(shots=SimpleNamespace(time_s=np.array([9.0])), camera=SimpleNamespace(fps=15.0),
                                 frames=[[]])  # fmt: skip
    write_ground(tmp_path / "a.csv", Moves(), 0.6, areas, [truth, quick])  # type: ignore[arg-type]
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    counts = {k: [int(r["counts"]) for r in rows if r["id"] == str(k + 1)] for k in range(4)}
    assert counts == {0: [1] * 9, 1: [0] * 9, 2: [0, 0, 1, 1, 1, 0, 0, 0, 0], 3: []}


def test_a_camera_without_a_frame_near_by_says_nothing(tmp_path: Path) -> None:
    truth: Any = SimpleNamespace(shots=SimpleNamespace(time_s=np.array([5.0])), camera=SimpleNamespace(fps=15.0),
                                 frames=[[SimpleNamespace(person=2, visibility=1.0)]])  # fmt: skip
    write_ground(tmp_path / "a.csv", Moves(), 0.1, load_scene("lab").areas, [truth])  # type: ignore[arg-type]
    assert all(r["counts"] == str(int(r["id"] == "1")) for r in csv.DictReader((tmp_path / "a.csv").open()))
