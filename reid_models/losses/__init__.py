"""Losses and regularisers of the five papers, and learning from a teacher: a list of terms, as a recipe writes them.

torch is imported when a criterion is built, not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from reid_models.losses.criterion import Criterion

__all__ = ["LEARN_FROM_TEACHER", "LOSSES", "build_criterion", "extra_classes"]

LOSSES: dict[str, str] = {
    "cross_entropy": "reid_models.losses.classification:CrossEntropy",
    "confidence_penalty": "reid_models.losses.classification:ConfidencePenalty",
    "vib_kl": "reid_models.losses.bottleneck:VibKl",
    "triplet": "reid_models.losses.pairs:Triplet",
    "contrastive": "reid_models.losses.pairs:Contrastive",
    "fidi": "reid_models.losses.fidi:Fidi",
    "angular_margin": "reid_models.losses.angular:AngularMargin",
    "attributes": "reid_models.losses.angular:Attributes",
    "center": "reid_models.losses.center:Center",
    "imitation": "reid_models.losses.distillation:Imitation",
    "neighbourhood": "reid_models.losses.distillation:Neighbourhood",
}
"""Name → ``module:Class``. A class has ``ON``, what it may read of a model's output (the first is the default), and is
called as ``Class(sizes, **options)``."""

LEARN_FROM_TEACHER = ("imitation", "neighbourhood")
"""Losses that compare with the descriptors of a trained network."""


def build_criterion(terms: Sequence[Mapping[str, Any]], num_classes: int, feature_dims: Sequence[int],
                    pooled_dim: int | None, attributes: int, *, descriptor_dim: int | None = None,
                    teacher_dim: int | None = None, generator: torch.Generator | None = None) -> Criterion:
    """Build the weighted sum of a recipe's loss terms.

    Args:
        terms: each ``{name: …, weight: 1.0, on: …, branches: mean|sum, **options of the loss}``.
        num_classes: the C of every (n, C) logits; identities, and one more where :func:`extra_classes` says so.
        feature_dims: the width of each of the model's features, in their order.
        pooled_dim: the width of the model's pooled feature, None where it has none.
        attributes: how many two-way attributes the model predicts (0: none).
        descriptor_dim: the width of the descriptor; needed only by a loss that owns weights and reads it.
        teacher_dim: the width of a teacher's descriptor; None: there is no teacher.
        generator: initialises the weights that losses own (CPU; a fixed one by default).

    Raises:
        ReidError: an unknown loss or option, or a term that this model cannot serve; one line that says which.
    """
    from reid_models.losses.criterion import Criterion, Sizes

    sizes = Sizes(num_classes, tuple(feature_dims), pooled_dim, attributes, descriptor_dim, teacher_dim)
    return Criterion.of(terms, sizes, LOSSES, generator)


def extra_classes(terms: Sequence[Mapping[str, Any]]) -> int:
    """How many classes beyond the identities the terms need: 1 where generated pictures are a class of their own."""
    return int(any(term.get("generated") == "extra_class" for term in terms))
