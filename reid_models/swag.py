"""SWAG: a Gaussian over weights from the weights a training passes through (Maddox et al. 2019, sections 3.1–3.3).

With n collected weight vectors θ_i: mean θ̄ = Σθ_i/n; Σ_diag = Σθ_i²/n − θ̄²; the columns of D̂ are the last K
deviations θ_i − θ̄_i from the mean of their time. A sample is (eq. 1 there)

    θ = θ̄ + Σ_diag^½ z₁ / √2 + D̂ z₂ / √(2(K − 1)),   z₁ ~ N(0, I_d), z₂ ~ N(0, I_K).

Robust-ReID (Lawen et al., section 3.1) collects at the end of every cosine cycle, averages predictions over samples,
and deploys the mean. Batch normalisation is estimated again for every set of weights: its running means belong to
other ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_models.errors import ReidError

if TYPE_CHECKING:
    from torch import Tensor

    Batches = Callable[[], Iterable[Tensor]]


class Swag:
    """First and second moments of a model's parameters, and the last few deviations.

    Args:
        model: gives names, shapes and device; its buffers (running statistics) are not averaged.
        rank: deviations kept (K); 0 for the diagonal alone.
    """

    def __init__(self, model: nn.Module, rank: int = 15) -> None:
        if rank < 0:
            raise ReidError(f"swag: rank {rank}, expected 0 or more")
        self.rank = rank
        self.count = 0
        start = _vector(model)
        self.mean = torch.zeros_like(start)
        self.square = torch.zeros_like(start)
        self.deviations: list[Tensor] = []

    def collect(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        theta = _vector(model)
        self.mean.mul_(self.count / (self.count + 1)).add_(theta, alpha=1 / (self.count + 1))
        self.square.mul_(self.count / (self.count + 1)).addcmul_(theta, theta, value=1 / (self.count + 1))
        self.count += 1
        if self.rank:
            # after the mean took it in, as in algorithm 1; the first is zero and is dropped first
            self.deviations.append(theta - self.mean)
            del self.deviations[: -self.rank]

    @property
    def variance(self) -> Tensor:
        """(d,) Σ_diag; float32 cancellation below zero is cut off."""
        return (self.square - self.mean**2).clamp_(min=0)

    def load_mean(self, model: nn.Module) -> None:
        """Give a model the mean weights: what is deployed. Estimate its batch normalisation again afterwards."""
        self._check()
        _write(model, self.mean)

    def sample(self, model: nn.Module, generator: torch.Generator, scale: float = 1.0) -> None:
        """Give a model weights drawn from the Gaussian.

        Args:
            model: its parameters are overwritten.
            generator: of the parameters' device.
            scale: factor on the covariance; 0 gives the mean, 1 the posterior as fitted.
        """
        self._check()
        noise = self.variance.sqrt() * self._normal(self.mean.shape, generator)
        if len(self.deviations) > 1:
            noise = noise / 2**0.5
            z = self._normal((len(self.deviations),), generator) / (2 * (len(self.deviations) - 1)) ** 0.5
            for weight, deviation in zip(z, self.deviations, strict=True):
                noise.add_(deviation * weight)
        _write(model, self.mean + scale**0.5 * noise)

    def _normal(self, shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=self.mean.device)

    def _check(self) -> None:
        if not self.count:
            raise ReidError("swag: no weights were collected; the training ended before 'swag.start_epoch'")

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"rank": self.rank, "count": self.count, "mean": self.mean, "square": self.square,
                "deviations": list(self.deviations)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse."""
        if state["mean"].shape != self.mean.shape:
            raise ReidError(f"swag: {state['mean'].numel()} weights in the checkpoint, {self.mean.numel()} in the "
                            "model")
        device = self.mean.device
        self.rank, self.count = state["rank"], state["count"]
        self.mean, self.square = state["mean"].to(device), state["square"].to(device)
        self.deviations = [d.to(device) for d in state["deviations"]]


@torch.no_grad()
def reestimate_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Running means and variances anew, as plain averages over ``batches`` ((n, 3, h, w) each, as in training).

    Only batch normalisation is switched to training; dropout and the like stay off.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    model.eval()
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


@contextlib.contextmanager
def kept_weights(model: nn.Module) -> Iterator[None]:
    """The model's weights, running statistics and mode are as before afterwards."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    modes = [(m, m.training) for m in model.modules()]
    try:
        yield
    finally:
        model.load_state_dict(state)
        for module, training in modes:
            module.training = training


@torch.no_grad()
def bayesian_average(model: nn.Module, swag: Swag, images: Batches, training_batches: Batches, samples: int,
                     generator: torch.Generator, scale: float = 1.0) -> tuple[Tensor, Tensor | None]:
    """Bayesian model averaging (Maddox et al. 2019, eq. 2): predictions averaged over weights drawn from the Gaussian.

    Args:
        model: lends its architecture; its own weights are as before afterwards.
        swag: the Gaussian.
        images: gives, at every call, the same batches (n, 3, h, w) to describe, in evaluation's form.
        training_batches: likewise for batch normalisation, estimated again for every sample.
        samples: how many weights are drawn.
        generator: of the model's device.
        scale: see :meth:`Swag.sample`.

    Returns:
        (N, dim) unit rows: the mean descriptor on the sphere; and (N, C) mean class probabilities over all
        classifiers, or None for a model without.
    """
    if samples < 1:
        raise ReidError(f"swag: {samples} samples, expected at least 1")
    descriptor: Tensor | None = None
    probability: Tensor | None = None
    with kept_weights(model):
        for _ in range(samples):
            swag.sample(model, generator, scale)
            reestimate_batchnorm(model, training_batches())
            model.eval()
            outputs = [model(batch) for batch in images()]
            one = torch.cat([o.descriptor for o in outputs])
            descriptor = one if descriptor is None else descriptor + one
            if outputs[0].logits:
                p = torch.cat([torch.stack([x.float().softmax(1) for x in o.logits]).mean(0) for o in outputs])
                probability = p if probability is None else probability + p
    assert descriptor is not None
    mean = None if probability is None else probability / samples
    return nn.functional.normalize(descriptor, dim=1), mean


def _vector(model: nn.Module) -> Tensor:
    """(d,) all parameters, float32."""
    return torch.cat([p.detach().float().flatten() for p in model.parameters()])


@torch.no_grad()
def _write(model: nn.Module, theta: Tensor) -> None:
    start = 0
    for p in model.parameters():
        p.copy_(theta[start : start + p.numel()].view_as(p))
        start += p.numel()
