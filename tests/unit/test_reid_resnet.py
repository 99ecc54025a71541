"""ResNet-50 and the two networks on it: shapes, counts, and what each neck and branch does."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
from torch import nn  # noqa: E402

from reid_models import ReidError  # noqa: E402
from reid_models.backbones import build_model  # noqa: E402
from reid_models.backbones.bdb import Bottleneck, bdb  # noqa: E402
from reid_models.backbones.mgn import stripe_maxima  # noqa: E402
from reid_models.backbones.resnet import AttributeHead, ResNet50, Trunk, load_trunk, resnet50  # noqa: E402

SIZE = (64, 32)


class Shallow(nn.Module):
    """In the trunk's place: what it would give, quickly. One tested trunk is enough for all necks."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2048, 16, 16)

    def forward(self, images):
        return self.conv(images).relu()


@pytest.fixture(scope="module")
def trunk():
    torch.set_num_threads(1)
    return Trunk(1).eval()


def images(n=4, seed=0):
    return torch.randn(n, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def shallow(monkeypatch, neck="bnneck", classes=0, attributes=0):
    monkeypatch.setattr("reid_models.backbones.resnet.Trunk", lambda _: Shallow())
    model = resnet50(classes, neck=neck, attributes=attributes, input_hw=SIZE)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(0, 1)
            module.weight.data.uniform_(0.5, 2)
    return model


def params(model):
    return sum(p.numel() for p in model.parameters())


# ---------------------------------------------------------------------- the trunk


def test_the_trunk_has_torchvisions_size_and_the_asked_stride(trunk):
    assert params(trunk) == 23_508_032
    with torch.inference_mode():
        assert trunk(images()).shape == (4, 2048, 4, 2)
        strided = Trunk(2).eval()
        strided.load_state_dict(trunk.state_dict())
        assert strided(images()).shape == (4, 2048, 2, 1)
    with pytest.raises(ReidError, match="expected 1 or 2"):
        Trunk(3)


def test_weights_of_a_file_under_others_names(tmp_path, trunk):
    named = {f"module.base.{k}": v for k, v in trunk.state_dict().items() if "num_batches" not in k}
    torch.save({"state_dict": named | {"fc.weight": torch.zeros(2, 2048)}}, tmp_path / "net.pth")
    other = Trunk(1)
    load_trunk(other, str(tmp_path / "net.pth"))
    torch.testing.assert_close(other.conv1.weight, trunk.conv1.weight)
    torch.testing.assert_close(other.layer4[2].bn3.running_var, trunk.layer4[2].bn3.running_var)
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "less.pth")
    with pytest.raises(ReidError, match=r"less.pth: no weights of a ResNet-50"):
        load_trunk(other, str(tmp_path / "less.pth"))
    torch.save(named | {"module.base.conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ReidError, match="shapes differ"):
        load_trunk(other, str(tmp_path / "other.pth"))
    with pytest.raises(ReidError, match="no such file"):
        load_trunk(other, str(tmp_path / "none.pth"))


def test_imagenet_weights_that_cannot_be_fetched(monkeypatch, trunk):
    asked = {}

    def offline(url, **options):
        asked.update(options, url=url)
        raise OSError("no route\nto host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(ReidError, match=r"cannot be fetched \(no route\); download https://\S+ elsewhere") as error:
        load_trunk(trunk, "imagenet")
    assert "\n" not in str(error.value)
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: trunk.state_dict())
    other = Trunk(1)
    load_trunk(other, "imagenet")
    torch.testing.assert_close(other.layer1[0].conv1.weight, trunk.layer1[0].conv1.weight)


def test_without_torchvision_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ReidError, match="resnet50 needs torchvision"):
        resnet50()


# ---------------------------------------------------------------------- necks


@pytest.mark.parametrize(("neck", "dim", "extra"), [
    ("none", 2048, 0), ("bn", 2048, 4096), ("bnneck", 2048, 4096), ("bottleneck512", 512, 2048 * 512 + 512 + 1024),
    ("vib", 1024, 2049 * 2048),
])
def test_necks(monkeypatch, neck, dim, extra):
    model = shallow(monkeypatch, neck, classes=7)
    bias = neck not in ("bn", "bnneck")
    assert params(model) - params(model.trunk) == extra + dim * 7 + 7 * bias
    for training in (True, False):
        output = model.train(training)(images())
        assert output.descriptor.shape == (4, dim) == (4, model.dim)
        torch.testing.assert_close(output.descriptor.norm(dim=1), torch.ones(4))
        assert [tuple(x.shape[1:]) for x in output.features] == [(d,) for d in model.feature_dims]
        assert output.pooled.shape == (4, 2048) == (4, model.pooled_dim)
        torch.testing.assert_close(output.pooled, model.trunk(images()).mean((2, 3)))
        assert [tuple(x.shape) for x in output.logits] == [(4, 7)]
        assert (output.mu is not None) == (output.log_var is not None) == (neck == "vib")
    torch.testing.assert_close(model.descriptor_only(images()), model(images()).descriptor)
    assert shallow(monkeypatch, neck)(images()).logits == []


def test_bnneck_pair_losses_see_what_is_before_and_the_classifier_what_is_after(monkeypatch):
    model = shallow(monkeypatch, "bnneck", classes=3).eval()
    output = model(images())
    torch.testing.assert_close(output.features[0], output.pooled)
    after = model.neck(output.pooled)
    torch.testing.assert_close(output.logits[0], after @ model.classifier.weight.T)
    torch.testing.assert_close(output.descriptor, after / after.norm(dim=1, keepdim=True))
    assert not model.neck.bias.requires_grad
    plain = shallow(monkeypatch, "bn", classes=3).eval()
    output = plain(images())
    torch.testing.assert_close(output.features[0], plain.neck(output.pooled))
    assert plain.neck.bias.requires_grad


def test_the_bottleneck_samples_in_training_and_means_in_testing(monkeypatch):
    model = shallow(monkeypatch, "vib", classes=3)
    outputs = []
    for seed in (5, 5, 6):
        model.generator = torch.Generator().manual_seed(seed)
        outputs.append(model.train()(images()))
    torch.testing.assert_close(outputs[0].logits[0], outputs[1].logits[0], rtol=0, atol=0)
    assert not torch.allclose(outputs[0].logits[0], outputs[2].logits[0])
    noise = torch.randn(4, 1024, generator=torch.Generator().manual_seed(5))
    sample = outputs[0].mu + (outputs[0].log_var / 2).exp() * noise  # Kingma and Welling's reparametrisation
    torch.testing.assert_close(outputs[0].logits[0], model.classifier(sample))
    tested = model.eval()(images())
    torch.testing.assert_close(tested.logits[0], model.classifier(tested.mu))
    torch.testing.assert_close(tested.descriptor, torch.nn.functional.normalize(tested.mu))
    outputs[0].logits[0].sum().backward()
    assert model.neck.weight.grad[1024:].abs().sum() > 0  # the spread learns too


@pytest.mark.parametrize("neck", ["none", "bn", "bnneck"])
def test_attributes_split_the_feature(monkeypatch, neck):
    model = shallow(monkeypatch, neck, classes=3, attributes=5).eval()
    output = model(images())
    kept = 2048 - 5 * 16
    assert (model.dim, model.pooled_dim, model.feature_dims) == (kept, kept, [kept])
    assert output.pooled.shape == output.features[0].shape == output.descriptor.shape == (4, kept)
    assert output.attribute_logits.shape == (4, 5, 2)
    pooled = model.trunk(images()).mean((2, 3))
    source = (model.neck(pooled) if neck == "bn" else pooled)[:, kept:]
    for i, attribute, kind in np.ndindex(4, 5, 2):
        x, w = source[i, attribute * 16 : attribute * 16 + 16], model.attribute_head.weight[attribute, kind]
        cosine = (x @ w) / (x.norm() * w.norm())
        assert output.attribute_logits[i, attribute, kind].item() == pytest.approx(cosine.item(), abs=1e-5)
    output.attribute_logits.sum().backward(retain_graph=True)
    grad = model.trunk.conv.bias.grad
    assert grad[:kept].abs().sum() == 0
    assert grad[kept:].abs().sum() > 0


def test_attribute_cosines_of_nothing_are_finite():
    head = AttributeHead(3)
    features = torch.zeros(2, 48, requires_grad=True)
    head(features).sum().backward()
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize(("options", "match"), [
    ({"neck": "bnnec"}, "unknown neck 'bnnec'"), ({"neck": "vib", "attributes": 3}, "the neck 'vib' replaces"),
    ({"attributes": 128}, "do not fit into 2048"), ({"attributes": -1}, "do not fit"), ({"last_stride": 4}, "1 or 2"),
    ({"input_hw": (8, 8)}, "from 32 to 4096"), ({"input_hw": (256,)}, "from 32 to 4096"), ({"nek": "vib"}, "no option"),
])
def test_options_that_do_not_fit(monkeypatch, options, match):
    if options.get("last_stride") != 4:
        monkeypatch.setattr("reid_models.backbones.resnet.Trunk", lambda _: Shallow())
    with pytest.raises(ReidError, match=match):
        build_model("resnet50", **options)


@pytest.mark.parametrize("neck", ["bnneck", "bottleneck512", "vib"])
def test_half_precision_keeps_pooling_and_descriptors_whole(monkeypatch, neck):
    model = shallow(monkeypatch, neck, classes=3, attributes=2 if neck == "bnneck" else 0)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(images())
    for tensor in (output.pooled, output.descriptor, *output.features, output.attribute_logits, output.mu):
        assert tensor is None or tensor.dtype == torch.float32
    assert torch.isfinite(output.descriptor).all()


# ---------------------------------------------------------------------- MGN and BDB


def test_stripes_are_those_of_a_slow_loop():
    maps = torch.randn(2, 5, 7, 3, generator=torch.Generator().manual_seed(0))
    for count, edges in ((1, [(0, 7)]), (2, [(0, 4), (3, 7)]), (3, [(0, 3), (2, 5), (4, 7)])):
        found = stripe_maxima(maps, count)
        assert len(found) == count
        for stripe, (top, bottom) in zip(found, edges, strict=True):
            for i, c in np.ndindex(2, 5):
                assert stripe[i, c] == maps[i, c, top:bottom].max()
    even = stripe_maxima(maps[:, :, :6], 3)
    torch.testing.assert_close(even[1], maps[:, :, 2:4].amax((2, 3)))
    assert torch.isfinite(torch.stack(stripe_maxima(maps[:, :, :1], 3))).all()


def test_mgn():
    model = build_model("mgn", 5, input_hw=SIZE)
    # torchvision's stages 1–3 without the rest of stage 3, three times the rest, eight reductions, classifiers
    stage3, stage4 = 7_098_368, 14_964_736
    first = params(model.trunk.layer3)
    shared = 23_508_032 - stage3 - stage4 + first
    reductions = 8 * (2048 * 256 + 512)
    assert params(model) == shared + 3 * (stage3 - first + stage4) + reductions + 5 * (3 * 2048 + 5 * 256)
    output = model(images())
    assert [tuple(x.shape) for x in output.features] == [(4, 256)] * 3
    assert [x.shape[1] for x in output.features] == model.feature_dims
    assert len(output.logits) == 8
    assert output.pooled.shape == (4, model.pooled_dim)
    sum(x.sum() for x in output.logits + output.features).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    starts = [branch.layer4[0].conv1.weight for branch in model.branches]
    assert torch.equal(starts[0], starts[1])  # alike at first, and each its own
    assert starts[0] is not starts[1]
    with torch.inference_mode():
        model.eval()
        descriptor = model(images()).descriptor
        torch.testing.assert_close(model.descriptor_only(images()), descriptor)
        assert descriptor.shape == (4, 2048)
        torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(4))
        maps = model.trunk(images())
        assert maps.shape[2:] == (4, 2)
        assert model.branches[0].layer4(model.branches[0].layer3(maps)).shape[2:] == (2, 1)
        assert model.branches[1].layer4(model.branches[1].layer3(maps)).shape[2:] == (4, 2)


