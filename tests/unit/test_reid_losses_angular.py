"""The angular-margin softmax on identities and on attributes."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from reid_models.batch import Target  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.losses.angular import AngularMargin, Attributes, attribute_loss, with_margin  # noqa: E402
from reid_models.losses.criterion import Sizes  # noqa: E402

C, D = 5, 6


def features(n: int = 4, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return (5 * torch.randn(n, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).to(dtype)


def target(pid: list[int], **more) -> Target:
    return Target(torch.tensor(pid), torch.zeros(len(pid), dtype=torch.long), **more)


def loss(**options) -> AngularMargin:
    return AngularMargin(Sizes(C), width=D, generator=torch.Generator().manual_seed(0), **options)


def slow(x: torch.Tensor, weight: torch.Tensor, pid: list[int], margin: float, scale: float) -> float:
    total = 0.0
    for row, y in zip(x.tolist(), pid, strict=True):
        powers = []
        for j, w in enumerate(weight.double().tolist()):
            cosine = sum(a * b for a, b in zip(row, w, strict=True)) / (math.hypot(*row) * math.hypot(*w))
            angle = math.acos(cosine) + (margin if j == y else 0)
            powers.append(scale * (math.cos(angle) if angle <= math.pi else -2 - math.cos(angle)))
        top = max(powers)
        total += math.log(sum(math.exp(p - top) for p in powers)) + top - powers[y]
    return total / len(pid)


@pytest.mark.parametrize("scale", [1.0, 14.0, 64.0])
@pytest.mark.parametrize("margin", [0.0, 0.5, math.pi / 2])
def test_equals_a_slow_loop(margin: float, scale: float) -> None:
    made = loss(margin=margin, scale=scale)
    x, pid = features(), [0, 3, 3, 1]
    expected = slow(x, made.weight.detach(), pid, margin, scale)
    assert made(x, target(pid)).item() == pytest.approx(expected, rel=1e-6)


def test_without_a_margin_it_is_the_softmax_of_scaled_cosines() -> None:
    made = loss(margin=0.0)
    x, pid = features(), [0, 3, 3, 1]
    plain = torch.nn.functional.cross_entropy(14 * made.cosines(x), torch.tensor(pid))
    assert made(x, target(pid)).item() == pytest.approx(plain.item(), rel=1e-12)


def test_length_of_features_does_not_matter_and_gets_no_gradient() -> None:
    """Section 3.3: the gradient is tangent to the sphere, which is why the triplet loss is put beside it."""
    made, x = loss(margin=0.5), features().requires_grad_()
    value = made(x, target([0, 3, 3, 1]))
    value.backward()
    assert made(9 * x, target([0, 3, 3, 1])).item() == pytest.approx(value.item(), rel=1e-12)
    assert x.grad.norm() > 1e-3
    assert (x.grad * x).sum(1).abs().max() < 1e-12


def test_cosine_with_margin_falls_all_the_way() -> None:
    angle = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    for margin in (0.0, 0.1, 0.5, math.pi / 2):
        value = with_margin(angle.cos(), margin)
        direct = (angle + margin).cos()
        inside = (angle + margin <= math.pi) & (angle > 1e-3)
        assert (value - direct)[inside].abs().max() < 1e-9
        assert (value.diff() <= 1e-6).all()
        assert value.diff().abs().max() < 0.003  # no jump


def test_slope_of_the_margin_is_bounded_at_the_ends() -> None:
    one = torch.tensor(1.0)
    cosine = torch.stack([one, torch.nextafter(one, -one), -one, torch.nextafter(-one, one)]).requires_grad_()
    with_margin(cosine, 0.5).sum().backward()
    assert cosine.grad.abs().max() < 1000


def test_gradient_where_feature_and_weight_coincide() -> None:
    for sign in (1.0, -1.0):
        made = loss(margin=0.5)
        x = (sign * made.weight.detach()[:1]).clone().requires_grad_()
        value = made(x, target([0]))
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(x.grad).all()
        assert torch.isfinite(made.weight.grad).all()


def test_zero_features_and_nobody_known() -> None:
    x = torch.zeros(2, D, requires_grad=True)
    value = loss(margin=0.5)(x, target([0, -1]))
    value.backward()
    assert torch.isfinite(x.grad).all()
    assert loss()(features(2), target([-1, -1])).item() == 0


def test_generated_pictures_take_their_partial_label_without_a_margin() -> None:
    x = features(2)
    soft = torch.full((2, C), 1 / C)
    t = target([-1, -1], soft=soft, generated=torch.tensor([True, True]))
    made = loss(margin=0.5)
    assert made(x, t).item() == pytest.approx(-(14 * made.cosines(x)).log_softmax(1).mean().item(), rel=1e-6)


def test_gradients() -> None:
    made = loss(margin=0.5).double()
    assert torch.autograd.gradcheck(lambda x: made(x, target([0, 3, 3, 1])), (features().requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision(dtype: torch.dtype) -> None:
    made, x = loss(margin=0.5), features(dtype=dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = made(x, target([0, 3, 3, 1]))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(made(x.detach().double(), target([0, 3, 3, 1])).item(), rel=1e-5)
    value.backward()
    assert made.weight.grad.dtype == torch.float32
    assert torch.isfinite(x.grad).all()


def test_against_pytorch_metric_learning() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    theirs = losses.ArcFaceLoss(C, D, margin=math.degrees(0.5), scale=30)
    made = loss(margin=0.5, scale=30)
    x, pid = features(dtype=torch.float32), torch.tensor([0, 3, 3, 1])
    with torch.no_grad():
        made.weight[:] = theirs.W.T
        # theirs extends the margin in another way past π: compare where that does not matter
        made.weight[pid] += 0.3 * x
        theirs.W[:] = made.weight.T
    assert made(x, target(pid.tolist())).item() == pytest.approx(theirs(x, pid).item(), rel=1e-4)


def test_the_same_seed_gives_the_same_weights() -> None:
    assert torch.equal(loss().weight, loss().weight)


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"margin": 2}, {"scale": 0}, {"scale": None}])
def test_options_are_checked(options) -> None:
    with pytest.raises(ReidError, match=r"^angular_margin"):
        loss(**options)


# ---------------------------------------------------------------------- attributes


def cosines(n: int = 3, m: int = 4) -> torch.Tensor:
    return torch.rand(n, m, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 1.6 - 0.8


KNOWN = torch.tensor([[0, 1, 1, -1], [1, 1, -1, 0], [-1, -1, -1, -1]])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_attributes_equal_a_slow_loop(margin: float, reduction: str) -> None:
    x, total = cosines(), 0.0
    for i in range(3):
        for k in range(4):
            answer = int(KNOWN[i, k])
            if answer >= 0:
                right = math.exp(14 * math.cos(math.acos(x[i, k, answer]) + margin))
                total -= math.log(right / (right + math.exp(14 * x[i, k, 1 - answer])))
    count = 2 if reduction == "sum" else 6  # the third picture knows no attribute
    value = attribute_loss(x, KNOWN, margin=margin, reduction=reduction)
    assert value.item() == pytest.approx(total / count, rel=1e-9)


def test_attributes_of_plain_logits() -> None:
    x, answers = 5 * cosines(), KNOWN.clamp(min=0)
    theirs = torch.nn.functional.cross_entropy(x.flatten(0, 1), answers.flatten())
    value = attribute_loss(x, answers, cosine=False, reduction="mean")
    assert value.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_attributes_unknown_get_no_gradient() -> None:
    x = cosines().requires_grad_()
    attribute_loss(x, KNOWN, margin=0.5).backward()
    assert (x.grad[KNOWN < 0] == 0).all()
    assert (x.grad[KNOWN >= 0] != 0).all()
    x.grad = None
    value = attribute_loss(x, torch.full_like(KNOWN, -1))
    value.backward()
    assert value.item() == 0


def test_attributes_gradients_and_precision() -> None:
    assert torch.autograd.gradcheck(lambda x: attribute_loss(x, KNOWN, margin=0.5), (cosines().requires_grad_(),))
    for dtype in (torch.float16, torch.bfloat16):
        half = cosines().to(dtype)
        value = attribute_loss(half, KNOWN, margin=0.5)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(attribute_loss(half.double(), KNOWN, margin=0.5).item(), rel=1e-5)
    ends = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]], requires_grad=True)
    attribute_loss(ends, torch.tensor([[1, 0]]), margin=0.5).backward()
    assert torch.isfinite(ends.grad).all()


def test_attributes_say_what_is_missing() -> None:
    term = Attributes(Sizes(C, attributes=4))
    with pytest.raises(ReidError, match="data set with attributes"):
        term(cosines(), target([0, 1, 2]))
    with pytest.raises(ReidError, match="predicts 4 attributes, the data set has 3"):
        term(cosines(), target([0, 1, 2], attributes=KNOWN[:, :3]))
    with pytest.raises(ReidError, match=r"no cosines; set cosine: false"):
        term(5 * cosines(), target([0, 1, 2], attributes=KNOWN))
    assert Attributes(Sizes(C), cosine=False)(5 * cosines(), target([0, 1, 2], attributes=KNOWN)) > 0
