"""``mctrack run --calib`` on a small synthetic scene with true boxes: where people are, who they are, and resume."""

from __future__ import annotations

import csv
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_scene import one_line, results, typed, video_times

from mctrack.boxes import iou
from mctrack.config import RunConfig, load_config
from mctrack.resume import stored_config
from mctrack.run import run
from mctrack.synth.scene import load_scene
from mctrack.synth.world import create, generate

PEOPLE, SECONDS, FPS = 3, 3.0, 10.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corners of the lab with everyone inside from the start."""
    lab = load_scene("lab")
    cameras = [replace(c, size=(320, 240), fps=FPS) for c in lab.cameras[:2]]
    small = replace(lab, cameras=cameras, look_alikes=0,
                    habits=replace(lab.habits, inside_at_start=1.0, stops=(2, 3), stop_s=(0.2, 0.6)))  # fmt: skip
    folder = tmp_path_factory.mktemp("scene")
    generate(create(small, 7, PEOPLE, SECONDS), folder)
    return folder


def overrides(scene: Path, out: Path, **keys: Any) -> dict[str, Any]:
    return {
        "cams": [str(scene / "cam1.mp4"), str(scene / "cam2.mp4")], "calib": str(scene / "calibration.json"),
        "detect.name": "file", "detect.weights": str(scene / "gt"), "reid.name": "none", "output.dir": str(out),
        "output.checkpoint_s": 0.0, **{k.replace("__", "."): v for k, v in keys.items()},
    }  # fmt: skip


@pytest.fixture(scope="module")
def out(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    summary = run(load_config(RunConfig, overrides=overrides(scene, folder)))
    assert summary.flawless
    assert summary.warnings == []
    return folder


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "tracks.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def person_of(scene: Path, row: dict[str, str]) -> int:
    """Who it is: the true box that a row's box covers best."""
    truth = np.loadtxt(scene / "gt" / f"{row['camera']}.txt", delimiter=",")
    truth = truth[truth[:, 0] == int(row["frame"]) + 1]
    tlwh = np.array([[float(row[k]) for k in "xywh"]])
    boxes = [np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1) for b in (tlwh, truth[:, 2:6])]
    return int(truth[int(iou(*boxes)[0].argmax()), 1])


def test_people_are_where_they_are(scene: Path, out: Path) -> None:
    truth = np.loadtxt(scene / "ground_truth_ground.csv", delimiter=",", skiprows=1)
    rows = rows_of(out)
    known = [r for r in rows if r["ground_x_m"]]
    assert len(known) > 0.8 * len(rows)
    off_m = []
    for row in known:
        way = truth[truth[:, 1] == person_of(scene, row)]
        there = [np.interp(float(row["time_s"]), way[:, 0], way[:, k]) for k in (2, 3)]
        off_m.append(float(np.hypot(float(row["ground_x_m"]) - there[0], float(row["ground_y_m"]) - there[1])))
    assert np.median(off_m) < 0.15
    assert max(off_m) < 0.30


def test_everyone_has_one_identity_in_both_cameras(scene: Path, out: Path) -> None:
    """Without ReID: geometry alone says who is who."""
    pairs = {(person_of(scene, r), int(r["global_id"])) for r in rows_of(out)}
    assert len(pairs) == PEOPLE
    assert len({name for _, name in pairs}) == PEOPLE
    document = json.loads((out / "identities.json").read_text())
    assert [p["cameras"] for p in document["identities"]] == [["cam1", "cam2"]] * PEOPLE


def test_identities_tell_ways_and_speeds(scene: Path, out: Path) -> None:
    truth = np.loadtxt(scene / "ground_truth_ground.csv", delimiter=",", skiprows=1)
    person = {int(r["global_id"]): person_of(scene, r) for r in rows_of(out)}
    for found in json.loads((out / "identities.json").read_text())["identities"]:
        way = truth[truth[:, 1] == person[found["global_id"]]]
        way = way[way[:, 0] >= SECONDS - found["located_s"] - 1 / FPS]
        length_m = float(np.linalg.norm(np.diff(way[:, 2:], axis=0), axis=1).sum())
        assert found["distance_m"] == pytest.approx(length_m, rel=0.15, abs=0.2)
        assert found["mean_speed_m_s"] == pytest.approx(found["distance_m"] / found["located_s"], abs=0.01)
        assert found["mean_speed_m_s"] - 1e-3 <= found["top_speed_m_s"] < 2.2


