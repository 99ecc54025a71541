"""Robust-ReID (Lawen et al., "Attention Network Robustification for Person ReID", Table 1, Fig. 4 and 5).

A global branch of three stages, each followed by harmonious attention, and a local branch that looks at four regions
of each stage's input. HA-CNN is the same network with inception blocks, average pooling and no normalisation, so the
rows of the paper's ablation (Table 2) are options of one class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_models.batch import ModelOutput
from reid_models.errors import ReidError
from reid_models.layers.attention import REGIONS, HardAttention, HarmoniousAttention, cut_regions
from reid_models.layers.conv import ConvBN, initialise
from reid_models.layers.heads import LinearHead, classifier, joined_unit_rows, unit_rows
from reid_models.layers.inception import InceptionB, inception_stage
from reid_models.layers.pooling import pooling
from reid_models.layers.shuffle import ShuffleB, shuffle_stage

INPUT_HW = (160, 64)
SMALLEST_SIDE, STRIDE = 32, 16
"""Sides of the input in pixels: conv1 and each stage halve them, exactly, and something must be left to look at."""


def local_sizes(input_hw: tuple[int, int]) -> list[tuple[int, int]]:
    """Height and width of a region as the local branch reads it, per stage.

    24 × 28, 12 × 14 and 6 × 7 of 160 × 64 pixels (Table 1), and the same shares of any other input.
    """
    height, width = round(24 * input_hw[0] / INPUT_HW[0]), round(28 * input_hw[1] / INPUT_HW[1])
    return [(-(-height // shrink), -(-width // shrink)) for shrink in (1, 2, 4)]


def checked_size(name: str, input_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the input as integers.

    Raises:
        ReidError: they are not two multiples of 16 from 32 pixels.
    """
    if len(input_hw) != 2 or any(side < SMALLEST_SIDE or side % STRIDE for side in input_hw):
        raise ReidError(f"model '{name}': 'input_hw' is {list(input_hw)}, expected height and width in pixels, each a "
                        f"multiple of {STRIDE} from {SMALLEST_SIDE}")
    return int(input_hw[0]), int(input_hw[1])


@dataclass(frozen=True)
class Plan:
    """The numbers of one size of the network: channels of conv1, of each stage and of each head; repeated blocks."""

    stem: int
    widths: tuple[int, int, int]
    repeats: tuple[int, int, int]
    head: int


BLOCKS: dict[str, tuple[Callable[[int, int, int], nn.Module], Callable[[int, int], nn.Module]]] = {
    "shuffle": (shuffle_stage, lambda inputs, outputs: ShuffleB(inputs, outputs, 2)),
    "inception": (inception_stage, InceptionB),
}
"""Kind of block → a stage of it (inputs, outputs, repeat), and the local branch's block (inputs, outputs)."""


