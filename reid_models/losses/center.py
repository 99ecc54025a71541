"""The centre loss of the strong baseline that FIDI's table II starts from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_models.batch import Target
from reid_models.losses.criterion import Sizes
from reid_models.losses.distances import full, reduce
from reid_models.losses.options import number


class Center(nn.Module):
    """½ the mean squared distance of (n, d) features from the centre of their person.

    The FIDI paper's Baseline1 and 2 (BTL) contain it; their FIDI versions leave it out (section V-D). In training, each
    step moves the centres seen in the batch by ``rate`` · Σ(x − c) / (1 + count), after the loss is taken; so they need
    no optimiser. With several processes the sums are taken over all of them.
    """

    ON = ("features", "pooled", "descriptor")
    centers: Tensor

    def __init__(self, sizes: Sizes, *, width: int, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = number("center.rate", rate, low=0, high=1)
        self.register_buffer("centers", torch.zeros(sizes.num_classes, width))

    def forward(self, features: Tensor, target: Target) -> Tensor:
        """The loss of (n, d) features; rows with pid below 0 take no part."""
        with torch.autocast(features.device.type, enabled=False):
            known, pid = target.pid >= 0, target.pid.clamp(min=0)
            away = full(features) - self.centers[pid]
            value = reduce(away.square().sum(1), known) / 2
            if self.training:
                self._move(away.detach(), pid, known)
            return value

    @torch.no_grad()
    def _move(self, away: Tensor, pid: Tensor, known: Tensor) -> None:
        towards = torch.zeros_like(self.centers)
        towards.index_add_(0, pid, torch.where(known[:, None], away, 0).to(towards))
        count = torch.zeros_like(towards[:, 0]).index_add_(0, pid, known.to(towards))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(towards)
            torch.distributed.all_reduce(count)
        self.centers += self.rate * towards / (1 + count[:, None])
