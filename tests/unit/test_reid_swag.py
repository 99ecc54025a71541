"""SWAG against moments computed the long way round, and what deploying and averaging do."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from reid_models.batch import ModelOutput  # noqa: E402
from reid_models.errors import ReidError  # noqa: E402
from reid_models.swag import Swag, bayesian_average, kept_weights, reestimate_batchnorm  # noqa: E402


class Tiny(nn.Module):
    """Two linear layers around a batch normalisation, as a model of ours answers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, images: torch.Tensor) -> ModelOutput:
        x = self.norm(self.first(images.flatten(1)))
        return ModelOutput(nn.functional.normalize(x, dim=1), logits=[self.last(x)])


def vector(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def collected(rank: int = 4, count: int = 6) -> tuple[Tiny, Swag, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    model = Tiny()
    swag, seen = Swag(model, rank), []
    for _ in range(count):
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn(p.shape, generator=random))
        swag.collect(model)
        seen.append(vector(model))
    return model, swag, torch.stack(seen)


def test_moments_are_those_of_what_was_collected() -> None:
    _, swag, seen = collected()
    assert swag.count == 6
    torch.testing.assert_close(swag.mean, seen.mean(0))
    torch.testing.assert_close(swag.variance, seen.var(0, unbiased=False), atol=1e-5, rtol=1e-5)
    assert len(swag.deviations) == 4
    for i, deviation in enumerate(swag.deviations, 2):
        torch.testing.assert_close(deviation, seen[i] - seen[: i + 1].mean(0))


def test_samples_have_the_covariance_of_equation_1() -> None:
    model, swag, _ = collected()
    random = torch.Generator().manual_seed(2)
    drawn = []
    for _ in range(4000):
        swag.sample(model, random)
        drawn.append(vector(model))
    rows = torch.stack(drawn)
    d = torch.stack(swag.deviations)
    expected = torch.diag(swag.variance / 2) + d.T @ d / (2 * (len(d) - 1))
    torch.testing.assert_close(rows.mean(0), swag.mean, atol=0.12, rtol=0)
    assert (rows.T.cov() - expected).norm() / expected.norm() < 0.12


def test_scale_0_is_the_mean_and_rank_0_the_diagonal() -> None:
    model, swag, _ = collected()
    swag.sample(model, torch.Generator().manual_seed(0), scale=0.0)
    torch.testing.assert_close(vector(model), swag.mean)
    model, swag, _ = collected(rank=0)
    random = torch.Generator().manual_seed(3)
    rows = []
    for _ in range(3000):
        swag.sample(model, random)
        rows.append(vector(model))
    torch.testing.assert_close(torch.stack(rows).var(0), swag.variance, rtol=0.2, atol=0.02)


def test_state_goes_through_a_checkpoint() -> None:
    _, swag, _ = collected()
    other = Swag(Tiny(), 4)
    other.load_state_dict(swag.state_dict())
    a, b = Tiny(), Tiny()
    swag.sample(a, torch.Generator().manual_seed(5))
    other.sample(b, torch.Generator().manual_seed(5))
    torch.testing.assert_close(vector(a), vector(b), rtol=0, atol=0)
    with pytest.raises(ReidError, match="weights in the checkpoint"):
        Swag(nn.Linear(2, 2)).load_state_dict(swag.state_dict())


def test_batch_normalisation_is_the_average_over_the_batches() -> None:
    model = Tiny()
    model.norm.running_mean.fill_(100.0)
    random = torch.Generator().manual_seed(4)
    batches = [torch.randn(8, 3, 2, 2, generator=random) for _ in range(5)]
    reestimate_batchnorm(model, batches)
    inner = [model.first(b.flatten(1)) for b in batches]
    torch.testing.assert_close(model.norm.running_mean, torch.stack([x.mean(0) for x in inner]).mean(0))
    torch.testing.assert_close(model.norm.running_var, torch.stack([x.var(0) for x in inner]).mean(0))
    assert not model.norm.training
    assert model.norm.momentum == 0.1


def test_bayesian_average_is_the_mean_over_samples_and_leaves_the_model_alone() -> None:
    model, swag, _ = collected()
    random = torch.Generator().manual_seed(6)
    batches = [torch.randn(8, 3, 2, 2, generator=random) for _ in range(2)]
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    rows, probability = bayesian_average(model, swag, lambda: batches, lambda: batches, 5,
                                         torch.Generator().manual_seed(7))
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    sums, chances, chance = 0, 0, torch.Generator().manual_seed(7)
    with kept_weights(model), torch.no_grad():
        for _ in range(5):
            swag.sample(model, chance)
            reestimate_batchnorm(model, batches)
            outputs = [model(b) for b in batches]
            sums = sums + torch.cat([o.descriptor for o in outputs])
            chances = chances + torch.cat([o.logits[0].softmax(1) for o in outputs]) / 5
    torch.testing.assert_close(rows, nn.functional.normalize(sums, dim=1))
    torch.testing.assert_close(probability, chances)
    torch.testing.assert_close(probability.sum(1), torch.ones(16))


def test_nothing_collected_says_so() -> None:
    with pytest.raises(ReidError, match="no weights were collected"):
        Swag(Tiny()).load_mean(Tiny())
    with pytest.raises(ReidError, match="rank -1"):
        Swag(Tiny(), -1)
