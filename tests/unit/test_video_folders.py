"""Image folders and MOTChallenge sequences."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from video_clips import picture, read_number

from mctrack.config import VideoConfig
from mctrack.errors import SourceError
from mctrack.types import Frame
from mctrack.video.cameras import parse_cameras
from mctrack.video.reader import SourceReport, open_source


def write_images(folder: Path, numbers: range, pattern: str = "{:06d}.png", size: tuple[int, int] = (64, 48)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in numbers:
        cv2.imwrite(str(folder / pattern.format(k)), picture(k, size))


def read(path: Path, images_from: int = 0, **config: object) -> tuple[list[Frame], SourceReport]:
    source = open_source(parse_cameras([str(path)])[0], VideoConfig(**config), images_from=images_from)
    frames = list(source)
    source.close()
    assert all(f.size == source.size for f in frames)
    return frames, source.report()


def numbers(frames: list[Frame]) -> list[int | None]:
    return [None if f.image is None else read_number(f.image) for f in frames]


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPG", "bmp", "tif", "webp"])
def test_images_in_natural_order_at_the_folder_rate(suffix: str, tmp_path: Path) -> None:
    write_images(tmp_path / "cam", range(12), "img{}." + suffix.lower())
    if suffix == "JPG":
        for path in list((tmp_path / "cam").iterdir()):
            path.rename(path.with_suffix(".JPG"))
    (tmp_path / "cam" / "notes.txt").write_text("no image")
    frames, report = read(tmp_path / "cam", folder_fps=10.0)
    assert numbers(frames) == list(range(12))
    assert [f.time_s for f in frames] == pytest.approx(np.arange(12) / 10)
    assert (report.expected, report.decoded, report.complete, report.warnings) == (12, 12, True, ())


def test_window_and_offset(tmp_path: Path) -> None:
    write_images(tmp_path / "cam", range(12))
    frames, report = read(tmp_path / "cam", start=3, max_frames=4, offset_s={"cam": 2.0}, images_from=5)
    assert [f.index for f in frames] == [3, 4, 5, 6]
    assert numbers(frames) == [None, None, 5, 6]
    assert frames[0].time_s == pytest.approx(2.0 + 3 / 25)
    assert (report.expected, report.complete) == (4, True)
    with pytest.raises(SourceError, match=r"has 12 images.*start=12"):
        read(tmp_path / "cam", start=12)


@pytest.mark.parametrize("images_from", [0, 9])
def test_a_broken_image_leaves_a_gap(images_from: int, tmp_path: Path) -> None:
    write_images(tmp_path / "cam", range(10))
    (tmp_path / "cam" / "000003.png").write_bytes(b"broken")
    (tmp_path / "cam" / "000007.png").write_bytes(b"")
    frames, report = read(tmp_path / "cam", images_from=images_from)
    assert [f.index for f in frames] == [0, 1, 2, 4, 5, 6, 8, 9]
    assert frames[3].time_s == pytest.approx(4 / 25)
    assert (report.expected, report.decoded, report.complete) == (10, 8, False)
    assert report.warnings == ("2 images (000003.png, 000007.png) cannot be read",)


def test_images_of_another_size_are_scaled(tmp_path: Path) -> None:
    write_images(tmp_path / "cam", range(5))
    write_images(tmp_path / "cam", range(5, 7), size=(128, 80))
    frames, report = read(tmp_path / "cam")
    assert numbers(frames) == list(range(7))
    assert report.warnings == ("2 images (000005.png, 000006.png) of another size scaled to 64x48",)


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "cam").mkdir()
    (tmp_path / "cam" / "a.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match="none of its 1 images can be read"):
        read(tmp_path / "cam")


def sequence(folder: Path, text: str = "", length: int = 600) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seqinfo.ini").write_text(text or "[Sequence]\nname=S\nimDir=img1\nframeRate=30\n"
                                        f"seqLength={length}\nimWidth=64\nimHeight=48\nimExt=.png\n")
    return folder


def test_a_sequence_has_timing_where_it_lacks_pictures(tmp_path: Path) -> None:
    write_images(sequence(tmp_path / "S") / "img1", range(1, 9))
    frames, report = read(tmp_path / "S")
    assert [f.index for f in frames] == list(range(600))
    assert numbers(frames) == [*range(1, 9), *[None] * 592]  # frame index = file number − 1
    assert [f.time_s for f in frames] == pytest.approx(np.arange(600) / 30)
    assert (report.expected, report.decoded, report.complete) == (600, 600, True)
    assert report.warnings == ("img1 holds 8 of 600 images",)
    _, report = read(tmp_path / "S", max_frames=8)
    assert report.warnings == ()


def test_a_sequence_without_any_picture(tmp_path: Path) -> None:
    frames, report = read(sequence(tmp_path / "S", length=5))
    assert numbers(frames) == [None] * 5
    assert frames[0].size == (64, 48)
    assert report.warnings == ("img1 holds 0 of 5 images",)


def test_a_sequence_through_its_image_folder(tmp_path: Path) -> None:
    write_images(sequence(tmp_path / "S", length=3) / "img1", range(1, 4))
    frames, report = read(tmp_path / "S" / "img1")
    assert report.camera == "S"
    assert numbers(frames) == [1, 2, 3]


def test_seqinfo_that_lacks_things(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "S", "[Sequence]\n")
    write_images(folder / "img1", range(1, 4))
    frames, _ = read(folder, folder_fps=5.0)
    assert numbers(frames) == [1, 2, 3]
    assert frames[2].time_s == pytest.approx(0.4)


@pytest.mark.parametrize("text", ["no ini", "[Other]\na=1\n", "[Sequence]\nframeRate=fast\nseqLength=3\n",
                                  "[Sequence]\nseqLength=-3\n", "[Sequence]\nseqLength=3\n"])
def test_seqinfo_that_cannot_be_used(text: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"camera 'S'.*seqinfo.ini"):
        read(sequence(tmp_path / "S", text))


def test_a_broken_picture_of_a_sequence_keeps_its_time(tmp_path: Path) -> None:
    write_images(sequence(tmp_path / "S", length=4) / "img1", range(1, 5))
    (tmp_path / "S" / "img1" / "000002.png").write_bytes(b"broken")
    frames, report = read(tmp_path / "S")
    assert numbers(frames) == [1, None, 3, 4]
    assert report.warnings == ("1 image (000002.png) cannot be read",)


@pytest.mark.data
def test_real_sequence(data_dir: Path) -> None:
    frames, report = read(data_dir / "mot17" / "MOT17-09-FRCNN", max_frames=20)
    assert len(frames) == 20
    assert frames[0].image is not None
    assert frames[0].image.shape == (1080, 1920, 3)
    assert "of 20 images" in report.warnings[0]
