"""Networks from ONNX files: tiny ones made here, whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reid_models import Calibration, ReidError, load
from reid_models.onnx import OnnxEmbedder

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def network(path, batch="n", size=(8, 4), out=None, metadata=None, kind=TensorProto.FLOAT, channels_last=False):
    """A network whose answer is the mean of every channel and row, so that its input can be read off."""
    height, width = size
    shape = [batch, height, width, 3] if channels_last else [batch, 3, height, width]
    nodes, last = [], "images"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [last], ["chw"], perm=[0, 3, 1, 2]))
        last = "chw"
    nodes.append(helper.make_node("ReduceMean", [last], ["rows"], axes=[3], keepdims=0))
    nodes.append(helper.make_node("Flatten", ["rows"], ["output"], axis=1))
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("output", kind, out or [batch, None])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, str(path))
    return path


def crops_of(rng, n, size=(8, 4)):
    return [rng.integers(1, 256, (*size, 3), dtype=np.uint8) for _ in range(n)]


def expected(crops, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), scale=1 / 255, bgr=False):
    rows = []
    for crop in crops:
        picture = crop.astype(float) if bgr else crop[..., ::-1].astype(float)
        picture = (picture * scale - mean) / std
        row = picture.mean(axis=1).T.ravel()
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


@pytest.mark.parametrize("batch", ["n", 1, 4])
@pytest.mark.parametrize("n", [0, 1, 7, 64])
def test_any_number_of_crops_with_any_batch(tmp_path, rng, batch, n):
    embedder = OnnxEmbedder(network(tmp_path / "net.onnx", batch), "cpu")
    crops = crops_of(rng, n)
    rows = embedder.embed(crops)
    assert rows.shape == (n, embedder.dim) == (n, 24)
    assert rows.dtype == np.float32
    if n:
        np.testing.assert_allclose(rows, expected(crops), atol=1e-5)


def test_rows_do_not_depend_on_neighbours(tmp_path, rng):
    embedder = OnnxEmbedder(network(tmp_path / "net.onnx"), "cpu")
    crops = crops_of(rng, 40)
    alone = np.concatenate([embedder.embed([crop]) for crop in crops])
    np.testing.assert_allclose(embedder.embed(crops), alone, atol=1e-6)


def test_channels_last_and_half_precision(tmp_path, rng):
    crops = crops_of(rng, 3)
    last = OnnxEmbedder(network(tmp_path / "last.onnx", channels_last=True), "cpu")
    np.testing.assert_allclose(last.embed(crops), expected(crops), atol=1e-5)
    half = OnnxEmbedder(network(tmp_path / "half.onnx", kind=TensorProto.FLOAT16), "cpu")
    rows = half.embed(crops)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected(crops), atol=5e-3)


def test_open_size_means_256_by_128(tmp_path, rng):
    embedder = OnnxEmbedder(network(tmp_path / "net.onnx", size=("h", "w")), "cpu")
    assert (embedder.options.height, embedder.options.width) == (256, 128)
    assert embedder.dim == 3 * 256


OTHER = {"colour": "bgr", "mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1.0, "name": "mine", "description": "made here"}


@pytest.mark.parametrize("where", ["sidecar", "metadata"])
def test_options_from_a_sidecar_or_metadata(tmp_path, rng, where):
    path = tmp_path / "net.onnx"
    if where == "sidecar":
        network(path)
        path.with_suffix(".json").write_text(json.dumps(OTHER))
    else:
        network(path, metadata={"reid_models": json.dumps(OTHER)})
    embedder = load(path, "cpu")
    crops = crops_of(rng, 3)
    np.testing.assert_allclose(embedder.embed(crops), expected(crops, 0, 1, 1, bgr=True), atol=1e-5)
    assert embedder.name == "mine"
    assert "made here" in embedder.description


def test_calibration_beside_the_file(tmp_path, rng):
    path = network(tmp_path / "net.onnx")
    plain = load(path, "cpu")
    assert plain.calibration.generic
    assert "generic calibration" in plain.description
    own = Calibration.fit(rng.uniform(0, 0.3, 50), rng.uniform(0.2, 1, 50), "own")
    path.with_suffix(".calibration.json").write_text(json.dumps(own.to_dict()))
    calibrated = load(path, "cpu")
    assert calibrated.calibration.source == "own"
    assert "generic" not in calibrated.description


@pytest.mark.parametrize(("options", "message"), [
    ("{", "not valid JSON"), ("[1]", "JSON object"), ('{"hight": 3}', "unknown key 'hight'"),
    ('{"std": [0, 1, 1]}', "'std'"), ('{"mean": 0.5}', "'mean'"), ('{"colour": "rbg"}', "'colour'"),
    ('{"height": 9}', "8 in the graph"), ('{"width": true}', "'width'"),
])
def test_bad_options_are_one_clear_line(tmp_path, options, message):
    path = network(tmp_path / "net.onnx")
    path.with_suffix(".json").write_text(options)
    with pytest.raises(ReidError, match=message) as error:
        load(path, "cpu")
    assert "\n" not in str(error.value)
    assert "net" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x80\x04\x95" + bytes(200), bytes(4096)])
def test_a_bad_file_is_one_clear_line(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ReidError) as error:
        load(path, "cpu")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_missing_and_directory(tmp_path):
    whole = network(tmp_path / "net.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dir.onnx").mkdir()
    for name in ("cut.onnx", "none.onnx", "dir.onnx"):
        with pytest.raises(ReidError, match=name):
            load(tmp_path / name, "cpu")


def test_a_detector_is_no_embedder(tmp_path):
    value = numpy_helper.from_array(np.zeros((1, 30, 85), np.float32), "answer")
    node = helper.make_node("Identity", ["answer"], ["output"])
    graph = helper.make_graph(
        [node], "det", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 30, 85])], [value])
    path = tmp_path / "detector.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    with pytest.raises(ReidError, match="is this an embedder"):
        load(path, "cpu")


def test_grey_input_is_refused(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["images"], ["output"])], "grey",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 64])])
    path = tmp_path / "grey.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    with pytest.raises(ReidError, match="colour pictures"):
        load(path, "cpu")


def test_answers_without_direction_are_an_error(tmp_path):
    # the mean of a crop equal to the shift is a row of zeros
    path = network(tmp_path / "net.onnx")
    path.with_suffix(".json").write_text(json.dumps({"mean": [0, 0, 0], "std": [1, 1, 1]}))
    embedder = load(path, "cpu")
    with pytest.raises(ReidError, match="rows of zeros"):
        embedder.embed([np.zeros((8, 4, 3), np.uint8)])


def test_cuda_where_there_is_none(tmp_path):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    path = network(tmp_path / "net.onnx")
    with pytest.raises(ReidError, match="no CUDA"):
        load(path, "cuda")
    assert load(path, "auto").device == "cpu"


@pytest.mark.parametrize("code", [
    "import sys; from reid_models.onnx import OnnxEmbedder; OnnxEmbedder(sys.argv[1], 'cpu')",
    "from mctrack.detect.engines import onnx_runtime; onnx_runtime()",
])
def test_nothing_is_sent_home(tmp_path, code):
    """ONNX Runtime's own telemetry keeps a device ID and a database in the home folder, and complains if it cannot."""
    import os
    import subprocess
    import sys

    path, home = network(tmp_path / "net.onnx"), tmp_path / "home"
    home.mkdir()
    # a continuous-integration run is no user to it
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    for place in (home, tmp_path / "no" / "home"):
        done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment | {"HOME": str(place)},
                              capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
    assert [str(p.relative_to(home)) for p in home.rglob("*")] == []
