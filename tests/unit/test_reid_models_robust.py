"""Robust-ReID and its parts: counts, regions, blocks against slow formulas, pooling, and the form for inference."""

from __future__ import annotations

import copy
import math

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402, N812

from reid_models.backbones import BACKBONES, build_model  # noqa: E402
from reid_models.backbones.osnet import Gate  # noqa: E402
from reid_models.backbones.robust_reid import local_sizes  # noqa: E402
from reid_models.count import count_macs, count_parameters, model_row  # noqa: E402
from reid_models.deploy import deployable, rewritten  # noqa: E402
from reid_models.deploy_trace import trace_stage  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.layers.attention import HardAttention, cut_regions  # noqa: E402
from reid_models.layers.conv import ConvBN, depthwise  # noqa: E402
from reid_models.layers.pooling import GeM  # noqa: E402
from reid_models.layers.shuffle import ShuffleA, ShuffleB, channel_shuffle  # noqa: E402


def seeded(seed: int = 0):
    return torch.Generator().manual_seed(seed)


def shaken(model):
    """Random statistics, gains, powers and attention: what a permutation that is wrong would confuse."""
    g = seeded(1)
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_mean.normal_(std=0.1, generator=g)
            module.running_var.uniform_(0.5, 1.5, generator=g)
            module.weight.data.uniform_(0.5, 1.5, generator=g)
            module.bias.data.normal_(std=0.3, generator=g)
        if isinstance(module, GeM):
            module.p.data.uniform_(1, 6, generator=g)
        if isinstance(module, HardAttention):
            module.linear.weight.data.normal_(std=0.1, generator=g)
    return model.eval()


@pytest.mark.parametrize(("name", "params", "macs", "dim"), [
    ("robust_reid_1x", 2.91e6, 0.68e9, 1024), ("robust_reid_2x", 5.76e6, 1.62e9, 1920),
    ("osnet_x1_0", 2.17e6, 0.979e9, 512), ("osnet_x0_25", 0.203e6, 0.0823e9, 512),
])
def test_counts_are_the_stated_ones(name, params, macs, dim) -> None:
    row = model_row(name)
    assert row["params"] == pytest.approx(params, rel=0.01)
    assert row["macs"] == pytest.approx(macs, rel=0.01)
    assert row["dim"] == dim


def test_classifiers_are_not_counted_and_counting_leaves_the_model_alone() -> None:
    plain, with_classes = build_model("robust_reid_compact"), build_model("robust_reid_compact", 10)
    assert count_parameters(plain) == count_parameters(with_classes)
    assert sum(p.numel() for p in with_classes.parameters()) == count_parameters(plain) + 10 * 512
    with_classes.train()
    assert count_macs(plain, (160, 64)) == count_macs(with_classes, (160, 64))
    assert with_classes.training
    assert not any(m._forward_hooks for m in with_classes.modules())


def test_regions_start_at_the_exact_quarters_and_cover_the_edges() -> None:
    model = build_model("robust_reid_0.5x")
    for attention in model.attentions:
        x = torch.randn(3, attention.hard.linear.in_features, 4, 2, generator=seeded())
        y = attention.hard(x)[..., 1]
        torch.testing.assert_close(y, torch.tensor([-0.75, -0.25, 0.25, 0.75]).expand(3, 4))
        edges = torch.stack((y - 0.25, y + 0.25))
        assert edges[0, :, 0].allclose(torch.tensor(-1.0))
        assert edges[1, :, 3].allclose(torch.tensor(1.0))
        assert edges[1, :, :3].allclose(edges[0, :, 1:], atol=1e-6)
        assert attention.hard(x)[..., 0].abs().max() == 0


def test_quarters_at_their_own_size_are_the_rows_themselves() -> None:
    x = torch.randn(2, 3, 20, 8, generator=seeded())
    centres = torch.tensor([[0.0, -0.75], [0.0, -0.25], [0.0, 0.25], [0.0, 0.75]]).expand(2, 4, 2)
    cut = cut_regions(x, centres, (5, 8))
    for i in range(4):
        torch.testing.assert_close(cut[:, i], x[:, :, 5 * i : 5 * i + 5])


def test_regions_are_those_of_a_spatial_transformer() -> None:
    x = torch.randn(2, 3, 20, 8, generator=seeded(), dtype=torch.float64)
    centres = torch.rand(2, 4, 2, generator=seeded(1), dtype=torch.float64) * 2 - 1
    cut = cut_regions(x, centres, (6, 7))
    for i in range(4):
        theta = torch.zeros(2, 2, 3, dtype=torch.float64)
        theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = 1, 0.25, centres[:, i]
        grid = F.affine_grid(theta, [2, 3, 6, 7], align_corners=False)
        expected = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        torch.testing.assert_close(cut[:, i], expected, rtol=1e-9, atol=1e-9)


