"""Writing what is true of a scene: boxes, places on the floor, calibration, topology, who is who."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.synth.camera import Camera
from mctrack.synth.identity import Identity
from mctrack.synth.motion import Trajectories
from mctrack.synth.scene import SceneConfig
from mctrack.synth.view import Seen

IGNORE_BELOW = 0.1
"""Boxes of people less visible than this are written with confidence 0: neither hit nor miss."""
GROUND_HZ = 15
AWAY_S = 1.0
"""Out of every picture for longer than this is an absence."""


@dataclass(eq=False)
class CameraTruth:
    """All of one camera: per frame the people in view."""

    camera: Camera
    area: str
    frames: list[list[Seen]] = field(default_factory=list)

    def time_s(self, index: int) -> float:
        """Time of a 0-based frame."""
        return self.camera.start_s + index / self.camera.fps


def write_boxes(folder: Path, truth: CameraTruth) -> None:
    """``gt/<camera>.txt`` (frame from 1, id, left, top, width, height, 1 or 0, class 1, visibility) and its ini."""
    lines = []
    for index, seen in enumerate(truth.frames):
        for s in sorted(seen, key=lambda s: s.person):
            x0, y0, x1, y1 = s.xyxy
            counts = int(s.visibility >= IGNORE_BELOW)
            lines.append(
                f"{index + 1},{s.person + 1},{x0:.2f},{y0:.2f},{x1 - x0:.2f},{y1 - y0:.2f},{counts},1,"
                f"{s.visibility:.4f}\n"
            )
    name, (width, height) = truth.camera.name, truth.camera.size
    (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    (folder / f"{name}.ini").write_text(
        f"[Sequence]\nname={name}\nframeRate={truth.camera.fps:g}\nseqLength={len(truth.frames)}\n"
        f"imWidth={width}\nimHeight={height}\n",
        encoding="utf-8",
    )


def write_ground(path: Path, moves: Trajectories, seconds: float) -> None:
    """``time_s,id,x_m,y_m`` of everyone who is in an area, seen or not, 15 times a second."""
    lines = ["time_s,id,x_m,y_m\n"]
    for k in range(round(seconds * GROUND_HZ)):
        time_s = k / GROUND_HZ
        for person in range(moves.xy.shape[1]):
            there = moves.pose(person, time_s)
            if there is not None:
                lines.append(f"{time_s:.4f},{person + 1},{there[1].x_m:.4f},{there[1].y_m:.4f}\n")
    path.write_text("".join(lines), encoding="utf-8")


def write_json(path: Path, tree: Any) -> None:
    """Indented JSON, but lists of numbers and of words on one line."""
    path.write_text(_json(tree, "") + "\n", encoding="utf-8")


def _json(tree: Any, indent: str) -> str:
    deeper = indent + "  "
    if isinstance(tree, dict) and tree:
        lines = [f"{deeper}{json.dumps(str(k))}: {_json(v, deeper)}" for k, v in tree.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(tree, (list, tuple)) and any(isinstance(v, (dict, list, tuple)) for v in tree):
        return "[\n" + ",\n".join(deeper + _json(v, deeper) for v in tree) + f"\n{indent}]"
    return json.dumps(tree, ensure_ascii=False)


def calibration(truths: list[CameraTruth]) -> dict[str, Any]:
    """The tree of ``calibration.json``."""
    return {
        "units": "m",
        "world": "right-handed, x east, y north, z up; the floor is z = 0",
        "pixels": "continuous, (0, 0) is the top left corner of the picture, the first pixel's centre is (0.5, 0.5)",
        "model": "x_cam = R x_world + t; OpenCV pinhole, dist = k1, k2, p1, p2, k3; homography_image_to_ground maps "
        "undistorted pixels to floor metres",
        "cameras": {t.camera.name: t.camera.to_dict() | {"area": t.area} for t in truths},
    }


@dataclass(frozen=True)
class Stay:
    """A stretch of time in which a person is in some picture of one area."""

    person: int
    area: str
    start_s: float
    end_s: float


def stays(truths: list[CameraTruth]) -> list[Stay]:
    """Everyone's appearances by area, split where they are out of every picture for more than ``AWAY_S``."""
    times: dict[tuple[int, str], set[float]] = defaultdict(set)
    for truth in truths:
        for index, seen in enumerate(truth.frames):
            for s in seen:
                if s.visibility >= IGNORE_BELOW:
                    times[s.person, truth.area].add(round(truth.time_s(index), 4))
    found = []
    for (person, area), moments in times.items():
        t = np.array(sorted(moments))
        cuts = np.flatnonzero(np.diff(t) > AWAY_S)
        for a, b in zip(np.r_[0, cuts + 1], np.r_[cuts, len(t) - 1], strict=True):
            found.append(Stay(person, area, float(t[a]), float(t[b])))
    return sorted(found, key=lambda s: (s.person, s.start_s))


def absences(found: list[Stay]) -> list[dict[str, Any]]:
    """Between one stay and the next of the same person."""
    gaps = []
    for a, b in pairwise(found):
        if a.person == b.person and b.start_s > a.end_s:
            gaps.append(
                {
                    "id": a.person + 1,
                    "from_area": a.area,
                    "to_area": b.area,
                    "left_s": round(a.end_s, 2),
                    "back_s": round(b.start_s, 2),
                    "away_s": round(b.start_s - a.end_s, 2),
                }
            )
    return gaps


def topology(scene: SceneConfig, truths: list[CameraTruth], gaps: list[dict[str, Any]]) -> dict[str, Any]:
    """The tree of ``topology.json``: which cameras overlap, and the times between areas that occurred."""
    groups: dict[str, list[str]] = defaultdict(list)
    for t in truths:
        groups[t.area].append(t.camera.name)
    spans: dict[tuple[str, str], list[float]] = defaultdict(list)
    for gap in gaps:
        spans[gap["from_area"], gap["to_area"]].append(gap["away_s"])
    links = [
        {
            "from": groups[a],
            "to": groups[b],
            "count": len(v),
            "min_s": min(v),
            "median_s": float(np.median(v).round(2)),
            "max_s": max(v),
        }
        for (a, b), v in sorted(spans.items())
    ]
    doors = {f"{a.name}.{d.name}": d.to for a in scene.areas for d in a.doors}
    return {
        "areas": dict(groups),
        "overlapping": [g for g in groups.values() if len(g) > 1],
        "transitions": links,
        "doors": doors,
    }


def identities(
    people: list[Identity], twins: list[dict[str, Any]], found: list[Stay], gaps: list[dict[str, Any]]
) -> dict[str, Any]:
    """The tree of ``identities.json``."""
    return {
        "people": {
            str(k + 1): {
                "description": p.describe(),
                "attributes": p.to_dict(),
                "seen": [
                    {"area": s.area, "from_s": round(s.start_s, 2), "to_s": round(s.end_s, 2)}
                    for s in found
                    if s.person == k
                ],
            }
            for k, p in enumerate(people)
        },
        "look_alikes": twins,
        "absences": gaps,
    }
