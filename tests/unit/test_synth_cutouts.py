"""Cut-outs and backgrounds for the detector's training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mctrack.errors import ConfigError
from mctrack.synth.cutouts import BACKGROUND, PERSON_PX, background, cutout, write_bank
from mctrack.synth.reid.people import open_people


def test_a_cutout_is_one_person_cut_tightly() -> None:
    figure = open_people("parametric", 3).figure(0)
    image = cutout(figure, np.random.default_rng(0))
    alpha = image[..., 3]
    assert 0.75 * PERSON_PX < len(image) < 1.35 * PERSON_PX
    assert 0.2 < (alpha > 127).mean() < 0.9
    for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert edge.max() > 127
    assert image[..., :3][alpha > 127].std() > 5  # clothes, skin, shading
    again = cutout(open_people("parametric", 3).figure(0), np.random.default_rng(0))
    assert np.array_equal(image, again)
    assert not np.array_equal(image[:60, :20], cutout(figure, np.random.default_rng(1))[:60, :20])


def test_backgrounds_are_pictures() -> None:
    image = background(1, 1)
    assert image.shape == (BACKGROUND[1], BACKGROUND[0], 3)
    assert image.std() > 5


def test_an_interrupted_bank_is_completed(tmp_path: Path) -> None:
    write_bank(tmp_path, "parametric", 3, 1, 2)
    people = sorted((tmp_path / "people").iterdir())
    assert [p.name for p in people] == ["000000.png", "000001.png", "000002.png"]
    assert [p.name for p in (tmp_path / "backgrounds").iterdir()] == ["00000.jpg"]
    before = people[0].read_bytes()
    people[1].unlink()
    kept = people[0].stat().st_mtime_ns
    (tmp_path / "backgrounds" / "00000.jpg").touch()
    write_bank(tmp_path, "parametric", 3, 1, 2)
    assert people[1].exists()
    assert people[0].read_bytes() == before
    assert people[0].stat().st_mtime_ns >= kept
    picture = cv2.imread(str(people[1]), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.shape[2] == 4


def test_wrong_people_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither 'parametric' nor 'makehuman:FOLDER'"):
        write_bank(tmp_path, "paremetric", 3, 1, 2)
    with pytest.raises(ConfigError, match="at least one"):
        write_bank(tmp_path, "parametric", 0, 1, 2)
