"""Scores on the ground plane: distances in metres in the place of overlaps.

- MODA and MODP (Kasturi et al. 2009) at 0.5 m, as the public multi-view detection kits compute them for WILDTRACK:
  in each frame as many pairs as possible within the radius, then the smallest total distance; MODP is the mean of
  1 − d/radius.
- MOTA and IDF1 at 1 m, as they are reported for WILDTRACK: motmetrics' rules on squared distances (a pair is kept
  for as long as it stays within the radius, whenever the person was last matched).
- GOSPA (Rahmathullah et al. 2017, eq. 1) with α = 2, the case in which it splits into localisation, missed and false.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mctrack.evaluation.assign import best_total
from mctrack.evaluation.score import Counts
from mctrack.types import FloatArray, IntArray

NO_ID = -1
"""The identity of positions that have none."""


@dataclass(frozen=True, eq=False)
class GroundTable:
    """Positions of one scene: ``frame`` (n,), ``track_id`` (n,) (−1: none), ``xy_m`` (n, 2) in metres.

    ``neutral`` (n,) marks truth that is neither hit nor miss; None: there is none.
    """

    frame: IntArray
    track_id: IntArray
    xy_m: FloatArray
    neutral: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.frame)
        if self.track_id.shape != (n,) or self.xy_m.shape != (n, 2):
            raise ValueError(f"track_id {self.track_id.shape} and xy_m {self.xy_m.shape} do not fit {n} frames")
        if not np.isfinite(self.xy_m).all():
            raise ValueError("xy_m holds values that are not finite")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def has_ids(self) -> bool:
        """Whether every position has an identity."""
        return bool((self.track_id != NO_ID).all())

    def take(self, index: np.ndarray) -> GroundTable:
        """The rows at the given indices, or under a boolean mask."""
        neutral = None if self.neutral is None else self.neutral[index]
        return GroundTable(self.frame[index], self.track_id[index], self.xy_m[index], neutral)


@dataclass
class GroundProtocol:
    """What is counted on the ground plane; the keys of a benchmark's ``ground``."""

    moda_m: float = 0.5
    """Radius of MODA and MODP."""
    mota_m: float = 1.0
    """Radius of MOTA and IDF1."""
    gospa_c_m: float = 1.0
    """GOSPA's cut-off c."""
    gospa_p: float = 2.0
    """GOSPA's order p."""

    @property
    def line(self) -> str:
        """The protocol in words."""
        return (f"ground plane: MODA/MODP within {self.moda_m:g} m, MOTA/IDF1 within {self.mota_m:g} m by motmetrics' "
                f"rules, GOSPA with p = {self.gospa_p:g}, c = {self.gospa_c_m:g} m, α = 2")


@dataclass(frozen=True, eq=False)
class _Moment:
    """The rows of one frame in both tables and their (n, m) distances in metres."""

    gt: IntArray
    result: IntArray
    distance: FloatArray


def _moments(gt: GroundTable, result: GroundTable) -> Iterator[_Moment]:
    """All frames that hold truth or results, in order."""
    orders = [np.argsort(t.frame, kind="stable") for t in (gt, result)]
    frames = np.union1d(gt.frame, result.frame)
    starts = [np.append(np.searchsorted(t.frame[o], frames), len(t)) for t, o in zip((gt, result), orders, strict=True)]
    for f in range(len(frames)):
        rows, cols = (o[s[f] : s[f + 1]] for o, s in zip(orders, starts, strict=True))
        delta = gt.xy_m[rows][:, None] - result.xy_m[cols][None]
        yield _Moment(rows, cols, np.hypot(delta[..., 0], delta[..., 1]))


def assign_within(cost: FloatArray, allowed: np.ndarray) -> tuple[IntArray, IntArray]:
    """As many allowed pairs as possible, and of those solutions the cheapest; rows and columns of the pairs.

    Args:
        cost: (n, m) finite, not negative.
        allowed: (n, m) mask.
    """
    if not allowed.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # more than all allowed costs together: no saving is worth one pair less
    forbidden = 1.0 + 2.0 * min(cost.shape) * float(cost[allowed].max())
    rows, cols = linear_sum_assignment(np.where(allowed, cost, forbidden))
    kept = allowed[rows, cols]
    return rows[kept], cols[kept]


