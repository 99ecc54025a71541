"""From a tracking run to a dataset of people."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from run_scene import mctrack_run, one_line, walk_past

from mctrack.commands.make_reid_data import make_reid_data, make_reid_data_command
from mctrack.errors import ConfigError, OutputError
from reid_models import ReidError
from reid_models.data import read_dataset
from reid_models.make_data import CropChoice, choose_crops, people_to_keep

SMALL = CropChoice(min_height_px=24, min_quality=0.05, per_camera=4, gap_s=0.3)


def test_choice_is_spaced_in_time_and_takes_the_best(rng):
    time_s = np.arange(200) / 10
    quality = rng.random(200)
    identity = np.where(np.arange(200) % 2, 7, 9)
    choice = CropChoice(per_camera=5, gap_s=1, min_quality=0.5)
    rows = choose_crops(identity, time_s, quality, np.full(200, 90.0), choice)
    assert np.array_equal(rows, np.sort(rows))
    assert quality[rows].min() >= 0.5
    for person in (7, 9):
        mine = rows[identity[rows] == person]
        assert len(mine) == 5
        assert np.diff(time_s[mine]).min() >= 1
        assert quality[mine].mean() > 0.85


def test_choice_leaves_out_what_is_not_good_enough():
    identity, time_s = np.array([1, 1, -1, 2, 2]), np.array([0.0, 0.1, 5, 6, 9])
    quality, height = np.array([0.9, 0.8, 0.9, 0.1, 0.9]), np.array([60.0, 60, 60, 60, 20])
    assert choose_crops(identity, time_s, quality, height, CropChoice()).tolist() == [0]
    assert choose_crops(identity[:0], time_s[:0], quality[:0], height[:0], CropChoice()).tolist() == []
    assert people_to_keep([np.array([1, 2]), np.array([2, 5])], CropChoice()) == {2}
    assert people_to_keep([], CropChoice()) == set()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("make")
    clips = [walk_past(folder, name, frames=70, late_s=late) for name, late in (("north_1", 0.0), ("south", 0.5))]
    done = mctrack_run("--cams", *clips, "--out", folder / "run", "--set", "output.video=false", "--quiet")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_becomes_a_dataset(run, tmp_path):
    pictures, people, cameras = make_reid_data(run, tmp_path / "data", SMALL)
    files = sorted((tmp_path / "data").rglob("*.jpg"))
    assert len(files) == pictures >= 4
    assert people >= 1
    assert cameras == 2
    assert {path.name.split("_")[0] for path in files} <= {"north-1", "south"}
    for path in files:
        crop = cv2.imread(str(path))
        assert crop.shape[0] >= 24
        assert crop.shape[0] > crop.shape[1] / 2
    data = read_dataset("folder", tmp_path / "data", test_share=0.0)
    assert len(data.train) == pictures
    assert len(np.unique(data.train.camid)) == 2
    # a folder shows one person: the colour of the coat
    for pid in data.train.identities:
        coats = []
        for path in np.array(data.train.paths, object)[data.train.pid == pid]:
            crop = cv2.imread(str(path))
            h, w = crop.shape[:2]
            coats.append(np.median(crop[int(0.25 * h) : int(0.5 * h), w // 3 : 2 * w // 3].reshape(-1, 3), axis=0))
        assert np.ptp(np.array(coats), axis=0).max() < 90


def test_the_folder_must_be_new(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("mine")
    with pytest.raises(ReidError, match="is not empty"):
        make_reid_data(run, tmp_path / "data", SMALL)


def test_nobody_is_good_enough(run, tmp_path):
    with pytest.raises(ConfigError, match="nobody has 2 pictures that are good enough"):
        make_reid_data(run, tmp_path / "data", CropChoice(min_height_px=5000))
    assert not (tmp_path / "data").exists()


def test_no_run(tmp_path):
    with pytest.raises(OutputError, match="no run database"):
        make_reid_data(tmp_path, tmp_path / "data", SMALL)


def test_the_command(run, tmp_path):
    from click.testing import CliRunner

    arguments = [str(run), "--out", str(tmp_path / "data"), "--min-height", "24", "--min-quality", "0.05"]
    done = CliRunner().invoke(make_reid_data_command, arguments)
    assert done.exit_code == 0, done.output
    assert "pictures of" in one_line(done.output)
    again = CliRunner().invoke(make_reid_data_command, arguments)
    assert isinstance(again.exception, ConfigError)
