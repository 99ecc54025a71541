"""Stages of shuffle blocks as convolutions alone: no splitting, joining or shuffling of channels.

``order`` is everywhere a list of channel numbers: what stands where in a tensor, -1 for channels of zeros, with which
widths are filled up to whole vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from reid_models.deploy_trace import LANES, Packing, Reading, trace_stage
from reid_models.layers.conv import ConvBN
from reid_models.layers.shuffle import ShuffleA, ShuffleB

# ---------------------------------------------------------------------- convolutions with batch normalisation folded


def fold(unit: ConvBN) -> tuple[Tensor, Tensor]:
    """Weight and bias, in float64, of one convolution that does what convolution and batch normalisation did."""
    bn = unit.bn
    assert bn.running_mean is not None
    assert bn.running_var is not None
    gain = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    bias = bn.bias.double() - bn.running_mean.double() * gain
    return (unit.conv.weight.double() * gain[:, None, None, None]).detach(), bias.detach()


def conv(weight: Tensor, bias: Tensor, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution with these numbers, padded to keep the size."""
    outputs, inputs, kernel, _ = weight.shape
    made = nn.Conv2d(inputs * groups, outputs, kernel, stride, kernel // 2, groups=groups)
    made.weight.data = weight.contiguous()
    assert made.bias is not None
    made.bias.data = bias.contiguous()
    return made.requires_grad_(False)


def pick(x: Tensor, order: Sequence[int], dim: int = 0) -> Tensor:
    """The entries of a dimension in this order; -1 gives zeros."""
    zero = torch.zeros_like(x.narrow(dim, 0, 1))
    return torch.cat((x, zero), dim).index_select(dim, torch.tensor([i if i >= 0 else x.shape[dim] for i in order]))


def filled(order: Sequence[int]) -> list[int]:
    """An order, filled up with -1 to whole vectors."""
    return [*order, *[-1] * (-len(order) % LANES)]


def joined_order(half: int) -> list[int]:
    """Which channel of a Shuffle-B's output stands where if its two branches are joined without the shuffle."""
    return filled([2 * i for i in range(half)]) + filled([2 * i + 1 if i >= 0 else -1 for i in range(half)])


def depthwise_conv(unit: ConvBN, order: Sequence[int]) -> nn.Conv2d:
    """A depth-wise unit on channels in this order."""
    weight, bias = fold(unit)
    return conv(pick(weight, order), pick(bias, order), unit.conv.stride[0], len(order))


def full_conv(unit: ConvBN, inputs: Sequence[int] | None = None, outputs: Sequence[int] | None = None) -> nn.Conv2d:
    """A unit with inputs and outputs in other orders."""
    weight, bias = fold(unit)
    outputs = filled(range(len(bias))) if outputs is None else outputs
    weight = weight if inputs is None else pick(weight, inputs, 1)
    return conv(pick(weight, outputs), pick(bias, outputs), unit.conv.stride[0])


# ---------------------------------------------------------------------- the blocks


class Sum(nn.Module):
    """1 × 1 convolutions of several pieces, summed, which runtimes join: it costs no pass of its own."""

    def __init__(self, weight: Tensor, bias: Tensor, readings: Sequence[Reading]) -> None:
        """``weight`` (out, in, 1, 1) of all inputs that the readings name."""
        super().__init__()
        self.pieces = [reading.piece for reading in readings]
        # Each has a bias, if of zeros: ONNX Runtime adds the sum so far to a convolution only if it has one.
        self.convolutions = nn.ModuleList(
            conv(pick(weight, reading.columns, 1), torch.zeros_like(bias) if i else bias)
            for i, reading in enumerate(readings)
        )

    def forward(self, pieces: dict[int, Tensor]) -> Tensor:
        """(n, out, h, w)."""
        first, *rest = (convolve(pieces[n]) for n, convolve in zip(self.pieces, self.convolutions, strict=True))
        total: Tensor = first
        for part in rest:
            total = total + part
        return total


def _packer(packing: Packing) -> Sum:
    eye = torch.eye(packing.width, dtype=torch.float64)[:, :, None, None]
    return Sum(eye, eye.new_zeros(packing.width), packing.readings)


class FastShuffleB(nn.Module):
    """A Shuffle-B whose inputs come in ``order`` and whose outputs leave in :func:`joined_order`."""

    def __init__(self, block: ShuffleB, order: Sequence[int]) -> None:
        super().__init__()
        short, long = _units(block.short), _units(block.long)
        width = filled(range(long[1].conv.out_channels))
        self.short_depth, self.short_out = depthwise_conv(short[0], order), full_conv(short[1], order)
        self.long_in, self.long_out = full_conv(long[0], order), full_conv(long[2], width)
        self.long_depth = depthwise_conv(long[1], width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) → (n, out, h/stride, w/stride)."""
        short = self.short_out(self.short_depth(x)).relu()
        return torch.cat((short, self.long_out(self.long_depth(self.long_in(x).relu())).relu()), dim=1)


class LastShuffleB(nn.Module):
    """A Shuffle-B that reads pieces."""

    def __init__(self, block: ShuffleB, readings: Sequence[Reading]) -> None:
        super().__init__()
        short, long = _units(block.short), _units(block.long)
        width = filled(range(long[1].conv.out_channels))
        self.pieces = [reading.piece for reading in readings]
        self.short_depths = nn.ModuleList(depthwise_conv(short[0], reading.columns) for reading in readings)
        self.short_out = Sum(*_filled_fold(short[1]), readings)
        self.long_in, self.long_out = Sum(*_filled_fold(long[0]), readings), full_conv(long[2], width)
        self.long_depth = depthwise_conv(long[1], width)

    def forward(self, pieces: dict[int, Tensor]) -> Tensor:
        """(n, out, h/2, w/2)."""
        depths = zip(self.pieces, self.short_depths, strict=True)
        short = self.short_out({number: depth(pieces[number]) for number, depth in depths}).relu()
        return torch.cat((short, self.long_out(self.long_depth(self.long_in(pieces).relu())).relu()), dim=1)


class FastStage(nn.Module):
    """A stage (Shuffle-B, Shuffle-A …, Shuffle-B); inputs come in ``order``, outputs leave in :func:`joined_order`."""

    def __init__(self, stage: nn.Sequential, order: Sequence[int]) -> None:
        super().__init__()
        first, *blocks, last = cast("list[ShuffleB]", list(stage))
        short, long = _units(first.short), _units(first.long)
        half = long[1].conv.out_channels
        width = filled(range(half))
        trace = trace_stage(half, len(blocks))
        self.short_depth, self.long_in = depthwise_conv(short[0], order), full_conv(long[0], order)
        self.long_depth = depthwise_conv(long[1], width)
        branches = [_units(cast(ShuffleA, block).branch) for block in blocks]
        makers = [(short[1], order), (long[2], width), *((units[2], width) for units in branches)]
        self.numbers = [[number for number, _ in pieces] for pieces in trace.made]
        self.makers = nn.ModuleList(
            nn.ModuleList(full_conv(unit, inputs, rows) for _, rows in pieces)
            for (unit, inputs), pieces in zip(makers, trace.made, strict=True)
        )
        self.packed = [[packing.piece for packing in packings] for packings in trace.packed]
        self.packers = nn.ModuleList(nn.ModuleList(map(_packer, packings)) for packings in trace.packed)
        self.readers = nn.ModuleList(
            Sum(*_filled_fold(units[0]), readings) for units, readings in zip(branches, trace.read[:-1], strict=True)
        )
        self.depths = nn.ModuleList(depthwise_conv(units[1], width) for units in branches)
        self.last = LastShuffleB(last, trace.read[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) → (n, out, h/2, w/2)."""
        pieces: dict[int, Tensor] = {}
        self._make(pieces, 0, self.short_depth(x))
        self._make(pieces, 1, self.long_depth(self.long_in(x).relu()))
        for block, (read, depth) in enumerate(zip(self.readers, self.depths, strict=True)):
            self._pack(pieces, block)
            self._make(pieces, block + 2, depth(read(pieces).relu()))
        self._pack(pieces, len(self.readers))
        return self.last(pieces)

    def _make(self, pieces: dict[int, Tensor], producer: int, x: Tensor) -> None:
        convolutions = cast(nn.ModuleList, self.makers[producer])
        for number, convolve in zip(self.numbers[producer], convolutions, strict=True):
            pieces[number] = convolve(x).relu()

    def _pack(self, pieces: dict[int, Tensor], reader: int) -> None:
        packers = cast(nn.ModuleList, self.packers[reader])
        pieces.update({n: pack(pieces) for n, pack in zip(self.packed[reader], packers, strict=True)})


def _units(branch: nn.Module) -> list[ConvBN]:
    return cast("list[ConvBN]", list(branch.children()))


def _filled_fold(unit: ConvBN) -> tuple[Tensor, Tensor]:
    weight, bias = fold(unit)
    outputs = filled(range(len(bias)))
    return pick(weight, outputs), pick(bias, outputs)
