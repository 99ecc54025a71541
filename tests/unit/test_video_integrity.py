"""Damage that shows only in a file's structure, and readers that would otherwise never end."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from video_clips import write_clip

from mctrack.config import VideoConfig
from mctrack.video import decode
from mctrack.video.boxfile import BoxFile
from mctrack.video.decode import Decoder, StalledError
from mctrack.video.integrity import torn_end
from mctrack.video.reader import open_source
from mctrack.video.source import SourceReport
from mctrack.video.spec import CameraSpec

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
MOV = "mov,mp4,m4a,3gp,3g2,mj2"


def report(path: Path) -> SourceReport:
    source = open_source(CameraSpec("cam", str(path), "file"), VideoConfig())
    for _ in source:
        pass
    return source.report()


def test_whole_files(tmp_path: Path) -> None:
    assert torn_end(write_clip(tmp_path / "a.ts"), "mpegts") is None
    assert torn_end(write_clip(tmp_path / "a.mp4", mux=FRAGMENTED), MOV) is None
    assert torn_end(write_clip(tmp_path / "b.mp4"), MOV) is None
    assert torn_end(write_clip(tmp_path / "a.mkv"), "matroska,webm") is None
    assert torn_end(tmp_path / "gone.ts", "mpegts") is None


def test_a_cut_transport_stream(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.ts", 60)
    path.write_bytes(path.read_bytes()[:188 * 40 + 17])
    assert torn_end(path, "mpegts") == "its last packet is incomplete"
    found = report(path)
    assert not found.complete
    assert found.warnings[0].startswith(f"ended after {found.decoded} frames (its last packet is incomplete)")


def test_a_transport_stream_with_a_destroyed_end(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.ts", 60)
    data = bytearray(path.read_bytes())
    data[-188 * 10:] = bytes(188 * 10)
    path.write_bytes(data)
    assert "10 of its last" in str(torn_end(path, "mpegts"))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.33, 0.5, 0.6, 0.77, 0.9])
def test_a_cut_fragmented_mp4(share: float, tmp_path: Path) -> None:
    """Cut in one place of a fragment libav opens such a file, in another it refuses."""
    path = write_clip(tmp_path / "a.mp4", 60, mux=FRAGMENTED)
    data = path.read_bytes()
    second = data.index(b"moof", data.index(b"moof") + 4) - 4
    path.write_bytes(data[:second + round((len(data) - second) * share)])
    found = report(path)
    assert 10 <= found.decoded < 60
    assert not found.complete
    assert any("breaks off at byte" in w or "of the" in w for w in found.warnings)


class CutBoxFile(BoxFile):
    """Stops for good after so many bytes, as if killed."""

    def __init__(self, path: Path, left: int) -> None:
        super().__init__(path)
        self.left = left

    def _write_all(self, data: bytes) -> None:
        super()._write_all(data[:self.left])
        self.left -= len(data)
        if self.left < 0:
            raise KeyboardInterrupt


def test_a_file_killed_in_the_middle_of_a_write_opens(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "whole.mp4", 60, mux=FRAGMENTED).read_bytes()
    first = data.index(b"moof", data.index(b"moof") + 4) + 40
    decoded = set()
    for left in range(first, len(data) + 60, 53):
        file = CutBoxFile(tmp_path / "a.mp4", left)
        with contextlib.suppress(KeyboardInterrupt):
            for k in range(0, len(data), 100):
                file.write(data[k:k + 100])
                file.store()
        with av.open(str(tmp_path / "a.mp4")) as container:
            decoded.add(sum(1 for _ in container.decode(video=0)))
    assert decoded == {10, 20, 30, 40, 50, 60}


def test_a_fragmented_mp4_with_garbage_inside(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 60, mux=FRAGMENTED)
    data = bytearray(path.read_bytes())
    second = data.index(b"moof", data.index(b"moof") + 4)
    data[second:second + 4] = b"\0\1\2\3"
    path.write_bytes(data)
    found = report(path)
    assert found.decoded < 60
    assert not found.complete
    assert any(f"breaks off at byte {second - 4}" in w for w in found.warnings)


class Packets:
    """A container that yields packets for ever, and a decoder that makes nothing of them."""

    def __init__(self) -> None:
        self.codec_context = self

    def demux(self, stream: object) -> Iterator[SimpleNamespace]:
        for k in itertools.count():
            time.sleep(0.001)
            yield SimpleNamespace(size=10, pts=k, dts=k, is_discard=False, is_corrupt=False)

    def decode(self, packet: object) -> list[object]:
        return []


def test_a_source_that_never_gives_a_frame_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "STALL_S", 0.2)
    packets = Packets()
    with pytest.raises(StalledError):
        list(Decoder(packets, packets, lambda: False).frames())


class Broken(Packets):
    """A container whose every read fails."""

    def demux(self, stream: object) -> Iterator[SimpleNamespace]:
        raise OSError(5, "Input/output error")
        yield


def test_a_source_whose_every_read_fails_ends() -> None:
    broken = Broken()
    decoder = Decoder(broken, broken, lambda: False)
    assert list(decoder.frames()) == []
    assert decoder.failure == "input/output error"
    assert decoder.damaged > 1
    assert decoder.tries == decoder.damaged


class Interrupted(Packets):
    """Every third read fails; after nine packets they all do."""

    reads = 0

    def demux(self, stream: object) -> Iterator[SimpleNamespace]:
        while True:
            self.reads += 1
            if self.reads > 9 or self.reads % 3 == 0:
                raise OSError(5, "Input/output error")
            yield SimpleNamespace(size=10, pts=self.reads, dts=self.reads, is_discard=False, is_corrupt=False)


def test_reads_that_fail_at_the_end_are_told_from_damage_on_the_way() -> None:
    source = Interrupted()
    decoder = Decoder(source, source, lambda: False)
    assert list(decoder.frames()) == []
    assert decoder.damaged - decoder.tries == 2  # reads 3 and 6; the ninth begins the end
