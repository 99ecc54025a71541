"""OSNet (Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019), section 3 and Table 1.

For comparison and for small devices. Every block looks at its input at four scales (one to four lite 3 × 3
convolutions in a row) and weighs each channel of each scale by one gate that all scales share.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_models.batch import ModelOutput
from reid_models.layers.conv import ConvBN, initialise
from reid_models.layers.heads import LinearHead, classifier, unit_rows

INPUT_HW = (256, 128)
WIDTHS, HEAD = (64, 256, 384, 512), 512
SCALES, REDUCTION, SQUEEZE = 4, 4, 16
_BLOCKS = 2


class LiteConv(nn.Module):
    """(n, c, h, w) → (n, out, h, w): Lite 3 × 3 (Fig. 3b): 1 × 1 alone, depth-wise 3 × 3, BN, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.depth = ConvBN(outputs, outputs, 3, groups=outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        y: Tensor = self.depth(self.mix(x))
        return y


class Gate(nn.Module):
    """(n, c, h, w) → x weighed per channel: the aggregation gate, eq. (3): sigmoid of a small network of the means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // SQUEEZE)
        self.squeeze, self.excite = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh."""
        return x * torch.sigmoid(self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()))


class OmniScaleBlock(nn.Module):
    """(n, c, h, w) → (n, out, h, w): Fig. 4b; bottleneck of four gated scales, with a residual connection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // REDUCTION
        self.reduce = ConvBN(inputs, middle)
        self.scales = nn.ModuleList(
            nn.Sequential(*(LiteConv(middle, middle) for _ in range(depth))) for depth in range(1, SCALES + 1)
        )
        self.gate = Gate(middle)
        self.expand = ConvBN(middle, outputs, relu=False)
        self.short = ConvBN(inputs, outputs, relu=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        reduced = self.reduce(x)
        first, *rest = (self.gate(scale(reduced)) for scale in self.scales)
        total = first
        for part in rest:
            total = total + part
        y: Tensor = self.expand(total) + self.short(x)
        return y.relu()


class OSNet(nn.Module):
    """(n, 3, 256, 128) RGB, normalised by ImageNet's statistics → :class:`ModelOutput`.

    One feature, 512 numbers after linear, BN and ReLU, unnormalised; ``pooled`` is the mean before that layer.
    """

    def __init__(self, name: str, width: float, num_classes: int = 0) -> None:
        """``width`` multiplies the channels of all stages, not those of the descriptor."""
        super().__init__()
        self.name, self.dim, self.input_hw = name, HEAD, INPUT_HW
        stem, *stages = (int(width * channels) for channels in WIDTHS)
        self.stem = nn.Sequential(ConvBN(3, stem, 7, stride=2), nn.MaxPool2d(3, 2, 1))
        layers: list[nn.Module] = []
        inputs = stem
        for number, outputs in enumerate(stages):
            for _ in range(_BLOCKS):
                layers.append(OmniScaleBlock(inputs, outputs))
                inputs = outputs
            if number < len(stages) - 1:
                layers.append(nn.Sequential(ConvBN(outputs, outputs), nn.AvgPool2d(2, 2)))
        self.stages = nn.Sequential(*layers, ConvBN(inputs, inputs))
        self.head = LinearHead(inputs, HEAD)
        self.classifiers = nn.ModuleList([classifier(HEAD, num_classes)] if num_classes else [])
        initialise(self)

    def pooled(self, images: Tensor) -> Tensor:
        """(n, c) float32 means of the last map."""
        maps: Tensor = self.stages(self.stem(images))
        return maps.mean((2, 3)).to(torch.promote_types(maps.dtype, torch.float32))

    def forward(self, images: Tensor) -> ModelOutput:
        """Everything that losses may want."""
        pooled = self.pooled(images)
        feature = self.head(pooled)
        logits = [classify(feature) for classify in self.classifiers]
        return ModelOutput(unit_rows(feature), [feature], logits, pooled=pooled)

    def descriptor_only(self, images: Tensor) -> Tensor:
        """(n, dim) float32 unit rows."""
        return unit_rows(self.head(self.pooled(images)))


def osnet_x0_25(num_classes: int = 0) -> OSNet:
    """A quarter of the widths: 0.2 M parameters."""
    return OSNet("osnet_x0_25", 0.25, num_classes)


def osnet_x1_0(num_classes: int = 0) -> OSNet:
    """The full widths: 2.2 M parameters."""
    return OSNet("osnet_x1_0", 1.0, num_classes)
