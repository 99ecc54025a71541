"""The angular-margin softmax on identities, and on attributes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models.batch import Target
from reid_models.errors import ReidError
from reid_models.losses.classification import class_targets, mean_cross_entropy
from reid_models.losses.criterion import Sizes
from reid_models.losses.distances import full, in_full_precision
from reid_models.losses.options import choice, number, switch


def with_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ + m) from cos θ, any shape.

    Past θ + m = π the cosine would rise again and reward the wrong direction; there it goes on falling as
    −2 − cos(θ + m), which meets it with value and slope.
    """
    cosine = cosine.clamp(-1, 1)
    # the root's slope is infinite at ±1; behind a clamp it is finite there
    sine = (1 - cosine.square()).clamp(min=1e-6).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine >= -math.cos(margin), turned, -2 - turned)


class AngularMargin(nn.Module):
    """Softmax over s·cos θ with the margin m on the true class (AM0BH paper, eq. 2), the mean over the batch.

        −log e^(s·cos(θ_y + m)) / (e^(s·cos(θ_y + m)) + Σ_{j≠y} e^(s·cos θ_j))

    θ_j is the angle between the feature and the weights of class j, which this loss owns (C, width): hand its
    parameters to the optimiser. The paper's AM0 has m = 0 and AM m = 0.5; it gives no s. A generated picture takes its
    ``target.soft`` without a margin; without one it is left out.

    Args:
        sizes: the model's.
        width: d of the features.
        generator: draws the first weights.
        margin: m in radians, at most π/2.
        scale: s.
        imprint: where the training starts from other weights, let the classes' weights start as the mean direction of
            their people's features (Qi et al. 2018, section 3.3), not at random: what the network knows is kept.
    """

    ON = ("pooled", "features", "descriptor")

    def __init__(self, sizes: Sizes, *, width: int, generator: torch.Generator, margin: float = 0.0,
                 scale: float = 14.0, imprint: bool = False) -> None:
        super().__init__()
        if sizes.num_classes < 1:
            raise ReidError("angular_margin: it needs the number of people (num_classes), got 0")
        self.margin = number("angular_margin.margin", margin, low=0, high=math.pi / 2)
        self.scale = number("angular_margin.scale", scale, above=0)
        self.imprint = switch("angular_margin.imprint", imprint)
        self.weight = nn.Parameter(torch.randn(sizes.num_classes, width, generator=generator) / math.sqrt(width))

    def cosines(self, features: Tensor) -> Tensor:
        """(n, C) cosines of (n, d) features with the classes' weights, in float32 at least."""
        with torch.autocast(features.device.type, enabled=False):
            rows = functional.normalize(full(features), dim=1)
            return rows @ functional.normalize(self.weight.to(rows.dtype), dim=1).T

    def forward(self, features: Tensor, target: Target) -> Tensor:
        """The loss of (n, d) features, normalised or not."""
        with torch.autocast(features.device.type, enabled=False):
            cosine = self.cosines(features)
            if self.margin:
                person = torch.arange(len(self.weight), device=cosine.device) == target.pid[:, None]
                cosine = torch.where(person, with_margin(cosine, self.margin), cosine)
            rows, known = class_targets(cosine, target)
            return mean_cross_entropy((self.scale * cosine).log_softmax(1), rows, known)


@in_full_precision
def attribute_loss(logits: Tensor, attributes: Tensor, *, scale: float = 14.0, margin: float = 0.0,
                   cosine: bool = True, reduction: str = "sum") -> Tensor:
    """Two-way softmax of each of M attributes (AM0BH paper, eq. 3), the mean over the batch, a scalar.

        (1/N) Σ_i Σ_k −log e^(s·cos(θ_k + m)) / (e^(s·cos(θ_k + m)) + e^(s·cos θ̄_k))

    Args:
        logits: (n, M, 2) cosines with the weights of "is not" and "is"; plain logits where ``cosine`` is false.
        attributes: (n, M) 0 or 1; below 0: unknown, left out. A row that knows none is not counted in N.
        scale: s, for cosines.
        margin: m, for cosines.
        cosine: whether the logits are cosines.
        reduction: ``sum`` over the attributes, as the paper prints it, or the ``mean`` over the known ones.
    """
    known = attributes >= 0
    answer = functional.one_hot(attributes.clamp(min=0).long(), 2).bool()
    if cosine:
        turned = torch.where(answer, with_margin(logits, margin), logits) if margin else logits
        logits = scale * turned
    each = torch.where(known, -torch.where(answer, logits.log_softmax(2), 0).sum(2), 0)
    return each.sum() / (known if reduction == "mean" else known.any(1)).sum().clamp(min=1)


class Attributes(nn.Module):
    """:func:`attribute_loss` as a recipe's term; its weight is the paper's λ."""

    ON = ("attribute_logits",)

    def __init__(self, sizes: Sizes, *, scale: float = 14.0, margin: float = 0.0, cosine: bool = True,
                 reduction: str = "sum") -> None:
        super().__init__()
        self.scale = number("attributes.scale", scale, above=0)
        self.margin = number("attributes.margin", margin, low=0, high=math.pi / 2)
        self.cosine = switch("attributes.cosine", cosine)
        self.reduction = choice("attributes.reduction", reduction, ("sum", "mean"))
        self._seen = False

    def forward(self, logits: Tensor, target: Target) -> Tensor:
        """The loss of (n, M, 2) attribute logits."""
        if target.attributes is None:
            raise ReidError("the loss 'attributes' needs a data set with attributes, and this one has none")
        if target.attributes.shape != logits.shape[:2]:
            raise ReidError(f"the model predicts {logits.shape[1]} attributes, the data set has "
                            f"{target.attributes.shape[1]}")
        if self.cosine and not self._seen and logits.numel():
            if float(logits.detach().abs().max()) > 1.01:
                raise ReidError("attributes: the model's attribute logits are no cosines; set cosine: false")
            self._seen = True  # once is enough: the question makes a GPU wait
        return attribute_loss(logits, target.attributes, scale=self.scale, margin=self.margin, cosine=self.cosine,
                              reduction=self.reduction)
