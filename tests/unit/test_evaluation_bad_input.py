"""Bad input through the command: one clear line, the rest scored, a non-zero exit, the gap in the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mctrack.commands.eval import make_eval_command

LINE = "{f},{i},{x},0,10,20,1,-1,-1,-1\n"
GOOD = "".join(LINE.format(f=f, i=i, x=50 * i) for f in range(1, 11) for i in (1, 2))
NAMES = ("A", "B", "C")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sequences of ten frames with perfect results."""
    for name in NAMES:
        for path, text in {f"truth/{name}/gt/gt.txt": GOOD, f"results/{name}.txt": GOOD,
                           f"truth/{name}/seqinfo.ini": f"[Sequence]\nname={name}\nseqLength=10\n"}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
    return tmp_path


def evaluate(root: Path, *arguments: object) -> tuple[int, str, dict]:
    out = root / "report.json"
    result = CliRunner().invoke(make_eval_command(), [
        "--benchmark", "mot15", "--root", str(root / "truth"), "--results", str(root / "results"), "--engine", "fast",
        "--json", str(out), "--markdown", str(root / "report.md"), *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output, json.loads(out.read_text())


def assert_gap(root: Path, found: tuple[int, str, dict], name: str, message: str) -> None:
    """The sequence is a gap everywhere, the two others are scored and perfect, and the total says how many it holds."""
    code, text, report = found
    assert code == 1
    assert f"not scored: {name}: {message}" in text
    assert any(line.startswith(name) and "not scored" in line for line in text.splitlines())
    assert "combined (2 of 3)" in text
    assert f"| {name} | not scored |" in (root / "report.md").read_text()
    assert not report["complete"]
    assert (list(report["gaps"]), len(report["sequences"])) == ([name], 2)
    assert report["combined"]["GT_Boxes"] == 40
    assert all(f["HOTA"] == pytest.approx(1) for f in report["sequences"].values())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("3,9,nan,0,10,20,1", "a value is not a finite number"),
        ("3,9,10,inf,10,20,1", "a value is not a finite number"),
        ("3,9,0,0,-10,20,1", "width or height is negative"),
        ("3,9,0,0,10,-0.5,1", "width or height is negative"),
        ("3,1,0,0,10,20,1", "ID 1 appears twice in frame 3"),
        ("11,9,0,0,10,20,1", "the frame lies beyond the sequence, which has 10 frames"),
        ("0,9,0,0,10,20,1", "the frame number is below 1"),
        ("3,9.5,0,0,10,20,1", "the ID is not a whole number"),
        ("3,-9,0,0,10,20,1", "the ID is negative"),
        ("3.5,9,0,0,10,20,1", "the frame number is not a whole number"),
        ("3,nine,0,0,10,20,1", "not a number"),
        ("3,9,0,0", "4 columns, results need at least 6"),
    ],
)
def test_a_bad_line_of_results(root: Path, line: str, reason: str) -> None:
    lines = GOOD.splitlines(keepends=True)
    bad = root / "results" / "B.txt"
    bad.write_text("".join(lines[:12]) + line + "\n" + "".join(lines[12:]))
    assert_gap(root, evaluate(root), "B", f"{bad} line 13: {reason}")


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(",", ", "),
        GOOD.replace(",", "\t"),
        "\ufeff" + GOOD,
        "\n\n" + GOOD + "\n \n",
        "".join(f"{f}.0,{i}.000,{50 * i},0,1e1,20,1\n" for f in range(1, 11) for i in (1, 2)),
    ],
    ids=["CRLF", "spaces", "tabs", "BOM", "blank lines", "floats as IDs"],
)
def test_unusual_but_clear_text_is_read(root: Path, content: str) -> None:
    (root / "results" / "B.txt").write_bytes(content.encode())
    code, _, report = evaluate(root)
    assert code == 0
    assert report["sequences"]["B"]["HOTA"] == pytest.approx(1)
    assert report["sequences"]["B"]["Boxes"] == 20


def test_bad_ground_truth(root: Path) -> None:
    bad = root / "truth" / "A" / "gt" / "gt.txt"
    bad.write_text(GOOD + "2,5,nan,0,1,1,1\n")
    assert_gap(root, evaluate(root), "A", f"{bad} line 21: a value is not a finite number")


def test_no_ground_truth_for_a_sequence_with_results(root: Path) -> None:
    """Results of a sequence that nobody knows are a gap as well: a misnamed file must not vanish."""
    (root / "truth" / "C" / "gt" / "gt.txt").unlink()
    assert_gap(root, evaluate(root), "C", "no ground truth")


def test_no_results_for_a_sequence(root: Path) -> None:
    (root / "results" / "C.txt").rename(root / "results" / "Cc.txt")
    code, text, report = evaluate(root)
    assert code == 1
    assert "not scored: C: no results" in text
    assert "not scored: Cc: no ground truth" in text
    assert "combined (2 of 4)" in text
    assert sorted(report["gaps"]) == ["C", "Cc"]


def test_a_sequence_asked_for_that_nobody_knows(root: Path) -> None:
    code, text, report = evaluate(root, "--sequences", "A,Z")
    assert code == 1
    assert "not scored: Z: no ground truth" in text
    assert list(report["sequences"]) == ["A"]


def test_a_misnamed_file_is_told_of_even_where_sequences_are_chosen(root: Path) -> None:
    (root / "results" / "C.txt").rename(root / "results" / "Cc.txt")
    code, text, _ = evaluate(root, "--sequences", "A")
    assert code == 0
    assert "results for unknown sequences, not looked at: Cc" in text


def test_a_split_with_missing_sequences(root: Path) -> None:
    code, text, report = evaluate(root, "--split", "train")
    assert code == 1
    assert len(report["gaps"]) == 11
    assert "combined" not in report["combined"]
    assert "incomplete: 11 of 11 sequences not scored" in text


def test_nothing_at_all_is_readable(root: Path) -> None:
    for name in NAMES:
        (root / "results" / f"{name}.txt").write_bytes(b"\x00\x01\x02")
    code, text, report = evaluate(root)
    assert code == 1
    assert report["combined"] == {}
    assert text.count("not scored: ") == 3


def test_results_that_are_a_folder(root: Path) -> None:
    (root / "results" / "B.txt").unlink()
    (root / "results" / "B.txt").mkdir()
    code, text, _ = evaluate(root)
    assert code == 1
    assert "not scored: B: " in text
