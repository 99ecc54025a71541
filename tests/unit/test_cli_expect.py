"""What to expect of a layout: the summary over seeds, and the whole way once on a second of film."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mctrack.commands.expect import expect, summarise


def test_interval_over_seeds() -> None:
    rows = [dict.fromkeys(("MC_IDF1", "IDF1", "MOTA"), value) for value in (0.5, 0.6, 0.7)]
    found = summarise(rows)["MC_IDF1"]
    assert found["mean"] == pytest.approx(0.6)
    assert found["half_interval"] == pytest.approx(4.30265 * 0.1 / 3**0.5, rel=1e-5)  # t(2), 97.5 %
    assert summarise(rows[:1])["IDF1"] == {"mean": 0.5, "half_interval": None}


def test_a_layout_is_filmed_once_and_tracked_again(tmp_path: Path) -> None:
    words = ["--preset", "lab", "--cams", "1", "--people", "2", "--seconds", "0.6", "--seeds", "1"]
    words += ["--set", "reid.name=none", "--out", str(tmp_path)]
    film, made = tmp_path / "seed-1" / "scene" / "cam1.mp4", 0
    for again in (1, 2):
        done = CliRunner().invoke(expect, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        made = made or film.stat().st_mtime_ns
        assert film.stat().st_mtime_ns == made
        assert (tmp_path / "seed-1" / f"run-{again}" / "run.json").is_file()
    found = json.loads((tmp_path / "expected.json").read_text())
    assert set(found["expected"]) == {"MC_IDF1", "IDF1", "MOTA"}
    assert -1 <= found["seeds"]["seed 1"]["MOTA"] <= 1
