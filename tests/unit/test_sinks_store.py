"""The run database: durability, errors, readers."""

from __future__ import annotations

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mctrack.sinks.store as store_module
from mctrack.errors import OutputError
from mctrack.sinks.schema import DDL, SCHEMA_DOC, CameraInfo
from mctrack.sinks.store import RunStore
from mctrack.types import Frame, Instant, InstantResult, Link, Tracks, TrackState

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = [CameraInfo("a", "rtsp://user:secret@host/x", 640, 480, 25.0, 1.3), CameraInfo("b", "b.mp4", 320, 240)]


def tracks(ids: list[int], state: int = TrackState.CONFIRMED, seen: bool = True) -> Tracks:
    n = len(ids)
    corner = np.arange(2.0 * n).reshape(n, 2) * 10
    return Tracks(
        np.array(ids, np.int64), np.hstack([corner, corner + 7.25]), np.full(n, 0.5), np.full(n, int(state)),
        np.zeros(n), np.arange(n) if seen else np.full(n, -1),
    )  # fmt: skip


def result(
    number: int, ids: list[int], names: list[int], links: tuple[Link, ...] = (), state: int = 1, seen: bool = True
) -> InstantResult:
    frame = Frame("a", number, number / 10, None, (640, 480))
    found = tracks(ids, state, seen)
    return InstantResult(Instant(number / 10, (frame,)), (found,), (np.array(names, np.int64),), links)


def create(folder: Path, **kwargs: object) -> RunStore:
    return RunStore.create(folder / "run" / "run.db", CAMERAS, "cams: [rtsp://u:pw@h]", **kwargs)  # type: ignore[arg-type]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    link = Link(0.1, "a", 1, 7, "link", 3, 0.25, math.nan, 0.9, {"transition": 0.8, "free": np.True_, "n": math.nan})
    with create(tmp_path) as store:
        store.write(result(0, [1, 2], [-1, -1], state=TrackState.TENTATIVE))
        store.write(result(1, [1, 2], [7, -1], (link,)))
        store.write(result(2, [1, 2], [7, -1], seen=False))
        store.write(InstantResult(Instant(0.3, ()), (), (), (Link(0.3, "a", 2, 8, "new"),)))
        store.warn("camera a ended early: rtsp://user:secret@host", "a", 0.3)
        store.warn("something else")
        store.set_meta("note", "rtsp://user:secret@host")
    with RunStore.open(tmp_path / "run" / "run.db") as store:
        assert store.cameras() == [CameraInfo("a", "rtsp://***@host/x", 640, 480, 25.0, 1.3), CAMERAS[1]]
        index, time_s = store.frame_times("a")
        assert (index.tolist(), time_s.tolist()) == ([0, 1, 2], [0, 0.1, 0.2])
        boxes = store.boxes("a")
        assert boxes.frame_index.tolist() == [0, 0, 1, 1]  # coasting frame 2 has none
        assert boxes.state.tolist() == [0, 0, 1, 1]  # tentative boxes of a track confirmed later are there
        assert boxes.global_id.tolist() == [7, 8, 7, 8]
        np.testing.assert_array_equal(boxes.xyxy[1], [20, 30, 27.25, 37.25])
        assert store.boxes("a", with_global=False).global_id.tolist() == [-1] * 4
        assert len(store.boxes("b")) == 0
        assert store.frame_times("b")[0].shape == (0,)
        first, second = store.links()
        assert (first.previous_id, first.distance, first.probability) == (3, 0.25, 0.9)
        assert math.isnan(first.runner_up)
        assert first.gates == {"transition": 0.8, "free": True, "n": None}
        assert (second.kind, second.previous_id) == ("new", -1)
        assert store.warnings()[0] == (0.3, "a", "camera a ended early: rtsp://***@host")
        assert store.warnings()[1] == (None, None, "something else")
        assert store.identity_map() == {("a", 1): 7, ("a", 2): 8}
        assert store.identities() == {7: [], 8: []}
        assert store.counts() == {"frames": 3, "boxes": 4, "tracklets": 2, "identities": 2}
        assert store.meta["config_yaml"] == "cams: [rtsp://***@h]"
    content = b"".join(f.read_bytes() for f in (tmp_path / "run").iterdir())
    assert b"secret" not in content
    assert b"pw@" not in content


