"""The second look: with the whole run at hand, which tracklets are one person?

Online, an identity has to be named within seconds and is seldom taken back. Here all tracklets are known. They are cut
where they seem to have swapped people, compared each with each, and grouped by average linkage on calibrated log-odds
(:mod:`mctrack.associate.linkage`) under constraints: two tracklets that one camera sees at one time are two people, and
nobody is faster than people are. Single tracklets then move to the group that they fit best, until none wants to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.linkage import Evidence, agglomerate, lawful, move, worth
from mctrack.associate.looks import unit
from mctrack.associate.paths import FloorEvidence
from mctrack.associate.transitions import Transitions
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
        apart_share: cameras do not overlap if less than this share of the people seen in both is ever in both at once.
        apart_odds: log-odds taken off then for being in both at once. at_once_s: for longer than this.
        lingers_s: two tracklets of one camera may share this much time and be one person: an old box may linger, or go
            off with somebody else, when a new one has taken over.
        sure: log-odds by looks from which a way between two cameras is learned from.
        rounds: sweeps of single moves.
    """

    need: float = 0.0
    keep: float = 0.5
    split: float = -2.5
    near_s: float = 2.0
    near_odds: float = 3.0
    speed: float = 4.0
    apart_share: float = 0.4
    apart_odds: float = 6.0
    lingers_s: float = 0.6
    at_once_s: float = 0.5
    sure: float = 2.2
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


def cannot_link(pieces: Pieces, speed: float, lingers_s: float = 0.0) -> Mask:
    """(n, n) pairs that no identity may hold: seen at one time by one camera, or too far apart for the time between."""
    same = pieces.camera[:, None] == pieces.camera
    gap = np.maximum(pieces.begin_s[:, None] - pieces.end_s, pieces.begin_s - pieces.end_s[:, None])
    brief = np.minimum(pieces.end_s - pieces.begin_s, lingers_s / 0.3)  # of a short one not even so much
    together = same & (-gap >= 0.3 * np.minimum(brief[:, None], brief))
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
    """(n,) group of each piece by looks alone, from 0: average linkage under constraints, then single moves."""
    e = Evidence.of_looks(odds, weight, forbidden)
    return _settled(agglomerate(e, options.need), e, options)


def _settled(label: IntArray, e: Evidence, options: RefineOptions) -> IntArray:
    """(n,) the groups after single moves, numbered from 0; what the moves left side by side is joined once more."""
    for _ in range(options.rounds):
        if not move(label, e, options.need):
            break
    return np.unique(agglomerate(e, options.need, label), return_inverse=True)[1].reshape(-1)


def best_groups(e: Evidence, name: IntArray, options: RefineOptions) -> IntArray:
    """(n,) groups: those found from scratch, or those that the online pass's names lead to, whichever fit better."""
    fresh = _settled(agglomerate(e, options.need), e, options)
    if not (name >= 0).any():
        return fresh
    online = np.where(name >= 0, name, name.max(initial=0) + 1 + np.arange(len(name)))
    kept = _settled(lawful(online, e.forbidden), e, options)
    return fresh if worth(fresh, e, options.need) >= worth(kept, e, options.need) else kept


def apart_pairs(pieces: Pieces, label: IntArray, options: RefineOptions) -> Mask:
    """(n, n) pairs at one time in two cameras whose views, by what the groups show, do not overlap.

    Where views overlap, nearly everybody who was in both cameras was in both at once some time. Where they do not, the
    few who seem to have been are pairs of look-alikes. Two cameras that shared few people are judged by all cameras.
    """
    cameras = np.unique(pieces.camera)
    shared = np.minimum(pieces.end_s[:, None], pieces.end_s) - np.maximum(pieces.begin_s[:, None], pieces.begin_s)
    at_once = shared > options.at_once_s
    same = label[:, None] == label
    between = {(a, b): (pieces.camera[:, None] == a) & (pieces.camera == b)
               for i, a in enumerate(cameras.tolist()) for b in cameras[i + 1 :].tolist()}
    both = {pair: len(np.unique(label[(where & same).any(axis=1)])) for pair, where in between.items()}
    once = {pair: len(np.unique(label[(where & same & at_once).any(axis=1)])) for pair, where in between.items()}
    usual = (sum(once.values()) + 0.5) / (sum(both.values()) + 1.0)
    out = np.zeros_like(same)
    for pair, where in between.items():
        share = (once[pair] + 2.0 * usual) / (both[pair] + 2.0)
        if share < options.apart_share:
            out |= (where | where.T) & at_once
    return out


