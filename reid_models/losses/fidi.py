"""FIDI: the fine-grained difference-aware pairwise loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reid_models.batch import Target
from reid_models.losses.criterion import Sizes
from reid_models.losses.distances import in_full_precision, pairwise_distances, reduce
from reid_models.losses.options import choice, number


def fidi_of_distance(distance: Tensor, same: Tensor, alpha: float = 1.05, beta: float = 0.5) -> Tensor:
    """The FIDI loss of each pair, from its distance d and whether it shows one person (both (m,)).

    u = e^(−βd) (eq. 6), k = 1 for one person and 0 for two, and

        D(U‖K) + D(K‖U) = u log(αu / ((α−1)u + k)) + k log(αk / ((α−1)k + u))        (eq. 4 and 5, 0·log 0 = 0).

    For two people that is u·log(α/(α−1)); for one it grows from 0 at d = 0 and never passes log(α/(α−1)) (eq. 7).
    log u is −βd, so nothing is lost or divided by 0 when u underflows.
    """
    bound = math.log(alpha / (alpha - 1))
    u = torch.exp(-beta * distance)
    log_ratio = math.log(alpha) - beta * distance - torch.log1p((alpha - 1) * u)
    one_person = u * log_ratio + math.log(alpha) - torch.log(alpha - 1 + u)
    return torch.where(same, one_person, u * bound)


@in_full_precision
def fidi_loss(features: Tensor, pid: Tensor, *, alpha: float = 1.05, beta: float = 0.5,
              reduction: str = "mean") -> Tensor:
    """FIDI loss (paper's eq. 4–6) of (n, d) unnormalised features of the people ``pid`` (n,), a scalar.

    Over unordered pairs i < j; the paper's sum over pairs is ``reduction="sum"``, the mean keeps the weight beside the
    classification loss independent of the batch's size. Rows with pid below 0 take no part. The gradient of a pair at
    distance 0 is 0.
    """
    first, second = torch.triu_indices(len(pid), len(pid), 1, device=pid.device)
    distance = pairwise_distances(features)[first, second]
    known = (pid[first] >= 0) & (pid[second] >= 0)
    return reduce(fidi_of_distance(distance, pid[first] == pid[second], alpha, beta), known, reduction)


class Fidi(nn.Module):
    """:func:`fidi_loss` as a recipe's term."""

    ON = ("pooled", "features", "descriptor")

    def __init__(self, sizes: Sizes, *, alpha: float = 1.05, beta: float = 0.5, reduction: str = "mean") -> None:
        super().__init__()
        self.alpha = number("fidi.alpha", alpha, above=1)
        self.beta = number("fidi.beta", beta, above=0)
        self.reduction = choice("fidi.reduction", reduction, ("mean", "sum"))

    def forward(self, features: Tensor, target: Target) -> Tensor:
        """The loss of (n, d) features."""
        return fidi_loss(features, target.pid, alpha=self.alpha, beta=self.beta, reduction=self.reduction)
