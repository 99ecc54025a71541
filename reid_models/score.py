"""How well an embedder finds people again: a dataset's pictures in, the field's figures out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reid_models import protocols
from reid_models.data.images import decode
from reid_models.data.types import ReidDataset, ReidImages
from reid_models.errors import ReidError
from reid_models.evaluation import RetrievalScores, evaluate_features, evaluate_rows
from reid_models.protocols import PROTOCOLS, MeanScores

Features = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


class Embeds(Protocol):
    """What of an embedder is needed here."""

    name: str

    def embed(self, crops: list[NDArray[np.uint8]]) -> Features:
        """(n, d) unit rows for n crops, (h, w, 3) uint8 BGR."""
        ...


def embed_images(images: ReidImages, embedder: Embeds, batch: int = 128, threads: int = 2,
                 progress: Progress | None = None) -> Features:
    """(n, d) unit rows; pictures are decoded ahead of the embedder, and only two batches are held at a time.

    Args:
        images: what to describe; at their own sizes.
        embedder: gets them as BGR crops.
        batch: pictures at a time.
        threads: that decode.
        progress: told after every batch.
    """
    rows: list[Features] = []
    parts = [images.paths[i : i + batch] for i in range(0, len(images), batch)]
    with ThreadPoolExecutor(threads) as pool:
        ahead = [pool.submit(decode, path) for path in parts[0]] if parts else []
        for k, part in enumerate(parts):
            crops = [task.result() for task in ahead]
            ahead = [pool.submit(decode, path) for path in parts[k + 1]] if k + 1 < len(parts) else []
            rows.append(np.asarray(embedder.embed(crops)))
            if progress is not None:
                progress(min((k + 1) * batch, len(images)), len(images))
            del crops, part
    return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def score_reid(dataset: ReidDataset, embedder: Embeds, *, rerank: str | None = None, protocol: str | None = None,
               multi_query: bool = False, fidelity: bool = False, choices: int | None = None, seed: int = 0,
               rerank_options: Mapping[str, Any] | None = None, batch: int = 128, threads: int = 2,
               progress: Progress | None = None) -> dict[str, Any]:
    """Describe a dataset's query and gallery, and score them; see :func:`score_features`.

    Args:
        dataset: what to ask.
        embedder: who answers.
        rerank, protocol, multi_query, fidelity, choices, seed, rerank_options: see :func:`score_features`.
        batch, threads, progress: see :func:`embed_images`.

    Returns:
        The figures (see :func:`score_features`), with ``dataset`` and ``embedder``.

    Raises:
        ReidError: there is nothing to ask, a picture cannot be read, or options that cannot be.
    """
    _check(dataset, rerank, protocol)
    sides: list[Features] = []
    for images in (dataset.query, dataset.gallery):
        if images is dataset.query or images.paths != dataset.query.paths:
            sides.append(embed_images(images, embedder, batch, threads, progress))
        else:
            sides.append(sides[0])
    figures = score_features(dataset, sides[0], sides[1], rerank=rerank, protocol=protocol, multi_query=multi_query,
                             fidelity=fidelity, choices=choices, seed=seed, rerank_options=rerank_options)
    return {"dataset": dataset.name, "embedder": embedder.name, **figures}


def score_features(dataset: ReidDataset, query: Features, gallery: Features, *, rerank: str | None = None,
                   protocol: str | None = None, multi_query: bool = False, fidelity: bool = False,
                   choices: int | None = None, seed: int = 0,
                   rerank_options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Score features of a dataset's query and gallery.

    Args:
        dataset: the labels.
        query, gallery: (q, d) and (g, d) unit rows.
        rerank: ``k_reciprocal`` or ``ecn``, with the standard protocol only.
        protocol: one of ``protocols.PROTOCOLS``; default: the dataset's own.
        multi_query: pool the queries of a person in a camera into one.
        fidelity: count FIDI's Error-I and Error-II over query and gallery together.
        choices: of random galleries or halves; default: the protocol's.
        seed: of those choices.
        rerank_options: of the re-ranking (``k1``, …).

    Returns:
        ``rank1``, ``rank5``, ``rank10``, ``mAP``, ``mINP`` in 0…1; ``queries`` (those with a match), ``gallery``,
        ``protocol``, ``rerank``; with ``fidelity`` also ``error_1`` and ``error_2``.
    """
    _check(dataset, rerank, protocol)
    kind = protocol or dataset.protocol
    q, g = dataset.query, dataset.gallery
    query_pid, query_camid = q.pid, q.camid
    counted = _fidelity(dataset, query, gallery) if fidelity else {}
    if multi_query:
        query, query_pid, query_camid = protocols.multi_query(query, q.pid, q.camid)
    labels = (query_pid, g.pid, query_camid, g.camid)
    scores: RetrievalScores | MeanScores
    if rerank is not None:
        scores = _reranked(query, gallery, labels, rerank, rerank_options or {})
    else:
        scores = scores_by(kind, query, gallery, labels, choices, seed)
    cmc = scores.cmc(10) if isinstance(scores, RetrievalScores) else scores.cmc
    return {
        "rank1": float(cmc[0]), "rank5": float(cmc[4]), "rank10": float(cmc[9]),
        "mAP": scores.mean_average_precision, "mINP": scores.mean_inverse_negative_penalty,
        "queries": len(scores.query) if isinstance(scores, RetrievalScores) else len(query), "gallery": len(g),
        "protocol": kind, "rerank": rerank, **counted,
    }  # fmt: skip


