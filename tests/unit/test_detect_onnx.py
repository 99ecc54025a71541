"""Small ONNX graphs whose answers are known, through both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mctrack.config import DetectConfig
from mctrack.detect.decode import cells
from mctrack.detect.onnx import OnnxDetector
from mctrack.detect.onnx_header import read_header
from mctrack.errors import ConfigError, WeightsError
from mctrack.types import Frame

SIDE = 64
COUNT = 8 * 8 + 4 * 4 + 2 * 2
NAMES = "{0: 'dog', 1: 'person', 2: 'cat'}"


def save(
    path: Path, fixed: np.ndarray, per_light: np.ndarray, shape: tuple[int | str, ...] = ("n", 3, SIDE, SIDE),
    metadata: dict[str, str] | None = None, scale: float = 1 / 255,
) -> str:
    """A network that answers ``fixed + per_light · scale · (mean of its input)`` for every picture."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["light"]),
        helper.make_node("Mul", ["light", "per_light"], ["part"]),
        helper.make_node("Add", ["part", "fixed"], ["output0"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "column"),
        numpy_helper.from_array((per_light * scale)[None].astype(np.float32), "per_light"),
        numpy_helper.from_array(fixed[None].astype(np.float32), "fixed"),
    ]
    graph = helper.make_graph(
        nodes, "toy", [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [shape[0], *fixed.shape])], constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return str(path)


def yolov8(path: Path, shape: tuple[int | str, ...] = ("n", 3, SIDE, SIDE), names: str | None = NAMES) -> str:
    """Person at (8, 16)–(24, 56) of the input, its score the picture's mean light; a dog and a weaker twin."""
    fixed, light = np.zeros((7, COUNT)), np.zeros((7, COUNT))
    fixed[:4, 10] = 16, 36, 16, 40
    light[5, 10] = 1
    fixed[:4, 11] = 17, 36, 16, 40
    light[5, 11] = 0.9
    fixed[:4, 40] = 40, 40, 16, 40
    fixed[4, 40], fixed[5, 40] = 0.95, 0.6
    return save(path, fixed, light, shape, {"names": names} if names else None, scale=1.0)


def yolox(path: Path, decoded: bool, shape: tuple[int | str, ...] = ("n", 3, SIDE, SIDE)) -> str:
    """Person at (8, 16)–(24, 56), objectness 0.9, class 0.5 + half the light; every other cell predicts itself."""
    grid = cells((SIDE, SIDE), COUNT)
    assert grid is not None
    fixed, light = np.zeros((COUNT, 8)), np.zeros((COUNT, 8))
    fixed[:, :2] = 0.5
    row = int(np.flatnonzero((grid[0] == [2, 4]).all(axis=1) & (grid[1][:, 0] == 8))[0])
    fixed[row] = [16 / 8 - 2, 36 / 8 - 4, np.log(16 / 8), np.log(40 / 8), 0.9, 0.5, 0, 0]
    light[row, 5] = 0.5
    if decoded:
        fixed[:, :2] = (fixed[:, :2] + grid[0]) * grid[1]
        fixed[:, 2:4] = np.exp(fixed[:, 2:4]) * grid[1]
    return save(path, fixed, light, shape)


def frame(grey: int, width: int = 64, height: int = 64, camera: str = "a") -> Frame:
    return Frame(camera, 0, 0.0, np.full((height, width, 3), grey, np.uint8), (width, height))


def build(weights: str, **options: object) -> OnnxDetector:
    score = options.pop("score", 0.1)
    return OnnxDetector(DetectConfig(weights=weights, score=score), [], "cpu", **options)


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
def test_yolov8(tmp_path: Path, engine: str) -> None:
    detector = build(yolov8(tmp_path / "m.onnx"), engine=engine, **({"person_class": 1} if engine == "opencv" else {}))
    found = detector.detect([frame(204)])[0]
    np.testing.assert_allclose(found.xyxy, [[8, 16, 24, 56]], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.8], atol=1e-3)  # OpenCV 4 rounds on some processors
    assert "yolov8 m.onnx, 64×64" in detector.description


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
@pytest.mark.parametrize("decoded", [False, True])
def test_yolox(tmp_path: Path, engine: str, decoded: bool) -> None:
    weights = yolox(tmp_path / "x.onnx", decoded)
    found = build(weights, engine=engine).detect([frame(0)])[0]
    np.testing.assert_allclose(found.xyxy, [[8, 16, 24, 56]], atol=1e-3)
    np.testing.assert_allclose(found.score, [0.45], atol=1e-5)


def test_yolox_gets_0_to_255_and_yolov8_0_to_1(tmp_path: Path) -> None:
    found = build(yolox(tmp_path / "x.onnx", False)).detect([frame(255)])[0]
    np.testing.assert_allclose(found.score, [0.9 * (0.5 + 0.5)], atol=1e-5)
    found = build(yolov8(tmp_path / "m.onnx")).detect([frame(255)])[0]
    np.testing.assert_allclose(found.score, [1.0], atol=1e-5)


