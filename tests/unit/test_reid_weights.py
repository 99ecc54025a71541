"""Weights: what is saved comes back, and what is damaged, foreign or malicious ends in one line."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from reid_tiny import tiny, tiny_model  # noqa: E402, F401
from safetensors.torch import load, save  # noqa: E402

from reid_models import Calibration, ReidError  # noqa: E402
from reid_models.backbones import BACKBONES  # noqa: E402
from reid_models.card import CHECKSUM_KEY, METADATA_KEY, card_calibration, read_card, text_digest  # noqa: E402
from reid_models.weights import digest, load_weights, read_tensors, save_weights, update_card  # noqa: E402

CARD = {"recipe": "test", "data": "made up", "seed": 7, "figures": {"rank1": 0.5}}


def picture(n=3):
    return torch.randn(n, 3, 32, 16, generator=torch.Generator().manual_seed(0))


def refused(path, match, read=load_weights):
    with pytest.raises(ReidError, match=match) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def file_of(tensors, card, checksum=None):
    text = card if isinstance(card, str) else json.dumps(card)
    return save(tensors, {METADATA_KEY: text, CHECKSUM_KEY: checksum or text_digest(text)})


@pytest.fixture
def saved(tmp_path, tiny_model):  # noqa: F811
    path = tmp_path / "net.safetensors"
    save_weights(path, tiny_model, CARD)
    return path


def test_what_is_saved_comes_back(tmp_path, tiny_model):  # noqa: F811
    path = tmp_path / "net.safetensors"
    card = save_weights(path, tiny_model.train(), CARD)
    assert tiny_model.training
    model, found = load_weights(path)
    assert not model.training
    assert model.classifier is None
    assert found == card == json.loads((tmp_path / "net.json").read_text()) == read_card(path)
    assert {key: found[key] for key in CARD} == CARD
    assert (found["model"], found["options"], found["dim"], found["input_hw"]) == ("tiny", {}, 12, [32, 16])
    torch.testing.assert_close(model.descriptor_only(picture()), tiny_model.eval().descriptor_only(picture()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


def test_classifiers_stay_behind(saved):
    assert not [name for name in load(saved.read_bytes()) if "classifier" in name]
    assert digest(load(saved.read_bytes())) == read_card(saved)["sha256"]


def test_options_rebuild_the_model_without_fetching_anything(tmp_path, tiny_model):  # noqa: F811
    path = tmp_path / "net.safetensors"
    options = {"width": 5, "input_hw": (16, 16), "pretrained": "imagenet", "num_classes": 3}
    card = save_weights(path, tiny(3, width=5, input_hw=(16, 16)), {"options": options})
    assert card["options"] == {"width": 5, "input_hw": [16, 16]}
    model, _ = load_weights(path)
    assert model.input_hw == (16, 16)
    assert model.conv.out_channels == 5


@pytest.mark.parametrize(("built", "match"), [
    ({"width": 5}, "build another model"), ({"stride": 2}, "answers otherwise"), ({"input_hw": (64, 32)}, "otherwise"),
])
def test_forgotten_options_are_noticed_when_saving(tmp_path, tiny_model, built, match):  # noqa: F811
    with pytest.raises(ReidError, match=match):
        save_weights(tmp_path / "net.safetensors", tiny(**built), {})
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_saved(tmp_path, tiny_model):  # noqa: F811
    with pytest.raises(ReidError, match=r"ends in \.safetensors"):
        save_weights(tmp_path / "net.pth", tiny_model, {})
    with pytest.raises(ReidError, match="unknown key 'recipes'"):
        save_weights(tmp_path / "net.safetensors", tiny_model, {"recipes": 1})
    for figure in (float("nan"), object()):
        with pytest.raises(ReidError, match="what JSON cannot"):
            save_weights(tmp_path / "net.safetensors", tiny_model, {"figures": {"rank1": figure}})
    tiny_model.head.weight.data[0, 0] = float("nan")
    with pytest.raises(ReidError, match="not finite"):
        save_weights(tmp_path / "net.safetensors", tiny_model, {})
    with pytest.raises(ReidError, match="cannot be written"):
        save_weights(tmp_path / "nowhere" / "net.safetensors", tiny(), {})
    assert not list(tmp_path.iterdir())


def test_saving_leaves_the_random_state_alone(tmp_path, tiny_model):  # noqa: F811
    before = torch.random.get_rng_state()
    save_weights(tmp_path / "net.safetensors", tiny_model, {})
    load_weights(tmp_path / "net.safetensors")
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_calibration_travels_with_the_weights(saved, rng):
    calibration = Calibration.fit(rng.normal(0.3, 0.05, 500), rng.normal(0.7, 0.05, 500), "held-out pairs")
    assert card_calibration(read_card(saved), "x") is None
    update_card(saved, calibration=calibration, figures={"rank1": 0.6})
    _, card = load_weights(saved)
    assert card["figures"] == {"rank1": 0.6}
    assert card["seed"] == 7
    found = card_calibration(card, "x")
    assert found.threshold(0.01) == pytest.approx(calibration.threshold(0.01), abs=1e-5)
    with pytest.raises(ReidError, match="'model' of a card cannot be changed"):
        update_card(saved, model="osnet_x1_0")


# ---------------------------------------------------------------------- damaged


def test_cut_short_anywhere(saved):
    data = saved.read_bytes()
    for length in (0, 5, 8, 9, 100, len(data) // 2, len(data) - 1):
        saved.write_bytes(data[:length])
        refused(saved, "not a safetensors file that can be read|damaged")
        with pytest.raises(ReidError):
            read_tensors(saved)


def test_no_changed_byte_goes_unnoticed(saved, rng):
    data = saved.read_bytes()
    good, card = load_weights(saved)
    before = digest(good.state_dict())
    noticed = 0
    for place in rng.choice(len(data), 150, replace=False):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(bytes(changed))
        try:
            model, found = load_weights(saved)
        except ReidError:
            noticed += 1
        else:  # a blank of the padding, at most
            assert found == card
            assert digest(model.state_dict()) == before
    assert noticed > 140


def test_foreign_files(tmp_path, tiny_model):  # noqa: F811
    path = tmp_path / "net.safetensors"
    refused(path, "no such file")
    path.write_bytes(save({"a": torch.zeros(2)}))
    refused(path, "holds no card")
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    refused(path, "ends within its header")
    for header in (b"[]", b"{", b'{"__metadata__": 3}', b"[" * 100_000):
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        refused(path, "not a safetensors file")
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    refused(path, "not a safetensors file")
    path.unlink()
    path.mkdir()
    refused(path, "not a file")


@pytest.mark.parametrize(("change", "match"), [
    ({"format": "other"}, "not of the format"), ({"dim": "12"}, "'dim' of its card"), ({"options": []}, "'options' of"),
    ({"model": "nothing"}, "which is not one of"), ({"options": {"depth": 3}}, "has no option 'depth'"),
    ({"options": {"width": "wide"}}, "cannot be built"), ({"options": {"width": -1}}, "cannot be built|differs"),
    ({"options": {"width": 10**12}}, "differs|cannot be built"), ({"sha256": "0" * 64}, "checksum does not match"),
])
def test_cards_that_do_not_fit(saved, change, match):
    tensors, card = load(saved.read_bytes()), read_card(saved)
    saved.write_bytes(file_of(tensors, card | change))
    refused(saved, match)


def test_cards_that_are_none(saved):
    for text in ("{", "[1]", "null", "[" * 100_000):
        saved.write_bytes(file_of(load(saved.read_bytes()), text))
        refused(saved, "not valid JSON|not of the format")


# ---------------------------------------------------------------------- malicious


class Bomb:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["net.pth", "net.pt", "net.bin", "net.safetensors"])
@pytest.mark.parametrize("how", ["pickle", "torch", "nested"])
def test_a_malicious_pickle_runs_nothing(tmp_path, name, how):
    trace, path = tmp_path / "it_ran", tmp_path / name
    content = {"state_dict": {"w": torch.zeros(2), "b": Bomb(trace)}} if how == "nested" else Bomb(trace)
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    for read in (load_weights, read_tensors):
        with pytest.raises(ReidError) as error:
            read(path)
        assert "\n" not in str(error.value)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()  # it does run where it is let


def test_a_card_imports_and_fetches_nothing(saved, tmp_path, monkeypatch):
    tensors, card = load(saved.read_bytes()), read_card(saved)
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it ran"))
    for name in ("os:system", "builtins:eval", "reid_models.weights:load_weights"):
        saved.write_bytes(file_of(tensors, card | {"model": name}))
        refused(saved, "which is not one of")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    saved.write_bytes(file_of(tensors, card | {"options": {"pretrained": "/etc/passwd"}}))
    refused(saved, "option 'pretrained'")


def test_every_backbone_may_be_named_by_a_card():
    assert all(":" not in name for name in BACKBONES)


# ---------------------------------------------------------------------- others' weights


def test_weights_of_others(tmp_path):
    tensors = {"conv.weight": torch.ones(2, 2)}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "a.pth")
    torch.save(tensors, tmp_path / "b.pt")
    (tmp_path / "c.safetensors").write_bytes(save(tensors))
    for name in ("a.pth", "b.pt", "c.safetensors"):
        assert digest(read_tensors(tmp_path / name)) == digest(tensors)
    torch.save({"epoch": 3}, tmp_path / "d.pth")
    refused(tmp_path / "d.pth", "no tensors by name", read_tensors)
    refused(Path(__file__), r"expected weights in a \.safetensors", read_tensors)


def test_the_digest_sees_names_types_shapes_and_values():
    base = {"a": torch.zeros(4), "b": torch.ones(2)}
    same = {"b": torch.ones(2), "a": torch.zeros(4)}
    others = [base | {"a": torch.zeros(2, 2)}, base | {"a": torch.zeros(4, dtype=torch.int32)}, {"a": torch.zeros(4)},
              base | {"b": torch.tensor([1.0, 1 + 1e-6])}, {"a": torch.zeros(4), "c": torch.ones(2)}]
    assert digest(base) == digest(same)
    assert len({digest(base), *map(digest, others)}) == 6
