"""What the scene teaches while people are in view: how alike strangers look here, and which views overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.identities import IdentityBook
from mctrack.associate.looks import unit
from mctrack.associate.transitions import Transitions

Array = NDArray[np.float64]
RECENT_S = 1.0
HALVES = 4
"""Blocks of looks from which a tracklet has an early and a late half."""


def learn(book: IdentityBook, scene: SceneCalibration, transitions: Transitions, time_s: float) -> None:
    """Learn from the tracklets named and seen within the last second."""
    table = book.table
    live = [
        row for row in table.seen_since(time_s - RECENT_S).tolist()
        if table.global_id[row] >= 0 and book.is_open(int(table.global_id[row])) and len(table.looks[row])
    ]  # fmt: skip
    groups: dict[int, list[int]] = {}
    for row in live:
        groups.setdefault(int(table.camera[row]), []).append(row)
    means = {camera: unit(np.stack([table.looks[r].whole() for r in rows])) for camera, rows in groups.items()}
    _learn_different(book, scene, groups, means)
    for row in live:
        if len(table.looks[row]) >= HALVES:
            early, late = table.looks[row].halves()
            scene.add("same", (table.cameras[table.camera[row]], int(table.track_id[row])), 1.0 - float(early @ late))
    _learn_overlap(book, scene, transitions, groups, means)


def _learn_different(
    book: IdentityBook, scene: SceneCalibration, groups: dict[int, list[int]], means: dict[int, Array]
) -> None:
    """People met together are different."""
    table = book.table
    pairs, distances = [], []
    for camera, rows in groups.items():
        index = np.array(rows)
        i, j = np.nonzero(np.triu(book.met_each_other(table.global_id[index].tolist()), 1))
        pairs.append(np.sort(np.stack([index[i], index[j]], axis=1), axis=1))
        distances.append(1.0 - (means[camera] @ means[camera].T)[i, j])
    if not pairs:
        return
    pair, distance = np.concatenate(pairs), np.concatenate(distances)
    step = -(-len(pair) // scene.capacity) or 1  # taking all of too many would leave only the last camera's
    for (a, b), d in zip(pair[::step].tolist(), distance[::step].tolist(), strict=True):
        key = (table.cameras[table.camera[a]], *sorted((int(table.track_id[a]), int(table.track_id[b]))))
        scene.add("different", key, d)


def _learn_overlap(
    book: IdentityBook, scene: SceneCalibration, transitions: Transitions, groups: dict[int, list[int]],
    means: dict[int, Array],
) -> None:  # fmt: skip
    """For each two cameras: how many people in view of one have a clear match in the other right now?"""
    names = book.table.cameras
    clear: dict[int, Array] = {}
    for camera, rows in groups.items():
        sure = [k for k, row in enumerate(rows) if book.table.looks[row].weight.sum() >= 1.0]
        if sure:
            clear[camera] = means[camera][sure]
    cameras = sorted(clear, key=names.__getitem__)
    for i, a in enumerate(cameras):
        for b in cameras[i + 1 :]:
            odds = scene.log_odds(np.round(1.0 - clear[a] @ clear[b].T, 9))
            mutual = (odds == odds.max(axis=1, keepdims=True)) & (odds == odds.max(axis=0))
            transitions.learn_overlap(names[a], names[b], float((mutual & (odds > 0)).sum()), float(min(odds.shape)))
