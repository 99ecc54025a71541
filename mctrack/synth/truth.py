"""Writing what is true of a scene: boxes, places on the floor, calibration, topology, who is who."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.synth.camera import Camera
from mctrack.synth.clock import Shots
from mctrack.synth.identity import Somebody
from mctrack.synth.motion import Trajectories
from mctrack.synth.scene import Area, SceneConfig
from mctrack.synth.view import Seen

IGNORE_BELOW = 0.1
"""Boxes of people less visible than this are written with confidence 0: neither hit nor miss."""
AWAY_S = 1.0
"""Out of every picture for longer than this is an absence."""


@dataclass(eq=False)
class CameraTruth:
    """All of one camera: per frame the people in view."""

    camera: Camera
    area: str
    shots: Shots
    frames: list[list[Seen]] = field(default_factory=list)

    def time_s(self, index: int) -> float:
        """True time of a 0-based frame."""
        return float(self.shots.time_s[index])


def write_boxes(folder: Path, truth: CameraTruth) -> None:
    """``gt/<camera>.txt`` (frame from 1, id, left, top, width, height, 1 or 0, class 1, visibility) and its ini.

    Frames are those that are in the clip. Where their numbers do not tell their times, because the camera's clock is
    not true or frames are lost, ``gt/<camera>_times.csv`` does.
    """
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
    if not truth.shots.plain:
        write_times(folder / f"{name}_times.csv", truth.shots)


def write_times(path: Path, shots: Shots) -> None:
    """``frame,stamp_s,time_s``: frame from 1, its time stamp in the video file, the true time."""
    rows = zip(shots.stamp_s.tolist(), shots.time_s.tolist(), strict=True)
    lines = [f"{k},{stamp_s:.6f},{time_s:.6f}\n" for k, (stamp_s, time_s) in enumerate(rows, 1)]
    path.write_text("frame,stamp_s,time_s\n" + "".join(lines), encoding="utf-8")


def ground_hz(truths: Sequence[CameraTruth]) -> float:
    """How often the floor's truth is written: as often as the fastest camera looks."""
    return max(t.camera.fps for t in truths)


def write_ground(
    path: Path, moves: Trajectories, seconds: float, areas: Sequence[Area], truths: Sequence[CameraTruth]
) -> None:
    """``time_s,id,x_m,y_m,counts`` of everyone in an area or behind its doors, at the fastest camera's rate.

    ``counts`` is 0 where nobody could know of them: behind a door, and in no picture.
    """
    lines = ["time_s,id,x_m,y_m,counts\n"]
    hz = ground_hz(truths)
    for k in range(round(seconds * hz)):
        time_s = k / hz
        seen = set().union(*(_in_sight(t, time_s, hz) for t in truths))
        for person in range(moves.xy.shape[1]):
            there = moves.pose(person, time_s)
            if there is not None:
                x, y = there[1].x_m, there[1].y_m
                counts = person in seen or _inside(areas[there[0]], x, y)
                lines.append(f"{time_s:.4f},{person + 1},{x:.4f},{y:.4f},{int(counts)}\n")
    path.write_text("".join(lines), encoding="utf-8")


def _inside(area: Area, x_m: float, y_m: float) -> bool:
    return all(0 <= v - low <= size for v, low, size in zip((x_m, y_m), area.origin, area.size, strict=True))


def _in_sight(truth: CameraTruth, time_s: float, hz: float) -> set[int]:
    """Who counts in a camera's picture at that moment, by its nearest frame."""
    times = truth.shots.time_s
    k = int(np.abs(times - time_s).argmin())
    if abs(times[k] - time_s) > 0.5 / min(truth.camera.fps, hz) + 1e-6:
        return set()
    return {s.person for s in truth.frames[k] if s.visibility >= IGNORE_BELOW}


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


def clocks(truths: list[CameraTruth], scene: SceneConfig) -> dict[str, dict[str, Any]]:
    """Camera → ``clock`` of ``calibration.json``, of those whose stamps are not the true times or that lost frames."""
    configs = {c.name: c for c in scene.cameras}
    return {
        t.camera.name: {
            "clock": {
                "offset_s": configs[t.camera.name].clock_offset_s,
                "drift_ppm": configs[t.camera.name].clock_drift_ppm,
                "frames": len(t.shots),
                "lost": t.shots.taken - len(t.shots),
                "first_stamp_s": float(t.shots.stamp_s[0]),
            }
        }
        for t in truths
        if not t.shots.plain
    }


def calibration(truths: list[CameraTruth], scene: SceneConfig) -> dict[str, Any]:
    """The tree of ``calibration.json``."""
    told = clocks(truths, scene)
    about = "time_s = offset_s + stamp_s / (1 + drift_ppm / 1e6), stamp_s as in the video file; start_s is time_s of "
    about += "the first frame; frames counts those in the clip, lost those that are not"
    return {
        "units": "m",
        "world": "right-handed, x east, y north, z up; the floor is z = 0",
        "pixels": "continuous, (0, 0) is the top left corner of the picture, the first pixel's centre is (0.5, 0.5)",
        "model": "x_cam = R x_world + t; OpenCV pinhole, dist = k1, k2, p1, p2, k3; homography_image_to_ground maps "
        "undistorted pixels to floor metres",
        **({"clock": about} if told else {}),
        "cameras": {t.camera.name: t.camera.to_dict() | {"area": t.area} | told.get(t.camera.name, {}) for t in truths},
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
    people: Sequence[Somebody], twins: list[dict[str, Any]], found: list[Stay], gaps: list[dict[str, Any]]
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
