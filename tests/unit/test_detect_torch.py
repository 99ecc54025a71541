"""The torch detectors with untrained networks: what goes in, what comes out, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mctrack.config import DetectConfig
from mctrack.errors import ConfigError, WeightsError
from mctrack.types import Frame

torch = pytest.importorskip("torch")


def frame(camera: str, width: int, height: int) -> Frame:
    image = np.random.default_rng(len(camera)).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Frame(camera, 0, 0.0, image, (width, height))


FRAMES = [frame("a", 96, 64), Frame("none", 0, 0.0, None, (96, 64)), frame("bb", 64, 96), frame("ccc", 96, 64)]


def check_batch(detector: object, frames: list[Frame], tolerance: float) -> None:
    for one, found in zip(FRAMES, detector.detect(FRAMES), strict=True):  # type: ignore[attr-defined]
        assert (len(found) > 0) == (one.image is not None)
        assert (found.xyxy >= 0).all()
        assert (found.xyxy <= np.array([*one.size, *one.size])).all()
    together = detector.detect(frames)  # type: ignore[attr-defined]
    for one, found in zip(frames, together, strict=True):
        alone = detector.detect([one])[0]  # type: ignore[attr-defined]
        np.testing.assert_allclose(alone.xyxy, found.xyxy, atol=tolerance)
        np.testing.assert_allclose(alone.score, found.score, atol=1e-5)
    assert detector.detect([]) == []  # type: ignore[attr-defined]
    assert detector.state() == {}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def rcnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained Faster R-CNN for background and person."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    net = models.get_model("fasterrcnn_mobilenet_v3_large_320_fpn", weights=None, weights_backbone=None, num_classes=2)
    path = tmp_path_factory.mktemp("rcnn") / "rcnn.pth"
    torch.save(net.state_dict(), path)
    return path


def rcnn_detector(weights: Path | str | None, **options: object) -> object:
    from mctrack.detect.torchvision import TorchvisionDetector

    # an untrained net gives everybody about 0.5
    path = None if weights is None else str(weights)
    config = DetectConfig(weights=path, score=0.3, input_size=96, max_detections=20)
    return TorchvisionDetector(config, [], "cpu", **options)


def test_torchvision(rcnn: Path) -> None:
    detector = rcnn_detector(rcnn)
    assert "rcnn.pth, cpu (BSD licence)" in detector.description  # type: ignore[attr-defined]
    # pictures of another shape widen the batch's border, which untrained weights do see
    check_batch(detector, [f for f in FRAMES if f.size == (96, 64)], 1e-3)


def test_torchvision_reads_safetensors(rcnn: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    weights = torch.load(rcnn, weights_only=True)
    safetensors.save_file({k: v.contiguous() for k, v in weights.items()}, str(tmp_path / "w.safetensors"))
    one, other = rcnn_detector(rcnn), rcnn_detector(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(
        one.detect(FRAMES[:1])[0].xyxy, other.detect(FRAMES[:1])[0].xyxy)  # type: ignore[attr-defined]


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.flag}",)


def test_torchvision_refuses(rcnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: no such file"):
        rcnn_detector(tmp_path / "none.pth")
    torch.save({"model": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match=r"trap\.pth: not a readable state dict"):
        rcnn_detector(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=r"empty\.pth: holds no state dict"):
        rcnn_detector(tmp_path / "empty.pth")
    torch.save({"layer": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: these weights are not of fasterrcnn_mobilenet"):
        rcnn_detector(tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"person_class is 2: rcnn\.pth has the labels 1…1"):
        rcnn_detector(rcnn, person_class=2)
    with pytest.raises(ConfigError, match=r"detect\.options\.model: 'resnet50'"):
        rcnn_detector(rcnn, model="resnet50")

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"cannot be downloaded \(no route to host\); .* --weights FILE"):
        rcnn_detector(None)


YOLO_CHECK = """
import os, sys, logging
from pathlib import Path
import cv2, numpy as np, torch, PIL.Image
sys.path.insert(0, {tests!r})
from test_detect_torch import FRAMES, Trap, check_batch
from mctrack.config import DetectConfig
from mctrack.detect.auto import find_weights
from mctrack.detect.yolo import YoloDetector
from mctrack.errors import ConfigError, WeightsError

