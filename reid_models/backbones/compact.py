"""Robust-ReID for one core of a CPU: its parts (GeM, harmonious attention, two unit vectors) on ordinary convolutions.

Shuffle blocks at the full size of a stage save parameters, not time: most of the time of 1x goes to its first two
stages. This network halves the size before each stage, not after it, and has few, dense layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_models.backbones.robust_reid import INPUT_HW, checked_size, local_sizes
from reid_models.batch import ModelOutput
from reid_models.layers.attention import REGIONS, HarmoniousAttention, SoftAttention, cut_regions
from reid_models.layers.conv import ConvBN, initialise
from reid_models.layers.heads import LinearHead, classifier, joined_unit_rows, unit_rows
from reid_models.layers.pooling import pooling

STEM, WIDTHS, REPEATS, LOCAL, HEAD = 32, (64, 128, 256), (2, 3, 2), 192, 256


class Bottleneck(nn.Module):
    """(n, c, h, w) → the same: 1 × 1 to half the channels, 3 × 3, 1 × 1 back, added to the input (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(ConvBN(channels, half), ConvBN(half, half, 3), ConvBN(half, channels, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        y: Tensor = x + self.branch(x)
        return y.relu()


class CompactReID(nn.Module):
    """(n, 3, *input_hw) RGB, normalised by ImageNet's statistics → :class:`ModelOutput`.

    Three stages of stride 2; soft attention after the last two. Four regions, chosen by hard attention after the
    second stage, are cut from its output and share one convolution. Features and descriptor as of Robust-ReID:
    global and local unit vectors of 256 numbers each; ``pooled`` is what both heads see, unnormalised.
    """

    def __init__(self, num_classes: int = 0, *, pool: str = "gem", normalised: bool = True,
                 input_hw: tuple[int, int] = INPUT_HW) -> None:
        super().__init__()
        self.name, self.dim, self.normalised = "robust_reid_compact", 2 * HEAD, normalised
        self.input_hw = checked_size(self.name, input_hw)
        self.region_hw = local_sizes(self.input_hw)[-1]
        self.stem = ConvBN(3, STEM, 3, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvBN(inputs, outputs, 3, stride=2), *(Bottleneck(outputs) for _ in range(repeat)))
            for inputs, outputs, repeat in zip((STEM, *WIDTHS[:2]), WIDTHS, REPEATS, strict=True)
        )
        self.attention = HarmoniousAttention(WIDTHS[1])
        self.last_attention = SoftAttention(WIDTHS[2])
        self.local = ConvBN(WIDTHS[1], LOCAL, 3, stride=2)
        self.global_pool, self.local_pool = pooling(pool, WIDTHS[2]), pooling(pool, LOCAL)
        self.global_head = LinearHead(WIDTHS[2], HEAD)
        self.local_head = LinearHead(LOCAL * REGIONS, HEAD)
        classes = [classifier(HEAD, num_classes) for _ in range(2)] if num_classes else []
        self.classifiers = nn.ModuleList(classes)
        initialise(self)
        self.attention.hard.reset()

    def pooled(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 256) global and (n, 4 · 192) regional pooled vectors, unnormalised."""
        x, centres = self.attention(self.stages[1](self.stages[0](self.stem(images))))
        regional = self.local_pool(self.local(cut_regions(x, centres, self.region_hw).flatten(0, 1)))
        x = self.stages[2](x)
        return self.global_pool(x * self.last_attention(x)), regional.reshape(images.shape[0], REGIONS * LOCAL)

    def forward(self, images: Tensor) -> ModelOutput:
        """Everything that losses may want."""
        whole, regional = self.pooled(images)
        raw = [self.global_head(whole), self.local_head(regional)]
        features = [unit_rows(f) for f in raw] if self.normalised else raw
        logits = [classify(f) for classify, f in zip(self.classifiers, features, strict=False)]
        return ModelOutput(joined_unit_rows(raw), features, logits, pooled=torch.cat((whole, regional), dim=1))

    def descriptor_only(self, images: Tensor) -> Tensor:
        """(n, dim) float32 unit rows."""
        whole, regional = self.pooled(images)
        return joined_unit_rows([self.global_head(whole), self.local_head(regional)])


def robust_reid_compact(num_classes: int = 0, pool: str = "gem", normalised: bool = True,
                        input_hw: tuple[int, int] = INPUT_HW) -> CompactReID:
    """The size for a CPU: 512-d."""
    return CompactReID(num_classes, pool=pool, normalised=normalised, input_hw=input_hw)
