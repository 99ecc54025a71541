"""What may stand after --cams."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from mctrack.errors import SourceError
from mctrack.video.cameras import clean_name, natural_key, parse_cameras, shown_uri


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something")


def images(folder: Path, count: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        cv2.imwrite(str(folder / f"{k + 1:06d}.jpg"), np.zeros((8, 8, 3), np.uint8))
    return folder


def names(*specs: object) -> list[str]:
    return [camera.name for camera in parse_cameras([str(s) for s in specs])]


def refusal(*specs: object) -> str:
    with pytest.raises(SourceError) as error:
        parse_cameras([str(s) for s in specs])
    message = str(error.value)
    assert "\n" not in message
    return message


def test_kinds_of_sources(tmp_path: Path) -> None:
    touch(tmp_path / "front door.mp4")
    images(tmp_path / "pictures")
    images(tmp_path / "MOT-01" / "img1")
    (tmp_path / "MOT-01" / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\n")
    cameras = parse_cameras([str(tmp_path / "front door.mp4"), str(tmp_path / "pictures"), str(tmp_path / "MOT-01"),
                             "rtsp://user:pw@10.0.0.7:554/live/main.sdp", "0", "hall=http://host/x?a=b"])
    assert [(c.name, c.kind) for c in cameras] == [
        ("front_door", "file"), ("pictures", "folder"), ("MOT-01", "sequence"), ("10.0.0.7_554_live_main", "stream"),
        ("webcam0", "webcam"), ("hall", "stream")]
    assert cameras[3].uri == "rtsp://user:pw@10.0.0.7:554/live/main.sdp"


def test_the_image_folder_of_a_sequence_is_the_sequence(tmp_path: Path) -> None:
    images(tmp_path / "MOT-02" / "img1")
    (tmp_path / "MOT-02" / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\n")
    (camera,) = parse_cameras([str(tmp_path / "MOT-02" / "img1")])
    assert (camera.name, camera.kind, Path(camera.uri).name) == ("MOT-02", "sequence", "MOT-02")


def test_another_folder_beside_seqinfo_is_a_folder(tmp_path: Path) -> None:
    images(tmp_path / "MOT-02" / "extra")
    (tmp_path / "MOT-02" / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\n")
    assert parse_cameras([str(tmp_path / "MOT-02" / "extra")])[0].kind == "folder"


def test_globs_expand_in_natural_order(tmp_path: Path) -> None:
    touch(*(tmp_path / f"cam{k}.mp4" for k in (10, 2, 1)))
    assert names(tmp_path / "cam*.mp4") == ["cam1", "cam2", "cam10"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    touch(tmp_path / "cam[1].mp4")
    assert names(tmp_path / "cam[1].mp4") == ["cam_1"]


def test_name_before_equals_only_if_the_whole_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path("a.mp4"), Path("x=a.mp4"), Path("day=1/cam.mp4"))
    assert [(c.name, c.uri) for c in parse_cameras(["x=a.mp4"])] == [("x_a", "x=a.mp4")]
    assert [(c.name, c.uri) for c in parse_cameras(["y=a.mp4"])] == [("y", "a.mp4")]
    assert [c.uri for c in parse_cameras(["day=1/*.mp4"])] == ["day=1/cam.mp4"]
    assert [(c.name, c.uri) for c in parse_cameras(["z=day=1/cam.mp4"])] == [("z", "day=1/cam.mp4")]
    (camera,) = parse_cameras(["rtsp://host/a?b=c"])
    assert camera.uri == "rtsp://host/a?b=c"


def test_equal_stems_get_their_folder(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "cam.mp4", tmp_path / "b" / "cam.mp4", tmp_path / "other.mp4")
    assert names(tmp_path / "a" / "cam.mp4", tmp_path / "other.mp4", tmp_path / "b" / "cam.mp4") == [
        "a_cam", "other", "b_cam"]


def test_equal_stems_in_equal_folders_go_further_up(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "v" / "cam.mp4", tmp_path / "y" / "v" / "cam.mp4")
    assert names(tmp_path / "x" / "v" / "cam.mp4", tmp_path / "y" / "v" / "cam.mp4") == ["x_v_cam", "y_v_cam"]


def test_equal_stems_with_other_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "cam.mp4", tmp_path / "cam.avi")
    assert names(tmp_path / "cam.mp4", tmp_path / "cam.avi") == ["cam_mp4", "cam_avi"]


def test_an_automatic_name_gives_way_to_a_chosen_one(tmp_path: Path) -> None:
    touch(tmp_path / "v" / "hall.mp4", tmp_path / "v" / "b.mp4")
    assert names(f"hall={tmp_path / 'v' / 'b.mp4'}", tmp_path / "v" / "hall.mp4") == ["hall", "v_hall"]


def test_channels_of_one_recorder_differ() -> None:
    url = "rtsp://u:p@nvr/cam/realmonitor?channel={}&subtype=0"
    assert names(url.format(1), url.format(2)) == [
        "nvr_cam_realmonitor_channel1_subtype0", "nvr_cam_realmonitor_channel2_subtype0"]


@pytest.mark.parametrize(("url", "shown"), [
    ("rtsp://user:secret@host/a", "rtsp://***@host/a"),
    ("rtsp://user:se@cr/e?t@host/a", "rtsp://***@host/a"),
    ("http://host/video.cgi?user=admin&pwd=secret&channel=2", "http://host/video.cgi?user=***&pwd=***&channel=2"),
    ("http://host/v?secret", "http://host/v?***"),
    ("/data/a?b.mp4", "/data/a?b.mp4"),
])
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert shown_uri(url) == shown


@pytest.mark.parametrize("url", [
    "rtsp://user:s3cr3t@host/live", "http://host/video.mjpg?password=s3cr3t&token=s3cr3t", "rtsp://user:s3cr3t@/x",
    "rtps://user:s3cr3t@host/x", "rtsp://user:s3cr3t@host:99999999/x", "rtsp://user:s3cr3t pw@host/x"])
def test_passwords_are_in_no_name_and_no_message(url: str) -> None:
    error, text = None, ""
    try:
        text = parse_cameras([url])[0].name
    except SourceError as refused:
        error = refused
    assert "s3cr3t" not in f"{text} {error}"
    assert error is None or error.__cause__ is None


@pytest.mark.parametrize("text", [
    "door = rtsp://user:s3cr3t@host/x", "door= rtsp://user:s3cr3t@host/x", "door:rtsp://user:s3cr3t@host/x",
    "rtsp:/user:s3cr3t@host/x", "rtsp//user:s3cr3t@host/x", r"rtsp:\\user:s3cr3t@host/x", "user:s3cr3t@host/x",
    "door=user:s3cr3t@host/x", "rtsp:user:s3cr3t@host/x", "rtsp ://user:s3cr3t@host/x", "rtsp;//user:s3cr3t@host/x",
    "door = rtsp://user:my s3cr3t?@host/x", "door = rtsp://user:s3cr3t@host/x?token=my s3cr3t"])
def test_a_mistyped_url_is_told_as_one_without_its_password(text: str, tmp_path: Path) -> None:
    message = refusal(text)
    assert message == "'***@host/x' is no URL of a camera: write NAME=rtsp://host/path, without blanks"
    assert "is no URL of a camera" in refusal("door:rtsp://host/x")


def test_paths_that_hold_such_characters_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path("cam:1@gate.mp4"), Path("cam:2@gate.mp4"))
    assert [c.kind for c in parse_cameras(["cam:1@gate.mp4"])] == ["file"]
    assert len(parse_cameras(["cam:[12]@*.mp4"])) == 2
    assert "does not exist" in refusal("clips/12:30@gate.mp4")
    assert "does not exist" in refusal("clips/rtsp//a.mp4")


def test_two_chosen_names_must_differ(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert "named 'hall'" in refusal(f"hall={tmp_path / 'a.mp4'}", f"hall={tmp_path / 'b.mp4'}")
    # Equal without case: one file on some systems.
    assert "named 'hall'" in refusal(f"Hall={tmp_path / 'a.mp4'}", f"hall={tmp_path / 'b.mp4'}")


def test_one_source_twice_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    assert "given twice" in refusal(tmp_path / "a.mp4", f"b={tmp_path / 'a.mp4'}")
    assert "given twice" in refusal(tmp_path / "a.mp4", tmp_path / "link.mp4")
    assert "given twice" in refusal("0", "00")
    assert "given twice" in refusal("rtsp://u:pw@host/a", "x=rtsp://u:pw@host/a")
    assert "pw" not in refusal("rtsp://u:pw@host/a", "x=rtsp://u:pw@host/a")


def test_missing_file_suggests_a_near_name(tmp_path: Path) -> None:
    touch(tmp_path / "cam1.mp4")
    assert "did you mean 'cam1.mp4'?" in refusal(tmp_path / "cam1.mp")
    assert "there is no folder" in refusal(tmp_path / "nowhere" / "cam1.mp4")
    (tmp_path / "dead.mp4").symlink_to(tmp_path / "gone.mp4")
    assert "link to" in refusal(tmp_path / "dead.mp4")


def test_glob_without_match(tmp_path: Path) -> None:
    assert "no file matches" in refusal(tmp_path / "*.mp4")


def test_one_name_for_many_files(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert "2 videos with one name" in refusal(f"cam={tmp_path}/*.mp4")


def test_folders_that_are_no_camera(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty folder" in refusal(tmp_path / "empty")
    touch(tmp_path / "films" / "a.mp4")
    assert "without images" in refusal(tmp_path / "films")
    assert "*.mp4" in refusal(tmp_path / "films")


def test_files_that_are_no_camera(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    assert "0 bytes" in refusal(tmp_path / "zero.mp4")
    images(tmp_path / "p", 1)
    assert "single image" in refusal(tmp_path / "p" / "000001.jpg")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "named pipe" in refusal(tmp_path / "pipe.mp4")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s.sock"))
    assert "socket" in refusal(tmp_path / "s.sock")
    server.close()
    assert "device" in refusal("/dev/null")


def test_a_fifo_among_images_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "000001.png")
    assert "without images" in refusal(tmp_path)


def test_nothing_given() -> None:
    assert "no camera given" in refusal()
    assert "no source" in refusal("cam=")


@pytest.mark.parametrize("name", ["..", ".", ".hidden"])
def test_names_that_are_no_file_names(name: str, tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    assert "cannot be used as a file name" in refusal(f"{name}={tmp_path / 'a.mp4'}")


@pytest.mark.parametrize(("text", "name"), [
    ("a b/c", "a_b_c"), ("../../etc", "etc"), ("", "camera"), ("***", "camera"), ("CON", "_CON"), ("con.x", "_con.x"),
    ("Straße", "Straße"), ("x" * 200, "x" * 80)])
def test_clean_name(text: str, name: str) -> None:
    assert clean_name(text) == name


def test_natural_order() -> None:
    assert sorted(["b10", "b9", "a", "10", "9", "b"], key=natural_key) == ["9", "10", "a", "b", "b9", "b10"]
