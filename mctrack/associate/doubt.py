"""Second thoughts: somebody who came back under a name that his later looks speak against loses it again.

A returning person is named after a second, by what one or two cameras saw of him in a doorway. Once he has walked about
the room there is more to go by; if by then it is as unlikely that he is who he was taken for as it had to be likely
before, the link is broken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mctrack.associate.calibration import SceneCalibration
from mctrack.associate.floor import Floor
from mctrack.associate.identities import IdentityBook
from mctrack.associate.looks import looks_distance

ENOUGH_SAMPLES = 20
"""Crops of a person since the return, and before it, from which it is reconsidered."""
SETTLED_S = 3.0
"""Nor is it before the person has been back for this long."""
HANDOVER_S = 1.5
"""Tracklets may begin this long before the presence that they belong to."""


@dataclass(frozen=True)
class Doubt:
    """A presence, the identity it should lose, and the tracklets that go with it."""

    presence: int
    global_id: int
    rows: tuple[int, ...]


def doubts(
    book: IdentityBook, scene: SceneCalibration, floor: Floor, who: Mapping[int, int], at_most: float
) -> list[Doubt]:
    """Returns that later looks speak against.

    Args:
        book: all tracklets and identities.
        scene: how likely looks are one person's.
        floor: the presences.
        who: presence → identity.
        at_most: log-odds of being the same person from which a link is broken.
    """
    out, members, table = [], floor.members(), book.table
    for p, born_s in zip(floor.ids.tolist(), floor.born_s.tolist(), strict=True):
        g = who.get(p, -1)
        if not book.is_open(g) or floor.time_s - born_s < SETTLED_S:
            continue
        at_home = {table.row(c, t) for c, t in members.get(p, [])}
        since = [r for r in book.members(g) if r in at_home or table.first_s[r] >= born_s - HANDOVER_S]
        before = [r for r in book.members(g) if r not in since]
        if (
            since and before and table.first_s[since].min() >= born_s - HANDOVER_S
            and table.last_s[before].max() <= born_s
            and min(table.samples[part].sum() for part in (since, before)) >= ENOUGH_SAMPLES
            and _odds(book, scene, g, since) <= at_most
        ):  # fmt: skip
            out.append(Doubt(p, g, tuple(since)))
    return out


def _odds(book: IdentityBook, scene: SceneCalibration, global_id: int, rows: Sequence[int]) -> float:
    """Log-odds that an identity's tracklets ``rows`` are the same person as the rest of it."""
    everything = book.gallery.look(global_id)
    mine = np.isin(everything.source, rows)
    distance = looks_distance(everything.part(mine), everything.part(~mine))
    return float(np.nan_to_num(scene.log_odds(np.array(distance)), nan=np.inf))