def test_channel_shuffle_interleaves_the_halves() -> None:
    x = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert channel_shuffle(x).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def slow_unit(x, unit):
    """Convolution and normalisation, one output number at a time."""
    w, s = unit.conv.weight, unit.conv.stride[0]
    k, groups = w.shape[2], unit.conv.groups
    padded = F.pad(x, (k // 2,) * 4)
    per = x.shape[1] // groups
    out = torch.zeros(x.shape[0], w.shape[0], -(-x.shape[2] // s), -(-x.shape[3] // s), dtype=x.dtype)
    for o in range(w.shape[0]):
        first = o // (w.shape[0] // groups) * per
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                window = padded[:, first : first + per, s * i : s * i + k, s * j : s * j + k]
                out[:, o, i, j] = (window * w[o]).sum((1, 2, 3))
        mean, var = unit.bn.running_mean[o], unit.bn.running_var[o]
        out[:, o] = (out[:, o] - mean) / (var + unit.bn.eps).sqrt() * unit.bn.weight[o] + unit.bn.bias[o]
    return out.clamp(min=0) if unit.relu else out


def slow_join(a, b):
    out = torch.zeros(a.shape[0], 2 * a.shape[1], *a.shape[2:], dtype=a.dtype)
    for i in range(a.shape[1]):
        out[:, 2 * i], out[:, 2 * i + 1] = a[:, i], b[:, i]
    return out


def test_shuffle_a_against_a_slow_formula() -> None:
    block = shaken(ShuffleA(8)).double()
    x = torch.randn(2, 8, 5, 3, generator=seeded(), dtype=torch.float64)
    y = x[:, 4:]
    for unit in block.branch:
        y = slow_unit(y, unit)
    with torch.no_grad():
        torch.testing.assert_close(block(x), slow_join(x[:, :4], y))


@pytest.mark.parametrize("stride", [1, 2])
def test_shuffle_b_against_a_slow_formula(stride) -> None:
    block = shaken(ShuffleB(4, 6, stride)).double()
    x = torch.randn(2, 4, 6, 4, generator=seeded(), dtype=torch.float64)
    short, long = x, x
    for unit in block.short:
        short = slow_unit(short, unit)
    for unit in block.long:
        long = slow_unit(long, unit)
    with torch.no_grad():
        torch.testing.assert_close(block(x), slow_join(short, long))


def test_gem_is_the_mean_at_one_and_the_maximum_at_infinity() -> None:
    x = torch.rand(3, 5, 4, 2, generator=seeded()) * 9 + 0.1
    pool = GeM(5)
    pool.p.data.fill_(1)
    torch.testing.assert_close(pool(x), x.mean((2, 3)), rtol=1e-5, atol=1e-6)
    pool.p.data.fill_(3)
    torch.testing.assert_close(pool(x), (x**3).mean((2, 3)) ** (1 / 3), rtol=1e-5, atol=1e-6)
    pool.p.data.fill_(1e4)
    torch.testing.assert_close(pool(x), x.amax((2, 3)), rtol=1e-3, atol=1e-3)


def test_gem_at_zeros_has_finite_values_and_gradients() -> None:
    pool, x = GeM(2), torch.zeros(1, 2, 3, 3, requires_grad=True)
    y = pool(x)
    y.sum().backward()
    assert y.abs().max() < 1e-5
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(pool.p.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gem_pools_in_float32_under_autocast(dtype) -> None:
    x = (torch.rand(2, 3, 4, 4, generator=seeded()) * 100).to(dtype)  # cubes leave float16
    with torch.autocast("cpu", dtype=dtype):
        y = GeM(3)(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, (x.float() ** 3).mean((2, 3)) ** (1 / 3), rtol=1e-4, atol=1e-4)


def test_a_descriptor_under_autocast_is_float32_of_unit_length() -> None:
    model = build_model("robust_reid_compact").eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        y = model.descriptor_only(torch.randn(2, 3, 160, 64, generator=seeded()))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", ["robust_reid_0.5x", "robust_reid_compact", "ha_cnn", "osnet_x0_25"])
def test_batches_of_any_size(name) -> None:
    model = shaken(build_model(name, 5))
    x = torch.randn(3, 3, *model.input_hw, generator=seeded())
    with torch.no_grad():
        whole, one, none = model(x), model(x[:1]), model(x[:0])
    assert none.descriptor.shape == (0, model.dim)
    torch.testing.assert_close(one.descriptor, whole.descriptor[:1], rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(whole.descriptor.norm(dim=1), torch.ones(3))
    assert all(logits.shape == (3, 5) for logits in whole.logits)
    assert len(whole.logits) == len(whole.features)


@pytest.mark.parametrize("name", ["robust_reid_0.5x", "robust_reid_compact", "ha_cnn", "osnet_x0_25"])
def test_gradients_reach_every_parameter(name) -> None:
    """In float64: what is scaled just before a batch normalisation has a gradient through its epsilon only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(name, 3).double().train()
    for module in model.modules():
        if isinstance(module, Gate):  # of OSNet: a single hidden unit, which may start below 0 for every picture
            module.squeeze.bias.data.fill_(10)
    output = model(torch.randn(4, 3, *model.input_hw, generator=seeded(), dtype=torch.float64))
    loss = sum(F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])) for logits in output.logits)
    loss.backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("hw", [(160, 64), (64, 32), (128, 80)])
@pytest.mark.parametrize("name", ["robust_reid_0.5x", "robust_reid_compact"])
def test_the_form_for_inference_is_the_same_function(name, hw) -> None:
    """In float64, where a channel in the wrong place cannot hide behind rounding."""
    model = shaken(build_model(name, input_hw=hw))
    x = torch.randn(2, 3, *hw, generator=seeded())
    with torch.no_grad():
        expected = copy.deepcopy(model).double().descriptor_only(x.double())
        torch.testing.assert_close(rewritten(model)(x.double()), expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(deployable(model)(x), model.descriptor_only(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("half", "blocks"), [(8, 3), (16, 1), (20, 5), (64, 7)])
def test_every_channel_is_made_once_and_read_once(half, blocks) -> None:
    trace = trace_stage(half, blocks)
    for pieces in trace.made:
        assert sorted(i for _, rows in pieces for i in rows if i >= 0) == list(range(half))
    for reader, readings in enumerate(trace.read):
        read = sorted(at for reading in readings for at in reading.columns if at >= 0)
        assert read == list(range(half if reader < blocks else 2 * half))


def test_regions_keep_their_share_of_pictures_of_another_size() -> None:
    assert local_sizes((160, 64)) == [(24, 28), (12, 14), (6, 7)]  # Table 1
    assert local_sizes((320, 128)) == [(48, 56), (24, 28), (12, 14)]
    assert local_sizes((64, 32)) == [(10, 14), (5, 7), (3, 4)]  # what convolutions of stride 2 make of odd sides
    same = [build_model("robust_reid_0.5x", input_hw=hw).state_dict() for hw in ((160, 64), (64, 32))]
    assert {k: v.shape for k, v in same[0].items()} == {k: v.shape for k, v in same[1].items()}


@pytest.mark.parametrize("hw", [(160, 60), (16, 64), (160,)])
@pytest.mark.parametrize("name", ["robust_reid_1x", "ha_cnn", "robust_reid_compact"])
def test_a_size_that_does_not_halve_is_one_line(name, hw) -> None:
    with pytest.raises(ReidError, match=rf"model '{name}': 'input_hw' is \[.*each a multiple of 16 from 32$"):
        build_model(name, input_hw=hw)


def test_unknown_names_and_options_get_a_suggestion() -> None:
    with pytest.raises(ReidError, match="did you mean 'robust_reid_1x'"):
        build_model("robust_reid_1")
    with pytest.raises(ReidError, match=r"no option 'pol' .did you mean 'pool'"):
        build_model("robust_reid_1x", pol="gem")
    with pytest.raises(ReidError, match="expected one of gem, average, max"):
        build_model("robust_reid_0.5x", pool="median")
    assert set(BACKBONES) >= {"robust_reid_1x", "ha_cnn", "osnet_x1_0", "resnet50"}


def test_options_of_the_ablation() -> None:
    plain = build_model("robust_reid_0.5x", 2, pool="average", normalised=False, blocks="inception").eval()
    with torch.no_grad():
        output = plain(torch.randn(1, 3, 160, 64, generator=seeded()))
    assert not math.isclose(output.features[0].norm().item(), 1, rel_tol=1e-3)
    assert output.pooled.shape == (1, 192 * 5)


@pytest.mark.parametrize("hw", [(8, 6), (7, 5), (3, 2)])
def test_a_thinned_depthwise_convolution_is_the_strided_one(hw):
    """What training on a CPU computes in place of a stride: outputs and all gradients."""
    layer = depthwise(4, stride=2).train()
    torch.nn.init.normal_(layer.conv.weight, generator=seeded(2))
    inputs = [torch.randn(3, 4, *hw, generator=seeded(3)).requires_grad_() for _ in range(2)]
    inputs[1].data.copy_(inputs[0].data)
    weight = layer.conv.weight.detach().clone().requires_grad_()
    expected = F.batch_norm(F.conv2d(inputs[0], weight, stride=2, padding=1, groups=4), None, None, training=True)
    got = layer(inputs[1])
    assert torch.allclose(got, expected, atol=1e-5)
    slope = torch.randn(got.shape, generator=seeded(4))
    expected.backward(slope)
    got.backward(slope)
    assert torch.allclose(inputs[1].grad, inputs[0].grad, atol=1e-4)
    assert torch.allclose(layer.conv.weight.grad, weight.grad, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_fresh_1x_does_not_blow_up_small_differences(seed: int) -> None:
    """With shifts of 0 the global vector of the same pictures with 1 % of noise has a cosine of 0.42: chaos."""
    torch.manual_seed(seed)
    model = build_model("robust_reid_1x").train()
    shifts = [m.bn.bias for m in model.modules() if isinstance(m, ConvBN) and m.relu]
    assert all(bool((shift == 1).all()) for shift in shifts)
    images = F.interpolate(torch.randn(8, 3, 20, 8), (160, 64), mode="bilinear")
    noisy = images + 0.01 * images.std() * torch.randn(8, 3, 160, 64)
    with torch.no_grad():
        pairs = zip(model(images).features, model(noisy).features, strict=True)
        alike = [float(F.cosine_similarity(a, b).mean()) for a, b in pairs]
    assert min(alike) > 0.8
