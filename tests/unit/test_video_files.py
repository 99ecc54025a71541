"""Video files: each frame once, with its time, and what is said about those that lack something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_clips import SIZE, picture, read_number, rotate_mp4, write_clip

from mctrack.config import VideoConfig
from mctrack.errors import ConfigError, SourceError
from mctrack.types import Frame
from mctrack.video.reader import SourceReport, check_offsets, open_source, open_sources
from mctrack.video.spec import CameraSpec


def read(path: Path, images_from: int = 0, **config: object) -> tuple[list[Frame], SourceReport]:
    source = open_source(CameraSpec("cam", str(path), "file"), VideoConfig(**config), images_from=images_from)
    frames = list(source)
    assert all(f.camera == "cam" and f.size == source.size for f in frames)
    assert np.all(np.diff([f.time_s for f in frames]) > 0)
    assert np.all(np.diff([f.index for f in frames]) > 0)
    source.close()
    return frames, source.report()


def numbers(frames: list[Frame]) -> list[int]:
    return [read_number(f.image) for f in frames if f.image is not None]


def times(frames: list[Frame]) -> np.ndarray:
    return np.array([f.time_s for f in frames])


CONTAINERS = {
    "mp4": {}, "mov": {}, "mkv": {}, "ts": {}, "flv": {}, "avi": {"codec": "mpeg4"}, "h264.avi": {},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "frag.mp4": {"mux": {"movflags": "frag_keyframe+empty_moov"}},
    "fast.mp4": {"mux": {"movflags": "faststart"}}, "bframes.mp4": {"codec_options": {"preset": "medium", "bf": "3"}},
    "bframes.avi": {"codec_options": {"preset": "medium", "bf": "3"}}, "bframes.ts": {"codec_options": {"bf": "2"}},
    "yuv444.mkv": {"pix_fmt": "yuv444p"}, "grey.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
    "ten_bit.mkv": {"codec": "ffv1", "pix_fmt": "yuv420p10le"}, "rgb.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_frame_once_with_its_time(kind: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"a.{kind}", 50, **CONTAINERS[kind])
    frames, report = read(path)
    assert numbers(frames) == list(range(50))
    assert [f.index for f in frames] == list(range(50))
    assert times(frames) == pytest.approx(np.arange(50) / 25, abs=1.1e-3)
    assert report == SourceReport("cam", str(path), 50, 50, 0, True, ())


def test_pictures_are_bgr(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "red.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (0, 0, 255), np.uint8), format="bgr24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    frames, _ = read(tmp_path / "red.mp4")
    assert frames[0].image is not None
    assert frames[0].image.mean(axis=(0, 1)) == pytest.approx([0, 0, 255], abs=6)


@pytest.mark.parametrize(("kind", "step_s"), [("mp4", 1e-4), ("mkv", 1.1e-3), ("ts", 1e-4)])
def test_variable_frame_rate(kind: str, step_s: float, tmp_path: Path, rng: np.random.Generator) -> None:
    truth = np.cumsum(rng.uniform(0.01, 0.3, 40))
    frames, report = read(write_clip(tmp_path / f"a.{kind}", times_s=list(truth)))
    assert numbers(frames) == list(range(40))
    assert times(frames) == pytest.approx(truth - truth[0], abs=step_s)
    assert report.warnings == ()


def test_an_absurd_rate_in_the_header_gives_way_to_what_is_seen(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", fps=1000, times_s=[k / 20 for k in range(40)])
    source = open_source(CameraSpec("cam", str(path), "file"), VideoConfig())
    assert source.fps == pytest.approx(20, rel=0.05)
    assert len(list(source)) == 40
    assert source.report().complete


def test_gaps_at_a_constant_rate_are_told(tmp_path: Path) -> None:
    present = [*range(20), *range(45, 60)]
    frames, report = read(write_clip(tmp_path / "a.mkv", len(present), times_s=[k / 25 for k in present]))
    assert times(frames) == pytest.approx(np.array(present) / 25, abs=1.1e-3)
    assert not report.complete
    assert report.warnings == ("35 of about 60 frames read: some are missing in between",)


@pytest.mark.parametrize(("kind", "start_s"), [("mkv", -0.4), ("ts", -0.4), ("avi", -0.4), ("mkv", 7.0), ("ts", 7.0),
                                               ("nut", 7.0), ("mp4", 7.0)])
def test_the_first_frame_is_at_zero(kind: str, start_s: float, tmp_path: Path) -> None:
    mux = {} if kind == "nut" else {"avoid_negative_ts": "disabled"}
    frames, report = read(write_clip(tmp_path / f"a.{kind}", start_s=start_s, mux=mux, codec="mpeg4"))
    assert numbers(frames) == list(range(40))
    assert times(frames) == pytest.approx(np.arange(40) / 25, abs=1.1e-3)
    assert report.complete


def test_an_edit_list_hides_frames_as_in_any_player(tmp_path: Path) -> None:
    frames, report = read(write_clip(tmp_path / "a.mp4", start_s=-0.4))  # libav cuts what lies before zero
    assert numbers(frames) == list(range(10, 40))
    assert report.complete
    assert report.expected == 30
    assert report.warnings == ("the file's edit list hides 10 of its 40 frames, as in any player",)


def test_no_timestamps(tmp_path: Path) -> None:
    frames, report = read(write_clip(tmp_path / "a.h264", container="h264"))
    assert numbers(frames) == list(range(40))
    assert times(frames) == pytest.approx(np.arange(40) / 25)
    assert report.warnings == ("the file has no timestamps: its times follow from 25 frames per second",)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_flag(degrees: int, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", first=700)
    rotate_mp4(path, degrees)
    frames, _ = read(path)
    assert frames[0].size == (SIZE if degrees % 180 == 0 else SIZE[::-1])
    upright = np.rot90(picture(700), -degrees // 90)  # clockwise
    assert frames[0].image is not None
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 8


def test_size_changes_and_restarting_timestamps(tmp_path: Path) -> None:
    parts = [write_clip(tmp_path / f"{k}.ts", 20, size=size, first=20 * k)
             for k, size in enumerate([(64, 48), (128, 80), (64, 48)])]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(p.read_bytes() for p in parts))
    frames, report = read(joined)
    assert numbers(frames) == list(range(60))
    assert {f.size for f in frames} == {(64, 48)}
    assert times(frames) == pytest.approx(np.arange(60) / 25, abs=1e-3)
    assert report.complete
    assert "2 restarts" in report.warnings[0]
    assert "frame 20 from 64x48 to 128x80: 20 frames scaled" in report.warnings[1]


def test_start_keeps_indices_and_times(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    frames, report = read(path, start=10, max_frames=5)
    assert numbers(frames) == [f.index for f in frames] == [10, 11, 12, 13, 14]
    assert times(frames) == pytest.approx(np.arange(10, 15) / 25)
    assert (report.expected, report.decoded, report.complete) == (5, 5, True)


def test_start_beyond_the_end(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.ts", "a.h264"):
        path = write_clip(tmp_path / name, container="h264" if name == "a.h264" else None)
        with pytest.raises(SourceError, match=r"camera 'cam'.*has 40 frames.*start=40"):
            read(path, start=40)


def test_max_frames_is_complete_when_the_consumer_stops_there(tmp_path: Path) -> None:
    source = open_source(CameraSpec("cam", str(write_clip(tmp_path / "a.mp4")), "file"), VideoConfig(max_frames=3))
    frames = iter(source)
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    assert source.report().complete
    source.close()


def test_frames_before_images_from_have_time_but_no_picture(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    whole, _ = read(path)
    frames, report = read(path, images_from=30)
    assert times(frames) == pytest.approx(times(whole), abs=0)
    assert [f.image is None for f in frames] == [True] * 30 + [False] * 10
    assert numbers(frames) == list(range(30, 40))
    assert report.decoded == 40


def test_offset_moves_the_clock(tmp_path: Path) -> None:
    frames, _ = read(write_clip(tmp_path / "a.mp4"), offset_s={"cam": 1.3, "other": 5.0})
    assert frames[0].time_s == pytest.approx(1.3)


def test_offsets_must_name_a_camera() -> None:
    specs = [CameraSpec("hall", "a", "file"), CameraSpec("door", "b", "file")]
    check_offsets(VideoConfig(offset_s={"hall": 1.0}), specs)
    with pytest.raises(ConfigError, match=r"'hal'.*did you mean 'hall'"):
        check_offsets(VideoConfig(offset_s={"hal": 1.0}), specs)
    with pytest.raises(ConfigError, match=r"video\.offset_s\.hall is nan; expected a number from"):
        check_offsets(VideoConfig(offset_s={"hall": float("nan")}), specs)


@pytest.mark.parametrize(("key", "value"), [("start", -1), ("max_frames", 0), ("queue", 0), ("timeout_s", 0.0),
                                            ("folder_fps", 0.0), ("match_tolerance_s", -1.0), ("reconnects", -2)])
def test_configuration_is_checked(key: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"video.{key}"):
        read(write_clip(tmp_path / "a.mp4", 3), **{key: value})


def cut_media(path: Path, share: float, start: bytes) -> None:
    """Keep so much of what follows a marker."""
    data = path.read_bytes()
    begin = data.index(start)
    path.write_bytes(data[:begin + round((len(data) - begin) * share)])


MEDIA = {"fast.mp4": b"mdat", "avi": b"movi", "mkv": b"\x1f\x43\xb6\x75"}
"""Where a container's frames begin."""


