"""Curves of retrieval and histograms of distances. Figures are objects; no state of matplotlib is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_models.errors import ReidError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAME, _DIFFERENT = "#1b7837", "#b2182b"


def cmc_figure(curves: Mapping[str, NDArray[Any]], ranks: int = 50) -> Figure:
    """CMC curves, one a name; rank 1 is said in the legend.

    Args:
        curves: name → (≥ 1,) share of the queries with a match among the first 1, 2, … entries.
        ranks: how far the axis goes.
    """
    figure = _figure(5.4, 4.0)
    axes = figure.add_subplot()
    lowest = 1.0
    for name, values in curves.items():
        shown = np.asarray(values, float)[:ranks]
        lowest = min(lowest, float(shown[0]))
        axes.step(np.arange(1, len(shown) + 1), 100 * shown, where="post", label=f"{name} (rank-1 {shown[0]:.1%})")
    axes.set_xlabel("rank")
    axes.set_ylabel("queries found, %")
    axes.set_xlim(1, ranks)
    axes.set_xticks([rank for rank in (1, 5, 10, 20, 30, 40, 50, 100) if rank <= ranks])
    axes.set_ylim(max(0.0, np.floor(10 * lowest - 0.5) * 10), 100.5)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def distance_figure(same: ArrayLike, different: ArrayLike, threshold: float | None = None) -> Figure:
    """Histograms of the distances of the same person and of different people, each with area 1.

    Args:
        same, different: (n,) and (m,) distances.
        threshold: marked by a line; None: where the two are least confused (equal error rate).
    """
    one, other = np.asarray(same, float), np.asarray(different, float)
    figure = _figure(5.4, 3.6)
    axes = figure.add_subplot()
    if not len(one) or not len(other):
        raise ReidError("distances: there are no pairs of the same person, or none of different people")
    edges: Any = np.linspace(min(one.min(), other.min()), max(one.max(), other.max()) + 1e-9, 81)
    for values, colour, label in ((one, _SAME, "same person"), (other, _DIFFERENT, "different people")):
        axes.hist(values, edges, density=True, color=colour, alpha=0.5, label=f"{label} ({len(values):,} pairs)")
    at, rate = equal_error(one, other)
    if threshold is not None:
        at = threshold
    missed, mistaken = float((one > at).mean()), float((other <= at).mean())
    axes.axvline(at, color="black", linewidth=1, linestyle="--")
    axes.set_title(f"at {at:.3f}: {missed:.1%} of the same missed, {mistaken:.1%} of the different linked; "
                   f"equal error {rate:.1%}", fontsize=9)
    axes.set_xlabel("cosine distance")
    axes.set_yticks([])
    axes.legend()
    return figure


def equal_error(same: NDArray[Any], different: NDArray[Any]) -> tuple[float, float]:
    """The distance at which as large a share of ``same`` lies above as of ``different`` at or below, and that share."""
    one, other = np.sort(same), np.sort(different)
    at = np.unique(np.concatenate([one, other]))
    missed = 1 - np.searchsorted(one, at, side="right") / len(one)
    mistaken = np.searchsorted(other, at, side="right") / len(other)
    best = int(np.argmin(np.abs(missed - mistaken)))
    return float(at[best]), float((missed[best] + mistaken[best]) / 2)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure without any window or backend of the process; the folder is made.

    Raises:
        ReidError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasAgg(figure).print_figure(str(path))
    except OSError as error:
        raise ReidError(f"{path} cannot be written: {error.strerror}") from error
    return path
