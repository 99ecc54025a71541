"""Agreement of every figure with trackeval 1.3.0, on random sequences and on real ones."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mctrack.commands.benchmark_runner import run_benchmark
from mctrack.commands.eval_job import RunRequest
from mctrack.evaluation.benchmark import load_benchmark
from mctrack.evaluation.motchallenge import read_ground_truth, read_results, read_seqinfo
from mctrack.evaluation.preprocess import scored_overlaps
from mctrack.evaluation.score import figures, hota_curves, pooled, sequence_counts

trackeval = pytest.importorskip("trackeval")

THEIR_NAME = {"TP": "CLR_TP", "FP": "CLR_FP", "FN": "CLR_FN", "Rcll": "CLR_Re", "Prcn": "CLR_Pr"}
COMPARED = [
    *("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr"),
    *("MOTA", "MOTP", "MODA", "Rcll", "Prcn", "TP", "FP", "FN", "IDSW", "Frag", "MT", "PT", "ML"),
    *("IDF1", "IDP", "IDR", "IDTP", "IDFP", "IDFN"),
]
DISTRACTORS = {"MOT15": None, "MOT16": [2, 7, 8, 12], "MOT17": [2, 7, 8, 12], "MOT20": [2, 6, 7, 8, 12]}


def oracle(truth: Path, results: Path, sequences: list[str], benchmark: str) -> dict[str, dict[str, Any]]:
    """Trackeval's figures per sequence, and pooled under the name ``combined``."""
    with contextlib.redirect_stdout(io.StringIO()):
        config = {"SKIP_SPLIT_FOL": True, "BENCHMARK": benchmark, "PRINT_CONFIG": False}
        config |= {"GT_FOLDER": str(truth), "SEQ_INFO": dict.fromkeys(sequences)}
        config |= {"TRACKERS_FOLDER": str(results.parent), "TRACKERS_TO_EVAL": [results.name], "TRACKER_SUB_FOLDER": ""}
        dataset = trackeval.datasets.MotChallenge2DBox(config)
        metrics = [
            trackeval.metrics.CLEAR({"PRINT_CONFIG": False}),
            trackeval.metrics.Identity({"PRINT_CONFIG": False}),
            trackeval.metrics.HOTA(),
        ]
        found: dict[str, dict[str, Any]] = {"combined": {}}
        for sequence in sequences:
            raw = dataset.get_raw_seq_data(results.name, sequence)
            data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
            per_metric = [metric.eval_sequence(data) for metric in metrics]
            found[sequence] = {}
            for part in per_metric:
                found[sequence] |= part
        for metric in metrics:
            found["combined"] |= metric.combine_sequences({s: found[s] for s in sequences})
    return found


def ours(truth: Path, results: Path, sequences: list[str], benchmark: str) -> dict[str, dict[str, Any]]:
    """The same from our reader and engine, with the HOTA curves as arrays."""
    counts = {}
    for sequence in sequences:
        length = read_seqinfo(truth / sequence / "seqinfo.ini").length
        gt = read_ground_truth(truth / sequence / "gt" / "gt.txt", length)
        result = read_results(results / f"{sequence}.txt", length, benchmark != "MOT15")
        counts[sequence] = sequence_counts(scored_overlaps(gt, result, DISTRACTORS[benchmark]))
    counts["combined"] = pooled(list(counts.values()))
    return {name: figures(c) | {f"{k}(α)": v for k, v in hota_curves(c).items()} for name, c in counts.items()}


def assert_equal_figures(truth: Path, results: Path, sequences: list[str], benchmark: str) -> None:
    theirs, mine = oracle(truth, results, sequences, benchmark), ours(truth, results, sequences, benchmark)
    for name in [*sequences, "combined"]:
        for key in COMPARED:
            expected = theirs[name][THEIR_NAME.get(key, key)]
            assert mine[name][key] == pytest.approx(np.mean(expected), abs=1e-6), f"{name} {key}"
            if f"{key}(α)" in mine[name]:
                np.testing.assert_allclose(mine[name][f"{key}(α)"], expected, atol=1e-6, err_msg=f"{name} {key}")


