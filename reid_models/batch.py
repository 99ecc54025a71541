"""What passes between a model, its losses and the trainer.

torch is not imported here: the annotations are text, so that naming these types costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class ModelOutput:
    """What a model says of n pictures.

    Attributes:
        descriptor: (n, dim) unit rows, float32: what is deployed and compared.
        features: one (n, d) per branch, as the model gives them to pair and triplet losses (each model's docstring
            says whether they are normalised).
        logits: one (n, C) per classifier; empty where the model was built without classes.
        attribute_logits: (n, M, 2) for M two-way attributes, or None.
        mu, log_var: (n, d) each, of a variational bottleneck, or None.
        pooled: (n, d) the pooled feature before any head, unnormalised: what is clustered, and what FIDI and the
            angular-margin softmax see.
    """

    descriptor: Tensor
    features: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    attribute_logits: Tensor | None = None
    mu: Tensor | None = None
    log_var: Tensor | None = None
    pooled: Tensor | None = None


@dataclass
class Target:
    """What is known of n pictures.

    Attributes:
        pid: (n,) int64 in 0…C−1; −1 where a picture shows nobody known (a generated one).
        camid: (n,) int64.
        soft: (n, C) target distributions that replace the one-hot rows (sparse label smoothing), or None.
        generated: (n,) bool, pictures made by a network, or None where there are none.
        attributes: (n, M) int64, 0 or 1, −1 where unknown; or None.
        teacher: (n, e) unit rows, what a trained network says of the same augmented pictures; or None.
    """

    pid: Tensor
    camid: Tensor
    soft: Tensor | None = None
    generated: Tensor | None = None
    attributes: Tensor | None = None
    teacher: Tensor | None = None
