"""Which boxes CLEAR counts as mistakes: for looking at them, since a number does not say what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mctrack.evaluation.clear import match
from mctrack.evaluation.table import BoolArray, Overlaps
from mctrack.types import IntArray


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Boxes are numbered as in the overlaps they come from.

    Attributes:
        result_of_gt: (n,) result box that each true box is matched to, or −1: missed.
        false: (m,) mask of the result boxes that are matched to nobody.
        previous_id: (n,) result identity the person had at the last match where it differs from the one now
            (a switch), else −1.
    """

    result_of_gt: IntArray
    false: BoolArray
    previous_id: IntArray

    @property
    def missed(self) -> BoolArray:
        """(n,) mask of the true boxes that nothing is matched to."""
        return self.result_of_gt < 0

    @property
    def switched(self) -> BoolArray:
        """(n,) mask of the true boxes at which the identity changes."""
        return self.previous_id >= 0


def find_mistakes(overlaps: Overlaps, threshold: float = 0.5) -> Mistakes:
    """The mistakes that :func:`~mctrack.evaluation.clear.clear_counts` counts, box by box."""
    matched = match(overlaps, threshold)
    row, col = overlaps.row[matched], overlaps.col[matched]
    result_of_gt = np.full(len(overlaps.gt_id), -1, np.int64)
    result_of_gt[row] = col
    false = np.ones(len(overlaps.result_id), bool)
    false[col] = False
    order = np.lexsort((row, overlaps.gt_id[row]))  # boxes are in frame order: so are rows
    row, name = row[order], overlaps.result_id[col[order]]
    changes = (overlaps.gt_id[row][1:] == overlaps.gt_id[row][:-1]) & (name[1:] != name[:-1])
    previous = np.full(len(overlaps.gt_id), -1, np.int64)
    previous[row[1:][changes]] = name[:-1][changes]
    return Mistakes(result_of_gt, false, previous)
