"""From a configuration to a detector, and what ``auto`` chooses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mctrack.config import DetectConfig
from mctrack.detect import DETECTORS
from mctrack.detect.auto import find_weights
from mctrack.detect.build import build_detector
from mctrack.detect.embedded import EmbeddedDetector
from mctrack.detect.file import FileDetector
from mctrack.detect.onnx import OnnxDetector
from mctrack.errors import ConfigError, WeightsError
from mctrack.registry import resolve
from mctrack.types import Detections, Frame, State
from mctrack.video.spec import CameraSpec

CAMERAS = [CameraSpec("a", "a.mp4", "file")]


class ThirdParty:
    """A detector of somebody else."""

    needs_images = False

    def __init__(self, config: DetectConfig, cameras: Sequence[CameraSpec], device: str, *, height: float = 1.0,
                 label: str = "x") -> None:
        self.description = f"third party {height} {label} {device} {len(cameras)}"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [Detections.empty() for _ in frames]

    def state(self) -> State:
        return {}

    def restore(self, state: State) -> None:
        """Nothing."""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and an empty home."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.delenv("MCTRACK_WEIGHTS", raising=False)
    return work


def network(path: Path) -> Path:
    """A valid end-to-end network that finds nobody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["nobody"], ["output0"])], "none",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 300, 6])],
        [numpy_helper.from_array(np.zeros((1, 300, 6), np.float32), "nobody")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def test_every_name_resolves() -> None:
    for name in DETECTORS:
        assert callable(resolve("detector", name, DETECTORS))


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"unknown detector 'embeded' \(did you mean 'embedded'\?\)"):
        build_detector(DetectConfig("embeded"), CAMERAS, "cpu")
    with pytest.raises(ConfigError, match=r"device 'gpu'.*one of auto, cpu, cuda"):
        build_detector(DetectConfig("background"), CAMERAS, "gpu")
    with pytest.raises(ConfigError, match=r"detector 'background' has no option 'hold' \(did you mean 'hold_s'\?\)"):
        build_detector(DetectConfig("background", options={"hold": 3}), CAMERAS, "cpu")
    with pytest.raises(ConfigError, match=r"detect\.options\.hold_s: 'long' is not float"):
        build_detector(DetectConfig("background", options={"hold_s": "long"}), CAMERAS, "cpu")
    with pytest.raises(ConfigError, match=r"detect\.options\.hold_s: True is not float"):
        build_detector(DetectConfig("background", options={"hold_s": True}), CAMERAS, "cpu")
    with pytest.raises(ConfigError, match=r"hold_s is -1"):
        build_detector(DetectConfig("background", options={"hold_s": -1}), CAMERAS, "cpu")
    with pytest.raises(ConfigError, match=r"detector 'background' takes no weights, but --weights names w\.onnx"):
        build_detector(DetectConfig("background", weights="w.onnx"), CAMERAS, "cpu")
    with pytest.raises(ConfigError, match="detector 'file' has no option 'x'; it has none"):
        build_detector(DetectConfig("file", options={"x": 3}), CAMERAS, "cpu")


def no_detector(config: DetectConfig, cameras: Sequence[CameraSpec], device: str) -> str:
    return device


@pytest.mark.parametrize(("name", "options", "said"), [
    ("os:getcwd", {}, "cannot be made from .*getcwd.*too many positional arguments"),
    ("os:sep", {}, "cannot be made from '/', .*not a callable"),
    ("builtins:dict", {}, "cannot be made from <class 'dict'>"),
    ("os:getcwd", {"x": 1}, "has no option 'x'; it has none"),
    (f"{__name__}:no_detector", {}, "makes something that has no 'detect'"),
])
def test_plug_ins_that_make_no_detector(name: str, options: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=f"detector '{name}' {said}") as caught:
        build_detector(DetectConfig(name, options=options), CAMERAS, "cpu")
    assert "\n" not in str(caught.value)


def test_options_arrive() -> None:
    config = DetectConfig(f"{__name__}:ThirdParty", options={"height": 2, "label": "y"})
    assert build_detector(config, CAMERAS, "cpu").description == "third party 2 y cpu 1"


def test_a_path_is_a_detector(bare: Path) -> None:
    network(bare / "any.onnx")
    assert isinstance(build_detector(DetectConfig("any.onnx"), CAMERAS, "cpu"), OnnxDetector)
    with pytest.raises(ConfigError, match=r"detector 'any\.onnx' is a weights file, but --weights names other\.onnx"):
        build_detector(DetectConfig("any.onnx", weights="other.onnx"), CAMERAS, "cpu")
    with pytest.raises(WeightsError, match=r"missing\.onnx: no such file"):
        build_detector(DetectConfig("missing.onnx"), CAMERAS, "cpu")