@pytest.mark.parametrize("kind", MEDIA)
def test_a_cut_file_says_how_much_is_missing(kind: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"a.{kind}", 100, **CONTAINERS[kind])
    cut_media(path, 0.5, MEDIA[kind])
    frames, report = read(path)
    assert numbers(frames)[:-1] == list(range(len(frames) - 1))  # the last one may be half a frame
    assert 20 < len(frames) < 80
    assert not report.complete
    assert (report.expected, report.decoded) == (100, len(frames))
    assert any(f"ended after {len(frames)} of the 100 frames" in w for w in report.warnings)


def test_a_cut_file_judged_within_max_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", 100, codec="mpeg4")
    cut_media(path, 0.5, b"movi")
    assert read(path, max_frames=10)[1].complete
    _, report = read(path, start=10, max_frames=80)
    assert (report.expected, report.complete) == (80, False)


def test_frames_that_a_recorder_dropped_are_no_damage(tmp_path: Path) -> None:
    steps = [0, 1, 2, 5, 6, 10, *range(11, 40)]
    path = write_clip(tmp_path / "a.avi", len(steps), times_s=[k / 25 for k in steps], codec="mpeg4")
    frames, report = read(path)
    assert numbers(frames) == list(range(len(steps)))
    assert times(frames) == pytest.approx(np.array(steps) / 25, abs=1e-3)
    assert (report.complete, report.expected, report.warnings) == (True, len(steps), ())


