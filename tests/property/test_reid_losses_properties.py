"""What has to hold of the losses for any batch."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from reid_models.batch import Target  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.fidelity import fidelity  # noqa: E402
from reid_models.losses.angular import AngularMargin, attribute_loss, with_margin  # noqa: E402
from reid_models.losses.classification import CrossEntropy, class_targets, entropy, smooth  # noqa: E402
from reid_models.losses.criterion import Sizes  # noqa: E402
from reid_models.losses.fidi import fidi_loss, fidi_of_distance  # noqa: E402
from reid_models.losses.pairs import contrastive_loss, triplet_loss  # noqa: E402
from reid_models.slsr import partial_labels  # noqa: E402

C = 6
PAIRS = {
    **{f"triplet {m} {g} {r}": lambda x, p, m=m, g=g, r=r: triplet_loss(x, p, mining=m, margin=g, reduction=r)
       for m in ("all", "hard", "soft") for g in (0.3, "softplus") for r in ("mean", "sum")},
    **{f"contrastive {m} {s}": lambda x, p, m=m, s=s: contrastive_loss(x, p, mining=m, squared=s)
       for m in ("all", "hard") for s in (False, True)},
    "fidi": fidi_loss,
}
names = st.sampled_from(sorted(PAIRS))


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, d) features on a coarse grid, so that equal rows and distances occur, and (n,) people, −1 among them."""
    n, d = draw(st.integers(0, 9)), draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(st.integers(-8, 8), min_size=d, max_size=d), min_size=n, max_size=n))
    pid = draw(st.lists(st.integers(-1, C - 1), min_size=n, max_size=n))
    return torch.tensor(rows, dtype=torch.float64).reshape(n, d) / 2, torch.tensor(pid, dtype=torch.long)


@settings(deadline=None, max_examples=150)
@given(batch=batches(), name=names, seed=st.integers(0, 99))
def test_the_order_of_the_batch_does_not_matter(batch, name: str, seed: int) -> None:
    x, pid = batch[0].requires_grad_(), batch[1]
    order = torch.randperm(len(pid), generator=torch.Generator().manual_seed(seed))
    value, other = PAIRS[name](x, pid), PAIRS[name](x[order], pid[order])
    assert other.item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12)
    (one,) = torch.autograd.grad(value, x)
    (two,) = torch.autograd.grad(other, x)
    assert torch.isfinite(one).all()
    assert torch.allclose(one, two, atol=1e-9)


@settings(deadline=None, max_examples=100)
@given(batch=batches(), name=names, seed=st.integers(0, 99))
def test_only_distances_and_who_is_who_matter(batch, name: str, seed: int) -> None:
    """Turned, shifted and with other numbers for the same people, everything stays."""
    x, pid = batch
    random = torch.Generator().manual_seed(seed)
    d = x.shape[1]
    turn = torch.linalg.qr(torch.randn(d, d, generator=random, dtype=torch.float64))[0]
    renamed = torch.where(pid < 0, pid, torch.randperm(C, generator=random)[pid.clamp(min=0)])
    value = PAIRS[name](x, pid)
    assert PAIRS[name](x @ turn + 3, renamed).item() == pytest.approx(value.item(), rel=1e-7, abs=1e-7)