def test_auto_without_weights(bare: Path) -> None:
    detector = build_detector(DetectConfig(), CAMERAS, "cpu")
    assert isinstance(detector, EmbeddedDetector)
    assert "no weights here; for better boxes give --weights" in detector.description
    assert "\n" not in detector.description
    assert "auto" not in build_detector(DetectConfig("embedded"), CAMERAS, "cpu").description


@pytest.mark.parametrize("place", ["work/yolox_nano.onnx", "home/.cache/mctrack/yolo11n.onnx"])
def test_auto_finds_weights(bare: Path, place: str) -> None:
    path = network(bare.parent / place)
    detector = build_detector(DetectConfig(), CAMERAS, "cpu")
    assert isinstance(detector, OnnxDetector)
    assert f"auto: found {path}" in detector.description


def test_auto_order_of_places(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network(bare / "other.onnx")
    assert find_weights() is None
    here = network(bare / "yolov8n.onnx")
    assert find_weights() == here
    told = network(bare.parent / "told" / "yolox_s.onnx")
    monkeypatch.setenv("MCTRACK_WEIGHTS", str(told.parent))
    assert find_weights() == told
    exactly = network(bare.parent / "told" / "people.onnx")
    monkeypatch.setenv("MCTRACK_WEIGHTS", str(exactly))
    assert find_weights() == exactly


@pytest.mark.parametrize("installed", [False, True])
def test_pt_counts_only_with_ultralytics(bare: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    (bare / "yolo11n.pt").touch()
    monkeypatch.setattr("mctrack.detect.auto.find_spec", lambda name: installed or None)
    assert find_weights() == (bare / "yolo11n.pt" if installed else None)


def test_auto_by_given_weights(bare: Path) -> None:
    (bare / "dets").mkdir()
    (bare / "dets" / "a.txt").write_text("1,-1,1,2,3,40,1\n")
    assert isinstance(build_detector(DetectConfig(weights="dets"), CAMERAS, "cpu"), FileDetector)
    assert isinstance(build_detector(DetectConfig(weights="dets/a.txt"), CAMERAS, "cpu"), FileDetector)
    network(bare / "m.onnx")
    config = DetectConfig(weights="m.onnx", options={"threads": 1})
    assert isinstance(build_detector(config, CAMERAS, "cpu"), OnnxDetector)
    with pytest.raises(ConfigError, match="detector 'onnx' has no option 'thread'"):
        build_detector(DetectConfig(weights="m.onnx", options={"thread": 1}), CAMERAS, "cpu")
    with pytest.raises(ConfigError, match=r"--weights m\.bin: cannot tell which detector"):
        build_detector(DetectConfig(weights="m.bin"), CAMERAS, "cpu")


def test_auto_sequence_without_its_pictures(bare: Path) -> None:
    sequence = bare / "seq"
    (sequence / "det").mkdir(parents=True)
    (sequence / "det" / "det.txt").write_text("1,-1,1,2,3,40,1\n")
    (sequence / "seqinfo.ini").write_text("[Sequence]\nname=seq\nimDir=img1\nseqLength=2\n")
    cameras = [CameraSpec("seq", str(sequence), "sequence")]
    assert isinstance(build_detector(DetectConfig(), cameras, "cpu"), FileDetector)
    (sequence / "img1").mkdir()
    (sequence / "img1" / "000001.jpg").touch()
    assert isinstance(build_detector(DetectConfig(), cameras, "cpu"), FileDetector)
    (sequence / "img1" / "000002.jpg").touch()
    assert isinstance(build_detector(DetectConfig(), cameras, "cpu"), EmbeddedDetector)


def test_building_imports_nothing_heavy() -> None:
    code = (
        "import sys, mctrack.detect, mctrack.detect.build, mctrack.detect.auto, mctrack.detect.onnx, "
        "mctrack.detect.yolo, mctrack.detect.torchvision, mctrack.detect.file; "
        "bad = {'torch', 'torchvision', 'ultralytics', 'onnxruntime', 'cv2', 'onnx'} & set(sys.modules); "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "package", "extra"), [
    ("yolo", "torch", "yolo"), ("yolo", "ultralytics", "yolo"), ("torchvision", "torchvision", "torchvision"),
])
def test_missing_packages(name: str, package: str, extra: str, tmp_path: Path) -> None:
    if package == "ultralytics":
        pytest.importorskip("torch")
    if package == "torchvision":
        pytest.importorskip("torch")
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"x")
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from mctrack.config import DetectConfig\n"
        "from mctrack.detect.build import build_detector\n"
        "from mctrack.errors import ConfigError\n"
        f"try: build_detector(DetectConfig({name!r}, weights={str(weights)!r}), [], 'cpu')\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"detector '{name}' needs the package {package}: pip install 'mctrack[{extra}]'\n"