def test_the_floor_from_above(out: Path, scene: Path, tmp_path: Path) -> None:
    import cv2

    assert len(video_times(out / "video" / "birdseye.mp4")) == SECONDS * FPS
    whole = cv2.imread(str(out / "video" / "birdseye.png"))
    assert whole is not None
    made = command("birdseye", out, "--out", tmp_path / "again.png")
    assert made.returncode == 0, made.stderr
    again = cv2.imread(str(tmp_path / "again.png"))
    assert again is not None
    assert np.array_equal(again, whole)
    made = command("birdseye", out, "--out", tmp_path / "quick.mp4", "--speed", "2", "--calib",
                   scene / "calibration.json")
    assert made.returncode == 0, made.stderr
    assert len(video_times(tmp_path / "quick.mp4")) == SECONDS * FPS / 2


@pytest.mark.parametrize(("words", "said"), [
    (["--out", "x.gif"], "must end in .mp4 or .png"), (["--speed", "0"], "speed 0"),
    (["--calib", "nowhere.yaml"], "nowhere.yaml"),
])  # fmt: skip
def test_a_wrong_wish_for_the_view_from_above(out: Path, words: list[str], said: str) -> None:
    done = command("birdseye", out, *words)
    assert done.returncode == 2
    assert said in one_line(done.stderr)


def test_without_calibration_there_is_no_view_from_above(scene: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run(load_config(RunConfig, overrides=overrides(scene, folder, calib=None, video__max_frames=10)))
    assert not list(folder.glob("video/birdseye*"))
    assert all("distance_m" not in p for p in json.loads((folder / "identities.json").read_text())["identities"])
    done = command("birdseye", folder)
    assert done.returncode == 2
    assert "without --calib" in one_line(done.stderr)


def test_a_view_from_above_that_fails_fails_nothing_else(
    scene: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("mctrack.sinks.birdseye.BirdsEye.film", fail)
    summary = run(load_config(RunConfig, overrides=overrides(scene, tmp_path / "out", output__video_height_px=32)))
    assert summary.status == "complete"
    assert summary.flawless
    assert ["no ink" in w for w in summary.warnings] == [True]
    assert results(tmp_path / "out") == results(out)


class _CrashError(Exception):
    """Stands for a crash."""


def test_killed_and_resumed_ends_the_same(
    scene: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is where on the floor, and by what evidence, survives; it goes on after the 16th moment."""
    from mctrack.sinks.store import RunStore

    folder, write, count = tmp_path / "out", RunStore.write, [0]

    def failing(self: RunStore, result: Any) -> None:
        count[0] += 1
        if count[0] > 22:
            raise _CrashError
        write(self, result)

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "write", failing)
        with pytest.raises(_CrashError):
            run(load_config(RunConfig, overrides=overrides(scene, folder, output__video=False)))
    lines: list[str] = []
    summary = run(stored_config(folder), resume=True, say=lines.append)
    assert summary.flawless
    assert any("going on after 16 moments" in line for line in lines)
    assert results(folder) == results(out)
    assert not (folder / "video").exists()


@pytest.mark.parametrize(("text", "said"), [
    (None, "bad.json"), ("{", "bad.json"), ('{"cameras": {}}', "bad.json"),
    ("cameras: {cam1: {homography: [[1, 0, 0], [0, 1, 0], [0, 0, 0]], direction: image_to_ground}}\nunit: m", "cam1"),
    ("cameras: {kitchen: {file: calibration.json}}", "kitchen"),
    ("cameras: {cam1: {file: calibration.json}}\narea: {}", "did you mean 'areas'"),
])  # fmt: skip
def test_a_bad_calibration_is_one_line(scene: Path, tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / ("bad.json" if text is None or text.startswith("{") else "bad.yaml")
    if text is not None:
        path.write_text(text, encoding="utf-8")
    (tmp_path / "calibration.json").write_bytes((scene / "calibration.json").read_bytes())
    done = typed("--cams", scene / "cam1.mp4", scene / "cam2.mp4", "--detector", "file", "--weights", scene / "gt",
                 "--reid", "none", "--calib", path, "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 2
    assert said in one_line(done.stderr)
    assert not (tmp_path / "out" / "tracks.csv").exists()


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """``mctrack …`` in this process."""
    import contextlib
    import io

    from mctrack.cli import main

    printed, said, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            main([str(w) for w in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess([], code, printed.getvalue(), said.getvalue())