def test_merges_chain_and_reach_earlier_tracklets(tmp_path: Path) -> None:
    with create(tmp_path) as store:
        store.write(result(0, [1, 2, 3], [1, 2, 3]))  # an associator that gives no reasons
        store.write(result(1, [3], [2], (Link(0.1, "a", 3, 2, "merge", 3),)))
        store.write(result(2, [3], [1], (Link(0.2, "a", 3, 1, "merge", 2),)))
        store.write(result(3, [3], [1], (Link(0.3, "a", 3, 3, "merge", 1),)))  # back to itself: no ring
        store.flush()
        assert store.identity_map() == {("a", 1): 1, ("a", 2): 1, ("a", 3): 1}
        assert store.identities() == {1: [2, 3]}
        with sqlite3.connect(store.path) as db:
            assert db.execute("SELECT DISTINCT global_id FROM people").fetchall() == [(1,)]
            assert dict(db.execute("SELECT global_id, root_id FROM roots")) == {1: 1, 2: 1, 3: 1}
        db.close()


def test_rewind_takes_back_warnings_of_the_same_instant(tmp_path: Path) -> None:
    with create(tmp_path) as store:
        store.write(result(0, [1], [1]))
        store.warn("before")
        store.checkpoint(1, {"x": 1})
        store.warn("after")
        assert store.rewind() == (1, {"x": 1})
        store.flush()
        assert [w.message for w in store.warnings()] == ["before"]


def test_rewind_without_checkpoint_starts_afresh(tmp_path: Path) -> None:
    with create(tmp_path) as store:
        store.write(result(0, [1], [1]))
        assert store.rewind() is None
        assert store.counts() == {"frames": 0, "boxes": 0, "tracklets": 0, "identities": 0}
        store.write(result(0, [1], [1]))  # the same frame again is no conflict
        store.flush()
        assert store.counts()["boxes"] == 1


def test_commits_on_its_own_when_nothing_more_comes(tmp_path: Path) -> None:
    with create(tmp_path, commit_s=0.2) as store, RunStore.open(tmp_path / "run" / "run.db") as reader:
        store.write(result(0, [1], [1]))
        begin = time.monotonic()
        while reader.counts()["boxes"] == 0:
            assert time.monotonic() - begin < 2
            time.sleep(0.02)
        store.write(result(1, [1], [1]))
        store.flush()
        assert reader.counts()["boxes"] == 2  # a live reader sees what comes


def test_steady_writing_does_not_put_off_commits(tmp_path: Path) -> None:
    with create(tmp_path, commit_s=0.1) as store, RunStore.open(tmp_path / "run" / "run.db") as reader:
        begin, seen = time.monotonic(), 0
        for number in range(100):
            store.write(result(number, [1], [1]))
            time.sleep(0.01)
            seen = max(seen, reader.counts()["frames"])
            if seen:
                break
        assert seen
        assert time.monotonic() - begin < 1


