"""Triplet and contrastive losses against slow loops, their limits, and what breaks careless versions of them."""

from __future__ import annotations

import math
from itertools import permutations

import pytest

torch = pytest.importorskip("torch")

from reid_models.losses.distances import pair_masks, pairwise_distances  # noqa: E402
from reid_models.losses.pairs import contrastive_loss, triplet_loss  # noqa: E402

PID = [0, 0, 0, 1, 1, 2, 3, 3, -1, -1]
MARGINS = [0.3, 5.0, "softplus"]


def features(n: int = 10, d: int = 6, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return (scale * torch.randn(n, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).to(dtype)


def ramp(gap: float, margin: float | str) -> float:
    return math.log1p(math.exp(gap)) if isinstance(margin, str) else max(0.0, gap + margin)


def slow_triplet(x: torch.Tensor, pid: list[int], mining: str, margin: float | str, reduction: str) -> float:
    rows = x.double().tolist()
    terms = []
    for a in range(len(pid)):
        near = [math.dist(rows[a], rows[p]) for p in range(len(pid)) if p != a and pid[p] == pid[a] >= 0]
        far = [math.dist(rows[a], rows[n]) for n in range(len(pid)) if pid[n] >= 0 and pid[n] != pid[a] >= 0]
        if not near or not far:
            continue
        if mining == "all":
            terms += [ramp(p - n, margin) for p in near for n in far]
        elif mining == "hard":
            terms.append(ramp(max(near) - min(far), margin))
        else:
            pull = sum(d * math.exp(d) for d in near) / sum(math.exp(d) for d in near)
            push = sum(d * math.exp(-d) for d in far) / sum(math.exp(-d) for d in far)
            terms.append(ramp(pull - push, margin))
    if reduction == "sum":
        return sum(terms)
    count = len(terms) if reduction == "mean" else max(1, sum(t > 0 for t in terms))
    return sum(terms) / count if terms else 0.0


@pytest.mark.parametrize("reduction", ["mean", "sum", "nonzero"])
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("mining", ["all", "hard", "soft"])
def test_triplet_equals_a_slow_loop(mining: str, margin: float | str, reduction: str) -> None:
    x = features()
    value = triplet_loss(x, torch.tensor(PID), mining=mining, margin=margin, reduction=reduction)
    assert value.item() == pytest.approx(slow_triplet(x, PID, mining, margin, reduction), rel=1e-12)


def test_normalised_triplet_is_the_triplet_of_unit_vectors() -> None:
    x = features()
    unit = x / x.norm(dim=1, keepdim=True)
    for mining in ("all", "hard", "soft"):
        one = triplet_loss(x, torch.tensor(PID), mining=mining, normalise=True)
        assert one.item() == pytest.approx(slow_triplet(unit, PID, mining, 0.3, "mean"), rel=1e-12)
        assert one.item() == pytest.approx(triplet_loss(7 * x, torch.tensor(PID), mining=mining, normalise=True).item())


def test_batch_soft_becomes_batch_hard_as_distances_grow() -> None:
    pid = torch.tensor(PID)
    wrong = []
    for scale in (1.0, 10.0, 100.0, 1e5):
        x = features(scale=scale)
        soft = triplet_loss(x, pid, mining="soft", margin=0.0) / scale
        hard = triplet_loss(x, pid, mining="hard", margin=0.0) / scale
        wrong.append(abs(soft.item() - hard.item()))
    assert wrong[0] > 0.05  # they are not the same to begin with
    assert wrong[-1] < 1e-9
    assert wrong == sorted(wrong, reverse=True)


def test_batch_soft_becomes_the_mean_as_distances_shrink() -> None:
    x, pid = features(), torch.tensor(PID)
    scale = 1e-7
    distance = pairwise_distances(x)
    positive, negative = pair_masks(pid)
    anchors = positive.any(1) & negative.any(1)
    gaps = (distance * positive).sum(1) / positive.sum(1) - (distance * negative).sum(1) / negative.sum(1)
    value = triplet_loss(scale * x, pid, mining="soft", margin=1.0)
    assert value.item() == pytest.approx((1 + scale * gaps[anchors]).mean().item(), rel=1e-12)


def test_the_anchor_has_no_weight_among_its_positives() -> None:
    """With two pictures per person the one positive has all the weight; an anchor among them would share it."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0], [9.0, 2.0]], dtype=torch.float64)
    pid = torch.tensor([0, 0, 1, 1])
    soft = triplet_loss(x, pid, mining="soft", margin=100.0, reduction="sum")
    push = 0.0
    for i, row in enumerate(x.tolist()):
        far = [math.dist(row, x[j].tolist()) for j in range(4) if j // 2 != i // 2]
        push += sum(d * math.exp(-d) for d in far) / sum(math.exp(-d) for d in far)
    assert soft.item() == pytest.approx(400 + 1 + 1 + 2 + 2 - push, rel=1e-12)


def slow_contrastive(x: torch.Tensor, pid: list[int], mining: str, margin: float, squared: bool) -> list[float]:
    rows, n = x.tolist(), len(pid)

    def pull(d: float) -> float:
        return d * d / 2 if squared else d

    def push(d: float) -> float:
        return max(0, margin - d) ** 2 / 2 if squared else max(0.0, margin - d)

    if mining == "all":
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if pid[i] >= 0 and pid[j] >= 0]
        return [(pull if pid[i] == pid[j] else push)(math.dist(rows[i], rows[j])) for i, j in pairs]
    terms = []
    for a in range(n):
        near = [math.dist(rows[a], rows[p]) for p in range(n) if p != a and pid[p] == pid[a] >= 0]
        far = [math.dist(rows[a], rows[q]) for q in range(n) if pid[q] >= 0 and pid[q] != pid[a] >= 0]
        if near or far:
            terms.append((pull(max(near)) if near else 0) + (push(min(far)) if far else 0))
    return terms


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("mining", ["all", "hard"])
@pytest.mark.parametrize("pid", [PID, [0] * 10, list(range(10)), [-1] * 10, [0, 0] + [-1] * 8])
def test_contrastive_equals_a_slow_loop(pid: list[int], mining: str, squared: bool) -> None:
    x = features()
    terms = slow_contrastive(x, pid, mining, 3.0, squared)
    options = {"mining": mining, "margin": 3.0, "squared": squared}
    total = contrastive_loss(x, torch.tensor(pid), reduction="sum", **options)
    mean = contrastive_loss(x, torch.tensor(pid), **options)
    assert total.item() == pytest.approx(sum(terms), rel=1e-12)
    assert mean.item() == pytest.approx(sum(terms) / max(1, len(terms)), rel=1e-12)


# ---------------------------------------------------------------------- batches that mining finds nothing in


CALLS = [
    *[pytest.param(lambda x, p, m=m, g=g: triplet_loss(x, p, mining=m, margin=g), id=f"triplet-{m}-{g}")
      for m in ("all", "hard", "soft") for g in (0.3, "softplus")],
    *[pytest.param(lambda x, p, m=m: contrastive_loss(x, p, mining=m), id=f"contrastive-{m}") for m in ("all", "hard")],
]


@pytest.mark.parametrize("pid", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1], [5], []])
@pytest.mark.parametrize("loss", CALLS)
def test_batches_without_pairs_can_be_stepped_on(loss, pid) -> None:
    x = features(len(pid)).requires_grad_()
    value = loss(x, torch.tensor(pid, dtype=torch.long))
    value.backward()
    assert torch.isfinite(value)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("pid", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1], [5], []])
@pytest.mark.parametrize("mining", ["all", "hard", "soft"])
def test_no_triplet_no_loss(mining: str, pid: list[int]) -> None:
    value = triplet_loss(features(len(pid)), torch.tensor(pid, dtype=torch.long), mining=mining, margin="softplus")
    assert value.item() == 0


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("loss", CALLS)
def test_identical_pictures(loss, normalised: bool) -> None:
    """The root's slope at distance 0 is infinite; the loss and its gradient have to stay finite."""
    row = torch.full((1, 5), 0.7)
    x = row.repeat(6, 1).requires_grad_()
    value = loss(torch.nn.functional.normalize(x) if normalised else x, torch.tensor([0, 0, 1, 1, 2, 2]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("loss", CALLS)
def test_zero_vectors(loss) -> None:
    x = torch.zeros(4, 3, requires_grad=True)
    loss(x, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(x.grad).all()


# ---------------------------------------------------------------------- precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("loss", CALLS)
def test_half_precision_features_are_compared_in_single_precision(loss, dtype: torch.dtype) -> None:
    x = features(scale=20, dtype=dtype).requires_grad_()
    pid = torch.tensor(PID)
    value = loss(x, pid)
    exact = loss(x.detach().double(), pid)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-5, abs=1e-6)
    value.backward()
    assert x.grad.dtype == dtype
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("loss", CALLS)
def test_autocast_does_not_touch_distances(loss) -> None:
    x, pid = features(scale=20, dtype=torch.float32), torch.tensor(PID)
    outside = loss(x, pid)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(x, pid)
    assert inside.dtype == torch.float32
    assert inside.item() == outside.item()


def test_small_distances_of_long_features_are_exact() -> None:
    """‖x‖² − 2xy + ‖y‖² in float32 would make 0.2 or 0 of this 0.01."""
    x = torch.full((2, 2048), 3.0)
    x[1, 0] += 0.01
    distance = pairwise_distances(x)
    assert distance[0, 1].item() == pytest.approx(0.01, rel=1e-4)
    assert distance[0, 0].item() == 0


@pytest.mark.parametrize("loss", [c for c in CALLS if "softplus" in c.id or "soft" in c.id or "contrastive" in c.id])
def test_gradients(loss) -> None:
    x = features(8, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: loss(y, torch.tensor([0, 0, 1, 1, 2, 2, 2, -1])), (x,))


def test_nobody_known_gets_no_gradient() -> None:
    for call in CALLS:
        x = features().requires_grad_()
        call.values[0](x, torch.tensor(PID)).backward()
        assert (x.grad[-2:] == 0).all()
        assert (x.grad[:5] != 0).any()


def test_the_order_of_a_tie_does_not_matter() -> None:
    """Two positives equally far: both get their share, whoever comes first."""
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0], [-3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    pid = torch.tensor([0, 0, 0, 1])
    grads = set()
    for order in permutations(range(4)):
        y = x[list(order)].clone().requires_grad_()
        triplet_loss(y, pid[list(order)], margin=1.0).backward()
        back = torch.empty_like(x)
        back[list(order)] = y.grad
        grads.add(tuple(round(v, 12) for v in back.flatten().tolist()))
    assert len(grads) == 1


# ---------------------------------------------------------------------- an independent implementation


def test_against_pytorch_metric_learning() -> None:
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    x = features(12, 16, dtype=torch.float32)
    pid = torch.arange(12) // 3
    plain = distances.LpDistance(normalize_embeddings=False, p=2, power=1)
    unit = distances.LpDistance(normalize_embeddings=True, p=2, power=1)
    hard = miners.BatchHardMiner(distance=plain)(x, pid)
    for theirs, mined, ours in [
        (losses.TripletMarginLoss(0.3, distance=plain, reducer=reducers.MeanReducer()), hard, {"mining": "hard"}),
        (losses.TripletMarginLoss(0.3, distance=plain, reducer=reducers.MeanReducer()), None, {"mining": "all"}),
        (losses.TripletMarginLoss(0.3, distance=plain), None, {"mining": "all", "reduction": "nonzero"}),
        (losses.TripletMarginLoss(0.3, distance=unit), None,
         {"mining": "all", "reduction": "nonzero", "normalise": True}),
    ]:
        assert triplet_loss(x, pid, **ours).item() == pytest.approx(theirs(x, pid, mined).item(), rel=1e-4)
    smooth = losses.TripletMarginLoss(0.0, smooth_loss=True, distance=plain, reducer=reducers.MeanReducer())
    ours = triplet_loss(x, pid, mining="all", margin="softplus").item()
    assert ours == pytest.approx(smooth(x, pid).item(), rel=1e-4)
    contrast = losses.ContrastiveLoss(0, 6.0, distance=plain, reducer=reducers.SumReducer())
    once = contrastive_loss(x, pid, mining="all", margin=6.0, reduction="sum").item()
    assert 2 * once == pytest.approx(contrast(x, pid).item(), rel=1e-4)  # it counts (i, j) and (j, i)