def test_damaged_packets_are_skipped_and_counted(tmp_path: Path) -> None:
    import av

    path = write_clip(tmp_path / "a.mkv", 60, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    for packet in packets[20:25]:
        at = data.index(packet)
        data[at:at + len(packet)] = bytes(len(packet))
    path.write_bytes(data)
    frames, report = read(path)
    assert numbers(frames) == [*range(20), *range(25, 60)]
    assert [f.index for f in frames] == list(range(55))
    assert times(frames)[20] == pytest.approx(1.0)  # true times: the gap stays a gap
    assert report.warnings[0] == "55 of about 60 frames read: some are missing in between"
    assert report.warnings[1] == "5 damaged packets skipped"
    assert not report.complete


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as error:
        open_source(CameraSpec("cam", str(path), "file"), VideoConfig())
    assert error.value.__cause__ is None
    assert "\n" not in str(error.value)
    assert "camera 'cam'" in str(error.value)
    return str(error.value)


def test_what_is_no_video(tmp_path: Path, rng: np.random.Generator) -> None:
    garbage = tmp_path / "a.mp4"
    garbage.write_bytes(rng.bytes(5000))
    assert "not a video" in refusal(garbage)
    text = tmp_path / "gt.txt"
    text.write_text("1,1,100,200,30,60,1,-1,-1,-1\n" * 50)
    assert "not a video" in refusal(text)
    cut = write_clip(tmp_path / "cut.mp4", 50)
    cut.write_bytes(cut.read_bytes()[:cut.read_bytes().index(b"moov") - 100])
    assert "cut off before its index" in refusal(cut)
    assert "no such file" in refusal(tmp_path / "gone.mp4")


def test_a_single_picture_is_no_video(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), picture(1))
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    assert "single picture" in refusal(tmp_path / "a.mp4")


