"""Trained weights as an embedder: torch, ONNX Runtime behind it, what is kept, what is shipped."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from reid_tiny import tiny, tiny_model  # noqa: E402, F401

from reid_models import Calibration, ReidError, embedder, export, load, shipped, torch_embedder  # noqa: E402
from reid_models.calibrate import fit_held_out  # noqa: E402
from reid_models.card import describe  # noqa: E402
from reid_models.onnx import OnnxEmbedder  # noqa: E402
from reid_models.torch_embedder import TorchEmbedder, load_trained  # noqa: E402
from reid_models.weights import save_weights, update_card  # noqa: E402


def crops_of(rng, n):
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in rng.integers(1, 70, (n, 2))]


@pytest.fixture
def weights(tmp_path, tiny_model):  # noqa: F811
    path = tmp_path / "net.safetensors"
    save_weights(path, tiny_model, {"recipe": "quick", "data": "own"})
    return path


def calibration(rng, source):
    return Calibration.fit(rng.normal(0.3, 0.05, 500), rng.normal(0.7, 0.05, 500), source)


# ---------------------------------------------------------------------- torch


@pytest.mark.parametrize("n", [0, 1, 33, 64])
def test_any_number_of_crops_of_any_size(weights, rng, n):
    net = TorchEmbedder(weights, "cpu")
    rows = net.embed(crops_of(rng, n))
    assert rows.shape == (n, net.dim) == (n, 12)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(n), atol=1e-5)


def test_rows_are_those_of_the_model_on_normalised_rgb(tiny_model, rng):  # noqa: F811
    crops = [rng.integers(0, 256, (32, 16, 3), dtype=np.uint8) for _ in range(3)]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    rows = TorchEmbedder(tiny_model, "cpu").embed(crops)
    for crop, row in zip(crops, rows, strict=True):
        picture = ((crop[..., ::-1] / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
        with torch.inference_mode():
            np.testing.assert_allclose(row, tiny_model.descriptor_only(torch.from_numpy(picture))[0], atol=1e-5)


def test_rows_do_not_depend_on_neighbours(weights, rng):
    net, crops = TorchEmbedder(weights, "cpu"), crops_of(rng, 40)
    alone = np.concatenate([net.embed([crop]) for crop in crops])
    np.testing.assert_allclose(net.embed(crops), alone, atol=1e-5)


def test_what_it_says_of_itself(weights, tiny_model, rng):  # noqa: F811
    net = TorchEmbedder(weights, "cpu")
    assert net.name == "net"
    assert "tiny, trained with quick on own, 12-d, cpu, torch; generic calibration" in net.description
    assert "training unknown" in TorchEmbedder(tiny_model, "cpu").description
    update_card(weights, calibration=calibration(rng, "held-out pairs"))
    net = TorchEmbedder(weights, "cpu")
    assert net.calibration.source == "held-out pairs"
    assert "generic" not in net.description
    weights.with_suffix(".calibration.json").write_text(
        __import__("json").dumps(calibration(rng, "beside").to_dict()))
    assert TorchEmbedder(weights, "cpu").calibration.source == load(weights, "cpu").calibration.source == "beside"


@pytest.mark.parametrize(("card", "words"), [
    ({}, "net, training unknown"), ({"recipe": "r"}, "net, trained with r on data unknown"),
    ({"recipe": {"name": "r"}, "data": {"names": ["a", "b"], "images": 3}}, "net, trained with r on a, b"),
    ({"recipe": "r", "data": {"what": "rendered people", "command": "c"}}, "net, trained with r on rendered people"),
    ({"data": {"name": "a"}}, "net, trained on a"), ({"data": "x" * 100}, f"net, trained on {'x' * 79}…"),
])
def test_a_card_in_few_words(card, words):
    assert describe({"model": "net"} | card) == words


def test_what_cannot_be(weights, tiny_model, rng):  # noqa: F811
    with pytest.raises(ReidError, match="expected auto, cpu or cuda"):
        TorchEmbedder(weights, "tpu")
    with pytest.raises(ReidError, match="crop 0 has shape"):
        TorchEmbedder(weights, "cpu").embed([np.zeros((3, 3), np.uint8)])
    tiny_model.head.bias.data[0] = float("inf")
    with pytest.raises(ReidError, match="not finite"):
        TorchEmbedder(tiny_model, "cpu").embed(crops_of(rng, 2))
    if not torch.cuda.is_available():
        with pytest.raises(ReidError, match="torch finds no GPU"):
            load(weights, "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_rows(weights, rng):
    crops = crops_of(rng, 300)
    net = load(weights, "cuda")
    assert isinstance(net, TorchEmbedder)
    np.testing.assert_allclose(net.embed(crops), TorchEmbedder(weights, "cpu").embed(crops), atol=2e-3)


# ---------------------------------------------------------------------- through ONNX Runtime


def test_on_a_cpu_weights_run_through_onnx_runtime(weights, rng, monkeypatch):
    net = load(weights, "cpu")
    assert isinstance(net, OnnxEmbedder)
    assert net.name == "net"
    crops = crops_of(rng, 9)
    np.testing.assert_allclose(net.embed(crops), TorchEmbedder(weights, "cpu").embed(crops), atol=1e-5)
    monkeypatch.setattr(export, "onnx_bytes", lambda *_, **__: pytest.fail("exported again"))
    np.testing.assert_array_equal(load(str(weights), "cpu").embed(crops), net.embed(crops))


def test_a_damaged_export_is_made_anew_and_an_old_one_goes(weights, rng, tmp_path):
    crops = crops_of(rng, 4)
    rows = load(weights, "cpu").embed(crops)
    (kept,) = tmp_path.glob(".net.*.cache")
    good = kept.read_bytes()
    for bad in (b"", good[:-5], good[:100] + b"\0" + good[101:]):
        kept.write_bytes(bad)
        np.testing.assert_array_equal(load(weights, "cpu").embed(crops), rows)
        assert kept.read_bytes()[32:] == good[32:]
    save_weights(weights, tiny(), {})
    np.testing.assert_allclose(load(weights, "cpu").embed(crops), TorchEmbedder(weights, "cpu").embed(crops), atol=1e-5)
    (newer,) = tmp_path.glob(".net.*.cache")
    assert newer != kept


def test_a_folder_that_cannot_be_written_costs_time_only(weights, rng, monkeypatch, tmp_path):
    def refuse(*_):
        raise ReidError("read-only")

    monkeypatch.setattr(torch_embedder, "write_atomic", refuse)
    assert isinstance(load(weights, "cpu"), OnnxEmbedder)
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_exported_runs_through_torch(weights, rng, monkeypatch):
    def refuse(*_, **__):
        raise ReidError("cannot be exported")

    monkeypatch.setattr(export, "onnx_bytes", refuse)
    net = load(weights, "cpu")
    assert isinstance(net, TorchEmbedder)
    assert net.embed(crops_of(rng, 2)).shape == (2, 12)
    with pytest.raises(ReidError, match="cannot be exported"):
        load_trained(weights, "cpu", engine="onnxruntime")
    with pytest.raises(ReidError, match="expected one of auto"):
        load_trained(weights, "cpu", engine="tensorrt")
    monkeypatch.undo()
    with pytest.raises(ReidError, match="no such file"):
        load("none.safetensors")


def test_damaged_weights_are_an_error_whatever_the_engine(weights):
    weights.write_bytes(weights.read_bytes()[:-4])
    for engine in torch_embedder.ENGINES:
        with pytest.raises(ReidError, match="not a safetensors file"):
            load_trained(weights, "cpu", engine)


# ---------------------------------------------------------------------- shipped


def test_what_is_shipped_has_a_name(weights, rng, monkeypatch, tmp_path):
    folder = tmp_path / "pretrained"
    folder.mkdir()
    update_card(weights, calibration=calibration(rng, "held-out pairs"))
    export.export_onnx(weights, folder / "net_0.5x.onnx")
    shutil.copy(weights.with_suffix(".json"), folder / "net_0.5x.json")
    monkeypatch.setattr(shipped, "FOLDER", folder)
    assert shipped.shipped_names() == ("net_0.5x",)
    monkeypatch.setitem(embedder.EMBEDDERS, "net_0.5x", "reid_models.shipped:net_0.5x")
    net = load("net_0.5x", "cpu")
    assert net.name == "net_0.5x"
    assert net.calibration.source == "held-out pairs"
    crops = crops_of(rng, 3)
    np.testing.assert_allclose(net.embed(crops), TorchEmbedder(weights, "cpu").embed(crops), atol=1e-5)
    with pytest.raises(ReidError, match="has no 'net_2x'"):
        load("reid_models.shipped:net_2x")


def test_what_is_shipped_without_an_export_is_exported_at_its_first_use(weights, rng, monkeypatch, tmp_path):
    folder = tmp_path / "pretrained"
    folder.mkdir()
    shutil.copy(weights, folder / "net.safetensors")
    monkeypatch.setattr(shipped, "FOLDER", folder)
    assert shipped.shipped_names() == ("net",)
    crops = crops_of(rng, 3)
    for _ in range(2):
        net = shipped.load_shipped("net", "cpu")
        assert isinstance(net, OnnxEmbedder)
        np.testing.assert_allclose(net.embed(crops), TorchEmbedder(weights, "cpu").embed(crops), atol=1e-5)
    assert shipped.shipped_names() == ("net",)


def test_a_network_without_weights_says_how_to_get_some():
    with pytest.raises(ReidError, match=r"'osnet_x1_0': no weights of this network ship; train some"):
        load("osnet_x1_0")


def test_all_that_is_shipped_is_listed():
    assert set(shipped.shipped_names()) <= set(embedder.EMBEDDERS)


# ---------------------------------------------------------------------- calibration from held-out pictures


def people(rng, n=60, cameras=3, shots=2, spread=0.05):
    """Unit rows: everyone has a direction, every camera shifts all of them a little."""
    centre = rng.normal(size=(n, 16))
    pid, camid = (a.ravel() for a in np.mgrid[:n, : cameras * shots])
    camid //= shots
    rows = centre[pid] + rng.normal(size=(cameras, 16))[camid] * 0.2 + rng.normal(size=(len(pid), 16)) * spread
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), pid, camid


def test_the_threshold_keeps_its_promise_on_other_people(rng):
    found = fit_held_out(*people(rng), "test", rng)
    rows, pid, _ = people(np.random.default_rng(8), n=150)
    distance = 1 - rows @ rows.T
    different = distance[pid[:, None] < pid]
    for rate in (0.01, 0.05):
        assert (different <= found.threshold(rate)).mean() == pytest.approx(rate, rel=0.4)
    assert not found.generic


def test_pairs_are_those_of_a_slow_loop(rng):
    rows, pid, camid = people(rng, n=9, shots=1)
    pid[:2] = -1  # nobody known
    same, different = [], []
    for i in range(len(pid)):
        for j in range(i):
            if min(pid[i], pid[j]) >= 0:
                if pid[i] != pid[j]:
                    different.append(1 - rows[i] @ rows[j])
                elif camid[i] != camid[j]:
                    same.append(1 - rows[i] @ rows[j])
    assert len(same) == 24  # the first person has one picture left
    expected = Calibration.fit(same, different, "test")
    found = fit_held_out(rows * 3, pid, camid, "test", rng, pairs=20_000)  # enough to draw every pair
    np.testing.assert_allclose(found.distance, expected.distance, atol=2e-5)
    np.testing.assert_allclose(found.evidence, expected.evidence, atol=1e-5)
    np.testing.assert_allclose(found.different_below, expected.different_below, atol=1e-9)


def test_everyone_counts_alike(rng):
    rows, pid, camid = people(rng, n=30, shots=1)
    many = np.concatenate([rows, np.repeat(rows[:3], 40, axis=0)])  # person 0 a hundred times more
    found = fit_held_out(many, np.r_[pid, np.zeros(120, int)], np.r_[camid, np.repeat(camid[:3], 40)], "test", rng)
    plain = fit_held_out(rows, pid, camid, "test", rng)
    at = plain.threshold(0.05)
    assert found.true_link_rate(at) == pytest.approx(plain.true_link_rate(at), abs=0.05)


def test_one_camera_is_better_than_nothing(rng):
    rows, pid, _ = people(rng)
    assert fit_held_out(rows, pid, np.zeros(len(pid)), "test", rng).true_link_rate(0.5) > 0.9


@pytest.mark.parametrize(("change", "match"), [
    (lambda r, p, c: (r[:-1], p, c), "expected"), (lambda r, p, c: (r * 0, p, c), "zeros"),
    (lambda r, p, c: (r, p * 0, c), "of 1 person"), (lambda r, p, c: (r, p - 1000, c), "of 0 person"),
    (lambda r, p, c: (r, np.arange(len(p)), c), "0 pairs in 'same'"),
])
def test_what_cannot_be_calibrated(rng, change, match):
    with pytest.raises(ReidError, match=match):
        fit_held_out(*change(*people(rng)), "test", rng)
