"""Recipes: every shipped one builds, and a mistake in one is an error that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from reid_models.data import Augment  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.recipe import load_recipe, recipe_from_dict, recipe_names  # noqa: E402
from reid_models.schedules import Schedule  # noqa: E402
from reid_models.train_setup import build_learner, build_optimiser  # noqa: E402

ROWS = {  # what the issue asks for: a recipe per row of the papers' tables
    *(f"robust-reid-{x}" for x in "abcdefghi"), "robust-reid", "ha-cnn",
    "swag-1", "swag-1-lr", "swag-1-swag", "swag-2-lr", "swag-3-lr",
    "confidence-ce", "confidence-ls", "confidence-cp", "confidence-vib",
    "slsr", "slsr-lsro", "slsr-all-in-one", "slsr-pseudo-label", "slsr-baseline",
    "fidi", "fidi-btl", "fidi-bcl", "fidi-baseline1", "fidi-baseline1-btl", "fidi-mgn", "mgn", "fidi-bdb", "bdb",
    "am0", "am", "bh", "am0bh1", "ambh", "am0bh", "am0bhsp", "am0bh-attr", "compact", "distil",
}  # fmt: skip


def test_every_row_has_a_recipe() -> None:
    assert set(recipe_names()) == ROWS


@pytest.mark.parametrize("name", sorted(ROWS))
def test_recipe_builds(name: str) -> None:
    recipe = load_recipe(name, ["model.pretrained=null"])
    assert recipe.name == name
    assert recipe.paper
    assert recipe_from_dict(recipe.to_dict(), "again") == recipe
    for figures in recipe.expected.values():
        assert 0 < figures["mAP"] < 100
        assert 0 < figures["rank1"] < 100
    learner = build_learner(recipe, 10, 27, torch.device("cpu"))
    optimiser = build_optimiser(learner, recipe.optimiser)
    trained = sum(len(group["params"]) for group in optimiser.param_groups)
    assert trained == sum(p.requires_grad for p in learner.parameters())
    assert Schedule(recipe.schedule, 10, recipe.epoch_scale).total_steps > 100
    hw = recipe.data.store_hw or recipe.input_hw
    pictures = torch.zeros(2, 3, *hw, dtype=torch.uint8)
    images = Augment({"hw": recipe.input_hw, **recipe.data.augment})(pictures, torch.Generator().manual_seed(0))
    assert images.shape == (2, 3, *recipe.input_hw)


def test_values_of_the_papers() -> None:
    """A few that are printed, typed in again from the papers' text."""
    robust, cp, attr, fidi = (load_recipe(n) for n in ("robust-reid", "confidence-cp", "am0bh-attr", "fidi"))
    assert (robust.sampler.p, robust.sampler.k, robust.input_hw) == (8, 4, [160, 64])
    assert sum(p.epochs for p in robust.schedule) == 875
    assert robust.expected["market1501"] == {"rank1": 96.2, "mAP": 89.7}
    assert (cp.optimiser.name, cp.optimiser.lr, cp.sampler.batch) == ("amsgrad", 6e-4, 32)
    assert [t["weight"] for t in cp.loss] == [3, 0.085]
    assert {t["name"]: t.get("weight", 1) for t in attr.loss} == {
        "angular_margin": 1, "attributes": 0.25, "triplet": 0.33}
    assert (fidi.sampler.p, fidi.sampler.k) == (8, 16)
    assert {k: fidi.loss[1][k] for k in ("alpha", "beta")} == {"alpha": 1.05, "beta": 0.5}
    assert load_recipe("slsr").optimiser.lr == 0.01


@pytest.mark.parametrize(("text", "message"), [
    ("optimiser.lrr=0.1", r"unknown key 'optimiser.lrr' \(did you mean 'optimiser.lr'"),
    ("optimiser.lr=abc", "'optimiser.lr' is 'abc', expected a number"),
    ("optimiser.lr=0", "'optimiser.lr' is 0.0, expected a number above 0"),
    ("optimiser.name=adma", r"'optimiser.name' is 'adma' \(did you mean 'adam'"),
    ("model.name=robust_reid_3x", "did you mean 'robust_reid_"),
    ("loss=[]", "'loss' is empty"),
    ("loss.0.name=crossentropy", "did you mean 'cross_entropy'"),
    ("loss.9.weight=1", "no place in a list of 2"),
    ("schedule.0.kind=cosine", "expected constant, steps, cyclic"),
    ("input_hw=[160]", r"expected \[height, width\]"),
    ("data.identities=1.5", "expected a share up to 1"),
    ("sampler=5", "'sampler' is 5, expected 'key: value' lines"),
    ("precision=float16", "known: float32, bfloat16"),
    ("nonsense", "expected key=value"),
    ("swag={rank: 1.5}", "'swag.rank' is 1.5, expected a whole number"),
    ("a.b={", "not valid YAML"), ("model.options=&a [*a]", "not valid YAML"),
])
def test_a_mistake_names_itself(text: str, message: str) -> None:
    with pytest.raises(ReidError, match=message):
        load_recipe("robust-reid-g", [text])


def test_a_file_on_a_base_changes_only_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: am0bh\noptimiser: {lr: 5e-4}\ndata: {augment: {erase: 0.1}}\n")
    mine, base = load_recipe(path), load_recipe("am0bh")
    assert mine.optimiser.lr == 5e-4
    assert mine.optimiser.name == base.optimiser.name
    assert mine.data.augment == {**base.data.augment, "erase": 0.1}
    assert mine.loss == base.loss
    assert mine.name == "mine"


@pytest.mark.parametrize(("text", "message"), [
    ("loss: [", "line 1: not valid YAML"), ("- 1\n", "expected 'key: value' lines"), ("base: mine", "back to itself"),
    ("model: &a {options: *a}\n", "a part holds itself"),
    ("base: compact\nbase: fidi\n", "line 2: .* 'base' is given twice"),
    ("base: am0bhh", "did you mean 'am0bh'"),
])
def test_a_broken_file_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ReidError, match=message):
        load_recipe(path)


def test_an_unknown_recipe_suggests_one() -> None:
    with pytest.raises(ReidError, match=r"no recipe 'am0bhs' \(did you mean 'am0bhsp'"):
        load_recipe("am0bhs")
    with pytest.raises(ReidError, match="does not exist"):
        load_recipe("nowhere/mine.yaml")


def test_patterns_give_layers_their_own_rate() -> None:
    recipe = load_recipe("compact", ["model.name=osnet_x0_25", "optimiser.lr_factors={classifier: 10}",
                                     "model.classifier=true", "input_hw=[256,128]"])
    learner = build_learner(recipe, 5, 0, torch.device("cpu"))
    groups = build_optimiser(learner, recipe.optimiser).param_groups
    assert sorted(np.round([g["lr"] / recipe.optimiser.lr for g in groups])) == [1, 10]
    recipe.optimiser.lr_factors = {"clasifier": 10.0}
    with pytest.raises(ReidError, match="'clasifier' is in no parameter's name"):
        build_optimiser(learner, recipe.optimiser)
