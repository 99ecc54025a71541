"""The presets in ``configs/run``: the defaults written out, and one that builds for every name in a registry."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import asdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mctrack.associate import ASSOCIATORS
from mctrack.commented import default_yaml
from mctrack.config import RunConfig, load_config
from mctrack.detect import DETECTORS
from mctrack.detect.build import build_detector
from mctrack.registry import resolve
from mctrack.resources import resource
from mctrack.track.camera_tracker import MOTION_MODELS, CameraTracker
from mctrack.types import Detections
from mctrack.video.spec import CameraSpec
from reid_models import EMBEDDERS
from reid_models import load as load_embedder
from reid_models.shipped import FOLDER as SHIPPED
from reid_models.shipped import shipped_names

FOLDER = resource("configs", "run")
KINDS = {"detector": DETECTORS, "associator": ASSOCIATORS, "embedder": EMBEDDERS, "motion": MOTION_MODELS}
CAMERA = CameraSpec("a", "a.mp4", "file")


def preset(name: str) -> RunConfig:
    return load_config(RunConfig, [name])


def test_the_default_preset_is_the_defaults_with_comments() -> None:
    assert preset("default") == RunConfig()
    assert (FOLDER / "default.yaml").read_text(encoding="utf-8") == default_yaml(), (
        "out of date: python -m mctrack.commented > configs/run/default.yaml"
    )


def test_the_default_preset_explains_its_keys() -> None:
    lines = default_yaml().splitlines()
    for note in ("# First frame of every camera, 0-based.", "# Finding people."):
        assert sum(line.strip() == note for line in lines) == 1
    bare = [b for a, b in pairwise(lines) if ":" in b and "#" not in a and "#" not in b]
    assert len(bare) < 0.15 * len(lines)


def test_there_is_a_preset_for_every_name_and_no_other() -> None:
    wanted = {f"{kind}-{name}" for kind, table in KINDS.items() for name in table} | {"default", "motdt"}
    assert {p.stem for p in FOLDER.glob("*.yaml")} == wanted


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*-*.yaml")), ids=lambda p: p.stem)
def test_presets_name_what_their_file_says_and_change_nothing_else(path: Path) -> None:
    kind, _, name = path.stem.partition("-")
    config = preset(path.stem)
    section, key = {"detector": ("detect", "name"), "associator": ("associate", "name"), "embedder": ("reid", "name"),
                    "motion": ("track", "motion")}[kind]
    assert getattr(getattr(config, section), key) == name
    for other, values in asdict(RunConfig()).items():
        assert other == section or asdict(config)[other] == values
    assert path.read_text(encoding="utf-8").startswith("# ")


def network(path: Path) -> Path:
    """An ONNX file that a detector takes and that finds nobody."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["nobody"], ["output0"])], "none",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 300, 6])],
        [numpy_helper.from_array(np.zeros((1, 300, 6), np.float32), "nobody")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and a home without weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MCTRACK_WEIGHTS", raising=False)
    return tmp_path


def test_detectors_without_weights_build(bare: Path) -> None:
    for name, found in (("auto", "embedded"), ("embedded", "embedded"), ("background", "background")):
        config = preset(f"detector-{name}")
        assert build_detector(config.detect, [CAMERA], config.device).description.startswith(found)


def test_the_file_detector_builds(bare: Path) -> None:
    (bare / "a.txt").write_text("1,-1,10,20,30,60,0.9\n")
    config = load_config(RunConfig, ["detector-file"], {"detect.weights": str(bare)})
    assert build_detector(config.detect, [CAMERA], config.device).description.startswith("file")


def test_the_onnx_detector_builds(bare: Path) -> None:
    config = load_config(RunConfig, ["detector-onnx"], {"detect.weights": str(network(bare / "none.onnx"))})
    assert build_detector(config.detect, [CAMERA], "cpu").description.startswith("onnx: end2end none.onnx")


def test_the_torchvision_detector_builds(bare: Path) -> None:
    torch, models = pytest.importorskip("torch"), pytest.importorskip("torchvision.models")
    config = load_config(RunConfig, ["detector-torchvision"], {"detect.weights": str(bare / "own.pth")})
    net = models.get_model(config.detect.options["model"], weights=None, weights_backbone=None, num_classes=2)
    torch.save(net.state_dict(), bare / "own.pth")
    assert build_detector(config.detect, [CAMERA], "cpu").description.startswith("torchvision: ")


def test_the_yolo_detector_builds(bare: Path) -> None:
    """In a process of its own: ultralytics leaves traces. Untrained weights under the preset's own file name."""
    if find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed")
    code = """
        import torch
        from mctrack.config import RunConfig, load_config
        from mctrack.detect.build import build_detector
        from mctrack.errors import WeightsError

        config = load_config(RunConfig, ["detector-yolo"])
        open("yolo11n.pt", "w").close()
        try:
            build_detector(config.detect, [], "cpu")
        except WeightsError:  # an empty file; but ultralytics is imported now, undisturbed
            from ultralytics.nn import tasks
        net = tasks.DetectionModel("yolo11n.yaml", verbose=False)
        torch.save({"model": net, "train_args": {"imgsz": 96}}, "yolo11n.pt")
        print(build_detector(config.detect, [], "cpu").description)
    """
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.stdout.startswith("yolo: yolo11n.pt, 96 px, cpu"), done.stderr


@pytest.mark.parametrize("name", EMBEDDERS)
def test_embedders_build_and_describe(name: str, rng: np.random.Generator) -> None:
    if name in shipped_names() and not (SHIPPED / f"{name}.onnx").is_file():
        pytest.importorskip("torch")  # it is exported at its first use
    embedder = load_embedder(preset(f"embedder-{name}").reid.name)
    rows = embedder.embed([rng.integers(0, 256, (64, 32, 3)).astype(np.uint8)])
    assert rows.shape == (1, embedder.dim)


@pytest.mark.parametrize("name", ASSOCIATORS)
def test_associators_build(name: str) -> None:
    config = preset(f"associator-{name}").associate
    associator = resolve("associator", config.name, ASSOCIATORS)(config, ["a", "b"], None)
    assert associator.update(0.0, []) == ()
    assert associator.finish() == ()


@pytest.mark.parametrize("name", MOTION_MODELS)
def test_motion_models_build_and_follow(name: str) -> None:
    tracker = CameraTracker(preset(f"motion-{name}").track)
    for k in range(8):
        tracks = tracker.update(Detections(np.array([[10.0 + k, 20, 40 + k, 100]]), np.array([0.9])), k / 10)
    assert tracks.track_id.tolist() == [1]
    assert abs(float(tracks.xyxy[0, 0]) - 17) < 2
