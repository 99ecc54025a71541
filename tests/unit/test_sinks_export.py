"""Exports, read again with other tools and compared."""

from __future__ import annotations

import csv
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from mctrack.errors import ConfigError, OutputError
from mctrack.sinks.export import FORMATS, export, write_coco, write_cvat, write_parquet
from mctrack.sinks.identities import write_identities
from mctrack.sinks.schema import CameraInfo
from mctrack.sinks.store import RunStore
from mctrack.sinks.tables import CSV_HEADER, camera_table, write_csv, write_mot
from mctrack.types import Frame, Instant, InstantResult, Link, Tracks

CAMERAS = [
    CameraInfo('ha,ll "1" %d <&', "rtsp://u:pw@host", 640, 480, 25.0),
    CameraInfo("yard", "yard.mp4", 320, 240, None),
    CameraInfo("nobody", "n.mp4", 100, 100),
    CameraInfo("dead", "d.mp4", 100, 100),
]
HALL, YARD, NOBODY, DEAD = (c.name for c in CAMERAS)
# camera → track → (frames seen, identity); frames 0…19 at 10 per second
PLAN = {
    HALL: {1: ([0, 1, 2, 5, 6, 19], 4), 2: ([0, 1, 2, 3], 4), 3: ([8, 9], -1), 4: ([8, 10], -1)},
    YARD: {1: ([7, 8, 9, 13], 4), 9: ([0, 18, 19], 6)},
    NOBODY: {},
}


