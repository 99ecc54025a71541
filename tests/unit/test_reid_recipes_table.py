"""The table of all recipes: what is put beside a paper's figure, and what never is."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eval_script import load_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("reid_recipes")


def write(out: Path, name: str, data: str, images: int, identities: int, model: str = "resnet50") -> None:
    figures = {"rank1": 91.23, "rank5": 95.0, "rank10": 97.0, "mAP": 81.87, "mINP": 50.0}
    metrics: dict[str, Any] = {
        "model": model, "data": [data], "identities": identities, "images": images, "real_images": images,
        "epochs": 2.0, "images_per_s": 10.0, "scores": {data: figures}, "reranked": {}}
    (out / name).mkdir()
    (out / name / "metrics.json").write_text(json.dumps(metrics))


def test_only_official_counts_stand_beside_a_papers_figure(script: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "am0bh", "market1501", 12936, 751)
    write(tmp_path, "am0", "market1501", 2400, 300)
    write(tmp_path, "bh", "market1501", 12936, 751, "robust_reid_compact")
    (tmp_path / "am0bh-attr").mkdir()
    (tmp_path / "am0bh-attr" / "skipped.txt").write_text("the dataset has no attributes\n")
    lines = script.tables(tmp_path, ["am0bh", "am0", "am0bh-attr", "am", "bh"], "command").splitlines()
    assert "| am0bh | Table 3, AM0BH | market1501 | 94.64 | 85.9 | 91.2 | 81.9 |" in lines
    assert "| am0bh | Table 3, AM0BH | dukemtmc | 89.2 | 76.68 | not run: no data here |  |" in lines
    assert "| bh | Table 3, BH | market1501 | 84.74 | 67.4 | not run: no data here |  |" in lines  # another network
    assert "| am0 | Table 3, AM0 | market1501 | 92.86 | 83.67 | not run: no data here |  |" in lines
    assert "| am0 | resnet50 | 2 | 91.2 | 81.9 | 50.0 |  |  |  | 10 |" in lines
    assert any(line.startswith("| am0bh-attr | the dataset has no attributes |") for line in lines)
    assert any(line.startswith("| am | not run |") for line in lines)


def test_both_box_sets_of_cuhk03_find_their_row(script: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "fidi-btl", "cuhk03-labeled", 7368, 767)
    write(tmp_path, "fidi-bcl", "cuhk03-detected", 7365, 767)
    rows = [line.split(" | ") for line in script.tables(tmp_path, ["fidi-btl", "fidi-bcl"], "command").splitlines()]
    measured = {(row[0][2:], row[2]) for row in rows if len(row) > 5 and row[5] == "91.2"}
    assert measured == {("fidi-btl", "cuhk03-labelled"), ("fidi-bcl", "cuhk03-detected")}


def test_epochs_and_scale_keep_the_shape(script: ModuleType) -> None:
    from reid_models.backbones import build_model
    from reid_models.recipe import load_recipe
    from reid_models.schedules import Schedule
    from reid_models.train_setup import model_options

    options = script._parser().parse_args(["--out", "x", "--epochs", "5", "--height", "64", "--gan-steps", "3"])
    for name in ("fidi", "slsr", "robust-reid"):
        recipe = load_recipe(name)
        made = load_recipe(name, script.assignments(recipe, options, 100))
        assert Schedule(made.schedule, 40, made.epoch_scale).total_steps == 200
        assert made.model.pretrained is None
        assert made.input_hw == ([64, 64] if name == "slsr" else [64, 32])
        assert build_model(made.model.name, 0, **model_options(made, 0)).input_hw == tuple(made.input_hw)
    slsr = load_recipe("slsr", script.assignments(load_recipe("slsr"), options, 100))
    assert slsr.generated is not None
    assert (slsr.generated.images, slsr.generated.gan_steps, slsr.generated.gan) == (99, 3, {"size": 64})
    assert slsr.data.store_hw == [80, 80]  # 256 / 224 of it, to a multiple of 16: what is cut from


def test_recipes_on_one_kind_of_network_start_from_the_same_lesson(script: ModuleType) -> None:
    from reid_models.recipe import load_recipe

    options = script._parser().parse_args(["--out", "x", "--taught", "2", "--height", "64"])
    for name, kind in (("mgn", "resnet50"), ("slsr", "resnet50"), ("robust-reid-d", "robust_reid_2x-inception"),
                       ("robust-reid-f", "robust_reid_2x-average"), ("robust-reid-c", "robust_reid_2x")):
        assert script.network(load_recipe(name)) == kind
    lesson = load_recipe("distil", script.lesson(load_recipe("robust-reid-d"), options))
    assert (lesson.model.name, lesson.model.options) == ("robust_reid_2x", {"blocks": "inception"})
    assert lesson.input_hw == [64, 32]
    assert sum(p.epochs for p in lesson.schedule) * lesson.epoch_scale == pytest.approx(2)
    fidi = load_recipe("fidi", script.assignments(load_recipe("fidi"), options, 100))
    assert fidi.model.pretrained == "imagenet"  # what the trunk of the lesson takes the place of
    assert script._shipped(lesson) is None
    assert script._shipped(load_recipe("robust-reid-g")) == ROOT / "reid_models/pretrained/robust_reid_1x.safetensors"
    with pytest.raises(SystemExit):
        script._parser().parse_args(["--out", "x", "--taught", "2", "--pretrained", "imagenet"])


def test_a_network_stands_in_where_no_head_of_its_own_is_needed(script: ModuleType) -> None:
    from reid_models.recipe import load_recipe

    options = script._parser().parse_args(["--out", "x", "--network", "robust_reid_compact", "--taught", "1"])
    made = {name: load_recipe(name, script.assignments(load_recipe(name), options, 100)) for name in script._chosen("")}
    own = {name for name, recipe in made.items() if recipe.model.name != "robust_reid_compact"}
    assert own == {"am0bh-attr", "confidence-vib", "mgn", "fidi-mgn", "bdb", "fidi-bdb"}
    assert made["am0bh"].model.options == {"normalised": False}  # unnormalised, as ResNet-50's are
    assert made["robust-reid-f"].model.options == {"normalised": True, "pool": "average"}
    assert made["ha-cnn"].model.options == {"normalised": False, "pool": "average"}
    assert script.network(made["ha-cnn"]) == "robust_reid_compact-average"
    same = [name for name in made if script._substance(made[name]) == script._substance(made["robust-reid-i"])]
    assert {"robust-reid-i", "robust-reid-g", "robust-reid-d"} <= set(same)
    assert "robust-reid-e" not in same


def test_taught_and_interrupted_the_table_has_starts(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "taught").mkdir()
    write(tmp_path / "taught", "resnet50", "market1501", 2400, 300)
    lines = script.tables(tmp_path, ["am0"], "command").splitlines()
    assert "| *start of resnet50* | resnet50 | 2 | 91.2 | 81.9 | 50.0 |  |  |  | 10 |" in lines
    assert any("started from the same weights" in line for line in lines)
    assert "Nothing has been trained yet." in lines  # of the recipes


def test_an_unknown_recipe_is_one_line(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--out", str(tmp_path), "--recipes", "am0bhs"]) == 2
    assert "did you mean 'am0bhsp'" in capsys.readouterr().err
    assert script.main(["--out", str(tmp_path)]) == 2
    for words in (["--height", "-5"], ["--epochs", "nan"], ["--taught", "0"], ["--height", "tall"]):
        with pytest.raises(SystemExit) as ended:
            script.main(["--out", str(tmp_path), *words])
        assert ended.value.code == 2
        assert "is not a number above 0" in capsys.readouterr().err
    assert script.main(["--out", str(tmp_path)]) == 2
    assert "give --data ROOT" in capsys.readouterr().err
