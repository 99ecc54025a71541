"""When things go wrong: one clear line, exit code 2, the rest goes on where that makes sense."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from run_scene import (
    PLAIN,
    called,
    command,
    environment,
    mctrack_run,
    one_line,
    results,
    typed,
    video_times,
    walk_past,
)

from mctrack.config import OutputConfig, RunConfig
from mctrack.errors import MctrackError
from mctrack.run import run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound recording of three seconds."""
    return walk_past(tmp_path_factory.mktemp("clip"), "good", frames=30)


def _missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def _empty(folder: Path) -> Path:
    (folder / "bad.mp4").touch()
    return folder / "bad.mp4"


def _text(folder: Path) -> Path:
    (folder / "bad.mp4").write_text("This is not the video you are looking for.\n" * 200)
    return folder / "bad.mp4"


def _noise(folder: Path) -> Path:
    (folder / "bad.avi").write_bytes(bytes(range(256)) * 400)
    return folder / "bad.avi"


def _headless(folder: Path) -> Path:
    """An mp4 whose index was to come at the end."""
    path = walk_past(folder, "bad", frames=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _no_images(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad" / "notes.txt").write_text("hello")
    return folder / "bad"


def _broken_images(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return folder / "bad"


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "bad.mp4")
    return folder / "bad.mp4"


def _link(folder: Path) -> Path:
    (folder / "bad.mp4").symlink_to(folder / "gone.mp4")
    return folder / "bad.mp4"


def _picture(folder: Path) -> Path:
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder / "bad.png"


BAD = {
    "missing": (_missing, "does not exist"), "empty": (_empty, "is empty"), "text": (_text, "not a video"),
    "noise": (_noise, ""), "headless": (_headless, "cut off before its index"),
    "no images": (_no_images, "without images"), "broken images": (_broken_images, "can be read"),
    "fifo": (_fifo, "a named pipe"), "broken link": (_link, "which does not exist"),
    "picture": (_picture, "a single image"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_camera_that_cannot_be_read(kind: str, tmp_path: Path) -> None:
    make, said = BAD[kind]
    path, out = make(tmp_path), tmp_path / "out"
    done = typed("--cams", path, "--out", out, "--quiet")
    assert done.returncode == 2
    line = one_line(done.stderr)
    assert line.startswith("error: ")
    assert path.name in line
    assert said in line
    assert not out.exists()


def test_one_bad_camera_among_several(clip: Path, tmp_path: Path) -> None:
    bad, out = _headless(tmp_path), tmp_path / "out"
    done = typed("--cams", clip, f"broken={bad}", "--out", out)
    assert done.returncode == 2
    assert "error: camera 'broken' could not be read and is missing in the results" in done.stderr
    assert done.stderr.count("cut off before its index") == 1
    assert "done: " in done.stdout
    found = json.loads((out / "run.json").read_text())
    assert found["status"] == "complete"
    assert list(found["failed"]) == ["broken"]
    assert [c["camera"] for c in found["cameras"]] == ["good"]
    assert sorted(p.name for p in (out / "tracks").iterdir()) == ["good.txt"]
    alone = tmp_path / "alone"
    run(RunConfig(cams=[str(clip)], **PLAIN, output=OutputConfig(dir=str(alone), video=False)))
    assert results(alone) == results(out)


def test_a_camera_that_turns_out_to_have_no_frame(clip: Path, tmp_path: Path) -> None:
    """An mkv does not count its frames: only reading it shows that the start is beyond its end."""
    short, out = walk_past(tmp_path, "short", frames=8, ending="mkv"), tmp_path / "out"
    done = typed("--cams", clip, short, "--start", "10", "--out", out)
    assert done.returncode == 2
    assert done.stderr.count("it has 8 frames, so start=10 is beyond its end") == 1
    assert "error: camera 'short' could not be read" in done.stderr
    found = json.loads((out / "run.json").read_text())
    assert (found["status"], list(found["failed"]), found["counts"]["frames"]) == ("complete", ["short"], 20)
    alone = typed("--cams", short, "--start", "10", "--out", tmp_path / "alone", "--quiet")
    assert alone.returncode == 2
    assert "beyond its end" in one_line(alone.stderr)


def test_every_camera_is_bad(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    done = typed("--cams", _headless(tmp_path), _text(tmp_path / "x"), "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 2
    assert "no camera can be read" in one_line(done.stderr)
    assert not (tmp_path / "out").exists()


def test_a_cut_off_recording_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path, out = walk_past(tmp_path, "cut", frames=60, ending="mkv"), tmp_path / "out"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    done = typed("--cams", path, "--out", out)
    assert done.returncode == 2
    assert "error: camera 'cut' was not read to its end" in done.stderr
    found = json.loads((out / "run.json").read_text())
    assert found["incomplete"] == ["cut"]
    (camera,) = found["cameras"]
    assert camera["expected"] == 60
    assert 15 < camera["decoded"] < 50
    assert f"warning: cut: ended after {camera['decoded']} of the 60 frames" in done.stderr
    assert found["counts"]["frames"] == camera["decoded"]
    assert len(video_times(out / "video" / "cut.mp4")) == camera["decoded"]
    with closing(sqlite3.connect(out / "run.db")) as db:
        assert any("ended after" in m for (m,) in db.execute("SELECT message FROM warnings"))
    quiet = typed("--cams", path, "--out", tmp_path / "quiet", "--quiet")
    assert (quiet.returncode, quiet.stdout) == (2, "")
    assert f"ended after {camera['decoded']} of the 60" in one_line(quiet.stderr)


def test_two_cameras_with_one_name_or_one_source(clip: Path, tmp_path: Path) -> None:
    other = shutil.copy(clip, tmp_path / "other.mp4")
    for cams, said in (
        ([f"a={clip}", f"a={other}"], "2 cameras are named 'a'"), ([f"a={clip}", f"A={other}"], "are named"),
        ([clip, clip], "given twice"), ([f"a={clip}", clip.parent / "*.mp4"], "given twice"),
    ):
        done = typed("--cams", *cams, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert said in one_line(done.stderr)
    assert not (tmp_path / "out").exists()


def _onnx_text(folder: Path) -> Path:
    (folder / "w.onnx").write_text("no network")
    return folder / "w.onnx"


@pytest.mark.parametrize(("words", "said"), [
    (["--weights", "w.onnx"], "w.onnx"), (["--detector", "onnx"], "needs its weights"),
    (["--detector", "onnx", "--weights", "gone.onnx"], "gone.onnx"), (["--weights", "w.dat"], "cannot tell which"),
    (["--detector", "yool"], "did you mean 'yolo'?"), (["--detector", "file"], "no detections found"),
    (["--detector", "no.such:Thing"], "cannot be loaded"), (["--reid", "histogrm"], "did you mean 'histogram'?"),
    (["--reid", "w.onnx"], "w.onnx"), (["--reid", "gone.onnx"], "gone.onnx"),
    (["--set", "associate.name=x"], "unknown associator 'x'"),
    (["--set", "track.motion=x"], "unknown motion model 'x'"),
    (["--set", "video.offset_s={yard: 1}"], "no camera is named 'yard'"), (["--start", "99"], "beyond its end"),
    (["--set", "detect.options.foo=1"], "no option 'foo'"), (["--config", "bad.yaml"], "bad.yaml line 3"),
    (["--calib", "c.json"], "c.json cannot be read"), (["--set", "video.queue=0"], "video.queue is 0"),
])  # fmt: skip
def test_what_cannot_be_used(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str],
                             said: str) -> None:
    monkeypatch.chdir(tmp_path)
    _onnx_text(tmp_path)
    Path("w.dat").write_text("x")
    Path("bad.yaml").write_text("track:\n  n_init: [1\n")
    done = typed("--cams", clip, "--out", "out", "--quiet", *words)
    assert done.returncode == 2
    assert said in one_line(done.stderr)
    assert not Path("out").exists()


def test_output_folders_that_cannot_be_used(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    places = [tmp_path / "file", tmp_path / "file" / "below"]
    if not os.access(locked, os.W_OK):  # root may write everywhere
        places += [locked, locked / "below"]
    for place in places:
        done = typed("--cams", clip, "--out", place)
        assert done.returncode == 2
        assert str(place) in one_line(done.stderr)


def test_a_device_that_nothing_can_use(clip: Path, tmp_path: Path) -> None:
    done = typed("--cams", clip, "--out", tmp_path / "out", "--device", "cuda", "--max-frames", "1", "--no-video")
    assert done.returncode == 0
    assert "warning: --device cuda: neither this detector nor this embedder can use it" in done.stderr


def test_nobody_listens(clip: Path, tmp_path: Path) -> None:
    """Started with stdout and stderr closed, as some services do; and with a stdout that is full."""
    words = command("run", "--cams", clip, "--max-frames", "3", "--out")
    for ending, code in (("1>&- 2>&-", 0), ("0<&- 1>&- 2>&-", 0), ("1>/dev/full", 2)):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        done = subprocess.run(["sh", "-c", f'"$@" {ending}', "sh", *words, str(out)], env=environment(),
                              capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        assert json.loads((out / "run.json").read_text())["status"] == "complete"
        with closing(sqlite3.connect(out / "run.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_folder_that_holds_a_run_is_kept(clip: Path, tmp_path: Path) -> None:
    run(RunConfig(cams=[str(clip)], **PLAIN, output=OutputConfig(dir=str(tmp_path / "out"), video=False)))
    before = results(tmp_path / "out")
    done = typed("--cams", clip, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "already holds a run" in one_line(done.stderr)
    assert results(tmp_path / "out") == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_inputs_are_never_written_over(clip: Path, tmp_path: Path) -> None:
    """Whatever a run reads: recordings, also by other names and links, weights and calibration."""
    site = tmp_path / "site"
    (site / "video").mkdir(parents=True)
    film = shutil.copy(clip, site / "video" / "cam1.mp4")
    (tmp_path / "there.mp4").symlink_to(film)
    (tmp_path / "same.mp4").hardlink_to(film)
    (tmp_path / "way").symlink_to(site)
    shutil.copy(clip, tmp_path / "yard.mp4")
    (site / "tracks").mkdir()
    (site / "tracks" / "yard.txt").write_text("1,-1,10,10,20,40,0.9,-1,-1,-1\n")
    shutil.copy(Path(__file__).parents[2] / "videos" / "calibration.json", site / "config.yaml")
    before, yard = contents(tmp_path), tmp_path / "yard.mp4"
    for words, said in (
        ([film, "--out", site], "site/video/cam1.mp4 is the recording of camera 'cam1': give another --out"),
        ([f"cam1={tmp_path / 'there.mp4'}", "--out", site], "video/cam1.mp4 is the recording"),
        ([f"cam1={tmp_path / 'same.mp4'}", "--out", site], "video/cam1.mp4 is the recording"),
        ([yard, f"cam1={film}", "--out", tmp_path / "way"], "video/cam1.mp4 is the recording of camera 'cam1'"),
        ([yard, "--detector", "file", "--weights", site / "tracks", "--out", site],
         "site/tracks/yard.txt is read by this run (--weights "),
    ):
        done = typed("--cams", *words)
        assert done.returncode == 2
        assert said in one_line(done.stderr)
    assert contents(tmp_path) == before


def test_pictures_of_a_camera_are_never_written_over(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    pictures = tmp_path / "out" / "video"
    pictures.mkdir(parents=True)
    cv2.imwrite(str(pictures / "birdseye.png"), np.zeros((48, 64, 3), np.uint8))
    done = typed("--cams", pictures, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "video/birdseye.png is a picture of camera 'video'" in one_line(done.stderr)


@pytest.mark.parametrize("name", ["identities.json", "tracks.csv", "tracks/x.txt", "run.json", "config.yaml",
                                  "video/good.mp4", "video/mosaic.mp4"])
def test_files_of_others_are_never_written_over(clip: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("the truth")
    done = typed("--cams", clip, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "is there already" in one_line(done.stderr)
    assert "give another --out" in done.stderr
    assert contents(tmp_path) == {path: b"the truth"}


def test_what_a_run_does_not_write_may_be_there(clip: Path, tmp_path: Path) -> None:
    for name in ("video/good.mp4", "notes.txt", "gt/good.txt"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("the truth")
    done = typed("--cams", clip, "--out", tmp_path / "out", "--no-video", "--max-frames", "3")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "video" / "good.mp4").read_text() == "the truth"


def test_an_evaluation_does_not_run_into_its_own_data(clip: Path, tmp_path: Path) -> None:
    scene = tmp_path / "scene"
    (scene / "gt").mkdir(parents=True)
    shutil.copy(clip, scene / "good.mp4")
    (scene / "gt" / "good.txt").write_text("1,1,10,10,20,40,1,1,1\n")
    (scene / "gt" / "good.ini").write_text(
        "[Sequence]\nname=good\nframeRate=10\nseqLength=30\nimWidth=192\nimHeight=144\n")
    (scene / "identities.json").write_text("the truth")
    before = contents(scene)
    done = called("eval", "--benchmark", "folder", "--root", scene, "--out", scene)
    assert done.returncode == 2
    assert "identities.json is there already" in one_line(done.stderr)
    assert contents(scene) == before


def test_a_name_that_is_too_long(clip: Path, tmp_path: Path) -> None:
    done = typed("--cams", clip, "--out", tmp_path / ("a" * 300))
    assert done.returncode == 2
    assert "File name too long" in one_line(done.stderr)


def test_whoever_read_the_progress_has_gone(clip: Path, tmp_path: Path) -> None:
    """`mctrack run … 2>&1 | head -n 1`: the run goes on to its end, and its exit code is its own."""
    for name, last in (("one", "head -n 1"), ("none", "true")):
        out = tmp_path / name
        words = command("run", "--cams", clip, "--out", out)
        script = f'( "$@" 2>&1; echo $? >{tmp_path}/code ) | {last}'
        done = subprocess.run(["sh", "-c", script, "sh", *words], env=environment(), capture_output=True, text=True,
                              check=False, timeout=60)
        assert (tmp_path / "code").read_text().split() == ["0"]
        assert "Traceback" not in done.stdout + done.stderr
        assert json.loads((out / "run.json").read_text())["status"] == "complete"
        assert len(video_times(out / "video" / "good.mp4")) == 30
    assert subprocess.run(["sh", "-c", f'( "$@" 2>&1; echo $? >{tmp_path}/code ) | true', "sh", *words],
                          env=environment(), check=False, timeout=60).returncode == 0
    assert (tmp_path / "code").read_text().split() == ["2"]  # it holds a run already


def test_an_error_on_the_way_leaves_what_is_done(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that fails in the middle of it."""
    from mctrack.detect.subtraction import BackgroundDetector
    from mctrack.errors import WeightsError

    detect, calls = BackgroundDetector.detect, [0]

    def failing(self: BackgroundDetector, frames: object) -> object:
        calls[0] += 1
        if calls[0] == 25:
            raise WeightsError("the network answered with nonsense")
        return detect(self, frames)  # type: ignore[arg-type]

    monkeypatch.setattr(BackgroundDetector, "detect", failing)
    out = tmp_path / "out"
    with pytest.raises(MctrackError, match="nonsense"):
        run(RunConfig(cams=[str(clip)], **PLAIN, output=OutputConfig(dir=str(out))))
    assert len(video_times(out / "video" / "good.mp4")) == 24
    found = json.loads((out / "run.json").read_text())
    assert (found["status"], found["error"]) == ("failed", "the network answered with nonsense")
    assert found["counts"]["frames"] == 24
    assert len((out / "tracks.csv").read_text().splitlines()) > 10
    assert json.loads((out / "identities.json").read_text())["identities"]


# ---------------------------------------------------------------------- no space


def limited(bytes_: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


def test_a_video_that_cannot_be_written_does_not_end_the_run(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mctrack.errors import OutputError
    from mctrack.video.writer import VideoWriter

    write = VideoWriter.write

    def failing(self: VideoWriter, image: object, time_s: float) -> None:
        if self.frames == 10 and self.path.name == "good.mp4":
            raise OutputError(f"{self.path} cannot be written: No space left on device")
        write(self, image, time_s)  # type: ignore[arg-type]

    monkeypatch.setattr(VideoWriter, "write", failing)
    out = tmp_path / "out"
    done = typed("--cams", clip, "--out", out)
    assert done.returncode == 2
    assert done.stderr.count("good.mp4 cannot be written: No space left on device; going on without video") == 1
    assert "error: video could not be written; everything else is complete" in done.stderr
    found = json.loads((out / "run.json").read_text())
    assert (found["status"], found["lost"], found["counts"]["frames"]) == ("complete", ["video"], 30)
    assert len(video_times(out / "video" / "good.mp4")) == 10
    monkeypatch.undo()
    run(RunConfig(cams=[str(clip)], **PLAIN, output=OutputConfig(dir=str(tmp_path / "fine"))))
    assert results(tmp_path / "fine") == results(out)


def test_a_database_that_cannot_grow_ends_it_with_one_line(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = mctrack_run("--cams", clip, "--out", out, "--no-video", "--quiet", "--set", "output.checkpoint_s=0",
                       "--set", "output.commit_s=0.01", preexec_fn=limited(200_000))
    assert done.returncode == 2
    assert f"{out / 'run.db'}" in one_line(done.stderr)
    check_what_is_done(out)


def check_what_is_done(out: Path) -> None:
    """The database is sound and can be exported."""
    with closing(sqlite3.connect(out / "run.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        frames = db.execute("SELECT COUNT(*) FROM frames").fetchone()[0]
    assert frames > 0
    done = subprocess.run(command("export", out, "--format", "csv", "--out", out.parent / "export.csv"),
                          env=environment(), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0


def test_a_full_disk_and_then_room_again(clip: Path, tmp_path: Path) -> None:
    """On a disk of its own, in a mount namespace of its own; only root may do that."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={{}}k tmpfs {disk}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount.format(100)], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    often = ("--set", "output.checkpoint_s=0", "--set", "output.commit_s=0.01")
    words = " ".join(command("run", "--cams", clip, "--out", disk / "out", *often))
    again = " ".join(command("run", "--resume", "--out", disk / "out"))
    script = f"""
        {mount.format(250)} && {words} 2> {tmp_path}/first; echo $?
        cp -r {disk}/out {tmp_path}/early
        mount -o remount,size=20m {disk} && {again} > {tmp_path}/second 2>&1; echo $?
        cp -r {disk}/out {tmp_path}/late
    """
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=environment(), capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.stdout.split() == ["2", "0"], done.stderr
    errors = [line for line in (tmp_path / "first").read_text().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "no space left; what was written so far is safe: make room and go on with --resume" in errors[0]
    check_what_is_done(tmp_path / "early")
    run(RunConfig(cams=[str(clip)], **PLAIN, output=OutputConfig(dir=str(tmp_path / "whole"))))
    assert results(tmp_path / "late") == results(tmp_path / "whole")
