"""The embedder without training: soft colour names, pooled over horizontal stripes.

A crop is brought to 16 × 48 pixels and to logarithms, where another lamp or white balance is a shift and another
exposure too. Part of the crop's own mean is taken away (von Kries 1902 / grey world, Buchsbaum 1980) and part of
its contrast; only part, because a red coat also moves the mean. Each pixel then votes softly for a small
vocabulary of colours in log-opponent space (Berens and Finlayson 2000), and 16 overlapping stripes, weighted
towards the middle where the body is, collect the votes; square roots make the dot product Hellinger's affinity
(Arandjelović and Zisserman 2012). What any stripe of any crop holds, much grey and little saturated colour, says
nothing about the person: half of it is subtracted, which spreads the distances. Nothing is learned from pictures.
Gradient directions in the same stripes were tried and changed nothing measurable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_models.calibration import Calibration
from reid_models.crops import check_crops

Array = NDArray[np.float32]

# Rows: luminance, red-green, blue-yellow; orthonormal, so that distances mean the same in every direction.
_OPPONENT = np.array([[1, 1, 1], [0, -1, 1], [-2, 1, 1]], np.float64)
_OPPONENT /= np.linalg.norm(_OPPONENT, axis=1, keepdims=True)


@dataclass(frozen=True)
class HistogramOptions:
    """What may be varied; the defaults are what the shipped calibration belongs to.

    Attributes:
        width_px, height_px: size that every crop is brought to.
        stripes: number of horizontal stripes.
        stripe_sigma: their softness, in stripe heights.
        body_sigma: spread of the weight around the vertical middle line, in crop widths.
        colours: size of the colour vocabulary.
        log_offset: added to pixel values (0…255) before the logarithm: keeps sensor noise in the dark quiet.
        exposure, cast, contrast: share of the crop's own mean brightness, colour cast and contrast taken out.
        common: share of a typical stripe's histogram taken out.
    """

    width_px: int = 16
    height_px: int = 48
    stripes: int = 16
    stripe_sigma: float = 0.6
    body_sigma: float = 0.22
    colours: int = 56
    log_offset: float = 10.0
    exposure: float = 0.7
    cast: float = 0.7
    contrast: float = 0.25
    common: float = 0.5


_CELLS = 32
_MIDDLE = float(np.log(90.0))
_TYPICAL_CONTRAST, _TYPICAL_CAST = 0.55, 0.2
_CHUNK = 16


class HistogramEmbedder:
    """Part-wise colour histograms; see the module's text. 896-d with the default options."""

    name = "histogram"
    description = (
        "histogram (untrained colour stripes: the baseline without weights; calibrated on one real clip, simulated "
        "camera changes and rendered clips)"
    )

    def __init__(self, device: str = "auto", options: HistogramOptions | None = None) -> None:
        """``device`` is accepted for the sake of one interface; the work is NumPy's."""
        self.options = o = options or HistogramOptions()
        self.dim = o.stripes * o.colours
        self.calibration = Calibration.shipped("histogram")
        self._logarithm = np.log(np.arange(256) + o.log_offset).astype(np.float32)
        # The crop's mean moves colours out of the range that a camera can give, hence the margin.
        self._low, self._high = float(self._logarithm[0]) - 0.3, float(self._logarithm[255]) + 0.3
        cells = _cells(self._low, self._high)
        self._votes = _colour_votes(cells, _vocabulary(o.log_offset, o.colours))
        self._common = np.float32(o.common) * np.sqrt(_typical_cells(cells) @ self._votes)
        y = (np.arange(o.height_px) + 0.5) / o.height_px
        x = (np.arange(o.width_px) + 0.5) / o.width_px - 0.5
        centre = (np.arange(o.stripes) + 0.5) / o.stripes
        rows = np.exp(-0.5 * ((y - centre[:, None]) * o.stripes / o.stripe_sigma) ** 2)
        body = np.exp(-0.5 * (x / o.body_sigma) ** 2)
        self._pool = (rows[:, :, None] * body).reshape(o.stripes, -1).astype(np.float32)

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> Array:
        """(n, dim) float32 unit rows for n crops, each (h, w, 3) uint8 BGR of any size of at least 1 × 1."""
        check_crops(crops)
        # One small chunk at a time stays in the processor's cache; every product below has the shape of one
        # crop, so that a row does not depend on its neighbours.
        parts = [self._embed(crops[i : i + _CHUNK]) for i in range(0, len(crops), _CHUNK)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def _embed(self, crops: Sequence[NDArray[np.uint8]]) -> Array:
        import cv2

        size = (self.options.width_px, self.options.height_px)
        small = np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops])
        return self._shares(self._normalise(self._logarithm[small].reshape(len(crops), -1, 3)))

    def _normalise(self, log: Array) -> Array:
        """Take part of the crop's own brightness, colour cast and contrast out of (n, pixels, 3) logarithms."""
        o = self.options
        mean = log.mean(axis=1, keepdims=True)
        brightness = mean.mean(axis=2, keepdims=True)
        log = log - o.cast * (mean - brightness) - o.exposure * (brightness - _MIDDLE)
        grey = log.mean(axis=2, keepdims=True)
        spread = np.maximum(grey.std(axis=1, keepdims=True), 0.15)
        gain = (_TYPICAL_CONTRAST / spread) ** o.contrast - 1
        return log + (grey - grey.mean(axis=1, keepdims=True)) * gain

    def _shares(self, log: Array) -> Array:
        """(n, stripes × colours) from (n, pixels, 3): square roots of each stripe's shares of the vocabulary."""
        cell = (log - self._low) * (_CELLS / (self._high - self._low))
        cell = np.clip(cell, 0, _CELLS - 1).astype(np.int32)
        votes = self._votes[(cell[..., 0] * _CELLS + cell[..., 1]) * _CELLS + cell[..., 2]]
        shares = np.matmul(self._pool, votes)
        shares /= shares.sum(axis=2, keepdims=True)
        rows = (np.sqrt(shares) - self._common).reshape(len(log), -1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _cells(low: float, high: float) -> NDArray[np.float64]:
    """(32³, 3) centres, in log-opponent coordinates, of the cells of the BGR log cube."""
    middle = low + (np.arange(_CELLS) + 0.5) * (high - low) / _CELLS
    return np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), -1).reshape(-1, 3) @ _OPPONENT.T


