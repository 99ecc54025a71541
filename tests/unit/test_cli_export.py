"""``mctrack export`` as it is typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mctrack.cli import main
from mctrack.sinks.schema import CameraInfo
from mctrack.sinks.store import RunStore
from mctrack.types import Frame, Instant, InstantResult, Link, Tracks


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run with one person in five frames."""
    with RunStore.create(tmp_path / "run" / "run.db", [CameraInfo("a", "a.mp4", 64, 48, 10.0)], "{}") as store:
        for k in range(5):
            tracks = Tracks(np.array([1]), np.array([[k, 2.0, k + 10, 40]]), np.array([0.9]), np.array([1]),
                            np.zeros(1), np.zeros(1, np.int64))
            links = (Link(0.0, "a", 1, 1, "new"),) if k == 0 else ()
            frame = Frame("a", k, k / 10, None, (64, 48))
            store.write(InstantResult(Instant(k / 10, (frame,)), (tracks,), (np.array([1]),), links))
    return tmp_path / "run"


def typed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, words)])
    return int(ended.value.code or 0), *capsys.readouterr()


@pytest.mark.parametrize(("kind", "name"), [
    ("mot", "tracks/a.txt"), ("csv", "tracks.csv"), ("parquet", "tracks.parquet"), ("coco", "coco.json"),
    ("cvat", "cvat/a.xml"),
])  # fmt: skip
def test_every_format(finished: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str) -> None:
    code, out, err = typed(capsys, finished, "--format", kind)
    assert (code, out.split(), err) == (0, [str(finished / name)], "")
    assert (finished / name).stat().st_size > 50


def test_another_place(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed(capsys, finished, "--format", "csv", "--out", tmp_path / "x" / "y.csv")
    assert (code, out.strip()) == (0, str(tmp_path / "x" / "y.csv"))
    assert len((tmp_path / "x" / "y.csv").read_text().splitlines()) == 6


def test_mistakes(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ([finished, "--format", "coko"], "did you mean 'coco'?"), ([finished], "Missing option '--format'"),
        ([tmp_path / "nowhere", "--format", "csv"], "no run database"), (["--format", "csv"], "Missing argument"),
        ([finished, "--format", "csv", "--out", finished / "run.db" / "x.csv"], "is not a folder"),
        ([finished, "--format", "csv", "--out", ""], "--out is empty"),
        ([finished, "--format", "mot", "--out", ""], "--out is empty"),
        ([finished, "--format", "csv", "--out", "."], ". is a folder: give the file a name"),
        ([finished, "--format", "csv", "--out", "/"], "/ is a folder: give the file a name"),
    ):
        code, out, err = typed(capsys, *words)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert said in err
