"""Weights as 8-bit numbers: rounded best, the same numbers in the export, and no other file's by mistake."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from click.testing import CliRunner  # noqa: E402

from mctrack.commands.export_reid import export_reid_command  # noqa: E402
from reid_models import ReidError, load  # noqa: E402
from reid_models.backbones import build_model  # noqa: E402
from reid_models.card import read_card  # noqa: E402
from reid_models.eight_bits import FEWEST, packed, rescaled, rounded, stored_numbers, unpacked  # noqa: E402
from reid_models.export import export_onnx  # noqa: E402
from reid_models.onnx import OnnxEmbedder  # noqa: E402
from reid_models.torch_embedder import TorchEmbedder  # noqa: E402
from reid_models.weights import load_weights, read_tensors, save_weights, shrink_weights, update_card  # noqa: E402


def crops_of(rng, n):
    return [rng.integers(0, 256, (int(h), int(h) // 2, 3), dtype=np.uint8) for h in rng.integers(20, 200, n)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``full.safetensors``, ``net.safetensors`` with 8-bit weights, and ``net.onnx``, which reads them there."""
    pytest.importorskip("onnx")
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    model = build_model("robust_reid_compact", 0).train()
    with torch.no_grad():
        for _ in range(3):  # statistics that are not 0 and 1
            model(torch.randn(8, 3, 160, 64))
        for k, bn in enumerate(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            bn.weight.mul_(torch.where(torch.arange(len(bn.weight)) % 5 == k % 5, -0.7, 1.0))  # turns signs round
    save_weights(root / "full.safetensors", model.eval(), {"recipe": "none"})
    shrink_weights(root / "full.safetensors", root / "net.safetensors", 8)
    export_onnx(root / "net.safetensors", root / "net.onnx", bits=8, graph_only=True)
    return root


def test_rounding_by_hand():
    numbers, scale = rounded(np.array([[127.0, -64.0, 1.0], [0, 0, 0], [-254, 2, 4]]))
    assert numbers.tolist() == [[127, -64, 1], [0, 0, 0], [-127, 1, 2]]
    assert scale[[0, 2]].tolist() == [1, 2]
    assert numbers.dtype == np.int8
    # one weight far from the others: cutting it off is worth what the others gain
    row = np.r_[np.full(4000, 0.5), 127]
    numbers, scale = rounded(row[None])
    assert scale[0] < 0.95
    assert ((numbers * scale[0] - row) ** 2).sum() < ((np.rint(row) - row) ** 2).sum()
    with pytest.raises(ReidError, match="not finite"):
        rounded(np.array([[np.nan]]))


@given(arrays(np.float32, (3, 7), elements=st.floats(-1e3, 1e3, width=32)))
def test_rounding_is_never_worse_than_by_the_largest(weights):
    numbers, scale = rounded(weights)
    plain = np.where(np.abs(weights).max(1) > 0, np.abs(weights).max(1), 1)[:, None].astype(float) / 127
    error = ((numbers * scale[:, None].astype(float) - weights) ** 2).sum(1)
    simple = ((np.rint(weights / plain) * plain - weights) ** 2).sum(1)
    assert (error <= 1.0001 * simple + 1e-6 * plain[:, 0] ** 2 + 1e-9).all()  # scales are kept in 32 bits
    assert np.abs(numbers.astype(int)).max() <= 127


@given(arrays(np.int8, (4, 6)), arrays(np.float64, 4, elements=st.floats(0.01, 9)), arrays(np.bool_, 4))
def test_scales_of_either_sign_are_found_again(numbers, scale, turned):
    scale = np.where(turned, -scale, scale)
    found = rescaled(numbers * scale[:, None], numbers)
    assert found is not None
    some = np.abs(numbers.astype(int)).max(1) > 0
    np.testing.assert_allclose(found[some], scale[some], rtol=1e-6)


def test_other_numbers_have_no_scales(rng):
    numbers = rng.integers(-127, 128, (5, 9)).astype(np.int8)
    weights = numbers * 0.3
    weights[2, 4] += 0.1
    assert rescaled(weights, numbers) is None


def test_packed_and_back(rng):
    tensors = {"large": torch.randn(8, 16, 3, 3), "small": torch.randn(3, 3), "vector": torch.randn(5000),
               "count": torch.tensor(7), "half": torch.randn(64, 64).half()}  # fmt: skip
    kept = packed(tensors)
    assert set(kept) == {*tensors, "large.scale"}
    assert kept["large"].dtype == torch.int8
    assert FEWEST <= 8 * 16 * 9
    back = unpacked(kept)
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        limit = float(tensor.abs().max()) / 127 if name == "large" else 0
        assert float((back[name] - tensor).abs().max()) <= limit


def test_a_quarter_of_the_size_and_nearly_the_same_answers(folder, rng):
    sizes = {n: (folder / n).stat().st_size for n in ("full.safetensors", "net.safetensors", "net.onnx")}
    assert sizes["net.safetensors"] < 0.3 * sizes["full.safetensors"]
    assert sizes["net.onnx"] < 0.1 * sizes["net.safetensors"]
    crops = crops_of(rng, 9)
    full, small = (TorchEmbedder(folder / f"{n}.safetensors", "cpu").embed(crops) for n in ("full", "net"))
    assert (full * small).sum(1).min() > 0.995
    np.testing.assert_allclose(load(folder / "net.onnx", "cpu").embed(crops), small, atol=1e-5)
    cards = [read_card(folder / f"{n}.safetensors") for n in ("full", "net")]
    assert {k for k in cards[0] if cards[0][k] != cards[1][k]} == {"sha256"}
    model, card = load_weights(folder / "net.safetensors")
    assert card == cards[1]
    for tensors in (model.state_dict(), read_tensors(folder / "net.safetensors")):
        assert torch.int8 not in {t.dtype for t in tensors.values()}


def test_the_graph_uses_the_files_own_numbers(folder):
    import onnx

    graph = onnx.load(folder / "net.onnx", load_external_data=False).graph
    outside = [t for t in graph.initializer if t.external_data]
    stored = stored_numbers(folder / "net.safetensors")
    assert len(outside) > 30
    data = (folder / "net.safetensors").read_bytes()
    for tensor in outside:
        where = {e.key: e.value for e in tensor.external_data}
        assert where["location"] == "net.safetensors"
        first = int(where["offset"])
        found = next(s for s in stored.values() if s.offset == first)
        assert found.values.shape == tuple(tensor.dims)
        assert data[first : first + int(where["length"])] == found.values.tobytes()
    large = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) >= 4096]
    assert large == []


