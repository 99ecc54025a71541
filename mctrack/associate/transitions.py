"""How long people take from one camera to another, given or learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mctrack.errors import ConfigError
from mctrack.types import State

Array = NDArray[np.float64]
BONUS, MALUS = 1.5, -2.5
"""Bounds of what time alone may say, in log-odds."""
CHUNK = 20_000
"""Times compared with all learned ones at once."""
BROAD_S, TAKEN_SHARE = 60.0, 0.5
"""Anybody else comes some time within about so long; and of those who leave a camera this share takes a way that the
config gives times for."""
EVEN_SHARE, OVERLAP_SLOPE = 0.65, 10.0
"""Share of people with a clear match in the other camera that speaks neither for nor against a common view (where
views overlap 0.8 to 0.9 were measured, where they do not 0.1 to 0.5, by chance)."""
PRIOR_SEEN, SEEN_LIMIT = 10.0, 600.0
"""Person-seconds from which that share is believed, and after which it begins to be forgotten."""


class Transitions:
    """Log-odds from the time between leaving one camera and entering another.

    Where the config gives times for a pair of cameras, nobody is faster than the shortest; between that and the longest
    a match is the likelier the narrower they are; longer takes who waits or turns round on the way, so that speaks
    against a match and does not exclude it. For other pairs, times of confident links are remembered; once there are
    enough, their kernel density against a broad one raises usual times and lowers unusual ones, within bounds, so that
    what was learned can never rule anybody out.

    Args:
        given: ``{"a->b": [min_s, max_s]}``; negative times mean that the views overlap. Valid in that direction only.
        cameras: names that may occur.
        learn: whether to learn the other pairs.

    Raises:
        ConfigError: a pair is not of that form, or names an unknown camera.
    """

    def __init__(self, given: Mapping[str, Sequence[float]], cameras: Sequence[str], learn: bool = True) -> None:
        self._given = {_parse(k, v, cameras): (float(v[0]), float(v[1])) for k, v in given.items()}
        self._learn = learn
        self._times: dict[tuple[str, str], list[float]] = {}
        self._overlap: dict[tuple[str, str], tuple[float, float]] = {}
        self._capacity, self._enough = 200, 8

    def log_odds(self, source: str, target: str, elapsed_s: Array) -> Array:
        """(n,) what the times say for one pair of cameras; −∞ below the shortest that the config gives."""
        elapsed_s = np.asarray(elapsed_s, float)
        if (source, target) in self._given:
            return self._by_rule(elapsed_s, *self._given[source, target])
        times = self._times.get((source, target), [])
        if len(times) < self._enough:
            return np.zeros(elapsed_s.shape)
        known = np.asarray(times)
        width = max(1.06 * float(known.std()) * len(known) ** -0.2, 0.5)
        flat = elapsed_s.ravel()
        parts = [np.exp(-0.5 * ((flat[i : i + CHUNK, None] - known) / width) ** 2).mean(axis=-1)
                 for i in range(0, len(flat), CHUNK)]
        density = np.concatenate([np.zeros(0), *parts]).reshape(elapsed_s.shape) / (width * 2.5066)
        broad = 1.0 / (BROAD_S + np.abs(elapsed_s))
        return np.asarray(np.clip(np.log((density + 0.02 * broad) / broad), MALUS, BONUS))

    @staticmethod
    def _by_rule(elapsed_s: Array, low: float, high: float) -> Array:
        """Log-odds where times are given: evenly spread between the bounds for those who take this way, else broad."""
        even = np.log(TAKEN_SHARE * (BROAD_S + np.abs(elapsed_s)) / max(high - low, 1.0))
        within = np.clip(even, 0.0, BONUS)
        return np.where(elapsed_s < low, -np.inf, np.where(elapsed_s > high, MALUS, within))

    def quickest(self, source: str, target: str) -> float | None:
        """Shortest time that the config gives for a pair of cameras, None where it gives none."""
        return self._given[source, target][0] if (source, target) in self._given else None

    def together(self, a: str, b: str) -> float:
        """Log-odds for one person being in two cameras at once: up where views were found to overlap, else down."""
        given = [self._given[pair][0] for pair in ((a, b), (b, a)) if pair in self._given]
        if given:
            return 0.5 if min(given) < 0 else -np.inf
        hits, seen = self._overlap.get(_unordered(a, b), (0.0, 0.0))
        share = (hits + 0.5 * PRIOR_SEEN) / (seen + PRIOR_SEEN)
        return float(np.clip(OVERLAP_SLOPE * (share - EVEN_SHARE), MALUS, 0.5))

    def learn_overlap(self, a: str, b: str, hits: float, seen: float) -> None:
        """Remember how many of the people in view of one camera had a clear match in the other at that moment."""
        old = self._overlap.get(_unordered(a, b), (0.0, 0.0))
        keep = 1.0 if old[1] < SEEN_LIMIT else 1.0 - seen / SEEN_LIMIT
        self._overlap[_unordered(a, b)] = (keep * old[0] + hits, keep * old[1] + seen)

    def learn(self, source: str, target: str, elapsed_s: float) -> None:
        """Remember the time of a confident link."""
        if self._learn and source != target:
            times = self._times.setdefault((source, target), [])
            times.append(float(elapsed_s))
            del times[: -self._capacity]

    def state(self) -> State:
        """Learned times."""
        return {
            "times": [[a, b, list(t)] for (a, b), t in self._times.items()],
            "overlap": [[a, b, h, n] for (a, b), (h, n) in self._overlap.items()],
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self._times = {(a, b): list(t) for a, b, t in state["times"]}
        self._overlap = {(a, b): (h, n) for a, b, h, n in state["overlap"]}


def _unordered(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a <= b else (b, a)


def _parse(key: str, value: Sequence[float], cameras: Sequence[str]) -> tuple[str, str]:
    source, arrow, target = (part.strip() for part in key.partition("->"))
    if not arrow or len(value) != 2 or value[0] > value[1]:
        raise ConfigError(f"associate.transitions: '{key}: {list(value)}' must be like 'cam1->cam2: [min_s, max_s]'")
    for name in (source, target):
        if name not in cameras:
            raise ConfigError(f"associate.transitions: no camera '{name}'; cameras: {', '.join(cameras)}")
    return source, target
