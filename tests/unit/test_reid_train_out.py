"""Trainings and searches told to write where a file is."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from reid_models.errors import ReidError
from reid_models.recipe import load_recipe
from reid_models.train import TrainOptions, train
from reid_models.tune import TuneOptions, tune


@pytest.mark.parametrize(("place", "why"), [("taken", "File exists"), ("taken/deeper", "Not a directory")])
def test_a_file_in_place_of_the_folder_is_one_line(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "taken").write_text("x")
    recipe, training = load_recipe("am0"), TrainOptions(device="cpu")
    with pytest.raises(ReidError, match=rf"^the folder .*{place} cannot be made: {why}$"):
        train(recipe, [], tmp_path / place, training)
    pytest.importorskip("optuna")
    with pytest.raises(ReidError, match=rf"^the folder .*{place} cannot be made: {why}$"):
        tune(recipe, [], tmp_path / place, TuneOptions(), training)
