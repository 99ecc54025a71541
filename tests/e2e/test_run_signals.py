"""SIGINT and SIGTERM: complete outputs within five seconds, whatever the detector is doing; twice: at once."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from run_scene import command, environment, video_times, walk_past


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk_past(tmp_path_factory.mktemp("clip"), "a", frames=40)


def begin(clip: Path, folder: Path, pace_s: float, calls: int) -> subprocess.Popen[str]:
    """A run whose detector takes ``pace_s`` for a frame, from its ``calls``-th call on."""
    log = folder / "log"
    child = subprocess.Popen(
        command("run", "--cams", clip, "--out", folder / "out", "--detector", "run_scene:PacedDetector",
                "--set", f"detect.options.pace_s={pace_s}", "--set", f"detect.options.log={log}"),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    due_s = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < calls:
        assert child.poll() is None
        assert time.monotonic() < due_s
        time.sleep(0.005)
    return child


@pytest.mark.parametrize(("number", "pace_s", "calls"), [(signal.SIGINT, 60.0, 1), (signal.SIGTERM, 0.1, 12)])
def test_a_signal_ends_with_complete_outputs(
    clip: Path, tmp_path: Path, number: signal.Signals, pace_s: float, calls: int
) -> None:
    child = begin(clip, tmp_path, pace_s, calls)
    time.sleep(0.2)
    sent_s = time.monotonic()
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert time.monotonic() - sent_s < 5.0
    assert child.returncode == 128 + number
    assert "stopping: writing the results; once more ends at once" in err
    assert "stopped early" in out
    assert "Traceback" not in err
    folder = tmp_path / "out"
    found = json.loads((folder / "run.json").read_text())
    assert found["status"] == "interrupted"
    assert calls - 5 <= found["counts"]["frames"] <= calls + 5
    assert len(video_times(folder / "video" / "a.mp4")) == found["counts"]["frames"]
    assert json.loads((folder / "identities.json").read_text())
    assert (folder / "tracks.csv").read_text().startswith("camera,frame,")
    assert (folder / "tracks" / "a.txt").exists()
    with closing(sqlite3.connect(folder / "run.db")) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'status'").fetchone() == ("interrupted",)
    assert not list(folder.glob("*-wal"))


def test_a_second_signal_ends_at_once(clip: Path, tmp_path: Path) -> None:
    child = begin(clip, tmp_path, 60.0, 1)
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    time.sleep(0.2)  # it waits up to a second for the detector's thread
    sent_s = time.monotonic()
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert time.monotonic() - sent_s < 0.4
    assert child.returncode == 128 + signal.SIGTERM
    with closing(sqlite3.connect(tmp_path / "out" / "run.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_a_closed_terminal_is_such_a_signal_too(clip: Path, tmp_path: Path) -> None:
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        pytest.skip("these tests run under nohup, where programs live on")
    child = begin(clip, tmp_path, 0.05, 5)
    child.send_signal(signal.SIGHUP)
    child.communicate(timeout=20)
    assert child.returncode == 128 + signal.SIGHUP
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "interrupted"
