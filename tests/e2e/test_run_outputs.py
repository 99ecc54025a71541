"""What a run leaves behind: complete, valid, the same every time; also at the edges (nobody, one frame, late)."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from run_scene import SIZE, mctrack_run, results, typed, video_times, walk_past

from mctrack.config import RunConfig, load_config, parse_config
from mctrack.evaluation.motchallenge import read_results
from mctrack.run import RunSummary, run

FILES = {"config.yaml", "identities.json", "run.db", "run.json", "tracks", "tracks.csv", "video"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    walk_past(folder, "a", frames=45, fps=15)
    walk_past(folder, "b", frames=50, fps=10, late_s=1.0)
    return folder


@pytest.fixture(scope="module")
def out(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two cameras with different rates, in a process of its own."""
    folder = tmp_path_factory.mktemp("run") / "out"
    done = mctrack_run("--cams", scene / "a.mp4", scene / "b.mp4", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def check_outputs(folder: Path, cameras: dict[str, int], video: bool = True) -> dict[str, Any]:
    """All files are there and say the same; ``cameras``: name → number of frames. Returns run.json."""
    wanted = FILES if video and any(cameras.values()) else FILES - {"video"}
    assert {p.name for p in folder.iterdir()} == wanted
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    assert found["status"] == "complete"
    assert found["counts"]["frames"] == sum(cameras.values())
    assert {c["camera"]: c["decoded"] for c in found["cameras"]} == cameras
    assert all(c["complete"] for c in found["cameras"])
    rows = list(csv.DictReader((folder / "tracks.csv").open(encoding="utf-8")))
    for name, frames in cameras.items():
        check_camera(folder, name, frames, [r for r in rows if r["camera"] == name], video)
    if video and len(cameras) > 1:
        assert video_times(folder / "video" / "mosaic.mp4")
    people = {int(r["global_id"]) for r in rows} - {-1}
    document = json.loads((folder / "identities.json").read_text())
    assert {p["global_id"] for p in document["identities"]} == people
    assert found["counts"]["identities"] == len(people)
    with closing(sqlite3.connect(folder / "run.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT COUNT(*) FROM frames").fetchone()[0] == sum(cameras.values())
    return found


def check_camera(folder: Path, name: str, frames: int, rows: list[dict[str, str]], video: bool) -> None:
    lines = (folder / "tracks" / f"{name}.txt").read_text().splitlines()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        frame, who, x, y, w, h, score = line.split(",")[:7]
        assert int(frame) == int(row["frame"]) + 1
        assert int(who) == int(row["global_id"]) or row["global_id"] == "-1"
        assert (x, y, w, h, score) == (row["x"], row["y"], row["w"], row["h"], row["score"])
        assert line.endswith(",-1,-1,-1")
        assert -40 < float(x) < SIZE[0]
    assert len(read_results(folder / "tracks" / f"{name}.txt").frame) == len(rows)
    assert len({(r["frame"], r["global_id"]) for r in rows if r["global_id"] != "-1"}) == sum(
        r["global_id"] != "-1" for r in rows), "an identity twice in a picture"
    if video and frames:
        assert len(video_times(folder / "video" / f"{name}.mp4")) == frames


def test_everything_is_there(out: Path) -> None:
    found = check_outputs(out, {"a": 45, "b": 50})
    assert found["counts"]["identities"] >= 2
    assert found["counts"]["tracklets"] >= 4


def test_the_configuration_travels_with_the_run(out: Path, scene: Path) -> None:
    text = (out / "config.yaml").read_text()
    kept = parse_config(RunConfig, text, "here")
    assert kept.cams == [f"a={scene / 'a.mp4'}", f"b={scene / 'b.mp4'}"]
    assert kept == load_config(RunConfig, overrides={"cams": kept.cams, "output.dir": str(out),
                                                         "detect.name": "background", "reid.name": "histogram"})
    assert json.loads((out / "run.json").read_text())["config"] == yaml.safe_load(text)
    with closing(sqlite3.connect(out / "run.db")) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'config_yaml'").fetchone() == (text,)


def test_run_json_accounts_for_the_run(out: Path) -> None:
    found = json.loads((out / "run.json").read_text())
    seconds = found["seconds"]
    assert {"decode", "match", "detect", "crops", "embed", "track", "associate", "hand_over", "draw", "encode", "store",
            "export"} <= set(seconds)
    assert all(0 <= s <= found["wall_s"] for s in seconds.values())
    assert found["cpu_s"] > 0
    assert 0 < found["overhead"]["wall"] < 1
    assert 0 < found["overhead"]["cpu"] < 0.6
    assert set(found["inputs"]) == {"a", "b"}
    assert all(value.startswith("sha256:") for value in found["inputs"].values())
    assert {"python", "numpy", "av", "opencv-python"} <= set(found["versions"])
    assert "background" in found["detector"]
    assert "histogram" in found["reid"]
    assert found["warnings"] == []


def test_videos_play_in_browsers(out: Path) -> None:
    import av

    for path in (out / "video").glob("*.mp4"):
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"moof")
        with av.open(str(path)) as container:
            (stream,) = container.streams
            assert stream.codec_context.name == "h264"
            assert stream.codec_context.pix_fmt == "yuv420p"


def test_the_same_again(out: Path, scene: Path, tmp_path: Path) -> None:
    typed("--cams", scene / "a.mp4", scene / "b.mp4", "--out", tmp_path / "again", "--no-video")
    assert results(tmp_path / "again") == results(out)
    check_outputs(tmp_path / "again", {"a": 45, "b": 50}, video=False)


def test_results_go_to_runs_by_default(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert typed("--cams", scene / "a.mp4", "--max-frames", "1", "--no-video").returncode == 0
    folders = sorted((tmp_path / "runs").iterdir())
    assert len(folders) == 2
    for folder in folders:
        check_outputs(folder, {"a": 1}, video=False)


def go(cams: list[Path | str], folder: Path, **keys: Any) -> RunSummary:
    return run(load_config(RunConfig, overrides={
        "cams": [str(c) for c in cams], "detect.name": "background", "reid.name": "histogram",
        "output.dir": str(folder), **{k.replace("__", "."): v for k, v in keys.items()},
    }))  # fmt: skip


def test_one_frame(scene: Path, tmp_path: Path) -> None:
    go([scene / "a.mp4", scene / "b.mp4"], tmp_path / "out", video__max_frames=1)
    check_outputs(tmp_path / "out", {"a": 1, "b": 1})
    single = walk_past(tmp_path, "single", frames=1)
    go([single], tmp_path / "one")
    check_outputs(tmp_path / "one", {"single": 1})


def test_nobody_at_all(tmp_path: Path) -> None:
    empty = [walk_past(tmp_path, name, frames=15, walkers=0) for name in "ab"]
    summary = go(empty, tmp_path / "out")
    found = check_outputs(tmp_path / "out", {"a": 15, "b": 15})
    assert (summary.counts["identities"], found["counts"]["boxes"]) == (0, 0)
    for kind in ("csv", "coco", "cvat", "mot", "parquet"):
        from mctrack.sinks.export import export

        assert export(tmp_path / "out", kind, tmp_path / f"exported-{kind}").rows == 0


def test_a_camera_that_never_sees_anybody(scene: Path, tmp_path: Path) -> None:
    quiet = walk_past(tmp_path, "quiet", frames=40, walkers=0)
    go([scene / "a.mp4", quiet], tmp_path / "out")
    check_outputs(tmp_path / "out", {"a": 45, "quiet": 40})
    assert (tmp_path / "out" / "tracks" / "quiet.txt").read_text() == ""
    alone = tmp_path / "alone"
    go([scene / "a.mp4"], alone, output__video=False)
    assert (alone / "tracks" / "a.txt").read_text() == (tmp_path / "out" / "tracks" / "a.txt").read_text()


def test_a_camera_that_starts_late_and_one_that_ends_early(scene: Path, tmp_path: Path) -> None:
    short = walk_past(tmp_path, "short", frames=8, fps=15)
    go([scene / "a.mp4", scene / "b.mp4", short], tmp_path / "out", video__offset_s={"b": 2.05})
    check_outputs(tmp_path / "out", {"a": 45, "b": 50, "short": 8})
    rows = list(csv.DictReader((tmp_path / "out" / "tracks.csv").open(encoding="utf-8")))
    late = [r for r in rows if r["camera"] == "b"]
    assert late
    for row in late:
        assert float(row["time_s"]) == pytest.approx(int(row["frame"]) / 10 + 2.05, abs=1e-3)
    with closing(sqlite3.connect(tmp_path / "out" / "run.db")) as db:
        together = db.execute("SELECT COUNT(*) FROM frames a JOIN frames b USING (instant) WHERE a.camera_id = 0"
                              " AND b.camera_id = 1 AND ABS(a.time_s - b.time_s) > 0.037").fetchone()[0]
        both = db.execute("SELECT COUNT(*) FROM frames a JOIN frames b USING (instant) WHERE a.camera_id = 0"
                          " AND b.camera_id = 1").fetchone()[0]
    assert together == 0
    assert both >= 8  # from 2.05 s to 3 s at ten frames a second


def test_a_start_in_the_middle(scene: Path, tmp_path: Path) -> None:
    go([scene / "a.mp4"], tmp_path / "out", video__start=20, video__max_frames=20, output__video=False)
    found = check_outputs(tmp_path / "out", {"a": 20}, video=False)
    assert found["cameras"][0]["expected"] == 20
    with closing(sqlite3.connect(tmp_path / "out" / "run.db")) as db:
        assert db.execute("SELECT MIN(frame), MAX(frame) FROM frames").fetchone() == (20, 39)


def test_folders_of_pictures_and_sequences(tmp_path: Path) -> None:
    import av
    import cv2

    clip = walk_past(tmp_path, "clip", frames=30)
    sequence = tmp_path / "SEQ-01"
    for folder in (tmp_path / "pictures", sequence / "img1"):
        folder.mkdir(parents=True)
        with av.open(str(clip)) as container:
            for k, frame in enumerate(container.decode(video=0)):
                cv2.imwrite(str(folder / f"{k + 1:06d}.png"), frame.to_ndarray(format="bgr24"))
    (sequence / "seqinfo.ini").write_text(f"[Sequence]\nname=SEQ-01\nimDir=img1\nframeRate=10\nseqLength=30\n"
                                          f"imWidth={SIZE[0]}\nimHeight={SIZE[1]}\nimExt=.png\n")
    go([clip, tmp_path / "pictures", sequence], tmp_path / "out", video__folder_fps=10.0, reid__name="none")
    found = check_outputs(tmp_path / "out", {"clip": 30, "pictures": 30, "SEQ-01": 30})
    assert found["inputs"]["pictures"].startswith("sha256-names:")
    tracks = tmp_path / "out" / "tracks"
    counts = [len((tracks / f"{n}.txt").read_text().splitlines()) for n in ("clip", "pictures", "SEQ-01")]
    assert counts[0] == counts[1] == counts[2] > 20


def test_a_sequence_without_its_pictures(tmp_path: Path) -> None:
    sequence = tmp_path / "SEQ-02"
    (sequence / "det").mkdir(parents=True)
    (sequence / "seqinfo.ini").write_text("[Sequence]\nframeRate=10\nseqLength=30\nimWidth=192\nimHeight=144\n")
    rows = [f"{k},-1,{10 + 4 * k},40,24,64,0.95,-1,-1,-1" for k in range(1, 31)]
    (sequence / "det" / "det.txt").write_text("\n".join(rows) + "\n")
    summary = go([sequence], tmp_path / "out", detect__name="auto")
    assert summary.counts == {"frames": 30, "boxes": 30, "tracklets": 1, "identities": 1}
    assert not (tmp_path / "out" / "video").exists()  # nothing to show, nothing made up


def test_a_detector_and_an_embedder_of_somebody_else(scene: Path, tmp_path: Path) -> None:
    summary = go([scene / "a.mp4"], tmp_path / "out", detect__name="run_scene:PacedDetector", output__video=False,
                 detect__options={"pace_s": 0.0, "log": str(tmp_path / "log")})
    assert summary.flawless
    assert len((tmp_path / "log").read_text().splitlines()) == 45