def test_bdb():
    model = build_model("bdb", 5, input_hw=SIZE)
    assert params(model) == (23_508_032 + params(Bottleneck(2048)) + (2048 * 512 + 1024) + (2048 * 1024 + 2048)
                             + 5 * (512 + 1024))
    assert params(Bottleneck(2048)) == 2 * 2048 * 512 + 9 * 512 * 512 + 2 * (512 + 512 + 2048)
    output = model(images())
    assert [tuple(x.shape) for x in output.features] == [(4, 512), (4, 1024)]
    assert [tuple(x.shape) for x in output.logits] == [(4, 5)] * 2
    assert output.pooled.shape == (4, 2048)
    with torch.inference_mode():
        model.eval()
        descriptor = model(images()).descriptor
        torch.testing.assert_close(model.descriptor_only(images()), descriptor)
        torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(4))
        assert descriptor.shape == (4, 1536)


def test_bdb_erases_one_place_for_all(monkeypatch):
    monkeypatch.setattr("reid_models.backbones.bdb.Trunk", lambda **_: Shallow())
    model = bdb(input_hw=SIZE)
    maps = torch.rand(3, 6, 24, 8) + 1
    tops = set()
    model.generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        gone = model._erase(maps) == 0
        assert (gone == gone[:1, :1]).all()
        rows = gone[0, 0].all(dim=1).nonzero()[:, 0].tolist()
        assert gone[0, 0].sum() == 7 * 8  # 0.3 of 24 rows, all columns
        assert rows == list(range(rows[0], rows[0] + 7))
        tops.add(rows[0])
    assert tops == set(range(18))
    repeated = []
    for _ in range(2):
        model.generator = torch.Generator().manual_seed(4)
        repeated.append(model._erase(maps))
    assert torch.equal(*repeated)
    for wrong in ((1.0, 1.0), (-0.1, 1.0), (0.3,)):
        with pytest.raises(ReidError, match="'erase' is"):
            bdb(erase=wrong)


def test_a_model_trains(monkeypatch):
    model = shallow(monkeypatch, "bnneck", classes=2)
    assert isinstance(model, ResNet50)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    pid = torch.tensor([0, 1, 0, 1])
    first = last = None
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(images()).logits[0], pid)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = first or loss.item(), loss.item()
    assert last < 0.5 * first
