"""Other layouts of ground truth, the LAB and WILDTRACK benchmarks, and the ground plane beside the image plane."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mctrack.commands.eval import make_eval_command
from mctrack.errors import ConfigError, MctrackError
from mctrack.evaluation.benchmark import find_sequences, load_benchmark, with_layout
from mctrack.evaluation.evaluate import evaluate
from mctrack.evaluation.layout import TruthLayout, read_layout
from mctrack.evaluation.text import ReadError


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(make_eval_command(), [str(a) for a in arguments])
    if isinstance(result.exception, MctrackError):
        return 2, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("frame id left top width height", "1,3,10,20,30,40"),
        ("id frame left top right bottom", "3,1,10,20,40,60"),
        ("frame id right bottom width height", "1 3 40 60 30 40"),
        ("frame id centre_x centre_y width height", "1;3;25;40;30;40".replace(";", "\t")),
        ("frame id centre_x centre_y left top", "1,3,25,40,10,20"),
        ("frame id centre_x centre_y right bottom", "1,3,25,40,40,60"),
        ("- frame - id left top width height flag", "9,1,9,3,10,20,30,40,1"),
        ("time_s id left top width height", "0.0,3,10,20,30,40"),
    ],
)
def test_every_order_of_columns_gives_the_same_box(tmp_path: Path, columns: str, row: str) -> None:
    path = tmp_path / "truth.txt"
    path.write_text(row + "\n")
    table = read_layout(path, TruthLayout(columns=columns.split()), fps=15)[""]
    assert (table.frame.tolist(), table.track_id.tolist()) == ([1], [3])
    np.testing.assert_allclose(table.xyxy, [[10, 20, 40, 60]])


def test_units_first_frame_and_cameras(tmp_path: Path) -> None:
    path = tmp_path / "truth.txt"
    path.write_text("0 100 7 0.5 0.5 0.25 0.5\n1 105 7 0 0 0.1 0.1\n")
    layout = TruthLayout(["camera", "frame", "id", "centre_x", "centre_y", "width", "height"], first_frame=100,
                         frame_step=5, unit_px=[640, 480], cameras={1: "door"})
    found = read_layout(path, layout, fps=15)
    assert list(found) == ["cam0", "door"]
    np.testing.assert_allclose(found["cam0"].xyxy, [[240, 120, 400, 360]])
    assert (found["cam0"].frame.tolist(), found["door"].frame.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,3,10,20,-30,40", "line 1: width or height is negative"),
        ("1,3,10,20,30,40\n1,3,11,20,30,40", "line 2: this ID appears twice"),
        ("1,3,nan,20,30,40", "line 1: left is not a finite number"),
        ("1,3.5,1,20,30,40", "line 1: id is not a whole number"),
        ("0,3,1,20,30,40", "line 1: the frame lies before the first"),
        ("7,3,1,20,30,40", "line 1: the frame lies beyond the sequence, which has 5 frames"),
        ("1,3,1,20", "4 columns, expected 6"),
        ("frame,id,left,top,width,hight\n1,1,1,1,1,1", "unknown column 'hight' (did you mean 'height'?)"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "truth.txt"
    path.write_text(text + "\n")
    with pytest.raises(ReadError) as caught:
        read_layout(path, TruthLayout(["frame", "id", "left", "top", "width", "height"]), 15, 5)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_layout_that_cannot_give_boxes_is_refused(tmp_path: Path) -> None:
    for columns, reason in ((["frame", "id", "left", "top", "width"], "two of top"), (["id", "left"], "frame"),
                            (["frame", "ld"], "did you mean 'id'")):
        (tmp_path / "layout.yaml").write_text(f"layout: {{columns: {json.dumps(columns)}}}\n")
        with pytest.raises(ConfigError, match=reason):
            with_layout(load_benchmark("lab"), tmp_path)
    (tmp_path / "layout.yaml").write_text("lay_out: 1\n")
    with pytest.raises(ConfigError, match="did you mean 'layout'"):
        with_layout(load_benchmark("lab"), tmp_path)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two cameras and one floor, in the layout that the synthetic scene writes; perfect results beside it."""
    rows = [f"{f},{i},{100 * i + f},0,20,40,1,1,1\n" for f in range(1, 31) for i in (1, 2)]
    for camera in ("cam1", "cam2"):
        for folder in ("gt", "run/tracks"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{camera}.txt").write_text("".join(rows))
    floor = [f"{(f - 1) / 15:.4f},{i},{5 * i}.0,{0.05 * f:.3f}\n" for f in range(1, 31) for i in (1, 2)]
    (tmp_path / "ground_truth_ground.csv").write_text("time_s,id,x_m,y_m\n" + "".join(floor))
    return tmp_path


def test_lab_says_that_there_is_nothing_on_the_ground(lab: Path) -> None:
    code, text = command("--benchmark", "lab", "--root", lab, "--results", lab / "run")
    assert code == 0
    assert "across cameras: MC_IDF1 100.00" in text
    assert "no results on the ground plane: all figures are of the image plane" in text


def test_lab_on_the_ground(lab: Path) -> None:
    """Everyone 0.6 m off: found within the metre of MOTA, not within the half metre of MODA; frames count from 1."""
    rows = [f"{f} {i + 10} {5 * i + 0.6} {0.05 * f:.3f}\n" for f in range(1, 31) for i in (1, 2)]
    (lab / "run" / "ground.txt").write_text("".join(rows))
    out = lab / "report.json"
    code, text = command("--benchmark", "lab", "--root", lab, "--results", lab / "run", "--json", out)
    combined = json.loads(out.read_text())["combined"]
    assert code == 0
    assert (combined["GP_MOTA"], combined["GP_IDF1"], combined["GP_MODA"]) == (1, 1, -1)
    assert combined["GP_MOTP"] == pytest.approx(0.4)
    assert "GP_MOTA 100.00" in text
    assert f"GP_GOSPA {(2 * 0.6**2) ** 0.5:.3f}" in text  # two people, each 0.6 m off
    (lab / "run" / "tracks").rename(lab / "flat")
    (lab / "run" / "ground.txt").rename(lab / "flat" / "ground.txt")
    code, _ = command("--benchmark", "lab", "--root", lab, "--results", lab / "flat")
    assert code == 0  # ground.txt beside cam1.txt is no camera's file
    (lab / "flat").rename(lab / "run" / "tracks")
    (lab / "run" / "ground.txt").write_text("1 1 0 nan\n")
    code, text = command("--benchmark", "lab", "--root", lab, "--results", lab / "run")
    assert code == 1
    assert "ground.txt line 1: y_m is not a finite number" in text


RUN_HEAD = "camera,frame,time_s,track_id,global_id,x,y,w,h,score,ground_x_m,ground_y_m\n"


def run_table(shift_m: dict[str, float]) -> str:
    """A run's tracks.csv: each camera is off by its own shift; the third person has no name."""
    rows = []
    for camera, shift in shift_m.items():
        for f in range(30):
            rows += [f"{camera},{f},{f / 15:.4f},{i},{i + 40},0,0,20,40,0.9,{5 * i + shift},{0.05 * (f + 1):.3f}\n"
                     for i in (1, 2)]
    return "".join(rows) + "cam1,3,0.2,9,,0,0,1,1,0.5,7.0,7.0\ncam1,4,0.26,9,3,0,0,1,1,0.5,,\n"


def test_lab_on_the_ground_by_a_runs_own_table(lab: Path) -> None:
    """A person stands at the median of what the cameras say: one that is far off does no harm."""
    table = lab / "run" / "tracks.csv"
    table.write_text(RUN_HEAD + run_table({"cam1": 0.1, "cam2": 0.2, "cam3": 30.0}))
    report = evaluate(load_benchmark("lab"), lab, lab / "run", engine="fast")
    assert (report.combined["GP_MOTA"], report.combined["GP_IDF1"], report.combined["GP_MODA"]) == (1, 1, 1)
    assert report.combined["GP_MODP"] == pytest.approx(1 - 0.2 / 0.5)
    assert any("1 positions without identity" in n for n in report.notes)
    table.write_text(RUN_HEAD + "cam1,0,0,1,1,0,0,1,1,1,abc,2\n")
    report = evaluate(load_benchmark("lab"), lab, lab / "run", engine="fast")
    assert "tracks.csv line 2" in report.gaps["ground plane"]
    for text in (RUN_HEAD, RUN_HEAD.replace(",ground_x_m,ground_y_m", "")):
        table.write_text(text)
        report = evaluate(load_benchmark("lab"), lab, lab / "run", engine="fast")
        assert any("no results on the ground plane" in n for n in report.notes)


def test_lab_in_one_file_for_all_cameras(lab: Path) -> None:
    """The same truth in one file: centres as shares of the picture, frames from 0."""
    rows = [f"{c} {f - 1} {i} {(100 * i + f + 10) / 640:.9f} {20 / 480:.9f} {20 / 640:.9f} {40 / 480:.9f}\n"
            for c in (1, 2) for f in range(1, 31) for i in (1, 2)]
    (lab / "labels.txt").write_text("".join(rows))
    (lab / "layout.yaml").write_text(
        "truth: [labels.txt]\nlayout: {columns: [camera, frame, id, centre_x, centre_y, width, height], "
        "first_frame: 0, unit_px: [640, 480]}\n")
    (lab / "gt" / "cam1.txt").unlink()
    (lab / "gt" / "cam2.txt").unlink()
    report = evaluate(load_benchmark("lab"), lab, lab / "run", engine="fast")
    assert list(report.sequences) == ["cam1", "cam2"]
    assert report.combined["HOTA"] == pytest.approx(1)
    assert report.combined["MC_IDF1"] == 1


# ---------------------------------------------------------------------- WILDTRACK


@pytest.fixture
def wildtrack(tmp_path: Path) -> Path:
    folder = tmp_path / "annotations_positions"
    folder.mkdir()
    for frame in (*range(1790, 1800, 5), *range(1800, 1830, 5)):
        people = [{"personID": p, "positionID": (100 + frame % 100) * 480 + 40 * p, "views": []} for p in range(3)]
        (folder / f"{frame:08d}.json").write_text(json.dumps(people))
    return tmp_path


def result_rows(first: int, shift_m: float, ids: bool = True) -> str:
    rows = []
    for frame in range(first, 1830, 5):
        for p in range(3):
            x, y = -3 + 0.025 * 40 * p + shift_m, -9 + 0.025 * (100 + frame % 100)
            rows.append(f"{frame} {p + 50 if ids else -1} {x:.4f} {y:.4f}\n")
    return "".join(rows)


def test_wildtrack_by_its_own_annotation(wildtrack: Path) -> None:
    results = wildtrack / "results"
    results.mkdir()
    (results / "last40.txt").write_text(result_rows(1800, 0.1) + "1801 50 0 0\n")
    out = wildtrack / "r.json"
    arguments = ("--benchmark", "wildtrack", "--root", wildtrack, "--results", results, "--split", "test")
    code, text = command(*arguments, "--json", out)
    found = json.loads(out.read_text())
    assert code == 0
    assert "MODA/MODP within 0.5 m" in text
    assert "MOTA/IDF1 within 1 m" in found["protocol"]
    figures = found["sequences"]["last40"]
    assert (figures["MODA"], figures["MOTA"], figures["IDF1"]) == (1, 1, 1)
    assert figures["MODP"] == pytest.approx(0.8)
    assert found["combined"]["GOSPA"] == pytest.approx(0.1 * 3**0.5)
    assert any("1 results lie in frames that are not annotated" in n for n in found["notes"])
    (results / "last40.txt").write_text(result_rows(1800, 0, ids=False))
    code, text = command(*arguments)
    assert code == 0
    assert "results without identities: no MOTA, no IDF1" in text
    assert "none" in text


def test_wildtrack_gaps(wildtrack: Path) -> None:
    results = wildtrack / "results"
    results.mkdir()
    (results / "last40.txt").write_text(result_rows(1800, 0))
    code, text = command("--benchmark", "wildtrack", "--root", wildtrack, "--results", results)
    assert code == 1
    assert "not scored: first360: no results" in text
    assert "combined (1 of 2)" in text
    (results / "first360.txt").write_text(result_rows(1790, 0))
    code, text = command("--benchmark", "wildtrack", "--root", wildtrack, "--results", results)
    assert code == 1
    assert "the frame lies beyond the sequence, which ends with frame 1799" in text
    code, text = command("--benchmark", "wildtrack")
    assert code == 2
    assert "annotations_positions/00000000.json" in text
    code, text = command("--benchmark", "wildtrack", "--root", wildtrack)
    assert (code, "needs --results DIR" in text) == (2, True)


def test_positions_as_text(tmp_path: Path) -> None:
    (tmp_path / "gt_positions_mine.txt").write_text("5 10 20\n5 100 20\n")
    (tmp_path / "mine.txt").write_text("5 10 20\n5 200 20\n")
    report = evaluate(load_benchmark("wildtrack"), tmp_path, tmp_path)
    assert [s.name for s in find_sequences(load_benchmark("wildtrack"), tmp_path)] == ["mine"]
    assert report.sequences["mine"]["MODA"] == 0
    assert report.sequences["mine"]["MOTA"] is None
