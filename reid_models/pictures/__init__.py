"""Pictures about retrieval: ranked lists, curves, distances, maps of the features. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from reid_models.data.types import ReidDataset


def draw_all(out: Path, dataset: ReidDataset, query: NDArray[Any], gallery: NDArray[Any], seed: int = 0) -> list[Path]:
    """Draw everything there is to see in the features of a dataset's query and gallery.

    Args:
        out: folder for ``ranked.png``, ``mistakes.png``, ``cmc.png``, ``distances.png``, ``tsne.png``; made where
            it is missing.
        dataset: labels and pictures.
        query, gallery: (q, d) and (g, d) unit rows.
        seed: of the choice of queries and pairs, and of t-SNE.

    Returns:
        The files.
    """
    from reid_models.evaluation import evaluate_features
    from reid_models.pictures.curves import cmc_figure, distance_figure, save_figure
    from reid_models.pictures.map import feature_map
    from reid_models.pictures.pairs import sample_distances
    from reid_models.pictures.ranked import ranked_picture, save_picture

    rng = np.random.default_rng(seed)
    q, g = dataset.query, dataset.gallery
    scores = evaluate_features(query, gallery, q.pid, g.pid, q.camid, g.camid)
    some = np.sort(rng.permutation(scores.query)[:10])
    worst = scores.query[np.argsort(scores.average_precision, kind="stable")[:10]]
    files = [save_picture(ranked_picture(dataset, query, gallery, rows), out / name)
             for name, rows in (("ranked.png", some), ("mistakes.png", worst))]
    files.append(save_figure(cmc_figure({dataset.name: scores.cmc(50)}), out / "cmc.png"))
    same, different = sample_distances(query, gallery, (q.pid, g.pid, q.camid, g.camid), rng)
    files.append(save_figure(distance_figure(same, different), out / "distances.png"))
    # distractors are many people under one number
    asked = np.where(np.isin(g.pid, q.identities), g.pid, -1)
    features, pid, camid = np.concatenate([query, gallery]), np.append(q.pid, asked), np.append(q.camid, g.camid)
    files.append(save_figure(feature_map(features, pid, camid, rng), out / "tsne.png"))
    return files