def _check(dataset: ReidDataset, rerank: str | None, protocol: str | None) -> None:
    from reid_models.rerank import RERANKERS

    kind = protocol or dataset.protocol
    if kind not in PROTOCOLS:
        raise ReidError(f"unknown protocol '{kind}'; known: {', '.join(PROTOCOLS)}")
    if rerank is not None and rerank not in RERANKERS:
        raise ReidError(f"unknown re-ranking '{rerank}'; known: {', '.join(RERANKERS)}")
    if rerank is not None and kind != "standard":
        raise ReidError(f"re-ranking goes with the standard protocol; {dataset.name} is scored by {kind}")
    if not len(dataset.query) or not len(dataset.gallery):
        raise ReidError(f"{dataset.name}: nobody to ask for: {len(dataset.query)} queries, {len(dataset.gallery)} "
                        "pictures in the gallery")


def _reranked(query: Features, gallery: Features, labels: tuple[Any, ...], rerank: str,
              options: Mapping[str, Any]) -> RetrievalScores:
    from reid_models.rerank import RERANKERS

    try:
        return evaluate_rows(RERANKERS[rerank](query, gallery, **options), *labels)
    except TypeError as error:
        raise ReidError(f"re-ranking {rerank}: {error}") from error


def scores_by(kind: str, query: Features, gallery: Features, labels: tuple[Any, ...], choices: int | None = None,
              seed: int = 0) -> RetrievalScores | MeanScores:
    """Score (q, d) and (g, d) unit rows by a protocol.

    Args:
        kind: one of ``protocols.PROTOCOLS``.
        query, gallery: the rows.
        labels: pids of both, then cameras of both.
        choices, seed: see :func:`score_features`.
    """
    if kind == "standard":
        return evaluate_features(query, gallery, *labels)
    rng = np.random.default_rng(seed)
    given = {} if choices is None else {"choices": choices}
    if kind == "random_gallery":
        # queries and gallery are one pool, out of which a gallery is drawn again and again
        pool, pid = np.concatenate([query, gallery]), np.concatenate([labels[0], labels[1]])
        return protocols.random_gallery(1 - pool @ pool.T, pid, rng, **given)
    method = getattr(protocols, kind)
    result: MeanScores = method(1 - query @ gallery.T, *labels, rng, **given)
    return result


def _fidelity(dataset: ReidDataset, query: Features, gallery: Features) -> dict[str, float]:
    from reid_models.fidelity import fidelity

    features, pid = [query], [dataset.query.pid]
    if dataset.gallery.paths != dataset.query.paths:
        features.append(gallery)
        pid.append(dataset.gallery.pid)
    people = np.concatenate(pid)
    if 0 not in dataset.query.pid:
        # Market's distractors are many people under one number: others to everybody, each other included
        distractors = people == 0
        people = np.where(distractors, people.max(initial=0) + np.cumsum(distractors), people)
    counts = fidelity(np.concatenate(features), people)
    return {"error_1": counts.error_1, "error_2": counts.error_2}
