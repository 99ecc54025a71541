"""The Batch DropBlock Network (Dai et al. 2019): one branch must do without what all pictures show at one place.

ResNet-50 with last stride 1. The global branch pools by the mean and reduces to 512 numbers. The other branch puts a
further bottleneck block on the same map, erases one rectangle, the same for the whole batch (0.3 of the height,
all of the width), pools by the maximum and reduces to 1024. Erased is only in training; what is compared is both,
1536 numbers. The losses see both reduced vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reid_models.backbones.mgn import Reduction
from reid_models.backbones.resnet import POOLED, Trunk, checked_size, classifier, load_trunk
from reid_models.batch import ModelOutput
from reid_models.errors import ReidError

GLOBAL, ERASED = 512, 1024


class Bottleneck(nn.Module):
    """A residual block of ResNet-50's last stage: 1 × 1 to a quarter of the channels, 3 × 3, 1 × 1 back."""

    def __init__(self, channels: int) -> None:
        """``channels`` in and out."""
        super().__init__()
        inner = channels // 4
        self.body = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))
        for module in self.body:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape."""
        return F.relu(maps + self.body(maps))


class BDB(nn.Module):
    """See the module's text.

    ``features`` are the two reduced vectors (512 and 1024), ``logits`` one per feature, ``pooled`` the mean-pooled
    2048 numbers; none of them is normalised.

    Attributes:
        dim, input_hw, name: as of every backbone.
        feature_dims, pooled_dim, attributes: sizes of ``features``, of ``pooled``, number of attributes (none).
        erase: share of height and width that is erased.
        generator: says where to erase, on the CPU; None for torch's default one.
    """

    def __init__(self, num_classes: int, input_hw: tuple[int, int], erase: tuple[float, float]) -> None:
        """See :func:`bdb`."""
        super().__init__()
        self.name, self.input_hw, self.attributes, self.erase = "bdb", input_hw, 0, erase
        self.generator: torch.Generator | None = None
        self.dim, self.pooled_dim, self.feature_dims = GLOBAL + ERASED, POOLED, [GLOBAL, ERASED]
        self.trunk = Trunk(last_stride=1)
        self.block = Bottleneck(POOLED)
        self.reductions = nn.ModuleList([Reduction(POOLED, GLOBAL), Reduction(POOLED, ERASED)])
        made = [classifier(dim, num_classes) for dim in self.feature_dims]
        self.classifiers = nn.ModuleList(layer for layer in made if layer is not None)

    def forward(self, images: Tensor) -> ModelOutput:
        """(n, 3, h, w) pictures, normalised by ImageNet's statistics → what the model says of them."""
        pooled, features = self._branches(images)
        logits = [layer(x) for layer, x in zip(self.classifiers, features, strict=False)]
        return ModelOutput(F.normalize(torch.cat(features, dim=1)), features=features, logits=logits, pooled=pooled)

    def descriptor_only(self, images: Tensor) -> Tensor:
        """(n, 1536) unit rows."""
        return F.normalize(torch.cat(self._branches(images)[1], dim=1))

    def _branches(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = self.trunk(images)
        pooled = maps.float().mean((2, 3))
        attentive = self.block(maps)
        if self.training:
            attentive = self._erase(attentive)
        return pooled, [self.reductions[0](pooled), self.reductions[1](attentive.float().amax((2, 3)))]

    def _erase(self, maps: Tensor) -> Tensor:
        """Zeros in one rectangle, at the same place in every picture; at least one row and column are left alone."""
        mask = maps.new_ones(maps.shape[2:])
        (top, rows), (left, columns) = (
            _place(size, share, self.generator) for size, share in zip(mask.shape, self.erase, strict=True))
        mask[top : top + rows, left : left + columns] = 0
        return maps * mask


def bdb(num_classes: int = 0, *, pretrained: str | None = None, input_hw: tuple[int, int] = (384, 128),
        erase: tuple[float, float] = (0.3, 1.0)) -> BDB:
    """The Batch DropBlock Network.

    Args:
        num_classes: people of the training set; 0 for no classifiers.
        pretrained: weights of the ResNet-50 it starts from: ``imagenet``, a path, or None.
        input_hw: height and width in pixels; 384 × 128 in the paper.
        erase: share of the map's height and width that is erased in training.

    Raises:
        ReidError: the weights cannot be had, or shares outside 0…1, or everything would be erased.
    """
    if len(erase) != 2 or not all(0 <= share <= 1 for share in erase) or min(erase) == 1:
        raise ReidError(f"bdb: 'erase' is {erase!r}, expected shares of height and width from 0 to 1, not both 1")
    model = BDB(num_classes, checked_size(input_hw), (erase[0], erase[1]))
    load_trunk(model.trunk, pretrained)
    return model


def _place(size: int, share: float, generator: torch.Generator | None) -> tuple[int, int]:
    """Where an interval of this share of ``size`` begins, evenly drawn, and its length."""
    length = size if share == 1 else min(round(size * share), size - 1)
    return int(torch.randint(size - length + 1, (1,), generator=generator)), length