work = Path.cwd()
torch.set_num_threads(1)
cv2.setNumThreads(1)

def surroundings():
    return (torch.get_num_threads(), cv2.getNumThreads(), dict(os.environ), str(np.get_printoptions()),
            PIL.Image.open, torch.save, torch.load, cv2.imread, cv2.imshow)

def message(weights, **config):
    try:
        YoloDetector(DetectConfig(weights=weights, **config), [], "cpu")
    except (ConfigError, WeightsError) as error:
        assert "\\n" not in str(error), error
        return f"{{type(error).__name__}} {{error}}"
    return "no error"

before = surroundings()
assert "no such file" in message("yolo99x.pt")
assert surroundings() == before, [(a, b) for a, b in zip(surroundings(), before) if a != b]
from ultralytics.nn import tasks  # as the detector imported it
torch.manual_seed(0)
net = tasks.DetectionModel("yolo11n.yaml", verbose=False)
net.names[0] = "person"
net.model[-1].cv3[0][2].bias.data[0] = 3.0  # an untrained net sees nobody: make it believe
torch.save({{"model": net, "train_args": {{"imgsz": 96}}}}, "own.pt")
detector = YoloDetector(DetectConfig(weights="own.pt", max_detections=20), [], "cpu")
assert surroundings() == before
assert detector.description == "yolo: own.pt, 96 px, cpu (ultralytics, AGPL-3.0)", detector.description
check_batch(detector, FRAMES, 1e-3)
large = YoloDetector(DetectConfig(weights="own.pt", input_size=160), [], "cpu")
assert "160 px" in large.description

torch.save({{"model": Trap(work / "sprung")}}, "trap.pt")
assert "no ultralytics model that can be loaded safely" in message("trap.pt")
cfg = tasks.yaml_model_load("yolo11n.yaml")
cfg["activation"] = f"__import__('os').system('touch {{work / 'sprung'}}')"
class Builder:
    def __reduce__(self):
        return tasks.DetectionModel, (cfg,)
torch.save({{"model": Builder()}}, "builder.pt")
assert "no ultralytics model that can be loaded safely" in message("builder.pt")
assert not (work / "sprung").exists()
(work / "cut.pt").write_bytes((work / "own.pt").read_bytes()[:5000])
assert "WeightsError cut.pt" in message("cut.pt")
(work / "text.pt").write_text("hello")
assert "WeightsError text.pt" in message("text.pt")
assert "use --detector onnx" in message("m.onnx")
assert "multiple of 32" in message("own.pt", input_size=100)
tasks._SafeLoad.SUPPORTED = False  # an older torch: ultralytics would silently load without any care
assert "export the model to ONNX" in message("own.pt")

import ultralytics.utils.downloads as downloads
def offline(*args, **kwargs):
    raise ConnectionError("no network\\nat all")
downloads.attempt_download_asset = offline
assert "yolo11n.pt cannot be downloaded (no network); fetch it elsewhere" in message("yolo11n.pt")
assert "yolo11n.pt cannot be downloaded" in message(None)

(work / "own.pt").rename("yolo11n.pt")
assert find_weights() == work / "yolo11n.pt"
assert surroundings() == before
assert not (work / "home" / ".config").exists()
"""


def test_yolo(tmp_path: Path) -> None:
    """In a process of its own, since an import of ultralytics cannot be taken back; nothing may be printed."""
    if find_spec("ultralytics") is None:  # not importorskip: the import would disturb every later test
        pytest.skip("ultralytics is not installed")
    (tmp_path / "home").mkdir()
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "ignore",
                   "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    for name in ("MCTRACK_WEIGHTS", "YOLO_CONFIG_DIR", "XDG_CONFIG_HOME", "ULTRALYTICS_SAFE_LOAD"):
        environment.pop(name, None)
    code = textwrap.dedent(YOLO_CHECK.format(tests=str(Path(__file__).parent)))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""