def test_alone_it_holds_its_numbers(folder, tmp_path, rng):
    crops = crops_of(rng, 5)
    for source in ("full", "net"):
        report = export_onnx(folder / f"{source}.safetensors", tmp_path / f"{source}.onnx", bits=8)
        assert report.path.stat().st_size < 2_000_000
        ours = load(report.path, "cpu").embed(crops)
        assert (ours * TorchEmbedder(folder / f"{source}.safetensors", "cpu").embed(crops)).sum(1).min() > 0.995
    exact = load(tmp_path / "net.onnx", "cpu").embed(crops)
    np.testing.assert_allclose(exact, load(folder / "net.onnx", "cpu").embed(crops), atol=1e-6)


def test_another_or_no_file_beside_is_told(folder, tmp_path):
    for name in ("net.onnx", "net.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    OnnxEmbedder(tmp_path / "net.onnx", "cpu")
    update_card(tmp_path / "net.safetensors", figures={"of": "something longer " * 20})  # moves every number
    with pytest.raises(ReidError, match=r"net\.safetensors, which has changed since.*--graph-only"):
        OnnxEmbedder(tmp_path / "net.onnx", "cpu")
    (tmp_path / "net.safetensors").unlink()
    with pytest.raises(ReidError, match=r"net\.onnx") as error:
        OnnxEmbedder(tmp_path / "net.onnx", "cpu")
    assert "\n" not in str(error.value)


def test_what_cannot_stay_outside_is_refused(folder, tmp_path):
    model = load_weights(folder / "net.safetensors")[0]
    for source, out, bits in ((model, folder / "x.onnx", 8), (folder / "net.safetensors", tmp_path / "x.onnx", 8),
                             (folder / "net.safetensors", folder / "x.onnx", 16)):
        with pytest.raises(ReidError, match="8-bit weights in the same folder"):
            export_onnx(source, out, bits=bits, graph_only=True)
    with pytest.raises(ReidError, match="holds no 8-bit weights"):
        export_onnx(folder / "full.safetensors", folder / "x.onnx", bits=8, graph_only=True)
    with pytest.raises(ReidError, match="at 32, 16, 8 bits, not 4"):
        export_onnx(model, folder / "x.onnx", bits=4)
    with pytest.raises(ReidError, match="not 4"):
        shrink_weights(folder / "full.safetensors", folder / "x.safetensors", 4)
    assert not list(folder.glob("x.*"))


def test_the_command(folder, tmp_path):
    small, network = tmp_path / "s.safetensors", tmp_path / "s.onnx"
    for words in ([str(folder / "full.safetensors"), "--quarter", "--out", str(small)],
                  [str(small), "--quarter", "--graph-only", "--out", str(network)]):
        done = CliRunner().invoke(export_reid_command, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert load(network, "cpu").dim == 512
