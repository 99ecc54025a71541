"""The camera's own motion, told from the people themselves: no pictures needed."""

from __future__ import annotations

import numpy as np

from mctrack.track.kalman import Array

MIN_TRACKS = 4
MIN_HEIGHTS = 0.03
SIGNIFICANCE = 2.0


def consensus_shift(residual: Array, height_px: Array) -> Array | None:
    """Common displacement of all matched tracks, or None where there is no consensus.

    A hand-held or driving camera moves all boxes the same way, which single tracks mistake for their own motion.
    The median of (detection − prediction) is the camera's if enough tracks agree: it must exceed ``SIGNIFICANCE``
    standard errors of the median (from the median absolute deviation) and ``MIN_HEIGHTS`` of a typical box, so that
    people walking their own ways in front of a still camera never add up to one.

    Args:
        residual: (k, 2) detection centre minus predicted centre in px, of confirmed tracks matched in this frame.
        height_px: (k,) their box heights.

    Returns:
        (2,) shift in px to add to every prediction, or None.
    """
    k = len(residual)
    if k < MIN_TRACKS:
        return None
    median = _median(np.ascontiguousarray(residual.T))
    size = float(np.abs(median).sum())
    if size < MIN_HEIGHTS * float(_median(height_px)):
        return None
    spread = float(_median(np.abs(residual - median).sum(axis=1)))
    standard_error = 1.5 * spread / np.sqrt(k)
    return None if size < SIGNIFICANCE * standard_error else median


def _median(values: Array) -> Array:
    """Median over the last axis; np.median takes ten times as long on so few values."""
    ordered, k = np.sort(values), values.shape[-1]
    return (ordered[..., (k - 1) // 2] + ordered[..., k // 2]) / 2
