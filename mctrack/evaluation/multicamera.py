"""Identities across cameras: one space of identities over all of them.

- MC_IDF1: the ID measures over all cameras' boxes at once, as MTMC challenges score it (Ristani et al. 2016). Every
  person counts, also one seen by a single camera.
- CVIDF1 and CVMA as DIVOTrack's kit computes them (Hao et al. 2023): CVIDF1 is the IDF1 of the cameras put one after
  another, which is MC_IDF1 again; CVMA is the MOTA of the cameras' frames interleaved in time, so that naming a
  person differently in two cameras costs a switch at every instant.
- Hand-overs: a person leaves one camera and next appears in another: right if both visits bear one result identity.
- ID purity: the share of matched boxes whose result identity mostly means that person; ID completeness the other
  way round: the share whose person mostly bears that result identity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mctrack.evaluation.clear import clear_counts, match
from mctrack.evaluation.identity import identity_counts
from mctrack.evaluation.table import BoxTable, Overlaps, find_overlaps
from mctrack.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class CameraView:
    """One camera's overlaps, and the (f,) time in seconds of each row of ``overlaps.frames``."""

    overlaps: Overlaps
    time_s: FloatArray


@dataclass(frozen=True)
class Visit:
    """A person's stay in a camera: from when to when, and the result identity most of it bore (None: never found)."""

    camera: str
    person: int
    start_s: float
    end_s: float
    result_id: int | None


def cross_camera_figures(
    views: Mapping[str, CameraView], threshold: float = 0.5, gap_s: float = 1.0
) -> dict[str, Any]:
    """All figures across cameras, ratios as fractions of 1.

    Args:
        views: camera → its overlaps after preprocessing; identities mean the same person in every camera.
        threshold: IoU from which boxes match.
        gap_s: a person out of a camera's sight for longer than this has left it.

    Returns:
        ``MC_IDF1 MC_IDP MC_IDR CVIDF1 CVMA ID_purity ID_completeness HandOver`` (share of right hand-overs
        between different cameras; None if there were none), ``HandOvers`` (their number), ``Return`` and
        ``Returns`` (the same for returns to one camera), ``pairs`` (``"a > b"`` → right and total).
    """
    parts = [v.overlaps for v in views.values()]
    counts = identity_counts(parts, threshold)
    truth, boxes = sum(len(p.gt_id) for p in parts), sum(len(p.result_id) for p in parts)
    f1 = 2 * counts["IDTP"] / max(truth + boxes, 1)
    matched = {name: match(view.overlaps, threshold) for name, view in views.items()}
    clear = cross_view_clear(views, threshold)
    wrong = clear["FN"] + clear["FP"] + clear["IDSW"]
    purity, completeness = id_purity(parts, list(matched.values()))
    return {
        "MC_IDF1": f1,
        "MC_IDP": counts["IDTP"] / max(boxes, 1),
        "MC_IDR": counts["IDTP"] / max(truth, 1),
        "CVIDF1": f1,
        "CVMA": 1 - wrong / truth if truth else 0.0,
        "CV_IDSW": int(clear["IDSW"]),
        "ID_purity": purity,
        "ID_completeness": completeness,
        **hand_over_figures(visits(views, matched, gap_s)),
    }


def cross_view_clear(views: Mapping[str, CameraView], threshold: float = 0.5) -> dict[str, float]:
    """CLEAR counts of all cameras' frames interleaved: by time, and by the cameras' order where times are equal."""
    merged = interleave(list(views.values()))
    return clear_counts(merged, match(merged, threshold))


