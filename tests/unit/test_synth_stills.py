"""Single frames of scenes with their boxes."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from mctrack.commands.synth import synth
from mctrack.errors import ConfigError, OutputError
from mctrack.synth import world
from mctrack.synth.scene import Area, CameraConfig, Door, Habits, SceneConfig
from mctrack.synth.stills import write_stills

ROOM = Area("room", (0.0, 0.0), (5.0, 4.0), doors=[Door("door", "north", 2.5)])
EYE = CameraConfig("a", "room", (0.2, 0.2, 2.5), (3.0, 2.5, 0.9), 80, (96, 64), 5.0)
LOSSY = CameraConfig("b", "room", (4.8, 0.2, 2.5), (2.0, 2.5, 0.9), 80, (64, 48), 5.0, dropouts=0.4)
SCENE = SceneConfig([ROOM], [EYE, LOSSY], Habits(inside_at_start=1.0), look_alikes=0, people=2, seconds=2.0)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "scene7"
    world.generate(world.create(SCENE, 7), out)
    return out


def clip(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in container.decode(video=0)]


def rows(scene: Path, camera: str, frame: int) -> list[list[float]]:
    """left, top, right, bottom, visibility of the truth."""
    table = [list(map(float, line.split(","))) for line in (scene / "gt" / f"{camera}.txt").read_text().split()]
    return [[r[2], r[3], r[2] + r[4], r[3] + r[5], r[8]] for r in table if r[0] == frame]


def test_every_frame_with_its_boxes(filmed: Path, tmp_path: Path) -> None:
    clips = {name: clip(filmed / f"{name}.mp4") for name in "ab"}
    assert len(clips["a"]) == 10
    assert 2 <= len(clips["b"]) < 10, "lost frames"
    assert write_stills(filmed, tmp_path / "out") == len(clips["a"]) + len(clips["b"])
    people = 0
    for camera, pictures in clips.items():
        for number in range(1, len(pictures) + 1):
            name = tmp_path / "out" / f"scene7-{camera}-{number:06d}"
            still = cv2.imread(str(name.with_suffix(".jpg")))
            assert still is not None
            errors = [np.abs(still.astype(int) - p).mean() for p in pictures]
            assert errors[number - 1] < 3, "what JPEG loses of a noisy picture"
            assert errors[number - 1] == min(errors)
            found = [list(map(float, line.split())) for line in name.with_suffix(".txt").read_text().splitlines()]
            wanted = rows(filmed, camera, number)
            assert len(found) == len(wanted)
            np.testing.assert_allclose(np.reshape(found, (-1, 5)), np.reshape(wanted, (-1, 5)), atol=0.0051)
            people += len(found)
    assert people >= 10
    assert len(list((tmp_path / "out").iterdir())) == 2 * (len(clips["a"]) + len(clips["b"]))


def test_every_third_frame(filmed: Path, tmp_path: Path) -> None:
    count = write_stills(filmed, tmp_path, every=3)
    names = sorted(p.stem for p in tmp_path.glob("*.jpg"))
    assert count == len(names)
    assert [n for n in names if "-a-" in n] == [f"scene7-a-{k:06d}" for k in (1, 4, 7, 10)]


def test_scenes_of_one_bank_do_not_overwrite_each_other(filmed: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(filmed)
    bank = tmp_path / "bank"
    arguments = ["stills", str(filmed), str(tmp_path / "other"), "--every", "5", "--out", str(bank)]
    result = CliRunner().invoke(synth, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    kinds = {p.name.split("-")[0] for p in (bank / "scenes").glob("*.jpg")}
    assert kinds == {"scene7", "other"}
    assert f"{len(list((bank / 'scenes').glob('*.jpg')))} frames of 2 scenes" in result.output


def test_clips_without_truth_are_left_out(filmed: Path, tmp_path: Path) -> None:
    scene = tmp_path / "scene"
    (scene / "gt").mkdir(parents=True)
    for name in ("a", "c"):
        (scene / f"{name}.mp4").write_bytes((filmed / "a.mp4").read_bytes())
    (scene / "gt" / "a.txt").write_bytes(b"")
    assert write_stills(scene, tmp_path / "out", 10) == 1
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"scene-a-000001.jpg", "scene-a-000001.txt"}
    assert (tmp_path / "out" / "scene-a-000001.txt").read_text() == "", "a frame without people is worth having"


def test_what_cannot_be_read(filmed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: expected \*.mp4 and gt/\*.txt; write them with 'mctrack synth"):
        write_stills(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    scene = tmp_path / "scene"
    (scene / "gt").mkdir(parents=True)
    (scene / "a.mp4").write_bytes((filmed / "a.mp4").read_bytes())
    truth = scene / "gt" / "a.txt"
    good = "1,1,2.0,3.0,10.0,20.0,1,1,0.9000\n"
    for bad in ("1,1,2.0,3.0,10.0,20.0,1,1\n", "1,1,left,3.0,10.0,20.0,1,1,0.5\n"):
        truth.write_text(good + bad)
        with pytest.raises(ConfigError, match=r"a.txt line 2: expected frame,id,left,top,width,height,flag,class,vis"):
            write_stills(scene, tmp_path / "out")
    truth.write_text(good)
    (scene / "a.mp4").write_bytes(b"not a video at all")
    with pytest.raises(ConfigError, match=r"a\.mp4: cannot be decoded") as caught:
        write_stills(scene, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_written(filmed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be written"):
        write_stills(filmed, tmp_path / "file", 5)