@settings(deadline=None, max_examples=100)
@given(batch=batches(), name=names, data=st.data())
def test_pictures_of_nobody_known_change_nothing(batch, name: str, data) -> None:
    x, pid = batch
    more = data.draw(st.integers(1, 3))
    wider = torch.cat([x, torch.full((more, x.shape[1]), 0.25, dtype=torch.float64)])
    value = PAIRS[name](wider, torch.cat([pid, torch.full((more,), -1)]))
    assert value.item() == pytest.approx(PAIRS[name](x, pid).item(), rel=1e-12, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(batch=batches(), margin=st.sampled_from([0.0, 0.3, 2.0, "softplus"]))
def test_hard_mining_is_the_hardest(batch, margin) -> None:
    """Per anchor: the mean over all triplets and the soft weighting can only be easier."""
    x, pid = batch
    hard, soft, every = (triplet_loss(x, pid, mining=m, margin=margin).item() for m in ("hard", "soft", "all"))
    assert soft <= hard + 1e-12
    one_each = torch.bincount(pid[pid >= 0], minlength=1)
    if len(set(one_each[one_each > 0].tolist())) <= 1:  # as many triplets per anchor: the means compare
        assert every <= hard + 1e-12
    assert min(hard, soft, every) >= 0


@settings(deadline=None, max_examples=150)
@given(distance=st.floats(0, 1e6), alpha=st.floats(1.0001, 100), beta=st.floats(1e-3, 50), same=st.booleans())
def test_fidi_stays_within_its_bound(distance: float, alpha: float, beta: float, same: bool) -> None:
    d = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
    value = fidi_of_distance(d, torch.tensor([same]), alpha, beta)
    value.backward()
    bound = math.log(alpha / (alpha - 1))
    assert -1e-12 <= value.item() <= bound + 1e-12
    assert torch.isfinite(d.grad).all()
    assert d.grad.item() >= -1e-12 if same else d.grad.item() <= 0


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 999), epsilon=st.floats(0, 1), n=st.integers(1, 5), scale=st.floats(0, 50))
def test_cross_entropy_is_at_least_its_targets_entropy(seed: int, epsilon: float, n: int, scale: float) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, C, generator=random, dtype=torch.float64)
    pid = torch.randint(0, C, (n,), generator=random)
    target = Target(pid, torch.zeros_like(pid))
    rows, known = class_targets(logits, target, epsilon)
    assert known.all()
    assert rows.sum(1).tolist() == pytest.approx([1] * n)
    floor = entropy(rows.clamp(min=1e-300).log()).item()
    value = CrossEntropy(Sizes(C), label_smoothing=epsilon)(logits, target).item()
    assert value >= floor - 1e-9
    assert CrossEntropy(Sizes(C), label_smoothing=epsilon)(rows.clamp(min=1e-300).log(), target).item() == \
        pytest.approx(floor, abs=1e-9)
    assert 0 <= entropy(logits).item() <= math.log(C) + 1e-12


@given(epsilon=st.floats(0, 1), classes=st.integers(1, 50))
def test_smoothing_as_the_issue_reads_it(epsilon: float, classes: int) -> None:
    row = smooth(torch.eye(classes, dtype=torch.float64)[:1], epsilon)[0].tolist()
    assert row[0] == pytest.approx(1 - (classes - 1) / classes * epsilon)
    assert row[1:] == pytest.approx([epsilon / classes] * (classes - 1))


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 999), margin=st.floats(0, math.pi / 2), scale=st.floats(0.5, 64))
def test_a_margin_only_makes_it_harder(seed: int, margin: float, scale: float) -> None:
    random = torch.Generator().manual_seed(seed)
    x, pid = torch.randn(5, 3, generator=random), torch.randint(0, C, (5,), generator=random)
    target = Target(pid, torch.zeros_like(pid))

    def value(m: float) -> float:
        made = AngularMargin(Sizes(C), width=3, generator=torch.Generator().manual_seed(seed), margin=m, scale=scale)
        return made(x, target).item()

    assert value(margin) >= value(0.0) - 1e-4 * scale
    cosine = torch.rand(20, generator=random, dtype=torch.float64) * 2 - 1
    assert (with_margin(cosine, margin) <= cosine + 1e-3).all()
    cosines, answers = cosine.view(5, 2, 2), torch.randint(-1, 2, (5, 2), generator=random)
    easy, hard = (attribute_loss(cosines, answers, margin=m, scale=scale).item() for m in (0.0, margin))
    assert hard >= easy - 2e-3 * scale


@settings(deadline=None, max_examples=60)
@given(batch=batches(), seed=st.integers(0, 99), scale=st.floats(0.01, 100))
def test_fidelity_depends_on_order_and_scale_of_nothing(batch, seed: int, scale: float) -> None:
    x, pid = batch[0].numpy(), batch[1].numpy()
    order = np.random.default_rng(seed).permutation(len(pid))
    try:
        found = fidelity(x, pid)
    except ReidError:
        assert len(set(pid[pid >= 0].tolist())) < 2 or np.bincount(pid[pid >= 0]).max() < 2
        return
    again = fidelity(scale * x[order] + 5, pid[order])
    assert (again.error_1, again.error_2, again.anchors) == pytest.approx(
        (found.error_1, found.error_2, found.anchors), rel=1e-12)
    assert (found.error_1 == 0) == (found.error_2 == 0)  # either says: some other one is nearer than some own one


@given(data=st.data(), clusters=st.integers(1, 5))
def test_partial_labels_are_distributions_over_the_clusters_people(data, clusters: int) -> None:
    n = data.draw(st.integers(1, 30))
    cluster = np.array(data.draw(st.lists(st.integers(0, clusters - 1), min_size=n, max_size=n)))
    pid = np.array(data.draw(st.lists(st.integers(0, C - 1), min_size=n, max_size=n)))
    labels = partial_labels(cluster, pid, clusters, C)
    for k in range(clusters):
        people = set(pid[cluster == k].tolist())
        assert labels[k].tolist() == pytest.approx([1 / len(people) if c in people else 0 for c in range(C)])
