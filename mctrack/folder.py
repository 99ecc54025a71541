"""A run's folder: which one, whether it holds a run already, and what there must not be written over."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from mctrack.config import RunConfig
from mctrack.errors import ConfigError, OutputError
from mctrack.video.spec import CameraSpec

STORE_FILE, CONFIG_FILE, RUN_FILE = "run.db", "config.yaml", "run.json"


def choose_folder(config: RunConfig, resume: bool, cameras: Sequence[CameraSpec]) -> Path:
    """The results' folder; a new run gets a new one, and nothing that is there already is lost.

    Raises:
        ConfigError: a run to go on with that nobody named.
        OutputError: there is a run already, or other files of the names that the run writes, or its own inputs.
    """
    if resume and config.output.dir is None:
        raise ConfigError("--resume needs --out DIR, the folder of the run to go on with")
    out = Path(config.output.dir) if config.output.dir else _fresh(Path("runs"))
    if not resume:
        if begun(out / STORE_FILE):
            raise OutputError(f"{out} already holds a run: go on with --resume, or give another --out")
        check_folder(out)
    names = [c.name for c in cameras]
    tables = [out / name for name in ("identities.json", "tracks.csv", RUN_FILE, CONFIG_FILE)]
    videos = video_files(out / "video", names) if config.output.video else []
    keep_inputs([*tables, *(out / "tracks" / f"{name}.txt" for name in names), *videos], _inputs(config, cameras))
    lost = next((p for p in (*tables, out / "tracks", *videos) if p.exists()), None)
    if lost is not None and not resume:
        raise OutputError(f"{lost} is there already, and there is no {STORE_FILE} of the run it belongs to: it would "
                          "be lost; give another --out")
    return out


def check_folder(out: Path) -> None:
    """Refuse what is no folder to write into, and cannot become one."""
    if re.match(r"[A-Za-z][\w+.\-]+:[/\\]", str(out)):
        raise OutputError("--out is a URL: give a folder on this machine")
    there = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not there.is_dir():
        raise OutputError(f"{out} cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out} cannot be written: no permission for {there}")


def video_files(folder: Path, cameras: Sequence[str]) -> list[Path]:
    """Every file that annotated videos of these cameras may need, the views of all of them included."""
    films = [*cameras, *(f"{name}.part" for name in cameras), "mosaic", "mosaic-of-all", "birdseye", "birdseye-of-all",
             "birdseye-of-the-run"]  # fmt: skip
    return [*(folder / f"{name}.mp4" for name in films), *(folder / f"{name}.png" for name in films[-3:])]


def keep_inputs(written: Iterable[Path], inputs: Iterable[tuple[Path, str]]) -> None:
    """Refuse to write over a file that is read, whatever its names and links; each input comes with what it is.

    Raises:
        OutputError: naming the file.
    """
    places = {_place(path): path for path in written if path.exists()}
    for path, what in inputs if places else ():
        if path.exists() and _place(path) in places:
            raise OutputError(f"{places[_place(path)]} is {what}: give another --out")


def recordings(cameras: Iterable[CameraSpec]) -> Iterator[tuple[Path, str]]:
    """The files that cameras are read from, and what they are."""
    from mctrack.video.cameras import image_folder_name, list_images

    for camera in cameras:
        path = Path(camera.uri)
        if camera.kind == "file":
            yield path, f"the recording of camera '{camera.name}'"
        elif not camera.live:
            folder = path / image_folder_name(path / "seqinfo.ini") if camera.kind == "sequence" else path
            for image in list_images(folder) if folder.is_dir() else ():
                yield image, f"a picture of camera '{camera.name}'"


def _inputs(config: RunConfig, cameras: Sequence[CameraSpec]) -> Iterator[tuple[Path, str]]:
    """Everything that a run reads."""
    yield from recordings(cameras)
    models = {"detector": config.detect.name, "weights": config.detect.weights, "reid": config.reid.name}
    for key, name in models.items():
        path = Path(name or "none").expanduser()
        for file in path.rglob("*.txt") if key == "weights" and path.is_dir() else (path,):
            yield file, f"read by this run (--{key} {name})"
    if config.calib is not None:
        from mctrack.geometry.site import peek_site

        for file in peek_site(config.calib).files:
            yield file, f"read by this run (--calib {config.calib})"


def _place(path: Path) -> tuple[int, int]:
    """The same for every name of one file."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _fresh(base: Path) -> Path:
    """``runs/<time>``, with a number behind where two runs start in one second."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out, n = base / stamp, 1
    while out.exists():
        n += 1
        out = base / f"{stamp}_{n}"
    return out


def begun(path: Path) -> bool:
    """Whether a database holds a run: one that was killed while being made may hold nothing yet."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as db:
            if not db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                return False
            return bool(db.execute("SELECT COUNT(*) FROM meta WHERE key = 'config_yaml'").fetchone()[0])
    except sqlite3.Error:
        return True  # whatever it is, it is not ours to overwrite; opening it tells more
