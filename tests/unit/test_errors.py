"""What no message may show, and what a message must not lose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mctrack.errors import fall_silent, redact


@pytest.mark.parametrize(("text", "shown"), [
    ("rtsp://user:s3cr3t@host/x", "rtsp://***@host/x"),
    ("door:rtsp://user:s3cr3t@host/x", "door:rtsp://***@host/x"),
    ("door = rtsp://user:s3cr3t@host/x", "door = rtsp://***@host/x"),
    ("rtsp:/user:s3cr3t@127.0.0.1/x", "rtsp:/***@127.0.0.1/x"),
    ("rtsp:/s3cr3t@127.0.0.1/x", "rtsp:/***@127.0.0.1/x"),
    ("rtsp//user:s3cr3t@host/x", "rtsp//***@host/x"),
    ("rtsp/user:s3cr3t@host/x", "rtsp/***@host/x"),
    (r"rtsp:\\user:s3cr3t@host/x", r"rtsp:\\***@host/x"),
    (r"RTSP:\user:s3cr3t@host/x", r"RTSP:\***@host/x"),
    ("rtsp:user:s3cr3t@host/x", "rtsp:***@host/x"),
    ("rtps:/user:s3cr3t@host/x", "***@host/x"),
    ("user:s3cr3t@host/x", "***@host/x"),
    ("user:s3@cr/s3cr3t@host/x", "***@host/x"),
    ("7up:s3cr3t@host/x", "***@host/x"),
    ("door=user:s3cr3t@host/x", "door=***@host/x"),
    ("camera 'x' (user:s3cr3t@host): no", "camera 'x' (***@host): no"),
    ("error: '/data/rtsp:/user:s3cr3t@h/x' is not there", "error: '/data/rtsp:/***@h/x' is not there"),
    ("http://h/x?password=s3cr3t&channel=2", "http://h/x?password=***&channel=2"),
    ("http://h/x?password=s3)cr3t", "http://h/x?password=***"),
    ("http://h/x?password=***s3cr3t", "http://h/x?password=***"),
])  # fmt: skip
def test_passwords_are_hidden_however_the_url_is_typed(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize("text", [
    r"C:\clips\joe@work\a.mp4", "C:/clips/joe@work/a.mp4", r"door=C:\clips\a@b.mp4", "door=clips/cam1.mp4",
    "write to joe@example.org", "at 12:30:05 joe@example.org wrote", "clips/12:30@gate.mp4",
    "2024-05-01T12:30:05@gate.mp4", "camera 'a': joe@example.org", "a.yaml:3: joe@example.org",
    "/data/rtp/joe@home.mp4", "a@2x:1.png", "http://127.0.0.1:80/x", "key: value", "--set track.n_init=3",
    "camera 'x' (http://h/x?user=***&password=***): connection refused",
])  # fmt: skip
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_stream_without_a_reader_falls_silent() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w") as stream:
        os.close(ours)
        stream.write("nobody reads this")
        with pytest.raises(BrokenPipeError):
            stream.flush()
        fall_silent(stream)
        print("nor this", file=stream, flush=True)  # …and closing it is no error either
    fall_silent(None)


def test_a_closed_stream_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        pass
    fall_silent(stream)