def _typical_cells(cells: NDArray[np.float64]) -> Array:
    """(32³,) how often each cell is met after normalisation: a bell around middle grey, narrow across colours."""
    grey = (cells[:, 0] / np.sqrt(3) - _MIDDLE) / _TYPICAL_CONTRAST
    often = np.exp(-0.5 * (grey**2 + (cells[:, 1] ** 2 + cells[:, 2] ** 2) / _TYPICAL_CAST**2))
    return (often / often.sum()).astype(np.float32)


def _colour_votes(cells: NDArray[np.float64], words: NDArray[np.float64]) -> Array:
    """(32³, colours) soft membership of every cell in each word of the vocabulary."""
    spacing = np.sqrt(_squared(words, words) + 1e9 * np.eye(len(words))).min(1).mean()
    squared = _squared(cells.astype(np.float32), words.astype(np.float32))
    votes = np.exp((squared.min(1, keepdims=True) - squared) * np.float32(2 / spacing**2))
    return votes / votes.sum(1, keepdims=True)


def _vocabulary(offset: float, colours: int) -> NDArray[np.float64]:
    """(colours, 3) words: centres of an even partition (Lloyd 1982) of what a camera can show.

    Even in log-opponent space: as many words for dark blues as for bright greens.
    """
    level = np.log(np.linspace(0, 255, 24) + offset)
    gamut = np.stack(np.meshgrid(level, level, level, indexing="ij"), -1).reshape(-1, 3) @ _OPPONENT.T
    _, first = np.unique(np.round(gamut / 0.1), axis=0, return_index=True)
    gamut = gamut[first]  # one sample per cell: volume counts, not how many pixel values fall there
    words = gamut[[int(np.argmin((gamut**2).sum(1)))]]
    distance = _squared(gamut, words)[:, 0]
    while len(words) < colours:  # start with points far from each other
        words = np.concatenate([words, gamut[[int(distance.argmax())]]])
        distance = np.minimum(distance, _squared(gamut, words[-1:])[:, 0])
    for _ in range(12):
        nearest = _squared(gamut, words).argmin(1)
        count = np.bincount(nearest, minlength=colours)
        centre = np.stack([np.bincount(nearest, gamut[:, c], colours) for c in range(3)], 1)
        words = np.where(count[:, None] > 0, centre / np.maximum(count, 1)[:, None], words)
    return words


def _squared(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """(n, m) squared Euclidean distances."""
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0)