def write_sound(path: Path, cover: bool = False) -> Path:
    import av

    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=8000)
        sound.layout = "mono"
        if cover:
            video = output.add_stream("mjpeg", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
            video.disposition = av.stream.Disposition.attached_pic.value
            for packet in video.encode(av.VideoFrame.from_ndarray(picture(3), format="bgr24")):
                output.mux(packet)
        for k in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, 1024 * k
            for packet in sound.encode(frame):
                output.mux(packet)
        for packet in sound.encode(None):
            output.mux(packet)
    return path


def test_sound_is_no_video(tmp_path: Path) -> None:
    assert "holds no video, only audio" in refusal(write_sound(tmp_path / "a.mp4"))


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    assert "only a cover picture, audio" in refusal(write_sound(tmp_path / "a.mp4", cover=True))


def test_a_header_without_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", 20, codec="mpeg4")
    data = path.read_bytes()
    path.write_bytes(data[:data.index(b"movi") + 4])
    assert "camera 'cam'" in refusal(path)


def test_a_colon_in_the_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.mp4").rename(tmp_path / "x:y.mp4")
    assert len(read(Path("x:y.mp4"))[0]) == 40


def test_closing_ends_an_iteration_and_is_safe_twice(tmp_path: Path) -> None:
    source = open_source(CameraSpec("cam", str(write_clip(tmp_path / "a.mp4")), "file"), VideoConfig())
    frames = iter(source)
    next(frames)
    source.close()
    assert len(list(frames)) < 39
    source.close()
    assert not source.report().complete
    unread = open_source(CameraSpec("cam", str(tmp_path / "a.mp4"), "file"), VideoConfig())
    unread.close()
    unread.close()


def test_opening_all_closes_those_that_opened(tmp_path: Path) -> None:
    good = CameraSpec("good", str(write_clip(tmp_path / "a.mp4")), "file")
    (tmp_path / "b.mp4").write_bytes(b"no video" * 99)
    with pytest.raises(SourceError, match="camera 'bad'"):
        open_sources([good, CameraSpec("bad", str(tmp_path / "b.mp4"), "file")], VideoConfig())
    sources = open_sources([good], VideoConfig(), images_from={"good": 39})
    assert numbers(list(sources[0])) == [39]


@pytest.mark.data
def test_real_clips(data_dir: Path) -> None:
    frames, report = read(data_dir / "pets09_s2l1" / "vtest.avi", images_from=790)
    assert (len(frames), frames[0].size, report.complete, report.warnings) == (795, (480, 360), True, ())
    assert times(frames) == pytest.approx(np.arange(795) / 10)
    frames, report = read(data_dir / "clips" / "one_by_one.mp4", images_from=1390)
    assert (len(frames), report.complete, report.warnings) == (1394, True, ())
