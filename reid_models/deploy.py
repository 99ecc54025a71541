"""Robust-ReID rewritten for inference on a CPU: the same descriptors from a graph that a runtime can run fast.

What a plain export spends besides convolution goes to splitting, joining and shuffling channels and to changing the
layout for them. Here batch normalisation is folded into the convolutions, and channels are never moved:

- A stage's channels are followed through all its shuffles (:func:`reid_models.deploy_shuffle.trace_stage`). A channel
  made by some block is read by exactly one later block. The block's last 1 × 1 convolution gives its channels in the
  order in which they will be read, cut into *pieces* of whole vectors; a block reads the pieces it needs, by one
  1 × 1 convolution each, summed, whose weights are the original ones in another order, and zeros for the few
  channels of a piece that another block reads.
- Stage outputs stay in the order "first branch, second branch"; all that read them have their weights permuted.
- Attention to places × channels followed by a 1 × 1 convolution is a product of a map and a vector, so the
  convolution needs to be applied to the vector only: ``Σ_c W_oc s(p) a_c = s(p) · (W a)_o``.
- Regions are cut by one large product for the rows of all of them, not by many small ones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from reid_models.deploy_shuffle import FastShuffleB, FastStage, conv, filled, fold, full_conv, joined_order, pick
from reid_models.layers.attention import REGIONS, HarmoniousAttention, SoftAttention, sampling_matrix
from reid_models.layers.heads import LinearHead, joined_unit_rows
from reid_models.layers.pooling import LEAST_POWER, SMALLEST, GeM
from reid_models.layers.shuffle import ShuffleB

if TYPE_CHECKING:
    from reid_models.backbones.compact import CompactReID


def deployable(model: nn.Module) -> nn.Module:
    """Return an equivalent of ``model`` in evaluation mode that exports to a fast graph.

    The result maps pictures (n, 3, *model.input_hw) to descriptors (n, dim), as ``model.descriptor_only`` does in
    evaluation mode: the same function in exact arithmetic, and to 1e-5 in float32 where the network is no worse
    conditioned than that. (Fresh deep ones with settled statistics are: their own float32 is 1e-4 from float64.)

    Where a faster form is known (Robust-ReID of shuffle blocks) it owns copies of the weights; of any other model it
    is a wrapper. The model's own mode is left as it is. The exported graph takes batches of 1 or more.
    """
    from reid_models.backbones.compact import CompactReID
    from reid_models.backbones.robust_reid import RobustReID

    fast = isinstance(model, CompactReID) or (
        isinstance(model, RobustReID) and isinstance(model.locals[0], ShuffleB)
    )
    return rewritten(model).float().to(next(model.parameters()).device) if fast else DescriptorOnly(model)


def rewritten(model: nn.Module) -> nn.Module:
    """The fast form of a Robust-ReID on the CPU, with weights in float64 (where equality can be seen to 1e-9)."""
    from reid_models.backbones.compact import CompactReID

    model = copy.deepcopy(model).cpu().double().eval()
    made = FastCompact(model) if isinstance(model, CompactReID) else FastRobustReID(model)
    return made.eval().requires_grad_(False)


class DescriptorOnly(nn.Module):
    """Any model, reduced to its descriptor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """(n, dim) unit rows."""
        return self.model.descriptor_only(images)  # type: ignore[operator]


