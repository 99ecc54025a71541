"""Cross-entropy with smoothed, partial and noisy labels, and the confidence penalty."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models.batch import Target
from reid_models.errors import ReidError
from reid_models.losses.criterion import Sizes
from reid_models.losses.distances import full, in_full_precision, reduce
from reid_models.losses.options import choice, number

GENERATED = ("soft", "uniform", "predicted", "extra_class")
NOISE = ("none", "generated", "all")


def smooth(one_hot: Tensor, epsilon: float) -> Tensor:
    """(n, C) distributions with ε of their mass spread over all classes.

    A one-hot row becomes 1 − (C−1)/C·ε at the true class and ε/C elsewhere (confidence paper, eq. 1, which prints a
    denominator that does not sum to 1; SLSR eq. 7 and 8).
    """
    return (1 - epsilon) * one_hot + epsilon / one_hot.shape[1]


def generated_targets(logits: Tensor, scheme: str) -> Tensor:
    """(n, C) what pictures made by a network are taken for, by the schemes that need no clusters (SLSR table 1).

    - ``uniform``: 1/C each (LSRO);
    - ``predicted``: one-hot at what the model believes now (pseudo-label);
    - ``extra_class``: one-hot at the last class, which no person has (all-in-one).
    """
    classes = logits.shape[1]
    if scheme == "uniform":
        return torch.full_like(logits, 1 / classes)
    index = logits.detach().argmax(1) if scheme == "predicted" else logits.new_full((len(logits),), classes - 1)
    return functional.one_hot(index.long(), classes).to(logits.dtype)


def class_targets(logits: Tensor, target: Target, epsilon: float = 0.0,
                  generated: str = "soft") -> tuple[Tensor, Tensor]:
    """(n, C) target distributions and (n,) bool, which rows have one.

    ``target.soft`` where given, else one-hot at ``target.pid`` (none below 0); smoothed by ε unless the picture is a
    generated one. Generated pictures get what :func:`generated_targets` says, unless it is ``soft``.
    """
    classes = logits.shape[1]
    known = target.pid >= 0
    if target.soft is not None:
        if target.soft.shape != logits.shape:
            raise ReidError(f"soft targets are {tuple(target.soft.shape)}, but the logits {tuple(logits.shape)}")
        rows = target.soft.to(logits)
        known = rows.sum(1) > 0
    else:
        rows = functional.one_hot(target.pid.clamp(min=0), classes).to(logits.dtype)
    made = torch.zeros_like(known) if target.generated is None else target.generated
    smoothed = torch.where(made[:, None], rows, smooth(rows, epsilon)) if epsilon else rows
    if generated == "soft" or target.generated is None:
        return smoothed, known
    return torch.where(made[:, None], generated_targets(logits, generated), smoothed), known | made


def mean_cross_entropy(log_p: Tensor, rows: Tensor, known: Tensor) -> Tensor:
    """−Σ_c q_c log p_c, the mean over the known rows; 0 if there are none."""
    return reduce(-(rows * log_p).sum(1), known)


class NoiseLayer(nn.Module):
    """SLSR's extra linear layer on top of the softmax: p ↦ p·T, fitted to the noisy labels of generated pictures.

    The rows of T (C, C) are distributions (kept so by a softmax over their own weights), so p·T stays one; T starts
    near the identity, with ``mass`` off the diagonal.
    """

    def __init__(self, classes: int, mass: float = 0.05) -> None:
        super().__init__()
        lead = math.log((classes - 1) * (1 - mass) / mass) if classes > 1 else 0.0
        self.weight = nn.Parameter(torch.eye(classes) * lead)

    def forward(self, log_p: Tensor) -> Tensor:
        """(n, C) logarithms of p·T from those of p."""
        mixed = log_p.exp() @ self.weight.to(log_p.dtype).softmax(1)
        return mixed.clamp(min=torch.finfo(log_p.dtype).tiny).log()


class CrossEntropy(nn.Module):
    """−Σ_c q_c log p_c of (n, C) logits, the mean over the batch (confidence paper eq. 2; SLSR eq. 4–13).

    A real picture has q = its person, smoothed; a generated one has its partial label, 1/p_c over the p_c people of its
    cluster. That is SLSR's eq. 13 with λ = 0 for real and 1 for generated pictures, read (as its eq. 8) with the sum
    over the classes and their number as the denominator.

    Args:
        sizes: the model's.
        label_smoothing: ε.
        generated: what generated pictures are taken for: ``soft`` (``target.soft``), ``uniform`` (LSRO), ``predicted``
            (pseudo-label) or ``extra_class`` (all-in-one).
        noise_layer: which pictures' probabilities pass :class:`NoiseLayer`: ``none``, ``generated`` or ``all``.
    """

    ON = ("logits",)

    def __init__(self, sizes: Sizes, *, label_smoothing: float = 0.0, generated: str = "soft",
                 noise_layer: str = "none") -> None:
        super().__init__()
        self.epsilon = number("cross_entropy.label_smoothing", label_smoothing, low=0, high=1)
        self.generated = choice("cross_entropy.generated", generated, GENERATED)
        self.noise_on = choice("cross_entropy.noise_layer", noise_layer, NOISE)
        self.noise = NoiseLayer(sizes.num_classes) if self.noise_on != "none" else None

    def forward(self, logits: Tensor, target: Target) -> Tensor:
        """The loss of (n, C) logits."""
        with torch.autocast(logits.device.type, enabled=False):
            log_p = full(logits).log_softmax(1)
            rows, known = class_targets(full(logits), target, self.epsilon, self.generated)
            if self.noise is not None and self.noise_on == "all":
                log_p = self.noise(log_p)
            elif self.noise is not None:
                # also where there is none: with several processes every weight has to get a gradient
                made = torch.zeros_like(known) if target.generated is None else target.generated
                log_p = torch.where(made[:, None], self.noise(log_p), log_p)
            return mean_cross_entropy(log_p, rows, known)


@in_full_precision
def entropy(logits: Tensor, *, reduction: str = "mean") -> Tensor:
    """H(p) = −Σ_c p_c log p_c of the softmax p of (n, C) logits; its mean or sum over the batch."""
    log_p = logits.log_softmax(1)
    each = -(log_p.exp() * log_p).sum(1)
    return each.sum() if reduction == "sum" else each.sum() / max(len(each), 1)


class ConfidencePenalty(nn.Module):
    """−H(p): with a weight of β, and a cross-entropy of weight α beside it, αL − βH(p) (confidence paper, eq. 3).

    Args:
        sizes: the model's.
        reduction: ``mean`` or ``sum`` of H over the batch. The paper does not print which its β = 0.085 goes with; its
            recipe takes the sum over the batch of 32, for with the mean, beside α = 3, the penalty would hardly show:
            the best p of the true class is 0.21 with the sum, above 0.99 with the mean.
    """

    ON = ("logits",)

    def __init__(self, sizes: Sizes, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = choice("confidence_penalty.reduction", reduction, ("mean", "sum"))

    def forward(self, logits: Tensor, target: Target) -> Tensor:
        """The penalty of (n, C) logits."""
        return -entropy(logits, reduction=self.reduction)
