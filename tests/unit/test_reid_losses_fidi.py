"""FIDI against the paper's formula written out, its bounds and its behaviour at distance 0."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from reid_models.losses.fidi import fidi_loss, fidi_of_distance  # noqa: E402

PID = [0, 0, 0, 1, 1, 2, -1]


def divergence(first: float, second: float, alpha: float) -> float:
    """One pair's share of D(first ‖ second), eq. 5, with 0·log 0 = 0."""
    return 0.0 if first == 0 else first * math.log(alpha * first / ((alpha - 1) * first + second))


def slow(rows: list[list[float]], pid: list[int], alpha: float, beta: float) -> list[float]:
    terms = []
    for i in range(len(pid)):
        for j in range(i + 1, len(pid)):
            if pid[i] < 0 or pid[j] < 0:
                continue
            u, k = math.exp(-beta * math.dist(rows[i], rows[j])), float(pid[i] == pid[j])
            terms.append(divergence(u, k, alpha) + divergence(k, u, alpha))
    return terms


@pytest.mark.parametrize(("alpha", "beta"), [(1.05, 0.5), (1.001, 0.1), (3.0, 2.0)])
def test_equals_the_formula_pair_by_pair(alpha: float, beta: float) -> None:
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    terms = slow(x.tolist(), PID, alpha, beta)
    assert len(terms) == 15
    mean = fidi_loss(x, torch.tensor(PID), alpha=alpha, beta=beta)
    total = fidi_loss(x, torch.tensor(PID), alpha=alpha, beta=beta, reduction="sum")
    assert mean.item() == pytest.approx(sum(terms) / 15, rel=1e-12)
    assert total.item() == pytest.approx(sum(terms), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1.0001, 1.05, 2.0, 50.0])
def test_bounds(alpha: float, dtype: torch.dtype) -> None:
    """Eq. 7: far pictures of one person cost log(α/(α−1)) at most, those of two nothing; near ones the other way."""
    distance = torch.logspace(-6, 4, 400, dtype=dtype)
    bound = math.log(alpha / (alpha - 1))
    one = fidi_of_distance(distance, torch.ones(400, dtype=torch.bool), alpha, 0.5)
    two = fidi_of_distance(distance, torch.zeros(400, dtype=torch.bool), alpha, 0.5)
    rounding = 1e-5 * max(bound, 1) if dtype == torch.float32 else 1e-12 * max(bound, 1)
    assert one.max() <= bound + rounding
    assert one[-1].item() == pytest.approx(bound, abs=rounding)
    assert one[0].item() == pytest.approx(0, abs=rounding)
    assert (one >= -rounding).all()
    assert (one.diff() >= -rounding).all()
    assert two[-1].item() == 0
    assert two[0].item() == pytest.approx(bound, rel=1e-5)
    assert (two.diff() <= 0).all()


def test_zero_and_infinite_distance() -> None:
    distance = torch.tensor([0.0, 0.0, 1e5, 1e5], requires_grad=True)
    value = fidi_of_distance(distance, torch.tensor([True, False, True, False]))
    bound = math.log(1.05 / 0.05)
    assert value.tolist() == pytest.approx([0, bound, bound, 0], abs=1e-6)
    value.sum().backward()
    assert torch.isfinite(distance.grad).all()
    assert distance.grad.tolist() == pytest.approx([0, -0.5 * bound, 0, 0], abs=1e-6)


@pytest.mark.parametrize("pid", [[0, 0, 0], [0, 1, 2], [0, 0, 1], [-1, -1, -1], [0, -1, -1]])
def test_identical_pictures_have_a_finite_gradient(pid: list[int]) -> None:
    x = torch.full((3, 4), 2.0, requires_grad=True)
    value = fidi_loss(x, torch.tensor(pid))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("n", [0, 1])
def test_no_pairs(n: int) -> None:
    x = torch.ones(n, 4, requires_grad=True)
    value = fidi_loss(x, torch.zeros(n, dtype=torch.long))
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision(dtype: torch.dtype) -> None:
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = fidi_loss(x, torch.tensor(PID))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(fidi_loss(x.detach().double(), torch.tensor(PID)).item(), rel=1e-5)
    value.backward()
    assert torch.isfinite(x.grad).all()


def test_gradient() -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: fidi_loss(y, torch.tensor(PID)), (x,))


def test_descending_separates_people() -> None:
    """It is a loss: steps along its gradient pull one person together and push two apart."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pid = torch.arange(8) // 2
    before = fidi_loss(x, pid).item()
    for _ in range(300):
        x.requires_grad_()
        (grad,) = torch.autograd.grad(fidi_loss(x, pid), x)
        x = (x - 2.0 * grad).detach()
    distance = torch.cdist(x, x)
    same = pid[:, None] == pid[None, :]
    assert fidi_loss(x, pid).item() < before / 3
    assert distance[same].max() < distance[~same].min()
