"""Features on paper: t-SNE (van der Maaten and Hinton 2008)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid_models.data.types import Ints
from reid_models.errors import ReidError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = "os^vDP*X<>ph8Hd"


def feature_map(features: NDArray[Any], pid: Ints, camid: Ints, rng: np.random.Generator, people: int = 20,
                most: int = 1000) -> Figure:
    """Colours are people, shapes are cameras; good features make islands of one colour and many shapes.

    Args:
        features: (n, d) unit rows.
        pid, camid: (n,) labels; negative pids are left out.
        rng: chooses people, pictures and the map's start.
        people: at most so many, of those in most cameras.
        most: pictures, at most.

    Raises:
        ReidError: fewer than five pictures, or scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ReidError('the map of features needs scikit-learn: pip install "mctrack[reid]"') from error
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    rows = _choose(pid, camid, rng, people, most)
    if len(rows) < 5:
        raise ReidError(f"map of features: {len(rows)} pictures of people, at least 5 are needed")
    plane = TSNE(metric="cosine", init="random", perplexity=min(30.0, (len(rows) - 1) / 3),
                 random_state=int(rng.integers(2**31))).fit_transform(features[rows].astype(float))
    figure = Figure(figsize=(6.0, 5.4), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    known, cameras = np.unique(pid[rows]), np.unique(camid[rows])
    palette = colormaps["hsv"]
    for k, person in enumerate(known):
        for c, camera in enumerate(cameras):
            these = (pid[rows] == person) & (camid[rows] == camera)
            # neighbours in number get colours far apart
            colour = palette(((k * 7) % len(known)) / len(known), alpha=0.85)
            marker = _MARKERS[c % len(_MARKERS)]
            axes.scatter(plane[these, 0], plane[these, 1], s=22, color=colour, marker=marker, linewidths=0)
    for c, camera in enumerate(cameras):
        axes.scatter([], [], s=22, color="grey", marker=_MARKERS[c % len(_MARKERS)], label=f"camera {camera}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"t-SNE of {len(rows)} pictures of {len(known)} people: colour = person, shape = camera", fontsize=9)
    axes.legend(fontsize=7, loc="best", framealpha=0.6)
    return figure


def _choose(pid: Ints, camid: Ints, rng: np.random.Generator, people: int, most: int) -> Ints:
    """Rows of the people who are in most cameras."""
    known = np.unique(pid[pid >= 0])
    known = rng.permutation(known)
    views = [len(np.unique(camid[pid == person])) for person in known]
    chosen = known[np.argsort(-np.array(views), kind="stable")[:people]] if len(known) else known
    rows = np.flatnonzero(np.isin(pid, chosen))
    return np.sort(rng.permutation(rows)[:most])