class FastRobustReID(nn.Module):
    """(n, 3, *input_hw) → (n, dim) unit rows; see the module's text."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        from reid_models.backbones.robust_reid import RobustReID

        assert isinstance(model, RobustReID)
        self.stem = full_conv(model.stem)
        stages, attentions, cutters, local_blocks = [], [], [], []
        order, hw = filled(range(model.stem.conv.out_channels)), (model.input_hw[0] // 2, model.input_hw[1] // 2)
        for stage, attend, local, out_hw in zip(
            model.stages, model.attentions, model.locals, model.local_hw, strict=True
        ):
            assert isinstance(stage, nn.Sequential)
            assert isinstance(local, ShuffleB)
            assert isinstance(attend, HarmoniousAttention)
            stages.append(FastStage(stage, order))
            cutters.append(Cutter(len(order), hw, out_hw))
            local_blocks.append(FastShuffleB(local, order))
            hw = (hw[0] // 2, hw[1] // 2)
            order = joined_order(attend.hard.linear.in_features // 2)
            attentions.append(FastAttention(attend, order, hw))
        self.stages, self.attentions = nn.ModuleList(stages), nn.ModuleList(attentions)
        self.cutters, self.locals = nn.ModuleList(cutters), nn.ModuleList(local_blocks)
        self.global_pool, self.local_pool = _pool(model.global_pool, order), _pool(model.local_pool, order)
        last = model.global_head.linear.in_features
        regional = [last * region + i if i >= 0 else -1 for region in range(REGIONS) for i in order]
        self.global_head = _head(model.global_head, order)
        self.local_head = _head(model.local_head, regional)

    def forward(self, images: Tensor) -> Tensor:
        """The descriptors."""
        x = self.stem(images).relu()
        region = None
        for stage, attend, cut, local in zip(self.stages, self.attentions, self.cutters, self.locals, strict=True):
            after, centres = attend(stage(x))
            patch = cut(x, centres)
            region = local(patch if region is None else patch + region)
            x = after
        regional = self.local_pool(region).reshape(-1, self.local_head.in_features)
        whole = self.global_head(self.global_pool(x)).relu()
        return joined_unit_rows([whole, self.local_head(regional).relu()])


class FastSoftAttention(nn.Module):
    """Soft attention on a map of known size whose channels come in ``order``."""

    def __init__(self, soft: SoftAttention, order: Sequence[int], hw: tuple[int, int]) -> None:
        super().__init__()
        # Products keep the batch's size known to the runtime, which a resizing does not: it fuses more behind them.
        centre = torch.zeros((), dtype=torch.float64)
        rows, across = (sampling_matrix(centre, 1.0, (size + 1) // 2, size) for size in hw)
        self.register_buffer("rows", rows)
        self.register_buffer("across", across.T.contiguous())
        weight, bias = fold(soft.spatial)
        share = len(order) / soft.mix.conv.in_channels  # the mean is over the channels that fill up vectors too
        self.spatial, self.spatial_out = conv(weight * share, bias, 2), full_conv(soft.spatial_out, outputs=[0])
        squeezed = range(soft.squeeze.conv.out_channels)
        excited = range(soft.mix.conv.in_channels)
        self.squeeze = full_conv(soft.squeeze, order, squeezed)
        self.excite = full_conv(soft.excite, squeezed, excited)
        weight, bias = fold(soft.mix)
        self.mix = conv(pick(weight, order), torch.zeros_like(bias[:1]).expand(len(order)))
        self.register_buffer("shift", pick(bias, order)[:, None, None])

    def forward(self, x: Tensor, mean: Tensor) -> Tensor:
        """(n, c, h, w) and its mean over all places (n, c, 1, 1) → (n, c, h, w) weighed features."""
        coarse = self.spatial(x.mean(1, keepdim=True)).relu()
        places = self.spatial_out(self.rows @ coarse @ self.across).relu()
        channels = self.mix(self.excite(self.squeeze(mean).relu()).relu())
        return x * torch.sigmoid(places * channels + self.shift)


class FastAttention(nn.Module):
    """Harmonious attention on a map of known size whose channels come in ``order`` (and leave in it)."""

    def __init__(self, attend: HarmoniousAttention, order: Sequence[int], hw: tuple[int, int]) -> None:
        super().__init__()
        linear = attend.hard.linear
        self.soft = FastSoftAttention(attend.soft, order, hw)
        self.hard = _linear(pick(linear.weight.double(), order, 1), linear.bias.double())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, h, w) weighed features and (n, 4, 2) centres."""
        mean = x.mean((2, 3), keepdim=True)
        return self.soft(x, mean), torch.tanh(self.hard(mean.flatten(1))).reshape(-1, REGIONS, 2)


