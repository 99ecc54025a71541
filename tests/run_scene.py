"""A tiny scene for the tests of ``mctrack run``: coloured figures that walk past one or more still cameras."""

from __future__ import annotations

import contextlib
import http.server
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import mctrack
from mctrack.config import DetectConfig, ReidConfig
from mctrack.detect.subtraction import BackgroundDetector
from mctrack.types import Detections, Frame
from mctrack.video.spec import CameraSpec

SIZE = (192, 144)
"""(width, height) in pixels."""
COLOURS = ((40, 40, 200), (60, 180, 60), (200, 80, 40), (30, 190, 200))
"""Blue, green, red of the walkers' coats."""

PLAIN: dict[str, Any] = {"detect": DetectConfig("background"), "reid": ReidConfig("histogram")}
"""No network takes coloured blocks for people, and what they wear is all there is to tell."""


def walk_past(folder: Path, name: str, *, frames: int = 60, fps: int = 10, walkers: int = 2, late_s: float = 0.0,
              ending: str = "mp4") -> Path:
    """Film walkers who cross the picture one after another, from ``late_s`` on.

    The same walker wears the same colours in every clip.
    """
    import av

    path = folder / f"{name}.{ending}"
    backdrop = _backdrop()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"preset": "ultrafast", "crf": "16", "bf": "0"}
        for k in range(frames):
            image = backdrop.copy()
            for i in range(walkers):
                _draw_walker(image, i, k / fps - late_s - 1.2 * i)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = k, Fraction(1, fps)
            for packet in stream.encode(frame):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return path


def _backdrop() -> np.ndarray:
    rng = np.random.default_rng(5)
    coarse = rng.integers(90, 150, (9, 12, 3))
    return np.kron(coarse, np.ones((16, 16, 1))).astype(np.uint8)


def _draw_walker(image: np.ndarray, number: int, since_s: float) -> None:
    """Head, coat and legs, 64 pixels high, walking right at 40 pixels a second."""
    left = round(-20 + 40 * since_s)
    top = 40 + 14 * number
    parts = ((0, 10, 6, (120, 150, 190)), (10, 38, 0, COLOURS[number % 4]), (38, 64, 3, (50, 45, 40)))
    for y0, y1, inset, colour in parts:
        x0, x1 = max(left + inset, 0), min(left + 22 - inset, SIZE[0])
        if since_s > 0 and x0 < x1:
            image[top + y0 : top + y1, x0:x1] = colour


class PacedDetector(BackgroundDetector):
    """Background subtraction at the pace of a live camera; says in a file what it was given, and when.

    Args:
        pace_s: seconds between calls.
        log: a line "<monotonic clock> <time_s of the frames>" is added at each.
    """

    def __init__(
        self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str, *, pace_s: float, log: str
    ) -> None:
        super().__init__(config, cameras, device)
        self._pace_s, self._log, self._due_s = pace_s, log, 0.0

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        time.sleep(max(self._due_s - time.monotonic(), 0.0))
        self._due_s = time.monotonic() + self._pace_s
        with open(self._log, "a", encoding="ascii") as log:
            log.write(f"{time.monotonic()} {max(f.time_s for f in frames)}\n")
        return super().detect(frames)


def environment() -> dict[str, str]:
    """For a child that finds this very package, wherever it is installed, and nothing of the user's."""
    places = [Path(mctrack.__file__).resolve().parents[1], Path(__file__).resolve().parent]
    keep = {k: v for k, v in os.environ.items() if not k.startswith("MCTRACK")}
    return keep | {"PYTHONPATH": os.pathsep.join(map(str, places)), "HOME": "/nonexistent"}


def command(*arguments: str | Path) -> list[str]:
    """The command line of ``mctrack …``; told what fits these walkers, unless it says otherwise."""
    return [sys.executable, "-m", "mctrack", *_plainly([str(a) for a in arguments])]


def _plainly(words: list[str]) -> list[str]:
    if words[0] != "run" or {"--config", "--resume", "--help", "-h"} & set(words):
        return words
    detector = [] if {"--detector", "--weights"} & set(words) else ["--detector", "background"]
    reid = [] if "--reid" in words else ["--reid", "histogram"]
    return ["run", *detector, *reid, *words[1:]]


def mctrack_run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``mctrack run …`` in a process of its own."""
    options = {"timeout": 120, "env": environment(), **options}
    return subprocess.run(command("run", *arguments), capture_output=True, text=True, check=False, **options)


def typed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in this process: quicker, for what needs no process of its own."""
    return called("run", *arguments)


def called(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``mctrack …`` in this process."""
    from mctrack.cli import main

    words = _plainly([str(a) for a in arguments])
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


class _Camera(http.server.BaseHTTPRequestHandler):
    """Sends a recording at the pace it was made, then hangs up; below /private to those who give a password."""

    def do_GET(self) -> None:
        """Answer one viewer."""
        data, seconds, viewers = self.server.recording  # type: ignore[attr-defined]
        viewers.append(self.headers.get("Authorization", ""))
        if self.path.startswith("/private") and not viewers[-1]:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        began_s, pieces = time.monotonic(), [data[k : k + 188 * 7] for k in range(0, len(data), 188 * 7)]
        with contextlib.suppress(OSError):
            for k, piece in enumerate(pieces):
                time.sleep(max(began_s + k / len(pieces) * seconds - time.monotonic(), 0))
                self.wfile.write(piece)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def live_camera(recording: Path, seconds: float) -> Iterator[tuple[int, list[str]]]:
    """A network camera on this machine: its port, and the credentials of everyone who looked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    viewers: list[str] = []
    server.recording = (recording.read_bytes(), seconds, viewers)  # type: ignore[attr-defined]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, viewers
    finally:
        server.shutdown()
        server.server_close()


def results(out: Path) -> dict[str, bytes]:
    """The files that a resumed run must reproduce byte for byte."""
    paths = [*sorted((out / "tracks").glob("*.txt")), out / "tracks.csv", out / "identities.json"]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths}


def one_line(text: str) -> str:
    """The single line that a user's mistake leaves on stderr."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def video_times(path: Path) -> Sequence[float]:
    """Times of all frames of a video that decode, in seconds."""
    import av

    with av.open(str(path)) as container:
        return [float(f.time) for f in container.decode(video=0)]
