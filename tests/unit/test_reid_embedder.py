"""Getting an embedder by name, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reid_models
from reid_models import EMBEDDERS, ReidError, load

ROOT = Path(reid_models.__file__).resolve().parents[1]


@pytest.mark.parametrize("name", EMBEDDERS)
def test_every_entry_loads_and_keeps_the_promise(name):
    embedder = load(name)
    assert embedder.name == name
    assert name in embedder.description
    rows = embedder.embed([np.full((60, 25, 3), 90, np.uint8)])
    assert rows.shape == (1, embedder.dim)
    assert rows.dtype == np.float32
    assert embedder.calibration.probability(rows @ rows.T - 1).shape == (1, 1)


def test_a_third_party_class():
    assert load("reid_models.histogram:HistogramEmbedder").dim == 896


def no_embedder(device):
    return device


@pytest.mark.parametrize(("name", "message"), [
    ("histogramm", "did you mean 'histogram'"), ("zzz", "known: histogram"), ("nowhere:Class", "cannot be loaded"),
    ("reid_models.histogram:Nothing", "has no 'Nothing'"), (":Class", "cannot be loaded"),
    ("none.onnx", "no such file"), ("os:getcwd", "'os:getcwd' cannot be made from .*'device'"),
    ("os:sep", "'os:sep' cannot be made from"), ("builtins:dict", "'builtins:dict' cannot be made from"),
    (f"{__name__}:no_embedder", "makes something that has no 'embed'"),
])
def test_an_unknown_name_is_one_clear_line(name, message):
    with pytest.raises(ReidError, match=message) as error:
        load(name)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)


def test_other_weights_are_refused_with_a_hint(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"x")
    with pytest.raises(ReidError, match=r"export the model to ONNX"):
        load(path)


def test_device_is_checked():
    with pytest.raises(ReidError, match="expected auto, cpu or cuda"):
        load("histogram", "tpu")


def test_import_is_light_and_alone():
    code = ("import sys, reid_models; reid_models.load('histogram');"
            "print([m for m in ('mctrack', 'torch', 'onnxruntime', 'cv2', 'av', 'scipy') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
