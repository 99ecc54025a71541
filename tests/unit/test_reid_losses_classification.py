"""Cross-entropy with all its targets, the confidence penalty and the bottleneck's divergence."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from reid_models.batch import Target  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.losses.bottleneck import vib_kl  # noqa: E402
from reid_models.losses.classification import (  # noqa: E402
    ConfidencePenalty,
    CrossEntropy,
    NoiseLayer,
    class_targets,
    entropy,
)
from reid_models.losses.criterion import Sizes  # noqa: E402

C = 5


def logits(n: int = 4, dtype: torch.dtype = torch.float64, scale: float = 3.0) -> torch.Tensor:
    drawn = torch.randn(n, C, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (scale * drawn).to(dtype)


def target(pid: list[int], **more) -> Target:
    return Target(torch.tensor(pid, dtype=torch.long), torch.zeros(len(pid), dtype=torch.long), **more)


def log_p(row: list[float], c: int) -> float:
    return row[c] - math.log(sum(math.exp(v) for v in row))


def cross_entropy(**options) -> CrossEntropy:
    return CrossEntropy(Sizes(C), **options)


# ---------------------------------------------------------------------- label smoothing


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_smoothing_is_one_minus_c_minus_one_over_c_epsilon(epsilon: float) -> None:
    z, pid = logits(), [0, 3, 3, 1]
    slow = 0.0
    for row, y in zip(z.tolist(), pid, strict=True):
        for c in range(C):
            q = 1 - (C - 1) / C * epsilon if c == y else epsilon / C
            slow -= q * log_p(row, c) / 4
    assert cross_entropy(label_smoothing=epsilon)(z, target(pid)).item() == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_equals_torch_where_torch_has_it(epsilon: float) -> None:
    z, pid = logits(), [0, -1, 3, 1]
    theirs = functional.cross_entropy(z, torch.tensor(pid), label_smoothing=epsilon, ignore_index=-1)
    assert cross_entropy(label_smoothing=epsilon)(z, target(pid)).item() == pytest.approx(theirs.item(), rel=1e-12)


def test_nobody_known() -> None:
    z = logits().requires_grad_()
    value = cross_entropy()(z, target([-1] * 4))
    value.backward()
    assert value.item() == 0
    assert (z.grad == 0).all()
    empty = torch.zeros(0, C, requires_grad=True)
    cross_entropy()(empty, target([])).backward()


# ---------------------------------------------------------------------- generated pictures


def test_partial_labels_replace_one_hot_ones_and_are_not_smoothed() -> None:
    z = logits()
    soft = torch.zeros(4, C)
    soft[0, 2] = 1.0
    soft[1, [0, 4]] = 0.5
    soft[2, 1] = 1.0  # row 3 knows nothing
    t = target([2, -1, 1, -1], soft=soft, generated=torch.tensor([False, True, False, True]))
    rows = z.tolist()
    spread = {i: sum(0.1 / C * log_p(rows[i], c) for c in range(C)) for i in (0, 2)}
    smooth = [-(0.9 * log_p(rows[i], y) + spread[i]) for i, y in ((0, 2), (2, 1))]
    made = -(log_p(rows[1], 0) + log_p(rows[1], 4)) / 2
    value = cross_entropy(label_smoothing=0.1)(z, t)
    assert value.item() == pytest.approx((sum(smooth) + made) / 3, rel=1e-12)


def test_all_people_in_one_cluster_is_lsro() -> None:
    """1/p_c over everybody is the uniform label, whose loss is the mean of −log p."""
    z, made = logits(), torch.tensor([False, True, True, False])
    soft = functional.one_hot(torch.tensor([0, 0, 0, 3]), C).double()
    soft[1:3] = 1 / C
    slsr = cross_entropy()(z, target([0, -1, -1, 3], soft=soft, generated=made))
    lsro = cross_entropy(generated="uniform")(z, target([0, -1, -1, 3], generated=made))
    rows = z.tolist()
    slow = -log_p(rows[0], 0) - log_p(rows[3], 3) - sum(log_p(rows[i], c) / C for i in (1, 2) for c in range(C))
    assert slsr.item() == pytest.approx(slow / 4, rel=1e-12)
    assert lsro.item() == pytest.approx(slow / 4, rel=1e-12)


def test_all_in_one_and_pseudo_labels() -> None:
    z, made = logits(), torch.tensor([False, True, True, False])
    t = target([0, -1, -1, 3], generated=made)
    for scheme, labels in (("extra_class", [0, C - 1, C - 1, 3]), ("predicted", [0, *z[1:3].argmax(1).tolist(), 3])):
        plain = functional.cross_entropy(z, torch.tensor(labels))
        assert cross_entropy(generated=scheme)(z, t).item() == pytest.approx(plain.item(), rel=1e-12)


def test_schemes_also_replace_partial_labels_that_are_given() -> None:
    z, made = logits(), torch.tensor([False, True, True, False])
    soft = functional.one_hot(torch.tensor([0, 1, 1, 3]), C).double()
    with_soft = cross_entropy(generated="uniform")(z, target([0, -1, -1, 3], soft=soft, generated=made))
    without = cross_entropy(generated="uniform")(z, target([0, -1, -1, 3], generated=made))
    assert with_soft.item() == pytest.approx(without.item(), rel=1e-12)


@pytest.mark.parametrize("scheme", ["uniform", "predicted", "extra_class"])
def test_targets_are_distributions(scheme: str) -> None:
    rows, known = class_targets(logits(), target([0, -1, 2, -1], generated=torch.tensor([False, True, False, False])),
                                0.2, scheme)
    assert known.tolist() == [True, True, True, False]
    assert rows[known].sum(1).tolist() == pytest.approx([1, 1, 1])
    assert (rows[known] >= 0).all()


def test_soft_targets_of_another_width() -> None:
    with pytest.raises(ReidError, match=r"soft targets are \(4, 7\)"):
        cross_entropy()(logits(), target([0] * 4, soft=torch.zeros(4, 7)))


# ---------------------------------------------------------------------- the noise layer


def test_noise_layer_multiplies_by_a_stochastic_matrix() -> None:
    layer = NoiseLayer(C).double()
    with torch.no_grad():
        layer.weight.add_(torch.randn(C, C, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    z = logits()
    matrix = layer.weight.detach().softmax(1)
    slow = z.softmax(1) @ matrix
    out = layer(z.log_softmax(1)).exp()
    assert torch.allclose(out, slow, rtol=1e-12)
    assert out.sum(1).tolist() == pytest.approx([1] * 4, rel=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 751])
def test_noise_layer_starts_near_the_identity(classes: int) -> None:
    matrix = NoiseLayer(classes).weight.softmax(1)
    assert matrix.diagonal().tolist() == pytest.approx([0.95 if classes > 1 else 1.0] * classes, rel=1e-4)


def test_noise_layer_touches_generated_pictures_only() -> None:
    made = torch.tensor([False, True, True, False])
    t = target([0, -1, -1, 3], generated=made)
    plain, noisy = cross_entropy(generated="uniform"), cross_entropy(generated="uniform", noise_layer="generated")
    z = logits()
    real = target([0, 3])
    assert noisy(z[[0, 3]], real).item() == plain(z[[0, 3]], real).item()
    assert noisy(z, t).item() != plain(z, t).item()
    everywhere = cross_entropy(noise_layer="all")
    assert everywhere(z[[0, 3]], real).item() != plain(z[[0, 3]], real).item()
    assert [p.shape for p in noisy.parameters()] == [(C, C)]


def test_noise_layer_has_a_gradient_also_without_generated_pictures() -> None:
    """With several processes a weight without one is an error; and it must not touch real pictures."""
    loss = cross_entropy(noise_layer="generated")
    value = loss(logits(), target([0, 1, 2, 3]))
    value.backward()
    assert (loss.noise.weight.grad == 0).all()
    assert value.item() == cross_entropy()(logits(), target([0, 1, 2, 3])).item()


def test_noise_layer_stays_finite_where_the_model_is_sure_and_wrong() -> None:
    loss = cross_entropy(noise_layer="all")
    z = torch.tensor([[1e4, 0, 0, 0, 0.0]], requires_grad=True)
    with torch.no_grad():
        loss.noise.weight.mul_(1e3)  # no mass at all off the diagonal
    value = loss(z, target([1]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()


# ---------------------------------------------------------------------- confidence penalty, VIB


def test_entropy_of_a_slow_loop_and_of_extremes() -> None:
    z = logits()
    slow = [-sum(math.exp(log_p(row, c)) * log_p(row, c) for c in range(C)) for row in z.tolist()]
    assert entropy(z).item() == pytest.approx(sum(slow) / 4, rel=1e-12)
    assert entropy(z, reduction="sum").item() == pytest.approx(sum(slow), rel=1e-12)
    assert entropy(torch.zeros(3, C)).item() == pytest.approx(math.log(C), rel=1e-6)
    sure = torch.tensor([[1e4, 0, 0, 0, 0]], requires_grad=True)
    value = entropy(sure)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(sure.grad).all()


@pytest.mark.parametrize(("reduction", "times"), [("mean", 1), ("sum", 4)])
def test_confidence_penalty_is_minus_entropy(reduction: str, times: int) -> None:
    penalty = ConfidencePenalty(Sizes(C), reduction=reduction)(logits(), target([0] * 4))
    assert penalty.item() == pytest.approx(-times * entropy(logits()).item(), rel=1e-12)


def test_vib_divergence() -> None:
    generator = torch.Generator().manual_seed(4)
    mu, log_var = (torch.randn(3, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(normal(mu, (log_var / 2).exp()), normal(0.0, 1.0)).sum()
    assert vib_kl(mu, log_var, reduction="sum").item() == pytest.approx(theirs.item(), rel=1e-12)
    assert vib_kl(mu, log_var).item() == pytest.approx(theirs.item() / 3, rel=1e-12)
    assert vib_kl(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0
    assert vib_kl(torch.zeros(0, 3), torch.zeros(0, 3)).item() == 0


def test_vib_divergence_near_the_prior_is_not_lost_to_rounding() -> None:
    """σ² − 1 − log σ² of log σ² = 1e-4 is 5e-9; in float32 a subtraction of e^x − 1 would be noise."""
    value = vib_kl(torch.zeros(1, 1), torch.full((1, 1), 1e-4))
    assert value.item() == pytest.approx(2.5e-9, rel=1e-2)


# ---------------------------------------------------------------------- precision, gradients


LOSSES = [
    lambda z: cross_entropy(label_smoothing=0.1)(z, target([0, 3, -1, 1])),
    lambda z: cross_entropy(generated="uniform", noise_layer="all")(
        z, target([0, -1, -1, 3], generated=torch.tensor([False, True, True, False]))),
    entropy,
    lambda z: vib_kl(z, z.flip(0)),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss) -> None:
    assert torch.autograd.gradcheck(loss, (logits().requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision(loss, dtype: torch.dtype) -> None:
    z = logits(dtype=dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(z)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(z.detach().double()).item(), rel=1e-5)
    value.backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("options", [
    {"label_smoothing": 1.5}, {"label_smoothing": "much"}, {"generated": "sparse"}, {"noise_layer": True}])
def test_options_are_checked(options) -> None:
    with pytest.raises(ReidError, match=r"^cross_entropy\." + next(iter(options))):
        cross_entropy(**options)