def test_option_overrules_what_was_found_out(tmp_path: Path) -> None:
    weights = yolox(tmp_path / "x.onnx", decoded=False)
    assert len(build(weights, decoded=True).detect([frame(0)])[0]) == 0  # 2 pixels tall when read so
    with pytest.raises(WeightsError, match=r"x\.onnx: outputs \(1, 84, 8\), not the yolov8 that was asked for"):
        build(weights, family="yolov8")


def test_end2end(tmp_path: Path) -> None:
    fixed = np.zeros((300, 6))
    fixed[0] = [8, 16, 24, 56, 0.7, 1]
    fixed[1] = [30, 16, 46, 56, 0.9, 0]
    weights = save(tmp_path / "e.onnx", fixed, np.zeros((300, 6)), metadata={"names": NAMES})
    found = build(weights).detect([frame(99)])[0]
    np.testing.assert_allclose(found.xyxy, [[8, 16, 24, 56]], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.7], atol=1e-6)


def test_boxes_return_to_pictures_of_other_sizes(tmp_path: Path) -> None:
    centred, cornered = build(yolov8(tmp_path / "m.onnx")), build(yolox(tmp_path / "x.onnx", False))
    # 128×64 becomes 64×32 with 16 rows of border above (ultralytics) or none (YOLOX)
    wide = frame(255, 128, 64)
    np.testing.assert_allclose(centred.detect([wide])[0].xyxy, [[16, 0, 48, 64]], atol=1e-3)
    np.testing.assert_allclose(cornered.detect([wide])[0].xyxy, [[16, 32, 48, 64]], atol=1e-3)


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_batch_equals_single(tmp_path: Path, batch: int | str) -> None:
    detector = build(yolov8(tmp_path / "m.onnx", (batch, 3, SIDE, SIDE)))
    frames = [frame(255), frame(128, 128, 64), Frame("c", 0, 0.0, None, (64, 64)), frame(51, 100, 300), frame(10)]
    together = detector.detect(frames)
    assert len(together) == 5
    assert len(together[2]) == 0
    assert len(together[4]) == 0  # too dark: below the threshold
    for one, found in zip(frames, together, strict=True):
        alone = detector.detect([one])[0]
        np.testing.assert_array_equal(alone.xyxy, found.xyxy)
        np.testing.assert_array_equal(alone.score, found.score)


def test_no_frames(tmp_path: Path) -> None:
    detector = build(yolov8(tmp_path / "m.onnx"))
    assert detector.detect([]) == []
    assert [len(d) for d in detector.detect([Frame("a", 0, 0.0, None, (5, 5))])] == [0]
    assert detector.state() == {}
    detector.restore({})


def test_free_input_size(tmp_path: Path) -> None:
    """An output that follows the input's size: one score for each cell of stride 8 and up."""
    weights = str(tmp_path / "free.onnx")
    nodes, parts = [], []
    for stride in (8, 16, 32):
        nodes.append(helper.make_node("AveragePool", ["images"], [f"p{stride}"], kernel_shape=[stride] * 2,
                                      strides=[stride] * 2))
        nodes.append(helper.make_node("Reshape", [f"p{stride}", "flat"], [f"f{stride}"]))
        parts.append(f"f{stride}")
    nodes += [
        helper.make_node("Concat", parts, ["cells"], axis=2),
        helper.make_node("MatMul", ["mix", "cells"], ["mixed"]),
        helper.make_node("Add", ["mixed", "fixed"], ["output0"]),
    ]
    # rows: box at (16, 36), 16×40; the score is the cell's blue value
    mix = np.zeros((1, 5, 3), np.float32)
    mix[0, 4, 2] = 1
    fixed = np.array([16, 36, 16, 40, 0], np.float32).reshape(1, 5, 1)
    constants = [numpy_helper.from_array(v, n) for v, n in
                 ((np.array([0, 3, -1], np.int64), "flat"), (mix, "mix"), (fixed, "fixed"))]
    graph = helper.make_graph(
        nodes, "free", [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 5, "cells"])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"imgsz": "[96, 96]", "names": "['pedestrian']"})
    onnx.save(model, weights)
    detector = build(weights)
    assert "96×96" in detector.description
    assert "128×128" in OnnxDetector(DetectConfig(weights=weights, input_size=128), [], "cpu").description
    blue = np.zeros((48, 96, 3), np.uint8)
    blue[..., 0] = 204
    frames = [Frame("a", 0, 0.0, blue, (96, 48)), Frame("b", 0, 0.0, blue[:, :48].copy(), (48, 48))]
    found = detector.detect(frames)
    # 96×48 → 96×64 with 8 rows above; 48×48 → 96×96 at twice the size
    np.testing.assert_allclose(found[0].xyxy, [[8, 8, 24, 48]], atol=1e-3)
    np.testing.assert_allclose(found[1].xyxy, [[4, 8, 12, 28]], atol=1e-3)
    np.testing.assert_allclose(found[0].score, [0.8], atol=1e-5)
    for size, said in ((100, "multiple of 32"), (100_000, "a whole number from 16 to 4096")):
        with pytest.raises(ConfigError, match=said):
            OnnxDetector(DetectConfig(weights=weights, input_size=size), [], "cpu")
    helper.set_model_props(model, {"imgsz": "[32000000, 32000000]"})
    onnx.save(model, weights)
    with pytest.raises(WeightsError, match="does not run at 32000000×32000000"):
        build(weights)


