"""run.json, fingerprints and progress."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import mctrack.sinks.progress as progress_module
import mctrack.sinks.summary as summary_module
from mctrack.errors import OutputError, SourceError
from mctrack.sinks.progress import ProgressSink
from mctrack.sinks.summary import hash_file, versions, write_run_json
from mctrack.types import Frame, Instant, InstantResult, Link, Tracks, TrackState


@dataclass
class Config:
    """Something nested."""

    url: str = "rtsp://user:secret@host/1"
    height: float = float("nan")


def test_run_json_takes_anything_and_tells_no_password(tmp_path: Path) -> None:
    info = {
        "config": Config(), "array": np.arange(3), "nan": [np.nan, np.float32(0.5), np.inf], "path": Path("a/b"),
        "flag": np.True_, "count": np.int64(3), "state": TrackState.LOST, "set": {1}, "pair": (1, None),
        "http://u:secret@h": "key", 5: "number", "text": "ä", "error": ValueError("rtsp://u:secret@h"),
    }  # fmt: skip
    path = tmp_path / "deep" / "run.json"
    write_run_json(path, info)
    text = path.read_text(encoding="utf-8")
    assert "secret" not in text
    assert json.loads(text) == {
        "config": {"url": "rtsp://***@host/1", "height": None}, "array": [0, 1, 2], "nan": [None, 0.5, None],
        "path": "a/b", "flag": True, "count": 3, "state": 2, "set": [1], "pair": [1, None],
        "http://***@h": "key", "5": "number", "text": "ä", "error": "rtsp://***@h",
    }  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]


def test_run_json_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"run\.json cannot be written"):
        write_run_json(tmp_path / "file" / "run.json", {})


def test_hash_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).bytes(5_000_000)
    (tmp_path / "a").write_bytes(data)
    assert hash_file(tmp_path / "a") == f"sha256:{hashlib.sha256(data).hexdigest()}"
    monkeypatch.setattr(summary_module, "WHOLE_UP_TO_BYTES", 4_000_000)
    ends = hashlib.sha256(b"5000000" + data[: 1 << 20] + data[-(1 << 20) :]).hexdigest()
    assert hash_file(tmp_path / "a") == f"sha256-ends:{ends}"
    with pytest.raises(SourceError, match=r"missing cannot be read: No such file"):
        hash_file(tmp_path / "missing")


def test_versions_imports_nothing() -> None:
    before = set(sys.modules)
    found = versions()
    assert found["numpy"] == np.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert not {"torch", "av", "cv2", "onnxruntime"} & (set(sys.modules) - before)


def instant(cameras: str, names: list[int], links: tuple[Link, ...] = ()) -> InstantResult:
    n = len(names)
    frames = tuple(Frame(c, 0, 0.0, None, (9, 9)) for c in cameras)
    tracks = Tracks(np.arange(n), np.zeros((n, 4)), np.ones(n), np.ones(n, int), np.zeros(n), np.arange(n))
    return InstantResult(Instant(0.0, frames), (tracks,) * len(frames), (np.array(names, int),) * len(frames), links)


class Clock:
    """Time that goes on by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress_module.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    """Something that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_in_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), io.StringIO()
    sink = ProgressSink({"a": 100, "live": None}, stream=stream)
    for i in range(60):
        sink.write(instant("a", [1, -1, i // 20]))
        clock.now += 0.1
    [line] = stream.getvalue().splitlines()
    assert line == "a 52/100 10.2 fps 0:04 left | live 0 0.0 fps | identities 3"
    sink.write(instant("a", [], (Link(0, "a", 1, 1, "merge", 2),)))
    sink.close()
    sink.close()
    assert stream.getvalue().splitlines()[1:] == ["a 61/100 10.2 fps | live 0 0.0 fps | identities 2"]


def test_progress_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), Terminal()
    sink = ProgressSink({"a": 100}, quiet=True, stream=stream)
    for _ in range(10):
        sink.write(instant("a", [1]))
        clock.now += 10
    sink.close()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("shown", [0, 1, 5])
def test_progress_goes_on_where_nobody_watches(monkeypatch: pytest.MonkeyPatch, kind: type[io.StringIO],
                                               shown: int) -> None:  # fmt: skip
    """The terminal, or whoever read the lines, goes after some of them."""
    clock, stream, written = Clock(monkeypatch), kind(), [0]

    def write(text: str) -> int:
        written[0] += 1
        if written[0] > shown:
            raise OSError(5, "Input/output error")
        return len(text)

    monkeypatch.setattr(stream, "write", write)
    sink = ProgressSink({"a": 100}, stream=stream)
    for _ in range(10):
        sink.write(instant("a", [1]))
        clock.now += 10
    failed = written[0]
    sink.close()
    sink.close()
    assert failed == written[0] > shown


def test_progress_on_a_terminal_is_rare_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(monkeypatch), Terminal()
    sink = ProgressSink({"[red]hall": 100, "yard": 50}, stream=stream)
    updates = 0
    for _ in range(200):
        before = len(stream.getvalue())
        sink.write(InstantResult(instant("", []).instant, (), (), (Link(0, "yard", 1, 5, "new"),)))
        updates += len(stream.getvalue()) > before
        clock.now += 0.01
    assert 4 <= updates <= 10  # 2 s at no more than 5 a second
    sink.close()
    assert "[red]hall" in stream.getvalue()
    assert "0/100" in stream.getvalue()
    last = stream.getvalue().rsplit("identities", 1)[1]
    assert "1" in last