def interleave(views: list[CameraView]) -> Overlaps:
    """All frames of all cameras as one sequence in the order of time; ``frames`` counts them from 0."""
    if not views:
        return find_overlaps(BoxTable.empty(), BoxTable.empty())
    parts = [v.overlaps for v in views]
    time_s = np.concatenate([v.time_s for v in views])
    rank = np.empty(len(time_s), np.int64)
    rank[np.argsort(time_s, kind="stable")] = np.arange(len(time_s))
    frames = np.cumsum([0, *(len(p.frames) for p in parts)])
    gt_frame = np.concatenate([rank[p.frame_of_gt() + f] for p, f in zip(parts, frames, strict=False)])
    result_frame = np.concatenate([rank[p.frame_of_result() + f] for p, f in zip(parts, frames, strict=False)])
    gt_order, gt_place = _order(gt_frame)
    result_order, result_place = _order(result_frame)
    gt_first = np.cumsum([0, *(len(p.gt_id) for p in parts)])
    result_first = np.cumsum([0, *(len(p.result_id) for p in parts)])
    row = np.concatenate([gt_place[p.row + g] for p, g in zip(parts, gt_first, strict=False)])
    col = np.concatenate([result_place[p.col + r] for p, r in zip(parts, result_first, strict=False)])
    pair_order = np.lexsort((col, row))
    numbers = np.arange(len(rank) + 1)
    gt_start = np.searchsorted(gt_frame[gt_order], numbers)
    return Overlaps(
        numbers[:-1], gt_start, np.searchsorted(result_frame[result_order], numbers),
        np.concatenate([p.gt_id for p in parts])[gt_order],
        np.concatenate([p.result_id for p in parts])[result_order],
        row[pair_order], col[pair_order], np.concatenate([p.iou for p in parts])[pair_order],
        np.searchsorted(row[pair_order], gt_start),
    )  # fmt: skip


def _order(frame: IntArray) -> tuple[IntArray, IntArray]:
    """Stable order by frame, and each box's place in it."""
    order = np.argsort(frame, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return order, place


def id_purity(parts: list[Overlaps], matched: list[IntArray]) -> tuple[float, float]:
    """Purity and completeness of the result identities over the matched boxes of all cameras; 0 without any."""
    table: dict[tuple[int, int], int] = defaultdict(int)
    for part, index in zip(parts, matched, strict=True):
        pairs = np.stack([part.gt_id[part.row[index]], part.result_id[part.col[index]]], axis=1)
        for (person, result), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            table[int(person), int(result)] += int(count)
    best_person: dict[int, int] = defaultdict(int)
    best_result: dict[int, int] = defaultdict(int)
    for (person, result), count in table.items():
        best_person[result] = max(best_person[result], count)
        best_result[person] = max(best_result[person], count)
    total = max(sum(table.values()), 1)
    return sum(best_person.values()) / total, sum(best_result.values()) / total


def visits(views: Mapping[str, CameraView], matched: Mapping[str, IntArray], gap_s: float) -> list[Visit]:
    """All stays of all persons in all cameras, by person and start."""
    found: list[Visit] = []
    for camera, view in views.items():
        part = view.overlaps
        time_s = view.time_s[part.frame_of_gt()]
        result = np.full(len(part.gt_id), -1, np.int64)  # which result box each true box matched
        result[part.row[matched[camera]]] = part.col[matched[camera]]
        order = np.lexsort((time_s, part.gt_id))
        person, at = part.gt_id[order], time_s[order]
        begins = np.ones(len(order), bool)
        begins[1:] = (person[1:] != person[:-1]) | (at[1:] - at[:-1] > gap_s)
        for stay in np.split(order, np.flatnonzero(begins)[1:]) if len(order) else []:
            seen = result[stay][result[stay] >= 0]
            ids, counts = np.unique(part.result_id[seen], return_counts=True)
            mostly = int(ids[np.argmax(counts)]) if len(ids) else None
            start_s, end_s = float(time_s[stay[0]]), float(time_s[stay[-1]])
            found.append(Visit(camera, int(part.gt_id[stay[0]]), start_s, end_s, mostly))
    return sorted(found, key=lambda v: (v.person, v.start_s, v.end_s, v.camera))


def hand_over_figures(stays: list[Visit]) -> dict[str, Any]:
    """Right and all hand-overs per pair of cameras: a person's consecutive visits, by the time they begin.

    A visit in which the person was never found makes its hand-overs wrong: they were not followed.
    """
    pairs: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for before, after in pairwise(stays):
        if before.person == after.person:
            tally = pairs[before.camera, after.camera]
            tally[0] += before.result_id is not None and before.result_id == after.result_id
            tally[1] += 1
    moved = [t for (a, b), t in pairs.items() if a != b]
    stayed = [t for (a, b), t in pairs.items() if a == b]
    return {
        "HandOver": _share(moved),
        "HandOvers": sum(t[1] for t in moved),
        "Return": _share(stayed),
        "Returns": sum(t[1] for t in stayed),
        "pairs": {f"{a} > {b}": {"right": t[0], "total": t[1]} for (a, b), t in sorted(pairs.items())},
    }


def _share(tallies: list[list[int]]) -> float | None:
    total = sum(t[1] for t in tallies)
    return sum(t[0] for t in tallies) / total if total else None