def write_sequence(root: Path, results: Path, name: str, rng: np.random.Generator, frames: int = 60) -> None:
    """A crowded random sequence with every difficulty the kit has a rule for.

    Crossing walkers, empty frames on either side, ignored boxes, all classes, swapped and broken identities,
    missing and false boxes, boxes twice under two identities (ties), whole coordinates (IoUs of exactly 0.5).
    """
    n = 12
    start, speed = rng.uniform(0, 300, (n, 2)), rng.normal(0, 4, (n, 2))
    size = rng.integers(30, 80, n)
    kind = rng.choice([1, 1, 1, 1, 2, 3, 6, 7, 8, 11, 12], n)
    truth, found = [], []
    names = np.arange(n) + 1
    for frame in range(1, frames + 1):
        if frame % 17 == 0:
            rng.shuffle(names[: n // 2])
        for i in range(n):
            x, y = np.round(start[i] + speed[i] * frame)
            w, h = size[i], 2 * size[i]
            if rng.random() < 0.9 and frame % 23:
                truth.append([frame, i + 1, x, y, w, h, int(rng.random() < 0.9), kind[i], 1])
            if rng.random() < 0.85 and frame % 19:
                noise = np.round(rng.normal(0, 0.08, 4) * [w, h, w, h]) if rng.random() < 0.7 else np.zeros(4)
                box = np.array([x, y, w, h]) + noise
                found.append([frame, names[i], *box])
                if rng.random() < 0.1:
                    found.append([frame, 100 + names[i], *box])
        found.append([frame, 200 + frame % 5, *rng.integers(0, 300, 2), 50, 100])
    folder = root / name / "gt"
    folder.mkdir(parents=True)
    (root / name / "seqinfo.ini").write_text(f"[Sequence]\nname={name}\nseqLength={frames}\nframeRate=25\n")
    (folder / "gt.txt").write_text("\n".join(",".join(f"{v:g}" for v in row) for row in truth))
    results.mkdir(exist_ok=True)
    text = "\n".join(",".join(f"{v:.4g}" for v in row) + ",1,-1,-1,-1" for row in found)
    (results / f"{name}.txt").write_text(text)


@pytest.mark.parametrize("benchmark", ["MOT15", "MOT16", "MOT17", "MOT20"])
def test_random_sequences(tmp_path: Path, rng: np.random.Generator, benchmark: str) -> None:
    names = [f"S-{i}" for i in range(6)]
    for name in names:
        write_sequence(tmp_path / "gt", tmp_path / "results", name, rng)
    assert_equal_figures(tmp_path / "gt", tmp_path / "results", names, benchmark)


def test_empty_results_and_ignored_truth(tmp_path: Path, rng: np.random.Generator) -> None:
    """A sequence without results and one whose truth is all ignored, pooled with a usual one."""
    truth, results = tmp_path / "gt", tmp_path / "results"
    for name in ("none", "ignored", "usual"):
        write_sequence(truth, results, name, rng)
    (results / "none.txt").write_text("")
    table = np.loadtxt(truth / "ignored" / "gt" / "gt.txt", delimiter=",")
    table[:, 6] = 0
    np.savetxt(truth / "ignored" / "gt" / "gt.txt", table, fmt="%g", delimiter=",")
    assert_equal_figures(truth, results, ["none", "ignored", "usual"], "MOT17")


@pytest.mark.data
def test_mot15_results_of_a_published_tracker(data_dir: Path) -> None:
    sequences = sorted(p.name for p in (data_dir / "mot15").iterdir() if p.is_dir())
    assert len(sequences) == 8
    assert_equal_figures(data_dir / "mot15", data_dir / "mot15_results_cem", sequences, "MOT15")


@pytest.fixture(scope="module")
def mot17(data_dir: Path) -> tuple[Path, list[str]]:
    """The folder of MOT17 and its sequences."""
    sequences = sorted(p.name for p in (data_dir / "mot17").iterdir() if p.is_dir())
    assert len(sequences) == 4
    return data_dir / "mot17", sequences


@pytest.mark.data
@pytest.mark.slow
def test_mot17_noisy_truth(mot17: tuple[Path, list[str]], tmp_path: Path, rng: np.random.Generator) -> None:
    """Results made of the truth, all classes, so that distractors are hit."""
    root, sequences = mot17
    for name in sequences:
        np.savetxt(tmp_path / f"{name}.txt", _noisy_truth(root / name, rng), fmt="%g", delimiter=",")
    assert_equal_figures(root, tmp_path, sequences, "MOT17")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), ("track.max_age_s=0.3", "track.new_score=0.5", "output.fill_gap_s=0")])
def test_mot17_by_two_of_our_configurations(
    mot17: tuple[Path, list[str]], tmp_path: Path, settings: tuple[str, ...]
) -> None:
    """What ``mctrack eval`` itself tracks and writes, the defaults and a hastier tracker without filled gaps."""
    root, sequences = mot17
    out = run_benchmark(RunRequest(load_benchmark("mot17"), root, tuple(sequences), None, tmp_path / "out", settings))
    assert_equal_figures(root, out / "tracks", sequences, "MOT17")


def _noisy_truth(sequence: Path, rng: np.random.Generator) -> np.ndarray:
    table = np.loadtxt(sequence / "gt" / "gt.txt", delimiter=",")
    table = table[rng.random(len(table)) > 0.15]
    table[:, 2:6] += rng.normal(0, 0.08, (len(table), 4)) * table[:, [4, 5, 4, 5]]
    table[:, 4:6] = np.abs(table[:, 4:6])
    table[:, 1] += 1000 * (np.floor(table[:, 0] / 100) % 2) * (table[:, 1] % 3 == 0)
    table[rng.random(len(table)) < 0.02, 1] += 5000
    return np.c_[table[:, :6], np.ones(len(table)), -np.ones((len(table), 3))]
