"""Runs side by side: differences, the bootstrap over sequences, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mctrack.commands.eval import RunRequest, make_eval_command
from mctrack.commands.eval_job import parse_axis, slug
from mctrack.errors import ConfigError, MctrackError, SourceError
from mctrack.evaluation.benchmark import load_benchmark
from mctrack.evaluation.compare import BOOTSTRAPPED, compare
from mctrack.evaluation.evaluate import evaluate
from mctrack.evaluation.report import Report
from mctrack.evaluation.score import figures, pooled

BENCHMARK = load_benchmark("mot15")


def write(root: Path, sequences: int, missing: float, seed: int = 0) -> Path:
    """Sequences of three people; results lack a share of the boxes."""
    rng = np.random.default_rng(seed)
    for s in range(sequences):
        name, rows = f"S{s}", [(f, i) for f in range(1, 31) for i in range(3)]
        lines = [f"{f},{i + 1},{100 * i + f},0,20,40,1,-1,-1,-1\n" for f, i in rows]
        for path, kept in ((root / "truth" / name / "gt" / "gt.txt", np.ones(len(rows), bool)),
                           (root / f"results-{missing}" / f"{name}.txt", rng.random(len(rows)) >= missing)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(line for line, k in zip(lines, kept, strict=True) if k))
    return root / f"results-{missing}"


def reports(tmp_path: Path, sequences: int = 5) -> dict[str, Report]:
    found = {}
    for missing in (0.1, 0.4):
        results = write(tmp_path, sequences, missing)
        found[str(missing)] = evaluate(BENCHMARK, tmp_path / "truth", results, engine="fast")
    return found


def test_a_difference_is_that_of_the_pooled_figures(tmp_path: Path) -> None:
    runs = reports(tmp_path)
    found = compare("missing", runs).differences["0.4"]
    for key in BOOTSTRAPPED["image"]:
        assert found[key].value == pytest.approx(runs["0.4"].combined[key] - runs["0.1"].combined[key])
        assert found[key].low <= found[key].value <= found[key].high < 0
        assert found[key].certain


def test_the_interval_is_the_slow_bootstrap(tmp_path: Path) -> None:
    """The same draws by hand: sequences repeated as often as they were drawn, for both runs alike."""
    runs = reports(tmp_path, 3)
    rng, names, gaps = np.random.default_rng(7), ["S0", "S1", "S2"], []
    for weight in rng.multinomial(3, [1 / 3] * 3, 50):
        drawn = [n for n, w in zip(names, weight, strict=True) for _ in range(w)]
        mota = [figures(pooled(runs[r].counts[n] for n in drawn))["MOTA"] for r in ("0.1", "0.4")]
        gaps.append(mota[1] - mota[0])
    found = compare("missing", runs, seed=7, samples=50).differences["0.4"]["MOTA"]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])))


def test_the_seed_is_all_there_is_to_chance(tmp_path: Path) -> None:
    runs = reports(tmp_path)
    assert compare("m", runs, seed=1).differences == compare("m", runs, seed=1).differences
    assert compare("m", runs, seed=1).differences != compare("m", runs, seed=2).differences


def test_a_run_against_itself_differs_by_nothing(tmp_path: Path) -> None:
    run = reports(tmp_path)["0.1"]
    for difference in compare("m", {"a": run, "b": run}).differences["b"].values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert not difference.certain


def test_one_sequence_has_no_interval_and_says_so(tmp_path: Path) -> None:
    found = compare("m", reports(tmp_path, 1))
    assert all(d.low is None and not d.certain for d in found.differences["0.4"].values())
    assert any("no interval: there is one sequence only" in n for n in found.notes)
    scene = {k: replace(r, one_scene=True) for k, r in reports(tmp_path, 4).items()}
    found = compare("m", scene)
    assert all(d.low is None for d in found.differences["0.4"].values())
    assert any("cameras of one scene are one sample" in n for n in found.notes)


def test_a_scene_is_compared_on_the_floor_too(tmp_path: Path) -> None:
    floor = {"0.1": {"GP_MOTA": 0.5, "GP_IDF1": 0.4}, "0.4": {"GP_MOTA": 0.75, "GP_IDF1": 0.9}}
    runs = {k: replace(r, one_scene=True, combined=r.combined | floor[k]) for k, r in reports(tmp_path, 4).items()}
    found = compare("m", runs)
    assert found.differences["0.4"]["GP_IDF1"].value == pytest.approx(0.5)
    totals, differences = found.tables()
    assert (totals[0][-2:], totals[1][-2:]) == (["GP_MOTA", "GP_IDF1"], ["50.00", "40.00"])
    assert differences[1][-2:] == ["+25.00", "+50.00"]


def test_only_sequences_scored_in_both_are_compared(tmp_path: Path) -> None:
    runs = reports(tmp_path)
    (tmp_path / "results-0.4" / "S0.txt").write_text("1,1,nan,0,1,1\n")
    runs["0.4"] = evaluate(BENCHMARK, tmp_path / "truth", tmp_path / "results-0.4", engine="fast")
    found = compare("m", runs)
    assert not found.complete
    assert any("over 4 sequences; not scored in both: S0" in n for n in found.notes)
    both = {k: figures(pooled(r.counts[n] for n in ("S1", "S2", "S3", "S4"))) for k, r in runs.items()}
    assert found.differences["0.4"]["HOTA"].value == pytest.approx(both["0.4"]["HOTA"] - both["0.1"]["HOTA"])
    assert "0.4 (incomplete)" in found.to_text()
    assert "not scored: 0.4: S0" in found.to_text()


def test_other_protocols_are_not_compared(tmp_path: Path) -> None:
    runs = reports(tmp_path)
    runs["0.4"].protocol = "IoU ≥ 0.3"
    with pytest.raises(ConfigError, match="another protocol"):
        compare("m", runs)


def test_axes() -> None:
    assert parse_axis("none,histogram") == ("reid.name", ["none", "histogram"])
    assert parse_axis("track.max_age_s=0.5, 1.5") == ("track.max_age_s", ["0.5", "1.5"])
    assert parse_axis("associate.transitions={a->b: [1, 2]},{}") == (
        "associate.transitions", ["{a->b: [1, 2]}", "{}"])
    for text in ("none", "reid.name=none", "none,none", "=a,b", ""):
        with pytest.raises(ConfigError, match="--compare"):
            parse_axis(text)
    assert slug("models/a b.onnx") == "models_a_b.onnx"


# ---------------------------------------------------------------------- the command


def run(tmp_path: Path, *arguments: object, broken: str = "") -> tuple[int, str, list[RunRequest]]:
    """The command with a tracker that takes ready results by the value of ``x``."""
    seen: list[RunRequest] = []

    def runner(request: RunRequest) -> Path:
        seen.append(request)
        value = request.settings[-1].split("=")[1]
        if value == broken:
            raise SourceError("the camera is on fire")
        return tmp_path / f"results-{slug(value)}"

    command = make_eval_command(runner)
    result = CliRunner().invoke(command, ["--benchmark", "mot15", "--root", str(tmp_path / "truth"), "--engine", "fast",
                                          *map(str, arguments)])
    if isinstance(result.exception, MctrackError):
        return 2, str(result.exception), seen
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output, seen


def test_the_command_runs_once_per_value(tmp_path: Path) -> None:
    reports(tmp_path)
    out, markdown = tmp_path / "c.json", tmp_path / "c.md"
    code, text, seen = run(tmp_path, "--compare", "x.y=0.1,0.4", "--set", "video.start=1", "--out", tmp_path / "runs",
                           "--json", out, "--markdown", markdown)
    assert code == 0
    assert [r.settings for r in seen] == [("video.start=1", "x.y=0.1"), ("video.start=1", "x.y=0.4")]
    assert [r.out for r in seen] == [tmp_path / "runs" / "0.1", tmp_path / "runs" / "0.4"]
    assert "IoU ≥ 0.5" in text
    assert "paired bootstrap over 5 sequences" in text
    found = json.loads(out.read_text())
    assert (found["axis"], list(found["runs"])) == ("x.y", ["0.1", "0.4"])
    assert set(found["runs"]["0.1"]) >= {"benchmark", "protocol", "sequences", "combined"}
    assert found["differences"]["0.4"]["IDF1"]["high"] < 0
    tables = [line for line in markdown.read_text().splitlines() if line.startswith("|")]
    assert tables[0].startswith("| x.y | HOTA |")
    assert any(line.startswith("| against 0.1 | HOTA |") for line in tables)


def test_a_file_is_called_by_its_name_in_the_table(tmp_path: Path) -> None:
    reports(tmp_path)
    weights = tmp_path / "folder" / "net.safetensors"
    weights.parent.mkdir()
    weights.touch()
    (tmp_path / "results-0.4").rename(tmp_path / f"results-{slug(str(weights))}")
    json_file = tmp_path / "c.json"
    code, text, seen = run(tmp_path, "--compare", f"x=0.1,{weights}", "--json", json_file)
    assert code == 0
    assert seen[1].settings == (f"x={weights}",)
    assert list(json.loads(json_file.read_text())["runs"]) == ["0.1", "net.safetensors"]
    assert str(tmp_path / "folder") not in text.split("net.safetensors:", 1)[1]


def test_a_run_that_fails_is_a_gap_and_the_others_are_scored(tmp_path: Path) -> None:
    reports(tmp_path)
    code, text, seen = run(tmp_path, "--compare", "x=0.1,0.4", broken="0.4")
    assert (code, len(seen)) == (1, 2)
    assert "not scored: 0.4: the whole run: the camera is on fire" in text
    assert "0.4 (incomplete)" in text
    code, text, _ = run(tmp_path, "--compare", "x=1,2")
    assert code == 2
    assert "no such folder" in text


def test_results_that_are_there_already(tmp_path: Path) -> None:
    reports(tmp_path)
    axis = f"results={tmp_path / 'results-0.1'},{tmp_path / 'results-0.4'}"
    code, text, seen = run(tmp_path, "--compare", axis)
    assert (code, seen) == (0, [])
    assert "against results-0.1" in text
    code, text, _ = run(tmp_path, "--compare", axis, "--results", tmp_path / "results-0.1")
    assert code == 2
    assert "--compare results=" in text
