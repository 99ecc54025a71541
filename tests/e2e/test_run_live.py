"""Network cameras through ``mctrack run``: an end that comes by itself, files beside them, secrets."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from run_scene import command, environment, live_camera, mctrack_run, one_line, typed, video_times, walk_past

SECRET = "s3cr3t"
ONCE = ("--set", "video.reconnects=0", "--set", "video.timeout_s=1")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of transport stream."""
    return walk_past(tmp_path_factory.mktemp("recording"), "live", frames=75, fps=25, walkers=1, ending="ts")


def run_json(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out / "run.json").read_text())
    return found


def test_a_stream_that_ends_and_a_file_beside_it(recording: Path, tmp_path: Path) -> None:
    clip, out = walk_past(tmp_path, "file", frames=20, walkers=1), tmp_path / "out"
    began_s = time.monotonic()
    with live_camera(recording, 3.0) as (port, _):
        done = typed("--cams", f"yard=http://127.0.0.1:{port}/live.ts", clip, "--out", out, *ONCE)
    assert 2.5 < time.monotonic() - began_s < 15
    assert done.returncode == 0, done.stderr
    assert "connection lost once" in done.stderr
    assert "given up" in done.stderr
    found = run_json(out)
    assert found["status"] == "complete"
    yard, file = found["cameras"]  # type: ignore[misc]
    assert file["decoded"] == 20  # no frame of a file is dropped, whoever stands beside it
    assert 60 < yard["decoded"] <= 75
    for camera in (yard, file):
        shown = len(video_times(out / "video" / f"{camera['camera']}.mp4"))
        assert shown == camera["decoded"] - camera["dropped"]
        assert (out / "tracks" / f"{camera['camera']}.txt").exists()
    assert (out / "tracks" / "yard.txt").stat().st_size > 100


def test_a_stream_is_taken_up_again(recording: Path, tmp_path: Path) -> None:
    with live_camera(recording, 1.0) as (port, viewers):
        done = typed("--cams", f"http://127.0.0.1:{port}/live.ts", "--out", tmp_path / "out", "--no-video",
                     "--max-frames", "100", "--start", "5", "--set", "video.timeout_s=1")
    assert done.returncode == 0, done.stderr
    assert len(viewers) >= 2
    assert "connected again" in done.stderr
    assert "is live: --start does not apply to it" in done.stderr
    assert 75 < run_json(tmp_path / "out")["counts"]["frames"] <= 100  # type: ignore[index]


def test_stopping_a_live_camera(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with live_camera(recording, 9.0) as (port, viewers):
        child = subprocess.Popen(
            command("run", "--cams", f"http://u:{SECRET}@127.0.0.1:{port}/live.ts", "--out", out),
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not (out / "video").exists():
            assert child.poll() is None
            time.sleep(0.02)
        sent_s = time.monotonic()
        child.send_signal(signal.SIGINT)
        said, err = child.communicate(timeout=20)
    assert time.monotonic() - sent_s < 5
    assert child.returncode == 130
    assert "stopped early" in said
    assert "--resume" not in said  # a live camera cannot be seen again
    assert SECRET not in said + err
    assert run_json(out)["status"] == "interrupted"
    assert viewers


def unreachable() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def check_no_secret(folder: Path, *texts: str) -> int:
    """Neither in texts nor in any file or file name; the number of files looked at."""
    for text in texts:
        assert SECRET not in text
    files = [p for p in folder.rglob("*") if p.is_file()]
    for path in files:
        assert SECRET not in str(path)
        assert SECRET.encode() not in path.read_bytes(), path
    return len(files)


@pytest.mark.parametrize("url", [
    "rtsp://user:{secret}@127.0.0.1:{port}/main", "rtsp://user:{secret}@127.0.0.1:{port}/main?token={secret}",
    "http://us%40er:p@ss/{secret}@127.0.0.1:{port}/x?pwd={secret}&channel=2", "door=rtsp://{secret}:x@127.0.0.1:{port}/a",
    "tcp://user:{secret}@127.0.0.1:{port}",
])  # fmt: skip
def test_an_unreachable_camera_keeps_its_password_secret(url: str, tmp_path: Path) -> None:
    url = url.format(secret=SECRET, port=unreachable())
    for words in ([], ["--quiet"]):
        done = typed("--cams", url, "--out", tmp_path / "out", *ONCE, *words)
        assert done.returncode == 2
        assert "127.0.0.1" in done.stderr
        check_no_secret(tmp_path, done.stdout, done.stderr)
    one_line(done.stderr)


def test_a_password_in_the_query_leaves_the_message_whole(tmp_path: Path) -> None:
    place = f"127.0.0.1:{unreachable()}"
    done = typed("--cams", f"x=http://{place}/x?user=a&password={SECRET}", "--out", tmp_path / "out", "--quiet", *ONCE)
    assert one_line(done.stderr) == (
        f"error: camera 'x' (http://{place}/x?user=***&password=***): cannot be opened: connection refused")


def test_passwords_are_in_no_file_of_a_run(recording: Path, tmp_path: Path) -> None:
    """One camera answers, one does not; the process, its database and all exports are searched."""
    out = tmp_path / "out"
    (tmp_path / "my.yaml").write_text(f"cams: ['gate=rtsp://user:{SECRET}@127.0.0.1:{unreachable()}/x']\n")
    with live_camera(recording, 2.0) as (port, viewers):
        done = mctrack_run("--cams", f"http://user:{SECRET}@127.0.0.1:{port}/private/live.ts?token={SECRET}&channel=1",
                           f"gate=rtsp://user:{SECRET}@127.0.0.1:{unreachable()}/x?{SECRET}", "--out", out, *ONCE)
    assert done.returncode == 2, done.stderr
    assert "'gate' could not be read" in done.stderr
    assert base64.b64decode(viewers[-1].removeprefix("Basic ")).decode() == f"user:{SECRET}"  # it was used, though
    for kind in ("coco", "cvat", "csv"):
        exported = subprocess.run(command("export", out, "--format", kind), env=environment(), capture_output=True,
                                  text=True, check=True, timeout=60)
        check_no_secret(out, exported.stdout, exported.stderr)
    assert check_no_secret(out, done.stdout, done.stderr) >= 8
    assert "***@127.0.0.1" in (out / "config.yaml").read_text()
    assert run_json(out)["failed"]
    (tmp_path / "my.yaml").unlink()
    again = mctrack_run("--config", out / "config.yaml", "--out", tmp_path / "again", *ONCE)
    check_no_secret(tmp_path, again.stdout, again.stderr)