def without_neutral(gt: GroundTable, result: GroundTable, radius_m: float) -> tuple[GroundTable, GroundTable]:
    """Both without what is neither hit nor miss: neutral truth, and the results that belong to it.

    As MOTChallenge does it with distractors: results are assigned to all truth, neutral or not, frame by frame.
    """
    if gt.neutral is None or not gt.neutral.any():
        return gt, result
    keep = np.ones(len(result), bool)
    for moment in _moments(gt, result):
        rows, cols = assign_within(moment.distance, moment.distance <= radius_m)
        keep[moment.result[cols[gt.neutral[moment.gt[rows]]]]] = False
    return gt.take(~gt.neutral), result.take(keep)


def detection_counts(gt: GroundTable, result: GroundTable, radius_m: float = 0.5) -> Counts:
    """Additive counts ``DET_TP DET_FP DET_FN`` and ``MODP_sum`` (of 1 − d/radius over the pairs)."""
    pairs, near = 0, 0.0
    for moment in _moments(gt, result):
        rows, cols = assign_within(moment.distance, moment.distance <= radius_m)
        pairs += len(rows)
        near += float((1 - moment.distance[rows, cols] / radius_m).sum())
    return {"DET_TP": pairs, "DET_FP": len(result) - pairs, "DET_FN": len(gt) - pairs, "MODP_sum": near}


def tracking_counts(gt: GroundTable, result: GroundTable, radius_m: float = 1.0) -> Counts:
    """Additive CLEAR and ID counts by motmetrics' rules.

    ``TP FP FN IDSW Frag MT PT ML``, ``Near_sum`` (of 1 − d/radius over the pairs) and ``IDTP IDFP IDFN``.
    """
    last: dict[int, int] = {}  # person → result identity of the last match
    tracked: dict[int, list[bool]] = {}
    true, switches, near = 0, 0, 0.0
    for moment in _moments(gt, result):
        people, names = gt.track_id[moment.gt].tolist(), result.track_id[moment.result].tolist()
        pairs, switched = _match_moment(people, names, moment.distance, radius_m, last)
        switches += switched
        true += len(pairs)
        near += sum(1 - moment.distance[i, j] / radius_m for i, j in pairs)
        matched = {i for i, _ in pairs}
        for i, person in enumerate(people):
            tracked.setdefault(person, []).append(i in matched)
    shares = np.array([np.mean(flags) for flags in tracked.values()])
    mostly, lost = int((shares >= 0.8).sum()), int((shares < 0.2).sum())
    return {
        "TP": true, "FP": len(result) - true, "FN": len(gt) - true, "IDSW": switches,
        "Frag": sum(_fragments(flags) for flags in tracked.values()),
        "MT": mostly, "PT": len(shares) - mostly - lost, "ML": lost, "Near_sum": near,
        **_identity_counts(gt, result, radius_m),
    }  # fmt: skip


def _match_moment(people: list[int], names: list[int], distance: FloatArray, radius_m: float,
                  last: dict[int, int]) -> tuple[list[tuple[int, int]], int]:
    """Pairs of one frame and the number of switches among them; ``last`` is brought up to date."""
    column = {name: j for j, name in enumerate(names)}
    pairs: list[tuple[int, int]] = []
    free = distance <= radius_m
    for i, person in enumerate(people):
        j = column.get(last.get(person, NO_ID), NO_ID)
        if j != NO_ID and free[i, j]:
            pairs.append((i, j))
            free[i, :] = free[:, j] = False
    switches = 0
    rows, cols = assign_within(distance**2, free)
    for i, j in zip(rows.tolist(), cols.tolist(), strict=True):
        switches += last.get(people[i], names[j]) != names[j]
        last[people[i]] = names[j]
        pairs.append((i, j))
    return pairs, switches


def _fragments(flags: list[bool]) -> int:
    """How often a person was lost and found again."""
    at = np.flatnonzero(flags)
    return int((np.diff(at) > 1).sum())


def _identity_counts(gt: GroundTable, result: GroundTable, radius_m: float) -> Counts:
    people, gt_label = np.unique(gt.track_id, return_inverse=True)
    names, label = np.unique(result.track_id, return_inverse=True)
    together = np.zeros((len(people), len(names)))
    for moment in _moments(gt, result):
        i, j = np.nonzero(moment.distance <= radius_m)
        np.add.at(together, (gt_label[moment.gt[i]], label[moment.result[j]]), 1)
    row, col = np.nonzero(together)
    true = best_total(row, col, together[row, col])[0]
    return {"IDTP": true, "IDFP": len(result) - true, "IDFN": len(gt) - true}


