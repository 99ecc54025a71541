"""The average of weights: by hand, and refused where there is nothing to average."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from reid_tiny import tiny_model  # noqa: E402, F401

from reid_models import ReidError  # noqa: E402
from reid_models.backbones import build_model  # noqa: E402
from reid_models.soup import average_weights  # noqa: E402
from reid_models.weights import load_weights, save_weights  # noqa: E402


def test_every_tensor_is_the_mean(tmp_path, tiny_model):  # noqa: F811
    states = []
    for k in range(3):
        with torch.no_grad():
            for tensor in tiny_model.state_dict().values():
                tensor.copy_(torch.randn(tensor.shape).abs() if tensor.is_floating_point() else torch.tensor(5 + 3 * k))
        card = {"recipe": "quick", "seed": k, "figures": {"rank1": 99}}
        save_weights(tmp_path / f"{k}.safetensors", tiny_model, card)
        states.append({n: t.clone() for n, t in load_weights(tmp_path / f"{k}.safetensors")[0].state_dict().items()})
    card = average_weights([tmp_path / f"{k}.safetensors" for k in range(3)], tmp_path / "mean.safetensors")
    mean, read = load_weights(tmp_path / "mean.safetensors")
    assert read == card
    assert (card["recipe"], card["seed"], card["figures"], card["calibration"]) == ("quick", 0, None, None)
    for name, tensor in mean.state_dict().items():
        expected = sum(s[name].double() for s in states) / 3
        torch.testing.assert_close(tensor, expected.to(tensor.dtype))


def test_what_cannot_be_averaged_is_refused(tmp_path, tiny_model):  # noqa: F811
    save_weights(tmp_path / "a.safetensors", tiny_model, {})
    with pytest.raises(ReidError, match="two or more weights, got 1"):
        average_weights([tmp_path / "a.safetensors"], tmp_path / "mean.safetensors")
    save_weights(tmp_path / "b.safetensors", build_model("robust_reid_compact", 0), {})
    with pytest.raises(ReidError, match=r"b\.safetensors: weights of 'robust_reid_compact'.*'tiny'"):
        average_weights([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()
