"""The benchmark of looking back: what it builds is the case that it says it times."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from eval_script import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("bench_hindsight")


def test_wrong_names_are_there_and_are_put_right(script: ModuleType) -> None:
    row = script.measure(80, 64, 1)
    assert row["accuracy before"] < 1
    assert row["accuracy"] >= 0.95
    assert row["accuracy"] >= row["accuracy before"]
    assert row["x baseline"] == pytest.approx(row["ms"] / row["baseline ms"])


def test_accuracy_is_one_name_a_person_and_one_person_a_name(script: ModuleType) -> None:
    person = np.array([0, 0, 0, 1, 1])
    assert script.accuracy(np.array([7, 7, 7, 2, 2]), person) == 1
    assert script.accuracy(np.array([7, 7, 2, 2, 2]), person) == pytest.approx(0.8)
    assert script.accuracy(np.array([7, 7, 7, 7, 7]), person) == pytest.approx(0.6)