def gospa_sums(gt: GroundTable, result: GroundTable, p: float = 2.0, c_m: float = 1.0) -> Counts:
    """Additive sums over frames of GOSPA's parts, in metresᵖ: ``GOSPA_loc_sum``, ``_missed_sum``, ``_false_sum``.

    With α = 2 a frame's GOSPAᵖ is the least, over all assignments, of Σ dᵖ over the pairs plus cᵖ/2 for everyone left
    over. A pair is worth having if it is nearer than c; so pairs at c or more never are.
    """
    if not (p >= 1 and c_m > 0):
        raise ValueError(f"GOSPA needs p ≥ 1 and c > 0, not p = {p}, c = {c_m}")
    near, missed, false, frames = 0.0, 0, 0, 0
    for moment in _moments(gt, result):
        gain = np.maximum(c_m**p - moment.distance**p, 0.0)  # what a pair saves
        rows, cols = linear_sum_assignment(gain, maximize=True)
        paired = gain[rows, cols] > 0
        near += float((moment.distance[rows[paired], cols[paired]] ** p).sum())
        missed += len(moment.gt) - int(paired.sum())
        false += len(moment.result) - int(paired.sum())
        frames += 1
    half = c_m**p / 2
    return {"GOSPA_frames": frames, "GOSPA_loc_sum": near, "GOSPA_missed_sum": half * missed,
            "GOSPA_false_sum": half * false}


def ground_counts(gt: GroundTable, result: GroundTable, protocol: GroundProtocol | None = None) -> Counts:
    """All additive counts of one sequence; those about identities only where both sides have them."""
    rules = protocol or GroundProtocol()
    gt, result = without_neutral(gt, result, rules.mota_m)
    counts = {"GT_Boxes": len(gt), "Boxes": len(result)}
    counts |= detection_counts(gt, result, rules.moda_m)
    counts |= gospa_sums(gt, result, rules.gospa_p, rules.gospa_c_m)
    if gt.has_ids and result.has_ids:
        counts |= {"GT_IDs": len(np.unique(gt.track_id)), "IDs": len(np.unique(result.track_id))}
        counts |= tracking_counts(gt, result, rules.mota_m)
    return counts


def ground_figures(counts: Counts, protocol: GroundProtocol | None = None) -> dict[str, float | int | None]:
    """Figures from counts: ratios as fractions of 1, GOSPA in metres, None where identities are missing.

    ``GOSPA`` is the root of the mean over frames of GOSPAᵖ, its parts likewise: GOSPAᵖ = locᵖ + missedᵖ + falseᵖ.
    """
    p = (protocol or GroundProtocol()).gospa_p
    found: dict[str, float | int | None] = {}
    truth, boxes, true = counts["GT_Boxes"], counts["Boxes"], counts["DET_TP"]
    found["MODA"] = (true - counts["DET_FP"]) / truth if truth else 0.0
    found["MODP"] = counts["MODP_sum"] / max(true, 1)
    found["Rcll"], found["Prcn"] = true / max(truth, 1), true / max(boxes, 1)
    parts = [counts[f"GOSPA_{part}_sum"] / max(counts["GOSPA_frames"], 1) for part in ("loc", "missed", "false")]
    found["GOSPA"] = float(sum(parts) ** (1 / p))
    for name, part in zip(("loc", "missed", "false"), parts, strict=True):
        found[f"GOSPA_{name}"] = float(part ** (1 / p))
    known = "TP" in counts
    wrong = counts["FP"] + counts["IDSW"] if known else 0
    found |= {
        "MOTA": ((counts["TP"] - wrong) / truth if truth else 0.0) if known else None,
        "MOTP": counts["Near_sum"] / max(counts["TP"], 1) if known else None,
        "IDF1": 2 * counts["IDTP"] / max(truth + boxes, 1) if known else None,
        "IDP": counts["IDTP"] / max(boxes, 1) if known else None,
        "IDR": counts["IDTP"] / max(truth, 1) if known else None,
    }
    found |= {key: int(counts[key]) for key in ("DET_TP", "DET_FP", "DET_FN", "GT_Boxes", "Boxes")}
    for key in ("FP", "FN", "IDSW", "Frag", "MT", "PT", "ML", "GT_IDs", "IDs"):
        found[key] = int(counts[key]) if known else None
    return found
