"""Who was in which camera when, and why we think so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mctrack.sinks.files import plain, replacing
from mctrack.sinks.paths import Travelled, ground_paths, travelled
from mctrack.sinks.reader import StoreReader
from mctrack.sinks.tables import Written
from mctrack.types import Link

APPEARANCE_GAP_S = 2.0
"""Sightings of a person in one camera further apart than this are two appearances."""


def write_identities(store: StoreReader, path: Path, gap_s: float = APPEARANCE_GAP_S) -> Written:
    """Write ``identities.json``.

    ``identities`` has one entry per person: ``global_id``; ``merged_ids`` (earlier identities that turned out to be the
    same person); ``appearances`` in order of time, each with ``camera``, ``from_frame``/``to_frame`` (0-based),
    ``from_s``/``to_s``, ``track_ids`` and ``boxes`` (times seen); ``cameras``; ``total_s``, the time in view of at
    least one camera; ``evidence``, each decision about it with its distances, probability and gates.
    Who was located on the floor also has ``distance_m``, the way walked; ``mean_speed_m_s``, that over ``located_s``,
    the time it took, standing included; ``top_speed_m_s``, the highest held for a second (see :mod:`paths`).
    ``nameless`` lists the appearances of tracks that got no identity.
    """
    people: dict[int, list[dict[str, Any]]] = {g: [] for g in store.identities()}
    nameless: list[dict[str, Any]] = []
    rows = 0
    for camera in store.cameras():
        found = _appearances(store, camera.name, gap_s)
        for name, appearance in found:
            (nameless if name < 0 else people.setdefault(name, [])).append(appearance)
            rows += appearance["boxes"]
    evidence = _evidence(store)
    merged = store.identities()
    ways = {name: travelled(path) for name, path in ground_paths(store).items()}
    entries = [
        _entry(name, appearances, merged.get(name, []), evidence.get(name, []), ways.get(name))
        for name, appearances in sorted(people.items())
        if appearances
    ]
    with replacing(path) as temporary:
        document = {"identities": entries, "nameless": sorted(nameless, key=_by_time)}
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    return Written([path], rows)


def _appearances(store: StoreReader, camera: str, gap_s: float) -> list[tuple[int, dict[str, Any]]]:
    """(global_id, appearance) of every stretch in which somebody was seen without a longer gap."""
    frame_index, frame_time = store.frame_times(camera)
    boxes = store.boxes(camera)
    if len(boxes) == 0:
        return []
    # nameless tracks are told apart by their own numbers
    who = np.where(boxes.global_id >= 0, boxes.global_id, -1 - boxes.track_id)
    time_s = frame_time[np.searchsorted(frame_index, boxes.frame_index)]
    order = np.lexsort((boxes.frame_index, who))
    boxes, who, time_s = boxes.take(order), who[order], time_s[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(who) != 0) | (np.diff(time_s) > gap_s)])
    ends = np.r_[starts[1:], len(who)]
    return [
        (
            int(boxes.global_id[a]),
            {
                "camera": camera,
                "from_frame": int(boxes.frame_index[a]),
                "to_frame": int(boxes.frame_index[b - 1]),
                "from_s": round(float(time_s[a]), 6),
                "to_s": round(float(time_s[b - 1]), 6),
                "track_ids": np.unique(boxes.track_id[a:b]).tolist(),
                "boxes": len(np.unique(boxes.frame_index[a:b])),
            },
        )
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _evidence(store: StoreReader) -> dict[int, list[Link]]:
    """Decisions about each identity, found through the identity that they led to in the end."""
    root_of = {member: root for root, members in store.identities().items() for member in [root, *members]}
    evidence: dict[int, list[Link]] = {}
    for link in store.links():
        about = link.global_id if link.global_id >= 0 else link.previous_id
        evidence.setdefault(root_of.get(about, about), []).append(link)
    return evidence


def _entry(name: int, appearances: list[dict[str, Any]], merged: list[int], evidence: list[Link],
           way: Travelled | None) -> dict[str, Any]:  # fmt: skip
    appearances = sorted(appearances, key=_by_time)
    return {
        "global_id": name,
        "merged_ids": merged,
        "cameras": list(dict.fromkeys(a["camera"] for a in appearances)),
        "total_s": round(_covered(appearances), 6),
        **({} if way is None else _floor(way)),
        "appearances": appearances,
        "evidence": [plain(link) for link in evidence],
    }


def _floor(way: Travelled) -> dict[str, float]:
    return {
        "distance_m": round(way.distance_m, 2),
        "mean_speed_m_s": round(way.mean_m_s, 3),
        "top_speed_m_s": round(way.top_m_s, 3),
        "located_s": round(way.located_s, 3),
    }


def _covered(appearances: list[dict[str, Any]]) -> float:
    """Seconds covered by at least one appearance; they come sorted by start."""
    total, end = 0.0, float("-inf")
    for appearance in appearances:
        total += max(appearance["to_s"] - max(appearance["from_s"], end), 0.0)
        end = max(end, appearance["to_s"])
    return total


def _by_time(appearance: dict[str, Any]) -> tuple[Any, ...]:
    return appearance["from_s"], appearance["camera"], appearance["track_ids"]
