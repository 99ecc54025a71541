"""Reading MOTChallenge text: what is accepted, and one clear line for what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mctrack.evaluation.decimals import parse_decimals
from mctrack.evaluation.motchallenge import ReadError, read_ground_truth, read_results, read_seqinfo

GOOD = "1,1,10,20,30,40,0.9,-1,-1,-1"


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "cam.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD + "\n",
        GOOD + "\n\n  \n",
        "\n\n" + GOOD,
        GOOD + "\r\n",
        b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n",
        GOOD.replace(",", ", "),
        GOOD.replace(",", " , "),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", " "),
        GOOD + ",",
        "1.0,1.0,10.,2e1,30.000,4.0E+1,.9,-1,-1,-1",
        "1,1,10,20,30,40,0.9",
    ],
)
def test_accepted_forms(tmp_path: Path, content: str | bytes) -> None:
    table = read_results(write(tmp_path, content), length=5)
    assert (table.frame.tolist(), table.track_id.tolist()) == ([1], [1])
    np.testing.assert_array_equal(table.xyxy, [[10, 20, 40, 60]])
    assert table.score.tolist() == [0.9]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,nan,20,30,40,1", "not a finite number"),
        ("1,2,10,inf,30,40,1", "not a finite number"),
        ("1,2,10,20,-30,40,1", "width or height is negative"),
        ("1,1,50,20,30,40,1", "ID 1 appears twice in frame 1"),
        ("9,2,10,20,30,40,1", "beyond the sequence, which has 5 frames"),
        ("0,2,10,20,30,40,1", "below 1"),
        ("1.5,2,10,20,30,40,1", "frame number is not a whole number"),
        ("1,2.5,10,20,30,40,1", "ID is not a whole number"),
        ("1,-1,10,20,30,40,1", "ID is negative"),
        ("1,1e17,10,20,30,40,1", "too large"),
        ("1,2,ten,20,30,40,1", "not a number"),
        ("1,2,,20,30,40,1", "not a number"),
        ("1,2,1_0,20,30,40,1", "not a number"),
        ("1,2,10,20,30", "5 columns, results need at least 6"),
        ("1,2,10,20,30,40,1,3,-1,-1", "class 3 in column 8"),
        ("\x00\x01", "1 columns"),
    ],
)
@pytest.mark.parametrize("before", [GOOD + "\n", "\n" + GOOD.replace(",", ", ") + "\r\n\n"])
def test_bad_lines_are_named(tmp_path: Path, line: str, reason: str, before: str) -> None:
    path = write(tmp_path, before + line + "\n" + GOOD.replace("1,1,", "2,1,", 1) + "\n")
    with pytest.raises(ReadError) as caught:
        read_results(path, length=5, has_class=True)
    assert reason in str(caught.value)
    assert f"{path} line {before.count(chr(10)) + 1}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_class_column_means_nothing_in_mot15(tmp_path: Path) -> None:
    assert len(read_results(write(tmp_path, "1,1,1,1,1,1,1,3.5,2,0"))) == 1


def test_ground_truth_columns(tmp_path: Path) -> None:
    table = read_ground_truth(write(tmp_path, "1,1,1,1,2,2,0,7,0.25\n2,1,1,1,2,2,1,1,1\n"))
    assert table.score.tolist() == [0, 1]
    assert table.category.tolist() == [7, 1]
    assert table.visibility.tolist() == [0.25, 1]
    with pytest.raises(ReadError, match="6 columns, ground truth need at least 7"):
        read_ground_truth(write(tmp_path, "1,1,1,1,2,2\n"))


@pytest.mark.parametrize("content", ["", "\n", b"\xef\xbb\xbf"])
def test_empty_files_hold_no_boxes(tmp_path: Path, content: str | bytes) -> None:
    assert len(read_results(write(tmp_path, content))) == 0


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file"):
        read_results(tmp_path / "none.txt")
    with pytest.raises(ReadError, match="is a folder"):
        read_results(tmp_path)


def test_many_blocks(tmp_path: Path, rng: np.random.Generator) -> None:
    """Several blocks of text: nothing lost at the joints, and lines counted over all of them."""
    n = 30_000
    values = np.c_[np.arange(n) // 50 + 1, np.arange(n) % 50, rng.uniform(0, 999, (n, 4)).round(3)]
    lines = [",".join(f"{v:.15g}" for v in row) + ",1,-1,-1,-1" for row in values]
    table = read_results(write(tmp_path, "\n".join(lines)))
    np.testing.assert_array_equal(table.frame, values[:, 0])
    np.testing.assert_array_equal(table.xyxy[:, :2], values[:, 2:4])
    np.testing.assert_array_equal(table.xyxy[:, 2:], values[:, 2:4] + values[:, 4:6])
    lines[25_000] = lines[25_000].replace(",1,-1", ",x,-1")
    with pytest.raises(ReadError, match="line 25001: not a number"):
        read_results(write(tmp_path, "\n".join(lines)))


def test_decimals_are_those_of_float(rng: np.random.Generator) -> None:
    texts = [f"{rng.normal() * 10.0 ** rng.integers(-4, 6):.{rng.integers(0, 9)}f}" for _ in range(4000)]
    texts += ["-0", "0.", ".5", "-.25", "007", "123456789012345", "0.00000000000001", "1234567.12345678"]
    lines = [f"{a},{b}\n" for a, b in zip(texts[::2], texts[1::2], strict=True)]
    values = parse_decimals("".join(lines).encode())
    assert values is not None
    np.testing.assert_array_equal(values.reshape(-1), [float(t) for t in texts])


@pytest.mark.parametrize(
    "text",
    ["1,2\n3\n", "1,2\n3,4,5\n", "1,,2\n", "1,-\n", "1,.\n", "1,1-2\n", "1,1.2.3\n", "1,--2\n", "1,nan\n", "1,1e3\n",
     "1, 2\n", "1,1234567890123456\n", "\n", "1,2\n\n3,4\n"],
)  # fmt: skip
def test_anything_else_is_left_to_the_slow_reader(text: str) -> None:
    assert parse_decimals(text.encode()) is None


def test_seqinfo(tmp_path: Path) -> None:
    path = tmp_path / "seqinfo.ini"
    path.write_bytes(b"\xef\xbb\xbf[Sequence]\r\nname=A\r\nseqLength=12\r\nframeRate=29.97\r\nimWidth=640\r\nimHeight=480\r\n")
    info = read_seqinfo(path)
    assert (info.name, info.length, info.fps, info.size) == ("A", 12, 29.97, (640, 480))
    for text, reason in [
        ("[Sequence]\nname=A\n", "seqLength"),
        ("[Other]\n", "Sequence"),
        ("seqLength=3\n", "not a seqinfo.ini"),
        ("[Sequence]\nseqLength=many\n", "numbers"),
        ("[Sequence]\nseqLength=0\n", "positive"),
    ]:
        path.write_text(text)
        with pytest.raises(ReadError, match=reason):
            read_seqinfo(path)