class Cutter(nn.Module):
    """(n, c, h, w), (n, 4, 2) → (4n, c, *out_hw): the regions, all rows by one product, then all columns."""

    def __init__(self, channels: int, hw: tuple[int, int], out_hw: tuple[int, int]) -> None:
        super().__init__()
        self.channels, self.hw, self.out_hw = channels, hw, out_hw

    def forward(self, x: Tensor, centres: Tensor) -> Tensor:
        """Cut; a picture's four regions follow each other."""
        c, (h, w), (rows, wide) = self.channels, self.hw, self.out_hw
        down = sampling_matrix(centres[..., 1], 1 / REGIONS, h, rows).reshape(-1, REGIONS * rows, h)
        across = sampling_matrix(centres[..., 0], 1.0, w, wide).transpose(-1, -2)
        lines = down @ x.transpose(1, 2).reshape(-1, h, c * w)
        cut = lines.reshape(-1, REGIONS, rows * c, w) @ across
        return cut.reshape(-1, rows, c, wide).transpose(1, 2)


class FastGeM(nn.Module):
    """GeM on fixed powers: divided by the largest value instead of a log-sum-exp, which runtimes do slowly."""

    def __init__(self, pool: GeM, order: Sequence[int]) -> None:
        super().__init__()
        self.p: Tensor
        self.register_buffer("p", pick(pool.p.detach().clamp(min=LEAST_POWER) - 1, order)[:, None] + 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) → (n, c)."""
        logs = x.flatten(2).clamp(min=SMALLEST).log()
        largest = logs.amax(2, keepdim=True)
        mean = ((logs - largest) * self.p).exp().mean(2, keepdim=True)
        return (largest + mean.log() / self.p).exp().flatten(1)


class FastCompact(nn.Module):
    """(n, 3, *input_hw) → (n, dim) unit rows by the compact network: its attention, regions and pooling made fast."""

    def __init__(self, model: CompactReID) -> None:
        super().__init__()
        from reid_models.backbones.compact import LOCAL, WIDTHS

        # batch normalisation in these is folded by the exporter
        self.stem, self.stages, self.local = model.stem, model.stages, model.local
        middle, last = ((model.input_hw[0] // s, model.input_hw[1] // s) for s in (8, 16))
        self.attention = FastAttention(model.attention, range(WIDTHS[1]), middle)
        self.last_attention = FastSoftAttention(model.last_attention, range(WIDTHS[2]), last)
        self.cut = Cutter(WIDTHS[1], middle, model.region_hw)
        self.global_pool = _pool(model.global_pool, range(WIDTHS[2]))
        self.local_pool = _pool(model.local_pool, range(LOCAL))
        self.global_head = _head(model.global_head, range(WIDTHS[2]))
        self.local_head = _head(model.local_head, range(LOCAL * REGIONS))

    def forward(self, images: Tensor) -> Tensor:
        """The descriptors."""
        x, centres = self.attention(self.stages[1](self.stages[0](self.stem(images))))
        regional = self.local_pool(self.local(self.cut(x, centres))).reshape(-1, self.local_head.in_features)
        x = self.stages[2](x)
        whole = self.global_pool(self.last_attention(x, x.mean((2, 3), keepdim=True)))
        return joined_unit_rows([self.global_head(whole).relu(), self.local_head(regional).relu()])


def _pool(pool: nn.Module, order: Sequence[int]) -> nn.Module:
    if isinstance(pool, GeM):
        return FastGeM(pool, order)
    return pool  # mean and maximum have no weights


def _head(head: LinearHead, order: Sequence[int]) -> nn.Linear:
    """Linear layer and batch normalisation in one, on inputs in another order."""
    bn, linear = head.bn, head.linear
    assert bn.running_mean is not None
    assert bn.running_var is not None
    gain = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    bias = (linear.bias.double() - bn.running_mean.double()) * gain + bn.bias.double()
    return _linear(pick(linear.weight.double() * gain[:, None], order, 1), bias)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight.data, made.bias.data = weight.detach().contiguous(), bias.detach().contiguous()
    return made.requires_grad_(False)
