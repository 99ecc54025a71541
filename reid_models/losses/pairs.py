"""Triplet and contrastive losses with mining inside the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models.batch import Target
from reid_models.losses.criterion import Sizes
from reid_models.losses.distances import in_full_precision, pair_masks, pairwise_distances, reduce
from reid_models.losses.options import choice, number, switch

SOFTPLUS = "softplus"


@in_full_precision
def triplet_loss(features: Tensor, pid: Tensor, *, mining: str = "hard", margin: float | str = 0.3,
                 normalise: bool = False, reduction: str = "mean") -> Tensor:
    """Triplet loss of (n, d) features of the people ``pid`` (n,), a scalar.

    With the Euclidean distance d, an anchor a, its positives P(a) (other pictures of the same person, without a
    itself) and its negatives N(a):

    - ``all``: [m + d(a, p) − d(a, n)]₊ of every triplet (Robust-ReID eq. 2; AM0BH eq. 4);
    - ``hard``: [m + max_p d(a, p) − min_n d(a, n)]₊ of every anchor (Robust-ReID eq. 3; AM0BH eq. 5; FIDI eq. 2);
    - ``soft``: [m + Σ_p w_p d(a, p) − Σ_n w_n d(a, n)]₊ with w_p = softmax of d over P(a) and w_n = softmax of −d over
      N(a); the gradient flows through the weights (Robust-ReID eq. 4).

    Anchors without a positive or without a negative are left out; 0 if none is left.

    Args:
        features: (n, d), any floating type; distances are taken in float32 at least.
        pid: (n,) integers; below 0: takes no part.
        mining: ``all``, ``hard`` or ``soft``.
        margin: m, or ``softplus`` for ln(1 + exp(·)) in place of [m + ·]₊ (Robust-ReID eq. 5).
        normalise: distances of unit vectors (AM0BH's comparison AM0BH1).
        reduction: ``mean``, ``sum`` (as AM0BH eq. 4 and 5 print it) or ``nonzero``, the mean over those above 0.
    """
    distance = pairwise_distances(features, normalise)
    positive, negative = pair_masks(pid)
    if mining == "all":
        gaps = _gaps_of_all(distance, positive, negative)
        valid = torch.ones_like(gaps, dtype=torch.bool)
    else:
        valid = positive.any(1) & negative.any(1)
        near, far = (_hardest if mining == "hard" else _softly)(distance, positive, negative)
        gaps = torch.where(valid, near - far, 0)
    terms = functional.softplus(gaps) if isinstance(margin, str) else functional.relu(gaps + margin)
    return reduce(terms, valid, reduction)


def _gaps_of_all(distance: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """(t,) d(a, p) − d(a, n) of all triplets; memory in positive pairs × n, not n³."""
    anchor, other = positive.nonzero(as_tuple=True)
    gaps = distance[anchor, other][:, None] - distance[anchor]
    return gaps[negative[anchor]]


def _hardest(distance: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) the farthest positive, −∞ where there is none, and the nearest negative, ∞. Ties share the gradient."""
    if not len(distance):  # amax knows no maximum of nothing
        return distance.sum(1), distance.sum(1)
    infinity = float("inf")
    return distance.masked_fill(~positive, -infinity).amax(1), distance.masked_fill(~negative, infinity).amin(1)


def _softly(distance: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) the weighted means of batch-soft mining over positives and negatives; finite where there are none."""
    nowhere = torch.finfo(distance.dtype).min  # −∞ would make NaN of a row without any
    pull = distance.masked_fill(~positive, nowhere).softmax(1)
    push = (-distance).masked_fill(~negative, nowhere).softmax(1)
    return (pull * distance).sum(1), (push * distance).sum(1)


@in_full_precision
def contrastive_loss(features: Tensor, pid: Tensor, *, mining: str = "hard", margin: float = 1.0,
                     squared: bool = False, normalise: bool = False, reduction: str = "mean") -> Tensor:
    """Contrastive loss of (n, d) features of the people ``pid`` (n,), a scalar.

    d(p) for a pair of one person and [m − d(n)]₊ for a pair of two (FIDI, below eq. 1: the triplet loss with the other
    distance left out); ``squared``: ½d² and ½[m − d]₊², as the loss was first written.

    - ``all``: every unordered pair i < j;
    - ``hard``: for every anchor its farthest positive and its nearest negative, the two added (FIDI's rival BCL).

    Args:
        features: (n, d), any floating type; distances are taken in float32 at least.
        pid: (n,) integers; below 0: takes no part.
        mining: ``all`` or ``hard``.
        margin: m; the papers print none.
        squared: as above.
        normalise: distances of unit vectors.
        reduction: ``mean`` over the pairs (or over the anchors that have a pair), or ``sum``.
    """
    distance = pairwise_distances(features, normalise)
    positive, negative = pair_masks(pid)
    if mining == "all":
        pull, push = _pull_and_push(distance, distance, margin, squared)
        return reduce(torch.where(positive, pull, push), (positive | negative).triu(1), reduction)
    near, far = _hardest(distance, positive, negative)
    # an anchor may lack one of the two: its farthest positive is then at 0; its nearest negative is beyond any margin
    pull, push = _pull_and_push(torch.where(positive.any(1), near, 0), far, margin, squared)
    return reduce(pull + push, positive.any(1) | negative.any(1), reduction)


def _pull_and_push(near: Tensor, far: Tensor, margin: float, squared: bool) -> tuple[Tensor, Tensor]:
    gap = functional.relu(margin - far)
    return (near.square() / 2, gap.square() / 2) if squared else (near, gap)


class Triplet(nn.Module):
    """:func:`triplet_loss` as a recipe's term."""

    ON = ("features", "pooled", "descriptor")

    def __init__(self, sizes: Sizes, *, mining: str = "hard", margin: float | str = 0.3, normalise: bool = False,
                 reduction: str = "mean") -> None:
        super().__init__()
        self.mining = choice("triplet.mining", mining, ("all", "hard", "soft"))
        self.margin: float | str = choice("triplet.margin", margin, (SOFTPLUS,)) if isinstance(margin, str) else \
            number("triplet.margin", margin, low=0)
        self.normalise = switch("triplet.normalise", normalise)
        self.reduction = choice("triplet.reduction", reduction, ("mean", "sum", "nonzero"))

    def forward(self, features: Tensor, target: Target) -> Tensor:
        """The loss of (n, d) features."""
        return triplet_loss(features, target.pid, mining=self.mining, margin=self.margin, normalise=self.normalise,
                            reduction=self.reduction)


class Contrastive(nn.Module):
    """:func:`contrastive_loss` as a recipe's term."""

    ON = ("features", "pooled", "descriptor")

    def __init__(self, sizes: Sizes, *, mining: str = "hard", margin: float = 1.0, squared: bool = False,
                 normalise: bool = False, reduction: str = "mean") -> None:
        super().__init__()
        self.mining = choice("contrastive.mining", mining, ("all", "hard"))
        self.margin = number("contrastive.margin", margin, low=0)
        self.squared = switch("contrastive.squared", squared)
        self.normalise = switch("contrastive.normalise", normalise)
        self.reduction = choice("contrastive.reduction", reduction, ("mean", "sum"))

    def forward(self, features: Tensor, target: Target) -> Tensor:
        """The loss of (n, d) features."""
        return contrastive_loss(features, target.pid, mining=self.mining, margin=self.margin, squared=self.squared,
                                normalise=self.normalise, reduction=self.reduction)
