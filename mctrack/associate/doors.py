"""What doors say about who somebody is: people come from where they went.

Strangers come in by a door, or from beyond what the cameras see; so do those who went out that way. Who appears in the
middle of a room was in it before, and who vanished there has not left it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Entrances = Callable[[Array], Array]
"""Given (n, 2) metres: (n,) in 0…1, how likely people who appear or vanish there come from, or go, out of sight."""
ODD = 0.1
"""Share of comings and goings that are not what they look like: a door left out, somebody behind a shelf for long."""
LIMIT = 1.5
"""Doors say no more than this."""


def through_doors(came: float, went: float) -> float:
    """Log-odds that somebody who appeared is a certain known person, rather than one never seen.

    Either may have been in sight of the cameras' floor or out of it before. With c and w the probabilities that the one
    came from outside and the other went there, P(where he came from | known person) = c w + (1 − c)(1 − w); for a
    stranger, who can only have been outside, w is 1.

    Args:
        came: the entrance's value where the one appeared.
        went: its value where the other was last seen.
    """
    c, w = (ODD + (1 - 2 * ODD) * float(np.clip(v, 0.0, 1.0)) for v in (came, went))
    stranger = 1 - ODD
    known = c * w + (1 - c) * (1 - w)
    return float(np.clip(np.log(known / (c * stranger + (1 - c) * (1 - stranger))), -LIMIT, LIMIT))