CHILD = """
import os, sys, time
import numpy as np
from mctrack.sinks.schema import CameraInfo
from mctrack.sinks.store import RunStore
from mctrack.types import Frame, Instant, InstantResult, Tracks
store = RunStore.create(sys.argv[1], [CameraInfo("a", "a", 640, 480)], "")
log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
n, ids, box = 20, np.arange(20), np.tile([1.0, 2, 3, 4], (20, 1))
tracks = Tracks(ids, box, np.ones(n), np.ones(n, int), np.zeros(n), ids)
for i in range(10**9):
    frame = Frame("a", i, i / 25, None, (640, 480))
    os.write(log, b"%.6f\\n" % time.time())
    store.write(InstantResult(Instant(i / 25, (frame,)), (tracks,), (ids,), ()))
    if i % 50 == 49:
        store.checkpoint(i + 1, {"i": i, "a": np.full(1000, i)})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_9_loses_less_than_a_second(tmp_path: Path) -> None:
    path, log = tmp_path / "run" / "run.db", tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(log)], env=environment, cwd=tmp_path)
    begin = time.monotonic()
    while not (log.exists() and log.stat().st_size > 1000) and child.poll() is None and time.monotonic() - begin < 30:
        time.sleep(0.02)
    time.sleep(1.2)
    child.send_signal(signal.SIGKILL)
    killed_s = time.time()
    child.wait()
    times = [float(line) for line in log.read_text().splitlines()[:-1]]  # the last line may be half written
    with RunStore.open(path, readonly=False) as store:
        frames, _ = store.frame_times("a")
        assert frames.tolist() == list(range(len(frames)))
        assert len(frames) > 100
        lost = times[len(frames) :]
        assert not lost or killed_s - lost[0] < 1.0
        assert len(store.boxes("a")) == 20 * len(frames)  # whole instants only
        found = store.rewind()
        assert found is not None
        number, state = found
        assert state["i"] == number - 1
        assert store.frame_times("a")[0].tolist() == list(range(number))


def test_full_disk_is_one_line_and_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = store_module._connect

    def small(path: Path) -> sqlite3.Connection:
        db = connect(path)
        db.execute("PRAGMA max_page_count = 60")
        return db

    monkeypatch.setattr(store_module, "_connect", small)
    store = create(tmp_path, commit_s=0.01)

    def fill() -> None:
        for number in range(100_000):
            store.write(result(number, list(range(50)), [1] * 50))

    with pytest.raises(OutputError, match=r"run\.db: no space left.*--resume$") as caught:
        fill()
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError):
        store.write(result(100_000, [1], [1]))  # and says so again
    store.close()  # has been told already
    store.close()
    with RunStore.open(store.path) as reader:
        frames = reader.counts()["frames"]
        assert 0 < frames < 100_000
        assert reader.counts()["boxes"] == 50 * frames


def test_an_error_found_last_comes_with_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = store_module._connect
    store = create(tmp_path)
    store.close()

    def locked(path: Path) -> sqlite3.Connection:
        db = connect(path)
        db.execute("PRAGMA query_only = ON")
        return db

    monkeypatch.setattr(store_module, "_connect", locked)
    store = RunStore.open(store.path, readonly=False)
    store.write(result(0, [1], [1]))
    with pytest.raises(OutputError, match="cannot be written: check the permissions"):
        store.close()
    store.close()


def test_errors_reach_a_waiting_caller(tmp_path: Path) -> None:
    store = create(tmp_path)
    store.write(result(0, [1], [1]))
    store.write(result(0, [1], [1]))  # the same frame twice
    with pytest.raises(OutputError, match="UNIQUE"):
        store.flush()
    store.close()


def test_a_camera_it_does_not_know(tmp_path: Path) -> None:
    store = create(tmp_path)
    store.write(InstantResult(Instant(0, ()), (), (), (Link(0, "nobody", 1, 1, "new"),)))
    with pytest.raises(OutputError, match="camera 'nobody' is not one of this run's: a, b"):
        store.close()
    with RunStore.open(store.path) as reader, pytest.raises(OutputError, match=r"no camera 'aa' .did you mean 'a'"):
        reader.boxes("aa")


def test_create_keeps_an_earlier_run(tmp_path: Path) -> None:
    create(tmp_path).close()
    with pytest.raises(OutputError, match=r"run\.db is there already.*--resume.*--out"):
        create(tmp_path)
    with create(tmp_path, overwrite=True) as store:
        assert store.counts()["frames"] == 0


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with create(tmp_path) as store:
        for attempt in (lambda: create(tmp_path, overwrite=True), lambda: RunStore.open(store.path, readonly=False)):
            with pytest.raises(OutputError, match="another mctrack is writing"):
                attempt()
        store.write(result(0, [1], [1]))
        store.flush()
        assert store.counts()["frames"] == 1
    RunStore.open(store.path, readonly=False).close()


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no run database at"):
        RunStore.open(tmp_path / "run.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to look at " * 20)
    with pytest.raises(OutputError, match="cannot be read as a run database"):
        RunStore.open(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(OutputError, match="not a run database of mctrack"):
        RunStore.open(tmp_path / "other.db")
    create(tmp_path).close()
    db = sqlite3.connect(tmp_path / "run" / "run.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutputError, match="schema version 99"):
        RunStore.open(tmp_path / "run" / "run.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written: "):
        RunStore.create(tmp_path / "file" / "run.db", CAMERAS, "")


def test_reading_only_is_reading_only(tmp_path: Path) -> None:
    create(tmp_path).close()
    with RunStore.open(tmp_path / "run" / "run.db") as store, pytest.raises(ValueError, match="reading only"):
        store.write(result(0, [1], [1]))


def test_database_is_in_wal_mode_and_closes_to_one_file(tmp_path: Path) -> None:
    with create(tmp_path) as store:
        db = sqlite3.connect(store.path)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.close()
    assert [f.name for f in store.path.parent.iterdir()] == ["run.db"]


def test_pictures_do_not_wait_in_the_queue(tmp_path: Path) -> None:
    import gc
    import weakref

    with create(tmp_path, commit_s=100) as store:
        assert store._writer is not None
        image = np.zeros((480, 640, 3), np.uint8)
        gone = weakref.ref(image)
        frame = Frame("a", 0, 0.0, image, (640, 480))
        shown = InstantResult(Instant(0.0, (frame,)), (tracks([1]),), (np.array([1]),), ())
        import threading

        hold = threading.Event()
        store._writer.put(lambda rows: hold.wait())  # a slow disk
        store.write(shown)
        del shown, frame, image
        gc.collect()
        assert gone() is None
        hold.set()


def test_every_table_and_column_is_documented() -> None:
    body = DDL.partition("CREATE VIEW")[0]
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", body, re.S)
    assert len(tables) == 10
    for name, inside in tables:
        first, *lines = [line.strip() for line in inside.strip().splitlines()]
        assert first.startswith("-- "), name
        for line in lines:
            assert "--" in line or line.startswith("PRIMARY KEY"), f"{name}: {line}"
    assert DDL in SCHEMA_DOC
