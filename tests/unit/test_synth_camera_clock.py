"""A camera's clock and the frames it loses: in the plan, in the clip, in the truth, and for those who read them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mctrack.commands.calibrate import _truth_boxes
from mctrack.config import VideoConfig
from mctrack.errors import ConfigError
from mctrack.synth import world
from mctrack.synth.clock import shots
from mctrack.synth.scene import Area, CameraConfig, Door, Habits, SceneConfig
from mctrack.video.files import FileSource
from mctrack.video.spec import CameraSpec
from mctrack.video.sync import instants

ROOM = Area("room", (0.0, 0.0), (5.0, 4.0), doors=[Door("door", "north", 2.5)])
TRUE = CameraConfig("true", "room", (0.2, 0.2, 2.5), (3.0, 2.5, 0.9), 80, (64, 48), 10.0)
LOSSY = replace(TRUE, name="lossy", dropouts=0.2, outages=[(1.0, 0.5)])
LATE = replace(LOSSY, name="late", clock_offset_s=0.4, clock_drift_ppm=5000.0)
SCENE = SceneConfig([ROOM], [TRUE, LOSSY, LATE], Habits(inside_at_start=1.0), look_alikes=0, people=2, seconds=2.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clocks")
    world.generate(world.create(SCENE, 5), out)
    return out


def boxes(folder: Path, camera: str) -> dict[int, list[str]]:
    """Frame from 1 → rows without the frame."""
    found: dict[int, list[str]] = {}
    for line in (folder / "gt" / f"{camera}.txt").read_text().split():
        frame, rest = line.split(",", 1)
        found.setdefault(int(frame), []).append(rest)
    return found


def stamps(clip: Path) -> list[float]:
    with av.open(str(clip)) as container:
        return [float((f.pts or 0) * f.time_base) for f in container.decode(video=0)]  # type: ignore[operator]


def times(folder: Path, camera: str) -> list[dict[str, str]]:
    with (folder / "gt" / f"{camera}_times.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_true_clock_that_loses_nothing() -> None:
    plan = shots(replace(TRUE, fps=30.0), 2.0, 1)
    assert plan.plain
    assert plan.time_s.tolist() == [k / 30.0 for k in range(60)]
    assert plan.stamp_s.tolist() == plan.time_s.tolist()
    assert plan.tick.tolist() == list(range(60))


def test_a_late_fast_clock() -> None:
    plan = shots(replace(TRUE, clock_offset_s=0.4, clock_drift_ppm=100.0), 1000.4, 1)
    assert not plan.plain
    assert (plan.stamp_s[0], plan.time_s[0]) == (0.0, 0.4)
    # In a thousand seconds this clock gains a tenth of a second, and has filmed a frame more.
    assert len(plan) == 10001
    assert plan.stamp_s[-1] == pytest.approx(1000.0)
    assert plan.time_s[-1] == pytest.approx(0.4 + 1000.0 - 0.1, abs=1e-4)
    np.testing.assert_allclose(plan.stamp_s, (plan.time_s - 0.4) * (1 + 100e-6), atol=1e-9)


def test_lost_frames() -> None:
    lossy = replace(TRUE, dropouts=0.1)
    plan = shots(lossy, 1000.0, 3)
    assert 0.88 < len(plan) / plan.taken < 0.92
    np.testing.assert_array_equal(plan.tick, shots(lossy, 1000.0, 3).tick)
    assert plan.tick.tolist() != shots(lossy, 1000.0, 4).tick.tolist()
    np.testing.assert_allclose(plan.time_s, plan.tick / 10.0)
    out = shots(replace(TRUE, clock_offset_s=0.25, outages=[(0.0, 0.5), (1.0, 2.0)]), 4.0, 3)
    assert out.time_s[0] == pytest.approx(0.55)
    assert not ((out.time_s >= 1.0) & (out.time_s < 3.0)).any()
    assert len(out) == out.taken - 3 - 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clock_offset_s": 3.0}, "camera true: clock_offset_s: 3 is not below the scene's 2.5 seconds"),
        ({"outages": [(0.0, 9.0)]}, "camera true: dropouts and outages leave no frame of 2.5 seconds"),
    ],
)
def test_no_frame_at_all(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        world.create(replace(SCENE, cameras=[replace(TRUE, **change)]), 1)
    assert str(caught.value) == message


@pytest.mark.parametrize("camera", ["true", "lossy", "late"])
def test_the_clip_has_the_frames_and_stamps_of_the_plan(folder: Path, camera: str) -> None:
    number = [c.name for c in SCENE.cameras].index(camera)
    plan = world.plan(SCENE, SCENE.seconds, 5)[number]
    np.testing.assert_allclose(stamps(folder / f"{camera}.mp4"), plan.stamp_s, atol=1e-6)
    assert f"seqLength={len(plan)}" in (folder / "gt" / f"{camera}.ini").read_text()
    tree = json.loads((folder / "calibration.json").read_text())["cameras"][camera]
    assert tree["start_s"] == pytest.approx(plan.time_s[0])
    if camera == "true":
        assert "clock" not in tree
        assert not (folder / "gt" / "true_times.csv").exists()
        return
    rows = times(folder, camera)
    assert [int(r["frame"]) for r in rows] == list(range(1, len(plan) + 1))
    np.testing.assert_allclose([float(r["stamp_s"]) for r in rows], plan.stamp_s, atol=1e-6)
    np.testing.assert_allclose([float(r["time_s"]) for r in rows], plan.time_s, atol=1e-6)
    clock = tree["clock"]
    assert (clock["frames"], clock["lost"]) == (len(plan), plan.taken - len(plan))
    assert clock["lost"] >= 5
    again = clock["offset_s"] + plan.stamp_s / (1 + 1e-6 * clock["drift_ppm"])
    np.testing.assert_allclose(again, plan.time_s, atol=1e-9)


def test_truth_of_the_frames_that_exist_is_that_of_the_same_moments(folder: Path, tmp_path: Path) -> None:
    plan = world.plan(SCENE, SCENE.seconds, 5)[1]
    whole = replace(SCENE, cameras=[replace(c, dropouts=0.0, outages=[]) for c in SCENE.cameras])
    world.write_truth(made := world.create(whole, 5), world.film(made, tmp_path, video=False), tmp_path, "")
    lost, kept = boxes(folder, "lossy"), boxes(tmp_path, "lossy")
    assert lost == {k: kept[t + 1] for k, t in enumerate(plan.tick.tolist(), 1) if t + 1 in kept}
    assert boxes(folder, "true") == boxes(tmp_path, "true")
    one, other = (np.loadtxt(f / "ground_truth_ground.csv", delimiter=",", skiprows=1) for f in (folder, tmp_path))
    np.testing.assert_array_equal(one[:, :4], other[:, :4])
    assert "time stamps are true" not in (folder / "README.md").read_text()
    assert "lossy_times.csv" not in {p.name for p in (tmp_path / "gt").iterdir()}


def test_the_video_room_gives_every_frame_its_true_time(folder: Path) -> None:
    starts = {n: c["start_s"] for n, c in json.loads((folder / "calibration.json").read_text())["cameras"].items()}
    config = VideoConfig(offset_s={n: s for n, s in starts.items() if s})
    plans = dict(zip(("true", "lossy", "late"), world.plan(SCENE, SCENE.seconds, 5), strict=True))
    sources = [FileSource(CameraSpec(n, str(folder / f"{n}.mp4"), "file"), config) for n in plans]
    seen: dict[str, list[float]] = {n: [] for n in plans}
    together = 0
    for instant in instants(sources, config):
        for frame in instant.frames:
            assert frame.index == len(seen[frame.camera])
            seen[frame.camera].append(frame.time_s)
        by_camera = {f.camera: f.time_s for f in instant.frames}
        if {"true", "lossy"} <= set(by_camera):
            assert by_camera["true"] == pytest.approx(by_camera["lossy"], abs=1e-6)
            together += 1
    assert together == len(plans["lossy"]), "a frame that is missing moves no other one"
    for name in ("true", "lossy"):
        np.testing.assert_allclose(seen[name], plans[name].time_s, atol=1e-6)
    # Drift is not in start_s: half a percent of two seconds is left.
    np.testing.assert_allclose(seen["late"], plans["late"].time_s, atol=0.011)
    assert max(np.abs(np.array(seen["late"]) - plans["late"].time_s)) > 0.005
    assert [s.report().warnings for s in sources] == [(), (), ()]


def test_calibration_reads_the_cameras_own_stamps(folder: Path, tmp_path: Path) -> None:
    found = _truth_boxes(folder)
    late = times(folder, "late")
    frames = [int(line.split(",")[0]) for line in (folder / "gt" / "late.txt").read_text().split()
              if float(line.split(",")[8]) >= 0.5]  # fmt: skip
    wanted = [float(late[k - 1]["stamp_s"]) - float(late[0]["stamp_s"]) for k in frames]
    np.testing.assert_allclose(found["late"].time_s, wanted, atol=1e-6)
    (tmp_path / "gt").mkdir()
    for name in ("late.txt", "late.ini"):
        (tmp_path / "gt" / name).write_text((folder / "gt" / name).read_text())
    (tmp_path / "gt" / "late_times.csv").write_text("frame,stamp_s,time_s\n1,0,0.4\n")
    with pytest.raises(ConfigError, match=r"late_times\.csv: expected frame,stamp_s,time_s for every frame of late"):
        _truth_boxes(tmp_path)
