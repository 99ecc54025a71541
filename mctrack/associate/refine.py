"""The second look: with the whole run at hand, which tracklets are one person?

Online, an identity has to be named within seconds and is seldom taken back. Here all tracklets are known. They are cut
where they seem to have swapped people, compared each with each, and grouped by average linkage on calibrated log-odds
under constraints: two tracklets that one camera sees at one time are two people, and nobody is faster than people are.
Single tracklets then move to the group that they fit best, until none wants to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.looks import unit
from mctrack.types import IntArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
MIN_SAMPLES = 4
"""Looks on either side of a cut."""


@dataclass(frozen=True)
class RefineOptions:
    """How sure to be.

    Attributes:
        need: average log-odds from which two groups are one person.
        keep: log-odds added where the online pass had named two tracklets alike: it saw more than looks.
        split: log-odds between both parts below which a tracklet is cut.
        near_s, near_odds: a tracklet that begins where another one has just ended, within so many seconds, is likely
            the same person going on.
        speed: fastest motion believed within one picture, heights per second.
        apart_share: cameras in which people are seen together less than this share of the time do not overlap.
        apart_odds: log-odds taken off then for being in both at once.
        rounds: sweeps of single moves.
    """

    need: float = 0.0
    keep: float = 0.5
    split: float = -2.5
    near_s: float = 2.0
    near_odds: float = 3.0
    speed: float = 4.0
    apart_share: float = 0.05
    apart_odds: float = 6.0
    rounds: int = 10


@dataclass(frozen=True, eq=False)
class Pieces:
    """n stretches of tracklets, each believed to be one person.

    Attributes:
        camera, track_id: (n,).
        begin_s, end_s: (n,) first and last sight. begin_frame, end_frame: (n,) the same, both included.
        begin_box, end_box: (n, 4) ``xcycwh`` there.
        look: (n, d) unit means, zeros where none was seen. weight: (n,) evidence in each.
        name: (n,) identity of the online pass, −1 for none.
    """

    camera: IntArray
    track_id: IntArray
    begin_s: Array
    end_s: Array
    begin_frame: IntArray
    end_frame: IntArray
    begin_box: Array
    end_box: Array
    look: Array
    weight: Array
    name: IntArray

    def __len__(self) -> int:
        return len(self.camera)


def split_place(looks: Array, weight: Array, scene: SceneCalibration, limit: float) -> int | None:
    """Where a tracklet changes from one person to another, if it does.

    Args:
        looks: (k, d) unit rows in order of time. weight: (k,) quality of each.
        limit: log-odds of both parts being one person below which it is cut.

    Returns:
        The row that begins the second part, or None.
    """
    k = len(looks)
    if k < 2 * MIN_SAMPLES:
        return None
    total = np.cumsum(looks * weight[:, None], axis=0)
    cuts = np.arange(MIN_SAMPLES, k - MIN_SAMPLES + 1)
    early, late = unit(total[cuts - 1]), unit(total[-1] - total[cuts - 1])
    distance = 1.0 - np.einsum("ij,ij->i", early, late)
    worst = int(distance.argmax())
    return int(cuts[worst]) if float(scene.log_odds(distance[worst : worst + 1])[0]) < limit else None


def cannot_link(pieces: Pieces, speed: float) -> Mask:
    """(n, n) pairs that no identity may hold: seen at one time by one camera, or too far apart for the time between."""
    same = pieces.camera[:, None] == pieces.camera
    gap = np.maximum(pieces.begin_s[:, None] - pieces.end_s, pieces.begin_s - pieces.end_s[:, None])
    together = same & (gap <= 0)
    reach = _heights_between(pieces)
    # from the end of the earlier one to the beginning of the later; half a height is forgiven for boxes that jump
    too_far = same & (gap > 0) & (reach > 0.5 + speed * gap)
    out = together | too_far
    np.fill_diagonal(out, False)
    return out


def _heights_between(pieces: Pieces) -> Array:
    """(n, n) distance from the earlier one's last to the later one's first foot point, in box heights."""
    foot_end = pieces.end_box[:, :2] + [0, 0.5] * pieces.end_box[:, 3:]
    foot_begin = pieces.begin_box[:, :2] + [0, 0.5] * pieces.begin_box[:, 3:]
    step = np.linalg.norm(foot_end[:, None] - foot_begin[None], axis=-1)
    height = 0.5 * (pieces.end_box[:, None, 3] + pieces.begin_box[None, :, 3])
    forward = step / np.maximum(height, 1.0)
    return np.where(pieces.end_s[:, None] <= pieces.begin_s, forward, forward.T)


def pair_odds(pieces: Pieces, scene: SceneCalibration, options: RefineOptions) -> Array:
    """(n, n) symmetric log-odds of each two pieces being one person, by looks, by the online pass and by place."""
    known = np.asarray(pieces.look.any(axis=1))
    odds = scene.log_odds(np.round(1.0 - pieces.look @ pieces.look.T, 9))
    odds = np.where(known[:, None] & known, odds, 0.0)
    named = pieces.name >= 0
    agreed = (pieces.name[:, None] == pieces.name) & named[:, None] & named
    # without looks the online pass is all there is
    odds += np.where(agreed, options.keep, np.where(known[:, None] & known, 0.0, -options.keep))
    gap = pieces.begin_s[None, :] - pieces.end_s[:, None]
    follows = (pieces.camera[:, None] == pieces.camera) & (gap > 0) & (gap <= options.near_s)
    close = follows & (_heights_between(pieces) <= 0.3 + 1.0 * np.abs(gap))
    bonus = np.where(close, options.near_odds * (1 - gap / options.near_s), 0.0)
    odds += bonus + bonus.T
    np.fill_diagonal(odds, 0.0)
    return odds


def group(odds: Array, weight: Array, forbidden: Mask, options: RefineOptions) -> IntArray:
    """(n,) group of each piece, numbered from 0: average linkage under constraints, then single moves."""
    label = _agglomerate(odds, weight, forbidden, options.need)
    for _ in range(options.rounds):
        if not _move(label, odds, weight, forbidden, options.need):
            break
    return np.unique(label, return_inverse=True)[1].reshape(-1)


def _agglomerate(odds: Array, weight: Array, forbidden: Mask, need: float) -> IntArray:
    """Join the two groups of the highest weighted mean log-odds as long as that is above ``need``."""
    n = len(odds)
    label = np.arange(n)
    pair_weight = weight[:, None] * weight
    total, mass, barred = odds * pair_weight, pair_weight.copy(), forbidden.copy()
    np.fill_diagonal(barred, True)
    alive = np.ones(n, bool)
    mean = np.where(barred, -np.inf, total / np.maximum(mass, 1e-12))
    best = mean.argmax(axis=1) if n else np.zeros(0, np.int64)
    for _ in range(n - 1):
        value = np.where(alive, mean[np.arange(n), best], -np.inf)
        a = int(value.argmax())
        if not value[a] > need:
            break
        b = int(best[a])
        label[label == b] = a
        alive[b] = False
        for table in (total, mass):
            table[a] += table[b]
            table[:, a] = table[a]
        barred[a] |= barred[b]
        barred[:, a] = barred[a]
        barred[b] = barred[:, b] = barred[a, a] = True
        mean[a] = np.where(barred[a] | ~alive, -np.inf, total[a] / np.maximum(mass[a], 1e-12))
        mean[:, a] = mean[a]
        mean[b] = mean[:, b] = -np.inf
        stale = alive & ((best == a) | (best == b))
        stale[a] = True
        best[stale] = mean[stale].argmax(axis=1)
        better = alive & (mean[:, a] > mean[np.arange(n), best])
        best[better] = a
    return label


def _move(label: IntArray, odds: Array, weight: Array, forbidden: Mask, need: float) -> bool:
    """Let each piece go where its weighted mean log-odds are highest, on its own if nowhere above ``need``."""
    moved = False
    for i in range(len(label)):
        groups, place = np.unique(label, return_inverse=True)
        place = place.reshape(-1)
        others = weight.copy()
        others[i] = 0.0
        mass = np.bincount(place, others, len(groups))
        mean = np.bincount(place, others * odds[i], len(groups)) / np.maximum(mass, 1e-12)
        barred = np.bincount(place, forbidden[i], len(groups)) > 0
        mean = np.where(barred | (mass <= 0), -np.inf, mean)
        best, own = int(mean.argmax()), int(place[i])
        if mean[best] <= need:
            if mass[own] > 0 and mean[own] <= need:
                label[i] = label.max() + 1
                moved = True
        elif best != own and mean[best] > mean[own] + 1e-9:
            label[i] = groups[best]
            moved = True
    return moved


def apart_pairs(pieces: Pieces, label: IntArray, options: RefineOptions) -> Mask:
    """(n, n) pairs at one time in two cameras whose views, by what the groups show, do not overlap."""
    cameras = np.unique(pieces.camera)
    shared = np.minimum(pieces.end_s[:, None], pieces.end_s) - np.maximum(pieces.begin_s[:, None], pieces.begin_s)
    shared = np.maximum(shared, 0.0)
    same = label[:, None] == label
    out = np.zeros_like(same)
    for i, a in enumerate(cameras.tolist()):
        for b in cameras[i + 1 :].tolist():
            between = (pieces.camera[:, None] == a) & (pieces.camera == b)
            seen_s = [float((pieces.end_s - pieces.begin_s)[pieces.camera == c].sum()) for c in (a, b)]
            together_s = float(shared[between & same].sum())
            if together_s < options.apart_share * min(seen_s):
                out |= (between | between.T) & (shared > 0)
    return out


def refine(pieces: Pieces, scene: SceneCalibration, options: RefineOptions | None = None) -> IntArray:
    """(n,) identity of each piece.

    Groups keep the online identity that they hold most seconds of; the others get new numbers above all used ones.
    """
    options = options or RefineOptions()
    if not len(pieces):
        return np.zeros(0, np.int64)
    odds, forbidden = pair_odds(pieces, scene, options), cannot_link(pieces, options.speed)
    weight = np.maximum(pieces.weight, 0.05)
    label = group(odds, weight, forbidden, options)
    apart = apart_pairs(pieces, label, options)
    if apart.any():
        label = group(odds - options.apart_odds * apart, weight, forbidden, options)
    return rename(pieces, label)


def rename(pieces: Pieces, label: IntArray) -> IntArray:
    """(n,) identities for the groups: as few people as possible change their number."""
    groups = np.unique(label)
    names = np.unique(pieces.name[pieces.name >= 0])
    seconds = np.zeros((len(groups), len(names)))
    rows = np.flatnonzero(pieces.name >= 0)
    duration = pieces.end_s - pieces.begin_s + 1e-3
    place = np.searchsorted(groups, label[rows]), np.searchsorted(names, pieces.name[rows])
    np.add.at(seconds, place, duration[rows])
    out = np.full(len(groups), -1, np.int64)
    i, j = linear_sum_assignment(-seconds)
    held = seconds[i, j] > 0
    out[i[held]] = names[j[held]]
    free = out < 0
    begin = np.array([pieces.begin_s[label == g].min() for g in groups])
    fresh = np.flatnonzero(free)[np.argsort(begin[free], kind="stable")]
    out[fresh] = int(names.max(initial=0)) + 1 + np.arange(len(fresh))
    return out[np.searchsorted(groups, label)]


def learn_scene(pieces: Pieces, halves: Sequence[tuple[int, int, float]], scene: SceneCalibration) -> None:
    """Teach the calibration: who is seen at one time by one camera differs, halves of one tracklet do not.

    Args:
        halves: (camera, track_id, distance of the early from the late half) of tracklets.
    """
    for camera, track_id, distance in halves:
        scene.add("same", (camera, track_id), distance)
    known = np.asarray(pieces.look.any(axis=1))
    gap = np.maximum(pieces.begin_s[:, None] - pieces.end_s, pieces.begin_s - pieces.end_s[:, None])
    together = (pieces.camera[:, None] == pieces.camera) & (gap <= 0) & known[:, None] & known
    i, j = np.nonzero(np.triu(together, 1))
    step = -(-len(i) // scene.capacity) or 1
    for a, b in zip(i[::step].tolist(), j[::step].tolist(), strict=True):
        key = (int(pieces.camera[a]), int(pieces.track_id[a]), int(pieces.track_id[b]))
        scene.add("different", key, 1.0 - float(pieces.look[a] @ pieces.look[b]))
