"""Benchmarks, folders with gaps, reports and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mctrack.commands.eval import RunRequest, eval_command, make_eval_command
from mctrack.errors import ConfigError, MctrackError
from mctrack.evaluation.benchmark import NoDataError, benchmark_names, find_sequences, load_benchmark
from mctrack.evaluation.evaluate import evaluate

LINE = "{f},{i},{x},0,10,20,1,1,1\n"


def boxes(frames: range, identity: int, x: float = 0) -> str:
    return "".join(LINE.format(f=f, i=identity, x=x) for f in frames)


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    """Two cameras, one person in both and one in the second, in both layouts of truth; results beside them."""
    root = tmp_path / "scene"
    files = {
        "gt/cam1.txt": boxes(range(1, 11), 1),
        "cam2/gt/gt.txt": boxes(range(41, 51), 1) + boxes(range(1, 51), 2, 50),
        "cam2/seqinfo.ini": "[Sequence]\nseqLength=60\nframeRate=10\n",
        "run/tracks/cam1.txt": boxes(range(1, 11), 5),
        "run/tracks/cam2.txt": boxes(range(41, 51), 5) + boxes(range(1, 51), 6, 50),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(eval_command, [str(a) for a in arguments])
    if isinstance(result.exception, MctrackError):
        return 2, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_every_definition_loads() -> None:
    assert {"mot15", "mot16", "mot17", "mot20", "folder", "lab", "split", "wildtrack"} <= set(benchmark_names())
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        assert benchmark.name == name
        assert ("IoU" if benchmark.plane == "image" else "0.5 m") in benchmark.protocol
        assert "--root" in benchmark.fetch
        assert len(benchmark.fetch.splitlines()) < 24
    assert [len(load_benchmark("mot17").splits[s]) for s in ("train", "test", "train-frcnn")] == [21, 21, 7]
    assert load_benchmark("mot20").distractors == [2, 6, 7, 8, 12]


def test_unknown_names_get_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown benchmark 'mot71' \(did you mean 'mot17'"):
        load_benchmark("mot71")
    own = tmp_path / "own.yaml"
    own.write_text("name: own\nscales: 2\n")
    with pytest.raises(ConfigError, match="did you mean 'scale'"):
        load_benchmark(own)
    with pytest.raises(ConfigError, match=r"no split 'trian' \(did you mean 'train'"):
        find_sequences(load_benchmark("mot15"), tmp_path, split="trian")


def test_without_data_one_screen_says_what_to_fetch(tmp_path: Path) -> None:
    for arguments in ([], ["--root", tmp_path / "none"], ["--root", tmp_path]):
        code, text = run("--benchmark", "mot16", *arguments)
        assert code == 2
        assert "https://motchallenge.net/data/MOT16/" in text
        assert "train/MOT16-02/gt/gt.txt" in text
        assert len(text.splitlines()) <= 24


def test_cameras_share_one_space_of_identities(cameras: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    code, text = run("--benchmark", "folder", "--root", cameras, "--results", cameras / "run", "--json", out)
    assert code == 0
    report = json.loads(out.read_text())
    assert {"benchmark", "protocol", "sequences", "combined"} <= set(report)
    assert list(report["sequences"]) == ["cam1", "cam2"]
    for figures in (*report["sequences"].values(), report["combined"]):
        for key in ("HOTA", "DetA", "AssA", "MOTA", "MOTP", "IDF1"):
            assert figures[key] == pytest.approx(1), key
        assert (figures["FP"], figures["FN"], figures["IDSW"]) == (0, 0, 0)
    assert report["combined"]["MC_IDF1"] == 1
    # cam1 has no seqinfo (25 fps: gone after 0.4 s), cam2 runs at 10 fps (there from 4 s on)
    assert report["combined"]["pairs"] == {"cam1 > cam2": {"right": 1, "total": 1}}
    assert "across cameras: MC_IDF1 100.00" in text
    assert "IoU ≥ 0.5" in text


def test_boxes_marked_0_are_neither_hit_nor_miss_in_a_folder(cameras: Path) -> None:
    (cameras / "gt/cam1.txt").write_text(boxes(range(1, 11), 1) + "3,4,200,0,10,20,0,1,0.05\n")
    for extra in ("", "3,7,200,0,10,20,1\n"):
        (cameras / "run/tracks/cam1.txt").write_text(boxes(range(1, 11), 5) + extra)
        report = evaluate(load_benchmark("folder"), cameras, cameras / "run", engine="fast")
        assert report.sequences["cam1"]["HOTA"] == pytest.approx(1)


def test_cameras_start_at_the_times_of_the_calibration(cameras: Path) -> None:
    """The second camera starts 10 s earlier: the hand-over runs the other way."""
    calibration = cameras / "calibration.json"
    calibration.write_text(json.dumps({"cameras": {"cam2": {"start_s": -10.0}}}))
    report = evaluate(load_benchmark("folder"), cameras, cameras / "run", engine="fast")
    assert report.combined["pairs"] == {"cam2 > cam1": {"right": 1, "total": 1}}
    calibration.write_text("[]")
    with pytest.raises(ConfigError, match="start_s"):
        evaluate(load_benchmark("folder"), cameras, cameras / "run")


def test_a_name_changed_between_cameras_costs_mc_idf1_only(cameras: Path) -> None:
    (cameras / "run/tracks/cam1.txt").write_text(boxes(range(1, 11), 9))
    report = evaluate(load_benchmark("folder"), cameras, cameras / "run", engine="fast")
    assert report.combined["IDF1"] == 1
    assert report.combined["MC_IDF1"] == pytest.approx(60 / 70)
    assert report.combined["HandOver"] == 0


@pytest.mark.parametrize("engine", ["motmetrics", "fast", "motmetrics-plain"])
def test_gaps_are_shown_and_the_rest_is_scored(cameras: Path, engine: str) -> None:
    tracks = cameras / "run/tracks"
    (tracks / "cam1.txt").write_text(boxes(range(1, 4), 5) + "4,5,0,0,-1,20,1\n")
    (tracks / "cam9.txt").write_text(boxes(range(1, 4), 5))
    (cameras / "gt/cam3.txt").write_text(boxes(range(1, 4), 5))
    code, text = run("--benchmark", "folder", "--root", cameras, "--results", cameras / "run", "--engine", engine)
    assert code == 1
    assert f"not scored: cam1: {tracks / 'cam1.txt'} line 4: width or height is negative" in text
    assert "not scored: cam3: no results" in text
    assert "not scored: cam9: no ground truth" in text
    assert "combined (1 of 4)" in text
    assert "incomplete: 3 of 4 sequences not scored" in text
    assert next(line for line in text.splitlines() if "100.00" in line).startswith("cam2 ")


def test_frames_beyond_the_sequence(cameras: Path) -> None:
    (cameras / "run/tracks/cam2.txt").write_text(boxes(range(60, 62), 5))
    code, text = run("--benchmark", "folder", "--root", cameras, "--results", cameras / "run", "--sequences", "cam2")
    assert code == 1
    assert "line 2: the frame lies beyond the sequence, which has 60 frames" in text


def test_a_split_has_to_be_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data/train/MOT16-02"
    (folder / "gt").mkdir(parents=True)
    (folder / "gt/gt.txt").write_text(boxes(range(1, 5), 1))
    (folder / "seqinfo.ini").write_text("[Sequence]\nname=MOT16-02\nseqLength=4\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/MOT16-02.txt").write_text(boxes(range(1, 5), 3))
    common = ("--benchmark", "mot16", "--root", tmp_path / "data", "--results", tmp_path / "results")
    code, text = run(*common)
    assert code == 0
    assert "sequences scored: 1, no whole split of mot16" in text
    code, text = run(*common, "--split", "train")
    assert code == 1
    assert "combined (1 of 7)" in text
    assert "not scored: MOT16-13: no ground truth" in text


def test_truth_without_classes_is_no_mot17(tmp_path: Path) -> None:
    (tmp_path / "A/gt").mkdir(parents=True)
    (tmp_path / "A/gt/gt.txt").write_text("1,1,0,0,5,5,1\n")
    (tmp_path / "A.txt").write_text("1,1,0,0,5,5,1\n")
    code, text = run("--benchmark", "mot17", "--root", tmp_path, "--results", tmp_path)
    assert code == 1
    assert "no classes in column 8" in text


def test_one_file_against_another(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1,1,0,0,16,32,1\n2,1,16,0,16,32,1\n")
    (tmp_path / "r.txt").write_text("1,4,0,0,10,20,1\n2,4,10,0,10,20,1\n")
    code, text = run("--gt", tmp_path / "gt.txt", "--results", tmp_path / "r.txt", "--gt-scale", 0.625, "--json", "-")
    assert code == 0
    assert json.loads(text)["combined"]["HOTA"] == pytest.approx(1)
    code, text = run("--gt", tmp_path / "gt.txt", "--results", tmp_path / "r.txt", "--json", "-")
    assert json.loads(text)["combined"]["TP"] == 0
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nseqLength=1\n")
    code, text = run("--gt", tmp_path / "gt.txt", "--results", tmp_path / "r.txt")
    assert (code, "gt.txt line 2" in text) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs --benchmark"),
        (["--gt", "a.txt"], "--gt needs --results"),
        (["--gt", "a.txt", "--results", "b.txt"], "a.txt: cannot be read"),
        (["--gt", "a.txt", "--results", "."], "is a folder"),
        *((["--benchmark", "mot15", "--gt-scale", value], "must be positive and finite")
          for value in ("0", "-1", "nan", "inf")),
        *((["--gt", "a.txt", "--results", "b.txt", option, "x"], f"--gt scores one file: {option} has no meaning")
          for option in ("--config", "--set", "--out", "--split", "--sequences")),
        *((["--benchmark", "folder", "--root", ".", "--results", "b", option, "x"], f"{option} has no meaning")
          for option in ("--config", "--set", "--out")),
    ],
)
def test_wrong_use(arguments: list[str], message: str) -> None:
    code, text = run(*arguments)
    assert code == 2
    assert message in text


def test_markdown_is_a_table(cameras: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep/er/report.md"
    (cameras / "run/tracks/cam1.txt").unlink()
    code, _ = run("--benchmark", "folder", "--root", cameras, "--results", cameras / "run", "--markdown", out)
    assert code == 1
    rows = [line for line in out.read_text().splitlines() if line.startswith("|")]
    head = next(row for row in rows if "HOTA" in row)
    table = rows[rows.index(head) : rows.index(head) + 5]
    assert len({row.count("|") for row in table}) == 1
    assert "| cam1 | not scored |" in out.read_text()


def test_without_results_a_runner_makes_them(cameras: Path) -> None:
    seen: list[RunRequest] = []

    def runner(request: RunRequest) -> Path:
        seen.append(request)
        return cameras / "run"

    command = make_eval_command(runner)
    result = CliRunner().invoke(command, ["--benchmark", "folder", "--root", str(cameras), "--config", "fast"])
    assert result.exit_code == 0
    assert (seen[0].sequences, seen[0].config, seen[0].benchmark.name) == (("cam1", "cam2"), "fast", "folder")
    assert "100.00" in result.output
    code, text = run("--benchmark", "folder", "--root", cameras)
    assert code == 2
    assert "no video cam1.mp4" in text


def test_unknown_engine_and_missing_results(cameras: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'fast'"):
        evaluate(load_benchmark("folder"), cameras, cameras, engine="fsat")
    with pytest.raises(ConfigError, match="no such folder"):
        evaluate(load_benchmark("folder"), cameras, cameras / "none")
    with pytest.raises(NoDataError, match="no ground truth found"):
        evaluate(load_benchmark("folder"), cameras / "run", cameras / "run")


def test_importing_the_command_is_cheap() -> None:
    code = "import mctrack.commands.eval, sys; print([m for m in ('numpy', 'scipy', 'pandas') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
