"""The ablation over sites: what it makes of a scene's truth, and the tables it writes. Nothing is rendered here."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
from eval_script import load_script

from mctrack.config import RunConfig, load_config
from mctrack.detect.motchallenge import read_detections
from mctrack.geometry.site import peek_site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    return load_script("site_ablation")


def truth(n: int) -> np.ndarray:
    """A person 100 px tall, 40 px wide, walking right for n frames."""
    f = np.arange(n)
    one = np.ones(n)
    return np.stack([f + 1, one, 100 + f, 50 * one, 40 * one, 100 * one, one, one, one], axis=1).astype(float)


def test_nearly_covered_people_are_no_detections(script: ModuleType) -> None:
    text = "1,3,10,20,30,40,1,1,0.9\n\n1,4,10,20,30,40,1,1,0.2\n2,3,10,20,30,40,0,1,0.05\n"
    rows = script.read_boxes(text)
    assert rows[:, 1].tolist() == [3]
    assert script.detection_text(rows) == "1,-1,10.00,20.00,30.00,40.00,1\n"
    assert script.read_boxes("").shape == (0, 9)


def test_degraded_boxes_are_as_bad_as_promised(script: ModuleType) -> None:
    rows, size = truth(20_000), (640, 360)
    worse = script.degrade(rows, size, np.random.default_rng(1))
    assert np.array_equal(worse, script.degrade(rows, size, np.random.default_rng(1)))
    assert not np.array_equal(worse, script.degrade(rows, size, np.random.default_rng(2))[: len(worse)])
    assert (np.diff(worse[:, 0]) >= 0).all()
    left = worse[:, 2] - (100 + worse[:, 0] - 1)
    near = np.abs(left) < 30  # of the false ones hardly any are
    assert (~near).mean() == pytest.approx(0.02 / 0.94, rel=0.15)
    assert near.sum() == pytest.approx(0.92 * len(rows), rel=0.01)
    assert left[near].std() == pytest.approx(4.0, rel=0.05)
    right = (worse[:, 2] + worse[:, 4])[near] - (100 + worse[near, 0] - 1) - 40
    assert right.std() == pytest.approx(4.0, rel=0.05)
    assert abs(np.corrcoef(left[near], right)[0, 1]) < 0.05  # every edge moves by itself
    assert (worse[:, 4:6] > 0).all()
    assert len(script.degrade(rows[:0], size, np.random.default_rng(1))) == 0


def test_detections_of_every_camera_of_a_scene(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    cameras = {name: {"image_size": [640, 360]} for name in ("cam1", "cam2")}
    (tmp_path / "calibration.json").write_text(json.dumps({"cameras": cameras}))
    for name in cameras:
        rows = truth(500).tolist()
        (tmp_path / "gt" / f"{name}.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    script.write_detections(tmp_path, tmp_path / "true", False, 3)
    script.write_detections(tmp_path, tmp_path / "bad", True, 3)
    true, bad = ([read_detections(tmp_path / how / f"{name}.txt") for name in cameras] for how in ("true", "bad"))
    assert np.array_equal(true[0].xyxy[:2], [[100, 50, 140, 150], [101, 50, 141, 150]])
    assert len(true[0].xyxy) == 500
    assert 440 < len(bad[0].xyxy) < 500
    assert len(bad[0].xyxy) != len(bad[1].xyxy) or not np.array_equal(bad[0].xyxy, bad[1].xyxy)


TOPOLOGY = {
    "areas": {"west": ["cam1"], "east": ["cam2"], "yard": ["cam3"]},
    "doors": {"west.door": "east.door", "east.door": "west.door", "yard.gate": None},
    "transitions": [
        {"from": ["cam1"], "to": ["cam2"], "min_s": 4.0, "max_s": 6.0},
        {"from": ["cam2"], "to": ["cam1"], "min_s": 5.0, "max_s": 10.0},
        {"from": ["cam2"], "to": ["cam3"], "min_s": 20.0, "max_s": 20.0},
        {"from": ["cam1"], "to": ["cam1"], "min_s": 8.0, "max_s": 9.0},
    ],
}


def test_a_user_knows_the_times_between_neighbours_only(script: ModuleType, tmp_path: Path) -> None:
    times = script.walking_times(TOPOLOGY)
    assert times == {"cam1->cam2": [2.8, 15.0], "cam2->cam1": [2.8, 15.0]}
    site = tmp_path / "site.yaml"
    site.write_text(script.site_file("../scene/calibration.json", ["cam1", "cam2"], times))
    assert peek_site(site).transitions == {"cam1->cam2": (2.8, 15.0), "cam2->cam1": (2.8, 15.0)}
    site.write_text(script.site_file("../scene/calibration.json", ["cam1", "cam2"], {}))
    assert peek_site(site).transitions == {}
    assert peek_site(site).names == ("cam1", "cam2")
    config = tmp_path / "times.yaml"
    config.write_text(script.time_config(times))
    assert load_config(RunConfig, [config]).associate.transitions == times
    config.write_text(script.time_config({}))
    assert load_config(RunConfig, [config]).associate.transitions == {}


def test_every_command_parses_and_each_cue_is_left_out(script: ModuleType) -> None:
    from mctrack.cli import cli

    for variant in script.VARIANTS:
        commands = [script.render_command("hall", 40, 5, 1), *script.commands("hall", variant, "degraded", "histogram")]
        for command in commands:
            found: click.Command | None = cli
            words = shlex.split(command)
            while isinstance(found, click.Group):
                words = words[1:]
                found = found.get_command(click.Context(found), words[0])
            assert found is not None
            found.make_context(words[0], words[1:])
        run = commands[1]
        assert ("--reid none" in run) != variant.appearance
        assert ("--calib" in run) == variant.geometry
        assert ("learn_transitions=false" in run) != variant.time
        assert ("site.yaml" in run or "times.yaml" in run) == variant.time


def test_tables(script: ModuleType) -> None:
    figures = {
        "all": {"online": {"MC_IDF1": 0.9, "GP_IDF1": 0.5}, "refined": {"MC_IDF1": 0.95, "GP_IDF1": 0.25}},
        "no-geometry": {"online": {"MC_IDF1": 0.8}, "refined": {"MC_IDF1": 0.7}},
    }
    lines = script.table(figures).splitlines()
    assert lines[0] == "| cues | MC_IDF1 | refined | GP_IDF1 | refined |"
    assert lines[2:] == ["| all cues | 90.0 | 95.0 | 50.0 | 25.0 |", "| without geometry | 80.0 | 70.0 |  |  |"]
    part = {"scene": "corridor", "detector": "truth", "seconds": 60.0, "seed": 3, "fps": 10.0, "reid": "histogram",
            "command": "python eval/site_ablation.py --only corridor", "figures": figures}  # fmt: skip
    text = script.markdown({"corridor-truth": part, "hall-truth": part | {"scene": "hall"}})
    assert text.index("## Hall") < text.index("## Corridor")
    assert "python eval/site_ablation.py --only corridor" in text
    assert "mctrack synth scene --preset corridor --seed 3 --seconds 60 --fps 10" in text
    assert "| all cues | 90.0 |" in text
