"""YAML that people write: a key given twice, an anchor inside of what it names, values that only look like some."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mctrack.config import RunConfig, load_config
from mctrack.errors import ConfigError
from mctrack.evaluation.benchmark import load_benchmark
from mctrack.geometry.site import peek_site
from mctrack.resources import resource
from mctrack.strict_yaml import load_yaml
from mctrack.synth.scene import load_scene
from reid_models.errors import ReidError
from reid_models.strict import parse_yaml, set_dotted

SHIPPED = sorted([*resource("configs").rglob("*.yaml"), *resource("eval", "benchmarks").glob("*.yaml")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_what_is_shipped_reads_as_before(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert load_yaml(text) == yaml.safe_load(text)
    if path.parent.name == "train-reid":
        parse_yaml(path)


@pytest.mark.parametrize("text", [
    "base: &b {a: 1, b: 2}\nmore: {<<: *b, b: 3}\n", "one: &b {a: 1}\ntwo: &c {b: 2}\nboth: {<<: [*b, *c], a: 4}\n",
    "x: {<<: &n {<<: {a: 1}, a: 2}, b: 1}\nagain: *n\n", "l: &l [1, {a: 2}]\nm: *l\n", "1: a\n'1': b\n",
    "a: {b: 1}\nb: 2", "when: 2024-01-02\nbig: 0x1F\nnone: ~\n", "", "- a\n- {a: 1}\n- {a: 2}\n", "s: !!set {a, b}\n",
    "? [a, b]\n: c\n",
])  # fmt: skip
def test_everything_else_is_as_in_yaml(text: str) -> None:
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        with pytest.raises(yaml.YAMLError):
            load_yaml(text)
    else:
        assert load_yaml(text) == expected


@pytest.mark.parametrize(("text", "said"), [
    ("track: {n_init: 3}\nquiet: true\ntrack: {n_init: 4}\n", "line 3: not valid YAML (the key 'track' is given twice"),
    ("track:\n n_init: 3\n 'n_init': 4\n", "line 3: not valid YAML (the key 'n_init' is given twice, first in line 2)"),
    ("track: &a {noise: *a}\n", "line 1: not valid YAML (a part holds itself"),
    ("cams: &a [*a]\n", "line 1: not valid YAML (a part holds itself"), ("x: " + "[" * 5000 + "]" * 5000, "too deeply"),
    ("detect: {weights: 2024-99-99}\n", "month must be in 1..12"), ("quiet: !!bool x\n", "a value is not of its kind"),
    ("track: {n_init: !!int x}\n", "a value is not of its kind"), ("calib: !!timestamp x\n", "not of its kind"),
])  # fmt: skip
def test_a_configuration_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(RunConfig, [path])
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_assignment_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="'measure' is given twice"):
        load_config(RunConfig, assignments=["track.noise={measure: 1, measure: 2}"])


def test_every_file_that_people_write_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("name: a\nother: b\nname: c\n")
    for read in (load_benchmark, peek_site, lambda p: load_scene(str(p)), parse_yaml):
        with pytest.raises((ConfigError, ReidError)) as error:
            read(path)
        assert "line 3" in str(error.value)
        assert "the key 'name' is given twice, first in line 1" in str(error.value)
        assert str(path) in str(error.value)
    with pytest.raises(ReidError, match="not valid YAML"):
        set_dotted({}, "a={b: 1, b: 2}")


def test_recipes_may_merge(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("base: &b {lr: 1e-3, on: 2}\nother: {<<: *b, lr: 5e-4}\n")
    assert parse_yaml(path)["other"] == {"lr": 5e-4, "on": 2}