def box(track: int, frame: int) -> list[float]:
    return [track * 10 + frame, 20 + frame / 3, track * 10 + frame + 8.5, 60 + frame / 3]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: people with gaps, a merge (identity 5 into 4), nameless tracks, cameras without anybody."""
    rng = np.random.default_rng(1)
    with RunStore.create(tmp_path / "run.db", CAMERAS, "output: {fill_gap_s: 0.35}") as store:
        for i in range(20):
            frames, tracks, names = [], [], []
            for camera, plan in PLAN.items():
                ids = [t for t, (seen, _) in plan.items() if i in seen]
                n = len(ids)
                frames.append(Frame(camera, i, i / 10, None, (640, 480)))
                boxes = np.array([box(t, i) for t in ids]).reshape(-1, 4)
                ones = np.ones(n, int)
                tracks.append(Tracks(np.array(ids, int), boxes, rng.random(n), ones, np.zeros(n), np.arange(n)))
                first = [5 if (camera, t) == (HALL, 1) and i < 3 else plan[t][1] for t in ids]
                names.append(np.array(first, int))
            links = ()
            if i == 3:
                links = (Link(0.3, HALL, 1, 4, "merge", 5, 0.1, float("nan"), 0.97, {"never_met": True}),)
            store.write(InstantResult(Instant(i / 10, tuple(frames)), tuple(tracks), tuple(names), links))
    return tmp_path


def expected(camera: str, gap_s: float) -> list[tuple[int, int, int, bool]]:
    """(frame, track, identity, filled) that an export must hold, from the plan."""
    rows = {}
    for track, (seen, name) in PLAN.get(camera, {}).items():
        for a, b in zip(seen, [*seen[1:], seen[-1]], strict=True):
            for frame in range(a, b) if (b - a) / 10 <= gap_s + 1e-9 else [a]:
                rows[frame, track] = name, frame != a
        rows[seen[-1], track] = name, False
    if camera == HALL:  # tracks 1 and 2 are one person: the longer one stays, but a seen box before a filled one
        for frame in (0, 1, 2):
            del rows[frame, 2]
        rows.pop((3, 1), None)
    return [(f, t, *rows[f, t]) for f, t in sorted(rows)]


def test_camera_table(run: Path) -> None:
    with RunStore.open(run / "run.db") as store:
        for gap_s in (0.0, 0.35):
            for camera in (HALL, YARD, NOBODY, DEAD):
                table = camera_table(store, camera, gap_s)
                b = table.boxes
                rows = list(zip(*(c.tolist() for c in (b.frame_index, b.track_id, b.global_id, b.filled)), strict=True))
                assert rows == expected(camera, gap_s)
                np.testing.assert_allclose(table.time_s, b.frame_index / 10)
                seen = ~b.filled
                wanted = np.array([box(t, f) for f, t, *_ in rows]).reshape(-1, 4)
                np.testing.assert_allclose(b.xyxy[seen], wanted[seen])
                np.testing.assert_allclose(b.xyxy, wanted, atol=0.02)  # the plan walks in straight lines


def test_mot(run: Path) -> None:
    with RunStore.open(run / "run.db") as store:
        written = write_mot(store, run / "tracks", 0.35)
    assert [p.name for p in written.paths] == [f"{c.name}.txt" for c in CAMERAS]
    assert (run / "tracks" / "nobody.txt").read_text() == ""
    assert (run / "tracks" / "dead.txt").read_text() == ""
    table = np.loadtxt(run / "tracks" / f"{HALL}.txt", delimiter=",")
    rows = expected(HALL, 0.35)
    assert table[:, 0].tolist() == [f + 1 for f, *_ in rows]
    # nameless tracks 3 and 4 stand in frame 9 (from 1) together: they must not be one person
    assert table[:, 1].tolist() == [{-1: 7 + t - 3}.get(g, g) for _, t, g, _ in rows]
    assert len({(f, i) for f, i in table[:, :2].tolist()}) == len(table)
    wanted = np.array([box(t, f) for f, t, *_ in rows])
    np.testing.assert_allclose(table[:, 2:6], np.hstack([wanted[:, :2], wanted[:, 2:] - wanted[:, :2]]), atol=0.011)
    assert (table[:, 7:] == -1).all()
    assert written.rows == sum(len(expected(c.name, 0.35)) for c in CAMERAS)
    assert len(written.warnings) == 1
    assert "4 boxes left out" in written.warnings[0]
    assert (run / "tracks" / "yard.txt").read_text().splitlines()[0].startswith("1,6,90.00,20.00,8.50,40.00,0.")


def test_csv(run: Path) -> None:
    with RunStore.open(run / "run.db") as store:
        written = write_csv(store, run / "tracks.csv", 0.35)
    with (run / "tracks.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert CSV_HEADER == "camera,frame,time_s,track_id,global_id,x,y,w,h,score,ground_x_m,ground_y_m"
    wanted = [(c.name, f, t, g) for c in CAMERAS for f, t, g, _ in expected(c.name, 0.35)]
    assert [(r["camera"], int(r["frame"]), int(r["track_id"]), int(r["global_id"])) for r in rows] == wanted
    assert all(float(r["time_s"]) == int(r["frame"]) / 10 for r in rows)
    assert all(abs(float(r["w"]) - 8.5) < 0.011 and 0 <= float(r["score"]) <= 1 for r in rows)
    assert written.rows == len(rows)


def test_parquet(run: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with RunStore.open(run / "run.db") as store:
        write_parquet(store, run / "t.parquet", 0.35)
        table = parquet.read_table(run / "t.parquet")
        assert table.column_names == [*CSV_HEADER.split(","), "filled"]
        wanted = [(c.name, *row) for c in CAMERAS for row in expected(c.name, 0.35)]
        columns = (table[n].to_pylist() for n in ("camera", "frame", "track_id", "global_id", "filled"))
        assert list(zip(*columns, strict=True)) == wanted
        exact = np.concatenate([camera_table(store, c.name, 0.35).boxes.xyxy[:, 0] for c in CAMERAS])
        np.testing.assert_array_equal(table["x"].to_numpy(), exact)


def test_parquet_without_pyarrow_says_how_to_get_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r'pip install "mctrack\[parquet\]"'):
        export(run, "parquet")
    assert not (run / "tracks.parquet").exists()


def test_coco(run: Path) -> None:
    with RunStore.open(run / "run.db") as store:
        write_coco(store, run / "coco.json", 0.35)
    coco = json.loads((run / "coco.json").read_text(encoding="utf-8"))
    assert [v["name"] for v in coco["videos"]] == [c.name for c in CAMERAS]
    assert coco["categories"] == [{"id": 1, "name": "person", "supercategory": "person"}]
    assert "pw" not in json.dumps(coco)
    images = {i["id"]: i for i in coco["images"]}
    assert len(images) == 60
    assert images[1]["file_name"] == f"{HALL}/000000.jpg"
    video = {v["id"]: v["name"] for v in coco["videos"]}
    rows = []
    for a in coco["annotations"]:
        image = images[a["image_id"]]
        assert image["video_id"] == a["video_id"]
        assert a["area"] == pytest.approx(a["bbox"][2] * a["bbox"][3], abs=0.5)
        rows.append((video[a["video_id"]], image["frame_id"], a["track_id"], a["filled"]))
        assert a["bbox"][:2] == pytest.approx(box(a["track_id"], image["frame_id"])[:2], abs=0.03)
    assert rows == [(c.name, f, t, filled) for c in CAMERAS for f, t, _, filled in expected(c.name, 0.35)]
    assert len({a["id"] for a in coco["annotations"]}) == len(rows)
    names = {(video[a["video_id"]], a["track_id"]): a["global_id"] for a in coco["annotations"]}
    assert names[HALL, 1] == names[YARD, 1] == 4
    assert len({names[HALL, 1], names[HALL, 3], names[HALL, 4], names[YARD, 9]}) == 4


def test_cvat(run: Path) -> None:
    with RunStore.open(run / "run.db") as store:
        written = write_cvat(store, run / "cvat", 0.35)
    for camera, path in zip(CAMERAS, written.paths, strict=True):
        root = ElementTree.parse(path).getroot()
        assert root.findtext("version") == "1.1"
        assert root.findtext("meta/task/name") == camera.name
        assert root.findtext("meta/task/labels/label/name") == "person"
        assert [int(t.get("id", "")) for t in root.findall("track")] == sorted(PLAN.get(camera.name, {}))
        for track in root.findall("track"):
            assert track.get("label") == "person"
            plan = PLAN[camera.name][int(track.get("id", ""))][0]
            boxes = track.findall("box")
            frames = [int(b.get("frame", "")) for b in boxes]
            assert frames == sorted(set(frames))
            # as CVAT plays it: a box stays until the next one says otherwise
            shown, visible = set(), False
            by_frame = dict(zip(frames, boxes, strict=True))
            for frame in range(20):
                if frame in by_frame:
                    visible = by_frame[frame].get("outside") == "0"
                if visible:
                    shown.add(frame)
            wanted = {f for a, b in zip(plan, [*plan[1:], plan[-1]], strict=True)
                      for f in (range(a, b) if b - a <= 3 else [a])} | {plan[-1]}  # fmt: skip
            assert shown == wanted
            keys = {f for f, b in by_frame.items() if b.get("keyframe") == "1" and b.get("outside") == "0"}
            assert keys == set(plan)
            assert {b.findtext("attribute[@name='global_id']") for b in boxes} != {"-1"}


def test_identities(run: Path) -> None:
    with RunStore.open(run / "run.db") as store:
        write_identities(store, run / "identities.json", gap_s=0.5)
    data = json.loads((run / "identities.json").read_text())
    four, six = data["identities"]
    assert (four["global_id"], four["merged_ids"], four["cameras"]) == (4, [5], [HALL, YARD])
    spans = [(a["camera"], a["from_frame"], a["to_frame"], a["track_ids"], a["boxes"]) for a in four["appearances"]]
    assert spans == [(HALL, 0, 6, [1, 2], 6), (YARD, 7, 13, [1], 4), (HALL, 19, 19, [1], 1)]
    assert (four["appearances"][1]["from_s"], four["appearances"][1]["to_s"]) == (0.7, 1.3)
    assert four["total_s"] == pytest.approx(0.6 + 0.6)
    [evidence] = four["evidence"]
    assert (evidence["kind"], evidence["previous_id"], evidence["runner_up"]) == ("merge", 5, None)
    assert evidence["gates"] == {"never_met": True}
    assert six["global_id"] == 6
    assert [a["from_frame"] for a in six["appearances"]] == [0, 18]
    assert [(a["camera"], a["track_ids"]) for a in data["nameless"]] == [(HALL, [3]), (HALL, [4])]


def test_export_chooses_place_and_gap_as_the_run_was_told(run: Path) -> None:
    with RunStore.open(run / "run.db") as store:
        write_mot(store, run / "wanted", 0.35)
    assert export(run, "mot").paths[0].parent == run / "tracks"
    for file in (run / "wanted").iterdir():
        assert (run / "tracks" / file.name).read_bytes() == file.read_bytes()
    assert export(run / "run.db", "csv", out=run / "other" / "x.csv").paths == [run / "other" / "x.csv"]
    for name in FORMATS:
        if name != "parquet":
            assert all(p.exists() for p in export(run, name).paths)
    assert not list(run.rglob("*.tmp*"))


def test_export_mistakes(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown export format 'moot' .did you mean 'mot'"):
        export(run, "moot")
    with pytest.raises(OutputError, match="no run database"):
        export(tmp_path / "elsewhere", "mot")
    (run / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written: .*file is not a folder"):
        export(run, "csv", out=run / "file" / "x.csv")


def test_a_failed_export_leaves_the_old_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "tracks.csv").write_text("old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left")

    monkeypatch.setattr("mctrack.sinks.tables.write_lines", full)
    with pytest.raises(OutputError, match=r"tracks\.csv cannot be written: No space left"):
        export(run, "csv")
    assert (run / "tracks.csv").read_text() == "old"
    assert not list(run.glob(".*"))