def gather(pieces: Pieces, scene: SceneCalibration, options: RefineOptions, transitions: Transitions | None = None,
           cameras: Sequence[str] = (), floor: FloorEvidence | None = None) -> Evidence:  # fmt: skip
    """Everything known about the pieces; see :func:`refine`."""
    n = len(pieces)
    forbidden = cannot_link(pieces, options.speed, options.lingers_s)
    place, way = np.zeros((n, n)), np.zeros((n, n))
    if floor is not None:
        forbidden = floor.forbidden | (forbidden if floor.same is None else forbidden & ~floor.same)
        place += floor.odds
    if transitions is not None:
        way, too_soon = ways(pieces, transitions, cameras)
        forbidden |= too_soon
    weight = np.maximum(pieces.weight, 0.05)
    return Evidence(pair_odds(pieces, scene, options), weight, forbidden, place, way, pieces.begin_s, pieces.end_s)


def ways(pieces: Pieces, transitions: Transitions, cameras: Sequence[str]) -> tuple[Array, Mask]:
    """(n, n) log-odds of piece j being the next sight of i's person by the time between, and pairs that cannot be.

    Pairs of one camera are left at 0: who comes back to it may have been away for any time.
    """
    n = len(pieces)
    gap = pieces.begin_s[None, :] - pieces.end_s[:, None]
    way, never = np.zeros((n, n)), np.zeros((n, n), bool)
    for a in np.unique(pieces.camera).tolist():
        for b in np.unique(pieces.camera).tolist():
            if a == b:
                continue
            at = np.ix_(np.flatnonzero(pieces.camera == a), np.flatnonzero(pieces.camera == b))
            odds = transitions.log_odds(cameras[a], cameras[b], gap[at])
            way[at] = np.where(np.isfinite(odds) & (gap[at] > 0), odds, 0.0)
            quickest = transitions.quickest(cameras[a], cameras[b])
            if quickest is not None and quickest >= 0:
                # whichever is the earlier one; the other way round has its own times
                begins_first = pieces.begin_s[at[0]] <= pieces.begin_s[at[1]]
                never[at] = begins_first & (gap[at] < quickest)
    return way, never | never.T


def learn_ways(pieces: Pieces, label: IntArray, e: Evidence, transitions: Transitions, cameras: Sequence[str],
               sure: float) -> None:  # fmt: skip
    """Teach the times between cameras: those of sights that follow each other in a group and surely look alike."""
    for g in np.unique(label):
        for i, j in zip(*e.sights(np.flatnonzero(label == g)), strict=True):
            if pieces.camera[i] != pieces.camera[j] and e.looks[i, j] >= sure:
                transitions.learn(cameras[pieces.camera[i]], cameras[pieces.camera[j]],
                                  float(pieces.begin_s[j] - pieces.end_s[i]))  # fmt: skip


def refine(pieces: Pieces, scene: SceneCalibration, options: RefineOptions | None = None,
           transitions: Transitions | None = None, cameras: Sequence[str] = (),
           floor: FloorEvidence | None = None) -> IntArray:  # fmt: skip
    """(n,) identity of each piece.

    Groups keep the online identity that they hold most seconds of; the others get new numbers above all used ones.

    Args:
        pieces: n of them.
        scene: what a distance of looks means here.
        options: how sure to be.
        transitions: times between cameras, given, and learned here from a first round. ``cameras``: their names.
        floor: where the pieces stood.
    """
    label = regroup(pieces, scene, options, transitions, cameras, floor)
    return rename(pieces, label)


def regroup(pieces: Pieces, scene: SceneCalibration, options: RefineOptions | None = None,
            transitions: Transitions | None = None, cameras: Sequence[str] = (),
            floor: FloorEvidence | None = None) -> IntArray:  # fmt: skip
    """(n,) group of each piece, numbered from 0; arguments as :func:`refine`."""
    options = options or RefineOptions()
    if not len(pieces):
        return np.zeros(0, np.int64)
    e = gather(pieces, scene, options, transitions, cameras, floor)
    label = best_groups(e, pieces.name, options)
    apart = apart_pairs(pieces, label, options)
    if transitions is not None:
        learn_ways(pieces, label, e, transitions, cameras, options.sure)
        e = replace(e, way=ways(pieces, transitions, cameras)[0])
    if apart.any() or e.way.any():
        label = best_groups(replace(e, place=e.place - options.apart_odds * apart), pieces.name, options)
    return label


def rename(pieces: Pieces, label: IntArray, extra_s: Array | float = 0.0) -> IntArray:
    """(n,) identities for the groups: as few people as possible change their number.

    Args:
        pieces: n of them.
        label: (n,) group of each.
        extra_s: (n,) seconds by which pieces weigh more than by their own length.
    """
    groups = np.unique(label)
    names = np.unique(pieces.name[pieces.name >= 0])
    seconds = np.zeros((len(groups), len(names)))
    rows = np.flatnonzero(pieces.name >= 0)
    place = np.searchsorted(groups, label[rows]), np.searchsorted(names, pieces.name[rows])
    duration = pieces.end_s - pieces.begin_s + 1e-3 + extra_s
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
