"""The Multiple Granularity Network (Wang et al. 2018): the whole body, its halves and its thirds.

ResNet-50 is shared up to the first block of the fourth stage; from there on three branches have weights of their
own. The global branch keeps the last stride of 2; the other two do without, and are cut into 2 and 3 stripes. All
maps are max-pooled, and every pooled vector is reduced to 256 numbers by a 1 × 1 convolution, batch normalisation
and ReLU. Softmax sees the three unreduced global vectors and the five reduced stripes, pair and triplet losses the
three reduced global vectors, and what is compared is all eight reduced vectors, 2048 numbers.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reid_models.backbones.resnet import POOLED, Trunk, checked_size, classifier, keep_resolution, load_trunk
from reid_models.batch import ModelOutput

REDUCED = 256
_STRIPES = (1, 2, 3)


class Reduction(nn.Module):
    """(n, c) → (n, d): a 1 × 1 convolution of a pooled map, batch normalisation, ReLU; float32 out."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """From ``inputs`` channels to ``outputs``."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)
        nn.init.kaiming_normal_(self.linear.weight, mode="fan_in")

    def forward(self, pooled: Tensor) -> Tensor:
        """The reduced vector."""
        return F.relu(self.norm(self.linear(pooled).float()))


class Branch(nn.Module):
    """The rest of ResNet-50, cut into ``count`` stripes (1: not cut): pooled whole and stripes, and both reduced."""

    def __init__(self, layer3: nn.Module, layer4: nn.Module, count: int) -> None:
        """Copies the given stages."""
        super().__init__()
        self.layer3, self.layer4, self.count = deepcopy(layer3), deepcopy(layer4), count
        if count > 1:
            keep_resolution(self.layer4)
        self.whole = Reduction(POOLED, REDUCED)
        self.parts = nn.ModuleList(Reduction(POOLED, REDUCED) for _ in range(count if count > 1 else 0))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(n, 2048) pooled whole, (n, 256) reduced, and one (n, 256) per stripe."""
        maps = self.layer4(self.layer3(maps)).float()
        pooled = maps.amax((2, 3))
        stripes = zip(self.parts, stripe_maxima(maps, self.count), strict=False)
        return pooled, self.whole(pooled), [reduce(stripe) for reduce, stripe in stripes]


class MGN(nn.Module):
    """See the module's text.

    ``features`` are the three reduced global vectors, ``logits`` the eight classifiers' (three globals, then the
    stripes from top to bottom), ``pooled`` the global branch's 2048 numbers; none of them is normalised.

    Attributes:
        dim, input_hw, name: as of every backbone.
        feature_dims, pooled_dim, attributes: sizes of ``features``, of ``pooled``, number of attributes (none).
    """

    def __init__(self, num_classes: int, input_hw: tuple[int, int], pretrained: str | None) -> None:
        """See :func:`mgn`."""
        super().__init__()
        self.name, self.input_hw, self.attributes = "mgn", input_hw, 0
        self.dim, self.pooled_dim, self.feature_dims = 8 * REDUCED, POOLED, [REDUCED] * 3
        trunk = Trunk(last_stride=2)
        load_trunk(trunk, pretrained)
        rest, trunk.layer3 = trunk.layer3[1:], trunk.layer3[:1]
        self.branches = nn.ModuleList(Branch(rest, trunk.layer4, count) for count in _STRIPES)
        trunk.layer4 = nn.Sequential()
        self.trunk = trunk
        dims = [POOLED] * 3 + [REDUCED] * 5
        made = [classifier(dim, num_classes) for dim in dims]
        self.classifiers = nn.ModuleList(layer for layer in made if layer is not None)

    def forward(self, images: Tensor) -> ModelOutput:
        """(n, 3, h, w) pictures, normalised by ImageNet's statistics → what the model says of them."""
        pooled, reduced, stripes = self._branches(images)
        inputs = [*pooled, *stripes]
        logits = [layer(x) for layer, x in zip(self.classifiers, inputs, strict=False)]
        descriptor = F.normalize(torch.cat([*reduced, *stripes], dim=1))
        return ModelOutput(descriptor, features=reduced, logits=logits, pooled=pooled[0])

    def descriptor_only(self, images: Tensor) -> Tensor:
        """(n, 2048) unit rows."""
        _, reduced, stripes = self._branches(images)
        return F.normalize(torch.cat([*reduced, *stripes], dim=1))

    def _branches(self, images: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        maps = self.trunk(images)
        answers = [branch(maps) for branch in self.branches]
        return [a[0] for a in answers], [a[1] for a in answers], [stripe for a in answers for stripe in a[2]]


def mgn(num_classes: int = 0, *, pretrained: str | None = None, input_hw: tuple[int, int] = (384, 128)) -> MGN:
    """The Multiple Granularity Network.

    Args:
        num_classes: people of the training set; 0 for no classifiers.
        pretrained: weights of the ResNet-50 it starts from: ``imagenet``, a path, or None.
        input_hw: height and width in pixels; 384 × 128 in the paper.

    Raises:
        ReidError: the weights cannot be had.
    """
    return MGN(num_classes, checked_size(input_hw), pretrained)


def stripe_maxima(maps: Tensor, count: int) -> list[Tensor]:
    """(n, c, h, w) → ``count`` times (n, c): the maxima of horizontal stripes that are as even as h allows.

    A map with fewer rows than stripes gives neighbours a row in common.
    """
    # Not adaptive pooling: it cannot be exported to ONNX where the stripes are uneven.
    # int: where a graph is traced, sizes are tensors, and ONNX divides negative integers towards zero.
    height = int(maps.shape[2])
    edges = [(i * height // count, -(-(i + 1) * height // count)) for i in range(count)]
    return [maps[:, :, top:bottom].amax((2, 3)) for top, bottom in edges]
