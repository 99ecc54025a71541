"""``kill -9`` and ``--resume``: what is lost, what opens, and that the end is the same as without interruption."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from run_scene import PLAIN, command, environment, mctrack_run, one_line, results, typed, video_times, walk_past

from mctrack.config import OutputConfig, RunConfig, load_config
from mctrack.errors import MctrackError
from mctrack.folder import begun
from mctrack.resume import stored_config
from mctrack.run import run
from mctrack.sinks.state import dump_state, load_state

A_FRAMES, B_FRAMES = 66, 44
Crash = Callable[[RunConfig, int], None]
OFTEN = ("--set", "output.checkpoint_s=0")
"""A checkpoint whenever there can be one: every 16 instants."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras of different rates; people in both, so that identities cross."""
    folder = tmp_path_factory.mktemp("scene")
    walk_past(folder, "a", frames=A_FRAMES, fps=15, walkers=2)
    walk_past(folder, "b", frames=B_FRAMES, fps=10, walkers=2, late_s=0.5)
    return folder


@pytest.fixture(scope="module")
def whole(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(RunConfig(cams=[str(scene / "*.mp4")], **PLAIN, output=_output(out)))
    found = results(out)
    assert len(found["tracks.csv"].splitlines()) > 100
    assert len(json.loads(found["identities.json"])["identities"]) >= 2
    return found


def _output(out: Path) -> OutputConfig:
    return OutputConfig(dir=str(out))


def start(scene: Path, out: Path, *more: str) -> list[str]:
    return command("run", "--cams", scene / "a.mp4", scene / "b.mp4", "--out", out, *OFTEN, *more)


def kill_when(words: Sequence[str], out: Path, frames: int) -> None:
    """Start a run and kill it as soon as its database holds so many frames."""
    child = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    due_s = time.monotonic() + 60
    while frames_in(out) < frames:
        assert child.poll() is None
        assert time.monotonic() < due_s
        time.sleep(0.005)
    child.kill()
    child.wait(30)


def wait_for_lines(log: Path, count: int, child: subprocess.Popen[str]) -> None:
    """Until the paced detector has been called so often."""
    due_s = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < count:
        assert child.poll() is None
        assert time.monotonic() < due_s
        time.sleep(0.005)


def frames_in(out: Path) -> int:
    """Frames that another process can read from a run's database now."""
    if not (out / "run.db").exists():
        return 0
    with closing(sqlite3.connect(f"file:{out / 'run.db'}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("SELECT COUNT(*) FROM frames").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0


def check_readable(out: Path) -> None:
    """The database is sound, and every video that was begun opens."""
    with closing(sqlite3.connect(out / "run.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for path in (out / "video").glob("*.mp4"):
        if path.stat().st_size:
            assert len(video_times(path)) >= 0


@pytest.mark.parametrize("frames", [1, pytest.param(50, marks=pytest.mark.slow), 80])
def test_killed_and_resumed_ends_the_same(scene: Path, whole: dict[str, bytes], tmp_path: Path, frames: int) -> None:
    out = tmp_path / "out"
    kill_when(start(scene, out, "--set", "output.commit_s=0.02"), out, frames)
    assert frames_in(out) < A_FRAMES + B_FRAMES
    check_readable(out)
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    done = mctrack_run("--resume", "--out", out)
    assert done.returncode == 0, done.stderr
    assert results(out) == whole
    check_complete(out)


def check_complete(out: Path) -> None:
    assert json.loads((out / "run.json").read_text())["status"] == "complete"
    assert sorted(p.name for p in (out / "video").iterdir()) == ["a.mp4", "b.mp4", "mosaic.mp4"]
    assert len(video_times(out / "video" / "a.mp4")) == A_FRAMES
    assert len(video_times(out / "video" / "b.mp4")) == B_FRAMES
    assert not list(out.rglob("*.tmp*"))


@pytest.mark.slow
@pytest.mark.parametrize("point", range(20))
def test_killed_at_random_points_and_resumed(scene: Path, whole: dict[str, bytes], tmp_path: Path, point: int) -> None:
    """Once, or again while resuming; at any moment, also while loading or writing the results."""
    rng, out = random.Random(point), tmp_path / "out"
    words = start(scene, out)
    for _ in range(rng.choice([1, 1, 2, 3])):
        child = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(rng.uniform(0.3, 3.0))
        child.kill()
        child.wait(30)
        if begun(out / "run.db"):
            check_readable(out)
            words = command("run", "--resume", "--out", out, *OFTEN)
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert results(out) == whole
    check_complete(out)


def test_a_kill_loses_less_than_a_second_of_tracks_and_two_of_video(scene: Path, tmp_path: Path) -> None:
    """At the pace of live cameras: what was detected a second before the kill is in the database."""
    out, log = tmp_path / "out", tmp_path / "log"
    words = start(scene, out, "--detector", "run_scene:PacedDetector", "--set", "detect.options.pace_s=0.0667",
                  "--set", f"detect.options.log={log}")
    child = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    wait_for_lines(log, 50, child)
    busy = typed("--resume", "--out", out)
    assert busy.returncode == 2
    assert "another mctrack is writing" in one_line(busy.stderr)
    child.kill()
    killed_s = time.monotonic()
    child.wait(30)
    lines = [tuple(map(float, line.split())) for line in log.read_text().splitlines() if line.count(" ") == 1]
    old = [time_s for at_s, time_s in lines if at_s < killed_s - 1.0]
    assert old[-1] > 2.0
    with closing(sqlite3.connect(out / "run.db")) as db:
        stored_s = db.execute("SELECT MAX(time_s) FROM frames").fetchone()[0]
        assert db.execute("SELECT COUNT(*) FROM boxes").fetchone()[0] > 20
    assert stored_s >= old[-1]
    for name in ("a", "b", "mosaic"):
        assert video_times(out / "video" / f"{name}.mp4")[-1] >= lines[-1][1] - 2.0, name


def test_interrupted_by_signals_and_resumed_twice(scene: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    paced = ("--detector", "run_scene:PacedDetector", "--set", "detect.options.pace_s=0.02",
             "--set", f"detect.options.log={log}")
    assert typed("--cams", scene / "*.mp4", "--out", tmp_path / "whole", *paced).returncode == 0
    words, frames = start(scene, out, *paced), []
    for number in (signal.SIGINT, signal.SIGTERM):
        log.unlink(missing_ok=True)
        child = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for_lines(log, 25, child)
        child.send_signal(number)
        said = "".join(child.communicate(timeout=20))
        assert child.returncode == 128 + number
        assert f"go on with it: mctrack run --resume --out {out}" in said
        assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
        frames.append(frames_in(out))
        words = command("run", "--resume", "--out", out, *OFTEN)
    assert 10 < frames[0] < frames[1] < A_FRAMES + B_FRAMES
    done = typed("--resume", "--out", out)
    assert done.returncode == 0, done.stderr
    assert results(out) == results(tmp_path / "whole")
    check_complete(out)


def test_a_complete_run_stays_as_it_is(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(RunConfig(cams=[str(scene / "a.mp4")], **PLAIN, output=_output(out)))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    done = typed("--resume", "--out", out)
    assert done.returncode == 0
    assert "is complete already" in done.stderr
    assert {p: p.read_bytes() for p in before} == before


class _CrashError(Exception):
    """Stands for a crash."""


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Crash:
    """Makes a run in this process break off after some instants, as abruptly as can be without a process to kill."""

    def begin(config: RunConfig, instants: int) -> None:
        from mctrack.sinks.store import RunStore

        write, count = RunStore.write, [0]

        def failing(self: RunStore, result: object) -> None:
            count[0] += 1
            if count[0] > instants:
                raise _CrashError
            write(self, result)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "write", failing)
            with pytest.raises(_CrashError):
                run(config)

    return begin


def configured(scene: Path, out: Path, **keys: object) -> RunConfig:
    return load_config(RunConfig, overrides={
        "cams": [str(scene / "a.mp4"), str(scene / "b.mp4")], "output.dir": str(out), "output.checkpoint_s": 0.0,
        "detect.name": "background", "reid.name": "histogram", **{k.replace("__", "."): v for k, v in keys.items()},
    })  # fmt: skip


@pytest.mark.parametrize("keys", [
    {"reid__name": "none", "track__camera_motion": True},
    pytest.param({"track__motion": "filterpy", "video__start": 7}, marks=pytest.mark.slow),
    {"video__offset_s": {"b": -0.43}, "video__max_frames": 50},
], ids=["motion-only-and-camera-motion", "filterpy-and-start", "offset-and-max-frames"])  # fmt: skip
def test_other_configurations_resume_as_well(scene: Path, tmp_path: Path, crash: Crash, keys: dict[str, Any]) -> None:
    run(configured(scene, tmp_path / "whole", output__video=False, **keys))
    crash(configured(scene, tmp_path / "out", output__video=False, **keys), 37)
    run(stored_config(tmp_path / "out"), resume=True)
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_killed_at_its_very_end(
    scene: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All results stand, the database does not know it yet: resuming writes them again and knows it then."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("mctrack.sinks.store.RunStore.end", _die)
        with pytest.raises(KeyboardInterrupt):
            run(configured(scene, out))
    assert results(out) == whole
    summary = run(stored_config(out), resume=True)
    assert summary.status == "complete"
    assert results(out) == whole
    check_complete(out)
    with closing(sqlite3.connect(out / "run.db")) as db:  # nothing is left to resume
        assert db.execute("SELECT COUNT(*) FROM checkpoint").fetchone() == (0,)
        assert db.execute("SELECT value FROM meta WHERE key = 'status'").fetchone() == ("complete",)


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_video_pictures_that_are_done_are_not_made_again(
    scene: Path, whole: dict[str, bytes], tmp_path: Path, crash: Crash, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mctrack.video.picture import PictureMaker

    out, made = tmp_path / "out", []
    make = PictureMaker.make
    monkeypatch.setattr(PictureMaker, "make", lambda self, frame: made.append(1) or make(self, frame))
    crash(configured(scene, out, output__video=False), 55)
    made.clear()
    config = stored_config(out)
    summary = run(config, resume=True)
    assert summary.status == "complete"
    assert results(out) == whole
    assert 20 < len(made) < 60  # of 110: 48 instants were done, with 48 frames of one camera and 32 of the other


def test_video_may_be_left_out_or_added_on_resume(
    scene: Path, whole: dict[str, bytes], tmp_path: Path, crash: Crash
) -> None:
    out = tmp_path / "out"
    crash(configured(scene, out), 50)
    shown = len(video_times(out / "video" / "a.mp4"))
    done = typed("--resume", "--out", out, "--no-video")
    assert done.returncode == 0, done.stderr
    assert "shows only what was drawn before the interruption" in done.stderr
    assert results(out) == whole
    assert len(video_times(out / "video" / "a.mp4")) == shown

    out = tmp_path / "added"
    crash(configured(scene, out, output__video=False), 50)
    done = typed("--resume", "--out", out, "--video")
    assert done.returncode == 0, done.stderr
    assert results(out) == whole
    check_complete(out)


def test_options_that_change_tracks_are_refused(scene: Path, tmp_path: Path, crash: Crash) -> None:
    out = tmp_path / "out"
    crash(configured(scene, out, output__video=False), 20)
    for words, key in (
        (["--set", "track.n_init=9"], "track.n_init was 4"), (["--reid", "none"], "reid.name was histogram"),
        (["--detector", "file"], "detect.name was background"), (["--max-frames", "9"], "video.max_frames was None"),
        (["--set", "video.offset_s={a: 1}"], "video.offset_s.a was None"), (["--device", "cpu"], "device was auto"),
        (["--cams", scene / "a.mp4"], "cams was"), (["--set", "output.fill_gap_s=0"], "output.fill_gap_s was 0.7"),
        (["--cams", scene / "b.mp4", scene / "a.mp4"], "cams was"),
    ):
        done = typed("--resume", "--out", out, *words)
        assert done.returncode == 2
        line = one_line(done.stderr)
        assert "--resume" in line
        assert key in line
    assert frames_in(out) > 0


def test_the_same_options_again_are_fine(
    scene: Path, whole: dict[str, bytes], tmp_path: Path, crash: Crash, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    crash(configured(scene, out, output__video=False), 40)
    monkeypatch.chdir(tmp_path)
    done = typed("--resume", "--out", "out", "--cams", scene / "a.mp4", "--cams", f"b={scene / 'b.mp4'}",
                 "--set", "track.n_init=4", "--set", "video.queue=3", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert results(out) == whole


def test_relative_paths_and_letters_of_any_language(
    scene: Path, tmp_path: Path, crash: Crash, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Fußgänger").mkdir()
    shutil.copy(scene / "a.mp4", tmp_path / "Fußgänger" / "Küche 1.mp4")
    monkeypatch.chdir(tmp_path / "Fußgänger")
    crash(RunConfig(cams=["Küche 1.mp4"], **PLAIN, output=_output(Path("out"))), 20)
    monkeypatch.chdir(tmp_path)
    done = typed("--resume", "--out", Path("Fußgänger") / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "Fußgänger" / "out" / "tracks" / "Küche_1.txt").stat().st_size > 100


def test_inputs_that_changed_are_refused(scene: Path, tmp_path: Path, crash: Crash) -> None:
    for name in "ab":
        shutil.copy(scene / f"{name}.mp4", tmp_path)
    out = tmp_path / "out"
    crash(configured(tmp_path, out, output__video=False), 20)
    frames = frames_in(out)
    shutil.copy(scene / "a.mp4", tmp_path / "b.mp4")
    with pytest.raises(MctrackError, match="input b is not what it was"):
        run(stored_config(out), resume=True)
    assert frames_in(out) == frames
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(MctrackError, match=r"b\.mp4 does not exist"):
        run(stored_config(out), resume=True)


def test_another_version_does_not_take_over(scene: Path, tmp_path: Path, crash: Crash) -> None:
    out = tmp_path / "out"
    crash(configured(scene, out, output__video=False), 20)
    with closing(sqlite3.connect(out / "run.db")) as db, db:
        db.execute("UPDATE meta SET value = '0.0.1' WHERE key = 'mctrack_version'")
    with pytest.raises(MctrackError, match=r"mctrack_version is not what it was .*0\.0\.1 then"):
        run(stored_config(out), resume=True)


def test_a_camera_that_failed_stays_out(scene: Path, tmp_path: Path, crash: Crash) -> None:
    out = tmp_path / "out"
    shutil.copy(scene / "a.mp4", tmp_path)
    (tmp_path / "b.mp4").write_bytes(b"no video at all " * 100)
    crash(configured(tmp_path, out, output__video=False), 20)
    summary = run(stored_config(out), resume=True)
    assert summary.status == "complete"
    assert list(summary.failed) == ["b"]
    assert typed("--resume", "--out", out).returncode == 2


def test_what_cannot_be_resumed(scene: Path, tmp_path: Path) -> None:
    empty, none, other = tmp_path / "empty", tmp_path / "none", tmp_path / "other"
    for folder in (empty, other):
        folder.mkdir()
    (other / "run.db").write_bytes(b"this is no database, whatever its name says" * 50)
    for words, said in (
        (["--resume"], "--resume needs --out DIR"),
        (["--resume", "--out", none], "holds no run to resume"),
        (["--resume", "--out", empty], "holds no run to resume"),
        (["--resume", "--out", other], "cannot be read as a run database"),
        (["--cams", scene / "a.mp4", "--out", other], "already holds a run"),
    ):
        done = typed(*words)
        assert done.returncode == 2
        assert said in one_line(done.stderr)


def test_a_run_that_was_killed_before_it_began(scene: Path, tmp_path: Path) -> None:
    """Its database may be empty, or have no tables; a new run may take its place."""
    for name, make in (("zero", lambda db: None), ("bare", lambda db: db.execute("PRAGMA application_id = 7"))):
        out = tmp_path / name
        out.mkdir()
        with closing(sqlite3.connect(out / "run.db")) as db:
            make(db)
        (out / "run.db").touch()
        done = typed("--resume", "--out", out)
        assert done.returncode == 2
        assert "run it again without --resume" in one_line(done.stderr)
        summary = run(configured(scene, out, output__video=False, video__max_frames=2))
        assert summary.status == "complete"


def test_live_cameras_are_not_resumed(scene: Path, tmp_path: Path, crash: Crash) -> None:
    out = tmp_path / "out"
    crash(configured(scene, out, output__video=False), 20)
    done = typed("--resume", "--out", out, "--cams", "rtsp://127.0.0.1:1/x")
    assert done.returncode == 2
    assert "cams was" in one_line(done.stderr)


def test_a_state_of_another_version_is_refused(scene: Path, tmp_path: Path, crash: Crash) -> None:
    out = tmp_path / "out"
    crash(configured(scene, out, output__video=False), 20)
    with closing(sqlite3.connect(out / "run.db")) as db, db:
        (saved,) = db.execute("SELECT state FROM checkpoint").fetchone()
        state = load_state(saved)
        del state["associator"]["together"]["recent"]
        db.execute("UPDATE checkpoint SET state = ?", (dump_state(state),))
    done = typed("--resume", "--out", out)
    assert done.returncode == 2
    assert "has no 'recent': another version of mctrack wrote it" in done.stderr.strip().splitlines()[-1]