class RobustReID(nn.Module):
    """(n, 3, *input_hw) RGB, normalised by ImageNet's statistics → :class:`ModelOutput`.

    ``features`` and ``logits`` hold two entries, global and local; the features are of length 1 each where
    ``normalised`` (what the paper's losses see), ReLU outputs as they are otherwise. ``pooled`` is the global pooled
    vector beside the four regional ones, before the heads. The descriptor is both unit vectors side by side, scaled
    by √½ so that it is a unit vector itself.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        num_classes: int = 0,
        *,
        blocks: str = "shuffle",
        pool: str = "gem",
        normalised: bool = True,
        input_hw: tuple[int, int] = INPUT_HW,
    ) -> None:
        """Build it.

        Args:
            name: what it is called in tables and weights files.
            plan: its widths and depths.
            num_classes: identities of the classifiers (one per branch, without bias); 0 builds none.
            blocks: ``shuffle`` or ``inception`` (ablation d).
            pool: ``gem``, ``average`` (ablation f) or ``max``.
            normalised: L2-normalise both vectors before losses and classifiers (ablation c: not).
            input_hw: height and width in pixels of the pictures, multiples of 16; the paper's are 160 × 64.

        Raises:
            ReidError: there is no such block or pooling, or the size does not fit.
        """
        super().__init__()
        if blocks not in BLOCKS:
            raise ReidError(f"model '{name}': blocks '{blocks}': expected one of {', '.join(BLOCKS)}")
        stage, local = BLOCKS[blocks]
        self.name, self.input_hw, self.normalised = name, checked_size(name, input_hw), normalised
        self.dim, self.local_hw = 2 * plan.head, local_sizes(self.input_hw)
        inputs = (plan.stem, *plan.widths[:2])
        self.stem = ConvBN(3, plan.stem, 3, stride=2)
        self.stages = nn.ModuleList(map(stage, inputs, plan.widths, plan.repeats))
        self.attentions = nn.ModuleList(map(HarmoniousAttention, plan.widths))
        self.locals = nn.ModuleList(map(local, inputs, plan.widths))
        last = plan.widths[-1]
        self.global_pool, self.local_pool = pooling(pool, last), pooling(pool, last)
        self.global_head = LinearHead(last, plan.head)
        self.local_head = LinearHead(last * REGIONS, plan.head)
        classes = [classifier(plan.head, num_classes) for _ in range(2)] if num_classes else []
        self.classifiers = nn.ModuleList(classes)
        initialise(self, shift=1.0 if blocks == "shuffle" else 0.0)  # 70 layers deep, and only halves go round them
        for module in self.modules():
            if isinstance(module, HardAttention):
                module.reset()

    def pooled(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c) global and (n, 4c) regional pooled vectors, unnormalised."""
        x: Tensor = self.stem(images)
        region: Tensor | None = None
        for stage, attend, local, out_hw in zip(self.stages, self.attentions, self.locals, self.local_hw, strict=True):
            after, centres = attend(stage(x))
            cut = cut_regions(x, centres, out_hw).flatten(0, 1)
            region = local(cut if region is None else cut + region)
            x = after
        regional = self.local_pool(region)
        return self.global_pool(x), regional.reshape(images.shape[0], REGIONS * regional.shape[1])

    def forward(self, images: Tensor) -> ModelOutput:
        """Everything that losses may want."""
        whole, regional = self.pooled(images)
        raw = [self.global_head(whole), self.local_head(regional)]
        features = [unit_rows(f) for f in raw] if self.normalised else raw
        logits = [classify(f) for classify, f in zip(self.classifiers, features, strict=False)]
        pooled = torch.cat((whole, regional), dim=1)
        return ModelOutput(joined_unit_rows(raw), features, logits, pooled=pooled)

    def descriptor_only(self, images: Tensor) -> Tensor:
        """(n, dim) float32 unit rows."""
        whole, regional = self.pooled(images)
        return joined_unit_rows([self.global_head(whole), self.local_head(regional)])


PLANS = {
    "robust_reid_1x": Plan(32, (128, 256, 384), (7, 10, 7), 512),
    "robust_reid_2x": Plan(36, (240, 320, 480), (8, 11, 8), 960),
    "robust_reid_0.5x": Plan(16, (64, 128, 192), (7, 10, 7), 256),
}


def _build(name: str, num_classes: int, blocks: str, pool: str, normalised: bool, input_hw: tuple[int, int]
           ) -> RobustReID:
    return RobustReID(name, PLANS[name], num_classes, blocks=blocks, pool=pool, normalised=normalised,
                      input_hw=input_hw)


def robust_reid_1x(num_classes: int = 0, blocks: str = "shuffle", pool: str = "gem", normalised: bool = True,
                   input_hw: tuple[int, int] = INPUT_HW) -> RobustReID:
    """The paper's 1×: 1024-d."""
    return _build("robust_reid_1x", num_classes, blocks, pool, normalised, input_hw)


def robust_reid_2x(num_classes: int = 0, blocks: str = "shuffle", pool: str = "gem", normalised: bool = True,
                   input_hw: tuple[int, int] = INPUT_HW) -> RobustReID:
    """The paper's deeper and wider 2×: 1920-d.

    With Table 1's widths and repeats as printed it has 5.76 M parameters and 1.62 G multiply-adds without classifiers,
    where the table says 6.4 M and 1.68 B; 1× has the 2.9 M that it says.
    """
    return _build("robust_reid_2x", num_classes, blocks, pool, normalised, input_hw)


def robust_reid_0_5x(num_classes: int = 0, blocks: str = "shuffle", pool: str = "gem", normalised: bool = True,
                     input_hw: tuple[int, int] = INPUT_HW) -> RobustReID:
    """Half the widths of 1×, the same depth: 512-d."""
    return _build("robust_reid_0.5x", num_classes, blocks, pool, normalised, input_hw)
