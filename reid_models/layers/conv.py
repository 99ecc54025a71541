"""Convolution with batch normalisation, the unit that all networks here are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import conv2d


class ConvBN(nn.Module):
    """(n, c, h, w) → (n, out, h/stride, w/stride): convolution without bias, batch normalisation, ReLU where asked.

    Odd kernels are padded to keep the size. ``groups`` equal to ``inputs`` makes it depth-wise.

    While it learns on a CPU, a depth-wise convolution with a stride is computed at every position and then thinned,
    which gives the same: the gradient of the strided one takes several times as long there.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Apply all three."""
        thin = self.training and x.device.type == "cpu" and self.conv.groups > 1 and self.conv.stride != (1, 1)
        y: Tensor = self.bn(self._at_every_position(x) if thin else self.conv(x))
        return y.relu() if self.relu else y

    def _at_every_position(self, x: Tensor) -> Tensor:
        down, across = self.conv.stride
        y = conv2d(x, self.conv.weight, padding=self.conv.padding, groups=self.conv.groups)
        return y[:, :, ::down, ::across]


def depthwise(channels: int, stride: int = 1, relu: bool = False) -> ConvBN:
    """A 3 × 3 depth-wise :class:`ConvBN`, without ReLU as in ShuffleNet v2."""
    return ConvBN(channels, channels, 3, stride, groups=channels, relu=relu)


def initialise(model: nn.Module, shift: float = 0.0) -> None:
    """He initialisation for convolutions, unit gain for normalisation, small normals for linear layers.

    ``shift`` is what normalisations before a ReLU start with. At 0, ReLU cuts half of everything, and each of many
    layers without shortcuts amplifies small differences (Yang et al., "A mean field theory of batch normalization",
    2019): any step changes what comes out of them beyond recognition. At 1 they start nearly linear.

    Layers whose start matters (the regions of the hard attention) set theirs after this has run.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # torch's own fan counts all groups: depth-wise filters would start so small that nothing gets through
            fan = module.out_channels // module.groups * module.weight[0, 0].numel()
            gain = 1.0 if module.groups > 1 else 2.0
            nn.init.normal_(module.weight, std=(gain / fan) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, ConvBN) and module.relu:
            nn.init.constant_(module.bn.bias, shift)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01 if module.bias is None else module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
