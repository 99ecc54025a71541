"""How good a model is while and after it is trained: descriptors, retrieval scores, distances, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from reid_models.calibration import Calibration
from reid_models.errors import ReidError
from reid_models.evaluation import RetrievalScores, evaluate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from reid_models.data import ReidDataset, ReidImages
    from reid_models.protocols import MeanScores

_CACHE_BYTES = 1 << 30
_PAIRS = 200_000


class EvaluationImages:
    """Pictures to describe, decoded once where they fit into a gigabyte, else at every pass.

    Args:
        images: what to read.
        hw: height and width.
        threads: for decoding.
    """

    def __init__(self, images: ReidImages, hw: tuple[int, int], threads: int = 4) -> None:
        self.images, self.hw, self.threads = images, hw, threads
        self._keep = len(images) * 3 * hw[0] * hw[1] <= _CACHE_BYTES
        self._kept: NDArray[np.uint8] | None = None

    def batches(self, size: int, device: torch.device) -> Iterator[Tensor]:
        """(≤ size, 3, h, w) normalised pictures on the device, in order."""
        from reid_models.data import load_images, normalise

        count = len(self.images)
        if self._keep and self._kept is None and count:
            self._kept = load_images(self.images, self.hw, self.threads)
        for start in range(0, count, size):
            rows = np.arange(start, min(start + size, count))
            some = self._kept[rows] if self._kept is not None else \
                load_images(self.images.take(rows), self.hw, self.threads)
            yield normalise(torch.from_numpy(some).to(device))


@torch.no_grad()
def describe(model: nn.Module, images: EvaluationImages, batch: int, device: torch.device) -> NDArray[np.float32]:
    """(n, dim) unit rows; the model's mode is as before afterwards."""
    was = model.training
    model.eval()
    rows = [model(some).descriptor.float().cpu().numpy() for some in images.batches(batch, device)]
    model.train(was)
    return np.concatenate(rows) if rows else np.zeros((0, int(model.dim)), np.float32)  # type: ignore[arg-type]


@dataclass
class TestSet:
    """Query and gallery of one dataset, ready to be described.

    Attributes:
        dataset: whose.
        query, gallery: pictures.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    dataset: ReidDataset
    query: EvaluationImages
    gallery: EvaluationImages

    @property
    def name(self) -> str:
        """The dataset's."""
        return self.dataset.name

    @staticmethod
    def of(dataset: ReidDataset, hw: tuple[int, int], threads: int = 4) -> TestSet | None:
        """The dataset's test part, or None where it has none."""
        if not len(dataset.query) or not len(dataset.gallery):
            return None
        return TestSet(dataset, EvaluationImages(dataset.query, hw, threads),
                       EvaluationImages(dataset.gallery, hw, threads))

    def describe(self, model: nn.Module, batch: int, device: torch.device) -> Described:
        """Describe both sides."""
        return Described(self, describe(model, self.query, batch, device),
                         describe(model, self.gallery, batch, device))


@dataclass
class Described:
    """A test set's descriptors."""

    test: TestSet
    query: NDArray[np.float32]
    gallery: NDArray[np.float32]

    def scores(self) -> RetrievalScores | MeanScores:
        """CMC, mAP and mINP by cosine distance, by the dataset's own protocol."""
        from reid_models.score import scores_by

        q, g = self.test.query.images, self.test.gallery.images
        return scores_by(self.test.dataset.protocol, self.query, self.gallery, (q.pid, g.pid, q.camid, g.camid))

    def reranked(self) -> RetrievalScores | None:
        """The same after k-reciprocal re-ranking; None where the protocol has no one gallery to re-rank."""
        if self.test.dataset.protocol != "standard":
            return None
        from reid_models.rerank import k_reciprocal

        q, g = self.test.query.images, self.test.gallery.images
        # a small gallery has fewer than the usual 20 neighbours
        k1 = max(1, min(20, len(self.gallery) - 1))
        distmat = k_reciprocal(self.query, self.gallery, k1=k1, k2=min(6, k1))
        return evaluate(distmat, q.pid, g.pid, q.camid, g.camid)

    def distances(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cosine distances of pairs of one person and of different people, always from different cameras.

        At most 200,000 of each kind, drawn evenly. The people of a test set are not those of the training.
        """
        q, g = self.test.query.images, self.test.gallery.images
        same, different = [], []
        keep = min(1.0, 2 * _PAIRS / max(1, len(self.query) * len(self.gallery)))
        for row, pid, camid in zip(self.query, q.pid, q.camid, strict=True):
            elsewhere = (g.camid != camid) & (g.pid >= 0)
            distance = 1 - self.gallery @ row
            same.append(distance[elsewhere & (g.pid == pid)])
            other = np.flatnonzero(elsewhere & (g.pid != pid))
            different.append(distance[other[rng.random(len(other)) < keep]])
        return _thinned(np.concatenate(same), rng), _thinned(np.concatenate(different), rng)


def summary(scores: RetrievalScores | MeanScores) -> dict[str, float]:
    """The figures that tables show, in percent."""
    cmc = curve(scores, 10)
    return {"rank1": 100 * float(cmc[0]), "rank5": 100 * float(cmc[4]), "rank10": 100 * float(cmc[9]),
            "mAP": 100 * scores.mean_average_precision, "mINP": 100 * scores.mean_inverse_negative_penalty}


def curve(scores: RetrievalScores | MeanScores, ranks: int) -> NDArray[np.float64]:
    """(ranks,) cumulative matching characteristic."""
    return scores.cmc(ranks) if isinstance(scores, RetrievalScores) else scores.cmc[:ranks]


def calibrate(same: NDArray[np.float64], different: NDArray[np.float64], source: str) -> Calibration | None:
    """What the model's distances mean, or None where there are too few pairs to tell."""
    try:
        return Calibration.fit(same, different, source)
    except ReidError:
        return None


def _thinned(values: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    if len(values) > _PAIRS:
        values = values[np.sort(rng.choice(len(values), _PAIRS, replace=False))]
    return np.asarray(values, np.float64)
