"""Live cameras against small servers on this machine: loss, silence, reconnection, dropping, passwords."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from video_clips import read_number, write_clip

from mctrack.config import VideoConfig
from mctrack.errors import SourceError
from mctrack.types import Frame
from mctrack.video.cameras import parse_cameras
from mctrack.video.reader import open_source, open_sources
from mctrack.video.source import VideoSource
from mctrack.video.sync import instants


def open_url(url: str, **config: object) -> VideoSource:
    return open_source(parse_cameras([url])[0], VideoConfig(**{"timeout_s": 1.0, **config}))


def take(source: VideoSource, count: int) -> list[Frame]:
    frames = iter(source)
    return [frame for frame, _ in zip(frames, range(count), strict=False)]


def numbers(frames: list[Frame]) -> list[int]:
    return [read_number(f.image) for f in frames if f.image is not None]


@contextmanager
def tcp_server(serve: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """A server whose n-th connection is handled by ``serve(connection, n)``."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def accept() -> None:
        count = 0
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                serve(connection, count)
            count += 1

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        listener.close()


def stream_at_real_time(connection: socket.socket, data: bytes, seconds: float, share: float = 1.0) -> None:
    """Send the first ``share`` of a recording at the pace it was recorded."""
    packets = [data[k:k + 188] for k in range(0, len(data), 188)]
    began = time.monotonic()
    for k, packet in enumerate(packets[:round(len(packets) * share)]):
        time.sleep(max(began + k / len(packets) * seconds - time.monotonic(), 0))
        connection.sendall(packet)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three seconds of transport stream, 25 frames per second."""
    path = write_clip(tmp_path_factory.mktemp("live") / "a.ts", 75, gop=5, size=(128, 96))
    return path.read_bytes()


def test_frames_come_with_their_arrival_on_the_shared_clock(recording: bytes) -> None:
    with tcp_server(lambda c, n: stream_at_real_time(c, recording, 3.0)) as url:
        zero = time.monotonic()
        source = open_source(parse_cameras([url])[0], VideoConfig(timeout_s=1.0, queue=100), clock_zero=zero)
        frames = take(source, 40)
        now_s = time.monotonic() - zero
        source.close()
    assert source.live
    assert source.size == (128, 96)
    assert numbers(frames) == list(range(numbers(frames)[0], numbers(frames)[0] + 40))
    steps = np.diff([f.time_s for f in frames])
    assert np.all(steps > 0)
    assert 0 < frames[0].time_s < frames[-1].time_s < now_s
    assert np.median(steps[10:]) == pytest.approx(0.04, abs=0.004)


def test_a_lost_connection_is_taken_up_again(recording: bytes) -> None:
    with tcp_server(lambda c, n: stream_at_real_time(c, recording, 1.0, 0.5)) as url:
        source = open_url(url, queue=100)
        frames = take(source, 45)
        source.close()
    found = numbers(frames)
    assert [f.index for f in frames] == list(range(45))
    assert found[0] < 5
    assert min(np.diff(found)) < -10  # the recording began again
    assert np.all(np.diff([f.time_s for f in frames]) > 0)
    report = source.report()
    assert report.complete
    assert any(w.startswith("connection lost") and "connected again" in w for w in report.warnings)


def test_giving_up_after_the_allowed_attempts(recording: bytes) -> None:
    def once(connection: socket.socket, count: int) -> None:
        if count == 0:
            stream_at_real_time(connection, recording, 1.0, 0.5)

    with tcp_server(once) as url:
        source = open_url(url, reconnects=1, queue=100)
        frames = list(source)
    assert 20 < len(frames) < 60
    report = source.report()
    assert not report.complete
    assert any("given up" in w for w in report.warnings)
    source.close()


def test_a_camera_that_falls_silent_times_out(recording: bytes) -> None:
    def stall(connection: socket.socket, count: int) -> None:
        stream_at_real_time(connection, recording, 1.0, 0.4)
        time.sleep(3)

    with tcp_server(stall) as url:
        source = open_url(url, reconnects=0, timeout_s=0.5, queue=100)
        began = time.monotonic()
        frames = list(source)
        assert time.monotonic() - began < 2
    assert len(frames) > 10
    assert any("timed out" in w for w in source.report().warnings)


def test_closing_a_silent_camera_takes_less_than_a_second(recording: bytes) -> None:
    def stall(connection: socket.socket, count: int) -> None:
        stream_at_real_time(connection, recording, 1.0, 0.4)
        time.sleep(5)

    with tcp_server(stall) as url:
        source = open_url(url, timeout_s=5.0)
        take(source, 3)
        began = time.monotonic()
        source.close()
        source.close()
        assert time.monotonic() - began < 1
        assert list(source) == []


def test_the_oldest_frames_are_dropped_and_counted(recording: bytes) -> None:
    with tcp_server(lambda c, n: stream_at_real_time(c, recording, 2.0)) as url:
        source = open_url(url, queue=4)
        frames = iter(source)
        first = next(frames)
        time.sleep(0.8)
        later = next(frames)
        report = source.report()
        source.close()
    assert later.index - first.index > 15
    assert report.dropped >= later.index - first.index - 1
    assert report.decoded - later.index <= 6  # what is given is fresh


def test_max_frames_ends_a_live_camera(recording: bytes) -> None:
    with tcp_server(lambda c, n: stream_at_real_time(c, recording, 2.0)) as url:
        source = open_url(url, max_frames=5, queue=50)
        assert len(list(source)) == 5


def refusal(url: str, **config: object) -> tuple[str, float]:
    began = time.monotonic()
    with pytest.raises(SourceError) as error:
        open_url(url, **config)
    assert error.value.__cause__ is None
    assert "s3cr3t" not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value), time.monotonic() - began


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in ("rtsp", "http", "tcp"):
        message, took_s = refusal(f"{scheme}://user:s3cr3t@127.0.0.1:{port}/live")
        assert "cannot be opened" in message
        assert "***@127.0.0.1" in message
        assert took_s < 2


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_answers(scheme: str) -> None:
    with tcp_server(lambda c, n: time.sleep(4)) as url:
        message, took_s = refusal(url.replace("tcp://", f"{scheme}://user:s3cr3t@") + "/live")
        assert "timed out" in message or "no picture in time" in message
        assert took_s < 3


def test_an_address_that_sends_no_video() -> None:
    def babble(connection: socket.socket, count: int) -> None:
        connection.sendall(b"hello, this is no video " * 1000)

    with tcp_server(babble) as url:
        message, _ = refusal(url)
        assert "not a video" in message or "none of" in message or "holds no video" in message


class Files(http.server.BaseHTTPRequestHandler):
    """Serves one file; how much of it, and to whom, is set on the server."""

    def do_GET(self) -> None:
        if self.path.startswith("/private"):
            self.send_error(401)
            return
        data: bytes = self.server.data  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data[:self.server.limit])  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def http_server(data: bytes, limit: int) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.data, server.limit = data, limit  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://user:s3cr3t@127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_recording_behind_a_url_is_read_at_its_pace_and_ends(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4", 25, mux={"movflags": "faststart"}).read_bytes()
    with http_server(data, len(data)) as url:
        source = open_url(f"{url}/a.mp4", queue=8)
        began = time.monotonic()
        frames = list(source)
        took_s = time.monotonic() - began
    assert numbers(frames) == list(range(25))
    assert 0.7 < took_s < 2
    assert source.report().complete
    assert "s3cr3t" not in repr(source.report())


def test_a_recording_cut_off_by_the_server(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4", 50, mux={"movflags": "faststart"}).read_bytes()
    begin = data.index(b"mdat")
    with http_server(data, begin + (len(data) - begin) // 2) as url:
        source = open_url(f"{url}/a.mp4", queue=100, reconnects=3)
        frames = list(source)
    report = source.report()
    assert numbers(frames)[:-1] == list(range(len(frames) - 1))
    assert 10 < len(frames) < 45
    assert not report.complete
    assert any("connection lost" in w for w in report.warnings)
    assert "s3cr3t" not in repr(report)


def test_a_refused_password_is_not_repeated(tmp_path: Path) -> None:
    with http_server(b"", 0) as url:
        message, _ = refusal(f"{url}/private?token=s3cr3t")
    assert "***@127.0.0.1" in message


def serve_rtsp(connection: socket.socket, data: bytes, seconds: float) -> None:
    """The least an RTSP camera has to say, sending a transport stream as RTP inside the connection."""
    talk = connection.makefile("rwb")
    while True:
        request = []
        while (line := talk.readline().strip()):
            request.append(line.decode())
        if not request:
            return
        method = request[0].split()[0]
        number = next(r.split(":")[1].strip() for r in request if r.lower().startswith("cseq"))
        head, body = "", ""
        if method == "OPTIONS":
            head = "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n"
        elif method == "DESCRIBE":
            body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
            head = "Content-Type: application/sdp\r\n"
        elif method == "SETUP":
            assert "interleaved" in " ".join(request)  # TCP was asked for
            head = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        talk.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        talk.flush()
        if method == "PLAY":
            break
    began = time.monotonic()
    pieces = [data[k:k + 1316] for k in range(0, len(data), 1316)]
    for k, piece in enumerate(pieces):
        at_s = k / len(pieces) * seconds
        time.sleep(max(began + at_s - time.monotonic(), 0))
        packet = struct.pack(">BBHII", 0x80, 33, k & 0xFFFF, round(at_s * 90_000), 7) + piece
        connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def test_an_rtsp_camera(recording: bytes) -> None:
    with tcp_server(lambda c, n: serve_rtsp(c, recording, 3.0)) as url:
        source = open_url(url.replace("tcp://", "rtsp://user:s3cr3t@") + "/live", queue=100, reconnects=0)
        frames = take(source, 40)
        source.close()
    found = numbers(frames)
    assert len(found) == 40
    assert found == list(range(found[0], found[0] + len(found)))
    assert np.median(np.diff([f.time_s for f in frames])[10:]) == pytest.approx(0.04, abs=0.01)
    report = source.report()
    assert report.source.startswith("rtsp://***@127.0.0.1")
    assert "s3cr3t" not in repr(report)
    assert report.complete


def test_live_cameras_in_one_run(recording: bytes) -> None:
    serve = lambda c, n: stream_at_real_time(c, recording, 3.0)  # noqa: E731
    with tcp_server(serve) as first, tcp_server(serve) as second:
        config = VideoConfig(timeout_s=1.0, reconnects=0)
        sources = open_sources(parse_cameras([f"a={first}", f"b={second}"]), config)
        with closing(instants(sources, config)) as stream:
            found = [next(stream) for _ in range(30)]
            began = time.monotonic()
        assert time.monotonic() - began < 1
    assert all(b.time_s >= a.time_s for a, b in pairwise(found))
    # The first second arrives in a burst, when the streams have been looked into; then the cameras are in step.
    settled = [len(i.frames) for i in found if i.time_s > found[-1].time_s - 0.4]
    assert settled.count(2) >= 0.6 * len(settled)


def test_a_webcam_that_is_not_there() -> None:
    message, _ = refusal("97")
    assert "camera 'webcam97'" in message
