"""How embedders do on the people of a rendered data set whom no training saw, by whether their cameras were seen.

    python eval/reid_held_out.py ROOT --reid robust_reid_compact histogram path/to/other.onnx

ROOT is a folder of ``mctrack synth reid`` with test identities; queries are compared with the gallery of the same kind
(cameras that training pictures come from, new ones in the same places, others in places never seen), other cameras
only. Crops are given at their own size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_models import ReidError, load
from reid_models.data import ReidDataset, read_dataset
from reid_models.evaluation import evaluate_features

KINDS = {"test": "cameras seen", "test-new-cameras": "new cameras in places seen",
         "test-held-out": "cameras and places never seen", "": "all"}  # fmt: skip


def described(embedder: Any, paths: Sequence[Path]) -> NDArray[np.float32]:
    """(n, d) unit rows of pictures."""
    parts = [embedder.embed([cv2.imread(str(p)) for p in paths[i : i + 64]]) for i in range(0, len(paths), 64)]
    return np.concatenate(parts)


def scores(embedder: Any, data: ReidDataset, split: dict[int, str]) -> dict[str, dict[str, float]]:
    """Kind → queries, rank-1, mAP and mINP in percent."""
    query, gallery = data.query, data.gallery
    rows = [described(embedder, side.paths) for side in (query, gallery)]
    found = {}
    for kind in KINDS:
        q, g = (np.array([kind in ("", split.get(p, "")) for p in side.pid.tolist()]) for side in (query, gallery))
        if not q.any():
            continue
        s = evaluate_features(rows[0][q], rows[1][g], query.pid[q], gallery.pid[g], query.camid[q], gallery.camid[g])
        found[kind] = {"queries": len(s.query), "rank1": 100 * s.rank1, "mAP": 100 * s.mean_average_precision,
                       "mINP": 100 * float(s.inverse_negative_penalty.mean())}
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of mctrack synth reid")
    parser.add_argument("--reid", nargs="+", default=["robust_reid_compact"], help="names or .onnx files")
    args = parser.parse_args()
    people = json.loads((args.root / "people.json").read_text(encoding="utf-8"))
    split = {int(p["pid"]): str(p["split"]) for p in people}
    data = read_dataset("market1501", args.root)
    print("| embedder | people of | queries | rank-1 | mAP | mINP |\n|---|---|---|---|---|---|")
    for name in args.reid:
        embedder = load(name, "cpu")
        for kind, s in scores(embedder, data, split).items():
            print(f"| {embedder.name} | {KINDS[kind]} | {s['queries']:.0f} | {s['rank1']:.1f} | {s['mAP']:.1f} "
                  f"| {s['mINP']:.1f} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (ReidError, OSError) as error:
        raise SystemExit(f"reid_held_out: {error}") from None
