"""From distance to probability: the same distance means different things with different embedders.

A calibration is measured on pairs whose truth is known (``eval/calibrate_reid.py``) and travels with the embedder.
It holds, at a few dozen distances, the evidence for one person against two (a logarithm of a likelihood ratio,
made monotone by pooling adjacent violators: Ayer et al. 1955, Zadrozny and Elkan 2002) and the shares of
same-person and different-person pairs that lie closer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_models.errors import ReidError

Array = NDArray[np.float64]

_FOLDER = Path(__file__).resolve().parent / "calibrations"
_CURVES = ("distance", "evidence", "same_below", "different_below")
_FORMAT = "reid-calibration-1"
_RARE = np.array([1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.03, 0.05])


@dataclass(frozen=True, eq=False)
class Calibration:
    """What cosine distances (1 − cosine, 0…2) of one embedder mean.

    Attributes:
        distance: (k,) knots, increasing, from 0 to 2.
        evidence: (k,) log(P(distance | same person) / P(distance | different people)) at the knots, never
            increasing.
        same_below, different_below: (k,) share of the pairs of that kind that lie at most that far apart.
        source: what it was measured on, in a few words for the user.
        prior: probability that a pair is one person before looking, unless the caller knows better.
        generic: whether it was measured with another embedder than the one it is used for.
    """

    distance: Array
    evidence: Array
    same_below: Array
    different_below: Array
    source: str
    prior: float = 0.5
    generic: bool = False

    def __post_init__(self) -> None:
        for name in _CURVES:
            values = np.asarray(getattr(self, name), float)
            object.__setattr__(self, name, values)
            if values.shape != self.distance.shape or values.ndim != 1 or len(values) < 2:
                raise ReidError(f"calibration: '{name}' has shape {values.shape}, expected (k,) as 'distance', k > 1")
            if not np.isfinite(values).all():
                raise ReidError(f"calibration: '{name}' holds values that are not finite")
        for name, sign in (("distance", 1), ("evidence", -1), ("same_below", 1), ("different_below", 1)):
            step = sign * np.diff(getattr(self, name))
            if (step < 0).any() or (name == "distance" and (step == 0).any()):
                raise ReidError(f"calibration: '{name}' must be {'in' if sign > 0 else 'de'}creasing")
        if not 0 < self.prior < 1:
            raise ReidError(f"calibration: 'prior' is {self.prior}, expected a number between 0 and 1")

    def probability(self, distance: ArrayLike, prior: float | None = None) -> Array:
        """Probability that pairs this far apart are the same person; any shape in, the same shape out.

        Args:
            distance: cosine distances; NaN stays NaN.
            prior: probability before looking, default :attr:`prior`. A lost track that must be one of the five
                people in view has another prior than a stranger in a station.
        """
        prior = self.prior if prior is None else prior
        odds = np.interp(np.asarray(distance, float), self.distance, self.evidence) + np.log(prior / (1 - prior))
        return np.asarray(1 / (1 + np.exp(-odds)))

    def threshold(self, false_link_rate: float) -> float:
        """Largest distance below which at most this share of the pairs of different people lie."""
        return _inverse(self.distance, self.different_below, false_link_rate)

    def false_link_rate(self, distance: float) -> float:
        """Share of the pairs of different people that lie at most this far apart."""
        return float(np.interp(distance, self.distance, self.different_below))

    def true_link_rate(self, distance: float) -> float:
        """Share of the pairs of one person that lie at most this far apart."""
        return float(np.interp(distance, self.distance, self.same_below))

    @staticmethod
    def fit(same: ArrayLike, different: ArrayLike, source: str, prior: float = 0.5, generic: bool = False,
            same_weight: ArrayLike | None = None, different_weight: ArrayLike | None = None) -> Calibration:
        """Measure a calibration.

        Args:
            same, different: cosine distances of pairs of one person, and of pairs of different people; 20 or
                more each, of which no two should be a copy of each other (frames apart, other cameras).
            source: what was measured, in a few words.
            prior, generic: see the class.
            same_weight, different_weight: weights of the pairs, e.g. so that every source counts alike.

        Raises:
            ReidError: too few pairs, distances that are not, or that are all one and the same.
        """
        same, same_weight = _pairs("same", same, same_weight)
        different, different_weight = _pairs("different", different, different_weight)
        if min(same[0], different[0]) == max(same[-1], different[-1]):
            raise ReidError(f"calibration: all distances are {same[0]:g}; they tell nobody from anybody")
        knots = np.concatenate([
            [0.0, 2.0],
            _quantiles(different, different_weight, np.concatenate([_RARE, np.linspace(0.1, 1, 10)])),
            _quantiles(same, same_weight, np.linspace(0, 1, 21)),
        ])
        # JSON keeps five digits; knots closer than that would collapse into one.
        knots = np.unique(np.round(np.clip(knots, 0, 2), 5))
        return Calibration(
            knots, _evidence(same, same_weight, different, different_weight, knots),
            _below(same, same_weight, knots), _below(different, different_weight, knots), source, prior, generic)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "format": _FORMAT, "source": self.source, "generic": self.generic, "prior": self.prior,
            **{name: np.round(getattr(self, name), 6).tolist() for name in _CURVES},
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any], where: str = "calibration") -> Calibration:
        """The reverse of :meth:`to_dict`.

        Args:
            data: what JSON held.
            where: the file, for messages.

        Raises:
            ReidError: it is not a calibration, or not a valid one.
        """
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            raise ReidError(f"{where}: not a calibration of the format {_FORMAT}; make one with eval/calibrate_reid.py")
        try:
            return Calibration(
                **{name: np.asarray(data[name], float) for name in _CURVES},
                source=str(data["source"]), prior=float(data["prior"]), generic=bool(data.get("generic", False)))
        except KeyError as error:
            raise ReidError(f"{where}: the key {error} is missing") from error
        except (TypeError, ValueError) as error:
            raise ReidError(f"{where}: {error}") from error

    @staticmethod
    def load(path: str | Path) -> Calibration:
        """Read a JSON file written from :meth:`to_dict`.

        Raises:
            ReidError: it cannot be read or is not a calibration.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ReidError(f"calibration {path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ReidError(f"calibration {path}: not valid JSON") from error
        return Calibration.from_dict(data, f"calibration {path}")

    @staticmethod
    def shipped(name: str) -> Calibration:
        """A calibration that comes with the package, by the embedder's name; ``generic`` for unknown embedders."""
        return Calibration.load(_FOLDER / f"{name}.json")


def _pairs(name: str, distance: ArrayLike, weight: ArrayLike | None) -> tuple[Array, Array]:
    """Sorted distances with weights that sum to 1."""
    values = np.asarray(distance, float).ravel()
    share = np.ones(len(values)) if weight is None else np.asarray(weight, float).ravel()
    if len(values) < 20:
        raise ReidError(f"calibration: {len(values)} pairs in '{name}', at least 20 are needed")
    if not np.isfinite(values).all() or share.shape != values.shape or not (share > 0).all():
        raise ReidError(f"calibration: '{name}' needs finite distances, each with a weight above 0")
    order = np.argsort(values, kind="stable")
    return values[order], share[order] / share.sum()


def _below(values: Array, weight: Array, at: Array) -> Array:
    """Weighted share of the sorted values that are at most each of ``at``."""
    total = np.concatenate([[0.0], np.cumsum(weight)])
    share = np.minimum(total[np.searchsorted(values, at + 1e-9, side="right")], 1.0)
    share[-1] = 1.0
    return share


def _quantiles(values: Array, weight: Array, at: Array) -> Array:
    """Weighted quantiles of sorted values."""
    return values[np.minimum(np.searchsorted(np.cumsum(weight), at - 1e-12), len(values) - 1)]


def _evidence(same: Array, same_weight: Array, different: Array, different_weight: Array, knots: Array) -> Array:
    """(k,) monotone log likelihood ratio at the knots."""
    # Cells hold 4% of the same-person pairs or of the others each; the pseudo-counts keep a cell that happens to
    # be empty on one side from claiming certainty that the number of pairs does not support.
    even = np.linspace(0, 1, 26)
    edges = np.unique(np.concatenate([
        _quantiles(same, same_weight, even), _quantiles(different, different_weight, np.append(even, _RARE))]))
    if len(edges) == 2:  # two values only: one cell would hold everything
        edges = np.array([edges[0], edges.mean(), edges[1]])
    p_same, p_different = (
        np.bincount(np.searchsorted(edges[1:-1], values, side="right"), weight, len(edges) - 1)
        + 0.5 * (weight**2).sum()  # half a pair, among as many as the weights are worth (Kish 1965)
        for values, weight in ((same, same_weight), (different, different_weight)))
    smooth = monotone(np.log(p_same / p_different), p_same + p_different)
    return np.interp(knots, (edges[1:] + edges[:-1]) / 2, smooth)


def monotone(values: Array, weight: Array) -> Array:
    """The never-increasing sequence nearest to ``values`` in weighted least squares (pool adjacent violators)."""
    blocks: list[list[float]] = []  # [mean, weight, length]
    for value, share in zip(values, weight, strict=True):
        blocks.append([float(value), float(share), 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            mean, share, length = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * share) / (last[1] + share)
            last[1] += share
            last[2] += length
    return np.concatenate([np.full(int(length), mean) for mean, _, length in blocks])


def _inverse(distance: Array, below: Array, rate: float) -> float:
    """Largest distance at which the interpolated share is at most ``rate``."""
    if not 0 <= rate <= 1:
        raise ReidError(f"false-link rate {rate}: expected a number from 0 to 1")
    last = int(np.searchsorted(below, rate, side="right")) - 1
    if last < 0:
        return 0.0
    if last == len(below) - 1:
        return float(distance[-1])
    step = (rate - below[last]) / (below[last + 1] - below[last])
    return float(distance[last] + step * (distance[last + 1] - distance[last]))
