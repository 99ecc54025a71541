"""How many people there are so far."""

from __future__ import annotations

import numpy as np

from mctrack.sinks.census import Census
from mctrack.types import Instant, InstantResult, Link


def instant(*links: Link, names: tuple[int, ...] = ()) -> InstantResult:
    return InstantResult(Instant(0.0, ()), (), (np.array(names, np.int64),) if names else (), links)


def link(kind: str, track_id: int, global_id: int, previous_id: int = -1) -> Link:
    return Link(0.0, "a", track_id, global_id, kind, previous_id)


def test_people_are_counted_by_who_holds_a_tracklet() -> None:
    census = Census()
    assert len(census) == 0
    census.learn(instant(link("new", 1, 1), link("new", 2, 2), link("link", 3, 1)))
    assert len(census) == 2
    census.learn(instant(link("unlink", 3, 3, 1)))  # 1 still has track 1
    assert len(census) == 3
    census.learn(instant(link("unlink", 1, 3, 1)))  # now it has none
    assert len(census) == 2
    census.learn(instant(link("merge", 3, 2, 3), link("new", 4, 4)))
    assert len(census) == 2
    census.learn(instant(link("unlink", 1, 5, 2), link("unlink", 3, 5, 2)))  # 2 keeps track 2
    assert len(census) == 3


def test_names_that_are_seen_count_without_links() -> None:
    census = Census()
    census.learn(instant(names=(4, -1, 7)))
    assert len(census) == 2
    census.learn(instant(link("unlink", 1, 7, 4)))
    assert len(census) == 1
    census.learn(instant(names=(4, 7)))
    assert len(census) == 2
