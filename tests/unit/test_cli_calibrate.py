"""``mctrack calibrate`` as it is typed: what it writes, and every mistake as one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mctrack.cli import main

GOOD = "u,v,x,y\n100,400,0,0\n540,400,4,0\n420,200,4,8\n220,200,0,8\n320,262,2,4\n"
INI = "[Sequence]\nname=cam1\nframeRate=10\nseqLength=40\nimWidth=640\nimHeight=480\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with points and a picture, and the ground truth of two cameras that see a person walk."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text(GOOD)
    cv2.imwrite(str(tmp_path / "door.png"), np.full((480, 640, 3), 90, np.uint8))
    (tmp_path / "scene" / "gt").mkdir(parents=True)
    for camera in ("cam1", "cam2"):
        rows = [f"{k},1,{100 + 5 * k},{100 + k % 7},40,120,1,1,1.0" for k in range(1, 41)]
        (tmp_path / "scene" / "gt" / f"{camera}.txt").write_text("\n".join(rows) + "\n")
        (tmp_path / "scene" / "gt" / f"{camera}.ini").write_text(INI)
    return tmp_path


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", *words])
    return int(ended.value.code or 0), *capsys.readouterr()


def points(camera: str = "door", csv: str = "p.csv", picture: str = "door.png") -> list[str]:
    return ["points", camera, "--points", csv, "--picture", picture, "--out", "cal"]


def refused(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    code, out, err = typed(capsys, *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert said in err
    assert not Path("cal").exists()


def test_points_become_a_site_file_and_a_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = typed(capsys, *points())
    assert (code, err) == (0, "")
    assert "calibration in cal/door.yaml" in out
    assert yaml.safe_load((here / "cal" / "door.yaml").read_text())["cameras"]["door"]["size"] == [640, 480]
    assert cv2.imread(str(here / "cal" / "door_grid.jpg")).shape == (480, 640, 3)


@pytest.mark.parametrize("content", ["hello\n", ""])
def test_a_picture_that_is_none(here: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (here / "text.mp4").write_text(content)
    refused(capsys, points(picture="text.mp4"), "--picture: text.mp4 cannot be read as a picture or video")


@pytest.mark.parametrize(("option", "value"), [
    *(("--grid", value) for value in ("0", "nan", "-1", "inf", "1e-9")),
    *(("--threshold", value) for value in ("0", "nan", "-1", "inf")),
    ("--seed", "-1"),
])  # fmt: skip
def test_numbers_out_of_range(here: Path, capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    refused(capsys, [*points(), option, value], option)


@pytest.mark.parametrize("row", ["nan,1,2,3", "1,inf,2,3", "1e300,1,2,3", "1,2,3,-1e300", "1,2,3", "1,2,3,x"])
def test_points_that_are_none(here: Path, capsys: pytest.CaptureFixture[str], row: str) -> None:
    (here / "bad.csv").write_text(f"{GOOD}{row}\n")
    refused(capsys, points(csv="bad.csv"), "bad.csv line 7: ")


@pytest.mark.parametrize("camera", ["../b", "", "a/b", ".", "/b"])
def test_cameras_whose_name_is_no_file_name(here: Path, capsys: pytest.CaptureFixture[str], camera: str) -> None:
    refused(capsys, points(camera), f"camera name '{camera}' cannot be used as a file name")
    assert not list(here.parent.glob("b*"))


def test_places_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = typed(capsys, *points()[:-1], "p.csv")
    assert (code, err) == (2, "error: p.csv/door.yaml cannot be written: p.csv is not a folder\n")
    (here / "cal" / "door_grid.jpg").mkdir(parents=True)
    code, _, err = typed(capsys, *points())
    assert (code, err) == (2, "error: cal/door_grid.jpg cannot be written: Is a directory\n")


# ---------------------------------------------------------------------- ground truth


@pytest.mark.parametrize(("name", "content", "said"), [
    ("cam1.txt", "hello\n", "cam1.txt line 1: 1 columns, ground truth need at least 7"),
    ("cam1.txt", "1,1,2,2,3,3\n", "cam1.txt line 1: 6 columns, ground truth need at least 7"),
    ("cam1.txt", "1,1,2,2,3,3,1\n1,2,x,2,3,3,1\n", "cam1.txt line 2: not a number"),
    ("cam1.ini", "junk\n", "cam1.ini: not a seqinfo.ini"),
    ("cam1.ini", "", "cam1.ini: Sequence is missing"),
    ("cam1.ini", None, "cam1.ini is missing: it says frame rate and size"),
    *(("cam1.ini", INI.replace(key, "x"), said) for key, said in (
        ("seqLength", "seqLength is missing"), ("frameRate", "frameRate, imWidth and imHeight must be there"),
        ("imWidth", "frameRate, imWidth and imHeight must be there"))),
    ("cam1.ini", INI.replace("640", "0"), "frameRate, imWidth and imHeight must be there"),
    ("cam1.ini", INI.replace("=10", "=inf"), "frameRate, imWidth and imHeight must be there"),
    ("cam1.ini", INI.replace("=10", "=nan"), "seqLength and frameRate must be positive"),
    ("cam1_times.csv", "", "cam1_times.csv: expected frame,stamp_s,time_s for every frame of cam1.txt"),
    ("cam1_times.csv", "frame,stamp_s,time_s\n1,0,0\n2,x,0\n", "cam1_times.csv line 3: not a number"),
    ("cam1_times.csv", "frame,stamp_s,time_s\n1,nan,0\n", "cam1_times.csv line 2: stamp_s is not a finite number"),
])  # fmt: skip
@pytest.mark.parametrize("command", ["people", "sync"])
def test_broken_truth(here: Path, capsys: pytest.CaptureFixture[str], command: str, name: str, content: str | None,
                      said: str) -> None:
    path = here / "scene" / "gt" / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    refused(capsys, [command, "scene", "--truth", *(["--out", "cal"] if command == "people" else [])], said)


@pytest.mark.parametrize("value", ["nan", "inf", "-3", "0", "x"])
def test_offsets_that_cannot_be_tried(here: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    refused(capsys, ["sync", "scene", "--truth", "--max-offset", value], "--max-offset")


def test_clocks_need_two_cameras_with_people(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = typed(capsys, "sync", "scene", "--truth", "--max-offset", "0.5")
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == ["cam1", "cam2"]
    (here / "scene" / "gt" / "cam2.txt").write_text("")
    code, out, err = typed(capsys, "sync", "scene", "--truth")
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "cam2: no boxes of people, left out"
    assert "people are seen in 1 of them" in err


def test_truth_without_a_visibility_counts_whole(here: Path) -> None:
    from mctrack.commands.calibrate import _truth_boxes

    path = here / "scene" / "gt" / "cam1.txt"
    path.write_text("1,1,0,0,9,9,1,1,0.4\n2,1,0,0,9,9,1,1,0.5\n")
    assert _truth_boxes(here / "scene")["cam1"].time_s.tolist() == [0.1]
    path.write_text("1,1,0,0,9,9,1\n2,1,0,0,9,9,1\n")
    assert _truth_boxes(here / "scene")["cam1"].time_s.tolist() == [0.0, 0.1]
