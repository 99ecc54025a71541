"""``mctrack redraw``: a run's videos once more, with the names of its tables."""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_scene import PLAIN, called, one_line, video_times, walk_past

from mctrack.config import RunConfig
from mctrack.run import run
from mctrack.sinks.draw import color_of

NAME = 777


def redraw(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return called("redraw", *arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings and a run of them, whose table then names everybody anew."""
    folder = tmp_path_factory.mktemp("redraw")
    cams = [str(walk_past(folder, name, frames=50, fps=10, walkers=1)) for name in ("a", "b")]
    config = RunConfig(cams=cams, quiet=True, **PLAIN)
    config.output.dir = str(folder / "run")
    run(config)
    rename(folder / "run" / "tracks.csv")
    return folder


def rename(table: Path) -> None:
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert rows
    assert {r["global_id"] for r in rows} != {str(NAME)}
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(r | {"global_id": NAME} for r in rows)


@pytest.fixture
def scene(made: Path, tmp_path: Path) -> Path:
    """A copy of one's own; the run still reads the recordings of the first."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path


def named(video: Path, who: int) -> list[int]:
    """In which frames something of an identity's colour is drawn."""
    import av

    found = []
    with av.open(str(video)) as container:
        for k, frame in enumerate(container.decode(video=0)):
            away = np.abs(frame.to_ndarray(format="bgr24").astype(int) - color_of(who)).max(axis=2)
            if (away < 25).sum() > 20:
                found.append(k)
    return found


def test_videos_show_the_names_of_the_table(scene: Path) -> None:
    folder, before = scene / "run", named(scene / "run" / "video" / "a.mp4", NAME)
    frames = video_times(folder / "video" / "a.mp4")
    done = redraw(folder, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(folder / "video" / f"{n}.mp4") for n in ("a", "b", "mosaic")]
    assert video_times(folder / "video" / "a.mp4") == frames
    with (folder / "tracks.csv").open(encoding="utf-8") as file:
        seen = [int(r["frame"]) for r in csv.DictReader(file) if r["camera"] == "a"]
    assert not before
    assert named(folder / "video" / "a.mp4", NAME) == sorted(set(seen))
    assert not list(folder.glob(".video.*"))


def test_what_refine_wrote_is_drawn_from_the_run_around_it(scene: Path) -> None:
    inside = scene / "run" / "refined"
    inside.mkdir()
    shutil.copy(scene / "run" / "tracks.csv", inside)
    before = (scene / "run" / "video" / "a.mp4").read_bytes()
    (scene / "films.part").mkdir()  # somebody's own
    done = redraw(inside, "--no-mosaic", "--height", "288", "--out", scene / "films")
    assert done.returncode == 0
    assert sorted(p.name for p in (scene / "films").iterdir()) == ["a.mp4", "b.mp4"]
    assert named(scene / "films" / "b.mp4", NAME)
    assert (scene / "run" / "video" / "a.mp4").read_bytes() == before
    assert "a 50/50" in done.stderr
    assert (scene / "films.part").is_dir()


def test_an_interrupted_run_ends_where_it_ended(scene: Path) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(scene / "run" / "run.db")) as db:
        for table in ("boxes", "frames"):  # the second camera ended one frame later
            db.execute(f"DELETE FROM {table} WHERE frame >= 30 + (camera_id = (SELECT MAX(camera_id) FROM cameras))")
        db.commit()
    assert redraw(scene / "run", "--quiet").returncode == 0
    assert [len(video_times(scene / "run" / "video" / f"{name}.mp4")) for name in ("a", "b")] == [30, 31]


def test_a_camera_whose_recording_has_gone_is_left_out(scene: Path, made: Path) -> None:
    config = scene / "run" / "run.db"
    hide(config, made, {"a": made / "gone.mp4"})
    done = redraw(scene / "run", "--quiet")
    assert done.returncode == 0
    assert "gone.mp4" in one_line(done.stderr)
    assert [Path(p).name for p in done.stdout.split()] == ["b.mp4"]


def hide(database: Path, made: Path, instead: dict[str, Path]) -> None:
    """Other recordings in the run's configuration."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(database)) as db:
        [text] = db.execute("SELECT value FROM meta WHERE key = 'config_yaml'").fetchone()
        for name, path in instead.items():
            assert str(made / f"{name}.mp4") in text
            text = text.replace(str(made / f"{name}.mp4"), str(path))
        db.execute("UPDATE meta SET value = ? WHERE key = 'config_yaml'", [text])
        db.commit()


def damage(line: int, text: str) -> Callable[[Path], None]:
    def apply(table: Path) -> None:
        lines = table.read_text().splitlines()
        lines[line] = text
        table.write_text("\n".join(lines) + "\n")

    return apply


@pytest.mark.parametrize(("spoil", "words"), [
    (Path.unlink, "no table at"),
    (damage(0, "camera,frame,time_s"), "tracks.csv: line 1: no column 'track_id'"),
    (damage(3, "a,2,0.2,1,1,x,2,3,4,0.5,,"), "tracks.csv: line 4: expected numbers for frame"),
    (damage(3, "a,2,0.2,1"), "tracks.csv: line 4: expected numbers for frame"),
    (damage(3, "c,2,0.2,1,1,1,2,3,4,0.5,,"), "tracks.csv: line 4: camera 'c' is not of this run, which has a, b"),
])
def test_a_damaged_table_is_one_line_and_leaves_the_videos(spoil: Any, words: str, scene: Path) -> None:
    before = (scene / "run" / "video" / "a.mp4").read_bytes()
    spoil(scene / "run" / "tracks.csv")
    done = redraw(scene / "run")
    assert done.returncode == 2
    assert words in one_line(done.stderr)
    assert (scene / "run" / "video" / "a.mp4").read_bytes() == before


def test_recordings_that_are_others_now(scene: Path, made: Path) -> None:
    import av

    other = scene / "other.mp4"
    with av.open(str(other), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")
        file.mux(stream.encode(frame) + stream.encode(None))
    hide(scene / "run" / "run.db", made, {"a": other, "b": made / "gone.mp4"})
    done = redraw(scene / "run")
    assert done.returncode == 2
    assert "has 64 × 48 pixels, the run's recording had 192 × 144" in one_line(done.stderr)


def test_no_run_at_all(tmp_path: Path) -> None:
    done = redraw(tmp_path)
    assert done.returncode == 2
    assert f"no run database at {tmp_path}" in one_line(done.stderr)


def test_recordings_are_never_drawn_over(made: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(made / "a.mp4", films / "mosaic.mp4")
    shutil.copy(made / "b.mp4", films / "b.mp4")
    config = RunConfig(cams=[f"a={films / 'mosaic.mp4'}", str(films / "b.mp4")], quiet=True, **PLAIN)
    config.output.dir, config.output.video = str(tmp_path / "run"), False
    run(config)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "b.mp4").hardlink_to(films / "b.mp4")
    (tmp_path / "link").symlink_to(films)
    before = {p: p.read_bytes() for p in films.iterdir()}
    for out, said in ((films, "films/mosaic.mp4 is the recording of camera 'a': give another --out"),
                      (tmp_path / "link", "link/mosaic.mp4 is the recording of camera 'a'"),
                      (tmp_path / "linked", "linked/b.mp4 is the recording")):
        done = redraw(tmp_path / "run", "--out", out)
        assert done.returncode == 2
        assert said in one_line(done.stderr)
    assert {p: p.read_bytes() for p in films.iterdir()} == before
    (films / "mosaic.mp4").unlink()  # one that has gone does not keep the other from being seen
    done = redraw(tmp_path / "run", "--out", films)
    assert "films/b.mp4 is the recording of camera 'b'" in one_line(done.stderr)
    assert {p.name: p.read_bytes() for p in films.iterdir()} == {"b.mp4": before[films / "b.mp4"]}


def test_a_folder_that_cannot_be_is_told_first(scene: Path) -> None:
    (scene / "file").write_text("x")
    for place in (scene / "file", scene / "file" / "below"):
        done = redraw(scene / "run", "--out", place)
        assert done.returncode == 2
        assert f"{place} cannot be made: {scene / 'file'} is not a folder" in one_line(done.stderr)


def test_a_full_disk_is_told_in_words_of_this_command(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mctrack.video.boxfile import BoxFile

    store, calls = BoxFile.store, [0]

    def full(self: BoxFile) -> None:
        calls[0] += 1
        if calls[0] > 8:
            raise OSError(28, "No space left on device")
        store(self)

    monkeypatch.setattr(BoxFile, "store", full)
    before = (scene / "run" / "video" / "a.mp4").read_bytes()
    done = redraw(scene / "run", "--quiet")
    assert done.returncode == 2
    line = one_line(done.stderr)
    assert line.startswith(f"error: {scene / 'run' / 'video'}/")
    assert line.endswith(".mp4 cannot be written: No space left on device; free some space")
    assert (scene / "run" / "video" / "a.mp4").read_bytes() == before
    assert not list((scene / "run").glob(".video*"))
