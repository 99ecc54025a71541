"""How long scoring a retrieval takes, and how much memory, at the sizes of Market-1501 and MSMT17.

Made-up features of the true numbers of queries, gallery entries, people and cameras; scoring does not see the
difference. Run one case a process, since memory is the process's peak:

    python eval/bench_retrieval.py market1501
    python eval/bench_retrieval.py msmt17
    python eval/bench_retrieval.py market1501 --rerank k_reciprocal
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import resource
import time

import numpy as np

from reid_models.evaluation import evaluate, evaluate_features

NOISE = 2.4
SIZES = {
    # queries, gallery, people asked for, cameras, the gallery's shares of distractors and of junk
    "market1501": (3368, 19732, 750, 6, 2798 / 19732, 3819 / 19732),
    "dukemtmc": (2228, 17661, 702, 8, 0.3, 0.0),
    "msmt17": (11659, 82161, 3060, 15, 0.0, 0.0),
}


def made_up(name: str, dim: int, share: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Unit features around one centre a person, with labels."""
    queries, entries, people, cameras, distractors, junk = SIZES[name]
    queries, entries = round(queries * share), round(entries * share)
    centres = rng.standard_normal((people, dim), dtype=np.float32)
    query_pid, gallery_pid = rng.integers(0, people, queries), rng.integers(0, people, entries)

    def features(pid: np.ndarray) -> np.ndarray:
        rows = centres[pid]
        rows += NOISE * rng.standard_normal(rows.shape, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    query, gallery = features(query_pid), features(gallery_pid)
    kind = rng.random(entries)
    gallery_pid[kind < distractors] = people
    gallery_pid[kind > 1 - junk] = -1
    return query, gallery, query_pid, gallery_pid, rng.integers(0, cameras, queries), rng.integers(0, cameras, entries)


def main() -> None:
    """Print one line a step: CPU seconds, and the process's peak of memory after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--share", type=float, default=1.0, help="only this share of queries and gallery")
    parser.add_argument("--rerank", choices=["k_reciprocal", "ecn"])
    options = parser.parse_args()
    query, gallery, *labels = made_up(options.size, options.dim, options.share, np.random.default_rng(0))
    print(f"{options.size}: {len(query)} × {len(gallery)}, {options.dim} dimensions; with features {_memory():.2f} GB")
    if options.rerank:
        from reid_models import rerank

        began = time.process_time()
        distmat = getattr(rerank, options.rerank)(query, gallery)
        print(f"{options.rerank}: {time.process_time() - began:.2f} CPU-s, peak {_memory():.2f} GB")
        scores = evaluate(distmat, *labels)
        print(f"rank-1 {scores.rank1:.4f}, mAP {scores.mean_average_precision:.4f}")
        return
    began = time.process_time()
    somebody = gallery[labels[1] >= 0]
    for start in range(0, len(query), 256):  # what evaluate_features does of it, so that the rest can be told apart
        _ = query[start : start + 256] @ somebody.T
    product = time.process_time() - began
    began = time.process_time()
    scores = evaluate_features(query, gallery, *labels)
    took = time.process_time() - began
    print(f"evaluate_features: {took:.2f} CPU-s, of which distances {product:.2f}; scoring alone {took - product:.2f}; "
          f"peak {_memory():.2f} GB")
    print(f"rank-1 {scores.rank1:.4f}, mAP {scores.mean_average_precision:.4f}, "
          f"mINP {scores.mean_inverse_negative_penalty:.4f}")


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
