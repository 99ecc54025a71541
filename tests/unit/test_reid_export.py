"""Exports: the same answers as torch's at any batch, with all that an embedder needs inside."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from click.testing import CliRunner  # noqa: E402
from reid_tiny import tiny, tiny_model  # noqa: E402, F401

from mctrack.commands.export_reid import export_reid_command  # noqa: E402
from mctrack.errors import WeightsError  # noqa: E402
from reid_models import Calibration, ReidError, load  # noqa: E402
from reid_models.backbones import build_model  # noqa: E402
from reid_models.card import read_card  # noqa: E402
from reid_models.export import BATCHES, export_onnx, halve, onnx_bytes, quantise  # noqa: E402
from reid_models.onnx import OnnxEmbedder  # noqa: E402
from reid_models.torch_embedder import TorchEmbedder  # noqa: E402
from reid_models.weights import load_weights, read_tensors, save_weights, shrink_weights, update_card  # noqa: E402


def crops_of(rng, n):
    """Soft blobs of many sizes: noise alone looks the same to every network."""
    sizes = rng.integers(1, 90, (n, 2))
    return [cv2.GaussianBlur(rng.integers(0, 256, (h, w, 3), dtype=np.uint8), (0, 0), 2) for h, w in sizes]


@pytest.fixture
def weights(tmp_path, tiny_model, rng):  # noqa: F811
    path = tmp_path / "net.safetensors"
    calibration = Calibration.fit(rng.normal(0.3, 0.05, 500), rng.normal(0.7, 0.05, 500), "held-out pairs")
    save_weights(path, tiny_model, {"recipe": "quick", "data": ["market1501", "own"], "calibration": calibration})
    return path


def test_the_same_answers_as_torch_at_any_batch(tmp_path, weights, rng):
    report = export_onnx(weights, tmp_path / "out.onnx")
    assert report.path == tmp_path / "out.onnx"
    assert 0 <= report.max_difference < 1e-5
    assert report.int8 is None
    ours, theirs = load(report.path, "cpu"), TorchEmbedder(weights, "cpu")
    for n in (0, 1, 7, 64):
        crops = crops_of(rng, n)
        assert ours.embed(crops).shape == (n, 12)
        np.testing.assert_allclose(ours.embed(crops), theirs.embed(crops), atol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.safetensors", "out.onnx"]


def test_the_file_says_all_by_itself(tmp_path, weights):
    (tmp_path / "elsewhere").mkdir()
    export_onnx(weights, tmp_path / "elsewhere" / "mine.onnx")
    embedder = load(tmp_path / "elsewhere" / "mine.onnx", "cpu")
    assert (embedder.options.height, embedder.options.width, embedder.name) == (32, 16, "mine")
    assert "tiny, trained with quick on market1501, own" in embedder.description
    assert "generic" not in embedder.description
    assert embedder.calibration.source == "held-out pairs"


def test_the_card_beside_is_no_trouble_and_counts_if_it_is_of_these_weights(tmp_path, weights, rng):
    export_onnx(weights, tmp_path / "net.onnx")  # net.json beside is the card of the weights
    assert load(tmp_path / "net.onnx", "cpu").calibration.source == "held-out pairs"
    newer = Calibration.fit(rng.normal(0.2, 0.05, 500), rng.normal(0.6, 0.05, 500), "newer")
    update_card(weights, calibration=newer)
    assert load(tmp_path / "net.onnx", "cpu").calibration.source == "newer"
    card = json.loads((tmp_path / "net.json").read_text())
    (tmp_path / "net.json").write_text(json.dumps(card | {"sha256": "0" * 64}))
    assert load(tmp_path / "net.onnx", "cpu").calibration.source == "held-out pairs"
    (tmp_path / "net.json").write_text(json.dumps({"format": card["format"]}))
    with pytest.raises(ReidError, match=r"net\.json: 'model' of its card"):
        load(tmp_path / "net.onnx", "cpu")


def test_metadata_are_what_the_onnx_package_reads(tiny_model):  # noqa: F811
    onnx = pytest.importorskip("onnx")
    card = {"model": "tiny", "recipe": "é" * 40_000}  # lengths of one, two and three bytes
    network, _ = onnx_bytes(tiny_model.eval(), card, name="a name")
    model = onnx.load_from_string(network)
    onnx.checker.check_model(model)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(found["reid_models_card"]) == card
    assert json.loads(found["reid_models"])["name"] == "a name"
    assert json.loads(found["reid_models"])["height"] == 32


def test_an_export_that_answers_otherwise_is_not_put_in_place(tmp_path, tiny_model):  # noqa: F811
    out = tmp_path / "out.onnx"
    out.write_bytes(b"what was there")

    def depends_on_the_batch(images):
        return torch.nn.functional.normalize(images.mean((2, 3)) + (0.5 if len(images) == 7 else 0))

    tiny_model.descriptor_only = depends_on_the_batch
    with pytest.raises(ReidError, match=r"differs from torch's by \d.*, more than 0.0001; not written"):
        export_onnx(tiny_model, out)
    tiny_model.descriptor_only = lambda images: images.mean((2, 3)) * float("nan")
    with pytest.raises(ReidError, match="differs from torch's by nan"):
        export_onnx(tiny_model, out)
    tiny_model.descriptor_only = lambda images: torch.linalg.eigvals(images[:, 0, :16, :16]).real
    with pytest.raises(ReidError, match="cannot be exported to ONNX") as error:
        export_onnx(tiny_model, out)
    assert "\n" not in str(error.value)
    assert out.read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


def test_exporting_leaves_the_model_as_it_was(tiny_model):  # noqa: F811
    state = {k: v.clone() for k, v in tiny_model.state_dict().items()}
    onnx_bytes(tiny_model.train(), batches=(1, 3))
    assert tiny_model.training
    assert all(torch.equal(v, state[k]) for k, v in tiny_model.state_dict().items())


def test_wrong_names_and_weights(tmp_path, weights):
    with pytest.raises(ReidError, match=r"ends in \.onnx"):
        export_onnx(weights, tmp_path / "out.pt")
    with pytest.raises(ReidError, match="no such file"):
        export_onnx(tmp_path / "none.safetensors", tmp_path / "out.onnx")
    with pytest.raises(ReidError, match="cannot be written"):
        export_onnx(weights, tmp_path / "nowhere" / "out.onnx")


@pytest.mark.parametrize("name", ["resnet50", "mgn", "bdb"])
def test_the_large_networks(name):
    pytest.importorskip("torchvision")
    torch.set_num_threads(1)
    model = build_model(name, input_hw=(64, 32))
    network, difference = onnx_bytes(model, batches=(3,))
    assert difference < 1e-4
    embedder = OnnxEmbedder("x.onnx", "cpu", threads=1, network=network)
    assert embedder.embed([np.full((50, 20, 3), 7, np.uint8)]).shape == (1, model.dim)


# ---------------------------------------------------------------------- 8 bits


def test_int8_measures_what_it_loses(tmp_path, weights, rng):
    pytest.importorskip("onnx")
    crops = crops_of(rng, 65)
    full = export_onnx(weights, tmp_path / "full.onnx")
    report = export_onnx(weights, tmp_path / "small.onnx", int8=True, calibration_crops=crops)
    assert report.max_difference == full.max_difference
    loss = report.int8
    small, whole = load(report.path, "cpu"), load(full.path, "cpu")
    assert small.calibration.source == "held-out pairs"
    assert loss.crops == 32
    a, b = whole.embed(crops[1::2]), small.embed(crops[1::2])
    cosine = (a * b).sum(axis=1)
    assert loss.mean_cosine == pytest.approx(cosine.mean(), abs=1e-6)
    assert loss.worst_cosine == pytest.approx(cosine.min(), abs=1e-6)
    near = [np.array([max((j for j in range(32) if j != i), key=lambda j: r[i] @ r[j]) for i in range(32)])
            for r in (a, b)]
    assert loss.neighbours_kept == pytest.approx((near[0] == near[1]).mean())
    assert 0.9 < loss.mean_cosine < 1  # near the full network, and not the full network
    assert "32 crops" in str(loss)


def test_int8_needs_crops_and_its_tool(tmp_path, weights, rng, monkeypatch):
    for crops in (None, crops_of(rng, 31)):
        with pytest.raises(ReidError, match="at least 32 crops"):
            export_onnx(weights, tmp_path / "out.onnx", int8=True, calibration_crops=crops)
    with pytest.raises(ReidError, match="crop 3 has shape"):
        export_onnx(weights, tmp_path / "out.onnx", int8=True,
                    calibration_crops=[*crops_of(rng, 3), np.zeros((4, 4)), *crops_of(rng, 40)])
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ReidError, match="need the package onnx"):
        quantise(b"", crops_of(rng, 40))
    assert not (tmp_path / "out.onnx").exists()


# ---------------------------------------------------------------------- 16 bits


def test_half_is_half_as_large_and_answers_nearly_alike(tmp_path, weights, rng):
    onnx = pytest.importorskip("onnx")
    full, report = (export_onnx(weights, tmp_path / f"b{b}.onnx", bits=b) for b in (32, 16))
    assert full.max_difference < report.max_difference < 1e-3
    kinds = {t.name: t.data_type for t in onnx.load(report.path).graph.initializer if len(t.dims) > 1}
    assert kinds
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT16}
    assert all(name.endswith(".half") for name in kinds)
    whole, half, crops = load(full.path, "cpu"), load(report.path, "cpu"), crops_of(rng, 9)
    np.testing.assert_allclose(half.embed(crops), whole.embed(crops), atol=1e-3)
    assert half.calibration.to_dict() == whole.calibration.to_dict()
    assert half.description == whole.description.replace("b32", "b16")


def test_half_weights_load_as_others(tmp_path, weights, rng):
    out, crops = tmp_path / "half.safetensors", crops_of(rng, 9)
    card = shrink_weights(weights, out, 16)
    model, read = load_weights(out)
    assert read == card
    assert {k for k in card if card[k] != read_card(weights)[k]} == {"sha256"}
    assert all(t.dtype == torch.float32 for t in model.state_dict().values() if t.is_floating_point())
    kept = read_tensors(out)
    assert {t.dtype for t in kept.values() if t.ndim > 1} == {torch.float16}
    assert torch.float16 not in {t.dtype for t in kept.values() if t.ndim < 2}
    np.testing.assert_allclose(TorchEmbedder(out, "cpu").embed(crops), TorchEmbedder(weights, "cpu").embed(crops),
                               atol=1e-3)


def test_half_refuses_what_16_bits_cannot_hold(tmp_path, tiny_model, monkeypatch):  # noqa: F811
    pytest.importorskip("onnx")
    with torch.no_grad():
        next(p for p in tiny_model.parameters() if p.ndim > 1)[0] = 1e5
    save_weights(tmp_path / "large.safetensors", tiny_model, {})
    for write in (lambda: shrink_weights(tmp_path / "large.safetensors", tmp_path / "half.safetensors", 16),
                  lambda: halve(onnx_bytes(tiny_model)[0])):
        with pytest.raises(ReidError, match="a number beyond 65,504"):
            write()
    assert not (tmp_path / "half.safetensors").exists()
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ReidError, match="need the package onnx"):
        halve(b"")


# ---------------------------------------------------------------------- the command


def folder_of(root, rng, people=24):
    for i in range(people):
        person = root / f"p{i}"
        person.mkdir(parents=True)
        colours = rng.integers(0, 256, (4, 1, 3))
        for camera in range(2):
            picture = np.repeat(np.repeat(colours, 16, 0), 32, 1) + rng.normal(0, 8, (64, 32, 3))
            for shot in range(4):
                cv2.imwrite(str(person / f"c{camera}_{shot}.png"), picture.clip(0, 255).astype(np.uint8))
    return root


def test_the_command_exports(tmp_path, weights):
    out = tmp_path / "out.onnx"
    done = CliRunner().invoke(export_reid_command, [str(weights), "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    assert str(out) in done.output
    assert f"batches of {', '.join(map(str, BATCHES))}: " in done.output
    assert load(out, "cpu").dim == 12


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_the_command_halves(tmp_path, weights, suffix):
    pytest.importorskip("onnx")
    out = tmp_path / f"half{suffix}"
    done = CliRunner().invoke(export_reid_command, [str(weights), "--half", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    assert str(out) in done.output
    assert load(out, "cpu").dim == 12


def test_the_command_prints_what_8_bits_lose(tmp_path, weights, rng):
    pytest.importorskip("onnx")
    pytest.importorskip("reid_models.data.images")
    data = folder_of(tmp_path / "data", rng)
    arguments = [str(weights), "--out", str(tmp_path / "out.onnx"), "--int8", "--data", str(data), "--crops", "64"]
    done = CliRunner().invoke(export_reid_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "8 bits, on 32 crops: cosine to the full network" in done.output
    lines = [line for line in done.output.splitlines() if "rank-1" in line]
    assert [line.split(":")[0].strip() for line in lines] == ["full", "8 bits"]
    assert all("24 queries" in line for line in lines)


@pytest.mark.parametrize(("arguments", "match"), [
    (["none.safetensors", "--out", "x.onnx"], "no such file"), (["W", "--out", "x.pt"], "ends in .onnx"),
    (["W", "--out", "x.onnx", "--int8", "--data", "nowhere"], "nowhere"),
    (["W", "--out", "x.onnx", "--int8", "--data", ".", "--dataset", "market"], "market"),
])
def test_the_commands_errors_are_one_line(tmp_path, weights, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    arguments = [str(weights) if a == "W" else a for a in arguments]
    with pytest.raises(WeightsError, match=match) as error:
        CliRunner().invoke(export_reid_command, arguments, catch_exceptions=False)
    assert "\n" not in str(error.value)


def test_the_commands_options_that_miss_each_other(weights):
    for arguments, text in ((["--int8"], "--int8 needs --data"), (["--data", "."], "--data is for --int8 only"),
                            (["--int8", "--half", "--data", "."], "exclude each other"),
                            (["--half", "--quarter"], "exclude each other"), (["--graph-only"], "needs --quarter")):
        done = CliRunner().invoke(export_reid_command, [str(weights), "--out", "x.onnx", *arguments])
        assert done.exit_code == 2
        assert text in done.output


def test_a_tiny_model_is_what_the_tests_think(tiny_model):  # noqa: F811
    assert tiny().descriptor_only(torch.zeros(2, 3, 32, 16)).shape == (2, 12)
    assert not isinstance(tiny_model.classifier, type(None))