def test_half_precision(tmp_path: Path) -> None:
    fixed = np.zeros((1, 300, 6), np.float16)
    fixed[0, 0] = [8, 16, 24, 56, 0.75, 0]
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
             helper.make_node("Reshape", ["mean", "column"], ["light"]),
             helper.make_node("Mul", ["light", "zero"], ["part"]), helper.make_node("Add", ["part", "fixed"], ["out"])]
    constants = [numpy_helper.from_array(v, n) for v, n in
                 ((np.array([-1, 1, 1], np.int64), "column"), (np.zeros(1, np.float16), "zero"), (fixed, "fixed"))]
    graph = helper.make_graph(
        nodes, "half", [helper.make_tensor_value_info("images", TensorProto.FLOAT16, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT16, [1, 300, 6])], constants)
    path = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    found = build(str(path)).detect([frame(10)])[0]
    np.testing.assert_allclose(found.xyxy, [[8, 16, 24, 56]])
    np.testing.assert_allclose(found.score, [0.75])


def test_person_class(tmp_path: Path) -> None:
    weights = yolov8(tmp_path / "m.onnx")
    dog = build(weights, person_class="Dog").detect([frame(10)])[0]
    np.testing.assert_allclose(dog.xyxy, [[32, 20, 48, 60]], atol=1e-4)
    np.testing.assert_allclose(build(weights, person_class=0).detect([frame(10)])[0].score, [0.95], atol=1e-6)
    with pytest.raises(ConfigError, match=r"'persn': m\.onnx has no such class \(did you mean 'person'\?\)"):
        build(weights, person_class="persn")
    with pytest.raises(ConfigError, match="has the classes 0…2"):
        build(weights, person_class=3)
    nobody = yolov8(tmp_path / "n.onnx", names="{0: 'dog', 1: 'horse', 2: 'cat'}")
    with pytest.raises(WeightsError, match=r"none of its classes is a person \(dog, horse, cat, …\)"):
        build(nobody)


def _text(path: Path) -> None:
    path.write_text("this is no network at all, just words")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    yolov8(path)
    path.write_bytes(path.read_bytes()[:900])


def _classifier(path: Path) -> None:
    save(path, np.zeros((1, 1000)), np.zeros((1, 1000)))


def _vector_input(path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "v",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


@pytest.mark.parametrize(("make", "message"), [
    (_text, "not an ONNX file"),
    (_empty, "not an ONNX file"),
    (_cut, "not an ONNX file"),
    (_classifier, r"outputs \(1, 1, 1000\); supported: YOLOX"),
    (_vector_input, r"its input is \(\?, 5\), expected pictures"),
    (lambda path: None, "no such file"),
    (lambda path: path.mkdir(), "cannot be read"),
])
@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
def test_bad_files(tmp_path: Path, make: Callable[[Path], None], message: str, engine: str) -> None:
    path = tmp_path / "bad.onnx"
    make(path)
    with pytest.raises(WeightsError, match=f"bad.onnx: .*{message}") as caught:
        build(str(path), engine=engine)
    assert "\n" not in str(caught.value)


def test_every_damaged_header_is_one_line(tmp_path: Path, rng: np.random.Generator) -> None:
    whole = Path(yolov8(tmp_path / "m.onnx")).read_bytes()
    path = tmp_path / "damaged.onnx"
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 4):
            data[at] = rng.integers(0, 256)
        path.write_bytes(bytes(data[: rng.integers(1, len(data) + 1)]))
        message = ""
        try:
            assert isinstance(read_header(path).input_shape, tuple)
        except WeightsError as error:
            message = str(error)
        refused += bool(message)
        assert "\n" not in message
    assert refused > 30


def test_header_agrees_with_onnx(tmp_path: Path) -> None:
    header = read_header(Path(yolov8(tmp_path / "m.onnx", ("n", 3, SIDE, 128))))
    assert header.input_shape == (None, 3, SIDE, 128)
    assert header.metadata == {"names": NAMES}


def test_mistakes_in_the_configuration(tmp_path: Path) -> None:
    weights = yolov8(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=r"input_size is 96, but m\.onnx is fixed to 64×64"):
        OnnxDetector(DetectConfig(weights=weights, input_size=96), [], "cpu")
    with pytest.raises(ConfigError, match="needs its weights"):
        OnnxDetector(DetectConfig(), [], "cpu")
    with pytest.raises(ConfigError, match=r"engine: 'opncv' \(did you mean 'opencv'\?\)"):
        build(weights, engine="opncv")
    with pytest.raises(ConfigError, match="threads is -1"):
        build(weights, threads=-1)
    with pytest.raises(ConfigError, match="device cuda"):
        OnnxDetector(DetectConfig(weights=weights), [], "cuda", engine="opencv")
