"""The variational information bottleneck's divergence from its prior."""

from __future__ import annotations

from torch import Tensor, nn

from reid_models.batch import Target
from reid_models.losses.criterion import Sizes
from reid_models.losses.distances import full, in_full_precision
from reid_models.losses.options import choice


@in_full_precision
def vib_kl(mu: Tensor, log_var: Tensor, *, reduction: str = "mean") -> Tensor:
    """KL[N(μ, diag σ²) ‖ N(0, I)] = ½ Σ_d (μ² + σ² − 1 − log σ²), a scalar (confidence paper, eq. 5).

    Args:
        mu: (n, d).
        log_var: (n, d) log σ².
        reduction: over the batch: ``mean`` or ``sum``; over the d dimensions it is always the sum.
    """
    log_var = full(log_var)
    each = 0.5 * (mu.square() + log_var.expm1() - log_var).sum(1)
    return each.sum() if reduction == "sum" else each.sum() / max(len(each), 1)


class VibKl(nn.Module):
    """:func:`vib_kl` as a recipe's term; its weight is the paper's β."""

    ON = ("bottleneck",)

    def __init__(self, sizes: Sizes, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = choice("vib_kl.reduction", reduction, ("mean", "sum"))

    def forward(self, bottleneck: tuple[Tensor, Tensor], target: Target) -> Tensor:
        """The divergence of (μ, log σ²), (n, d) each."""
        return vib_kl(*bottleneck, reduction=self.reduction)
