"""Videos that play in browsers, keep their times, and survive a kill."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from video_clips import picture, read_number

from mctrack.config import VideoConfig
from mctrack.errors import OutputError
from mctrack.video.reader import open_source
from mctrack.video.spec import CameraSpec
from mctrack.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parents[2]


def read(path: Path) -> tuple[list[int], np.ndarray]:
    source = open_source(CameraSpec("cam", str(path), "file"), VideoConfig())
    frames = list(source)
    assert source.report().warnings == ()
    return [read_number(f.image) for f in frames if f.image is not None], np.array([f.time_s for f in frames])


def boxes(data: bytes) -> list[str]:
    """Names of an mp4's outermost boxes."""
    names, at = [], 0
    while at + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[at:at + 8])
        names.append(name.decode())
        at += max(size, 8)
    return names


def test_numbers_and_times_come_back(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    for k in range(60):
        writer.write(picture(k), 100 + k / 25)
    writer.close()
    writer.close()
    numbers, times = read(tmp_path / "a.mp4")
    assert numbers == list(range(60))
    assert times == pytest.approx(np.arange(60) / 25, abs=1e-4)
    assert writer.warning is None
    assert writer.frames == 60


def test_format_for_browsers(tmp_path: Path) -> None:
    import av

    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    for k in range(60):
        writer.write(picture(k), k / 25)
    writer.close()
    names = boxes((tmp_path / "a.mp4").read_bytes())
    assert names[:2] == ["ftyp", "moov"]  # playable before it is complete
    assert names.count("moof") >= 4  # fragments of at most half a second
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        packets = [p for p in container.demux(stream) if p.size]
        keys = [float(p.pts * p.time_base) for p in packets if p.is_keyframe]
        assert np.diff(keys).max() <= 0.52
        assert all(p.pts == p.dts for p in packets)  # nothing reordered: no delay


def test_variable_and_slow_frame_rate(tmp_path: Path, rng: np.random.Generator) -> None:
    truth = np.cumsum(rng.uniform(0.02, 1.5, 30))
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    for k, time_s in enumerate(truth):
        writer.write(picture(k), float(time_s))
    writer.close()
    numbers, times = read(tmp_path / "a.mp4")
    assert numbers == list(range(30))
    assert times == pytest.approx(truth - truth[0], abs=1e-4)


def test_times_that_stand_still_or_run_back_still_increase(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    for k, time_s in enumerate([0, 0.04, 0.04, 0.03, 0.08]):
        writer.write(picture(k), time_s)
    writer.close()
    numbers, times = read(tmp_path / "a.mp4")
    assert numbers == list(range(5))
    assert np.all(np.diff(times) > 0)
    assert times[-1] == pytest.approx(0.08, abs=1e-3)


@pytest.mark.parametrize(("size", "even"), [((65, 49), (64, 48)), ((1, 1), (2, 2)), ((64, 1), (64, 2))])
def test_odd_sizes_become_even(size: tuple[int, int], even: tuple[int, int], tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", size, 25)
    for k in range(3):
        writer.write(np.full((size[1], size[0], 3), 99, np.uint8), k / 25)
    writer.close()
    assert open_source(CameraSpec("cam", str(tmp_path / "a.mp4"), "file"), VideoConfig()).size == even


def test_colours_come_back(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    colour = np.array([200, 90, 30])
    writer.write(np.full((48, 64, 3), colour, np.uint8), 0)
    writer.close()
    (frame,) = open_source(CameraSpec("cam", str(tmp_path / "a.mp4"), "file"), VideoConfig())
    assert frame.image is not None
    assert frame.image.mean(axis=(0, 1)) == pytest.approx(colour, abs=5)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    with pytest.raises(ValueError, match="expected"):
        writer.write(np.zeros((10, 10, 3), np.uint8), 0)
    writer.close()


def test_nothing_written_is_no_error(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "a.mp4", (64, 48), 25).close()
    assert (tmp_path / "a.mp4").exists()


def test_without_libx264_another_encoder_steps_in(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25, encoders=("no_such_encoder", "mpeg4"))
    for k in range(30):
        writer.write(picture(k), k / 25)
    writer.close()
    assert writer.warning is not None
    assert "mpeg4" in writer.warning
    assert boxes((tmp_path / "a.mp4").read_bytes()).count("moof") == 3
    assert read(tmp_path / "a.mp4")[0] == list(range(30))
    with pytest.raises(OutputError, match="no video encoder works"):
        VideoWriter(tmp_path / "b.mp4", (64, 48), 25, encoders=("no_such_encoder",))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a.mp4 cannot be written: No such file"):
        VideoWriter(tmp_path / "missing" / "a.mp4", (64, 48), 25)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("/dev/full")

    def fill() -> None:
        writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
        for k in range(500):
            writer.write(picture(k), k / 25)
        writer.close()

    with pytest.raises(OutputError, match=r"a.mp4 cannot be written: No space left on device; free some space"):
        fill()


KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
from video_clips import picture
from mctrack.video.writer import VideoWriter
writer = VideoWriter(sys.argv[1], (320, 240), 25)
for k in range(100_000):
    writer.write(picture(k % 65536, (320, 240)), k / 25)
    print(k, flush=True)
    if k == 180:
        sys.stdin.read()
"""


def test_a_killed_process_loses_less_than_two_seconds(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(ROOT / "tests"), str(ROOT)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    written = -1
    for line in process.stdout:
        written = int(line)
        if written == 180:
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    numbers, _ = read(path)
    assert numbers == list(range(len(numbers)))
    lost_s = (written + 1 - len(numbers)) / 25
    assert 0 <= lost_s <= 0.8
