"""Re-ranking: distances corrected by who else is near, in NumPy and SciPy, in bounded memory.

Each method takes unit features and gives (q, g) distances, all at once (``k_reciprocal``, ``ecn``) or some queries at
a time (``k_reciprocal_rows``, ``ecn_rows``), so that MSMT17's matrix of 3.8 GB need never be whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from reid_models.rerank.expanded import ecn, ecn_rows
from reid_models.rerank.reciprocal import k_reciprocal, k_reciprocal_rows

__all__ = ["RERANKERS", "ecn", "ecn_rows", "k_reciprocal", "k_reciprocal_rows"]

RERANKERS: dict[str, Callable[..., Iterator[tuple[int, Any]]]] = {"k_reciprocal": k_reciprocal_rows, "ecn": ecn_rows}
"""Name → function of (query, gallery, **options), an iterator of (number of the first query, (c, g) distances)."""
