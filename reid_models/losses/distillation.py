"""Learning from a trained network's descriptors of the same augmented pictures (Hinton et al. 2015, for retrieval).

No paper of the five: it is what gives a network of the papers' size a use where hours of one CPU are all there is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_models.batch import Target
from reid_models.errors import ReidError
from reid_models.losses.criterion import Sizes
from reid_models.losses.distances import full, in_full_precision
from reid_models.losses.options import number


class Imitation(nn.Module):
    """1 − cos(W f, t): (n, d) features, mapped linearly, against the teacher's (n, e) descriptors (FitNets, eq. 3).

    The map W (e, d) belongs to this loss (hand its parameters to the optimiser) and is not deployed. It is what a
    network learns fastest from: e numbers of every picture, where labels give one.
    """

    ON = ("features", "pooled", "descriptor")

    def __init__(self, sizes: Sizes, *, width: int, generator: torch.Generator) -> None:
        super().__init__()
        if not sizes.teacher_dim:
            raise ReidError("imitation: it needs a teacher; set the recipe's 'teacher' to weights of ours")
        self.weight = nn.Parameter(torch.randn(sizes.teacher_dim, width, generator=generator) / width**0.5)

    def forward(self, features: Tensor, target: Target) -> Tensor:
        """The mean over the pictures."""
        with torch.autocast(features.device.type, enabled=False):
            guess = full(features) @ self.weight.T
            return 1 - functional.cosine_similarity(guess, taught(target), dim=1).mean()


class Neighbourhood(nn.Module):
    """Who is near whom, and how much nearer than others, as the teacher sees it (SEED, Fang et al. 2021, in a batch).

    KL(p_i ‖ q_i), the mean over the pictures i, where p_i and q_i are softmaxes over the other pictures j ≠ i of the
    cosines with i, divided by the temperature: p of the teacher's descriptors, q of the features.

    Args:
        sizes: the model's.
        temperature: small: only the nearest count.
    """

    ON = ("features", "descriptor", "pooled")

    def __init__(self, sizes: Sizes, *, temperature: float = 0.1) -> None:
        super().__init__()
        if not sizes.teacher_dim:
            raise ReidError("neighbourhood: it needs a teacher; set the recipe's 'teacher' to weights of ours")
        self.temperature = number("neighbourhood.temperature", temperature, above=0)

    def forward(self, features: Tensor, target: Target) -> Tensor:
        """The loss of (n, d) features; 0 of a single picture."""
        return neighbourhood_loss(features, taught(target), self.temperature)


@in_full_precision
def neighbourhood_loss(features: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """See :class:`Neighbourhood`; ``features`` (n, d) and ``teacher`` (n, e), neither need be of length 1."""
    if len(features) < 2:
        return features.sum() * 0
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)

    def log_shares(rows: Tensor) -> Tensor:
        unit = functional.normalize(rows, dim=1)
        others = (unit @ unit.T)[~itself].reshape(len(rows), -1)
        return functional.log_softmax(others / temperature, dim=1)

    return functional.kl_div(log_shares(features), log_shares(teacher), reduction="batchmean", log_target=True)


def taught(target: Target) -> Tensor:
    """(n, e) what the teacher says of the pictures, in float32 at least.

    Raises:
        ReidError: nobody asked one.
    """
    if target.teacher is None:
        raise ReidError("imitation and neighbourhood need the descriptors of a teacher (Target.teacher)")
    return full(target.teacher)
